"""Reading ELF cores: kdump's, QEMU's, makedumpfile's, ours.

pyelftools reads the headers, so that this reader and our writer (elf.py) share no code; every offset and
length is checked against the file before it is used.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, Any, cast

from attrs import frozen
from elftools.common.exceptions import ELFError
from elftools.construct import ConstructError
from elftools.elf.elffile import ELFFile
from elftools.elf.enums import ENUM_E_MACHINE

from ddsdk.abi import ABIS, READ_ONLY_ABIS, Abi, ByteOrder, abi_for_elf, with_page_size
from ddsdk.errors import FormatError

from . import vmcoreinfo as vmci
from .image import MAX_PADDR, FileMapping, MemoryExtent, MemorySource, Run, anonymous_extent, bounded_frames
from .notes import Note, cpus_and_vmcoreinfo, parse_notes

ELF_MAGIC = b"\x7fELF"
#: elf(5): the number of program headers does not fit e_phnum.
PN_XNUM = 0xFFFF
#: More than the largest machine has; parsing time is bounded by it.
MAX_SEGMENTS = 1 << 20
MAX_NOTES_BYTES = 64 << 20
#: x86_64 maps the kernel's own image from here; kdump describes it a second time, inside a RAM segment.
KERNEL_IMAGE_VADDR = 0xFFFF_FFFF_8000_0000


@frozen
class LoadSegment:
    """One PT_LOAD: `filesz` bytes at `offset` of the file are memory at `paddr`; up to `memsz` follow zeros."""

    index: int
    offset: int
    vaddr: int
    paddr: int
    filesz: int
    memsz: int

    @property
    def end(self) -> int:
        """First physical address past the segment."""
        return self.paddr + self.memsz

    def __str__(self) -> str:
        return f"PT_LOAD {self.index} ({self.paddr:#x}-{self.end:#x})"


@frozen
class CoreFile:
    """An ELF core's headers.  `loads` in file order; `incomplete` is what its writer said in e_flags."""

    abi: Abi
    elf_class: int
    loads: tuple[LoadSegment, ...]
    notes: tuple[Note, ...]
    incomplete: bool


def open_elf(path: str) -> MemorySource:
    """The memory in the ELF core *path*.  FormatError or DeviceError, one line, for anything it cannot be."""
    return open_elf_mapping(FileMapping.open(path), path)


