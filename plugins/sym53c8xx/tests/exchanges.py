"""The exchanges recorded from QEMU's lsi53c895a: what the host does, in words of the chip's manual.

SCRIPTS are given as the words they are, not assembled: the driver's assembler is not asked.  A label names a step where
the model says otherwise; `test_golden.py` says why.  Source: LSI53C895A Technical Manual v2.2, chapters 4 and 5.
"""

from __future__ import annotations

import struct

from ddsdk.qemu.machine import AdapterSpec
from tests.real.golden import Exchange, Host, Recording

SCNTL0, SCNTL1, SCNTL3, SCID, SXFER = 0x00, 0x01, 0x03, 0x04, 0x05
DSTAT, SSTAT0, SSTAT1, SSTAT2, DSA, ISTAT, ISTAT1 = 0x0C, 0x0D, 0x0E, 0x0F, 0x10, 0x14, 0x15
CTEST2, TEMP, DBC, DCMD, DNAD, DSP, DSPS = 0x1A, 0x1C, 0x24, 0x27, 0x28, 0x2C, 0x30
SCRATCHA, DMODE, DIEN, DCNTL = 0x34, 0x38, 0x39, 0x3B
SIEN0, SIEN1, SIST0, SIST1, STIME0, STIME1, RESPID0 = 0x40, 0x41, 0x42, 0x43, 0x48, 0x49, 0x4A
CCNTL0, SCRATCHB, PMJAD1, PMJAD2, UA, IA = 0x56, 0x5C, 0xC0, 0xC4, 0xCC, 0xD4
NO_REGISTER = (0x53, 0x5A, 0x5B)
ABRT, SRST, SIGP, INTF, SIP, DIP = 0x80, 0x40, 0x20, 0x04, 0x02, 0x01

PROGRAM, IDENTIFY, CDB, STATUS, MESSAGE, DATA, TABLE = (
    0x20_0000, 0x21_0000, 0x21_0010, 0x21_0020, 0x21_0030, 0x40_0000, 0x22_0000)
SECTION = 0x20_8000
DATA_BYTES = 16 << 10

# instructions that come up everywhere
CLEAR_ACK, WAIT_DISCONNECT = (0x6000_0040, 0), (0x4800_0000, 0)
NO_SDU = (0x7C02_7F00, 0)                       # SCNTL2 = SCNTL2 AND 7F: a disconnect is expected
INT = 0x9808_0000

#: Select 0, message out, command; then whatever phase comes, at 0x18; reselected at 0xD8.  Data is 16 KiB at DATA.
DISPATCH = (
    (0x4100_0000, PROGRAM + 0xE8), (0x0E00_0001, IDENTIFY), (0x0A00_000A, CDB),
    (0x870B_0000, PROGRAM + 0x70),              # 18: when message in
    (0x800A_0000, PROGRAM + 0x40), (0x810A_0000, PROGRAM + 0x50), (0x830A_0000, PROGRAM + 0x60),
    (INT, 0xBAD0),
    (0x0800_4000, DATA), (0x8008_0000, PROGRAM + 0x18),             # 40: data out
    (0x0900_4000, DATA), (0x8008_0000, PROGRAM + 0x18),             # 50: data in
    (0x0B00_0001, STATUS), (0x8008_0000, PROGRAM + 0x18),           # 60: status
    (0x0F00_0001, MESSAGE),                                         # 70: message in
    (0x800C_0000, PROGRAM + 0xC8), (0x800C_0004, PROGRAM + 0x98), CLEAR_ACK, (0x8008_0000, PROGRAM + 0x18),
    NO_SDU, CLEAR_ACK, WAIT_DISCONNECT,                             # 98: disconnect
    (0x5000_0000, PROGRAM + 0xF0),                                  # b0: wait reselect
    (0x0F00_0001, MESSAGE), (0x8008_0000, PROGRAM + 0x88),          # b8: identify
    NO_SDU, CLEAR_ACK, WAIT_DISCONNECT, (INT, 0x600D),              # c8: command complete
    (INT, 0xBAD1),                                                  # e8: reselected instead
    (INT, 0x519B),                                                  # f0: SIGP
)
#: The same with everything out of a table: +00 select, 08 message, 10 CDB, 18 to 30 four pieces, 38 status, 40 message.
TABLE_DISPATCH = (
    (0x4300_0000, PROGRAM + 0x118), (0x1E00_0000, 0x08), (0x1A00_0000, 0x10),
    (0x870B_0000, PROGRAM + 0xA0),                                  # 18
    (0x800A_0000, PROGRAM + 0x40), (0x810A_0000, PROGRAM + 0x68), (0x830A_0000, PROGRAM + 0x90),
    (INT, 0xBAD0),
    (0x1800_0000, 0x18), (0x1800_0000, 0x20), (0x1800_0000, 0x28), (0x1800_0000, 0x30), (0x8008_0000, PROGRAM + 0x18),
    (0x1900_0000, 0x18), (0x1900_0000, 0x20), (0x1900_0000, 0x28), (0x1900_0000, 0x30), (0x8008_0000, PROGRAM + 0x18),
    (0x1B00_0000, 0x38), (0x8008_0000, PROGRAM + 0x18),             # 90
    (0x1F00_0000, 0x40),                                            # a0
    (0x800C_0000, PROGRAM + 0xF8), (0x800C_0004, PROGRAM + 0xC8), CLEAR_ACK, (0x8008_0000, PROGRAM + 0x18),
    NO_SDU, CLEAR_ACK, WAIT_DISCONNECT,                             # c8
    (0x5000_0000, PROGRAM + 0x120),                                 # e0
    (0x1F00_0000, 0x40), (0x8008_0000, PROGRAM + 0xB8),             # e8
    NO_SDU, CLEAR_ACK, WAIT_DISCONNECT, (INT, 0x600D),              # f8
    (INT, 0xBAD1),                                                  # 118
    (INT, 0x519B),                                                  # 120
)


