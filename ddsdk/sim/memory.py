"""Physical memory: extents of bytes at physical addresses, handed out as views, never copied.

An extent is backed by whatever a memoryview can show: anonymous memory, a raw image, an ELF core, the RAM
file of a QEMU guest.  One extent is the machine's own *reserve*: coherent DMA memory and the dump's scratch
buffers come from it, so that writing them never changes a page that is being dumped.
"""

from __future__ import annotations

import mmap
from bisect import bisect_right
from collections.abc import Callable, Iterable
from typing import Literal

from attrs import frozen

from ddsdk.errors import AllocationFault, HardwareFault, UsageError

GIB4 = 1 << 32
#: PCI windows are placed from here up to 4 GiB, as PC firmware does.
PCI_HOLE_PADDR = 0xF000_0000
RESERVE_BYTES = 16 << 20
_RESERVE_ALIGN = 0x1_0000


@frozen(eq=False)
class Extent:
    """`view.nbytes` bytes of memory at *paddr*.

    `kind` "ram" is what a dump saves; "reserve" is the machine's own.  `drop(paddr, length)`, when there is
    one, says that the pages are not needed soon (a mapped file gives them back to the host).
    """

    paddr: int
    view: memoryview
    kind: Literal["ram", "reserve"] = "ram"
    drop: Callable[[int, int], None] | None = None

    @property
    def size(self) -> int:
        """Bytes."""
        return self.view.nbytes

    @property
    def end(self) -> int:
        """First physical address past the extent."""
        return self.paddr + self.view.nbytes

    @property
    def read_only(self) -> bool:
        """True when the backing may not be written: a file opened for reading."""
        return self.view.readonly


class Allocator:
    """First fit over one extent; deterministic."""

    def __init__(self, extent: Extent) -> None:
        self.extent = extent
        self._free: list[tuple[int, int]] = [(extent.paddr, extent.size)]   # (paddr, bytes), sorted
        self._used: dict[int, int] = {}

    @property
    def free_bytes(self) -> int:
        """Bytes not allocated, in however many pieces."""
        return sum(size for _, size in self._free)

    def alloc(self, size: int, align: int = 64, *, clear: bool = True) -> int:
        """The paddr of *size* zeroed bytes aligned to *align*, a power of two.  AllocationFault: full.

        *clear* False: what the bytes are does not matter.
        """
        if size <= 0 or align <= 0 or align & (align - 1):
            raise UsageError(f"reserve memory: size {size} must be positive and align {align} a power of two")
        for index, (start, length) in enumerate(self._free):
            paddr = (start + align - 1) & -align
            spare = start + length - paddr - size
            if spare < 0:
                continue
            self._free[index:index + 1] = [
                piece for piece in ((start, paddr - start), (paddr + size, spare)) if piece[1]]
            self._used[paddr] = size
            at = paddr - self.extent.paddr
            if clear:
                self.extent.view[at:at + size] = bytes(size)
            return paddr
        raise AllocationFault(
            f"reserve memory: no {size} bytes aligned to {align} left, {self.free_bytes} of "
            f"{self.extent.size} are free in {len(self._free)} pieces; give the machine a larger reserve")

    def free(self, paddr: int) -> None:
        """Give back what `alloc` returned.  AllocationFault for anything else."""
        size = self._used.pop(paddr, None)
        if size is None:
            raise AllocationFault(f"reserve memory: {paddr:#x} is not allocated (freed twice, or never)")
        merged: list[tuple[int, int]] = []
        for start, length in sorted([*self._free, (paddr, size)]):
            if merged and merged[-1][0] + merged[-1][1] == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            else:
                merged.append((start, length))
        self._free = merged


