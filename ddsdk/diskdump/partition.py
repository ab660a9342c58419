"""Reading a dump partition back with plain file I/O: header, sub header, bitmap, and what block holds what page.

Nothing in the header is believed before it is bounded by the partition's own size; nothing is allocated
before. Layout: formats.md 1.2 to 1.6 (RHEL 3 and 4 `drivers/block/diskdump.c`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum

import numpy as np
import numpy.typing as npt
from attrs import evolve, field, frozen

from ddsdk.abi import ABIS, PPC64, X86_64, Abi
from ddsdk.errors import FormatError
from ddsdk.vmcore.dumpheader import SIGNATURE, DiskDumpHeader, bitmap_blocks, names_machine, text, unpack_tasks
from ddsdk.vmcore.pagemap import PageMap
from ddsdk.vmcore.subnotes import MAX_SUB_HEADER_BYTES

from .header import HEADER_BLOCK, LEADING_BLOCKS, Status
from .notes import SubHeader, parse_sub_header
from .probe import PAGE_SIZES
from .record import FormatRecord, abi_with_page_size
from .saved import RECORD_HEAD_BYTES, SavedPages, read_saved
from .scan import Extents, scan_data
from .signature import SignatureKind, kind_of_block
from .swap_read import SwapPart, read_swap
from .target import DumpTarget, TargetFile

Progress = Callable[[int, int], None]


class DumpState(Enum):
    """What a partition holds."""

    NONE = "no dump"
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"


@frozen
class PageRun:
    """`npages` pages from frame `pfn` on, in blocks `block`, `block` + 1, ... of the partition."""

    block: int
    pfn: int
    npages: int


@frozen
class HeaderFacts:
    """The header block, believed: every number fits the partition."""

    abi: Abi
    header: DiskDumpHeader
    tasks: tuple[int, ...]
    device_blocks: int

    @property
    def data_start(self) -> int:
        """Block of the first page."""
        return LEADING_BLOCKS + self.header.sub_hdr_size + self.header.bitmap_blocks

    @property
    def total_pages(self) -> int:
        """Pages the whole dump has."""
        return self.header.total_ram_blocks

    @property
    def status(self) -> Status:
        """The status as the dump left it."""
        return Status(self.header.status)

    @property
    def two_bitmaps(self) -> bool:
        """A partial dump: the second bitmap says which pages were saved."""
        single = bitmap_blocks(self.header.max_mapnr, self.abi.page_size)
        return self.header.bitmap_blocks == 2 * single


@frozen
class PartitionDump:
    """A partition read.  With `state` NONE only `why` and `kind` mean anything.

    `pages` are the pages that are there, by block; `uncertain_pages` more may be there, but a sparse format
    cannot tell (they are not in `pages`).  `touched_end` is the first block the dump certainly left alone.
    `layout`: bitmaps and records.  `stored`: the page frames that are there, of a partial or compressed dump; one of
    records has no `pages`.  `swap`: areas saved behind the memory, None when none were to be.
    """

    state: DumpState
    why: str
    kind: SignatureKind | None = None
    facts: HeaderFacts | None = None
    sub: SubHeader | None = None
    record: FormatRecord | None = None
    pages: tuple[PageRun, ...] = ()
    uncertain_pages: int = 0
    touched_end: int = 0
    warnings: tuple[str, ...] = ()
    layout: SavedPages | None = field(default=None, eq=False, repr=False)
    swap: SwapPart | None = field(default=None, eq=False, repr=False)
    stored: PageMap | None = field(default=None, eq=False, repr=False)

    @property
    def partial(self) -> bool:
        """A second bitmap says which pages were saved."""
        return self.facts is not None and self.facts.two_bitmaps

    @property
    def written_pages(self) -> int:
        """Pages that are there."""
        return self.stored.count() if self.stored is not None else sum(run.npages for run in self.pages)

    @property
    def dump(self) -> HeaderFacts:
        """The header; FormatError when there is no dump."""
        if self.facts is None:
            raise FormatError(self.why)
        return self.facts

    @property
    def dump_level(self) -> int | None:
        """The filter that made it, makedumpfile's bits; None when the dump does not say."""
        if not self.partial:
            return 0
        return self.sub.partial.level if self.sub is not None and self.sub.partial is not None else None

    @property
    def codec_name(self) -> str:
        """What records that are compressed are compressed with: what our note says, else zlib."""
        if self.facts is None or not self.facts.status & Status.COMPRESSED:
            return "none"
        return self.sub.partial.codec if self.sub is not None and self.sub.partial is not None else "zlib"

    def describe(self) -> dict[str, object]:
        """What `info` and `--json` show."""
        shown: dict[str, object] = {"state": self.state.value, "why": self.why,
                                    "signature": self.kind.value if self.kind else None}
        if self.facts is not None:
            header, names = self.facts.header, self.facts.header.utsname
            shown |= {
                "abi": self.facts.abi.name, "block_bytes": header.block_size, "status": header.status,
                "header_version": header.header_version, "release": text(names.release),
                "nodename": text(names.nodename), "machine": text(names.machine),
                "timestamp": header.timestamp.tv_sec, "nr_cpus": header.nr_cpus,
                "current_cpu": header.current_cpu, "device_blocks": header.device_blocks,
                "written_blocks": header.written_blocks, "data_start": self.facts.data_start,
                "total_pages": self.facts.total_pages, "written_pages": self.written_pages,
                "uncertain_pages": self.uncertain_pages,
            }
        if self.partial and self.layout is not None:
            shown |= {"saved_pages": self.layout.saved.count(), "records": self.layout.records is not None,
                      "dump_level": self.dump_level, "compress": self.codec_name}
        if self.sub is not None:
            shown |= {"cpus_with_registers": len(self.sub.cpus), "vmcoreinfo": self.sub.vmcoreinfo is not None}
        if self.swap is not None:
            shown |= {"swap": self.swap.describe()}
        return shown | {"warnings": list(self.warnings)}


