"""The SCRIPTS processor: registers, jumps, memory, stepping, its own RAM, and what it does not do."""

from __future__ import annotations

import pytest

from ddsdk.errors import HardwareFault
from ddsdk_sym53c8xx.model import LSI53C810, LSI53C895A, LSI53C1010
from plugins.sym53c8xx.tests.conftest import DATA, INT, PROGRAM, TABLE, Host, MakeHost, words

OK = (0, 0, 0x84)
ILLEGAL = (0, 0, 0x81)


@pytest.mark.parametrize(("operator", "data", "old", "carry", "new", "carried"), [
    (0, 0x5A, 0xFF, 0, 0x5A, 0), (1, 0, 0x81, 0, 0x02, 1), (1, 0, 0x40, 1, 0x81, 0), (2, 0x0F, 0xF0, 0, 0xFF, 0),
    (3, 0xFF, 0xA5, 0, 0x5A, 0), (4, 0x3C, 0xFF, 1, 0x3C, 1), (5, 0, 0x01, 0, 0x00, 1), (5, 0, 0x80, 1, 0xC0, 0),
    (6, 0x01, 0xFF, 1, 0x00, 1), (6, 0x01, 0x7F, 1, 0x80, 0), (7, 0x01, 0xFE, 1, 0x00, 1), (7, 0x01, 0xFE, 0, 0xFF, 0),
])
def test_operators(host: Host, operator: int, data: int, old: int, carry: int, new: int, carried: int) -> None:
    """Each operator on a register; carry in and carry out, which the next transfer sees."""
    host.write("SCRATCHA", old)
    assert host.run((0x5800_0400 if carry else 0x6000_0400, 0), (0x7834_0000 | operator << 24 | data << 8, 0),
                    (0x9828_0000, 1), (INT, 0)) == OK
    assert (host.read("SCRATCHA"), host.read("DSPS")) == (new, carried)


def test_sfbr_moves(host: Host) -> None:
    """To SFBR, from SFBR with an operator, and SFBR in place of the data byte."""
    host.write("SCRATCHA", 0x0000_0F3C)
    assert host.run((0x7234_0000, 0), (0x6A36_4000, 0), (0x7A35_0000 | 0x80 << 16, 0), (INT, 0)) == OK
    # SFBR = 3C; SCRATCHA2 = SFBR | 40; register 35 | SFBR
    assert host.read("SCRATCHA") == 0x007C_3F3C
    assert host.read("SFBR") == 0x3C


@pytest.mark.parametrize(("condition", "taken"), [
    (0x0008_0000, True), (0x0000_0000, False), (0x000C_00A5, True), (0x0004_00A5, False), (0x000C_00A4, False),
    (0x000C_01A4, True), (0x000C_FF00, True), (0x0028_0000, False), (0x0020_0000, True),
])
def test_conditions(host: Host, condition: int, taken: bool) -> None:
    """True and false, data with mask, carry; SFBR is A5, the carry clear."""
    assert host.run((0x7808_A500, 0), (0x6000_0400, 0), (0x8000_0000 | condition, PROGRAM + 0x20), (INT, 0),
                    (INT, 1)) == OK
    assert host.read("DSPS") == taken


def test_call_return_relative(host: Host) -> None:
    """CALL keeps the way back in TEMP; relative jumps go back and forth; ADDER is where the last one went."""
    assert host.run((0x8088_0000, 0x10), (INT, 1), (INT, 2), (0x8088_0000, 0xFF_FFF0), (INT, 3)) == OK
    assert host.read("DSPS") == 2
    host.load((0x8808_0000, PROGRAM + 0x20), (INT, 0x600D))
    host.load((0x9008_0000, 0), at=PROGRAM + 0x20)
    host.start()
    assert host.stopped() == OK
    assert (host.read("DSPS"), host.read("TEMP"), host.read("ADDER")) == (0x600D, PROGRAM + 8, PROGRAM + 8)


def test_registers_show_the_instruction(host: Host) -> None:
    """DCMD, DBC, DSPS are the words of the last instruction, DSP is behind it."""
    assert host.run((0x8000_0000, 0), (0x9808_1234, 0xCAFE)) == OK
    assert (host.read("DCMD"), host.read("DBC"), host.read("DSPS"), host.read("DSP")) == (
        0x98, 0x08_1234, 0xCAFE, PROGRAM + 16)


def test_memory_move(host: Host) -> None:
    """Any length; the same low address bits on both sides, or the instruction is illegal."""
    host.poke(DATA, bytes(range(100)))
    assert host.run((0xC000_0061, DATA + 3, DATA + 0x103), (INT, 0)) == OK
    assert host.peek(DATA + 0x103, 97) == bytes(range(3, 100))
    assert host.run((0xC000_0004, DATA, DATA + 0x101), (INT, 0)) == ILLEGAL
    assert host.run((0xC000_0000, DATA, DATA + 0x100), (INT, 0)) == ILLEGAL


def test_load_store_relative_to_dsa(host: Host) -> None:
    """DSA plus a signed offset; one to four bytes of one register dword at the same place of a memory dword."""
    host.write("DSA", DATA + 0x20)
    host.poke(DATA + 0x1C, bytes.fromhex("01020304"))
    assert host.run((0xF134_0004, 0xFF_FFFC), (0xF035_0002, 0x05), (INT, 0)) == OK
    assert (host.read("SCRATCHA"), host.peek(DATA + 0x25, 2)) == (0x04030201, b"\x02\x03")


