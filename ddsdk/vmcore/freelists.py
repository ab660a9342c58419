"""Free pages by the allocator's own lists: for kernels that do not export how a free page is marked (before 3.10).

node -> zones -> one free_area an order -> one list a migrate type -> page->lru (Linux include/linux/mmzone.h).  Lists
of a machine that crashed can be torn: one link that does not lead back, and none of them is believed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from attrs import frozen

from ddsdk.errors import FormatError

from .kernelinfo import KernelInfo
from .memmap import MAX_NODES, MemoryMap
from .pageflags import MAX_ORDER
from .pagemap import PageMap
from .pagetable import read

#: Zones of a node, lists of an order: kernels have up to 6 of each.
MAX_ZONES = MAX_LISTS = 32

_OFFSETS = ("pglist_data.node_zones", "pglist_data.nr_zones", "zone.free_area", "free_area.free_list", "list_head.next",
            "list_head.prev", "page.lru")
_SIZES = ("zone", "free_area", "list_head")


@frozen
class FreeLists:
    """The lists of one kernel: `orders` a zone, `types` lists an order; `at` and `sizes` by VMCOREINFO's names."""

    where: MemoryMap
    info: KernelInfo
    at: Mapping[str, int]
    sizes: Mapping[str, int]
    orders: int
    types: int

    @classmethod
    def of(cls, where: MemoryMap) -> FreeLists:
        """FormatError names the first key that VMCOREINFO lacks."""
        info = KernelInfo.of(where.memory.vmcoreinfo)
        at = {name: info.offset(name) for name in _OFFSETS}
        sizes = {name: info.size(name) for name in _SIZES}
        missing = [f"OFFSET({name})" for name, value in at.items() if value is None]
        missing += [f"SIZE({name})" for name, value in sizes.items() if value is None]
        orders, types = info.length("zone.free_area"), info.length("free_area.free_list") or 1
        if missing or orders is None or orders > MAX_ORDER + 1 or types > MAX_LISTS:
            raise FormatError(f"VMCOREINFO has no {missing[0] if missing else 'LENGTH(zone.free_area)'} that is one")
        return cls(where, info, {name: value for name, value in at.items() if value is not None},
                   {name: value for name, value in sizes.items() if value is not None}, orders, types)

    def collect(self, free: PageMap) -> None:
        """Add the frames of every free block to *free*; FormatError when a list is torn, and *free* is worthless."""
        budget = self.where.memory.max_pfn
        for zone in self._zones():
            for order in range(self.orders):
                area = zone + self.at["zone.free_area"] + order * self.sizes["free_area"]
                for number in range(self.types):
                    head = area + self.at["free_area.free_list"] + number * self.sizes["list_head"]
                    budget = self._list(head, order, free, budget)

    def _integer(self, vaddr: int, nbytes: int) -> int:
        raw = read(self.where.memory, self.where.space, vaddr, nbytes)
        if raw is None:
            raise FormatError(f"the allocator's lists lead to {vaddr:#x}, which is not in memory")
        return int.from_bytes(raw, self.where.memory.abi.byteorder)

    def _zones(self) -> Iterator[int]:
        """The address of every zone."""
        for node in self._nodes():
            count = self._integer(node + self.at["pglist_data.nr_zones"], 4)
            if count > MAX_ZONES:
                raise FormatError(f"the node at {node:#x} says it has {count} zones")
            for number in range(count):
                yield node + self.at["pglist_data.node_zones"] + number * self.sizes["zone"]

    def _nodes(self) -> Iterator[int]:
        word = self.where.memory.abi.word_bytes
        table, single = self.info.symbol("node_data"), self.info.symbol("contig_page_data")
        if table is not None:
            for number in range(min(self.info.length("node_data") or 0, MAX_NODES)):
                node = self._integer(table + number * word, word)
                if node:
                    yield node
        elif single is not None:
            yield single
        else:
            raise FormatError("VMCOREINFO names no node: neither SYMBOL(node_data) nor SYMBOL(contig_page_data)")

    def _list(self, head: int, order: int, free: PageMap, budget: int) -> int:
        """One list; *budget* is how many more blocks the machine can have, and is returned less those found."""
        word, following, before = (self.where.memory.abi.word_bytes, self.at["list_head.next"],
                                   self.at["list_head.prev"])
        came_from, entry = head, self._integer(head + following, word)
        while entry != head:
            pfn = self.where.pfn_of(entry - self.at["page.lru"])
            if pfn is None or pfn % (1 << order) or self._integer(entry + before, word) != came_from or not budget:
                raise FormatError(f"the allocator's list of order {order} at {head:#x} is torn at {entry:#x}")
            free.add_run(pfn, 1 << order)
            budget -= 1
            came_from, entry = entry, self._integer(entry + following, word)
        return budget
