"""The soft reset: SRST in the device control register, then BSY until both drives are ready.

ATA/ATAPI-6, 9.2 and 9.3: SRST for at least 5 us, no look at the drives for 2 ms, 31 s at most; the diagnostic code in
the error register says how it went.  hw-ide.md 4.  The shipped port waited without a bound, and ignored a failure.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ddsdk.ata.taskfile import AC_ERR_OTHER, BUSY_STAT, DRQ_STAT, ide_end_drive_cmd

from .commands import select_drive
from .regs import NO_DRIVE, BmCommand, BmStatus, CommandBlock, Control, ControlBlock

if TYPE_CHECKING:
    from ddsdk.ata.host import IdeDrive, IdeHwif

    from .adapter import Channel

#: Both drives have this long; a reset that failed is tried once more.
RESET_LIMIT_MS: Final = 31_000
RESET_POLL_MS: Final = 10
RESET_TRIES: Final = 2
SRST_US: Final = 10
#: Device register of each unit.
DEVICE: Final = (0xA0, 0xB0)
#: The diagnostic code of drive 0: nothing is wrong with it; and what says that drive 1 failed.
_PASSED: Final = 0x01
_DRIVE_1_FAILED: Final = 0x80


def PIIX_IDE_LOCK(hwif: IdeHwif) -> None:
    """White paper 4.3 item 3, of ide_lock: spin_lock() in crash mode, spin_lock_irq() otherwise."""
    kernel = hwif.kernel
    if kernel.crashdump_mode():
        kernel.spin_lock(hwif.ide_lock)
    else:
        kernel.spin_lock_irq(hwif.ide_lock)


def PIIX_IDE_UNLOCK(hwif: IdeHwif) -> None:
    """White paper 4.3 item 3, of ide_lock: never enables interrupts in crash mode."""
    kernel = hwif.kernel
    if kernel.crashdump_mode():
        kernel.spin_unlock(hwif.ide_lock)
    else:
        kernel.spin_unlock_irq(hwif.ide_lock)


def piix_do_reset(drive: IdeDrive) -> int:
    """ide_startstop_t piix_do_reset(ide_drive_t *): reset the channel, from any state; 0 once *drive* is ready.

    Called with ide_lock held, which it drops while it waits.  -EIO: it stays busy, or its diagnosis failed; -ENODEV:
    nobody answers there.
    """
    hwif = drive.hwif
    channel: Channel = hwif.hwif_data
    channel.resetting = True
    PIIX_IDE_UNLOCK(hwif)
    error = piix_soft_reset(channel, drive.unit)[drive.unit]
    task = channel.forget()
    channel.unmap()
    if task is not None:
        ide_end_drive_cmd(task, 0, resid=task.nbytes, err_mask=AC_ERR_OTHER)
    PIIX_IDE_LOCK(hwif)
    channel.resetting = False
    return error


def piix_soft_reset(channel: Channel, wanted: int | None = None) -> tuple[int, int]:
    """Stop the bus master and reset the drives.  What became of each: 0 ready, -ENODEV not there, else -EIO.

    Tried again when drive *wanted*, None: either, does not come back.  May sleep, no lock is held.
    """
    kernel = channel.kernel
    kernel.del_timer(channel.drq_timer)
    errors = (-errno.EIO, -errno.EIO)
    for _ in range(RESET_TRIES):
        _note_busy(channel)
        silence(channel)
        write_srst(channel)
        errors = wait_ready(channel)
        if -errno.EIO not in (errors if wanted is None else errors[wanted:wanted + 1]):
            break
    if errors == (0, -errno.EIO):                       # drive 1 would keep the channel: it is left alone
        write_srst(channel)
        errors = wait_ready(channel, both=False)[0], -errno.EIO
    channel.dead = sum(1 << unit for unit, error in enumerate(errors) if error == -errno.EIO)
    kernel.outb(channel.masked, channel.control, ControlBlock.CONTROL)
    return errors


def silence(channel: Channel) -> None:
    """Stop the bus master, mask the drives, end an interrupt that is pending: from whatever state, SRST set or not.

    Nothing of this channel reaches memory any more.  An interface may hold its line up until the status is read, though
    the drives are masked or reset meanwhile (QEMU's does).
    """
    kernel = channel.kernel
    kernel.outb(BmCommand.of(), channel.bm, channel.BM_COMMAND)
    kernel.udelay(SRST_US)                              # perhaps SRST has just been set
    kernel.outb(Control.of(NIEN=1), channel.control, ControlBlock.CONTROL)
    kernel.inb(channel.ports, CommandBlock.STATUS)
    kernel.outb(channel.capable | BmStatus.of(IDEINTS=1, ERROR=1), channel.bm, channel.BM_STATUS)


def write_srst(channel: Channel) -> None:
    """The pulse of SRST; the drives' interrupt stays masked.  The reads see to it that the drives have seen each write.

    By the standard drive 0 is selected afterwards; QEMU's interface keeps whoever was.
    """
    kernel = channel.kernel
    kernel.outb(Control.of(SRST=1, NIEN=1), channel.control, ControlBlock.CONTROL)
    kernel.inb(channel.control, ControlBlock.ALTSTATUS)
    kernel.udelay(SRST_US)
    kernel.outb(Control.of(NIEN=1), channel.control, ControlBlock.CONTROL)
    kernel.inb(channel.control, ControlBlock.ALTSTATUS)
    channel.unit = -1


def wait_ready(channel: Channel, *, both: bool = True) -> tuple[int, int]:
    """Wait until neither drive is busy, a bounded time, and look at their diagnosis; results as piix_soft_reset()'s.

    *both* False: nobody looks at drive 1.
    """
    kernel = channel.kernel
    kernel.diskdump_msleep(RESET_POLL_MS)
    error, left_ms = _wait_at_rest(channel, RESET_LIMIT_MS)     # whoever is selected
    if error == -errno.EIO:
        channel.printk(f"busy for {RESET_LIMIT_MS // 1000} s after a soft reset")
        return error, error
    select_drive(channel, 0, DEVICE[0])
    first, left_ms = _wait_at_rest(channel, left_ms)
    code = int(kernel.inb(channel.ports, CommandBlock.ERROR)) if not first else _PASSED
    if code & ~_DRIVE_1_FAILED != _PASSED:
        channel.printk(f"drive 0 failed its diagnosis, code {code:02x}")
        first = -errno.EIO
    if not both:
        return first, -errno.ENODEV
    select_drive(channel, 1, DEVICE[1])
    second, _ = _wait_at_rest(channel, left_ms)
    if second == -errno.EIO:
        channel.printk("drive 1 stays busy after a soft reset")
    elif not second and code & _DRIVE_1_FAILED:
        channel.printk("drive 1 failed its diagnosis")
        second = -errno.EIO
    return first, second


def _wait_at_rest(channel: Channel, limit_ms: int) -> tuple[int, int]:
    """Wait until the selected drive is at rest: (0, -ENODEV or -EIO; milliseconds of *limit_ms* that are left)."""
    kernel = channel.kernel
    while True:
        stat = int(kernel.inb(channel.control, ControlBlock.ALTSTATUS))
        if stat in NO_DRIVE:
            return -errno.ENODEV, limit_ms
        if not stat & (BUSY_STAT | DRQ_STAT):
            return 0, limit_ms
        if limit_ms <= 0:
            return -errno.EIO, 0
        kernel.diskdump_msleep(RESET_POLL_MS)
        limit_ms -= RESET_POLL_MS


def _note_busy(channel: Channel) -> None:
    """SRST resets both drives: say so when one of them is in the middle of something."""
    stat = int(channel.kernel.inb(channel.control, ControlBlock.ALTSTATUS))
    if stat not in NO_DRIVE and stat & (BUSY_STAT | DRQ_STAT):
        channel.printk(f"the reset ends a command that is under way (status {stat:02x})")
