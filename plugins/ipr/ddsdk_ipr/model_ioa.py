"""The adapter as the PCI host sees it: its ten registers, at either set of offsets.

Written from hw-ipr.md sections 2, 5, 6, 9, 10 and 13.  MASK is 1 where a bit of INT is kept off the line; INT shows
bits before masking.  While BIST runs, or once the adapter is gone, reads give all ones and writes are lost.
"""

from __future__ import annotations

from .model_core import IoaCore, State
from .model_faults import FAULTS
from .regs import (
    ALL_ONES,
    DBG_ACK,
    RESET_ALERT,
    RUNTIME_RESET,
    START,
    Interrupt,
    IprRegsL1,
    IprRegsL2,
    Uproc,
)

_TAKES_REQUESTS = frozenset((State.OPER, State.READY))


class IprIoa(IoaCore):
    """Behaviour of the registers; its targets are keyed by (bus, id), volume sets by (FF, id)."""

    FAULTS = FAULTS

    def _silent(self) -> bool:
        """True while a read gives all ones and a write is lost."""
        if self.faults.armed and not self._gone and self.faults.hit("all-ones") is not None:
            self.vanish()
        return self.silent

    # -- interrupt bits --------------------------------------------------------------------------------

    def r_INT(self) -> int:
        """Bits, whether masked or not."""
        if (self.faults.armed or self.silent) and self._silent():
            return ALL_ONES
        return self.int

    def w_INT_CLR(self, value: Interrupt) -> None:
        """1 clears.  Of DBG_ACK that is an answer, of UNIT_CHECK and CRIT_OP it changes nothing that is the matter."""
        if self._silent():
            return
        answered = value & self.int & DBG_ACK
        self.int &= ~value
        self.drive_line()
        if answered:
            self.mailbox.acknowledged()

    def r_MASK(self) -> int:
        """1: kept off the line."""
        return ALL_ONES if self._silent() else self.mask

    def w_MASK_SET(self, value: Interrupt) -> None:
        """1 masks."""
        if not self._silent():
            self.mask |= value
            self.drive_line()

    def w_MASK_CLR(self, value: Interrupt) -> None:
        """1 unmasks."""
        if not self._silent():
            self.mask &= ~value
            self.drive_line()

    # -- doorbell --------------------------------------------------------------------------------------

    def r_UPROC(self) -> int:
        """Bits as now set."""
        return ALL_ONES if self._silent() else self.uproc

    def w_UPROC_SET(self, value: Uproc) -> None:
        """1 sets; START as a whole starts the firmware, RESET_ALERT and DBG_ALERT mean what section 9 says."""
        if self._silent():
            return
        risen = value & ~self.uproc
        if value & START == START:
            self.start(bool(value & RUNTIME_RESET))
            return
        self.uproc |= value
        self.mailbox.alerts_set(self.uproc)
        if risen & RESET_ALERT:
            self.alert()

    def w_UPROC_CLR(self, value: Uproc) -> None:
        """1 clears."""
        if self._silent():
            return
        cleared = value & self.uproc
        self.uproc &= ~value
        self.mailbox.alerts_cleared(cleared)

    # -- requests --------------------------------------------------------------------------------------

    def w_IOARRIN(self, value: int) -> None:
        """A request block is submitted; it is fetched after this write has returned."""
        state = self.state
        if (self.faults.armed or self.silent) and self._silent():
            return
        if state in _TAKES_REQUESTS:
            self.requests.submitted(int(value))
        elif state is State.RESET or state is State.STARTING:
            self.note("request", f"{value:#010x} lost: {state.value}")
            self.raise_int(Interrupt.IOARRIN_LOST.mask)

    def r_MAILBOX(self) -> int:
        """A word, or where the table of the unit check's buffer is."""
        return ALL_ONES if self._silent() else self.mailbox.value

    def w_MAILBOX(self, value: int) -> None:
        """An address."""
        if not self._silent():
            self.mailbox.written(int(value))


class IprIoaL1(IprIoa):
    """Registers where Gemstone, Citrine and Obsidian have them."""

    regs = IprRegsL1


class IprIoaL2(IprIoa):
    """Registers where Snipe and Scamp have them."""

    regs = IprRegsL2
