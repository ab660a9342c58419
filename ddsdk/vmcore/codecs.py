"""The ways a page is compressed in a dump file, each page on its own (formats.md 3.2).

Libraries: isal (zlib streams by ISA-L's igzip), LZO by liblzo2 where the system has it and by lzallright where it has
not (the same format, nine times slower), cramjam (snappy, raw blocks), zstandard (frames).  What comes out of a
decompressor is never longer than a page, whatever the input says.
"""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable, Sequence
from enum import Enum, IntFlag
from functools import cache
from typing import Final

import cramjam
import lzallright
import numpy as np
import zstandard
from isal import igzip_lib, isal_zlib

from ddsdk.errors import FormatError, UsageError

Buffer = bytes | bytearray | memoryview
#: A whole page in, its compressed form out.
Compress = Callable[[Buffer], bytes]
#: The same for the pages of some memory: (memory, the byte where each starts, bytes of a page).
CompressPages = Callable[[memoryview, Sequence[int], int], list[bytes]]


class PageFlag(IntFlag):
    """`flags` of a page descriptor: how the page's bytes are compressed; none: they are the page."""

    RAW = 0
    ZLIB = 0x1
    LZO = 0x2
    SNAPPY = 0x4
    ZSTD = 0x20


class Codec(Enum):
    """What `--compress` takes."""

    NONE = "none"
    ZLIB = "zlib"
    LZO = "lzo"
    SNAPPY = "snappy"
    ZSTD = "zstd"

    @property
    def flag(self) -> PageFlag:
        """Its bit in page descriptors, and in the status of a KDUMP header."""
        return PageFlag.RAW if self is Codec.NONE else PageFlag[self.name]

    def compressor(self) -> Compress:
        """A function for one thread; its output depends on the page alone.  NONE: UsageError."""
        return _COMPRESSORS[self]()

    def page_compressor(self) -> CompressPages:
        """The same for many pages at once: what surrounds a call costs as much as a page of LZO."""
        compress = self.compressor()
        if isinstance(compress, _Lzo1x1):
            return compress.pages
        return lambda memory, starts, size: [compress(memory[at:at + size]) for at in starts]


#: ISA-L's level 1: the ratio of zlib's level 1 in a fifth of its time.
_ISAL_LEVEL = 1
_ZSTD_LEVEL = 1


def _zlib() -> Compress:
    compress, level, flag = igzip_lib.compress, _ISAL_LEVEL, igzip_lib.COMP_ZLIB

    def compressed(page: Buffer) -> bytes:
        return compress(page, level, flag)
    return compressed


def _snappy() -> Compress:
    compress = cramjam.snappy.compress_raw
    return lambda page: bytes(compress(page))


def _none() -> Compress:
    raise UsageError("pages that are not compressed need no compressor")


def _lzo() -> Compress:
    library = _liblzo2()
    return lzallright.LZOCompressor().compress if library is None else _Lzo1x1(library)


#: `LZO1X_1_MEM_COMPRESS`: 16384 pointers.
_LZO_WORK_BYTES = 16384 * 8


@cache
def _liblzo2() -> ctypes.CDLL | None:
    """The system's liblzo2, or None."""
    try:
        library = ctypes.CDLL("liblzo2.so.2")
        library.lzo1x_1_compress.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p,
                                             ctypes.POINTER(ctypes.c_size_t), ctypes.c_void_p)
    except (OSError, AttributeError):
        return None
    return library


class _Lzo1x1:
    """lzo1x_1_compress() with its work memory.

    The output buffer has the worst case's size: n + n/16 + 64 + 3 (lzo/lzo1x.h).
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._compress = library.lzo1x_1_compress
        self._work = ctypes.create_string_buffer(_LZO_WORK_BYTES)
        self._out = ctypes.create_string_buffer(0)
        self._size = ctypes.c_size_t()

    def __call__(self, page: Buffer) -> bytes:
        return self.pages(memoryview(page), (0,), len(page))[0]

    def pages(self, memory: memoryview, starts: Sequence[int], size: int) -> list[bytes]:
        """The page of *size* bytes at each of *starts*."""
        if len(self._out) < (worst := size + size // 16 + 67):
            self._out = ctypes.create_string_buffer(worst)
        # ctypes takes no address of a read-only view, numpy does
        address = np.frombuffer(memory, np.uint8).ctypes.data
        compress, out, work, length = self._compress, self._out, self._work, self._size
        target, reference, made, packed = ctypes.addressof(out), ctypes.byref(length), memoryview(out), list[bytes]()
        for at in starts:
            compress(address + at, size, target, reference, work)
            packed.append(bytes(made[:length.value]))
        return packed


def _zstd() -> Compress:
    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress


_COMPRESSORS: Final = {Codec.NONE: _none, Codec.ZLIB: _zlib, Codec.LZO: _lzo, Codec.SNAPPY: _snappy, Codec.ZSTD: _zstd}
#: What the libraries raise for data that are none of theirs.
_ERRORS: Final[tuple[type[Exception], ...]] = (
    zlib.error, igzip_lib.IsalError, zstandard.ZstdError, cramjam.DecompressionError, lzallright.LZOError,
    lzallright.InputNotConsumed, ValueError)        # type: ignore[assignment]     # isal declares an instance


class Decompressor:
    """Pages out of what their descriptors say.  One a thread."""

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._zstd = zstandard.ZstdDecompressor(max_window_size=max(page_size, 1 << zstandard.WINDOWLOG_MIN))

    def page(self, flags: int, data: Buffer) -> Buffer:
        """The page that *data* holds; FormatError when it is none, or of another size."""
        try:
            page = self._decompressed(flags, data)
        except _ERRORS as error:
            raise FormatError(f"its {len(data)} bytes are no {_name(flags)} data ({error or type(error).__name__})"
                              ) from None
        if len(page) != self._page_size:
            raise FormatError(f"its {len(data)} bytes ({_name(flags)}) are a page of "
                              f"{len(page) if len(page) <= self._page_size else 'more than ' + str(self._page_size)}"
                              f" bytes, not of {self._page_size}")
        return page

    def _decompressed(self, flags: int, data: Buffer) -> Buffer:
        size = self._page_size
        match flags:
            case PageFlag.RAW:
                return data
            case PageFlag.ZLIB:
                stream = isal_zlib.decompressobj()
                page = stream.decompress(data, size + 1)
                if len(page) == size and not stream.eof:
                    raise ValueError("the stream goes on, or is cut short")
                return page
            case PageFlag.ZSTD:
                says = zstandard.get_frame_parameters(data).content_size
                if size < says != zstandard.CONTENTSIZE_UNKNOWN:
                    return bytes(size + 1)
                return self._zstd.decompress(data, max_output_size=size)
            case PageFlag.SNAPPY:
                if cramjam.snappy.decompress_raw_len(data) > size:
                    return bytes(size + 1)
                return bytes(cramjam.snappy.decompress_raw(data))
            case PageFlag.LZO:
                return lzallright.LZOCompressor.decompress(data, size)
        raise ValueError(f"flags {flags:#x} are no compression: 0, 0x1, 0x2, 0x4 or 0x20 may be set, one of them")


def _name(flags: int) -> str:
    try:
        return (PageFlag(flags).name or "raw").lower()
    except ValueError:
        return "compressed"
