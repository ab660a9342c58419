"""Machines as data: word size, byte order, page size, registers, ELF numbers.

The four that diskdump ran on (ABIS), and later ones whose dump files are read (READ_ONLY_ABIS).  Register orders and
NT_PRSTATUS offsets: RHEL 4 `include/asm-*/diskdump.h` (2.6.9-89.29.1.EL) and measured structure layouts; those of ia64,
ppc64 and the later ones are derived from the C declarations (Linux `arch/*/include/uapi/asm/ptrace.h`, `elf.h`).
"""

from __future__ import annotations

from functools import cache
from typing import Literal

from attrs import evolve, frozen

from .errors import UsageError

ByteOrder = Literal["little", "big"]


@frozen
class Abi:
    """One machine's C data model and crash-dump constants.

    Sizes are bytes.  `gregs` names the general registers in `elf_gregset_t` order, each `word_bytes` long.
    """

    name: str
    machine: str            # utsname.machine
    word_bytes: int         # long and pointer
    byteorder: ByteOrder
    page_size: int
    long_long_align: int    # i386 aligns 64-bit integers to 4 bytes
    e_machine: int          # ELF
    gregs: tuple[str, ...]
    prstatus_bytes: int
    pr_reg_offset: int
    pr_pid_offset: int

    @property
    def struct_prefix(self) -> str:
        """The byte-order character of `struct` format strings, standard sizes, no padding."""
        return "<" if self.byteorder == "little" else ">"

    @property
    def gregset_bytes(self) -> int:
        """Size of elf_gregset_t in bytes."""
        return len(self.gregs) * self.word_bytes

    @property
    def elf_class(self) -> Literal[32, 64]:
        """The native ELF class; a core with memory above 4 GiB is ELF64 on every machine."""
        return 64 if self.word_bytes == 8 else 32


_I386_REGS = ("ebx", "ecx", "edx", "esi", "edi", "ebp", "eax", "ds", "es", "fs", "gs", "orig_eax",
              "eip", "cs", "eflags", "esp", "ss")
_X86_64_REGS = ("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx",
                "rsi", "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base",
                "ds", "es", "fs", "gs")
_PPC64_REGS = (*(f"gpr{n}" for n in range(32)), "nip", "msr", "orig_gpr3", "ctr", "link", "xer", "ccr",
               "softe", "trap", "dar", "dsisr", "result", *(f"spare{n}" for n in range(4)))
_IA64_REGS = (*(f"r{n}" for n in range(32)), "nat", "pr", *(f"b{n}" for n in range(8)), "ip", "cfm", "um",
              "rsc", "bsp", "bspstore", "rnat", "ccv", "unat", "fpsr", "pfs", "lc", "ec", "csd", "ssd",
              *(f"reserved{n}" for n in range(57, 128)))

I386 = Abi("i386", "i686", 4, "little", 4096, 4, 3, _I386_REGS, 144, 72, 24)
X86_64 = Abi("x86_64", "x86_64", 8, "little", 4096, 8, 62, _X86_64_REGS, 336, 112, 32)
IA64 = Abi("ia64", "ia64", 8, "little", 16384, 8, 50, _IA64_REGS, 1144, 112, 32)
PPC64 = Abi("ppc64", "ppc64", 8, "big", 4096, 8, 21, _PPC64_REGS, 504, 112, 32)

ABIS: tuple[Abi, ...] = (I386, X86_64, IA64, PPC64)

#: 31 registers, sp, pc, pstate.
_ARM64_REGS = (*(f"x{n}" for n in range(31)), "sp", "pc", "pstate")
#: The PSW (two words), gprs, sixteen 32-bit access registers, orig_gpr2.
_S390X_REGS = ("psw_mask", "psw_addr", *(f"r{n}" for n in range(16)), *(f"acrs{n}_{n + 1}" for n in range(0, 16, 2)),
               "orig_gpr2")
_RISCV64_REGS = ("pc", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", *(f"a{n}" for n in range(8)),
                 *(f"s{n}" for n in range(2, 12)), "t3", "t4", "t5", "t6")

PPC64LE = Abi("ppc64le", "ppc64le", 8, "little", 65536, 8, 21, _PPC64_REGS, 504, 112, 32)
ARM64 = Abi("arm64", "aarch64", 8, "little", 4096, 8, 183, _ARM64_REGS, 392, 112, 32)
S390X = Abi("s390x", "s390x", 8, "big", 4096, 8, 22, _S390X_REGS, 336, 112, 32)
RISCV64 = Abi("riscv64", "riscv64", 8, "little", 4096, 8, 243, _RISCV64_REGS, 376, 112, 32)

#: Machines whose dump files are read and converted; diskdump itself never ran there.
READ_ONLY_ABIS: tuple[Abi, ...] = (PPC64LE, ARM64, S390X, RISCV64)

#: Device frames and on-disk records that do not depend on the machine.
WIRE_LE = Abi("wire-le", "", 4, "little", 4096, 8, 0, (), 0, 0, 0)
WIRE_BE = Abi("wire-be", "", 4, "big", 4096, 8, 0, (), 0, 0, 0)


@cache
def with_page_size(name: str, page_size: int) -> Abi:
    """The machine called *name* with pages of *page_size* bytes: ia64, arm64 and ppc64 kernels come with several.

    The same object every time: C layouts are kept by machine.
    """
    abi = next(abi for abi in (*ABIS, *READ_ONLY_ABIS) if abi.name == name)
    return abi if abi.page_size == page_size else evolve(abi, page_size=page_size)


def abi_named(name: str) -> Abi:
    """The Abi called *name*; UsageError lists the four there are."""
    for abi in ABIS:
        if name == abi.name:
            return abi
    raise UsageError(f"unknown ABI {name!r}: ddsdk knows {', '.join(a.name for a in ABIS)}")


def abi_for_elf(e_machine: int, byteorder: ByteOrder) -> Abi | None:
    """The Abi whose ELF machine number is *e_machine* (Elf32/64_Ehdr.e_machine); of ppc64 there are two.

    None when there is no such machine; one of the other byte order when only that exists.
    """
    found = [abi for abi in (*ABIS, *READ_ONLY_ABIS) if abi.e_machine == e_machine]
    return next((abi for abi in found if abi.byteorder == byteorder), found[0] if found else None)
