"""Giving a dump partition its signatures back, once the dump is safe elsewhere.

A kill in the middle must leave a device that says so: neither a dump whose pages are signatures, nor a
formatted device with stale pages.  So block 1, the dump's header, becomes a marker first and its signature
last.
"""

from __future__ import annotations

import struct
import zlib

from attrs import frozen

from .format import Progress, sign
from .header import HEADER_BLOCK
from .probe import PAGE_SIZES
from .record import RECORD_BYTES, FormatRecord
from .target import TargetFile

MARKER_MAGIC = b"DDRESIGN"
_HEAD = struct.Struct("<8sQ")       # magic, first block that needs no new signature
_CRC = struct.Struct("<I")


@frozen
class Marker:
    """A re-signing that was begun: blocks 2 to `end_block` of the format `record`."""

    record: FormatRecord
    end_block: int

    def pack(self) -> bytes:
        """The marker as block 1 starts with it."""
        body = _HEAD.pack(MARKER_MAGIC, self.end_block) + self.record.pack()
        return body + _CRC.pack(zlib.crc32(body))

    @classmethod
    def parse(cls, block: bytes) -> Marker | None:
        """The marker at the start of *block*, or None."""
        size = _HEAD.size + RECORD_BYTES
        if not block.startswith(MARKER_MAGIC) or len(block) < size + _CRC.size:
            return None
        record = FormatRecord.parse(block[_HEAD.size:size])
        if record is None or _CRC.unpack_from(block, size)[0] != zlib.crc32(block[:size]):
            return None
        return cls(record, _HEAD.unpack_from(block)[1])


def read_marker(file: TargetFile) -> Marker | None:
    """The marker of an interrupted re-signing, wherever block 1 starts."""
    for page in PAGE_SIZES:
        if file.size >= 2 * page:
            marker = Marker.parse(file.read(page, _HEAD.size + RECORD_BYTES + _CRC.size))
            if marker is not None and marker.record.abi.page_size == page:
                return marker
    return None


def resign(file: TargetFile, record: FormatRecord, end_block: int, progress: Progress | None = None) -> int:
    """Sign blocks 1 to *end_block* anew as *record* has it; the number of blocks signed.

    Blocks from *end_block* on, and block 0, are left alone.
    """
    page = record.abi.page_size
    marker = Marker(record, min(end_block, record.device_blocks))
    file.write(page, marker.pack().ljust(page, b"\0"))
    file.sync()
    return finish(file, marker, progress)


def finish(file: TargetFile, marker: Marker, progress: Progress | None = None) -> int:
    """Carry out what *marker* says, and take it away."""
    signed = sign(file, marker.record, HEADER_BLOCK + 1, marker.end_block, progress)
    return signed + sign(file, marker.record, HEADER_BLOCK, HEADER_BLOCK + 1)


def erase_header(file: TargetFile, page_size: int) -> None:
    """For a device without signatures (a swap area): the dump is gone, nothing else changes."""
    file.write(page_size, bytes(page_size))
    file.sync()
