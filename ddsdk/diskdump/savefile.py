"""Any dump on a partition into any dump file: what savecore does where copying blocks is not enough.

The file starts to look like a dump file with the last write: its first bytes are held back until all others are there.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

from attrs import evolve, frozen

from ddsdk.errors import FormatError
from ddsdk.vmcore.codecs import Codec
from ddsdk.vmcore.convert import Conversion, ConversionReport, Format, convert, kept_pages
from ddsdk.vmcore.elf_write import elf_layout
from ddsdk.vmcore.kdump_layout import DESCRIPTOR_BYTES
from ddsdk.vmcore.packing import InProcess, Packing
from ddsdk.vmcore.pagemap import PageMap

from .crashdir import CaseDirectory, NoSpaceError, VmcoreFile
from .pagesource import PROGRAM, PartitionSource, partition_spec
from .partition import DumpState, PartitionDump
from .target import TargetFile

#: Bytes that are written last: more than any format's magic, and a kdump header's status among them.
HELD_BYTES = 4096
#: `tell(phase, done, total)`, counts in blocks or pages.
Tell = Callable[[str, int, int], None]


@frozen
class Written:
    """A file written: `dump` is what of the partition is in it, `made` what convert says."""

    dump: PartitionDump
    made: ConversionReport
    segments: int
    elf_class: int


class HeadLast:
    """An Output that holds back the first HELD_BYTES until `finish`."""

    def __init__(self, file: VmcoreFile) -> None:
        self._file = file
        self._head = bytearray(HELD_BYTES)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store *data* at *offset*."""
        view = memoryview(data)
        if offset < HELD_BYTES:
            some = min(len(view), HELD_BYTES - offset)
            self._head[offset:offset + some] = view[:some]
            offset, view = offset + some, view[some:]
        if len(view):
            self._file.write(offset, view)

    def finish(self, size: int) -> None:
        """Everything else is written and on the medium; the file is *size* bytes long."""
        self._file.resize(size)
        self._file.sync()
        self._file.write(0, bytes(self._head[:size]))
        self._file.sync()


def conversion_of(kind: str, level: int, codec: str | None, jobs: int) -> Conversion:
    """What is to be made; UsageError for a codec that the format has not got."""
    return Conversion.of(Format(kind), Codec(codec) if codec else None, level, jobs, "")


def write_vmcore(case: CaseDirectory, file: TargetFile, dump: PartitionDump, conversion: Conversion, tell: Tell,
                 with_room: Callable[[Callable[[], Written]], Written]) -> Written:
    """The vmcore of *dump* in *case*, synced and not yet named.

    Pages that turn out not to be on the device are left out, and the dump is not complete then.  *with_room* calls
    what it is given, and again when there was no room and somebody made some.
    """
    source = PartitionSource.of(file, dump)
    conversion = evolve(conversion, spec=partition_spec(file.target, source.codec))
    lost = source.unwritten(dump.kind)
    if lost.count():
        dump = _without(source, dump, lost)
    try:
        return with_room(lambda: _write(case, source, dump, conversion, tell))
    except FormatError:
        lost = source.undecodable()
        if not lost.count():
            raise
        case.remove_file()
        smaller = _without(source, dump, lost)
        return with_room(lambda: _write(case, source, smaller, conversion, tell))


def _without(source: PartitionSource, dump: PartitionDump, lost: PageMap) -> PartitionDump:
    count, (first, _) = lost.count(), next(iter(lost.runs()))
    source.drop(lost)
    missing = f"{count} pages that it should hold are not on the device (first page frame {first:#x})"
    left = source.stored.count()
    return evolve(dump, state=DumpState.INCOMPLETE, stored=source.stored, warnings=(*dump.warnings, missing),
                  why=f"incomplete dump, {left} of {dump.dump.total_pages} pages: {missing}")


def _write(case: CaseDirectory, source: PartitionSource, dump: PartitionDump, conversion: Conversion,
           tell: Tell) -> Written:
    kept, gaps = (kept_pages(source, conversion.file_level) if conversion.level else (source.stored, ()))
    conversion = evolve(conversion, level=conversion.level | source.dump_level)
    segments, elf_class = 0, 0
    reserve = kept.count() * (DESCRIPTOR_BYTES if conversion.codec is not Codec.NONE else source.page_size)
    if conversion.format is Format.ELF:
        layout = elf_layout(source, kept)
        reserve, segments, elf_class = layout.file_size, len(layout.offsets), layout.elf_class
    vmcore = case.create(reserve)
    try:
        out = HeadLast(vmcore)
        with _packing(source, conversion) as packer:
            made = convert(source, out, conversion, packer, lambda _phase, done, total: tell("copy", done, total),
                           kept=kept)
        out.finish(made.file_bytes)
    except NoSpaceError:
        case.remove_file()
        raise
    finally:
        vmcore.close()
    return Written(dump, evolve(made, gaps=gaps), segments, elf_class)


def _packing(source: PartitionSource, conversion: Conversion) -> AbstractContextManager[Packing]:
    if conversion.jobs == 1 or conversion.codec is Codec.NONE or conversion.format is not Format.KDUMP:
        return InProcess(source, conversion.codec, conversion.shares_zeros)
    from ddsdk.vmcore.workers import Workers

    return Workers(conversion.spec, conversion.codec, conversion.shares_zeros, conversion.jobs, PROGRAM)
