"""A dump partition into a vmcore, and the partition made ready for the next dump.

Order, so that a failure or a kill anywhere loses nothing: read and decide; make the directory; reserve the
space; copy the pages; write the ELF header - until then the file is no ELF file; sync; rename; sync the
directories; only then take the dump off the device.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeVar

from attrs import define, evolve, field, frozen

from ddsdk.errors import DdsdkError, DeviceError, FormatError
from ddsdk.vmcore.elf import CoreLayout

from .crashdir import CaseDirectory, CrashDirectory, NoSpaceError, VmcoreFile, run_nospace_script
from .partition import DumpState, PageRun, PartitionDump, read_open_partition
from .record import FormatRecord
from .resign import erase_header, finish, read_marker, resign
from .savelog import save_log
from .segments import core_layout, cut_at_kernel
from .signature import block_states, true_extents
from .stream import JOB_BYTES, run_jobs
from .target import DumpTarget, TargetFile

if TYPE_CHECKING:
    from ddsdk.vmcore.convert import Conversion

    from .swap_save import SwapImage

T = TypeVar("T")


@frozen
class SaveOptions:
    """What savecore makes: `format` elf, kdump or lkcd; `level`, makedumpfile's bits; `codec` (None: the format's own).

    `jobs`: processes that compress; the file is the same for any number.
    """

    format: str = "elf"
    level: int = 0
    codec: str | None = None
    jobs: int = 1

    @property
    def plain(self) -> bool:
        """Whether a plain dump's blocks can be copied as they are."""
        return self.format == "elf" and not self.level and self.codec in (None, "none")


