"""A dump file's bytes by offset, whether they lie in it as they are or behind makedumpfile's flattened records.

Flattened format: formats.md 3.8.  Records may overlap, a later one wins; what no record covers reads as zeros.
"""

from __future__ import annotations

import heapq
import mmap
import os
import shutil
import struct
import sys
import tempfile
from bisect import bisect_right
from contextlib import suppress
from itertools import pairwise
from typing import Protocol

from attrs import frozen

from ddsdk.errors import DeviceError, FormatError

from .image import SMALL_FILE_FRAMES, FileMapping

MAGIC = b"makedumpfile".ljust(16, b"\0")
HEADER_BYTES = 4096
_HEAD = struct.Struct(">16sqq")
_RECORD = struct.Struct(">qq")
TYPE = VERSION = 1
#: More than a file of one-page records of the largest machine dumped so far; the index is bounded by it.
MAX_RECORDS = 1 << 24
_COPY_BYTES = 4 << 20
#: Standard input, wherever a dump file is named.
STDIN = "-"


class FileBytes(Protocol):
    """Bytes [0, size).  `view` of a range that leaves them is a FormatError that names the range."""

    path: str
    size: int

    def view(self, offset: int, length: int) -> memoryview:
        """The bytes at *offset*."""

    def drop(self, offset: int, length: int) -> None:
        """Advice: they are not needed soon."""

    def close(self) -> None:
        """Let go of the file."""


class PlainFile:
    """A mapped file."""

    def __init__(self, mapping: FileMapping, path: str) -> None:
        self.path, self.size, self.mapping = path, mapping.size, mapping
        self._view = memoryview(mapping.map)

    def view(self, offset: int, length: int) -> memoryview:
        """A view of the mapping."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise beyond(self, offset, length)
        return self._view[offset:offset + length]

    def drop(self, offset: int, length: int) -> None:
        """Hand whole pages back to the page cache."""
        low, high = offset + -offset % mmap.PAGESIZE, (offset + length) // mmap.PAGESIZE * mmap.PAGESIZE
        if low < high:
            self.mapping.map.madvise(mmap.MADV_DONTNEED, low, high - low)

    def close(self) -> None:
        """Unmap."""
        with suppress(BufferError):             # an array over it is still alive
            self._view.release()
        self.mapping.close()


@frozen
class _Piece:
    """Bytes [start, end) of the file that was flattened lie at `at` of the flattened one."""

    start: int
    end: int
    at: int


class FlattenedFile:
    """The file that a flattened one rebuilds.  `complete`: its end mark is there."""

    def __init__(self, plain: PlainFile) -> None:
        self.path, self._plain = plain.path, plain
        records, self.complete = _records(plain)
        self.size = max((record.end for record in records), default=0)
        if self.size > HEADER_BYTES * max(SMALL_FILE_FRAMES, plain.size):
            raise FormatError(f"{plain.path}: {plain.size} bytes with a flattened record for byte {self.size - 1}; it "
                              "is damaged")
        self._pieces = _latest(records)
        self._starts = [piece.start for piece in self._pieces]

    def view(self, offset: int, length: int) -> memoryview:
        """A view where one record has it all, else a copy."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise beyond(self, offset, length)
        index, end = bisect_right(self._starts, offset) - 1, offset + length
        if index >= 0 and end <= (piece := self._pieces[index]).end:
            return self._plain.view(piece.at + offset - piece.start, length)
        data = bytearray(length)
        for piece in self._pieces[max(index, 0):]:
            low, high = max(piece.start, offset), min(piece.end, end)
            if piece.start >= end:
                break
            if low < high:
                data[low - offset:high - offset] = self._plain.view(piece.at + low - piece.start, high - low)
        return memoryview(data).toreadonly()

    def copy_to(self, fd: int) -> None:
        """Everything that a record covers, to its place in the file open as *fd*."""
        for piece in self._pieces:
            for start in range(piece.start, piece.end, _COPY_BYTES):
                size = min(_COPY_BYTES, piece.end - start)
                os.pwrite(fd, self._plain.view(piece.at + start - piece.start, size), start)

    def drop(self, offset: int, length: int) -> None:
        """Records lie in the order in which they were written; what is behind them is not known to be done with."""

    def close(self) -> None:
        """Close the file."""
        self._plain.close()


