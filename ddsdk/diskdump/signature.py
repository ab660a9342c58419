"""The signature of a formatted dump block, made and checked a megabyte at a time.

A formatted block is filled with 32-bit words of the machine's own byte order: `disk`, `dump`, the block
number, then w(k) = ((w(k-1) + c) * 11) mod 2**32.  The design document has c = 3; every kernel that shipped
had c = 7 (RHEL 3 and 4 `drivers/block/diskdump.c`; formats.md 1.1).  Every word is affine in the block
number, w(k) = A[k] * block + C[k], so a block differs from the one *n* before it by the constant row A * n:
one numpy addition makes or checks half a megabyte.

Deliberate difference: the kernel does not compare the word `dump`; we compare all of them.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ddsdk.abi import Abi, ByteOrder
from ddsdk.errors import UsageError

if TYPE_CHECKING:
    from .record import FormatRecord

Words = npt.NDArray[np.uint32]
Mask = npt.NDArray[np.bool_]
Buffer = bytes | bytearray | memoryview

MAGIC_WORDS = (b"disk", b"dump")
MULTIPLIER = 11
WORD_BYTES = 4
SECTOR_BYTES = 512
#: "User parameter block": the formatter's own options, overwritten by the sub header; no kernel since
#: 2.4.21-27.EL checks its signature (formats.md 1.2).
USER_BLOCK = 2
#: memcmp(3) frees the interpreter lock and stops at the first difference; numpy would make an array of
#: answers.
_memcmp = ctypes.CDLL(None).memcmp
_memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
#: The working set of one addition: pattern and result stay in the second-level cache.
_TABLE_BYTES = 256 << 10


class SignatureKind(Enum):
    """Which of the two formulas.  One device carries one kind."""

    DESIGN = "design"
    SHIPPED = "shipped"

    @property
    def addend(self) -> int:
        """The constant c of the recurrence."""
        return 3 if self is SignatureKind.DESIGN else 7

    def __str__(self) -> str:
        return f"{self.value} (+{self.addend})"


@lru_cache(maxsize=16)
def _tables(kind: SignatureKind, page_size: int, byteorder: ByteOrder) -> tuple[Words, Words]:
    """(signatures of blocks 0, 1, 2, ..., step): as host integers; `step` is what one block number adds."""
    step = [0, 0, 1]
    zero = [*(int.from_bytes(word, byteorder) for word in MAGIC_WORDS), 0]
    for _ in range(page_size // WORD_BYTES - 3):
        step.append(step[-1] * MULTIPLIER & 0xFFFF_FFFF)
        zero.append((zero[-1] + kind.addend) * MULTIPLIER & 0xFFFF_FFFF)
    slope, origin = np.array(step, np.uint32), np.array(zero, np.uint32)
    numbers = np.arange(max(1, _TABLE_BYTES // page_size), dtype=np.uint32)
    table = np.multiply.outer(numbers, slope) + origin
    for array in (table, slope):
        array.flags.writeable = False
    return table, slope


def _rows(buf: Buffer, page_size: int) -> Words:
    """*buf* as one row of words a block.  UsageError when it is not whole blocks."""
    size = memoryview(buf).nbytes
    if size % page_size:
        raise UsageError(f"a buffer of {size} bytes is not whole blocks of {page_size}")
    return np.frombuffer(buf, np.uint32).reshape(-1, page_size // WORD_BYTES)


def _offset(slope: Words, first_block: int) -> Words:
    return slope * np.uint32(first_block & 0xFFFF_FFFF)


def signature_blocks(kind: SignatureKind, abi: Abi, first_block: int, count: int,
                     out: bytearray | memoryview | None = None) -> memoryview:
    """The signatures of blocks *first_block*, ... , *count* of them, in *out* (or a new buffer) as bytes.

    Block numbers count from the start of the partition; only their low 32 bits enter the words.
    """
    page = abi.page_size
    view = memoryview(bytearray(count * page) if out is None else out).cast("B")[:count * page]
    rows = _rows(view, page)
    if len(rows) != count:
        raise UsageError(f"a buffer of {view.nbytes} bytes cannot hold {count} blocks of {page}")
    table, slope = _tables(kind, page, abi.byteorder)
    for at in range(0, count, len(table)):
        piece = rows[at:at + len(table)]
        np.add(table[:len(piece)], _offset(slope, first_block + at), out=piece)
        if abi.byteorder != sys.byteorder:
            piece.byteswap(inplace=True)
    return view


def differing_blocks(buf: Buffer, first_block: int, abi: Abi, kind: SignatureKind) -> Mask:
    """For each whole block of *buf*: does it differ anywhere from its own signature?

    *buf* holds blocks *first_block*, *first_block* + 1, ... of the partition.
    """
    rows = _rows(buf, abi.page_size)
    table, slope = _tables(kind, abi.page_size, abi.byteorder)
    differs = np.zeros(len(rows), np.bool_)
    scratch = np.empty((min(len(rows), len(table)), rows.shape[1]), np.uint32)
    for at in range(0, len(rows), len(table)):
        piece = rows[at:at + len(table)]
        expected = scratch[:len(piece)]
        np.add(table[:len(piece)], _offset(slope, first_block + at), out=expected)
        if abi.byteorder != sys.byteorder:
            expected.byteswap(inplace=True)
        if _memcmp(piece.ctypes.data, expected.ctypes.data, piece.nbytes):
            differs[at:at + len(piece)] = (piece != expected).any(axis=1)
    return differs


def block_states(buf: Buffer, first_block: int, abi: Abi, kind: SignatureKind) -> tuple[Mask, Mask]:
    """(intact, torn) for each whole block of *buf*: as formatted, or with a 512-byte sector that still is.

    A write that was cut short leaves the rest of its block as formatted, so a torn block was not written
    whole. One word a sector decides for nearly every written block; only what matches there is compared in
    full.
    """
    rows = _rows(buf, abi.page_size)
    words = SECTOR_BYTES // WORD_BYTES
    table, slope = _tables(kind, abi.page_size, abi.byteorder)
    suspect = np.zeros(len(rows), np.bool_)
    probes = slice(words - 1, None, words)      # the last word of each sector
    for at in range(0, len(rows), len(table)):
        piece = rows[at:at + len(table), probes]
        expected = table[:len(piece), probes] + _offset(slope, first_block + at)[probes]
        if abi.byteorder != sys.byteorder:
            expected.byteswap(inplace=True)
        suspect[at:at + len(piece)] = (piece == expected).any(axis=1)
    torn = np.zeros(len(rows), np.bool_)
    if not suspect.any():
        return torn.copy(), torn
    intact = ~differing_blocks(buf, first_block, abi, kind)
    for index in np.flatnonzero(suspect & ~intact):
        torn[index] = _has_own_sector(rows[index], first_block + int(index), abi, kind)
    return intact, torn


def _has_own_sector(row: Words, block: int, abi: Abi, kind: SignatureKind) -> bool:
    own = np.frombuffer(signature_blocks(kind, abi, block, 1), np.uint32)
    sectors = (-1, SECTOR_BYTES // WORD_BYTES)
    return bool((row.reshape(sectors) == own.reshape(sectors)).all(axis=1).any())


def kind_of_block(block_data: Buffer, block: int, abi: Abi) -> SignatureKind | None:
    """Which kind of signature of block number *block* these bytes are; None when of neither."""
    for kind in SignatureKind:
        if not differing_blocks(block_data, block, abi, kind).any():
            return kind
    return None


def owner_of_block(block_data: Buffer, abi: Abi) -> tuple[SignatureKind, int] | None:
    """Whose signature these bytes are: (kind, block number mod 2**32), or None when they are no signature."""
    number = int.from_bytes(bytes(block_data[8:12]), abi.byteorder)
    kind = kind_of_block(block_data, number, abi)
    return (kind, number) if kind else None


def verify_blocks(buf: Buffer, first_block: int, abi: Abi,
                  record: FormatRecord | None = None) -> tuple[SignatureKind | None, int | None]:
    """(kind, None) when every block of *buf* carries its own signature, all of one kind; else (kind, bad block).

    The kind is that of the first block checked, None when that one is bad or nothing is to be checked.  Block
    2 is not checked, nor are blocks that the format *record* of a sparse format leaves unsigned.
    """
    wanted = signed_mask(first_block, len(_rows(buf, abi.page_size)), record)
    if not wanted.any():
        return None, None
    first = int(np.argmax(wanted))
    page = abi.page_size
    kind = kind_of_block(memoryview(buf).cast("B")[first * page:(first + 1) * page], first_block + first, abi)
    if kind is None:
        return None, first_block + first
    bad = differing_blocks(buf, first_block, abi, kind) & wanted
    return kind, first_block + int(np.argmax(bad)) if bad.any() else None


def signed_mask(first_block: int, count: int, record: FormatRecord | None = None) -> Mask:
    """Which of the blocks *first_block*, ... must carry a signature: not block 2, nor what a sparse format left."""
    wanted = np.ones(count, np.bool_) if record is None else record.signed(first_block, count)
    if first_block <= USER_BLOCK < first_block + count:
        wanted[USER_BLOCK - first_block] = False
    return wanted


def sampling(total_blocks: int, block_order: int, sample_rate: int, stride: int = 1) -> Iterator[tuple[int, int]]:
    """The runs (start, length) of blocks that are read back before a dump of *total_blocks*.

    One chunk of 2**block_order blocks in every 2**sample_rate chunks, and the last chunk; nothing when
    *sample_rate* is negative (RHEL 4 `drivers/block/diskdump.c`; formats.md 1.8).  With a sparse format each
    start moves down to a signed block, a multiple of *stride*, and no run is given twice.
    """
    if sample_rate < 0 or total_blocks <= 0:
        return
    chunk = 1 << block_order
    last = previous = -1
    for last in range(0, total_blocks, chunk << sample_rate):
        start = last - last % stride
        if start != previous:
            yield start, min(chunk, total_blocks - start)
        previous = start
    final = total_blocks - chunk
    if last < final:
        start = final - final % stride
        if start != previous:
            yield start, min(chunk, total_blocks - start)


def true_extents(mask: Mask, first_block: int) -> tuple[tuple[int, int], ...]:
    """The True stretches [start, end) of *mask*, whose first element is block *first_block*."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).view(np.int8))) + first_block
    return tuple((int(start), int(end)) for start, end in edges.reshape(-1, 2))