# -- what exchanges are made of ----------------------------------------------------------------------------------------


def words(*pairs: tuple[int, ...]) -> bytes:
    """Instructions, or table entries."""
    flat = [word for pair in pairs for word in pair]
    return struct.pack(f"<{len(flat)}I", *flat)


def reset(r: Host) -> None:
    """ISTAT.SRST, set and cleared."""
    r.write(ISTAT, SRST)
    r.write(ISTAT, 0)
    for register in (DIEN, SIEN0, SIEN1):
        r.write(register, 0)


def start(r: Host, address: int = PROGRAM) -> None:
    """Start SCRIPTS, without a cause pending."""
    r.write(DSP, address, 4)


def stopped(r: Host, label: str = "", cause: int = DIP) -> None:
    """Wait until SCRIPTS have stopped; read why, and where."""
    r.poll(ISTAT, cause, cause)
    r.read(SIST0, f"{label} SIST0" if label else "")
    r.read(SIST1)
    r.read(DSTAT)
    r.read(DSPS, size=4)
    r.read(DSP, size=4)


def run(r: Host, *program: tuple[int, ...], label: str = "") -> None:
    """SCRIPTS that end with INT."""
    r.put(PROGRAM, words(*program))
    start(r)
    stopped(r, label)


def command(r: Host, cdb: str, program: tuple[tuple[int, int], ...] = DISPATCH, identify: bytes = b"\xC0") -> None:
    """One command to target 0; ends where SCRIPTS stop.  A target takes no more of a CDB than there is."""
    bytes_ = bytes.fromhex(cdb)
    command_at = 2
    if program is DISPATCH:
        program = (*program[:command_at], (0x0A00_0000 | len(bytes_), CDB), *program[command_at + 1:])
    r.put(PROGRAM, words(*program))
    r.put(IDENTIFY, identify)
    r.put(CDB, bytes_)
    r.put(STATUS, b"\xFF")
    start(r)


def ended(r: Host, label: str = "selected") -> None:
    """The command is over: INT 600D, status, message."""
    stopped(r, label)
    r.get(STATUS, 1)
    r.get(MESSAGE, 1)


def sense(r: Host) -> None:
    """REQUEST SENSE of 18 bytes into a move of 16 KiB: the phase changes first; DBC says what is left."""
    command(r, "030000001200")
    r.poll(ISTAT, SIP, SIP)
    r.read(SIST0, "mismatch SIST0")
    r.read(SIST1)
    r.read(SSTAT1, "mismatch SSTAT1")
    r.read(DBC, size=4)
    r.read(DNAD, size=4)
    r.read(DSP, size=4)
    start(r, PROGRAM + 0x18)
    ended(r, "")
    r.get(DATA, 18, "sense data")


# -- the exchanges -----------------------------------------------------------------------------------------------------


