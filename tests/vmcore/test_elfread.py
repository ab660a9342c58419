"""ELF cores taken in: QEMU's and kdump's shapes, and files that cannot be."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ddsdk.abi import I386, IA64, X86_64, Abi
from ddsdk.errors import DeviceError, FormatError
from ddsdk.vmcore.elf import CoreSegment, layout_core
from ddsdk.vmcore.elfread import open_elf
from ddsdk.vmcore.image import MemorySource
from ddsdk.vmcore.notes import prstatus
from ddsdk.vmcore.source import open_source
from ddsdk.vmcore.synthetic import registers
from tests.vmcore.cores import Load, elf64, note

P = 4096


def pattern(pages: int, seed: int = 1) -> bytes:
    """Pages that differ."""
    return b"".join(bytes([seed, n % 251]) * (P // 2) for n in range(pages))


def opened(tmp_path: Path, data: bytes) -> MemorySource:
    """The core with these bytes."""
    path = tmp_path / "vm.elf"
    path.write_bytes(data)
    return open_elf(str(path))


def refused(tmp_path: Path, data: bytes) -> str:
    """The one line with which the core is refused."""
    with pytest.raises(FormatError) as caught:
        opened(tmp_path, data)
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'vm.elf'}: ")
    assert "\n" not in line
    return line.removeprefix(f"{tmp_path / 'vm.elf'}: ")


STATUS = prstatus(X86_64, registers(X86_64, 0, 1), 42)
INFO = b"OSRELEASE=6.1.0\nCRASHTIME=17\n"
NOTES = note(b"CORE", 1, STATUS) + note(b"QEMU", 0, bytes(440)) + note(b"VMCOREINFO", 0, INFO)


@pytest.mark.parametrize("phoff", [64, 192])
def test_memory_and_notes(phoff: int, tmp_path: Path) -> None:
    """Program headers at 64 or, as QEMU puts them, at 192; segments not aligned in the file; foreign notes left out."""
    low, high = pattern(4), pattern(3, 2)
    with opened(tmp_path, elf64([Load(0, low), Load(0x100000, high)], NOTES, phoff=phoff)) as source:
        assert source.abi is X86_64
        assert [(run.start_pfn, run.npages) for run in source.runs] == [(0, 4), (256, 3)]
        assert (source.max_pfn, source.total_pages) == (259, 7)
        assert source.view(0, 4 * P) == low
        assert source.view(0x101000, P) == high[P:2 * P]
        assert [(cpu.cpu, cpu.pid, cpu.regs, cpu.raw_desc) for cpu in source.cpus] == [
            (0, 42, registers(X86_64, 0, 1), STATUS)]
        assert (source.release, source.crashtime, source.incomplete) == ("6.1.0", 17, False)


def test_notes_without_the_nul(tmp_path: Path) -> None:
    """netdump's and diskdump's notes count the name without its NUL."""
    notes = note(b"CORE", 1, STATUS, count_nul=False) + note(b"VMCOREINFO", 0, b"A=1\n", count_nul=False)
    with opened(tmp_path, elf64([Load(0, pattern(1))], notes)) as source:
        assert (len(source.cpus), source.vmcoreinfo) == (1, b"A=1\n")


@pytest.mark.parametrize("abi", [I386, X86_64], ids=lambda abi: abi.name)
def test_a_netdump_core(abi: Abi, tmp_path: Path) -> None:
    """One linear segment at the size of a header of whole pages, with a p_align; notes of both CPUs without the NUL."""
    small = abi is I386
    notes = b"".join(note(b"CORE", kind, desc, count_nul=False) for kind, desc in (
        (1, prstatus(abi, registers(abi, 0, 1), 42)), (3, bytes(124 if small else 136)), (4, bytes(abi.word_bytes)),
        (1, prstatus(abi, registers(abi, 1, 1), 43))))
    memory, head = pattern(6), 2 * P
    ident = b"\x7fELF" + bytes([1 if small else 2, 1, 1]) + bytes(9)
    if small:
        data = ident + struct.pack("<HHIIIIIHHHHHH", 4, 3, 1, 0, 52, 0, 0, 52, 32, 2, 0, 0, 0)
        data += struct.pack("<8I", 4, 116, 0, 0, len(notes), 0, 0, 4)
        data += struct.pack("<8I", 1, head, 0xC0000000, 0, len(memory), len(memory), 7, P)
    else:
        data = ident + struct.pack("<HHIQQQIHHHHHH", 4, 62, 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0)
        data += struct.pack("<IIQQQQQQ", 4, 0, 176, 0, 0, len(notes), 0, 4)
        data += struct.pack("<IIQQQQQQ", 1, 7, head, 0x1000000, 0, len(memory), len(memory), P)
    with opened(tmp_path, (data + notes).ljust(head, b"\0") + memory) as source:
        assert (source.abi, bytes(source.view(0, len(memory)))) == (abi, memory)
        assert [(cpu.cpu, cpu.pid, cpu.regs) for cpu in source.cpus] == [
            (0, 42, registers(abi, 0, 1)), (1, 43, registers(abi, 1, 1))]


def test_our_own_core_round_trips(tmp_path: Path) -> None:
    """What the writer lays out the reader reads, flag of incompleteness included; i386 in both classes."""
    for name, base in (("low", 0), ("high", 1 << 32)):
        data = pattern(2)
        layout = layout_core(I386, [CoreSegment(base, 2 * P)], b"", incomplete=True)
        path = tmp_path / name
        path.write_bytes(layout.header + data)
        with open_elf(str(path)) as source:
            assert (source.abi, bytes(source.view(base, 2 * P)), source.incomplete) == (I386, data, True)


def test_unsorted_segments_are_sorted(tmp_path: Path) -> None:
    """Order in the file does not matter; adjacent segments make one run, a view over both is their bytes."""
    with opened(tmp_path, elf64([Load(2 * P, pattern(1, 9)), Load(0, pattern(2))])) as source:
        assert [(run.start_pfn, run.npages) for run in source.runs] == [(0, 3)]
        assert source.view(P, 2 * P) == pattern(2)[P:] + pattern(1, 9)
        assert len(source.views(P, 2 * P)) == 2


def test_partial_pages(tmp_path: Path) -> None:
    """BIOS memory that ends inside a page: the page is there, zeros where nothing is known."""
    data = pattern(2)[:P + 0x400]
    with opened(tmp_path, elf64([Load(0x9E000, data), Load(0x9FC00, b"\xee" * 0x200)])) as source:
        assert [(run.start_pfn, run.npages) for run in source.runs] == [(0x9E, 2)]
        page = bytes(source.view(0x9F000, P))
        assert page[:0x400] == data[P:]
        assert page[0x400:0xC00] == bytes(0x800)
        assert page[0xC00:0xE00] == b"\xee" * 0x200
        assert page[0xE00:] == bytes(0x200)


def test_memory_without_file_bytes_reads_as_zeros(tmp_path: Path) -> None:
    """p_memsz beyond p_filesz is zeros, a whole segment of them too, however large."""
    loads = [Load(0, pattern(1) + b"tail", memsz=4 * P), Load(1 << 30, b"", memsz=1 << 34, filesz=0)]
    with opened(tmp_path, elf64(loads)) as source:
        assert [(run.start_pfn, run.npages) for run in source.runs] == [(0, 4), (1 << 18, 1 << 22)]
        assert bytes(source.view(P, P)) == b"tail".ljust(P, b"\0")
        assert bytes(source.view(3 * P, P)) == bytes(P)
        assert bytes(source.view((1 << 30) + (1 << 33), P)) == bytes(P)


def test_the_kernel_image_described_twice(tmp_path: Path) -> None:
    """kdump's extra PT_LOAD of the kernel's image inside RAM does not count twice."""
    image = Load(4 * P, pattern(2, 7), vaddr=0xFFFFFFFF81000000)
    with opened(tmp_path, elf64([image, Load(0, pattern(16), vaddr=0xFFFF888000000000)])) as source:
        assert source.total_pages == 16
        assert source.view(4 * P, P) == pattern(16)[4 * P:5 * P]
    with opened(tmp_path, elf64([image, Load(0, pattern(2))])) as source:
        assert [(run.start_pfn, run.npages) for run in source.runs] == [(0, 2), (4, 2)]


def test_page_size_from_vmcoreinfo(tmp_path: Path) -> None:
    """An ia64 kernel with 64 KiB pages says so in VMCOREINFO."""
    data = bytes(2 << 16)
    notes = note(b"VMCOREINFO", 0, b"PAGESIZE=65536\n")
    with opened(tmp_path, elf64([Load(0, data)], notes, machine=50)) as source:
        assert (source.abi.name, source.page_size, source.total_pages) == ("ia64", 65536, 2)
    with opened(tmp_path, elf64([Load(0, data)], machine=50)) as source:
        assert source.abi is IA64


GOOD = elf64([Load(0, pattern(2))], NOTES)


@pytest.mark.parametrize(("data", "line"), [
    (GOOD[:40], "not a readable ELF file"),
    (GOOD[:100], "2 program headers end at byte 176, the file at 100; it is cut short or damaged"),
    (GOOD[:-1], f"PT_LOAD 1 (0x0-0x2000) lies at bytes {len(GOOD) - 2 * P}..{len(GOOD)}, the file ends at "
                f"{len(GOOD) - 1}: 1 bytes are missing, it is cut short"),
    (elf64([Load(0, pattern(1))], NOTES, e_type=2), "an ELF file of type ET_EXEC, no core"),
    (elf64([Load(0, pattern(1))], NOTES, machine=40), "ELF machine EM_ARM is none that ddsdk knows: i386 (3), x86_64"),
    (elf64([Load(0, pattern(1))], NOTES, machine=0x7777), "ELF machine 30583 is none that ddsdk knows"),
    (elf64([Load(0, pattern(1))], NOTES, data=2), "a 64-bit big-endian ELF file, but x86_64 is 64-bit little-endian"),
    (elf64([Load(0, pattern(1))], NOTES, phentsize=32), "program headers of 32 bytes; a 64-bit ELF file has 56"),
    (elf64([], NOTES), "an ELF core without any PT_LOAD: there is no memory in it"),
    (elf64([Load(0, pattern(2)), Load(P, pattern(2))]), "PT_LOAD 2 (0x1000-0x3000) overlaps PT_LOAD 1 (0x0-0x2000)"),
    (elf64([Load(0, pattern(1)), Load(0, pattern(1))]), "(a core of a user program has no physical addresses at all)"),
    (elf64([Load(0, pattern(2), memsz=P)]), "PT_LOAD 1 (0x0-0x1000) has 0x2000 bytes in the file for 0x1000 of memory"),
    (elf64([Load(0xFFFF888000000000, pattern(1))]), "ends above 0x400000000000, where no machine has memory"),
    (elf64([Load(0, memsz=1 << 60, filesz=0)]), "ends above 0x400000000000"),
    (elf64([Load(0, filesz=1 << 62, memsz=1 << 62)]), "ends above 0x400000000000"),
    (elf64([Load(0, pattern(1), offset=1 << 63)]), "lies at bytes 9223372036854775808.."),
    (elf64([Load(0, pattern(1))], NOTES[:-8]), f"PT_NOTE 0: note at byte {len(NOTES) - 56}: name of 11 and descriptor "
     f"of {len(INFO)} bytes do not fit the {len(NOTES) - 8} bytes of notes"),
    (elf64([Load(0, pattern(1))], struct.pack("<III", 5, 0xFFFFFFF0, 1) + b"CORE\0\0\0\0"), "do not fit the 20 bytes"),
    (elf64([Load(0, pattern(1))], note(b"CORE", 1, bytes(144))), "NT_PRSTATUS of CPU 0: 144 bytes, x86_64 needs 336"),
    (elf64([Load(0, pattern(1))], phnum=0xFFFF), "program headers are counted in section header 0, and it has none"),
    (elf64([Load(4 * P, pattern(2), vaddr=0xFFFFFFFF81000000), Load(5 * P, pattern(2))]), "the kernel's image, lies "
     "partly inside another PT_LOAD"),
], ids=lambda value: value[:40] if isinstance(value, str) else "")
def test_refusals(data: bytes, line: str, tmp_path: Path) -> None:
    """Each impossible file is refused in one line: what, where, the value."""
    assert line in refused(tmp_path, data)


def test_i386_class_for_a_64_bit_machine(tmp_path: Path) -> None:
    """ELF32 for x86_64 (an x32 program's core) is refused."""
    layout = bytearray(layout_core(I386, [CoreSegment(0, P)], b"").header + bytes(P))
    layout[18] = 62
    assert "a 32-bit little-endian ELF file, but x86_64 is 64-bit" in refused(tmp_path, bytes(layout))


def test_any_damage_is_answered(tmp_path: Path) -> None:
    """One byte changed anywhere in headers or notes: a source within the file, or one line; never another error."""
    path = tmp_path / "vm.elf"
    lines = []
    for at in range(0, len(GOOD) - 2 * P, 5):
        damaged = bytearray(GOOD)
        damaged[at] ^= 0xFF if at % 2 else 0x41
        path.write_bytes(damaged)
        try:
            with open_source(str(path)) as source:
                assert source.total_pages > 0
        except FormatError as error:
            lines.append(str(error))
    assert len(lines) > 10
    assert not any("\n" in line for line in lines)


@pytest.mark.parametrize("length", [0, 1, 4, 16, 52, 63, 64, 119, 175, 176, 600, 1100, 5000])
def test_any_cut_is_answered(length: int, tmp_path: Path) -> None:
    """A file cut anywhere is refused in one line."""
    path = tmp_path / "vm.elf"
    path.write_bytes(GOOD[:length])
    with pytest.raises(FormatError):
        open_source(str(path))


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    """Missing file, directory: a DeviceError that names it."""
    with pytest.raises(DeviceError, match=r"nothing.elf: cannot open for reading: No such file or directory"):
        open_elf(str(tmp_path / "nothing.elf"))
    with pytest.raises(DeviceError, match="neither a file nor a block device"):
        open_elf(str(tmp_path))
