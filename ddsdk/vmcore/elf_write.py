"""Pages into an ELF core: whole, or without what a filter leaves out.

As makedumpfile does it (formats.md 4.3): fewer than GAP_PAGES left-out pages between two kept ones are written all the
same, more of them end a segment; what is left out behind a segment's last page lies between its p_filesz and p_memsz,
so that readers still see RAM there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

from attrs import frozen

from .elf import CoreLayout, CoreSegment, layout_core
from .kernelmap import KernelPiece, kernel_piece
from .notes import Note, pack_notes
from .output import FileOutput, Output
from .pagemap import PageMap
from .pages import PageSource

GAP_PAGES = 256
COPY_BYTES = 4 << 20
#: crash 8.0.2 dies of QEMU's own notes in a file of this shape (real-lab.md).
_NOT_IN_ELF = (b"QEMU",)

Progress = Callable[[int, int], None]


@frozen
class ElfReport:
    """What was written: page frames (left-out ones in short gaps among them), segments, ELF class, bytes."""

    pages: int
    segments: int
    elf_class: int
    file_bytes: int


def write_elf(source: PageSource, output: Output, kept: PageMap, progress: Progress | None = None) -> ElfReport:
    """Write the page frames *kept* of *source*.

    FormatError for a page that cannot be read, DeviceError for the medium.
    """
    tell = progress or (lambda done, total: None)
    segments = segments_of(source, kept)
    layout = layout_core(source.abi, segments, elf_notes(source), incomplete=source.incomplete)
    total = sum(segment.size for segment in segments) // source.page_size
    done = 0
    for segment, offset in zip(segments, layout.offsets, strict=True):
        for size in copy_segment(source, output, segment, offset):
            done += size // source.page_size
            tell(done, total)
    output.write(0, layout.header)
    return ElfReport(total, len(segments), layout.elf_class, layout.file_size)


def elf_layout(source: PageSource, kept: PageMap) -> CoreLayout:
    """The file that `write_elf` would make."""
    return layout_core(source.abi, segments_of(source, kept), elf_notes(source), incomplete=source.incomplete)


def elf_notes(source: PageSource) -> bytes:
    """The notes of the file."""
    return pack_notes(source.abi, (note for note in source.notes if not _left_behind(note)))


def _left_behind(note: Note) -> bool:
    return note.name in _NOT_IN_ELF


def segments_of(source: PageSource, kept: PageMap) -> list[CoreSegment]:
    """PT_LOADs by address: every page of RAM lies in one, its bytes up to the last kept page."""
    page, stored = source.page_size, source.stored
    segments: list[CoreSegment] = []
    for first, count in source.ram.runs():
        end = first + count
        runs = list(_joined(kept, stored, first, end))
        starts = [first, *(start for start, _ in runs[1:])] if runs else [first]
        stops = [*starts[1:], end]
        for at, (start, stop) in enumerate(zip(starts, stops, strict=True)):
            low, high = runs[at] if runs else (start, start)
            if low > start:                     # left out before the first kept page: RAM of its own
                segments.append(CoreSegment(start * page, 0, memory_size=(low - start) * page))
            segments.append(CoreSegment(low * page, (high - low) * page, memory_size=(stop - low) * page))
    return _with_kernel(segments, source, page)


def _joined(kept: PageMap, stored: PageMap, first: int, end: int) -> Iterator[tuple[int, int]]:
    """The kept runs of [first, end) as (start, end); short gaps whose pages the source has are closed."""
    start = stop = -1
    for low, count in kept.runs(first, end):
        if stop >= 0 and low - stop < GAP_PAGES and bool(stored.flags(stop, low - stop).all()):
            stop = low + count
            continue
        if stop >= 0:
            yield start, stop
        start, stop = low, low + count
    if stop >= 0:
        yield start, stop


def _with_kernel(segments: list[CoreSegment], source: PageSource, page: int) -> list[CoreSegment]:
    """What lies in the kernel's own piece in segments of its own, with virtual addresses: gdb looks there."""
    piece = kernel_piece(source.abi, source.vmcoreinfo)
    if piece is None:
        return segments
    cut: list[CoreSegment] = []
    for segment in segments:
        apart = segment.paddr + segment.memsz <= piece.paddr or piece.paddr + piece.size <= segment.paddr
        cut += [segment] if apart else _cut(segment, piece)
    return cut


def _cut(segment: CoreSegment, piece: KernelPiece) -> list[CoreSegment]:
    bytes_end, end = segment.paddr + segment.size, segment.paddr + segment.memsz
    edges = sorted({segment.paddr, end, *(edge for edge in (piece.paddr, piece.paddr + piece.size)
                                          if segment.paddr < edge < end)})
    return [CoreSegment(low, max(0, min(high, bytes_end) - low),
                        piece.vaddr + low - piece.paddr if piece.paddr <= low < piece.paddr + piece.size else 0,
                        high - low)
            for low, high in pairwise(edges)]


def copy_segment(source: PageSource, output: Output, segment: CoreSegment, offset: int) -> Iterator[int]:
    """The segment's bytes to *offset* on, in pieces; how many each time."""
    page = source.page_size
    buffer = memoryview(bytearray(min(COPY_BYTES, segment.size)))
    for at in range(0, segment.size, COPY_BYTES):
        size = min(COPY_BYTES, segment.size - at)
        paddr = segment.paddr + at
        if not _copied_in_kernel(source, output, paddr, size, offset + at):
            source.read_frames(paddr // page, size // page, buffer[:size])
            _write(output, offset + at, buffer[:size])
        source.release_range(paddr, size)
        yield size


def _write(output: Output, offset: int, data: memoryview) -> None:
    if isinstance(output, FileOutput):
        output.write_sparse(offset, data)
    else:
        output.write(offset, data)


def _copied_in_kernel(source: PageSource, output: Output, paddr: int, size: int, offset: int) -> bool:
    """copy_file_range(2), where the source's bytes lie in a file as they are."""
    extents = getattr(source, "extents", ())
    if not isinstance(output, FileOutput):
        return False
    for extent in extents:
        if extent.fd is not None and extent.paddr <= paddr and paddr + size <= extent.end:
            return output.copy_from(extent.fd, extent.file_offset + paddr - extent.paddr, offset, size)
    return False
