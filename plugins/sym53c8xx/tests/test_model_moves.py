"""Block moves: how many bytes moved, what is left in the FIFOs, jumps in place of interrupts, wide addresses."""

from __future__ import annotations

import mmap

import pytest

from ddsdk.bus import PCI_COMMAND
from ddsdk.errors import DmaFault, HardwareFault
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import Extent, PhysicalMemory
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk_sym53c8xx.model import LSI53C810, LSI53C895A, LSI53C1010, ChipProfile, Timing, build
from ddsdk_sym53c8xx.model_core import SymChip
from plugins.sym53c8xx.tests.conftest import (
    CLEAR_ACK,
    CMP,
    DATA,
    INT,
    MA,
    MESSAGE,
    NO_SDU,
    PAR,
    PROGRAM,
    RSL,
    SGE,
    STATUS,
    TABLE,
    WAIT_DISCONNECT,
    Host,
    MakeHost,
    words,
)

GOOD_BYE = ((0x0B00_0001, STATUS), (0x0F00_0001, MESSAGE), NO_SDU, CLEAR_ACK, WAIT_DISCONNECT, (INT, 0x600D))
OK = (CMP, 0, 0x84)
INQUIRY = "120000002400"
WRITE_1, WRITE_2 = "2a000000000000000100", "2a000000000000000200"


def test_data_in_pieces(ready: Host) -> None:
    """Moves shorter than the data take it piece by piece; SFBR is the first byte of each."""
    assert ready.command(INQUIRY, (0x0900_0003, DATA), (0x0900_0021, DATA + 0x100), *GOOD_BYE) == OK
    assert ready.peek(DATA, 4)[2:] == b"\x05\x00"
    assert ready.peek(DATA + 0x100 + 5, 5) == b"DDSDK"


def test_a_table_move_of_nothing(ready: Host) -> None:
    """A count of 0 in a table is as illegal as one in the instruction."""
    ready.write("DSA", TABLE)
    ready.poke(TABLE, words((0, DATA)))
    assert ready.command(INQUIRY, (0x1900_0000, 0), (INT, 0)) == (CMP, 0, 0x81)


def test_indirect_address(ready: Host) -> None:
    """The instruction holds the address of the address."""
    ready.poke(TABLE, words((DATA + 0x40,)))
    assert ready.command(INQUIRY, (0x2900_0024, TABLE), *GOOD_BYE) == OK
    assert ready.peek(DATA + 0x48, 5) == b"DDSDK"


def test_counters(ready: Host) -> None:
    """DBC counts down to 0, DNAD goes on; CSBC adds up what went over the bus, UA is behind the last byte."""
    ready.write("CSBC", 0)
    assert ready.command(INQUIRY, (0x0900_0024, DATA), (INT, 0)) == OK
    assert (ready.read("DNAD"), ready.read("UA"), ready.read("CSBC")) == (DATA + 36, DATA + 36, 6 + 1 + 36)


def test_mismatch_of_data_in(ready: Host) -> None:
    """Fewer bytes than the move wants: DBC is what is left; nothing stays in a FIFO."""
    assert ready.command(INQUIRY, (0x0900_0064, DATA), (INT, 0)) == (CMP | MA, 0, 0x80)
    assert (ready.read("DBC"), ready.read("DNAD"), ready.read("SSTAT1"), ready.read("RBC")) == (64, DATA + 36, 3, 64)
    assert ready.read("SSTAT0") & 0x60 == 0
    assert ready.read("DSP") == PROGRAM + 0x20


