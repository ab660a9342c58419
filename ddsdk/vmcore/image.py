"""Memory to be dumped, whatever it comes from: page frames, bytes, and what is known of the CPUs.

Bytes are views of mapped files, never copies; `release_range` hands pages back, so that a dump of any size
takes the same room.
"""

from __future__ import annotations

import mmap
import os
import stat
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from types import TracebackType
from typing import Self

from attrs import define, field, frozen

from ddsdk.abi import Abi
from ddsdk.errors import DdsdkError, DeviceError, FormatError, UsageError

from . import vmcoreinfo as vmci
from .notes import CpuNote, Note, core_notes, pack_notes
from .pagemap import PageMap

#: Linux's value where Python does not export it (mmap(2)): address space only, no promise of memory.
MAP_NORESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
#: 64 TiB of physical addresses: x86_64 with four-level page tables; more is taken for damage.
MAX_PADDR = 1 << 46


#: Page frames that a small file may speak of: 4 TiB of 4 KiB pages, 128 MiB as a bit each.
SMALL_FILE_FRAMES = 1 << 30


def bounded_frames(path: str, frames: int, file_size: int) -> int:
    """*frames*, the highest page frame of a dump file plus one; FormatError when so small a file cannot mean it.

    A frame takes a bit of ours.  A file has at least a byte for each frame above SMALL_FILE_FRAMES: filters leave out
    much, but not all of the 4096 bytes that a page has.
    """
    if frames > max(SMALL_FILE_FRAMES, file_size):
        raise FormatError(f"{path}: {file_size} bytes that speak of page frame {frames - 1:#x}; a machine that large "
                          "leaves a larger file, this one is damaged")
    return frames


@frozen(eq=False)
class MemoryExtent:
    """*size* bytes of physical memory at *paddr*, both whole pages.

    `view` shows them.  `fd` and `file_offset` are the file behind it, None and 0 when there is none.
    `drop(paddr, length)` gives mapped pages back to the host; contents stay.
    """

    paddr: int
    size: int
    view: memoryview
    fd: int | None = None
    file_offset: int = 0
    drop: Callable[[int, int], None] | None = None

    @property
    def end(self) -> int:
        """First physical address past the extent."""
        return self.paddr + self.size


@frozen
class Run:
    """Page frames [start_pfn, start_pfn + npages) are RAM."""

    start_pfn: int
    npages: int


