"""Task management: who is killed, in which order the replies come, one at a time."""

from __future__ import annotations

import pytest
from attrs import evolve

from ddsdk.abi import WIRE_LE
from ddsdk.sim import disk_faults
from ddsdk_mptfusion.frames import (
    EventNotification,
    EventNotificationReply,
    IOCStatus,
    SCSIIOReply,
    SCSITaskMgmt,
    SCSITaskMgmtReply,
    TaskResponse,
    TaskType,
)
from ddsdk_mptfusion.model import LSI53C1030

REQUEST, SECOND, DATA = 0x00200000, 0x00200100, 0x00400000
READ_1 = bytes.fromhex("00000000 0a200000 21000000 00000000 00000000 00000002 28000000 00000000 01000000"
                       "00000000 00020000 00003800 000200d1 00004000").ljust(128, b"\0")


def manage(host, kind: int, **members) -> SCSITaskMgmtReply:
    """One task management request through the request FIFO, and its own reply."""
    request = evolve(SCSITaskMgmt(TaskType=kind, MsgContext=0x99), **members)
    frame = host.frame_of(host.run(SCSITaskMgmt.on(WIRE_LE).pack(request).ljust(64, b"\0"), SECOND), 0x18)
    return SCSITaskMgmtReply.on(WIRE_LE).unpack(frame)


def hang_one(host) -> None:
    """A read the disk never answers, context 0x21."""
    host.target.units[0].disk.inject(disk_faults.hang())
    host.post(READ_1)
    host.advance(1_000_000)


@pytest.mark.parametrize("kind", [
    TaskType.ABORT_TASK, TaskType.ABRT_TASK_SET, TaskType.TARGET_RESET, TaskType.RESET_BUS,
    TaskType.LOGICAL_UNIT_RESET, TaskType.CLEAR_TASK_SET])
def test_killed_requests_are_answered_first(ready, kind):
    """IOCStatus 0x0048, SCSIState 4; then the task management reply, TerminationCount 1."""
    hang_one(ready)
    request = SCSITaskMgmt(TaskType=kind, MsgContext=0x99, TaskMsgContext=0x21)
    ready.post(SCSITaskMgmt.on(WIRE_LE).pack(request).ljust(64, b"\0"), SECOND)
    killed = SCSIIOReply.on(WIRE_LE).unpack(ready.frame_of(ready.reply()))
    assert (killed.MsgContext, killed.IOCStatus, killed.SCSIState) == (0x21, 0x48, 4)
    reply = SCSITaskMgmtReply.on(WIRE_LE).unpack(ready.frame_of(ready.reply(), 0x18))
    assert (reply.MsgContext, reply.ResponseCode, reply.TaskType) == (0x99, 0, kind)
    assert reply.TerminationCount == 1


@pytest.mark.parametrize(("kind", "attention"), [
    (TaskType.TARGET_RESET, True), (TaskType.RESET_BUS, True), (TaskType.LOGICAL_UNIT_RESET, True),
    (TaskType.ABRT_TASK_SET, False), (TaskType.CLEAR_TASK_SET, False)])
def test_resets_leave_a_unit_attention(ready, kind, attention):
    """06/29/00 once after a reset, nothing after an abort."""
    assert manage(ready, kind).ResponseCode == TaskResponse.TM_COMPLETE
    if attention:
        assert ready.frame_of(ready.run(ready.tur))[0x0C] == 2
    assert ready.run(ready.tur) == 0x10


def test_abort_of_a_task_that_is_not_running(ready):
    """Complete, nothing terminated."""
    reply = manage(ready, TaskType.ABORT_TASK, TaskMsgContext=0x55)
    assert (reply.ResponseCode, reply.TerminationCount, reply.IOCStatus) == (TaskResponse.TM_COMPLETE, 0, 0)


def test_abort_takes_one_task_only(ready):
    """Another request of the same disk goes on."""
    hang_one(ready)
    ready.target.units[0].disk.inject(disk_faults.slow(500_000_000))
    ready.post(READ_1[:8] + b"\x22" + READ_1[9:], REQUEST)
    ready.advance(2_000)
    assert manage_killed(ready, 0x21) == 0x21
    assert ready.reply() == 0x22


def manage_killed(host, context: int) -> int:
    """Abort *context*; the context of the request that was killed."""
    request = SCSITaskMgmt(TaskType=TaskType.ABORT_TASK, MsgContext=0x99, TaskMsgContext=context)
    host.post(SCSITaskMgmt.on(WIRE_LE).pack(request).ljust(64, b"\0"), SECOND)
    killed = SCSIIOReply.on(WIRE_LE).unpack(host.frame_of(host.reply()))
    host.frame_of(host.reply(), 0x18)
    return int(killed.MsgContext)


