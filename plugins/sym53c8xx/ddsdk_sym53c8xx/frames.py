"""What lies in memory: the table of one command, its pieces of SCRIPTS, messages, status; instructions from insn.py.

A command block is what DSA points to while its command is on the bus: 1 KiB, aligned, 64 of them in 64 KiB that are
aligned too.  So bits 15..8 of its address are the command's tag, and SCRIPTS find a block from a tag without
arithmetic.

Sources: SCSI-2 (X3.131-1994) 6.6, messages; LSI53C895A Technical Manual v2.2, 5.2, table indirect entries.  The
block is ours.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ddsdk.layout import CStruct, array, c_struct, nested, raw, u8, u32

from .insn import (
    COUNT_MAX,
    INSN_BYTES,
    MEMORY_MOVE_BYTES,
    WORD_BYTES,
    BlockMove,
    DirectSelect,
    Io,
    Kind,
    MemoryInsn,
    Operator,
    RegisterInsn,
    RegisterMove,
    SelectEntry,
    TableSelect,
    Transfer,
    TransferInsn,
    signed24,
)
from .reg_fields import Phase

__all__ = [
    "BLOCKS", "BLOCK_BYTES", "COUNT_MAX", "INSN_BYTES", "MEMORY_MOVE_BYTES", "SEGMENTS", "TAG_MASK", "TAG_STEP",
    "WORD_BYTES", "BlockMove", "CommandBlock", "DirectSelect", "Io", "Kind", "MemoryInsn", "Message", "Operator",
    "Phase", "RegisterInsn", "RegisterMove", "SelectEntry", "TableEntry", "TableSelect", "Transfer", "TransferInsn",
    "signed24",
]

#: Data segments of one command.
SEGMENTS: Final = 92
#: Command blocks, and the tags they have: 0, 4, 8, ... 252.
BLOCKS: Final = 64
TAG_STEP: Final = 4
TAG_MASK: Final = 0xFC


class Message(IntEnum):
    """SCSI messages (SCSI-2, table 10)."""

    COMMAND_COMPLETE = 0x00
    EXTENDED = 0x01
    SAVE_DATA_POINTER = 0x02
    RESTORE_POINTERS = 0x03
    DISCONNECT = 0x04
    INITIATOR_DETECTED_ERROR = 0x05
    ABORT = 0x06
    MESSAGE_REJECT = 0x07
    NO_OPERATION = 0x08
    MESSAGE_PARITY_ERROR = 0x09
    BUS_DEVICE_RESET = 0x0C
    ABORT_TAG = 0x0D
    CLEAR_QUEUE = 0x0E
    SIMPLE_QUEUE_TAG = 0x20
    HEAD_OF_QUEUE_TAG = 0x21
    ORDERED_QUEUE_TAG = 0x22
    IGNORE_WIDE_RESIDUE = 0x23
    IDENTIFY = 0x80                 # | DISCONNECT_PRIVILEGE | lun
    DISCONNECT_PRIVILEGE = 0x40     # bit of IDENTIFY


@c_struct
class TableEntry(CStruct):
    """What a table indirect move reads.  `count` 31..24: bits 39..32 of the address, with CCNTL1 saying so."""

    count: int = u32()
    address: int = u32()


@c_struct
class CommandBlock(CStruct):
    """One command.  The pieces of SCRIPTS (raw members) are entered by JUMP or RETURN from the common program."""

    select: int = u32()                                             # SelectEntry
    next: int = u32()                                               # the start queue's slot after this command's
    msgout: TableEntry = nested(TableEntry)
    cdb: TableEntry = nested(TableEntry)
    status: TableEntry = nested(TableEntry)
    rest0: TableEntry = nested(TableEntry)                          # what is left of a move that was interrupted
    rest1: TableEntry = nested(TableEntry)
    launch: bytes = raw(3 * INSN_BYTES)                             # becomes current, goes to select
    advance: bytes = raw(MEMORY_MOVE_BYTES + INSN_BYTES)            # selected: the next slot is the start position
    resume: bytes = raw(5 * INSN_BYTES)                             # reselected: is this really the one?
    data: bytes = raw(INSN_BYTES)                                   # to the saved data pointer
    over: bytes = raw(INSN_BYTES)                                   # more data than the list has
    rest0_code: bytes = raw(2 * INSN_BYTES)                         # moves rest0, and on
    rest1_code: bytes = raw(2 * INSN_BYTES)
    all_moved: bytes = raw(MEMORY_MOVE_BYTES + INSN_BYTES)          # sets `moved`
    save_over: bytes = raw(MEMORY_MOVE_BYTES + INSN_BYTES)          # the saved pointer becomes the list's end
    finish: bytes = raw(MEMORY_MOVE_BYTES + INSN_BYTES)             # sets `done`
    cdb_bytes: bytes = raw(16)
    msgout_bytes: bytes = raw(8)
    status_byte: int = u8()
    spare: bytes = raw(15)
    moved: int = u32()                                              # the list was moved to its end
    done: int = u32()                                               # the command is over, with status GOOD
    segments: tuple[TableEntry, ...] = array(TableEntry, SEGMENTS)


BLOCK_BYTES: Final = 1024
