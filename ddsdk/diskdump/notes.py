"""The sub header of a dump partition: vmcore/subnotes.py's, with one note more, the device's FormatRecord.

    DDSDK (the record, or zeros), CORE NT_PRSTATUS one a CPU, VMCOREINFO, of a partial dump DDSDK NT_PARTIAL,
    of one with swap areas DDSDK NT_SWAP (swappart.py)

It overwrites the block in which the formatter left the record, and carries it on.  It may run on into further blocks:
then sub_hdr_size says so.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from attrs import frozen

from ddsdk.abi import Abi
from ddsdk.errors import FormatError
from ddsdk.vmcore.notes import CpuNote, Note, core_notes, pack_notes
from ddsdk.vmcore.subnotes import AREA_HEAD_BYTES, area, area_offset, pack_sub_header, parse_sub_notes

from .device import CpuRegisters
from .record import RECORD_BYTES, FormatRecord
from .swappart import SwapArea, pack_note, parse_note

RECORD_NOTE = b"DDSDK"
NT_FORMAT_RECORD = 1            # 2 is LKCD files' (vmcore/lkcd.py)
NT_PARTIAL = 3
NT_SWAP = 4
_PARTIAL = struct.Struct("<II16s")
_PARTIAL_VERSION = 1


@frozen
class PartialNote:
    """How a partial dump was made: `level`, makedumpfile's bits, and what "compressed" means in its records.

    Without it - a dump by RHEL's kernel - it means zlib.
    """

    level: int = 0
    codec: str = "none"

    def pack(self) -> bytes:
        """24 bytes, little endian: version, level, name of the codec."""
        return _PARTIAL.pack(_PARTIAL_VERSION, self.level, self.codec.encode())

    @classmethod
    def parse(cls, desc: bytes) -> PartialNote:
        """FormatError for a note of another version."""
        version, level, name = _PARTIAL.unpack(desc) if len(desc) == _PARTIAL.size else (0, 0, b"")
        if version != _PARTIAL_VERSION:
            raise FormatError(f"sub header: the note on the partial dump has {len(desc)} bytes and version {version}, "
                              f"not {_PARTIAL.size} and {_PARTIAL_VERSION}; a newer ddsdk reads it")
        return cls(level, name.rstrip(b"\0").decode("ascii", "replace"))


@frozen
class SubHeader:
    """A sub header read back.

    `cpus`: one CpuNote a CPU; from a dump without our area just the dumping CPU, with the registers it left.
    `record`: the format of the device before the dump, None when unknown.  `swap`: areas saved with the memory;
    `swap_damage`: why they are not known.
    """

    regs: bytes
    cpus: tuple[CpuNote, ...]
    vmcoreinfo: bytes | None
    record: FormatRecord | None
    has_area: bool
    partial: PartialNote | None = None
    swap: tuple[SwapArea, ...] = ()
    swap_damage: str = ""

    def notes(self, abi: Abi) -> bytes:
        """The PT_NOTE contents of the vmcore."""
        return pack_notes(abi, core_notes(abi, self.cpus, self.vmcoreinfo))


def build_sub_header(abi: Abi, cpus: Sequence[CpuRegisters], vmcoreinfo: bytes | None,
                     record: FormatRecord | None = None, partial: PartialNote | None = None,
                     swap: Sequence[SwapArea] = ()) -> bytes:
    """The sub header in whole zero-padded blocks; *cpus* has the dumping CPU first (none: zero registers).

    A CPU that is a CpuNote keeps its original NT_PRSTATUS verbatim.
    """
    regs = cpus[0].regs if cpus else b""
    if regs and len(regs) != abi.gregset_bytes:
        raise FormatError(f"registers of CPU {cpus[0].cpu}: {len(regs)} bytes, {abi.name} has {abi.gregset_bytes}")
    notes = core_notes(abi, (_as_note(cpu) for cpu in cpus), vmcoreinfo)
    notes.insert(0, Note(RECORD_NOTE, NT_FORMAT_RECORD, record.pack() if record else bytes(RECORD_BYTES)))
    if partial is not None:
        notes.append(Note(RECORD_NOTE, NT_PARTIAL, partial.pack()))
    if swap:
        notes.append(Note(RECORD_NOTE, NT_SWAP, pack_note(swap)))
    return pack_sub_header(abi, regs, notes)


def _as_note(cpu: CpuRegisters) -> CpuNote:
    return cpu if isinstance(cpu, CpuNote) else CpuNote(cpu.cpu, cpu.regs)


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
    packed = area(abi, bytes(records))
    return sub_header[:area_offset(abi)] + packed + sub_header[area_offset(abi) + len(packed):]


def parse_sub_header(abi: Abi, data: bytes, dumping_cpu: int = 0) -> SubHeader:
    """The sub header in *data*, whole blocks.  FormatError when our area is there and damaged.

    Without our area - a dump by RHEL's kernel - the registers become the one NT_PRSTATUS.
    """
    read = parse_sub_notes(abi, data, dumping_cpu)
    record = next((FormatRecord.parse(note.desc) for note in read.notes
                   if note.name == RECORD_NOTE and note.type == NT_FORMAT_RECORD), None)
    partial = next((PartialNote.parse(note.desc) for note in read.notes
                    if note.name == RECORD_NOTE and note.type == NT_PARTIAL), None)
    swap, damage = tuple[SwapArea, ...](), ""
    try:
        swap = next((parse_note(note.desc, abi.page_size) for note in read.notes
                     if note.name == RECORD_NOTE and note.type == NT_SWAP), ())
    except FormatError as error:            # it costs no note of the memory's
        damage = str(error)
    return SubHeader(read.regs, read.cpus, read.vmcoreinfo, record, read.has_area, partial, swap, damage)