class PhysicalMemory:
    """All extents, sorted; overlapping ones are a UsageError.  Adds a reserve when none is given."""

    def __init__(self, extents: Iterable[Extent], page_size: int = 4096, *,
                 reserve_bytes: int = RESERVE_BYTES) -> None:
        self.page_size = page_size
        self.extents: list[Extent] = sorted((_as_bytes(e) for e in extents), key=lambda e: e.paddr)
        reserves = [e for e in self.extents if e.kind == "reserve"]
        if not reserves:
            reserves = [_anonymous_reserve(self.extents, reserve_bytes)]
            self.extents = sorted([*self.extents, *reserves], key=lambda e: e.paddr)
        for below, above in zip(self.extents, self.extents[1:], strict=False):
            if below.end > above.paddr:
                raise UsageError(f"physical memory: the extent at {below.paddr:#x}-{below.end:#x} overlaps "
                                 f"the one at {above.paddr:#x}-{above.end:#x}; extents must be disjoint")
        self.reserve = Allocator(reserves[0])
        self._starts = [e.paddr for e in self.extents]
        self._ours, self._ours_size, self._ours_view = reserves[0].paddr, reserves[0].size, reserves[0].view
        self._select(self.extents[0])

    @classmethod
    def anonymous(cls, size: int, page_size: int = 4096, *,
                  reserve_bytes: int = RESERVE_BYTES) -> PhysicalMemory:
        """*size* bytes of zeroed RAM at 0 and a reserve in the hole above: a machine for tests."""
        return cls([Extent(0, memoryview(mmap.mmap(-1, size)))], page_size, reserve_bytes=reserve_bytes)

    @property
    def ram_bytes(self) -> int:
        """Bytes of RAM, the reserve not counted."""
        return sum(e.size for e in self.extents if e.kind == "ram")

    def extent_at(self, paddr: int) -> Extent | None:
        """The extent that holds *paddr*, or None in a hole."""
        index = bisect_right(self._starts, paddr) - 1
        if index >= 0 and paddr < self.extents[index].end:
            return self.extents[index]
        return None

    def view(self, paddr: int, length: int) -> memoryview:
        """The *length* bytes at *paddr* themselves, inside one extent (else HardwareFault)."""
        at = paddr - self._base
        if at < 0 or length < 0 or at + length > self._size:
            at = self._locate(paddr, length)
        return self._view[at:at + length]

    def views(self, paddr: int, length: int) -> list[memoryview]:
        """The same across adjacent extents, in address order."""
        at = paddr - self._base
        if 0 <= at <= at + length <= self._size:
            return [self._view[at:at + length]]
        at = paddr - self._ours
        if 0 <= at <= at + length <= self._ours_size:
            return [self._ours_view[at:at + length]]
        pieces: list[memoryview] = []
        while True:
            extent = self.extent_at(paddr)
            if extent is None:
                raise self._fault(paddr, length)
            piece = min(length, extent.end - paddr)
            pieces.append(self.view(paddr, piece))
            paddr += piece
            length -= piece
            if length <= 0:
                return pieces

    def read(self, paddr: int, length: int) -> bytes:
        """A copy of the *length* bytes at *paddr*."""
        return b"".join(self.views(paddr, length))

    def write(self, paddr: int, data: bytes | bytearray | memoryview) -> None:
        """Store *data* at *paddr*.  HardwareFault in a hole or in memory backed by a read-only file."""
        source = memoryview(data).cast("B")
        at = 0
        for piece in self.views(paddr, len(source)):
            if piece.readonly:
                raise HardwareFault(f"physical memory: write of {len(source)} bytes at {paddr:#x}, which is "
                                    "backed by a read-only file; memory that is being dumped may not change")
            piece[:] = source[at:at + len(piece)]
            at += len(piece)

    def drop(self, paddr: int, length: int) -> None:
        """Tell the backing that these bytes are not needed soon.  Contents stay the same."""
        end = paddr + length
        for extent in self.extents:
            if extent.drop is not None and extent.paddr < end and paddr < extent.end:
                start = max(paddr, extent.paddr)
                extent.drop(start, min(end, extent.end) - start)

    def _select(self, extent: Extent) -> None:
        """Remember the extent of the last access: the next one is nearly always in the same.

        Frames in the reserve and pages in RAM alternate, so `views` looks for the reserve besides.
        """
        self._base, self._size, self._view = extent.paddr, extent.size, extent.view

    def _locate(self, paddr: int, length: int) -> int:
        extent = self.extent_at(paddr)
        if extent is None or length < 0 or paddr + length > extent.end:
            raise self._fault(paddr, length)
        self._select(extent)
        return paddr - extent.paddr

    def _fault(self, paddr: int, length: int) -> HardwareFault:
        extent = self.extent_at(paddr)
        if extent is not None:
            return HardwareFault(f"physical memory: {length} bytes at {paddr:#x} run past the extent "
                                 f"{extent.paddr:#x}-{extent.end:#x}; use views() for adjacent extents")
        near = min(self.extents, key=lambda e: min(abs(paddr - e.paddr), abs(paddr - e.end)))
        return HardwareFault(f"physical memory: {length} bytes at {paddr:#x} are in a hole; the nearest "
                             f"memory is {near.paddr:#x}-{near.end:#x} ({near.kind})")


def _as_bytes(extent: Extent) -> Extent:
    view = extent.view
    if view.format == "B" and view.ndim == 1:
        return extent
    return Extent(extent.paddr, view.cast("B"), extent.kind, extent.drop)


def _anonymous_reserve(extents: list[Extent], size: int) -> Extent:
    return Extent(reserve_paddr(extents, size), memoryview(mmap.mmap(-1, size)), "reserve")


def reserve_paddr(extents: Iterable[Extent], size: int) -> int:
    """Where *size* bytes fit below 4 GiB: as high as possible under the PCI hole, else in it.

    RAM without any hole below 4 GiB (ppc64 has such machines) puts the reserve above the end of RAM, inside
    one 4 GiB segment: only adapters with 64-bit addressing can use it there.
    """
    taken = sorted((e.paddr, e.end) for e in extents)
    for ceiling in (PCI_HOLE_PADDR, GIB4):
        paddr = _highest_gap(taken, size, ceiling)
        if paddr is not None:
            return paddr
    paddr = -(-taken[-1][1] // _RESERVE_ALIGN) * _RESERVE_ALIGN
    if paddr // GIB4 != (paddr + size - 1) // GIB4:
        paddr = (paddr // GIB4 + 1) * GIB4
    return paddr


def _highest_gap(taken: list[tuple[int, int]], size: int, ceiling: int) -> int | None:
    top = ceiling
    for start, end in reversed(taken):
        paddr = (top - size) & -_RESERVE_ALIGN
        if paddr >= end:
            return paddr
        top = min(top, start)
    paddr = (top - size) & -_RESERVE_ALIGN
    return paddr if paddr > 0 else None     # address 0 looks like "no address" to drivers
