"""Scatter lists cut to what one command of an adapter can carry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ddsdk.bus import SEG_BOUNDARY_MASK, Segment

#: Memory of one command: (physical address, bytes) of each piece.
ScatterList = Sequence[Segment]


def split(sg: ScatterList, page: int, max_pages: int, max_segments: int) -> Iterator[tuple[int, ScatterList]]:
    """(pages, scatter list) of each command, in order; an empty list for a page in more than *max_segments*
    pieces.

    *sg* is whole pages in total.  Cuts fall between pages; physically adjacent pieces become one segment.
    """
    done: list[tuple[int, int]] = []
    pages = 0
    for piece in _pages(sg, page):
        joined = _join(done, piece)
        if pages == max_pages or len(joined) > max_segments:
            if pages:
                yield pages, done
            joined, pages = _join([], piece), 0
            if len(joined) > max_segments:
                yield 1, ()
                return
        done, pages = joined, pages + 1
    if pages:
        yield pages, done


def _pages(sg: ScatterList, page: int) -> Iterator[list[tuple[int, int]]]:
    """The segments that make up each page."""
    piece: list[tuple[int, int]] = []
    missing = page
    for segment_paddr, segment_length in sg:
        paddr, length = segment_paddr, segment_length
        while length:
            take = min(length, missing)
            piece.append((paddr, take))
            paddr, length, missing = paddr + take, length - take, missing - take
            if not missing:
                yield piece
                piece, missing = [], page


def _join(segments: list[tuple[int, int]], more: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """*segments* and *more*, a new list, adjacent ones merged, but not over a multiple of 4 GiB: the block layer makes
    no such segment, and adapters add to the lower half of an address only (BLK_SEG_BOUNDARY_MASK, linux/blkdev.h,
    2.6.9).
    """
    joined = list(segments)
    for paddr, length in more:
        if joined and joined[-1][0] + joined[-1][1] == paddr and paddr & SEG_BOUNDARY_MASK:
            joined[-1] = (joined[-1][0], joined[-1][1] + length)
        else:
            joined.append((paddr, length))
    return joined
