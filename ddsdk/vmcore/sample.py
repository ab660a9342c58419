"""How small pages become and how long that takes, from a sample: for `ddsdk estimate`.

Pages are alike within a kind (cache, user, free, ...) and unlike between them; so some of each are compressed, evenly
spread over the memory, and every level is the sum of the kinds that it keeps.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
from attrs import frozen

from ddsdk.errors import FormatError, UsageError

from .codecs import Codec
from .kdump_layout import DESCRIPTOR_BYTES
from .packing import InProcess
from .pagemap import PageMap
from .pages import PageSource

#: Pages of each kind that are tried.
SAMPLE_PAGES = 384
CODECS = tuple(codec for codec in Codec if codec is not Codec.NONE)


@frozen
class PageCost:
    """Of one page on the average: bytes in the file (descriptor included) and nanoseconds of one processor."""

    stored_bytes: float
    compress_ns: float


@frozen
class Estimate:
    """Of a whole dump: bytes of page data and descriptors, seconds of one processor."""

    stored_bytes: int
    compress_s: float


#: kind byte -> codec -> what a page of the kind costs.
Costs = Mapping[int, Mapping[Codec, PageCost]]


def sample_kinds(source: PageSource, kinds: npt.NDArray[np.uint8], ram: PageMap) -> Costs:
    """Costs by the byte that classify.py gives each frame."""
    values = [value for value in range(256) if value in set(np.unique(kinds).tolist())]
    return {value: _costs(source, _spread(source, ram, kinds, value)) for value in values}


def sample_kept(source: PageSource, kept: PageMap) -> Mapping[Codec, PageCost]:
    """Costs of the frames in *kept*, taken together."""
    step = max(1, kept.count() // SAMPLE_PAGES)
    frames = [kept.nth_frame(rank) for rank in range(0, kept.count(), step)]
    return _costs(source, frames)


def total(costs: Costs, histogram: npt.NDArray[np.int64], dropped: int, codec: Codec) -> Estimate:
    """What the frames cost whose byte has none of the bits of *dropped*."""
    stored = nanoseconds = 0.0
    for value, by_codec in costs.items():
        if not value & dropped and codec in by_codec:
            stored += int(histogram[value]) * by_codec[codec].stored_bytes
            nanoseconds += int(histogram[value]) * by_codec[codec].compress_ns
    return Estimate(round(stored), nanoseconds / 1e9)


def _spread(source: PageSource, ram: PageMap, kinds: npt.NDArray[np.uint8], value: int) -> list[int]:
    """Frames of RAM with *value*, evenly spread."""
    frames = np.flatnonzero(kinds == value)
    step = max(1, len(frames) // SAMPLE_PAGES)
    return [pfn for pfn in frames[::step].tolist() if pfn in ram and pfn in source.stored]


def _costs(source: PageSource, frames: list[int]) -> Mapping[Codec, PageCost]:
    """What each codec makes of *frames*; nothing where none can be read."""
    readable = list(_readable(source, frames))
    if not readable:
        return {}
    found: dict[Codec, PageCost] = {}
    for codec in CODECS:
        packer = InProcess(source, codec, share_zeros=False)
        list(packer.packed([[(readable[0], 1)]]))               # the first call of a library is no measure
        started = time.perf_counter_ns()
        packed = list(packer.packed([[(pfn, 1)] for pfn in readable]))
        spent = time.perf_counter_ns() - started
        stored = sum(len(one.data) for one in packed) / len(readable)
        found[codec] = PageCost(stored + DESCRIPTOR_BYTES, spent / len(readable))
    return found


def _readable(source: PageSource, frames: list[int]) -> Iterator[int]:
    for pfn in frames:
        try:
            source.view(pfn * source.page_size, 1)
        except (FormatError, UsageError):
            continue
        yield pfn
