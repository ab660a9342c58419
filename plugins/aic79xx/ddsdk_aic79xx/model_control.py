"""How the host controls the chip: modes, interrupts, reset and pause, queue offsets, program RAM; and its memories.

These registers are the same in every mode.  The rest of the register file is in model_core.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim.model import HwModel

from . import model_faulty
from .model_banks import CchanBank, CfgBank, DffBank, ScsiBank
from .model_bus import Bus
from .model_faults import FAULTS
from .model_scratch import SCRATCH_AT, SCRATCH_BYTES
from .model_scsi import ScsiCore
from .model_sequencer import Sequencer
from .regs import PAUSING, CommonRegs, ErrorBits, HCntrl, IntStat, Mode, Scratch, SeqCtl0, SeqIntCode
from .sequencer import (
    AHD_SCB_MAX,
    DOWNLOAD_CONSTANTS,
    FIRST_CONSTANT_WORD,
    IDLE_LOOP_ADDR,
    INSTRUCTION_BYTES,
    PROGRAM_WORDS_MAX,
)

if TYPE_CHECKING:
    from ddsdk.regs import Placed
    from ddsdk.sim.scsi_target import ScsiTarget

    from .model_chips import ChipProfile

SCB_BYTES: Final = 64
_NOISE: Final = 0xA5            # what memories hold after a reset
#: Where in the program each patched constant is.
_CONSTANTS: Final = {name: INSTRUCTION_BYTES * (FIRST_CONSTANT_WORD + number)
                     for number, name in enumerate(DOWNLOAD_CONSTANTS)}
Banks = tuple[DffBank, DffBank, CchanBank, ScsiBank, CfgBank]

_PAUSE: Final = HCntrl.PAUSE.mask
_SEQINT, _CMDCMPLT = IntStat.SEQINT.mask, IntStat.CMDCMPLT.mask


class RunState(Enum):
    """Of the chip as a whole."""

    RESET = "in reset: HCNTRL answers, and nothing else"
    READY = "out of reset, the sequencer runs or is paused"
    GONE = "nothing answers any more"


_READY: Final = RunState.READY


class ChipControl(HwModel):
    """The inside of one PCI function, and the registers that answer in every mode.

    `stopped`: the sequencer stands still.  `pause_wanted`: it will, once its step is done.  `mode_at_stop`: what has
    to be in MODE_PTR when it goes on.  `epoch` counts resets: what was scheduled in an earlier life does not happen.
    """

    regs = CommonRegs
    FAULTS = FAULTS

    def __init__(self, profile: ChipProfile, targets: Mapping[int, ScsiTarget]) -> None:
        self.profile, self.timing = profile, profile.timing
        self.epoch = 0
        self._line = False
        self.state = RunState.RESET
        self.mode_at_stop: int | None = None
        self.slots = bytearray(AHD_SCB_MAX * SCB_BYTES)
        self._slot_views: dict[int, memoryview] = {}        # of those that were looked at
        self.scratch = bytearray(SCRATCH_BYTES)
        self.program = bytearray()
        self.scsi = ScsiCore(self)
        self.sequencer = Sequencer(self)
        self.bus = Bus(self, targets)
        super().__init__()

    # -- lives -----------------------------------------------------------------------------------------

    def reset(self) -> None:
        """Power on: in reset, and acknowledged; memories hold anything."""
        self._forget()
        self.state, self.reset_acknowledged = RunState.RESET, True
        self.inten = 0

    def _forget(self) -> None:
        """What a chip reset leaves nothing of: all but what sits on the SCSI bus."""
        super().reset()
        self.epoch += 1
        self.intstat = self.error = self.seqintcode = 0
        self.stopped, self.pause_wanted, self.mode_at_stop, self.restarted = True, False, None, False
        self.loading = False
        self.bus_spoilt = False
        self.curaddr = IDLE_LOOP_ADDR
        self.noseqint_due = False
        self.mode = 0x33
        self.src = self.dst = int(Mode.SCSI)
        self.hnscb = self.snscb = self.sdscb = 0
        self.program.clear()
        self.slots[:] = bytes((_NOISE,)) * len(self.slots)
        self.scratch[:] = bytes((_NOISE,)) * len(self.scratch)
        for bank in self.__dict__.get("banks", ()):
            bank.reset()
        self.scsi.reset()
        self.sequencer.reset()
        self.bus.chip_reset()

    @cached_property
    def banks(self) -> Banks:
        """The registers of each mode; made when first looked at, for the second channel of a part idles mostly."""
        banks = (DffBank(self, 0), DffBank(self, 1), CchanBank(self), ScsiBank(self), CfgBank(self))
        for bank in banks:
            bank.trace = self.trace
        return banks

    @property
    def fifos(self) -> tuple[DffBank, DffBank]:
        """The data FIFOs."""
        return self.banks[:2]

    def unplugged(self) -> None:
        """Nothing moves any more."""
        self.vanish()

    def vanish(self) -> None:
        """All ones from now on."""
        self.epoch += 1
        self.state = RunState.GONE
        self.sequencer.reset()
        self.bus.chip_reset()
        self.intstat = 0
        self.drive_line()

    def later(self, delay_ns: int, fn: Callable[..., object], *args: Any) -> None:
        """Call `fn(*args)` in *delay_ns*, unless a reset comes first."""
        clock = self.clock
        clock.at_ns(clock.now_ns + delay_ns, self._if_alive, self.epoch, fn, args)

    def _if_alive(self, epoch: int, fn: Callable[..., object], args: tuple[Any, ...]) -> None:
        if epoch == self.epoch:
            fn(*args)

    # -- memories, for the sequencer -------------------------------------------------------------------

    def slot(self, tag: int) -> memoryview:
        """The 64 bytes of one on-chip SCB."""
        tag &= AHD_SCB_MAX - 1
        view = self._slot_views.get(tag)
        if view is None:
            at = tag * SCB_BYTES
            self._slot_views[tag] = view = memoryview(self.slots)[at:at + SCB_BYTES]
        return view

    def scbptr(self, mode: int) -> int:
        """The slot that *mode* looks at."""
        return self.banks[mode].values["SCBPTR"] & AHD_SCB_MAX - 1

    def get(self, field: Placed[Any]) -> int:
        """A field of the scratch page."""
        at = field.offset - SCRATCH_AT
        return int.from_bytes(self.scratch[at:at + field.size], "little")

    def put(self, field: Placed[Any], value: int) -> None:
        """Set a field of the scratch page."""
        at = field.offset - SCRATCH_AT
        self.scratch[at:at + field.size] = value.to_bytes(field.size, "little")

    def constant(self, name: str) -> int:
        """A constant that the loader patched into the program."""
        return self.program[_CONSTANTS[name]]

    # -- modes -----------------------------------------------------------------------------------------

    def set_mode(self, mode: int, scbptr: int | None = None) -> None:
        """The sequencer changes the mode, and the SCB pointer of it."""
        self.mode = mode | mode << 4
        self.src = self.dst = mode
        if scbptr is not None:
            self.banks[mode].values["SCBPTR"] = scbptr

    def r_MODE_PTR(self) -> int:
        """Which banks are shown."""
        return self.mode

    def w_MODE_PTR(self, value: int) -> None:
        """Show other banks."""
        src, dst = value & 0x07, value >> 4 & 0x07
        if src > Mode.CFG or dst > Mode.CFG:
            raise HardwareFault(f"MODE_PTR <- {int(value):#04x}: there are modes 0 to 4")
        self.mode, self.src, self.dst = int(value), src, dst

    # -- interrupts ------------------------------------------------------------------------------------

    def raise_int(self, bits: int) -> None:
        """Latch *bits* of INTSTAT; most of them stop the sequencer."""
        self.intstat |= bits
        if bits & PAUSING:
            self.stop()
        self.drive_line()

    def raise_seqint(self, code: SeqIntCode) -> None:
        """The sequencer has something for the host.  On a part that collides it may not show in INTSTAT."""
        self.seqintcode = int(code)
        self.noseqint_due = self.profile.collision and code is not SeqIntCode.NO_SEQINT
        if self.trace.on:
            self.trace.add("seqint", code.name)
        if self.profile.collision and self.intstat & _CMDCMPLT:
            self.stop()
            self.drive_line()
            return
        self.raise_int(_SEQINT)

    def r_INTSTAT(self) -> int:
        """What is latched."""
        return self.intstat

    def r_SEQINTCODE(self) -> int:
        """Why SEQINT."""
        return self.seqintcode

    def w_CLRINT(self, value: int) -> None:
        """Clear; SCSIINT comes back while its cause is there."""
        self.intstat &= ~int(value)
        self.scsi.look()
        self.drive_line()

    def r_ERROR(self) -> int:
        """What went wrong inside."""
        return self.error

    def w_CLRERR(self, value: int) -> None:
        """Clear."""
        self.error &= ~int(value)

    def hardware_error(self, bits: int) -> None:
        """The sequencer stops for good; only a reset and a download start it again."""
        self.error |= bits
        self.sequencer.reset()
        self.raise_int(IntStat.HWERRINT.mask)

    def drive_line(self) -> None:
        """INTEN gates the line, not INTSTAT."""
        level = bool(self.intstat and self.inten and self.state is _READY)
        if level is not self._line:
            self._line = level
            self.irq.set(level)

    # -- pause -----------------------------------------------------------------------------------------

    def stop(self) -> None:
        """The sequencer stands still; the mode it had has to be there again when it goes on."""
        self.pause_wanted = False
        if not self.stopped:
            self.stopped, self.mode_at_stop, self.restarted = True, self.mode, False

    def kick(self) -> None:
        """There may be something to do."""
        self.sequencer.go()

    def r_HCNTRL(self) -> int:
        """PAUSE reads 1 whenever the sequencer stands still, whatever stopped it."""
        if self.state is not _READY:
            return _PAUSE | (HCntrl.CHIPRST.mask if self.reset_acknowledged else 0)
        return (_PAUSE if self.stopped else 0) | self.inten

    def w_HCNTRL(self, value: int) -> None:
        """Reset, pause, go on, let interrupts through."""
        if value & HCntrl.CHIPRST.mask:
            self._reset_begins()
            return
        if self.state is RunState.RESET:
            if not self.reset_acknowledged:
                return                                  # it does not listen
            self._forget()
            self.state = RunState.READY
        self.inten = int(value) & HCntrl.INTEN.mask
        self.drive_line()
        if value & HCntrl.PAUSE.mask:
            self._pause()
        elif not self.intstat & PAUSING:                # it stays where it is while a cause is there
            self._go_on()

    def _reset_begins(self) -> None:
        self._forget()
        self.state, self.reset_acknowledged = RunState.RESET, False
        self.inten = 0
        self.drive_line()
        if self.faults.hit("reset-hangs") is None:
            self.later(self.timing.chip_reset_ns, self._acknowledge)

    def _acknowledge(self) -> None:
        self.reset_acknowledged = True

    def _pause(self) -> None:
        if self.stopped or self.faults.hit("pause-stuck") is not None:
            return
        if self.sequencer.acting:
            self.pause_wanted = True                    # when this step is done
        else:
            self.stop()

    def _go_on(self) -> None:
        if not self.stopped:
            self.pause_wanted = False
            return
        if self.loading or not self.program or self.bus_spoilt:
            self.stopped = False
            self.stop()
            self.hardware_error(ErrorBits.ILLOPCODE.mask)
            return
        if self.values["SEQCTL0"] & SeqCtl0.STEP.mask:
            self.stopped = False
            self.sequencer.step_out()
            return
        right = self.restarted or self.mode_at_stop is None or self.mode == self.mode_at_stop
        self.stopped, restarted, self.restarted = False, self.restarted, False
        if not right:
            self.raise_seqint(SeqIntCode.INVALID_SEQINT)
            return
        if restarted:
            self.sequencer.restart()
        if self.noseqint_due:
            self.raise_seqint(SeqIntCode.NO_SEQINT)     # the firmware's way round the collision
            self.noseqint_due = False
            return
        self.sequencer.go()

    # -- queue offsets ---------------------------------------------------------------------------------

    def r_HNSCB_QOFF(self) -> int:
        """What the host wrote."""
        return self.hnscb

    def w_HNSCB_QOFF(self, value: int) -> None:
        """There are new SCBs; a write of one byte takes effect at once, torn or not."""
        if self.faults.armed or self.sequencer.doomed:
            model_faulty.announced(self, int(value))
        self.values["HNSCB_QOFF"] = self.hnscb = int(value)
        self.kick()

    def w_HS_MAILBOX(self, value: int) -> None:
        """The firmware copies it."""
        self.store("HS_MAILBOX", value)
        self.put(Scratch.LOCAL_HS_MAILBOX, int(value))

    # -- program ---------------------------------------------------------------------------------------

    def w_SEQCTL0(self, value: int) -> None:
        """Load mode, single step, restart."""
        loading = bool(value & SeqCtl0.LOADRAM.mask)
        if loading and not self.loading:
            self.program.clear()
        elif self.loading and not loading:
            self._check_program()
        self.loading = loading
        self.values["SEQCTL0"] = int(value) & ~SeqCtl0.SEQRESET.mask
        if value & SeqCtl0.SEQRESET.mask:
            self.restarted = True

    def w_PRGMCNT(self, value: int) -> None:
        """Where the load goes on; this host loads from 0."""
        self.store("PRGMCNT", value)
        if self.loading and not value:
            self.program.clear()

    def w_SEQRAM(self, value: int) -> None:
        """A byte of the program."""
        if not self.loading:
            raise HardwareFault("SEQRAM written without SEQCTL0.LOADRAM: the program would be lost")
        self.program.append(int(value))

    def _check_program(self) -> None:
        words = len(self.program) // INSTRUCTION_BYTES
        if len(self.program) % INSTRUCTION_BYTES or not FIRST_CONSTANT_WORD < words <= PROGRAM_WORDS_MAX:
            raise HardwareFault(f"a program of {len(self.program)} bytes: it is 1 to {PROGRAM_WORDS_MAX} words of"
                                f" {INSTRUCTION_BYTES}")
        for at in range(0, len(self.program), INSTRUCTION_BYTES):
            if int.from_bytes(self.program[at:at + INSTRUCTION_BYTES], "little").bit_count() % 2 == 0:
                self.error |= ErrorBits.SQPARERR.mask
                self.raise_int(IntStat.HWERRINT.mask)
                return
