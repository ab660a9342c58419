"""Writing ELF cores as every reader takes them.

Program headers at byte 64 (ELF64) or 52 (ELF32) - makedumpfile looks nowhere else -, no sections, one PT_NOTE
first, PT_LOAD sorted by address, p_align 0 everywhere: crash takes a p_align for netdump and ignores
VMCOREINFO then (real-lab.md; field.md 5.2).  Memory above 4 GiB makes the file ELF64 whatever the machine,
with the machine's own e_machine, as kexec-tools does it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from attrs import frozen

from ddsdk.abi import Abi
from ddsdk.errors import FormatError

ET_CORE = 4
PT_LOAD = 1
PT_NOTE = 4
PF_RWX = 7
#: More segments than this do not fit e_phnum: it is PN_XNUM and section header 0 has the number (elf(5)).
PN_XNUM = 0xFFFF
#: e_flags of a dump that is not whole; crash and makedumpfile know it as DUMP_ELF_INCOMPLETE.
EF_INCOMPLETE = 1
#: Segment data start on a page of the file: large copies need no realignment.
DATA_ALIGN = 4096


@frozen
class CoreSegment:
    """A run of physical memory in the file: bytes [paddr, paddr + size).

    `memory_size` (0: the same) is how much RAM there is from `paddr` on; what the file has not got was left out.
    """

    paddr: int
    size: int
    vaddr: int = 0
    memory_size: int = 0

    @property
    def memsz(self) -> int:
        """p_memsz."""
        return max(self.size, self.memory_size)


@frozen
class CoreLayout:
    """Where everything goes: `header` holds all bytes before the data, `offsets` one file offset a segment."""

    elf_class: int
    header: bytes
    offsets: tuple[int, ...]
    file_size: int


def layout_core(abi: Abi, segments: Sequence[CoreSegment], notes: bytes, *, incomplete: bool = False,
                data_align: int = DATA_ALIGN) -> CoreLayout:
    """The file's layout for *segments* (sorted, disjoint) and *notes* (packed records).

    FormatError when segments overlap or are out of order.
    """
    _check_order(segments)
    total = sum(segment.size for segment in segments)
    end = segments[-1].paddr + segments[-1].memsz if segments else 0
    spare = (len(segments) + 8) * 64 + len(notes) + data_align
    wide = abi.elf_class == 64 or end > 1 << 32 or total + spare >= 1 << 32
    wire = _Wire(abi, wide)
    extended = len(segments) + 1 >= PN_XNUM
    notes_at = wire.ehdr_size + (len(segments) + 1) * wire.phdr_size + extended * wire.shdr_size
    first = notes_at + len(notes)
    first += -first % data_align
    offsets = []
    at = first
    for segment in segments:
        offsets.append(at)
        at += segment.size
    headers = [wire.ehdr(len(segments) + 1, incomplete), wire.phdr(PT_NOTE, 0, notes_at, 0, 0, len(notes), 0)]
    # an offset even where there are no bytes: crash takes the first one for the size of the headers
    headers += [wire.phdr(PT_LOAD, PF_RWX, offset, segment.vaddr, segment.paddr, segment.size,
                          segment.memsz)
                for offset, segment in zip(offsets, segments, strict=True)]
    if extended:
        headers.append(wire.shdr0(len(segments) + 1))
    header = b"".join(headers) + notes
    return CoreLayout(64 if wide else 32, header.ljust(first, b"\0"), tuple(offsets), at)


def _check_order(segments: Sequence[CoreSegment]) -> None:
    end = 0
    for segment in segments:
        if segment.memsz <= 0 or segment.paddr < end:
            raise FormatError(f"segment {segment.paddr:#x}+{segment.memsz:#x}: segments must be sorted, disjoint and "
                              f"not empty; the one before ends at {end:#x}")
        end = segment.paddr + segment.memsz


class _Wire:
    """ELF structures of one class and byte order (elf(5))."""

    def __init__(self, abi: Abi, wide: bool) -> None:
        self.abi, self.wide, order = abi, wide, abi.struct_prefix
        self.ehdr_size, self.phdr_size, self.shdr_size = (64, 56, 64) if wide else (52, 32, 40)
        self._ehdr = struct.Struct(order + ("16sHHIQQQIHHHHHH" if wide else "16sHHIIIIIHHHHHH"))
        self._phdr = struct.Struct(order + ("IIQQQQQQ" if wide else "IIIIIIII"))
        self._shdr = struct.Struct(order + ("IIQQQQIIQQ" if wide else "IIIIIIIIII"))

    def ehdr(self, phnum: int, incomplete: bool) -> bytes:
        """Elf_Ehdr."""
        ident = bytes([0x7F, *b"ELF", 2 if self.wide else 1, 1 if self.abi.byteorder == "little" else 2, 1])
        extended = phnum >= PN_XNUM
        shoff = self.ehdr_size + phnum * self.phdr_size if extended else 0
        return self._ehdr.pack(ident.ljust(16, b"\0"), ET_CORE, self.abi.e_machine, 1, 0, self.ehdr_size, shoff,
                               EF_INCOMPLETE if incomplete else 0, self.ehdr_size, self.phdr_size,
                               PN_XNUM if extended else phnum, self.shdr_size if extended else 0,
                               1 if extended else 0, 0)

    def phdr(self, kind: int, flags: int, offset: int, vaddr: int, paddr: int, filesz: int, memsz: int) -> bytes:
        """Elf_Phdr, p_align 0; the flags stand elsewhere in ELF32."""
        if self.wide:
            return self._phdr.pack(kind, flags, offset, vaddr, paddr, filesz, memsz, 0)
        return self._phdr.pack(kind, offset, vaddr, paddr, filesz, memsz, flags, 0)

    def shdr0(self, phnum: int) -> bytes:
        """Section header 0: only sh_info is used, the number of program headers."""
        return self._shdr.pack(0, 0, 0, 0, 0, 0, 0, phnum, 0, 0)
