"""What every reader of dump files offers and every writer takes: page frames, notes, registers.

`MemorySource` (image.py) is one whose pages lie in a mapped file as they are; the others decompress.  Beside `view()`,
for those who look at memory here and there, stands `read_frames()`, for those who copy it.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol, runtime_checkable

from ddsdk.abi import Abi
from ddsdk.errors import FormatError, UsageError

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


class PageCache:
    """`view()` over a function that gives one page: the pages asked for last are kept."""

    def __init__(self, page_size: int, max_pages: int = CACHED_PAGES) -> None:
        self._page_size, self._max = page_size, max_pages
        self._pages: OrderedDict[int, bytes] = OrderedDict()

    def view(self, source: PageSource, paddr: int, length: int) -> memoryview:
        """The bytes out of cached pages of *source*."""
        size = self._page_size
        if length <= 0 or paddr < 0:
            return memoryview(b"")
        first, last = paddr // size, (paddr + length - 1) // size
        if first == last:
            at = paddr % size
            return memoryview(self._page(source, first))[at:at + length]
        data = b"".join(self._page(source, pfn) for pfn in range(first, last + 1))
        return memoryview(data)[paddr % size:paddr % size + length]

    def _page(self, source: PageSource, pfn: int) -> bytes:
        page = self._pages.get(pfn)
        if page is None:
            if pfn not in source.stored:
                raise missing(source, pfn)
            page = self.fetched(source, pfn)
            self._pages[pfn] = page
            if len(self._pages) > self._max:
                self._pages.popitem(last=False)
        else:
            self._pages.move_to_end(pfn)
        return page

    def fetched(self, source: PageSource, pfn: int) -> bytes:
        """One page, read anew."""
        buffer = bytearray(self._page_size)
        source.read_frames(pfn, 1, memoryview(buffer))
        return bytes(buffer)


def missing(source: PageSource, pfn: int) -> UsageError:
    """Why *pfn* cannot be read."""
    if pfn in source.ram:
        return UsageError(f"{source.origin}: page frame {pfn:#x} is not in the file: it was left out of the dump")
    return UsageError(f"{source.origin}: physical address {pfn * source.page_size:#x} is not RAM")


def damaged(source: PageSource, pfn: int, why: object) -> FormatError:
    """What is wrong with a stored page."""
    return FormatError(f"{source.origin}: page frame {pfn:#x}: {why}; the file is damaged there")
