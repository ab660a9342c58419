"""Messages byte by byte: the host message loop, negotiations, messages that end tasks.  hw-aic7xxx.md 7, 10."""

from __future__ import annotations

import pytest

from ddsdk.errors import HardwareFault
from ddsdk.sim import disk_faults
from ddsdk_aic7xxx.model_chip import Port
from plugins.aic7xxx.tests.model_host import TARGET, TUR, Host
from plugins.aic7xxx.tests.model_host import cold as cold
from plugins.aic7xxx.tests.model_host import host as host
from plugins.aic7xxx.tests.model_host import make_host as make_host

PPR = bytes.fromhex("01 06 04 09 00 7f 01 02")
WDTR = bytes.fromhex("01 02 03 01")
SDTR = bytes.fromhex("01 03 01 0a 3f")


def say(host: Host, words: bytes, *, hold_atn: bool = False) -> None:
    """Feed MESSAGE OUT byte by byte, dropping ATN before the last one."""
    for n, byte in enumerate(words):
        host.intstat(0x61)
        host.read("CCSCBCTL")
        host.write("CLRINT", 0x01)
        assert host.read("SCSISIGI") & 0xE2 == 0xA2
        if n == len(words) - 1 and not hold_atn:
            host.write("CLRSINT1", 0x40)
        host.write("CLRSINT1", 0x01)
        host.write("SCSIDATL", byte)
        host.write("RETURN_1", 0x04)
        host.unpause()


def hear(host: Host, count: int) -> bytes:
    """Take *count* bytes of MESSAGE IN."""
    heard = bytearray()
    for _ in range(count):
        host.intstat(0x61)
        host.read("CCSCBCTL")
        host.write("CLRINT", 0x01)
        assert host.read("SCSISIGI") & 0xE2 == 0xE2
        byte = host.read("SCSIBUSL")
        assert host.read("SCSIBUSL") == byte                # looking takes nothing
        host.write("CLRSINT1", 0x01)
        assert host.read("SCSIDATL") == byte
        heard.append(byte)
        host.write("RETURN_1", 0x04)
        host.unpause()
    return bytes(heard)


def leave(host: Host) -> None:
    """End the loop."""
    host.intstat(0x61)
    host.read("CCSCBCTL")
    host.write("CLRINT", 0x01)
    host.write("RETURN_1", 0x08)
    host.unpause()


def begin(host: Host, cdb: bytes = TUR) -> int:
    """A command with MK_MESSAGE; its tag."""
    return host.queue(cdb, (), control=0x70)


def clear_mk(host: Host) -> None:
    """MK_MESSAGE is dealt with."""
    host.intstat(0x61)
    host.read("CCSCBCTL")
    host.write("SCB", host.read("SCB", 0x18) & ~0x10, 0x18)


def test_mk_message_stops_at_message_out(host: Host) -> None:
    """Code 61, the window on the SCB, LASTPHASE A0, the target asks for the first byte."""
    tag = begin(host)
    host.intstat(0x61)
    assert (host.read("SCB", 0x1B), host.read("LASTPHASE"), host.read("MSG_OUT")) == (tag, 0xA0, 0x80)
    assert host.read("SCSISIGI") == 0xB6                    # MESSAGE OUT, ATN, BSY, REQ


@pytest.mark.parametrize(("request_", "answer", "agreement"), [
    (PPR, "01 06 04 09 00 7f 01 02", (9, 0x7F, True, True)),
    (bytes.fromhex("01 06 04 0a 00 1f 00 00"), "01 06 04 0a 00 1f 00 00", (10, 0x1F, False, False)),
    (WDTR, "01 02 03 01", (0, 0, True, False)),
    (SDTR, "01 03 01 0a 3f", (10, 0x3F, False, False)),
])
def test_a_negotiation(host: Host, request_: bytes, answer: str, agreement: object) -> None:
    """IDENTIFY, tag, request; the target's answer; from then on both sides hold to it."""
    tag = begin(host)
    clear_mk(host)
    say(host, bytes((0xC0, 0x20, tag)) + request_)
    assert hear(host, len(bytes.fromhex(answer))).hex(" ") == answer
    leave(host)
    assert host.tags() == [tag]
    assert host.chip.bus.ports[TARGET].agreement == agreement


def test_a_target_that_can_less(host: Host) -> None:
    """It grants what it can; one that has never heard of PPR rejects it."""
    host.chip.bus.ports[TARGET].can = Port(ppr=False, period=12, offset=15, wide=False)
    tag = begin(host)
    clear_mk(host)
    say(host, bytes((0xC0, 0x20, tag)) + PPR)
    assert hear(host, 1) == b"\x07"
    leave(host)
    assert host.tags() == [tag]
    second = begin(host)
    clear_mk(host)
    say(host, bytes((0xC0, 0x20, second)) + SDTR)
    assert hear(host, 5).hex(" ") == "01 03 01 0c 0f"
    leave(host)
    assert host.chip.bus.ports[TARGET].agreement == (12, 15, False, False)


