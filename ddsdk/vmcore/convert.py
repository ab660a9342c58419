"""One dump file into another: format, filter, compression, split.

What is left out is decided by classify.py; what the source itself has not got is never made up.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from enum import Enum
from itertools import pairwise
from typing import Final

from attrs import evolve, frozen

from ddsdk.errors import FormatError, UsageError

from .classify import Classifier
from .codecs import Codec
from .elf_write import write_elf
from .image import MemorySource
from .kdump_write import ZERO_PAGES, KdumpOptions, write_kdump
from .output import FileOutput, Output
from .packing import InProcess, Packing
from .pageflags import Gap
from .pagemap import PageMap
from .pages import PageSource

#: `Report(phase, done, total)`: phase "write", counts in pages.
Report = Callable[[str, int, int], None]


class Format(Enum):
    """What `--to` takes."""

    ELF = "elf"
    KDUMP = "kdump"
    DISKDUMP = "diskdump"
    LKCD = "lkcd"
    RAW = "raw"


#: What is written where nobody asks for a codec.
DEFAULT_CODEC: Final = {Format.KDUMP: Codec.ZLIB, Format.DISKDUMP: Codec.ZLIB, Format.LKCD: Codec.ZLIB}
#: The codecs a format has.
CODECS: Final = {Format.ELF: (Codec.NONE,), Format.RAW: (Codec.NONE,), Format.KDUMP: tuple(Codec),
                 Format.DISKDUMP: (Codec.NONE, Codec.ZLIB), Format.LKCD: (Codec.NONE, Codec.ZLIB)}


@frozen
class Conversion:
    """What to make of a source.

    `level`: makedumpfile's bits.  `jobs`: processes that compress; 1: this one.  `spec` is how they open the source.
    """

    format: Format
    codec: Codec
    level: int = 0
    jobs: int = 1
    spec: str = ""

    @classmethod
    def of(cls, kind: Format, codec: Codec | None, level: int, jobs: int, spec: str) -> Conversion:
        """UsageError for a codec that the format has not got."""
        chosen = codec or DEFAULT_CODEC.get(kind, Codec.NONE)
        if chosen not in CODECS[kind]:
            raise UsageError(f"--compress {chosen.value}: {kind.value} files have "
                             f"{' or '.join(codec.value for codec in CODECS[kind])}")
        return cls(kind, chosen, level, jobs, spec)

    @property
    def file_level(self) -> int:
        """What the filter looks at: in compressed dump files zero pages stay, and share one; in LKCD files they stay, a
        few bytes each, because crash reads there nothing that is not there.
        """
        stay = self.shares_zeros or (self.format is Format.LKCD and self.codec is not Codec.NONE)
        return self.level & ~ZERO_PAGES if stay else self.level

    @property
    def shares_zeros(self) -> bool:
        """Whether zero pages become one."""
        return self.format in (Format.KDUMP, Format.DISKDUMP) and bool(self.level & ZERO_PAGES)


@frozen
class ConversionReport:
    """`pages` of `total_pages` were written, `file_bytes` bytes; `gaps`: what the filter could not tell."""

    pages: int
    total_pages: int
    file_bytes: int
    incomplete: bool
    gaps: tuple[Gap, ...] = ()


def packing(source: PageSource, conversion: Conversion) -> AbstractContextManager[Packing]:
    """Who packs.  Enter it before anything that takes long: processes start in the meantime."""
    count = conversion.jobs
    if count == 1 or conversion.codec is Codec.NONE or conversion.format not in (Format.KDUMP, Format.DISKDUMP):
        return InProcess(source, conversion.codec, conversion.shares_zeros)
    from .workers import Workers

    return Workers(conversion.spec, conversion.codec, conversion.shares_zeros, count)


def kept_pages(source: PageSource, level: int) -> tuple[PageMap, tuple[Gap, ...]]:
    """The page frames of *source* that *level* keeps and the source has."""
    if not level and isinstance(source, MemorySource) and source.vmcoreinfo is None:
        return source.stored, ()
    found = Classifier(source, level).run()
    return found.kept & source.stored, found.gaps


def convert(source: PageSource, output: Output, conversion: Conversion, packer: Packing,
            report: Report | None = None, *, kept: PageMap | None = None,
            split: tuple[int, int] | None = None) -> ConversionReport:
    """Write *source* to *output*.  *kept* saves the filtering when it is known; *split*: one file of a set.

    FormatError for a page that cannot be read or a format that cannot hold the source, DeviceError for the medium.
    """
    gaps: tuple[Gap, ...] = ()
    if kept is None:
        kept, gaps = kept_pages(source, conversion.file_level)

    def tell(done: int, total: int) -> None:
        if report is not None:
            report("write", done, total)

    made = ConversionReport(kept.count(), source.ram.count(), 0, source.incomplete, gaps)
    match conversion.format:
        case Format.ELF:
            elf = write_elf(source, output, kept, tell)
            return evolve(made, pages=elf.pages, file_bytes=elf.file_bytes)
        case Format.LKCD:
            from .lkcd_layout import LkcdCompress
            from .lkcd_write import write_lkcd

            compress = LkcdCompress.GZIP if conversion.codec is Codec.ZLIB else LkcdCompress.NONE
            return evolve(made, file_bytes=write_lkcd(source, output, kept, compress, tell).file_bytes)
        case Format.RAW:
            return evolve(made, file_bytes=_write_raw(source, output, kept, tell))
        case _:
            options = KdumpOptions(kept, conversion.codec, conversion.level, split,
                                   conversion.format is Format.DISKDUMP, source.incomplete)
            written = write_kdump(source, output, options, packer, tell)
            return evolve(made, pages=written.pages, file_bytes=written.file_bytes)


def _write_raw(source: PageSource, output: Output, kept: PageMap, tell: Callable[[int, int], None]) -> int:
    """Every page at its physical address; what is left out stays a hole."""
    from .elf import CoreSegment
    from .elf_write import copy_segment

    page, total, done = source.page_size, kept.count(), 0
    for first, count in kept.runs():
        for size in copy_segment(source, output, CoreSegment(first * page, count * page), first * page):
            done += size // page
            tell(done, total)
    end = source.max_pfn * page
    if isinstance(output, FileOutput):
        output.resize(end)
    elif total and source.max_pfn - 1 not in kept:
        output.write(end - 1, b"\0")
    return end


def split_ranges(kept: PageMap, files: int) -> list[tuple[int, int]]:
    """Page frames [first, end) of each of *files* files, about as many kept pages in each.

    FormatError when there are fewer pages than files.
    """
    total = kept.count()
    if total < files:
        raise FormatError(f"{total} pages cannot be split into {files} files")
    edges = [0, *(kept.nth_frame(total * number // files) for number in range(1, files)), kept.max_pfn]
    return list(pairwise(edges))


def convert_split(source: PageSource, paths: list[str], conversion: Conversion, packer: Packing, *, force: bool = False,
                  report: Report | None = None) -> list[ConversionReport]:
    """A KDUMP set in *paths*; all of the files appear, or none.

    UsageError for another format.
    """
    if conversion.format is not Format.KDUMP:
        raise UsageError(f"--split: only kdump files are split, not {conversion.format.value} ones")
    kept, gaps = kept_pages(source, conversion.file_level)
    reports = []
    with ExitStack() as stack:
        outputs = [stack.enter_context(FileOutput(path, force)) for path in paths]
        for output, split in zip(outputs, split_ranges(kept, len(paths)), strict=True):
            reports.append(convert(source, output, conversion, packer, report, kept=kept, split=split))
    return [evolve(one, gaps=gaps) for one in reports]