def open_bytes(path: str) -> FileBytes:
    """*path* as its reader sees it: a flattened file is the file it rebuilds; `-` is standard input, read to its end.

    DeviceError when it cannot be opened, FormatError when it is empty or a damaged flattened file.
    """
    plain = PlainFile(_spooled(), "standard input") if path == STDIN else PlainFile(FileMapping.open(path), path)
    if plain.size < len(MAGIC) or plain.view(0, len(MAGIC)) != MAGIC:
        return plain
    try:
        return FlattenedFile(plain)
    except BaseException:
        plain.close()
        raise


def _spooled() -> FileMapping:
    """Standard input in a file without a name."""
    with tempfile.TemporaryFile() as file:
        shutil.copyfileobj(sys.stdin.buffer, file, 1 << 20)
        size = file.tell()
        if not size:
            raise FormatError("standard input: it is empty; it must be a dump file")
        file.flush()
        fd = os.dup(file.fileno())
    return FileMapping(mmap.mmap(fd, size, prot=mmap.PROT_READ), fd, size)


def rebuilt(file: FileBytes) -> FileMapping:
    """*file*, which is closed, as a plain one without a name (TMPDIR chooses where)."""
    try:
        with tempfile.TemporaryFile() as plain:
            plain.truncate(file.size)
            if isinstance(file, FlattenedFile):
                file.copy_to(plain.fileno())
            fd = os.dup(plain.fileno())
    except OSError as error:
        raise DeviceError(f"{file.path}: the file it was before it was flattened ({file.size} bytes) cannot be rebuilt "
                          f"in {tempfile.gettempdir()}: {os.strerror(error.errno or 0)}; TMPDIR names another place"
                          ) from None
    finally:
        file.close()
    return FileMapping(mmap.mmap(fd, file.size, prot=mmap.PROT_READ), fd, file.size)


def beyond(file: FileBytes, offset: int, length: int) -> FormatError:
    """What to say of a range that the file has not got."""
    return FormatError(f"{file.path}: bytes {offset}..{offset + length} are asked for, the file ends at {file.size}; "
                       "it is cut short or damaged")


def _records(plain: PlainFile) -> tuple[list[_Piece], bool]:
    """Every record, in the order of the file; and whether the end mark was there."""
    if plain.size < HEADER_BYTES:
        raise FormatError(f"{plain.path}: a flattened file of {plain.size} bytes; its header alone has {HEADER_BYTES}")
    _, kind, version = _HEAD.unpack(plain.view(0, _HEAD.size))
    if (kind, version) != (TYPE, VERSION):
        raise FormatError(f"{plain.path}: a flattened file of type {kind}, version {version}; known are type {TYPE}, "
                          f"version {VERSION}")
    records: list[_Piece] = []
    at = HEADER_BYTES
    while at + _RECORD.size <= plain.size:
        offset, size = _RECORD.unpack(plain.view(at, _RECORD.size))
        if (offset, size) == (-1, -1):
            return records, True
        at += _RECORD.size
        if offset < 0 or size <= 0 or len(records) >= MAX_RECORDS:
            raise FormatError(f"{plain.path}: flattened record {len(records)} (at byte {at - _RECORD.size}) is for "
                              f"{size} bytes at {offset}; the file is damaged")
        if at + size > plain.size:              # the writer was interrupted
            if at < plain.size:
                records.append(_Piece(offset, offset + plain.size - at, at))
            return records, False
        records.append(_Piece(offset, offset + size, at))
        at += size
    return records, False


def _latest(records: list[_Piece]) -> list[_Piece]:
    """Disjoint pieces, by address: of records that overlap the latest has the bytes."""
    edges = sorted({edge for record in records for edge in (record.start, record.end)})
    pending = sorted(range(len(records)), key=lambda number: records[number].start, reverse=True)
    alive: list[int] = []                       # a heap of record numbers, negated
    pieces: list[_Piece] = []
    for low, high in pairwise(edges):
        while pending and records[pending[-1]].start <= low:
            heapq.heappush(alive, -pending.pop())
        while alive and records[-alive[0]].end <= low:
            heapq.heappop(alive)
        if not alive:
            continue
        record = records[-alive[0]]
        at = record.at + low - record.start
        if pieces and pieces[-1].end == low and pieces[-1].at + low - pieces[-1].start == at:
            pieces[-1] = _Piece(pieces[-1].start, high, pieces[-1].at)
        else:
            pieces.append(_Piece(low, high, at))
    return pieces
