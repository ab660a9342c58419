"""Resets: the diagnostic register behind its key sequence, and what each kind of reset takes down.

Key sequence and bits: LSI mpi.h 01.05.13.  Order, waits and the work-around of stopping the ARM first: Linux
2.6.9 mptbase.c; both functions of a 1030 together: the same, and FreeBSD mpt.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ddsdk.errors import RegisterAccessFault

from .regs import UNLOCK_KEYS, Diagnostic, IocState

if TYPE_CHECKING:
    from .model_core import IocCore

_S = 1_000_000_000
_PRODUCT_FAULT = 0x0004
_DRWE = Diagnostic.DRWE.mask
_HISTORY = Diagnostic.RESET_HISTORY.mask
_STOPPED = Diagnostic.DISABLE_ARM.mask
_NO_BOOT = Diagnostic.PREVENT_IOC_BOOT.mask
_FLASH_BAD = Diagnostic.FLASH_BAD_SIG.mask
#: Bits that keep what the host writes.
_STORED = _NO_BOOT | Diagnostic.RW_ENABLE.mask | _STOPPED | Diagnostic.MEM_ENABLE.mask


class ResetUnit:
    """Diagnostic register and reset logic of one function; a reset of the chip takes all its functions."""

    def __init__(self, ioc: IocCore) -> None:
        self._ioc = ioc
        #: The chip's other functions.
        self.siblings: tuple[IocCore, ...] = ()
        self.power_on()

    def power_on(self) -> None:
        """Locked, no history."""
        self._bits = 0
        self._matched = 0
        self._hung = False
        #: Until then nothing answers (the millisecond after a hard reset).
        self.quiet_until_ns = 0

    @property
    def stopped(self) -> bool:
        """True while no firmware runs: the ARM is stopped, or the boot hangs."""
        return bool(self._bits & _STOPPED) or self._hung

    # -- the register ----------------------------------------------------------------------------------

    def key(self, value: int) -> None:
        """WriteSequence: the fifth right key in a row enables writes, any other key locks."""
        self._bits &= ~_DRWE
        if value == UNLOCK_KEYS[self._matched]:
            self._matched += 1
        else:
            self._matched = int(value == UNLOCK_KEYS[0])
        if self._matched == len(UNLOCK_KEYS):
            self._matched = 0
            if self._ioc.faults.hit("diag-locked") is None:
                self._bits |= _DRWE

    def read(self) -> int:
        """Diagnostic as it stands."""
        return self._bits

    def write(self, value: int) -> None:
        """Diagnostic; lost while locked."""
        if not self._bits & _DRWE:
            self._ioc.note("diag", f"write of {value:#x} lost: the register is locked")
            return
        stopping = value & _STOPPED and not self._bits & _STOPPED
        kept = self._bits & (_DRWE | _FLASH_BAD | (_HISTORY & value))
        if value & Diagnostic.CLEAR_FLASH_BAD_SIG.mask:
            kept &= ~_FLASH_BAD
        self._bits = kept | value & _STORED
        if stopping:
            self._ioc.stop()
        if value & Diagnostic.RESET_ADAPTER.mask and self._ioc.faults.hit("hard-reset-ignored") is None:
            self.hard_reset()

    # -- resets ----------------------------------------------------------------------------------------

    def hard_reset(self) -> None:
        """The whole chip goes down and boots again."""
        for ioc in (self._ioc, *self.siblings):
            ioc.resets.go_down()

    def go_down(self) -> None:
        """This function's part of a hard reset."""
        ioc = self._ioc
        no_boot = self._bits & _NO_BOOT
        self.power_on()
        self._bits = _HISTORY | no_boot
        self.quiet_until_ns = ioc.clock.now_ns + ioc.timing.blackout_ns
        ioc.forget()
        ioc.state = IocState.RESET
        ioc.scsi.reset_bus()
        ioc.note("reset", "hard")
        if no_boot or ioc.faults.hit("hard-reset-hangs") is not None:
            self._hung = True
            return
        struck = ioc.faults.hit("hard-reset-slow")
        took_ns = ioc.timing.hard_reset_ns if struck is None else struck.get("ns", 30 * _S)
        ioc.later(took_ns, self._up, "hard-reset-faults")

    def message_unit_reset(self) -> None:
        """Doorbell function 0x40: the message queues are emptied, the IOC is READY again."""
        ioc = self._ioc
        if ioc.faults.hit("message-reset-ignored") is not None:
            return
        struck = ioc.faults.hit("message-reset-slow")
        self._soft(ioc.timing.message_unit_reset_ns if struck is None else struck.get("ns", 14 * _S))

    def io_unit_reset(self) -> None:
        """Doorbell function 0x41: the same for the whole I/O unit, and it is heard in RESET too."""
        self._soft(self._ioc.timing.io_unit_reset_ns)

    def _soft(self, took_ns: int) -> None:
        ioc = self._ioc
        ioc.forget(soft=True)
        ioc.state = IocState.RESET
        ioc.scsi.reset_bus()
        ioc.note("reset", "soft")
        ioc.later(took_ns, self._up, "message-reset-faults")

    def _up(self, fault: str) -> None:
        ioc = self._ioc
        ioc.boot()
        if ioc.faults.hit("hard-reset-flash-bad") is not None:
            self._bits |= _FLASH_BAD
        struck = ioc.faults.hit(fault)
        if struck is not None:
            ioc.enter_fault(struck.get("code", _PRODUCT_FAULT))


class DiagAperture:
    """The second memory window: the IOC's own memory, for loading firmware.  Nothing of it is modelled."""

    def __init__(self, size: int) -> None:
        self.size = size

    def read(self, offset: int, size: int) -> int:
        """Always a RegisterAccessFault."""
        self._refuse("read", offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """Always a RegisterAccessFault."""
        self._refuse("write", offset, size)

    def _refuse(self, verb: str, offset: int, size: int) -> NoReturn:
        raise RegisterAccessFault(f"MptIoc: {size}-byte {verb} at {offset:#x} of the diagnostic aperture: it "
                                  "is for loading firmware only; registers are in the first memory window")
