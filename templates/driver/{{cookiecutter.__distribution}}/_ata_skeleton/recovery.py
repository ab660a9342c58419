"""The soft reset: SRST in the device control register, then BSY until the drives are ready."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.ata.taskfile import AC_ERR_OTHER, ide_end_drive_cmd

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
    raise NotImplementedError(
        "{{cookiecutter.__NAME}}_IDE_LOCK: spin_lock() ide_lock when crashdump_mode(), else spin_lock_irq() (white paper 4.3 "
        "item 3).")


def {{cookiecutter.__NAME}}_IDE_UNLOCK(hwif: IdeHwif) -> None:
    """White paper 4.3 item 3, of ide_lock: never enables interrupts in crash mode."""
    raise NotImplementedError(
        "{{cookiecutter.__NAME}}_IDE_UNLOCK: spin_unlock() ide_lock when crashdump_mode(), else spin_unlock_irq() (white "
        "paper 4.3 item 3).")


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
    raise NotImplementedError(
        "{{cookiecutter.name}}_soft_reset: del_timer() drq_timer, stop the bus master (BM_COMMAND in regs.py), "
        "write_srst() and wait_ready(), RESET_TRIES times while it says -EIO; then read STATUS and write "
        "adapter.masked to CONTROL; 0 or -errno.")


def write_srst(adapter: Adapter) -> None:
    """The pulse of SRST; the drives' interrupt stays masked."""
    raise NotImplementedError(
        "write_srst: write SRST and NIEN to CONTROL (regs.py), udelay(SRST_US), write NIEN alone.")


def wait_ready(adapter: Adapter) -> int:
    """Wait until BSY falls, a bounded time: 0, -ENODEV when nobody answers any more, else -EIO."""
    raise NotImplementedError(
        "wait_ready: diskdump_msleep() and read ALTSTATUS (regs.py) until BSY is clear, a bounded time: 0, -ENODEV "
        "when it is GONE, else -EIO.")
