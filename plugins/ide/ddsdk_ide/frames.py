"""What the bus master reads in memory: physical region descriptors, little-endian.

Source: 82371AB data sheet, 9.4 (figure 8); hw-ide.md 2.  A table is aligned to 4 bytes and crosses no multiple of
64 KiB, and neither does a region.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.layout import CStruct, c_struct, u16, u32

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

#: No region crosses a multiple of this; a count of 0 means so many bytes.
REGION_BYTES: Final = 0x10000
#: Prd.FLAGS of the last entry, the data sheet's EOT.
EOT: Final = 0x8000


@c_struct
class Prd(CStruct):
    """One entry of the table, 8 bytes."""

    ADDRESS: int = u32()            # even
    COUNT: int = u16()              # bytes, even
    FLAGS: int = u16()              # EOT, or 0


def regions(segments: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """*segments* (bus address, bytes) cut where they cross a multiple of REGION_BYTES."""
    for segment, nbytes in segments:
        address, left = segment, nbytes
        while left:
            count = min(left, REGION_BYTES - address % REGION_BYTES)
            yield address, count
            address, left = address + count, left - count
