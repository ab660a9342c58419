"""The adapter's state, and what its parts need of each other: lives, faults, interrupt bits, BIST and start.

    RESET --START--> STARTING --> OPER --ID HRRQ--> READY      any state --BIST--> BIST --> RESET
    READY --fault--> UNITCHECK: nothing is fetched or posted any more       READY --fault--> DEAD: nothing is posted

hw-ipr.md section 13; what that calls a modelling choice is one here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any

from ddsdk.bus import PCI_COMMAND, PCI_COMMAND_MASTER
from ddsdk.errors import HardwareFault
from ddsdk.sim.model import HwModel
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget

from .model_chips import GEMSTONE, ChipProfile, Timing
from .model_commands import AdapterCommands
from .model_hrrq import Hrrq
from .model_mailbox import Mailbox
from .model_requests import Requests
from .model_scsi import ScsiIo
from .regs import ALL_ONES, CRIT_OP, RESET_ALERT, TO_OPER, UNIT_CHECK, Interrupt

S = 1_000_000_000
MS = 1_000_000


class State(Enum):
    """What the firmware is up to."""

    RESET = "power on or BIST is over; nobody started it"
    BIST = "the built-in self test runs; nothing answers"
    STARTING = "told to start"
    OPER = "operational, without a host response queue"
    READY = "takes every request"
    UNITCHECK = "the firmware failed"
    DEAD = "takes requests, and nothing comes of them"


class IoaCore(HwModel):
    """State of one adapter and what its parts do to each other; `model_ioa` adds the registers."""

    #: The function it is in; set by whoever makes it.
    pci: SimPciFunction

    def __init__(self, chip: ChipProfile = GEMSTONE,
                 targets: Mapping[tuple[int, int], ScsiTarget] | None = None, timing: Timing | None = None) -> None:
        self.chip = chip
        self.timing = timing or chip.timing
        #: Counts lives: what was scheduled in an earlier one does not happen.
        self.epoch = 0
        #: Counts starts; resource handles of one start mean nothing in the next.
        self.starts = 0
        self.line = False
        self.state = State.RESET
        self.hrrq = Hrrq(self)
        self.mailbox = Mailbox(self)
        self.requests = Requests(self)
        self.commands = AdapterCommands(self)
        self.scsi = ScsiIo(self, targets or {})
        super().__init__()

    def reset(self) -> None:
        """Power on."""
        super().reset()
        self._gone = False
        self._broken = False
        self.silent = False
        self.starts = 0
        self.mailbox.forget()
        self._come_out_of_reset()

    def plugged(self) -> None:
        """The bus is there: the hot paths keep what they need of it."""
        self.requests.plugged()
        self.hrrq.plugged()

    def unplugged(self) -> None:
        """Nothing moves any more."""
        self.forget()

    def forget(self) -> None:
        """What no reset leaves behind: requests, queue, everything scheduled."""
        self.epoch += 1
        self.requests.forget()
        self.scsi.forget()
        self.commands.forget()
        self.hrrq.forget()
        self.mailbox.stop()

    # -- for the parts ---------------------------------------------------------------------------------

    def later(self, delay_ns: int, fn: Callable[..., object], *args: Any) -> None:
        """Call `fn(*args)` in *delay_ns*, unless a reset or a unit check comes first."""
        self.clock.after_ns(delay_ns, self._if_alive, self.epoch, fn, args)

    def _if_alive(self, epoch: int, fn: Callable[..., object], args: tuple[Any, ...]) -> None:
        if epoch == self.epoch:
            fn(*args)

    def note(self, kind: str, text: str) -> None:
        """Leave a line in the trace."""
        if self.trace.on:
            self.trace.add(kind, text)

    # -- interrupt bits --------------------------------------------------------------------------------

    def raise_int(self, bits: int) -> None:
        """Bits of INT come up."""
        self.int |= bits
        self.drive_line()

    def drive_line(self) -> None:
        """The line follows INT and MASK."""
        level = bool(self.int & ~self.mask)
        if level is self.line:
            return
        if self.faults.armed:
            if level and self.faults.hit("irq-lost") is not None:
                return
            if not level and self.faults.hit("irq-stuck") is not None:
                return
        self.line = level
        self.irq.set(level)

    def _line_down(self) -> None:
        if self.line:
            self.line = False
            self.irq.set(False)

    def can_dma(self) -> bool:
        """Whether the bus lets the adapter reach memory; where not, it says so in INT."""
        if self.dma.bus_master:
            return True
        if not self.dma.removed:
            self.raise_int(Interrupt.XFER_FAIL.mask)
        return False

    def drop_bus_master(self) -> None:
        """Somebody switched bus mastering off."""
        self.pci.config_write(PCI_COMMAND, 2, self.pci.config_read(PCI_COMMAND, 2) & ~PCI_COMMAND_MASTER)

    # -- lives -----------------------------------------------------------------------------------------

    def _come_out_of_reset(self) -> None:
        self.state = State.RESET
        self.silent = self._gone
        self.int = 0
        self.mask = ALL_ONES
        self.uproc = 0
        self._alerted_ns = -self.timing.budget_ns
        self.forget()
        self._line_down()

    def bist_started(self, over: Callable[[int], None]) -> bool:
        """See `HwModel.bist_started`.  It is the adapter's only reset, and can be begun in any state."""
        if self._gone:
            return False
        if self.int & CRIT_OP and self.clock.now_ns - self._alerted_ns < self.timing.budget_ns:
            raise HardwareFault("IprIoa: BIST while flash is being written (INT bit 25), less than 2 s after the"
                                " RESET_ALERT: the firmware image is lost; wait while the bit is up, 2 s at most")
        kept = self.state is State.UNITCHECK
        self.note("reset", "BIST")
        self._come_out_of_reset()
        if not kept:
            self.mailbox.forget()
        self.state = State.BIST
        self.silent = True
        self.scsi.bus_reset()
        if self.faults.hit("bist-hangs") is None:
            self.later(self.timing.bist_ns, self._bist_over, over)
        return True

    def _bist_over(self, over: Callable[[int], None]) -> None:
        failed = self.faults.hit("bist-fails")
        self._broken = failed is not None
        over(0 if failed is None else failed.get("code", 1))
        self._come_out_of_reset()

    def start(self, runtime: bool) -> None:
        """The host told the firmware to initialise itself; *runtime*: it says that this is not the first time."""
        self.note("start", "runtime reset" if runtime else "power on")
        if self.state is not State.RESET or self._broken:
            self.note("start", f"ignored in {self.state.name}")
            return
        self.state = State.STARTING
        self.mailbox.forget()
        if self.faults.hit("never-operational") is not None:
            return
        slow = self.faults.hit("operational-slow")
        self.later(self.timing.start_ns if slow is None else slow.get("ns", 30 * S), self._operational)

    def _operational(self) -> None:
        self.state = State.OPER
        self.starts += 1
        self.scsi.assign_handles()
        self.raise_int(TO_OPER)

    def got_hrrq(self) -> None:
        """ID HOST RR Q was carried out."""
        self.state = State.READY

    def enter_unit_check(self, prc: int = 0x12345678) -> None:
        """The firmware fails: nothing is fetched, carried out or posted any more."""
        self.epoch += 1
        self.state = State.UNITCHECK
        self.requests.forget()
        self.scsi.forget()
        self.mailbox.unit_check(prc)
        self.raise_int(UNIT_CHECK)
        self.note("unit-check", f"{prc:#010x}")

    def enter_dead(self) -> None:
        """The firmware hangs without a word."""
        self.epoch += 1
        self.state = State.DEAD
        self.requests.forget()
        self.scsi.forget()

    def vanish(self) -> None:
        """Every register reads all ones from now on."""
        self.epoch += 1
        self._gone = self.silent = True
        self.requests.forget()
        self.scsi.forget()
        self._line_down()

    # -- alerts ----------------------------------------------------------------------------------------

    def alert(self) -> None:
        """RESET_ALERT was set: a reset is coming.  Flash that is being written shows in INT meanwhile."""
        self._alerted_ns = self.clock.now_ns
        busy = self.faults.hit("crit-op")
        if busy is not None:
            self.raise_int(CRIT_OP)
            self.later(busy.get("ns", S), self._uncritical)

    def _uncritical(self) -> None:
        self.int &= ~CRIT_OP
        self.drive_line()

    def drop_reset_alert(self) -> None:
        """The firmware takes RESET_ALERT back at the end of a handshake of MAILBOX."""
        self.uproc &= ~RESET_ALERT
