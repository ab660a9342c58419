"""ELF notes of a kernel core: NT_PRSTATUS, one a CPU, and VMCOREINFO.

Record: n_namesz, n_descsz, n_type (32-bit words of the file's byte order), name, descriptor, each padded to
four bytes.  kdump counts the NUL of the name, netdump and diskdump do not (formats.md 4.1); both are read,
the first is written.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from attrs import frozen

from ddsdk.abi import Abi
from ddsdk.errors import FormatError

NT_PRSTATUS = 1
NT_PRPSINFO = 3
CORE = b"CORE"
VMCOREINFO = b"VMCOREINFO"
#: A name longer than this is no note name.
_MAX_NAME_BYTES = 256


@frozen
class Note:
    """One note; `name` without its NUL."""

    name: bytes
    type: int
    desc: bytes

    def pack(self, abi: Abi) -> bytes:
        """The record as *abi*'s machine writes it."""
        name = self.name + b"\0"
        head = struct.pack(abi.struct_prefix + "III", len(name), len(self.desc), self.type)
        return head + _padded(name) + _padded(self.desc)


@frozen
class CpuNote:
    """One CPU at the crash.

    `regs` is its elf_gregset_t, `pid` the process it ran; `raw_desc` the whole NT_PRSTATUS descriptor as the
    crashed kernel (or QEMU) wrote it, None when there was none.
    """

    cpu: int
    regs: bytes
    pid: int = 0
    raw_desc: bytes | None = None

    def desc(self, abi: Abi) -> bytes:
        """The NT_PRSTATUS descriptor: the original one verbatim, else one built from the registers."""
        return self.raw_desc if self.raw_desc is not None else prstatus(abi, self.regs, self.pid)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def prstatus(abi: Abi, regs: bytes, pid: int = 0) -> bytes:
    """struct elf_prstatus: pid and registers at their places, zero elsewhere (sizes: formats.md 4.1)."""
    if len(regs) != abi.gregset_bytes:
        raise FormatError(f"a register set of {len(regs)} bytes: {abi.name} has {abi.gregset_bytes} "
                          f"({len(abi.gregs)} registers)")
    desc = bytearray(abi.prstatus_bytes)
    struct.pack_into(abi.struct_prefix + "i", desc, abi.pr_pid_offset, pid)
    desc[abi.pr_reg_offset:abi.pr_reg_offset + len(regs)] = regs
    return bytes(desc)


def cpu_of_prstatus(abi: Abi, cpu: int, desc: bytes) -> CpuNote:
    """The CpuNote of an NT_PRSTATUS descriptor.  FormatError when it is too short to hold the registers."""
    end = abi.pr_reg_offset + abi.gregset_bytes
    if len(desc) < end:
        raise FormatError(f"NT_PRSTATUS of CPU {cpu}: {len(desc)} bytes, {abi.name} needs {abi.prstatus_bytes}")
    pid, = struct.unpack_from(abi.struct_prefix + "i", desc, abi.pr_pid_offset)
    return CpuNote(cpu, desc[abi.pr_reg_offset:end], pid, desc)


def core_notes(abi: Abi, cpus: Iterable[CpuNote], vmcoreinfo: bytes | None) -> list[Note]:
    """What our vmcores carry: NT_PRSTATUS by CPU number, VMCOREINFO.

    Nothing else: crash 8.0.2 dies of QEMU's own notes in a file of this shape (real-lab.md).
    """
    notes = [Note(CORE, NT_PRSTATUS, cpu.desc(abi)) for cpu in sorted(cpus, key=lambda note: note.cpu)]
    if vmcoreinfo is not None:
        notes.append(Note(VMCOREINFO, 0, vmcoreinfo))
    return notes


def pack_notes(abi: Abi, notes: Iterable[Note]) -> bytes:
    """The records one after the other."""
    return b"".join(note.pack(abi) for note in notes)


def parse_notes(abi: Abi, data: bytes) -> list[Note]:
    """Every note of *data*; FormatError names the offset of the first record that does not fit.

    Zero bytes after the last record are padding.
    """
    notes = []
    at = 0
    while at + 12 <= len(data) and any(data[at:at + 12]):
        namesz, descsz, kind = struct.unpack_from(abi.struct_prefix + "III", data, at)
        desc_at = at + 12 + namesz + -namesz % 4
        end = desc_at + descsz
        if namesz > _MAX_NAME_BYTES or end > len(data):
            raise FormatError(f"note at byte {at}: name of {namesz} and descriptor of {descsz} bytes do not fit the "
                              f"{len(data)} bytes of notes; the notes are damaged")
        name = data[at + 12:at + 12 + namesz].rstrip(b"\0")
        notes.append(Note(name, kind, data[desc_at:end]))
        at = end + -end % 4
    return notes


def cpus_and_vmcoreinfo(abi: Abi, notes: Iterable[Note]) -> tuple[tuple[CpuNote, ...], bytes | None]:
    """The CPUs, numbered in order of their notes, and the VMCOREINFO text (NUL padding kept off)."""
    cpus: list[CpuNote] = []
    vmcoreinfo = None
    for note in notes:
        if note.name == CORE and note.type == NT_PRSTATUS:
            cpus.append(cpu_of_prstatus(abi, len(cpus), note.desc))
        elif note.name == VMCOREINFO and vmcoreinfo is None:
            vmcoreinfo = note.desc
    return tuple(cpus), vmcoreinfo