def read_partition(target: DumpTarget, progress: Progress | None = None) -> PartitionDump:
    """Read *target*; FormatError, one line, when it holds a dump header that cannot be."""
    with target.open() as file:
        return read_open_partition(file, progress)


def read_open_partition(file: TargetFile, progress: Progress | None = None) -> PartitionDump:
    """The same for a target that is open.  `progress(done, total)` counts blocks of the search for the end."""
    facts = read_header(file)
    if facts is None:
        return PartitionDump(DumpState.NONE, f"{file}: no dump header in block {HEADER_BLOCK}", device_kind(file))
    kind = device_kind(file, facts.abi)
    dump = PartitionDump(DumpState.INCOMPLETE, "", kind, facts)
    if facts.status & Status.INCOMPLETED and facts.header.written_blocks < facts.data_start:
        return evolve(dump, touched_end=_touched_end(file, dump, facts.data_start, progress),
                      why=f"{file}: the dump stopped before any page was written")
    dump = _with_pages(file, dump, facts, progress)
    swap = read_swap(file, dump, progress)
    if swap is None:
        return dump
    return evolve(dump, swap=swap, touched_end=max(dump.touched_end, swap.touched_end),
                  warnings=(*dump.warnings, *swap.warnings))


def read_header(file: TargetFile) -> HeaderFacts | None:
    """The dump header of *file*, or None when block 1 does not start one.  FormatError when it cannot be."""
    problem = None
    for page in PAGE_SIZES:
        if file.size < 3 * page or file.read(page, len(SIGNATURE)) != SIGNATURE:
            continue
        block = file.read(page, page)
        for abi in _machines(block, page):
            header = DiskDumpHeader.on(abi).unpack(block)
            reason = _implausible(header, file.blocks(page))
            if reason is None:
                return HeaderFacts(abi, header, unpack_tasks(abi, block), file.blocks(page))
            problem = problem or f"{file}: block 1 starts like a dump header, but {reason}; the header is damaged"
        problem = problem or (f"{file}: block 1 starts like a dump header, but its block size is not the {page} bytes "
                              "it lies at on any machine ddsdk knows; the header is damaged")
    if problem is not None:
        raise FormatError(problem)
    return None


def _machines(block: bytes, page: int) -> list[Abi]:
    """Machines on which the header has the right block size; first those that utsname names."""
    fits = []
    for native in ABIS:
        abi = abi_with_page_size(native, page)
        header = DiskDumpHeader.on(abi).unpack(block)
        if header.block_size == page:
            named = names_machine(header.utsname, native)
            fits.append((not named, native.page_size != page, abi))
    return [abi for *_, abi in sorted(fits, key=lambda fit: fit[:2])]


