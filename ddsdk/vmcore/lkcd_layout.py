"""LKCD dump files as structures: the header of every version, page headers, the machine's own header.

Layout: formats.md 6 (LKCD `dump.h`, `dump_blockdev.c`; crash `lkcd_*.h`).
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

import numpy as np
from attrs import frozen

from ddsdk.abi import Abi
from ddsdk.layout import CStruct, c_struct, char, nested, u32, u64

from .dumpheader import NewUtsname

MAGIC: Final = 0xA819_0173_618F_23ED
LIVE_MAGIC: Final = 0xA819_0173_618F_23CD
ARCH_MAGIC: Final = 0xDEADDEAD
#: Above the version number: marks of MCLX kernels, whose page headers carry frame numbers.
VERSION_BITS, MCLX_FLAGS = 0xF, 0xC000_0000
#: Versions that are read; 8 and later have one layout on every machine.
VERSIONS, PACKED_FROM, BUFFER_FROM, COMPRESS_FROM = range(2, 11), 8, 9, 5
#: Where page headers start before version 9.
OLD_DATA_AT = 65536
PAGE_HEADER_BYTES = 16
LEVEL_ALL = 8


class LkcdCompress(IntFlag):
    """`dh_dump_compress`."""

    NONE = 0
    RLE = 1
    GZIP = 2


class LkcdPage(IntFlag):
    """`dp_flags` of a page header."""

    RAW = 0x1
    COMPRESSED = 0x2
    END = 0x4
    TRUNCATED = 0x8
    TEST_PATTERN = 0x10
    NOT_USED = 0x20


@c_struct(packed=True)
class LkcdFixed(CStruct):
    """What every version begins with (v2 and later)."""

    magic: int = u64(default=MAGIC)
    version: int = u32()
    header_size: int = u32()
    dump_level: int = u32()
    page_size: int = u32()
    memory_size: int = u64()            # pages
    memory_start: int = u64()
    memory_end: int = u64()
    num_pages: int = u32()
    panic_string: bytes = char(256)


@c_struct(packed=True)
class LkcdPacked(CStruct):
    """struct __dump_header of v8 and later; `buffer_size` from v9 on."""

    fixed: LkcdFixed = nested(LkcdFixed)
    tv_sec: int = u64()
    tv_usec: int = u64()
    utsname: NewUtsname = nested(NewUtsname)
    current_task: int = u64()
    compress: int = u32()
    flags: int = u32()
    device: int = u32()
    buffer_size: int = u64()


@c_struct(packed=True)
class LkcdPageHeader(CStruct):
    """struct __dump_page: physical address, bytes that follow, LkcdPage."""

    address: int = u64()
    size: int = u32()
    flags: int = u32()


@frozen
class OldOffsets:
    """Where v2 to v7 have what comes behind the panic string, by word size: time, utsname, compress (v5 on), bytes."""

    time: int
    utsname: int
    compress: int
    end: int


OLD: Final = {4: OldOffsets(308, 316, 712, 724), 8: OldOffsets(312, 328, 728, 744)}


@frozen
class ArchHeader:
    """The machine's header: where the registers are.  `registers`: names in the order of its pt_regs."""

    registers: tuple[str, ...]
    count_at: int                       # u32 number of CPUs; the dumping CPU behind it
    per_cpu_at: int

    def pt_regs_bytes(self, abi: Abi) -> int:
        """Bytes of one register set."""
        return len(self.registers) * abi.word_bytes

    def bytes_a_cpu(self, abi: Abi) -> int:
        """Registers, and the task, stack and stack pointer words."""
        return self.pt_regs_bytes(abi) + 3 * abi.word_bytes


#: Machines whose arch header is known (v8 and later).
ARCH: Final = {
    "i386": ArchHeader(("ebx", "ecx", "edx", "esi", "edi", "ebp", "eax", "ds", "es", "orig_eax", "eip", "cs", "eflags",
                        "esp", "ss"), 84, 92),
    "x86_64": ArchHeader(("r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx",
                          "rsi", "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss"), 184, 192),
}
REGS_AT: Final = {"i386": 24, "x86_64": 16}


def gregset_of(abi: Abi, arch: ArchHeader, pt_regs: bytes) -> bytes:
    """elf_gregset_t out of a pt_regs: members that it has not got are 0."""
    word = abi.word_bytes
    values = {name: pt_regs[at * word:(at + 1) * word] for at, name in enumerate(arch.registers)}
    return b"".join(values.get(name, bytes(word)) for name in abi.gregs)


def pt_regs_of(abi: Abi, arch: ArchHeader, gregset: bytes) -> bytes:
    """The members of *gregset* that a pt_regs has."""
    word = abi.word_bytes
    places = {name: at * word for at, name in enumerate(abi.gregs)}
    return b"".join(gregset[places[name]:places[name] + word] for name in arch.registers)


def page_header_dtype(abi: Abi) -> np.dtype[np.void]:
    """LkcdPageHeader for numpy."""
    order = abi.struct_prefix
    return np.dtype([("address", f"{order}u8"), ("size", f"{order}u4"), ("flags", f"{order}u4")])
