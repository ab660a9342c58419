"""The disk of a story: what is on it, and what it says of what changed."""

from __future__ import annotations

from pathlib import Path

from ddsdk.conformance.dump_disk import SECTOR, DumpDisk
from ddsdk.diskdump.check import Verdict, check_device

MARGIN, SIZE = 512 << 10, 64 << 10
FIRST, END = MARGIN // SECTOR, (MARGIN + SIZE) // SECTOR


def flip(disk: DumpDisk, *sectors: int) -> None:
    """Change one byte of each."""
    data = bytearray(disk.image.read_bytes())
    for sector in sectors:
        data[sector * SECTOR + 7] ^= 1
    disk.image.write_bytes(data)


def test_formatted_in_the_middle_of_noise(tmp_path: Path) -> None:
    """A partition that is ready for a dump, and nothing like zeros around it."""
    disk = DumpDisk.make(tmp_path / "d.img", SIZE, MARGIN)
    assert check_device(disk.partition).verdict is Verdict.READY
    assert len(disk.made) == SIZE + 2 * MARGIN
    assert len(set(disk.made[:4096])) > 200
    assert disk.image.read_bytes() == disk.made
    assert check_device(DumpDisk.make(tmp_path / "e.img", SIZE, MARGIN, formatted=False).partition).verdict \
        is not Verdict.READY


def test_load_regions_keep_away_from_the_partition(tmp_path: Path) -> None:
    """64 KiB of noise lie between each region and what comes next."""
    disk = DumpDisk.make(tmp_path / "d.img", SIZE, MARGIN)
    before, behind = disk.load_regions
    assert (before.start, before.start + before.sectors) == (128, FIRST - 128)
    assert (behind.start, behind.start + behind.sectors) == (END + 128, len(disk.made) // SECTOR - 128)
    assert before.writable
    assert behind.writable


def test_what_changed(tmp_path: Path) -> None:
    """Sectors that no write named; those of the partition when they are asked for."""
    disk = DumpDisk.make(tmp_path / "d.img", SIZE, MARGIN)
    assert disk.changed([], partition=True) == []
    flip(disk, 3, FIRST - 1, FIRST, END - 1, END)
    assert disk.changed([], partition=True) == [3, FIRST - 1, FIRST, END - 1, END]
    assert disk.changed([], partition=False) == [3, FIRST - 1, END]
    assert disk.changed([(2, 2), (END, 1)], partition=False) == [FIRST - 1]


def test_copy(tmp_path: Path) -> None:
    """The disk as it was made, whatever became of the original."""
    disk = DumpDisk.make(tmp_path / "d.img", SIZE, MARGIN)
    flip(disk, 0)
    copy = disk.copy_to(tmp_path / "e.img")
    assert copy.image.read_bytes() == disk.made
    assert (copy.partition.path, copy.partition.offset_bytes) == (str(tmp_path / "e.img"), MARGIN)
