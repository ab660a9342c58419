"""Physical memory: extents, views, the reserve."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from ddsdk.errors import AllocationFault, HardwareFault, UsageError
from ddsdk.sim.memory import GIB4, PCI_HOLE_PADDR, Extent, PhysicalMemory, reserve_paddr

MIB = 1 << 20


def ram(paddr: int, size: int, fill: int = 0) -> Extent:
    """An extent of writable bytes."""
    return Extent(paddr, memoryview(bytearray([fill]) * size))


def test_view_is_the_memory_itself() -> None:
    """Writing through a view changes memory; reading sees it."""
    memory = PhysicalMemory.anonymous(MIB)
    memory.view(0x1000, 4)[:] = b"abcd"
    assert memory.read(0x0FFE, 8) == b"\0\0abcd\0\0"
    memory.write(0x1002, b"XY")
    assert bytes(memory.view(0x1000, 4)) == b"abXY"


def test_view_stays_inside_one_extent_and_views_cross_adjacent_ones() -> None:
    """view() refuses to cross a boundary that views() crosses."""
    memory = PhysicalMemory([ram(0, 0x1000, 1), ram(0x1000, 0x1000, 2), ram(0x8000, 0x1000, 3)])
    with pytest.raises(HardwareFault, match=r"32 bytes at 0xff0 run past the extent 0x0-0x1000; use views\(\)"):
        memory.view(0xFF0, 32)
    assert [bytes(v) for v in memory.views(0xFFE, 4)] == [b"\1\1", b"\2\2"]
    memory.write(0xFFF, b"zz")
    assert memory.read(0xFFE, 4) == b"\1zz\2"
    assert bytes(memory.view(0x8000, 1)) == b"\3"


def test_hole_is_a_fault_that_names_the_nearest_memory() -> None:
    """Holes between, below and above the extents have no bytes."""
    memory = PhysicalMemory([ram(0x1000, 0x1000), ram(0x8000, 0x1000)])
    with pytest.raises(HardwareFault, match=r"4 bytes at 0x2100 are in a hole; the nearest memory is 0x1000-0x2000"):
        memory.view(0x2100, 4)
    memory.view(0x1800, 4)
    for inside_by_mistake in (memory.view, memory.views):
        with pytest.raises(HardwareFault, match="in a hole"):
            inside_by_mistake(0, 4)
    with pytest.raises(HardwareFault, match="in a hole"):
        memory.views(0x8FFE, 4)
    with pytest.raises(HardwareFault):
        memory.view(0x1800, -1)


def test_extent_at_finds_the_extent_or_none() -> None:
    """Bounds are [paddr, end)."""
    one = ram(0x1000, 0x1000)
    memory = PhysicalMemory([one])
    assert memory.extent_at(0x0FFF) is None
    assert memory.extent_at(0x1000) is one
    assert memory.extent_at(0x1FFF) is one
    assert memory.extent_at(0x2000) is None


def test_many_extents() -> None:
    """A thousand scattered extents are each found, in any order of access."""
    memory = PhysicalMemory([ram(n * 0x10000, 0x100, n & 0xFF) for n in reversed(range(1_000))])
    for n in (999, 0, 500, 1, 998):
        assert bytes(memory.view(n * 0x10000 + 0x10, 2)) == bytes([n & 0xFF]) * 2
    assert memory.ram_bytes == 1_000 * 0x100


def test_overlapping_extents_are_refused() -> None:
    """Two extents may touch but not share a byte."""
    PhysicalMemory([ram(0, 0x1000), ram(0x1000, 0x1000)])
    with pytest.raises(UsageError, match=r"0x0-0x1000 overlaps the one at 0xfff-0x1fff"):
        PhysicalMemory([ram(0xFFF, 0x1000), ram(0, 0x1000)])


def test_read_only_backing_cannot_be_written(tmp_path: Path) -> None:
    """A dump's source mapped read-only gives read-only views, and write() is a HardwareFault."""
    path = tmp_path / "ram.img"
    path.write_bytes(b"R" * 8192)
    with path.open("rb") as file:
        image = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    memory = PhysicalMemory([Extent(0, memoryview(image))])
    assert memory.read(4096, 2) == b"RR"
    assert memory.view(0, 16).readonly
    assert memory.extents[0].read_only
    with pytest.raises(HardwareFault, match=r"write of 3 bytes at 0x10, which is backed by a read-only file"):
        memory.write(0x10, b"abc")


def test_wide_views_are_taken_as_bytes() -> None:
    """A memoryview of words counts bytes, not words."""
    memory = PhysicalMemory([Extent(0, memoryview(bytearray(64)).cast("I"))])
    assert memory.extents[0].size == 64
    memory.write(60, b"tail")
    assert memory.read(60, 4) == b"tail"


