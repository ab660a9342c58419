"""The {{cookiecutter.name}} driver as the mid-layer sees it: do_rw_taskfile, port info, probe.

Commands end in interrupt.py, the soft reset is in recovery.py, the dump hooks are in dump.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE
from ddsdk.ata.host import IdeHwif, IdePortInfo, ide_started, ide_stopped
from ddsdk.ata.taskfile import (
    AC_ERR_INVALID,
    AC_ERR_NODEV_HINT,
    BUSY_STAT,
    DRQ_STAT,
    IdeDone,
    IdeTask,
    ide_end_drive_cmd,
)
from ddsdk.errors import DeviceError
from ddsdk.helperlib.kernel import DMA_FROM_DEVICE, DMA_TO_DEVICE

from .adapter import MAX_SECTORS, PRD_BYTES, PRD_ENTRIES, SG_TABLESIZE, Adapter
from .frames import LAST, REGION_BYTES, Prd, regions
from .interrupt import {{cookiecutter.name}}_drq_timer, {{cookiecutter.name}}_interrupt, {{cookiecutter.name}}_watch_for_drq
from .recovery import {{cookiecutter.name}}_do_reset, {{cookiecutter.name}}_soft_reset
from .regs import GONE, NO_DRIVE, BmCommand, BmStatus, Regs

if TYPE_CHECKING:
    from ddsdk.ata.taskfile import AtaTaskfile
    from ddsdk.helperlib.kernel import Iomem, PciDev
    from ddsdk.hookspecs import Chip


# -- do_rw_taskfile ----------------------------------------------------------------------------------------------------


def {{cookiecutter.name}}_do_rw_taskfile(task: IdeTask, done: IdeDone) -> int:
    """ide_startstop_t {{cookiecutter.name}}_do_rw_taskfile(ide_drive_t *, ide_task_t *).

    Called with ide_lock held and interrupts off.  ide_started, or ide_stopped while a reset is under way or the drive
    is busy with something else.
    """
    adapter: Adapter = task.drive.hwif.hwif_data
    kernel, ports = adapter.kernel, adapter.ports
    if adapter.resetting or adapter.task is not None:
        return ide_stopped
    task.complete = done
    if not select(adapter, task):
        ide_end_drive_cmd(task, 0, resid=task.nbytes, err_mask=AC_ERR_NODEV_HINT)
        return ide_started
    if kernel.inb(ports, Regs.ALTSTATUS) & (BUSY_STAT | DRQ_STAT):
        return ide_stopped
    if task.dma and not fill_table(adapter, task):
        adapter.unmap()
        ide_end_drive_cmd(task, 0, resid=task.nbytes, err_mask=AC_ERR_INVALID)
        return ide_started
    adapter.task, adapter.offset = task, 0
    write_taskfile(adapter, task.tf)
    if task.dma:
        start_dma(adapter, task)
    elif task.to_device:
        {{cookiecutter.name}}_watch_for_drq(adapter)
    return ide_started


def select(adapter: Adapter, task: IdeTask) -> bool:
    """Write DEVICE; false when nobody answers there, or the interface is dead."""
    if adapter.dead:
        return False
    adapter.kernel.outb(task.tf.device, adapter.ports, Regs.DEVICE)
    return int(adapter.kernel.inb(adapter.ports, Regs.ALTSTATUS)) not in NO_DRIVE


def fill_table(adapter: Adapter, task: IdeTask) -> bool:
    """Lend the command's memory to the bus master and write its table; false when it has too many entries."""
    kernel = adapter.kernel
    adapter.direction = DMA_TO_DEVICE if task.to_device else DMA_FROM_DEVICE
    adapter.mapped = kernel.dma_map_sg(adapter.pdev, task.sg, adapter.direction)
    entries = list(regions(adapter.mapped))
    if len(entries) > PRD_ENTRIES:
        adapter.printk(f"{len(entries)} entries do not fit; sg_tablesize is {SG_TABLESIZE}")
        return False
    pack = Prd.on(WIRE_LE).struct.pack_into
    for number, (address, nbytes) in enumerate(entries):
        pack(adapter.table.view, number * PRD_BYTES, address, nbytes % REGION_BYTES,
             LAST if number == len(entries) - 1 else 0)
    kernel.outl(adapter.table.bus_addr, adapter.ports, Regs.PRD_TABLE)
    kernel.outb(BmStatus.of(ERROR=1, INTR=1), adapter.ports, Regs.BM_STATUS)
    return True