def test_a_message_cut_off_is_a_fault(host: Host) -> None:
    """ATN dropped before the last byte but one."""
    begin(host)
    clear_mk(host)
    with pytest.raises(HardwareFault, match=r"ATN is gone after 01 06, in the middle of a message"):
        say(host, bytes((0xC0, 0x20, 0, 0x01, 0x06)))


def test_a_byte_nobody_asked_for_is_a_fault(host: Host) -> None:
    """SCSIDATL without a target in MESSAGE OUT."""
    host.pause()
    with pytest.raises(HardwareFault, match="no target takes a message byte now"):
        host.write("SCSIDATL", 0x08)


def test_an_unanswered_pass_of_the_loop_is_a_fault(host: Host) -> None:
    """RETURN_1 has to be 04 or 08 each time."""
    begin(host)
    host.intstat(0x61)
    host.read("CCSCBCTL")
    host.write("CLRINT", 0x01)
    host.unpause()
    with pytest.raises(HardwareFault, match="RETURN_1 is 0x00 after code 61"):
        host.advance(10)


def test_mk_message_that_stays_set_fails_at_the_end(host: Host) -> None:
    """Code A1 before the command is completed, where it was not asked for again at a reselection."""
    tag = host.queue(TUR, (), control=0x30)
    say(host, bytes((0x80, 0x20, tag, 0x08)))
    leave(host)
    host.intstat(0xA1)
    host.read("CCSCBCTL")
    host.write("CLRINT", 0x01)
    host.unpause()
    assert host.tags() == [tag]


@pytest.mark.parametrize(("message", "left"), [(0x0D, 1), (0x06, 0), (0x0C, 0)], ids=["abort tag", "abort", "reset"])
def test_messages_that_end_tasks(host: Host, message: int, left: int) -> None:
    """The target does it and leaves the bus: BUSFREE, which SIMODE1 makes a SCSIINT, LASTPHASE MESSAGE OUT."""
    host.drive.inject(disk_faults.slow(500_000_000, 2))
    first, _second = host.queue(), host.queue()
    port = host.chip.bus.ports[TARGET]
    host.until(lambda: len(port.tasks) == 2)
    # the first SCB once more, to say something about it
    host.pause()
    host.write("DISCONNECTED_SCBH", 0xFF)
    host.unpause()
    element = bytearray(host.element(first))
    element[0x18] |= 0x14
    element[0x1F] = 3
    host.machine.memory.write(0x100000 + 64 * first, bytes(element))
    host.pause()
    host.write("NEXT_QUEUED_SCB", first)
    host.unpause()
    host.position = (host.position + 1) & 0xFF
    host.write("HNSCB_QOFF", host.position)
    clear_mk(host)
    say(host, bytes((0xC0, 0x20, first, message)))
    host.intstat(0x04)
    assert (host.read("LASTPHASE"), host.read("SSTAT1") & 0x08, host.read("SIMODE1") & 0x08) == (0xA0, 0x08, 0x08)
    assert len(port.tasks) == left
    assert bool(host.target.units[0]._attention) is (message == 0x0C)


def test_atn_reaches_a_target_that_works(host: Host) -> None:
    """It keeps the bus, the host raises ATN with HOST_MSG set: code 61 in MESSAGE OUT."""
    host.drive.inject(disk_faults.slow(500_000_000, 1))
    host.queue(control=0x20)
    host.until(lambda: host.chip.bus.conn is not None and host.chip.bus.conn.stage == "work")
    host.pause()
    host.write("MSG_OUT", 0xFF)
    host.write("SCSISIGO", 0x10)
    host.unpause()
    say(host, b"\x0d")
    host.intstat(0x04)
    assert host.chip.bus.ports[TARGET].tasks == []


def test_mk_message_reaches_a_disconnected_command(host: Host) -> None:
    """Set on the chip while it is disconnected: at its reselection the host is asked, without IDENTIFY."""
    host.drive.inject(disk_faults.slow(1_000_000, 1))
    host.queue()
    host.until(lambda: host.chip.values["DISCONNECTED_SCBH"] == 0)
    host.pause()
    host.write("SCBPTR", 0)
    host.write("SCB", host.read("SCB", 0x18) | 0x10, 0x18)
    host.unpause()
    host.intstat(0x61)
    assert host.read("MSG_OUT") == 0xFF
    clear_mk(host)
    say(host, b"\x0d")
    host.intstat(0x04)
