"""What becomes of a taskfile command that ended: done, again, by another way, after a reset, or failed.

Source: the policy of RHEL 4 `drivers/ide/ide-io.c` and `ide-iops.c` by hw-ide.md 7 and 11.  Deliberate differences: a
device fault is final (the kernel resets); left-over DRQ costs a reset; good status with bytes missing is retried.
"""

from __future__ import annotations

import errno
from typing import Final

from ..block.outcome import Disposition, Outcome
from .taskfile import (
    ABRT_ERR,
    AC_ERR_ATA_BUS,
    AC_ERR_DEV,
    AC_ERR_HOST_BUS,
    AC_ERR_HSM,
    AC_ERR_INVALID,
    AC_ERR_MEDIA,
    AC_ERR_NODEV_HINT,
    AC_ERR_TIMEOUT,
    BUSY_STAT,
    DRQ_STAT,
    ECC_ERR,
    ERR_STAT,
    ICRC_ERR,
    ID_ERR,
    MARK_ERR,
    MC_ERR,
    READY_STAT,
    TRK0_ERR,
    WRERR_STAT,
    IdeTask,
    command_name,
)

_SUCCESS: Final = Outcome(Disposition.SUCCESS)
#: What nobody drives reads as: pulled up, pulled up but for BSY, or nothing behind the interface at all.
_NOBODY: Final = frozenset((0xFF, 0x7F, 0x00))
_CRC: Final = Outcome(Disposition.NEEDS_RETRY, "CRC error on the cable")
_ERRORS: Final = (
    (ECC_ERR, "uncorrectable data"), (ID_ERR, "no such sector"), (TRK0_ERR, "track 0 not found"),
    (MARK_ERR, "address mark not found"), (ABRT_ERR, "the drive aborted it"),
)


def ide_decide_disposition(task: IdeTask) -> Outcome:
    """Look at what the driver knows, then at the status register, then at the error register, then at what moved."""
    known = task.err_mask & ~(AC_ERR_DEV | AC_ERR_MEDIA)
    if known:
        return _by_mask(task, known)
    status = task.status
    if status in _NOBODY:
        return Outcome(Disposition.FAILED, f"no drive answers (status {status:02x})", errno.ENODEV)
    if status & BUSY_STAT:
        return Outcome(Disposition.NEEDS_RESET, f"the drive is still busy (status {status:02x})")
    if status & WRERR_STAT:
        return Outcome(Disposition.FAILED, f"device fault (status {status:02x}){_where(task)}")
    if status & ERR_STAT:
        return _by_error(task)
    if status & DRQ_STAT:
        return Outcome(Disposition.NEEDS_RESET, f"the drive still has data to move (status {status:02x})")
    if not status & READY_STAT:
        return Outcome(Disposition.BECOMING_READY, f"the drive is not ready (status {status:02x})")
    if task.resid:
        return Outcome(Disposition.NEEDS_RETRY,
                       f"good status, but {task.nbytes - task.resid} of {task.nbytes} bytes moved")
    return _SUCCESS


def _by_mask(task: IdeTask, known: int) -> Outcome:
    if known & AC_ERR_NODEV_HINT:
        return Outcome(Disposition.FAILED, "the interface finds no drive", errno.ENODEV)
    if known & AC_ERR_INVALID:
        return Outcome(Disposition.FAILED, "the driver cannot do such a command", errno.EINVAL)
    if known & AC_ERR_TIMEOUT:
        return Outcome(Disposition.NEEDS_RESET, f"the driver gave up waiting (status {task.status:02x})")
    if known & AC_ERR_HSM:
        return Outcome(Disposition.NEEDS_RESET, "the drive does not follow the protocol (status"
                                                f" {task.status:02x})")
    if known & AC_ERR_ATA_BUS:
        return _CRC
    if known & AC_ERR_HOST_BUS:
        way = Disposition.NEEDS_PIO if task.dma else Disposition.NEEDS_RETRY
        return Outcome(way, "the bus master reports an error")
    return Outcome(Disposition.NEEDS_RETRY, f"the driver ended it ({known:#x}; a reset does that)")


def _by_error(task: IdeTask) -> Outcome:
    error = task.error
    registers = f"(status {task.status:02x}, error {error:02x}){_where(task)}"
    if error & ICRC_ERR and (task.dma or error & ABRT_ERR):
        return _CRC
    if error & ICRC_ERR:
        return Outcome(Disposition.FAILED, f"bad block {registers}")
    if error & MC_ERR:
        task.drive.changed = True
        return Outcome(Disposition.FAILED, f"the medium was changed {registers}")
    what = next((text for bit, text in _ERRORS if error & bit), "it failed")
    return Outcome(Disposition.FAILED, f"{what} {registers}")


def _where(task: IdeTask) -> str:
    """The sector in the registers, when the driver read them and the command has one."""
    tf = task.result_tf
    return f" at sector {tf.sector}" if tf is not None and task.nbytes and tf.device & 0x40 else ""


def describe(task: IdeTask, why: str) -> str:
    """`WRITE DMA EXT to ide0:0:1: why`."""
    return f"{command_name(task.tf.command)} to {task.drive.name}: {why}"
