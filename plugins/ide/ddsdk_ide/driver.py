"""The PIIX IDE driver as the mid-layer sees it: port info and probe.

Commands begin in commands.py and end in interrupt.py, dma.py, pio.py; the soft reset is in recovery.py, the dump hooks
are in dump.py.
"""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING, Final

from ddsdk.ata.host import IdeHwif, IdePortInfo
from ddsdk.errors import DeviceError

from .adapter import MAX_SECTORS, PRD_BYTES, PRD_ENTRIES, SG_TABLESIZE, Channel, Piix
from .commands import piix_do_rw_taskfile
from .interrupt import piix_drq_timer, piix_interrupt
from .recovery import piix_do_reset, piix_soft_reset
from .regs import GONE, BmStatus
from .timing import MWDMA_MASK, PIIX4_ULTRA_MASK, enable_decoding, piix_speedproc, ultra_mask

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import PciDev
    from ddsdk.hookspecs import Chip

_port_info: Final = partial(
    IdePortInfo, proc_name="piix", do_rw_taskfile=piix_do_rw_taskfile, do_reset=piix_do_reset,
    speedproc=piix_speedproc, max_sectors=MAX_SECTORS, sg_tablesize=SG_TABLESIZE, mwdma_mask=MWDMA_MASK,
    dma_alignment=1)                    # a region has an even address and an even length
#: What the driver says of its ports, by what they can do.
piix3_port_info: Final = _port_info(name="Intel PIIX3 IDE")
piix4_port_info: Final = _port_info(name="Intel PIIX4 IDE", ultra_mask=PIIX4_ULTRA_MASK)


def piix_probe(pdev: PciDev, chip: Chip) -> IdeHwif:
    """int piix_init_one(struct pci_dev *, ...): bring the interface up from whatever state, make its channels.

    DeviceError, one line, when it is not there or no channel can be used.
    """
    kernel = pdev.kernel
    piix = Piix(pdev, chip)
    if kernel.pci_enable_device(pdev):
        raise DeviceError(f"{piix.name}: does not answer configuration cycles; is it seated and powered?")
    kernel.pci_set_master(pdev)
    piix.channels = tuple(map_channel(piix, number) for number in enable_decoding(piix))
    for channel in piix.channels:
        bring_up(channel)
    usable = [channel for channel in piix.channels if channel.dead != 0b11]
    if not usable:
        raise DeviceError(f"{piix.name}: the reset failed: {kernel.log[-1]}; is the drive's cable plugged in?")
    hwifs = [make_hwif(channel) for channel in piix.channels]
    if len(hwifs) > 1:
        hwifs[0].mate, hwifs[1].mate = hwifs[1], hwifs[0]
    kernel.pci_set_drvdata(pdev, piix)
    return hwifs[0]


def map_channel(piix: Piix, number: int) -> Channel:
    """Its ports, its table, its timer.  DeviceError when nobody decodes the bus master's."""
    kernel, pdev = piix.kernel, piix.pdev
    channel = Channel(piix, number, kernel.pci_iomap(pdev, 2 * number), kernel.pci_iomap(pdev, 2 * number + 1),
                      kernel.pci_iomap(pdev, 4))
    status = BmStatus(kernel.inb(channel.bm, channel.BM_STATUS))
    if status == GONE:
        raise DeviceError(f"{piix.name}: BMISX reads all ones: nobody decodes its ports; is BAR 4 assigned?")
    channel.capable = int(BmStatus.of(DMA1CAP=status.DMA1CAP, DMA0CAP=status.DMA0CAP))
    channel.table = kernel.dma_alloc_coherent(pdev, PRD_ENTRIES * PRD_BYTES, align=PRD_ENTRIES * PRD_BYTES)
    channel.drq_timer = kernel.setup_timer(piix_drq_timer, channel)
    return channel


def bring_up(channel: Channel) -> None:
    """Reset both drives; an empty channel is none the worse for it."""
    errors = piix_soft_reset(channel)
    if errors == (-errno.ENODEV, -errno.ENODEV):
        channel.printk("no drives")


def make_hwif(channel: Channel) -> IdeHwif:
    """ide_hwif_t of *channel*, its interrupt requested."""
    piix, kernel = channel.piix, channel.kernel
    info = piix4_port_info if ultra_mask(piix) else piix3_port_info
    hwif = channel.hwif = IdeHwif(info, kernel, channel.pdev, channel=channel.number)
    hwif.hwif_data = channel
    if kernel.request_irq(channel.pdev, piix_interrupt, channel):
        channel.printk("no interrupt line; commands end by polling only")
    return hwif
