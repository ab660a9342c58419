"""Where struct pages lie: every memory model says the same about the same pages."""

from __future__ import annotations

import mmap

import numpy as np
import pytest
from attrs import evolve

from ddsdk.abi import I386, PPC64, Abi
from ddsdk.errors import FormatError
from ddsdk.vmcore.classify import classify, classify_every_level
from ddsdk.vmcore.image import MemoryExtent, MemorySource
from ddsdk.vmcore.memmap import MemoryMap, memory_map
from ddsdk.vmcore.pagetable import kernel_space
from ddsdk.vmcore.vmcoreinfo import build
from tests.vmcore.kernel import DIRECT, LRU, PAGES_AT, V3_10, V4_19, VMEMMAP, Kernel, P

MODELS = ("vmemmap", "scattered", "sparse", "static", "flat", "nodes")


def map_of(kernel: Kernel) -> MemoryMap:
    """The kernel's memory map."""
    memory = kernel.source()
    return memory_map(memory, kernel_space(memory))


@pytest.mark.parametrize("page_bytes", [64, 56])
@pytest.mark.parametrize("model", MODELS)
def test_every_model_finds_every_page(model: str, page_bytes: int) -> None:
    """The same pages go; struct pages of 56 bytes lie across pages."""
    kernel = Kernel(evolve(V4_19, page_bytes=page_bytes), model)
    marked = [1, 73, 74, 5000, 20479, 20480, 32767, 32768, 40959]
    for pfn in marked:
        kernel.page(pfn, flags=LRU)
    kernel.free(1024, 9)
    answer = classify(kernel.source(), 18)
    assert answer.gaps == ()
    gone = set(range(kernel.frames)) - set(answer.kept.frames(0, kernel.frames).tolist())
    assert gone == {*marked, *range(1024, 1024 + 512)}


def test_contiguous_arrays_are_views() -> None:
    """No byte of them is copied."""
    kernel = Kernel()
    memory = kernel.source()
    found = memory_map(memory, kernel_space(memory))
    scratch = np.zeros(32768 * 64, np.uint8)
    (pfn, rows), = found.pieces(0, 32768, scratch)
    assert (pfn, rows.shape) == (0, (32768, 64))
    assert np.shares_memory(rows, np.frombuffer(memory.view(PAGES_AT, 64), np.uint8))
    (pfn, rows), = found.pieces(32800, 100, scratch)
    assert (pfn, rows.shape) == (32800, (100, 64))
    assert found.model == "SPARSEMEM, EXTREME"


def test_frames_whose_struct_page_is_not_there_are_left_out() -> None:
    """A page of struct pages that is not mapped: its frames stay, and those that lie half in it."""
    kernel = Kernel(evolve(V4_19, page_bytes=56), "scattered")
    for pfn in range(60, 240):
        kernel.page(pfn, flags=LRU)
    kernel.map(VMEMMAP + P, 1 << 45)                # frames 73 (half) to 146 (half)
    found = map_of(kernel).pieces(0, 300, np.full(32768 * 56, 0xFF, np.uint8))
    assert [(pfn, len(rows)) for pfn, rows in found] == [(0, 73), (147, 153)]
    answer = classify(kernel.source(), 2)
    assert list(answer.kept.runs()) == [(0, 60), (73, 74), (240, kernel.frames - 240)]


def test_the_symbol_may_be_a_pointer_to_the_roots() -> None:
    """4.15 and later, from a vmlinux."""
    kernel = Kernel()
    pointer = kernel.take(8)
    kernel.word(pointer, int(str(kernel.info["SYMBOL(mem_section)"]), 16))
    kernel.info["SYMBOL(mem_section)"] = f"{DIRECT + pointer:x}"
    kernel.page(40959, flags=LRU)
    assert 40959 not in classify(kernel.source(), 2).kept


def test_old_x86_64_kernels_do_not_say_their_sections() -> None:
    """128 MiB each, since ever."""
    kernel = Kernel(V3_10)
    for key in ("NUMBER(SECTION_SIZE_BITS)", "NUMBER(MAX_PHYSMEM_BITS)"):
        del kernel.info[key]
    kernel.page(40959, flags=LRU)
    assert 40959 not in classify(kernel.source(), 2).kept


@pytest.mark.parametrize(("bend", "says"), [
    ({"SYMBOL(mem_section)": "1000"}, "leads nowhere"),
    ({"SYMBOL(mem_section)": f"{DIRECT + 0x3000:x}"}, "leads nowhere"),
    ({"SIZE(mem_section)": "x"}, "does not tell SPARSEMEM's layout"),
    ({"SIZE(mem_section)": 1 << 20}, "does not tell SPARSEMEM's layout"),
    ({"NUMBER(SECTION_SIZE_BITS)": 3}, "sections of this memory"),
    ({"NUMBER(SECTION_SIZE_BITS)": 63}, "leads nowhere"),
    ({"OFFSET(mem_section.section_mem_map)": 9}, "leads nowhere"),
    ({"SIZE(page)": 7}, "SIZE(page)=7"), ({"SIZE(page)": 8}, "SIZE(page)=8")])
