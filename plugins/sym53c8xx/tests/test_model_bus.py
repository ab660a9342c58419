"""The bus: selection, messages, disconnects, reselections, resets, and what the chip shows of them."""

from __future__ import annotations

import pytest

from ddsdk.errors import HardwareFault
from plugins.sym53c8xx.tests.conftest import (
    CLEAR_ACK,
    CMP,
    DATA,
    IDENTIFY,
    INT,
    MA,
    MESSAGE,
    NO_SDU,
    PROGRAM,
    RSL,
    RST,
    STATUS,
    UDC,
    WAIT_DISCONNECT,
    Host,
    MakeHost,
)

STATUS_IN, MESSAGE_IN = (0x0B00_0001, STATUS), (0x0F00_0001, MESSAGE)
GOOD_BYE = (STATUS_IN, MESSAGE_IN, NO_SDU, CLEAR_ACK, WAIT_DISCONNECT, (INT, 0x600D))
OK = (CMP, 0, 0x84)
#: SAVE DATA POINTER, DISCONNECT, bus free, reselection: IDENTIFY to MESSAGE + 2, then SELECT's program ends.
DISCONNECT = (MESSAGE_IN, CLEAR_ACK, (0x0F00_0001, MESSAGE + 1), NO_SDU, CLEAR_ACK, WAIT_DISCONNECT)
READ_1 = "2800000000000000" + "0100"


def test_a_connection_step_by_step(ready: Host) -> None:
    """What CON, the phase, REQ, ACK and SDU are between the steps of TEST UNIT READY."""
    host = ready
    host.load((0x4100_0000, PROGRAM + 0x100), (0x0E00_0001, IDENTIFY), (INT, 1))
    host.start()
    assert host.stopped() == OK
    assert (host.read("SCNTL1") & 0x10, host.read("ISTAT0") & 0x08, host.read("SSTAT2") & 0x02) == (0x10, 0x08, 0)
    assert host.read("SCNTL2") & 0x80
    assert host.read("SBCL") & 0xA0 == 0xA0                       # REQ, BSY
    assert host.read("SBCL") & 0x07 == 2                          # command phase waits
    host.poke(0x21_0010, bytes(6))
    assert host.run((0x0A00_0006, 0x21_0010), STATUS_IN, MESSAGE_IN, (INT, 2)) == (0, 0, 0x84)
    assert host.read("SBCL") & 0xE7 == 0x67                       # ACK held, no REQ, message in
    assert host.run(NO_SDU, CLEAR_ACK, WAIT_DISCONNECT, (INT, 3)) == (0, 0, 0x84)
    assert (host.read("SCNTL1") & 0x10, host.read("ISTAT0") & 0x08, host.read("SSTAT2") & 0x02) == (0, 0, 0x02)
    assert host.read("SBCL") == 0


def test_selection_without_atn_begins_with_the_command(ready: Host) -> None:
    """No message out phase: logical unit 0, no right to disconnect."""
    host = ready
    host.poke(0x21_0010, bytes(6))
    assert host.run((0x4000_0000, PROGRAM + 0x100), (0x0A00_0006, 0x21_0010), *GOOD_BYE) == OK
    assert host.peek(STATUS, 1) == b"\0"


def test_selection_timeout_follows_stime0(host: Host) -> None:
    """125 us x 2^(n-1); with 0 the chip waits for ever."""
    for exponent, low_ns, high_ns in ((1, 125_000, 200_000), (8, 16_000_000, 17_000_000)):
        host.write("STIME0", exponent)
        before_ns = host.machine.clock.now_ns
        assert host.run((0x4105_0000, PROGRAM), (0x870B_0000, PROGRAM)) == (0, 0x04, 0x80)
        assert low_ns <= host.machine.clock.now_ns - before_ns < high_ns
    host.write("STIME0", 0)
    host.start()
    host.advance(10_000_000_000)
    assert host.read("ISTAT0") == 0
    assert host.read("ISTAT1") & 2


