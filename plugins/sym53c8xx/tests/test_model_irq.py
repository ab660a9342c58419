"""Causes and the interrupt pin: what is latched, what is masked, what waits behind, what a read clears."""

from __future__ import annotations

import pytest

from ddsdk.errors import HardwareFault
from plugins.sym53c8xx.tests.conftest import INT, PROGRAM, RST, Host, MakeHost

SIR, ILLEGAL = (INT, 7), (0xA008_0000, 0)


@pytest.mark.parametrize(("dien", "pin"), [(0x04, True), (0x7B, False), (0x00, False)])
def test_dma_cause(host: Host, dien: int, pin: bool) -> None:
    """DIEN decides about the pin, not about DIP; reading DSTAT ends both."""
    host.write("DIEN", dien)
    host.load(SIR)
    host.start()
    host.advance(10_000)
    assert (host.read("ISTAT0"), host.level) == (0x01, pin)
    assert (host.read("DSTAT"), host.read("ISTAT0"), host.level) == (0x84, 0x00, False)


@pytest.mark.parametrize(("sien1", "pin"), [(0x04, True), (0x00, False)])
def test_scsi_cause(host: Host, sien1: int, pin: bool) -> None:
    """A fatal cause stops SCRIPTS and shows, masked or not."""
    host.write("SIEN1", sien1)
    host.load((0x4105_0000, PROGRAM), (0x870B_0000, PROGRAM))
    host.start()
    host.advance(300_000_000)
    assert (host.read("ISTAT0"), host.level, host.read("ISTAT1")) == (0x02, pin, 0x00)
    assert (host.read("SIST1"), host.read("ISTAT0"), host.level) == (0x04, 0x00, False)


def test_masked_and_not_fatal(host: Host) -> None:
    """SIST0.CMP is latched without SIP while it is masked, and does not stop SCRIPTS; enabled it does."""
    host.load((0x4100_0000, PROGRAM), (0x860B_0000, PROGRAM + 0x10), (INT, 7))
    host.start()
    host.advance(100_000)
    assert (host.read("ISTAT0"), host.read("SIST0")) == (0x09, 0x40)
    host.write("SCNTL1", 0x08)
    host.advance(30_000)
    host.write("SCNTL1", 0x00)
    host.advance(300_000_000)
    host.set_up()
    host.write("SIEN0", 0x40)
    host.start()
    host.advance(100_000)
    assert (host.read("ISTAT0"), host.level, host.read("SIST0"), host.level) == (0x0A, True, 0x40, False)
    assert host.read("DSP") == PROGRAM + 0x10


def test_masking_does_not_lower_the_pin(host: Host) -> None:
    """Once it is up only reading the cause lowers it, or DCNTL.IRQD, or a chip reset."""
    for end in ("read", "IRQD", "SRST"):
        host.write("DIEN", 0x04)
        host.load(SIR)
        host.start()
        host.advance(10_000)
        assert host.level
        host.write("DIEN", 0x00)
        assert host.level
        if end == "read":
            host.read("DSTAT")
        elif end == "IRQD":
            host.write("DCNTL", 0x03)
            assert not host.level
            host.write("DCNTL", 0x01)
            host.read("DSTAT")
        else:
            host.write("ISTAT0", 0x40)
        assert not host.level


def test_enabling_a_pending_cause_raises_the_pin(host: Host) -> None:
    """A cause that came while it was masked."""
    host.load(SIR)
    host.start()
    host.advance(10_000)
    assert not host.level
    host.write("DIEN", 0x04)
    assert host.level


def test_sirqd(host: Host) -> None:
    """ISTAT1.SIRQD keeps the pin down; the cause still shows."""
    host.write("DIEN", 0x04)
    host.write("ISTAT1", 0x01)
    host.load(SIR)
    host.start()
    host.advance(10_000)
    assert (host.level, host.read("ISTAT0")) == (False, 0x01)


