"""The adapter's memory through MAILBOX, by the steps of hw-ipr.md section 9."""

from __future__ import annotations

import pytest

from ddsdk.errors import HardwareFault
from plugins.ipr.tests.conftest import Host

ACK, ALERT, DEBUG = 0x01000000, 0x01000000, 0x00400000


def acked(host: Host) -> bool:
    """Whether DBG_ACK comes within 200 ms."""
    for _ in range(200):
        if host.read("INT") & ACK:
            return True
        host.advance(1_000_000)
    return False


def fetch(host: Host, address: int, words: int) -> list[int]:
    """Steps 1 to 4."""
    host.write("UPROC_SET", ALERT | DEBUG)
    assert acked(host)
    host.write("INT_CLR", ACK)
    host.write("MAILBOX", address)
    host.write("UPROC_CLR", ALERT)
    out = []
    for number in range(words):
        assert acked(host)
        out.append(host.read("MAILBOX"))
        if number + 1 < words:
            host.write("INT_CLR", ACK)
    host.write("UPROC_SET", ALERT)
    host.write("UPROC_CLR", DEBUG)
    host.write("INT_CLR", ACK)
    host.advance(1_000_000)
    assert host.read("UPROC") == 0
    return out


@pytest.fixture
def checked(ready: Host) -> Host:
    """An adapter after a unit check."""
    ready.ioa.enter_unit_check(0x12345678)
    return ready


def test_the_buffer_of_a_unit_check(checked: Host) -> None:
    """MAILBOX holds the table's address; the table says where the buffer is, and that is a log entry."""
    table = fetch(checked, checked.read("MAILBOX"), 8)
    assert table[0] == 0xC4D4E3F2
    assert table[7] >> 24 == 0x20
    start, end = table[4], table[5]
    words = fetch(checked, start, (end - start) // 4)
    assert words[0] == 0xE2100000
    assert words[5] == 64
    assert words[6:10] == [0x04448400, 0, 0, 0x12345678]


def test_it_survives_the_bist_that_ends_the_unit_check(checked: Host) -> None:
    """One BIST later it can still be read; the start of the firmware, or another BIST, is its end."""
    checked.bist()
    assert fetch(checked, checked.read("MAILBOX"), 1) == [0xC4D4E3F2]
    checked.start()
    assert checked.read("MAILBOX") == 0


def test_a_second_bist_ends_it(checked: Host) -> None:
    """The driver's second reset after a unit check."""
    checked.bist()
    checked.bist()
    assert checked.read("MAILBOX") == 0


def test_an_address_with_nothing_there(checked: Host) -> None:
    """A fault of the host's."""
    checked.write("UPROC_SET", ALERT | DEBUG)
    assert acked(checked)
    checked.write("MAILBOX", 0x80000)
    with pytest.raises(HardwareFault, match="nothing to show"):
        checked.write("UPROC_CLR", ALERT)


def test_one_alert_is_no_handshake(checked: Host) -> None:
    """DBG_ACK takes both."""
    checked.write("UPROC_SET", DEBUG)
    assert not acked(checked)
    checked.write("UPROC_SET", ALERT)
    assert acked(checked)


def test_a_silent_mailbox(checked: Host) -> None:
    """DBG_ACK never comes."""
    checked.ioa.faults.inject("mailbox-silent")
    checked.write("UPROC_SET", ALERT | DEBUG)
    assert not acked(checked)


def test_a_garbled_table(ready: Host) -> None:
    """Its state word does not say ready."""
    ready.ioa.faults.inject("unit-check-buffer-garbled")
    ready.ioa.enter_unit_check()
    assert fetch(ready, ready.read("MAILBOX"), 1) == [0]
