"""Each fault of the model, as registers and messages show it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsdk_sym53c8xx.model import LSI53C810
from ddsdk_sym53c8xx.model_faults import BUS_SIDE, CHIP_SIDE, FAULTS, RESELECT_SIDE, TARGET_SIDE
from plugins.sym53c8xx.tests.conftest import (
    CDB,
    CLEAR_ACK,
    CMP,
    DATA,
    IDENTIFY,
    INT,
    MESSAGE,
    NO_SDU,
    PROGRAM,
    RSL,
    RST,
    SGE,
    STATUS,
    UDC,
    WAIT_DISCONNECT,
    Host,
    MakeHost,
)

STATUS_IN, MESSAGE_IN = (0x0B00_0001, STATUS), (0x0F00_0001, MESSAGE)
GOOD_BYE = (STATUS_IN, MESSAGE_IN, NO_SDU, CLEAR_ACK, WAIT_DISCONNECT, (INT, 0x600D))
LEAVE = (MESSAGE_IN, CLEAR_ACK, (0x0F00_0001, MESSAGE + 1), NO_SDU, CLEAR_ACK, WAIT_DISCONNECT)
OK = (CMP, 0, 0x84)
INQUIRY, SENSE, TUR = "120000002400", "030000001200", "000000000000"
READ_8, READ_1, WRITE_1 = "28000000000000000800", "28000000000000000100", "2a000000000000000100"
DATA_IN, DATA_36 = (0x0900_1000, DATA), (0x0900_0024, DATA)
TAG = 0x44


def strike(host: Host, fault: str, **parameters: int) -> Host:
    """Arm it once."""
    host.chip.faults.inject(fault, **parameters)
    return host


def struck(host: Host, fault: str) -> bool:
    """It has happened."""
    return bool(host.chip.faults.struck[fault])


def test_every_fault_is_described() -> None:
    """An id of each side, with a sentence; no id twice."""
    sides = (CHIP_SIDE, BUS_SIDE, TARGET_SIDE, RESELECT_SIDE)
    assert len(FAULTS) == sum(len(side) for side in sides) == 53
    assert all(FAULTS.values())


# -- the chip --------------------------------------------------------------------------------------------------------


def test_all_ones(ready: Host) -> None:
    """Nobody answers, writes are lost, the line is down."""
    strike(ready, "all-ones")
    assert [ready.read(name) for name in ("ISTAT0", "DSTAT", "DSP")] == [0xFF, 0xFF, 0xFFFF_FFFF]
    ready.write("ISTAT0", 0x00)
    assert ready.read("ISTAT0") == 0xFF


@pytest.mark.parametrize(("fault", "expected", "pci_status"), [
    ("bus-fault-fetch", (0, 0, 0xA0), 0x2000), ("illegal-instruction", (0, 0, 0x81), 0)])
def test_fetch(ready: Host, fault: str, expected: tuple[int, int, int], pci_status: int) -> None:
    """A fetch that fails, and one that brings rubbish."""
    strike(ready, fault)
    assert ready.run((INT, 0)) == expected
    assert ready.function.config_read(6, 2) & 0xF900 == pci_status
    ready.function.config_write(6, 2, 0xF900)
    assert ready.function.config_read(6, 2) & 0xF900 == 0
    assert ready.run((INT, 0)) == (0, 0, 0x84)


@pytest.mark.parametrize(("fault", "expected"), [
    ("bus-fault-data", (CMP, 0, 0xA0)), ("pci-parity", (CMP, 0, 0xC0)), ("gross-error", (CMP | SGE, 0, 0x80)),
    ("mode-change", (CMP, 0x10, 0x80))])
def test_in_a_data_phase(ready: Host, fault: str, expected: tuple[int, int, int]) -> None:
    """SCRIPTS stop in the middle of the move."""
    strike(ready, fault)
    assert ready.command(INQUIRY, DATA_36, *GOOD_BYE) == expected
    assert ready.read("DSP") == PROGRAM + 0x20


def test_parity_on_pci_is_not_looked_for_without_mpee(ready: Host) -> None:
    """CTEST4.MPEE 0."""
    ready.write("CTEST4", 0x00)
    strike(ready, "pci-parity")
    assert ready.command(INQUIRY, DATA_36, *GOOD_BYE) == OK


def test_a_53c810_has_no_bus_modes(make_host: MakeHost) -> None:
    """It is single-ended."""
    host = make_host(LSI53C810)
    host.clear_attention()
    strike(host, "mode-change")
    assert host.command(INQUIRY, DATA_36, *GOOD_BYE) == OK


def test_general_timer(ready: Host) -> None:
    """Enabled it stops SCRIPTS; masked it does not."""
    strike(ready, "general-timer")
    assert ready.command(INQUIRY, DATA_36, *GOOD_BYE) == (CMP, 0x02, 0x84)
    ready.write("SIEN1", 0x02)
    strike(ready, "general-timer")
    assert ready.command(INQUIRY, DATA_36, *GOOD_BYE) == (CMP, 0x02, 0x80)


def test_irq_lost_and_stuck(ready: Host) -> None:
    """The pin does not follow, once."""
    ready.write("DIEN", 0x04)
    strike(ready, "irq-lost")
    ready.load((INT, 0))
    ready.start()
    ready.advance(10_000)
    assert (ready.read("ISTAT0"), ready.level) == (1, False)
    ready.read("DSTAT")
    ready.start()
    ready.advance(10_000)
    strike(ready, "irq-stuck")
    ready.read("DSTAT")
    assert (ready.read("ISTAT0"), ready.level) == (0, True)


def test_intfly_lost(ready: Host) -> None:
    """SCRIPTS go on, ISTAT0.INTF stays 0."""
    strike(ready, "intfly-lost")
    assert ready.run((0x9818_0000, 0), (INT, 0)) == (0, 0, 0x84)
    assert ready.read("ISTAT0") == 0


def test_sigp_lost(ready: Host) -> None:
    """It stays set and wakes nobody; the next one does."""
    ready.load((0x5000_0000, PROGRAM + 0x10), (INT, 1), (INT, 2))
    ready.start()
    ready.advance(10_000)
    strike(ready, "sigp-lost")
    ready.write("ISTAT0", 0x20)
    ready.advance(10_000_000)
    assert ready.read("ISTAT0") == 0x20
    ready.write("ISTAT0", 0x20)
    assert ready.stopped() == (0, 0, 0x84)


def test_abort_ignored(ready: Host) -> None:
    """ABRT stops nothing, once."""
    ready.load((0x5000_0000, PROGRAM))
    ready.start()
    ready.advance(10_000)
    strike(ready, "abort-ignored")
    ready.write("ISTAT0", 0x80)
    assert (ready.read("ISTAT0"), ready.read("ISTAT1")) == (0x80, 2)
    ready.write("ISTAT0", 0x80)
    assert ready.read("ISTAT0") == 0x81


@pytest.mark.parametrize("running", [True, False])
def test_reset_while_running(ready: Host, running: bool) -> None:
    """SRST hangs a chip whose SCRIPTS run; one that stands still comes through."""
    if running:
        ready.load((0x5000_0000, PROGRAM))
        ready.start()
        ready.advance(10_000)
    strike(ready, "reset-while-running")
    ready.write("ISTAT0", 0x40)
    ready.write("ISTAT0", 0x00)
    assert ready.read("ISTAT0") == (0xFF if running else 0)


# -- the bus ---------------------------------------------------------------------------------------------------------


def test_reset_by_other(ready: Host) -> None:
    """SIST0.RST as a command is selected, and nobody is connected."""
    strike(ready, "reset-by-other")
    assert ready.command(TUR, *GOOD_BYE) == (RST, 0, 0x80)
    assert ready.read("SBCL") == 0


def reset_bus(host: Host) -> None:
    """Our own reset."""
    host.write("SCNTL1", 0x08)
    host.advance(30_000)
    host.write("SCNTL1", 0x00)
    host.read("SIST0")


@pytest.mark.parametrize(("fault", "name", "mask"), [("rst-stuck", "SSTAT0", 2), ("busy-stuck", "SBCL", 0x20)])
def test_lines_held_by_somebody(ready: Host, fault: str, name: str, mask: int) -> None:
    """RST or BSY stays after our reset; the next one ends it."""
    strike(ready, fault)
    reset_bus(ready)
    ready.advance(10_000_000_000)
    assert ready.read(name) & mask
    reset_bus(ready)
    assert not ready.read(name) & mask


def test_rst_slow(ready: Host) -> None:
    """RST goes down late, by itself."""
    strike(ready, "rst-slow", ns=2_000_000_000)
    reset_bus(ready)
    ready.advance(1_900_000_000)
    assert ready.read("SSTAT0") & 2
    ready.advance(200_000_000)
    assert not ready.read("SSTAT0") & 2


# -- targets ---------------------------------------------------------------------------------------------------------


def test_selection_unanswered(ready: Host) -> None:
    """One selection times out."""
    strike(ready, "selection-unanswered")
    assert ready.command(TUR, *GOOD_BYE) == (0, 0x04, 0x80)
    assert ready.command(TUR, *GOOD_BYE) == OK


def test_unexpected_disconnect(ready: Host) -> None:
    """In the middle of data; the target forgets the command (SCSI-2, 6.1.1)."""
    strike(ready, "unexpected-disconnect")
    assert ready.command(READ_8, *LEAVE, (0x5000_0000, PROGRAM), (0x0F00_0001, MESSAGE), CLEAR_ACK, DATA_IN,
                         (INT, 0)) == (CMP | RSL | UDC, 0, 0x80)
    assert ready.read("DBC") == 0x1000 - 0x333
    assert not ready.chip.scsi.ports[0].tasks


@pytest.mark.parametrize(("fault", "connected"), [("target-hangs", True), ("command-hung", False)])
def test_silence(ready: Host, fault: str, connected: bool) -> None:
    """Nothing comes any more: on the bus, or off it."""
    strike(ready, fault)
    ready.limit_ns = 5_000_000_000
    with pytest.raises(AssertionError, match="SCRIPTS go on"):
        ready.command(TUR, *LEAVE, (0x5000_0000, PROGRAM))
    assert bool(ready.read("ISTAT0") & 0x08) is connected


def test_command_slow(ready: Host) -> None:
    """It comes back in the time that was named."""
    strike(ready, "command-slow", ns=3_000_000_000)
    before_ns = ready.machine.clock.now_ns
    assert ready.command(TUR, *LEAVE, (0x5000_0000, PROGRAM), (0x0F00_0001, MESSAGE), CLEAR_ACK,
                         *GOOD_BYE) == (CMP | RSL, 0, 0x84)
    assert ready.machine.clock.now_ns - before_ns >= 3_000_000_000


@pytest.mark.parametrize(("fault", "phase"), [("wrong-direction", 0), ("bad-phase", 4), ("message-out-again", 6)])
def test_phases(ready: Host, fault: str, phase: int) -> None:
    """A phase that does not belong there."""
    strike(ready, fault)
    assert ready.command(INQUIRY, *(() if phase != 6 else (DATA_36,)), (0x870B_0000, PROGRAM), (INT, 0)) == OK
    assert ready.read("SSTAT1") & 7 == phase


@pytest.mark.parametrize(("fault", "message"), [
    ("message-unknown", "1f"), ("message-noop", "08"), ("message-negotiate", "0103011908"), ("status-missing", "00")])
def test_messages_before_the_status(ready: Host, fault: str, message: str) -> None:
    """What comes where the status is due."""
    strike(ready, fault)
    expected = bytes.fromhex(message)
    assert ready.command(TUR, (0x0F00_0000 | len(expected), MESSAGE), (INT, 0)) == OK
    assert ready.peek(MESSAGE, len(expected)) == expected


def test_status_unknown(ready: Host) -> None:
    """A byte that SCSI-2 does not have."""
    strike(ready, "status-unknown")
    assert ready.command(TUR, *GOOD_BYE) == OK
    assert ready.peek(STATUS, 1) == b"\x3E"


@pytest.mark.parametrize(("fault", "asked"), [("parity-status", STATUS_IN), ("parity-message-in", MESSAGE_IN)])
def test_parity(ready: Host, fault: str, asked: tuple[int, int]) -> None:
    """SIST0.PAR and ATN; the message byte comes again when the target is told."""
    strike(ready, fault)
    assert ready.command(TUR, *GOOD_BYE) == (CMP | 0x01, 0, 0x80)
    assert ready.read("SBCL") & 0x08
    if asked is MESSAGE_IN:
        ready.poke(IDENTIFY, b"\x09")
        assert ready.run(CLEAR_ACK, (0x0E00_0001, IDENTIFY), MESSAGE_IN, NO_SDU, CLEAR_ACK, WAIT_DISCONNECT,
                         (INT, 0)) == (0, 0, 0x84)
        assert ready.peek(MESSAGE, 1) == b"\0"


def sense_of(host: Host) -> tuple[int, int]:
    """Sense key and code of the last command."""
    assert host.command(SENSE, (0x0900_0012, DATA), *GOOD_BYE) == OK
    data = host.peek(DATA, 18)
    return data[2], data[12]


def test_parity_data_out(ready: Host) -> None:
    """The target's own finding: CHECK CONDITION, aborted command, SCSI parity error."""
    strike(ready, "parity-data-out")
    assert ready.command(WRITE_1, (0x0800_0200, DATA), *GOOD_BYE, identify=0x80) == OK
    assert ready.peek(STATUS, 1) == b"\x02"
    assert sense_of(ready) == (0x0B, 0x47)


