"""Note records and NT_PRSTATUS on the four machines, and VMCOREINFO."""

from __future__ import annotations

import pytest

from ddsdk.abi import ABIS, I386, IA64, PPC64, X86_64, Abi
from ddsdk.errors import FormatError
from ddsdk.vmcore.notes import CORE, CpuNote, Note, core_notes, cpu_of_prstatus, pack_notes, parse_notes, prstatus
from ddsdk.vmcore.vmcoreinfo import build, number, parse


@pytest.mark.parametrize(("abi", "size", "reg", "pid"), [
    (I386, 144, 72, 24), (X86_64, 336, 112, 32), (IA64, 1144, 112, 32), (PPC64, 504, 112, 32),
], ids=["i386", "x86_64", "ia64", "ppc64"])
def test_prstatus_layout(abi: Abi, size: int, reg: int, pid: int) -> None:
    """Size, pr_reg and pr_pid as the C structure of that machine has them (formats.md 4.1)."""
    regs = bytes(range(1, 252)) * 5
    regs = regs[:abi.gregset_bytes]
    desc = prstatus(abi, regs, 0x01020304)
    assert len(desc) == size
    assert desc[reg:reg + len(regs)] == regs
    assert desc[pid:pid + 4] == (b"\4\3\2\1" if abi.byteorder == "little" else b"\1\2\3\4")
    assert cpu_of_prstatus(abi, 5, desc) == CpuNote(5, regs, 0x01020304, desc)


def test_record_bytes() -> None:
    """The name's NUL counts, name and descriptor are padded to four bytes."""
    assert Note(CORE, 1, b"abcde").pack(X86_64).hex(" ", 4) == (
        "05000000 05000000 01000000 434f5245 00000000 61626364 65000000")
    assert Note(CORE, 1, b"").pack(PPC64).hex(" ", 4) == "00000005 00000000 00000001 434f5245 00000000"


@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_records_round_trip(abi: Abi) -> None:
    """Any names and lengths come back; zero padding behind them is not a note."""
    notes = [Note(b"CORE", 1, bytes(n)) for n in range(6)] + [Note(b"", 7, b"x"), Note(b"VMCOREINFO", 0, b"A=1\n")]
    assert parse_notes(abi, pack_notes(abi, notes) + bytes(40)) == notes


def test_no_room_for_a_header() -> None:
    """Fewer than twelve bytes are no record."""
    assert parse_notes(X86_64, b"\1\0\0\0") == []


def test_a_record_that_does_not_fit() -> None:
    """A record longer than the notes is damage, named with its offset."""
    good = Note(CORE, 1, b"abcd").pack(X86_64)
    with pytest.raises(FormatError, match="note at byte 24: name of 5 and descriptor of 400 bytes do not fit the 48"):
        parse_notes(X86_64, good + good[:4] + (400).to_bytes(4, "little") + good[8:])


def test_cpus_are_in_order() -> None:
    """Readers number CPUs by the order of their notes: it is that of the CPU numbers, whoever dumped."""
    notes = core_notes(X86_64, [CpuNote(2, b"c" * 216), CpuNote(0, b"a" * 216), CpuNote(1, b"b" * 216)], b"K=1\n")
    assert [note.desc[112:113] for note in notes] == [b"a", b"b", b"c", b""]
    assert (notes[3].name, notes[3].type) == (b"VMCOREINFO", 0)


def test_vmcoreinfo() -> None:
    """KEY=value lines; what is no such line is skipped, the first of two equal keys wins."""
    values = parse(b"OSRELEASE=6.1.0\nPAGESIZE=4096\nnothing\nSYMBOL(x)=ffff\nPAGESIZE=1\nNUMBER(a)=-1\n\0\0")
    assert values == {"OSRELEASE": "6.1.0", "PAGESIZE": "4096", "SYMBOL(x)": "ffff", "NUMBER(a)": "-1"}
    assert (number(values, "PAGESIZE"), number(values, "OSRELEASE"), number(values, "CRASHTIME")) == (4096, None, None)
    assert parse(None) == {}
    assert build({"A": 1, "B": "x"}) == b"A=1\nB=x\n"