def _implausible(header: DiskDumpHeader, blocks: int) -> str | None:
    """Why *header* cannot be that of a partition of *blocks* blocks; None when it can."""
    page = header.block_size
    single = bitmap_blocks(header.max_mapnr, page)
    start = LEADING_BLOCKS + header.sub_hdr_size + header.bitmap_blocks
    if header.status & ~int(Status.COMPRESSED | Status.SHORT_AREA | Status.IN_PROGRESS | Status.INCOMPLETED):
        return f"its status is {header.status:#x}, no combination of 1, 2, 4 and 8"
    if header.header_version not in (0, 1):
        return f"its version is {header.header_version}; there are 0 and 1"
    if not 1 <= header.sub_hdr_size <= MAX_SUB_HEADER_BYTES // page:
        return f"its sub header has {header.sub_hdr_size} blocks, not 1 to {MAX_SUB_HEADER_BYTES // page}"
    if not single or header.bitmap_blocks not in (single, 2 * single):
        return (f"its bitmap has {header.bitmap_blocks} blocks, and {header.max_mapnr} page frames take {single} "
                "(or twice that)")
    if header.status & Status.COMPRESSED and header.bitmap_blocks == single:
        return f"its status is {header.status:#x}, compressed records, and it has one bitmap"
    if header.total_ram_blocks > header.max_mapnr:
        return f"it counts {header.total_ram_blocks} pages among {header.max_mapnr} page frames"
    if start > blocks:
        return f"its pages start at block {start}, the partition has {blocks}"
    if header.written_blocks > max(blocks, 2):
        return f"it counts {header.written_blocks} written blocks, the partition has {blocks}"
    if header.status == Status.COMPLETED and not start <= header.written_blocks <= start + header.total_ram_blocks:
        return (f"it counts {header.written_blocks} written blocks, the whole dump has "
                f"{start + header.total_ram_blocks}")
    return None


def device_kind(file: TargetFile, abi: Abi | None = None) -> SignatureKind | None:
    """The kind of signature in block 0, which no dump overwrites, or in the last block; None when in neither."""
    machines = (abi,) if abi else tuple(abi_with_page_size(native, page) for native in (X86_64, PPC64)
                                        for page in PAGE_SIZES)
    for machine in machines:
        page, blocks = machine.page_size, file.blocks(machine.page_size)
        for block in (0, blocks - 1) if blocks > 1 else ():
            kind = kind_of_block(file.read(block * page, page), block, machine)
            if kind is not None:
                return kind
    return None


def _with_pages(file: TargetFile, dump: PartitionDump, facts: HeaderFacts,
                progress: Progress | None) -> PartitionDump:
    header, page = facts.header, facts.abi.page_size
    warnings: tuple[str, ...] = ()
    layout = read_saved(file, facts)
    sub_bytes = file.read(2 * page, header.sub_hdr_size * page)
    try:
        sub = parse_sub_header(facts.abi, sub_bytes, header.current_cpu)
    except FormatError as error:        # memory is worth saving without the notes
        warnings += (f"{error}; only the dumping CPU's registers are left",)
        sub = parse_sub_header(facts.abi, sub_bytes[:facts.abi.gregset_bytes], header.current_cpu)
    if header.device_blocks != facts.device_blocks:
        warnings += (f"the header knows a partition of {header.device_blocks} blocks, this one has "
                     f"{facts.device_blocks}",)
    record = _fitting(sub.record, facts, dump.kind)
    dump = evolve(dump, sub=sub, record=record, kind=dump.kind or (record.kind if record else None), layout=layout,
                  warnings=warnings)
    start, total, ram = facts.data_start, facts.total_pages, layout.ram
    if facts.two_bitmaps:
        return _partial(file, dump, facts, layout, progress)
    if facts.status == Status.COMPLETED:
        written = header.written_blocks - start
        state = DumpState.COMPLETE if written == total else DumpState.INCOMPLETE
        why = f"{file}: {state.value} dump, {written} of {total} pages"
        return evolve(dump, state=state, why=why, warnings=warnings, touched_end=start + written,
                      pages=tuple(_page_runs(((start, start + written),), ram, start)))
    end = min(start + total, facts.device_blocks)
    if dump.kind is None:
        return evolve(dump, state=DumpState.INCOMPLETE, warnings=warnings, touched_end=end,
                      why=f"{file}: an incomplete dump on a device without signatures: its end cannot be found")
    found = scan_data(file, facts.abi, dump.kind, record, start, end, facts.device_blocks, progress)
    pages = tuple(_page_runs(found.written, ram, start))
    count = sum(run.npages for run in pages)
    more = f" (up to {found.uncertain} more may be there: the format is sparse)" if found.uncertain else ""
    return evolve(dump, state=DumpState.INCOMPLETE, pages=pages, uncertain_pages=found.uncertain,
                  touched_end=found.touched_end, warnings=(*warnings, *found.warnings),
                  why=f"{file}: incomplete dump, {count} of {total} pages were written{more}")


