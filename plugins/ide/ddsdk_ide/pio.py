"""Data by programmed I/O: blocks through the data port, and the status after the last one.

A write is over with the status after its last block (the shipped port never looked at it); a read ends with its last
block, without an interrupt.  ATA/ATAPI-6, 9.5 and 9.6; hw-ide.md 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.ata.taskfile import (
    AC_ERR_HSM,
    BUSY_STAT,
    DRQ_STAT,
    ERR_STAT,
    TASKFILE_NO_DATA,
    WRERR_STAT,
    IdeTask,
)

from .ending import Ending, end
from .regs import CommandBlock

if TYPE_CHECKING:
    from .adapter import Channel

#: kmap_atomic() maps a page at a time.
_PAGE: Final = 4096
#: The data port, 32 bits wide: two words an access.
_DATA32: Final = CommandBlock.DATA.offset


def advance_pio(channel: Channel, task: IdeTask, stat: int) -> Ending | None:
    """One step of a command that is not busy: a block moved, or what there is to say of its end."""
    if stat & (ERR_STAT | WRERR_STAT):
        return end(channel, task, stat)
    if task.data_phase == TASKFILE_NO_DATA or channel.offset == task.nbytes:
        return end(channel, task, stat, AC_ERR_HSM if stat & DRQ_STAT else 0)   # it may not want data any more
    if not stat & DRQ_STAT:
        return end(channel, task, stat)                                         # over before all has moved
    move_block(channel, task)
    if task.to_device or channel.offset < task.nbytes:
        return None
    stat = int(channel.kernel.inb(channel.ports, CommandBlock.STATUS))
    return None if stat & BUSY_STAT else advance_pio(channel, task, stat)


def move_block(channel: Channel, task: IdeTask) -> None:
    """One DRQ block through the data port, page by page; then the 400 ns until BSY is there."""
    kernel, ports = channel.kernel, channel.ports
    nbytes = min(task.block_bytes, task.nbytes - channel.offset)
    for piece, length in task.pieces(channel.offset, nbytes):
        paddr, left = piece, length
        while left:
            take = min(left, _PAGE - paddr % _PAGE)
            view = kernel.kmap_atomic(paddr, take)
            if task.to_device:
                kernel.outsl(ports, _DATA32, view, take >> 2)
                if take & 2:
                    kernel.outsw(ports, CommandBlock.DATA, view[take - 2:], 1)
            else:
                kernel.insl(ports, _DATA32, view, take >> 2)
                if take & 2:
                    kernel.insw(ports, CommandBlock.DATA, view[take - 2:], 1)
            kernel.kunmap_atomic(view)
            paddr, left = paddr + take, left - take
    channel.offset += nbytes
    kernel.udelay(1)
