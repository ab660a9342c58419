"""Signing a dump partition: every block, or every Nth of them (white paper 6.2).

Formatting destroys what is there, so it first looks (probe.py) and refuses anything that is not plainly free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from attrs import frozen

from ddsdk.abi import X86_64, Abi
from ddsdk.errors import DeviceError

from .probe import Host, refusals
from .record import RECORD_BYTES, FormatRecord
from .signature import USER_BLOCK, SignatureKind, signature_blocks
from .stream import JOB_BYTES, run_jobs
from .target import DumpTarget, TargetFile

#: Header, sub header and partition header, one bitmap block, one page: less cannot hold any dump.
MIN_BLOCKS = 5
Progress = Callable[[int, int], None]
Run = tuple[int, int]


@frozen
class FormatReport:
    """What was done: `signed_blocks` of `blocks` carry signatures of `kind` now."""

    target: DumpTarget
    kind: SignatureKind
    abi: Abi
    blocks: int
    signed_blocks: int
    stride: int
    overridden: tuple[str, ...] = ()

    def __str__(self) -> str:
        sparse = f" (sparse: one block in {self.stride})" if self.stride > 1 else ""
        return (f"{self.target}: {self.signed_blocks} of {self.blocks} blocks of {self.abi.page_size} bytes signed, "
                f"{self.kind.value} signatures{sparse}")


def format_device(target: DumpTarget, *, abi: Abi = X86_64, kind: SignatureKind = SignatureKind.DESIGN,
                  stride: int = 1, force: bool = False, required_blocks: int = MIN_BLOCKS,
                  progress: Progress | None = None, host: Host | None = None) -> FormatReport:
    """Sign *target* for dumps of an *abi* machine; the signatures are on the medium when this returns.

    DeviceError when the device is in use, or holds something and *force* is not given, or has fewer than
    *required_blocks* blocks.  `progress(done, total)` counts signed blocks.  What *force* overrode is in the
    report.
    """
    record = FormatRecord(kind, abi, 0, stride)         # a bad stride is said before the device is touched
    host = host or Host()
    host.refuse_in_use(target)
    with target.open(write=True) as file:
        file.lock()
        blocks = file.blocks(abi.page_size)
        required = max(required_blocks, MIN_BLOCKS)
        if blocks < required:
            raise DeviceError(f"{target}: {blocks} blocks of {abi.page_size} bytes, a dump needs {required}: "
                              f"{required - blocks} are missing; choose a larger partition")
        found = tuple(refusals(file))
        if found and not force:
            raise DeviceError(f"{target}: holds {'; '.join(found)}; formatting would destroy it "
                              "(--force formats it all the same)")
        record = FormatRecord(kind, abi, blocks, stride)
        signed = sign(file, record, 0, blocks, progress)
        return FormatReport(target, kind, abi, blocks, signed, stride, found)


def sign(file: TargetFile, record: FormatRecord, first_block: int, end_block: int,
         progress: Progress | None = None) -> int:
    """Sign what *record* says is signed of [first_block, end_block), and sync; the number of blocks signed.

    Block 2 gets the record itself over the start of its signature.
    """
    page = record.abi.page_size
    most = JOB_BYTES // page
    total = _count(record, first_block, end_block, most)
    done = 0

    def work(batch: list[Run], buffer: memoryview) -> int:
        for start, count in batch:
            view = signature_blocks(record.kind, record.abi, start, count, buffer)
            if start <= USER_BLOCK < start + count:
                at = (USER_BLOCK - start) * page
                view[at:at + RECORD_BYTES] = record.pack()
            file.write(start * page, view)
        return sum(count for _, count in batch)

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    if not record.sparse:
        file.go_direct()        # single blocks are better left to the page cache, which sorts and merges them
    run_jobs(_batches(record.signed_runs(first_block, end_block, most), most), work, tell, total_bytes=total * page)
    file.sync()
    return total


def _count(record: FormatRecord, first_block: int, end_block: int, most: int) -> int:
    if not record.sparse:
        return max(0, end_block - first_block)
    return sum(count for _, count in record.signed_runs(first_block, end_block, most))


def _batches(runs: Iterable[Run], most: int) -> Iterator[list[Run]]:
    """Runs put together until they are *most* blocks or 256 runs: one job."""
    batch: list[Run] = []
    room = most
    for run in runs:
        if batch and (run[1] > room or len(batch) == 256):
            yield batch
            batch, room = [], most
        batch.append(run)
        room -= run[1]
    if batch:
        yield batch
