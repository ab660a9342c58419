"""Sets of page frames, one bit a frame."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsdk.vmcore.pagemap import PageMap

TOP = 3_000_000


@st.composite
def maps(draw: st.DrawFn) -> tuple[PageMap, set[int]]:
    """A small map, and the same as a set."""
    top = draw(st.integers(1, 300))
    frames = draw(st.sets(st.integers(0, top - 1)))
    return PageMap.of_runs([(pfn, 1) for pfn in frames], top), frames


def test_the_least_significant_bit_is_the_first_frame() -> None:
    """Frames 0 to 3, 6 and 7 are the byte cf (formats.md 9.4)."""
    assert PageMap.of_runs([(0, 4), (6, 2)], 8).bits.tolist() == [0xCF]


@pytest.mark.parametrize("runs", [
    [], [(0, TOP)], [(TOP - 1, 1)], [(1_048_575, 2), (2_097_152, 1)], [(5, 1), (7, 9), (17, 1_999_999)]])
def test_runs_come_back(runs: list[tuple[int, int]]) -> None:
    """Over the seams of the pieces, up to the last frame."""
    made = PageMap.of_runs(runs, TOP)
    assert list(made.runs()) == runs
    assert made.count() == sum(count for _, count in runs)
    assert sum(len(rows) for rows in made.run_rows()) >= len(runs)


@given(maps(), st.integers(0, 310), st.integers(0, 310))
def test_it_is_a_set(made: tuple[PageMap, set[int]], first: int, count: int) -> None:
    """Membership, counts, ranks, ranges: as the set says."""
    pages, frames = made
    assert pages.count() == len(frames)
    assert (first in pages) == (first in frames)
    assert pages.rank(first) == len({pfn for pfn in frames if pfn < first})
    assert pages.flags(first, count).tolist() == [pfn in frames for pfn in range(first, first + count)]
    assert pages.frames(first, first + count).tolist() == sorted(f for f in frames if first <= f < first + count)
    assert {pfn for low, n in pages.runs() for pfn in range(low, low + n)} == frames
    ordered = sorted(frames)
    assert pages.nth_frame(count) == (ordered[count] if count < len(ordered) else pages.max_pfn)


@given(maps(), st.integers(0, 310), st.integers(0, 310))
def test_ranges_are_set_and_cleared(made: tuple[PageMap, set[int]], first: int, count: int) -> None:
    """Whatever bytes they begin and end in."""
    pages, frames = made
    span = {pfn for pfn in range(first, first + count) if pfn < pages.max_pfn}
    added, dropped = pages.copy(), pages.copy()
    added.add_run(first, count)
    dropped.drop_run(first, count)
    assert added == PageMap.of_runs([(pfn, 1) for pfn in frames | span], pages.max_pfn)
    assert dropped == PageMap.of_runs([(pfn, 1) for pfn in frames - span], pages.max_pfn)
    assert added - dropped == PageMap.of_runs([(pfn, 1) for pfn in span], pages.max_pfn)
    assert (added & dropped) | (added - dropped) == added


def test_ranks_follow_changes() -> None:
    """A map that is changed counts anew."""
    pages = PageMap.of_runs([(0, 10_000)], 20_000)
    assert pages.rank(9_000) == 9_000
    pages.drop_run(0, 1)
    assert pages.rank(9_000) == 8_999
    pages.put_flags(8, np.zeros(8, np.bool_))
    assert (pages.rank(9_000), pages.count()) == (8_991, 9_991)


def test_a_files_bitmap_may_be_longer_and_say_more() -> None:
    """Bits at and above max_pfn do not count; a shorter bitmap is refused."""
    pages = PageMap.of_bitmap(b"\xff" * 4096, 13)
    assert (list(pages.runs()), pages.bitmap(1, 4096)) == ([(0, 13)], b"\xff\x1f".ljust(4096, b"\0"))
    with pytest.raises(ValueError, match="1 bytes of bits for 13 page frames; it takes 2"):
        PageMap.of_bitmap(b"\xff", 13)


def test_maps_of_different_machines_do_not_mix() -> None:
    """Nor does a range that begins inside a byte."""
    with pytest.raises(ValueError, match="maps of 8 and 9 page frames"):
        PageMap.empty(8) | PageMap.empty(9)
    with pytest.raises(ValueError, match=r"page frames 4\+8: whole bytes"):
        PageMap.empty(64).put_flags(4, np.ones(8, np.bool_))
