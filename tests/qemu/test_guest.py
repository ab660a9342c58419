"""Taking over a crashed guest's memory: what is RAM where, and that nothing of it can be written."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, cast

import pytest

from ddsdk.errors import DmaFault, HardwareFault, UsageError
from ddsdk.qemu.dma import BounceDma
from ddsdk.qemu.guest import CrashedGuest, ram_without
from ddsdk.qemu.qtest import QTest
from ddsdk.qemu.ram import Layout
from ddsdk.sim.memory import Extent, PhysicalMemory

MIB, GIB = 1 << 20, 1 << 30
SIZE, RESERVED = 64 * MIB, (48 * MIB, 8 * MIB)


@pytest.fixture
def file() -> Iterator[IO[bytes]]:
    """The RAM of a small guest: each MiB starts with its number."""
    with tempfile.TemporaryFile() as ram:
        for mib in range(SIZE // MIB):
            ram.seek(mib * MIB)
            ram.write(bytes([mib]) * 4096)
        ram.truncate(SIZE)
        ram.flush()
        yield ram


@pytest.fixture
def guest(file: IO[bytes]) -> Iterator[CrashedGuest]:
    """Attached to."""
    with CrashedGuest.attach(cast(QTest, None), file, RESERVED, (), None) as guest:
        yield guest


def memory_of(guest: CrashedGuest) -> PhysicalMemory:
    """As a rig puts it together."""
    return PhysicalMemory([*(Extent(e.paddr, e.view, "ram", e.drop) for e in guest.source.extents),
                           *guest.ram.extents])


def test_memory_is_everything_but_video_memory_and_the_reserve(guest: CrashedGuest) -> None:
    """Physical address = file offset; the reserve was no memory to the guest's kernel."""
    assert [(extent.paddr, extent.end) for extent in guest.source.extents] == [
        (0, 0xA0000), (0xC0000, 48 * MIB), (56 * MIB, SIZE)]
    assert bytes(guest.source.view(17 * MIB, 2)) == b"\x11\x11"


def test_nothing_but_the_reserve_can_be_written(guest: CrashedGuest, file: IO[bytes]) -> None:
    """By the CPU: everything else is mapped for reading."""
    memory = memory_of(guest)
    with pytest.raises(HardwareFault, match="memory that is being dumped may not change"):
        memory.write(0x5000, b"x")
    memory.write(50 * MIB, b"ours")
    file.seek(50 * MIB)
    assert file.read(4) == b"ours"


def test_the_adapter_is_given_no_other_memory_to_write_to(guest: CrashedGuest) -> None:
    """By the adapter: reads of guest memory go as they are, a write has to be into the reserve."""
    memory = memory_of(guest)
    dma = BounceDma("0000:00:04.0", guest.ram, memory, 64 << 10)
    assert dma.map([(2 * MIB, 0x3000)], True) == [(2 * MIB, 0x3000)]
    with pytest.raises(DmaFault, match="outside the reserve; memory that is being dumped may not change"):
        dma.map([(2 * MIB, 0x1000)], False)
    with pytest.raises(DmaFault, match="dma_grant of 4096 bytes at 0x200000, outside the reserve"):
        dma.grant(2 * MIB, 4096)
    mine = memory.reserve.alloc(4096, 4096)
    assert RESERVED[0] <= mine < sum(RESERVED)
    assert dma.map([(mine, 4096)], False) == [(mine, 4096)]
    assert dma.grant(mine, 4096) == mine


def test_memory_that_no_device_reaches_goes_through_the_reserve(guest: CrashedGuest) -> None:
    """ROMs and what lies under them, below 1 MiB."""
    memory = memory_of(guest)
    dma = BounceDma("0000:00:04.0", guest.ram, memory, 64 << 10)
    [(low, bounced)] = dma.map([(0xC0000, 0x1000)], True)
    assert bounced == 0x1000
    assert RESERVED[0] <= low < sum(RESERVED)


def test_the_memory_file_is_left_open_and_as_it_was(file: IO[bytes]) -> None:
    """It is the guest's; attaching and letting go change nothing in it."""
    file.seek(0)
    before = file.read()
    CrashedGuest.attach(cast(QTest, None), file, RESERVED, (), None).close()
    file.seek(0)
    assert file.read() == before


@pytest.mark.parametrize("reserved", [(0xA0000, 0x10000), (60 * MIB, 8 * MIB), (SIZE, MIB), (MIB + 8, MIB),
                                      (MIB, 100), (MIB, 0)])
def test_a_reserve_that_is_no_memory_is_refused(file: IO[bytes], reserved: tuple[int, int]) -> None:
    """Outside, over the end, not whole pages, nothing."""
    with pytest.raises(UsageError, match="it must be whole pages of the guest's memory between 0xc0000 and 0x4000000"):
        CrashedGuest.attach(cast(QTest, None), file, reserved, (), None)


@pytest.mark.parametrize(("size", "low", "high"), [
    (512 * MIB, 512 * MIB, 0), (3 * GIB, 3 * GIB, 0), (0xE000_0000 - 2 * MIB, 0xE000_0000 - 2 * MIB, 0),
    (0xE000_0000, 3 * GIB, GIB // 2), (6 * GIB, 3 * GIB, 3 * GIB)])
def test_above_three_gib_memory_has_a_hole(size: int, low: int, high: int) -> None:
    """From 3.5 GiB on, what is above 3 GiB in the file is above 4 GiB in the machine; the device sees it there too."""
    reserved = (low - 16 * MIB, 8 * MIB)
    upper = [(4 * GIB, 4 * GIB + high, low)] if high else []
    assert ram_without(size, reserved) == [
        (0, 0xA0000, 0), (0xC0000, reserved[0], 0xC0000), (sum(reserved), low, sum(reserved)), *upper]
    layout = Layout.of_guest(size, *reserved)
    assert layout.pieces == ((0, 0xA0000, 0), (0x100000, reserved[0], 0x100000),
                             (sum(reserved), low, sum(reserved)), *upper)
    assert (layout.reserve_bus_addr, layout.reserve_paddr) == (reserved[0], reserved[0])
