"""Pages as a compressed dump file stores them: each alone, raw where compression does not shrink it.

What comes out depends on the page and the codec alone, never on who packs it: that is why a file is the same byte for
byte whatever the number of workers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from attrs import frozen

from .codecs import Codec, PageFlag
from .pages import PageSource

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
        self._compress = None if codec is Codec.NONE else codec.compressor()
        self._buffer = bytearray()
        self._zero = self._pack_one(memoryview(bytes(self._page_size)))

    def pack(self, runs: Runs) -> Packed:
        """The page frames of *runs*, all stored in the source."""
        sizes, flags, pieces = list[int](), list[int](), list[bytes | memoryview]()
        for first, count in runs:
            memory = self._memory(first, count)
            zeros = zero_pages(memory, self._page_size).tolist()
            self._pack_run(memory, zeros, sizes, flags, pieces)
        return Packed(np.array(sizes, np.uint32), np.array(flags, np.uint32), b"".join(pieces))

    def _pack_run(self, memory: memoryview, zeros: list[bool], sizes: list[int], flags: list[int],
                  pieces: list[bytes | memoryview]) -> None:
        page, share, at = self._page_size, self._share, 0
        pack, zero = self._pack_one, self._zero
        for is_zero in zeros:
            if is_zero and share:
                sizes.append(page)
                flags.append(SHARED_ZERO)
            else:
                flag, data = zero if is_zero else pack(memory[at:at + page])
                sizes.append(len(data))
                flags.append(flag)
                pieces.append(data)
            at += page

    def _pack_one(self, page: memoryview) -> tuple[int, bytes | memoryview]:
        if self._compress is not None:
            data = self._compress(page)
            if len(data) < len(page):
                return self._flag, data
        return int(PageFlag.RAW), page

    @property
    def _flag(self) -> int:
        return int(self._codec.flag)

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


def zero_pages(memory: memoryview, page_size: int) -> npt.NDArray[np.bool_]:
    """For each page of *memory*: is it all zeros?"""
    words = np.frombuffer(memory, np.uint64).reshape(-1, page_size // 8)
    zeros: npt.NDArray[np.bool_] = words.max(axis=1) == 0
    return zeros
