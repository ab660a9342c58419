"""Faults of requests and replies, and whole rows of the status tables: what the host then sees."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

import pytest

from ddsdk.abi import WIRE_LE
from ddsdk_mptfusion.frames import (
    EventNotification,
    EventNotificationReply,
    IOCStatus,
    SCSIIOReply,
    SCSITaskMgmt,
    SCSITaskMgmtReply,
)
from ddsdk_mptfusion.model_faults import BUS_SIDE, FAULTS, REQUEST_SIDE

REPLY, SECOND, DATA = 0x00300000, 0x00200100, 0x00400000
TARGET_RESET = SCSITaskMgmt.on(WIRE_LE).pack(SCSITaskMgmt(TaskType=3, MsgContext=0x99)).ljust(64, b"\0")
EVENTS_ON = EventNotification.on(WIRE_LE).pack(EventNotification(Switch=1, MsgContext=0x77)).ljust(64, b"\0")
S = 1_000_000_000


def block(opcode: int, flags: int, control: int, context: int = 0x21) -> bytes:
    """One sector at LBA 8, to or from DATA."""
    return (bytes((0, 0, 0, 0, 10, 32, 0, 0)) + struct.pack("<I8xI", context, control)
            + struct.pack(">BBIBHB", opcode, 0, 8, 0, 1, 0).ljust(16, b"\0")
            + struct.pack("<IIII", 512, 0x00380000, flags << 24 | 512, DATA)).ljust(128, b"\0")


READ = block(0x28, 0xD1, 0x02000000)
ABSENT = bytes((5,)) + READ[1:]         # a target that is not there: always an address reply
WRITE = block(0x2A, 0xD5, 0x01000000)

Scenario = Callable[..., None]
SCENARIOS: dict[str, Scenario] = {}


def scenario(fault: str) -> Callable[[Scenario], Scenario]:
    """Register what *fault* does to an operational host."""
    def note(check: Scenario) -> Scenario:
        SCENARIOS[fault] = check
        return check
    return note


def failed(host, frame: bytes = READ) -> SCSIIOReply:
    """The address reply to *frame*."""
    return SCSIIOReply.on(WIRE_LE).unpack(host.frame_of(host.run(frame)))


def works(host) -> bool:
    """A plain read succeeds."""
    return bool(host.run(READ) == 0x21)


def silent(host, ns: int = S) -> bool:
    """No reply within *ns*."""
    host.advance(ns)
    return bool(host.read("REPLY_FIFO") == 0xFFFFFFFF)


# -- commands ------------------------------------------------------------------------------------------


@scenario("spontaneous-fault")
def _(host) -> None:
    host.ioc.faults.inject("spontaneous-fault", code=0x1234)
    host.post(READ)
    assert silent(host)
    assert host.read("DOORBELL") == 0x44001234


@scenario("command-hung")
def _(host) -> None:
    host.ioc.faults.inject("command-hung")
    host.post(READ)
    assert silent(host, 60 * S)
    host.post(TARGET_RESET, SECOND)
    killed = SCSIIOReply.on(WIRE_LE).unpack(host.frame_of(host.reply()))
    assert (killed.MsgContext, killed.IOCStatus) == (0x21, IOCStatus.SCSI_TASK_TERMINATED)


@scenario("command-slow")
def _(host) -> None:
    host.ioc.faults.inject("command-slow")
    host.post(READ)
    assert silent(host, 10 * S)
    assert host.reply() == 0x21


@scenario("bus-reset-by-other")
def _(host) -> None:
    host.run(EVENTS_ON)
    host.ioc.faults.inject("bus-reset-by-other")
    assert failed(host).IOCStatus == IOCStatus.SCSI_EXT_TERMINATED
    assert EventNotificationReply.on(WIRE_LE).unpack(host.frame_of(host.reply(), 0x20)).Event == 5
    assert failed(host).SCSIStatus == 2                 # the unit attention
    assert works(host)


@scenario("task-mgmt-hung")
def _(host) -> None:
    host.ioc.faults.inject("task-mgmt-hung")
    host.post(TARGET_RESET, SECOND)
    assert silent(host, 60 * S)
    assert host.run(READ) == 0x21


@scenario("task-mgmt-failed")
def _(host) -> None:
    host.ioc.faults.inject("task-mgmt-failed")
    reply = SCSITaskMgmtReply.on(WIRE_LE).unpack(host.frame_of(host.run(TARGET_RESET, SECOND), 0x18))
    assert (reply.ResponseCode, reply.IOCStatus) == (5, IOCStatus.SCSI_TASK_MGMT_FAILED)
    assert works(host)                                  # nothing was reset


# -- replies -------------------------------------------------------------------------------------------


@scenario("reply-lost")
def _(host) -> None:
    host.ioc.faults.inject("reply-lost")
    host.poke(DATA, b"\x5A" * 512)
    host.post(WRITE)
    assert silent(host, 60 * S)
    assert host.run(READ) == 0x21
    assert host.peek(DATA, 512) == b"\x5A" * 512


@scenario("reply-late")
def _(host) -> None:
    host.ioc.faults.inject("reply-late")
    host.post(READ)
    assert silent(host, 10 * S)
    assert host.reply() == 0x21


@scenario("reply-duplicate")
def _(host) -> None:
    host.ioc.faults.inject("reply-duplicate")
    host.post(READ)
    host.advance(1_000_000)
    assert [host.read("REPLY_FIFO") for _ in range(3)] == [0x21, 0x21, 0xFFFFFFFF]


@scenario("reply-stale")
def _(host) -> None:
    host.ioc.faults.inject("reply-stale", context=0x1234)
    host.post(READ)
    host.advance(1_000_000)
    assert [host.read("REPLY_FIFO") for _ in range(3)] == [0x1234, 0x21, 0xFFFFFFFF]


@scenario("reply-echo")
def _(host) -> None:
    host.post(READ)
    assert host.reply() == 0x21
    host.ioc.faults.inject("reply-echo")
    host.post(READ)
    host.advance(host.ioc.timing.fetch_ns)
    assert host.read("REPLY_FIFO") == 0x21          # at once, nothing has been read yet
    assert host.reply() == 0x21


@scenario("reply-bad-address")
def _(host) -> None:
    host.ioc.faults.inject("reply-bad-address")
    host.post(READ)
    host.advance(1_000_000)
    assert [host.read("REPLY_FIFO") for _ in range(3)] == [0xFFFFFF80, 0x21, 0xFFFFFFFF]


@scenario("reply-garbled")
def _(host) -> None:
    host.ioc.faults.inject("iocstatus-busy")
    host.ioc.faults.inject("reply-garbled")
    reply = failed(host)
    assert (reply.Function, reply.MsgContext, reply.IOCStatus) == (0x7F, 0xFFFE, IOCStatus.BUSY)


@scenario("reply-by-address")
def _(host) -> None:
    host.ioc.faults.inject("reply-by-address")
    reply = failed(host)
    assert (reply.IOCStatus, reply.SCSIStatus, reply.SCSIState, reply.TransferCount) == (0, 0, 0, 512)


@scenario("reply-log-info")
def _(host) -> None:
    host.ioc.faults.inject("reply-log-info")
    reply = failed(host)
    assert (reply.IOCStatus, reply.IOCLogInfo, reply.TransferCount) == (0x8000, 0x31080000, 512)


@scenario("free-list-leak")
def _(host) -> None:
    host.ioc.faults.inject("free-list-leak", times=0)
    for _ in range(8):
        failed(host, ABSENT)
    host.post(ABSENT)
    host.advance(S)
    assert host.read("DOORBELL") == 0x44000006


@scenario("event-unsolicited")
def _(host) -> None:
    host.run(EVENTS_ON)
    host.ioc.faults.inject("event-unsolicited", event=2)
    host.post(READ)
    event = EventNotificationReply.on(WIRE_LE).unpack(host.frame_of(host.reply(), 0x20))
    assert (event.Event, event.AckRequired, event.MsgContext) == (2, 1, 0x77)
    assert host.reply() == 0x21


# -- whole rows of tables ------------------------------------------------------------------------------

#: fault -> (IOCStatus, SCSIState, TransferCount)
STATUSES: Mapping[str, tuple[int, int, int]] = {
    "iocstatus-invalid-function": (0x01, 4, 0), "iocstatus-busy": (0x02, 4, 0),
    "iocstatus-invalid-sgl": (0x03, 4, 0), "iocstatus-internal-error": (0x04, 4, 0),
    "iocstatus-reserved": (0x05, 4, 0),
    "iocstatus-insufficient-resources": (0x06, 4, 0), "iocstatus-invalid-field": (0x07, 4, 0),
    "iocstatus-invalid-state": (0x08, 4, 0), "iocstatus-recovered-error": (0x40, 0, 512),
    "iocstatus-invalid-bus": (0x41, 4, 0), "iocstatus-invalid-targetid": (0x42, 4, 0),
    "iocstatus-device-not-there": (0x43, 4, 0), "iocstatus-data-overrun": (0x44, 4, 0),
    "iocstatus-data-underrun": (0x45, 4, 0), "iocstatus-io-data-error": (0x46, 4, 0),
    "iocstatus-protocol-error": (0x47, 4, 0), "iocstatus-task-terminated": (0x48, 4, 0),
    "iocstatus-residual-mismatch": (0x49, 0, 512), "iocstatus-residual-mismatch-empty": (0x49, 4, 0),
    "iocstatus-task-mgmt-failed": (0x4A, 4, 0), "iocstatus-ioc-terminated": (0x4B, 4, 0),
    "iocstatus-ext-terminated": (0x4C, 4, 0),
}
#: fault -> (SCSIStatus, SCSIState)
STATES: Mapping[str, tuple[int, int]] = {
    "scsi-busy": (0x08, 0), "scsi-task-set-full": (0x28, 0), "scsi-reservation-conflict": (0x18, 0),
    "autosense-failed": (0x02, 0x02), "no-scsi-status": (0, 0x04), "terminated": (0, 0x08),
    "response-info": (0, 0x10), "tag-rejected": (0, 0x20),
}
#: fault -> (request that runs into it, fault code)
BUS_FAULTS: Mapping[str, tuple[bytes, int]] = {
    "fault-request-parity": (READ, 0x8111), "fault-request-bus": (READ, 0x8112),
    "fault-reply-parity": (ABSENT, 0x8113), "fault-reply-bus": (ABSENT, 0x8114),
    "fault-send-parity": (WRITE, 0x8115), "fault-send-bus": (WRITE, 0x8116),
    "fault-receive-parity": (READ, 0x8117), "fault-receive-bus": (READ, 0x8118),
}


@pytest.mark.parametrize("fault", STATUSES)
def test_status(ready, fault):
    """The command ends with this IOCStatus, memory is untouched if it was not run, the next one works."""
    status, state, count = STATUSES[fault]
    ready.ioc.faults.inject(fault)
    ready.target.units[0].disk.writev(8, [memoryview(b"\x5A" * 512)])
    reply = failed(ready)
    assert (reply.IOCStatus, reply.SCSIState, reply.TransferCount) == (status, state, count)
    assert ready.peek(DATA, 512) == (b"\x5A" * 512 if count else bytes(512))
    assert works(ready)


@pytest.mark.parametrize("fault", STATES)
def test_state(ready, fault):
    """IOCStatus 0 with this SCSIStatus and SCSIState; the next command works."""
    ready.ioc.faults.inject(fault)
    reply = failed(ready)
    assert (reply.IOCStatus, reply.SCSIStatus, reply.SCSIState, reply.SenseCount) == (0, *STATES[fault], 0)
    assert works(ready)


@pytest.mark.parametrize("fault", BUS_FAULTS)
def test_bus_fault(ready, fault):
    """FAULT with this code, no reply; a hard reset mends it."""
    frame, code = BUS_FAULTS[fault]
    ready.ioc.faults.inject(fault)
    ready.post(frame)
    assert silent(ready)
    assert ready.read("DOORBELL") == 0x44000000 | code
    assert ready.hard_reset()


@pytest.mark.parametrize("fault", SCENARIOS)
def test_scenario(ready, fault):
    """What the scenario of this fault says; and it did strike."""
    SCENARIOS[fault](ready)
    assert ready.ioc.faults.struck[fault] >= 1


def test_every_fault_is_tried():
    """Scenarios and tables here, and the scenarios of the other side, cover what the model declares."""
    assert set(SCENARIOS) == set(REQUEST_SIDE)
    assert {*SCENARIOS, *STATUSES, *STATES, *BUS_FAULTS, *BUS_SIDE} == set(FAULTS)


def test_after_and_times(ready):
    """Let two opportunities pass, strike twice."""
    ready.ioc.faults.inject("iocstatus-busy", after=2, times=2)
    assert [works(ready), works(ready)] == [True, True]
    assert [failed(ready).IOCStatus, failed(ready).IOCStatus] == [IOCStatus.BUSY, IOCStatus.BUSY]
    assert works(ready)
