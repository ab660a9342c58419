"""The assembler: each row of its table against the words the manual's encoding gives, and lines it refuses."""

from __future__ import annotations

import pytest

from ddsdk_sym53c8xx.assembler import INSTRUCTIONS, AssemblyError, assemble

#: A line, its words.
LINES = {
    "MOVE FROM 0x20, WHEN DATA_IN": (0x1900_0000, 0x20),
    "MOVE MEMORY 4, 0x100, 0x200": (0xC000_0004, 0x100, 0x200),
    "MOVE 1, PTR 0x300, WHEN STATUS": (0x2B00_0001, 0x300),
    "MOVE 0xFFFFFF, 0x400, WHEN DATA_OUT": (0x08FF_FFFF, 0x400),
    "MOVE 16384, 0x00400000, WHEN DATA_IN": (0x0900_4000, 0x0040_0000),
    "MOVE 1, here, WHEN MSG_IN": (0x0F00_0001, 0x1000),
    "SELECT ATN FROM 0, here": (0x4300_0000, 0x1000),
    "SELECT FROM 8, here": (0x4200_0008, 0x1000),
    "SELECT ATN 5, here+16": (0x4105_0000, 0x1010),
    "SELECT 5, here": (0x4005_0000, 0x1000),
    "WAIT DISCONNECT": (0x4800_0000, 0),
    "WAIT RESELECT here": (0x5000_0000, 0x1000),
    "SET ATN": (0x5800_0008, 0),
    "SET CARRY AND ATN": (0x5800_0408, 0),
    "CLEAR ACK": (0x6000_0040, 0),
    "MOVE SFBR TO SCRATCHA1": (0x6A35_0000, 0),
    "MOVE SFBR & 0x0F TO SCRATCHA0": (0x6C34_0F00, 0),
    "MOVE SCRATCHA0 + 1 TO SFBR": (0x7634_0100, 0),
    "MOVE SCNTL2 & 0x7F TO SCNTL2": (0x7C02_7F00, 0),
    "MOVE SCNTL1 | 0x10 TO SCNTL1": (0x7A01_1000, 0),
    "MOVE SCRATCHB3 XOR 0xFF TO SCRATCHB3": (0x7B5F_FF00, 0),
    "READ CTEST2": (0x721A_0000, 0),
    "MOVE 0x5A TO TEMP0": (0x781C_5A00, 0),
    "NOP": (0x8000_0000, 0),
    "JUMP here": (0x8008_0000, 0x1000),
    "JUMP here, WHEN MSG_IN": (0x870B_0000, 0x1000),
    "JUMP here, WHEN NOT COMMAND": (0x8203_0000, 0x1000),
    "JUMP here, IF DATA_OUT": (0x800A_0000, 0x1000),
    "JUMP here, IF NOT STATUS": (0x8302_0000, 0x1000),
    "JUMP here, IF 4": (0x800C_0004, 0x1000),
    "JUMP here, IF NOT 0x80 AND MASK 0x7F": (0x8004_7F80, 0x1000),
    "CALL here": (0x8808_0000, 0x1000),
    "RETURN": (0x9008_0000, 0),
    "RETURN, IF DATA_IN": (0x910A_0000, 0),
    "INTFLY 0x1F1F": (0x9818_0000, 0x1F1F),
    "INT 0x600D": (0x9808_0000, 0x600D),
    "INT 7, IF NOT 0": (0x9804_0000, 7),
    "LOAD SCRATCHA0, 4, 0x00400000": (0xE134_0004, 0x0040_0000),
    "STORE SCRATCHA0, 4, 0x00400010": (0xE034_0004, 0x0040_0010),
    "DATA 0x12345678": (0x1234_5678,),
}
REFUSED = {
    "HALT": "is no instruction",
    "MOVE 1, here, WHEN NOON": "'NOON' is no phase",
    "JUMP nowhere": "'nowhere' is no label and no symbol",
    "MOVE 0x1000000, here, WHEN DATA_IN": "is more than 0xffffff",
    "SELECT 16, here": "is more than 0xf",
    "MOVE 256 TO SCRATCHA0": "is more than 0xff",
    "MOVE 1 TO SCRATCHA": "'SCRATCHA' is no register of one byte",
    "MOVE SCNTL2 & 1 TO SCNTL1": "the result goes into SCNTL2 or SFBR",
    "JUMP here, WHEN 5": "'5' is no phase; WHEN waits for one",
    "SET REQ": "'REQ' is no line",
    "LOAD SCRATCHA0, 5, 0": "is more than 0x4",
    "here: NOP": "here is there already",
}


