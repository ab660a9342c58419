"""Saving swap areas behind the memory, through the driver of each: swappart.py's layout, always true.

By now the memory is whole and on the medium, and nothing here can cost it.  Data and maps of a window of pages are
flushed before the head counts them; a page that cannot be read is marked, an area whose device fails ends there.
"""

from __future__ import annotations

import errno
from contextlib import suppress

import numpy as np
import numpy.typing as npt
from attrs import define, evolve, field, frozen

from ddsdk.errors import DeviceError, DriverFault
from ddsdk.vmcore.codecs import Codec

from .device import Segment, SwapDevice
from .partial_write import record_stream
from .recordstream import RecordStream, io_failed
from .swapheader import SwapHeader
from .swappart import HEADS, AreaState, Entry, SwapArea, SwapHead
from .writer import Attempt, AttemptFailed, Progress, Stage, because

#: Pages in a row that cannot be read after which an area is given up: each may cost its command's whole time.
GIVE_UP_PAGES = 32
#: Blocks of empty maps that are written at once.
_ZERO_BLOCKS = 64
Flags = npt.NDArray[np.bool_]


@frozen
class SwapSource:
    """A swap area that is registered: its device, and its header as it was then."""

    device: SwapDevice
    header: SwapHeader

    @property
    def area(self) -> SwapArea:
        """What the dump says of it."""
        return area_of(self.device.name, self.header)


def area_of(name: str, header: SwapHeader) -> SwapArea:
    """What a dump says of the area *header* on the device *name*."""
    return SwapArea(name, header.uuid, header.label, header.pages, header.page_size, len(header.bad))


@frozen
class SwapSaved:
    """What became of one area.  `saved` pages are there, `zeros` need not be, `unreadable` ones are lost.

    `why`: what kept it from being saved whole, empty when nothing did.
    """

    area: SwapArea
    state: AreaState
    saved: int = 0
    zeros: int = 0
    unreadable: int = 0
    why: str = ""

    @property
    def whole(self) -> bool:
        """Every page that can be in use is there."""
        return self.state is AreaState.WHOLE and not self.unreadable

    @property
    def missing(self) -> int:
        """Pages that are not known."""
        return self.area.pages - 1 - self.area.bad_pages - self.saved - self.zeros


class SwapSaver:
    """The areas to save, in order, and the memory that it takes: all of it is taken here."""

    def __init__(self, page_size: int, codec: str) -> None:
        self.sources: list[SwapSource] = []
        self.codec = Codec(codec)
        self.page_size = page_size
        self.stored = np.zeros(8 * page_size, np.bool_)
        self.lost = np.zeros(8 * page_size, np.bool_)

    @property
    def areas(self) -> tuple[SwapArea, ...]:
        """What the dump says of them."""
        return tuple(source.area for source in self.sources)

    @property
    def budget_bytes(self) -> int:
        """The most memory that `save` has at any time, the attempt's scratch apart: flags, a map, some blocks."""
        return self.stored.nbytes + self.lost.nbytes + (_ZERO_BLOCKS + 8) * self.page_size

    def no_room(self, why: str) -> tuple[SwapSaved, ...]:
        """The answer when the memory took all there is."""
        return tuple(SwapSaved(area, AreaState.NO_ROOM, why=why) for area in self.areas)

    def save(self, attempt: Attempt, start: int, risky: bool) -> tuple[SwapSaved, ...]:
        """Write the part at block *start* of *attempt*'s device.  Whatever fails, the answer says of each area how far
        it came; nothing is raised.
        """
        if attempt.device.blocks - start < HEADS:
            return self.no_room(f"{attempt.device.name} is full")
        results: list[SwapSaved] = []
        crash = attempt.plan.facts
        head = SwapHead((crash.seconds, crash.nanoseconds), 0, start + HEADS, False,
                        tuple(Entry(area.uuid, area.pages) for area in self.areas))
        part = _Part(attempt, start, head, self)
        try:
            part.write_head()
            for number, source in enumerate(self.sources):
                results.append(_AreaRun(part, number, source).save(risky))
            part.head = evolve(part.head, sequence=part.head.sequence + 1, finished=True)
            part.write_head()
            attempt.flush()
        except Exception as error:      # of the dump device's driver, or ours: the memory is safe, and stays so
            reason = error.reason if isinstance(error, AttemptFailed) else f"{type(error).__name__}: {error}"
            results += [_result(source, entry, f"the dump device failed: {reason}")
                        for source, entry in zip(self.sources[len(results):], part.head.entries[len(results):],
                                                 strict=True)]
        return tuple(results)


