"""What a struct page says of its page frame: the rules, as data that VMCOREINFO fills in (formats.md 5.2).

A rule exists when the kernel exported what it needs, never because of a release number.  What a rule cannot
decide is kept, and a `Gap` says so.
"""

from __future__ import annotations

import enum

import attrs
from attrs import field, frozen

from ddsdk.abi import Abi

from .kernelinfo import KernelInfo


class Kind(enum.IntFlag):
    """Why a page may be left out: one bit each.  The first five are the bits of `--dump-level` (makedumpfile's -d)."""

    ZERO = 1
    CACHE = 2
    PRIVATE_CACHE = 4
    USER = 8
    FREE = 16
    HWPOISON = 32
    OFFLINE = 64
    UNREADABLE = 128


#: Left out at every level: reading such a page is an accident, or impossible.
ALWAYS = Kind.HWPOISON | Kind.OFFLINE | Kind.UNREADABLE
MAX_LEVEL = 31
#: A page that fits several: the first of these is what it counts as.
PRECEDENCE = (Kind.FREE, Kind.CACHE, Kind.PRIVATE_CACHE, Kind.USER, Kind.HWPOISON, Kind.OFFLINE, Kind.UNREADABLE,
              Kind.ZERO)
#: Of `mapping`: an anonymous page; of `compound_head` (`compound_info` since 7.1): a tail page (page-flags.h).
FIRST_BIT = 1
#: The consequence of a gap that walking the allocator's lists can close.
FREE_KEPT = "free pages are kept"
#: Compound and free blocks of more pages are none that a kernel makes (16 GiB of 64 KiB pages are 2**18).
MAX_ORDER = 20


@frozen
class Gap:
    """Something that is not known.  `what` is missing, and `consequence`, which pages are kept for it."""

    what: str
    consequence: str

    def __str__(self) -> str:
        return f"{self.what}: {self.consequence}"


@frozen
class Column:
    """A member of struct page: `nbytes` (1, 4 or 8) at `offset`."""

    offset: int
    nbytes: int


class Hugetlb(enum.Enum):
    """How a hugetlb page shows, by generation."""

    NONE = "not exported"
    DTOR_ADDRESS = "destructor's address in the second page (before 4.4)"
    DTOR_NUMBER = "destructor's number in the second page (4.4 to 6.5)"
    FLAG = "PG_hugetlb in the second page's flags (6.6 to 6.8)"
    MAPCOUNT = "_mapcount of the head (6.9 and later)"


#: These generations tell a tail page by its compound_head; before, a tail looks like any other page.
_WITH_COMPOUND_HEAD = (Hugetlb.DTOR_NUMBER, Hugetlb.FLAG, Hugetlb.MAPCOUNT)


@frozen
class Compound:
    """Compound pages.  `order` and `dtor` are members of the *second* page; `order_mask` what of it counts."""

    head_mask: int
    order: Column
    order_mask: int
    hugetlb: Hugetlb
    dtor: Column | None = None
    dtor_value: int = 0


@frozen
class PageRules:
    """The rules of one kernel.  A member that is None is not exported, and what depends on it does not apply.

    Flags are masks of the low 32 bits of `flags`; `*_count` values of `_mapcount` as 32 unsigned bits.
    """

    page_bytes: int
    flags: Column | None = None
    mapcount: Column | None = None
    private: Column | None = None
    mapping: Column | None = None
    compound_head: Column | None = None
    lru: int | None = None
    private_flag: int | None = None
    swapcache: int | None = None
    swapbacked: int | None = None
    slab_flag: int | None = None
    slab_count: int | None = None
    hwpoison: int | None = None
    offline_count: int | None = None
    buddy_count: int | None = None
    buddy_orders: int | None = None
    unaccepted_count: int | None = None
    compound: Compound | None = None
    gaps: tuple[Gap, ...] = field(default=())

    @property
    def knows_slab(self) -> bool:
        """Slab pages use `_mapcount` and `mapping` for their own ends; they must be told apart first."""
        return self.slab_flag is not None or self.slab_count is not None


def page_rules(abi: Abi, info: KernelInfo) -> PageRules | None:
    """The rules of the kernel that wrote *info*; None when it exports no struct page."""
    size = info.struct_page_bytes
    if size is None or size % abi.word_bytes:
        return None
    low = 4 if abi.byteorder == "big" and abi.word_bytes == 8 else 0
    last = abi.word_bytes - 1 if abi.byteorder == "big" else 0

    def column(nbytes: int, shift: int, *names: str) -> Column | None:
        offsets = (info.offset(f"page.{name}") for name in names)
        return next((Column(offset + shift, nbytes) for offset in offsets
                     if offset is not None and offset + shift + nbytes <= size), None)

    flags = column(4, low, "flags")
    mapcount = column(4, 0, "_mapcount")
    rules = PageRules(
        page_bytes=size, flags=flags, mapcount=mapcount, private=column(abi.word_bytes, 0, "private"),
        mapping=column(1, last, "mapping"), compound_head=column(1, last, "compound_head", "compound_info"),
        lru=_mask(info, "PG_lru"), private_flag=_mask(info, "PG_private"), swapcache=_mask(info, "PG_swapcache"),
        swapbacked=_mask(info, "PG_swapbacked"), slab_flag=_mask(info, "PG_slab"),
        slab_count=_count(info, "PAGE_SLAB_MAPCOUNT_VALUE"), hwpoison=_mask(info, "PG_hwpoison"),
        offline_count=_count(info, "PAGE_OFFLINE_MAPCOUNT_VALUE"),
        buddy_count=_count(info, "PAGE_BUDDY_MAPCOUNT_VALUE"),
        buddy_orders=info.length("zone.free_area"), unaccepted_count=_count(info, "PAGE_UNACCEPTED_MAPCOUNT_VALUE"),
        compound=_compound(abi, info, size, low) if flags is not None else None)
    return _with_gaps(rules)


