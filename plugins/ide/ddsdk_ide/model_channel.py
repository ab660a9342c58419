"""One channel: the drives on its cable, who answers, SRST, the interrupt line, its half of the bus master."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from ddsdk.errors import HardwareFault
from ddsdk.sim.ata_drive import AtaDrive
from ddsdk.sim.ata_taskfile import BSY, DRQ

from .model_dma import AtomicEngine, Engine
from .model_drive import DriveModel
from .model_ports import CommandWindow, ControlWindow
from .regs import BmStatus, Control

if TYPE_CHECKING:
    from ddsdk.sim.clock import Clock
    from ddsdk.sim.dma import DmaDomain

    from .model import PiixIde

_IDEINTS: Final = BmStatus.IDEINTS.mask
_AT_WORK: Final = BSY | DRQ

US: Final = 1_000
MS: Final = 1_000_000
S: Final = 1_000_000_000

#: Diagnostic codes: nothing wrong; drive 0 is broken; bit 7: drive 1 is.
_PASSED: Final = 0x01
_BROKEN: Final = 0x02
_DRIVE_1_FAILED: Final = 0x80


@frozen
class Timing:
    """Virtual nanoseconds: orders of magnitude of 2004, not measurements.  A drive's own time is in its AtaTiming."""

    busy_ns: int = 400                  # from COMMAND until BSY shows
    srst_ns: int = 5 * US               # SRST has to be set for so long
    # with a fault
    again_ns: int = 20 * US
    reset_slow_ns: int = 20 * S
    late_ns: int = 5 * S