@pytest.mark.parametrize("profile", [LSI53C895A, LSI53C810, LSI53C1010], ids=lambda profile: profile.chip.name)
def test_mismatch_of_data_out(make_host: MakeHost, profile: ChipProfile) -> None:
    """The chip has fetched bytes it did not send: DBC counts them as gone, DFIFO or DFBC and SSTAT0.OLF say how many.

    Until both FIFOs are cleared DSTAT.DFE is 0, and the next data move ends in a gross error.
    """
    host = make_host(profile)
    host.clear_attention()
    assert host.command(WRITE_1, (0x0800_0400, DATA), (INT, 0), identify=0x80) == (CMP | MA, 0, 0x00)
    dbc = host.read("DBC")
    olf = host.read("SSTAT0") >> 5 & 1
    fifo = host.read("DFBC") if profile.dfbc else host.read("DFIFO") - dbc & 0x7F
    assert olf == 1
    assert fifo + olf == profile.fifo_bytes
    assert dbc + fifo + olf == 512
    if profile is not LSI53C810:
        assert (host.read("RBC"), host.read("UA")) == (512, DATA + 512)
    host.write("CTEST3", 0x04)
    host.write("STEST3", 0x02)
    assert (host.read("DSTAT"), host.read("SSTAT0") & 0x60) == (0x80, 0)
    assert host.run(*GOOD_BYE)[2] == 0x84


def test_fifos_not_cleared(ready: Host) -> None:
    """Data over what the last move left: SIST0.SGE."""
    assert ready.command(WRITE_1, (0x0800_0400, DATA), (INT, 0), identify=0x80)[0] == CMP | MA
    assert ready.run(*GOOD_BYE)[2] == 0x04
    assert ready.command(INQUIRY, (0x0900_0024, DATA), (INT, 0)) == (CMP | SGE, 0, 0x00)


@pytest.mark.parametrize(("mode", "wanted", "goes_to"), [
    (0xC0, 0x0900_0064, 0x200), (0xC0, 0x0800_0064, 0x100), (0x80, 0x0900_0064, 0x100)],
    ids=["in", "out", "by WSR"])
def test_mismatch_jump(ready: Host, mode: int, wanted: int, goes_to: int) -> None:
    """CCNTL0.ENPMJ: PMJAD1 or PMJAD2 by the direction of the move (PMJCTL), or by SCNTL2.WSR; no interrupt."""
    ready.write("CCNTL0", mode)
    ready.write("PMJAD1", PROGRAM + 0x100)
    ready.write("PMJAD2", PROGRAM + 0x200)
    ready.load((INT, 0x100), at=PROGRAM + 0x100)
    ready.load((INT, 0x200), at=PROGRAM + 0x200)
    assert ready.command(INQUIRY, (wanted, DATA), (INT, 0)) == OK
    moved = 36 if wanted >> 24 == 9 else 0
    assert (ready.read("DSPS"), ready.read("RBC"), ready.read("UA"), ready.read("IA")) == (
        goes_to, 100 - moved, DATA + moved, PROGRAM + 0x18)


def test_message_bytes_are_acknowledged(ready: Host) -> None:
    """All but the last one of a move; that one keeps ACK until CLEAR ACK."""
    assert ready.command(INQUIRY, (0x0900_0024, DATA), (0x0B00_0001, STATUS), (0x0F00_0001, MESSAGE), (INT, 0)) == OK
    assert ready.read("SBCL") & 0x40
    assert ready.read("SIDL") == 0
    assert ready.run(NO_SDU, CLEAR_ACK, WAIT_DISCONNECT, (INT, 1)) == (0, 0, 0x84)


def test_parity_asserts_atn(ready: Host) -> None:
    """SCNTL0.EPC and AAP: SIST0.PAR and ATN in the middle of data; the target asks for the message."""
    ready.chip.faults.inject("parity-data-in")
    assert ready.command(INQUIRY, (0x0900_0024, DATA), (INT, 0)) == (CMP | PAR, 0, 0x80)
    assert (ready.read("DBC"), ready.read("SBCL") & 0x08) == (18, 0x08)
    ready.advance(10_000)
    assert ready.read("SBCL") & 0x07 == 6


def test_no_parity_checking(ready: Host) -> None:
    """Without EPC nobody looks."""
    ready.write("SCNTL0", 0xC0)
    ready.chip.faults.inject("parity-data-in")
    assert ready.command(INQUIRY, (0x0900_0024, DATA), *GOOD_BYE) == OK


def test_dma_only_where_it_was_granted(ready: Host) -> None:
    """A move into memory that nobody mapped."""
    with pytest.raises(DmaFault):
        ready.command(INQUIRY, (0x0900_0024, 0x10_0000), (INT, 0))


