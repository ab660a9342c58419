"""What a dump of a level leaves out: the answers of classify.py, for one level or for all 32."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from attrs import frozen

from ddsdk.errors import UsageError

from .pageflags import ALWAYS, MAX_LEVEL, PRECEDENCE, Gap, Kind
from .pagemap import PageMap

U8 = npt.NDArray[np.uint8]
Histogram = npt.NDArray[np.int64]

_CACHE = Kind.CACHE.value
_ANY_CACHE = _CACHE | Kind.PRIVATE_CACHE.value
_ALWAYS = ALWAYS.value
#: Page frames whose bits are put at once.
_STEP = 1 << 15


def check_level(level: int) -> int:
    """*level*; UsageError unless it is 0 to 31."""
    if not 0 <= level <= MAX_LEVEL:
        raise UsageError(f"dump level {level}: it is 0 to 31, a sum of 1 (zero), 2 (cache), 4 (private cache), "
                         "8 (user) and 16 (free pages)")
    return level


@frozen(eq=False)
class Classification:
    """The answer for one level.  `kept` are the frames to save; `counts` the others by kind, 0 where there are none.

    `gaps`: what is not known, and what is kept because of it.
    """

    level: int
    kept: PageMap
    kept_pages: int
    counts: Mapping[Kind, int]
    gaps: tuple[Gap, ...]

    @property
    def total_pages(self) -> int:
        """All frames of RAM."""
        return self.kept_pages + sum(self.counts.values())


@frozen(eq=False)
class EveryLevel:
    """The answers for all 32 levels, of one pass: a byte of kinds a frame, and how many frames have each value."""

    ram: PageMap
    kinds: U8
    histogram: Histogram
    gaps: tuple[Gap, ...]

    def at(self, level: int) -> Classification:
        """What *level* leaves out."""
        kept = self.ram.copy()
        mask = np.uint8(check_level(level) | _ALWAYS)
        for first in range(0, kept.max_pfn, _STEP):
            keep_only(kept, first, self.kinds[first:first + _STEP] & mask == 0)
        counts, kept_pages = counts_at(self.histogram, level)
        return Classification(level, kept, kept_pages, counts, self.gaps)

    def counts(self, level: int) -> tuple[dict[Kind, int], int]:
        """(frames left out by kind, frames kept) at *level*, without making a map."""
        return counts_at(self.histogram, check_level(level))


def counts_at(histogram: Histogram, level: int) -> tuple[dict[Kind, int], int]:
    """(frames left out by kind, frames kept) at *level*: each frame counts once, by PRECEDENCE."""
    counts = dict.fromkeys(PRECEDENCE, 0)
    kept = 0
    for value in np.flatnonzero(histogram).tolist():
        why = value & (level | _ALWAYS)
        if value & _CACHE and why & _ANY_CACHE:
            why |= _CACHE                   # cache without private data is that at level 4, too
        frames = int(histogram[value])
        if why:
            counts[next(kind for kind in PRECEDENCE if why & kind.value)] += frames
        else:
            kept += frames
    return counts, kept


def keep_only(kept: PageMap, first: int, keep: npt.NDArray[np.bool_]) -> None:
    """Take the frames that are not in *keep* out of the len(keep) frames of *kept* at *first*, a multiple of 8."""
    packed = np.packbits(keep, bitorder="little")
    bits = kept.bits[first >> 3:(first >> 3) + len(packed)]
    np.bitwise_and(bits, packed, out=bits)
