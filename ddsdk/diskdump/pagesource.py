"""A partition's dump as pages by frame number: plain blocks, a partial dump's blocks, or records.

What every writer of dump files takes (vmcore/pages.py), so that savecore can make any of them.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Final

import numpy as np

from ddsdk.errors import DeviceError, FormatError
from ddsdk.vmcore.codecs import Codec, Decompressor, PageFlag
from ddsdk.vmcore.dumpheader import text
from ddsdk.vmcore.notes import Note, core_notes
from ddsdk.vmcore.pageflags import Kind
from ddsdk.vmcore.pagemap import PageMap
from ddsdk.vmcore.pages import PackedSource, damaged

from .notes import SubHeader
from .partition import DumpState, HeaderFacts, PartitionDump, read_header
from .saved import RecordFlag, Records, SavedPages, read_saved
from .signature import Mask, SignatureKind, block_states
from .stream import JOB_BYTES, pieces
from .target import DumpTarget, TargetFile

#: Records that must unpack before a codec is believed to be the one.
_TRIED_RECORDS: Final = 8


class PartitionSource(PackedSource):
    """The pages of a dump on *file*, which stays the caller's.

    `stored` may be narrowed with `drop`, when pages turn out not to be there.  `fill_zeros`: `view()` has zeros for
    what a filter that looks for zero pages left out, right for whoever looks only at memory of the kernel's own.
    FormatError for records in a codec that is none of ours.
    """

    kind = "dump partition"

    def __init__(self, file: TargetFile, facts: HeaderFacts, layout: SavedPages, stored: PageMap,
                 sub: SubHeader | None = None, codec: str = "zlib") -> None:
        super().__init__()
        self.partition, self.facts, self.layout = file, facts, layout
        self.abi, self.origin = facts.abi, str(file)
        names = facts.header.utsname
        self.release, self.nodename = text(names.release), text(names.nodename)
        self.crashtime: int | None = facts.header.timestamp.tv_sec
        self.ram, self.stored = layout.ram, stored
        self.incomplete = self.fill_zeros = False
        self.dump_level = sub.partial.level if sub is not None and sub.partial is not None else 0
        self.cpus = sub.cpus if sub is not None else ()
        self.vmcoreinfo = sub.vmcoreinfo if sub is not None else None
        self.notes: tuple[Note, ...] = tuple(core_notes(self.abi, self.cpus, self.vmcoreinfo))
        self.codec = codec
        self._base = facts.data_start * self.abi.page_size
        if layout.records is not None:
            self._flag = flag_of(codec, self.origin)
            self._unpack = Decompressor(self.abi.page_size)
            if sub is not None and not sub.has_area:
                self._find_codec(layout.records)

    @classmethod
    def of(cls, file: TargetFile, dump: PartitionDump) -> PartitionSource:
        """The pages of *dump*, which was read from *file*."""
        layout = dump.layout
        if layout is None:                          # it stopped before its bitmap was there
            nothing = PageMap.empty(0)
            layout = SavedPages(nothing, nothing)
        stored = dump.stored
        if stored is None:
            stored = PageMap.of_runs(((run.pfn, run.npages) for run in dump.pages), layout.ram.max_pfn)
        source = cls(file, dump.dump, layout, stored.copy(), dump.sub, dump.codec_name)
        source.incomplete = dump.state is not DumpState.COMPLETE
        return source

    def close(self) -> None:
        """The file is the caller's."""

    def drop(self, lost: PageMap) -> None:
        """The pages of *lost* are not there after all."""
        self.stored = self.stored - lost
        self.incomplete = True
        self._pages.clear()

    def _kept_page(self, pfn: int) -> bytes:
        if self.fill_zeros and self.dump_level & Kind.ZERO and pfn in self.ram and pfn not in self.layout.saved:
            return bytes(self.page_size)
        return super()._kept_page(pfn)

    # -- reading --------------------------------------------------------------------------------------------

    def read_frames(self, first: int, count: int, into: memoryview) -> None:
        """The bytes of [first, first + count), all stored, to *into*."""
        rank, page = self.layout.saved.rank(first), self.page_size
        if self.layout.records is None:
            self.partition.read_into(self._base + rank * page, into[:count * page])
            return
        most = JOB_BYTES // (2 * page)
        for at in range(0, count, most):
            self._read_records(first + at, rank + at, min(most, count - at), into[at * page:])

    def _read_records(self, first: int, rank: int, count: int, into: memoryview) -> None:
        """Pages that follow each other lie in records that do."""
        records, page = self.layout.records, self.page_size
        assert records is not None
        offsets = records.offsets[rank:rank + count].tolist()
        sizes = records.sizes[rank:rank + count].tolist()
        flags = records.flags[rank:rank + count].tolist()
        low = offsets[0]
        data = memoryview(self.partition.read(self._base + low, offsets[-1] + sizes[-1] - low))
        for number, (offset, size, flag) in enumerate(zip(offsets, sizes, flags, strict=True)):
            payload = data[offset - low:offset - low + size]
            if flag & RecordFlag.COMPRESSED:
                try:
                    payload = memoryview(self._unpack.page(self._flag, payload))
                except FormatError as error:
                    raise damaged(self, first + number, error) from None
            into[number * page:(number + 1) * page] = payload

    def _find_codec(self, records: Records) -> None:
        """Without a note on it - RHEL wrote none, and ours may be damaged - the first codec that fits; else zlib."""
        found = np.flatnonzero(records.flags & np.uint8(RecordFlag.COMPRESSED))[:_TRIED_RECORDS].tolist()
        data = [self.partition.read(self._base + int(records.offsets[n]), int(records.sizes[n])) for n in found]
        for codec in (Codec.ZLIB, Codec.ZSTD, Codec.SNAPPY, Codec.LZO):
            with suppress(FormatError):
                for payload in data:
                    self._unpack.page(codec.flag, payload)
                self.codec, self._flag = codec.value, codec.flag
                return

    # -- what is not there after all ------------------------------------------------------------------------

    def unwritten(self, kind: SignatureKind | None) -> PageMap:
        """Stored pages in blocks that still carry their signature - the device lost the write - or cannot be read."""
        found = PageMap.empty(self.max_pfn)
        page, start = self.page_size, self.facts.data_start
        records = self.layout.records
        end = start + self.layout.saved.count()
        if records is not None:
            end = start + -(-int(records.offsets[-1] + records.sizes[-1]) // page) if len(records) else start
        buffer = memoryview(bytearray(JOB_BYTES))
        for block, count in pieces(start, min(end, self.facts.device_blocks), JOB_BYTES // page):
            view = buffer[:count * page]
            lost = self._unreadable(block, view)
            if kind is not None:
                intact, torn = block_states(view, block, self.abi, kind)
                lost |= intact | torn
            for at in np.flatnonzero(lost).tolist():
                self._lose(block + at - start, found)
        return found & self.stored

    def _unreadable(self, block: int, view: memoryview) -> Mask:
        """Read blocks into *view*; one by one if need be, and which of them could not be."""
        page = self.page_size
        bad = np.zeros(len(view) // page, np.bool_)
        try:
            self.partition.read_into(block * page, view)
        except DeviceError:
            for at in range(len(bad)):
                try:
                    self.partition.read_into((block + at) * page, view[at * page:(at + 1) * page])
                except DeviceError:
                    bad[at] = True
        return bad

    def _lose(self, block: int, found: PageMap) -> None:
        """Add the pages of data block *block*."""
        records, low, high = self.layout.records, block, block + 1
        if records is not None:
            page = self.page_size
            ends = records.offsets + records.sizes
            low = int(np.searchsorted(ends, block * page, side="right"))
            high = int(np.searchsorted(records.offsets, (block + 1) * page, side="left"))
        for rank in range(low, high):
            pfn = self.layout.saved.nth_frame(rank)
            found.add_run(pfn, 1)

    def undecodable(self) -> PageMap:
        """Stored pages whose records are damaged: each is unpacked.  Blocks have no damage that shows."""
        found, buffer = PageMap.empty(self.max_pfn), memoryview(bytearray(self.page_size))
        if self.layout.records is None:
            return found
        for first, count in self.stored.runs():
            for pfn in range(first, first + count):
                try:
                    self.read_frames(pfn, 1, buffer)
                except FormatError:
                    found.add_run(pfn, 1)
        return found


def flag_of(codec: str, origin: str) -> PageFlag:
    """The bit of *codec*, what the dump on *origin* is compressed with; FormatError for one that is none of ours."""
    try:
        return Codec(codec).flag
    except ValueError:
        raise FormatError(f"{origin}: its records are compressed with {codec[:20]!r}, which this version does not "
                          "read; the dump stays where it is") from None


# -- for a process of its own ------------------------------------------------------------------------------------

#: What vmcore/workers.py starts to pack pages of a partition.
PROGRAM = "from ddsdk.diskdump.pagesource import serve_partition; serve_partition()"


def partition_spec(target: DumpTarget, codec: str) -> str:
    """How such a process finds the partition again."""
    return json.dumps([target.path, target.offset_bytes, target.size_bytes, codec])


def open_partition(spec: str) -> PartitionSource:
    """The pages of *spec*; those that are asked for are believed to be there."""
    path, offset, size, codec = json.loads(spec)
    file = DumpTarget(path, offset, size).open()
    facts = read_header(file)
    if facts is None:
        raise FormatError(f"{file}: the dump is gone")
    layout = read_saved(file, facts)
    return PartitionSource(file, facts, layout, layout.saved, codec=codec)


def serve_partition() -> None:
    """The life of such a process."""
    from ddsdk.vmcore.workers import serve

    serve(open_partition)