def test_data_overrun(ready: Host) -> None:
    """More data than was asked for: the phase stays data in."""
    strike(ready, "data-overrun", bytes=64)
    assert ready.command(READ_1, (0x0900_0200, DATA), (0x0900_0040, DATA + 0x200), *GOOD_BYE, identify=0x80) == OK


@pytest.mark.parametrize(("fault", "messages"), [
    ("early-disconnect", b"\x02\x04"), ("no-save-pointers", b"\x04"), ("restore-pointers", b"\x03")])
def test_breaks(ready: Host, fault: str, messages: bytes) -> None:
    """In the middle of data, at an odd byte; without a saved pointer the target begins anew."""
    strike(ready, fault)
    ready.disk[:4096] = bytes(range(256)) * 16
    back = ((0x5000_0000, PROGRAM), (0x0F00_0001, MESSAGE + 8), CLEAR_ACK)
    taken = ready.command(READ_8, *LEAVE, *back, DATA_IN, (INT, 0))
    assert taken == (CMP | RSL | 0x80, 0, 0x80)
    assert ready.read("DBC") == 0x1000 - 0x333
    heard = [((0x0F00_0001, MESSAGE + n), CLEAR_ACK) for n in range(len(messages))]
    steps = [step for pair in heard for step in pair]
    if fault == "restore-pointers":
        rest = (*steps, DATA_IN)
    else:
        steps.insert(-1, NO_SDU)
        again = (0x0900_0CCD, DATA + 0x333) if fault == "early-disconnect" else DATA_IN
        rest = (*steps, WAIT_DISCONNECT, *back, again)
    assert ready.run(*rest, *GOOD_BYE)[2] == 0x84
    assert ready.peek(MESSAGE + 1, len(messages) - 1) == messages[1:]
    assert ready.peek(DATA, 4096) == bytes(range(256)) * 16


