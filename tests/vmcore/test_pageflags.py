"""Every row of formats.md 5.3 (decisions measured with makedumpfile), on every generation of struct page."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from attrs import evolve

from ddsdk.abi import X86_64
from ddsdk.vmcore.classify import classify, classify_every_level
from ddsdk.vmcore.kernelinfo import KernelInfo
from ddsdk.vmcore.levels import EveryLevel
from ddsdk.vmcore.pageflags import Hugetlb, Kind, PageRules, page_rules
from ddsdk.vmcore.vmcoreinfo import build
from tests.vmcore.kernel import (
    ANON,
    HWPOISON,
    LRU,
    OFFLINE,
    OLD_SWAPCACHE,
    PRIVATE,
    RELEASES,
    SLAB,
    SWAPBACKED,
    SWAPCACHE,
    V2_6_24,
    V3_10,
    V3_16,
    V4_4,
    V4_19,
    V6_3,
    V6_6,
    V6_9,
    V6_12,
    V7_1,
    Kernel,
    Release,
)

AT = 512
LEVELS = (0, 1, 2, 4, 8, 16, 31)
Make = Callable[[Kernel], object]

#: (kind of page, how many frames, how it is made, kept at LEVELS: K or x).  "anon + slab" follows makedumpfile's head:
#: 1.7.2 drops it at 8, and a slab page is the kernel's.
ROWS: tuple[tuple[str, int, Make, str], ...] = (
    ("plain kernel page", 1, lambda k: None, "KKKKKKK"),
    ("LRU", 1, lambda k: k.page(AT, flags=LRU), "KKxxKKx"),
    ("LRU + private", 1, lambda k: k.page(AT, flags=LRU | PRIVATE), "KKKxKKx"),
    ("LRU + anon", 1, lambda k: k.page(AT, flags=LRU, mapping=ANON), "KKKKxKx"),
    ("LRU + anon + private", 1, lambda k: k.page(AT, flags=LRU | PRIVATE, mapping=ANON), "KKKKxKx"),
    ("swapcache only", 1, lambda k: k.page(AT, flags=SWAPCACHE), "KKKKKKK"),
    ("swapbacked only", 1, lambda k: k.page(AT, flags=SWAPBACKED), "KKKKKKK"),
    ("swapcache + swapbacked", 1, lambda k: k.page(AT, flags=SWAPCACHE | SWAPBACKED), "KKxxKKx"),
    ("anon, not LRU", 1, lambda k: k.page(AT, mapping=ANON), "KKKKxKx"),
    ("anon + slab", 1, lambda k: k.page(AT, flags=SLAB, mapping=ANON), "KKKKKKK"),
    ("hwpoison", 1, lambda k: k.page(AT, flags=HWPOISON), "xxxxxxx"),
    ("offline", 1, lambda k: k.page(AT, mapcount=OFFLINE), "xxxxxxx"),
    ("offline + slab", 1, lambda k: k.page(AT, flags=SLAB, mapcount=OFFLINE), "KKKKKKK"),
    ("private only", 1, lambda k: k.page(AT, flags=PRIVATE), "KKKKKKK"),
    ("buddy, order 2", 4, lambda k: k.free(AT, 2), "KKKKKxx"),
    ("buddy, order 10", 1024, lambda k: k.free(AT * 2, 10), "KKKKKxx"),
    ("buddy, impossible order", 4, lambda k: k.free(AT, 11), "KKKKKKK"),
    ("buddy, absurd order", 4, lambda k: k.free(AT, 1 << 63), "KKKKKKK"),
    ("buddy, not at a multiple of its size", 4, lambda k: k.free(AT + 1, 2), "KKKKKKK"),
    ("buddy + slab", 4, lambda k: (k.free(AT, 2), k.page(AT, flags=SLAB)), "KKKKKKK"),
    ("hugetlb head and tails", 512, lambda k: k.compound(AT, 9, hugetlb=True), "KKKKxKx"),
    ("THP, anonymous", 512, lambda k: k.compound(AT, 9, flags=LRU, mapping=ANON), "KKKKxKx"),
    ("THP of a file", 512, lambda k: k.compound(AT, 9, flags=LRU), "KKxxKKx"),
    ("slab compound whose tails look like something", 8, lambda k: (
        k.compound(AT, 3, flags=SLAB), k.page(AT + 3, flags=LRU | HWPOISON, mapping=ANON)), "KKKKKKK"),
    ("slab compound", 8, lambda k: k.compound(AT, 3, flags=SLAB, mapping=ANON), "KKKKKKK"),
)


def kept_at(found: EveryLevel, pfn: int, frames: int) -> str:
    """K or x for each of LEVELS; ? where the frames do not share one fate."""
    letters = ""
    for level in LEVELS:
        flags = found.at(level).kept.flags(pfn, frames)
        letters += "K" if flags.all() else "?" if flags.any() else "x"
    return letters


def filled(kernel: Kernel, pfn: int, frames: int) -> None:
    """Something in every page, so that none is a zero page."""
    for at in range(pfn, pfn + frames):
        kernel.write(at * 4096, b"x")


@pytest.mark.parametrize(("kind", "frames", "make", "expected"), ROWS, ids=[row[0] for row in ROWS])
def test_each_measured_decision(kind: str, frames: int, make: Make, expected: str) -> None:
    """What a page is decides at which levels it stays, and nothing beside it goes."""
    kernel = Kernel()
    pfn = AT * 2 if "order 10" in kind else AT
    filled(kernel, pfn - 1, frames + 2)
    make(kernel)
    found = classify_every_level(kernel.source())
    assert kept_at(found, pfn, frames) == expected
    beside = found.at(31).kept
    assert pfn - 1 in beside
    assert pfn + frames in beside


def test_a_zero_page_goes_at_odd_levels_only() -> None:
    """One byte anywhere in it keeps it."""
    kernel = Kernel()
    for pfn, at in ((AT + 1, 0), (AT + 2, 2048), (AT + 3, 4095), (AT + 4, 1001)):
        kernel.write(pfn * 4096 + at, b"\1")
    found = classify_every_level(kernel.source())
    assert kept_at(found, AT, 1) == "KxKKKKx"
    for pfn in range(AT + 1, AT + 5):
        assert kept_at(found, pfn, 1) == "KKKKKKK"
    assert kept_at(found, AT + 5, 1) == "KxKKKKx"


@pytest.mark.parametrize("release", RELEASES, ids=[release.name for release in RELEASES])
def test_compound_pages_of_every_release(release: Release) -> None:
    """Order and kind of a compound page, wherever the release keeps them; nothing is missing."""
    kernel = Kernel(release)
    filled(kernel, 0, 4096)
    slab = {"mapcount": 0xF500_0000} if "PAGE_SLAB_MAPCOUNT_VALUE" in release.numbers and (
        "PG_slab" not in release.numbers) else {"flags": SLAB}
    kernel.compound(512, 9, hugetlb=True)
    kernel.compound(1024, 9, flags=LRU, mapping=ANON)
    kernel.compound(1536, 2, flags=LRU)
    kernel.compound(1540, 2, mapping=ANON, **slab)
    kernel.free(2048, 10)
    kernel.page(3500, mapping=ANON)
    found = classify_every_level(kernel.source())
    assert found.gaps == ()
    kept = "KKKKxKx", "KKKKxKx", "KKxxKKx", "KKKKKKK", "KKKKKxx", "KKKKxKx"
    frames = (512, 512), (1024, 512), (1536, 4), (1540, 4), (2048, 1024), (3500, 1)
    assert tuple(kept_at(found, *where) for where in frames) == kept
    counts, left = found.counts(30)
    assert counts[Kind.USER], counts[Kind.CACHE] == (512 + 512 + 1, 4)
    assert counts[Kind.FREE] == 1024
    assert left == kernel.frames - 1025 - 4 - 1024


GENERATIONS = ((V3_10, None), (V3_16, Hugetlb.DTOR_ADDRESS), (V4_4, Hugetlb.DTOR_NUMBER), (V4_19, Hugetlb.DTOR_NUMBER),
               (V6_3, Hugetlb.DTOR_NUMBER), (V6_6, Hugetlb.FLAG), (V6_9, Hugetlb.MAPCOUNT),
               (V6_12, Hugetlb.MAPCOUNT), (V7_1, Hugetlb.MAPCOUNT))


def rules_of(kernel: Kernel) -> PageRules:
    """The rules its VMCOREINFO makes."""
    rules = page_rules(X86_64, KernelInfo.of(build(kernel.info)))
    assert rules is not None
    return rules


@pytest.mark.parametrize(("release", "hugetlb"), GENERATIONS, ids=[release.name for release, _ in GENERATIONS])
def test_the_generation_shows_in_the_keys(release: Release, hugetlb: Hugetlb | None) -> None:
    """The release's name is not looked at."""
    kernel = Kernel(release)
    kernel.info["OSRELEASE"] = "unheard of"
    compound = rules_of(kernel).compound
    assert (compound and compound.hugetlb) is hugetlb


