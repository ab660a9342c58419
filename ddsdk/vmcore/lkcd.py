"""Reading LKCD dump files, versions 2 to 10, RLE, gzip or raw pages.

Page headers stand one before each page, and nothing says where: opening a file walks through all of them.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt
from attrs import evolve, frozen

from ddsdk.abi import ABIS, READ_ONLY_ABIS, Abi, with_page_size
from ddsdk.errors import FormatError

from .codecs import Decompressor, PageFlag
from .dumpheader import NewUtsname, names_machine, text
from .filebytes import FileBytes
from .image import MAX_PADDR, bounded_frames
from .kdump_layout import BLOCK_SIZES
from .lkcd_layout import (
    ARCH,
    ARCH_MAGIC,
    BUFFER_FROM,
    COMPRESS_FROM,
    LIVE_MAGIC,
    MAGIC,
    MCLX_FLAGS,
    OLD,
    OLD_DATA_AT,
    PACKED_FROM,
    PAGE_HEADER_BYTES,
    REGS_AT,
    VERSION_BITS,
    VERSIONS,
    LkcdCompress,
    LkcdFixed,
    LkcdPacked,
    LkcdPage,
    gregset_of,
)
from .notes import CpuNote, Note, cpus_and_vmcoreinfo, parse_notes
from .pagemap import PageMap
from .pages import PackedSource, damaged
from .rle import rle_decompress
from .subnotes import AREA_ALIGN, area_records

#: A note of ours among the others: the RAM there was, as pairs (first page frame, number) of u64.
RAM_NOTE, NT_RAM = b"DDSDK", 2
MAX_HEADER_BYTES = 64 << 20
_KINDS = LkcdPage.RAW | LkcdPage.COMPRESSED | LkcdPage.END | LkcdPage.TRUNCATED


@frozen
class LkcdHeader:
    """A header that is believed.

    `data_at`: byte of the first page header; `pfn_addresses`: page headers carry page frame numbers, not addresses.
    """

    abi: Abi
    version: int
    fixed: LkcdFixed
    seconds: int
    utsname: NewUtsname
    compress: LkcdCompress
    data_at: int
    pfn_addresses: bool


class LkcdSource(PackedSource):
    """Memory in an LKCD dump file (the protocol: pages.py)."""

    def __init__(self, file: FileBytes, head: LkcdHeader) -> None:
        super().__init__()
        abi = head.abi
        self.file, self.head, self.abi, self.origin = file, head, abi, file.path
        self.kind = f"LKCD v{head.version}"
        self.nodename, self.release = text(head.utsname.nodename), text(head.utsname.release)
        self.crashtime = head.seconds or None
        self.dump_level = 0
        pages = _walk(file, head)
        if not len(pages.pfns):
            raise FormatError(f"{file.path}: an LKCD dump without a page; it is cut short or damaged")
        self.incomplete = not pages.ended
        self._places = pages
        self.cpus, notes, self.vmcoreinfo = _notes(file, head)
        self.notes = tuple(note for note in notes if note.name != RAM_NOTE)
        ram = _ram_runs(abi, notes)
        top = max(int(pages.pfns[-1]) + 1, *(first + count for first, count in ram), 0)
        self.stored = PageMap.empty(bounded_frames(file.path, top, file.size))
        breaks = np.flatnonzero(np.diff(pages.pfns, prepend=-2) != 1)
        for low, high in zip(breaks.tolist(), [*breaks[1:].tolist(), len(pages.pfns)], strict=True):
            self.stored.add_run(int(pages.pfns[low]), high - low)
        self.ram = (PageMap.of_runs(ram, top) | self.stored) if ram else self.stored
        self._decompress = Decompressor(abi.page_size).page

    def read_frames(self, first: int, count: int, into: memoryview) -> None:
        """Decompress [first, first + count), all stored, to *into*."""
        page, places = self.page_size, self._places
        index = int(np.searchsorted(places.pfns, first))
        columns = (column[index:index + count].tolist() for column in (places.offsets, places.sizes, places.flags))
        for at, (offset, size, flags) in enumerate(zip(*columns, strict=True)):
            into[at * page:(at + 1) * page] = self._page(first + at, offset, size, flags)

    def _page(self, pfn: int, offset: int, size: int, flags: int) -> bytes | bytearray | memoryview:
        try:
            data = self.file.view(offset, size)
            if flags & LkcdPage.COMPRESSED:
                if self.head.compress is LkcdCompress.GZIP:
                    return self._decompress(PageFlag.ZLIB, data)
                return rle_decompress(data, self.page_size)
            return self._decompress(PageFlag.RAW, data) if size else bytes(self.page_size)
        except FormatError as error:
            raise damaged(self, pfn, error) from None


def open_lkcd(file: FileBytes) -> LkcdSource:
    """The memory in *file*, whose close() is ours from now on.  FormatError, one line, for anything it cannot be."""
    try:
        return LkcdSource(file, read_lkcd_header(file))
    except BaseException:
        file.close()
        raise


def read_lkcd_header(file: FileBytes) -> LkcdHeader:
    """The header of *file*."""
    whole = LkcdPacked.on(ABIS[0]).size
    if file.size < whole:
        raise FormatError(f"{file.path}: {file.size} bytes, and the header alone has {whole}; it is cut short")
    start = bytes(file.view(0, 8))
    order = "<" if start in (struct.pack("<Q", magic) for magic in (MAGIC, LIVE_MAGIC)) else ">"
    candidates = [abi for abi in (*ABIS, *READ_ONLY_ABIS) if abi.struct_prefix == order]
    found = [header for abi in candidates if (header := _read_as(file, abi)) is not None]
    if not found:
        version = LkcdFixed.on(candidates[0]).unpack(bytes(file.view(0, 308))).version
        raise FormatError(f"{file.path}: an LKCD dump of version {version & VERSION_BITS} of a machine that ddsdk does "
                          "not know, or a damaged one")
    head = found[0]
    if head.version not in VERSIONS:
        raise FormatError(f"{file.path}: an LKCD dump of version {head.version}; versions {VERSIONS[0]} to "
                          f"{VERSIONS[-1]} are read")
    page = head.fixed.page_size
    if page not in BLOCK_SIZES or head.data_at > min(file.size, MAX_HEADER_BYTES):
        raise FormatError(f"{file.path}: pages of {page} bytes from byte {head.data_at} of {file.size} on; the header "
                          "is damaged, or the file cut short")
    return evolve(head, abi=with_page_size(head.abi.name, page))


def _read_as(file: FileBytes, abi: Abi) -> LkcdHeader | None:
    """The header as *abi*'s machine writes it; None when it names another one."""
    data = bytes(file.view(0, LkcdPacked.on(abi).size))
    fixed = LkcdFixed.on(abi).unpack(data)
    version = fixed.version & VERSION_BITS
    mclx = bool(fixed.version & MCLX_FLAGS)
    if version >= PACKED_FROM:
        whole = LkcdPacked.on(abi).unpack(data)
        utsname, seconds, compress = whole.utsname, whole.tv_sec, whole.compress
        data_at = whole.buffer_size if version >= BUFFER_FROM else OLD_DATA_AT
    else:
        places, word, order = OLD[abi.word_bytes], abi.word_bytes, abi.byteorder
        utsname = NewUtsname.on(abi).unpack(data[places.utsname:])
        seconds = int.from_bytes(data[places.time:places.time + word], order)
        compress = int.from_bytes(data[places.compress:places.compress + 4], order)
        data_at = OLD_DATA_AT
    if not names_machine(utsname, abi):
        return None
    method = LkcdCompress.RLE if version < COMPRESS_FROM else LkcdCompress(compress & 3)
    return LkcdHeader(abi, version, fixed, seconds, utsname, method, data_at, mclx)


