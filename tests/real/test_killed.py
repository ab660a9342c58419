"""A dump killed half way: what was written is saved honestly, and nothing else on the disk has changed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from attrs import frozen

from tests.real.conftest import Lab, ddsdk
from tests.real.cores import PAGE_BYTES, CoreReader, loads, memory
from tests.real.test_real_dump import TARGETS

pytestmark = pytest.mark.real

OFFSET, SIZE, DISK_BYTES = 96 << 20, 544 << 20, 704 << 20
HEADER_BLOCKS = 3 + 4           # main header, sub header, bitmap of 512 MiB: before the first page of memory
KILL_AT_BLOCK = HEADER_BLOCKS + 40_000
LIMIT_S = 300.0


@frozen
class Killed:
    """A disk whose dump was cut short, and the same disk as it was before."""

    backend: str
    disk: Path
    before: Path
    writers: set[str]
    orphans: list[int]

    @property
    def partition(self) -> str:
        """The window of the disk that was given away."""
        return f"{self.disk},offset={OFFSET},size={SIZE}"


def fill(disk: Path) -> None:
    """Bytes of someone else around the partition."""
    noise = random.Random(2).randbytes(1 << 20)
    with disk.open("wb") as image:
        for at in range(0, DISK_BYTES, len(noise)):
            if OFFSET <= at < OFFSET + SIZE:
                image.seek(OFFSET + SIZE)
                continue
            image.seek(at)
            image.write(noise)


def block(fd: int, number: int) -> bytes:
    """One block of the partition."""
    return os.pread(fd, PAGE_BYTES, OFFSET + number * PAGE_BYTES)


def descendants(pid: int) -> list[int]:
    """The processes *pid* has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def programs_with(disk: Path, pids: list[int]) -> set[str]:
    """Names of those of the processes that have *disk* open for writing."""
    found = set()
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").iterdir():
            flags = int(Path(f"/proc/{pid}/fdinfo/{link.name}").read_text().split()[3], 8)
            if link.resolve() == disk and flags & os.O_ACCMODE != os.O_RDONLY:
                found.add(Path(f"/proc/{pid}/exe").resolve().name.partition("-")[0].rstrip("0123456789."))
    return found


def kill_half_way(process: subprocess.Popen[str], disk: Path) -> tuple[set[str], list[int]]:
    """SIGKILL *process* as soon as block KILL_AT_BLOCK has changed.

    Returns who had the disk open for writing, and the children still alive 10 s later.
    """
    writers: set[str] = set()
    fd = os.open(disk, os.O_RDONLY)
    signature, deadline = block(fd, KILL_AT_BLOCK), time.monotonic() + LIMIT_S
    try:
        while block(fd, KILL_AT_BLOCK) == signature:
            assert process.poll() is None, f"the dump ended early: {process.communicate()[1]}"
            assert time.monotonic() < deadline, "the dump does not get there"
            time.sleep(0.002)
    finally:
        os.close(fd)
        children = descendants(process.pid) if process.poll() is None else []
        if process.poll() is None:
            process.send_signal(signal.SIGSTOP)         # hold still while we look
            writers = programs_with(disk, [process.pid, *children])
        process.kill()
        process.communicate()
    gone_by = time.monotonic() + 10
    while time.monotonic() < gone_by and any(Path(f"/proc/{child}").exists() for child in children):
        time.sleep(0.02)
    return writers, [child for child in children if Path(f"/proc/{child}").exists()]


@pytest.fixture(scope="module", params=sorted(TARGETS))
def killed(request: pytest.FixtureRequest, lab: Lab, tools: Callable[..., None],
           tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """Format, dump, kill -9 after 40,000 pages."""
    backend: str = request.param
    if backend == "qemu":
        tools("qemu-system-x86_64")
    directory = tmp_path_factory.mktemp(f"killed-{backend}")
    disk, before = directory / "d.img", directory / "before.img"
    fill(disk)
    ddsdk("format", f"{disk},offset={OFFSET},size={SIZE}")
    subprocess.run(["cp", "--sparse=always", str(disk), str(before)], check=True)
    target = f"mptfusion:{disk}{TARGETS[backend]},offset={OFFSET},size={SIZE}"
    process = subprocess.Popen([sys.executable, "-m", "ddsdk", "dump", str(lab.core), "--to", target],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return Killed(backend, disk, before, *kill_half_way(process, disk))


def changed_blocks(killed: Killed) -> list[int]:
    """Numbers of the partition's blocks that differ from the freshly formatted ones."""
    now = np.memmap(killed.disk, dtype=np.uint64, mode="r", offset=OFFSET, shape=(SIZE // PAGE_BYTES, 512))
    then = np.memmap(killed.before, dtype=np.uint64, mode="r", offset=OFFSET, shape=(SIZE // PAGE_BYTES, 512))
    found: list[int] = []
    for at in range(0, len(now), 4096):
        found += (np.flatnonzero((now[at:at + 4096] != then[at:at + 4096]).any(axis=1)) + at).tolist()
    return found


def outside_is_untouched(killed: Killed) -> bool:
    """Every byte before and behind the partition is what it was."""
    def same(offset: int, size: int) -> bool:
        done = subprocess.run(["cmp", "-s", "-i", str(offset), "-n", str(size), str(killed.disk),
                               str(killed.before)], check=False)
        return done.returncode == 0
    return same(0, OFFSET) and same(OFFSET + SIZE, DISK_BYTES - OFFSET - SIZE)


def test_nothing_outside_the_partition_changed(killed: Killed) -> None:
    """Byte for byte, in front of it and behind it."""
    assert outside_is_untouched(killed)


def test_the_adapter_alone_writes_the_disk(killed: Killed) -> None:
    """On QEMU's adapter ddsdk itself has not even opened the image for writing."""
    assert killed.writers == {{"model": "python", "qemu": "qemu"}[killed.backend]}


def test_no_process_stays_behind(killed: Killed) -> None:
    """QEMU goes with the process that started it."""
    assert killed.orphans == []


def test_savecore_saves_exactly_what_was_written(killed: Killed, lab: Lab, tmp_path: Path) -> None:
    """An incomplete vmcore, called that, with the pages that reached the disk; then signatures again."""
    written = [number for number in changed_blocks(killed) if number >= HEADER_BLOCKS]
    assert written == list(range(HEADER_BLOCKS, HEADER_BLOCKS + len(written))), "one command at a time"
    assert 40_000 < len(written) < 131_000
    ddsdk("savecore", killed.partition, tmp_path / "out", status=1)
    left = sorted(path.name for path in (tmp_path / "out").glob("127.0.0.1-*/*"))
    assert left == ["vmcore-incomplete"]
    vmcore = CoreReader(next((tmp_path / "out").glob("127.0.0.1-*/vmcore-incomplete")))
    try:
        assert vmcore.pages == len(written)
        rest = len(written) * PAGE_BYTES
        for paddr, data in memory(lab.core, loads(lab.core)):
            expected = data[:max(rest, 0)]
            assert vmcore.read(paddr, len(data)) == expected, f"1 MiB at {paddr:#x}"
            rest -= len(data)
    finally:
        vmcore.close()
    assert outside_is_untouched(killed)
    assert changed_blocks(killed) == [], "the partition is ready for the next dump"
