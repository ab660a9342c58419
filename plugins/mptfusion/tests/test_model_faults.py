"""Every fault the model declares, injected once: what the host then sees.  No id without a scenario."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping

import pytest

from ddsdk.abi import WIRE_LE
from ddsdk.errors import UsageError
from ddsdk_mptfusion.frames import (
    EventNotification,
    EventNotificationReply,
    IOCFactsReply,
    IOCStatus,
    PortFactsReply,
    SCSIIOReply,
    SCSITaskMgmt,
    SCSITaskMgmtReply,
)
from ddsdk_mptfusion.model_faults import FAULTS
from ddsdk_mptfusion.regs import IocState

REPLY, SECOND, DATA = 0x00300000, 0x00200100, 0x00400000
IOC_FACTS = bytes.fromhex("00000003 00000000 44332211")
PORT_FACTS = bytes.fromhex("00000005 00000000 01000000")
IOC_INIT = bytes.fromhex("04000002 00000100 02000000 80000000 00000000 00000000")
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
SCENARIOS: dict[str, tuple[str, Scenario]] = {}


def scenario(fault: str, start: str = "ready") -> Callable[[Scenario], Scenario]:
    """Register what *fault* does to a host that is `ready` (operational) or just powered on (`host`)."""
    def note(check: Scenario) -> Scenario:
        SCENARIOS[fault] = (start, check)
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


# -- registers and the line ----------------------------------------------------------------------------


@scenario("all-ones")
def _(host) -> None:
    host.ioc.faults.inject("all-ones")
    names = ("DOORBELL", "DIAGNOSTIC", "HOST_INTERRUPT_STATUS", "HOST_INTERRUPT_MASK", "REPLY_FIFO")
    assert [host.read(name) for name in names] == [0xFFFFFFFF] * 5
    host.unlock()
    host.write("DIAGNOSTIC", 0x84)
    host.advance(10 * S)
    assert host.read("DOORBELL") == 0xFFFFFFFF


@scenario("pci-peer-owner")
def _(host) -> None:
    host.ioc.faults.inject("pci-peer-owner", times=2)
    assert [host.read("DOORBELL") for _ in range(3)] == [0x23000000, 0x23000000, 0x24000000]


@scenario("irq-stuck")
def _(host) -> None:
    host.write("HOST_INTERRUPT_MASK", 0x1)
    host.ioc.faults.inject("irq-stuck", times=0)
    assert works(host)
    host.write("HOST_INTERRUPT_MASK", 0x9)
    assert host.function.irq_line.level


@scenario("irq-lost")
def _(host) -> None:
    host.write("HOST_INTERRUPT_MASK", 0x1)
    host.ioc.faults.inject("irq-lost")
    host.post(READ)
    host.advance(1_000_000)
    assert host.read("HOST_INTERRUPT_STATUS") == 8
    assert not host.function.irq_line.level


@scenario("his-lingers")
def _(host) -> None:
    host.ioc.faults.inject("his-lingers")
    assert works(host)
    assert host.read("HOST_INTERRUPT_STATUS") == 8
    assert host.read("REPLY_FIFO") == 0xFFFFFFFF
    assert host.read("HOST_INTERRUPT_STATUS") == 0


# -- doorbell and handshake ----------------------------------------------------------------------------


@scenario("doorbell-never-taken", "host")
def _(host) -> None:
    host.ioc.faults.inject("doorbell-never-taken")
    host.write("DOORBELL_WRITE", 0x42030000)
    host.advance(60 * S)
    assert host.read("HOST_INTERRUPT_STATUS") == 0x80000000
    assert host.hard_reset()
    assert host.read("HOST_INTERRUPT_STATUS") == 0


@scenario("doorbell-slow", "host")
def _(host) -> None:
    host.ioc.faults.inject("doorbell-slow")
    host.write("DOORBELL_WRITE", 0x42030000)
    host.advance(4 * S - 1)
    assert host.read("HOST_INTERRUPT_STATUS") == 0x80000000
    host.advance(1)
    assert host.read("HOST_INTERRUPT_STATUS") == 1


@scenario("doorbell-interrupt-lost", "host")
def _(host) -> None:
    host.ioc.faults.inject("doorbell-interrupt-lost")
    host.write("DOORBELL_WRITE", 0x42030000)
    assert host.taken()
    assert host.read("HOST_INTERRUPT_STATUS") == 0
    assert host.read("DOORBELL") == 0x18000000


@scenario("handshake-silent", "host")
def _(host) -> None:
    host.ioc.faults.inject("handshake-silent")
    host.begin_handshake(3)
    host.send_dwords(IOC_FACTS)
    host.advance(60 * S)
    assert host.read("HOST_INTERRUPT_STATUS") == 0
    assert host.read("DOORBELL") == 0x18000000


@scenario("handshake-short", "host")
def _(host) -> None:
    host.ioc.faults.inject("handshake-short")
    host.begin_handshake(3)
    host.send_dwords(IOC_FACTS)
    assert [host.read_word() for _ in range(4)] == [0x0105, 0x0314, 0, 0]
    assert host.doorbell_interrupt()
    host.write("HOST_INTERRUPT_STATUS", 0)
    assert host.read("DOORBELL") == 0x10000000


@scenario("handshake-garbled", "host")
def _(host) -> None:
    host.ioc.faults.inject("handshake-garbled")
    host.begin_handshake(3)
    host.send_dwords(IOC_FACTS)
    assert [host.read_word() for _ in range(2)] == [0x0105 ^ 0x5A5A, 0x0314 ^ 0x5A5A]


@scenario("handshake-status", "host")
def _(host) -> None:
    host.ioc.faults.inject("handshake-status", status=IOCStatus.INSUFFICIENT_RESOURCES)
    reply = host.handshake(IOC_INIT)
    assert reply[0x0E] == IOCStatus.INSUFFICIENT_RESOURCES
    assert host.state() == IocState.READY


@scenario("facts-firmware-missing", "host")
def _(host) -> None:
    host.ioc.faults.inject("facts-firmware-missing")
    assert IOCFactsReply.on(WIRE_LE).unpack(host.handshake(IOC_FACTS)).Flags == 1


@scenario("facts-zero", "host")
def _(host) -> None:
    host.ioc.faults.inject("facts-zero")
    facts = IOCFactsReply.on(WIRE_LE).unpack(host.handshake(IOC_FACTS))
    assert (facts.GlobalCredits, facts.ReplyQueueDepth, facts.RequestFrameSize) == (0, 0, 0)


@scenario("port-inactive", "host")
def _(host) -> None:
    host.ioc.faults.inject("port-inactive")
    port = PortFactsReply.on(WIRE_LE).unpack(host.handshake(PORT_FACTS))
    assert (port.PortType, port.ProtocolFlags) == (0, 0)


@scenario("init-ignored", "host")
def _(host) -> None:
    host.ioc.faults.inject("init-ignored")
    assert host.handshake(IOC_INIT)[0x0E] == 0
    assert host.state() == IocState.READY


# -- resets --------------------------------------------------------------------------------------------


@scenario("diag-locked", "host")
def _(host) -> None:
    host.ioc.faults.inject("diag-locked", times=2)
    seen = []
    for _ in range(3):
        host.unlock()
        seen.append(host.read("DIAGNOSTIC"))
    assert seen == [0, 0, 0x80]


@scenario("hard-reset-ignored")
def _(host) -> None:
    host.ioc.faults.inject("hard-reset-ignored")
    host.unlock()
    host.write("DIAGNOSTIC", 0x84)
    assert host.read("DOORBELL") == 0x24000000
    assert host.read("DIAGNOSTIC") == 0x80
    assert works(host)


@scenario("hard-reset-hangs")
def _(host) -> None:
    host.ioc.faults.inject("hard-reset-hangs")
    assert not host.hard_reset()
    assert host.read("DOORBELL") == 0
    assert host.read("DIAGNOSTIC") == 0x20
    assert host.hard_reset()


@scenario("hard-reset-slow")
def _(host) -> None:
    host.ioc.faults.inject("hard-reset-slow")
    host.unlock()
    host.write("DIAGNOSTIC", 0x84)
    host.advance(30 * S - 1)
    assert host.state() == IocState.RESET
    host.advance(1)
    assert host.state() == IocState.READY


@scenario("hard-reset-faults")
def _(host) -> None:
    host.ioc.faults.inject("hard-reset-faults", code=0x2345)
    assert not host.hard_reset()
    assert host.read("DOORBELL") == 0x40002345
    assert host.hard_reset()


@scenario("hard-reset-flash-bad")
def _(host) -> None:
    host.ioc.faults.inject("hard-reset-flash-bad")
    assert host.hard_reset()
    assert host.read("DIAGNOSTIC") == 0x60
    host.unlock()
    host.write("DIAGNOSTIC", 0x400)
    assert host.read("DIAGNOSTIC") == 0x80


@scenario("message-reset-ignored")
def _(host) -> None:
    host.ioc.faults.inject("message-reset-ignored")
    host.write("DOORBELL_WRITE", 0x40000000)
    assert host.taken()
    host.advance(15 * S)
    assert host.state() == IocState.OPERATIONAL


@scenario("message-reset-slow")
def _(host) -> None:
    host.ioc.faults.inject("message-reset-slow")
    host.write("DOORBELL_WRITE", 0x40000000)
    assert host.taken()
    host.advance(13 * S)
    assert host.state() == IocState.RESET
    host.advance(1 * S)
    assert host.state() == IocState.READY


@scenario("message-reset-faults")
def _(host) -> None:
    host.ioc.faults.inject("message-reset-faults")
    host.write("DOORBELL_WRITE", 0x40000000)
    assert host.until(lambda: host.state() == IocState.FAULT)
    assert host.read("DOORBELL") == 0x44000004


@scenario("peer-reset")
def _(host) -> None:
    host.ioc.faults.inject("peer-reset")
    host.post(READ)
    assert silent(host)
    assert host.read("DOORBELL") == 0x10000000
    assert host.read("DIAGNOSTIC") == 0x20


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
def test_scenario(request, fault):
    """What the scenario of this fault says; and it did strike."""
    start, check = SCENARIOS[fault]
    host = request.getfixturevalue(start)
    check(host)
    assert host.ioc.faults.struck[fault] >= 1


def test_every_fault_is_tried():
    """The tables and scenarios above cover exactly the faults the model declares."""
    assert {*SCENARIOS, *STATUSES, *STATES, *BUS_FAULTS} == set(FAULTS)


def test_after_and_times(ready):
    """Let two opportunities pass, strike twice."""
    ready.ioc.faults.inject("iocstatus-busy", after=2, times=2)
    assert [works(ready), works(ready)] == [True, True]
    assert [failed(ready).IOCStatus, failed(ready).IOCStatus] == [IOCStatus.BUSY, IOCStatus.BUSY]
    assert works(ready)


def test_an_unknown_fault_lists_what_there_is(ready):
    """UsageError naming the id and the model's own."""
    with pytest.raises(UsageError, match=r"no fault 'smoke'.*all-ones"):
        ready.ioc.faults.inject("smoke")
