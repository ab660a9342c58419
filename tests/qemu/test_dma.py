"""DMA mappings for an emulated adapter: as they are where it reaches, bounced elsewhere."""

from __future__ import annotations

import mmap
from collections.abc import Iterator

import pytest
from attrs import frozen

from ddsdk.errors import DmaFault, HardwareFault
from ddsdk.qemu.dma import BounceDma
from ddsdk.qemu.ram import SharedRam
from ddsdk.sim.memory import Extent, PhysicalMemory

MIB = 1 << 20
BOUNCE = 64 << 10


@frozen
class Rig:
    """4 MiB of RAM from 0, all of it but the legacy hole in the file; a read-only page at 16 MiB."""

    ram: SharedRam
    memory: PhysicalMemory
    dma: BounceDma

    def seen_by_device(self, bus_addr: int, length: int) -> bytes:
        """What QEMU would read: below 4 GiB the file offset is the bus address."""
        return self.ram.mapping[bus_addr:bus_addr + length]

    def written_by_device(self, bus_addr: int, data: bytes) -> None:
        """What QEMU would write."""
        self.ram.mapping[bus_addr:bus_addr + len(data)] = data


@pytest.fixture
def rig() -> Iterator[Rig]:
    """A small machine with a bounce area of 64 KiB."""
    with SharedRam.build([Extent(0, memoryview(mmap.mmap(-1, 4 * MIB)))], reserve_bytes=MIB) as ram:
        frozen_page = Extent(16 * MIB, memoryview(b"\x77" * 4096))
        memory = PhysicalMemory([*ram.extents, frozen_page])
        yield Rig(ram, memory, BounceDma("0000:00:04.0", ram, memory, BOUNCE))


def test_reachable_pages_go_as_they_are_and_merge(rig: Rig) -> None:
    """Addresses are the physical ones; neighbours become one segment; order is kept."""
    assert rig.dma.map([(0x1000, 0x1000), (0x2000, 0x1000), (0x5000, 0x200), (2 * MIB, 0x1000)], True) == [
        (0x1000, 0x2000), (0x5000, 0x200), (2 * MIB, 0x1000)]
    assert rig.dma.bounced_bytes == 0


def test_a_segment_is_cut_at_the_edges_of_the_hole(rig: Rig) -> None:
    """Only the part the device cannot reach is bounced; the bytes arrive in order."""
    rig.memory.write(0x9F000, b"a" * 0x1000)
    rig.memory.write(0xA0000, b"b" * 0x1000)
    mapped = rig.dma.map([(0x9F000, 0x2000)], True)
    assert [length for _, length in mapped] == [0x1000, 0x1000]
    assert mapped[0][0] == 0x9F000
    assert b"".join(rig.seen_by_device(*piece) for piece in mapped) == b"a" * 0x1000 + b"b" * 0x1000
    mapped = rig.dma.map([(0xFF000, 0x2000), (0x101000, 0x1000)], True)
    assert [length for _, length in mapped] == [0x1000, 0x1000, 0x1000]
    assert mapped[1:] == [(0x100000, 0x1000), (0x101000, 0x1000)]


def test_bounced_writes_of_the_device_come_back_at_unmap(rig: Rig) -> None:
    """What the device left untouched keeps its old bytes; the slot is free again afterwards."""
    rig.memory.write(0xA0000, b"old!" * 0x400)
    mapped = rig.dma.map([(0xA0000, 0x1000)], False)
    rig.written_by_device(mapped[0][0] + 4, b"NEW")
    assert rig.memory.read(0xA0000, 8) == b"old!old!"
    rig.dma.unmap(mapped, False)
    assert rig.memory.read(0xA0000, 8) == b"old!NEW!"
    assert rig.dma.bounced_bytes == 0


def test_reads_of_the_device_copy_nothing_back(rig: Rig) -> None:
    """A to-device mapping leaves memory alone even when it changed meanwhile."""
    mapped = rig.dma.map([(0xA0000, 0x1000)], True)
    rig.memory.write(0xA0000, b"later")
    rig.dma.unmap(mapped, True)
    assert rig.memory.read(0xA0000, 5) == b"later"


def test_read_only_memory_can_be_read_by_the_device_only(rig: Rig) -> None:
    """A page backed by a read-only file is bounced to the device, and refused in the other direction."""
    mapped = rig.dma.map([(16 * MIB, 0x1000)], True)
    assert rig.seen_by_device(*mapped[0]) == b"\x77" * 0x1000
    with pytest.raises(DmaFault, match="DMA write of 4096 bytes at 0x1000000, which is backed by a read-on"):
        rig.dma.map([(16 * MIB, 0x1000)], False)


def test_a_full_bounce_area_is_named_and_recovers(rig: Rig) -> None:
    """Mapping more than fits is a DmaFault with both numbers; unmapping makes room."""
    mapped = rig.dma.map([(0xA0000, BOUNCE)], True)
    with pytest.raises(DmaFault, match=r"no 4096 bytes left .* area of 65536 bytes \(65536 in use\)"):
        rig.dma.map([(0xB0000, 0x1000)], True)
    rig.dma.unmap(mapped, True)
    assert rig.dma.map([(0xB0000, 0x1000)], True)


def test_the_reserve_is_translated(rig: Rig) -> None:
    """Scratch and coherent memory have a bus address of their own; both sides see the same bytes."""
    paddr = rig.memory.reserve.alloc(0x2000, 0x1000)
    bus_addr = rig.dma.grant(paddr, 0x2000)
    assert rig.dma.map([(paddr, 0x2000)], True) == [(bus_addr, 0x2000)]
    rig.memory.write(paddr + 0x10, b"frame")
    assert rig.seen_by_device(bus_addr + 0x10, 5) == b"frame"
    rig.written_by_device(bus_addr, b"reply")
    assert rig.memory.read(paddr, 5) == b"reply"


def test_coherent_memory_out_of_reach_is_refused(rig: Rig) -> None:
    """There is no bouncing of coherent memory: the fault says where to take it from."""
    with pytest.raises(DmaFault, match=r"dma_grant of 4096 bytes at 0xa0000: .* from the reserve at 0x"):
        rig.dma.grant(0xA0000, 0x1000)
    assert rig.dma.grant(0x8000, 0x1000) == 0x8000


def test_holes_and_empty_segments_are_refused(rig: Rig) -> None:
    """A segment without memory or without length is the driver's mistake."""
    with pytest.raises(HardwareFault, match="are in a hole"):
        rig.dma.map([(64 * MIB, 0x1000)], True)
    for bad in ((0x1000, 0), (-0x1000, 0x1000)):
        with pytest.raises(DmaFault, match="one byte is the least"):
            rig.dma.map([bad], True)
