"""The soft reset: SRST in the device control register, then BSY until the drives are ready."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ddsdk.ata.taskfile import AC_ERR_OTHER, BUSY_STAT, ide_end_drive_cmd

from .regs import GONE, BmCommand, Control, Regs

if TYPE_CHECKING:
    from ddsdk.ata.host import IdeDrive, IdeHwif

    from .adapter import Adapter

#: ATA/ATAPI-6: a drive may be busy for 31 s after SRST; a reset that failed is tried again.
RESET_LIMIT_MS: Final = 31_000
RESET_POLL_MS: Final = 10
RESET_TRIES: Final = 2
#: SRST has to be set for 5 us.
SRST_US: Final = 10


def {{cookiecutter.__NAME}}_IDE_LOCK(hwif: IdeHwif) -> None:
    """White paper 4.3 item 3, of ide_lock: spin_lock() in crash mode, spin_lock_irq() otherwise."""
    kernel = hwif.kernel
    if kernel.crashdump_mode():
        kernel.spin_lock(hwif.ide_lock)
    else:
        kernel.spin_lock_irq(hwif.ide_lock)


def {{cookiecutter.__NAME}}_IDE_UNLOCK(hwif: IdeHwif) -> None:
    """White paper 4.3 item 3, of ide_lock: never enables interrupts in crash mode."""
    kernel = hwif.kernel
    if kernel.crashdump_mode():
        kernel.spin_unlock(hwif.ide_lock)
    else:
        kernel.spin_unlock_irq(hwif.ide_lock)


def {{cookiecutter.name}}_do_reset(drive: IdeDrive) -> int:
    """ide_startstop_t {{cookiecutter.name}}_do_reset(ide_drive_t *): reset the channel, from any state; 0 or -errno.

    Called with ide_lock held, which it drops while it waits.
    """
    hwif = drive.hwif
    adapter: Adapter = hwif.hwif_data
    adapter.resetting = True
    {{cookiecutter.__NAME}}_IDE_UNLOCK(hwif)
    error = {{cookiecutter.name}}_soft_reset(adapter)
    task = adapter.forget()
    adapter.unmap()
    if task is not None:
        ide_end_drive_cmd(task, 0, resid=task.nbytes, err_mask=AC_ERR_OTHER)
    {{cookiecutter.__NAME}}_IDE_LOCK(hwif)
    adapter.resetting, adapter.dead = False, bool(error)
    return error


def {{cookiecutter.name}}_soft_reset(adapter: Adapter) -> int:
    """Stop the bus master and reset the drives: 0 or -errno.  May sleep, no lock is held."""
    kernel, ports = adapter.kernel, adapter.ports
    kernel.del_timer(adapter.drq_timer)
    kernel.outb(BmCommand.of(), ports, Regs.BM_COMMAND)
    for _ in range(RESET_TRIES):
        write_srst(adapter)
        error = wait_ready(adapter)
        if error != -errno.EIO:
            break
        adapter.printk("BSY for 31 s after a soft reset")
    if not error:
        kernel.inb(ports, Regs.STATUS)                  # an interrupt from before is nobody's
        kernel.outb(adapter.masked, ports, Regs.CONTROL)
    return error


def write_srst(adapter: Adapter) -> None:
    """The pulse of SRST; the drives' interrupt stays masked."""
    kernel, ports = adapter.kernel, adapter.ports
    kernel.outb(Control.of(SRST=1, NIEN=1), ports, Regs.CONTROL)
    kernel.udelay(SRST_US)
    kernel.outb(Control.of(NIEN=1), ports, Regs.CONTROL)


def wait_ready(adapter: Adapter) -> int:
    """Wait until BSY falls, a bounded time: 0, -ENODEV when nobody answers any more, else -EIO."""
    kernel, ports = adapter.kernel, adapter.ports
    for _ in range(RESET_LIMIT_MS // RESET_POLL_MS):
        kernel.diskdump_msleep(RESET_POLL_MS)
        stat = int(kernel.inb(ports, Regs.ALTSTATUS))
        if stat == GONE:
            adapter.printk("the status register reads all ones")
            return -errno.ENODEV
        if not stat & BUSY_STAT:
            return 0
    return -errno.EIO
