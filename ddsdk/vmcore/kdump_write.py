"""Writing compressed dump files: `KDUMP` version 6, and `DISKDUMP` version 1 for the tools of its time.

Layout: formats.md 3, as makedumpfile 1.7 writes it: header, sub header with the notes behind it, two bitmaps, page
descriptors, page data back to back.  With makedumpfile's level 1 a zero page stays in the second bitmap and its
descriptor points to one page of zeros at the start of the data (3.5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from attrs import frozen

from ddsdk.abi import Abi
from ddsdk.errors import FormatError

from .codecs import Codec, PageFlag
from .dumpheader import KDUMP_SIGNATURE, SIGNATURE, DiskDumpHeader, Timespec, bitmap_blocks
from .kdump_layout import (
    DESCRIPTOR_BYTES,
    DISKDUMP_VERSION,
    VERSION,
    KdumpStatus,
    KdumpSubHeader,
    descriptor_dtype,
)
from .notes import VMCOREINFO, Note, pack_notes
from .output import Output
from .packing import SHARED_ZERO, Packed, Packing, Runs
from .pagemap import PageMap
from .pages import PageSource
from .subnotes import pack_sub_header
from .utsname import utsname_of
from .vmcoreinfo import number, parse

#: Pages a job has: enough to make the pipe cheap, few enough for a small buffer.
JOB_BYTES = 1 << 20
ZERO_PAGES = 1                  # the level bit
U32 = 0xFFFF_FFFF
#: `Progress(done, total)` counts pages.
Progress = Callable[[int, int], None]


@frozen
class KdumpOptions:
    """What is written.

    `kept`: the page frames that go in.  `level`: what the header says of the filter.  `split`: the page frames [first,
    end) of one file of a set.  `diskdump`: a `DISKDUMP` version 1 file, with zlib or nothing.
    """

    kept: PageMap
    codec: Codec
    level: int = 0
    split: tuple[int, int] | None = None
    diskdump: bool = False
    incomplete: bool = False


@frozen
class KdumpReport:
    """`pages` descriptors, of which `zeros` share a page; `data_bytes` of page data in a file of `file_bytes`."""

    pages: int
    zeros: int
    data_bytes: int
    file_bytes: int


def write_kdump(source: PageSource, output: Output, options: KdumpOptions, packing: Packing,
                progress: Progress | None = None) -> KdumpReport:
    """Write *source* to *output*.  FormatError for a page that cannot be read, DeviceError for a full medium."""
    if options.diskdump and options.codec not in (Codec.NONE, Codec.ZLIB):
        raise FormatError(f"DISKDUMP files have pages in zlib or none, not in {options.codec.value}; write KDUMP")
    return _Writer(source, output, options, packing, progress or _silent).run()


def _silent(done: int, total: int) -> None:
    """Report nothing."""


class _Writer:
    """One file under way."""

    def __init__(self, source: PageSource, output: Output, options: KdumpOptions, packing: Packing,
                 progress: Progress) -> None:
        self.source, self.output, self.options, self.packing, self.progress = source, output, options, packing, progress
        self.abi, self.page = source.abi, source.page_size
        self.first, self.end = options.split or (0, source.max_pfn)
        self.head = head_of(source, options)
        self.descriptors_at = len(self.head)
        self.pages = options.kept.rank(self.end) - options.kept.rank(self.first)
        self.data_at = self.descriptors_at + self.pages * DESCRIPTOR_BYTES
        self.share = bool(options.level & ZERO_PAGES)

    def run(self) -> KdumpReport:
        """Header, then jobs as they come back; the descriptors of a job right after its data."""
        self.output.write(0, self.head)
        at = self.data_at
        if self.share and self.pages:
            self.output.write(at, bytes(self.page))
            at += self.page
        done = zeros = 0
        dtype = descriptor_dtype(self.abi)
        for packed in self.packing.packed(self.jobs()):
            table, end = self.table(packed, at, dtype)
            self.output.write(at, packed.data)
            self.output.write(self.descriptors_at + done * DESCRIPTOR_BYTES, table.tobytes())
            zeros += int((packed.flags == SHARED_ZERO).sum())
            done, at = done + len(table), end
            self.progress(done, self.pages)
        return KdumpReport(done, zeros, at - self.data_at, at)

    def jobs(self) -> Iterator[Runs]:
        """The kept frames, in jobs of JOB_BYTES."""
        most = JOB_BYTES // self.page
        job: list[tuple[int, int]] = []
        room = most
        for first, count in self.options.kept.runs(self.first, self.end):
            while count:
                take = min(room, count)
                job.append((first, take))
                first, count, room = first + take, count - take, room - take
                if not room:
                    yield job
                    job, room = [], most
        if job:
            yield job

    def table(self, packed: Packed, at: int, dtype: np.dtype[np.void]) -> tuple[np.ndarray, int]:
        """The descriptors of *packed*, its data from byte *at* on; and where they end."""
        table = np.zeros(len(packed.sizes), dtype)
        shared = packed.flags == SHARED_ZERO
        sizes = np.where(shared, 0, packed.sizes).astype(np.int64)
        ends = np.cumsum(sizes)
        table["offset"] = np.where(shared, self.data_at, at + ends - sizes)
        table["size"] = packed.sizes
        table["flags"] = np.where(shared, int(PageFlag.RAW), packed.flags)
        return table, at + (int(ends[-1]) if len(ends) else 0)


def head_of(source: PageSource, options: KdumpOptions) -> bytes:
    """Header, sub header with notes, bitmaps: everything before the page descriptors."""
    abi, page = source.abi, source.page_size
    sub = _diskdump_sub_header(source) if options.diskdump else _kdump_sub_header(source, options)
    single = bitmap_blocks(source.max_pfn, page)
    seconds = source.crashtime if source.crashtime is not None else number(parse(source.vmcoreinfo), "CRASHTIME") or 0
    header = DiskDumpHeader(
        signature=SIGNATURE if options.diskdump else KDUMP_SIGNATURE,
        header_version=DISKDUMP_VERSION if options.diskdump else VERSION,
        utsname=utsname_of(source),
        timestamp=Timespec(tv_sec=seconds & (U32 >> 1 if abi.word_bytes == 4 else (1 << 63) - 1)),
        status=_status(options), block_size=page, sub_hdr_size=len(sub) // page, bitmap_blocks=2 * single,
        max_mapnr=min(source.max_pfn, U32), nr_cpus=max(1, len(source.cpus)),
        total_ram_blocks=source.ram.count() & U32 if options.diskdump else 0)
    first = DiskDumpHeader.on(abi).pack(header).ljust(page, b"\0")
    return first + sub + source.ram.bitmap(single, page) + options.kept.bitmap(single, page)


def _status(options: KdumpOptions) -> int:
    if options.diskdump:                    # 1: not finished, 8: compressed records
        return int(options.incomplete) | (8 if options.codec is Codec.ZLIB else 0)
    bit = {Codec.ZLIB: KdumpStatus.ZLIB, Codec.LZO: KdumpStatus.LZO, Codec.SNAPPY: KdumpStatus.SNAPPY,
           Codec.ZSTD: KdumpStatus.ZSTD, Codec.NONE: KdumpStatus(0)}[options.codec]
    return int(bit | KdumpStatus.INCOMPLETE) if options.incomplete else int(bit)


def _diskdump_sub_header(source: PageSource) -> bytes:
    """The dumping CPU's registers, and our area of notes."""
    regs = source.cpus[0].regs if source.cpus else b""
    return pack_sub_header(source.abi, regs, source.notes)


