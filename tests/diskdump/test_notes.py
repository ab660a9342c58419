"""The sub header: registers first, then notes that the original had no place for."""

from __future__ import annotations

import struct

import pytest

from ddsdk.abi import ABIS, I386, IA64, PPC64, X86_64, Abi
from ddsdk.diskdump.notes import build_sub_header, parse_sub_header, with_record
from ddsdk.diskdump.record import FormatRecord
from ddsdk.diskdump.signature import SignatureKind
from ddsdk.errors import FormatError
from ddsdk.vmcore.notes import CpuNote, prstatus
from ddsdk.vmcore.subnotes import area_offset
from ddsdk.vmcore.synthetic import registers

INFO = b"OSRELEASE=6.1.0\nCRASHTIME=1700000000\n"


def cpus(abi: Abi, count: int) -> list[CpuNote]:
    """CPUs with registers of their own."""
    return [CpuNote(cpu, registers(abi, cpu, 7), pid=100 + cpu) for cpu in range(count)]


@pytest.mark.parametrize(("abi", "offset"), [(I386, 128), (X86_64, 256), (IA64, 1024), (PPC64, 384)],
                         ids=["i386", "x86_64", "ia64", "ppc64"])
def test_where_the_area_starts(abi: Abi, offset: int) -> None:
    """The notes start at the first 64-byte boundary behind the register set, with magic, length and CRC."""
    assert area_offset(abi) == offset
    sub = build_sub_header(abi, cpus(abi, 2), INFO)
    assert sub[:abi.gregset_bytes] == registers(abi, 0, 7)
    assert sub[offset:offset + 8] == b"DDNOTES1"
    assert len(sub) == abi.page_size


@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_notes_survive(abi: Abi) -> None:
    """Registers, pids and VMCOREINFO of every CPU come back, in CPU order, whoever dumped."""
    machine = cpus(abi, 3)
    sub = parse_sub_header(abi, build_sub_header(abi, [machine[2], machine[0], machine[1]], INFO))
    assert [(cpu.cpu, cpu.regs, cpu.pid) for cpu in sub.cpus] == [(c.cpu, c.regs, c.pid) for c in machine]
    assert sub.regs == machine[2].regs
    assert sub.vmcoreinfo == INFO
    assert (sub.has_area, sub.record) == (True, None)


def test_kernels_own_prstatus_is_kept_verbatim() -> None:
    """An NT_PRSTATUS that the crashed kernel wrote keeps every byte, those we do not understand included."""
    desc = bytearray(prstatus(X86_64, registers(X86_64, 0, 7), 42))
    desc[0:12] = b"signal info!"
    cpu = CpuNote(0, registers(X86_64, 0, 7), 42, bytes(desc))
    sub = parse_sub_header(X86_64, build_sub_header(X86_64, [cpu], None))
    assert sub.cpus[0].raw_desc == bytes(desc)
    assert sub.vmcoreinfo is None


def test_many_cpus_take_more_blocks() -> None:
    """The notes of 64 CPUs do not fit one block: the sub header grows and still reads back."""
    sub = build_sub_header(X86_64, cpus(X86_64, 64), INFO)
    assert len(sub) == 6 * 4096
    assert len(parse_sub_header(X86_64, sub).cpus) == 64


def test_a_dump_without_our_area() -> None:
    """RHEL's sub header is a bare register set: it becomes the dumping CPU's NT_PRSTATUS."""
    block = b"".join(struct.pack("<Q", n) for n in range(1, 28)).ljust(4096, b"\0")
    sub = parse_sub_header(X86_64, block, dumping_cpu=3)
    assert not sub.has_area
    assert [(cpu.cpu, cpu.regs, cpu.raw_desc) for cpu in sub.cpus] == [(3, block[:216], None)]
    notes = sub.notes(X86_64)
    assert len(notes) == 12 + 8 + 336
    assert notes[20 + 112:20 + 112 + 216] == block[:216]


def test_without_registers() -> None:
    """A raw memory image has none: the register set is zero and there is no NT_PRSTATUS."""
    sub = parse_sub_header(X86_64, build_sub_header(X86_64, [], None))
    assert (sub.regs, sub.cpus) == (bytes(216), ())


def test_format_record_travels_through_the_dump() -> None:
    """The record of the block that the sub header overwrites is found again in the sub header."""
    record = FormatRecord(SignatureKind.SHIPPED, X86_64, 1000, stride=32)
    plain = build_sub_header(X86_64, cpus(X86_64, 2), INFO)
    carried = with_record(plain, X86_64, record.pack().ljust(4096, b"\0"))
    assert len(carried) == len(plain)
    sub = parse_sub_header(X86_64, carried)
    assert sub.record == record
    assert (len(sub.cpus), sub.vmcoreinfo) == (2, INFO)
    assert carried == build_sub_header(X86_64, cpus(X86_64, 2), INFO, record)
    assert with_record(plain, X86_64, bytes(4096)) == plain


@pytest.mark.parametrize("at", [264, 268, 272, 400])
def test_damaged_notes_are_noticed(at: int) -> None:
    """A changed length, CRC or record is a FormatError that names the sub header."""
    sub = bytearray(build_sub_header(X86_64, cpus(X86_64, 2), INFO))
    sub[at] ^= 0x40
    with pytest.raises(FormatError, match=r"sub header: the notes .* do not match their CRC .* is damaged"):
        parse_sub_header(X86_64, bytes(sub))


def test_registers_of_the_wrong_size_are_refused() -> None:
    """Registers of another machine are named with both sizes."""
    with pytest.raises(FormatError, match="CPU 0: 68 bytes, x86_64 has 216"):
        build_sub_header(X86_64, cpus(I386, 1), None)