def test_query_task(ready):
    """SUCCEEDED while it runs, COMPLETE when it is not there."""
    hang_one(ready)
    assert manage(ready, TaskType.QUERY_TASK, TaskMsgContext=0x21).ResponseCode == TaskResponse.TM_SUCCEEDED
    assert manage(ready, TaskType.QUERY_TASK, TaskMsgContext=0x22).ResponseCode == TaskResponse.TM_COMPLETE


@pytest.mark.parametrize("kind", [0, TaskType.CLR_ACA, 0x42])
def test_unsupported_task_types(ready, kind):
    """Clear ACA and unknown types: NOT_SUPPORTED."""
    assert manage(ready, kind).ResponseCode == TaskResponse.TM_NOT_SUPPORTED


@pytest.mark.parametrize(("members", "status"), [
    ({"Bus": 1}, IOCStatus.SCSI_INVALID_BUS), ({"TargetID": 5}, IOCStatus.SCSI_DEVICE_NOT_THERE)])
def test_addresses_nobody_answers(ready, members, status):
    """The same statuses as for I/O."""
    assert manage(ready, TaskType.TARGET_RESET, **members).IOCStatus == status


def test_bus_reset_of_a_bus_that_is_not_there(ready):
    """INVALID_BUS; no target need exist on a bus that is."""
    assert manage(ready, TaskType.RESET_BUS, Bus=1).IOCStatus == IOCStatus.SCSI_INVALID_BUS
    assert manage(ready, TaskType.RESET_BUS, TargetID=5).IOCStatus == IOCStatus.SUCCESS


def test_lun_reset_of_a_lun_that_is_not_there(ready):
    """INVALID_LUN."""
    reply = manage(ready, TaskType.LOGICAL_UNIT_RESET, LUN=bytes((0, 1, 0, 0, 0, 0, 0, 0)))
    assert reply.ResponseCode == TaskResponse.TM_INVALID_LUN


def test_one_at_a_time(ready):
    """A second request while one is under way: IOCStatus BUSY, before the first one's reply."""
    frame = SCSITaskMgmt.on(WIRE_LE)
    ready.post(frame.pack(SCSITaskMgmt(TaskType=3, MsgContext=0x98)).ljust(64, b"\0"), SECOND)
    ready.advance(2_000)
    ready.post(frame.pack(SCSITaskMgmt(TaskType=3, MsgContext=0x99)).ljust(64, b"\0"), SECOND)
    frames = [ready.frame_of(ready.reply(), 0x18) for _ in range(2)]
    replies = [SCSITaskMgmtReply.on(WIRE_LE).unpack(data) for data in frames]
    assert [(r.MsgContext, r.IOCStatus) for r in replies] == [(0x99, IOCStatus.BUSY), (0x98, 0)]


def test_by_handshake(ready):
    """The same unit; the killed request is answered through the FIFO."""
    hang_one(ready)
    reply = SCSITaskMgmtReply.on(WIRE_LE).unpack(
        ready.handshake(SCSITaskMgmt.on(WIRE_LE).pack(SCSITaskMgmt(TaskType=3, MsgContext=0x99))))
    assert (reply.ResponseCode, reply.TerminationCount) == (0, 1)
    assert ready.frame_of(ready.reply())[8] == 0x21


def test_not_while_ready(host):
    """Before IOCInit: INVALID_STATE."""
    reply = SCSITaskMgmtReply.on(WIRE_LE).unpack(
        host.handshake(SCSITaskMgmt.on(WIRE_LE).pack(SCSITaskMgmt(TaskType=3))))
    assert reply.IOCStatus == IOCStatus.INVALID_STATE


def test_spi_reports_its_bus_reset_as_an_event(make_host):
    """53C1030 with events on: event 4 comes before the reply; killed tasks carry TERMINATED."""
    host = make_host(chip=LSI53C1030)
    host.bring_up()
    host.clear_attention()
    host.frame_of(host.run(EventNotification.on(WIRE_LE).pack(EventNotification(Switch=1, MsgContext=0x77))
                           .ljust(64, b"\0")), 0x20)
    hang_one(host)
    request = SCSITaskMgmt(TaskType=TaskType.RESET_BUS, MsgContext=0x99)
    host.post(SCSITaskMgmt.on(WIRE_LE).pack(request).ljust(64, b"\0"), SECOND)
    event = EventNotificationReply.on(WIRE_LE).unpack(host.frame_of(host.reply(), 0x20))
    assert (event.Event, event.MsgContext, event.AckRequired) == (4, 0x77, 0)
    assert SCSIIOReply.on(WIRE_LE).unpack(host.frame_of(host.reply())).SCSIState == 0x0C
    assert host.frame_of(host.reply(), 0x18)[3] == 1