def open_elf_mapping(mapping: FileMapping, path: str) -> MemorySource:
    """The same of a file that is mapped already, and ours to close."""
    try:
        core = read_core(mapping, path)
        try:
            cpus, vmcoreinfo = cpus_and_vmcoreinfo(core.abi, core.notes)
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from None
        abi = _with_page_size(core.abi, vmcoreinfo)
        loads = merge_loads(core.loads, path)
        bounded_frames(path, max(load.end for load in loads) // abi.page_size, mapping.size)
        extents = _extents(mapping, loads, abi.page_size)
        return MemorySource(abi, tuple(extents), cpus, vmcoreinfo, path, incomplete=core.incomplete,
                            closers=(mapping.close,), kind=f"ELF{core.elf_class} core", all_notes=core.notes,
                            left_out=tuple(_left_out(loads, abi.page_size)))
    except BaseException:
        mapping.close()
        raise


def read_core(mapping: FileMapping, path: str) -> CoreFile:
    """The headers and notes of a mapped ELF core."""
    try:
        elf = ELFFile(cast("IO[bytes]", _File(mapping)))
        head = elf.header
        abi = _abi_of(elf, path)
        if head["e_type"] != "ET_CORE":
            raise FormatError(f"{path}: an ELF file of type {head['e_type']}, no core: memory comes in ET_CORE files")
        segments = _segments(elf, path)
        incomplete = bool(head["e_flags"] & 1)
    except (ELFError, ConstructError, UnicodeDecodeError, ValueError, KeyError, TypeError, AttributeError,
            OverflowError, RecursionError, AssertionError) as error:
        raise FormatError(f"{path}: not a readable ELF file ({error or type(error).__name__}); is it cut short?"
                          ) from None
    loads = []
    notes: list[Note] = []
    for index, segment in enumerate(segments):
        if segment["p_type"] == "PT_LOAD" and segment["p_memsz"]:
            loads.append(_load(index, segment, mapping.size, path))
        elif segment["p_type"] == "PT_NOTE":
            notes += _notes(abi, index, segment, mapping, path)
    if not loads:
        raise FormatError(f"{path}: an ELF core without any PT_LOAD: there is no memory in it")
    return CoreFile(abi, elf.elfclass, tuple(loads), tuple(notes), incomplete)


class _File:
    """What pyelftools needs of a stream, over the mapping: no shared file position."""

    def __init__(self, mapping: FileMapping) -> None:
        self._map, self._size, self._at = mapping.map, mapping.size, 0

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = offset + (0, self._at, self._size)[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, length: int = -1) -> bytes:
        end = self._size if length < 0 else min(self._size, self._at + length)
        data = self._map[self._at:end] if 0 <= self._at < end else b""
        self._at += len(data)
        return data

    def close(self) -> None:
        """The mapping is its owner's."""


def _abi_of(elf: ELFFile, path: str) -> Abi:
    machine = elf.header["e_machine"]
    number = ENUM_E_MACHINE.get(machine, machine)
    order: ByteOrder = "little" if elf.little_endian else "big"
    abi = abi_for_elf(number, order)
    if abi is None:
        known = ", ".join(f"{abi.name} ({abi.e_machine})" for abi in (*ABIS, *READ_ONLY_ABIS))
        raise FormatError(f"{path}: ELF machine {machine} is none that ddsdk knows: {known}")
    if order != abi.byteorder or elf.elfclass < abi.elf_class:
        raise FormatError(f"{path}: a {elf.elfclass}-bit {order}-endian ELF file, but {abi.name} is "
                          f"{abi.elf_class}-bit {abi.byteorder}-endian; the ELF header is damaged")
    return abi


def _segments(elf: ELFFile, path: str) -> list[Any]:
    """Every program header, after checking that the table lies inside the file."""
    if elf.header["e_phnum"] == PN_XNUM and not elf.header["e_shoff"]:
        raise FormatError(f"{path}: its program headers are counted in section header 0, and it has none; "
                          "the ELF header is damaged")
    count, size = elf.num_segments(), elf.header["e_phentsize"]
    expected = 56 if elf.elfclass == 64 else 32
    if count and size != expected:
        raise FormatError(f"{path}: program headers of {size} bytes; a {elf.elfclass}-bit ELF file has {expected}")
    end = elf.header["e_phoff"] + count * size
    if count > MAX_SEGMENTS or end > elf.stream_len:
        raise FormatError(f"{path}: {count} program headers end at byte {end}, the file at {elf.stream_len}; "
                          "it is cut short or damaged")
    return [elf._get_segment_header(index) for index in range(count)]


def _load(index: int, segment: Any, file_size: int, path: str) -> LoadSegment:
    load = LoadSegment(index, segment["p_offset"], segment["p_vaddr"], segment["p_paddr"], segment["p_filesz"],
                       segment["p_memsz"])
    if load.filesz > load.memsz:
        raise FormatError(f"{path}: {load} has {load.filesz:#x} bytes in the file for {load.memsz:#x} of memory; "
                          "the program headers are damaged")
    if load.end > MAX_PADDR:
        raise FormatError(f"{path}: {load} ends above {MAX_PADDR:#x}, where no machine has memory; "
                          "is this a core of a user program, or of /proc/kcore?")
    if load.filesz and load.offset + load.filesz > file_size:
        raise FormatError(f"{path}: {load} lies at bytes {load.offset}..{load.offset + load.filesz}, the file ends at "
                          f"{file_size}: {load.offset + load.filesz - file_size} bytes are missing, it is cut short")
    return load


def _notes(abi: Abi, index: int, segment: Any, mapping: FileMapping, path: str) -> list[Note]:
    offset, size = segment["p_offset"], segment["p_filesz"]
    if size > MAX_NOTES_BYTES or offset + size > mapping.size:
        raise FormatError(f"{path}: PT_NOTE {index} lies at bytes {offset}..{offset + size}, the file ends at "
                          f"{mapping.size}; it is cut short or damaged")
    try:
        return parse_notes(abi, mapping.map[offset:offset + size])
    except FormatError as error:
        raise FormatError(f"{path}: PT_NOTE {index}: {error}") from None


def _with_page_size(abi: Abi, vmcoreinfo: bytes | None) -> Abi:
    """ia64 and ppc64 kernels are built with several page sizes; VMCOREINFO says which."""
    size = vmci.number(vmci.parse(vmcoreinfo), "PAGESIZE")
    return with_page_size(abi.name, size) if size in (4096, 8192, 16384, 65536) else abi


def merge_loads(loads: tuple[LoadSegment, ...], path: str) -> list[LoadSegment]:
    """The PT_LOADs by address, without those that describe memory a second time.

    kdump lists the kernel's own image apart although its frames lie inside a RAM segment; any other overlap
    is a FormatError, because it does not say which bytes are the memory.
    """
    ram = sorted((load for load in loads if load.vaddr < KERNEL_IMAGE_VADDR), key=lambda load: load.paddr)
    for below, above in pairwise(ram):
        if above.paddr < below.end:
            raise FormatError(f"{path}: {above} overlaps {below}; physical memory must be described once "
                              "(a core of a user program has no physical addresses at all)")
    starts = [load.paddr for load in ram]
    for image in (load for load in loads if load.vaddr >= KERNEL_IMAGE_VADDR):
        index = bisect_right(starts, image.paddr) - 1
        if index >= 0 and image.end <= ram[index].end:
            continue
        if any(load.paddr < image.end and image.paddr < load.end for load in ram):
            raise FormatError(f"{path}: {image}, the kernel's image, lies partly inside another PT_LOAD; "
                              "physical memory must be described once")
        at = bisect_right(starts, image.paddr)
        ram.insert(at, image)
        starts.insert(at, image.paddr)
    return ram


def _extents(mapping: FileMapping, loads: list[LoadSegment], page: int) -> list[MemoryExtent]:
    """Whole pages out of the segments.

    Pages inside one segment's file part are views of the file.  The others are made: pages that a segment
    covers only partly (BIOS memory ends where it likes) hold what is known of them, and zeros; pages between
    filesz and memsz are zeros.
    """
    extents: list[MemoryExtent] = []
    made: list[tuple[int, int]] = []                # paddr ranges, whole pages
    known: list[tuple[int, memoryview]] = []        # bytes in them
    for load in loads:
        data_end = load.paddr + load.filesz
        low = load.paddr + -load.paddr % page
        high = data_end - data_end % page
        if low < high:
            extents.append(mapping.extent(low, load.offset + low - load.paddr, high - low))
            gaps = ((load.paddr, low), (high, load.end))
        else:
            gaps = ((load.paddr, load.end), (load.end, load.end))
        for start, end in gaps:
            if start < end:
                made.append((start - start % page, end + -end % page))
                at = load.offset + start - load.paddr
                known.append((start, memoryview(mapping.map)[at:at + max(0, min(end, data_end) - start)]))
    for start, end in _merged(made):
        inside = [(paddr - start, piece) for paddr, piece in known if start <= paddr < end]
        extents.append(anonymous_extent(start, end - start, inside))
    return sorted(extents, key=lambda extent: extent.paddr)


def _left_out(loads: list[LoadSegment], page: int) -> Iterator[Run]:
    """Whole pages between filesz and memsz: makedumpfile leaves pages out that way (formats.md 4.3)."""
    for load in loads:
        first, end = -(-(load.paddr + load.filesz) // page), load.end // page
        if first < end:
            yield Run(first, end - first)


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges sorted, those that touch or overlap put together."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
