"""Scatter lists cut to what one command can carry."""

from __future__ import annotations

import pytest

from ddsdk.block.pieces import split

P = 4096
GIB4 = 1 << 32


@pytest.mark.parametrize(("sg", "max_pages", "max_segments", "expected"), [
    ([(0, 4 * P)], 4, 1, [(4, [(0, 4 * P)])]),
    ([(0, 5 * P)], 2, 1, [(2, [(0, 2 * P)]), (2, [(2 * P, 2 * P)]), (1, [(4 * P, P)])]),
    ([(0, P), (8 * P, P), (16 * P, P)], 8, 2, [(2, [(0, P), (8 * P, P)]), (1, [(16 * P, P)])]),
    ([(0, P), (P, P), (9 * P, P)], 8, 2, [(3, [(0, 2 * P), (9 * P, P)])]),
    ([(0, 100), (500, P - 100), (9 * P, P)], 8, 2, [(1, [(0, 100), (500, P - 100)]), (1, [(9 * P, P)])]),
    ([(GIB4 - P, 2 * P)], 8, 9, [(2, [(GIB4 - P, P), (GIB4, P)])]),
    ([(0, P + 100), (500, P - 100)], 8, 9, [(2, [(0, P + 100), (500, P - 100)])]),
])
def test_split(sg: list[tuple[int, int]], max_pages: int, max_segments: int,
               expected: list[tuple[int, list[tuple[int, int]]]]) -> None:
    """Cuts fall between pages, as late as both limits allow; adjacent pieces become one segment, but not over
    4 GiB.
    """
    assert [(n, list(piece)) for n, piece in split(sg, P, max_pages, max_segments)] == expected


def test_a_page_in_too_many_pieces() -> None:
    """It ends with an empty list: no command can carry that page."""
    sg = [(0, P), (8 * P, 1000), (9 * P, 1000), (10 * P, P - 2000)]
    assert list(split(sg, P, 8, 2)) == [(1, [(0, P)]), (1, ())]