def registers(r: Host) -> None:
    """A chip reset, and what the first 96 bytes of registers are after it."""
    reset(r)
    for register in range(0x60):
        if register not in NO_REGISTER:
            r.read(register, f"reset {register:02x}")


def set_up(r: Host) -> None:
    """A chip reset and the values an initiator works with, read back."""
    reset(r)
    for register, value in ((SCNTL0, 0xCA), (SCNTL3, 0x03), (SCID, 0x47), (SXFER, 0x00), (RESPID0, 0x80),
                            (DMODE, 0x80), (DCNTL, 0x01), (STIME0, 0x0C)):
        r.write(register, value)
        r.read(register)
    for register in (DSA, TEMP, SCRATCHA, SCRATCHB):
        r.write(register, 0x1234_5678, 4)
        r.read(register, size=4)
        r.read(register + 1)
        r.write(register + 2, 0xAB)
        r.read(register, size=4)
        r.write(register, 0, 4)


def unit_attention(r: Host) -> None:
    """TEST UNIT READY ends with CHECK CONDITION, REQUEST SENSE says why, the next one is good."""
    command(r, "000000000000")
    ended(r)
    sense(r)
    command(r, "000000000000")
    ended(r)


def inquiry(r: Host) -> None:
    """INQUIRY of 36 bytes."""
    command(r, "120000002400")
    stopped(r, "mismatch", SIP)
    start(r, PROGRAM + 0x18)
    ended(r, "")
    r.get(DATA, 8, "inquiry header")
    r.get(DATA + 8, 28, "inquiry names")


def dispatched(r: Host) -> None:
    """WRITE(10) and READ(10) of 16 KiB: the read disconnects and reselects."""
    r.fill(DATA, DATA_BYTES, 7)
    command(r, "2a000001234500002000")
    ended(r)
    r.fill(DATA, DATA_BYTES, 0)
    command(r, "28000001234500002000")
    ended(r, "reselected")
    r.sum(DATA, DATA_BYTES)


def table(r: Host) -> None:
    """The same out of a table, 4 KiB a piece, apart from each other; then tagged."""
    pieces = [DATA + 0x2000 * n for n in range(4)]
    entries = [(0x0300_0000, 0), (1, IDENTIFY), (10, CDB), *((0x1000, at) for at in pieces), (1, STATUS), (1, MESSAGE)]
    r.put(TABLE, words(*entries))
    r.write(DSA, TABLE, 4)
    for seed, at in enumerate(pieces):
        r.fill(at, 0x1000, seed + 1)
    command(r, "2a000001300000002000", TABLE_DISPATCH)
    ended(r)
    for at in pieces:
        r.fill(at, 0x1000, 0)
    command(r, "28000001300000002000", TABLE_DISPATCH)
    ended(r, "reselected")
    for at in pieces:
        r.sum(at, 0x1000)
        r.fill(at, 0x1000, 0)
    r.put(TABLE + 8, words((3, IDENTIFY)))
    command(r, "28000001300000002000", TABLE_DISPATCH, bytes((0xC0, 0x20, 0x24)))
    ended(r, "reselected")
    for at in pieces:
        r.sum(at, 0x1000)


def lun_1(r: Host) -> None:
    """INQUIRY to a logical unit that is not there: good, and peripheral qualifier 3."""
    command(r, "122000002400", identify=b"\x81")
    stopped(r, "mismatch", SIP)
    start(r, PROGRAM + 0x18)
    ended(r, "")
    r.get(DATA, 1)


def absent(r: Host) -> None:
    """SELECT of a target that is not there: the selection times out."""
    r.put(PROGRAM, words((0x4105_0000, PROGRAM + 0x10), (0x870B_0000, PROGRAM + 0x10), (INT, 0x2222)))
    start(r)
    r.poll(ISTAT, SIP, SIP)
    r.read(SIST0)
    r.read(SIST1)
    r.read(DSTAT)
    r.read(SCNTL1)
    r.read(ISTAT)


def intfly(r: Host) -> None:
    """INTFLY and INT: both show in ISTAT; INTF is cleared by writing it."""
    r.put(SECTION, words((0x9818_0000, 0x1F1F), (INT, 0x600D)))
    start(r, SECTION)
    r.poll(ISTAT, DIP, DIP)
    r.read(ISTAT)
    r.write(ISTAT, INTF)
    r.read(ISTAT)
    r.read(DSTAT)
    r.read(ISTAT)
    r.read(DSPS, size=4)


