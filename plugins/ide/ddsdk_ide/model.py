"""PIIX function 1 as the PCI host sees it: two channels in compatibility mode, the bus master, timing registers.

Stricter than silicon: what the documents forbid or leave open is a HardwareFault here, but for the personality `QEMU`,
which does what QEMU's piix3-ide does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final

from ddsdk.errors import HardwareFault
from ddsdk.hookspecs import Chip, HardwareModelInfo, QemuAdapter
from ddsdk.regs import Reg32
from ddsdk.sim.ata_drive import AtaDrive
from ddsdk.sim.ata_taskfile import MWDMA_MODE, UDMA_MODE
from ddsdk.sim.clock import Clock
from ddsdk.sim.dma import DmaDomain
from ddsdk.sim.irq import IrqPin
from ddsdk.sim.machine import Machine
from ddsdk.sim.model import HwModel
from ddsdk.sim.pci import BarSpec, ConfigRegister, SimPciFunction
from ddsdk.sim.trace import Trace

from .chips import PIIX3, PIIX4
from .model_channel import ChannelModel, Timing
from .model_faults import FAULTS
from .model_personality import REAL, Personality
from .regs import (
    CLASS_CODE,
    COMPATIBLE_PORTS,
    IDETIM,
    SIDETIM,
    UDMACTL,
    UDMATIM,
    BmCommand,
    BmStatus,
    BusMaster,
    CommandBlock,
    ControlBlock,
    IdeTim,
)

#: (ISP, RTC) that no multiword mode is faster than: PIO 0 (480 ns), 3 and 4.
_MWDMA: Final = ((0, 0), (2, 1), (2, 3))
#: BMISX bits a write reaches.
_NOTES: Final = BmStatus.DMA1CAP.mask | BmStatus.DMA0CAP.mask
_EVENTS: Final = BmStatus.IDEINTS.mask | BmStatus.ERROR.mask
_RWCON, _SSBM, _BMIDEA = BmCommand.RWCON.mask, BmCommand.SSBM.mask, BmStatus.BMIDEA.mask
_COMMAND_BITS: Final = _RWCON | _SSBM


class PiixIde(HwModel):
    """The function, with *drives* by (channel, unit).  `gone`: pulled out, or dead as if it were."""

    regs = BusMaster
    FAULTS = FAULTS

    def __init__(self, drives: Mapping[tuple[int, int], AtaDrive], personality: Personality = REAL,
                 timing: Timing | None = None, *, ultra: bool = False) -> None:
        self.personality = personality
        self.timing = timing or Timing()
        self.ultra = ultra
        self.gone = False
        self.channels: tuple[ChannelModel, ...] = ()
        self._misfits: dict[tuple[int, int, int], str] = {}     # since configuration space was written last
        super().__init__()
        self.channels = tuple(
            ChannelModel(self, number, {unit: drive for (channel, unit), drive in drives.items()
                                        if channel == number and drive.present}) for number in range(2))
        for channel in self.channels:
            self.windows[f"command{channel.number}"] = channel.command_block
            self.windows[f"control{channel.number}"] = channel.control_block

    def reset(self) -> None:
        """Power on, long ago."""
        super().reset()
        for channel in self.channels:
            channel.reset()

    def connect(self, clock: Clock, dma: DmaDomain, irq: IrqPin, trace: Trace) -> None:
        """See `HwModel.connect`; the channels' windows trace as well."""
        for channel in self.channels:
            channel.command_block.trace = channel.control_block.trace = trace
        super().connect(clock, dma, irq, trace)

    def plugged(self) -> None:
        """See `HwModel.plugged`."""
        for channel in self.channels:
            channel.plugged()

    def unplugged(self) -> None:
        """Pulled out: it does nothing any more."""
        self.gone = True
        for channel in self.channels:
            channel.pull_cable()

    def silent(self) -> bool:
        """Nobody answers."""
        if not self.gone and self.faults.armed and self.faults.hit("adapter-gone") is not None:
            self.unplugged()
        return self.gone

    def drive_line(self) -> None:
        """One line for both channels here: IRQ 14 and 15 are two."""
        one, other = self.channels
        self.irq.set(one.line or other.line)

    # -- the bus master --------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> int:
        """See `HwModel.read`; all ones once it is gone."""
        return (1 << 8 * size) - 1 if (self.gone or self.faults.armed) and self.silent() else super().read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """See `HwModel.write`; lost once it is gone."""
        if not ((self.gone or self.faults.armed) and self.silent()):
            super().write(offset, size, value)

    def w_COMMAND(self, index: int, value: BmCommand) -> None:
        """SSBM from 0 to 1 begins, 0 stops it at once.  RWCON stays while it is active."""
        channel, new = self.channels[index], int(value) & _COMMAND_BITS
        before, start = self.values[channel.BM_COMMAND], new & _SSBM
        if start and (before ^ new) & _RWCON and self.personality.strict and self.values[channel.BM_STATUS] & _BMIDEA:
            raise HardwareFault(f"BMICX <- {int(value):#04x} of channel {index}: RWCON changes while it is active")
        self.values[channel.BM_COMMAND] = new
        if not start:
            channel.engine.stop()
        elif not before & start:
            channel.engine.start(self.values[f"TABLE[{index}]"])

    def r_STATUS(self, index: int) -> int:
        """As it stands."""
        return self.values[self.channels[index].BM_STATUS]

    def w_STATUS(self, index: int, value: BmStatus) -> None:
        """Events are cleared by a 1, notes about the drives are kept."""
        values, name = self.values, self.channels[index].BM_STATUS
        values[name] = values[name] & ~(value & _EVENTS | _NOTES) | value & _NOTES

    def r_RESERVED1(self, _index: int) -> int:
        """Nobody drives it."""
        return 0xFF

    def r_RESERVED3(self, _index: int) -> int:
        """Nobody drives it."""
        return 0xFF

    def w_TABLE(self, index: int, value: Reg32) -> None:
        """Bits 1:0 are 0."""
        self.values[f"TABLE[{index}]"] = int(value) & ~3

    # -- configuration space ---------------------------------------------------------------------------------

    def config_written(self, offset: int, size: int) -> None:
        """See `HwModel.config_written`."""
        self._misfits.clear()
        for channel in self.channels:
            channel.timing_written()

    def idetim(self, channel: int) -> IdeTim:
        """Decoding and timing of *channel*."""
        return IdeTim(self.config.read(IDETIM[channel], 2))

    def timing_misfit(self, channel: int, unit: int, mode: int) -> str:
        """Why the interface cannot do *mode* (as SET FEATURES 03 counts it) with a drive, as it is programmed now.

        A mode that a drive woke up with is nobody's choice: 0 fits.
        """
        key = channel, unit, mode
        if key not in self._misfits:
            self._misfits[key] = self._misfit(*key)
        return self._misfits[key]

    def _misfit(self, channel: int, unit: int, mode: int) -> str:
        drive = 2 * channel + unit
        is_ultra = self.ultra and self.config.read(UDMACTL, 1) >> drive & 1
        if mode & ~7 == UDMA_MODE:
            if not is_ultra:
                return "UDMACTL does not enable Ultra DMA for it"
            cycle = self.config.read(UDMATIM, 2) >> 4 * drive & 3
            return "" if cycle == mode & 7 else f"UDMATIM has mode {cycle}"
        if mode & ~7 != MWDMA_MODE:
            return ""
        if is_ultra:
            return "UDMACTL enables Ultra DMA for it"
        timing = self.idetim(channel)
        fast, isp, rtc = (timing.TIME1, timing.ISP, timing.RTC) if unit else (timing.TIME0, timing.ISP, timing.RTC)
        if unit and timing.SITRE:
            slave = self.config.read(SIDETIM, 1) >> 4 * channel
            isp, rtc = slave >> 2 & 3, slave & 3
        if fast and (isp, rtc) > _MWDMA[mode & 3]:
            return f"IDETIM is too fast: ISP {isp}, RTC {rtc}"
        return ""


