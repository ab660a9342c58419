"""A raw RAM image: file offset = physical address, as QEMU's memory-backend-file and hypervisors keep it."""

from __future__ import annotations

from ddsdk.abi import Abi
from ddsdk.errors import FormatError

from .image import FileMapping, MemoryExtent, MemorySource

#: QEMU's `pc` machine: RAM of 3.5 GiB or more has its part above 3 GiB moved to 4 GiB.
PC_LOW_LIMIT = 0xE000_0000
PC_LOW_BYTES = 0xC000_0000
PC_HIGH_PADDR = 1 << 32
#: The VGA window: the image has bytes for it, the machine has no RAM there.
VGA_HOLE = (0xA_0000, 0xC_0000)


def pc_layout(size_bytes: int) -> list[tuple[int, int, int]]:
    """(paddr, file offset, bytes) of RAM in an image of a PC's memory."""
    low = size_bytes if size_bytes < PC_LOW_LIMIT else PC_LOW_BYTES
    start, end = VGA_HOLE
    pieces = [(0, 0, min(low, start))]
    if low > end:
        pieces.append((end, end, low - end))
    if size_bytes > low:
        pieces.append((PC_HIGH_PADDR, low, size_bytes - low))
    return pieces


def open_raw(path: str, abi: Abi, *, flat: bool = False) -> MemorySource:
    """The memory in the image *path* of an *abi* machine: no registers and no VMCOREINFO come with it.

    i386 and x86_64 images are a PC's, with its VGA hole and, from 3.5 GiB on, its hole below 4 GiB; *flat* or
    another machine: physical address = file offset throughout.  FormatError when it is no whole number of
    pages.
    """
    mapping = FileMapping.open(path)
    try:
        page = abi.page_size
        if mapping.size % page:
            raise FormatError(f"{path}: {mapping.size} bytes are no whole number of {page}-byte pages; a raw RAM image "
                              "has nothing before or behind the memory")
        pieces = [(0, 0, mapping.size)] if flat or abi.name not in ("i386", "x86_64") else pc_layout(mapping.size)
        extents: list[MemoryExtent] = [mapping.extent(*piece) for piece in pieces]
        return MemorySource(abi, tuple(extents), (), None, path, closers=(mapping.close,))
    except BaseException:
        mapping.close()
        raise