def test_reserved_count_bits(ready: Host) -> None:
    """Stricter than QEMU: bits 31..24 of a table's count mean nothing without 64-bit moves."""
    ready.write("DSA", TABLE)
    ready.poke(TABLE, words((0x0100_0024, DATA)))
    with pytest.raises(HardwareFault, match=r"bits 31\.\.24 are reserved"):
        ready.command(INQUIRY, (0x1900_0000, 0), (INT, 0))


@pytest.mark.parametrize(("mode", "selector"), [(0x06, 1), (0x02, 0x00), (0x02, 0x05), (0x02, 0x13)],
                         ids=["40 bits", "SCRATCHC", "SCRATCHC[5]", "DRS"])
def test_table_moves_above_4_gib(mode: int, selector: int) -> None:
    """CCNTL1.EN64TIBMV: bits 31..24 are address bits 39..32 (TIMOD), or name the register that holds them."""
    high = 5 << 30
    low = Extent(0, memoryview(mmap.mmap(-1, 8 << 20)))
    memory = PhysicalMemory([low, Extent(high, memoryview(mmap.mmap(-1, 1 << 20)))])
    with Machine(memory) as machine:
        disk = memoryview(mmap.mmap(-1, 1 << 20))
        target = ScsiTarget(Disk(disk))
        function = build(machine, {(0, 0): target}, LSI53C895A)
        function.config_write(PCI_COMMAND, 2, 0x7)
        function.dma_grant(PROGRAM, 0x21_0000)
        function.dma_grant(high, 0x1000)
        assert isinstance(function.model, SymChip)
        host = Host(machine, function, function.model, target, function.window(1), disk)
        host.set_up()
        host.clear_attention()
        host.write("CCNTL1", mode)
        host.write("DSA", TABLE)
        if mode == 0x02:
            host.window.write({0: 0x60, 5: 0x74, 0x13: 0xAC}[selector], 4, 1)
        host.poke(TABLE, words((selector << 24 | 36, 0x4000_0000)))
        assert host.command(INQUIRY, (0x1900_0000, 0), (INT, 0)) == OK
        assert host.peek(high + 8, 5) == b"DDSDK"
        assert host.read("DNAD64") == 1


def test_disconnect_in_mid_data(make_host: MakeHost) -> None:
    """After so many bytes the target leaves: SAVE DATA POINTER, DISCONNECT; a long move is cut by a mismatch."""
    host = make_host(timing=Timing(burst_bytes=600))
    host.clear_attention()
    host.disk[:1024] = bytes(range(256)) * 4
    leave = ((0x0F00_0001, MESSAGE), CLEAR_ACK, (0x0F00_0001, MESSAGE + 1), NO_SDU, CLEAR_ACK, WAIT_DISCONNECT,
             (0x5000_0000, PROGRAM), (0x0F00_0001, MESSAGE + 2), CLEAR_ACK)
    assert host.command("28000000000000000200", *leave, (0x0900_0400, DATA), (INT, 0)) == (CMP | RSL | MA, 0, 0x80)
    assert (host.read("DBC"), host.read("SSTAT1")) == (424, 7)
    assert host.run(*leave, (0x0900_01A8, DATA + 600), *GOOD_BYE) == (RSL, 0, 0x84)
    assert host.peek(DATA, 1024) == bytes(range(256)) * 4
    assert host.peek(MESSAGE, 2) == b"\x00\x04"


def test_read_modify_nothing_while_running(ready: Host) -> None:
    """Only ISTAT and the mailboxes may be touched while SCRIPTS run."""
    ready.load((0x5000_0000, PROGRAM))
    ready.start()
    ready.advance(10_000)
    ready.write("MBOX0", 0x5A)
    assert (ready.read("MBOX0"), ready.read("ISTAT1"), ready.read("ISTAT0")) == (0x5A, 2, 0)
    with pytest.raises(Exception, match="1-byte read at 0xc while SCRIPTS run"):
        ready.read("DSTAT")
