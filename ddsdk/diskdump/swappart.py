"""Swap areas behind the memory of a dump: what the partition has where (white paper 6.5; the layout is ours).

The header's `written_blocks` goes on counting the memory alone, so that a reader which knows of no swap sees the dump
it knows.  The swap part starts there, at block S, once the memory is whole and on the medium:

    block  S, S + 1          the head, twice; the two are written in turn, the valid one of the higher sequence counts
    then, for each area      one block: the area's page 0, its swap header
                             B blocks: which pages are stored, one bit a page
                             B blocks: which pages could not be read
                             the stored pages in order, one block each; or, in a dump with a codec, records (saved.py)

A page in neither map that the area's `done` counts is zeros, or one of the header's bad pages.  B is what one bit a
page takes, in blocks; pages and blocks have one size.  Words of the head are little endian on every machine:

    0   8  b"DDSWAP01"                      64  one entry an area, 80 bytes:
    8   4  version: 1                        0  16  UUID of the area
    12  4  number of areas                   16  8  pages of the area, its header's too
    16  8  sequence                          24  8  first block of the area's part
    24  8  this head's own block             32  8  data blocks that are written
    32  8  first block behind what is        40  8  done: pages looked at; none behind is known
           written                           48  8  pages stored
    40  4  1: everything is written          56  8  pages that could not be read
    44  4  CRC-32 of the block, with 0 here  64  4  AreaState
    48  8  time of the crash, s              68  4  1: records
    56  4  and ns: as in the dump's header

The sub header announces it: a note DDSDK of type NT_SWAP, written with the first header, names the areas (pack_note).
A savecore that knows of no swap gives only the memory's blocks their signatures back: format the device after it.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from attrs import evolve, frozen

from ddsdk.errors import FormatError
from ddsdk.vmcore.dumpheader import bitmap_blocks, text

from .saved import RECORD_HEAD_BYTES

HEAD_MAGIC: Final = b"DDSWAP01"
#: Linux has at most 32 areas in use (MAX_SWAPFILES of include/linux/swap.h, less what it keeps for itself).
MAX_AREAS: Final = 32
HEADS: Final = 2
_HEAD = struct.Struct("<8sIIQQQIIQI4x")
_CRC_AT = 44
_ENTRY = struct.Struct("<16sQQQQQQII8x")
_VERSION = 1
U32: Final = 0xFFFF_FFFF
_NOTE_HEAD = struct.Struct("<II")
_NOTE_AREA = struct.Struct("<16s16sQIII")
_NAME_BYTES_MAX = 4096


class AreaState(IntEnum):
    """How far the saving of an area came."""

    WAITING = 0
    BEGUN = 1
    WHOLE = 2
    NO_ROOM = 3
    NOT_READ = 4        # its device refused, or was given up

    @property
    def words(self) -> str:
        """`"no room"`."""
        return self.name.lower().replace("_", " ")


@frozen
class SwapArea:
    """An area as it was registered: what the note in the sub header says of it.  `name`: the device as typed."""

    name: str
    uuid: bytes
    label: str
    pages: int
    page_size: int
    bad_pages: int

    @property
    def uuid_text(self) -> str:
        """As swaplabel(8) prints it; empty when there is none."""
        return str(uuid.UUID(bytes=self.uuid)) if any(self.uuid) else ""

    @property
    def map_blocks(self) -> int:
        """Blocks of one of its two maps."""
        return bitmap_blocks(self.pages, self.page_size)

    @property
    def most_blocks(self) -> int:
        """Blocks it takes when every page is stored and none gets smaller."""
        heads = -(-self.pages * RECORD_HEAD_BYTES // self.page_size)
        return 1 + 2 * self.map_blocks + self.pages + heads


def part_blocks(areas: Sequence[SwapArea]) -> int:
    """The most blocks that a swap part with *areas* takes; none without any."""
    return HEADS + sum(area.most_blocks for area in areas) if areas else 0


def pack_note(areas: Sequence[SwapArea]) -> bytes:
    """The descriptor of the note: version, number, then UUID, label, pages, page size, bad pages, name of each."""
    parts = [_NOTE_HEAD.pack(_VERSION, len(areas))]
    for area in areas:
        name = area.name.encode("utf-8", "replace")[:_NAME_BYTES_MAX]
        parts += [_NOTE_AREA.pack(area.uuid, area.label.encode("utf-8", "replace"), area.pages, area.page_size,
                                  area.bad_pages, len(name)), name]
    return b"".join(parts)


def parse_note(desc: bytes, dump_page: int) -> tuple[SwapArea, ...]:
    """FormatError for a note of another version, or one that is damaged; *dump_page*: a page of the dump, bytes."""
    version, count = _NOTE_HEAD.unpack_from(desc) if len(desc) >= _NOTE_HEAD.size else (0, 0)
    if version != _VERSION or not 1 <= count <= MAX_AREAS:
        raise FormatError(f"sub header: the note on swap areas has version {version} and {count} areas, not {_VERSION}"
                          f" and 1 to {MAX_AREAS}; a newer ddsdk reads it")
    areas, at = list[SwapArea](), _NOTE_HEAD.size
    for number in range(count):
        if at + _NOTE_AREA.size > len(desc):
            raise FormatError(f"sub header: the note on swap areas ends in area {number + 1} of {count}; it is damaged")
        identity, label, pages, page_size, bad, length = _NOTE_AREA.unpack_from(desc, at)
        at += _NOTE_AREA.size
        if (at + length > len(desc) or length > _NAME_BYTES_MAX or not 2 <= pages < 1 << 32 or bad >= pages
                or page_size != dump_page):
            raise FormatError(f"sub header: the note on swap areas says of area {number + 1} {pages} pages of"
                              f" {page_size} bytes, {bad} bad ones, a name of {length} bytes; it is damaged")
        name = "".join(char if char.isprintable() else "?" for char in desc[at:at + length].decode("utf-8", "replace"))
        areas.append(SwapArea(name, identity, text(label), pages, page_size, bad))
        at += length
    return tuple(areas)


@frozen
class Entry:
    """What the head says of one area; blocks are the partition's."""

    uuid: bytes
    pages: int
    first_block: int = 0
    data_blocks: int = 0
    done: int = 0
    stored: int = 0
    unreadable: int = 0
    state: AreaState = AreaState.WAITING
    records: bool = False

    @property
    def begun(self) -> bool:
        """Whether it has a part of its own."""
        return self.first_block > 0


