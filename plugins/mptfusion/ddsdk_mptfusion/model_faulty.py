"""What armed faults do to a request on its way.  Asked only while one is armed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .model_faults import (
    COMMAND_STATES,
    COMMAND_STATUS,
    FETCH_FAULTS,
    RECEIVE_FAULTS,
    REPLY_FAULTS,
    SEND_FAULTS,
)
from .mpi import IOCSTATUS_FLAG_LOG_INFO_AVAILABLE, Event, IOCStatus, ScsiState
from .regs import ADDRESS_REPLY_A_BIT

if TYPE_CHECKING:
    from .model_core import IocCore
    from .model_scsi import ScsiTask

S = 1_000_000_000
_PRODUCT_FAULT = 0x0004
_STALE_CONTEXT = 0x0000FFFE
_LOG_INFO = 0x31080000


def at_fetch(ioc: IocCore) -> bool:
    """Before a request frame is read; True when the request is gone."""
    hit = ioc.faults.hit
    for fault, code in FETCH_FAULTS.items():
        if hit(fault) is not None:
            ioc.enter_fault(code)
            return True
    struck = hit("spontaneous-fault")
    if struck is not None:
        ioc.enter_fault(struck.get("code", _PRODUCT_FAULT))
        return True
    if hit("peer-reset") is not None:
        ioc.resets.hard_reset()
        return True
    if ioc.last_context is not None and hit("reply-echo") is not None:
        ioc.append_reply(ioc.last_context)
    return False


def at_start(ioc: IocCore, task: ScsiTask) -> bool:
    """A SCSI request was found in order; True when it goes no further."""
    hit, scsi = ioc.faults.hit, ioc.scsi
    struck = hit("event-unsolicited")
    if struck is not None:
        ioc.messages.send_event(struck.get("event", Event.LOG_DATA), ack=True)
    if hit("command-hung") is not None:
        return True
    if hit("bus-reset-by-other") is not None:
        scsi.reset_bus(task.bus)
        scsi.terminate(lambda other: other.bus == task.bus, IOCStatus.SCSI_EXT_TERMINATED)
        ioc.messages.send_event(Event.EXT_BUS_RESET)
        return True
    for fault, (status, carried_out) in COMMAND_STATUS.items():
        if not carried_out and hit(fault) is not None:
            terminated = status is IOCStatus.SCSI_TASK_TERMINATED
            state = ioc.chip.terminated_state if terminated else ScsiState.NO_SCSI_STATUS
            scsi.post_after(ioc.timing.command_ns, task, status, state)
            return True
    for fault, (scsi_status, scsi_state) in COMMAND_STATES.items():
        if hit(fault) is not None:
            scsi.post_after(ioc.timing.command_ns, task, IOCStatus.SUCCESS, scsi_state, scsi_status)
            return True
    struck = hit("command-slow")
    if struck is not None:
        scsi.hold_up(task, struck.get("ns", 10 * S))
    return False


def at_finish(ioc: IocCore, task: ScsiTask) -> bool:
    """The command is about to be carried out; True when it was dealt with here."""
    hit = ioc.faults.hit
    if task.length:
        for fault, code in (SEND_FAULTS if task.to_device else RECEIVE_FAULTS).items():
            if hit(fault) is not None:
                ioc.enter_fault(code)
                return True
    for fault, (status, carried_out) in COMMAND_STATUS.items():
        if carried_out and hit(fault) is not None:
            result = task.target.execute(task.lun, task.cdb, task)
            if not result.hang:
                ioc.scsi.post(task, status, ScsiState(0), result.status, result.transferred)
            return True
    return False


def post_good(ioc: IocCore, task: ScsiTask) -> None:
    """A command went well: by context reply, unless a fault says otherwise."""
    hit = ioc.faults.hit
    if hit("reply-by-address") is not None:
        ioc.scsi.post(task, IOCStatus.SUCCESS, ScsiState(0), 0, task.length)
        return
    struck = hit("reply-log-info")
    if struck is not None:
        ioc.scsi.post(task, IOCSTATUS_FLAG_LOG_INFO_AVAILABLE, ScsiState(0), 0, task.length,
                      log_info=struck.get("info", _LOG_INFO))
        return
    ioc.post_context(task.context)


def reply_frame(ioc: IocCore, frame: bytes) -> bytes | None:
    """A reply frame is about to be written: what is written instead; None when the IOC went to FAULT."""
    hit = ioc.faults.hit
    for fault, code in REPLY_FAULTS.items():
        if hit(fault) is not None:
            ioc.enter_fault(code)
            return None
    struck = hit("reply-garbled")
    if struck is None:
        return frame
    context, function = int(struck.get("context", _STALE_CONTEXT)), int(struck.get("function", 0x7F))
    return frame[:3] + bytes((function,)) + frame[4:8] + context.to_bytes(4, "little") + frame[12:]


def post(ioc: IocCore, descriptor: int) -> None:
    """A reply descriptor is about to be posted."""
    hit = ioc.faults.hit
    struck = hit("reply-stale")
    if struck is not None:
        ioc.append_reply(struck.get("context", _STALE_CONTEXT))
    struck = hit("reply-bad-address")
    if struck is not None:
        ioc.append_reply(ADDRESS_REPLY_A_BIT | struck.get("address", 0xFFFFFF00) >> 1)
    if hit("reply-lost") is not None:
        return
    struck = hit("reply-late")
    if struck is not None:
        ioc.later(struck.get("ns", 10 * S), ioc.append_reply, descriptor)
        return
    ioc.append_reply(descriptor)
    if hit("reply-duplicate") is not None:
        ioc.append_reply(descriptor)