def illegal(r: Host) -> None:
    """An operation code that does not exist."""
    r.put(PROGRAM, words((0xA008_0000, 0)))
    start(r)
    r.poll(ISTAT, DIP, DIP)
    r.read(DSTAT)
    r.read(DSP, size=4)


def load_store(r: Host) -> None:
    """LOAD and STORE, absolute and relative to DSA; a part of a register; a memory move."""
    r.put(DATA, bytes(range(0x40)))
    r.write(DSA, DATA, 4)
    run(r, (0xE134_0004, DATA), (0xE034_0004, DATA + 0x40), (0xF15C_0004, 0x10), (0xF05C_0002, 0x44),
        (0xE134_0001, DATA + 0x20), (0xE035_0001, DATA + 0x49), (0xC000_0010, DATA + 0x10, DATA + 0x50), (INT, 4))
    r.read(SCRATCHA, size=4)
    r.read(SCRATCHB, size=4)
    r.get(DATA + 0x40, 0x20)


def register_moves(r: Host) -> None:
    """Every operator of register instructions; additions and shifts with the carry between them."""
    r.write(SCRATCHA, 0x8040_20F1, 4)
    r.write(SCRATCHB, 0, 4)
    run(r,
        (0x6000_0400, 0),                                           # clear carry
        (0x7934_0000, 0), (0x7834_5A00, 0),                         # SCRATCHA0 shifted left (F1 -> E2, carry), = 5A
        (0x7935_0000, 0),                                           # SCRATCHA1 << 1 with carry
        (0x7D36_0000, 0),                                           # SCRATCHA2 >> 1
        (0x7A37_0F00, 0), (0x7C37_8C00, 0), (0x7B37_FF00, 0),       # OR, AND, XOR
        (0x7E34_F000, 0), (0x7F5C_1000, 0), (0x7F5D_0100, 0),       # + F0 (carry), ADC, ADC
        (0x7034_0000, 0), (0x685E_0000, 0),                         # SFBR = SCRATCHA0, SCRATCHB2 = SFBR
        (0x6A5F_8000, 0),                                           # SCRATCHB3 = SFBR OR 80
        (INT, 1))
    r.read(SCRATCHA, size=4)
    r.read(SCRATCHB, size=4)


def jumps(r: Host) -> None:
    """Comparisons with mask and carry, calls, returns, relative jumps."""
    fail = PROGRAM + 0x80
    run(r,
        (0x7808_A500, 0),                             # 00: SFBR = A5
        (0x8004_00A5, fail),                                        # 08: if not A5
        (0x800C_0FA0, PROGRAM + 0x20),                              # 10: if A0 under mask 0F (those do not count)
        (INT, 0xBAD),
        (0x6000_0400, 0), (0x8028_0000, fail),                      # 20: clear carry; if carry
        (0x5800_0400, 0), (0x8020_0000, fail),                      # 30: set carry; if not carry
        (0x8888_0000, 0x28),                                        # 40: call +28 = 70
        (INT, 0x600D),                                              # 48
        (INT, 0xBAD), (INT, 0xBAD), (INT, 0xBAD), (INT, 0xBAD),
        (0x9008_0000, 0),                                           # 70: return
        (INT, 0xBAD),
        (INT, 0xBAD))
    r.read(TEMP, size=4)


def signal_process(r: Host) -> None:
    """SIGP wakes WAIT RESELECT; a read of CTEST2 clears it and shows it once."""
    r.put(PROGRAM, words((0x5000_0000, PROGRAM + 0x10), (INT, 0xBAD1), (INT, 0x519B)))
    start(r)
    r.read(ISTAT)
    r.write(ISTAT, SIGP)
    stopped(r)
    r.read(ISTAT)
    r.read(CTEST2, "SIGP in CTEST2")
    r.read(ISTAT)
    r.read(CTEST2, "no SIGP in CTEST2")


def abort(r: Host) -> None:
    """ABRT stops SCRIPTS that wait for a reselection."""
    r.put(PROGRAM, words((0x5000_0000, PROGRAM + 0x10), (INT, 0xBAD1), (INT, 0x519B)))
    start(r)
    r.poll(ISTAT1, 0x02, 0x02)
    r.write(ISTAT, ABRT)
    r.poll(ISTAT, DIP, DIP)
    r.write(ISTAT, 0)
    r.read(DSTAT)
    r.read(ISTAT)
    r.read(ISTAT1)


