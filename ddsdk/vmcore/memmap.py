"""Where `struct page` of each page frame lies: SPARSEMEM (static, EXTREME, vmemmap), FLATMEM, DISCONTIGMEM.

formats.md 5.6.  Which model a kernel was built with shows in the keys its VMCOREINFO has.  Arrays that lie in one
piece of physical memory are shown as they are; the others are put together in a buffer that was made beforehand.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from ddsdk.errors import FormatError

from .kernelinfo import MAX_STRUCT_PAGE, MIN_STRUCT_PAGE, KernelInfo
from .pagetable import AddressSpace, Memory, read, view_or_none

Bytes = npt.NDArray[np.uint8]

#: A section's `section_mem_map`, bit 0: it has an array (Linux include/linux/mmzone.h, SECTION_MARKED_PRESENT).
SECTION_MARKED_PRESENT = 1
#: Low bits of it that are flags; 2.6.24 had two, 4.13 five, 6.15 six, arrays are aligned to more.
SECTION_FLAG_BITS: Final = {8: 6, 4: 5}
#: (SECTION_SIZE_BITS, MAX_PHYSMEM_BITS of its releases) of kernels that do not say them, by machine (asm/sparsemem.h).
SPARSEMEM_BITS: Final = {"x86_64": (27, (40, 44, 46, 52))}
#: Nodes of a machine, sections of a map: more is damage.
MAX_NODES = 1 << 12
MAX_SECTIONS = 1 << 24


@frozen
class Stretch:
    """Frames [`first_pfn`, `end_pfn`): their array of struct page starts at virtual address *vaddr*."""

    first_pfn: int
    end_pfn: int
    vaddr: int


@define(eq=False)
class MemoryMap:
    """Arrays of struct page.  `model` is how messages call it; `stretches` ascend and are disjoint."""

    memory: Memory
    space: AddressSpace
    page_bytes: int
    model: str
    stretches: Sequence[Stretch]
    _at: int = field(default=0, init=False)
    _by_vaddr: list[tuple[int, int]] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._by_vaddr = sorted((stretch.vaddr, number) for number, stretch in enumerate(self.stretches))

    def pieces(self, first_pfn: int, count: int, scratch: Bytes) -> Iterator[tuple[int, Bytes]]:
        """(first frame, struct pages as rows of `page_bytes`) for what of [first_pfn, +count) has any.

        Rows are a view of the memory where it is contiguous; else they are in *scratch*, until the next is asked for.
        Frames whose struct page cannot be read are left out.
        """
        end_pfn = first_pfn + count
        if self._at and self.stretches[self._at - 1].end_pfn > first_pfn:
            self._at = 0                        # asked for in ascending order, as a rule
        for index in range(self._at, len(self.stretches)):
            stretch = self.stretches[index]
            if stretch.first_pfn >= end_pfn:
                break
            if stretch.end_pfn <= first_pfn:
                self._at = index + 1
                continue
            low, high = max(first_pfn, stretch.first_pfn), min(end_pfn, stretch.end_pfn)
            vaddr = stretch.vaddr + (low - stretch.first_pfn) * self.page_bytes
            yield from self._rows(low, high - low, vaddr, scratch)

    def pfn_of(self, vaddr: int) -> int | None:
        """The frame whose struct page is at *vaddr*; None when there is none."""
        index = bisect_right(self._by_vaddr, (vaddr, len(self.stretches))) - 1
        if index < 0:
            return None
        start, number = self._by_vaddr[index]
        stretch = self.stretches[number]
        frames, rest = divmod(vaddr - start, self.page_bytes)
        return None if rest or frames >= stretch.end_pfn - stretch.first_pfn else stretch.first_pfn + frames

    def _rows(self, pfn: int, count: int, vaddr: int, scratch: Bytes) -> Iterator[tuple[int, Bytes]]:
        size = self.page_bytes
        length = count * size
        release: Callable[[int, int], None] | None = getattr(self.memory, "release_range", None)
        at = start = 0                          # bytes gone by; where the present rows began
        for paddr, step in self.space.pieces(vaddr, length):
            view = None if paddr is None else view_or_none(self.memory, paddr, step)
            if view is not None and step == length:
                yield pfn, np.frombuffer(view, np.uint8).reshape(count, size)
                del view
                if release is not None and paddr is not None:       # a map may be large, and is looked at once
                    release(paddr, step)
                return
            if view is None:
                yield from self._whole(pfn, start, at, scratch)
                start = at + step
            else:
                scratch[at:at + step] = np.frombuffer(view, np.uint8)
                if release is not None and paddr is not None:
                    release(paddr, step)
            at += step
        yield from self._whole(pfn, start, at, scratch)

    def _whole(self, pfn: int, start: int, end: int, scratch: Bytes) -> Iterator[tuple[int, Bytes]]:
        """The struct pages that lie wholly in [start, end) of *scratch*."""
        first, last = -(-start // self.page_bytes), end // self.page_bytes
        if first < last:
            rows = scratch[first * self.page_bytes:last * self.page_bytes]
            yield pfn + first, rows.reshape(last - first, self.page_bytes)


def memory_map(memory: Memory, space: AddressSpace) -> MemoryMap:
    """The map of *memory*'s kernel; FormatError, one line, when it is not to be found."""
    info = KernelInfo.of(memory.vmcoreinfo)
    size = info.struct_page_bytes
    if size is None or size % memory.abi.word_bytes:
        raise FormatError(f"VMCOREINFO has SIZE(page)={info.size('page')}: struct page has {MIN_STRUCT_PAGE} to "
                          f"{MAX_STRUCT_PAGE} bytes, whole words")
    finder = _Finder(memory, space, info, size)
    for symbol, find in (("mem_section", finder.sparse), ("mem_map", finder.flat), ("node_data", finder.nodes)):
        if info.symbol(symbol) is not None:
            model, stretches = find()
            if not stretches:
                raise FormatError(f"the kernel's memory map ({model}) has no entry that can be read; "
                                  f"SYMBOL({symbol}) leads nowhere")
            return MemoryMap(memory, space, size, model, stretches)
    raise FormatError("VMCOREINFO names no memory map: none of SYMBOL(mem_section), mem_map, node_data")