class Report(Protocol):
    """Called with (phase, done, total): phase "scan", "copy", "swap" or "sign", counts in blocks."""

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Take note."""


#: Called with (address, directory of the vmcore) when space is short; non-zero: there may be room now, try
#: again.
OnNospace = Callable[[str, str], int | None]


@frozen
class SaveReport:
    """What was saved and what became of the partition.  `swap`: the areas that were dumped with the memory.

    `state` NONE: there was no dump.  `path` is the vmcore, None when there is none.  `resigned_blocks` is
    None when the dump was left on the partition: asked for, or for the reason in `problem`.
    """

    state: DumpState
    why: str
    path: str | None = None
    pages: int = 0
    total_pages: int = 0
    uncertain_pages: int = 0
    file_bytes: int = 0
    segments: int = 0
    elf_class: int = 0
    resigned_blocks: int | None = None
    problem: str | None = None
    format: str = "elf"
    warnings: tuple[str, ...] = ()
    swap: tuple[SwapImage, ...] = ()

    @property
    def whole(self) -> bool:
        """Memory and swap areas are saved whole, and nothing is left to be done."""
        return (self.state is DumpState.COMPLETE and not self.problem
                and not any(area.missing_pages for area in self.swap))

    def describe(self) -> dict[str, object]:
        """What `--json` shows."""
        return {"state": self.state.value, "format": self.format, "why": self.why, "path": self.path,
                "pages": self.pages, "total_pages": self.total_pages, "uncertain_pages": self.uncertain_pages,
                "file_bytes": self.file_bytes, "segments": self.segments, "elf_class": self.elf_class,
                "resigned_blocks": self.resigned_blocks, "problem": self.problem, "warnings": list(self.warnings),
                "swap": [area.describe() for area in self.swap]}


def save(target: DumpTarget, directory: str, options: SaveOptions | None = None, *, keep: bool = False,
         progress: Report | None = None, on_nospace: OnNospace | None = None) -> SaveReport:
    """Save the dump on *target* under *directory* and give the partition its signatures back (unless *keep*).

    The vmcore is `DIRECTORY/127.0.0.1-<crash time, UTC>/vmcore`; of a dump that is not whole,
    `vmcore-incomplete`, with the pages that are there and no others.  Before it comes `vmcore-dmesg.txt`, which stays
    when there is no room for the vmcore; behind it come the swap areas (swap_save.py).  *on_nospace* replaces
    `DIRECTORY/scripts/diskdump-nospace`.

    DeviceError: device, directory or space; FormatError: a dump that cannot be read; UsageError: options that do not
    go together.  The dump is then where it was.
    """
    options = options or SaveOptions()
    tell = progress or _silent
    with target.open() as file:
        file.lock()
        interrupted = read_marker(file)
        if interrupted is not None:
            return _finish_interrupted(target, keep)
        dump = read_open_partition(file, lambda done, total: tell("scan", done, total))
        if dump.state is DumpState.NONE:
            return SaveReport(DumpState.NONE, dump.why)
        conversion = None
        if dump.partial or not options.plain:
            from .savefile import conversion_of

            conversion = conversion_of(options.format, options.level, options.codec, options.jobs)
        with CrashDirectory.open(directory) as parent:
            report = _save_under(parent, file, dump, conversion, tell, on_nospace)
        return report if keep or report.problem else _give_back(target, dump, report, tell)


def _silent(phase: str, done: int, total: int) -> None:
    """Report nothing."""


def _finish_interrupted(target: DumpTarget, keep: bool) -> SaveReport:
    why = f"{target}: no dump: an earlier savecore saved it and was stopped while it gave the signatures back"
    if keep:
        return SaveReport(DumpState.NONE, why)
    with target.open(write=True) as file:
        marker = read_marker(file)
        signed = finish(file, marker) if marker is not None else 0
    return SaveReport(DumpState.NONE, f"{why}; they are back now", resigned_blocks=signed)


def _save_under(parent: CrashDirectory, file: TargetFile, dump: PartitionDump, conversion: Conversion | None,
                tell: Report, on_nospace: OnNospace | None) -> SaveReport:
    case = parent.make(dump.dump.header.timestamp.tv_sec)
    try:
        if trouble := save_log(case, file, dump):
            dump = evolve(dump, warnings=(*dump.warnings, trouble))
        if conversion is not None:
            report = _convert_into(case, file, dump, conversion, tell, on_nospace)
        else:
            report = _save_into(case, file, dump, tell, on_nospace)
    except BaseException:
        case.discard()
        raise
    try:
        return report if dump.swap is None else _save_swap(case, file, dump, report, tell, on_nospace)
    finally:
        case.close()


def _save_swap(case: CaseDirectory, file: TargetFile, dump: PartitionDump, report: SaveReport, tell: Report,
               on_nospace: OnNospace | None) -> SaveReport:
    """The swap areas beside a vmcore that is safe: what keeps them from being saved is a problem of the report."""
    from .swap_save import save_areas

    try:
        if dump.swap is not None and dump.swap.damage:
            raise FormatError(dump.swap.damage)         # another version may read it
        return evolve(report, swap=save_areas(case, file, dump, tell,
                                              lambda action: _with_room(case, on_nospace, action)))
    except DdsdkError as error:
        return evolve(report, problem=f"the swap areas are not saved, the dump stays on the device: {error}")


def _with_room(case: CaseDirectory, on_nospace: OnNospace | None, action: Callable[[], T]) -> T:
    """*action*; once more when there was no room for it and the script made some."""
    try:
        return action()
    except NoSpaceError as full:
        ask = on_nospace or (lambda _ip, path: run_nospace_script(case.parent, path))
        try:
            answer = ask("127.0.0.1", case.path)
        except DeviceError as error:
            raise DeviceError(f"{full}; {error}") from None
        if not answer:                              # none, or 0: give up
            raise
    return action()


def _convert_into(case: CaseDirectory, file: TargetFile, dump: PartitionDump, conversion: Conversion, tell: Report,
                  on_nospace: OnNospace | None) -> SaveReport:
    from .savefile import write_vmcore

    written = write_vmcore(case, file, dump, conversion, tell, lambda action: _with_room(case, on_nospace, action))
    dump, made = written.dump, written.made
    path = case.publish(dump.state is DumpState.COMPLETE)
    return SaveReport(dump.state, dump.why, path, made.pages, dump.dump.total_pages, dump.uncertain_pages,
                      made.file_bytes, written.segments, written.elf_class, format=conversion.format.value,
                      warnings=(*dump.warnings, *(str(gap) for gap in made.gaps)))


def _save_into(case: CaseDirectory, file: TargetFile, dump: PartitionDump, tell: Report,
               on_nospace: OnNospace | None) -> SaveReport:
    dump = cut_at_kernel(dump)
    layout = core_layout(dump)
    vmcore = _with_room(case, on_nospace, lambda: case.create(layout.file_size))
    try:
        lost = _Copy(file, dump, layout, vmcore, tell).run()
        if lost:
            # never written although the header counts them, or not readable: without them, once more
            dump = _without(dump, lost)
            layout = core_layout(dump)
            vmcore.resize(layout.file_size)
            _Copy(file, dump, layout, vmcore, tell).run()
        vmcore.write(0, layout.header)
        vmcore.sync()
    finally:
        vmcore.close()
    path = case.publish(dump.state is DumpState.COMPLETE)
    return SaveReport(dump.state, dump.why, path, dump.written_pages, dump.dump.total_pages, dump.uncertain_pages,
                      layout.file_size, len(layout.offsets), layout.elf_class, warnings=dump.warnings)


def _without(dump: PartitionDump, lost: list[tuple[int, int]]) -> PartitionDump:
    """*dump* without the blocks of *lost*: sorted, disjoint extents [start, end)."""
    pages: list[PageRun] = []
    for run in dump.pages:
        at, end = run.block, run.block + run.npages
        for start, stop in [*(extent for extent in lost if extent[0] < end and extent[1] > at), (end, end)]:
            if start > at:
                pages.append(PageRun(at, run.pfn + at - run.block, start - at))
            at = max(at, stop)
    count = sum(end - start for start, end in lost)
    missing = f"{count} pages that it should hold are not on the device (first in block {lost[0][0]})"
    left = sum(run.npages for run in pages)
    return evolve(dump, state=DumpState.INCOMPLETE, pages=tuple(pages), warnings=(*dump.warnings, missing),
                  why=f"incomplete dump, {left} of {dump.dump.total_pages} pages: {missing}")


@define(eq=False)
class _Copy:
    """The pages from the partition into the file, block runs to segments."""

    file: TargetFile
    dump: PartitionDump
    layout: CoreLayout
    vmcore: VmcoreFile
    tell: Report
    _lost: list[tuple[int, int]] = field(init=False, factory=list)
    _lock: threading.Lock = field(init=False, factory=threading.Lock)

    def run(self) -> list[tuple[int, int]]:
        """Copy everything; the blocks, as sorted extents, that turned out to hold no page of this dump."""
        total = self.dump.written_pages
        done = 0

        def keep(count: int) -> None:
            nonlocal done
            done += count
            self.tell("copy", done, total)

        self.file.prepare_bulk_read()
        run_jobs(self._jobs(), self._copy, keep, total_bytes=total * self.dump.dump.abi.page_size)
        return sorted(self._lost)

    def _jobs(self) -> Iterator[tuple[int, int, int]]:
        """(first block, blocks, file offset)."""
        page = self.dump.dump.abi.page_size
        most = JOB_BYTES // page
        for run, offset in zip(self.dump.pages, self.layout.offsets, strict=True):
            for at in range(0, run.npages, most):
                yield run.block + at, min(most, run.npages - at), offset + at * page

    def _copy(self, job: tuple[int, int, int], buffer: memoryview) -> int:
        block, count, offset = job
        abi = self.dump.dump.abi
        start, size = block * abi.page_size, count * abi.page_size
        try:
            view = self.file.borrow(start, size, buffer)
        except DeviceError:
            view = self._read_singly(block, buffer[:size])
        if self.dump.kind is not None:
            intact, torn = block_states(view, block, abi, self.dump.kind)
            if (lost := intact | torn).any():
                self._lose(true_extents(lost, block))
        self.vmcore.write(offset, view)
        self.file.give_back(start, size)
        return count

    def _read_singly(self, block: int, view: memoryview) -> memoryview:
        """Fill *view* block by block, so that only the unreadable ones are lost."""
        page = self.dump.dump.abi.page_size
        for at in range(0, len(view), page):
            try:
                self.file.read_into(block * page + at, view[at:at + page])
            except DeviceError:
                self._lose(((block + at // page, block + at // page + 1),))
        return view

    def _lose(self, extents: tuple[tuple[int, int], ...]) -> None:
        with self._lock:
            self._lost += extents


def _give_back(target: DumpTarget, dump: PartitionDump, report: SaveReport, tell: Report) -> SaveReport:
    """Take the dump off the partition.  A failure here is a problem of the report: the vmcore is safe."""
    abi = dump.dump.abi
    record = dump.record or (FormatRecord(dump.kind, abi, dump.dump.device_blocks) if dump.kind else None)
    try:
        with target.open(write=True) as file:
            if record is None:
                erase_header(file, abi.page_size)
                return evolve(report, resigned_blocks=0, warnings=(*report.warnings, "the device had no signatures; "
                                                                   "the dump's header was erased"))
            signed = resign(file, record, dump.touched_end, lambda done, total: tell("sign", done, total))
    except DdsdkError as error:
        return evolve(report, problem=f"the signatures are not back: {error}")
    return evolve(report, resigned_blocks=signed)
