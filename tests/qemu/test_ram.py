"""RAM shared with QEMU: where things lie, what is copied, what is kept aside."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddsdk.errors import DeviceError
from ddsdk.qemu.ram import Layout, SharedRam
from ddsdk.sim.memory import Extent, PhysicalMemory

MIB, GIB = 1 << 20, 1 << 30
RESERVE = 32 * MIB


@pytest.fixture(scope="module")
def nothing() -> Iterator[memoryview]:
    """8 GiB of zeroes that cost nothing: a mapped hole of a file."""
    with tempfile.TemporaryFile() as file:
        file.truncate(8 * GIB)
        yield memoryview(mmap.mmap(file.fileno(), 8 * GIB, access=mmap.ACCESS_READ))


def extents(nothing: memoryview, *ranges: tuple[int, int]) -> list[Extent]:
    """One extent a (start, end)."""
    return [Extent(start, nothing[:end - start]) for start, end in ranges]


@pytest.mark.parametrize(("ranges", "size", "pieces", "reserve"), [
    # a small machine: the reserve is put on top of its memory
    ([(0, 0xA0000), (MIB, 64 * MIB)], 96 * MIB,
     ((0, 0xA0000, 0), (MIB, 64 * MIB, MIB)), 64 * MIB),
    # an odd size is rounded up to 2 MiB first
    ([(0, 64 * MIB + 4096)], 98 * MIB, ((0, 0xA0000, 0), (MIB, 66 * MIB, MIB)), 66 * MIB),
    # memory up to 3 GiB and nothing above: still one piece
    ([(0, 3 * GIB)], 3 * GIB + RESERVE, ((0, 0xA0000, 0), (MIB, 3 * GIB, MIB)), 3 * GIB),
    # one reserve more would reach 3.5 GiB: pc splits at 3 GiB, the reserve covers the machine's top pages
    ([(0, 0xE000_0000 - RESERVE)], 0xE000_0000,
     ((0, 0xA0000, 0), (MIB, 3 * GIB - RESERVE, MIB), (4 * GIB, 4 * GIB + 512 * MIB, 3 * GIB)),
     3 * GIB - RESERVE),
    # memory on both sides of the PCI hole
    ([(0, 3 * GIB), (4 * GIB, 5 * GIB)], 4 * GIB,
     ((0, 0xA0000, 0), (MIB, 3 * GIB - RESERVE, MIB), (4 * GIB, 5 * GIB, 3 * GIB)), 3 * GIB - RESERVE),
    # little memory below the hole: the rest below 3 GiB is there too, and harmless
    ([(0, 2 * GIB), (4 * GIB, 6 * GIB)], 5 * GIB,
     ((0, 0xA0000, 0), (MIB, 2 * GIB, MIB), (2 * GIB + RESERVE, 3 * GIB, 2 * GIB + RESERVE),
      (4 * GIB, 6 * GIB, 3 * GIB)), 2 * GIB),
])
def test_the_layout_is_that_of_a_pc(nothing: memoryview, ranges: list[tuple[int, int]], size: int,
                                    pieces: tuple[tuple[int, int, int], ...], reserve: int) -> None:
    """RAM size, reachable pieces with file offsets, and the reserve follow QEMU's pc-i440fx rules."""
    layout = Layout.for_extents(extents(nothing, *ranges), RESERVE)
    assert layout.size == size
    assert layout.pieces == pieces
    assert layout.reserve_bus_addr == reserve


def test_the_reserve_lies_where_the_machine_has_nothing(nothing: memoryview) -> None:
    """In the machine the reserve overlaps no memory, wherever QEMU has it."""
    for ranges in ([(0, 512 * MIB)], [(0, 3 * GIB), (4 * GIB, 5 * GIB)], [(0, 5 * GIB)],
                   [(0, 0xFF00_0000), (4 * GIB, 4 * GIB + 16 * MIB)]):
        layout = Layout.for_extents(extents(nothing, *ranges), RESERVE)
        start, end = layout.reserve_paddr, layout.reserve_paddr + RESERVE
        assert all(end <= low or high <= start for low, high in ranges)
        assert all(end <= low or high <= start for low, high, _ in layout.pieces), "and QEMU's RAM means RAM"


def test_a_range_is_cut_where_reachable_memory_begins_and_ends(nothing: memoryview) -> None:
    """`split` covers the range in order, without gap or overlap, None where the device reaches nothing."""
    layout = Layout.for_extents(extents(nothing, (0, 64 * MIB)), RESERVE)
    assert list(layout.split(0x9F000, MIB + 0x1000)) == [
        (0x9F000, 0xA0000, 0x9F000), (0xA0000, MIB, None), (MIB, MIB + 0x1000, MIB)]
    assert list(layout.split(65 * MIB, 66 * MIB)) == [(65 * MIB, 66 * MIB, None)]
    assert list(layout.split(0x1000, 0x1000)) == []


