"""A made-up kernel in made-up memory: page tables, memory map, struct pages, VMCOREINFO of several releases.

Only what filtering and the log read is there, at the offsets the given release has.  Offsets of struct page: gcc's, for
x86_64 builds of these releases (pahole of distribution kernels); what a release exports: its kernel/crash_core.c.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping, Sequence

import numpy as np
from attrs import define, field, frozen

from ddsdk.abi import X86_64, Abi
from ddsdk.vmcore import vmcoreinfo as vmci
from ddsdk.vmcore.image import MemoryExtent, MemorySource

P = 4096
LARGE = 2 << 20
DIRECT = 0xFFFF_8880_0000_0000
VMEMMAP = 0xFFFF_EA00_0000_0000
IMAGE = 0xFFFF_FFFF_8000_0000
#: Frames 6144 to 9727 hold the kernel: tables, variables, struct pages.  Tests use others.
PHYS_BASE = 0x0180_0000
ROOT = 0x0180_0000
HEAP = 0x0181_0000
PAGES_AT = 0x0200_0000
#: 160 MiB: a section of 128 MiB, and a part of one.
FRAMES = 40960

LRU, SLAB, PRIVATE, HEAD, SWAPCACHE, SWAPBACKED, HWPOISON = (1 << n for n in (4, 9, 13, 16, 10, 19, 23))
OLD_SWAPCACHE = 1 << 17
ANON = 0xFFFF_8880_0123_4560 | 1
BUDDY, OFFLINE, NONE = 0xFFFF_FF7F, 0xFFFF_FEFF, 0xFFFF_FFFF


@frozen
class Release:
    """What a kernel release exports about struct page, beside its name."""

    name: str
    members: Mapping[str, int]
    numbers: Mapping[str, int]
    page_bytes: int = 64
    symbols: Mapping[str, int] = field(factory=dict)
    folio: Mapping[str, int] = field(factory=dict)


_MEMBERS = {"flags": 0, "lru": 8, "mapping": 24, "private": 40, "_mapcount": 48, "_refcount": 52}
#: Until 4.9 PG_swapcache came after PG_private; since then it shares its number with another flag.
_FLAGS = {"PG_lru": 4, "PG_private": 13, "PG_swapcache": 17}
_SLAB = _FLAGS | {"PG_slab": 9, "PG_hwpoison": 23, "PAGE_BUDDY_MAPCOUNT_VALUE": -129}
_HEAD = _SLAB | {"PG_head_mask": HEAD}
_NEWER = _HEAD | {"PG_swapcache": 10, "PG_swapbacked": 19, "PAGE_OFFLINE_MAPCOUNT_VALUE": -257}
_COMPOUND = _MEMBERS | {"compound_head": 8}

V2_6_24 = Release("2.6.24", {"flags": 0, "_count": 8, "mapping": 24, "lru": 40}, _FLAGS, 56)
V3_10 = Release("3.10", {"flags": 0, "mapping": 8, "_mapcount": 24, "_count": 28, "lru": 32, "private": 48}, _SLAB)
V3_16 = Release("3.16", {"flags": 0, "mapping": 8, "_mapcount": 24, "_count": 28, "lru": 32, "private": 48}, _HEAD,
                symbols={"free_huge_page": 0xFFFF_FFFF_8119_1000})
V4_4 = Release("4.4", {"flags": 0, "mapping": 8, "_mapcount": 24, "_count": 28, "lru": 32, "private": 48,
                       "compound_head": 32, "compound_dtor": 40, "compound_order": 44},
               _HEAD | {"HUGETLB_PAGE_DTOR": 2})
V4_19 = Release("4.19", _COMPOUND | {"compound_dtor": 16, "compound_order": 17}, _NEWER | {"HUGETLB_PAGE_DTOR": 2})
V6_3 = Release("6.3", _COMPOUND, _NEWER | {"HUGETLB_PAGE_DTOR": 2}, folio={"_folio_dtor": 80, "_folio_order": 81})
V6_6 = Release("6.6", _COMPOUND, _NEWER | {"PG_hugetlb": 8})
V6_9 = Release("6.9", _COMPOUND, _NEWER | {"PAGE_HUGETLB_MAPCOUNT_VALUE": -1025})
_TYPES = {"PAGE_BUDDY_MAPCOUNT_VALUE": -268435456, "PAGE_OFFLINE_MAPCOUNT_VALUE": -251658240,
          "PAGE_HUGETLB_MAPCOUNT_VALUE": -201326592, "PAGE_SLAB_MAPCOUNT_VALUE": -184549376,
          "PAGE_UNACCEPTED_MAPCOUNT_VALUE": -134217728}
V6_12 = Release("6.12", _COMPOUND, {key: value for key, value in _NEWER.items() if key != "PG_slab"} | _TYPES)
V7_1 = Release("7.1", {**_MEMBERS, "compound_info": 8}, V6_12.numbers)
RELEASES = (V3_16, V4_4, V4_19, V6_3, V6_6, V6_9, V6_12, V7_1)


@define(eq=False)
class Kernel:
    """Memory of *frames* page frames with the kernel *release* in it.  `info` is its VMCOREINFO, to be bent.

    *model*: "vmemmap" (large pages), "scattered" (vmemmap of 4 KiB pages that lie in reverse order), "sparse" (arrays
    in the direct map), "static", "flat", "nodes".
    """

    release: Release = V4_19
    model: str = "vmemmap"
    levels: int = 4
    sme: int = 0
    frames: int = FRAMES
    abi: Abi = X86_64
    runs: tuple[tuple[int, int], ...] = ()          # (first frame, frames) of RAM; all of it when empty
    info: dict[str, object] = field(factory=dict)
    _ram: mmap.mmap = field(init=False)
    _heap: int = field(default=HEAP, init=False)

    def __attrs_post_init__(self) -> None:
        self._ram = mmap.mmap(-1, self.frames * P, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._describe()
        for at in range(0, self.frames * P, LARGE):
            self.map(DIRECT + at, at, LARGE)
        for at in range(PHYS_BASE, PAGES_AT, LARGE):
            self.map(IMAGE + at - PHYS_BASE, at, LARGE)
        getattr(self, f"_model_{self.model}")()
        if "_mapcount" in self.release.members:     # what the boot leaves in it
            self._no_mapping()

    # -- memory ---------------------------------------------------------------------------------------------

    def write(self, paddr: int, data: bytes) -> None:
        """Put *data* at *paddr*."""
        self._ram[paddr:paddr + len(data)] = data

    def word(self, paddr: int, value: int, nbytes: int = 8) -> None:
        """An unsigned integer at *paddr*."""
        self.write(paddr, value.to_bytes(nbytes, self.abi.byteorder))

    def take(self, size: int, align: int = 64) -> int:
        """The physical address of *size* fresh bytes, which the kernel sees at `image(...)`."""
        paddr = self._heap + -self._heap % align
        self._heap = paddr + size
        assert self._heap <= PAGES_AT
        return paddr

    def image(self, paddr: int) -> int:
        """Where the kernel's image has *paddr*."""
        return IMAGE + paddr - PHYS_BASE

    def map(self, vaddr: int, paddr: int, leaf: int = P) -> None:
        """Enter one page of *leaf* bytes into the page tables."""
        table = ROOT
        shifts = [48, 39, 30, 21, 12][5 - self.levels:]
        for shift in shifts:
            entry = table + (vaddr >> shift & 511) * 8
            if leaf == 1 << shift:
                self.word(entry, paddr | self.sme | (0x80 if shift > 12 else 0) | 0x63)
                return
            old, = struct.unpack_from("<Q", self._ram, entry)
            if not old:
                old = self.take(P, P) | self.sme | 0x63
                self.word(entry, old)
            table = old & ~self.sme & 0x000F_FFFF_FFFF_F000

    def source(self) -> MemorySource:
        """The memory, to be read."""
        view = memoryview(self._ram).toreadonly()
        runs = self.runs or ((0, self.frames),)
        extents = tuple(MemoryExtent(first * P, count * P, view[first * P:(first + count) * P])
                        for first, count in runs)
        return MemorySource(self.abi, extents, (), vmci.build(self.info), "made up")

    # -- what the kernel says -------------------------------------------------------------------------------

    def _describe(self) -> None:
        release = self.release
        self.info |= {"OSRELEASE": release.name, "PAGESIZE": P, "NUMBER(phys_base)": PHYS_BASE,
                      "SYMBOL(swapper_pg_dir)": f"{self.image(ROOT):x}", "NUMBER(pgtable_l5_enabled)": self.levels - 4,
                      "NUMBER(sme_mask)": self.sme, "SIZE(page)": release.page_bytes, "OFFSET(list_head.next)": 0,
                      "OFFSET(list_head.prev)": 8, "LENGTH(zone.free_area)": 11}
        self.info |= {f"OFFSET(page.{name})": at for name, at in release.members.items()}
        self.info |= {f"OFFSET(folio.{name})": at for name, at in release.folio.items()}
        self.info |= {f"NUMBER({name})": value for name, value in release.numbers.items()}
        self.info |= {f"SYMBOL({name})": f"{value:x}" for name, value in release.symbols.items()}

    def _sections(self, array: Mapping[int, int], static: bool = False) -> None:
        """mem_section entries: section -> virtual address of its struct pages."""
        root = self.take(P, P)
        entries = root if static else self.take(P, P)
        if not static:
            self.word(root, DIRECT + entries)
        for number, vaddr in array.items():
            self.word(entries + 16 * number, vaddr - (number << 15) * self.release.page_bytes + 0b1011)
        self.info |= {"SYMBOL(mem_section)": f"{DIRECT + root:x}", "SIZE(mem_section)": 16,
                      "OFFSET(mem_section.section_mem_map)": 0, "NUMBER(SECTION_SIZE_BITS)": 27,
                      "NUMBER(MAX_PHYSMEM_BITS)": 46, "LENGTH(mem_section)": 1 << 19 if static else 2048}

    def _model_vmemmap(self) -> None:
        for at in range(0, self.frames * self.release.page_bytes, LARGE):
            self.map(VMEMMAP + at, PAGES_AT + at, LARGE)
        self._sections({n: VMEMMAP + (n << 15) * self.release.page_bytes for n in range(-(-self.frames >> 15))})

    def _model_scattered(self) -> None:
        size = -(-self.frames * self.release.page_bytes // P) * P
        for at in range(0, size, P):
            self.map(VMEMMAP + at, PAGES_AT + size - P - at)
        self._sections({n: VMEMMAP + (n << 15) * self.release.page_bytes for n in range(-(-self.frames >> 15))})

    def _model_sparse(self) -> None:
        self._sections({n: DIRECT + PAGES_AT + (n << 15) * self.release.page_bytes
                        for n in range(-(-self.frames >> 15))})

    def _model_static(self) -> None:
        self._sections({n: DIRECT + PAGES_AT + (n << 15) * self.release.page_bytes
                        for n in range(-(-self.frames >> 15))}, static=True)

    def _model_flat(self) -> None:
        pointer = self.take(8)
        self.word(pointer, DIRECT + PAGES_AT)
        self.info["SYMBOL(mem_map)"] = f"{self.image(pointer):x}"

    def _model_nodes(self) -> None:
        table, half = self.take(16), self.frames // 2
        for number, first in enumerate((0, half)):
            node = self.take(64)
            self.word(table + 8 * number, DIRECT + node)
            self.word(node + 8, DIRECT + PAGES_AT + first * self.release.page_bytes)
            self.word(node + 16, first)
            self.word(node + 32, half)
        self.info |= {"SYMBOL(node_data)": f"{self.image(table):x}", "LENGTH(node_data)": 2,
                      "OFFSET(pglist_data.node_mem_map)": 8, "OFFSET(pglist_data.node_start_pfn)": 16,
                      "OFFSET(pglist_data.node_spanned_pages)": 32}

    # -- struct pages ---------------------------------------------------------------------------------------

    def _no_mapping(self) -> None:
        """_mapcount -1 in every struct page."""
        if self.model == "scattered":
            for pfn in range(self.frames):
                self._member(pfn, "_mapcount", NONE, 4)
            return
        size, offset = self.release.page_bytes, PAGES_AT + self.release.members["_mapcount"]
        np.ndarray((self.frames,), "<u4", self._ram, offset, (size,))[:] = NONE

    def _member(self, pfn: int, name: str, value: int, nbytes: int = 8) -> None:
        offset = pfn * self.release.page_bytes + self.release.members[name]
        for at, byte in enumerate(value.to_bytes(nbytes, self.abi.byteorder), offset):
            if self.model == "scattered":
                size = -(-self.frames * self.release.page_bytes // P) * P
                at = size - P - at // P * P + at % P
            self._ram[PAGES_AT + at] = byte

    def page(self, pfn: int, **members: int) -> None:
        """Set members of *pfn*'s struct page: `flags`, `mapping`, `private`, `mapcount`, `compound_head`, `lru`."""
        for name, value in members.items():
            if name == "mapcount":
                self._member(pfn, "_mapcount", value, 4)
            elif name == "compound_head" and "compound_info" in self.release.members:
                self._member(pfn, "compound_info", value)
            else:
                self._member(pfn, name, value)

    def free(self, pfn: int, order: int) -> None:
        """A free block, as the buddy allocator marks it."""
        self.page(pfn, mapcount=self.release.numbers["PAGE_BUDDY_MAPCOUNT_VALUE"] & 0xFFFF_FFFF, private=order)

    def free_lists(self, blocks: Sequence[tuple[int, int]]) -> dict[int, int]:
        """One node, one zone, its lists of free *blocks* (frame, order), as kernels before 3.10 have them.

        {frame: physical address of its list entry}.
        """
        lru, size = self.release.members["lru"], self.release.page_bytes
        node = self.take(11 * 24 + 128)
        self.word(node + 8, 1, 4)
        entries = {}
        for order in range(11):
            head = node + 64 + order * 24
            ring = [(head, DIRECT + head)]
            for pfn, its_order in blocks:
                if its_order == order:
                    entries[pfn] = PAGES_AT + pfn * size + lru
                    ring.append((entries[pfn], VMEMMAP + pfn * size + lru))
            for (paddr, vaddr), (following, next_vaddr) in zip(ring, [*ring[1:], ring[0]], strict=True):
                self.word(paddr, next_vaddr)
                self.word(following + 8, vaddr)
        self.info |= {"SYMBOL(contig_page_data)": f"{DIRECT + node:x}", "OFFSET(pglist_data.nr_zones)": 8,
                      "OFFSET(pglist_data.node_zones)": 32, "OFFSET(zone.free_area)": 32, "SIZE(zone)": 11 * 24 + 32,
                      "SIZE(free_area)": 24, "OFFSET(free_area.free_list)": 0, "SIZE(list_head)": 16}
        return entries

    def compound(self, pfn: int, order: int, *, hugetlb: bool = False, flags: int = 0, mapping: int = 0,
                 mapcount: int = NONE) -> None:
        """A compound page of 2**order frames, in the way of the release."""
        numbers, members = self.release.numbers, self.release.members
        second, size = pfn + 1, self.release.page_bytes
        if hugetlb and "PAGE_HUGETLB_MAPCOUNT_VALUE" in numbers:
            mapcount = numbers["PAGE_HUGETLB_MAPCOUNT_VALUE"] & 0xFFFF_FFFF
        self.page(pfn, flags=flags | HEAD, mapping=mapping, mapcount=mapcount)
        if "PAGE_HUGETLB_MAPCOUNT_VALUE" in numbers or "PG_hugetlb" in numbers:
            self.page(second, flags=order | (1 << numbers.get("PG_hugetlb", 8) if hugetlb else 0))
        elif self.release.folio:
            self._raw(second, self.release.folio["_folio_dtor"] - size, 2 if hugetlb else 1, 1)
            self._raw(second, self.release.folio["_folio_order"] - size, order, 1)
        elif "compound_order" in members:
            width = members["compound_order"] - members["compound_dtor"]
            self._raw(second, members["compound_dtor"], 2 if hugetlb else 1, width)
            self._raw(second, members["compound_order"], order, width)
        else:
            self._raw(second, members["lru"], self.release.symbols["free_huge_page"] if hugetlb else 0x1234, 8)
            self._raw(second, members["lru"] + 8, order, 8)
        if "compound_head" in members or "compound_info" in members:
            for tail in range(second, pfn + (1 << order)):
                self.page(tail, compound_head=VMEMMAP + pfn * size | 1)

    def _raw(self, pfn: int, offset: int, value: int, nbytes: int) -> None:
        self.write(PAGES_AT + pfn * self.release.page_bytes + offset, value.to_bytes(nbytes, self.abi.byteorder))
