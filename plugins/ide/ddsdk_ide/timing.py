"""The interface's timing for a transfer mode, in configuration space: what goes with SET FEATURES to the drive.

Source: 82371AB data sheet, 4.1 (IDETIM, SIDETIM, UDMACTL, UDMATIM); the values of each mode: Linux 2.6.9
drivers/ide/pci/piix.c.  Programmed I/O keeps the compatible timing that any drive can do: fast timing is for DMA only.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ddsdk.ata.taskfile import XFER_MW_DMA_0, XFER_UDMA_0

from .regs import IDETIM, PIIX4_IDE, SIDETIM, UDMACTL, UDMATIM, IdeTim

if TYPE_CHECKING:
    from ddsdk.ata.host import IdeDrive

    from .adapter import Channel, Piix

#: Modes each chip can do: bit n is mode n.  Multiword mode 0 is slower than compatible timing, and left out.
MWDMA_MASK: Final = 0x06
PIIX4_ULTRA_MASK: Final = 0x07
#: Multiword mode -> (ISP, RTC): those of PIO mode 3 and 4.
_MWDMA: Final = {1: (2, 1), 2: (2, 3)}


def ultra_mask(piix: Piix) -> int:
    """Ultra DMA modes: PIIX3 has none."""
    return PIIX4_ULTRA_MASK if piix.chip.device == PIIX4_IDE else 0


def piix_speedproc(drive: IdeDrive, speed: int) -> int:
    """int piix_speedproc(ide_drive_t *, u8 speed): program the interface for *speed*; 0, or -EINVAL for other modes."""
    channel: Channel = drive.hwif.hwif_data
    piix = channel.piix
    ultra, multiword = speed - XFER_UDMA_0, speed - XFER_MW_DMA_0
    if 0 <= ultra < 8 and ultra_mask(piix) >> ultra & 1:
        _set_ultra(channel, drive.unit, ultra)
        return 0
    if multiword not in _MWDMA:
        return -errno.EINVAL
    if ultra_mask(piix):
        _clear_ultra(channel, drive.unit)
    if drive.unit:
        _set_slave(channel, *_MWDMA[multiword])
    else:
        _set_master(channel, *_MWDMA[multiword])
    return 0


def enable_decoding(piix: Piix) -> list[int]:
    """The channels whose ports are decoded.  Where firmware enabled none it did not run: then both are."""
    kernel, pdev = piix.kernel, piix.pdev
    timing = [IdeTim(kernel.pci_read_config_word(pdev, at)) for at in IDETIM]
    if not any(value.IDE for value in timing):
        for at, value in zip(IDETIM, timing, strict=True):
            kernel.pci_write_config_word(pdev, at, value.replace(IDE=1))
        return list(range(len(IDETIM)))
    return [number for number, value in enumerate(timing) if value.IDE]


def _change_idetim(channel: Channel, **fields: int) -> None:
    kernel, at = channel.kernel, IDETIM[channel.number]
    value = IdeTim(kernel.pci_read_config_word(channel.pdev, at))
    kernel.pci_write_config_word(channel.pdev, at, value.replace(**fields))


def _set_master(channel: Channel, isp: int, rtc: int) -> None:
    _change_idetim(channel, ISP=isp, RTC=rtc, DTE0=1, PPE0=1, IE0=1, TIME0=1)


def _set_slave(channel: Channel, isp: int, rtc: int) -> None:
    kernel, shift = channel.kernel, 4 * channel.number
    value = kernel.pci_read_config_byte(channel.pdev, SIDETIM)
    kernel.pci_write_config_byte(channel.pdev, SIDETIM, value & ~(0xF << shift) | (isp << 2 | rtc) << shift)
    _change_idetim(channel, SITRE=1, DTE1=1, PPE1=1, IE1=1, TIME1=1)


def _set_ultra(channel: Channel, unit: int, mode: int) -> None:
    kernel, pdev, drive = channel.kernel, channel.pdev, 2 * channel.number + unit
    timing = kernel.pci_read_config_word(pdev, UDMATIM)
    kernel.pci_write_config_word(pdev, UDMATIM, timing & ~(3 << 4 * drive) | mode << 4 * drive)
    kernel.pci_write_config_byte(pdev, UDMACTL, kernel.pci_read_config_byte(pdev, UDMACTL) | 1 << drive)


def _clear_ultra(channel: Channel, unit: int) -> None:
    kernel, pdev, drive = channel.kernel, channel.pdev, 2 * channel.number + unit
    kernel.pci_write_config_byte(pdev, UDMACTL, kernel.pci_read_config_byte(pdev, UDMACTL) & ~(1 << drive))
