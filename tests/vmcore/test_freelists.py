"""Free pages by the allocator's lists, for kernels before 3.10."""

from __future__ import annotations

import pytest

from ddsdk.vmcore.classify import classify, classify_every_level
from ddsdk.vmcore.levels import Classification
from ddsdk.vmcore.pageflags import FREE_KEPT, Kind
from tests.vmcore.kernel import DIRECT, LRU, V2_6_24, V4_19, VMEMMAP, Kernel

BLOCKS = ((1024, 10), (5, 0), (7, 0), (32770, 1), (512, 9), (6, 0))
SIZE, LRU_AT = V2_6_24.page_bytes, V2_6_24.members["lru"]


def free_kept(answer: Classification) -> list[str]:
    """Why free pages are kept; nothing else is left out."""
    assert answer.kept_pages == answer.total_pages
    return [gap.what for gap in answer.gaps if gap.consequence == FREE_KEPT]


@pytest.mark.parametrize("release", [V2_6_24, V4_19], ids=lambda release: release.name)
def test_every_block_of_every_list_is_free(release: object) -> None:
    """And no line says that anything is missing."""
    kernel = Kernel(release)                            # type: ignore[arg-type]
    kernel.info.pop("NUMBER(PAGE_BUDDY_MAPCOUNT_VALUE)", None)
    kernel.free_lists(BLOCKS)
    kernel.page(20, flags=LRU)
    answer = classify(kernel.source(), 18)
    assert list(answer.kept.runs()) == [(0, 5), (8, 12), (21, 491), (2048, 32770 - 2048), (32772, 40960 - 32772)]
    assert (answer.counts[Kind.FREE], answer.counts[Kind.CACHE]) == (1024 + 512 + 3 + 2, 1)
    assert FREE_KEPT not in [gap.consequence for gap in answer.gaps]
    assert classify_every_level(kernel.source()).at(18).kept == answer.kept


@pytest.mark.parametrize("value", [
    0, 1, 0x1234, DIRECT + 64, VMEMMAP + 5 * SIZE + LRU_AT, VMEMMAP + 7 * SIZE + LRU_AT + 8,
    VMEMMAP + (1 << 40), (1 << 64) - 1, VMEMMAP + 40960 * SIZE + LRU_AT])
def test_a_torn_list_is_not_believed(value: int) -> None:
    """Nowhere, to itself, into the middle of a struct page, past the last one: all free pages stay, and one line."""
    kernel = Kernel(V2_6_24)
    entries = kernel.free_lists(BLOCKS)
    kernel.word(entries[7], value)
    why, = free_kept(classify(kernel.source(), 16))
    assert "list of order 0 at" in why or "lists lead to" in why
    assert "\n" not in why


def test_a_link_that_leaves_a_block_out_is_found_out() -> None:
    """The next one does not lead back."""
    kernel = Kernel(V2_6_24)
    entries = kernel.free_lists(BLOCKS)
    kernel.word(entries[5], VMEMMAP + 6 * SIZE + LRU_AT)        # over 7
    why, = free_kept(classify(kernel.source(), 16))
    assert "list of order 0 at" in why


def test_a_block_where_none_can_be_is_not_believed() -> None:
    """A block of order 9 starts at a multiple of 512."""
    kernel = Kernel(V2_6_24)
    kernel.free_lists([(513, 9)])
    why, = free_kept(classify(kernel.source(), 16))
    assert "list of order 9" in why


@pytest.mark.parametrize(("bend", "says"), [
    ({"SIZE(zone)": None}, "VMCOREINFO has no SIZE(zone) that is one"),
    ({"SYMBOL(contig_page_data)": None}, "VMCOREINFO names no node"),
    ({"SYMBOL(contig_page_data)": "10"}, "which is not in memory"),
    ({"OFFSET(pglist_data.nr_zones)": 64}, "zones"), ({"LENGTH(zone.free_area)": 40}, "LENGTH(zone.free_area)")])
def test_lists_that_cannot_be_found(bend: dict[str, object], says: str) -> None:
    """One line, and free pages stay."""
    kernel = Kernel(V2_6_24)
    kernel.free_lists(BLOCKS)
    kernel.info = {key: value for key, value in (kernel.info | bend).items() if value is not None}
    why, = free_kept(classify(kernel.source(), 16))
    assert says in why
