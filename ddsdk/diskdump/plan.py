"""Where everything goes on the partition: block numbers, header, bitmap, and the pages in chunks.

Layout: formats.md 1.2 (RHEL 4 `drivers/block/diskdump.c`).  Computed before the crash; the crash path only reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from attrs import frozen

from ..abi import Abi
from .device import Chunk, CpuRegisters, DumpMemory, MemoryRun, Segment
from .header import DiskDumpHeader, NewUtsname, Status, Timespec, bitmap_blocks
from .notes import build_sub_header

#: Block 0 (partition header) and block 1 (common header).
LEADING_BLOCKS = 2


@frozen
class CrashFacts:
    """What the header says of the crash.

    `seconds`, `nanoseconds`: time of the crash since the epoch.  `cpus`: registers of the CPUs that answered the
    freeze, the dumping CPU first.  `tasks`: task_struct addresses by CPU number, 0 where the CPU did not answer.
    """

    seconds: int
    nanoseconds: int
    current_cpu: int
    cpus: tuple[CpuRegisters, ...]
    tasks: tuple[int, ...] = ()


def blocks_line(sub_hdr_blocks: int, bitmap: int, pages: int) -> str:
    """The kernel's line at module load (white paper 5.2)."""
    header = LEADING_BLOCKS + sub_hdr_blocks
    return (f"disk_dump: total blocks required: {header + bitmap + pages}"
            f" (header {header} + bitmap {bitmap} + memory {pages})")


@frozen
class DumpPlan:
    """The partition map of one dump, in blocks of the crashed machine's page size."""

    abi: Abi
    runs: tuple[MemoryRun, ...]
    max_pfn: int
    total_pages: int
    sub_header: bytes
    facts: CrashFacts
    release: str
    nodename: str

    @classmethod
    def of(cls, memory: DumpMemory, facts: CrashFacts) -> DumpPlan:
        """The plan for *memory*; the sub header carries every CPU's registers and VMCOREINFO."""
        sub = build_sub_header(memory.abi, facts.cpus, memory.vmcoreinfo)
        return cls(memory.abi, tuple(memory.runs), memory.max_pfn, memory.total_pages, sub, facts,
                   memory.release, memory.nodename)

    @property
    def page_size(self) -> int:
        """Bytes of one block."""
        return self.abi.page_size

    @property
    def sub_hdr_blocks(self) -> int:
        """Blocks of the sub header, notes included."""
        return len(self.sub_header) // self.page_size

    @property
    def _bitmap(runs: Sequence[MemoryRun], first_pfn: int, npfns: int) -> bytes:
    """Bits of [first_pfn, first_pfn + npfns); both multiples of 8."""
    bits = np.zeros(npfns, dtype=np.uint8)
    for run in runs:
        low = max(run.start_pfn, first_pfn)
        high = min(run.start_pfn + run.npages, first_pfn + npfns)
        if low < high:
            bits[low - first_pfn:high - first_pfn] = 1
    return np.packbits(bits, bitorder="little").tobytes()