def test_a_damaged_map_is_refused_in_one_line(bend: dict[str, object], says: str) -> None:
    """What is not known is not used."""
    kernel = Kernel()
    kernel.info |= bend
    with pytest.raises(FormatError) as caught:
        map_of(kernel)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_sections_that_are_not_present_have_no_pages() -> None:
    """Bit 0 of section_mem_map."""
    kernel = Kernel()
    roots = int(str(kernel.info["SYMBOL(mem_section)"]), 16) - DIRECT
    entries = int.from_bytes(kernel.source().view(roots, 8), "little")
    kernel.word(entries - DIRECT + 16, 0)
    kernel.page(40959, flags=LRU)
    kernel.page(5, flags=LRU)
    assert list(classify(kernel.source(), 2).kept.runs()) == [(0, 5), (6, kernel.frames - 6)]


def test_nodes_that_overlap_are_damage() -> None:
    """It is not known whose struct page counts."""
    kernel = Kernel(model="nodes")
    table = int(str(kernel.info["SYMBOL(node_data)"]), 16) - kernel.image(0)
    node = int.from_bytes(kernel.source().view(table + 8, 8), "little") - DIRECT
    kernel.word(node + 16, 3)
    with pytest.raises(FormatError, match="overlap at 0x3"):
        map_of(kernel)


def other_machine(abi: Abi) -> MemorySource:
    """FLATMEM of 64 frames: 3 is cache, 4 to 7 a free block, 9 anonymous, 16 to 19 an anonymous compound page."""
    word, order = abi.word_bytes, abi.byteorder
    ram = mmap.mmap(-1, 64 * abi.page_size)
    size, base = 8 * word, 0xC000_0000 if word == 4 else 0xC000_0000_0000_0000

    def put(at: int, value: int, nbytes: int = word) -> None:
        ram[at:at + nbytes] = value.to_bytes(nbytes, order)

    def page(pfn: int, member: int, value: int, nbytes: int = word) -> None:
        put(0x8000 + pfn * size + member * word, value, nbytes)

    for number in range(64):
        page(number, 3, 0xFFFF_FFFF, 4)
    page(3, 0, LRU)
    page(4, 3, 0xFFFF_FF80, 4)
    page(4, 6, 2)
    page(9, 1, 0x1001)
    page(16, 0, 1 << 14)
    page(16, 1, 0x1001)
    for tail in range(17, 20):
        page(tail, 4, 0x8001)
    page(17, 5, 1, 2)
    page(17, 5, 1, 2)
    put(0x8000 + 17 * size + 5 * word + 2, 2, 2)
    put(0x2000, base + 0x8000)
    if abi is I386:
        put(0x1000 + 4 * 768, 0x83)             # 4 MiB at 3 GiB
    info = {"SYMBOL(mem_map)": f"{base + 0x2000:x}", "SIZE(page)": size, "OFFSET(page.flags)": 0,
            "OFFSET(page.mapping)": word, "OFFSET(page._mapcount)": 3 * word, "OFFSET(page.compound_head)": 4 * word,
            "OFFSET(page.compound_dtor)": 5 * word, "OFFSET(page.compound_order)": 5 * word + 2,
            "OFFSET(page.private)": 6 * word, "NUMBER(PG_lru)": 4, "NUMBER(PG_private)": 11, "NUMBER(PG_slab)": 7,
            "NUMBER(PG_swapcache)": 16, "NUMBER(PG_head_mask)": 1 << 14, "NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)": -128,
            "NUMBER(HUGETLB_PAGE_DTOR)": 2, "LENGTH(zone.free_area)": 11,
            "SYMBOL(swapper_pg_dir)": f"{base + 0x1000:x}"}
    return MemorySource(abi, (MemoryExtent(0, len(ram), memoryview(ram).toreadonly()),), (), build(info), abi.name)


@pytest.mark.parametrize("abi", [I386, PPC64], ids=lambda abi: abi.name)
def test_other_word_sizes_and_byte_orders(abi: Abi) -> None:
    """i386 by its page tables, big-endian ppc64 by its linear map."""
    found = classify_every_level(other_machine(abi))
    assert found.gaps == ()
    gone = {level: sorted(set(range(64)) - set(found.at(level).kept.frames(0, 64).tolist())) for level in (2, 8, 16)}
    assert gone == {2: [3], 8: [9, 16, 17, 18, 19], 16: [4, 5, 6, 7]}
