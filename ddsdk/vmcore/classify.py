"""Which page frames a dump of a given level leaves out, and why.

Levels are makedumpfile's `-d` bits (formats.md 5.1).  What is not known for certain is kept, with a line about it.
A `Classifier` is built before the crash: it takes all its memory then, and `run` works inside that budget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import numpy as np
import numpy.typing as npt

from ddsdk.errors import FormatError

from .freelists import FreeLists
from .kernelinfo import KernelInfo
from .levels import Classification, EveryLevel, check_level, counts_at, keep_only
from .memmap import MemoryMap, memory_map
from .pageflags import ALWAYS, FREE_KEPT, MAX_LEVEL, Gap, Kind, PageRules, page_rules
from .pagemap import PageMap
from .pagescan import WINDOW, PageScanner
from .pagetable import Memory, kernel_space
from .zeropages import ZeroScanner, runs_of

U8 = npt.NDArray[np.uint8]
#: (frames judged, frames of RAM)
#: Pages that are looked at before their memory is handed back.
_PIECE_PAGES: Final = 2048
Progress = Callable[[int, int], None]

#: Values of kinds that nearly all pages have: kept, free, cache, user, each with and without zeros.
_USUAL = (0, 16, 6, 8, 4, 1, 17, 7, 9, 5)
#: What no level decides, and what of it keeps a page from being looked at.
_ALWAYS = ALWAYS.value
_UNTOUCHED = Kind.HWPOISON.value | Kind.OFFLINE.value
#: Python's own objects while `run` works: frames, small integers, views, page tables at hand.
_OBJECTS_BYTES = 512 << 10
#: Bytes a section of the memory map takes as a Python object, with what it is made from.
_STRETCH_BYTES = 320


class Classifier:
    """Judges every page frame of *memory*, for one *level* or (None) for all.

    `budget_bytes` is the most memory that `run` has at any time, results included, all but a little of it taken here.
    """

    def __init__(self, memory: Memory, level: int | None = MAX_LEVEL) -> None:
        self._memory = memory
        self.level = None if level is None else check_level(level)
        self._mask = MAX_LEVEL if level is None else level
        rules = page_rules(memory.abi, KernelInfo.of(memory.vmcoreinfo))
        self._scanner = PageScanner(rules or PageRules(page_bytes=memory.abi.word_bytes), memory.abi,
                                    frees_go=level is not None and bool(level & Kind.FREE.value))
        self._gaps = _rule_gaps(memory, rules)
        self._zero = ZeroScanner(memory)
        self._map = PageMap.empty(memory.max_pfn)
        #: Frames on the allocator's lists, where struct page does not tell the free ones.
        self._free = PageMap.empty(memory.max_pfn if any(gap.consequence == FREE_KEPT for gap in self._gaps) else 0)
        self._kinds = np.zeros(memory.max_pfn if level is None else 0, np.uint8)
        self._drop = np.zeros(WINDOW, np.uint8)
        self._zeros, self._bad = (np.zeros(WINDOW, np.bool_) for _ in range(2))
        self._histogram = np.zeros(256, np.int64)
        #: Tells the source that pages were looked at and are not needed soon, where it cares.
        self._release: Callable[[int, int], None] | None = getattr(memory, "release_range", None)

    @property
    def budget_bytes(self) -> int:
        """Bytes; what `run` allocates for a moment is in it."""
        sections = -(-self._memory.max_pfn // WINDOW)
        kept = (self._map.bits, self._free.bits, self._kinds, self._drop, self._zeros, self._bad, self._histogram)
        return (sum(array.nbytes for array in kept) + self._scanner.scratch_bytes + self._zero.scratch_bytes
                + 16 * WINDOW + _OBJECTS_BYTES + sections * _STRETCH_BYTES)

    def run(self, progress: Progress | None = None) -> Classification:
        """Classify for the level the classifier was made for; the map lasts until the next run."""
        if self.level is None:
            raise ValueError("this classifier was made for every level")
        gaps = self._pass(progress)
        counts, kept_pages = counts_at(self._histogram, self.level)
        return Classification(self.level, self._map, kept_pages, counts, gaps)

    def run_every_level(self, progress: Progress | None = None) -> EveryLevel:
        """Classify for all levels at once."""
        if self.level is not None:
            raise ValueError(f"this classifier was made for level {self.level}")
        gaps = self._pass(progress)
        return EveryLevel(self._map, self._kinds, self._histogram, gaps)

    # -- the pass -------------------------------------------------------------------------------------------

    def _pass(self, progress: Progress | None) -> tuple[Gap, ...]:
        self._map.bits.fill(0)
        self._histogram.fill(0)
        self._scanner.restart()
        for run in self._memory.runs:
            self._map.add_run(run.start_pfn, run.npages)
        where, gaps = self._memory_map()
        gaps = self._free_lists(where) + gaps
        done, total = 0, sum(run.npages for run in self._memory.runs)
        for first, runs in self._windows():
            self._window(first, runs, where)
            if progress is not None:
                done += sum(high - low for low, high in runs)
                progress(done, total)
        if self._scanner.impossible:
            gaps += (Gap(f"{self._scanner.impossible} free blocks have an order that the kernel does not have",
                         "they are kept; the memory map is damaged"),)
        return gaps

    def _free_lists(self, where: MemoryMap | None) -> tuple[Gap, ...]:
        """Collect what is on the allocator's lists, where that is needed; the gaps that are left."""
        self._free.bits.fill(0)
        if where is None or not self._free.max_pfn:
            return self._gaps
        others = tuple(gap for gap in self._gaps if gap.consequence != FREE_KEPT)
        try:
            FreeLists.of(where).collect(self._free)
        except FormatError as error:
            self._free.bits.fill(0)
            return (*others, Gap(str(error), FREE_KEPT))
        return others

    def _memory_map(self) -> tuple[MemoryMap | None, tuple[Gap, ...]]:
        """Where the struct pages are; None, with the reason, when it cannot be found."""
        if self._scanner.rules.flags is None or self._gaps_everything:
            return None, ()
        try:
            return memory_map(self._memory, kernel_space(self._memory)), ()
        except FormatError as error:
            return None, (Gap(str(error), "only zero pages can be left out"),)

    @property
    def _gaps_everything(self) -> bool:
        """Whether no rule applies at all."""
        return self._memory.vmcoreinfo is None

    def _windows(self) -> Iterator[tuple[int, list[tuple[int, int]]]]:
        """(first frame, runs of RAM in it) of each window that has any, ascending."""
        at = -1
        runs: list[tuple[int, int]] = []
        for run in self._memory.runs:
            low, end = run.start_pfn, run.start_pfn + run.npages
            while low < end:
                window = low - low % WINDOW
                if window != at:
                    if runs:
                        yield at, runs
                    at, runs = window, []
                high = min(end, window + WINDOW)
                runs.append((low, high))
                low = high
        if runs:
            yield at, runs

    def _window(self, first: int, runs: list[tuple[int, int]], where: MemoryMap | None) -> None:
        scanner = self._scanner
        scanner.start(first)
        if where is not None:
            for low, high in runs:
                for pfn, rows in where.pieces(low, high - low, scanner.rows):
                    scanner.scan(rows, pfn)
        if self._free.max_pfn:
            scanner.kinds |= self._free.flags(first, WINDOW).view(np.uint8) * np.uint8(Kind.FREE)
        if self._mask & Kind.ZERO.value:
            self._zero_pages(first, runs)
        count = min(WINDOW, self._map.max_pfn - first)
        kinds = scanner.kinds[:count]
        whole = runs == [(first, first + count)]
        ram = None if whole else self._map.flags(first, count)
        self._count(kinds if ram is None else kinds[ram])
        if self.level is None:
            self._kinds[first:first + count] = kinds
            return
        drop = np.bitwise_and(kinds, np.uint8(self._mask | _ALWAYS), out=self._drop[:count])
        keep = np.equal(drop, 0, out=self._zeros[:count])
        keep_only(self._map, first, keep)

    def _count(self, kinds: U8) -> None:
        """Add to the histogram: the values that pages usually have one by one, which is quicker than all at once."""
        present, left = int(np.bitwise_or.reduce(kinds, initial=0)), len(kinds)
        found: dict[int, int] = {}
        for value in _USUAL:
            if left and not value & ~present:
                found[value] = int(np.count_nonzero(np.equal(kinds, np.uint8(value), out=self._zeros[:len(kinds)])))
                left -= found[value]
        if left:
            self._histogram += np.bincount(kinds, minlength=256)
            return
        for value, frames in found.items():
            self._histogram[value] += frames

    def _zero_pages(self, first: int, runs: list[tuple[int, int]]) -> None:
        """Look at the pages that nothing else leaves out (for every level: at all of them)."""
        kinds, zeros, bad, page = self._scanner.kinds, self._zeros, self._bad, self._memory.abi.page_size
        zeros.fill(False)
        bad.fill(False)
        looked_at = 0 if self.level is None else self.level
        drop = np.bitwise_and(kinds, np.uint8(looked_at | _UNTOUCHED), out=self._drop)
        for low, high in runs:
            wanted = drop[low - first:high - first] == 0
            for start, end in runs_of(wanted):
                for at in range(low - first + start, low - first + end, _PIECE_PAGES):
                    stop = min(at + _PIECE_PAGES, low - first + end)
                    self._zero.scan(first + at, zeros[at:stop], bad[at:stop])
                    if self._release is not None:
                        self._release((first + at) * page, (stop - at) * page)
        kinds |= zeros.view(np.uint8)           # Kind.ZERO is 1
        if bad.any():
            kinds[bad] |= np.uint8(Kind.UNREADABLE)


def _rule_gaps(memory: Memory, rules: PageRules | None) -> tuple[Gap, ...]:
    if memory.vmcoreinfo is None:
        return (Gap("there is no VMCOREINFO, so nothing tells what the kernel used a page for",
                    "only zero pages can be left out"),)
    if rules is None:
        return (Gap("VMCOREINFO has no SIZE(page) that can be one", "only zero pages can be left out"),)
    return rules.gaps


def classify(memory: Memory, level: int, progress: Progress | None = None) -> Classification:
    """What a dump of *memory* at *level* leaves out."""
    return Classifier(memory, level).run(progress)


def classify_every_level(memory: Memory, progress: Progress | None = None) -> EveryLevel:
    """What each of the 32 levels leaves out, in one pass over the memory."""
    return Classifier(memory, None).run_every_level(progress)
