"""What the {{cookiecutter.chip}} reads in memory, little-endian.  Data sheet: README.md, "Table of the bus master"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.layout import CStruct, c_struct, u16, u32

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: No region crosses a multiple of this; COUNT 0 means so many bytes.
REGION_BYTES: Final = 0x10000
#: Prd.FLAGS: the last entry.
LAST: Final = 0x8000


@c_struct
class Prd(CStruct):
    """One entry of the table, 8 bytes."""

    ADDRESS: int = u32()            # even
    COUNT: int = u16()              # bytes, even
    FLAGS: int = u16()              # LAST, or 0


def regions(segments: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """*segments* cut where they cross a multiple of REGION_BYTES: (bus address, bytes)."""
    for segment, nbytes in segments:
        address, left = segment, nbytes
        while left:
            count = min(left, REGION_BYTES - address % REGION_BYTES)
            yield address, count
            address, left = address + count, left - count