def test_tag_refused(ready: Host) -> None:
    """MESSAGE REJECT for the tag; the command goes on without."""
    strike(ready, "tag-refused")
    ready.poke(IDENTIFY, bytes((0xC0, 0x20, TAG)))
    ready.poke(CDB, bytes(6))
    assert ready.run((0x4100_0000, PROGRAM), (0x0E00_0003, IDENTIFY), MESSAGE_IN, CLEAR_ACK, (0x0A00_0006, CDB),
                     *GOOD_BYE) == OK


def test_abort_refused(ready: Host) -> None:
    """MESSAGE REJECT, and the command lives."""
    strike(ready, "command-slow")
    assert ready.command(TUR, *LEAVE, (INT, 0)) == OK
    strike(ready, "abort-refused")
    ready.poke(IDENTIFY, b"\x80\x06")
    assert ready.run((0x4100_0000, PROGRAM), (0x0E00_0002, IDENTIFY), MESSAGE_IN, (INT, 0)) == OK
    assert ready.peek(MESSAGE, 1) == b"\x07"
    assert len(ready.chip.scsi.ports[0].tasks) == 1


@pytest.mark.parametrize(("fault", "status"), [("sense-refused", 2), ("sense-empty", 0)])
def test_sense(host: Host, fault: str, status: int) -> None:
    """REQUEST SENSE that fails, or brings nothing."""
    assert host.command(TUR, *GOOD_BYE) == OK
    strike(host, fault)
    assert host.command(SENSE, *GOOD_BYE) == OK
    assert host.peek(STATUS, 1) == bytes((status,))


