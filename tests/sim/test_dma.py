"""DMA: nothing is reachable that was not granted, in that direction, with bus mastering on."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from ddsdk.errors import DmaFault
from ddsdk.sim.dma import BIDIRECTIONAL, FROM_DEVICE, TO_DEVICE, DmaDomain
from ddsdk.sim.memory import Extent, PhysicalMemory
from ddsdk.sim.trace import Trace


@pytest.fixture
def dma() -> DmaDomain:
    """A domain over 1 MiB, bus mastering on."""
    domain = DmaDomain(PhysicalMemory.anonymous(1 << 20), "0000:00:04.0")
    domain.bus_master = True
    return domain


def test_map_merges_adjacent_segments_and_grants_them(dma: DmaDomain) -> None:
    """Adjacent pages become one segment; its views are memory itself."""
    dma.memory.write(0x1000, b"page1" + bytes(4091) + b"page2")
    mapped = dma.map([(0x1000, 0x1000), (0x2000, 0x1000), (0x8000, 0x200)], True)
    assert mapped == [(0x1000, 0x2000), (0x8000, 0x200)]
    [view] = dma.view(0x1000, 0x2000, True)
    assert bytes(view[:5]) == b"page1"
    assert bytes(view[0x1000:0x1005]) == b"page2"
    assert dma.read(0x2000, 5) == b"page2"


def test_nothing_is_merged_over_4_gib(dma: DmaDomain) -> None:
    """Adapters add to the lower half of an address."""
    pages = [((1 << 32) - 0x1000, 0x1000), (1 << 32, 0x1000), ((1 << 32) + 0x1000, 0x200)]
    assert dma.map(pages, True) == [((1 << 32) - 0x1000, 0x1000), (1 << 32, 0x1200)]


def test_part_of_a_mapping_may_be_moved_at_a_time(dma: DmaDomain) -> None:
    """A controller may split a segment; it may not run past its end."""
    dma.map([(0x1000, 0x1000)], False)
    for offset in (0, 0x200, 0xE00):
        assert len(dma.view(0x1000 + offset, 0x200, False)[0]) == 0x200
    with pytest.raises(DmaFault, match=r"DMA from device of 513 bytes at 0x1e00 is not inside one granted piece of "
                                       r"memory; the nearest grant is 0x1000-0x2000 \(from device\)"):
        dma.view(0x1E00, 0x201, False)


def test_direction_is_enforced(dma: DmaDomain) -> None:
    """Memory mapped for one direction faults in the other, and says so."""
    dma.map([(0x1000, 0x1000)], True)
    dma.map([(0x4000, 0x1000)], False)
    with pytest.raises(DmaFault, match=r"from device of 16 bytes at 0x1000, which was mapped to device"):
        dma.view(0x1000, 16, False)
    with pytest.raises(DmaFault, match=r"to device of 16 bytes at 0x4010, which was mapped from device"):
        dma.view(0x4010, 16, True)


def test_nothing_after_unmap(dma: DmaDomain) -> None:
    """unmap() ends the access at once, even to the piece used last."""
    mapped = dma.map([(0x1000, 0x1000)], True)
    dma.view(0x1100, 16, True)
    dma.unmap(mapped, True)
    with pytest.raises(DmaFault, match="nothing is granted to this device"):
        dma.view(0x1100, 16, True)
    assert dma.grants == []


def test_unmap_wants_what_map_returned(dma: DmaDomain) -> None:
    """Another length, another direction, a second time: each is a DmaFault."""
    mapped = dma.map([(0x1000, 0x1000)], True)
    for wrong, to_device in (([(0x1000, 0x800)], True), (mapped, False), ([(0x3000, 16)], True)):
        with pytest.raises(DmaFault, match="which is not mapped like that"):
            dma.unmap(wrong, to_device)
    dma.unmap(mapped, True)
    with pytest.raises(DmaFault, match="unmapped twice"):
        dma.unmap(mapped, True)


def test_page_mapped_by_two_commands_stays_mapped_until_both_are_done(dma: DmaDomain) -> None:
    """Mappings of the same memory count; equal and different ones live side by side."""
    same = dma.map([(0x1000, 0x1000)], True)
    again = dma.map([(0x1000, 0x1000)], True)
    longer = dma.map([(0x1000, 0x3000)], True)
    other_way = dma.map([(0x1000, 0x1000)], False)
    dma.unmap(same, True)
    dma.view(0x1000, 0x1000, True)
    dma.unmap(again, True)
    dma.view(0x1000, 0x1000, True)
    dma.view(0x2000, 0x2000, True)
    dma.view(0x1000, 0x1000, False)
    dma.unmap(longer, True)
    with pytest.raises(DmaFault, match="mapped from device"):
        dma.view(0x1000, 0x1000, True)
    dma.unmap(other_way, False)
    assert dma.grants == []


def test_coherent_memory_goes_both_ways_until_revoked(dma: DmaDomain) -> None:
    """A grant has no direction; revoke() wants the same piece."""
    assert dma.grant(0x5000, 0x400) == 0x5000
    dma.grant(0x9000, 0x400)
    dma.write(0x5080, b"reply")
    assert dma.read(0x5080, 5) == b"reply"
    dma.view(0x9000, 4, True)
    dma.view(0x5000, 4, True)
    with pytest.raises(DmaFault, match="not granted as one piece; the nearest grant is 0x5000-0x5400"):
        dma.revoke(0x5000, 0x200)
    dma.revoke(0x5000, 0x400)
    with pytest.raises(DmaFault, match=r"nearest grant is 0x9000-0x9400 \(both directions\)"):
        dma.read(0x5080, 5)
    assert dma.grants == [(0x9000, 0x9400, BIDIRECTIONAL)]


def test_two_coherent_pieces_of_one_page_are_told_apart(dma: DmaDomain) -> None:
    """Which grant was hit last says nothing of its neighbour, nor of itself once it is revoked."""
    dma.grant(0x1000, 0x40)
    dma.grant(0x1080, 0x40)
    for _ in range(2):
        dma.view(0x1000, 0x40, True)
        dma.view(0x1080, 0x40, False)
        with pytest.raises(DmaFault, match="not inside one granted piece"):
            dma.view(0x1000, 0x41, True)
    dma.revoke(0x1080, 0x40)
    with pytest.raises(DmaFault, match="not inside one granted piece"):
        dma.view(0x1080, 0x40, False)
    dma.view(0x1000, 0x40, True)


def test_access_across_two_grants_is_refused(dma: DmaDomain) -> None:
    """Two allocations that happen to be neighbours are still two."""
    dma.grant(0x5000, 0x400)
    dma.grant(0x5400, 0x400)
    with pytest.raises(DmaFault, match="not inside one granted piece"):
        dma.read(0x53F0, 32)


def test_unmapping_a_buffer_inside_coherent_memory_leaves_that_granted(dma: DmaDomain) -> None:
    """A streaming mapping and a grant over the same bytes are independent."""
    dma.grant(0x5000, 0x1000)
    mapped = dma.map([(0x5000, 0x100)], True)
    dma.view(0x5000, 0x100, True)
    dma.unmap(mapped, True)
    dma.view(0x5000, 0x100, False)
    assert dma.grants == [(0x5000, 0x6000, BIDIRECTIONAL)]


def test_bus_mastering_off_stops_everything(dma: DmaDomain) -> None:
    """COMMAND bit 2 clear: even granted memory is out of reach, also the piece used last."""
    dma.grant(0x5000, 0x400)
    mapped = dma.map([(0x1000, 0x1000)], True)
    dma.view(0x5000, 4, True)
    dma.bus_master = False
    for addr, length in ((0x5000, 4), mapped[0]):
        with pytest.raises(DmaFault, match=r"bus mastering off \(COMMAND bit 2\).*pci_set_master"):
            dma.view(addr, length, True)


def test_removed_function_reaches_nothing(dma: DmaDomain) -> None:
    """After surprise removal the fault says that the function is gone."""
    dma.grant(0x5000, 0x400)
    dma.removed, dma.bus_master = True, False
    with pytest.raises(DmaFault, match="after the function was removed"):
        dma.write(0x5000, b"x")


def test_lengths_of_nothing_are_refused(dma: DmaDomain) -> None:
    """Zero bytes can be neither mapped, granted nor moved."""
    dma.grant(0x5000, 0x400)
    with pytest.raises(DmaFault, match="dma_map of 0 bytes at 0x1000"):
        dma.map([(0x1000, 0)], True)
    with pytest.raises(DmaFault, match="dma_grant of 0 bytes"):
        dma.grant(0x1000, 0)
    with pytest.raises(DmaFault, match="of 0 bytes at 0x5000: at least one byte"):
        dma.view(0x5000, 0, True)
    dma.view(0x5000, 16, True)
    with pytest.raises(DmaFault, match="of 0 bytes at 0x5000: at least one byte"):
        dma.view(0x5000, 0, True)


def test_granted_address_without_memory_is_a_fault(dma: DmaDomain) -> None:
    """A driver that maps a hole learns it when the device touches it."""
    dma.map([(0x4000_0000, 0x1000)], True)
    with pytest.raises(DmaFault, match=r"granted address without memory: .* 16 bytes at 0x40000000 are in a hole"):
        dma.view(0x4000_0000, 16, True)


def test_device_cannot_write_memory_that_is_being_dumped(tmp_path: Path) -> None:
    """Read-only backing is readable by a device and never writable."""
    path = tmp_path / "ram.img"
    path.write_bytes(b"R" * 8192)
    with path.open("rb") as file:
        image = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    dma = DmaDomain(PhysicalMemory([Extent(0, memoryview(image))]), "dev")
    dma.bus_master = True
    dma.map([(0, 4096)], True)
    dma.map([(4096, 4096)], False)
    assert dma.read(0, 4) == b"RRRR"
    with pytest.raises(DmaFault, match="DMA write of 4 bytes at 0x1000, which is backed by a read-only file"):
        dma.write(4096, b"oops")


def test_transfer_across_extents_comes_in_pieces() -> None:
    """A merged segment over two extents is one view each; write() fills both."""
    extents = [Extent(0, memoryview(bytearray(0x1000))), Extent(0x1000, memoryview(bytearray(0x1000)))]
    dma = DmaDomain(PhysicalMemory(extents), "dev")
    dma.bus_master = True
    [(start, length)] = dma.map([(0, 0x1000), (0x1000, 0x1000)], False)
    assert [len(v) for v in dma.view(start, length, False)] == [0x1000, 0x1000]
    dma.write(0xFFE, b"abcd")
    assert dma.memory.read(0xFFE, 4) == b"abcd"


def test_longest_scatter_list(dma: DmaDomain) -> None:
    """256 scattered pages are 256 grants, found each by its start and inside."""
    pages = [(n * 0x2000 % 0x100000, 0x800) for n in range(128)] + [(n * 0x2000 + 0x1000, 0x800) for n in range(128)]
    mapped = dma.map(pages, True)
    assert len(mapped) == 256
    for start, length in mapped:
        dma.view(start, length, True)
        dma.view(start + 0x400, 0x400, True)
    assert {g[2] for g in dma.grants} == {TO_DEVICE}
    dma.unmap(mapped, True)
    assert dma.grants == []


def test_trace_notes_mappings_and_transfers() -> None:
    """DMA shows in the trace with device, direction, address and length."""
    trace = Trace()
    dma = DmaDomain(PhysicalMemory.anonymous(1 << 20), "dev", trace)
    dma.bus_master = True
    dma.map([(0x1000, 0x200)], False)
    dma.view(0x1000, 0x200, False)
    assert [(r.kind, r.fields) for r in trace] == [
        ("dma-map", (False, 1, 0x1000)), ("dma", ("dev", "write", 0x1000, 0x200))]
    assert dma.grants == [(0x1000, 0x1200, FROM_DEVICE)]


def test_coherent_memory_is_there_as_a_whole(dma: DmaDomain) -> None:
    """Around any address in it; not once it was revoked, without bus mastering, or where memory was only mapped."""
    dma.grant(0x4000, 0x2000)
    dma.map([(0x8000, 0x1000)], True)
    for address in (0x4000, 0x5FFF):
        found = dma.coherent(address)
        assert found is not None
        start, view = found
        assert (start, len(view)) == (0x4000, 0x2000)
    view[:5] = b"words"
    assert dma.read(0x4000, 5) == b"words"
    assert [dma.coherent(address) for address in (0x3FFF, 0x6000, 0x8000)] == [None, None, None]
    dma.bus_master = False
    assert dma.coherent(0x4000) is None
    dma.bus_master = True
    assert dma.revoked == 0
    dma.revoke(0x4000, 0x2000)
    assert (dma.revoked, dma.coherent(0x4000)) == (1, None)


def test_read_only_memory_is_not_coherent() -> None:
    """What a device may both read and write cannot be a file opened for reading."""
    domain = DmaDomain(PhysicalMemory([Extent(0, memoryview(bytes(0x2000)))]), "0000:00:04.0")
    domain.bus_master = True
    domain.grant(0, 0x1000)
    assert domain.coherent(0) is None