def test_drop_reaches_the_backing_of_each_extent_with_its_part() -> None:
    """drop() clips the range to every extent that has a hook."""
    told: list[tuple[str, int, int]] = []
    memory = PhysicalMemory([
        Extent(0, memoryview(bytearray(0x1000)), drop=lambda a, n: told.append(("low", a, n))),
        ram(0x1000, 0x1000),
        Extent(0x2000, memoryview(bytearray(0x1000)), drop=lambda a, n: told.append(("high", a, n)))])
    memory.drop(0x800, 0x2000)
    assert told == [("low", 0x800, 0x800), ("high", 0x2000, 0x800)]


@pytest.mark.parametrize(("extents", "paddr"), [
    ([(0, 64 * MIB)], PCI_HOLE_PADDR - 16 * MIB),
    ([(0, 3 << 30), (GIB4, 1 << 30)], PCI_HOLE_PADDR - 16 * MIB),
    ([(0, PCI_HOLE_PADDR - MIB)], GIB4 - 16 * MIB),                     # only the PCI hole is left
    ([(0, 0xE000_0000), (0xE800_0000, 0x0800_0000)], 0xE800_0000 - 16 * MIB),   # a gap below the top
    ([(0, 6 << 30)], 6 << 30),                                          # no hole: above the RAM
    ([(0, (8 << 30) - MIB)], 8 << 30),                                  # ... not across a 4 GiB boundary
    ([(32 * MIB, GIB4 - 32 * MIB)], 16 * MIB),                          # below the RAM
])
def test_reserve_goes_into_a_gap(extents: list[tuple[int, int]], paddr: int) -> None:
    """The reserve lies below 4 GiB where it can, overlaps no RAM, and never starts at 0."""
    # only addresses matter: a stand-in for gigabytes of memory
    class Wide:
        def __init__(self, start: int, size: int) -> None:
            self.paddr, self.end = start, start + size

    assert reserve_paddr([Wide(*e) for e in extents], 16 * MIB) == paddr  # type: ignore[misc]


def test_machine_without_reserve_gets_one() -> None:
    """PhysicalMemory adds one reserve extent; a given one is used instead."""
    memory = PhysicalMemory([ram(0, MIB)], reserve_bytes=MIB)
    assert [(e.paddr, e.size, e.kind) for e in memory.extents] == [
        (0, MIB, "ram"), (PCI_HOLE_PADDR - MIB, MIB, "reserve")]
    own = Extent(0x4000_0000, memoryview(bytearray(8192)), "reserve")
    assert PhysicalMemory([ram(0, MIB), own]).reserve.extent is own
    assert memory.ram_bytes == MIB


def test_allocator_aligns_zeroes_and_merges() -> None:
    """alloc() gives zeroed, aligned memory; freed pieces become one again."""
    memory = PhysicalMemory.anonymous(MIB, reserve_bytes=0x10000)
    base = memory.reserve.extent.paddr
    first = memory.reserve.alloc(100)
    second = memory.reserve.alloc(0x1000, align=0x1000)
    third = memory.reserve.alloc(64)
    assert (first, second, third) == (base, base + 0x1000, base + 128)
    memory.write(second, b"dirty")
    memory.reserve.free(second)
    assert memory.reserve.alloc(0x1000, align=0x1000) == second
    assert memory.read(second, 5) == bytes(5)
    memory.write(second, b"dirty")
    memory.reserve.free(second)
    assert memory.reserve.alloc(0x1000, align=0x1000, clear=False) == second
    assert memory.read(second, 5) == b"dirty"
    for paddr in (first, third, second):
        memory.reserve.free(paddr)
    assert memory.reserve.free_bytes == 0x10000
    assert memory.reserve.alloc(0x10000, align=0x1000) == base


def test_allocator_faults() -> None:
    """Exhaustion, double free and senseless sizes each say what is wrong."""
    reserve = PhysicalMemory.anonymous(MIB, reserve_bytes=0x10000).reserve
    paddr = reserve.alloc(0xF000)
    with pytest.raises(AllocationFault, match=r"no 8192 bytes aligned to 64 left, 4096 of 65536 are free in 1 pieces"):
        reserve.alloc(0x2000)
    reserve.free(paddr)
    with pytest.raises(AllocationFault, match="is not allocated"):
        reserve.free(paddr)
    with pytest.raises(UsageError, match="align 3 a power of two"):
        reserve.alloc(16, align=3)
    with pytest.raises(UsageError, match="size 0 must be positive"):
        reserve.alloc(0)
