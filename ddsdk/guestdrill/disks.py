"""The guest's disks as image files: a part the load may use, a dump partition, and a pattern around it.

What lies outside the partition is looked at twice, when the machine has stopped and when the dump is over: until the
first look the guest's load writes, after it nobody may.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from attrs import frozen

from ..diskdump.target import DumpTarget

MARGIN_BYTES = 8 << 20
LOOK_BYTES = 1 << 20
_SECTOR_BYTES = 512

#: (path, offset, bytes of it): a piece of a disk that the dump has no business with.
Place = tuple[Path, int, int]
Picture = dict[Place, bytes]


@frozen
class Disks:
    """The images in the order the guest finds them, the busy one first, and the dump partition on one of them."""

    paths: tuple[Path, ...]
    dump: DumpTarget

    @classmethod
    def make(cls, directory: Path, load_bytes: int, dump_bytes: int, second: bool) -> Self:
        """Images in *directory*: the partition on the busy disk behind its load, or on a *second* one."""
        busy, other = directory / "disk0.img", directory / "disk1.img"
        if not second:
            _make(busy, (load_bytes, load_bytes + MARGIN_BYTES + dump_bytes))
            return cls((busy,), DumpTarget(str(busy), load_bytes + MARGIN_BYTES, dump_bytes))
        _make(busy, (load_bytes,))
        _make(other, (0, MARGIN_BYTES + dump_bytes))
        return cls((busy, other), DumpTarget(str(other), MARGIN_BYTES, dump_bytes))

    def picture(self) -> Picture:
        """What is outside the dump partition now."""
        found: Picture = {}
        for place in self._outside():
            path, offset, length = place
            with path.open("rb") as disk:
                disk.seek(offset)
                found[place] = hashlib.blake2b(disk.read(length)).digest()
        return found

    def changed_since(self, before: Picture) -> str:
        """The first place outside the partition that is not as it was *before*; empty when there is none."""
        now = self.picture()
        for place in [*before, *now]:
            if before.get(place) != now.get(place):
                path, offset, length = place
                return f"{path.name}, bytes {offset} to {offset + length - 1},"
        return ""

    def _outside(self) -> Iterator[Place]:
        for path in self.paths:
            size = path.stat().st_size
            start, end = size, size
            if str(path) == self.dump.path:
                start, end = self.dump.offset_bytes, self.dump.offset_bytes + (self.dump.size_bytes or 0)
            for low, high in ((0, start), (end, size)):
                for at in range(low, high, LOOK_BYTES):
                    yield path, at, min(LOOK_BYTES, high - at)


def _make(path: Path, margins: tuple[int, ...]) -> None:
    """An image that ends with the last of *margins*, which carry each sector's number."""
    with path.open("wb") as disk:
        for at in margins:
            disk.seek(at)
            disk.write(b"".join((at + sector * _SECTOR_BYTES).to_bytes(8, "big") * (_SECTOR_BYTES // 8)
                                for sector in range(MARGIN_BYTES // _SECTOR_BYTES)))