@frozen(eq=False)
class _Pages:
    """Where every page is, by page frame number; `ended`: the end mark was there and not one of a cut dump."""

    pfns: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    flags: npt.NDArray[np.int64]
    ended: bool


def _walk(file: FileBytes, head: LkcdHeader) -> _Pages:
    """From page header to page header, to the end mark or the file's end."""
    unpack = struct.Struct(head.abi.struct_prefix + "QII").unpack
    page, at, size, rows, ended = head.abi.page_size, head.data_at, file.size, list[tuple[int, int, int, int]](), False
    while at + PAGE_HEADER_BYTES <= size:
        address, length, flags = unpack(file.view(at, PAGE_HEADER_BYTES))
        if flags & LkcdPage.END:
            ended = not flags & LkcdPage.TRUNCATED
            break
        pfn = address if head.pfn_addresses else address // page
        if length > page or flags & ~_KINDS or not 0 <= pfn < MAX_PADDR // page:
            raise FormatError(f"{file.path}: the page header at byte {at} is for {length} bytes (flags {flags:#x}) of "
                              f"address {address:#x}; the file is damaged there")
        at += PAGE_HEADER_BYTES
        if at + length > size:
            break
        rows.append((pfn, at, length, flags))
        at += length
    table = np.array(rows, np.int64).reshape(-1, 4)
    _, first = np.unique(table[:, 0], return_index=True)
    pfns, offsets, sizes, kinds = np.ascontiguousarray(table[first].T)
    return _Pages(pfns, offsets, sizes, kinds, ended)


def _notes(file: FileBytes, head: LkcdHeader) -> tuple[tuple[CpuNote, ...], tuple[Note, ...], bytes | None]:
    """Our notes behind the machine's header, if we wrote the file; else the registers in that header."""
    abi, at = head.abi, head.fixed.header_size
    data = bytes(file.view(at, max(0, head.data_at - at))) if at <= head.data_at else b""
    if len(data) < 16 or struct.unpack_from(abi.struct_prefix + "QII", data)[0] != ARCH_MAGIC:
        return (), (), None
    size = struct.unpack_from(abi.struct_prefix + "I", data, 12)[0]
    records = area_records(abi, data, size + -size % AREA_ALIGN)
    if records is not None:
        notes = parse_notes(abi, records)
        cpus, vmcoreinfo = cpus_and_vmcoreinfo(abi, notes)
        return cpus, tuple(notes), vmcoreinfo
    return _arch_cpus(head, data), (), None


def _arch_cpus(head: LkcdHeader, data: bytes) -> tuple[CpuNote, ...]:
    abi, arch = head.abi, ARCH.get(head.abi.name)
    if arch is None or head.version < PACKED_FROM or len(data) < arch.per_cpu_at:
        return ()
    count, current = struct.unpack_from(abi.struct_prefix + "II", data, arch.count_at)
    one = arch.pt_regs_bytes(abi)
    count = min(count, (len(data) - arch.per_cpu_at) // arch.bytes_a_cpu(abi))
    cpus = []
    for cpu in range(count):
        at = REGS_AT[abi.name] if cpu == current else arch.per_cpu_at + cpu * one
        cpus.append(CpuNote(cpu, gregset_of(abi, arch, data[at:at + one])))
    return tuple(cpus)


def _ram_runs(abi: Abi, notes: tuple[Note, ...]) -> list[tuple[int, int]]:
    desc = next((note.desc for note in notes if note.name == RAM_NOTE and note.type == NT_RAM), b"")
    pairs = np.frombuffer(desc[:len(desc) // 16 * 16], f"{abi.struct_prefix}u8").reshape(-1, 2)
    return [(first, count) for first, count in pairs.tolist() if first + count <= MAX_PADDR // abi.page_size]