def numbered(size: int) -> mmap.mmap:
    """Memory whose every second page starts with its own number; the others are zero."""
    memory = mmap.mmap(-1, size)
    for at in range(0, size, 8192):
        memory[at:at + 8] = (at // 4096 + 1).to_bytes(8, "little")
    return memory


def test_contents_arrive_and_zero_pages_stay_holes() -> None:
    """Every byte of the machine's memory reads the same afterwards; zero pages take no room in the file."""
    size = 4 * MIB
    source = memoryview(numbered(size))
    with SharedRam.build([Extent(0, source)], reserve_bytes=2 * MIB) as ram:
        stat = os.fstat(ram.file.fileno())
        # looked at before anything else: reading fills the holes
        assert stat.st_blocks * 512 <= (size - 0x60000) // 2 + 64 * 1024
        assert stat.st_nlink == 0, "the file has a name"
        memory = PhysicalMemory(ram.extents)
        for at in range(0, size, 4096):
            assert memory.view(at, 4096) == source[at:at + 4096], f"page at {at:#x}"


def test_memory_out_of_reach_is_kept_as_it_is() -> None:
    """The legacy hole is not copied: its extent is a view of the original."""
    source = mmap.mmap(-1, 2 * MIB)
    with SharedRam.build([Extent(0, memoryview(source))], reserve_bytes=2 * MIB) as ram:
        memory = PhysicalMemory(ram.extents)
        source[0xA0000] = source[0x9FFFF] = source[MIB] = 0x55
        assert memory.read(0xA0000, 1) == b"\x55"
        assert memory.read(0x9FFFF, 1) == memory.read(MIB, 1) == b"\0"


def test_a_partial_last_page_is_copied() -> None:
    """An extent need not end on a page boundary."""
    source = bytearray(5000)
    source[4999] = 9
    with SharedRam.build([Extent(MIB, memoryview(source))], reserve_bytes=2 * MIB) as ram:
        assert PhysicalMemory(ram.extents).read(MIB + 4998, 2) == b"\0\x09"


def test_dropping_pages_changes_nothing() -> None:
    """`drop` gives pages back to the host; what they hold stays."""
    with SharedRam.build([Extent(0, memoryview(numbered(4 * MIB)))], reserve_bytes=2 * MIB) as ram:
        memory = PhysicalMemory(ram.extents)
        memory.write(2 * MIB, b"written")
        before = memory.read(MIB, 3 * MIB)
        memory.drop(MIB + 100, 3 * MIB - 200)
        assert memory.read(MIB, 3 * MIB) == before


def test_source_pages_are_dropped_as_they_are_copied() -> None:
    """Taking memory in tells the source, piece by piece, that it is not needed any more."""
    dropped: list[tuple[int, int]] = []
    extent = Extent(MIB, memoryview(mmap.mmap(-1, 9 * MIB)), "ram",
                    lambda paddr, size: dropped.append((paddr, size)))
    SharedRam.build([extent], reserve_bytes=2 * MIB).close()
    assert dropped == [(MIB, 4 * MIB), (5 * MIB, 4 * MIB), (9 * MIB, MIB)]


def test_only_memory_in_the_file_is_in_reach() -> None:
    """`piece_at` and `reserve_bus_addr` know what the device finds, and where."""
    with SharedRam.build([Extent(0, memoryview(mmap.mmap(-1, 4 * MIB)))], reserve_bytes=2 * MIB) as ram:
        assert ram.piece_at(0x1000) == (0, 0xA0000)
        assert ram.piece_at(0xA0000) is None
        assert ram.piece_at(4 * MIB - 1) == (MIB, 4 * MIB)
        assert ram.piece_at(4 * MIB) is None
        reserve = ram.layout.reserve_paddr
        assert ram.reserve_bus_addr(reserve + 0x3000, 0x1000) == 4 * MIB + 0x3000
        assert ram.reserve_bus_addr(reserve + 2 * MIB - 1, 2) is None
        assert ram.reserve_bus_addr(0x1000, 1) is None


def test_no_room_is_one_line(tmp_path: Path) -> None:
    """A directory that takes no file is named with what to do."""
    with pytest.raises(DeviceError, match=r"gone: no \d+ bytes of memory for QEMU: No such file .*; point"):
        SharedRam.build([Extent(0, memoryview(bytearray(4096)))], directory=str(tmp_path / "gone"))


def test_cleared_memory_is_zeroes_wherever_it_lies() -> None:
    """In the file, its reserve, and what is kept aside because no device can reach it."""
    with SharedRam.build([Extent(0, memoryview(bytearray(b"\xff" * 2 * MIB)))], reserve_bytes=MIB) as ram:
        for extent in ram.extents:
            extent.view[:] = b"\xee" * extent.size
        ram.clear()
        assert len(ram.extents) == 4            # below the legacy hole, in it, above it; the reserve
        assert all(not any(extent.view) for extent in ram.extents)