def test_unexpected_disconnect(ready: Host) -> None:
    """SDU is set with every connection; a target that leaves while it is set: SIST0.UDC."""
    assert ready.command("000000000000", STATUS_IN, MESSAGE_IN, CLEAR_ACK, WAIT_DISCONNECT, (INT, 0)) == (
        CMP | UDC, 0, 0x80)


def test_disconnect_and_reselection(ready: Host) -> None:
    """A read that takes long: 02 04, bus free, IDENTIFY from the target; SSID says which one."""
    host = ready
    host.disk[:512] = b"x" * 512
    assert host.command(READ_1, *DISCONNECT, (0x5000_0000, PROGRAM), (0x0F00_0001, MESSAGE + 2), CLEAR_ACK,
                        (0x0900_0200, DATA), *GOOD_BYE) == (CMP | RSL, 0, 0x84)
    assert host.peek(MESSAGE, 3) == b"\x00\x04\x80"
    assert (host.read("SSID"), host.peek(DATA, 512)) == (0x80, b"x" * 512)


def test_no_disconnect_without_the_right(ready: Host) -> None:
    """IDENTIFY without bit 6: the target stays, and the data phase comes late."""
    before_ns = ready.machine.clock.now_ns
    assert ready.command(READ_1, (0x0900_0200, DATA), *GOOD_BYE, identify=0x80) == OK
    assert ready.machine.clock.now_ns - before_ns > 40_000


def test_tagged_reselection(ready: Host) -> None:
    """IDENTIFY, SIMPLE QUEUE TAG and the tag that the command was given."""
    host = ready
    host.poke(IDENTIFY, bytes((0xC0, 0x20, 0x44)))
    host.poke(0x21_0010, bytes.fromhex(READ_1))
    assert host.run((0x4100_0000, PROGRAM + 0x100), (0x0E00_0003, IDENTIFY), (0x0A00_000A, 0x21_0010), *DISCONNECT,
                    (0x5000_0000, PROGRAM), (0x0F00_0003, MESSAGE + 2), CLEAR_ACK, (0x0900_0200, DATA),
                    *GOOD_BYE) == (CMP | RSL, 0, 0x84)
    assert host.peek(MESSAGE + 2, 3) == bytes((0x80, 0x20, 0x44))


@pytest.mark.parametrize(("name", "value"), [("SCID", 0x07), ("RESPID0", 0x40)], ids=["no RRE", "another id"])
def test_reselection_waits_until_the_chip_listens(ready: Host, name: str, value: int) -> None:
    """Without RRE, or with an id in SCID that RESPID does not have, nobody answers the target."""
    host = ready
    host.write(name, value)
    assert host.command(READ_1, *DISCONNECT, (INT, 1)) == OK
    host.advance(1_000_000_000)
    assert host.read("SIST0") == 0
    host.write("SCID", 0x47)
    host.write("RESPID0", 0x80)
    host.advance(1_000_000)
    assert host.read("SIST0") == RSL
    assert host.read("SCNTL1") & 0x10


def test_reselection_wins_the_arbitration(ready: Host) -> None:
    """SELECT goes to its alternate address when a target comes first; SSTAT0.LOA says so."""
    host = ready
    assert host.command(READ_1, *DISCONNECT, (INT, 1)) == OK
    host.chip.faults.inject("arbitration-lost")
    assert host.run((0x4100_0000, PROGRAM + 0x20), (0x0E00_0001, IDENTIFY), (INT, 0xBAD), (INT, 0xBAD),
                    (INT, 0x2222)) == (RSL, 0, 0x84)
    assert host.read("DSPS") == 0x2222
    assert host.read("SSTAT0") & 0x08


