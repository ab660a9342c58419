"""The chip's state: pause, interrupts, resets, and who may access what when.

Stricter than silicon: but for a few registers the host may write only while the sequencer is paused, and not before it
has read CCSCBCTL; unpausing with something pending, or without a program, is noticed.  hw-aic7xxx.md 3, 6, 16.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim.model import HwModel

from .model_chip import ChipProfile, S, Timing
from .model_faults import FAULTS
from .regs import (
    ALL_ONES,
    CRITICAL_SECTIONS,
    DEVCONFIG_DACEN,
    INT_PEND,
    INT_STOPS,
    NONE,
    PCIR_CACHE_LINE_SIZE,
    PCIR_DEVCONFIG,
    SLOT_BYTES,
    SLOTS,
    AhcRegs,
    Error,
    HCntrl,
    IntStat,
    Phase,
    SeqCtl,
    SStat1,
)

if TYPE_CHECKING:
    from .model_sequencer import Sequencer

CMDCMPLT: Final = IntStat.CMDCMPLT.mask
SCSIINT: Final = IntStat.SCSIINT.mask
BRKADRINT: Final = IntStat.BRKADRINT.mask
_PAUSE, _INTEN, _CHIPRST = HCntrl.PAUSE.mask, HCntrl.INTEN.mask, HCntrl.CHIPRST.mask
LOADRAM: Final = SeqCtl.LOADRAM.mask
#: What the host may write while the sequencer runs: HCNTRL, CLRINT, HNSCB_QOFF, HS_MAILBOX.
_LIVE_WRITES: Final = frozenset((0x87, 0x92, 0xF4, 0x86))
#: What lists are made of: NEXT_QUEUED_SCB, list heads, SCBPTR, the SCB window.
_LISTS: Final = frozenset((0x39, 0x40, 0x41, 0x42, 0x90, *range(0xA0, 0xC0)))
BUSFREE: Final = SStat1.BUSFREE.mask


class Run(Enum):
    """What the sequencer is doing, as far as the host is concerned."""

    RESET = "reset"             # CHIPRST is set
    PAUSED = "paused"
    RUN = "running"


_RUN, _PAUSED = Run.RUN, Run.PAUSED


class ScbRam:
    """The SCB RAM of a package: a bank for each function, chosen by SCBBADDR."""

    def __init__(self, banks: int) -> None:
        self.banks = [[bytearray(b"\xa5" * SLOT_BYTES) for _ in range(SLOTS)] for _ in range(banks)]


class _Nobody(dict[int, tuple[Callable[[], int], str]]):
    """Every read gives all ones."""

    def get(self, _key: int, _default: Any = None) -> Any:
        """Whatever is asked."""
        return (lambda: ALL_ONES), "nobody"


class AhcCore(HwModel):
    """One function of a package: registers and pausing.  The sequencer is `seq`."""

    regs = AhcRegs
    FAULTS = FAULTS
    seq: Sequencer

    def __init__(self, profile: ChipProfile, number: int, ram: ScbRam, timing: Timing | None = None) -> None:
        self.profile = profile
        self.timing = timing or profile.timing
        self.number = number
        self.ram = ram
        self.epoch = 0
        self.gone = False
        super().__init__()

    # -- power on, reset ---------------------------------------------------------------------------

    def reset(self) -> None:
        """Power on, long ago, and no BIOS has touched it: as after a chip reset that nobody acknowledged."""
        super().reset()
        self.hscb_address, self.queue_address = self.scratch32("HSCB_ADDR"), self.scratch32("SHARED_DATA_ADDR")
        self._defaults()
        self.run = Run.PAUSED
        self.ack = True
        self.ccscb_due = True

    def _defaults(self) -> None:
        """What CHIPRST does to the registers.  Scratch RAM, SCB RAM keep what they hold; the program does not count."""
        keep = {one.name: self.values[one.name] for one in self.regs.registers
                if 0x20 <= one.offset < 0x60 or 0x70 <= one.offset < 0x80}
        for placed in self.regs.registers:
            self.values[placed.name] = int(placed.reset)
        self.values.update(keep)
        self.values["SBLKCTL"] = 0x02
        self.intstat = self.error = 0
        self.sstat0 = self.sstat2 = 0
        self.sstat1 = BUSFREE
        self.atn = False
        self.hcntrl = self.high_address = 0
        self.program = bytearray()
        self.program_bad = False
        self.restart_due = True             # unpaused, it begins at 0
        self.steps_left = 0                 # instructions until the program is out of a critical section
        self._loading_at = 0
        self._stuck = False
        self._line = False
        self.slots = self.ram.banks[0]
        self.slot = self.slots[0]

    def plugged(self) -> None:
        """The bus is there."""
        self.settle_at_ns = 0
        self._note_config()

    def config_written(self, offset: int, size: int) -> None:
        """What DMA goes by."""
        self._note_config()

    def unplugged(self) -> None:
        """Nothing moves any more."""
        self.gone = True
        self.stop()

    def stop(self) -> None:
        """What was under way on the chip does not happen; targets know nothing of it."""
        self.epoch += 1
        self.seq.stop()

    def later(self, delay_ns: int, fn: Callable[..., object], *args: Any) -> None:
        """Call `fn(*args)` in *delay_ns*, unless the chip is reset first."""
        self.clock.after_ns(delay_ns, self._if_alive, self.epoch, fn, args)

    def _if_alive(self, epoch: int, fn: Callable[..., object], args: tuple[Any, ...]) -> None:
        if epoch == self.epoch:
            fn(*args)

    def _chip_reset(self) -> None:
        self.run = Run.RESET
        self.stop()
        self._defaults()
        self.drive_line()
        self.ack = False
        if self.faults.hit("reset-hangs") is not None:
            return
        struck = self.faults.hit("reset-slow")
        took_ns = self.timing.chip_reset_ns if struck is None else struck.get("ns", 4 * S)
        self.later(took_ns, self._reset_over)

    def _reset_over(self) -> None:
        self.ack = True
        if self.faults.hit("transceiver-unsettled") is None:
            self.later(self.timing.transceiver_ns, self._settled)

    def _settled(self) -> None:
        self.values["SBLKCTL"] |= 0x08

    # -- the bus side: who may access what when ----------------------------------------------------

    def write(self, offset: int, size: int, value: int) -> None:
        """See `HwModel.write`.  HardwareFault for what has to wait until the sequencer is paused."""
        if self.gone or (self.faults.armed and self._vanishes()):
            return
        if offset not in _LIVE_WRITES:
            if self.run is not _PAUSED:
                raise HardwareFault(f"{type(self).__name__}: write of {value:#x} at {offset:#x} while the sequencer is"
                                    f" {self.run.value}; pause it first")
            if self.ccscb_due and offset != AhcRegs.CCSCBCTL.offset:
                raise HardwareFault(f"{type(self).__name__}: write of {value:#x} at {offset:#x} before CCSCBCTL was"
                                    " read; it has to be, once after every pause")
        if self.steps_left and offset in _LISTS:
            raise HardwareFault(f"{type(self).__name__}: write of {value:#x} at {offset:#x} with the sequencer in a"
                                " critical section; lists are half linked there, step it out first")
        super().write(offset, size, value)

    def _vanishes(self) -> bool:
        """Whether the chip is gone by now; nothing of it answers from then on."""
        if self.faults.hit("adapter-gone") is not None:
            self.gone = True
            self.stop()
            self._readers = _Nobody()
            if self._line:
                self._line = False
                self.irq.set(False)
        return self.gone

    # -- pause -------------------------------------------------------------------------------------

    def r_HCNTRL(self) -> int:
        """PAUSE reads 1 whenever the sequencer stands still."""
        if self.faults.armed and self._vanishes():
            return ALL_ONES
        paused = 0 if self.run is Run.RUN or self._stuck else _PAUSE
        return self.hcntrl & ~(_PAUSE | _CHIPRST) | paused | (_CHIPRST if self.ack else 0)

    def w_HCNTRL(self, value: HCntrl) -> None:
        """CHIPRST, INTEN, PAUSE."""
        if value & _CHIPRST:
            self._chip_reset()
            return
        if self.run is Run.RESET:
            if not self.ack:
                return                      # a reset that is not over
            self.run = Run.PAUSED
        self.ack = False
        self.hcntrl = int(value)
        self.drive_line()
        if value & _PAUSE:
            if self.run is Run.RUN and self.faults.hit("pause-stuck") is not None:
                self._stuck = True
            else:
                self._maybe_critical()
                self.pause()
        elif self.run is Run.PAUSED:
            self._unpause()

    def _maybe_critical(self) -> None:
        """The program may be where a list is half linked."""
        if self.run is Run.RUN and self.faults.armed:
            struck = self.faults.hit("critical-section")
            if struck is not None:
                self.steps_left = struck.get("steps", 5)

    def r_SEQADDR0(self) -> int:
        """The next instruction's address."""
        first, last = CRITICAL_SECTIONS[0]
        return first if self.steps_left else last

    def r_SEQADDR1(self) -> int:
        """Its high bits."""
        return 0

    def pause(self) -> None:
        """The sequencer stands still."""
        self._stuck = False
        if self.run is Run.RUN:
            self.run = Run.PAUSED
            self.ccscb_due = True

    def _unpause(self) -> None:
        if self.intstat & INT_STOPS:
            raise HardwareFault(f"{type(self).__name__}: unpaused with INTSTAT {self.intstat:02x}; what stopped the"
                                " sequencer would be lost, deal with it and clear it first")
        if self.values["SEQCTL"] & LOADRAM:
            raise HardwareFault(f"{type(self).__name__}: unpaused with SEQCTL.LOADRAM set: the program is being loaded")
        if self.values["SEQCTL"] & SeqCtl.STEP.mask:
            self.steps_left = max(0, self.steps_left - 1)
            self.ccscb_due = True           # it is paused again
            return
        self.steps_left = 0                 # it goes on where it was
        self.run = Run.RUN
        if not self.program or self.program_bad:
            self.break_address(Error.SQPARERR.mask if self.program_bad else Error.ILLOPCODE.mask)
            return
        restart, self.restart_due = self.restart_due, False
        self.seq.go_on(restart)

    def r_CCSCBCTL(self) -> int:
        """Read once after every pause."""
        self.ccscb_due = False
        return self.values["CCSCBCTL"]

    # -- interrupts --------------------------------------------------------------------------------

    def drive_line(self) -> None:
        """The line is up while INTSTAT has something and INTEN lets it."""
        level = bool(self.intstat & INT_PEND) and bool(self.hcntrl & _INTEN)
        if level is self._line:
            return
        if level and self.faults.armed and self.faults.hit("irq-lost") is not None:
            return
        self._line = level
        self.irq.set(level)

    def interrupt(self, bits: int) -> None:
        """Set bits of INTSTAT; all but CMDCMPLT stop the sequencer."""
        self.intstat |= bits
        if bits & INT_STOPS:
            self.pause()
        self.drive_line()

    def break_address(self, error: int) -> None:
        """BRKADRINT: the chip can go on no more."""
        self.error |= error
        self.stop()
        self.interrupt(BRKADRINT)

    def look_at_bus(self) -> None:
        """SCSIINT while an enabled status is there."""
        if self.sstat0 & self.values["SIMODE0"] or self.sstat1 & self.values["SIMODE1"]:
            self._maybe_critical()
            self.interrupt(SCSIINT)

    def r_INTSTAT(self) -> int:
        """What stopped it, and completions."""
        if self.faults.armed and self._vanishes():
            return ALL_ONES
        return self.intstat

    def r_ERROR(self) -> int:
        """Why BRKADRINT; PCI errors."""
        return self.error

    def w_CLRINT(self, value: int) -> None:
        """SEQINT takes its code along; SCSIINT comes back while its cause is there."""
        self.intstat &= ~(value & (CMDCMPLT | SCSIINT | BRKADRINT))
        if value & 0x01:
            self.intstat &= INT_PEND & ~0x01
        if value & 0x10:
            self.error = 0
            self.seq.errors_cleared()
        if value & SCSIINT:
            self.look_at_bus()
        self.drive_line()

    # -- configuration space ---------------------------------------------------------------------

    @property
    def cache_line_bytes(self) -> int:
        """As firmware or driver set it."""
        return 4 * (self.config.read(PCIR_CACHE_LINE_SIZE, 1) & 0x3F)

    def _note_config(self) -> None:
        """`reach`: the first address that DMA does not get to; `sg_bytes`: S/G elements come in pieces of so many."""
        self.reach = 1 << (39 if self.config.read(PCIR_DEVCONFIG, 4) & DEVCONFIG_DACEN else 32)
        self.sg_bytes = min(64, max(16, self.cache_line_bytes))

    # -- for the sequencer -------------------------------------------------------------------------

    def scratch32(self, name: str) -> int:
        """Four scratch bytes as an address."""
        values = self.values
        return sum(values[f"{name}[{n}]"] << 8 * n for n in range(4))

    @property
    def bus_phase(self) -> Phase | int:
        """LASTPHASE."""
        return self.values["LASTPHASE"]


def no_slot(slot: int) -> bool:
    """Whether a list ends there."""
    return slot == NONE or slot >= SLOTS
