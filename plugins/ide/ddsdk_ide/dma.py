"""Data by the bus master: its table, its start, and how one tells that a command by DMA is over.

What BMISX says once it is started (82371AB data sheet, table 15; hw-ide.md 2):

    IDEINTS BMIDEA
       0      1      it moves data
       1      0      the drive is done, and so is the table
       1      1      the drive is done, and the table has more: it moved less than it was asked for
       0      0      the table is done, and the drive still wants data (or ERROR is set)

With the drive's interrupt masked, as after a crash, IDEINTS stays 0: then the drive's own status says whether it is
done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE
from ddsdk.ata.taskfile import (
    AC_ERR_HOST_BUS,
    AC_ERR_HSM,
    AC_ERR_NODEV_HINT,
    BUSY_STAT,
    DRQ_STAT,
    ERR_STAT,
    WRERR_STAT,
    IdeTask,
)
from ddsdk.helperlib.kernel import DMA_FROM_DEVICE, DMA_TO_DEVICE

from .adapter import PRD_BYTES, PRD_ENTRIES, SG_TABLESIZE
from .ending import Ending, end
from .frames import EOT, REGION_BYTES, Prd, regions
from .regs import NO_DRIVE, BmCommand, BmStatus, CommandBlock

if TYPE_CHECKING:
    from .adapter import Channel

#: Polls that may find the bus master done and the drive wanting data before that is a fault: 10 ms of the dump loop.
STALL_POLLS: Final = 100
#: Commands that may go well and leave their count register alone before it is known that the drive does so.
DOUBTS: Final = 3
# plain numbers: the path of every command makes no register objects
_STOP: Final = 0
_READ: Final = int(BmCommand.RWCON.mask)
_START_WRITE: Final = int(BmCommand.SSBM.mask)
_START_READ: Final = _READ | _START_WRITE
_IDEINTS, _ERROR, _BMIDEA = int(BmStatus.IDEINTS.mask), int(BmStatus.ERROR.mask), int(BmStatus.BMIDEA.mask)
_EVENTS: Final = _IDEINTS | _ERROR
_STATUS: Final = CommandBlock.STATUS.offset
_NSECTOR: Final = CommandBlock.NSECTOR.offset
_PACK: Final = Prd.on(WIRE_LE).struct.pack_into


def prepare_dma(channel: Channel, task: IdeTask) -> bool:
    """Lend the command's memory to the bus master and write its table; false when that has too many entries."""
    kernel, view = channel.kernel, channel.table.view
    channel.direction = DMA_TO_DEVICE if task.to_device else DMA_FROM_DEVICE
    channel.mapped = kernel.dma_map_sg(channel.pdev, task.sg, channel.direction)
    at, last = 0, (PRD_ENTRIES - 1) * PRD_BYTES
    for address, nbytes in regions(channel.mapped):
        if at > last:
            channel.printk(f"a scatter list needs more than {PRD_ENTRIES} entries; sg_tablesize is {SG_TABLESIZE}")
            return False
        _PACK(view, at, address, nbytes % REGION_BYTES, 0)
        at += PRD_BYTES
    if not at:
        return False
    _PACK(view, at - PRD_BYTES, address, nbytes % REGION_BYTES, EOT)
    kernel.outl(channel.table.bus_addr, channel.bm, channel.BM_TABLE)
    kernel.outb(channel.capable | _EVENTS, channel.bm, channel.BM_STATUS)
    kernel.outb(_STOP if task.to_device else _READ, channel.bm, channel.BM_COMMAND)
    return True


def start_dma(channel: Channel, task: IdeTask) -> None:
    """Set the bus master going."""
    channel.kernel.outb(_START_WRITE if task.to_device else _START_READ, channel.bm, channel.BM_COMMAND)


# -- one look at a command by DMA: ide_lock is held --------------------------------------------------------------------


def advance_dma(channel: Channel, task: IdeTask, stat: int) -> Ending | None:
    """What there is to say if the command is over; *stat* is the drive's status, looked at before the bus master's."""
    status = channel.kernel.inb(channel.bm, channel.BM_STATUS)
    if stat in NO_DRIVE:
        return finish_dma(channel, task, status, AC_ERR_NODEV_HINT)
    if status & _ERROR:
        return finish_dma(channel, task, status, AC_ERR_HOST_BUS)
    if not stat & (BUSY_STAT | DRQ_STAT):
        return finish_dma(channel, task, status)
    if stat & BUSY_STAT or status & _BMIDEA:
        channel.stalled = 0
        return None
    channel.stalled += 1                # for a moment that is nothing: the last words are on their way
    return finish_dma(channel, task, status, AC_ERR_HSM) if channel.stalled >= STALL_POLLS else None


def finish_dma(channel: Channel, task: IdeTask, status: int, err_mask: int = 0) -> Ending:
    """Stop the bus master, then end the drive's interrupt, then clear the bus master's; say what moved."""
    kernel = channel.kernel
    kernel.outb(_STOP, channel.bm, channel.BM_COMMAND)
    stat = kernel.inb(channel.ports, _STATUS)
    kernel.outb(channel.capable | _EVENTS, channel.bm, channel.BM_STATUS)
    channel.unmap()
    if not err_mask and stat & (BUSY_STAT | DRQ_STAT):
        err_mask = AC_ERR_HSM
    failed = err_mask or stat & (ERR_STAT | WRERR_STAT)
    channel.offset = 0 if failed or not _all_moved(channel, task, status) else task.nbytes
    return end(channel, task, stat, err_mask)


def _all_moved(channel: Channel, task: IdeTask, status: int) -> bool:
    """Whether all of a command that ended well has moved.

    Where BMISX does not vouch for it - it is active still, or no interrupt came - the drive's count register may.  The
    standard leaves that open after a command that went well, so a drive has to show first that it counts down to 0.  As
    long as it has not, and nobody vouches, the command is not taken for done; after DOUBTS of them the bus master alone
    is believed.
    """
    counts, unit = channel.counts, task.drive.unit
    sure = bool(status & _IDEINTS and not status & _BMIDEA)
    if sure and counts[unit] is not None:
        return True
    if counts[unit] is False or not task.tf.nsector:
        return sure or not status & _BMIDEA
    left = channel.kernel.inb(channel.ports, _NSECTOR)
    if counts[unit] is None:
        _learn(channel, unit, left)
    return sure or not left or (counts[unit] is False and not status & _BMIDEA)


def _learn(channel: Channel, unit: int, left: int) -> None:
    """A command by DMA of drive *unit* went well and left *left* in its count register."""
    if not left:
        channel.counts[unit] = True
        return
    channel.doubts += 1
    if channel.doubts >= DOUBTS:
        channel.counts[unit], channel.doubts = False, 0