# -- putting it together -----------------------------------------------------------------------------------------------


def bars() -> dict[int, BarSpec]:
    """The fixed ports of both channels, and the bus master's."""
    found = {4: BarSpec("io", BusMaster.size)}
    for channel, (command, control) in enumerate(COMPATIBLE_PORTS):
        found[2 * channel] = BarSpec("io", CommandBlock.size, f"command{channel}", fixed_at=command)
        found[2 * channel + 1] = BarSpec("io", ControlBlock.size, f"control{channel}", fixed_at=control)
    return found


def registers(ultra: bool) -> tuple[ConfigRegister, ...]:
    """Of configuration space; all 0 at power-on, so that nothing is decoded before firmware or driver says so."""
    common = (*(ConfigRegister(at, 2, 0, 0xF3FF) for at in IDETIM), ConfigRegister(SIDETIM, 1, 0, 0xFF))
    return (*common, ConfigRegister(UDMACTL, 1, 0, 0x0F), ConfigRegister(UDMATIM, 2, 0, 0x3333)) if ultra else common


def build(chip: Chip, machine: Machine, targets: Mapping[tuple[int, int], AtaDrive], personality: Personality = REAL,
          timing: Timing | None = None) -> SimPciFunction:
    """*chip* with *targets*, keyed by (channel, unit), ready for a PCI slot."""
    ultra = chip is PIIX4
    return SimPciFunction(PiixIde(targets, personality, timing, ultra=ultra), vendor=chip.vendor, device=chip.device,
                          bars=bars(), class_code=CLASS_CODE, registers=registers(ultra))


#: The same chips in QEMU: one is part of `pc`, the other is plugged in and takes its ports over.
_QEMU: Final = {
    PIIX3.name: QemuAdapter("piix3-ide", disk_device="ide-hd", onboard="ide"),
    PIIX4.name: QemuAdapter("piix4-ide", disk_device="ide-hd"),
}


def hardware_models() -> tuple[HardwareModelInfo, ...]:
    """Both chips as ddsdk's registry wants them."""
    made: dict[str, Callable[..., SimPciFunction]] = {chip.name: partial(build, chip) for chip in (PIIX3, PIIX4)}
    return tuple(HardwareModelInfo(driver="ide", chip=chip, build=made[chip.name], documents=(
        "Intel 82371FB/82371SB data sheet", "Intel 82371AB data sheet", "ATA/ATAPI-6 (T13/1410D rev 3)", "hw-ide.md"),
        qemu=_QEMU[chip.name]) for chip in (PIIX3, PIIX4))
