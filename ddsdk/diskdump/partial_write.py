"""Partial and compressed dumps onto a device: the second bitmap, blocks or records, a header that is always true.

Formats.md 1.3 to 1.8 (RHEL 4 `drivers/block/diskdump.c`, 2.6.9-89.29.1.EL).  Deliberate differences: pages without a
codec go out as scatter lists of themselves; the cache is flushed before each header, so that what it counts is there
after a power cut; when the partition ends, exactly the pages that fit are marked; records carry no page flags.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from ddsdk.errors import errno_name
from ddsdk.vmcore.codecs import Codec, Compress
from ddsdk.vmcore.pagemap import PageMap

from .device import Chunk, Segment
from .header import LEADING_BLOCKS, Status
from .saved import RECORD_HEAD_BYTES, RecordFlag, record_head
from .writer import RELEASE_BYTES, Attempt, AttemptFailed, Progress, Release, Stage, because

#: What fills the last block of a stream up (formats.md 1.7).
FILLER = b"m"
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
    """The memory part of *attempt*, with the pages of *kept*; *compress* and its buffer when there are records."""

    attempt: Attempt
    kept: PageMap
    codec: Codec
    _compress: Compress | None = field(init=False, default=None)
    _page: int = field(init=False)
    _start: int = field(init=False)
    _room: int = field(init=False)
    _blocks: int = field(init=False, default=0)         # data blocks on the device
    _pages: int = field(init=False, default=0)          # pages on the device, or in the buffer
    _total: int = field(init=False, default=0)
    _short: bool = field(init=False, default=False)
    _buffer: memoryview = field(init=False)
    _buffer_paddr: int = field(init=False)
    _fill: int = field(init=False, default=0)
    _compressed: Status = field(init=False, default=Status.COMPLETED)

    def __attrs_post_init__(self) -> None:
        plan, scratch = self.attempt.plan, self.attempt.scratch
        self._page, self._start = plan.page_size, plan.data_start
        self._room = self.attempt.device.blocks - plan.data_start
        half = len(scratch.view) // self._page // 2 * self._page
        self._buffer, self._buffer_paddr = scratch.view[half:half * 2], scratch.paddr + half
        if self.codec is not Codec.NONE:
            self._compress, self._compressed = self.codec.compressor(), Status.COMPRESSED

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
                self._flush_buffer()
                self._bitmap(block + number, flags)
                attempt.flush()                     # what the header counts, and the bits that say what it is
                attempt.header(Status.IN_PROGRESS | self._compressed, self._start + self._blocks)
                continue
            self._end_stream()
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
        if self._compress is not None:
            self._records(runs, self._compress)
        else:
            self._plain(runs)

    def _failed(self, block: int, error: int) -> AttemptFailed:
        return AttemptFailed(Stage.MEMORY, f"I/O error {errno_name(error)} on block {block}:"
                                           f" {because(self.attempt.device, error)}")

    # -- blocks ---------------------------------------------------------------------------------------------

    def _plain(self, runs: list[tuple[int, int]]) -> None:
        """The pages themselves, as scatter lists, as many as fit."""
        count = sum(npages for _, npages in runs)
        fits = min(count, self._room - self._blocks)
        done = 0
        for block, blocks, error in self.attempt.device.stream(True, self._chunks(runs, fits)):
            if error:
                raise self._failed(block, error)
            done += blocks
        if done != fits:
            raise AttemptFailed(Stage.MEMORY, f"{done} pages acknowledged of {fits}: the device lost completions")
        self._blocks += fits
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

    def _records(self, runs: list[tuple[int, int]], compress: Compress) -> None:
        page, view, head = self._page, self.attempt.memory.view, record_head(self.attempt.plan.abi)
        told = self._pages
        for first, count in runs:
            for low in range(first, first + count, _PIECE_PAGES):
                pages = min(_PIECE_PAGES, first + count - low)
                memory = view(low * page, pages * page)
                for at in range(0, pages * page, page):
                    data: bytes | memoryview = memory[at:at + page]
                    flag = RecordFlag.COMPRESSED
                    packed = compress(data)
                    if len(packed) < page:
                        data = packed
                    else:
                        flag = RecordFlag(0)
                    if not self._put(head, data, flag):
                        self._short = True
                        return
                    self._pages += 1
                if (self._pages - told) * page >= RELEASE_BYTES:
                    told = self._pages
                    self._tell()

    def _put(self, head: struct.Struct, data: bytes | memoryview, flag: RecordFlag) -> bool:
        """Add a record; False when it does not fit the partition any more."""
        size = RECORD_HEAD_BYTES + len(data)
        if self._blocks * self._page + self._fill + size > self._room * self._page:
            return False
        if self._fill + size > len(self._buffer):
            self._flush_buffer()
        head.pack_into(self._buffer, self._fill, 0, len(data), flag)
        self._buffer[self._fill + RECORD_HEAD_BYTES:self._fill + size] = data
        self._fill += size
        return True

    def _flush_buffer(self) -> None:
        """Write the whole blocks; what is left moves to the front."""
        whole = self._fill // self._page
        most = max(1, self.attempt.device.max_blocks)
        for at in range(0, whole, most):
            count, block = min(most, whole - at), self._start + self._blocks
            error = self.attempt.device.rw_block(True, block, ((self._buffer_paddr + at * self._page,
                                                                count * self._page),))
            if error:
                raise self._failed(block, error)
            self._blocks += count
        rest = self._fill - whole * self._page
        self._buffer[:rest] = bytes(self._buffer[whole * self._page:self._fill])
        self._fill = rest

    def _end_stream(self) -> None:
        """The last block, filled up."""
        if self._compress is None or not self._fill:
            return
        end = -(-self._fill // self._page) * self._page
        self._buffer[self._fill:end] = FILLER * (end - self._fill)
        self._fill = end
        self._flush_buffer()


def _only_first(flags: Flags, count: int) -> None:
    """Keep the first *count* of the bits that are set."""
    flags[np.flatnonzero(flags)[count:]] = False
