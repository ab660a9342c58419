"""How commands go on and end: by the interrupt handler, by dump_poll, by a timer for what no interrupt announces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.ata.taskfile import AC_ERR_NODEV_HINT, BUSY_STAT, DRQ_STAT, IdeTask, ide_end_drive_cmd
from ddsdk.helperlib.kernel import IRQ_HANDLED, IRQ_NONE

from .dma import advance_dma
from .ending import Ending, end
from .pio import advance_pio
from .regs import GONE, NO_DRIVE, BmStatus, CommandBlock, ControlBlock

if TYPE_CHECKING:
    from .adapter import Channel

#: Of so many polls that find the drive busy one looks at the bus master, too.
BUSY_POLLS: Final = 16


def piix_interrupt(_irq: int, channel: Channel) -> int:
    """irqreturn_t piix_interrupt(int irq, void *dev_id): the channel's when BMISX says that its line has risen."""
    kernel = channel.kernel
    status = kernel.inb(channel.bm, channel.BM_STATUS)
    if status == GONE or not status & BmStatus.IDEINTS.mask:
        return IRQ_NONE
    flags = kernel.spin_lock_irqsave(channel.hwif.ide_lock)
    ending = _serve(channel)
    kernel.spin_unlock_irqrestore(channel.hwif.ide_lock, flags)
    if ending is not None:
        ide_end_drive_cmd(*ending)
    return IRQ_HANDLED


def _serve(channel: Channel) -> Ending | None:
    """End the interrupt; what there is to say if it was the end of the command.  ide_lock is held.

    The bus master remembers rises of the line: what it remembers is cleared before the drive's status is read, so that
    the rise for the next block is not.  Of a command by DMA the order is finish_dma()'s.
    """
    kernel, task = channel.kernel, channel.task
    if task is not None and task.dma and not channel.resetting:
        stat = int(kernel.inb(channel.control, ControlBlock.ALTSTATUS))
        if stat in NO_DRIVE or not stat & (BUSY_STAT | DRQ_STAT):
            return advance_dma(channel, task, stat)
    kernel.outb(channel.capable | BmStatus.IDEINTS.mask, channel.bm, channel.BM_STATUS)
    stat = int(kernel.inb(channel.ports, CommandBlock.STATUS))
    if task is None or channel.resetting:
        return None                                     # nobody's
    return _step(channel, task, stat)


def _step(channel: Channel, task: IdeTask, stat: int) -> Ending | None:
    """Do what the drive is ready for, by its status *stat*."""
    if task.dma:
        return advance_dma(channel, task, stat)
    if stat in NO_DRIVE:
        return end(channel, task, stat, AC_ERR_NODEV_HINT)
    if stat & BUSY_STAT:
        return None
    ending = advance_pio(channel, task, stat)
    if ending is None and not task.to_device and channel.offset == task.nbytes:
        piix_look_again(channel)                        # all is read and it is still busy: no interrupt will come
    return ending


# -- the same without an interrupt -------------------------------------------------------------------------------------


def piix_poll_channel(channel: Channel) -> None:
    """What the handler would do, and the timer: look at the drive, and say so without the lock if the command is over.

    BMISX is not asked whether the line has risen: masked it does not.  Of a command by programmed I/O every block is
    moved that the drive is ready for.  While the drive is busy there is nothing to do, but for a look now and then
    whether the PCI bus has refused the bus master.
    """
    task = channel.task
    if task is None or channel.resetting:
        return
    stat = channel.read_altstatus()
    if stat & BUSY_STAT and stat != GONE:
        channel.busy = busy = channel.busy + 1
        if busy % BUSY_POLLS or not task.dma:
            return
    kernel, lock = channel.kernel, channel.hwif.ide_lock
    flags = kernel.spin_lock_irqsave(lock)
    if not kernel.crashdump_mode():                     # others may have been here
        stat = int(kernel.inb(channel.control, ControlBlock.ALTSTATUS))
    ending = None if channel.resetting else _look(channel, stat)
    kernel.spin_unlock_irqrestore(lock, flags)
    if ending is not None:
        ide_end_drive_cmd(*ending)


def _look(channel: Channel, stat: int) -> Ending | None:
    """By the alternate status, what there is to do, and to say."""
    task = channel.task
    if task is None:
        return None
    if task.dma:
        return advance_dma(channel, task, stat)
    while True:                                         # ends: each turn moves a block
        before = channel.offset
        stat = int(channel.kernel.inb(channel.ports, CommandBlock.STATUS))
        ending = _step(channel, task, stat)
        if ending is not None or channel.offset == before:
            return ending


def piix_look_again(channel: Channel) -> None:
    """Of what no interrupt announces - the first block of a write - a timer finds out in normal mode."""
    kernel = channel.kernel
    if not kernel.crashdump_mode():
        kernel.mod_timer(channel.drq_timer, kernel.jiffies + 1)


def piix_drq_timer(channel: Channel) -> None:
    """void piix_drq_timer(unsigned long): look, until a write's first block is moved, or the command is over."""
    piix_poll_channel(channel)
    task = channel.task
    if task is not None and task.to_device and not task.dma and not channel.offset:
        piix_look_again(channel)