def test_select_while_connected_takes_the_alternate(ready: Host) -> None:
    """A reselection that was answered before SELECT came."""
    host = ready
    assert host.command(READ_1, *DISCONNECT, (INT, 1)) == OK
    host.advance(1_000_000)
    assert host.run((0x4100_0000, PROGRAM + 0x10), (INT, 0xBAD), (INT, 0x2222)) == (RSL, 0, 0x84)
    assert host.read("DSPS") == 0x2222


def test_sigp(host: Host) -> None:
    """Wakes WAIT RESELECT to its alternate address, or the next one at once; CTEST2 shows and clears it."""
    program = ((0x5000_0000, PROGRAM + 0x10), (INT, 0xBAD), (INT, 0x519B))
    host.load(*program)
    host.start()
    host.advance(1_000_000)
    host.write("ISTAT0", 0x20)
    assert host.stopped() == (0, 0, 0x84)
    assert (host.read("DSPS"), host.read("ISTAT0")) == (0x519B, 0x20)
    assert host.run(*program) == (0, 0, 0x84)
    assert (host.read("CTEST2"), host.read("CTEST2"), host.read("ISTAT0")) == (0x51, 0x11, 0)


def test_message_reject(ready: Host) -> None:
    """A message the target does not know: MESSAGE REJECT, and the connection goes on."""
    host = ready
    host.poke(IDENTIFY, b"\x80\x05\x1F")
    host.poke(0x21_0010, bytes(6))
    assert host.run((0x4100_0000, PROGRAM), (0x0E00_0003, IDENTIFY), MESSAGE_IN, CLEAR_ACK,
                    (0x0A00_0006, 0x21_0010), *GOOD_BYE) == OK
    host.poke(IDENTIFY, b"\x80\x1F")
    assert host.run((0x4100_0000, PROGRAM), (0x0E00_0002, IDENTIFY), MESSAGE_IN, (INT, 1)) == OK
    assert host.peek(MESSAGE, 1) == b"\x07"


@pytest.mark.parametrize(("message", "attention"), [(0x06, False), (0x0D, False), (0x0E, False), (0x0C, True)],
                         ids=["ABORT", "ABORT TAG", "CLEAR QUEUE", "BUS DEVICE RESET"])
def test_aborts(ready: Host, message: int, attention: bool) -> None:
    """The command is forgotten, the target leaves at once; a device reset leaves a unit attention."""
    host = ready
    assert host.command(READ_1, *DISCONNECT, (INT, 1)) == OK
    host.poke(IDENTIFY, bytes((0x80, message)))
    host.write("RESPID0", 0x00)                                   # it must not come back before it hears of it
    host.advance(1_000_000)
    assert host.run((0x4100_0000, PROGRAM), (0x860B_0000, PROGRAM + 0x10), NO_SDU, (0x0E00_0002, IDENTIFY),
                    WAIT_DISCONNECT, (INT, 1)) == OK
    assert host.chip.scsi.ports[0].tasks == {}
    host.write("RESPID0", 0x80)
    host.advance(10_000_000)
    assert host.read("SIST0") == 0
    assert host.command("000000000000", *GOOD_BYE) == OK
    assert host.peek(STATUS, 1) == (b"\x02" if attention else b"\x00")


def test_contingent_allegiance(host: Host) -> None:
    """After CHECK CONDITION the sense data is there until somebody asks; another command loses it."""
    assert host.command("000000000000", *GOOD_BYE) == OK
    assert host.peek(STATUS, 1) == b"\x02"
    assert host.command("000000000000", *GOOD_BYE) == OK
    assert host.peek(STATUS, 1) == b"\x00"
    assert host.command("030000001200", (0x0900_0012, DATA), *GOOD_BYE) == OK
    assert host.peek(DATA, 3) == b"\x70\x00\x00"


def test_overlapped_commands(ready: Host) -> None:
    """Stricter than a target: the same tag twice is the initiator's bug, and said so."""
    assert ready.command(READ_1, *DISCONNECT, (INT, 1)) == OK
    ready.write("RESPID0", 0x00)
    with pytest.raises(HardwareFault, match="overlapped commands"):
        ready.command(READ_1, *DISCONNECT, (INT, 1))


