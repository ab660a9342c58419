"""The bus master's table: layout of an entry, regions cut at multiples of 64 KiB."""

from __future__ import annotations

import pytest

from ddsdk.abi import WIRE_LE
from ddsdk_ide.adapter import MAX_SECTORS, PRD_BYTES, PRD_ENTRIES, SG_TABLESIZE
from ddsdk_ide.frames import EOT, REGION_BYTES, Prd, regions


def test_layout_of_an_entry() -> None:
    """Offsets and size, little-endian."""
    layout = Prd.on(WIRE_LE)
    assert {name: layout.offsetof(name) for name in ("ADDRESS", "COUNT", "FLAGS")} == {
        "ADDRESS": 0, "COUNT": 4, "FLAGS": 6}
    assert (layout.size, PRD_BYTES, EOT, REGION_BYTES) == (8, 8, 0x8000, 0x10000)


def test_vector_of_a_table() -> None:
    """hw-ide.md V1: two regions of 8 KiB."""
    layout = Prd.on(WIRE_LE)
    entries = [Prd(ADDRESS=0x40_0000, COUNT=0x2000, FLAGS=0), Prd(ADDRESS=0x40_2000, COUNT=0x2000, FLAGS=EOT)]
    assert b"".join(layout.pack(entry) for entry in entries).hex() == "0000400000200000" "0020400000200080"


@pytest.mark.parametrize(("segments", "cut"), [
    ([(0x1000, 0x1000)], [(0x1000, 0x1000)]),
    ([(0x1_0000, 0x1_0000)], [(0x1_0000, 0x1_0000)]),
    ([(0xF000, 0x2000)], [(0xF000, 0x1000), (0x1_0000, 0x1000)]),
    ([(0xFFFE, 4), (0x2_0000, 2)], [(0xFFFE, 2), (0x1_0000, 2), (0x2_0000, 2)]),
    ([(0x8000, 0x2_8000)], [(0x8000, 0x8000), (0x1_0000, 0x1_0000), (0x2_0000, 0x1_0000)]),
    ([], []),
])
def test_regions(segments: list[tuple[int, int]], cut: list[tuple[int, int]]) -> None:
    """No region crosses a multiple of 64 KiB, whatever the segments do."""
    assert list(regions(segments)) == cut


def test_the_table_holds_any_scatter_list() -> None:
    """A page of table, for as many segments as promised, each over one boundary more than its length has."""
    assert (PRD_ENTRIES, SG_TABLESIZE, MAX_SECTORS) == (512, 248, 2048)
    length = MAX_SECTORS * 512 // SG_TABLESIZE // 2 * 2
    worst = [((n + 1) * 0x2_0000 - length // 4 * 2, length) for n in range(SG_TABLESIZE)]
    assert len(list(regions(worst))) == 2 * SG_TABLESIZE <= PRD_ENTRIES