def test_order_fields_are_as_wide_as_they_are_apart() -> None:
    """Ints in 4.4, bytes since 4.16."""
    orders = [compound.order.nbytes for release in (V4_4, V4_19) if (compound := rules_of(Kernel(release)).compound)]
    assert orders == [4, 1]


def test_a_kernel_before_the_buddy_value_keeps_its_free_pages_and_says_so() -> None:
    """2.6.24 exports four flags: cache and user pages on the LRU go, free pages stay."""
    kernel = Kernel(V2_6_24)
    filled(kernel, AT, 4)
    kernel.page(AT, flags=LRU)
    kernel.page(AT + 1, flags=LRU, mapping=ANON)
    kernel.page(AT + 2, mapping=ANON)                   # perhaps a slab page: it stays
    kernel.page(AT + 3, flags=OLD_SWAPCACHE)            # no PG_swapbacked in this kernel
    found = classify_every_level(kernel.source())
    kept = [kept_at(found, AT + n, 1) for n in range(4)]
    assert kept == ["KKxxKKx", "KKKKxKx", "KKKKKKK", "KKxxKKx"]
    assert [str(gap) for gap in found.gaps] == [
        "VMCOREINFO has no NUMBER(PG_slab): offline pages, and user pages that are on no LRU list, are kept, because "
        "slab pages may look like them",
        "VMCOREINFO has no NUMBER(PG_head_mask), or no place of a compound page's order: hugetlb pages, and all but "
        "the first of a huge page, are kept",
        "VMCOREINFO has no OFFSET(pglist_data.node_zones) that is one: free pages are kept"]


