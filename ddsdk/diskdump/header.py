"""The common header of a dump partition (block 1), and the RAM bitmap behind it.

Layout: formats.md 1.3 and 1.4 (RHEL 4 `include/linux/diskdump.h`, 2.6.9-89.29.1.EL): 64-bit offsets measured
with gcc, 32-bit ones confirmed with libkdumpfile.  RHEL 4 leaves header_version 0, RHEL 3 writes 1, and so do
we.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag

import numpy as np
import numpy.typing as npt

from ddsdk.abi import Abi
from ddsdk.layout import CStruct, c_int, c_long, c_struct, c_uint, char, nested

SIGNATURE = b"DISKDUMP"
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


@c_struct
class NewUtsname(CStruct):
    """struct new_utsname: 6 x 65 characters."""

    sysname: bytes = char(65)
    nodename: bytes = char(65)
    release: bytes = char(65)
    version: bytes = char(65)
    machine: bytes = char(65)
    domainname: bytes = char(65)


@c_struct
class Timespec(CStruct):
    """Two longs.  RHEL 4: seconds and nanoseconds; RHEL 3: seconds and microseconds."""

    tv_sec: int = c_long()
    tv_nsec: int = c_long()


@c_struct
class DiskDumpHeader(CStruct):
    """struct disk_dump_header without its tasks[], which run from here to the end of the block."""

    signature: bytes = char(8, default=SIGNATURE)
    header_version: int = c_int(default=1)
    utsname: NewUtsname = nested(NewUtsname)
    timestamp: Timespec = nested(Timespec)
    status: int = c_uint()
    block_size: int = c_int()           # bytes
    sub_hdr_size: int = c_int()         # blocks
    bitmap_blocks: int = c_uint()       # both bitmaps, where there are two
    max_mapnr: int = c_uint()           # highest page frame + 1
    total_ram_blocks: int = c_uint()
    device_blocks: int = c_uint()       # of the partition
    written_blocks: int = c_uint()
    current_cpu: int = c_uint()         # the dumping CPU
    nr_cpus: int = c_int()


def unpack_tasks(abi: Abi, block: bytes) -> tuple[int, ...]:
    """tasks[] of a header block: task_struct addresses by CPU number, trailing zeros dropped.

    0 in between is a CPU that did not answer the freeze.  The array's length is the kernel's NR_CPUS, which
    the header does not say; the rest of the block is zero.
    """
    start, size = DiskDumpHeader.on(abi).size, abi.word_bytes
    words = np.frombuffer(block[start:start + (len(block) - start) // size * size],
                          np.dtype(f"{abi.struct_prefix}u{size}"))
    used = np.flatnonzero(words)
    return tuple(int(word) for word in words[:int(used[-1]) + 1]) if len(used) else ()


def text(value: bytes) -> str:
    """A utsname member as text: to the first NUL, printable ASCII only, `?` for the rest."""
    raw = value.split(b"\0", 1)[0]
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in raw)


def bitmap_blocks(max_pfn: int, page_size: int) -> int:
    """Blocks of one bitmap: one bit a page frame."""
    return -(-max_pfn // (8 * page_size))


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
