"""How commands go on and end: by the interrupt handler, by dump_poll, and by a timer for what no interrupt asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ddsdk.ata.taskfile import (
    AC_ERR_HOST_BUS,
    AC_ERR_HSM,
    AC_ERR_NODEV_HINT,
    BUSY_STAT,
    DRQ_STAT,
    ERR_STAT,
    TASKFILE_NO_DATA,
    WRERR_STAT,
    IdeTask,
    ide_end_drive_cmd,
)
from ddsdk.helperlib.kernel import IRQ_HANDLED, IRQ_NONE

from .adapter import Adapter
from .regs import GONE, BmCommand, BmStatus, Control, Regs

if TYPE_CHECKING:
    from ddsdk.ata.taskfile import AtaTaskfile

#: kmap_atomic() maps a page at a time.
_PAGE: Final = 4096


class Ending(NamedTuple):
    """What ide_end_drive_cmd() is told, once ide_lock is released."""

    task: IdeTask
    stat: int
    error: int = 0
    tf: AtaTaskfile | None = None
    resid: int = 0
    err_mask: int = 0


def {{cookiecutter.name}}_interrupt(_irq: int, adapter: Adapter) -> int:
    """irqreturn_t {{cookiecutter.name}}_interrupt(int irq, void *dev_id): ours when BM_STATUS says that the line rose."""
    kernel, ports = adapter.kernel, adapter.ports
    status = kernel.inb(ports, Regs.BM_STATUS)
    if int(status) == GONE or not status.INTR:
        return IRQ_NONE
    kernel.outb(BmStatus.of(INTR=1), ports, Regs.BM_STATUS)
    step(adapter)
    return IRQ_HANDLED


def step(adapter: Adapter) -> None:
    """Look at the drive once, and say so without the lock if the command is over."""
    kernel, lock = adapter.kernel, adapter.hwif.ide_lock
    flags = kernel.spin_lock_irqsave(lock)
    ending = None if adapter.resetting else advance(adapter)
    kernel.spin_unlock_irqrestore(lock, flags)
    if ending is not None:
        ide_end_drive_cmd(*ending)


def {{cookiecutter.name}}_watch_for_drq(adapter: Adapter) -> None:
    """Of a write by programmed I/O no interrupt asks for the first block: in normal mode a timer looks for it."""
    kernel = adapter.kernel
    if not kernel.crashdump_mode():
        kernel.mod_timer(adapter.drq_timer, kernel.jiffies + 1)


def {{cookiecutter.name}}_drq_timer(adapter: Adapter) -> None:
    """void {{cookiecutter.name}}_drq_timer(unsigned long): until the first block is moved, or the command is over."""
    step(adapter)
    task = adapter.task
    if task is not None and task.to_device and not task.dma and not adapter.offset:
        {{cookiecutter.name}}_watch_for_drq(adapter)


# -- one step of a command: ide_lock is held -----------------------------------------------------------------------


def advance(adapter: Adapter) -> Ending | None:
    """Do what the drive is ready for; what there is to say if that ended the command."""
    kernel, task = adapter.kernel, adapter.task
    stat = int(kernel.inb(adapter.ports, Regs.STATUS))      # lowers the interrupt line, whosever it is
    if task is None:
        return None
    if stat == GONE:
        adapter.unmap()
        return end(adapter, task, stat, AC_ERR_NODEV_HINT)
    if task.dma:
        return advance_dma(adapter, task, stat)
    if stat & BUSY_STAT:
        return None
    return advance_pio(adapter, task, stat)


def advance_dma(adapter: Adapter, task: IdeTask, stat: int) -> Ending | None:
    """Over when the drive is done, neither BSY nor DRQ, or the bus master found an error."""
    kernel, ports = adapter.kernel, adapter.ports
    status = kernel.inb(ports, Regs.BM_STATUS)
    if stat & (BUSY_STAT | DRQ_STAT) and not status.ERROR:
        return None
    kernel.outb(BmCommand.of(), ports, Regs.BM_COMMAND)
    kernel.outb(BmStatus.of(ERROR=1, INTR=1), ports, Regs.BM_STATUS)
    adapter.unmap()
    adapter.offset = 0 if status.ACTIVE else task.nbytes    # it did not come to the end of its table
    return end(adapter, task, stat, AC_ERR_HOST_BUS if status.ERROR else 0)


def advance_pio(adapter: Adapter, task: IdeTask, stat: int) -> Ending | None:
    """Move a block when the drive asks for one.  A write is over only with the status after its last block."""
    if stat & (ERR_STAT | WRERR_STAT) or task.data_phase == TASKFILE_NO_DATA:
        return end(adapter, task, stat)
    if not stat & DRQ_STAT:
        return end(adapter, task, stat)
    if adapter.offset == task.nbytes:
        return end(adapter, task, stat, AC_ERR_HSM)         # it wants more than the command has
    move_block(adapter, task)
    if task.to_device or adapter.offset < task.nbytes:
        return None
    adapter.kernel.udelay(1)                                # of a read the last block ends it, without an interrupt
    stat = int(adapter.kernel.inb(adapter.ports, Regs.STATUS))
    return end(adapter, task, stat, AC_ERR_HSM if stat & DRQ_STAT else 0)


def move_block(adapter: Adapter, task: IdeTask) -> None:
    """One DRQ block through the data port, page by page."""
    kernel = adapter.kernel
    nbytes = min(task.block_bytes, task.nbytes - adapter.offset)
    for piece, length in task.pieces(adapter.offset, nbytes):
        paddr, left = piece, length
        while left:
            take = min(left, _PAGE - paddr % _PAGE)
            view = kernel.kmap_atomic(paddr, take)
            if task.to_device:
                kernel.outsw(adapter.ports, Regs.DATA, view, take // 2)
            else:
                kernel.insw(adapter.ports, Regs.DATA, view, take // 2)
            kernel.kunmap_atomic(view)
            paddr, left = paddr + take, left - take
    adapter.offset += nbytes
    kernel.udelay(1)                                        # 400 ns until BSY is there


def end(adapter: Adapter, task: IdeTask, stat: int, err_mask: int = 0) -> Ending:
    """The command is over: status, error register, where it ended, how much moved."""
    adapter.forget()
    error, tf = 0, None
    if not err_mask:
        error = int(adapter.kernel.inb(adapter.ports, Regs.ERROR)) if stat & ERR_STAT else 0
        tf = read_registers(adapter, task.tf)
    return Ending(task, stat, error, tf, task.nbytes - adapter.offset, err_mask)


def read_registers(adapter: Adapter, sent: AtaTaskfile) -> AtaTaskfile:
    """What the command block registers hold now; HOB gives the high bytes of 48 bits."""
    kernel, ports = adapter.kernel, adapter.ports
    tf = sent._replace(
        nsector=int(kernel.inb(ports, Regs.NSECTOR)), lbal=int(kernel.inb(ports, Regs.LBAL)),
        lbam=int(kernel.inb(ports, Regs.LBAM)), lbah=int(kernel.inb(ports, Regs.LBAH)),
        device=int(kernel.inb(ports, Regs.DEVICE)))
    if not sent.lba48:
        return tf
    kernel.outb(adapter.masked | Control.HOB.mask, ports, Regs.CONTROL)
    tf = tf._replace(
        hob_nsector=int(kernel.inb(ports, Regs.NSECTOR)), hob_lbal=int(kernel.inb(ports, Regs.LBAL)),
        hob_lbam=int(kernel.inb(ports, Regs.LBAM)), hob_lbah=int(kernel.inb(ports, Regs.LBAH)))
    kernel.outb(adapter.masked, ports, Regs.CONTROL)
    return tf
