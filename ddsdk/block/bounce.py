"""Memory that an adapter cannot reach: copied through a buffer that it can.

Source: RHEL 4 `drivers/scsi/scsi_dump.c` and `block/ll_rw_blk.c` (blk_queue_bounce_limit) by formats.md 1.15: the
original copied every page of a dump.  Here only what lies beyond the adapter's DMA mask is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ddsdk.errors import UsageError

from .pieces import ScatterList, split

if TYPE_CHECKING:
    from ddsdk.sim.memory import PhysicalMemory

#: Pages carried at a time.
BOUNCE_PAGES: Final = 16


class Bounce:
    """The buffer of one device, taken while the machine is healthy.  One transfer at a time goes through it."""

    def __init__(self, memory: PhysicalMemory, dma_mask: int, page: int, max_pages: int) -> None:
        self._memory = memory
        self._mask = dma_mask
        self._page = page
        self._pages = min(BOUNCE_PAGES, max_pages)
        self._paddr = memory.reserve.alloc(self._pages * page, page)
        if self._paddr + self._pages * page - 1 > dma_mask:
            raise UsageError(f"the adapter reaches addresses up to {dma_mask:#x}; the machine's reserve at"
                             f" {self._paddr:#x}, through which it would get the rest, is beyond")

    @classmethod
    def needed(cls, memory: PhysicalMemory, dma_mask: int, page: int, max_pages: int) -> Bounce | None:
        """A buffer, where some of *memory* is beyond *dma_mask*; None where all of it can be reached."""
        if max(extent.end for extent in memory.extents) - 1 <= dma_mask:
            return None
        return cls(memory, dma_mask, page, max_pages)

    def unreachable(self, sg: ScatterList) -> bool:
        """Whether the adapter cannot take *sg* as it is."""
        mask = self._mask
        return any(paddr + length - 1 > mask for paddr, length in sg)

    def carry(self, write: bool, block: int, sg: ScatterList, rw: Callable[[bool, int, ScatterList], int]) -> int:
        """Move *sg*, whole pages, by *rw* calls on memory that the adapter reaches.  0, or the first error of *rw*."""
        memory = self._memory
        for pages, piece in split(sg, self._page, self._pages, self._page * self._pages):
            nbytes = pages * self._page
            if write:
                memory.write(self._paddr, b"".join([memory.read(*segment) for segment in piece]))
            error = rw(write, block, ((self._paddr, nbytes),))
            if error:
                return error
            if not write:
                at = self._paddr
                for paddr, length in piece:
                    memory.write(paddr, memory.read(at, length))
                    at += length
            block += pages
        return 0
