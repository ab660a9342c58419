"""What every reader of dump files offers and every writer takes: page frames, notes, registers.

`MemorySource` (image.py) is one whose pages lie in a mapped file as they are; the others decompress.  Beside `view()`,
for those who look at memory here and there, stands `read_frames()`, for those who copy it.
"""

from __future__ import annotations

from collections import OrderedDict
from functools import cached_property
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from ddsdk.abi import Abi
from ddsdk.errors import FormatError, UsageError

from .filebytes import FileBytes
from .image import Run
from .notes import CpuNote, Note
from .pagemap import PageMap

#: Pages that `view()` keeps: page tables are asked for again and again.
CACHED_PAGES = 512


@runtime_checkable
class PageSource(Protocol):
    """A machine's memory as a dump file has it.  Close it when done.

    `ram`: the page frames the machine had.  `stored`: those whose bytes the file has; the rest was left out by a
    filter, or never written (then `incomplete`).  `kind`: what the file is, for people.  `dump_level`: the filter that
    made it, makedumpfile's bits; 0 when nothing was left out or nobody knows.  `notes`: every ELF note, as written.
    """

    abi: Abi
    origin: str
    kind: str
    nodename: str
    release: str
    crashtime: int | None
    incomplete: bool
    dump_level: int
    cpus: tuple[CpuNote, ...]
    vmcoreinfo: bytes | None

    @property
    def notes(self) -> tuple[Note, ...]:
        """Every ELF note."""

    @property
    def ram(self) -> PageMap:
        """The page frames there were."""

    @property
    def stored(self) -> PageMap:
        """The page frames that can be read."""

    @property
    def runs(self) -> tuple[Run, ...]:
        """`ram`, ascending."""

    @property
    def page_size(self) -> int:
        """Bytes of a page frame."""

    @property
    def max_pfn(self) -> int:
        """Highest page frame plus one."""

    def view(self, paddr: int, length: int) -> memoryview:
        """The *length* bytes at *paddr*, read only.

        UsageError when they are not RAM or were left out; FormatError when the file is damaged there.
        """

    def read_frames(self, first: int, count: int, into: memoryview) -> None:
        """The bytes of [first, first + count), all stored, to *into* (count pages); errors as `view()`."""

    def release_range(self, paddr: int, length: int) -> None:
        """Advice: the bytes [paddr, paddr + length) are not needed soon."""

    def close(self) -> None:
        """Let go of the file."""

    def __enter__(self) -> Self:
        """Itself."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Close."""


class PackedSource:
    """What sources whose pages lie compressed in a file have in common (the protocol above).

    A subclass gives `read_frames`, `ram` and `stored`.  `view()` keeps the pages it was asked for last.
    """

    abi: Abi
    origin: str
    file: FileBytes
    ram: PageMap
    stored: PageMap

    def __init__(self) -> None:
        self._pages: OrderedDict[int, bytes] = OrderedDict()

    @property
    def page_size(self) -> int:
        """Bytes of a page frame."""
        return self.abi.page_size

    @property
    def max_pfn(self) -> int:
        """Highest page frame plus one."""
        return self.ram.max_pfn

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """`ram`, ascending."""
        return tuple(Run(first, count) for first, count in self.ram.runs())

    def read_frames(self, first: int, count: int, into: memoryview) -> None:
        """Decompress [first, first + count), all stored, to *into*."""
        raise NotImplementedError

    def view(self, paddr: int, length: int) -> memoryview:
        """The bytes at *paddr*, out of pages that were decompressed for it."""
        size = self.page_size
        if length <= 0 or paddr < 0:
            return memoryview(b"")
        first, last = paddr // size, (paddr + length - 1) // size
        if first == last:
            at = paddr % size
            return memoryview(self._kept_page(first))[at:at + length]
        data = b"".join(self._kept_page(pfn) for pfn in range(first, last + 1))
        return memoryview(data)[paddr % size:paddr % size + length]

    def _kept_page(self, pfn: int) -> bytes:
        page = self._pages.get(pfn)
        if page is not None:
            self._pages.move_to_end(pfn)
            return page
        if pfn not in self.stored:
            raise self.missing(pfn)
        buffer = bytearray(self.page_size)
        self.read_frames(pfn, 1, memoryview(buffer))
        page = self._pages[pfn] = bytes(buffer)
        if len(self._pages) > CACHED_PAGES:
            self._pages.popitem(last=False)
        return page

    def release_range(self, paddr: int, length: int) -> None:
        """Nothing to hand back: pages lie where the writer put them."""

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def missing(self, pfn: int) -> UsageError:
        """Why *pfn* cannot be read."""
        if pfn in self.ram:
            return UsageError(f"{self.origin}: page frame {pfn:#x} is not in the file: it was left out of the dump")
        return UsageError(f"{self.origin}: physical address {pfn * self.page_size:#x} is not RAM")


def damaged(source: PackedSource, pfn: int, why: object) -> FormatError:
    """What is wrong with a stored page."""
    return FormatError(f"{source.origin}: page frame {pfn:#x}: {why}; the file is damaged there")
