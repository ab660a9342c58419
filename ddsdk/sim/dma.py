"""What a device may touch: intervals of memory granted by the driver, each with a direction.

Bus addresses equal physical addresses here (no IOMMU remaps), but nothing is reachable that was not
granted.  Stricter than a PC of 2004, where a stray descriptor silently wrote over somebody's page.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator, Sequence
from typing import Final

from ddsdk.bus import SEG_BOUNDARY_MASK, Segment
from ddsdk.errors import DmaFault, HardwareFault

from .memory import PhysicalMemory
from .trace import Trace

TO_DEVICE = 1       # the device reads memory
FROM_DEVICE = 2     # the device writes memory
BIDIRECTIONAL = TO_DEVICE | FROM_DEVICE

_DIRECTIONS: Final = {TO_DEVICE: "to device", FROM_DEVICE: "from device", BIDIRECTIONAL: "both directions"}

#: (first bus address, address past the end, direction bits)
Grant = tuple[int, int, int]
#: Past every address: sorts behind all grants that start at the same one.
_PAST_ALL = 1 << 64
_NO_GRANT: Grant = (0, 0, 0)


class DmaDomain:
    """The grants of one PCI function.

    `dma_map` grants are looked up by their start first (a controller walks the list it was given);
    coherent grants are few and live long, so they sit in a sorted list.  Hits are remembered: the last one among
    mappings, and which coherent grant is where, by page.
    """

    __slots__ = ("_coherent", "_last", "_mapped", "_odd", "_pages", "_sorted", "bus_master", "memory", "name",
                 "removed", "revoked", "trace")

    def __init__(self, memory: PhysicalMemory, name: str, trace: Trace | None = None) -> None:
        self.memory = memory
        self.name = name
        self.trace = trace if trace is not None else Trace(enabled=False)
        #: COMMAND bit 2; kept by the PCI function.
        self.bus_master = False
        #: Surprise removal: nothing of the device reaches memory any more.
        self.removed = False
        #: How often coherent memory was revoked.
        self.revoked = 0
        self._coherent: list[Grant] = []
        self._last = _NO_GRANT
        self._pages: dict[int, Grant] = {}
        self._mapped: dict[int, list[int]] = {}     # start -> [end, direction, times mapped]
        self._odd: list[Grant] = []                 # same start as another mapping, other end or direction
        self._sorted: list[Grant] | None = []       # the mappings by address; None: out of date

    # -- the driver's side -------------------------------------------------------------------------

    def map(self, segments: Sequence[Segment], to_device: bool) -> list[Segment]:
        """Grant [(paddr, length)] in one direction; adjacent segments come back merged, but not over 4 GiB."""
        direction = TO_DEVICE if to_device else FROM_DEVICE
        merged: list[Segment] = []
        start = end = -1
        for paddr, length in segments:
            if paddr == end and paddr & SEG_BOUNDARY_MASK:
                end += length
                continue
            if start >= 0:
                merged.append((start, end - start))
            start, end = paddr, paddr + length
        if start >= 0:
            merged.append((start, end - start))
        mapped = self._mapped
        for start, length in merged:
            end = start + length
            if length <= 0 or start < 0:
                raise DmaFault(f"{self.name}: dma_map of {length} bytes at {start:#x}: a segment needs at "
                               "least one byte")
            known = mapped.get(start)
            if known is None:
                mapped[start] = [end, direction, 1]
            elif known[0] == end and known[1] == direction:
                known[2] += 1
            else:
                self._odd.append((start, end, direction))
        self._sorted = None
        if self.trace.on:
            self.trace.add("dma-map", to_device, len(merged), merged[0][0] if merged else None)
        return merged

    def unmap(self, segments: Sequence[Segment], to_device: bool) -> None:
        """Revoke what `map` returned.  DmaFault when a segment is not mapped that way."""
        direction = TO_DEVICE if to_device else FROM_DEVICE
        mapped = self._mapped
        for start, length in segments:
            known = mapped.get(start)
            if known is not None and known[0] == start + length and known[1] == direction:
                known[2] -= 1
                if not known[2]:
                    del mapped[start]
            else:
                self._unmap_odd((start, start + length, direction))
        self._sorted = None
        self._last = _NO_GRANT

    def grant(self, paddr: int, size: int) -> int:
        """Coherent memory: both directions until `revoke`.  Returns its bus address."""
        if size <= 0 or paddr < 0:
            raise DmaFault(f"{self.name}: dma_grant of {size} bytes at {paddr:#x}: at least one byte is "
                           "needed")
        insort(self._coherent, (paddr, paddr + size, BIDIRECTIONAL))
        return paddr

    def revoke(self, paddr: int, size: int) -> None:
        """End a `grant`.  DmaFault when there is no such grant."""
        grant = (paddr, paddr + size, BIDIRECTIONAL)
        if grant not in self._coherent:
            raise DmaFault(f"{self.name}: dma_revoke of {size} bytes at {paddr:#x}, which was not granted as "
                           f"one piece{self._nearest(paddr)}")
        self._coherent.remove(grant)
        self._pages.clear()
        self.revoked += 1

    @property
    def grants(self) -> list[Grant]:
        """Every grant in force: (start, end, direction bits), by address."""
        return sorted([*self._coherent, *self._by_address()])

    # -- the device's side -------------------------------------------------------------------------

    def view(self, bus_addr: int, length: int, to_device: bool) -> list[memoryview]:
        """The memory behind one transfer: read it (*to_device*) or write it.

        DmaFault: bus mastering is off, or the bytes are not all inside one grant of that direction.
        """
        direction = TO_DEVICE if to_device else FROM_DEVICE
        end = bus_addr + length
        start, stop, _ = self._pages.get(bus_addr >> 12, _NO_GRANT)
        if start > bus_addr or end > stop or length <= 0 or not self.bus_master:
            known = self._mapped.get(bus_addr)
            if (known is None or end > known[0] or not known[1] & direction or length <= 0
                    or not self.bus_master):
                start, stop, allowed = self._last
                if start > bus_addr or end > stop or not allowed & direction or length <= 0 or not self.bus_master:
                    self._search(bus_addr, length, direction)
        if self.trace.on:
            self.trace.add("dma", self.name, "read" if to_device else "write", bus_addr, length)
        try:
            views = self.memory.views(bus_addr, length)
        except HardwareFault as fault:
            raise DmaFault(f"{self.name}: DMA to a granted address without memory: {fault}") from None
        if not to_device:
            for view in views:
                if view.readonly:
                    raise DmaFault(f"{self.name}: DMA write of {length} bytes at {bus_addr:#x}, which is "
                                   "backed by a read-only file; memory that is being dumped may not change")
        return views

    def coherent(self, bus_addr: int) -> tuple[int, memoryview] | None:
        """(bus address, bytes) of the whole coherent grant around *bus_addr*; None: there is none, or not in one piece.

        For a processor that fetches its program there all the time.  The view is good, in both directions, while
        `bus_master` is on and `revoked` stays the same.
        """
        index = bisect_right(self._coherent, (bus_addr, _PAST_ALL, 0)) - 1
        if index < 0 or not self.bus_master:
            return None
        start, end, _ = self._coherent[index]
        if bus_addr >= end:
            return None
        try:
            views = self.memory.views(start, end - start)
        except HardwareFault:
            return None
        if len(views) != 1 or views[0].readonly:
            return None
        if self.trace.on:
            self.trace.add("dma", self.name, "coherent", start, end - start)
        return start, views[0]

    def read(self, bus_addr: int, length: int) -> bytes:
        """The device fetches *length* bytes (a descriptor, a request frame)."""
        views = self.view(bus_addr, length, True)
        return bytes(views[0]) if len(views) == 1 else b"".join(views)

    def write(self, bus_addr: int, data: bytes | bytearray | memoryview) -> None:
        """The device stores *data* (a reply frame, sense bytes)."""
        at = 0
        for view in self.view(bus_addr, len(data), False):
            view[:] = data[at:at + len(view)]
            at += len(view)

    def _search(self, bus_addr: int, length: int, direction: int) -> None:
        """Remember the grant that covers the access, or raise the DmaFault that says why there is none."""
        end = bus_addr + length
        if self.bus_master and length > 0:
            coherent = self._coherent
            index = bisect_right(coherent, (bus_addr, _PAST_ALL, 0)) - 1
            if index >= 0 and end <= coherent[index][1]:
                self._pages[bus_addr >> 12] = coherent[index]
                return
            for grant in self._below(bus_addr):
                if end <= grant[1] and grant[2] & direction:
                    if grant[2] != BIDIRECTIONAL:
                        self._last = grant
                    return
        raise self._refusal(bus_addr, length, direction)

    def _below(self, bus_addr: int) -> Iterator[Grant]:
        """Every grant that starts at or below *bus_addr*, nearest first; mappings before coherent memory."""
        for grants in (self._by_address(), self._coherent):
            for index in range(bisect_right(grants, (bus_addr, _PAST_ALL, 0)) - 1, -1, -1):
                yield grants[index]

    def _refusal(self, bus_addr: int, length: int, direction: int) -> DmaFault:
        what = f"{self.name}: DMA {_DIRECTIONS[direction]} of {length} bytes at {bus_addr:#x}"
        if length <= 0:
            return DmaFault(f"{what}: at least one byte is needed")
        if self.removed:
            return DmaFault(f"{what} after the function was removed; nothing of it reaches memory any more")
        if not self.bus_master:
            return DmaFault(f"{what} with bus mastering off (COMMAND bit 2); the driver must call "
                            "pci_set_master() first")
        for grant in self._below(bus_addr):
            if bus_addr + length <= grant[1]:
                return DmaFault(f"{what}, which was mapped {_DIRECTIONS[grant[2]]}; map it for the direction "
                                "the command moves data")
        return DmaFault(f"{what} is not inside one granted piece of memory{self._nearest(bus_addr)}; map it "
                        "before the device sees its address")

    def _by_address(self) -> list[Grant]:
        if self._sorted is None:
            self._sorted = sorted([*((s, e[0], e[1]) for s, e in self._mapped.items()), *self._odd])
        return self._sorted

    def _nearest(self, bus_addr: int) -> str:
        grants = self.grants
        if not grants:
            return "; nothing is granted to this device"
        near = min(grants, key=lambda g: min(abs(bus_addr - g[0]), abs(bus_addr - g[1])))
        return f"; the nearest grant is {near[0]:#x}-{near[1]:#x} ({_DIRECTIONS[near[2]]})"

    def _unmap_odd(self, grant: Grant) -> None:
        if grant not in self._odd:
            raise DmaFault(f"{self.name}: dma_unmap of {grant[1] - grant[0]} bytes at {grant[0]:#x} "
                           f"({_DIRECTIONS[grant[2]]}), which is not mapped like that (unmapped twice, or "
                           f"with another length or direction){self._nearest(grant[0])}")
        self._odd.remove(grant)
