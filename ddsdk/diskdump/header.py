"""What is a dump partition's own: where its header is, the states it goes through, the RAM bitmap behind it.

Formats.md 1.3 and 1.4 (RHEL 4 `include/linux/diskdump.h`, 2.6.9-89.29.1.EL).  The header: vmcore/dumpheader.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag

import numpy as np

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