def stepping(r: Host) -> None:
    """DCNTL.SSM stops behind every instruction; with DMODE.MAN only DCNTL.STD starts."""
    r.put(PROGRAM, words((0x7834_1100, 0), (0x7835_2200, 0), (INT, 0x600D)))
    r.write(SCRATCHA, 0, 4)
    r.write(DMODE, 0x81)
    r.write(DSP, PROGRAM, 4)
    r.read(ISTAT)
    r.write(DCNTL, 0x15)
    r.poll(ISTAT, DIP, DIP)
    r.read(DSTAT)
    r.read(DSP, size=4)
    r.read(SCRATCHA, size=4)
    r.write(DCNTL, 0x05)
    r.poll(ISTAT, DIP, DIP)
    r.read(DSTAT)
    r.read(SCRATCHA, size=4)
    r.write(DMODE, 0x80)
    r.write(DCNTL, 0x01)


def mismatch_jump(r: Host) -> None:
    """CCNTL0.ENPMJ and PMJCTL: a phase mismatch jumps to PMJAD2 and says in UA and IA where the move stands."""
    r.write(CCNTL0, 0xC0)
    r.write(PMJAD1, PROGRAM + 0xE8, 4)
    r.write(PMJAD2, SECTION, 4)
    r.put(SECTION, words((INT, 0x2424)))
    command(r, "030000001200")
    stopped(r, "selected")
    r.read(UA, "UA", 4)
    r.read(IA, size=4)
    r.read(DBC, "DBC", 4)
    r.write(CCNTL0, 0)
    start(r, PROGRAM + 0x18)
    ended(r, "")


def bus_reset(r: Host) -> None:
    """RST asserted and released: SIST0.RST once; the disk reports a unit attention afterwards."""
    r.write(SCNTL1, 0x08)
    r.read(SSTAT0, "SSTAT0 under reset")
    r.read(ISTAT)
    r.read(SIST0)
    r.read(SIST1)
    for _ in range(30):
        r.read(ISTAT)                   # time passes: 25 us at least
    r.write(SCNTL1, 0x00)
    r.read(SSTAT0)
    r.read(SIST0)
    r.read(ISTAT)


def after_bus_reset(r: Host) -> None:
    """A command after a bus reset, 256 ms later by the general purpose timer: UNIT ATTENTION."""
    r.write(SIEN1, 0x02)
    r.write(STIME1, 0x0C)
    r.poll(ISTAT, SIP, SIP)
    r.read(SIST0)
    r.read(SIST1)
    r.write(STIME1, 0x00)
    r.write(SIEN1, 0x00)
    unit_attention(r)


def masked(r: Host) -> None:
    """Causes show in ISTAT whether they are enabled or not; they clear when they are read."""
    r.write(DIEN, 0)
    r.put(PROGRAM, words((INT, 0x600D)))
    start(r)
    r.poll(ISTAT, DIP, DIP)
    r.read(ISTAT)
    r.read(DIEN)
    r.read(DSTAT)
    r.read(ISTAT)
    r.read(DSTAT)


EXCHANGES: dict[str, Exchange] = {
    "registers": ((), registers),
    "set-up": ((), set_up),
    "unit-attention": (("set-up",), unit_attention),
    "inquiry": (("set-up", "unit-attention"), inquiry),
    "dispatched": (("set-up", "unit-attention"), dispatched),
    "table": (("set-up", "unit-attention"), table),
    "lun-1": (("set-up", "unit-attention"), lun_1),
    "absent": (("set-up",), absent),
    "intfly": (("set-up",), intfly),
    "illegal": (("set-up",), illegal),
    "load-store": (("set-up",), load_store),
    "register-moves": (("set-up",), register_moves),
    "jumps": (("set-up",), jumps),
    "signal-process": (("set-up",), signal_process),
    "abort": (("set-up",), abort),
    "stepping": (("set-up",), stepping),
    "mismatch-jump": (("set-up", "unit-attention"), mismatch_jump),
    "bus-reset": (("set-up", "unit-attention"), bus_reset),
    "after-bus-reset": (("set-up", "unit-attention", "bus-reset"), after_bus_reset),
    "masked": (("set-up",), masked),
}

RECORDING = Recording(AdapterSpec("lsi53c895a", 0x1000, 0x0012), bar=1, size=1, command=0x0007,
                      disk_bytes=1 << 30, exchanges=EXCHANGES)
