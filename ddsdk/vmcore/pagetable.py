"""Kernel virtual addresses to physical ones.

x86_64 (4 and 5 levels) and i386 (PAE or not): the kernel's own page tables are walked, from the root that VMCOREINFO
names (formats.md 5.5).  ppc64 and ia64: their linear maps, whose place the architecture fixes.  A pointer that leads
nowhere translates to nothing: a table is at most five pages deep, so there is no loop to get lost in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
from attrs import define, field, frozen

from ddsdk.abi import Abi
from ddsdk.errors import FormatError, UsageError

from .image import Run
from .kernelinfo import KernelInfo
from .kernelmap import START_KERNEL_MAP

Words = npt.NDArray[np.uint64]
#: Translations that failed, in an array of addresses.
NOWHERE = np.uint64(0xFFFF_FFFF_FFFF_FFFF)

_PRESENT = 1
_LARGE = 1 << 7
#: Bits of an entry that are an address: 12 to 51 (Intel SDM volume 3, 4.5).
_ADDRESS = 0x000F_FFFF_FFFF_F000
#: Tables kept at hand; each is a view of the memory, no copy.
_KEPT_TABLES = 256
#: No string of bytes that is read at once is longer; log buffers are at most this.
MAX_READ_BYTES = 64 << 20
#: i386 user/kernel splits (Kconfig VMSPLIT_*); which one it is shows in the tables themselves.
I386_SPLITS = (0xC000_0000, 0xB000_0000, 0x8000_0000, 0x7800_0000, 0x4000_0000)
#: phys_base of x86_64 kernels that export its address only: 0 for most, else where KASLR put them, below 1 GiB.
OLD_PHYS_BASES = (0, *range(-(16 << 20), 0, 2 << 20), *range(2 << 20, 1 << 30, 2 << 20))
LINEAR_MAPS: Final = {"ppc64": 0xC000_0000_0000_0000, "ia64": 0xE000_0000_0000_0000}


class Memory(Protocol):
    """Memory that can be read: a MemorySource, or whatever decompresses pages."""

    @property
    def abi(self) -> Abi:
        """The crashed machine."""

    @property
    def vmcoreinfo(self) -> bytes | None:
        """The note's text."""

    @property
    def runs(self) -> tuple[Run, ...]:
        """RAM, ascending."""

    @property
    def max_pfn(self) -> int:
        """Highest page frame of RAM plus one."""

    def view(self, paddr: int, length: int) -> memoryview:
        """The bytes; UsageError when they are not RAM."""


class AddressSpace(Protocol):
    """The kernel's virtual memory."""

    def translate(self, vaddrs: Words) -> Words:
        """The physical address of each of *vaddrs*, NOWHERE where there is none."""

    def pieces(self, vaddr: int, length: int) -> Iterator[tuple[int | None, int]]:
        """[vaddr, vaddr + length) as (physical address or None, bytes), in order."""


def view_or_none(memory: Memory, paddr: int, length: int) -> memoryview | None:
    """The bytes at *paddr*; None when they are not RAM."""
    try:
        return memory.view(paddr, length) if paddr >= 0 else None
    except (UsageError, FormatError):
        return None


@frozen
class Geometry:
    """Levels of a page table, root first: (shift, index bits, may be a large page); entries of `entry_bytes`."""

    levels: tuple[tuple[int, int, bool], ...]
    entry_bytes: int
    address_mask: int = _ADDRESS


LONG_MODE = Geometry(((39, 9, False), (30, 9, True), (21, 9, True), (12, 9, False)), 8)
LONG_MODE_LA57 = Geometry(((48, 9, False), *LONG_MODE.levels), 8)
I386_PAE = Geometry(((30, 2, False), (21, 9, True), (12, 9, False)), 8)
I386_PLAIN = Geometry(((22, 10, True), (12, 10, False)), 4, 0xFFFF_F000)


