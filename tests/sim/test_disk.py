"""A disk: nothing outside its window, a cache that can lose writes, host errors as disk errors."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ddsdk.errors import DeviceError, UsageError
from ddsdk.sim.disk import Disk, DiskError


def pattern(nbytes: int, seed: int = 0) -> bytes:
    """Bytes that differ from their neighbours and from other seeds."""
    return bytes((i * 7 + seed * 13 + (i >> 9)) & 0xFF for i in range(nbytes))


def views(data: bytes, *cuts: int) -> list[memoryview]:
    """*data* in pieces that end at *cuts*."""
    ends = [*cuts, len(data)]
    starts = [0, *cuts]
    return [memoryview(data)[a:b] for a, b in zip(starts, ends, strict=True)]


def read(disk: Disk, lba: int, nbytes: int) -> bytes:
    """Bytes from sector *lba*."""
    buffer = bytearray(nbytes)
    disk.readv(lba, [memoryview(buffer)])
    return bytes(buffer)


@pytest.fixture(params=["file", "memory"])
def backing(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """16 KiB of 0xEE, as a file and as memory."""
    if request.param == "memory":
        return bytearray(b"\xee" * 16384)
    path = tmp_path / "disk.img"
    path.write_bytes(b"\xee" * 16384)
    return path


def content(backing: Any) -> bytes:
    """All of it."""
    return bytes(backing) if isinstance(backing, bytearray) else backing.read_bytes()


@pytest.mark.parametrize("sector_size", [512, 1024, 2048, 4096])
def test_reads_what_was_written(backing: Any, sector_size: int) -> None:
    """Scattered pieces land one after the other, and come back in other pieces."""
    data = pattern(8192)
    with Disk(backing, sector_size=sector_size) as disk:
        assert disk.sectors == 16384 // sector_size
        disk.writev(4096 // sector_size, views(data, 100, 5000))
        one, two = bytearray(3000), bytearray(5192)
        disk.readv(4096 // sector_size, [memoryview(one), memoryview(two)])
        assert bytes(one + two) == data
    assert content(backing) == b"\xee" * 4096 + data + b"\xee" * 4096


def test_window_is_never_left(backing: Any) -> None:
    """A disk of 8 KiB at offset 4 KiB changes only those bytes, and refuses what ends one sector later."""
    with Disk(backing, 8192, offset_bytes=4096) as disk:
        assert disk.sectors == 16
        with pytest.raises(DiskError) as error:
            disk.writev(15, [memoryview(bytes(1024))])
        assert str(error.value.sense) == "05/21/00"
        with pytest.raises(DiskError):
            disk.readv(-1, [memoryview(bytearray(512))])
        disk.writev(0, [memoryview(bytes(8192))])
    assert content(backing) == b"\xee" * 4096 + bytes(8192) + b"\xee" * 4096


def test_more_views_than_one_call_takes(tmp_path: Path) -> None:
    """IOV_MAX + 1 pieces go in two system calls."""
    path = tmp_path / "d"
    path.write_bytes(bytes(4096 * 512))
    data = pattern(2048 * 512)
    with Disk(path) as disk:
        pieces = [memoryview(data)[i:i + 1024] for i in range(0, len(data), 1024)]
        disk.writev(1, pieces + [memoryview(b"")] * 400)
        assert read(disk, 1, len(data)) == data


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pwritev may write less than asked, in the middle of a view; the rest follows."""
    path = tmp_path / "d"
    path.write_bytes(bytes(8192))
    real, calls = os.pwritev, []

    def short(fd: int, buffers: Any, offset: int) -> int:
        calls.append(offset)
        return real(fd, [memoryview(b"".join(buffers))[:700]], offset)

    monkeypatch.setattr(os, "pwritev", short)
    data = pattern(2048)
    with Disk(path) as disk:
        disk.writev(2, views(data, 512, 1200))
    assert path.read_bytes() == bytes(1024) + data + bytes(5120)
    assert calls == [1024, 1024, 1724, 2424]


@pytest.mark.parametrize(("number", "sense"), [
    (errno.ENOSPC, "03/0c/00"), (errno.EIO, "03/0c/00"), (errno.EROFS, "07/27/00"),
    (errno.ENOMEM, "04/44/00")])
