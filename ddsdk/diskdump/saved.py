"""What a partition's bitmaps and record stream say: which page lies where.

Partial dumps have a second bitmap, by ordinal of the RAM page; dumps with status 8 have records instead of blocks
(formats.md 1.3, 1.6, 1.7; RHEL 4 `drivers/block/diskdump.c`).  Nothing here looks for the end of a dump: that is
partition.py's.
"""

from __future__ import annotations

import struct
from array import array
from enum import IntFlag
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from attrs import frozen

from ddsdk.abi import Abi
from ddsdk.errors import DeviceError, FormatError
from ddsdk.vmcore.dumpheader import bitmap_blocks
from ddsdk.vmcore.pagemap import PageMap

from .header import LEADING_BLOCKS, Status
from .target import TargetFile

if TYPE_CHECKING:
    from .partition import HeaderFacts

RECORD_HEAD_BYTES = 16
#: Page frames that one step of an expansion works on.
_STEP_FRAMES = 1 << 20
_WINDOW_BYTES = 4 << 20


class RecordFlag(IntFlag):
    """`flags` of a record."""

    COMPRESSED = 0x1
    ANONYMOUS = 0x2


def record_head(abi: Abi) -> struct.Struct:
    """struct page_flags, size, flags: u64, u32, u32 in the machine's order."""
    return struct.Struct(abi.struct_prefix + "QII")


@frozen(eq=False)
class Records:
    """The records of a stream, one a page in order: where the payload lies (bytes from the first data block), its size.

    `why`: what ended the walk before the last record that should be there, empty when all are.
    """

    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.uint32]
    flags: npt.NDArray[np.uint8]
    why: str = ""

    def __len__(self) -> int:
        return len(self.offsets)


@frozen(eq=False)
class SavedPages:
    """`ram`: the page frames there were.  `saved`: those that the dump says it saved, all of them in a plain dump.

    `records`: where they lie when the data are records; else the k-th saved page has the k-th data block.
    """

    ram: PageMap
    saved: PageMap
    records: Records | None = None

    def first(self, count: int) -> PageMap:
        """The first *count* of the saved page frames."""
        end = self.saved.nth_frame(count)
        some = self.saved.copy()
        some.drop_run(end, some.max_pfn - end)
        return some


def read_saved(file: TargetFile, facts: HeaderFacts) -> SavedPages:
    """Bitmaps and records of *file*; FormatError when the bitmap contradicts the header."""
    header, page = facts.header, facts.abi.page_size
    single = bitmap_blocks(header.max_mapnr, page)
    at = (LEADING_BLOCKS + header.sub_hdr_size) * page
    ram = PageMap.of_bitmap(file.read(at, single * page), header.max_mapnr)
    if ram.count() != header.total_ram_blocks:
        raise FormatError(f"{file}: the bitmap has {ram.count()} page frames set, the header counts "
                          f"{header.total_ram_blocks} pages; one of them is damaged, and pages cannot be placed")
    if not facts.two_bitmaps:
        return SavedPages(ram, ram)
    saved = by_frame(ram, file.read(at + single * page, single * page))
    if not facts.status & Status.COMPRESSED:
        return SavedPages(ram, saved)
    return SavedPages(ram, saved, walk(file, facts, saved.count()))


def by_frame(ram: PageMap, second: bytes) -> PageMap:
    """The page frames of a second bitmap, whose k-th bit stands for the k-th page of *ram*."""
    ordinals = PageMap.of_bitmap(second, ram.count())
    found, before = PageMap.empty(ram.max_pfn), 0
    for first in range(0, ram.max_pfn, _STEP_FRAMES):
        frames = np.flatnonzero(ram.flags(first, min(_STEP_FRAMES, ram.max_pfn - first)))
        flags = np.zeros(min(_STEP_FRAMES, ram.max_pfn - first), np.bool_)
        flags[frames[ordinals.flags(before, len(frames))]] = True
        found.put_flags(first, flags)
        before += len(frames)
    return found


def walk(file: TargetFile, facts: HeaderFacts, count: int) -> Records:
    """Go through the stream of the memory up to written_blocks and note at most *count* records."""
    blocks = max(0, min(facts.header.written_blocks, facts.device_blocks) - facts.data_start)
    return walk_stream(file, facts.abi, facts.data_start, blocks, count)


def walk_stream(file: TargetFile, abi: Abi, first_block: int, blocks: int, count: int) -> Records:
    """Go through the stream in *blocks* blocks from *first_block* on and note at most *count* records.

    A record that cannot be ends the walk, as the end of the stream does: what lies behind it has no place.
    """
    page, head = abi.page_size, record_head(abi)
    base, end = first_block * page, blocks * page
    offsets, sizes, flags = array("q"), array("I"), array("B")
    at, low, window, why = 0, 0, memoryview(b""), ""
    while len(offsets) < count:
        if at + RECORD_HEAD_BYTES > end:
            why = "the stream ends"
            break
        if at + RECORD_HEAD_BYTES > low + len(window):
            low = at
            try:
                window = _window(file, base + low, min(_WINDOW_BYTES, end - low), page)
            except DeviceError as error:
                why = f"the record at byte {at} of the stream: {error}"
                break
        _, size, flag = head.unpack_from(window, at - low)
        if not 0 < size <= page or flag & ~3 or (size != page and not flag & RecordFlag.COMPRESSED):
            why = f"the record at byte {at} of the stream has {size} bytes and flags {flag:#x}: it is damaged"
            break
        if at + RECORD_HEAD_BYTES + size > end:
            why = "the stream ends"
            break
        at += RECORD_HEAD_BYTES
        offsets.append(at)
        sizes.append(size)
        flags.append(flag)
        at += size
    return Records(np.frombuffer(offsets, np.int64) if offsets else np.zeros(0, np.int64),
                   np.array(sizes, np.uint32), np.array(flags, np.uint8), why)


def _window(file: TargetFile, offset: int, length: int, page: int) -> memoryview:
    """The *length* bytes at *offset*; where they cannot be read, those of the blocks that a record's head lies in."""
    try:
        return memoryview(file.read(offset, length))
    except DeviceError:
        end = -(-(offset + RECORD_HEAD_BYTES) // page) * page
        return memoryview(file.read(offset, min(length, end - offset)))