def _kdump_sub_header(source: PageSource, options: KdumpOptions) -> bytes:
    """struct kdump_sub_header, the notes behind it, VMCOREINFO where it lies among them."""
    abi, page, wire = source.abi, source.page_size, KdumpSubHeader.on(source.abi)
    notes = pack_notes(abi, source.notes)
    notes_at = page + wire.size
    first, end = options.split or (0, 0)
    long_max = U32 if abi.word_bytes == 4 else (1 << 64) - 1
    at = _vmcoreinfo_at(abi, source.notes)
    info = source.vmcoreinfo if at is not None and source.vmcoreinfo is not None else b""
    sub = KdumpSubHeader(
        offset_vmcoreinfo=notes_at + at if at is not None and info else 0, size_vmcoreinfo=len(info),
        phys_base=_phys_base(source) & long_max, dump_level=options.level, split=int(options.split is not None),
        start_pfn=min(first, long_max), end_pfn=min(end, long_max), offset_note=notes_at if notes else 0,
        size_note=len(notes), start_pfn_64=first, end_pfn_64=end, max_mapnr_64=source.max_pfn)
    data = wire.pack(sub) + notes
    return data.ljust(-(-len(data) // page) * page, b"\0")


def _vmcoreinfo_at(abi: Abi, notes: tuple[Note, ...]) -> int | None:
    """Where the VMCOREINFO descriptor lies among the packed notes."""
    at = 0
    for note in notes:
        if note.name == VMCOREINFO:
            return at + len(Note(note.name, note.type, b"").pack(abi))
        at += len(note.pack(abi))
    return None


def _phys_base(source: PageSource) -> int:
    """VMCOREINFO's NUMBER(phys_base); 0 when it does not say."""
    try:
        return int(parse(source.vmcoreinfo).get("NUMBER(phys_base)", "0"))
    except ValueError:
        return 0
