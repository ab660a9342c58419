"""DMA for an emulated adapter: pages the adapter reaches go as they are, the others through a bounce area.

QEMU's device reads and writes the shared RAM file.  Memory that is not in it at its own address (below 1 MiB,
in the PCI hole, backed by a read-only file) is copied into a slot of the bounce area when it is mapped, and
back when a transfer from the device is unmapped.  There is no IOMMU: what was not granted is not protected,
the Python models are the stricter judges of that.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from ddsdk.bus import SEG_BOUNDARY_MASK, Segment
from ddsdk.errors import AllocationFault, DmaFault
from ddsdk.sim.memory import Allocator, Extent, PhysicalMemory

from .ram import PAGE_BYTES, SharedRam

BOUNCE_BYTES = 8 << 20


@frozen
class Bounced:
    """One piece in the bounce area: `paddr` is where the bytes belong, `slot` where they are meanwhile."""

    paddr: int
    length: int
    slot: int


class BounceDma:
    """The DMA mappings of one emulated function.  Takes its bounce area from the machine's reserve."""

    __slots__ = ("_bounced", "_high", "_low", "_memory", "_name", "_ram", "_slots")

    def __init__(self, name: str, ram: SharedRam, memory: PhysicalMemory,
                 bounce_bytes: int = BOUNCE_BYTES) -> None:
        self._name = name
        self._ram = ram
        self._memory = memory
        area = memory.reserve.alloc(bounce_bytes, PAGE_BYTES, clear=False)       # slot by slot
        self._slots = Allocator(Extent(area, memory.view(area, bounce_bytes), "reserve"))
        self._bounced: dict[int, Bounced] = {}
        self._low = self._high = 0      # the piece of RAM of the last segment: mostly the next one's too

    @property
    def bounced_bytes(self) -> int:
        """Bytes of the bounce area in use."""
        return sum(piece.length for piece in self._bounced.values())

    def map(self, segments: Sequence[Segment], to_device: bool) -> list[Segment]:
        """See `bus.PciFunction.dma_map`.  DmaFault: no memory, read-only, or the bounce area is full."""
        if self._ram.read_only and not to_device:
            for paddr, length in segments:
                self._only_reserve("DMA write", paddr, length)
        mapped: list[Segment] = []
        low, high = self._low, self._high
        start = end = -1
        for paddr, length in segments:
            if paddr == end and end + length <= high and paddr & SEG_BOUNDARY_MASK:
                end += length
                continue
            if start >= 0:
                mapped.append((start, end - start))
            if not low <= paddr < high:
                self._low, self._high = low, high = self._ram.piece_at(paddr) or (0, 0)
            if low <= paddr and paddr + length <= high and length > 0:
                start, end = paddr, paddr + length
                continue
            start = end = -1
            mapped += self._map_slowly(paddr, length, to_device)
        if start >= 0:
            mapped.append((start, end - start))
        return mapped

    def unmap(self, segments: Sequence[Segment], to_device: bool) -> None:
        """See `bus.PciFunction.dma_unmap`."""
        if not self._bounced:
            return
        for bus_addr, _ in segments:
            piece = self._bounced.pop(bus_addr, None)
            if piece is None:
                continue
            if not to_device:
                self._memory.write(piece.paddr, self._memory.view(piece.slot, piece.length))
            self._slots.free(piece.slot)

    def grant(self, paddr: int, size: int) -> int:
        """See `bus.PciFunction.dma_grant`."""
        if size <= 0:
            raise DmaFault(f"{self._name}: dma_grant of {size} bytes at {paddr:#x}: one byte is the least")
        if self._ram.read_only:
            self._only_reserve("dma_grant", paddr, size)
        found = self._ram.reserve_bus_addr(paddr, size)
        if found is None:
            piece = self._ram.piece_at(paddr)
            found = paddr if piece is not None and paddr + size <= piece[1] else None
        if found is None:
            layout = self._ram.layout
            raise DmaFault(f"{self._name}: dma_grant of {size} bytes at {paddr:#x}: the emulated adapter "
                           f"cannot reach them; take memory from the reserve at {layout.reserve_paddr:#x}-"
                           f"{layout.reserve_paddr + layout.reserve_bytes:#x}")
        return found

    def revoke(self, paddr: int, size: int) -> None:
        """See `bus.PciFunction.dma_revoke`: nothing to undo, there is no IOMMU."""

    def _only_reserve(self, what: str, paddr: int, length: int) -> None:
        """Of the memory of a machine that crashed the device may change nothing but the reserve."""
        if self._ram.reserve_bus_addr(paddr, length) is None:
            raise DmaFault(f"{self._name}: {what} of {length} bytes at {paddr:#x}, outside the reserve; memory that is "
                           "being dumped may not change")

    def _map_slowly(self, paddr: int, length: int, to_device: bool) -> list[Segment]:
        """One segment that is not all in one piece of RAM: cut where RAM in the file ends and begins."""
        if length <= 0 or paddr < 0:
            raise DmaFault(f"{self._name}: dma_map of {length} bytes at {paddr:#x}: one byte is the least")
        reserve = self._ram.reserve_bus_addr(paddr, length)
        if reserve is not None:
            return [(reserve, length)]
        pieces: list[Segment] = []
        for start, end, offset in self._ram.layout.split(paddr, paddr + length):
            if offset is None:
                pieces.append((self._bounce(start, end - start, to_device), end - start))
            else:
                pieces.append((start, end - start))
        return pieces

    def _bounce(self, paddr: int, length: int, to_device: bool) -> int:
        views = self._memory.views(paddr, length)
        if not to_device and any(view.readonly for view in views):
            raise DmaFault(f"{self._name}: DMA write of {length} bytes at {paddr:#x}, which is backed by a "
                           f"read-only file; memory that is being dumped may not change")
        try:
            slot = self._slots.alloc(length, PAGE_BYTES)
        except AllocationFault:
            raise DmaFault(f"{self._name}: no {length} bytes left in the bounce area of "
                           f"{self._slots.extent.size} bytes ({self.bounced_bytes} in use); "
                           f"lower --queue-depth or --block-order") from None
        # in both directions: a device that writes less than it may must not leave old bounce bytes behind
        self._memory.write(slot, b"".join(views))
        bus_addr = self._ram.reserve_bus_addr(slot, length)
        assert bus_addr is not None, "the bounce area is part of the reserve"
        self._bounced[bus_addr] = Bounced(paddr, length, slot)
        return bus_addr
