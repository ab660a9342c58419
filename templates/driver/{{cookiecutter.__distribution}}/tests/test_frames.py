"""Memory layouts against offsets and bytes written out as literals."""

from __future__ import annotations

from ddsdk.abi import WIRE_LE
from {{cookiecutter.__package}}.frames import (
    BLOCK_BYTES,
    STATUS_OFFSET,
    Direction,
    Outcome,
    RequestBlock,
    ScatterElement,
    StatusBlock,
)

#: READ(10) of 8 sectors at 0x12345 to id 3, LUN 0: the tag's use 2 of request 5, one segment.
READ = bytes.fromhex(
    "05020000 0300020a 28000001 23450000 08000000 00000000"
    "00100000 01006000 00104000 00000000 00504000 01000000")
#: CHECK CONDITION with 18 bytes of sense data, nothing moved.
CHECK = bytes.fromhex("00021200 00000000 00000000 00000000")


def test_offsets() -> None:
    """Offset of every member."""
    block, status, element = RequestBlock.on(WIRE_LE), StatusBlock.on(WIRE_LE), ScatterElement.on(WIRE_LE)
    assert {field.name: field.offset for field in block.fields} == {
        "TAG": 0, "ID": 4, "LUN": 5, "DIRECTION": 6, "CDB_LENGTH": 7, "CDB": 8, "LENGTH": 24, "SEGMENTS": 28,
        "SENSE_LENGTH": 30, "RESERVED": 31, "LIST": 32, "SENSE": 40}
    assert {field.name: field.offset for field in status.fields} == {
        "OUTCOME": 0, "SCSI_STATUS": 1, "SENSE_COUNT": 2, "Reserved1": 3, "MOVED": 4, "Reserved2": 8}
    assert {field.name: field.offset for field in element.fields} == {"ADDRESS": 0, "LENGTH": 8, "RESERVED": 12}
    assert (block.size, STATUS_OFFSET, status.size, BLOCK_BYTES, element.size) == (48, 48, 16, 64, 16)


def test_a_request_block() -> None:
    """What the driver packs is the vector, byte by byte."""
    made = RequestBlock(TAG=0x205, ID=3, DIRECTION=Direction.FROM_DEVICE, CDB_LENGTH=10,
                        CDB=bytes.fromhex("28000001234500000800").ljust(16, b"\0"), LENGTH=4096, SEGMENTS=1,
                        SENSE_LENGTH=96, LIST=0x401000, SENSE=0x1_0040_5000)
    assert RequestBlock.on(WIRE_LE).pack(made) == READ
    assert RequestBlock.on(WIRE_LE).unpack(READ) == made


def test_a_status_block() -> None:
    """What the adapter writes is read as it was meant."""
    status = StatusBlock.on(WIRE_LE).unpack(CHECK)
    assert (status.OUTCOME, status.SCSI_STATUS, status.SENSE_COUNT, status.MOVED) == (Outcome.ENDED, 0x02, 18, 0)


def test_a_scatter_element_above_4_gib() -> None:
    """64 bits of address, 32 of length, 32 of zeros."""
    element = ScatterElement(ADDRESS=0x1_4000_2000, LENGTH=0x3000)
    assert ScatterElement.on(WIRE_LE).pack(element) == bytes.fromhex("00200040 01000000 00300000 00000000")