def _result(source: SwapSource, entry: Entry, why: str) -> SwapSaved:
    bad = sum(number < entry.done for number in source.header.bad)
    zeros = max(0, entry.done - 1 - bad) - entry.stored - entry.unreadable if entry.done else 0
    return SwapSaved(source.area, entry.state, entry.stored, zeros, entry.unreadable, why)


@define
class _Part:
    """The swap part while it is written."""

    attempt: Attempt
    start: int
    head: SwapHead
    saver: SwapSaver

    def write_head(self) -> None:
        """What was written so far survives a power cut, and then the head counts it."""
        self.attempt.flush()
        block = self.start + self.head.sequence % HEADS
        self.attempt.write_bytes(block, self.head.pack(block, self.saver.page_size), Stage.SWAP)

    def put(self, number: int, entry: Entry, end_block: int) -> None:
        """*entry* is what is true of area *number* now."""
        self.head = self.head.with_entry(number, entry, end_block)
        self.write_head()


@define
class _AreaRun:
    """One area, from its device to the dump's."""

    part: _Part
    number: int
    source: SwapSource
    _area: SwapArea = field(init=False)
    _entry: Entry = field(init=False)
    _page: int = field(init=False)
    _data: int = field(init=False, default=0)       # block of the first page that is stored
    _blocks: int = field(init=False, default=0)     # of data, written without a codec
    _stream: RecordStream | None = field(init=False, default=None)
    _bad_in_row: int = field(init=False, default=0)
    _why: str = field(init=False, default="")

    def __attrs_post_init__(self) -> None:
        self._area, self._page = self.source.area, self.part.saver.page_size
        self._entry = self.part.head.entries[self.number]

    def save(self, risky: bool) -> SwapSaved:
        """As much of it as there is room for and can be read.  AttemptFailed, DriverFault: the dump device failed."""
        attempt, device = self.part.attempt, self.source.device
        room = attempt.device.blocks - self.part.head.end_block - 1 - 2 * self._area.map_blocks
        if room < 1:
            return self._not_begun(AreaState.NO_ROOM, f"{attempt.device.name} is full")
        try:
            error = device.take_up(attempt.device, risky)
            page = b"" if error else self._header_page()
            reason = because(device, error) if error else self._why
        except (DriverFault, DeviceError) as fault:
            reason, page = f"{type(fault).__name__}: {fault}", b""
        try:
            if not page:
                return self._not_begun(AreaState.NOT_READ, reason)
            self._begin(page)
            self._windows()
            return _result(self.source, self._entry, self._why)
        finally:
            with suppress(DriverFault, DeviceError):    # what it had to give was read
                device.let_go()

    def _not_begun(self, state: AreaState, why: str) -> SwapSaved:
        self._entry = evolve(self._entry, state=state)
        self.part.put(self.number, self._entry, self.part.head.end_block)
        return _result(self.source, self._entry, why)

    def _header_page(self) -> bytes:
        """Page 0 as it is now; the registered one when it cannot be read; b"" when another area's is there."""
        if self._read(0, 1) is not None:
            return self.source.header.page
        page = bytes(self.part.attempt.scratch.view[:self._page])
        if self.source.header.same_area(page):
            return page
        self._why = "its header is not the one that was registered: another area, or none, is there now"
        return b""

    def _begin(self, page: bytes) -> None:
        """Header page and empty maps, and only then the entry that tells of them."""
        attempt, first = self.part.attempt, self.part.head.end_block
        maps, codec = 2 * self._area.map_blocks, self.part.saver.codec
        self._data = first + 1 + maps
        attempt.write_bytes(first, page, Stage.SWAP)
        for at in range(0, maps, _ZERO_BLOCKS):
            attempt.write_bytes(first + 1 + at, bytes(min(_ZERO_BLOCKS, maps - at) * self._page), Stage.SWAP)
        if codec is not Codec.NONE:
            self._stream = record_stream(attempt, codec, self._data)
        self._entry = evolve(self._entry, first_block=first, state=AreaState.BEGUN, records=self._stream is not None)
        self.part.put(self.number, self._entry, self._data)

    # -- pages ----------------------------------------------------------------------------------------------

    def _windows(self) -> None:
        """The area's pages, a block of the maps at a time."""
        saver, attempt = self.part.saver, self.part.attempt
        bits, pages = 8 * self._page, self._area.pages
        maps = self._entry.first_block + 1
        for number in range(self._area.map_blocks):
            first = number * bits
            saver.stored[:], saver.lost[:] = False, False
            done = self._window(first, min(first + bits, pages))
            last = done == pages or self._entry.state is not AreaState.BEGUN
            if self._stream is not None:
                self._stream.end() if last else self._stream.flush()
            for at, flags in ((number, saver.stored), (self._area.map_blocks + number, saver.lost)):
                attempt.write_bytes(maps + at, np.packbits(flags, bitorder="little").tobytes(), Stage.SWAP)
            self._entry = evolve(self._entry, done=done, stored=self._entry.stored + int(saver.stored.sum()),
                                 unreadable=self._entry.unreadable + int(saver.lost.sum()),
                                 data_blocks=self._blocks if self._stream is None else self._stream.blocks)
            if done == pages and self._entry.state is AreaState.BEGUN:
                self._entry = evolve(self._entry, state=AreaState.WHOLE)
            self.part.put(self.number, self._entry, self._data + self._entry.data_blocks)
            attempt.progress(Progress("swap", self._area.name, done, pages))
            if last:
                return

    def _window(self, first: int, end: int) -> int:
        """The pages [*first*, *end*); the number of the one behind the last that was looked at."""
        attempt, at = self.part.attempt, first
        most = max(1, min(len(attempt.scratch.view) // self._page // 2, self.source.device.max_blocks,
                          attempt.device.max_blocks))
        skipped = [number for number in (0, *self.source.header.bad) if first <= number < end]
        for stop in (*skipped, end):
            while at < stop:
                count = min(most, stop - at)
                try:
                    lost = self._read(at, count)
                except (DriverFault, DeviceError) as fault:
                    return self._give_up(at, f"{type(fault).__name__}: {fault}")
                kept = self._store(at, first, count, lost)
                at += kept
                if kept < count:
                    return self._full(at)
                if self._bad_in_row >= GIVE_UP_PAGES:
                    why = because(self.source.device, -errno.EIO)
                    return self._give_up(at, f"{self._bad_in_row} pages in a row cannot be read: {why}")
            at = stop + 1
        return end

    def _give_up(self, at: int, why: str) -> int:
        self._entry, self._why = evolve(self._entry, state=AreaState.NOT_READ), why
        return at

    def _full(self, at: int) -> int:
        self._entry = evolve(self._entry, state=AreaState.NO_ROOM)
        self._why = f"{self.part.attempt.device.name} is full"
        return at

    def _read(self, at: int, count: int) -> Flags | None:
        """Pages [*at*, *at* + *count*) into the scratch area; which of them could not be read, None: all were."""
        device, paddr, page = self.source.device, self.part.attempt.scratch.paddr, self._page
        if not device.rw_block(False, at, ((paddr, count * page),)):
            self._bad_in_row = 0
            return None
        lost = np.zeros(count, np.bool_)
        for number in range(count):
            if self._bad_in_row < GIVE_UP_PAGES:
                lost[number] = device.rw_block(False, at + number, ((paddr + number * page, page),)) != 0
            else:
                lost[number] = True
            self._bad_in_row = self._bad_in_row + 1 if lost[number] else 0
        return lost

    def _store(self, at: int, window: int, count: int, lost: Flags | None) -> int:
        """What was read and is not zeros to the dump device; how many of the *count* pages found their place."""
        view, saver = self.part.attempt.scratch.view[:count * self._page], self.part.saver
        used = np.frombuffer(view, np.uint64).reshape(count, -1).any(axis=1)
        if lost is not None:
            used &= ~lost
        wanted = np.flatnonzero(used)
        kept = self._plain(wanted) if self._stream is None else self._records(wanted, self._stream)
        looked = count if kept == len(wanted) else int(wanted[kept])
        low = at - window
        saver.stored[low + wanted[:kept]] = True
        if lost is not None:
            saver.lost[low:low + looked] = lost[:looked]
        return looked

    def _plain(self, wanted: npt.NDArray[np.int64]) -> int:
        """The pages *wanted* of the scratch area as blocks; how many there was room for."""
        device, paddr = self.part.attempt.device, self.part.attempt.scratch.paddr
        block = self._data + self._blocks
        kept = min(len(wanted), device.blocks - block)
        segments: list[Segment] = []
        for number in wanted[:kept].tolist():
            where = paddr + number * self._page
            if segments and sum(segments[-1]) == where:
                segments[-1] = (segments[-1][0], segments[-1][1] + self._page)
            else:
                segments.append((where, self._page))
        if segments:
            error = device.rw_block(True, block, segments)
            if error:
                raise io_failed(device, block, error)
        self._blocks += kept
        return kept

    def _records(self, wanted: npt.NDArray[np.int64], stream: RecordStream) -> int:
        """The same as records."""
        view = self.part.attempt.scratch.view
        for kept, number in enumerate(wanted.tolist()):
            if not stream.add(view[number * self._page:(number + 1) * self._page]):
                return kept
        return len(wanted)