def test_host_errors_become_disk_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        number: int, sense: str) -> None:
    """What the host's file system refuses is reported as a disk reports it, with the host's words kept."""
    path = tmp_path / "d"
    path.write_bytes(bytes(8192))

    def fail(*_arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwritev", fail)
    with Disk(path) as disk:
        with pytest.raises(DiskError) as error:
            disk.writev(3, [memoryview(bytes(512))])
        assert str(error.value.sense) == sense
        assert disk.last_error == f"{path}: write at sector 3: {os.strerror(number)}"


def test_file_that_shrank(tmp_path: Path) -> None:
    """Reading where the file has ended meanwhile is a medium error, not silence."""
    path = tmp_path / "d"
    path.write_bytes(bytes(8192))
    with Disk(path) as disk:
        os.truncate(path, 1024)
        with pytest.raises(DiskError) as error:
            read(disk, 4, 512)
        assert str(error.value.sense) == "03/11/00"


def test_read_only(backing: Any) -> None:
    """A read-only disk is write protected."""
    with Disk(backing, read_only=True) as disk:
        with pytest.raises(DiskError) as error:
            disk.writev(0, [memoryview(bytes(512))])
        assert str(error.value.sense) == "07/27/00"
    assert content(backing) == b"\xee" * 16384


def test_power_off_loses_what_was_not_flushed(backing: Any) -> None:
    """With a volatile cache, writes after the last flush are undone, overlapping ones in the right order."""
    with Disk(backing, volatile_cache=True) as disk:
        disk.write_cache = True
        disk.writev(0, [memoryview(b"a" * 512)])
        disk.flush()
        disk.writev(0, [memoryview(b"b" * 1024)])
        disk.writev(1, [memoryview(b"c" * 512)])
        disk.writev(4, [memoryview(b"f" * 512)], fua=True)
        assert disk.unsynced == 2
        disk.power_off()
        assert disk.unsynced == 0
    assert content(backing)[:2560] == b"a" * 512 + b"\xee" * 1536 + b"f" * 512


def test_some_writes_survive_power_off(backing: Any) -> None:
    """Writes the cache had put on the medium stay, a torn one with its first sectors only."""
    with Disk(backing, volatile_cache=True) as disk:
        disk.write_cache = True
        disk.writev(0, [memoryview(b"a" * 1024)])
        disk.writev(2, [memoryview(b"b" * 1024)])
        disk.writev(4, [memoryview(b"c" * 1024)])
        disk.power_off({1: 1, 2: 2})
    assert content(backing)[:3072] == b"\xee" * 1024 + b"b" * 512 + b"\xee" * 512 + b"c" * 1024


def test_cache_off_or_not_volatile_keeps_everything(backing: Any) -> None:
    """Without a volatile cache, or with it switched off, power_off() changes nothing."""
    for volatile, enabled in ((False, True), (True, False)):
        with Disk(backing, volatile_cache=volatile) as disk:
            disk.write_cache = enabled
            disk.writev(0, [memoryview(b"x" * 512)])
            disk.power_off()
            assert read(disk, 0, 512) == b"x" * 512


def test_refused_backings(tmp_path: Path) -> None:
    """Missing, too small and impossible disks are refused in one line."""
    path = tmp_path / "d"
    with pytest.raises(DeviceError) as missing:
        Disk(path)
    assert str(missing.value) == f"{path}: cannot open for writing: No such file or directory"
    path.write_bytes(bytes(4096))
    with pytest.raises(DeviceError) as small:
        Disk(path, 8192, offset_bytes=1024)
    assert str(small.value) == (f"{path}: 9216 bytes are needed (offset 1024 + size 8192), it has 4096:"
                                " 5120 are missing")
    with pytest.raises(UsageError):
        Disk(path, 1000)
    with pytest.raises(UsageError):
        Disk(path, sector_size=520)
    with pytest.raises(DeviceError) as directory:
        Disk(tmp_path)
    assert str(directory.value) == f"{tmp_path}: cannot open for writing: Is a directory"
