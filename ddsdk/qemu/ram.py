"""RAM shared with QEMU: one unnamed file that QEMU maps as its guest's memory and we map as ours.

The memory of the crashed machine is copied in once, zero pages left out; from then on the emulated adapter
reads pages where they lie.  Physical addresses stay what they are wherever QEMU's `pc` machine has RAM at
that address; the rest (the legacy hole below 1 MiB, anything in the PCI hole) is kept aside, and
`ddsdk.qemu.dma` bounces it.

Layout of `pc`: QEMU hw/i386/pc_piix.c, pc_init1() (7.2): 0xe0000000 bytes or more are split at 0xc0000000.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import tempfile
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import IO, Self

import numpy as np
from attrs import field, frozen

from ddsdk.errors import DeviceError
from ddsdk.sim.memory import GIB4, Extent, reserve_paddr

PAGE_BYTES = 4096
COPY_BYTES = 4 << 20
ALIGN_BYTES = 2 << 20
RESERVE_BYTES = 64 << 20
#: Below this, pc-i440fx keeps all RAM in one piece; from it on, it is split at LOW_SPLIT.
LOW_LIMIT = 0xE000_0000
LOW_SPLIT = 0xC000_0000
#: Video memory and ROMs: the file has bytes there that no device can reach.
LEGACY_HOLE = (0xA_0000, 0x10_0000)
SHM = "/dev/shm"


@frozen
class Layout:
    """Which guest-physical addresses are RAM in QEMU, and where they lie in the file.  All numbers bytes.

    `pieces` are (paddr, end, file offset) reachable at their own address; the reserve lies at bus address
    `reserve_bus_addr` (`reserve_offset` in the file) but at `reserve_paddr` in the machine, where nothing is.
    """

    size: int
    pieces: tuple[tuple[int, int, int], ...]
    reserve_paddr: int
    reserve_bus_addr: int
    reserve_bytes: int

    @classmethod
    def for_extents(cls, extents: Iterable[Extent], reserve_bytes: int = RESERVE_BYTES) -> Layout:
        """The smallest `pc` that has RAM at every address of *extents* where a `pc` can have RAM."""
        ram = [e for e in extents if e.kind == "ram"]
        low_top = _aligned(max((min(e.end, GIB4) for e in ram if e.paddr < GIB4), default=LEGACY_HOLE[1]))
        high_top = _aligned(max((e.end for e in ram if e.end > GIB4), default=GIB4))
        if high_top == GIB4 and low_top + reserve_bytes < LOW_LIMIT:
            low = size = low_top + reserve_bytes
        else:
            low = LOW_SPLIT
            size = low + max(high_top - GIB4, LOW_LIMIT - LOW_SPLIT)
        bus, paddr = min(low_top, low - reserve_bytes), reserve_paddr(ram, reserve_bytes)
        pieces = [(0, low, 0), (GIB4, GIB4 + size - low, low)]
        # QEMU may have RAM where the machine has its reserve: that address then means the reserve
        for hole in (LEGACY_HOLE, (bus, bus + reserve_bytes), (paddr, paddr + reserve_bytes)):
            pieces = [piece for whole in pieces for piece in _without(whole, *hole)]
        return cls(size, tuple(pieces), paddr, bus, reserve_bytes)

    @classmethod
    def of_guest(cls, size: int, reserve_paddr: int, reserve_bytes: int) -> Layout:
        """A `pc` of *size* that somebody else started; its reserve is a part of its RAM, at its own address."""
        low = size if size < LOW_LIMIT else LOW_SPLIT
        pieces = [(0, low, 0), (GIB4, GIB4 + size - low, low)][:1 if size == low else 2]
        for hole in (LEGACY_HOLE, (reserve_paddr, reserve_paddr + reserve_bytes)):
            pieces = [piece for whole in pieces for piece in _without(whole, *hole)]
        return cls(size, tuple(pieces), reserve_paddr, reserve_paddr, reserve_bytes)

    def split(self, paddr: int, end: int) -> Iterator[tuple[int, int, int | None]]:
        """[paddr, end) cut into (paddr, end, file offset); offset None where QEMU has no RAM there."""
        for start, stop, offset in self.pieces:
            low, high = max(start, paddr), min(stop, end)
            if low >= high:
                continue
            if paddr < low:
                yield paddr, low, None
            yield low, high, offset + low - start
            paddr = high
        if paddr < end:
            yield paddr, end, None


@frozen(eq=False)
class SharedRam:
    """The file, our mapping of it, and the machine's memory made of both.  Close it when QEMU has ended.

    `extents` is what `PhysicalMemory` wants: RAM in the file, RAM kept aside, and the reserve.  `read_only`: the device
    may write to the reserve alone.
    """

    layout: Layout
    file: IO[bytes] = field(repr=False)
    mapping: mmap.mmap = field(repr=False)
    extents: tuple[Extent, ...]
    read_only: bool = False
    _starts: tuple[int, ...] = field(repr=False, init=False)

    @_starts.default
    def _starts_of_pieces(self) -> tuple[int, ...]:
        return tuple(start for start, _, _ in self.layout.pieces)

    @classmethod
    def build(cls, extents: Iterable[Extent], *, reserve_bytes: int = RESERVE_BYTES,
              directory: str | None = None) -> Self:
        """Copy *extents* (those of kind "ram") into a new file.

        The file has no name, so nothing is left behind however we end.  It lives in *directory*, else in
        /dev/shm when that takes no more than a quarter of the memory available, else in the temporary
        directory.  DeviceError when there is no room.
        """
        ram = sorted((e for e in extents if e.kind == "ram"), key=lambda e: e.paddr)
        layout = Layout.for_extents(ram, reserve_bytes)
        file = _unnamed_file(directory or memory_directory(sum(e.size for e in ram)), layout.size)
        mapping = mmap.mmap(file.fileno(), layout.size)
        made: list[Extent] = []
        try:
            for extent in ram:
                made += _take_in(extent, layout, file.fileno(), mapping)
        except BaseException:
            made.clear()
            mapping.close()
            file.close()
            raise
        at = layout.reserve_bus_addr        # below 4 GiB on pc: file offset = guest-physical address
        made.append(Extent(layout.reserve_paddr, memoryview(mapping)[at:at + reserve_bytes], "reserve"))
        return cls(layout, file, mapping, tuple(made))

    def piece_at(self, paddr: int) -> tuple[int, int] | None:
        """[start, end) of the memory around *paddr* that the device finds at its own address, or None."""
        index = bisect_right(self._starts, paddr) - 1
        if index < 0:
            return None
        start, end, _ = self.layout.pieces[index]
        return (start, end) if paddr < end else None

    def reserve_bus_addr(self, paddr: int, length: int) -> int | None:
        """Bus address of *length* bytes of the reserve at *paddr*; None when they are not all in it."""
        layout = self.layout
        at = paddr - layout.reserve_paddr
        inside = at >= 0 and at + length <= layout.reserve_bytes
        return layout.reserve_bus_addr + at if inside else None

    def clear(self) -> None:
        """All of it zeroes.  Nobody may be using it."""
        try:
            self.mapping.madvise(mmap.MADV_REMOVE)
        except OSError:                 # a file system that makes no holes
            os.ftruncate(self.file.fileno(), 0)
            os.ftruncate(self.file.fileno(), self.layout.size)
        for extent in self.extents:
            if extent.kind == "ram" and not isinstance(extent.drop, _Dropper):
                extent.view[:] = bytes(extent.size)     # kept aside

    def close(self) -> None:
        """Give the memory back.  Views that are still held keep the mapping alive, not the file."""
        self.file.close()
        self.release()

    def release(self) -> None:
        """Unmap, leaving the file to its owner."""
        with contextlib.suppress(BufferError):      # somebody still looks at the memory: it goes when they do
            self.mapping.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _value: BaseException | None,
                 _trace: TracebackType | None) -> None:
        self.close()


def _without(piece: tuple[int, int, int], start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """What is left of *piece* when [start, end) is cut out of it."""
    low, high, offset = piece
    for left, right in ((low, min(high, start)), (max(low, end), high)):
        if left < right:
            yield left, right, offset + left - low


def _aligned(address: int) -> int:
    return -(-address // ALIGN_BYTES) * ALIGN_BYTES


def memory_directory(ram_bytes: int) -> str:
    """/dev/shm when the memory fits there comfortably, else the temporary directory."""
    try:
        with open("/proc/meminfo", "rb") as lines:
            available = next(int(line.split()[1]) << 10 for line in lines if b"MemAvailable:" in line)
        if ram_bytes * 4 <= available and ram_bytes * 2 <= shutil.disk_usage(SHM).free:
            return SHM
    except (OSError, StopIteration, ValueError):
        pass
    directory = tempfile.gettempdir()
    free = shutil.disk_usage(directory).free
    if free < ram_bytes:
        raise DeviceError(f"{directory}: {free} bytes free, up to {ram_bytes} are needed for QEMU's copy of "
                          f"the memory; point TMPDIR at a larger file system")
    return directory


def _unnamed_file(directory: str, size: int) -> IO[bytes]:
    try:
        file = tempfile.TemporaryFile(dir=directory)        # noqa: SIM115 - SharedRam closes it
        file.truncate(size)
    except OSError as error:
        raise DeviceError(f"{directory}: no {size} bytes of memory for QEMU: {error.strerror}; "
                          f"point TMPDIR at a file system with sparse files") from None
    return file


def _take_in(extent: Extent, layout: Layout, fd: int, mapping: mmap.mmap) -> Iterator[Extent]:
    """Copy what QEMU can reach of *extent*, keep views of the rest."""
    for paddr, end, offset in layout.split(extent.paddr, extent.end):
        view = extent.view[paddr - extent.paddr:end - extent.paddr]
        if offset is None:
            yield Extent(paddr, view, "ram", extent.drop)
            continue
        for at in range(0, len(view), COPY_BYTES):
            piece = view[at:at + COPY_BYTES]
            _copy_but_zeroes(piece, fd, offset + at)
            if extent.drop is not None:
                extent.drop(paddr + at, len(piece))
        yield Extent(paddr, memoryview(mapping)[offset:offset + len(view)], "ram",
                     _Dropper(mapping, paddr, offset))


def _copy_but_zeroes(view: memoryview, fd: int, offset: int) -> None:
    """Write the runs of pages that are not all zero; the rest stays a hole of the file."""
    whole = len(view) // PAGE_BYTES * PAGE_BYTES
    words = np.frombuffer(view[:whole], dtype=np.uint64).reshape(-1, PAGE_BYTES // 8)
    used = np.flatnonzero(words.any(axis=1))
    if len(used):
        edges = np.flatnonzero(np.diff(used) != 1) + 1
        for run in np.split(used, edges):
            start, end = int(run[0]) * PAGE_BYTES, (int(run[-1]) + 1) * PAGE_BYTES
            _pwrite(fd, view[start:end], offset + start)
    if whole < len(view):
        _pwrite(fd, view[whole:], offset + whole)


def _pwrite(fd: int, data: memoryview, offset: int) -> None:
    while data:
        try:
            done = os.pwrite(fd, data, offset)
        except OSError as error:
            raise DeviceError(f"copying memory for QEMU: {error.strerror} after {offset} bytes; "
                              f"point TMPDIR at a larger file system") from None
        data, offset = data[done:], offset + done


@frozen(eq=False)
class _Dropper:
    """`Extent.drop` for a piece of the file: our page tables forget it, the file does not."""

    mapping: mmap.mmap
    paddr: int
    offset: int

    def __call__(self, paddr: int, length: int) -> None:
        start = self.offset + paddr - self.paddr
        first = -(-start // PAGE_BYTES) * PAGE_BYTES
        last = (start + length) // PAGE_BYTES * PAGE_BYTES
        if first < last:
            self.mapping.madvise(mmap.MADV_DONTNEED, first, last - first)