@frozen
class SwapHead:
    """The head of a swap part.  `end_block`: first block behind what is written.

    `crash`: (seconds, nanoseconds) of the dump it belongs to, so that no older one's is taken for it.
    """

    crash: tuple[int, int]
    sequence: int
    end_block: int
    finished: bool
    entries: tuple[Entry, ...]

    def pack(self, block: int, page_size: int) -> bytes:
        """The head as block number *block*."""
        data = bytearray(page_size)
        _HEAD.pack_into(data, 0, HEAD_MAGIC, _VERSION, len(self.entries), self.sequence, block, self.end_block,
                        self.finished, 0, self.crash[0] & U32, self.crash[1] & U32)
        for number, entry in enumerate(self.entries):
            _ENTRY.pack_into(data, _HEAD.size + number * _ENTRY.size, entry.uuid, entry.pages, entry.first_block,
                             entry.data_blocks, entry.done, entry.stored, entry.unreadable, entry.state, entry.records)
        struct.pack_into("<I", data, _CRC_AT, zlib.crc32(data))
        return bytes(data)

    def with_entry(self, number: int, entry: Entry, end_block: int) -> SwapHead:
        """The next one: *entry* in the place of entry *number*."""
        entries = (*self.entries[:number], entry, *self.entries[number + 1:])
        return evolve(self, sequence=self.sequence + 1, end_block=end_block, entries=entries)


def parse_head(data: bytes, block: int, start: int, device_blocks: int, areas: Sequence[SwapArea],
               crash: tuple[int, int]) -> SwapHead | None:
    """The head in *data*, block *block* of a partition; None when it is none: torn, never written, another dump's.

    FormatError, one line, when it is whole and cannot be that of a part at *start* with *areas*.
    """
    if not data.startswith(HEAD_MAGIC):
        return None
    _, version, count, sequence, own, end, finished, crc, seconds, nanoseconds = _HEAD.unpack_from(data)
    what = f"the head of the swap part in block {block}"
    if crc != zlib.crc32(data[:_CRC_AT] + bytes(4) + data[_CRC_AT + 4:]) or own != block:
        return None
    if (seconds, nanoseconds) != (crash[0] & U32, crash[1] & U32):
        return None
    if version != _VERSION:
        raise FormatError(f"{what} has version {version}, not {_VERSION}; a newer ddsdk reads it")
    if count != len(areas):
        raise FormatError(f"{what} has {count} areas, the sub header names {len(areas)}; one of them is damaged")
    entries, behind = list[Entry](), start + HEADS
    for number, area in enumerate(areas):
        identity, pages, first, blocks, done, stored, unreadable, state, records = _ENTRY.unpack_from(
            data, _HEAD.size + number * _ENTRY.size)
        known = state in tuple(AreaState)
        entry = Entry(identity, pages, first, blocks, done, stored, unreadable,
                      AreaState(state) if known else AreaState.WAITING, bool(records))
        reason = (_implausible(entry, area, behind, device_blocks) if known
                  else f"that its state is {state}; there are 0 to {max(AreaState)}")
        if reason:
            raise FormatError(f"{what} says of area {number + 1} {reason}; it is damaged")
        if entry.begun:
            behind = entry.first_block + 1 + 2 * area.map_blocks + entry.data_blocks
        entries.append(entry)
    if not start + HEADS <= behind <= end <= device_blocks:
        raise FormatError(f"{what} says that it ends at block {end}; its areas end at block {behind}, the partition at"
                          f" block {device_blocks}; it is damaged")
    return SwapHead(crash, sequence, end, bool(finished), tuple(entries))


def _implausible(entry: Entry, area: SwapArea, behind: int, device_blocks: int) -> str:
    """Why *entry* cannot be *area*'s, whose part starts at block *behind* at the least; empty when it can."""
    if (entry.uuid, entry.pages) != (area.uuid, area.pages):
        return f"that it has {entry.pages} pages, or another UUID; the sub header knows {area.pages} pages"
    if entry.done > entry.pages or entry.stored + entry.unreadable > entry.done:
        return (f"that {entry.stored} pages are stored and {entry.unreadable} unreadable of {entry.done} of its"
                f" {entry.pages}")
    if not entry.begun:
        return "that nothing of it is written, and that pages are stored" if entry.done or entry.data_blocks else ""
    start = entry.first_block + 1 + 2 * area.map_blocks
    if entry.first_block < behind or start + entry.data_blocks > device_blocks:
        return (f"that it lies in {entry.data_blocks} data blocks from block {start} on, of a partition of"
                f" {device_blocks}")
    if not entry.records and entry.stored > entry.data_blocks:
        return f"that {entry.stored} pages are stored in {entry.data_blocks} blocks"
    return ""
