"""Scatter lists: what the driver writes, read back by a walker that knows only the element layout, and by the chip."""

from __future__ import annotations

import attrs
import pytest

from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, DMA_TO_DEVICE
from ddsdk_mptfusion.model import SAS1068, ChipProfile
from ddsdk_mptfusion.sgl import elements, put_sgl
from plugins.mptfusion.tests.driver_rig import BOTH, DATA, HIGH, Make, Rig

LOW = 0x00400000


@pytest.fixture
def rig(make: Make) -> Rig:
    """A driver brought up."""
    return make().probe()


def frame(rig: Rig) -> bytes:
    """The first request's frame."""
    at = rig.ioc.requests[0].frame_offset
    return bytes(rig.ioc.view[at:at + 128])


def walk(rig: Rig, chain_offset: int) -> tuple[list[tuple[int, int]], int]:
    """Follow a list from the frame through its chains: ([(address, length)], chain buffers seen).

    Asserts what MPI asks of it: flags in place, chains exactly as long as they say, the end where it belongs.
    """
    memory, found, chains = rig.machine.memory, [], 0
    at, end = rig.ioc.requests[0].bus_addr + 48, rig.ioc.requests[0].bus_addr + 128
    chain_at = at - 48 + 4 * chain_offset if chain_offset else 0
    while True:
        flags_length = int.from_bytes(memory.read(at, 4), "little")
        flags, length = flags_length >> 24, flags_length & 0xFFFFFF
        assert flags & 0x30 == 0x10
        size = 12 if flags & 0x02 else 8
        found.append((int.from_bytes(memory.read(at + 4, size - 4), "little"), length))
        at += size
        assert at <= end
        if flags & 0x01:
            assert flags & 0xC1 == 0xC1
            assert chain_at == 0 or not chains or at == end
            return found, chains
        if not flags & 0x80:
            continue
        assert chain_at == at
        element = int.from_bytes(memory.read(at, 4), "little")
        assert element >> 24 == 0x30
        at = int.from_bytes(memory.read(at + 4, 4), "little")
        length, next_offset = element & 0xFFFF, element >> 16 & 0xFF
        assert length <= 128
        end = at + length
        chain_at = at + 4 * next_offset if next_offset else 0
        chains += 1


def scattered(count: int, base: int = LOW) -> list[tuple[int, int]]:
    """So many pages, none next to another."""
    return [(base + 0x2000 * index, 4096) for index in range(count)]


def test_four_elements_are_the_vector(rig: Rig) -> None:
    """Four pages backwards: the elements of vector mpt-read10-4sge, byte for byte."""
    segments = [(0x403000, 4096), (0x402000, 4096), (0x401000, 4096), (0x400000, 4096)]
    assert put_sgl(rig.ioc, rig.ioc.requests[0], segments, to_device=False) == 0
    assert frame(rig)[48:80] == bytes.fromhex(
        "00100010 00304000 00100010 00204000 00100010 00104000 001000d1 00004000")


@pytest.mark.parametrize(("segments", "to_device", "dwords"), [
    ([(0x400000, 0x4000)], False, [(0xD1004000, 0x400000)]),
    ([(0x400000, 0x4000)], True, [(0xD5004000, 0x400000)]),
    ([(HIGH, 0x4000)], False, [(0xD3004000, 0x40000000, 1)]),
    ([(HIGH, 0x4000)], True, [(0xD7004000, 0x40000000, 1)]),
])
def test_one_element(rig: Rig, segments: list[tuple[int, int]], to_device: bool, dwords: list[tuple[int, ...]]) -> None:
    """Flags 0xD1 reading, 0xD5 writing, and 0x02 more with a 64-bit address, which takes three dwords."""
    assert put_sgl(rig.ioc, rig.ioc.requests[0], segments, to_device) == 0
    raw = b"".join(dword.to_bytes(4, "little") for element in dwords for dword in element)
    assert frame(rig)[48:48 + len(raw)] == raw


@pytest.mark.parametrize(("count", "chains"), [
    (1, 0), (2, 0), (10, 0), (11, 1), (24, 1), (25, 1), (26, 2), (39, 2), (40, 2), (41, 3), (255, 17), (256, 17)])
