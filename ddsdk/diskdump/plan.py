"""Where everything goes on the partition: block numbers, header, bitmap, and the pages in chunks.

Layout: formats.md 1.2 (RHEL 4 `drivers/block/diskdump.c`).  Computed before the crash; the crash path only reads it.
"""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from ddsdk.vmcore.dumpheader import DiskDumpHeader, NewUtsname, Timespec, bitmap_blocks

from ..abi import Abi
from .device import Chunk, CpuRegisters, DumpMemory, MemoryRun, Segment
from .header import LEADING_BLOCKS, Status, bitmap_piece
from .notes import PartialNote, build_sub_header
from .saved import RECORD_HEAD_BYTES
from .swappart import SwapArea, part_blocks

U32 = 0xFFFF_FFFF


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
    """The partition map of one dump, in blocks of the crashed machine's page size.

    `partial`: there is a second bitmap, and records when it names a codec; None: a plain dump.  `swap`: areas that go
    behind the memory, where there is room.
    """

    abi: Abi
    runs: tuple[MemoryRun, ...]
    max_pfn: int
    total_pages: int
    sub_header: bytes
    facts: CrashFacts
    release: str
    nodename: str
    partial: PartialNote | None = None
    swap: tuple[SwapArea, ...] = ()

    @classmethod
    def of(cls, memory: DumpMemory, facts: CrashFacts, partial: PartialNote | None = None,
           swap: tuple[SwapArea, ...] = ()) -> DumpPlan:
        """The plan for *memory*; the sub header carries every CPU's registers and VMCOREINFO."""
        sub = build_sub_header(memory.abi, facts.cpus, memory.vmcoreinfo, partial=partial, swap=swap)
        return cls(memory.abi, tuple(memory.runs), memory.max_pfn, memory.total_pages, sub, facts,
                   memory.release, memory.nodename, partial, swap)

    @property
    def page_size(self) -> int:
        """Bytes of one block."""
        return self.abi.page_size

    @property
    def sub_hdr_blocks(self) -> int:
        """Blocks of the sub header, notes included."""
        return len(self.sub_header) // self.page_size

    @property
    def single_bitmap_blocks(self) -> int:
        """Blocks of the RAM bitmap."""
        return bitmap_blocks(self.max_pfn, self.page_size)

    @property
    def bitmap_blocks(self) -> int:
        """Blocks of the bitmaps."""
        return self.single_bitmap_blocks * (1 if self.partial is None else 2)

    @property
    def records(self) -> bool:
        """Whether the data are records, not blocks."""
        return self.partial is not None and self.partial.codec != "none"

    @property
    def data_start(self) -> int:
        """Block of the first page."""
        return LEADING_BLOCKS + self.sub_hdr_blocks + self.bitmap_blocks

    @property
    def total_blocks(self) -> int:
        """Blocks the whole dump takes; of a partial one, if nothing were left out, and nothing compressed."""
        return self.data_start + self.total_pages

    def reach_blocks(self, device_blocks: int) -> int:
        """Blocks of a device of *device_blocks* that the dump may write: those whose signatures count (1.8)."""
        if self.partial is None and not self.swap:
            return self.total_blocks
        heads = -(-self.total_pages * RECORD_HEAD_BYTES // self.page_size) if self.records else 0
        return min(self.total_blocks + heads + part_blocks(self.swap), device_blocks)

    def __str__(self) -> str:
        return blocks_line(self.sub_hdr_blocks, self.bitmap_blocks, self.total_pages)

    def header_block(self, status: Status, written_blocks: int, device_blocks: int) -> bytes:
        """Block 1, zero padded."""
        facts = self.facts
        header = DiskDumpHeader(
            utsname=NewUtsname(sysname=b"Linux", nodename=self.nodename.encode()[:64],
                               release=self.release.encode()[:64], machine=self.abi.machine.encode()),
            timestamp=Timespec(tv_sec=facts.seconds, tv_nsec=facts.nanoseconds),
            status=int(status), block_size=self.page_size, sub_hdr_size=self.sub_hdr_blocks,
            bitmap_blocks=self.bitmap_blocks, max_mapnr=self.max_pfn & U32,
            total_ram_blocks=self.total_pages & U32, device_blocks=device_blocks & U32,
            written_blocks=written_blocks & U32, current_cpu=facts.current_cpu,
            nr_cpus=max(1, len(facts.cpus)))
        fixed = DiskDumpHeader.on(self.abi).pack(header)
        tasks = self._tasks((self.page_size - len(fixed)) // self.abi.word_bytes)
        return (fixed + tasks).ljust(self.page_size, b"\0")

    def _tasks(self, room: int) -> bytes:
        size, order = self.abi.word_bytes, self.abi.byteorder
        return b"".join(task.to_bytes(size, order) for task in self.facts.tasks[:room])

    def bitmap_pieces(self, max_blocks: int) -> Iterator[bytes]:
        """The RAM bitmap, at most *max_blocks* blocks a piece: bit `pfn & 7` of byte `pfn >> 3` is set for RAM."""
        bits_per_block = 8 * self.page_size
        runs = [(run.start_pfn, run.npages) for run in self.runs]
        for first in range(0, self.single_bitmap_blocks, max_blocks):
            count = min(max_blocks, self.single_bitmap_blocks - first)
            yield bitmap_piece(runs, first * bits_per_block, count * bits_per_block)

    def chunks(self, chunk_blocks: int) -> Iterator[Chunk]:
        """Every page once, ascending, *chunk_blocks* pages an I/O, as scatter lists of physical memory.

        Chunks are counted from the first data block whatever the runs are, as the kernel counts them; a chunk
        that spans runs has one segment a run.
        """
        page, block = self.page_size, self.data_start
        segments: list[Segment] = []
        room = chunk_blocks
        for run in self.runs:
            pfn, left = run.start_pfn, run.npages
            while left:
                take = min(room, left)
                segments.append((pfn * page, take * page))
                pfn, left, room = pfn + take, left - take, room - take
                if not room:
                    yield block, segments
                    block, segments, room = block + chunk_blocks, [], chunk_blocks
        if segments:
            yield block, segments
