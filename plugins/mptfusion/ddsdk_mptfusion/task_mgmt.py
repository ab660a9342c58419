"""SCSI task management: abort, device reset, bus reset; one request at a time, watched by a timer.

Linux 2.6.9 mptscsih.c (mptscsih_TMHandler); layouts: LSI mpi_init.h 01.05.09.  The request goes to the
high-priority FIFO where IOCFacts offers one, else to the ordinary one; its reply always comes by ReplyFifo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE
from ddsdk.scsi.cmnd import FAILED, SUCCESS

from .adapter import MptAdapter, MptRequest, MptScsiHost
from .frames import (
    IOCSTATUS_MASK,
    IOCCapabilities,
    IOCStatus,
    SCSITaskMgmt,
    SCSITaskMgmtReply,
    TaskResponse,
    TaskType,
)
from .recovery import mpt_HardResetHandler
from .regs import MptRegs
from .reply import mpt_poll_interrupt

if TYPE_CHECKING:
    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiDevice

#: How long the IOC may take, by task type (2.6.9: 2 s for an abort, 5 s for resets).
_TIMEOUT_MS: Final = {TaskType.ABORT_TASK: 2000}
_RESET_TIMEOUT_MS: Final = 5000
_POLL_US: Final = 100

_REQUEST = SCSITaskMgmt.on(WIRE_LE)
_REPLY = SCSITaskMgmtReply.on(WIRE_LE)
_DONE: Final = frozenset((TaskResponse.TM_COMPLETE, TaskResponse.TM_SUCCEEDED))
_DONE_STATUS: Final = frozenset((IOCStatus.SUCCESS, IOCStatus.SCSI_TASK_TERMINATED,
                                 IOCStatus.SCSI_IOC_TERMINATED))


def mptscsih_abort(hd: MptScsiHost, scmd: ScsiCmnd) -> int:
    """Abort *scmd*: SUCCESS when the IOC does not hold it any more.  May sleep; host_lock is not held."""
    request = _holding(hd.ioc, scmd)
    if request is None:
        return SUCCESS
    result = mptscsih_TMHandler(hd, TaskType.ABORT_TASK, scmd.device, request.context)
    return SUCCESS if result == SUCCESS and _holding(hd.ioc, scmd) is None else FAILED


def _holding(ioc: MptAdapter, scmd: ScsiCmnd) -> MptRequest | None:
    """The request with which the IOC holds *scmd*, if it does."""
    return next((request for request in ioc.outstanding.values() if request.scmd is scmd), None)


def mptscsih_TMHandler(hd: MptScsiHost, task_type: TaskType, sdev: ScsiDevice, task_context: int = 0) -> int:
    """Send one task management request and wait for its end: SUCCESS or FAILED.

    If the IOC does not answer, only a hard reset makes it take another one: that is done here, and is SUCCESS
    too, since every command is gone afterwards.  May sleep; host_lock is not held.
    """
    ioc = hd.ioc
    if not ioc.active or not _begin(hd):
        return FAILED
    resets = ioc.reset_count
    timeout_ms = _TIMEOUT_MS.get(task_type, _RESET_TIMEOUT_MS)
    _send(hd, task_type, sdev, task_context, timeout_ms)
    _wait(hd, timeout_ms)
    ioc.kernel.del_timer_sync(hd.TMtimer)
    response, status, hd.tmPending = hd.tm_response, hd.tm_iocstatus, False
    if response >= 0:
        if response in _DONE and status in _DONE_STATUS:
            return SUCCESS
        ioc.printk(f"{task_type.name} failed: ResponseCode {response:#x}, IOCStatus {status:#06x}")
        return FAILED
    if ioc.reset_count != resets:
        return SUCCESS                                      # somebody else reset the IOC meanwhile
    ioc.printk(f"{task_type.name}: no answer within {timeout_ms} ms; hard reset")
    return FAILED if mpt_HardResetHandler(ioc) else SUCCESS


def _begin(hd: MptScsiHost) -> bool:
    """Become the one that does task management; false when somebody is."""
    kernel = hd.ioc.kernel
    flags = kernel.spin_lock_irqsave(hd.tmLock)
    mine = not hd.tmPending
    hd.tmPending = True
    kernel.spin_unlock_irqrestore(hd.tmLock, flags)
    return mine


def _send(hd: MptScsiHost, task_type: TaskType, sdev: ScsiDevice, task_context: int, timeout_ms: int) -> None:
    ioc = hd.ioc
    kernel, request = ioc.kernel, ioc.tm_request
    hd.tm_response, hd.tm_iocstatus = -1, 0
    hd.tm_done = kernel.init_completion()
    _REQUEST.pack_into(ioc.view, request.frame_offset, SCSITaskMgmt(
        TargetID=sdev.id, Bus=sdev.channel, TaskType=task_type, MsgContext=ioc.new_context(request),
        LUN=bytes((0, sdev.lun, 0, 0, 0, 0, 0, 0)), TaskMsgContext=task_context))
    kernel.mod_timer(hd.TMtimer, kernel.jiffies + kernel.msecs_to_jiffies(timeout_ms))

    def ended(_ioc: MptAdapter, _request: MptRequest, reply: bytes | None) -> None:
        _complete(hd, reply)

    urgent = ioc.facts.IOCCapabilities & IOCCapabilities.HIGH_PRI_Q
    ioc.post(request, ended, MptRegs.HI_PRI_REQUEST_FIFO if urgent else MptRegs.REQUEST_FIFO)


def _complete(hd: MptScsiHost, reply: bytes | None) -> None:
    """The reply to the task management request came, in interrupt context."""
    if reply is None:
        hd.tm_response = TaskResponse.TM_COMPLETE
    else:
        answer = _REPLY.unpack(reply)
        hd.tm_response, hd.tm_iocstatus = answer.ResponseCode, answer.IOCStatus & IOCSTATUS_MASK
    hd.ioc.kernel.complete(hd.tm_done)


def mptscsih_taskmgmt_timeout(hd: MptScsiHost) -> None:
    """hd.TMtimer ran out: the waiter goes on without an answer."""
    hd.ioc.kernel.complete(hd.tm_done)


def _wait(hd: MptScsiHost, timeout_ms: int) -> None:
    """Until the reply or the timer.  In crash mode nobody else calls the handler or runs the timer."""
    ioc = hd.ioc
    kernel = ioc.kernel
    if not kernel.crashdump_mode():
        # twice the time: the timer is what ends this
        kernel.wait_for_completion_timeout(hd.tm_done, 2 * kernel.msecs_to_jiffies(timeout_ms))
        return
    for _ in range(2 * timeout_ms * 1000 // _POLL_US):
        mpt_poll_interrupt(ioc)
        kernel.diskdump_update()
        if hd.tm_done.done:
            return
        kernel.udelay(_POLL_US)
