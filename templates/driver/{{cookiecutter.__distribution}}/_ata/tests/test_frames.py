"""Memory layouts against offsets and bytes written out as literals."""

from __future__ import annotations

from ddsdk.abi import WIRE_LE
from {{cookiecutter.__package}}.frames import LAST, REGION_BYTES, Prd, regions

#: 4 KiB at 0x12345000, more follows; 64 KiB at 0x20000, the last one.
TABLE = bytes.fromhex("00503412 0010 0000 00000200 0000 0080")


def test_offsets() -> None:
    """Offset of every member."""
    entry = Prd.on(WIRE_LE)
    assert {field.name: field.offset for field in entry.fields} == {"ADDRESS": 0, "COUNT": 4, "FLAGS": 6}
    assert entry.size == 8


def test_a_table() -> None:
    """What the driver packs is the vector, byte by byte; 64 KiB is 0."""
    entries = (Prd(ADDRESS=0x12345000, COUNT=0x1000), Prd(ADDRESS=0x20000, COUNT=REGION_BYTES % 0x10000, FLAGS=LAST))
    assert b"".join(Prd.on(WIRE_LE).pack(entry) for entry in entries) == TABLE
    assert Prd.on(WIRE_LE).unpack(TABLE, 8) == entries[1]


def test_no_region_crosses_64_kib() -> None:
    """A segment is cut at every multiple; one that ends there is not."""
    assert list(regions([(0x1F000, 0x22000), (0x40000, 0x10000)])) == [
        (0x1F000, 0x1000), (0x20000, 0x10000), (0x30000, 0x10000), (0x40000, 0x1000), (0x40000, 0x10000)]
    assert list(regions([])) == []
