"""The reference ELF of the lab: a plain core made from a guest's RAM file and the notes QEMU wrote.

Nothing of `ddsdk.vmcore` is used here on purpose: this file is what ddsdk's own readers and writers are compared with.
Rules from the lab's findings: program headers at byte 64, one PT_NOTE with CORE and VMCOREINFO notes only,
page-aligned PT_LOADs, p_align 0 everywhere (else crash takes the file for a netdump), no sections.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen

from .tools import LabError

EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")
NHDR = struct.Struct("<III")
ET_CORE, EM_X86_64, PT_LOAD, PT_NOTE, PF_RWX = 4, 62, 1, 4, 7
PAGE_BYTES = 4096
NT_PRSTATUS_BYTES = 336
#: legacy video memory: the RAM file has bytes there, the CPU does not see them
VGA_START, VGA_END = 0xA0000, 0xC0000


@frozen
class Note:
    """One ELF note; `owner` without its NUL."""

    owner: bytes
    kind: int
    desc: bytes

    def packed(self) -> bytes:
        """The note as it stands in a PT_NOTE segment, 4-byte aligned."""
        name = self.owner + b"\0"
        return (NHDR.pack(len(name), len(self.desc), self.kind) + name + bytes(-len(name) % 4)
                + self.desc + bytes(-len(self.desc) % 4))


def _parse_notes(data: bytes) -> Iterator[Note]:
    at = 0
    while at + NHDR.size <= len(data):
        namesz, descsz, kind = NHDR.unpack_from(data, at)
        name_at = at + NHDR.size
        desc_at = name_at + namesz + (-namesz % 4)
        at = desc_at + descsz + (-descsz % 4)
        if at > len(data):
            raise LabError(f"a note of {descsz} bytes ends beyond its segment of {len(data)}")
        yield Note(data[name_at:name_at + namesz].rstrip(b"\0"), kind, data[desc_at:desc_at + descsz])


def notes_of_qemu_elf(path: Path) -> list[Note]:
    """The CORE and VMCOREINFO notes of a `dump-guest-memory` ELF; LabError when either is missing."""
    with path.open("rb") as core:
        header = core.read(EHDR.size)
        if len(header) < EHDR.size or header[:5] != b"\x7fELF\x02":
            raise LabError(f"{path}: QEMU wrote no 64-bit ELF")
        fields = EHDR.unpack(header)
        phoff, phnum = fields[5], fields[10]
        core.seek(phoff)
        table = core.read(phnum * PHDR.size)
        notes: list[Note] = []
        for kind, _, offset, _, _, filesz, _, _ in PHDR.iter_unpack(table):
            if kind == PT_NOTE:
                core.seek(offset)
                notes += _parse_notes(core.read(filesz))
    wanted = [note for note in notes if note.owner in (b"CORE", b"VMCOREINFO")]
    if not any(note.owner == b"VMCOREINFO" for note in wanted):
        raise LabError("the guest handed QEMU no VMCOREINFO: qemu_fw_cfg did not load, see serial.log")
    if not any(note.owner == b"CORE" and len(note.desc) == NT_PRSTATUS_BYTES for note in wanted):
        raise LabError("QEMU's ELF has no x86-64 NT_PRSTATUS: the guest died in 32-bit code, see serial.log")
    return wanted


def pc_ram_ranges(size_bytes: int) -> list[tuple[int, int, int]]:
    """(physical address, bytes, offset in the RAM file) of a `pc` machine's RAM, without video memory.

    QEMU hw/i386/pc_piix.c, pc_init1(): 0xe0000000 bytes or more are split at 0xc0000000 and 4 GiB.
    """
    low = size_bytes if size_bytes < 0xE0000000 else 0xC0000000
    ranges = [(0, VGA_START, 0), (VGA_END, low - VGA_END, VGA_END)]
    if size_bytes > low:
        ranges.append((1 << 32, size_bytes - low, low))
    return ranges


def without(ranges: Sequence[tuple[int, int, int]], hole: tuple[int, int]) -> list[tuple[int, int, int]]:
    """*ranges* less the *hole* (physical address, bytes)."""
    start, end = hole[0], hole[0] + hole[1]
    left = []
    for paddr, size, offset in ranges:
        for low, high in ((paddr, min(paddr + size, start)), (max(paddr, end), paddr + size)):
            if low < high:
                left.append((low, high - low, offset + low - paddr))
    return left


def write_reference_elf(path: Path, ram: Path, notes: Sequence[Note], hole: tuple[int, int] = (0, 0)) -> None:
    """Write *path* as the well-formed core of *ram* less *hole* (physical address, bytes).

    Zero pages become holes in the file, not in the dump.
    """
    note_bytes = b"".join(note.packed() for note in notes)
    ranges = without(pc_ram_ranges(ram.stat().st_size), hole) if hole[1] else pc_ram_ranges(ram.stat().st_size)
    note_at = EHDR.size + PHDR.size * (1 + len(ranges))
    data_at = -(-(note_at + len(note_bytes)) // PAGE_BYTES) * PAGE_BYTES
    headers = [PHDR.pack(PT_NOTE, 0, note_at, 0, 0, len(note_bytes), len(note_bytes), 0)]
    at = data_at
    for paddr, size, _ in ranges:
        headers.append(PHDR.pack(PT_LOAD, PF_RWX, at, 0, paddr, size, size, 0))
        at += size
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    ehdr = EHDR.pack(ident, ET_CORE, EM_X86_64, 1, 0, EHDR.size, 0, 0, EHDR.size, PHDR.size, len(headers),
                     0, 0, 0)
    with path.open("wb") as out, ram.open("rb") as source:
        out.write(ehdr + b"".join(headers) + note_bytes)
        out.truncate(at)
        out.seek(data_at)
        for _, size, offset in ranges:
            source.seek(offset)
            _copy_sparse(source.fileno(), out.fileno(), offset, out.seek(0, os.SEEK_CUR), size)
            out.seek(size, os.SEEK_CUR)


def _copy_sparse(source: int, target: int, source_at: int, target_at: int, size: int) -> None:
    chunk_bytes = 1 << 20
    zero = bytes(chunk_bytes)
    for done in range(0, size, chunk_bytes):
        data = os.pread(source, min(chunk_bytes, size - done), source_at + done)
        if data != zero[:len(data)]:
            os.pwrite(target, data, target_at + done)
