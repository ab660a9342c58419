"""The sub header: the dumping CPU's registers, and behind them what else the vmcore must carry.

The original's sub header is a bare elf_gregset_t (formats.md 1.9; RHEL 4 `include/asm-*/diskdump.h`) and its
vmcore knows one CPU.  Ours starts the same; at the next 64-byte boundary follows our own area:

    0   8  b"DDNOTES1"
    8   4  length of the records, bytes
    12  4  CRC-32/ISO-HDLC of the records
    16  -  ELF notes: DDSDK (the device's FormatRecord, or zeros), CORE NT_PRSTATUS one a CPU, VMCOREINFO

in the machine's byte order.  It may run on into further blocks: then sub_hdr_size says so.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

from attrs import frozen

from ddsdk.abi import Abi
from ddsdk.errors import FormatError
from ddsdk.vmcore.notes import CpuNote, Note, core_notes, cpus_and_vmcoreinfo, pack_notes, parse_notes

from .device import CpuRegisters
from .record import RECORD_BYTES, FormatRecord

AREA_MAGIC = b"DDNOTES1"
AREA_ALIGN = 64
AREA_HEAD_BYTES = 16
RECORD_NOTE = b"DDSDK"
NT_FORMAT_RECORD = 1
#: Room for the notes of 16384 ia64 CPUs; more is not believed.
MAX_SUB_HEADER_BYTES = 32 << 20


@frozen
class SubHeader:
    """A sub header read back.

    `cpus`: one CpuNote a CPU; from a dump without our area just the dumping CPU, with the registers it left.
    `record`: the format of the device before the dump, None when unknown.
    """

    regs: bytes
    cpus: tuple[CpuNote, ...]
    vmcoreinfo: bytes | None
    record: FormatRecord | None
    has_area: bool

    def notes(self, abi: Abi) -> bytes:
        """The PT_NOTE contents of the vmcore."""
        return pack_notes(abi, core_notes(abi, self.cpus, self.vmcoreinfo))


def area_offset(abi: Abi) -> int:
    """Where our area starts in the sub header, bytes."""
    return abi.gregset_bytes + -abi.gregset_bytes % AREA_ALIGN


def build_sub_header(abi: Abi, cpus: Sequence[CpuRegisters], vmcoreinfo: bytes | None,
                     record: FormatRecord | None = None) -> bytes:
    """The sub header in whole zero-padded blocks; *cpus* has the dumping CPU first (none: zero registers).

    A CPU that is a CpuNote keeps its original NT_PRSTATUS verbatim.
    """
    regs = cpus[0].regs if cpus else bytes(abi.gregset_bytes)
    if len(regs) != abi.gregset_bytes:
        raise FormatError(f"registers of CPU {cpus[0].cpu}: {len(regs)} bytes, {abi.name} has {abi.gregset_bytes}")
    notes = core_notes(abi, (_as_note(cpu) for cpu in cpus), vmcoreinfo)
    notes.insert(0, Note(RECORD_NOTE, NT_FORMAT_RECORD, record.pack() if record else bytes(RECORD_BYTES)))
    data = regs.ljust(area_offset(abi), b"\0") + _area(abi, pack_notes(abi, notes))
    return data.ljust(-(-len(data) // abi.page_size) * abi.page_size, b"\0")


def _as_note(cpu: CpuRegisters) -> CpuNote:
    return cpu if isinstance(cpu, CpuNote) else CpuNote(cpu.cpu, cpu.regs)


def _area(abi: Abi, records: bytes) -> bytes:
    head = struct.pack(abi.struct_prefix + "8sII", AREA_MAGIC, len(records), zlib.crc32(records))
    return head + records


def with_record(sub_header: bytes, abi: Abi, user_block: bytes | memoryview) -> bytes:
    """*sub_header* carrying the FormatRecord of *user_block*, the block it is about to overwrite.

    For the dump engine, which reads block 2 before it writes.  Unchanged when the block holds no record.
    """
    record = FormatRecord.parse(user_block)
    if record is None:
        return sub_header
    at = area_offset(abi) + AREA_HEAD_BYTES
    length, = struct.unpack_from(abi.struct_prefix + "I", sub_header, at - 8)
    records = bytearray(sub_header[at:at + length])
    place = 12 + len(RECORD_NOTE) + 1 + 2       # the first note's descriptor: behind its head and padded name
    records[place:place + RECORD_BYTES] = record.pack()
    area = _area(abi, bytes(records))
    return sub_header[:area_offset(abi)] + area + sub_header[area_offset(abi) + len(area):]


def parse_sub_header(abi: Abi, data: bytes, dumping_cpu: int = 0) -> SubHeader:
    """The sub header in *data*, whole blocks.  FormatError when our area is there and damaged.

    Without our area - a dump by RHEL's kernel - the registers become the one NT_PRSTATUS.
    """
    regs = data[:abi.gregset_bytes]
    at = area_offset(abi)
    if data[at:at + len(AREA_MAGIC)] != AREA_MAGIC:
        return SubHeader(regs, (CpuNote(dumping_cpu, regs),), None, None, False)
    length, crc = struct.unpack_from(abi.struct_prefix + "II", data, at + len(AREA_MAGIC))
    records = data[at + AREA_HEAD_BYTES:at + AREA_HEAD_BYTES + length]
    if len(records) != length or zlib.crc32(records) != crc:
        raise FormatError(f"sub header: the notes ({length} bytes at byte {at}) do not match their CRC {crc:08x}; "
                          "the sub header is damaged")
    notes = parse_notes(abi, records)
    cpus, vmcoreinfo = cpus_and_vmcoreinfo(abi, notes)
    record = next((FormatRecord.parse(note.desc) for note in notes
                   if note.name == RECORD_NOTE and note.type == NT_FORMAT_RECORD), None)
    return SubHeader(regs, cpus, vmcoreinfo, record, True)
