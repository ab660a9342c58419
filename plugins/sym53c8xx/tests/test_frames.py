"""The command block: where everything lies, and how SCRIPTS words are put together."""

from __future__ import annotations

from ddsdk.abi import WIRE_LE
from ddsdk_sym53c8xx import frames
from ddsdk_sym53c8xx.frames import (
    BLOCK_BYTES,
    BLOCKS,
    SEGMENTS,
    TAG_STEP,
    BlockMove,
    CommandBlock,
    Message,
    RegisterInsn,
    SelectEntry,
    TableEntry,
    TableSelect,
    TransferInsn,
    signed24,
)

LAYOUT = CommandBlock.on(WIRE_LE)
OFFSETS = {
    "select": 0x00, "next": 0x04, "msgout": 0x08, "cdb": 0x10, "status": 0x18, "rest0": 0x20, "rest1": 0x28,
    "launch": 0x30, "advance": 0x48, "resume": 0x5C, "data": 0x84, "over": 0x8C, "rest0_code": 0x94,
    "rest1_code": 0xA4, "all_moved": 0xB4, "save_over": 0xC8, "finish": 0xDC, "cdb_bytes": 0xF0,
    "msgout_bytes": 0x100, "status_byte": 0x108, "spare": 0x109, "moved": 0x118, "done": 0x11C, "segments": 0x120,
}


def test_command_block() -> None:
    """Every member's offset; the block fills its kilobyte; code is within the first 256 bytes, where a tag's byte in
    TEMP reaches it."""
    assert {name: LAYOUT.offsetof(name) for name in OFFSETS} == OFFSETS
    assert LAYOUT.size == BLOCK_BYTES == 1024
    assert OFFSETS["segments"] + SEGMENTS * TableEntry.on(WIRE_LE).size == BLOCK_BYTES
    assert OFFSETS["finish"] < 0x100


def test_tags_are_addresses() -> None:
    """Bits 15..8 of a block's address, in a pool aligned to 64 KiB: the tag."""
    assert [n * BLOCK_BYTES >> 8 & 0xFF for n in range(BLOCKS)] == [n * TAG_STEP for n in range(BLOCKS)]
    assert BLOCKS * BLOCK_BYTES == 1 << 16


def test_words() -> None:
    """Instructions as the spec's vectors have them."""
    assert BlockMove.of(OPC=1, PHASE=frames.Phase.MSG_OUT, COUNT=1) == 0x0E00_0001
    assert BlockMove.of(OPC=1, TABLE=1, PHASE=frames.Phase.DATA_IN) == 0x1900_0000
    assert TableSelect.of(KIND=1, TABLE=1, ATN=1) == 0x4300_0000
    assert RegisterInsn.of(KIND=1, OPCODE=7, OPERATOR=4, REGISTER=2, DATA=0x7F) == 0x7C02_7F00
    assert TransferInsn.of(KIND=2, OPCODE=3, IF_TRUE=1) == 0x9808_0000
    assert TransferInsn.of(KIND=2, IF_TRUE=1, COMPARE_PHASE=1, WAIT=1, PHASE=7) == 0x870B_0000
    assert SelectEntry.of(SCNTL3=3, ID=5, SXFER=0x12) == 0x0305_1200


def test_signed_offsets() -> None:
    """24 bits, the highest of them negative."""
    assert [signed24(value) for value in (0, 8, 0x7F_FFFF, 0x80_0000, 0xFF_FFFF)] == [0, 8, 0x7F_FFFF, -0x80_0000, -1]


def test_messages() -> None:
    """SCSI-2, table 10."""
    assert {message.name: int(message) for message in Message} == {
        "COMMAND_COMPLETE": 0x00, "EXTENDED": 0x01, "SAVE_DATA_POINTER": 0x02, "RESTORE_POINTERS": 0x03,
        "DISCONNECT": 0x04, "INITIATOR_DETECTED_ERROR": 0x05, "ABORT": 0x06, "MESSAGE_REJECT": 0x07,
        "NO_OPERATION": 0x08, "MESSAGE_PARITY_ERROR": 0x09, "BUS_DEVICE_RESET": 0x0C, "ABORT_TAG": 0x0D,
        "CLEAR_QUEUE": 0x0E, "SIMPLE_QUEUE_TAG": 0x20, "HEAD_OF_QUEUE_TAG": 0x21, "ORDERED_QUEUE_TAG": 0x22,
        "IGNORE_WIDE_RESIDUE": 0x23, "DISCONNECT_PRIVILEGE": 0x40, "IDENTIFY": 0x80}