# -- resets ------------------------------------------------------------------------------------------------------


def pulse(host: Host, hold_ns: int = 30_000) -> None:
    """Assert RST for a while."""
    host.write("SCNTL1", 0x08)
    host.advance(hold_ns)
    host.write("SCNTL1", 0x00)


def test_bus_reset(ready: Host) -> None:
    """SIST0.RST once, SSTAT0.RST while it lasts; targets forget everything and do not answer for 200 ms."""
    host = ready
    assert host.command(READ_1, *DISCONNECT, (INT, 1)) == OK
    host.write("SCNTL1", 0x08)
    assert (host.read("ISTAT0"), host.read("SSTAT0") & 2, host.read("SIST0"), host.read("ISTAT0")) == (2, 2, RST, 0)
    host.advance(30_000)
    host.write("SCNTL1", 0x00)
    assert host.read("SSTAT0") & 2 == 0
    host.advance(100_000_000)
    host.write("STIME0", 0x04)
    assert host.run((0x4100_0000, PROGRAM), (0x870B_0000, PROGRAM)) == (0, 0x04, 0x80)
    host.advance(100_000_000)
    assert host.command("000000000000", *GOOD_BYE) == OK
    assert host.peek(STATUS, 1) == b"\x02"


def test_a_short_pulse_is_no_reset(host: Host) -> None:
    """Stricter than QEMU: RST has to be asserted for 25 us."""
    with pytest.raises(HardwareFault, match="RST asserted for 10000 ns"):
        pulse(host, 10_000)


def test_chip_reset_leaves_the_target_where_it_is(ready: Host) -> None:
    """SRST lets go of the lines; the target that was connected still drives BSY and waits; only RST frees the bus."""
    host = ready
    host.load((0x4100_0000, PROGRAM), (INT, 1))
    host.start()
    host.stopped()
    host.advance(100_000)
    host.set_up()
    assert (host.read("SCNTL1"), host.read("SBCL") & 0x20) == (0, 0x20)
    host.load((0x4100_0000, PROGRAM), (0x870B_0000, PROGRAM))
    host.start()
    host.advance(2_000_000_000)
    assert host.read("ISTAT0") == 0                               # the selection timer runs once arbitration is won
    host.write("ISTAT0", 0x80)
    host.write("ISTAT0", 0x00)
    assert host.read("DSTAT") == 0x90
    pulse(host)
    assert host.read("SBCL") == 0


def test_disconnecting_by_force(ready: Host) -> None:
    """Stricter than QEMU, which dies of it later: SCNTL1 written with CON 0 in mid-connection."""
    host = ready
    host.load((0x4100_0000, PROGRAM), (INT, 1))
    host.start()
    host.stopped()
    host.advance(100_000)
    with pytest.raises(HardwareFault, match="clears CON in mid-connection"):
        host.write("SCNTL1", 0x00)


def test_phase_mismatch_of_the_command(ready: Host) -> None:
    """A target takes the bytes its CDB has, and no more: M/A, DBC is what is left."""
    host = ready
    host.poke(IDENTIFY, b"\x80")
    host.poke(0x21_0010, bytes(10))
    assert host.run((0x4100_0000, PROGRAM), (0x0E00_0001, IDENTIFY), (0x0A00_000A, 0x21_0010), (INT, 1)) == (
        CMP | MA, 0, 0x80)
    assert (host.read("DBC"), host.read("SSTAT1")) == (4, 3)


def test_a_target_that_is_not_present(make_host: MakeHost) -> None:
    """A drive pulled out answers no selection."""
    host = make_host()
    host.target.present = False
    assert host.run((0x4100_0000, PROGRAM), (0x870B_0000, PROGRAM)) == (0, 0x04, 0x80)