@frozen
class _Finder:
    """Reads the kernel's own description of its memory map."""

    memory: Memory
    space: AddressSpace
    info: KernelInfo
    page_bytes: int

    def word(self, vaddr: int) -> int | None:
        """The pointer at *vaddr*."""
        raw = read(self.memory, self.space, vaddr, self.memory.abi.word_bytes)
        return None if raw is None else int.from_bytes(raw, self.memory.abi.byteorder)

    def flat(self) -> tuple[str, list[Stretch]]:
        """One array, at the pointer mem_map."""
        array = self.word(self.info.symbol("mem_map") or 0)
        return "FLATMEM", [Stretch(0, self.memory.max_pfn, array)] if array else []

    def nodes(self) -> tuple[str, list[Stretch]]:
        """One array a node: node_data[] of pointers to pglist_data."""
        node_data = self.info.symbol("node_data") or 0
        count = min(self.info.length("node_data") or 0, MAX_NODES)
        offsets = [self.info.offset(f"pglist_data.{name}")
                   for name in ("node_mem_map", "node_start_pfn", "node_spanned_pages")]
        found: list[Stretch] = []
        for number in range(count):
            node = self.word(node_data + number * self.memory.abi.word_bytes)
            if not node:
                continue
            values = [None if offset is None else self.word(node + offset) for offset in offsets]
            array, start, spanned = values
            if array and start is not None and spanned and start < self.memory.max_pfn:
                found.append(Stretch(start, min(start + spanned, self.memory.max_pfn), array))
        found.sort(key=lambda stretch: stretch.first_pfn)
        for below, above in pairwise(found):
            if above.first_pfn < below.end_pfn:
                raise FormatError(f"the nodes' page frames overlap at {above.first_pfn:#x}; the memory map is damaged")
        return "DISCONTIGMEM", found

    def sparse(self) -> tuple[str, list[Stretch]]:
        """Sections, by a table of mem_section that is flat or has roots."""
        size, offset = self.info.size("mem_section"), self.info.offset("mem_section.section_mem_map")
        bits, physmem = self._section_bits()
        if size is None or offset is None or bits is None or size > self.memory.abi.page_size:
            raise FormatError("VMCOREINFO does not tell SPARSEMEM's layout: SIZE(mem_section), OFFSET(mem_section."
                              "section_mem_map), NUMBER(SECTION_SIZE_BITS)")
        shift = bits - (self.memory.abi.page_size.bit_length() - 1)
        sections = -(-self.memory.max_pfn >> shift) if shift >= 0 else 0
        if not 0 < sections <= MAX_SECTIONS:
            raise FormatError(f"NUMBER(SECTION_SIZE_BITS)={bits} makes {sections} sections of this memory")
        per_root = self.memory.abi.page_size // size
        length, table = self.info.length("mem_section"), self.info.symbol("mem_section") or 0
        extreme = length is None or any(length == -(-(1 << max(0, top - bits)) // per_root) for top in physmem)
        if not extreme:
            array = read(self.memory, self.space, table, min(sections, length or 0) * size)
            return "SPARSEMEM, static", [] if array is None else self._sections(array, 0, size, offset, shift)
        for roots in (table, self.word(table)):     # the array's address, or that of a pointer to it
            found = self._extreme(roots or 0, sections, per_root, size, offset, shift)
            if found:
                return "SPARSEMEM, EXTREME", found
        return "SPARSEMEM, EXTREME", []

    def _section_bits(self) -> tuple[int | None, tuple[int, ...]]:
        bits, physmem = self.info.exponent("SECTION_SIZE_BITS"), self.info.exponent("MAX_PHYSMEM_BITS")
        known, tops = SPARSEMEM_BITS.get(self.memory.abi.name, (None, ()))
        return bits if bits is not None else known, (physmem,) if physmem is not None else tops

    def _extreme(self, roots: int, sections: int, per_root: int, size: int, offset: int, shift: int) -> list[Stretch]:
        abi = self.memory.abi
        raw = read(self.memory, self.space, roots, -(-sections // per_root) * abi.word_bytes) if roots else None
        found: list[Stretch] = []
        if raw is None:
            return found
        for number, root in enumerate(np.frombuffer(raw, f"{abi.struct_prefix}u{abi.word_bytes}").tolist()):
            array = read(self.memory, self.space, root, per_root * size) if root else None
            if array is not None:
                found += self._sections(array, number * per_root, size, offset, shift)
        return found

    def _sections(self, array: bytes, number: int, size: int, offset: int, shift: int) -> list[Stretch]:
        """The sections in *array* that are present, the first of it being section *number*."""
        abi = self.memory.abi
        if offset + abi.word_bytes > size:
            return []
        coded = np.ndarray((len(array) // size,), f"{abi.struct_prefix}u{abi.word_bytes}", array, offset, (size,))
        present = np.flatnonzero(coded & coded.dtype.type(SECTION_MARKED_PRESENT))
        found = []
        word_mask = (1 << 8 * abi.word_bytes) - 1
        for index in present.tolist():
            first = (number + index) << shift
            low = int(coded[index]) >> SECTION_FLAG_BITS[abi.word_bytes] << SECTION_FLAG_BITS[abi.word_bytes]
            vaddr = low + first * self.page_bytes & word_mask
            last = min(first + (1 << shift), self.memory.max_pfn)
            if first < last and vaddr + (last - first) * self.page_bytes <= word_mask and low:
                found.append(Stretch(first, last, vaddr))
        return found
