"""Where an interrupted dump ended: the data blocks that still carry what the formatter wrote.

The documented idea of the signature (formats.md 1.5): a block that was never overwritten is its own mark.
With several commands in flight the end is ragged, so every block counts for itself.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd

import numpy as np
import numpy.typing as npt
from attrs import frozen

from ddsdk.abi import Abi

from .record import EDGE_BLOCKS, MAX_STRIDE, FormatRecord
from .signature import Mask, SignatureKind, block_states, true_extents
from .stream import CPU_WORKERS, JOB_BYTES, WORKERS, pieces, run_jobs
from .target import TargetFile

#: The most blocks a dump can have in flight: 256 commands of 256 blocks.  Behind as many untouched blocks in
#: a row nothing was written, and what looks written further on than that is older than this dump.
IN_FLIGHT_BLOCKS = 1 << 16
Extents = tuple[tuple[int, int], ...]


@frozen
class Scan:
    """What the signatures tell.

    `written`: extents [start, end) of blocks the dump wrote whole.  `uncertain`: blocks that it may have written
    besides.  `touched_end`: the first block behind everything it touched.
    """

    written: Extents
    uncertain: int
    touched_end: int
    warnings: tuple[str, ...] = ()


def scan_data(file: TargetFile, abi: Abi, kind: SignatureKind, record: FormatRecord | None, start: int, end: int,
              device_blocks: int, progress: Callable[[int, int], None] | None = None) -> Scan:
    """Look at the data blocks [start, end) of a dump without a final header.

    A sparse format, told by *record* or by its pattern, leaves blocks without a mark: those between a written
    and an untouched signed block are `uncertain`.
    """
    if record is not None and record.sparse:
        return _scan_sparse(file, record, start, end)
    intact, torn = _states(file, abi, kind, start, end, progress)
    untouched = np.flatnonzero(intact)
    stride = _stride_of(untouched + start, device_blocks)
    if stride > 1:
        return _scan_sparse(file, FormatRecord(kind, abi, device_blocks, stride), start, end)
    written = ~(intact | torn)
    touched = np.flatnonzero(~intact)
    touched_end = start + (int(touched[-1]) + 1 if len(touched) else 0)
    warnings: tuple[str, ...] = ()
    if len(untouched) and len(touched) and touched[-1] > untouched[0] + IN_FLIGHT_BLOCKS:
        stale = int(written[untouched[0]:].sum())
        written[untouched[0]:] = False
        warnings = (f"{stale} blocks behind block {start + int(untouched[0])} are older than this dump: the device was "
                    "not wholly formatted before it; format it again",)
    return Scan(true_extents(written, start), 0, touched_end, warnings)


def _states(file: TargetFile, abi: Abi, kind: SignatureKind, start: int, end: int,
            progress: Callable[[int, int], None] | None) -> tuple[Mask, Mask]:
    """(intact, torn) of every block of [start, end); reading stops behind a whole flight of untouched blocks."""
    intact, torn = np.ones(end - start, np.bool_), np.zeros(end - start, np.bool_)
    page = abi.page_size
    file.prepare_bulk_read()

    def work(run: tuple[int, int], buffer: memoryview) -> tuple[int, Mask, Mask]:
        view = file.borrow(run[0] * page, run[1] * page, buffer)
        states = block_states(view, run[0], abi, kind)
        file.give_back(run[0] * page, run[1] * page)
        return (run[0] - start, *states)

    def keep(result: tuple[int, Mask, Mask]) -> None:
        at, whole, part = result
        intact[at:at + len(whole)], torn[at:at + len(part)] = whole, part

    for first, count in pieces(start, end, IN_FLIGHT_BLOCKS):
        run_jobs(pieces(first, first + count, JOB_BYTES // page), work, keep, total_bytes=count * page,
                 workers=CPU_WORKERS if file.lends else WORKERS)
        if progress is not None:
            progress(first + count - start, end - start)
        if intact[first - start:first - start + count].all() and count == IN_FLIGHT_BLOCKS:
            break
    return intact, torn


def _stride_of(blocks: npt.NDArray[np.int64], device_blocks: int) -> int:
    """The stride of a sparse format that left no record: its signed blocks stand alone, at multiples; else 1."""
    untouched = blocks[(blocks >= EDGE_BLOCKS) & (blocks < device_blocks - EDGE_BLOCKS)]
    if len(untouched) < 4 or np.diff(untouched).min() == 1:
        return 1
    return min(gcd(*(int(block) for block in untouched)), MAX_STRIDE)


def _scan_sparse(file: TargetFile, record: FormatRecord, start: int, end: int) -> Scan:
    """Only signed blocks are looked at; what lies between two of them went the way both went."""
    page = record.abi.page_size
    signed: list[int] = []
    whole: list[bool] = []
    touched_end = start
    for first, count in record.signed_runs(start, end, JOB_BYTES // page):
        intact, torn = block_states(file.read(first * page, count * page), first, record.abi, record.kind)
        signed += range(first, first + count)
        whole += (~(intact | torn)).tolist()
        touched = np.flatnonzero(~intact)
        touched_end = first + int(touched[-1]) + 1 if len(touched) else touched_end
    written, uncertain = _between(signed, whole, start, end)
    return Scan(written, uncertain, min(end, touched_end + record.stride))


def _between(signed: list[int], whole: list[bool], start: int, end: int) -> tuple[Extents, int]:
    """(extents written for certain, blocks uncertain): a gap is certain when both its ends agree.

    What lies before the first data block was written; behind the last one there is no telling.
    """
    written: list[tuple[int, int]] = []
    uncertain = 0
    place, before = start, True
    for block, now in zip([*signed, end], [*whole, None], strict=True):
        gap = block - place
        if before and now and gap:
            written.append((place, block))
        elif gap and before is not now and (before or now):
            uncertain += gap
        if now:
            written.append((block, block + 1))
        place, before = block + 1, bool(now)
    return _joined(written), uncertain


def _joined(extents: list[tuple[int, int]]) -> Extents:
    joined: list[tuple[int, int]] = []
    for start, end in extents:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return tuple(joined)
