"""SCSI task management: one request at a time, killed requests answered before it.

Layouts: frames.py.  Codes and the order of replies: LSI mpi_init.h 01.05.09, QEMU 7.2 mptsas1068 observed.
"One at a time" is what 2.6.9's driver assumes of the hardware; a second request is answered IOCStatus BUSY.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ddsdk.abi import WIRE_LE

from .frames import SCSITaskMgmt, SCSITaskMgmtReply
from .mpi import Event, IOCStatus, MsgFunction, PortType, TaskResponse, TaskType
from .regs import IocState

if TYPE_CHECKING:
    from .model_core import IocCore
    from .model_scsi import ScsiTask

Outcome = tuple[int, Callable[[], bytes]]

_REQUEST = SCSITaskMgmt.on(WIRE_LE)
_REPLY = SCSITaskMgmtReply.on(WIRE_LE)
_TASK_SET = (TaskType.ABRT_TASK_SET, TaskType.CLEAR_TASK_SET)


class TaskMgmt:
    """The task management unit of one IOC."""

    def __init__(self, ioc: IocCore) -> None:
        self._ioc = ioc
        self._busy = False

    def reset(self) -> None:
        """Whatever was under way is forgotten."""
        self._busy = False

    @property
    def handler(self) -> tuple[int, Callable[[bytes], Outcome | None]]:
        """Size of the request in bytes, and what takes it."""
        return _REQUEST.size, self._take

    def _take(self, request: bytes) -> Outcome | None:
        ioc, message = self._ioc, _REQUEST.unpack(request)
        if ioc.state is not IocState.OPERATIONAL:
            return ioc.timing.message_ns, partial(self._reply, message, status=IOCStatus.INVALID_STATE)
        if self._busy:
            return ioc.timing.message_ns, partial(self._reply, message, status=IOCStatus.BUSY)
        self._busy = True
        if ioc.faults.hit("task-mgmt-hung") is not None:
            return None
        return ioc.timing.task_mgmt_ns, partial(self._carry_out, message)

    def _carry_out(self, message: SCSITaskMgmt) -> bytes:
        self._busy = False
        ioc = self._ioc
        struck = ioc.faults.hit("task-mgmt-failed")
        if struck is not None:
            return self._reply(message, struck.get("response", TaskResponse.TM_FAILED),
                               status=struck.get("status", IOCStatus.SCSI_TASK_MGMT_FAILED))
        kind = message.TaskType
        if kind == TaskType.RESET_BUS:
            return self._reset_bus(message)
        wrong = ioc.scsi.address_error(message.Bus, message.TargetID)
        if wrong is not None:
            return self._reply(message, status=wrong)
        if kind in (TaskType.TARGET_RESET, TaskType.LOGICAL_UNIT_RESET):
            return self._reset_target(message)
        if kind in _TASK_SET:
            return self._kill(message, lambda task: self._same_unit(message, task))
        if kind == TaskType.ABORT_TASK:
            return self._kill(message, lambda task: self._same_task(message, task))
        if kind == TaskType.QUERY_TASK:
            running = any(self._same_task(message, task) for task in ioc.scsi.tasks)
            return self._reply(message, TaskResponse.TM_SUCCEEDED if running else TaskResponse.TM_COMPLETE)
        return self._reply(message, TaskResponse.TM_NOT_SUPPORTED)

    def _reset_bus(self, message: SCSITaskMgmt) -> bytes:
        ioc = self._ioc
        if message.Bus >= ioc.chip.MaxBuses:
            return self._reply(message, status=IOCStatus.SCSI_INVALID_BUS)
        ioc.scsi.reset_bus(message.Bus)
        if ioc.chip.PortType is PortType.SCSI:
            ioc.messages.send_event(Event.IOC_BUS_RESET)
        return self._kill(message, lambda task: task.bus == message.Bus)

    def _reset_target(self, message: SCSITaskMgmt) -> bytes:
        target, lun = self._ioc.scsi.targets[message.Bus, message.TargetID], message.LUN[1]
        if message.TaskType == TaskType.TARGET_RESET:
            target.reset("target")
            return self._kill(message, lambda task: (task.bus, task.id) == (message.Bus, message.TargetID))
        if lun not in target.units:
            return self._reply(message, TaskResponse.TM_INVALID_LUN)
        target.reset("lun", lun)
        return self._kill(message, lambda task: self._same_unit(message, task))

    def _kill(self, message: SCSITaskMgmt, doomed: Callable[[ScsiTask], bool]) -> bytes:
        count = self._ioc.scsi.terminate(doomed, IOCStatus.SCSI_TASK_TERMINATED)
        return self._reply(message, terminated=count)

    def _same_unit(self, message: SCSITaskMgmt, task: ScsiTask) -> bool:
        return (task.bus, task.id, task.lun) == (message.Bus, message.TargetID, message.LUN[1])

    def _same_task(self, message: SCSITaskMgmt, task: ScsiTask) -> bool:
        return self._same_unit(message, task) and task.context == message.TaskMsgContext

    def _reply(self, message: SCSITaskMgmt, response: int = TaskResponse.TM_COMPLETE, *,
               status: int = IOCStatus.SUCCESS, terminated: int = 0) -> bytes:
        return _REPLY.pack(SCSITaskMgmtReply(
            TargetID=message.TargetID, Bus=message.Bus, MsgLength=_REPLY.size // 4,
            Function=MsgFunction.SCSI_TASK_MGMT, ResponseCode=response, TaskType=message.TaskType,
            MsgFlags=message.MsgFlags, MsgContext=message.MsgContext, IOCStatus=status,
            TerminationCount=terminated))