@pytest.mark.parametrize(("missing", "says"), [
    ("OFFSET(page.flags)", "VMCOREINFO has no OFFSET(page.flags): only zero pages are left out"),
    ("OFFSET(page.compound_head)", "VMCOREINFO has no OFFSET(page.compound_head): only zero pages are left out"),
    ("OFFSET(page.private)", "free pages are kept"), ("LENGTH(zone.free_area)", "free pages are kept"),
    ("NUMBER(PG_private)", "cache pages are kept"),
    ("NUMBER(PG_swapbacked)", "swap cache pages that are on no LRU list"),
    ("NUMBER(PG_head_mask)", "hugetlb pages, and all but"),
    ("OFFSET(page.mapping)", "cache pages are kept"), ("SIZE(page)", "VMCOREINFO has no SIZE(page)"),
    ("SYMBOL(mem_section)", "VMCOREINFO names no memory map"), ("SYMBOL(swapper_pg_dir)", "page tables are not where")])
def test_what_is_not_exported_is_kept(missing: str, says: str) -> None:
    """One line says what is missing and what is kept because of it."""
    kernel = Kernel()
    filled(kernel, AT, 1)
    kernel.page(AT, flags=LRU)
    kernel.free(AT * 2, 3)
    kernel.page(AT * 3, flags=SWAPCACHE)
    del kernel.info[missing]
    answer = classify(kernel.source(), 30)
    assert any(says in str(gap) for gap in answer.gaps), answer.gaps
    expected = {"free pages are kept": 1, "cache pages are kept": 8, "hugetlb pages, and all but": 9,
                "swap cache pages that are on no LRU list": 9}.get(says, 0)
    assert answer.total_pages - answer.kept_pages == expected