def _fitting(record: FormatRecord | None, facts: HeaderFacts, kind: SignatureKind | None) -> FormatRecord | None:
    """*record* if it can be this partition's: the blocks, byte order and kind of signature that are seen there."""
    if record is None or (kind is not None and record.kind is not kind):
        return None
    same = (record.abi.page_size == facts.abi.page_size and record.abi.byteorder == facts.abi.byteorder
            and record.device_blocks == facts.device_blocks)
    return record if same else None


def _partial(file: TargetFile, dump: PartitionDump, facts: HeaderFacts, layout: SavedPages,
             progress: Progress | None) -> PartitionDump:
    """A dump with a second bitmap: the pages up to written_blocks; bits set for more have no page."""
    start, records = facts.data_start, layout.records
    written = max(start, facts.header.written_blocks)
    promised = layout.saved.count()
    count = len(records) if records is not None else min(written - start, promised)
    warnings = dump.warnings
    ended = facts.status & ~Status.COMPRESSED
    if ended == Status.COMPLETED and count < promised:
        why = records.why if records is not None else "the header counts fewer blocks"
        warnings += (f"{promised - count} of the {promised} pages that were saved are not there: {why}",)
    state = DumpState.COMPLETE if ended == Status.COMPLETED and count == promised else DumpState.INCOMPLETE
    touched = written
    if ended not in (Status.COMPLETED, Status.SHORT_AREA):
        touched = _touched_end(file, dump, written, progress)
    stored = layout.saved if count == promised else layout.first(count)
    pages = () if records is not None else tuple(_page_runs(((start, start + count),), layout.saved, start))
    cut = "; the partition was too small for more" if ended == Status.SHORT_AREA else ""
    return evolve(dump, state=state, stored=stored, pages=pages, touched_end=touched, warnings=warnings,
                  why=f"{file}: {state.value} partial dump, {count} of {facts.total_pages} pages{cut}")


def _touched_end(file: TargetFile, dump: PartitionDump, written: int, progress: Progress | None) -> int:
    """The first block behind *written* that an interrupted dump left alone, as far as the signatures tell.

    A dump takes at most a record a page; blocks that were in flight lie behind what the header counts.
    """
    facts = dump.dump
    page, pages = facts.abi.page_size, facts.total_pages
    most = facts.data_start - (-pages * (page + RECORD_HEAD_BYTES) // page)
    end = max(written, min(most, facts.device_blocks))
    if dump.kind is None or end == written:
        return end
    return scan_data(file, facts.abi, dump.kind, dump.record, written, end, facts.device_blocks, progress).touched_end


def _rows(frames: PageMap) -> npt.NDArray[np.int64]:
    """The runs of *frames* as rows (first page frame, number)."""
    return np.array(list(frames.runs()), np.int64).reshape(-1, 2)


def _page_runs(extents: Extents | Sequence[tuple[int, int]], frames: PageMap, data_start: int) -> Iterator[PageRun]:
    """Blocks [start, end) as pages: the k-th of *frames* lies in block data_start + k."""
    ram = _rows(frames)
    before = np.concatenate(([0], np.cumsum(ram[:, 1])))
    for first, last in extents:
        at, end = first - data_start, last - data_start
        index = int(np.searchsorted(before, at, side="right")) - 1
        while at < end:
            take = min(end, int(before[index + 1])) - at
            yield PageRun(data_start + at, int(ram[index, 0]) + at - int(before[index]), take)
            at += take
            index += 1