def _mask(info: KernelInfo, name: str) -> int | None:
    bit = info.bit(name)
    return None if bit is None else 1 << bit


def _count(info: KernelInfo, name: str) -> int | None:
    value = info.number(name)
    return None if value is None else value & 0xFFFF_FFFF


def _compound(abi: Abi, info: KernelInfo, size: int, low: int) -> Compound | None:
    """How this kernel keeps order and kind of a compound page: the newest way whose keys are there."""
    head = info.number("PG_head_mask")
    flags = info.offset("page.flags")
    if head is None or not 0 < head < 1 << 32 or flags is None:
        return None
    flags_of_second = Column(flags + low, 4)
    if info.number("PAGE_HUGETLB_MAPCOUNT_VALUE") is not None:
        return Compound(head, flags_of_second, 0xFF, Hugetlb.MAPCOUNT,
                        dtor_value=_count(info, "PAGE_HUGETLB_MAPCOUNT_VALUE") or 0)
    hugetlb = info.bit("PG_hugetlb")
    if hugetlb is not None:
        return Compound(head, flags_of_second, 0xFF, Hugetlb.FLAG, flags_of_second, 1 << hugetlb)
    for prefix, base in (("folio._folio_", size), ("page.compound_", 0)):
        order, dtor = info.offset(f"{prefix}order"), info.offset(f"{prefix}dtor")
        if order is None or dtor is None:
            continue
        width = order - dtor                    # neighbours: bytes since 4.16, ints or shorts before
        if width not in (1, 2, 4) or not 0 <= dtor - base <= size - 2 * width:
            return None
        number = info.number("HUGETLB_PAGE_DTOR")
        return Compound(head, Column(order - base, width), (1 << 8 * width) - 1,
                        Hugetlb.NONE if number is None else Hugetlb.DTOR_NUMBER, Column(dtor - base, width),
                        number or 0)
    lru, following, before = (info.offset(name) for name in ("page.lru", "list_head.next", "list_head.prev"))
    if lru is None or following is None or before is None:
        return None
    word, address = abi.word_bytes, info.symbol("free_huge_page")
    return Compound(head, Column(lru + before, word), (1 << 8 * word) - 1,
                    Hugetlb.NONE if address is None else Hugetlb.DTOR_ADDRESS, Column(lru + following, word),
                    address or 0)


def _with_gaps(rules: PageRules) -> PageRules:
    """*rules* without what cannot be applied, and with a line for each."""
    gaps = []

    def missing(what: str, consequence: str) -> None:
        gaps.append(Gap(f"VMCOREINFO has no {what}", consequence))

    changes: dict[str, None] = {}
    compound = rules.compound
    tails_unknown = compound is not None and compound.hugetlb in _WITH_COMPOUND_HEAD and rules.compound_head is None
    if rules.flags is None or tails_unknown:
        missing("OFFSET(page.flags)" if rules.flags is None else "OFFSET(page.compound_head)",
                "only zero pages are left out")
        return PageRules(page_bytes=rules.page_bytes, gaps=tuple(gaps))
    if rules.lru is None or rules.private_flag is None or rules.mapping is None:
        missing("NUMBER(PG_lru), NUMBER(PG_private) or OFFSET(page.mapping)", "cache pages are kept")
        changes |= dict.fromkeys(("lru", "swapcache"))
    elif rules.swapbacked is None and rules.swapcache is not None and rules.swapcache < rules.private_flag:
        # 4.10 gave PG_swapcache the number of PG_owner_priv_1; before, it came after PG_private and stood for itself
        missing("NUMBER(PG_swapbacked)", "swap cache pages that are on no LRU list are kept")
        changes["swapcache"] = None
    if rules.mapping is None:
        missing("OFFSET(page.mapping)", "user pages are kept")
    if not rules.knows_slab:
        missing("NUMBER(PG_slab)", "offline pages, and user pages that are on no LRU list, are kept, because slab "
                "pages may look like them")
        changes |= dict.fromkeys(("buddy_count", "offline_count"))
    if None in (rules.buddy_count, rules.private, rules.mapcount, rules.buddy_orders) or not rules.knows_slab:
        missing("NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE), OFFSET(page._mapcount), OFFSET(page.private), NUMBER(PG_slab) or "
                "LENGTH(zone.free_area)", FREE_KEPT)
        changes["buddy_count"] = None
    if compound is None:
        missing("NUMBER(PG_head_mask), or no place of a compound page's order", "hugetlb pages, and all but the first "
                "of a huge page, are kept")
    if rules.mapcount is None:
        changes |= dict.fromkeys(("buddy_count", "offline_count", "unaccepted_count", "slab_count"))
    if rules.buddy_orders is None:
        changes["unaccepted_count"] = None
    return attrs.evolve(rules, gaps=tuple(gaps), **changes)  # type: ignore[arg-type]
