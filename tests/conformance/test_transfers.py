"""Transfers: the scatter lists of checks are what they claim to be, and a wrong byte is found."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from ddsdk.conformance.bench import DATA, PAGE, Bench
from ddsdk.conformance.check import CheckFailed, Setup
from ddsdk.conformance.load import plans_for
from ddsdk.conformance.transfers import cut, differs, get, put, scattered, there_and_back
from ddsdk.conformance.world import EDGE
from ddsdk.sim import disk_faults


@pytest.fixture
def bench() -> Iterator[Bench]:
    """The bundled driver, crashed and taken over."""
    with Bench.build(plans_for("mptfusion", chip="sas1068")[0]) as one:
        one.take_over()
        yield one


def test_scattered_segments_touch_nowhere(bench: Bench) -> None:
    """As many as asked for, in no order, the same every time."""
    segments = scattered(bench, 40)
    assert sorted(segments) == [(DATA + 2 * PAGE * n, PAGE) for n in range(40)]
    assert segments != sorted(segments)
    assert segments == scattered(bench, 40)


def test_cut_pieces_add_up(bench: Bench) -> None:
    """Multiples of the unit but for the last, the gap between, no more than the driver takes."""
    pieces = cut(bench, 100_000, 512, DATA, 1536)
    assert sum(length for _, length in pieces) == 100_000
    assert {length % 512 for _, length in pieces[:-1]} == {0}
    assert {after - before - length for (before, length), (after, _) in pairwise(pieces)} == {1536}
    assert len(cut(bench, 1 << 20, 37, DATA, 1)) == bench.max_segments


def test_put_and_get_follow_the_list(bench: Bench) -> None:
    """The first segment holds the first bytes, wherever it lies."""
    put(bench, [(DATA + 4, 2), (DATA, 3)], b"abcde")
    assert bench.memory.read(DATA, 6) == b"cde\0ab"
    assert get(bench, [(DATA + 4, 2), (DATA, 3)]) == b"abcde"


@pytest.mark.parametrize(("have", "want", "said"), [
    (b"abc", b"abc", "nothing differs"),
    (b"ab", b"abc", "2 bytes instead of 3"),
    (b"abXYe", b"abcde", "2 of 5 bytes are wrong, the first at 2: 0x58, not 0x63"),
])
def test_a_difference_in_words(have: bytes, want: bytes, said: str) -> None:
    """How much, where first, and what."""
    assert differs(have, want) == said


def test_a_lost_write_is_found(bench: Bench) -> None:
    """The driver says good, the disk wrote nothing."""
    assert bench.disk is not None
    bench.finish(bench.probe_command())
    bench.disk.inject(disk_faults.lost_write())
    with pytest.raises(CheckFailed, match=r"the write of 4096 bytes in 1 segments at sector 8 ended well, and on the"
                                          r" disk \d+ of 4096 bytes are wrong, the first at 0: 0x00, not"):
        there_and_back(bench, 8, [(DATA, PAGE)])


def test_edge_memory_lies_on_both_sides_of_4_gib() -> None:
    """A megabyte each, in one piece."""
    with Bench.build(plans_for("mptfusion", chip="sas1068")[0], Setup(edge_memory=True)) as one:
        extent = one.memory.extent_at(EDGE - (1 << 20))
        assert extent is not None
        assert (extent.paddr, extent.end) == (EDGE - (1 << 20), EDGE + (1 << 20))
