"""The ELF cores we write, read by someone who does not know our code: pyelftools, and offsets as literals."""

from __future__ import annotations

import io
import struct
from typing import Any, cast

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment

from ddsdk.abi import ABIS, I386, PPC64, X86_64, Abi
from ddsdk.errors import FormatError
from ddsdk.vmcore.elf import CoreLayout, CoreSegment, layout_core
from ddsdk.vmcore.notes import CpuNote, core_notes, pack_notes
from ddsdk.vmcore.synthetic import registers

GIB = 1 << 30


def read(layout: CoreLayout) -> ELFFile:
    """pyelftools' view of the header bytes."""
    return ELFFile(io.BytesIO(layout.header))


def segments(layout: CoreLayout) -> list[Any]:
    """pyelftools' program headers."""
    return [segment.header for segment in read(layout).iter_segments()]


@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_shape(abi: Abi) -> None:
    """ET_CORE of the machine, headers right behind the ELF header, no sections, PT_NOTE first, p_align 0 everywhere."""
    layout = layout_core(abi, [CoreSegment(0, 0xA0000), CoreSegment(0x100000, 0x700000)], b"note")
    head = read(layout).header
    assert head["e_type"] == "ET_CORE"
    assert head["e_ident"]["EI_DATA"] == ("ELFDATA2LSB" if abi.byteorder == "little" else "ELFDATA2MSB")
    assert (head["e_phoff"], layout.elf_class) == ((52, 32) if abi is I386 else (64, 64))
    assert (head["e_shnum"], head["e_shoff"], head["e_phnum"], head["e_flags"]) == (0, 0, 3, 0)
    rows = segments(layout)
    assert [row["p_type"] for row in rows] == ["PT_NOTE", "PT_LOAD", "PT_LOAD"]
    assert [row["p_align"] for row in rows] == [0, 0, 0]
    assert [(row["p_paddr"], row["p_filesz"], row["p_memsz"], row["p_vaddr"]) for row in rows[1:]] == [
        (0, 0xA0000, 0xA0000, 0), (0x100000, 0x700000, 0x700000, 0)]
    assert [row["p_offset"] for row in rows[1:]] == list(layout.offsets) == [4096, 4096 + 0xA0000]
    assert layout.file_size == 4096 + 0xA0000 + 0x700000
    assert len(layout.header) == 4096
    note_at = rows[0]["p_offset"]
    assert layout.header[note_at:note_at + 4] == b"note"


def test_e_machine_numbers() -> None:
    """3 i386, 62 x86_64, 50 ia64, 21 ppc64, at byte 18 in the machine's own order."""
    found = {abi.name: int.from_bytes(layout_core(abi, [], b"").header[18:20], abi.byteorder) for abi in ABIS}
    assert found == {"i386": 3, "x86_64": 62, "ia64": 50, "ppc64": 21}


@pytest.mark.parametrize(("segments_", "elf_class"), [
    ([CoreSegment(0, GIB)], 32),
    ([CoreSegment(0, GIB), CoreSegment(4 * GIB - 4096, 4096)], 32),
    ([CoreSegment(0, GIB), CoreSegment(4 * GIB, 4096)], 64),            # an address that does not fit
    ([CoreSegment(0, 4 * GIB - 4096)], 64),                             # a file offset that would not fit
])
def test_class_on_i386(segments_: list[CoreSegment], elf_class: int) -> None:
    """i386 gets ELF32 until an address or the file is too large for it; then ELF64, still of machine i386."""
    layout = layout_core(I386, segments_, b"")
    assert layout.elf_class == elf_class
    assert read(layout).header["e_machine"] == "EM_386"
    assert read(layout).header["e_phoff"] == (64 if elf_class == 64 else 52)


def test_incomplete_flag() -> None:
    """e_flags bit 0 marks a dump that is not whole, where makedumpfile and crash look for it."""
    assert struct.unpack_from("<I", layout_core(X86_64, [], b"", incomplete=True).header, 48) == (1,)
    assert struct.unpack_from("<I", layout_core(I386, [], b"", incomplete=True).header, 36) == (1,)


@pytest.mark.parametrize("abi", [X86_64, I386, PPC64], ids=lambda abi: abi.name)
@pytest.mark.parametrize(("count", "extended"), [(65533, False), (65534, True), (70000, True)])
def test_many_segments(count: int, extended: bool, abi: Abi) -> None:
    """From 65535 program headers on, e_phnum is PN_XNUM and section header 0 has their number."""
    layout = layout_core(abi, [CoreSegment(n * 8192, 4096) for n in range(count)], b"note")
    elf = read(layout)
    assert elf.header["e_phnum"] == (0xFFFF if extended else count + 1)
    assert elf.header["e_shnum"] == (1 if extended else 0)
    assert elf.num_segments() == count + 1
    last = elf.get_segment(count).header
    assert (last["p_paddr"], last["p_offset"]) == ((count - 1) * 8192, layout.offsets[-1])
    note = elf._get_segment_header(0)
    assert layout.header[note["p_offset"]:note["p_offset"] + 4] == b"note"


@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_notes_as_pyelftools_reads_them(abi: Abi) -> None:
    """One CORE NT_PRSTATUS a CPU, in order, registers and pid in their places, then VMCOREINFO; nothing else."""
    cpus = [CpuNote(1, registers(abi, 1, 3), 77), CpuNote(0, registers(abi, 0, 3), 66)]
    notes = pack_notes(abi, core_notes(abi, cpus, b"OSRELEASE=6.1\n"))
    layout = layout_core(abi, [CoreSegment(0, 4096)], notes)
    elf = read(layout)
    found = list(cast(NoteSegment, elf.get_segment(0)).iter_notes())
    assert [(note["n_name"], note["n_descsz"]) for note in found] == [
        ("CORE", abi.prstatus_bytes), ("CORE", abi.prstatus_bytes), ("VMCOREINFO", 14)]
    for cpu, note in enumerate(found[:2]):
        desc = note["n_descdata"]
        assert desc[abi.pr_reg_offset:abi.pr_reg_offset + abi.gregset_bytes] == registers(abi, cpu, 3)
        assert int.from_bytes(desc[abi.pr_pid_offset:abi.pr_pid_offset + 4], abi.byteorder) == (66, 77)[cpu]
    assert found[2]["n_descdata"] == b"OSRELEASE=6.1\n"


@pytest.mark.parametrize("wrong", [
    [CoreSegment(4096, 8192), CoreSegment(8192, 4096)],
    [CoreSegment(8192, 4096), CoreSegment(0, 4096)],
    [CoreSegment(0, 0)],
])
def test_segments_must_be_in_order(wrong: list[CoreSegment]) -> None:
    """Overlapping, unsorted or empty segments are refused before anything is written."""
    with pytest.raises(FormatError, match="segments must be sorted, disjoint and not empty"):
        layout_core(X86_64, wrong, b"")


def test_no_memory_at_all() -> None:
    """A dump that never reached memory still has a header and notes."""
    layout = layout_core(X86_64, [], b"note", incomplete=True)
    assert (layout.offsets, layout.file_size) == ((), 4096)
    assert read(layout).num_segments() == 1