@pytest.mark.parametrize(("word", "address"), [
    (0xE134_0005, DATA), (0xE134_0000, DATA), (0xE134_0004, DATA + 1), (0xE135_0004, DATA + 1), (0xA008_0000, 0),
    (0x5800_0200, 0), (0x0A00_0000, DATA),
], ids=["five bytes", "no byte", "other low bits", "over a dword", "opcode", "target mode", "count 0"])
def test_illegal(host: Host, word: int, address: int) -> None:
    """Instructions that the manual does not have: DSTAT.IID, DSP behind them."""
    assert host.run((word, address), (INT, 0)) == ILLEGAL
    assert host.read("DSP") == PROGRAM + 8


@pytest.mark.parametrize("word", [0xE134_0004, 0x0000_0010, 0x0D00_0010], ids=["LOAD", "CHMOV", "DT phase"])
def test_a_53c810_does_not_know(make_host: MakeHost, word: int) -> None:
    """LOAD and STORE, chained moves and DT phases came later."""
    assert make_host(LSI53C810).run((word, DATA), (INT, 0)) == ILLEGAL


def test_stepping_and_manual_start(host: Host) -> None:
    """DCNTL.SSM stops behind every instruction; with DMODE.MAN a write of DSP starts nothing, DCNTL.STD does."""
    host.load((0x7834_1100, 0), (0x7835_2200, 0), (INT, 0))
    host.write("DMODE", 0x01)
    host.start()
    host.advance(10_000)
    assert (host.read("ISTAT0"), host.read("ISTAT1"), host.read("SCRATCHA")) == (0, 0, 0)
    host.write("DCNTL", 0x15)
    assert host.stopped() == (0, 0, 0x88)
    assert (host.read("DSP"), host.read("SCRATCHA"), host.read("DCNTL")) == (PROGRAM + 8, 0x11, 0x11)
    host.write("DCNTL", 0x05)
    assert host.stopped() == OK
    assert host.read("SCRATCHA") == 0x2211


def test_only_the_last_byte_of_dsp_starts(host: Host) -> None:
    """DSP may be written byte by byte."""
    host.load((INT, 7))
    for byte in range(4):
        assert host.chip.scripts.running is False
        host.window.write(0x2C + byte, 1, PROGRAM >> 8 * byte & 0xFF)
    assert host.stopped() == OK


@pytest.mark.parametrize("profile", [LSI53C895A, LSI53C1010], ids=lambda profile: profile.chip.name)
def test_on_chip_ram(make_host: MakeHost, profile: object) -> None:
    """8 KiB behind their own BAR: bytes from outside, instructions, tables and data for SCRIPTS."""
    host = make_host(profile)
    number = next(n for n, bar in enumerate(host.function.bars) if bar is not None and bar.size == 0x2000)
    bar = host.function.bars[number]
    assert bar is not None
    base, window = bar.bus_addr, host.function.window(number)
    for at, byte in enumerate(words((0xC000_0004, base + 0x20, base + 0x1FFC), (0xC000_0004, base + 0x20, DATA),
                                    (INT, 9))):
        window.write(at, 1, byte)
    window.write(0x20, 4, 0x1234_5678)
    host.start(base)
    assert host.stopped() == OK
    assert (window.read(0x1FFC, 4), host.peek(DATA, 4)) == (0x1234_5678, bytes.fromhex("78563412"))


def test_long_programs_take_time(host: Host) -> None:
    """A loop does not stop the clock: SRUN is 1, ABRT ends it."""
    host.load((0x8008_0000, PROGRAM))
    host.start()
    host.advance(5_000_000)
    assert host.read("ISTAT1") & 0x02
    host.write("ISTAT0", 0x80)
    assert host.read("ISTAT0") & 0x01
    host.write("ISTAT0", 0x00)
    assert (host.read("DSTAT"), host.read("ISTAT1")) == (0x90, 0)


def test_select_puts_the_table_into_registers(host: Host) -> None:
    """SCNTL3, SXFER and SDID come from the entry; DNAD is the alternate address."""
    host.write("DSA", TABLE)
    host.poke(TABLE + 8, words((0x0305_0000,)))
    assert host.run((0x4300_0008, PROGRAM + 0x40), (INT, 0)) == OK
    assert (host.read("SCNTL3"), host.read("SXFER"), host.read("SDID"), host.read("DNAD")) == (
        3, 0, 5, PROGRAM + 0x40)


@pytest.mark.parametrize(("register", "value", "message"), [
    ("SCNTL3", 0x0B, "nobody negotiated wide"), ("SCNTL3", 0x02, "CCF must be 3"), ("SXFER", 0x08, "SXFER 0x08")])
def test_select_with_wrong_clocks(host: Host, register: str, value: int, message: str) -> None:
    """Stricter than QEMU: wide or synchronous transfers that nobody negotiated would ruin the data."""
    host.write(register, value)
    host.load((0x4000_0000, PROGRAM), (INT, 0))
    host.start()
    with pytest.raises(HardwareFault, match=message):
        host.advance(100_000)


def test_register_instructions_want_com(host: Host) -> None:
    """Stricter than QEMU: the manual forbids register instructions with DCNTL.COM 0 (700 compatibility)."""
    host.write("DCNTL", 0x00)
    host.load((0x7834_0000, 0))
    host.start()
    with pytest.raises(HardwareFault, match=r"DCNTL\.COM 0"):
        host.advance(100_000)


def test_instructions_are_words(host: Host) -> None:
    """A fetch from an address that is no multiple of 4."""
    host.start(PROGRAM + 2)
    with pytest.raises(HardwareFault, match="not a multiple of 4"):
        host.advance(100_000)


def test_starting_twice(host: Host) -> None:
    """DSP cannot be written while SCRIPTS run."""
    host.load((0x5000_0000, PROGRAM))
    host.start()
    with pytest.raises(HardwareFault, match="4-byte write at 0x2c while SCRIPTS run"):
        host.start()
