"""Faults of the registers, the interrupt line, the doorbell and the resets: what the host then sees."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ddsdk.abi import WIRE_LE
from ddsdk.errors import UsageError
from ddsdk_mptfusion.frames import IOCFactsReply, IOCStatus, PortFactsReply
from ddsdk_mptfusion.model_faults import BUS_SIDE
from ddsdk_mptfusion.regs import IocState

IOC_FACTS = bytes.fromhex("00000003 00000000 44332211")
PORT_FACTS = bytes.fromhex("00000005 00000000 01000000")
IOC_INIT = bytes.fromhex("04000002 00000100 02000000 80000000 00000000 00000000")
READ = bytes.fromhex("00000000 0a200000 21000000 00000000 00000000 00000002 28000000 00080000 01000000"
                     "00000000 00020000 00003800 000200d1 00004000").ljust(128, b"\0")
S = 1_000_000_000

Scenario = Callable[..., None]
SCENARIOS: dict[str, tuple[str, Scenario]] = {}


def scenario(fault: str, start: str = "ready") -> Callable[[Scenario], Scenario]:
    """Register what *fault* does to a host that is `ready` (operational) or just powered on (`host`)."""
    def note(check: Scenario) -> Scenario:
        SCENARIOS[fault] = (start, check)
        return check
    return note


def works(host) -> bool:
    """A plain read succeeds."""
    return bool(host.run(READ) == 0x21)


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
    host.advance(S)
    assert host.read("REPLY_FIFO") == 0xFFFFFFFF
    assert host.read("DOORBELL") == 0x10000000
    assert host.read("DIAGNOSTIC") == 0x20


@pytest.mark.parametrize("fault", SCENARIOS)
def test_scenario(request, fault):
    """What the scenario of this fault says; and it did strike."""
    start, check = SCENARIOS[fault]
    host = request.getfixturevalue(start)
    check(host)
    assert host.ioc.faults.struck[fault] >= 1


def test_every_fault_has_a_scenario():
    """Exactly the ids of this side."""
    assert set(SCENARIOS) == set(BUS_SIDE)


def test_an_unknown_fault_lists_what_there_is(ready):
    """UsageError naming the id and the model's own."""
    with pytest.raises(UsageError, match=r"no fault 'smoke'.*all-ones"):
        ready.ioc.faults.inject("smoke")