# -- reselections ----------------------------------------------------------------------------------------------------


def tagged_read(host: Host) -> None:
    """READ of a sector with a tag, up to bus free."""
    host.poke(IDENTIFY, bytes((0xC0, 0x20, TAG)))
    host.poke(CDB, bytes.fromhex(READ_1))
    assert host.run((0x4100_0000, PROGRAM), (0x0E00_0003, IDENTIFY), (0x0A00_000A, CDB), *LEAVE, (INT, 0)) == OK


def reselected(host: Host, count: int = 3) -> tuple[int, bytes]:
    """Who reselects, and its first messages."""
    host.poke(MESSAGE, bytes(3))
    assert host.run((0x5000_0000, PROGRAM), (0x0F00_0000 | count, MESSAGE), (INT, 0))[2] == 0x84
    return host.read("SSID") & 0xF, host.peek(MESSAGE, count)


@pytest.mark.parametrize(("fault", "who", "messages"), [
    ("reselect-foreign", 0, b"\x80\x20\xF0"), ("reselect-bad-tag", 0, b"\x80\x20\x03"),
    ("reselect-wrong-target", 5, b"\x80\x20\x44"), ("reselect-no-tag", 0, b"\x80"),
    ("reselect-no-identify", 0, b"\x08")])
def test_wrong_reselections(ready: Host, fault: str, who: int, messages: bytes) -> None:
    """Who comes, and what it says."""
    strike(ready, fault)
    tagged_read(ready)
    assert reselected(ready, len(messages)) == (who, messages)


