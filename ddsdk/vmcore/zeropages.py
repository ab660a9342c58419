"""Which pages hold nothing but zeros: three words of each page decide nearly all, the others are read whole."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ddsdk.errors import FormatError, UsageError

from .pagetable import Memory

Flags = npt.NDArray[np.bool_]
#: Bytes that are looked at in one go, so that a source that makes pages as they are asked for makes few.
STEP_BYTES = 1 << 20


class ZeroScanner:
    """Finds zero pages of *memory*; everything it needs is allocated here.

    A page is zero when all its bytes are.  One that the source cannot give is `unreadable`.
    """

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._page = memory.abi.page_size
        self._step = max(1, STEP_BYTES // self._page)
        self._maybe = np.zeros(self._step, np.bool_)
        self._or = np.zeros(self._step, np.uint64)

    @property
    def scratch_bytes(self) -> int:
        """What is allocated, and the index arrays that numpy takes for a moment."""
        return self._maybe.nbytes + self._or.nbytes + 4 * 8 * self._step

    def scan(self, first_pfn: int, zero: Flags, unreadable: Flags) -> None:
        """Set *zero* for each of the len(zero) frames from *first_pfn* on that is; *unreadable* likewise."""
        for at in range(0, len(zero), self._step):
            end = min(at + self._step, len(zero))
            self._some(first_pfn + at, zero[at:end], unreadable[at:end])

    def _some(self, pfn: int, zero: Flags, unreadable: Flags) -> None:
        count = len(zero)
        try:
            view = self._memory.view(pfn * self._page, count * self._page)
        except (UsageError, FormatError):
            if count == 1:
                unreadable[:] = True
                return
            half = count // 2
            self._some(pfn, zero[:half], unreadable[:half])
            self._some(pfn + half, zero[half:], unreadable[half:])
            return
        words = np.frombuffer(view, np.uint64).reshape(count, self._page // 8)
        probe, maybe = self._or[:count], self._maybe[:count]
        last = words.shape[1] - 1
        np.bitwise_or(words[:, last // 2], words[:, last], out=probe)
        np.bitwise_or(probe, words[:, 0], out=probe)
        np.equal(probe, 0, out=maybe)
        for low, high in runs_of(maybe):
            np.bitwise_or.reduce(words[low:high], axis=1, out=probe[low:high])
            np.equal(probe[low:high], 0, out=zero[low:high])


def zero_pages(memory: memoryview, page_size: int) -> npt.NDArray[np.bool_]:
    """For each page of *memory*: is it all zeros?"""
    words = np.frombuffer(memory, np.uint64).reshape(-1, page_size // 8)
    zeros: npt.NDArray[np.bool_] = words.max(axis=1) == 0
    return zeros


def runs_of(flags: Flags) -> list[tuple[int, int]]:
    """(first, end) of each run of *flags* that are set."""
    if not flags.any():
        return []
    edges = np.flatnonzero(np.diff(flags.view(np.int8), prepend=np.int8(0), append=np.int8(0)))
    return [(int(low), int(high)) for low, high in edges.reshape(-1, 2)]
