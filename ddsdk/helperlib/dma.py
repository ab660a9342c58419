"""DMA memory and mappings.

C: include/linux/dma-mapping.h, include/asm/scatterlist.h.  A device reaches only what was granted to it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from ddsdk.errors import DmaFault

from .alloc import Allocator
from .guard import Guard

if TYPE_CHECKING:
    from ddsdk.bus import Segment

    from .pci import PciDev

#: C: enum dma_data_direction.
DMA_BIDIRECTIONAL = 0
DMA_TO_DEVICE = 1
DMA_FROM_DEVICE = 2


def store_le32(view: memoryview, offset: int, value: int) -> None:
    """`*(volatile __le32 *)p = cpu_to_le32(value)`: one store, of a word that a device may read at this very moment.

    It finds the old word or the new one.  `struct.pack_into` fills its bytes with zeroes first, which an emulated
    adapter, running beside us, does see now and then: use it for what no device looks at yet.
    """
    view[offset:offset + 4] = value.to_bytes(4, "little")


@frozen(eq=False)
class DmaBuffer:
    """Coherent memory at `paddr`: the device uses `bus_addr`, the CPU `view`, writable, `len(view)` bytes."""

    bus_addr: int
    paddr: int
    view: memoryview


class DmaCalls:
    """dma_*: directions are DMA_TO_DEVICE or DMA_FROM_DEVICE for mappings, both for coherent memory."""

    def __init__(self, guard: Guard, allocator: Allocator) -> None:
        self._guard = guard
        self._memory = guard.machine.memory
        self._allocator = allocator

    def dma_alloc_coherent(self, pdev: PciDev, size: int, align: int = 4096) -> DmaBuffer:
        """void *dma_alloc_coherent(struct device *, size_t, dma_addr_t *, gfp_t): *size* zeroed bytes.

        Aligned to *align* bytes, below the device's DMA mask.  Crash mode: within the declared budget, else
        AllocationFault.
        """
        self._allocator.check("dma_alloc_coherent", size)
        paddr = self._memory.reserve.alloc(size, align)
        if paddr + size - 1 > pdev.dma_mask:
            self._memory.reserve.free(paddr)
            raise DmaFault(f"dma_alloc_coherent: {size} bytes at {paddr:#x} are beyond {pdev.name}'s DMA mask"
                           f" {pdev.dma_mask:#x}; call dma_set_mask() with what the device can address")
        buffer = DmaBuffer(pdev.function.dma_grant(paddr, size), paddr, self._memory.view(paddr, size))
        self._allocator.charge(id(buffer), size)
        return buffer

    def dma_free_coherent(self, pdev: PciDev, buffer: DmaBuffer) -> None:
        """void dma_free_coherent(...): the device loses its access, the memory goes back."""
        pdev.function.dma_revoke(buffer.paddr, len(buffer.view))
        self._memory.reserve.free(buffer.paddr)
        self._allocator.uncharge(id(buffer))

    def dma_map_single(self, pdev: PciDev, paddr: int, size: int, direction: int) -> int:
        """dma_addr_t dma_map_single(...): bus address of *size* bytes at *paddr*; faults as dma_map_sg."""
        return self.dma_map_sg(pdev, [(paddr, size)], direction)[0][0]

    def dma_unmap_single(self, pdev: PciDev, bus_addr: int, size: int, direction: int) -> None:
        """void dma_unmap_single(...): the device is done with it."""
        pdev.function.dma_unmap([(bus_addr, size)], direction == DMA_TO_DEVICE)

    def dma_map_sg(self, pdev: PciDev, sg: Sequence[Segment], direction: int) -> list[Segment]:
        """int dma_map_sg(...): lend [(paddr, bytes)] to the device: [(bus_addr, bytes)], neighbours merged.

        DmaFault: both directions at once, or an address beyond the device's DMA mask.
        """
        to_device = direction == DMA_TO_DEVICE
        if not to_device and direction != DMA_FROM_DEVICE:
            raise DmaFault(f"dma_map: direction {direction} is not DMA_TO_DEVICE (1) nor DMA_FROM_DEVICE (2);"
                           " memory used both ways is dma_alloc_coherent()'s")
        function, mask = pdev.function, pdev.dma_mask
        mapped = function.dma_map(sg, to_device)
        for bus_addr, size in mapped:
            if bus_addr + size - 1 > mask:
                function.dma_unmap(mapped, to_device)
                raise DmaFault(f"dma_map: {size} bytes at {bus_addr:#x} are beyond the DMA mask {mask:#x} of"
                               f" {pdev.name}; dma_set_mask() what it can address, or use memory below it")
        return mapped

    def dma_unmap_sg(self, pdev: PciDev, mapped: Sequence[Segment], direction: int) -> None:
        """void dma_unmap_sg(...): takes what dma_map_sg returned."""
        pdev.function.dma_unmap(mapped, direction == DMA_TO_DEVICE)

    def dma_set_mask(self, pdev: PciDev, mask: int) -> int:
        """int dma_set_mask(struct device *, u64): highest bus address the device can use; 0 or -EIO (-5)."""
        if mask < 0xFFFFFF or mask & (mask + 1):
            return -5
        pdev.dma_mask = mask
        return 0