def test_reselect_lost(ready: Host) -> None:
    """It never comes."""
    strike(ready, "reselect-lost")
    tagged_read(ready)
    ready.advance(60_000_000_000)
    assert ready.read("SIST0") == 0
    assert struck(ready, "reselect-lost")


def test_reselect_late(ready: Host) -> None:
    """It comes late."""
    strike(ready, "reselect-late", ns=2_000_000_000)
    tagged_read(ready)
    ready.advance(1_900_000_000)
    assert ready.read("SIST0") == 0
    ready.advance(200_000_000)
    assert ready.read("SIST0") == RSL


@pytest.mark.parametrize("fault", ["reselect-duplicate", "reselect-stale"])
def test_once_more(ready: Host, fault: str) -> None:
    """A command that is over reselects again, with a good status: at once, or as another one is selected."""
    tagged_read(ready)
    assert reselected(ready) == (0, bytes((0x80, 0x20, TAG)))
    strike(ready, fault)
    assert ready.run(CLEAR_ACK, (0x0900_0200, DATA), *GOOD_BYE)[2] == 0x84
    if fault == "reselect-stale":
        assert ready.run((0x4100_0000, PROGRAM + 0x10), (0x0E00_0001, IDENTIFY), (INT, 0))[2] == 0x84
        assert ready.read("DSP") == PROGRAM + 0x18
    assert reselected(ready) == (0, bytes((0x80, 0x20, TAG)))
    assert ready.run(CLEAR_ACK, *GOOD_BYE)[2] == 0x84
    assert ready.peek(STATUS, 1) == b"\0"


def test_no_fault_is_left_out() -> None:
    """Every id occurs in this file, or in the tests of bus and moves."""
    here = Path(__file__)
    text = "".join((here.parent / f"test_model_{name}.py").read_text() for name in ("faults", "bus", "moves"))
    assert [fault for fault in FAULTS if f'"{fault}"' not in text] == []
