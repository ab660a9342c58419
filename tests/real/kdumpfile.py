"""The page set of a kdump-compressed file, read with code that is not ddsdk's (formats.md 3.1, 3.2, 3.4)."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt
from attrs import frozen

#: x86_64 `struct disk_dump_header`: block_size after signature, version, utsname (6 x 65), padding, timestamp, status.
_BLOCK_SIZE_AT = 428
_HEADER = struct.Struct("<iiIII")       # block_size, sub_hdr_size, bitmap_blocks, max_mapnr, total_ram_blocks
_MAX_MAPNR_64_AT = 96                   # in the sub header
_DESCRIPTOR = np.dtype([("offset", "<i8"), ("size", "<u4"), ("flags", "<u4"), ("page_flags", "<u8")])


@frozen(eq=False)
class PageSet:
    """One truth a frame: it is RAM, its page is stored, it is stored as the one shared zero page."""

    ram: npt.NDArray[np.bool_]
    stored: npt.NDArray[np.bool_]
    zero: npt.NDArray[np.bool_]


def read_page_set(path: Path, level: int) -> PageSet:
    """What the file says; at odd levels a zero page's bit stays set, and its descriptor is the shared one (3.5)."""
    data = np.memmap(path, np.uint8, "r")
    head = data[:4096].tobytes()
    assert head[:8] == b"KDUMP   "
    block, sub_blocks, bitmap_blocks, _, _ = _HEADER.unpack_from(head, _BLOCK_SIZE_AT)
    frames, = struct.unpack_from("<Q", data[block:2 * block].tobytes(), _MAX_MAPNR_64_AT)
    at, half = (1 + sub_blocks) * block, bitmap_blocks // 2 * block
    ram, stored = (np.unpackbits(data[start:start + half], bitorder="little")[:frames].view(np.bool_)
                   for start in (at, at + half))
    count = int(np.count_nonzero(stored))
    descriptors = np.frombuffer(data[at + 2 * half:at + 2 * half + 24 * count].tobytes(), _DESCRIPTOR)
    zero = np.zeros(frames, np.bool_)
    if level & 1:
        first_data = at + 2 * half + 24 * count
        zero[stored] = descriptors["offset"] == first_data
    return PageSet(ram, stored, zero)
