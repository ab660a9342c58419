"""Dump files bent at random, seed by seed, and what a reader may do with them: read them, or say FormatError."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

from ddsdk.errors import FormatError
from ddsdk.vmcore.codecs import Codec
from ddsdk.vmcore.elf_write import write_elf
from ddsdk.vmcore.kdump_write import KdumpOptions, write_kdump
from ddsdk.vmcore.lkcd_layout import LkcdCompress
from ddsdk.vmcore.lkcd_write import write_lkcd
from ddsdk.vmcore.output import Output
from ddsdk.vmcore.packing import InProcess
from ddsdk.vmcore.source import open_pages
from tests.vmcore.test_vectors import flattened

#: Small, with every kind of page: zeros, noise, text.
MEMORY = "synthetic:256K,cpus=2"
#: A reader that allocates by what a header says would go far beyond this.
MOST_FRAMES = 1 << 30
_VALUES = (0, 1, 7, 0xFF, 0xFFF, 0x1000, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 1 << 40, (1 << 63) - 1,
           (1 << 64) - 1)


class Bytes(Output):
    """A file in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store *data* at *offset*."""
        if len(self.data) < offset + len(data):
            self.data.extend(bytes(offset + len(data) - len(self.data)))
        self.data[offset:offset + len(data)] = data


def _made(write: Callable[[Bytes], object]) -> bytes:
    out = Bytes()
    write(out)
    return bytes(out.data)


@cache
def samples(memory: str = MEMORY) -> dict[str, bytes]:
    """A good file of each kind."""
    with open_pages(memory) as source:
        made = {f"kdump-{codec.value}": _made(lambda out, codec=codec: write_kdump(  # type: ignore[misc]
            source, out, KdumpOptions(source.stored, codec, 1), InProcess(source, codec, True))) for codec in Codec}
        options = KdumpOptions(source.stored, Codec.ZLIB, diskdump=True)
        made["diskdump"] = _made(lambda out: write_kdump(source, out, options, InProcess(source, Codec.ZLIB, False)))
        for compress in LkcdCompress:
            made[f"lkcd-{compress.name}"] = _made(
                lambda out, compress=compress: write_lkcd(source, out, source.stored, compress))    # type: ignore[misc]
        made["elf"] = _made(lambda out: write_elf(source, out, source.stored))
    for name in ("kdump-zlib", "elf"):
        data = made[name]
        cuts = (0, 100, 4096, 9000, len(data))
        made[f"flattened-{name}"] = flattened(*((low, data[low:high]) for low, high in pairwise(cuts)))
    return made


def bent(data: bytes, seed: int) -> bytes:
    """*data* with a few words, bytes or its end changed."""
    r, out = random.Random(seed), bytearray(data)
    for _ in range(r.choice((1, 1, 2, 3, 8))):
        near = r.choice((512, 1024, 4608, 8192, 20480, len(out)))       # where headers and tables are
        at = r.randrange(max(1, min(near, len(out) - 8)))
        match r.choice(("byte", "word", "word", "long", "long", "cut", "repeat")):
            case "byte":
                out[at] = r.randrange(256)
            case "word":
                struct.pack_into(r.choice("<>") + "I", out, at & ~3, r.choice(_VALUES) & 0xFFFF_FFFF)
            case "long":
                struct.pack_into(r.choice("<>") + "Q", out, at & ~7, r.choice(_VALUES))
            case "cut":
                if r.random() < 0.3:
                    del out[r.choice((at, len(out) - r.randrange(min(5000, len(out))))):]
                    out += bytes(16)
            case "repeat":
                out[at:at + 8] = out[at + 8:at + 16].ljust(8, b"\0")
    return bytes(out)


def read_all(path: Path) -> Iterator[bytes]:
    """Every page, in pieces."""
    with open_pages(str(path)) as source:
        assert source.max_pfn <= MOST_FRAMES
        buffer = memoryview(bytearray(64 * source.page_size))
        for first, count in source.stored.runs():
            for low in range(first, min(first + count, first + 4096), 64):
                pages = min(64, first + count - low)
                source.read_frames(low, pages, buffer[:pages * source.page_size])
                yield bytes(buffer[:8])


def outcome(path: Path, data: bytes) -> str:
    """"read", or what the FormatError says; anything else is raised."""
    path.write_bytes(data)
    try:
        for _ in read_all(path):
            pass
    except FormatError as error:
        said = str(error)
    else:
        return "read"
    assert "\n" not in said
    return said
