"""SCRIPTS instructions: the first word of each kind, as the data sheet draws it.

An instruction is two little-endian words, a memory move three.  Word 1 is an address, a table offset or an INT code.

Source: LSI53C895A Technical Manual v2.2, chapter 5; Linux 2.6.9 sym_defs.h (SCR_*).
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ddsdk.regs import Reg32, bit, bits

from .reg_fields import Phase

WORD_BYTES: Final = 4
INSN_BYTES: Final = 8
MEMORY_MOVE_BYTES: Final = 12
#: The largest count of a block or memory move.
COUNT_MAX: Final = (1 << 24) - 1
OFFSET_SIGN: Final = 1 << 23


class Kind(IntEnum):
    """Bits 31 and 30."""

    BLOCK_MOVE = 0
    IO_OR_REGISTER = 1
    TRANSFER_CONTROL = 2
    MEMORY = 3


class Io(IntEnum):
    """Bits 29 to 27 of an I/O instruction, as initiator."""

    SELECT = 0
    WAIT_DISCONNECT = 1
    WAIT_RESELECT = 2
    SET = 3
    CLEAR = 4


class RegisterMove(IntEnum):
    """Bits 29 to 27 of a register instruction."""

    FROM_SFBR = 5           # register := SFBR op data
    TO_SFBR = 6             # SFBR := register op data
    MODIFY = 7              # register := register op data


class Operator(IntEnum):
    """Bits 26 to 24 of a register instruction."""

    MOVE = 0                # the data byte itself, FROM_SFBR too
    SHL = 1
    OR = 2
    XOR = 3
    AND = 4
    SHR = 5
    ADD = 6
    ADC = 7


class Transfer(IntEnum):
    """Bits 29 to 27 of a transfer control instruction."""

    JUMP = 0
    CALL = 1
    RETURN = 2
    INT = 3


class BlockMove(Reg32):
    """MOVE: bytes between the bus and memory, in one phase."""

    KIND = bits(31, 30, Kind)
    INDIRECT = bit(29)              # word 1 is the address of the address
    TABLE = bit(28)                 # word 1 is a signed offset from DSA; there: count, address
    OPC = bit(27)                   # 1: MOVE, 0: CHMOV (initiator)
    PHASE = bits(26, 24, Phase)
    COUNT = bits(23, 0)


class TableSelect(Reg32):
    """SELECT with its id and clocks in a table."""

    KIND = bits(31, 30, Kind)
    OPCODE = bits(29, 27, Io)
    RELATIVE = bit(26)
    TABLE = bit(25)
    ATN = bit(24)
    OFFSET = bits(23, 0)


class DirectSelect(Reg32):
    """SELECT with its id in the instruction, WAIT DISCONNECT, WAIT RESELECT, SET, CLEAR."""

    KIND = bits(31, 30, Kind)
    OPCODE = bits(29, 27, Io)
    RELATIVE = bit(26)
    TABLE = bit(25)
    ATN = bit(24)
    ID = bits(19, 16)
    CARRY = bit(10)
    TARGET = bit(9)
    ACK = bit(6)
    SET_ATN = bit(3)


class RegisterInsn(Reg32):
    """Register read, write and modify."""

    KIND = bits(31, 30, Kind)
    OPCODE = bits(29, 27, RegisterMove)
    OPERATOR = bits(26, 24, Operator)
    USE_SFBR = bit(23)              # MODIFY: SFBR instead of the data byte
    REGISTER = bits(22, 16)
    DATA = bits(15, 8)
    REGISTER_7 = bit(7)             # bit 7 of the register's offset


class TransferInsn(Reg32):
    """JUMP, CALL, RETURN, INT, INTFLY.

    Without any comparison IF_TRUE decides: 1 always, 0 never (no operation).
    """

    KIND = bits(31, 30, Kind)
    OPCODE = bits(29, 27, Transfer)
    PHASE = bits(26, 24, Phase)
    RELATIVE = bit(23)
    CARRY = bit(21)                 # compare the carry bit
    ON_THE_FLY = bit(20)            # INT: set ISTAT0.INTF and go on
    IF_TRUE = bit(19)
    COMPARE_DATA = bit(18)
    COMPARE_PHASE = bit(17)
    WAIT = bit(16)                  # for a valid phase first
    MASK = bits(15, 8)              # bits of SFBR that do not count
    DATA = bits(7, 0)


class MemoryInsn(Reg32):
    """Memory to memory move (three words), LOAD and STORE (two)."""

    KIND = bits(31, 30, Kind)
    LOAD_STORE = bit(29)
    DSA_RELATIVE = bit(28)
    NO_FLUSH = bit(25)              # LOAD, STORE
    LOAD = bit(24)                  # memory move: no flush of the prefetch unit
    REGISTER = bits(23, 16)
    LENGTH = bits(2, 0)


class SelectEntry(Reg32):
    """The dword a table SELECT reads."""

    SCNTL3 = bits(31, 24)
    ID = bits(19, 16)
    SXFER = bits(15, 8)
    SCNTL4 = bits(7, 0)             # 53C1010


def signed24(offset: int) -> int:
    """A 24-bit offset with its sign."""
    return (offset & (OFFSET_SIGN - 1)) - (offset & OFFSET_SIGN)
