"""ELF notes where a format has no place for them: an area of our own in a sub header that readers skip.

The original's sub header is a bare elf_gregset_t (formats.md 1.9; RHEL 4 `include/asm-*/diskdump.h`) and its
vmcore knows one CPU.  Ours starts the same; at the next 64-byte boundary follows the area:

    0   8  b"DDNOTES1"
    8   4  length of the records, bytes
    12  4  CRC-32/ISO-HDLC of the records
    16  -  ELF notes: CORE NT_PRSTATUS one a CPU, VMCOREINFO, and what else there is

in the machine's byte order.  It may run on into further blocks.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from attrs import frozen

from ddsdk.abi import Abi
from ddsdk.errors import FormatError

from .notes import CpuNote, Note, cpus_and_vmcoreinfo, pack_notes, parse_notes

AREA_MAGIC = b"DDNOTES1"
AREA_ALIGN = 64
AREA_HEAD_BYTES = 16
#: Room for the notes of 16384 ia64 CPUs; more is not believed.
MAX_SUB_HEADER_BYTES = 32 << 20


@frozen
class SubNotes:
    """A sub header read back.

    `cpus`: one CpuNote a CPU; without our area just the dumping CPU, with the registers it left.
    """

    regs: bytes
    cpus: tuple[CpuNote, ...]
    vmcoreinfo: bytes | None
    notes: tuple[Note, ...]
    has_area: bool


def area_offset(abi: Abi) -> int:
    """Where the area starts in a sub header, bytes."""
    return abi.gregset_bytes + -abi.gregset_bytes % AREA_ALIGN


def area(abi: Abi, records: bytes) -> bytes:
    """The area with *records*, packed notes, in it."""
    return struct.pack(abi.struct_prefix + "8sII", AREA_MAGIC, len(records), zlib.crc32(records)) + records


def area_records(abi: Abi, data: bytes | memoryview, at: int) -> bytes | None:
    """The packed notes of an area at byte *at* of *data*; None when there is none, FormatError when it is damaged."""
    if data[at:at + len(AREA_MAGIC)] != AREA_MAGIC or len(data) < at + AREA_HEAD_BYTES:
        return None
    length, crc = struct.unpack_from(abi.struct_prefix + "II", data, at + len(AREA_MAGIC))
    records = bytes(data[at + AREA_HEAD_BYTES:at + AREA_HEAD_BYTES + length])
    if len(records) != length or zlib.crc32(records) != crc:
        raise FormatError(f"sub header: the notes ({length} bytes at byte {at}) do not match their CRC {crc:08x}; "
                          "the sub header is damaged")
    return records


def pack_sub_header(abi: Abi, regs: bytes, notes: Sequence[Note]) -> bytes:
    """The sub header of the dumping CPU's *regs* (b"": zeros) and *notes*, in whole zero-padded blocks."""
    regs = regs or bytes(abi.gregset_bytes)
    if len(regs) != abi.gregset_bytes:
        raise FormatError(f"registers of the dumping CPU: {len(regs)} bytes, {abi.name} has {abi.gregset_bytes}")
    data = regs.ljust(area_offset(abi), b"\0") + area(abi, pack_notes(abi, notes))
    return data.ljust(-(-len(data) // abi.page_size) * abi.page_size, b"\0")


def parse_sub_notes(abi: Abi, data: bytes, dumping_cpu: int = 0) -> SubNotes:
    """The sub header in *data*, whole blocks.  FormatError when our area is there and damaged.

    Without our area - a dump by RHEL's kernel - the registers become the one NT_PRSTATUS.
    """
    regs = data[:abi.gregset_bytes]
    records = area_records(abi, data, area_offset(abi))
    if records is None:
        cpus = (CpuNote(dumping_cpu, regs),) if len(regs) == abi.gregset_bytes else ()
        return SubNotes(regs, cpus, None, (), False)
    notes = parse_notes(abi, records)
    return SubNotes(regs, *cpus_and_vmcoreinfo(abi, notes), tuple(notes), True)
