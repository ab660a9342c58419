"""The four ABIs: word size, byte order, page size, registers, ELF numbers; literals from the C side."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from ddsdk.abi import (
    ABIS,
    ARM64,
    I386,
    IA64,
    PPC64,
    PPC64LE,
    READ_ONLY_ABIS,
    RISCV64,
    S390X,
    WIRE_BE,
    WIRE_LE,
    X86_64,
    Abi,
    abi_for_elf,
    abi_named,
)
from ddsdk.errors import UsageError

#: name -> word bytes, byte order, page size, long long alignment, ELF machine, registers, gregset bytes,
#: sizeof struct elf_prstatus, offsetof pr_reg, offsetof pr_pid.
TABLE = {
    "i386": (4, "little", 4096, 4, 3, 17, 68, 144, 72, 24),
    "x86_64": (8, "little", 4096, 8, 62, 27, 216, 336, 112, 32),
    "ia64": (8, "little", 16384, 8, 50, 128, 1024, 1144, 112, 32),
    "ppc64": (8, "big", 4096, 8, 21, 48, 384, 504, 112, 32),
}


@pytest.mark.parametrize("name", TABLE)
def test_data_model_and_dump_constants(name: str) -> None:
    """Each ABI has the numbers its C headers have."""
    abi = abi_named(name)
    assert (abi.word_bytes, abi.byteorder, abi.page_size, abi.long_long_align, abi.e_machine, len(abi.gregs),
            abi.gregset_bytes, abi.prstatus_bytes, abi.pr_reg_offset, abi.pr_pid_offset) == TABLE[name]


@pytest.mark.parametrize("name", TABLE)
def test_registers_fit_the_prstatus(name: str) -> None:
    """pr_reg is followed by pr_fpvalid (an int) and padding to the word, no more; names are distinct."""
    abi = abi_named(name)
    end = abi.pr_reg_offset + abi.gregset_bytes + 4
    assert abi.prstatus_bytes == end + -end % abi.word_bytes
    assert len(set(abi.gregs)) == len(abi.gregs)


@pytest.mark.parametrize(("abi", "register", "index"), [
    (I386, "ebx", 0), (I386, "orig_eax", 11), (I386, "eip", 12), (I386, "esp", 15), (I386, "ss", 16),
    (X86_64, "r15", 0), (X86_64, "rax", 10), (X86_64, "rip", 16), (X86_64, "rsp", 19), (X86_64, "gs", 26),
    (IA64, "r12", 12), (IA64, "b0", 34), (IA64, "ip", 42), (IA64, "cfm", 43), (IA64, "ar_unused", None),
    (PPC64, "gpr1", 1), (PPC64, "nip", 32), (PPC64, "msr", 33), (PPC64, "link", 36)],
    ids=lambda value: getattr(value, "name", value))
def test_register_order(abi: Abi, register: str, index: int | None) -> None:
    """elf_gregset_t order: where crash and gdb look for the program counter and the stack pointer."""
    assert (abi.gregs.index(register) if register in abi.gregs else None) == index


def test_struct_prefix_and_elf_class() -> None:
    """The byte order gives struct's prefix, the word size the native ELF class."""
    assert [abi.struct_prefix for abi in ABIS] == ["<", "<", "<", ">"]
    assert [abi.elf_class for abi in ABIS] == [32, 64, 64, 64]
    assert [abi.machine for abi in ABIS] == ["i686", "x86_64", "ia64", "ppc64"]


def test_wire_abis_have_byte_orders_only() -> None:
    """Device frames have a byte order, natural alignment and no registers; they are no machines."""
    assert [(abi.struct_prefix, abi.long_long_align, abi.gregs) for abi in (WIRE_LE, WIRE_BE)] == [
        ("<", 8, ()), (">", 8, ())]
    assert not {WIRE_LE, WIRE_BE} & set(ABIS)


def test_lookup_by_elf_machine() -> None:
    """A core's e_machine finds its ABI; an unknown one, or none (0), finds nothing."""
    assert [abi_for_elf(number, "little") for number in (3, 62, 50)] == [I386, X86_64, IA64]
    assert [abi_for_elf(21, "big"), abi_for_elf(21, "little")] == [PPC64, PPC64LE]
    assert [abi_for_elf(number, "little") for number in (183, 243, 22)] == [ARM64, RISCV64, S390X]
    assert abi_for_elf(0, "little") is None


def test_registers_of_the_machines_that_are_only_read() -> None:
    """sizeof(elf_gregset_t): 272, 216 and 256 bytes; struct elf_prstatus has them at 112."""
    assert [(abi.gregset_bytes, abi.pr_reg_offset + abi.gregset_bytes + 8) for abi in (ARM64, S390X, RISCV64)] == [
        (272, 392), (216, 336), (256, 376)]
    assert [abi.prstatus_bytes for abi in READ_ONLY_ABIS] == [504, 392, 336, 376]


def test_unknown_name_lists_what_there_is() -> None:
    """A wrong name is a usage error that lists the four; a wire ABI is no answer."""
    for name in ("arm64", "wire-le", "X86_64"):
        with pytest.raises(UsageError) as caught:
            abi_named(name)
        assert str(caught.value) == f"unknown ABI {name!r}: ddsdk knows i386, x86_64, ia64, ppc64"


def test_abis_are_values() -> None:
    """An ABI cannot be changed, and equals another with the same numbers."""
    abi: Any = X86_64
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        abi.page_size = 8192
    assert attrs.evolve(X86_64) == X86_64
    assert attrs.evolve(IA64, page_size=65536).page_size == 65536
