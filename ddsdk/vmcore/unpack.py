"""A dump file's pages unpacked into a file without a name, for those who need memory where it can be pointed at."""

from __future__ import annotations

import mmap
import os
import tempfile

from ddsdk.errors import DeviceError

from .image import FileMapping, MemorySource, Run
from .pages import PageSource

_PIECE_BYTES = 4 << 20


def unpacked(source: PageSource) -> MemorySource:
    """*source* as mapped memory; what the file has not got reads as zeros and is `left_out`.

    DeviceError when there is no room for it, FormatError for a page that cannot be read.
    """
    page = source.page_size
    runs = [Run(first, count) for first, count in source.ram.runs()]
    size = sum(run.npages for run in runs) * page
    with tempfile.TemporaryFile() as file:
        try:
            file.truncate(size)
            _fill(source, runs, file.fileno())
        except OSError as error:
            raise DeviceError(f"{source.origin}: its {size} bytes of memory cannot be unpacked into "
                              f"{tempfile.gettempdir()}: {os.strerror(error.errno or 0)}; TMPDIR names another place"
                              ) from None
        fd = os.dup(file.fileno())
    mapping = FileMapping(mmap.mmap(fd, size, prot=mmap.PROT_READ), fd, size)
    extents, at = [], 0
    for run in runs:
        extents.append(mapping.extent(run.start_pfn * page, at, run.npages * page))
        at += run.npages * page
    left_out = tuple(Run(first, count) for first, count in (source.ram - source.stored).runs())
    return MemorySource(source.abi, tuple(extents), source.cpus, source.vmcoreinfo, source.origin, source.nodename,
                        source.incomplete, (mapping.close,), source.kind, source.dump_level, source.notes, left_out)


def _fill(source: PageSource, runs: list[Run], fd: int) -> None:
    page, at = source.page_size, 0
    buffer = memoryview(bytearray(_PIECE_BYTES))
    most = _PIECE_BYTES // page
    for run in runs:
        for low, pages in source.stored.pieces(most, run.start_pfn, run.start_pfn + run.npages):
            source.read_frames(low, pages, buffer[:pages * page])
            os.pwrite(fd, buffer[:pages * page], at + (low - run.start_pfn) * page)
        at += run.npages * page
