"""What the dump engine sees of the world: dump devices, a memory, a scratch area.  Nothing else.

That is what driver-agnostic means: the engine never learns whether a device is SCSI or IDE, simulated or
emulated, and never sees a register.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from attrs import frozen

from ..abi import Abi

#: One run of physically contiguous memory: (physical address, length in bytes).
Segment = tuple[int, int]
#: One I/O: (first page-size block of the partition, scatter list).
Chunk = tuple[int, Sequence[Segment]]


class BlockUnit(Protocol):
    """Blocks behind a driver: what a dump device and a swap area say of themselves."""

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def blocks(self) -> int:
        """Size of the partition or file in page-size blocks."""

    @property
    def max_blocks(self) -> int:
        """The most blocks one I/O can carry."""

    @property
    def why(self) -> str:
        """One sentence on the last refusal, empty when there was none."""


class DumpDevice(BlockUnit, Protocol):
    """One registered dump partition behind one driver.  Blocks are pages, counted from the partition's start.

    Return codes are the kernel's: 0, or a negative error number.  `why` is one sentence about the last refusal.
    Source: RHEL 4 `include/linux/diskdump.h` (struct disk_dump_device_ops), formats.md 1.10 and 1.15.
    """

    def sanity_check(self) -> int:
        """0 sane, < 0 never use, > 0 cannot tell."""

    def quiesce(self) -> int:
        """Bring the adapter from any state to one that does polled I/O.  Called once."""

    def rw_block(self, write: bool, block: int, sg: Sequence[Segment]) -> int:
        """One transfer, synchronous."""

    def stream(self, write: bool, chunks: Iterable[Chunk]) -> Iterator[tuple[int, int, int]]:
        """Many transfers, as many in flight as the device allows; yields (block, blocks, error) as each ends."""

    def flush(self) -> int:
        """What was written survives a power cut when this returns 0."""

    def shutdown(self) -> int:
        """Flush the device's cache; the last call."""


class SwapDevice(BlockUnit, Protocol):
    """A swap area behind a driver, read while a dump device is written.  Blocks and return codes as DumpDevice's."""

    def take_up(self, beside: object, risky: bool = True) -> int:
        """Make ready while *beside*, the dump device, is at work: sanity check (*risky*: one that cannot tell will do)
        and quiesce.  Nothing where both are on one disk.
        """

    def rw_block(self, write: bool, block: int, sg: Sequence[Segment]) -> int:
        """One transfer, synchronous; never a write."""

    def let_go(self) -> int:
        """The end of what `take_up` began."""


class MemoryRun(Protocol):
    """A run of page frames that are RAM."""

    @property
    def start_pfn(self) -> int:
        """First page frame."""

    @property
    def npages(self) -> int:
        """Number of page frames."""


class CpuRegisters(Protocol):
    """What is known of one CPU at the crash."""

    @property
    def cpu(self) -> int:
        """CPU number."""

    @property
    def regs(self) -> bytes:
        """elf_gregset_t in the machine's own order."""


class DumpMemory(Protocol):
    """The memory to save."""

    @property
    def abi(self) -> Abi:
        """The crashed machine."""

    @property
    def runs(self) -> Sequence[MemoryRun]:
        """RAM in ascending order."""

    @property
    def max_pfn(self) -> int:
        """Highest page frame number plus one."""

    @property
    def total_pages(self) -> int:
        """Number of RAM pages."""

    @property
    def vmcoreinfo(self) -> bytes | None:
        """VMCOREINFO text of the crashed kernel."""

    @property
    def release(self) -> str:
        """utsname.release of the crashed kernel, empty when unknown."""

    @property
    def nodename(self) -> str:
        """utsname.nodename, empty when unknown."""

    def view(self, paddr: int, length: int) -> memoryview:
        """The *length* bytes at *paddr*, read only: for the filter and the compressor of partial dumps."""

    def release_range(self, paddr: int, length: int) -> None:
        """Advice: these bytes are on disk now, their page cache mapping may go."""


@frozen
class Scratch:
    """Memory the engine owns, visible to the adapter's DMA: headers, bitmaps and signature reads go through it."""

    paddr: int
    view: memoryview
