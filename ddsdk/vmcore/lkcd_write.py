"""Writing LKCD dump files, version 9: for tools that read nothing else.

ELF notes, VMCOREINFO and the RAM that a filter left out have no place in the format; they go into an area of our own
(subnotes.py) behind the machine's header, where readers do not look.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

import numpy as np
from attrs import frozen

from ddsdk.abi import Abi

from .codecs import Codec
from .lkcd import NT_RAM, RAM_NOTE
from .lkcd_layout import (
    ARCH,
    ARCH_MAGIC,
    LEVEL_ALL,
    OLD_DATA_AT,
    REGS_AT,
    LkcdCompress,
    LkcdFixed,
    LkcdPacked,
    LkcdPage,
    LkcdPageHeader,
    pt_regs_of,
)
from .notes import CpuNote, Note, pack_notes
from .output import Output
from .pagemap import PageMap
from .pages import PageSource
from .rle import rle_compress
from .subnotes import AREA_ALIGN, area
from .utsname import utsname_of
from .zeropages import zero_pages

VERSION: Final = 9
_PIECE_BYTES: Final = 1 << 20
U32: Final = 0xFFFF_FFFF
Progress = Callable[[int, int], None]


@frozen
class LkcdReport:
    """Page frames and bytes written."""

    pages: int
    file_bytes: int


def write_lkcd(source: PageSource, output: Output, kept: PageMap, compress: LkcdCompress,
               progress: Progress | None = None) -> LkcdReport:
    """Write the page frames *kept*.  FormatError for a page that cannot be read, DeviceError for the medium."""
    tell = progress or (lambda done, total: None)
    head, page, total = head_of(source, kept, compress), source.page_size, kept.count()
    output.write(0, head)
    at, done, most = len(head), 0, _PIECE_BYTES // page
    pack = _Packer(source.abi, page, compress)
    buffer = memoryview(bytearray(_PIECE_BYTES))
    for low, pages in kept.pieces(most):
        source.read_frames(low, pages, buffer[:pages * page])
        data = pack.pages(low, buffer[:pages * page])
        output.write(at, data)
        at, done = at + len(data), done + pages
        source.release_range(low * page, pages * page)
        tell(done, total)
    end = LkcdPageHeader.on(source.abi).pack(LkcdPageHeader(flags=int(LkcdPage.END)))
    output.write(at, end)
    return LkcdReport(done, at + len(end))


class _Packer:
    """Pages with their headers."""

    def __init__(self, abi: Abi, page: int, compress: LkcdCompress) -> None:
        self._head = struct.Struct(abi.struct_prefix + "QII")
        self._page, self._compress = page, compress
        self._zlib = Codec.ZLIB.compressor()
        self._zero = self._one(memoryview(bytes(page)))

    def pages(self, first: int, memory: memoryview) -> bytes:
        page, pieces = self._page, list[bytes | memoryview]()
        for at, is_zero in enumerate(zero_pages(memory, page).tolist()):
            flags, data = self._zero if is_zero else self._one(memory[at * page:(at + 1) * page])
            pieces += (self._head.pack((first + at) * page, len(data), flags), data)
        return b"".join(pieces)

    def _one(self, page: memoryview) -> tuple[int, bytes | memoryview]:
        data = None
        if self._compress is LkcdCompress.RLE:
            data = rle_compress(page)
        elif self._compress is LkcdCompress.GZIP:
            data = self._zlib(page)
        if data is not None and len(data) < len(page):
            return int(LkcdPage.COMPRESSED), data
        return int(LkcdPage.RAW), page


def head_of(source: PageSource, kept: PageMap, compress: LkcdCompress) -> bytes:
    """Everything before the first page header."""
    abi, page, wire = source.abi, source.page_size, LkcdPacked.on(source.abi)
    arch = _arch_header(abi, source.cpus)
    ram = np.array(list(source.ram.runs()), f"{abi.struct_prefix}u8").tobytes()
    notes = pack_notes(abi, [*source.notes, Note(RAM_NOTE, NT_RAM, ram)])
    behind = arch.ljust(len(arch) + -len(arch) % AREA_ALIGN, b"\0") + area(abi, notes)
    buffer_bytes = -(-(wire.size + len(behind)) // OLD_DATA_AT) * OLD_DATA_AT
    fixed = LkcdFixed(version=VERSION, header_size=wire.size, dump_level=LEVEL_ALL, page_size=page,
                      memory_size=source.max_pfn, memory_end=source.max_pfn * page, num_pages=kept.count() & U32)
    header = LkcdPacked(
        fixed=fixed, tv_sec=source.crashtime or 0, compress=int(compress), buffer_size=buffer_bytes,
        utsname=utsname_of(source))
    return (wire.pack(header) + behind).ljust(buffer_bytes, b"\0")


def _arch_header(abi: Abi, cpus: tuple[CpuNote, ...]) -> bytes:
    """The machine's header: registers of every CPU where its layout is known, else only magic and size."""
    arch = ARCH.get(abi.name)
    if arch is None:
        return struct.pack(abi.struct_prefix + "QII", ARCH_MAGIC, 1, 16)
    size = arch.per_cpu_at + len(cpus) * arch.bytes_a_cpu(abi)
    data = bytearray(size)
    struct.pack_into(abi.struct_prefix + "QII", data, 0, ARCH_MAGIC, 1, size)
    struct.pack_into(abi.struct_prefix + "II", data, arch.count_at, len(cpus), 0)
    one, at = arch.pt_regs_bytes(abi), REGS_AT[abi.name]
    for number, cpu in enumerate(cpus):
        regs = pt_regs_of(abi, arch, cpu.regs)
        data[arch.per_cpu_at + number * one:arch.per_cpu_at + (number + 1) * one] = regs
        if not number:
            data[at:at + one] = regs
    return bytes(data)
