"""The four machines diskdump ran on, as data: word size, byte order, page size, registers, ELF numbers.

Register orders and NT_PRSTATUS offsets: RHEL 4 `include/asm-*/diskdump.h` (2.6.9-89.29.1.EL) and measured
structure layouts; ia64 and ppc64 offsets are derived from the C declarations, not measured there.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

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

#: Device frames and on-disk records that do not depend on the machine.
WIRE_LE = Abi("wire-le", "", 4, "little", 4096, 8, 0, (), 0, 0, 0)
WIRE_BE = Abi("wire-be", "", 4, "big", 4096, 8, 0, (), 0, 0, 0)


def abi_named(name: str) -> Abi:
    """The Abi called *name*; UsageError lists the four there are."""
    for abi in ABIS:
        if name == abi.name:
            return abi
    raise UsageError(f"unknown ABI {name!r}: ddsdk knows {', '.join(a.name for a in ABIS)}")


def abi_for_elf(e_machine: int) -> Abi | None:
    """The Abi whose ELF machine number is *e_machine* (Elf32/64_Ehdr.e_machine), or None."""
    return next((abi for abi in ABIS if abi.e_machine == e_machine), None)
