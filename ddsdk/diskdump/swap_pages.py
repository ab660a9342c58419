"""The pages of the swap areas on a dump partition (the layout: swappart.py), and what is not there after all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from ddsdk.errors import DeviceError, FormatError
from ddsdk.vmcore.codecs import Decompressor, PageFlag
from ddsdk.vmcore.output import Output
from ddsdk.vmcore.pagemap import PageMap

from .pagesource import flag_of
from .partition import PartitionDump
from .saved import Records, walk_stream
from .signature import Mask, block_states, true_extents
from .stream import JOB_BYTES
from .swap_read import SavedArea
from .swapheader import MAGIC, parse_swap_header
from .target import TargetFile

Progress = Callable[[int, int], None]


class AreaPages:
    """The pages of one area on *file*, which stays the caller's.  FormatError when they cannot be told apart."""

    def __init__(self, file: TargetFile, dump: PartitionDump, saved: SavedArea) -> None:
        facts, area, entry = dump.dump, saved.area, saved.entry
        self.page_size = page = area.page_size
        self.area = area
        self._file, self._abi, self._kind, self._entry = file, facts.abi, dump.kind, entry
        maps, self._data = entry.first_block + 1, entry.first_block + 1 + 2 * area.map_blocks
        self.header_page = file.read(entry.first_block * page, page)
        what = f"{file}: swap area {saved.number}"
        if not self.header_page.endswith(MAGIC):
            raise FormatError(f"{what}: block {entry.first_block} should be its header and is none; it is damaged")
        header = parse_swap_header(self.header_page, area.pages, what)
        if header.pages != area.pages:
            raise FormatError(f"{what}: its header has {header.pages} pages, the dump {area.pages}; it is damaged")
        self.stored = self._map(maps)
        self.missing = self._map(maps + area.map_blocks)
        self.missing.add_run(max(entry.done, 1), area.pages - max(entry.done, 1))
        for number in header.bad:
            self.missing.drop_run(number, 1)
        self._flag = PageFlag.RAW
        if entry.records:
            self._flag = flag_of(dump.codec_name, str(file))

    def _map(self, block: int) -> PageMap:
        """One of the two maps, as far as pages were looked at."""
        found = PageMap.of_bitmap(self._file.read(block * self.page_size, self.area.map_blocks * self.page_size),
                                  self.area.pages)
        found.drop_run(self._entry.done, self.area.pages - self._entry.done)
        found.drop_run(0, 1)                        # the header's own page
        return found

    def write(self, out: Output, tell: Progress) -> None:
        """The area to *out*: header and pages where they were; what cannot be had goes to `missing`."""
        out.write(0, self.header_page)
        if self._entry.records:
            self._write_records(out, tell)
        else:
            self._write_blocks(out, tell)

    def _lose(self, pages: npt.NDArray[np.int64]) -> None:
        for number in pages.tolist():
            self.missing.add_run(number, 1)

    def _blocks(self, first: int, view: memoryview) -> Mask:
        """Fill *view* with data blocks from *first* on: which of them cannot be read, or were never written."""
        page = self.page_size
        lost = np.zeros(len(view) // page, np.bool_)
        try:
            self._file.read_into((self._data + first) * page, view)
        except DeviceError:
            for at in range(len(lost)):
                try:
                    self._file.read_into((self._data + first + at) * page, view[at * page:(at + 1) * page])
                except DeviceError:
                    lost[at] = True
        if self._kind is not None:
            intact, torn = block_states(view, self._data + first, self._abi, self._kind)
            lost |= intact | torn
        return lost

    def _write_blocks(self, out: Output, tell: Progress) -> None:
        page, buffer = self.page_size, memoryview(bytearray(JOB_BYTES))
        total, rank = self.stored.count(), 0
        for first, count in self.stored.pieces(JOB_BYTES // page):
            there = max(0, min(count, self._entry.data_blocks - rank))
            view = buffer[:there * page]
            lost = np.ones(count, np.bool_)
            lost[:there] = self._blocks(rank, view)
            _write_runs(out, first * page, view, ~lost[:there], page)
            self._lose(first + np.flatnonzero(lost))
            rank += count
            tell(rank, total)

    def _write_records(self, out: Output, tell: Progress) -> None:
        entry, total = self._entry, self.stored.count()
        records = walk_stream(self._file, self._abi, self._data, entry.data_blocks, total)
        unpack, rank = Decompressor(self.page_size), 0
        most = JOB_BYTES // (2 * self.page_size)
        for first, count in self.stored.pieces(most):
            there = max(0, min(count, len(records) - rank))
            lost = np.ones(count, np.bool_)
            if there:
                pages = self._unpacked(records, rank, there, unpack)
                for at, data in enumerate(pages):
                    if data is not None:
                        out.write((first + at) * self.page_size, data)
                        lost[at] = False
            self._lose(first + np.flatnonzero(lost))
            rank += count
            tell(rank, total)

    def _unpacked(self, records: Records, rank: int, count: int,
                  unpack: Decompressor) -> list[bytes | bytearray | memoryview | None]:
        """Records *rank* to *rank* + *count* as pages; None for one that is damaged, or not there."""
        page = self.page_size
        offsets, sizes = records.offsets[rank:rank + count].tolist(), records.sizes[rank:rank + count].tolist()
        low, high = offsets[0] // page, -(-(offsets[-1] + sizes[-1]) // page)
        view = memoryview(bytearray((high - low) * page))
        bad = self._blocks(low, view)
        found: list[bytes | bytearray | memoryview | None] = []
        for offset, size, flags in zip(offsets, sizes, records.flags[rank:rank + count].tolist(), strict=True):
            at = offset - low * page
            if bad[at // page:(at + size - 1) // page + 1].any():
                found.append(None)
                continue
            try:
                found.append(unpack.page(self._flag if flags & 1 else 0, view[at:at + size]))
            except FormatError:
                found.append(None)
        return found


def _write_runs(out: Output, offset: int, view: memoryview, good: Mask, page: int) -> None:
    """The pages of *view* that are *good*, neighbours together."""
    for low, high in true_extents(good, 0):
        out.write(offset + low * page, view[low * page:high * page])
