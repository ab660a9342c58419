"""Reading compressed dump files: `KDUMP` v0 to v6, `DISKDUMP` files, split ones, behind flattened records or not.

Nothing a header says is believed before it is bounded by the file.  A page descriptor is looked at when its page is
asked for: a file with a damaged page gives all the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from operator import or_

import numpy as np
import numpy.typing as npt
from attrs import frozen

from ddsdk.abi import ABIS, READ_ONLY_ABIS, Abi, with_page_size
from ddsdk.errors import FormatError

from . import vmcoreinfo as vmci
from .codecs import Decompressor, PageFlag
from .dumpheader import KDUMP_SIGNATURE, SIGNATURE, DiskDumpHeader, names_machine, text
from .filebytes import FileBytes
from .image import MAX_PADDR
from .kdump_layout import (
    DESCRIPTOR_BYTES,
    HAS_64BIT,
    HAS_LEVEL,
    HAS_NOTES,
    HAS_SPLIT,
    HAS_VMCOREINFO,
    KdumpLayout,
    KdumpStatus,
    KdumpSubHeader,
    descriptor_dtype,
    implausible,
)
from .notes import CpuNote, Note, cpus_and_vmcoreinfo, parse_notes
from .pagemap import PageMap
from .pages import PackedSource, damaged
from .subnotes import parse_sub_notes

#: Notes of 16384 CPUs of any machine; more is not believed.
MAX_NOTES_BYTES = 64 << 20
#: Page descriptors looked at together.
_TABLE_STEP = 1 << 15


@frozen(eq=False)
class KdumpHeader:
    """A header that is believed: `version` 0 to 6; `first`, `end`: the page frames this file of a split set has."""

    abi: Abi
    header: DiskDumpHeader
    sub: KdumpSubHeader
    layout: KdumpLayout
    max_pfn: int
    first: int
    end: int

    @property
    def is_kdump(self) -> bool:
        """`KDUMP   `, not `DISKDUMP`."""
        return self.header.signature == KDUMP_SIGNATURE

    @property
    def version(self) -> int:
        """header_version."""
        return self.header.header_version

    @property
    def split(self) -> bool:
        """One file of a set."""
        return self.is_kdump and self.version >= HAS_SPLIT and bool(self.sub.split)


class KdumpSource(PackedSource):
    """Memory in a compressed dump file (the protocol: pages.py)."""

    def __init__(self, file: FileBytes, head: KdumpHeader, rescue: bool = False) -> None:
        super().__init__()
        abi, header, layout = head.abi, head.header, head.layout
        self.file, self.head, self.abi, self.origin = file, head, abi, file.path
        self.nodename, self.release = text(header.utsname.nodename), text(header.utsname.release)
        self.kind = f"{'KDUMP' if head.is_kdump else 'DISKDUMP'} v{head.version}"
        self.dump_level = head.sub.dump_level if head.is_kdump and head.version >= HAS_LEVEL else 0
        self.ram = PageMap.of_bitmap(file.view(layout.bitmap1_at, layout.bitmap_bytes), head.max_pfn)
        self._all = PageMap.of_bitmap(file.view(layout.bitmap2_at, layout.bitmap_bytes), head.max_pfn)
        if (strange := (self._all - self.ram).count()):
            raise FormatError(f"{file.path}: {strange} pages are stored that are no RAM by the first bitmap; one of "
                              "them is damaged")
        self.stored = self._all
        self._below = self._all.rank(head.first)
        if (head.first, head.end) != (0, head.max_pfn):
            self.stored = self._all & PageMap.of_runs([(head.first, head.end - head.first)], head.max_pfn)
        count = self._all.rank(head.end) - self._below
        end = layout.descriptors_at + count * DESCRIPTOR_BYTES
        if end > file.size:
            raise FormatError(f"{file.path}: its {count} page descriptors end at byte {end}, the file at {file.size}; "
                              "it is cut short or damaged")
        self._dtype = descriptor_dtype(abi)
        self.cpus, self.notes, self.vmcoreinfo = _notes(file, head)
        self.incomplete = bool(header.status & KdumpStatus.INCOMPLETE) if head.is_kdump else header.status & 7 != 0
        self.crashtime = header.timestamp.tv_sec or vmci.number(vmci.parse(self.vmcoreinfo), "CRASHTIME")
        self._decompress = Decompressor(abi.page_size).page
        if rescue:
            whole = self.stored
            self.stored = self._readable(whole)
            self.incomplete |= self.stored != whole
        else:
            self._check_end()

    def _check_end(self) -> None:
        """FormatError when the last page, which writers put last, is not all there."""
        count = self.stored.count()
        if not count:
            return
        offset, size, *_ = self.descriptors(self.stored.nth_frame(count - 1), 1)[0].tolist()
        if offset and offset + size > self.file.size:
            raise FormatError(f"{self.origin}: its pages end at byte {offset + size}, the file at {self.file.size}: "
                              f"{offset + size - self.file.size} bytes are missing, it is cut short; `ddsdk convert "
                              "--skip-damaged` saves what is there")

    def _readable(self, stored: PageMap) -> PageMap:
        """The frames whose descriptors can be true."""
        found = stored.copy()
        for low, count in stored.pieces(_TABLE_STEP):
            table = self.descriptors(low, count)
            offset, size = table["offset"].astype(np.int64), table["size"].astype(np.int64)
            good = (offset > 0) & (size <= self.page_size) & (offset <= self.file.size - size)
            for bad in np.flatnonzero(~good).tolist():
                found.drop_run(low + bad, 1)
        return found

    def descriptors(self, first: int, count: int) -> npt.NDArray[np.void]:
        """The page descriptors of *count* stored frames from the stored frame *first* on."""
        at = self.head.layout.descriptors_at + (self._all.rank(first) - self._below) * DESCRIPTOR_BYTES
        return np.frombuffer(self.file.view(at, count * DESCRIPTOR_BYTES), self._dtype)

    def read_frames(self, first: int, count: int, into: memoryview) -> None:
        """Decompress [first, first + count), all stored, to *into*."""
        page, at = self.page_size, 0
        table = self.descriptors(first, count)
        columns = (table[name].tolist() for name in ("offset", "size", "flags"))
        for pfn, (offset, size, flags) in enumerate(zip(*columns, strict=True), first):
            into[at:at + page] = self._page(pfn, offset, size, flags)
            at += page

    def _page(self, pfn: int, offset: int, size: int, flags: int) -> bytes | bytearray | memoryview:
        if size > self.page_size:
            raise damaged(self, pfn, f"its descriptor says {size} bytes for a page of {self.page_size}")
        if not offset:
            raise damaged(self, pfn, "it was never written: the dump ran out of room")
        try:
            data = self.file.view(offset, size)
            return data if flags == PageFlag.RAW and size == self.page_size else self._decompress(flags, data)
        except FormatError as error:
            raise damaged(self, pfn, str(error).removeprefix(f"{self.origin}: ")) from None


def is_kdump(file: FileBytes) -> bool:
    """Whether *file* starts as a compressed dump file does."""
    return file.size >= len(SIGNATURE) and file.view(0, len(SIGNATURE)) in (SIGNATURE, KDUMP_SIGNATURE)


def open_kdump(file: FileBytes, *, rescue: bool = False) -> KdumpSource:
    """The memory in *file*, whose close() is ours from now on.  FormatError, one line, for anything it cannot be.

    *rescue*: pages that cannot be there, because the file is cut short or a descriptor damaged, are not `stored`.
    """
    try:
        return KdumpSource(file, read_kdump_header(file), rescue)
    except BaseException:
        file.close()
        raise


def read_kdump_header(file: FileBytes) -> KdumpHeader:
    """The header, sub header and layout of *file*."""
    if not is_kdump(file):
        raise FormatError(f"{file.path}: no compressed dump file: those start with DISKDUMP or KDUMP")
    head = file.view(0, min(file.size, 4096))
    problem = f"{file.path}: its header has {len(head)} bytes; it is cut short"
    for abi in _machines(head):
        header = DiskDumpHeader.on(abi).unpack(head)
        reason = implausible(header, abi, file.size)
        if reason is None:
            return _believed(file, with_page_size(abi.name, header.block_size), header)
        problem = f"{file.path}: it starts like a dump file, but {reason}; the header is damaged"
    raise FormatError(problem)


def _machines(head: bytes | memoryview) -> list[Abi]:
    """The machines that may have written this header: the one it names, else any whose block size makes sense."""
    abis = [abi for abi in (*ABIS, *READ_ONLY_ABIS) if DiskDumpHeader.on(abi).size <= len(head)]
    read = {abi.name: DiskDumpHeader.on(abi).unpack(head) for abi in abis}
    fits = [abi for abi in abis if implausible(read[abi.name], abi, 1 << 62) is None]
    return sorted(fits or abis, key=lambda abi: not names_machine(read[abi.name].utsname, abi))[:None if fits else 1]


def _believed(file: FileBytes, abi: Abi, header: DiskDumpHeader) -> KdumpHeader:
    path, is_kdump_file = file.path, header.signature == KDUMP_SIGNATURE
    page, size = header.block_size, header.sub_hdr_size * header.block_size
    if page + size > file.size:
        raise FormatError(f"{path}: its sub header ends at byte {page + size}, the file at {file.size}; it is cut "
                          "short")
    sub = KdumpSubHeader()
    wire = KdumpSubHeader.on(abi)
    if is_kdump_file and size >= wire.size:
        sub = wire.unpack(bytes(file.view(page, wire.size)))
    wide = is_kdump_file and header.header_version >= HAS_64BIT
    max_pfn = sub.max_mapnr_64 if wide and sub.max_mapnr_64 else header.max_mapnr
    if not 0 < max_pfn <= MAX_PADDR // page:
        raise FormatError(f"{path}: it counts {max_pfn} page frames; a machine has 1 to {MAX_PADDR // page}")
    layout = KdumpLayout.of(header, max_pfn, file.size, path)
    first, end = 0, max_pfn
    if is_kdump_file and header.header_version >= HAS_SPLIT and sub.split:
        first, end = (sub.start_pfn_64, sub.end_pfn_64) if wide else (sub.start_pfn, sub.end_pfn)
        if not 0 <= first <= end <= max_pfn:
            raise FormatError(f"{path}: it is the part {first:#x} to {end:#x} of a split dump of {max_pfn:#x} page "
                              "frames; the sub header is damaged")
    return KdumpHeader(abi, header, sub, layout, max_pfn, first, end)


def _notes(file: FileBytes, head: KdumpHeader) -> tuple[tuple[CpuNote, ...], tuple[Note, ...], bytes | None]:
    """Registers, every note, VMCOREINFO."""
    abi, sub, layout = head.abi, head.sub, head.layout
    if not head.is_kdump:
        size = head.header.sub_hdr_size * layout.page_size
        parsed = parse_sub_notes(abi, bytes(file.view(layout.sub_header_at, size)), head.header.current_cpu)
        return parsed.cpus, parsed.notes, parsed.vmcoreinfo
    notes: list[Note] = []
    if head.version >= HAS_NOTES and sub.size_note:
        notes = parse_notes(abi, _piece(file, "notes", sub.offset_note, sub.size_note))
    cpus, vmcoreinfo = cpus_and_vmcoreinfo(abi, notes)
    if vmcoreinfo is None and head.version >= HAS_VMCOREINFO and sub.size_vmcoreinfo:
        vmcoreinfo = _piece(file, "VMCOREINFO", sub.offset_vmcoreinfo, sub.size_vmcoreinfo)
    return cpus, tuple(notes), vmcoreinfo


def _piece(file: FileBytes, what: str, offset: int, size: int) -> bytes:
    if size > MAX_NOTES_BYTES or offset < 0 or offset + size > file.size:
        raise FormatError(f"{file.path}: its {what} lie at bytes {offset}..{offset + size}, the file ends at "
                          f"{file.size}; it is cut short or damaged")
    return bytes(file.view(offset, size))


class SplitSource(KdumpSource):
    """The files of one split dump together."""

    def __init__(self, parts: Sequence[KdumpSource]) -> None:
        first = parts[0]
        super().__init__(first.file, first.head)
        self.parts = sorted(parts, key=lambda part: (part.head.first, part.head.end))
        self.origin = f"{self.parts[0].origin} and {len(parts) - 1} more"
        self.stored = reduce(or_, (part.stored for part in parts))
        self.incomplete = any(part.incomplete for part in parts)

    def read_frames(self, first: int, count: int, into: memoryview) -> None:
        """Each frame from the file that has it."""
        page, end = self.page_size, first + count
        for part in self.parts:
            low, high = max(first, part.head.first), min(end, part.head.end)
            if low < high:
                part.read_frames(low, high - low, into[(low - first) * page:(high - first) * page])

    def close(self) -> None:
        """Close every file."""
        for part in self.parts:
            part.close()


def open_split(sources: Sequence[KdumpSource]) -> SplitSource:
    """One memory out of a complete set; FormatError when files are missing, doubled, or of another dump."""
    reference = bytes(sources[0].file.view(0, DiskDumpHeader.on(sources[0].abi).size))
    for source in sources:
        if not source.head.split:
            raise FormatError(f"{source.origin}: no part of a split dump; give it alone")
        if bytes(source.file.view(0, len(reference))) != reference or source._all != sources[0]._all:
            raise FormatError(f"{source.origin}: a part of another dump than {sources[0].origin}")
    at = 0
    ordered = sorted(sources, key=lambda source: (source.head.first, source.head.end))
    for source in ordered:
        if source.head.first != at:
            raise FormatError(f"{source.origin}: it has page frames {source.head.first:#x} to {source.head.end:#x}, "
                              f"and the parts before end at {at:#x}; a part is missing or given twice")
        at = source.head.end
    if at != sources[0].max_pfn:
        raise FormatError(f"{ordered[-1].origin}: the parts end at page frame {at:#x} of {sources[0].max_pfn:#x}; a "
                          "part is missing")
    return SplitSource(ordered)
