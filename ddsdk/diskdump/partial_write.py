"""Partial and compressed dumps onto a device: the second bitmap, blocks or records, a header that is always true.

Formats.md 1.3 to 1.8 (RHEL 4 `drivers/block/diskdump.c`, 2.6.9-89.29.1.EL).  Deliberate differences: pages without a
codec go out as scatter lists of themselves; the cache is flushed before each header, so that what it counts is there
after a power cut; when the partition ends, exactly the pages that fit are marked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from ddsdk.vmcore.codecs import Codec
from ddsdk.vmcore.pagemap import PageMap

from .device import Chunk, Segment
from .header import LEADING_BLOCKS, Status
from .recordstream import RecordStream, io_failed
from .writer import RELEASE_BYTES, Attempt, AttemptFailed, Progress, Release, Stage

#: Pages that are compressed between two looks at what can be handed back.
_PIECE_PAGES = 256
Flags = npt.NDArray[np.bool_]


@frozen
class Written:
    """`blocks` of the partition were written, `pages` pages are there; `short`: no room was left for the others."""

    blocks: int
    pages: int
    short: bool


def windows(kept: PageMap, runs: list[tuple[int, int]], ordinals: int) -> Iterator[tuple[Flags, list[tuple[int, int]]]]:
    """The pages of RAM, *ordinals* at a time: which of them are *kept*, and those as runs (first frame, number)."""
    flags, at = np.zeros(ordinals, np.bool_), 0
    found: list[tuple[int, int]] = []
    for first, count in runs:
        while count:
            take = min(count, ordinals - at)
            flags[at:at + take] = kept.flags(first, take)
            found += kept.runs(first, first + take)
            first, count, at = first + take, count - take, at + take
            if at == ordinals:
                yield flags, found
                at, found = 0, []
    if at:
        flags[at:] = False
        yield flags, found


@define
class PartialWriter:
    """The memory part of *attempt*, with the pages of *kept*."""

    attempt: Attempt
    kept: PageMap
    codec: Codec
    _stream: RecordStream | None = field(init=False, default=None)
    _page: int = field(init=False)
    _start: int = field(init=False)
    _room: int = field(init=False)
    _plain_blocks: int = field(init=False, default=0)   # data blocks on the device
    _pages: int = field(init=False, default=0)          # pages on the device, or in the stream's buffer
    _total: int = field(init=False, default=0)
    _short: bool = field(init=False, default=False)
    _compressed: Status = field(init=False, default=Status.COMPLETED)

    def __attrs_post_init__(self) -> None:
        plan = self.attempt.plan
        self._page, self._start = plan.page_size, plan.data_start
        self._room = self.attempt.device.blocks - plan.data_start
        if self.codec is not Codec.NONE:
            self._stream = record_stream(self.attempt, self.codec, self._start)
            self._compressed = Status.COMPRESSED

    @property
    def _blocks(self) -> int:
        """Data blocks on the device."""
        return self._plain_blocks if self._stream is None else self._stream.blocks

    def write(self) -> Written:
        """Everything, from the first header to the last."""
        attempt, plan = self.attempt, self.attempt.plan
        attempt.head()
        self._total = self.kept.count()
        bits = 8 * self._page
        block = LEADING_BLOCKS + plan.sub_hdr_blocks + plan.single_bitmap_blocks
        release, done = Release(attempt.memory, plan), 0
        runs = [(run.start_pfn, run.npages) for run in plan.runs]
        for number, (flags, pages) in enumerate(windows(self.kept, runs, bits)):
            before = self._pages
            self._save(pages)
            done = min(done + bits, plan.total_pages)
            release.upto(done)
            self._tell()
            if self._short:
                _only_first(flags, self._pages - before)
            elif done < plan.total_pages:
                if self._stream is not None:
                    self._stream.flush()
                self._bitmap(block + number, flags)
                attempt.flush()                     # what the header counts, and the bits that say what it is
                attempt.header(Status.IN_PROGRESS | self._compressed, self._start + self._blocks)
                continue
            if self._stream is not None:
                self._stream.end()
            self._bitmap(block + number, flags)
            break
        attempt.flush()
        status = Status.SHORT_AREA if self._short else Status.COMPLETED
        attempt.header(status | self._compressed, self._start + self._blocks)
        return Written(self._start + self._blocks, self._pages, self._short)

    def _bitmap(self, block: int, flags: Flags) -> None:
        self.attempt.write_bytes(block, np.packbits(flags, bitorder="little").tobytes(), Stage.BITMAP)

    def _tell(self) -> None:
        self.attempt.progress(Progress("dump", self.attempt.device.name, self._pages, self._total))

    def _save(self, runs: list[tuple[int, int]]) -> None:
        if self._stream is not None:
            self._records(runs, self._stream)
        else:
            self._plain(runs)

    # -- blocks ---------------------------------------------------------------------------------------------

    def _plain(self, runs: list[tuple[int, int]]) -> None:
        """The pages themselves, as scatter lists, as many as fit."""
        count = sum(npages for _, npages in runs)
        fits = min(count, self._room - self._blocks)
        done = 0
        for block, blocks, error in self.attempt.device.stream(True, self._chunks(runs, fits)):
            if error:
                raise io_failed(self.attempt.device, block, error)
            done += blocks
        if done != fits:
            raise AttemptFailed(Stage.MEMORY, f"{done} pages acknowledged of {fits}: the device lost completions")
        self._plain_blocks += fits
        self._pages += fits
        self._short = fits < count

    def _chunks(self, runs: list[tuple[int, int]], fits: int) -> Iterator[Chunk]:
        most = max(1, min(1 << self.attempt.block_order, self.attempt.device.max_blocks))
        block, segments, room = self._start + self._blocks, list[Segment](), most
        for first, count in runs:
            count = min(count, fits)
            fits -= count
            while count:
                take = min(room, count)
                segments.append((first * self._page, take * self._page))
                first, count, room = first + take, count - take, room - take
                if not room:
                    yield block, segments
                    block, segments, room = block + most, [], most
        if segments:
            yield block, segments

    # -- records --------------------------------------------------------------------------------------------

    def _records(self, runs: list[tuple[int, int]], stream: RecordStream) -> None:
        page, view = self._page, self.attempt.memory.view
        told = self._pages
        for first, count in runs:
            for low in range(first, first + count, _PIECE_PAGES):
                pages = min(_PIECE_PAGES, first + count - low)
                memory = view(low * page, pages * page)
                for at in range(0, pages * page, page):
                    if not stream.add(memory[at:at + page]):
                        self._short = True
                        return
                    self._pages += 1
                if (self._pages - told) * page >= RELEASE_BYTES:
                    told = self._pages
                    self._tell()


def record_stream(attempt: Attempt, codec: Codec, start: int) -> RecordStream:
    """The stream of *attempt* from block *start* to the end of its device, in the second half of its scratch."""
    page, scratch = attempt.plan.page_size, attempt.scratch
    half = len(scratch.view) // page // 2 * page
    return RecordStream(attempt.plan.abi, attempt.device, start, attempt.device.blocks - start, codec.compressor(),
                        scratch.view[half:half * 2], scratch.paddr + half)


def _only_first(flags: Flags, count: int) -> None:
    """Keep the first *count* of the bits that are set."""
    flags[np.flatnonzero(flags)[count:]] = False