def write_taskfile(adapter: Adapter, tf: AtaTaskfile) -> None:
    """The command block registers, twice for 48 bits, COMMAND last; then the 400 ns until BSY is there."""
    kernel, ports = adapter.kernel, adapter.ports
    if tf.lba48:
        kernel.outb(tf.hob_feature, ports, Regs.FEATURE)
        kernel.outb(tf.hob_nsector, ports, Regs.NSECTOR)
        kernel.outb(tf.hob_lbal, ports, Regs.LBAL)
        kernel.outb(tf.hob_lbam, ports, Regs.LBAM)
        kernel.outb(tf.hob_lbah, ports, Regs.LBAH)
    kernel.outb(tf.feature, ports, Regs.FEATURE)
    kernel.outb(tf.nsector, ports, Regs.NSECTOR)
    kernel.outb(tf.lbal, ports, Regs.LBAL)
    kernel.outb(tf.lbam, ports, Regs.LBAM)
    kernel.outb(tf.lbah, ports, Regs.LBAH)
    kernel.outb(tf.command, ports, Regs.COMMAND)
    kernel.udelay(1)


def start_dma(adapter: Adapter, task: IdeTask) -> None:
    """Set the bus master going."""
    adapter.kernel.outb(BmCommand.of(START=1, READ=int(not task.to_device)), adapter.ports, Regs.BM_COMMAND)


# -- probe -------------------------------------------------------------------------------------------------------------

#: What the driver says of its one port; 2.6.9 has it spread over ide_hwif_t.
port_info: Final = IdePortInfo(
    name="{{cookiecutter.chip}} IDE interface",
    proc_name="{{cookiecutter.name}}",
    do_rw_taskfile={{cookiecutter.name}}_do_rw_taskfile,
    do_reset={{cookiecutter.name}}_do_reset,
    max_sectors=MAX_SECTORS,
    sg_tablesize=SG_TABLESIZE,
    ultra_mask=0x3F,
    mwdma_mask=0x07,
    dma_alignment=1,                    # an entry of the table has even addresses and lengths
)


def {{cookiecutter.name}}_probe(pdev: PciDev, chip: Chip) -> IdeHwif:
    """int {{cookiecutter.name}}_probe(struct pci_dev *, ...): bring the interface up and make a channel of it.

    DeviceError, one line, when it is not there or cannot be brought up.
    """
    kernel = pdev.kernel
    adapter = Adapter(pdev, map_registers(pdev), f"{chip.name} {pdev.name}")
    identify(adapter)
    alloc_table(adapter)
    adapter.drq_timer = kernel.setup_timer({{cookiecutter.name}}_drq_timer, adapter)
    if {{cookiecutter.name}}_soft_reset(adapter):
        kernel.dma_free_coherent(pdev, adapter.table)
        raise DeviceError(f"{adapter.name}: the reset failed: {kernel.log[-1]}; is the drive's cable plugged in?")
    hwif = make_hwif(adapter)
    if kernel.request_irq(pdev, {{cookiecutter.name}}_interrupt, adapter):
        adapter.printk("no interrupt line; commands end by polling only")
    kernel.pci_set_drvdata(pdev, adapter)
    return hwif


def map_registers(pdev: PciDev) -> Iomem:
    """Enable the function and its bus master, map BAR 0."""
    kernel = pdev.kernel
    if kernel.pci_enable_device(pdev):
        raise DeviceError(f"{pdev.name}: does not answer configuration cycles; is it seated and powered?")
    kernel.pci_set_master(pdev)
    return kernel.pci_iomap(pdev, 0)


def identify(adapter: Adapter) -> None:
    """Somebody decodes the ports: BM_STATUS has bits that are zero.  DeviceError when it has not."""
    if int(adapter.kernel.inb(adapter.ports, Regs.BM_STATUS)) == GONE:
        raise DeviceError(f"{adapter.name}: BM_STATUS reads all ones: nobody decodes its ports; is the chip enabled?")


def alloc_table(adapter: Adapter) -> None:
    """Allocate the table of the bus master, once."""
    nbytes = PRD_ENTRIES * PRD_BYTES
    adapter.table = adapter.kernel.dma_alloc_coherent(adapter.pdev, nbytes, align=REGION_BYTES >> 4)


def make_hwif(adapter: Adapter) -> IdeHwif:
    """ide_hwif_t of the one channel."""
    hwif = adapter.hwif = IdeHwif(port_info, adapter.kernel, adapter.pdev)
    hwif.hwif_data = adapter
    return hwif