def test_intfly_needs_no_mask(host: Host) -> None:
    """INTF raises the pin by itself, SCRIPTS go on; writing it as 1 lowers it."""
    host.load((0x9818_0000, 0), (0x5000_0000, PROGRAM))
    host.start()
    host.advance(10_000)
    assert (host.level, host.read("ISTAT0"), host.read("ISTAT1")) == (True, 0x04, 0x02)
    host.write("ISTAT0", 0x04)
    assert (host.level, host.read("ISTAT0")) == (False, 0x00)


def test_stacked_causes(host: Host) -> None:
    """What comes while a cause is pending waits behind it, and shows once that was read."""
    host.load(SIR)
    host.start()
    host.advance(10_000)
    host.write("SCNTL1", 0x08)
    assert (host.read("ISTAT0"), host.read("SIST0")) == (0x01, 0x00)
    assert host.read("DSTAT") == 0x84
    assert (host.read("ISTAT0"), host.read("SIST0"), host.read("ISTAT0")) == (0x02, RST, 0x00)


def test_both_together(host: Host) -> None:
    """Causes of both sides at the same time: each read clears its own."""
    host.write("SCNTL1", 0x08)
    host.chip.dstat = 0x04
    host.chip.drive_line()
    assert host.read("ISTAT0") == 0x03
    assert (host.read("SIST0"), host.read("ISTAT0"), host.read("DSTAT"), host.read("ISTAT0")) == (RST, 0x01, 0x84, 0x00)


def test_status_registers_read_too_fast(host: Host) -> None:
    """Stricter than QEMU: 12 clocks between two of them, or one access for both."""
    host.advance(1_000)
    host.window.read(0x42, 2)
    with pytest.raises(HardwareFault, match="within 0 ns of each other; wait 12 clocks"):
        host.window.read(0x0C, 1)
    host.advance(1_000)
    host.window.read(0x42, 1)
    host.advance(200)
    with pytest.raises(HardwareFault, match="within 200 ns"):
        host.window.read(0x43, 1)


def test_general_purpose_timer(host: Host) -> None:
    """STIME1: 125 us x 2^(n-1), SIST1.GEN; masked it shows nothing, 0 stops it."""
    host.write("SIEN1", 0x02)
    host.write("STIME1", 0x04)
    host.advance(900_000)
    assert not host.level
    host.advance(200_000)
    assert (host.level, host.read("ISTAT0"), host.read("SIST1")) == (True, 0x02, 0x02)
    host.write("STIME1", 0x04)
    host.write("ISTAT0", 0x40)
    host.write("ISTAT0", 0x00)
    host.advance(2_000_000)
    assert host.read("SIST1") == 0


def test_chip_reset(host: Host) -> None:
    """SRST: SCRIPTS stop, causes and registers are gone; while it is set only ISTAT answers."""
    host.write("DIEN", 0x04)
    host.write("SCRATCHA", 5)
    host.load(SIR)
    host.start()
    host.advance(10_000)
    host.write("ISTAT0", 0x40)
    assert not host.level
    with pytest.raises(Exception, match=r"while ISTAT0\.SRST is set"):
        host.read("DIEN")
    host.write("ISTAT0", 0x00)
    assert (host.read("ISTAT0"), host.read("DIEN"), host.read("SCRATCHA"), host.read("DSTAT")) == (0, 0, 0, 0x80)


def test_sfbr_is_not_written_from_outside(host: Host) -> None:
    """Only SCRIPTS may."""
    with pytest.raises(Exception, match="SFBR cannot be written"):
        host.write("SFBR", 1)


def test_scsi_lines_of_an_idle_bus(make_host: MakeHost) -> None:
    """Nobody drives anything."""
    host = make_host()
    assert [host.read(name) for name in ("SBCL", "SSTAT0", "SSTAT1", "SSTAT2", "SCNTL1")] == [0, 0, 0, 2, 0]