@define(eq=False, slots=False)
class MemorySource:
    """A machine's memory at the crash.  Close it (or use `with`) when done; its views end with it.

    `extents` are sorted and disjoint.  `crashtime` is seconds since the epoch where VMCOREINFO says it.
    `origin` is how messages call the source.  `incomplete`: its writer said that pages are missing.  `all_notes`: every
    note, where the file has notes.  `left_out`: page frames of RAM that a filter left out; they read as zeros.
    """

    abi: Abi
    extents: tuple[MemoryExtent, ...]
    cpus: tuple[CpuNote, ...]
    vmcoreinfo: bytes | None
    origin: str
    nodename: str = ""
    incomplete: bool = False
    closers: tuple[Callable[[], None], ...] = ()
    kind: str = "memory"
    dump_level: int = 0
    all_notes: tuple[Note, ...] = ()
    left_out: tuple[Run, ...] = ()
    runs: tuple[Run, ...] = field(init=False)
    release: str = field(init=False)
    crashtime: int | None = field(init=False)
    _starts: list[int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        values = vmci.parse(self.vmcoreinfo)
        self.release = values.get("OSRELEASE", "")
        self.crashtime = vmci.number(values, "CRASHTIME")
        self.runs = _runs(self.extents, self.page_size)
        self._starts = [extent.paddr for extent in self.extents]

    @property
    def page_size(self) -> int:
        """Bytes of a page frame."""
        return self.abi.page_size

    @property
    def notes(self) -> tuple[Note, ...]:
        """Every note; those we would write where there are none."""
        return self.all_notes or tuple(core_notes(self.abi, self.cpus, self.vmcoreinfo))

    @cached_property
    def ram(self) -> PageMap:
        """The page frames there are."""
        return PageMap.of_runs(((run.start_pfn, run.npages) for run in self.runs), self.max_pfn)

    @cached_property
    def stored(self) -> PageMap:
        """Those that no filter left out."""
        return self.ram - PageMap.of_runs(((run.start_pfn, run.npages) for run in self.left_out), self.max_pfn)

    def read_frames(self, first: int, count: int, into: memoryview) -> None:
        """The bytes of page frames [first, first + count) to *into*."""
        at = 0
        for view in self.views(first * self.page_size, count * self.page_size):
            into[at:at + len(view)] = view
            at += len(view)

    @property
    def max_pfn(self) -> int:
        """Highest page frame of RAM plus one."""
        return self.runs[-1].start_pfn + self.runs[-1].npages if self.runs else 0

    @property
    def total_pages(self) -> int:
        """Page frames of RAM."""
        return sum(run.npages for run in self.runs)

    def view(self, paddr: int, length: int) -> memoryview:
        """The *length* bytes at *paddr*: the memory itself, read only.

        UsageError when they are not RAM; a range over adjacent extents comes back as a copy.
        """
        views = self.views(paddr, length)
        return views[0] if len(views) == 1 else memoryview(b"".join(views))

    def views(self, paddr: int, length: int) -> list[memoryview]:
        """The same as a list, one view an extent, no copy."""
        found = []
        at, end = paddr, paddr + length
        while at < end:
            index = bisect_right(self._starts, at) - 1
            extent = self.extents[index] if index >= 0 else None
            if extent is None or at >= extent.end:
                raise UsageError(f"{self.origin}: physical address {at:#x} is not RAM")
            last = min(end, extent.end)
            found.append(extent.view[at - extent.paddr:last - extent.paddr])
            at = last
        return found

    def release_range(self, paddr: int, length: int) -> None:
        """Advice: the bytes [paddr, paddr + length) are not needed soon."""
        first = max(0, bisect_right(self._starts, paddr) - 1)
        for extent in self.extents[first:]:
            if extent.paddr >= paddr + length:
                break
            low, high = max(paddr, extent.paddr), min(paddr + length, extent.end)
            if extent.drop is not None and low < high:
                extent.drop(low, high - low)

    def notes_bytes(self) -> bytes:
        """The PT_NOTE contents a vmcore of this memory carries."""
        return pack_notes(self.abi, core_notes(self.abi, self.cpus, self.vmcoreinfo))

    def close(self) -> None:
        """Unmap and close what is behind the extents."""
        for extent in self.extents:
            with suppress(BufferError):         # someone still holds an array over it
                extent.view.release()
        self.extents = ()
        closers, self.closers = self.closers, ()
        for closer in closers:
            closer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def _runs(extents: Sequence[MemoryExtent], page_size: int) -> tuple[Run, ...]:
    """Adjacent extents are one run."""
    runs: list[Run] = []
    for extent in extents:
        pfn, npages = extent.paddr // page_size, extent.size // page_size
        if runs and runs[-1].start_pfn + runs[-1].npages == pfn:
            runs[-1] = Run(runs[-1].start_pfn, runs[-1].npages + npages)
        else:
            runs.append(Run(pfn, npages))
    return tuple(runs)


@frozen(eq=False)
class FileMapping:
    """A file mapped for reading; the pages of it that are not needed can be handed back."""

    map: mmap.mmap
    fd: int
    size: int

    @classmethod
    def open(cls, path: str) -> FileMapping:
        """Map *path*.  DeviceError when it cannot be opened, FormatError when there is nothing in it."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise DeviceError(f"{path}: cannot open for reading: {os.strerror(error.errno or 0)}") from None
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode) and not stat.S_ISBLK(os.fstat(fd).st_mode):
                raise DeviceError(f"{path}: neither a file nor a block device; memory is read from one of them")
            size = os.lseek(fd, 0, os.SEEK_END)
            if not size:
                raise FormatError(f"{path}: the file is empty; it must be an ELF core or a raw RAM image")
            return cls(mmap.mmap(fd, size, prot=mmap.PROT_READ), fd, size)
        except OSError as error:
            os.close(fd)
            raise DeviceError(f"{path}: cannot be mapped: {os.strerror(error.errno or 0)}") from None
        except DdsdkError:
            os.close(fd)
            raise

    def extent(self, paddr: int, file_offset: int, size: int) -> MemoryExtent:
        """*size* bytes of memory at *paddr* that lie at *file_offset*."""
        base = file_offset - paddr

        def drop(start: int, length: int) -> None:
            low = base + start + -(base + start) % mmap.PAGESIZE
            high = (base + start + length) // mmap.PAGESIZE * mmap.PAGESIZE
            if low < high:
                self.map.madvise(mmap.MADV_DONTNEED, low, high - low)

        return MemoryExtent(paddr, size, memoryview(self.map)[file_offset:file_offset + size], self.fd, file_offset,
                            drop)

    def close(self) -> None:
        """Unmap; a view that someone still holds keeps the mapping alive until it goes."""
        os.close(self.fd)
        with suppress(BufferError):
            self.map.close()


def anonymous_extent(paddr: int, size: int, content: Iterable[tuple[int, memoryview]] = ()) -> MemoryExtent:
    """Zeroed memory at *paddr* with pieces of *content* (offset, bytes) in it; untouched pages take no room."""
    try:
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
    except (OSError, OverflowError, ValueError) as error:
        raise FormatError(f"physical memory at {paddr:#x}: {size:#x} bytes cannot be mapped: {error}") from None
    for offset, piece in content:
        memory[offset:offset + len(piece)] = bytes(piece)
    return MemoryExtent(paddr, size, memoryview(memory).toreadonly())
