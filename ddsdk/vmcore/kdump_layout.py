"""Compressed dump files, `DISKDUMP` and `KDUMP`, as structures: sub header, page descriptors, where everything lies.

Layout: formats.md 3 (makedumpfile `diskdump_mod.h` and IMPLEMENTATION, crash `diskdump.h`, libkdumpfile).
"""

from __future__ import annotations

from enum import IntFlag

import numpy as np
from attrs import frozen

from ddsdk.abi import Abi
from ddsdk.errors import FormatError
from ddsdk.layout import CStruct, c_int, c_struct, c_ulong, s64, u64

from .dumpheader import KDUMP_SIGNATURE, SIGNATURE, DiskDumpHeader, bitmap_blocks, text

#: The first KDUMP version that has a sub header member of that name.
HAS_LEVEL, HAS_SPLIT, HAS_VMCOREINFO, HAS_NOTES, HAS_ERASEINFO, HAS_64BIT = 1, 2, 3, 4, 5, 6
#: The versions we write.
VERSION, DISKDUMP_VERSION = 6, 1
BLOCK_SIZES = (4096, 8192, 16384, 65536)
DESCRIPTOR_BYTES = 24


class KdumpStatus(IntFlag):
    """`status` in a `KDUMP` file; on a partition the numbers mean other things."""

    ZLIB = 0x1
    LZO = 0x2
    SNAPPY = 0x4
    INCOMPLETE = 0x8
    EXCLUDED_VMEMMAP = 0x10
    ZSTD = 0x20


@c_struct
class KdumpSubHeader(CStruct):
    """struct kdump_sub_header, version 6; earlier ones end sooner (HAS_...)."""

    phys_base: int = c_ulong()
    dump_level: int = c_int()           # makedumpfile's bits
    split: int = c_int()
    start_pfn: int = c_ulong()          # obsolete
    end_pfn: int = c_ulong()            # obsolete
    offset_vmcoreinfo: int = s64()      # bytes in the file
    size_vmcoreinfo: int = c_ulong()
    offset_note: int = s64()
    size_note: int = c_ulong()
    offset_eraseinfo: int = s64()
    size_eraseinfo: int = c_ulong()
    start_pfn_64: int = u64()
    end_pfn_64: int = u64()
    max_mapnr_64: int = u64()


def descriptor_dtype(abi: Abi) -> np.dtype[np.void]:
    """struct page_desc: where a page's bytes lie and how they are compressed."""
    order = abi.struct_prefix
    return np.dtype([("offset", f"{order}i8"), ("size", f"{order}u4"), ("flags", f"{order}u4"),
                     ("page_flags", f"{order}u8")])


@frozen
class KdumpLayout:
    """Where everything lies, in bytes; every region inside the file."""

    page_size: int
    sub_header_at: int
    bitmap1_at: int
    bitmap2_at: int                     # the same where one bitmap plays both parts
    bitmap_bytes: int                   # of one
    descriptors_at: int

    @classmethod
    def of(cls, header: DiskDumpHeader, max_pfn: int, file_size: int, path: str) -> KdumpLayout:
        """From a header that is plausible (`implausible`); FormatError when the file has not got it all."""
        page = header.block_size
        single = bitmap_blocks(max_pfn, page)
        blocks = header.bitmap_blocks
        start = 1 + header.sub_hdr_size
        if blocks < single:
            raise FormatError(f"{path}: its bitmaps have {blocks} blocks, and {max_pfn} page frames take {single}; the "
                              "header is damaged")
        second = start + blocks // 2 if blocks >= 2 * single else start
        end = (start + blocks) * page
        if end > file_size:
            raise FormatError(f"{path}: its bitmaps end at byte {end}, the file at {file_size}: "
                              f"{end - file_size} bytes are missing, it is cut short")
        return cls(page, page, start * page, second * page, -(-max_pfn // 8), end)


def implausible(header: DiskDumpHeader, abi: Abi, file_size: int) -> str | None:
    """Why *header*, read as *abi*'s machine would have written it, cannot be a dump file's; None when it can."""
    if header.signature not in (SIGNATURE, KDUMP_SIGNATURE):
        return "it has another signature"
    newest = VERSION if header.signature == KDUMP_SIGNATURE else DISKDUMP_VERSION
    if not 0 <= header.header_version <= newest:
        return f"its version is {header.header_version}; {text(header.signature).strip()} files have 0 to {newest}"
    if header.block_size not in BLOCK_SIZES:
        return f"its block size is {header.block_size}; there are {', '.join(map(str, BLOCK_SIZES))}"
    if not 0 <= header.sub_hdr_size <= file_size // header.block_size:
        return f"its sub header has {header.sub_hdr_size} blocks, the file {file_size // header.block_size}"
    if header.bitmap_blocks > file_size // header.block_size:
        return f"its bitmaps have {header.bitmap_blocks} blocks, the file {file_size // header.block_size}"
    if header.max_mapnr == 0 and header.header_version < HAS_64BIT:
        return "it counts no page frames"
    return None
