"""The disks of a guest: what is outside the dump partition is seen to change."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsdk.guestdrill.disks import LOOK_BYTES, MARGIN_BYTES, Disks

MIB = 1 << 20
LOAD, DUMP = 4 * MIB, 16 * MIB


def poke(path: Path, offset: int) -> None:
    """Change one byte."""
    with path.open("r+b") as disk:
        disk.seek(offset)
        old = disk.read(1)
        disk.seek(offset)
        disk.write(bytes([old[0] ^ 1]))


@pytest.fixture(params=[False, True], ids=["same", "second"])
def disks(request: pytest.FixtureRequest, tmp_path: Path) -> Disks:
    """One disk with load and partition, or one for each."""
    return Disks.make(tmp_path, LOAD, DUMP, request.param)


def test_the_partition_lies_between_margins(disks: Disks) -> None:
    """Behind the load on the busy disk, or on the other; nothing of it is outside its image."""
    start, size = disks.dump.offset_bytes, disks.dump.size_bytes or 0
    assert size == DUMP
    assert start == (MARGIN_BYTES if len(disks.paths) == 2 else LOAD + MARGIN_BYTES)
    assert Path(disks.dump.path) == disks.paths[-1]
    assert disks.paths[-1].stat().st_size == start + size + MARGIN_BYTES


def test_the_dump_changes_nothing_outside(disks: Disks) -> None:
    """Its first and last byte are its own."""
    before = disks.picture()
    poke(disks.paths[-1], disks.dump.offset_bytes)
    poke(disks.paths[-1], disks.dump.offset_bytes + DUMP - 1)
    assert disks.changed_since(before) == ""


@pytest.mark.parametrize(("which", "at"), [(0, 0), (0, LOAD - 1), (-1, "before"), (-1, "behind")])
def test_a_byte_outside_is_found(disks: Disks, which: int, at: int | str) -> None:
    """Where the load was, right before the partition, right behind it."""
    start = disks.dump.offset_bytes
    offset = {"before": start - 1, "behind": start + DUMP}.get(str(at), at)
    assert isinstance(offset, int)
    before = disks.picture()
    poke(disks.paths[which], offset)
    place = disks.changed_since(before)
    low = int(place.split()[2])
    assert place.startswith(f"{disks.paths[which].name}, bytes ")
    assert low <= offset < low + LOOK_BYTES


def test_a_disk_that_grew_changed(disks: Disks) -> None:
    """An image written past its end."""
    before = disks.picture()
    with disks.paths[-1].open("ab") as disk:
        disk.write(b"x")
    assert disks.changed_since(before) != ""


def test_margins_tell_where_a_byte_came_from(disks: Disks) -> None:
    """Every sector carries its own offset: a shifted copy is a change."""
    with disks.paths[-1].open("rb") as disk:
        disk.seek(disks.dump.offset_bytes - 512)
        assert disk.read(16) == (disks.dump.offset_bytes - 512).to_bytes(8, "big") * 2