@define(eq=False)
class PageTable:
    """Page tables of *geometry* with their root at physical *root*."""

    memory: Memory
    geometry: Geometry
    root: int
    _tables: dict[tuple[int, int], Words | None] = field(factory=dict, init=False)

    def translate(self, vaddrs: Words) -> Words:
        """The physical address of each of *vaddrs*, NOWHERE where there is none: level by level, all at once."""
        vaddrs = np.ascontiguousarray(vaddrs, np.uint64)
        found = np.full(len(vaddrs), NOWHERE, np.uint64)
        todo = np.arange(len(vaddrs))
        tables = np.full(len(vaddrs), self.root, np.uint64)
        for level, (shift, bits, large) in enumerate(self.geometry.levels):
            index = vaddrs[todo] >> np.uint64(shift) & np.uint64((1 << bits) - 1)
            entries = np.zeros(len(todo), np.uint64)
            for table in sorted(set(tables.tolist())):      # np.unique() would import numpy.ma: a tenth of our start
                words = self._table(table, level)
                if words is not None:
                    here = tables == table
                    entries[here] = words[index[here]]
            last = level == len(self.geometry.levels) - 1
            leaf = np.full(len(todo), last)
            if large:
                leaf |= entries & np.uint64(_LARGE) != 0
            present = entries & np.uint64(_PRESENT) != 0
            addresses = entries & np.uint64(self.geometry.address_mask)
            low = np.uint64((1 << shift) - 1)
            done = present & leaf
            found[todo[done]] = (addresses[done] & ~low) | (vaddrs[todo[done]] & low)
            more = present & ~leaf
            todo, tables = todo[more], addresses[more]
            if not len(todo):
                break
        return found

    def pieces(self, vaddr: int, length: int) -> Iterator[tuple[int | None, int]]:
        """[vaddr, vaddr + length) as (physical address or None, bytes), in order; neighbours are put together."""
        at, end = vaddr, vaddr + length
        begun: int | None = None
        size = 0
        while at < end:
            for paddr, step in self._leaves(at, end):
                if size and (paddr == begun + size if begun is not None and paddr is not None else paddr is begun):
                    size += step
                else:
                    if size:
                        yield begun, size
                    begun, size = paddr, step
                at += step
        if size:
            yield begun, size

    def _leaves(self, vaddr: int, end: int) -> Iterator[tuple[int | None, int]]:
        """The leaf under *vaddr*; all those of one last-level table when it comes to pages."""
        table = self.root
        for level, (shift, bits, large) in enumerate(self.geometry.levels):
            index = vaddr >> shift & (1 << bits) - 1
            low = (1 << shift) - 1
            step = min(end, (vaddr | low) + 1) - vaddr
            words = self._table(table, level)
            if words is None:
                yield None, step
                return
            if level == len(self.geometry.levels) - 1:
                yield from self._pages(words[index:], vaddr, end, shift)
                return
            entry = int(words[index])
            if not entry & _PRESENT:
                yield None, step
                return
            table = entry & self.geometry.address_mask
            if large and entry & _LARGE:
                yield (table & ~low) + (vaddr & low), step
                return

    def _pages(self, entries: Words, vaddr: int, end: int, shift: int) -> Iterator[tuple[int | None, int]]:
        page = 1 << shift
        count = min(len(entries), ((end - 1) >> shift) - (vaddr >> shift) + 1)
        entries = entries[:count]
        present = entries & np.uint64(_PRESENT) != 0
        addresses = np.where(present, entries & np.uint64(self.geometry.address_mask), NOWHERE)
        follows = np.diff(addresses) == np.uint64(page)
        follows |= ~present[1:] & ~present[:-1]
        starts = np.flatnonzero(np.concatenate((np.ones(1, np.bool_), ~follows)))
        inside = vaddr & page - 1
        for start, stop in zip(starts, [*starts[1:], count], strict=True):
            low = vaddr if not start else vaddr - inside + int(start) * page
            high = min(end, vaddr - inside + int(stop) * page)
            paddr = int(addresses[start]) + (inside if not start else 0)
            yield (paddr if present[start] else None), high - low

    def _table(self, paddr: int, level: int) -> Words | None:
        """The entries of the table at *paddr*; None when it is not in RAM."""
        bits = self.geometry.levels[level][1]
        key = (paddr, bits)
        if key not in self._tables:
            if len(self._tables) >= _KEPT_TABLES:
                self._tables.clear()
            raw = view_or_none(self.memory, paddr, self.geometry.entry_bytes << bits)
            words = None if raw is None else np.frombuffer(raw, f"<u{self.geometry.entry_bytes}")
            self._tables[key] = words if words is None or words.dtype == np.uint64 else words.astype(np.uint64)
        return self._tables[key]


