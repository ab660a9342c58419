"""Is this a dump partition, is it ready, does it hold a dump?  Nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from attrs import define, evolve, field, frozen

from ddsdk.abi import ABIS, X86_64, Abi
from ddsdk.errors import FormatError

from .header import Status
from .partition import read_header
from .probe import HEAD_BYTES, PAGE_SIZES, Host, refusals, swap_pages
from .record import FormatRecord, abi_with_page_size
from .resign import read_marker
from .signature import (
    USER_BLOCK,
    SignatureKind,
    differing_blocks,
    kind_of_block,
    owner_of_block,
    sampling,
    signed_mask,
    true_extents,
)
from .stream import CPU_WORKERS, JOB_BYTES, WORKERS, pieces, run_jobs
from .target import DumpTarget, TargetFile
from .verdict import BlockRun, CheckReport, Verdict, append_run

__all__ = ["BlockRun", "CheckReport", "Verdict", "check_device", "explain"]

Progress = Callable[[int, int], None]


def check_device(target: DumpTarget, *, sample_rate: int = 0, block_order: int = 2, abi: Abi | None = None,
                 blocks: int | None = None, per_block: bool = False, progress: Progress | None = None,
                 host: Host | None = None) -> CheckReport:
    """Check *target* as a dump of *blocks* blocks would (all of it when None), without writing.

    *sample_rate* 0 reads every block, N > 0 one chunk of 2**block_order blocks in every 2**N, negative none
    but the first ones.  *abi* when the caller knows the machine; else it is recognised.  *per_block* keeps a
    verdict for every block read.  DeviceError when the device cannot be read.
    """
    use = (host or Host()).use_of(target)
    with target.open() as file:
        found = _without_signatures(file, use)
        if found is not None:
            return found
        record = _record_of(file)
        machine = abi or (record.abi if record else _recognise(file))
        if machine is None or file.blocks(machine.page_size) < 3:
            return _unformatted(file, abi)
        return _Check(file, machine, record, sample_rate, block_order, progress).run(blocks, per_block)


def _without_signatures(file: TargetFile, use: str | None) -> CheckReport | None:
    """Verdicts that need no look at signatures; None when they have to be looked at."""
    target = file.target
    if use:
        return CheckReport(target, Verdict.IN_USE, f"{target}: {use}")
    head = file.read(0, min(HEAD_BYTES, file.size))
    swap = next((page for page in PAGE_SIZES if swap_pages(head, page) is not None), None)
    try:
        facts = read_header(file)
    except FormatError as error:
        return CheckReport(target, Verdict.CONTAINS_DUMP, str(error))
    if facts is not None:
        kind = kind_of_block(file.read(0, facts.abi.page_size), 0, facts.abi)
        verdict = Verdict.SWAP_WITH_DUMP if swap else Verdict.CONTAINS_DUMP
        how = "complete" if facts.status is Status.COMPLETED else "not finished"
        return CheckReport(target, verdict, f"{target}: contains a dump ({how}, {facts.total_pages} pages of "
                           f"{facts.abi.name}); run `ddsdk savecore` first", facts.abi, kind, facts.device_blocks)
    if read_marker(file) is not None:
        return CheckReport(target, Verdict.NEEDS_FORMAT, f"{target}: savecore was stopped while it gave the signatures "
                           "back (its dump is saved); run `ddsdk savecore` again")
    if swap:
        return CheckReport(target, Verdict.SWAP, f"{target}: a swap area of {swap_pages(head, swap)} pages of {swap} "
                           "bytes", other=("a swap area",))
    return None


def _record_of(file: TargetFile) -> FormatRecord | None:
    for page in PAGE_SIZES:
        if file.size >= (USER_BLOCK + 1) * page:
            record = FormatRecord.parse(file.read(USER_BLOCK * page, 64))
            if record is not None and record.abi.page_size == page:
                return record
    return None


def _recognise(file: TargetFile) -> Abi | None:
    """The machine whose signatures block 0 and 1 carry; i386 and x86_64 look alike, x86_64 stands for both."""
    machines = [X86_64, *ABIS, *(abi_with_page_size(native, page) for native in ABIS for page in PAGE_SIZES)]
    fits = [abi for abi in machines if file.blocks(abi.page_size) >= 2
            and kind_of_block(file.read(0, abi.page_size), 0, abi)]
    for abi in fits:        # a large block starts like a small one: block 1 has to be where the next block is
        if kind_of_block(file.read(abi.page_size, abi.page_size), 1, abi):
            return abi
    return fits[0] if fits else None


def _unformatted(file: TargetFile, abi: Abi | None) -> CheckReport:
    """Block 0 is no signature: say what is there instead."""
    target, machine = file.target, abi or X86_64
    blocks = file.blocks(machine.page_size)
    held = tuple(refusals(file))
    if held:
        return CheckReport(target, Verdict.UNSUITABLE, f"{target}: holds {'; '.join(held)}", other=held, blocks=blocks)
    if blocks < 3:
        return CheckReport(target, Verdict.UNSUITABLE, blocks=blocks,
                           why=f"{target}: {blocks} blocks of {machine.page_size} bytes hold no dump")
    what = explain(file.read(0, machine.page_size), 0, machine)
    return CheckReport(target, Verdict.NEEDS_INITIAL_FORMAT, f"{target}: not a dump partition: block 0 {what}; "
                       "`ddsdk format` makes it one", blocks=blocks, first_bad=0)


def explain(block: bytes, number: int, abi: Abi, wanted: SignatureKind | None = None) -> str:
    """What *block* is if not the signature of block *number* of the kind *wanted*, for an error text."""
    owner = owner_of_block(block, abi)
    if owner is not None:
        kind, other = owner
        if other == number & 0xFFFF_FFFF:
            rest = f", the blocks before it {wanted.value} ones: a device carries one kind" if wanted else ""
            return f"carries a {kind.value} signature{rest}"
        return (f"carries the signature of block {other} ({kind.value}): it was formatted as another partition, "
                f"shifted by {other - number} blocks")
    if not any(block):
        return "is all zeros"
    if block.startswith(b"diskdump"):
        return "carries a damaged signature"
    return "carries no signature"


@frozen
class _Pass:
    """One job's result: blocks [start, start + count), the bad ones as extents, how many had to be signed."""

    start: int
    count: int
    bad: tuple[tuple[int, int], ...]
    checked: int