def test_list_below_4_gib(rig: Rig, count: int, chains: int) -> None:
    """Ten 8-byte elements fit the frame; beyond that nine and a chain, fifteen and a chain, ... sixteen in the last."""
    segments = scattered(count)
    offset = put_sgl(rig.ioc, rig.ioc.requests[0], segments, to_device=True)
    assert offset == (0 if not chains else (48 + 72) // 4)
    assert walk(rig, offset) == (segments, chains)


@pytest.mark.parametrize(("count", "chains"), [(1, 0), (6, 0), (7, 1), (16, 1), (17, 2), (26, 2), (27, 3), (256, 25)])
def test_list_above_4_gib(rig: Rig, count: int, chains: int) -> None:
    """Six 12-byte elements fit the frame; sg_tablesize of them just fit all the chain buffers."""
    segments = scattered(count, HIGH)
    offset = put_sgl(rig.ioc, rig.ioc.requests[0], segments, to_device=False)
    assert offset is not None
    assert walk(rig, offset) == (segments, chains)


@pytest.mark.parametrize("count", [3, 8, 9, 30, 100, 256])
def test_mixed_list(rig: Rig, count: int) -> None:
    """Each element is as wide as its own address needs; one that crosses 4 GiB is wide."""
    segments = [(HIGH if index % 3 else LOW, 4096) for index in range(count)]
    segments[1] = ((1 << 32) - 2048, 4096)
    offset = put_sgl(rig.ioc, rig.ioc.requests[0], segments, to_device=False)
    assert offset is not None
    assert walk(rig, offset)[0] == segments


def test_piece_too_long_for_an_element_is_cut() -> None:
    """24 bits of length: 40 MiB in one piece become three elements on page boundaries."""
    cut = elements([(0x1000000, 40 << 20)], to_device=False)
    lengths = [dwords[0] & 0xFFFFFF for dwords in cut]
    assert lengths == [0xFFF000, 0xFFF000, (40 << 20) - 2 * 0xFFF000]
    assert [dwords[1] for dwords in cut] == [0x1000000, 0x1FFF000, 0x2FFE000]


def test_one_more_than_sg_tablesize_does_not_fit(rig: Rig) -> None:
    """257 segments are refused, also where they would fit because they are low."""
    assert put_sgl(rig.ioc, rig.ioc.requests[0], scattered(257), to_device=False) is None


def test_more_elements_than_chains_hold_do_not_fit(make: Make) -> None:
    """Few segments, but so long that each is several elements: refused where the chain buffers end."""
    rig = make(attrs.evolve(SAS1068, MaxChainDepth=0)).probe()
    long = [(HIGH + (index << 26), 40 << 20) for index in range(3)]
    assert put_sgl(rig.ioc, rig.ioc.requests[0], long[:2], to_device=False) == 0
    assert put_sgl(rig.ioc, rig.ioc.requests[0], long, to_device=False) is None


def test_command_with_too_many_segments_fails_at_once(make: Make) -> None:
    """queuecommand ends it with DID_ERROR, posts nothing, unmaps, and keeps its frame; trying again would not help."""
    rig = make(attrs.evolve(SAS1068, MaxChainDepth=1)).probe().take_over()
    free = len(rig.ioc.FreeQ)
    scmd = rig.rw(True, 0, scattered(17, DATA))
    assert rig.queue(scmd) == 0
    assert (scmd.done, scmd.result, scmd.resid) == (True, 0x070000, 17 * 4096)
    assert (len(rig.ioc.FreeQ), rig.ioc.outstanding) == (free, {})
    assert len(rig.function.dma.grants if rig.function.dma else ()) == 1


@BOTH
@pytest.mark.parametrize("count", [1, 2, 10, 11, 40, 41, 256])
@pytest.mark.parametrize("high", [False, True])
def test_chip_moves_every_byte(make: Make, chip: ChipProfile, count: int, high: bool) -> None:
    """What is written from scattered pages is on the disk, and read back into others, below and above 4 GiB."""
    rig = make(chip, high=high).probe().take_over()
    base = HIGH if high else DATA
    segments = scattered(count, base)
    data = b"".join(rig.fill(paddr, 4096, seed) for seed, (paddr, _) in enumerate(segments))
    scmd = rig.run(rig.rw(True, 64, segments))
    assert (scmd.result, scmd.resid) == (0, 0)
    assert rig.on_disk(64, len(data)) == data
    into = [(paddr + 0x1000, 4096) for paddr, _ in reversed(segments)]
    scmd = rig.run(rig.rw(False, 64, into))
    assert (scmd.result, scmd.resid) == (0, 0)
    assert b"".join(rig.machine.memory.read(paddr, 4096) for paddr, _ in into) == data


def test_directions_reach_the_mapping(make: Make) -> None:
    """A write maps to the device and a read from it; both are unmapped when the command ends."""
    rig = make(trace=True).probe().take_over()
    for write in (True, False):
        rig.run(rig.rw(write, 0, [(DATA, 4096)]))
    maps = [record.fields[0] for record in rig.machine.trace if record.kind == "dma-map"][-2:]
    assert maps == [True, False]
    assert rig.function.dma is not None
    assert len(rig.function.dma.grants) == 1
    assert (DMA_TO_DEVICE, DMA_FROM_DEVICE) == (1, 2)
