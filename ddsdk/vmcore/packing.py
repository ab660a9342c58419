"""Pages as a compressed dump file stores them: each alone, raw where compression does not shrink it.

What comes out depends on the page and the codec alone, never on who packs it: that is why a file is the same byte for
byte whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
from attrs import frozen

from .codecs import Codec, PageFlag
from .pages import PageSource
from .zeropages import zero_pages

#: Page frames as (first, number).
Runs = Sequence[tuple[int, int]]
#: A page that the file has once for all zero pages, instead of bytes of its own.
SHARED_ZERO = 0x8000_0000


@frozen
class Packed:
    """Some pages in order: `sizes` (bytes) and `flags` (PageFlag, or SHARED_ZERO) one a page, their bytes in `data`."""

    sizes: npt.NDArray[np.uint32]
    flags: npt.NDArray[np.uint32]
    data: bytes

    def encode(self) -> bytes:
        """For a pipe."""
        return len(self.sizes).to_bytes(4, "little") + self.sizes.tobytes() + self.flags.tobytes() + self.data

    @classmethod
    def decode(cls, message: bytes) -> Packed:
        """From a pipe."""
        count = int.from_bytes(message[:4], "little")
        return cls(np.frombuffer(message, np.uint32, count, 4), np.frombuffer(message, np.uint32, count, 4 + 4 * count),
                   message[4 + 8 * count:])


class Packer:
    """Packs pages of *source* with *codec*; *share_zeros*: zero pages become SHARED_ZERO and have no bytes."""

    def __init__(self, source: PageSource, codec: Codec, share_zeros: bool) -> None:
        self._source, self._codec, self._share = source, codec, share_zeros
        self._page_size = source.page_size
        self._compress = None if codec is Codec.NONE else codec.page_compressor()
        self._flag = int(codec.flag)
        self._buffer = bytearray()
        self._zero = self._packed(memoryview(bytes(self._page_size)), [0])[0]

    def pack(self, runs: Runs) -> Packed:
        """The page frames of *runs*, all stored in the source."""
        page, found, pieces = self._page_size, [np.zeros(0, np.bool_)], list[bytes | memoryview]()
        for first, count in runs:
            memory = self._memory(first, count)
            zeros = zero_pages(memory, page)
            pieces += self._pack_run(memory, zeros)
            found.append(zeros)
        sizes = np.fromiter(map(len, pieces), np.uint32, len(pieces))
        flags = np.where(sizes < page, np.uint32(self._flag), np.uint32(PageFlag.RAW))
        if self._share:
            zeros = np.concatenate(found)
            sizes[zeros], flags[zeros] = page, SHARED_ZERO
        return Packed(sizes, flags, b"".join(pieces))

    def _pack_run(self, memory: memoryview, zeros: npt.NDArray[np.bool_]) -> list[bytes | memoryview]:
        """What is stored of each page."""
        others = np.flatnonzero(~zeros)
        packed = self._packed(memory, (others * self._page_size).tolist())
        if len(packed) == len(zeros):
            return packed
        pieces: list[bytes | memoryview] = [b"" if self._share else self._zero] * len(zeros)
        for index, data in zip(others.tolist(), packed, strict=True):
            pieces[index] = data
        return pieces

    def _packed(self, memory: memoryview, starts: list[int]) -> list[bytes | memoryview]:
        """The page at each of *starts*, compressed where that shrinks it."""
        page = self._page_size
        if self._compress is None:
            return [memory[at:at + page] for at in starts]
        return [data if len(data) < page else memory[at:at + page]
                for at, data in zip(starts, self._compress(memory, starts, page), strict=True)]

    def _memory(self, first: int, count: int) -> memoryview:
        """The run's bytes: where they lie, if the source has them as they are."""
        size = count * self._page_size
        views = getattr(self._source, "views", None)
        if views is not None:
            found: list[memoryview] = views(first * self._page_size, size)
            if len(found) == 1:
                return found[0]
        if len(self._buffer) < size:
            self._buffer = bytearray(size)
        into = memoryview(self._buffer)[:size]
        self._source.read_frames(first, count, into)
        return memoryview(bytes(into))          # pages that stay raw are kept till the end of the job


class Packing(Protocol):
    """Who packs: here, or in workers."""

    def packed(self, jobs: Iterable[Runs]) -> Iterator[Packed]:
        """The jobs, done, in their order."""


class InProcess:
    """Packs in this process."""

    def __init__(self, source: PageSource, codec: Codec, share_zeros: bool) -> None:
        self._source = source
        self._packer = Packer(source, codec, share_zeros)

    def packed(self, jobs: Iterable[Runs]) -> Iterator[Packed]:
        """One after the other."""
        for job in jobs:
            yield self._packer.pack(job)
            done_with(self._source, job)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Nothing to end."""


def done_with(source: PageSource, job: Runs) -> None:
    """Hand the pages of *job* back to the page cache."""
    for first, count in job:
        source.release_range(first * source.page_size, count * source.page_size)