@define(eq=False)
class _Check:
    """One look at the signatures."""

    file: TargetFile
    abi: Abi
    record: FormatRecord | None
    sample_rate: int
    block_order: int
    progress: Progress | None
    passes: list[_Pass] = field(init=False, factory=list)

    def run(self, blocks: int | None, per_block: bool) -> CheckReport:
        """The report for a dump of *blocks* blocks."""
        page, target = self.abi.page_size, self.file.target
        total = self.file.blocks(page)
        wanted = total if blocks is None else blocks
        kind = kind_of_block(self.file.read(0, page), 0, self.abi)
        report = CheckReport(target, Verdict.READY, "", self.abi, kind, total, stride=self._stride)
        if kind is None:
            return self._bad(report, 0, 1)
        if self.record is not None and self.record.device_blocks != total:
            return evolve(report, verdict=Verdict.NEEDS_INITIAL_FORMAT,
                          why=f"{target}: formatted as a partition of {self.record.device_blocks} blocks, it has "
                              f"{total}: another device's signatures, or a window of them")
        if wanted > total:
            return evolve(report, verdict=Verdict.UNSUITABLE,
                          why=f"{target}: {total} blocks, {wanted} are required: {wanted - total} are missing")
        self._read(kind, wanted)
        bad = sorted(extent for one in self.passes for extent in one.bad)
        report = evolve(report, checked_blocks=sum(one.checked for one in self.passes),
                        runs=tuple(self._block_runs()) if per_block else ())
        if bad:
            return self._bad(report, bad[0][0], sum(end - start for start, end in bad))
        sparse = f" (sparse: one block in {self._stride})" if self._stride > 1 else ""
        return evolve(report, why=f"{target}: ready; {report.checked_blocks} of {total} blocks checked, all carry "
                                  f"{kind.value} signatures{sparse}")

    @property
    def _stride(self) -> int:
        return self.record.stride if self.record else 1

    def _read(self, kind: SignatureKind, wanted: int) -> None:
        page = self.abi.page_size
        runs = list(self._runs(wanted))
        total = sum(count for _, count in runs)
        done = 0
        if total * page > JOB_BYTES:
            self.file.prepare_bulk_read()

        def work(run: tuple[int, int], buffer: memoryview) -> _Pass:
            start, count = run
            view = self.file.borrow(start * page, count * page, buffer)
            must = signed_mask(start, count, self.record)
            bad = differing_blocks(view, start, self.abi, kind) & must
            self.file.give_back(start * page, count * page)
            return _Pass(start, count, true_extents(bad, start), int(must.sum()))

        def keep(result: _Pass) -> None:
            nonlocal done
            self.passes.append(result)
            done += result.count
            if self.progress is not None:
                self.progress(done, total)

        run_jobs(runs, work, keep, total_bytes=total * page, workers=CPU_WORKERS if self.file.lends else WORKERS)

    def _runs(self, wanted: int) -> Iterator[tuple[int, int]]:
        most = JOB_BYTES // self.abi.page_size
        if self.sample_rate < 0:
            yield 0, min(USER_BLOCK, wanted)
        elif self.sample_rate > 0:
            yield from sampling(wanted, self.block_order, self.sample_rate, self._stride)
        elif self.record is not None and self.record.sparse:
            yield from self.record.signed_runs(0, wanted, most)
        else:
            yield from pieces(0, wanted, most)

    def _block_runs(self) -> list[BlockRun]:
        """Every block read, in order, with its verdict; neighbours of one verdict together."""
        runs: list[BlockRun] = []
        for one in sorted(self.passes, key=lambda one: one.start):
            must = signed_mask(one.start, one.count, self.record)
            names = np.where(must, "signed", "unsigned").astype("<U10")
            for first, last in one.bad:
                names[first - one.start:last - one.start] = "bad"
            if one.start <= USER_BLOCK < one.start + one.count:
                names[USER_BLOCK - one.start] = "record" if self.record else "parameters"
            edges = [0, *(np.flatnonzero(names[1:] != names[:-1]) + 1), one.count]
            for low, high in pairwise(edges):
                append_run(runs, BlockRun(int(one.start + low), int(high - low), str(names[low])))
        return runs

    def _bad(self, report: CheckReport, first: int, count: int) -> CheckReport:
        page = self.abi.page_size
        other = _recognise(self.file) if first == 0 else None
        if other is not None:
            what = f"is formatted for {other.name} (blocks of {other.page_size} bytes), not for {self.abi.name}"
        else:
            what = explain(self.file.read(first * page, page), first, self.abi, report.kind)
        more = f" ({count} bad blocks in all)" if count > 1 else ""
        verdict = Verdict.NEEDS_INITIAL_FORMAT if first == 0 else Verdict.NEEDS_FORMAT
        return evolve(report, verdict=verdict, first_bad=first,
                      why=f"{report.target}: bad signature in block {first}: it {what}{more}")