class ChannelModel:
    """Channel *number* of *piix* with *drives*, by unit.

    `device`, `control`: the registers that both drives hold, `nien` and `hob` bits of the latter, as they count now.
    `line`: what the interrupt line does.  `decoded`: the interface answers at the channel's ports.  `may_be_silent`:
    `silent()` may say so; while it is not set and no fault is armed it does not.
    """

    def __init__(self, piix: PiixIde, number: int, drives: Mapping[int, AtaDrive]) -> None:
        self.piix = piix
        self.number = number
        self.BM_COMMAND, self.BM_STATUS = f"COMMAND[{number}]", f"STATUS[{number}]"
        self.personality = piix.personality
        self.timing = piix.timing
        self.strikes: Callable[[str], dict[str, Any] | None] = piix.faults.hit
        self.engine: Engine = (AtomicEngine if piix.personality.atomic else Engine)(self)
        self._drives = drives
        self.decoded = not piix.personality.strict
        self.command_block = CommandWindow(self)
        self.control_block = ControlWindow(self)
        self.reset()

    def reset(self) -> None:
        """Power on, long ago."""
        self.device, self.control = 0xA0 if self.personality.reset_device else 0, Control()
        self.hob, self.nien = 0, False
        self.line = self.gone = False
        self.may_be_silent = not self.decoded
        self._srst_since_ns = 0
        self.sides = {unit: DriveModel(self, unit, drive) for unit, drive in sorted(self._drives.items())}
        self.engine.forget()

    def plugged(self) -> None:
        """The function is on its bus."""
        self.clock: Clock = self.piix.clock
        self.dma: DmaDomain = self.piix.dma

    @property
    def selected(self) -> DriveModel | None:
        """The drive that answers."""
        return self.sides.get(self.device >> 4 & 1)

    def silent(self) -> bool:
        """Nobody decodes the ports, or the cable is off."""
        if self.gone or self.piix.gone or not self.decoded:
            return True
        armed = self.piix.faults.armed
        if armed and ("adapter-gone" in armed or "drive-gone" in armed):
            if self.piix.silent():
                return True
            if self.strikes("drive-gone") is not None:
                self.pull_cable()
        return self.gone

    def pull_cable(self) -> None:
        """The drives are gone for good."""
        self.gone = self.may_be_silent = True
        for side in self.sides.values():
            side.reset_begins()
        self.engine.drives_reset()
        self.drive_line()

    # -- configuration ---------------------------------------------------------------------------------------

    def timing_written(self) -> None:
        """IDETIM may have changed.  QEMU's interface decodes whatever it says."""
        self.decoded = bool(self.piix.idetim(self.number).IDE) or not self.personality.strict
        self.may_be_silent = self.gone or not self.decoded

    def check_timing(self, unit: int, mode: int) -> None:
        """HardwareFault when the interface is programmed for something that *mode*, set by the host, cannot do."""
        why = self.piix.timing_misfit(self.number, unit, mode)
        if why:
            raise HardwareFault(f"DMA with drive {unit} of channel {self.number} in mode {mode:#x}: {why}")

    # -- the line and the bus master's registers -------------------------------------------------------------

    def drive_line(self) -> None:
        """The line is up while the selected drive asks and nIEN lets it; BMISX remembers its rise."""
        side = self.sides.get(self.device >> 4 & 1)
        up = side is not None and side.intrq and not self.nien and not self.gone and not self.piix.gone
        if up is self.line:
            return
        if up:
            self.bm_status(_IDEINTS, 0)
        self.line = up
        self.piix.drive_line()

    def bm_status(self, up: int, down: int) -> None:
        """Set and clear bits of BMISX."""
        values = self.piix.values
        values[self.BM_STATUS] = values[self.BM_STATUS] & ~down | up

    # -- registers -------------------------------------------------------------------------------------------

    def push(self, name: str, value: int) -> None:
        """The host writes a register of the command block: both drives take it that have no command under way."""
        for side in self.sides.values():
            if not side.status & _AT_WORK:
                pairs = side.pairs
                pairs[name] = (value, pairs[name][0])
        self.hob = 0

    def pull(self, name: str) -> int:
        """The host reads one: the selected drive answers, for one that is not there the other does."""
        side = self.selected
        if side is None:
            return self._absent(name)
        return side.pairs[name][self.hob]

    def _absent(self, name: str) -> int:
        other = next(iter(self.sides.values()), None)
        if other is None or (other.unit and not self.device >> 4 & 1):
            return self.personality.floating
        absent = self.personality.absent
        return other.pairs[name][0] if absent is None else int(getattr(absent, name.lower()))

    def status(self) -> int:
        """Of the selected drive; 00 where drive 0 answers for a drive 1 that is not there."""
        side = self.selected
        if side is not None:
            return side.status
        return 0 if 0 in self.sides else self.personality.floating

    def select(self, value: int) -> None:
        """DEVICE is written."""
        side = self.selected
        if side is not None and side.status & _AT_WORK:
            if self.personality.strict:
                raise HardwareFault(f"DEVICE <- {value:#04x} while STATUS is {side.status:#04x}: a drive is deselected"
                                    " only at rest")
            return
        changed, self.device, self.hob = (self.device ^ value) & 0x10, value, 0
        if changed:
            self.drive_line()

    # -- control ---------------------------------------------------------------------------------------------

    def set_control(self, value: Control) -> None:
        """SRST begins and ends a reset, NIEN holds the line down, HOB chooses a byte."""
        before, self.control, self.hob = self.control, value, value.HOB
        self.nien = bool(value.NIEN)
        if value.SRST and not before.SRST:
            self.engine.drives_reset()
            for side in self.sides.values():
                side.reset_begins()
            self.device = self.personality.reset_device | (self.device & 0x10 if self.personality.atomic else 0)
            self._srst_since_ns = self.clock.now_ns
        elif before.SRST and not value.SRST:
            self._srst_ends()
        self.drive_line()

    def _srst_ends(self) -> None:
        held_ns = self.clock.now_ns - self._srst_since_ns
        if held_ns < self.timing.srst_ns and self.personality.strict:
            raise HardwareFault(f"SRST was set for {held_ns} ns; the drives want {self.timing.srst_ns}")
        if self.strikes("reset-hangs") is not None:
            return
        took_ns = max((side.drive.timing.reset_ns for side in self.sides.values()), default=0)
        struck = self.strikes("reset-slow")
        if struck is not None:
            took_ns = struck.get("ns", self.timing.reset_slow_ns)
        code = _BROKEN if self.strikes("reset-diagnosis") is not None else _PASSED
        if 1 in self.sides and self.strikes("reset-drive-1") is not None:
            code |= _DRIVE_1_FAILED
        busy = 1 in self.sides and self.strikes("drive-1-busy") is not None
        for unit, side in self.sides.items():
            if not (unit and busy):
                side.later(took_ns, side.reset_ends, _PASSED if unit else code)
