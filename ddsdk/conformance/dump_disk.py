"""A disk with a dump partition in its middle, and what may have changed on it when all is over.

    noise | load | noise | partition | noise | load | noise

Nothing beside the partition may change but what the load itself wrote: a dump that writes elsewhere is worse than no
dump (field.md 4.3, invariant (i)).
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from attrs import frozen

from ddsdk.abi import X86_64, Abi
from ddsdk.block.load import Region
from ddsdk.diskdump.format import format_device
from ddsdk.diskdump.target import DumpTarget

SECTOR: Final = 512
#: Sectors between the load's region and whatever comes next.
_GUARD: Final = 128


@frozen
class DumpDisk:
    """A formatted dump disk in a file, and the bytes it was made with."""

    image: Path
    made: bytes
    partition: DumpTarget

    @classmethod
    def make(cls, image: Path, size_bytes: int, margin_bytes: int, *, abi: Abi = X86_64,
             formatted: bool = True) -> Self:
        """A partition of *size_bytes* for *abi*'s machine, with *margin_bytes* of noise before and behind it.

        *formatted* False: noise all over, a partition that is not ours.
        """
        noise = bytearray(random.Random("dump disk").randbytes(size_bytes + 2 * margin_bytes))
        partition = DumpTarget(str(image), margin_bytes, size_bytes)
        if formatted:
            noise[margin_bytes:margin_bytes + size_bytes] = bytes(size_bytes)
        image.write_bytes(noise)
        if formatted:
            format_device(partition, abi=abi)
        return cls(image, image.read_bytes(), partition)

    def copy_to(self, image: Path) -> DumpDisk:
        """The same disk, as it was made, in another file."""
        image.write_bytes(self.made)
        offset, size = self.partition.offset_bytes, self.partition.size_bytes
        return DumpDisk(image, self.made, DumpTarget(str(image), offset, size))

    @property
    def first(self) -> int:
        """The partition's first sector."""
        return self.partition.offset_bytes // SECTOR

    @property
    def end(self) -> int:
        """The sector behind its last one."""
        return self.first + (self.partition.size_bytes or 0) // SECTOR

    @property
    def load_regions(self) -> tuple[Region, Region]:
        """Where a load may play, before the partition and behind it."""
        sectors = self.first - 2 * _GUARD
        return (Region(_GUARD, sectors, writable=True), Region(self.end + _GUARD, sectors, writable=True))

    def changed(self, written: Iterable[tuple[int, int]], *, partition: bool) -> list[int]:
        """Sectors that differ from what was made and that none of *written* (first, sectors) names.

        *partition*: whether those of the partition count.
        """
        now, allowed = self.image.read_bytes(), bytearray(len(self.made) // SECTOR)
        for first, sectors in written:
            allowed[first:first + sectors] = b"\1" * sectors
        if not partition:
            allowed[self.first:self.end] = b"\1" * (self.end - self.first)
        return [n for n in range(len(allowed)) if not allowed[n]
                and now[n * SECTOR:(n + 1) * SECTOR] != self.made[n * SECTOR:(n + 1) * SECTOR]]
