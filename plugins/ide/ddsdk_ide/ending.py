"""What is said of a command that is over: status, error register, where it ended, how much moved."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ddsdk.ata.taskfile import ERR_STAT, TASKFILE_NO_DATA, WRERR_STAT, AtaTaskfile, IdeTask

from .regs import CommandBlock, Control, ControlBlock

if TYPE_CHECKING:
    from .adapter import Channel


class Ending(NamedTuple):
    """What ide_end_drive_cmd() is told, once ide_lock is released."""

    task: IdeTask
    stat: int
    error: int = 0
    tf: AtaTaskfile | None = None
    resid: int = 0
    err_mask: int = 0


def end(channel: Channel, task: IdeTask, stat: int, err_mask: int = 0) -> Ending:
    """The command is over, all but `channel.offset` bytes of it left unmoved.

    The other registers are read where they mean something: after an error, and of a command without data.
    """
    channel.forget()
    error, tf = 0, None
    if not err_mask and (stat & (ERR_STAT | WRERR_STAT) or task.data_phase == TASKFILE_NO_DATA):
        error = int(channel.kernel.inb(channel.ports, CommandBlock.ERROR)) if stat & ERR_STAT else 0
        tf = read_registers(channel, task.tf)
    return Ending(task, stat, error, tf, task.nbytes - channel.offset, err_mask)


def read_registers(channel: Channel, sent: AtaTaskfile) -> AtaTaskfile:
    """What the command block registers hold now; HOB gives the high bytes of 48 bits."""
    kernel, ports = channel.kernel, channel.ports
    tf = sent._replace(
        nsector=int(kernel.inb(ports, CommandBlock.NSECTOR)), lbal=int(kernel.inb(ports, CommandBlock.LBAL)),
        lbam=int(kernel.inb(ports, CommandBlock.LBAM)), lbah=int(kernel.inb(ports, CommandBlock.LBAH)),
        device=int(kernel.inb(ports, CommandBlock.DEVICE)))
    if not sent.lba48:
        return tf
    masked = channel.masked
    kernel.outb(masked | Control.HOB.mask, channel.control, ControlBlock.CONTROL)
    tf = tf._replace(
        hob_nsector=int(kernel.inb(ports, CommandBlock.NSECTOR)), hob_lbal=int(kernel.inb(ports, CommandBlock.LBAL)),
        hob_lbam=int(kernel.inb(ports, CommandBlock.LBAM)), hob_lbah=int(kernel.inb(ports, CommandBlock.LBAH)))
    kernel.outb(masked, channel.control, ControlBlock.CONTROL)
    return tf
