"""The {{cookiecutter.name}} driver as the mid-layer sees it: do_rw_taskfile, port info, probe.

Commands end in interrupt.py, the soft reset is in recovery.py, the dump hooks are in dump.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

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

from .adapter import MAX_SECTORS, SG_TABLESIZE, Adapter
from .interrupt import {{cookiecutter.name}}_drq_timer, {{cookiecutter.name}}_interrupt, {{cookiecutter.name}}_watch_for_drq
from .recovery import {{cookiecutter.name}}_do_reset, {{cookiecutter.name}}_soft_reset
from .regs import Regs

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
    raise NotImplementedError(
        "select: write the task's device register to DEVICE (regs.py) and read ALTSTATUS: False when it is one of "
        "NO_DRIVE, or adapter.dead.")


def fill_table(adapter: Adapter, task: IdeTask) -> bool:
    """Lend the command's memory to the bus master and write its table; false when it has too many entries."""
    raise NotImplementedError(
        "fill_table: dma_map_sg() of task.sg into adapter.mapped, one Prd (frames.py) for each of its regions(), the "
        "last with LAST; bus address of the table to PRD_TABLE, clear ERROR and INTR in BM_STATUS (regs.py); False "
        "when there are more than PRD_ENTRIES.")


def write_taskfile(adapter: Adapter, tf: AtaTaskfile) -> None:
    """The command block registers, twice for 48 bits, COMMAND last; then the 400 ns until BSY is there."""
    raise NotImplementedError(
        "write_taskfile: write FEATURE, NSECTOR, LBAL, LBAM, LBAH (regs.py), for tf.lba48 the hob_ values first, "
        "COMMAND last; then udelay(1): BSY takes 400 ns.")


def start_dma(adapter: Adapter, task: IdeTask) -> None:
    """Set the bus master going."""
    raise NotImplementedError("start_dma: write START, and READ unless task.to_device, to BM_COMMAND (regs.py).")


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
    raise NotImplementedError(
        "map_registers: pci_enable_device(), pci_set_master(), then pci_iomap() of BAR 0; DeviceError when the "
        "function does not answer.")


def identify(adapter: Adapter) -> None:
    """Somebody decodes the ports: BM_STATUS has bits that are zero.  DeviceError when it has not."""
    raise NotImplementedError("identify: read BM_STATUS (regs.py): DeviceError when it is GONE.")


def alloc_table(adapter: Adapter) -> None:
    """Allocate the table of the bus master, once."""
    raise NotImplementedError(
        "alloc_table: dma_alloc_coherent() of PRD_ENTRIES times PRD_BYTES into adapter.table, where it crosses no "
        "multiple of 64 KiB.")


def make_hwif(adapter: Adapter) -> IdeHwif:
    """ide_hwif_t of the one channel."""
    raise NotImplementedError("make_hwif: an IdeHwif of port_info with hwif_data; adapter.hwif is the same.")
