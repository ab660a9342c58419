"""How commands begin: do_rw_taskfile, drive selection, the registers of a command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.ata.host import ide_started, ide_stopped
from ddsdk.ata.taskfile import (
    AC_ERR_INVALID,
    AC_ERR_NODEV_HINT,
    BUSY_STAT,
    DRQ_STAT,
    IdeDone,
    IdeTask,
    ide_end_drive_cmd,
)

from .dma import prepare_dma, start_dma
from .interrupt import piix_look_again
from .regs import NO_DRIVE, CommandBlock

if TYPE_CHECKING:
    from ddsdk.ata.taskfile import AtaTaskfile

    from .adapter import Channel

# byte offsets: the path of every command makes no register objects
_FEATURE: Final = CommandBlock.FEATURE.offset
_NSECTOR: Final = CommandBlock.NSECTOR.offset
_LBAL, _LBAM, _LBAH = CommandBlock.LBAL.offset, CommandBlock.LBAM.offset, CommandBlock.LBAH.offset
_DEVICE, _COMMAND = CommandBlock.DEVICE.offset, CommandBlock.COMMAND.offset


def piix_do_rw_taskfile(task: IdeTask, done: IdeDone) -> int:
    """ide_startstop_t piix_do_rw_taskfile(ide_drive_t *, ide_task_t *).

    Called with ide_lock held and interrupts off.  ide_started, or ide_stopped while a reset is under way or the channel
    is busy with something else.
    """
    channel: Channel = task.drive.hwif.hwif_data
    if channel.resetting or channel.task is not None:
        return ide_stopped
    task.complete = done
    unit, stat = task.drive.unit, 0
    if not channel.dead >> unit & 1:                    # one that is stuck would keep the channel
        stat = select_drive(channel, unit, task.tf.device)
    if stat in NO_DRIVE:
        ide_end_drive_cmd(task, stat, resid=task.nbytes, err_mask=AC_ERR_NODEV_HINT)
        return ide_started
    if stat & (BUSY_STAT | DRQ_STAT):
        return ide_stopped
    if task.dma and not prepare_dma(channel, task):
        channel.unmap()
        ide_end_drive_cmd(task, stat, resid=task.nbytes, err_mask=AC_ERR_INVALID)
        return ide_started
    channel.task, channel.offset, channel.stalled = task, 0, 0
    write_taskfile(channel, task.tf)
    if task.dma:
        start_dma(channel, task)
    elif task.to_device:
        piix_look_again(channel)
    return ide_started


def select_drive(channel: Channel, unit: int, device: int) -> int:
    """SELECT_DRIVE: the status of drive *unit*, selected unless another one is busy; *device* is what to write for it.

    The device register is not touched while the drive that is selected shows BSY or DRQ.
    """
    kernel = channel.kernel
    stat = channel.read_altstatus()
    if unit == channel.unit or (stat not in NO_DRIVE and stat & (BUSY_STAT | DRQ_STAT)):
        return stat
    kernel.outb(device, channel.ports, _DEVICE)
    kernel.udelay(1)                                    # 400 ns
    channel.unit = unit
    return channel.read_altstatus()


def write_taskfile(channel: Channel, tf: AtaTaskfile) -> None:
    """The command block registers, twice for 48 bits, COMMAND last; then the 400 ns until BSY is there."""
    outb, ports = channel.kernel.outb, channel.ports
    if tf.lba48:
        outb(tf.hob_feature, ports, _FEATURE)
        outb(tf.hob_nsector, ports, _NSECTOR)
        outb(tf.hob_lbal, ports, _LBAL)
        outb(tf.hob_lbam, ports, _LBAM)
        outb(tf.hob_lbah, ports, _LBAH)
    outb(tf.feature, ports, _FEATURE)
    outb(tf.nsector, ports, _NSECTOR)
    outb(tf.lbal, ports, _LBAL)
    outb(tf.lbam, ports, _LBAM)
    outb(tf.lbah, ports, _LBAH)
    outb(tf.device, ports, _DEVICE)
    outb(tf.command, ports, _COMMAND)
    channel.kernel.udelay(1)