def test_without_vmcoreinfo_only_zero_pages_go() -> None:
    """A raw image, an old dump: one line."""
    kernel = Kernel()
    kernel.page(AT, flags=LRU)
    memory = kernel.source()
    memory.vmcoreinfo = None
    assert classify(memory, 30).kept_pages == kernel.frames
    answer = classify(memory, 31)
    assert answer.counts[Kind.ZERO] == kernel.frames - answer.kept_pages > 30000
    assert [str(gap) for gap in answer.gaps] == [
        "there is no VMCOREINFO, so nothing tells what the kernel used a page for: only zero pages can be left out"]


def test_an_unaccepted_block_is_free() -> None:
    """Of the largest order there is; one that starts elsewhere is nothing known."""
    kernel = Kernel(V6_12)
    kernel.page(2048, mapcount=0xF800_0000)
    kernel.page(5000, mapcount=0xF800_0000)
    answer = classify(kernel.source(), 16)
    assert list(answer.kept.runs()) == [(0, 2048), (3072, kernel.frames - 3072)]


def test_a_gigantic_page_goes_over_the_seam_of_windows() -> None:
    """2**16 frames are more than are judged at once; the tails that follow are its own."""
    kernel = Kernel(evolve(V6_9), frames=3 << 15)
    kernel.info["LENGTH(zone.free_area)"] = 17
    kernel.page(0, mapcount=0xFFFF_FF7F, private=16)
    kernel.page(70000, flags=LRU)
    found = classify_every_level(kernel.source())
    assert list(found.at(16).kept.runs()) == [(1 << 16, 1 << 15)]
    assert list(found.at(18).kept.runs()) == [(1 << 16, 70000 - (1 << 16)), (70001, (3 << 15) - 70001)]
    assert found.counts(18)[0][Kind.FREE] == 1 << 16


def test_frames_that_are_no_ram_are_neither_kept_nor_counted() -> None:
    """A block that hangs over a hole ends there; a run that starts anywhere is judged from its first frame."""
    kernel = Kernel(runs=((0, 1001), (1004, 31), (4099, 30000), (36000, 4960)))
    kernel.free(1000, 3)
    kernel.page(1010, flags=LRU)
    kernel.page(4099, flags=LRU)
    kernel.page(40959, flags=LRU)
    kernel.free(512 * 66, 9)                            # its last 205 frames are no RAM
    found = classify_every_level(kernel.source())
    answer = found.at(18)
    assert list(answer.kept.runs()) == [(0, 1000), (1008, 2), (1011, 24), (4100, 512 * 66 - 4100),
                                        (36000, 4959)]
    assert answer.total_pages == 1001 + 31 + 30000 + 4960
    assert answer.kept_pages == answer.kept.count()


def test_impossible_orders_are_counted_in_one_line() -> None:
    """And level 2 alone does not take such a page either: what it is is not known."""
    kernel = Kernel()
    filled(kernel, AT, 1)
    kernel.free(AT, 12)
    kernel.page(AT, flags=LRU)
    answer = classify(kernel.source(), 31)
    assert AT in answer.kept
    assert str(answer.gaps[0]).startswith("1 free blocks have an order that the kernel does not have: they are kept")
