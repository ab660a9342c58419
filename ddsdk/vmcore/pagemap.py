"""A set of page frames: one bit a frame, as dump files keep it.

Bit `pfn & 7` of byte `pfn >> 3`, least significant first (formats.md 1.3, 3.1).  A machine of 64 GiB takes 2 MiB; every
operation works through the bits in pieces, so that nothing else grows with the machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Self

import numpy as np
import numpy.typing as npt

Bits = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]
#: Rows (first page frame, number of frames).
RunRows = npt.NDArray[np.int64]

#: Bytes of bits that one step works on: a million page frames.
_STEP_BYTES = 1 << 17
#: Page frames that one rank counter covers.
_RANK_FRAMES = 1 << 12


class PageMap:
    """Page frames below `max_pfn`.  `bits` are the map itself; bits at and above `max_pfn` are clear.

    The maps of one dump have the same `max_pfn`; set operations demand it (ValueError).
    """

    __slots__ = ("_ranks", "bits", "max_pfn")

    def __init__(self, bits: Bits, max_pfn: int) -> None:
        if len(bits) != -(-max_pfn // 8):
            raise ValueError(f"{len(bits)} bytes of bits for {max_pfn} page frames; it takes {-(-max_pfn // 8)}")
        self.bits, self.max_pfn = bits, max_pfn
        self._ranks: npt.NDArray[np.int64] | None = None

    @classmethod
    def empty(cls, max_pfn: int) -> Self:
        """No frame."""
        return cls(np.zeros(-(-max_pfn // 8), np.uint8), max_pfn)

    @classmethod
    def of_runs(cls, runs: Iterable[tuple[int, int]], max_pfn: int) -> Self:
        """The frames of *runs* (first, number); what lies at or above *max_pfn* is left out."""
        made = cls.empty(max_pfn)
        for first, count in runs:
            made.add_run(first, count)
        return made

    @classmethod
    def of_bitmap(cls, bitmap: bytes | memoryview, max_pfn: int) -> Self:
        """A copy of a file's bitmap, which may be longer; ValueError when it is shorter."""
        bits = np.frombuffer(bitmap, np.uint8)[:-(-max_pfn // 8)].copy()
        if max_pfn % 8 and len(bits) * 8 > max_pfn:
            bits[-1] &= (1 << max_pfn % 8) - 1
        return cls(bits, max_pfn)

    # -- single frames and ranges --------------------------------------------------------------------------

    def __contains__(self, pfn: int) -> bool:
        return 0 <= pfn < self.max_pfn and bool(self.bits[pfn >> 3] >> (pfn & 7) & 1)

    def add_run(self, first: int, count: int) -> None:
        """Set [first, first + count)."""
        self._fill(first, count, True)

    def drop_run(self, first: int, count: int) -> None:
        """Clear [first, first + count)."""
        self._fill(first, count, False)

    def _fill(self, first: int, count: int, value: bool) -> None:
        self._ranks = None
        end = min(first + count, self.max_pfn)
        if first >= end:
            return
        low, high = -(-first // 8), end // 8
        if low > high:                                  # inside one byte
            self._fill_byte(first >> 3, first & 7, end & 7, value)
            return
        self.bits[low:high] = 0xFF if value else 0
        if first % 8:
            self._fill_byte(first >> 3, first & 7, 8, value)
        if end % 8:
            self._fill_byte(end >> 3, 0, end & 7, value)

    def _fill_byte(self, at: int, low: int, high: int, value: bool) -> None:
        mask = (1 << high) - (1 << low)
        self.bits[at] = self.bits[at] | mask if value else self.bits[at] & (0xFF ^ mask)

    def flags(self, first: int, count: int) -> Flags:
        """One truth a frame for [first, first + count), a copy; frames at and above `max_pfn` are not in."""
        low = first >> 3
        piece = self.bits[low:-(-(first + count) // 8)]
        bits = np.unpackbits(piece, bitorder="little")[first & 7:(first & 7) + count]
        return np.pad(bits, (0, count - len(bits))).view(np.bool_)

    def put_flags(self, first: int, flags: Flags) -> None:
        """Make [first, first + len(flags)) what *flags* say; *first* is a multiple of 8.

        So is the number, unless the range ends at `max_pfn`.
        """
        if first % 8 or (len(flags) % 8 and first + len(flags) != self.max_pfn):
            raise ValueError(f"page frames {first}+{len(flags)}: whole bytes of the map are put")
        self._ranks = None
        packed = np.packbits(flags, bitorder="little")
        self.bits[first >> 3:(first >> 3) + len(packed)] = packed

    # -- the whole ------------------------------------------------------------------------------------------

    def count(self) -> int:
        """How many frames are in."""
        return int(np.bitwise_count(self.bits).sum(dtype=np.int64))

    def rank(self, pfn: int) -> int:
        """How many frames below *pfn* are in: the index of its page descriptor."""
        if self._ranks is None:
            padded = np.zeros(-(-len(self.bits) * 8 // _RANK_FRAMES) * _RANK_FRAMES // 8, np.uint8)
            padded[:len(self.bits)] = np.bitwise_count(self.bits)
            sums = padded.reshape(-1, _RANK_FRAMES // 8).sum(axis=1, dtype=np.int64)
            self._ranks = np.concatenate((np.zeros(1, np.int64), np.cumsum(sums)))
        pfn = min(pfn, self.max_pfn)
        block = pfn // _RANK_FRAMES
        start = block * _RANK_FRAMES // 8
        below = int(self._ranks[block]) + int(np.bitwise_count(self.bits[start:pfn >> 3]).sum(dtype=np.int64))
        if pfn & 7:
            below += (int(self.bits[pfn >> 3]) & ((1 << (pfn & 7)) - 1)).bit_count()
        return below

    def run_rows(self, first: int = 0, end: int | None = None) -> Iterator[RunRows]:
        """The runs of [first, end) in pieces, ascending; a run goes on over the seam of two pieces."""
        end = self.max_pfn if end is None else min(end, self.max_pfn)
        step = _STEP_BYTES * 8
        for at in range(first, end, step):
            bits = self.flags(at, min(step, end - at)).view(np.int8)
            edges = np.flatnonzero(np.diff(bits, prepend=np.int8(0), append=np.int8(0))) + at
            rows = edges.astype(np.int64).reshape(-1, 2)
            rows[:, 1] -= rows[:, 0]
            yield rows

    def runs(self, first: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
        """The runs of [first, end) as (first frame, number), ascending, each as long as it is."""
        start = stop = -1
        for rows in self.run_rows(first, end):
            for low, count in rows.tolist():
                if low == stop:
                    stop += count
                    continue
                if start >= 0:
                    yield start, stop - start
                start, stop = low, low + count
        if start >= 0:
            yield start, stop - start

    def pieces(self, most: int, first: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
        """The runs of [first, end), none longer than *most* frames."""
        for start, count in self.runs(first, end):
            for low in range(start, start + count, most):
                yield low, min(most, start + count - low)

    def frames(self, first: int, end: int) -> npt.NDArray[np.int64]:
        """The frames of [first, end) that are in, ascending."""
        return np.flatnonzero(self.flags(first, max(0, min(end, self.max_pfn) - first))) + first

    def nth_frame(self, rank: int) -> int:
        """The frame with *rank* frames below it that are in; `max_pfn` when there are not so many."""
        self.rank(0)
        assert self._ranks is not None
        block = int(np.searchsorted(self._ranks, rank, side="right")) - 1
        if block >= len(self._ranks) - 1:
            return self.max_pfn
        found = self.frames(block * _RANK_FRAMES, (block + 1) * _RANK_FRAMES)
        return int(found[rank - int(self._ranks[block])])

    def bitmap(self, blocks: int, page_size: int) -> bytes:
        """The bits as a file keeps them, zero-padded to *blocks* blocks."""
        return self.bits.tobytes().ljust(blocks * page_size, b"\0")

    def copy(self) -> PageMap:
        """The same frames, apart."""
        return PageMap(self.bits.copy(), self.max_pfn)

    def __and__(self, other: PageMap) -> PageMap:
        return PageMap(self.bits & self._same(other).bits, self.max_pfn)

    def __or__(self, other: PageMap) -> PageMap:
        return PageMap(self.bits | self._same(other).bits, self.max_pfn)

    def __sub__(self, other: PageMap) -> PageMap:
        return PageMap(self.bits & ~self._same(other).bits, self.max_pfn)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PageMap) and self.max_pfn == other.max_pfn and np.array_equal(self.bits, other.bits)

    __hash__ = None  # type: ignore[assignment]     # it changes

    def __repr__(self) -> str:
        return f"<PageMap: {self.count()} of {self.max_pfn} page frames>"

    def _same(self, other: PageMap) -> PageMap:
        if other.max_pfn != self.max_pfn:
            raise ValueError(f"maps of {self.max_pfn} and {other.max_pfn} page frames")
        return other
