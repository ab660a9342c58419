"""What is a dump partition's own: where its header is, the states it goes through, the RAM bitmap behind it.

Formats.md 1.3 and 1.4 (RHEL 4 `include/linux/diskdump.h`, 2.6.9-89.29.1.EL).  The header: vmcore/dumpheader.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag

import numpy as np
import numpy.typing as npt

from ddsdk.vmcore.dumpheader import bitmap_blocks

#: The header's block; block 0 belongs to the formatter.
HEADER_BLOCK = 1
#: The formatter's block and the header: the sub header comes after them.
LEADING_BLOCKS = 2


class Status(IntFlag):
    """`status` on a partition.  In a `KDUMP   ` file the same numbers mean other things."""

    COMPLETED = 0
    INCOMPLETED = 1         # started, not finished
    IN_PROGRESS = 2         # the partial or compressed writer was running (RHEL 4 U4)
    SHORT_AREA = 4          # ended because the partition was full (RHEL 4 U4)
    COMPRESSED = 8          # data are compressed-stream records


def bitmap_runs(bitmap: bytes | memoryview, max_pfn: int) -> npt.NDArray[np.int64]:
    """The set bits of *bitmap* below *max_pfn* as rows (first page frame, number of frames), ascending.

    Bit `pfn & 7` of byte `pfn >> 3`, least significant first.  Works through the bitmap in pieces: the memory
    it takes does not grow with the machine's.
    """
    data = np.frombuffer(bitmap, np.uint8)
    edges: list[npt.NDArray[np.int64]] = []
    inside = False
    step = 1 << 17          # bytes: a million page frames
    for at in range(0, -(-max_pfn // 8), step):
        bits = np.unpackbits(data[at:at + step], bitorder="little")[:max_pfn - at * 8].view(np.int8)
        change = np.flatnonzero(np.diff(bits, prepend=np.int8(inside))) + at * 8
        edges.append(change.astype(np.int64))
        inside = bool(bits[-1])
    if inside:
        edges.append(np.array([max_pfn], np.int64))
    if not edges:
        return np.zeros((0, 2), np.int64)
    runs = np.concatenate(edges).reshape(-1, 2)     # (first set, first clear) pairs
    runs[:, 1] -= runs[:, 0]
    return runs


def bitmap_of(runs: Iterable[tuple[int, int]], max_pfn: int, page_size: int) -> bytes:
    """The bitmap with the page frames of *runs* (first, number) set, in whole zero-padded blocks."""
    return bitmap_piece(runs, 0, bitmap_blocks(max_pfn, page_size) * page_size * 8)


def bitmap_piece(runs: Iterable[tuple[int, int]], first_pfn: int, npfns: int) -> bytes:
    """The part of the bitmap of *runs* for [first_pfn, first_pfn + npfns), both multiples of 8."""
    bits = np.zeros(npfns, np.uint8)
    for start, count in runs:
        low, high = max(start, first_pfn), min(start + count, first_pfn + npfns)
        if low < high:
            bits[low - first_pfn:high - first_pfn] = 1
    return np.packbits(bits, bitorder="little").tobytes()
