"""The header of every diskdump-like file: a partition's block 1, the first block of a compressed dump file.

Layout: formats.md 1.4 (RHEL 4 `include/linux/diskdump.h`, 2.6.9-89.29.1.EL): 64-bit offsets measured with gcc, 32-bit
ones confirmed with libkdumpfile.  RHEL 4 leaves header_version 0, RHEL 3 writes 1, and so do we on a partition;
makedumpfile's files have up to 6.
"""

from __future__ import annotations

import numpy as np

from ddsdk.abi import Abi
from ddsdk.layout import CStruct, c_int, c_long, c_struct, c_uint, char, nested

SIGNATURE = b"DISKDUMP"
KDUMP_SIGNATURE = b"KDUMP   "


@c_struct
class NewUtsname(CStruct):
    """struct new_utsname: 6 x 65 characters."""

    sysname: bytes = char(65)
    nodename: bytes = char(65)
    release: bytes = char(65)
    version: bytes = char(65)
    machine: bytes = char(65)
    domainname: bytes = char(65)


@c_struct
class Timespec(CStruct):
    """Two longs.  RHEL 4: seconds and nanoseconds; RHEL 3: seconds and microseconds."""

    tv_sec: int = c_long()
    tv_nsec: int = c_long()


@c_struct
class DiskDumpHeader(CStruct):
    """struct disk_dump_header without its tasks[], which run from here to the end of the block."""

    signature: bytes = char(8, default=SIGNATURE)
    header_version: int = c_int(default=1)
    utsname: NewUtsname = nested(NewUtsname)
    timestamp: Timespec = nested(Timespec)
    status: int = c_uint()
    block_size: int = c_int()           # bytes
    sub_hdr_size: int = c_int()         # blocks
    bitmap_blocks: int = c_uint()       # both bitmaps, where there are two
    max_mapnr: int = c_uint()           # highest page frame + 1
    total_ram_blocks: int = c_uint()
    device_blocks: int = c_uint()       # of the partition
    written_blocks: int = c_uint()
    current_cpu: int = c_uint()         # the dumping CPU
    nr_cpus: int = c_int()


def unpack_tasks(abi: Abi, block: bytes) -> tuple[int, ...]:
    """tasks[] of a header block: task_struct addresses by CPU number, trailing zeros dropped.

    0 in between is a CPU that did not answer the freeze.  The array's length is the kernel's NR_CPUS, which
    the header does not say; the rest of the block is zero.
    """
    start, size = DiskDumpHeader.on(abi).size, abi.word_bytes
    words = np.frombuffer(block[start:start + (len(block) - start) // size * size],
                          np.dtype(f"{abi.struct_prefix}u{size}"))
    used = np.flatnonzero(words)
    return tuple(int(word) for word in words[:int(used[-1]) + 1]) if len(used) else ()


def text(value: bytes) -> str:
    """A utsname member as text: to the first NUL, printable ASCII only, `?` for the rest."""
    raw = value.split(b"\0", 1)[0]
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in raw)


def names_machine(utsname: NewUtsname, abi: Abi) -> bool:
    """Whether utsname.machine is *abi*'s; any of i386 to i686 is i386."""
    machine = text(utsname.machine)
    return machine == abi.machine or (abi.name == "i386" and len(machine) == 4 and machine[0] + machine[2:] == "i86")


def bitmap_blocks(max_pfn: int, page_size: int) -> int:
    """Blocks of one bitmap: one bit a page frame."""
    return -(-max_pfn // (8 * page_size))
