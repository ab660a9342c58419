"""A dump partition as a file: windows, refusals, and ways to read it fast."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from ddsdk.diskdump.stream import SERIAL_BYTES, pieces, run_jobs
from ddsdk.diskdump.target import DumpTarget, aligned_buffer
from ddsdk.errors import DeviceError, UsageError


def filled(path: Path, pages: int) -> DumpTarget:
    """A file whose page n is filled with byte n."""
    path.write_bytes(b"".join(bytes([n % 256]) * 4096 for n in range(pages)))
    return DumpTarget(str(path))


def test_window(tmp_path: Path) -> None:
    """Offsets count from the window's start, and nothing outside it can be read or written."""
    whole = filled(tmp_path / "d.img", 10)
    target = DumpTarget(whole.path, 8192, 4 * 4096)
    with target.open(write=True) as file:
        assert (file.size, file.blocks(4096), file.blocks(16384)) == (16384, 4, 1)
        assert file.read(4096, 4096) == b"\3" * 4096
        file.write(3 * 4096, b"\xaa" * 4096)
        for offset, length in ((-1, 1), (0, 16385), (16384, 1)):
            with pytest.raises(DeviceError, match="are outside the partition of 16384 bytes"):
                file.write(offset, bytes(length))
            with pytest.raises(DeviceError, match="are outside the partition of 16384 bytes"):
                file.read(offset, length)
    data = Path(whole.path).read_bytes()
    assert data[5 * 4096:6 * 4096] == b"\xaa" * 4096
    assert data[6 * 4096:7 * 4096] == b"\6" * 4096
    assert str(target) == f"{whole.path},offset=8192,size=16384"


@pytest.mark.parametrize(("offset", "size", "error", "line"), [
    (0, 51200, DeviceError, "the window ends at byte 51200, the device at 40960; a partition lies inside its device"),
    (45056, None, DeviceError, "the window ends at byte 45056, the device at 40960"),
    (100, None, UsageError, "offset 100 must be a multiple of 512"),
    (-512, None, UsageError, "offset -512 must be a multiple of 512"),
    (0, 5000, UsageError, "size 5000 must be a multiple of 512"),
])
def test_windows_that_cannot_be(offset: int, size: int | None, error: type[Exception], line: str,
                                tmp_path: Path) -> None:
    """A window that does not lie in its device is refused when it is opened."""
    path = filled(tmp_path / "d.img", 10).path
    with pytest.raises(error, match=line):
        DumpTarget(path, offset, size).open()


def test_what_is_no_device(tmp_path: Path) -> None:
    """Missing files, directories, FIFOs and character devices are refused at once; a FIFO does not hang."""
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(DeviceError, match="missing: cannot open for reading: No such file or directory"):
        DumpTarget(str(tmp_path / "missing")).open()
    with pytest.raises(DeviceError, match="cannot open for writing: Is a directory"):
        DumpTarget(str(tmp_path)).open(write=True)
    for path in (tmp_path / "fifo", Path("/dev/null")):
        with pytest.raises(DeviceError, match="neither a file nor a block device"):
            DumpTarget(str(path)).open()


@pytest.mark.parametrize("direct", [False, True])
def test_transfers(direct: bool, tmp_path: Path) -> None:
    """Aligned or not, around the page cache or through it, the bytes are the same."""
    target = filled(tmp_path / "d.img", 64)
    with target.open(write=True) as file:
        if direct:
            file.go_direct()
        buffer = aligned_buffer(16 * 4096)
        file.read_into(8 * 4096, buffer)
        assert bytes(buffer[:4096]) == b"\x08" * 4096
        file.write(32 * 4096, buffer)
        file.write(4096 + 3, b"odd")                    # no alignment at all
        file.write(2 * 4096, b"\xbb" * 4096)            # memory that is not aligned
        file.sync()
        assert file.read(4096 + 3, 3) == b"odd"
    data = Path(target.path).read_bytes()
    assert data[32 * 4096:48 * 4096] == b"".join(bytes([n]) * 4096 for n in range(8, 24))
    assert data[2 * 4096:3 * 4096] == b"\xbb" * 4096


def test_borrowing_from_the_page_cache(tmp_path: Path) -> None:
    """What is cached is lent as it lies there; what is not goes through the buffer; both are the same bytes."""
    target = filled(tmp_path / "d.img", 64)
    with target.open() as file:
        buffer = aligned_buffer(4 * 4096)
        plain = bytes(file.borrow(4096, 8192, buffer))
        file.prepare_bulk_read()
        lent = file.borrow(4096, 8192, buffer)
        assert bytes(lent) == plain == b"\1" * 4096 + b"\2" * 4096
        file.give_back(4096, 8192)
        with pytest.raises(DeviceError, match="outside the partition"):
            file.borrow(63 * 4096, 8192, buffer)


def test_file_cut_while_in_use(tmp_path: Path) -> None:
    """A file that is shortened behind our back ends the read with one line."""
    target = filled(tmp_path / "d.img", 64)
    with target.open() as file:
        os.truncate(target.path, 10 * 4096)
        with pytest.raises(DeviceError, match=r"ends at byte 40960 of 262144; was the file cut while in use\?"):
            file.read(8 * 4096, 4 * 4096)


@pytest.mark.parametrize("total", [0, SERIAL_BYTES + 1])
def test_jobs_all_run_and_report_to_the_caller(total: int) -> None:
    """Every job runs once, with a page-aligned buffer, and its result arrives in the calling thread."""
    here, seen, threads = threading.get_ident(), [], set()

    def work(job: int, buffer: memoryview) -> int:
        threads.add(threading.get_ident())
        assert len(buffer) == 8192
        return job * job

    def done(result: int) -> None:
        assert threading.get_ident() == here
        seen.append(result)

    run_jobs(range(100), work, done, total_bytes=total, buffer_bytes=8192)
    assert sorted(seen) == [n * n for n in range(100)]
    assert (here in threads) == (total == 0)


@pytest.mark.parametrize("total", [0, SERIAL_BYTES + 1])
@pytest.mark.parametrize("where", ["work", "done", "jobs"])
def test_first_error_ends_everything(where: str, total: int) -> None:
    """An error in a job, in a report or in the list of jobs stops the rest and comes out; no thread is left."""
    before, ran = threading.active_count(), []

    def fail(here: str) -> None:
        if where == here:
            raise DeviceError("boom")

    def jobs() -> Iterator[int]:
        yield from range(50)
        fail("jobs")
        yield from count(50)            # there is always another job

    def work(job: int, buffer: memoryview) -> int:
        ran.append(job)
        if job == 20:
            fail("work")
        return job

    with pytest.raises(DeviceError, match="boom"):
        run_jobs(jobs(), work, lambda _job: fail("done"), total_bytes=total, buffer_bytes=4096)
    assert ran[:1] == [0]
    assert threading.active_count() == before


def test_pieces() -> None:
    """A range in runs of a given length, the last one shorter."""
    assert list(pieces(3, 10, 4)) == [(3, 4), (7, 3)]
    assert list(pieces(3, 3, 4)) == []
