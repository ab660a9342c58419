"""The host reset: one at a time, for the error handler, for the dump, or because of a FAULT.

Linux 2.6.9 mptbase.c mpt_HardResetHandler, mptscsih.c mptscsih_ioc_reset.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DID_NO_CONNECT, DID_RESET, end_cmds

from .events import SendEventNotification
from .ioc import enable_interrupts, mpt_do_ioc_recovery
from .reply import mpt_flush_running_cmds

if TYPE_CHECKING:
    from .adapter import MptAdapter

#: How long a second caller waits for the reset that is under way.
_OTHER_RESET_MS: Final = 120_000
_OTHER_RESET_STEP_MS: Final = 100


def mpt_HardResetHandler(ioc: MptAdapter) -> int:
    """int mpt_HardResetHandler(MPT_ADAPTER *, int sleepFlag): 0, or -errno and the IOC is dead.

    Commands the IOC held end with DID_RESET (DID_NO_CONNECT when the reset fails).  No lock may be held; it
    waits by diskdump_mdelay() in crash mode, asleep otherwise.
    """
    kernel = ioc.kernel
    flags = kernel.spin_lock_irqsave(ioc.diagLock)
    pending, ioc.diagPending = ioc.diagPending, True
    kernel.spin_unlock_irqrestore(ioc.diagLock, flags)
    if pending:
        return _wait_for_other_reset(ioc)
    error = mpt_do_ioc_recovery(ioc, force=True)
    if error:
        mpt_flush_running_cmds(ioc, DID_NO_CONNECT)
    else:
        mpt_go(ioc)
    ioc.diagPending = False
    return error


def _wait_for_other_reset(ioc: MptAdapter) -> int:
    """Somebody is at it: wait for what comes of it.  In crash mode nobody can be, but the caller itself."""
    kernel = ioc.kernel
    if kernel.crashdump_mode():
        return -errno.EBUSY
    for _ in range(_OTHER_RESET_MS // _OTHER_RESET_STEP_MS):
        kernel.msleep(_OTHER_RESET_STEP_MS)
        if not ioc.diagPending:
            break
    return 0 if ioc.active else -errno.EIO


def mpt_go(ioc: MptAdapter) -> None:
    """The IOC is OPERATIONAL and has forgotten everything: forget it too, and open for business."""
    scmds = ioc.abandon_outstanding()
    ioc.unmap_abandoned()
    ioc.refill_FreeQ()
    ioc.active = True
    enable_interrupts(ioc)
    if not ioc.kernel.crashdump_mode():
        SendEventNotification(ioc)      # none arrive unless asked for, and in crash mode nobody would care
    end_cmds(scmds, DID_RESET)


def mpt_fault_reset_work(ioc: MptAdapter) -> None:
    """The work item a poll schedules when it finds the IOC in FAULT."""
    if not ioc.active:
        mpt_HardResetHandler(ioc)