@frozen
class LinearMap:
    """A machine that sees its memory at `base` + physical address, with nothing to walk."""

    base: int
    max_paddr: int

    def translate(self, vaddrs: Words) -> Words:
        """The physical address of each of *vaddrs*, NOWHERE outside the map."""
        inside = (vaddrs >= np.uint64(self.base)) & (vaddrs - np.uint64(self.base) < np.uint64(self.max_paddr))
        return np.where(inside, vaddrs - np.uint64(self.base), NOWHERE)

    def pieces(self, vaddr: int, length: int) -> Iterator[tuple[int | None, int]]:
        """One piece, or none of it."""
        inside = self.base <= vaddr and vaddr + length <= self.base + self.max_paddr
        yield (vaddr - self.base if inside else None), length


def kernel_space(memory: Memory) -> AddressSpace:
    """The crashed kernel's address space; FormatError, one line, when there is no way to it."""
    info = KernelInfo.of(memory.vmcoreinfo)
    name = memory.abi.name
    if not info.values:
        raise FormatError("there is no VMCOREINFO: where the kernel's page tables are is not known")
    if name in LINEAR_MAPS:
        return LinearMap(LINEAR_MAPS[name], memory.max_pfn * memory.abi.page_size)
    for geometry, root, vaddr in _roots(name, info):
        if not 0 <= root < memory.max_pfn * memory.abi.page_size:
            continue
        table = PageTable(memory, geometry, root)
        found = int(table.translate(np.array([vaddr], np.uint64))[0])
        if found == root and _agrees(memory, table, info, root - (vaddr - START_KERNEL_MAP)):
            return table                        # a table that maps itself where it is
    raise FormatError(f"the {name} kernel's page tables are not where VMCOREINFO says, or it does not say "
                      "(SYMBOL(swapper_pg_dir), NUMBER(phys_base))")


def _agrees(memory: Memory, table: PageTable, info: KernelInfo, base: int) -> bool:
    """Whether the variable phys_base, where only its address is told (until 4.9), says the *base* that was tried."""
    variable = info.symbol("phys_base")
    if memory.abi.word_bytes != 8 or variable is None or info.number("phys_base") is not None:
        return True
    raw = read(memory, table, variable, 8)
    return raw is not None and int.from_bytes(raw, memory.abi.byteorder, signed=True) == base


def _roots(name: str, info: KernelInfo) -> Sequence[tuple[Geometry, int, int]]:
    """(geometry, physical root, its virtual address) to try."""
    root = info.symbol("init_top_pgt", "init_level4_pgt", "swapper_pg_dir")
    if root is None:
        return ()
    if name == "i386":
        geometry = I386_PAE if info.config("X86_PAE") else I386_PLAIN
        return [(geometry, root - split, root) for split in I386_SPLITS if split <= root]
    base = info.number("phys_base")
    if name != "x86_64" or (base is None and info.symbol("phys_base") is None):
        return ()
    bases = OLD_PHYS_BASES if base is None else (base,)
    plain = LONG_MODE_LA57 if info.number("pgtable_l5_enabled") else LONG_MODE
    mask = _ADDRESS & ~(info.number("sme_mask") or 0)
    geometry = Geometry(plain.levels, 8, mask)
    return [(geometry, root - START_KERNEL_MAP + base, root) for base in bases]


def read(memory: Memory, space: AddressSpace, vaddr: int, length: int) -> bytes | None:
    """The *length* bytes at *vaddr*, a copy; None when a byte of them is not there."""
    if not 0 <= length <= MAX_READ_BYTES or not 0 <= vaddr < 1 << 64:
        return None
    found = bytearray()
    for paddr, size in space.pieces(vaddr, length):
        view = None if paddr is None else view_or_none(memory, paddr, size)
        if view is None:
            return None
        found += view
    return bytes(found)