@pytest.mark.parametrize("line", LINES)
def test_line(line: str) -> None:
    """What one line becomes, at 0x1000 where its label is `here`."""
    assert assemble(f"here: {line}", 0x1000).words == LINES[line]


def test_every_row_is_tried() -> None:
    """No instruction of the table without a line above."""
    tried = {row.syntax for row in INSTRUCTIONS for line in LINES if row.pattern.fullmatch(line)}
    assert tried == {row.syntax for row in INSTRUCTIONS}


@pytest.mark.parametrize("line", REFUSED)
def test_refused(line: str) -> None:
    """The line number and what is wrong with it."""
    with pytest.raises(AssemblyError, match="line 2: ") as raised:
        assemble(f"here: NOP\n{line}", 0)
    assert REFUSED[line] in str(raised.value)


def test_labels_symbols_comments() -> None:
    """Labels count words, several may name one place, symbols come from outside, `;` begins a comment."""
    code = assemble("""
        ; nothing
        first: second: MOVE MEMORY 4, buffer, buffer+4     ; three words
        third:
                JUMP first
        """, 0x2000, {"buffer": 0x500})
    assert code.labels == {"first": 0x2000, "second": 0x2000, "third": 0x200C}
    assert code.words == (0xC000_0004, 0x500, 0x504, 0x8008_0000, 0x2000)
    assert (code.size, bytes(code)[:4]) == (20, b"\x04\x00\x00\xC0")


def test_the_dispatching_vector() -> None:
    """The spec's dispatcher, written as a program: word for word vector sym-dispatch."""
    code = assemble("""
                SELECT ATN 0, reselected
                MOVE 1, identify, WHEN MSG_OUT
                MOVE 10, cdb, WHEN COMMAND
        again:  JUMP message, WHEN MSG_IN
                JUMP out, IF DATA_OUT
                JUMP in, IF DATA_IN
                JUMP status_, IF STATUS
                INT 0xBAD0
        out:    MOVE 16384, data, WHEN DATA_OUT
                JUMP again
        in:     MOVE 16384, data, WHEN DATA_IN
                JUMP again
        status_: MOVE 1, status, WHEN STATUS
                JUMP again
        message: MOVE 1, msg, WHEN MSG_IN
                JUMP complete, IF 0
                JUMP gone, IF 4
                CLEAR ACK
                JUMP again
        gone:   CLEAR ACK
                WAIT DISCONNECT
                WAIT RESELECT signalled
        reselected: MOVE 1, msg, WHEN MSG_IN
                CLEAR ACK
                JUMP again
        complete: CLEAR ACK
                WAIT DISCONNECT
                INT 0x600D
        signalled: INT 0x519B
        """, 0x20_0000, {"identify": 0x21_0000, "cdb": 0x21_0010, "status": 0x21_0020, "msg": 0x21_0030,
                         "data": 0x40_0000})
    vector = """
        41000000 002000b0 0e000001 00210000 0a00000a 00210010 870b0000 00200070 800a0000 00200040 810a0000 00200050
        830a0000 00200060 98080000 0000bad0 08004000 00400000 80080000 00200018 09004000 00400000 80080000 00200018
        0b000001 00210020 80080000 00200018 0f000001 00210030 800c0000 002000c8 800c0004 00200098 60000040 00000000
        80080000 00200018 60000040 00000000 48000000 00000000 50000000 002000e0 0f000001 00210030 60000040 00000000
        80080000 00200018 60000040 00000000 48000000 00000000 98080000 0000600d 98080000 0000519b"""
    assert code.words == tuple(int(word, 16) for word in vector.split())
