"""Swap areas into files: beside the vmcore, or into a directory; damage and full disks cost no more than they must."""

from __future__ import annotations

import os
import random
import stat
import subprocess
import sys
import textwrap
import zlib
from pathlib import Path

import pytest
from attrs import define

from ddsdk.diskdump.crashdir import CrashDirectory
from ddsdk.diskdump.partition import DumpState, read_open_partition, read_partition
from ddsdk.diskdump.savecore import save
from ddsdk.diskdump.swap_save import SwapImage, save_areas
from ddsdk.diskdump.target import DumpTarget
from ddsdk.errors import DeviceError, FormatError
from tests.diskdump.fake_device import FakeDevice
from tests.diskdump.partials import RUNS, MixedMemory, as_target
from tests.diskdump.swaps import FakeSwap, dump_with_swap, swap_area

#: Of a plain dump of RUNS: heads, header page of the area, its maps, its pages.
HEADS, HEADER, MAPS, DATA = 18, 20, 21, 23


def dumped(tmp_path: Path, codec: str = "none", pages: int = 20) -> tuple[DumpTarget, FakeSwap]:
    """A partition with memory and an area."""
    memory = MixedMemory(RUNS)
    device, area = FakeDevice(memory, 60), FakeSwap(memory, swap_area(pages))
    assert dump_with_swap(memory, device, area, codec=codec).swap_whole
    return as_target(device, tmp_path / "d.img"), area


def change(target: DumpTarget, block: int, data: bytes, at: int = 0) -> None:
    """Overwrite *data* in *block*."""
    with target.open(write=True) as file:
        file.write(block * 4096 + at, data)


def images(target: DumpTarget, directory: Path) -> tuple[SwapImage, ...]:
    """What `convert --swap-to` does."""
    with target.open() as file, CrashDirectory.open(str(directory)) as parent:
        return save_areas(parent.itself(), file, read_open_partition(file), lambda phase, done, total: None)


def test_images_are_private_and_sparse(tmp_path: Path) -> None:
    """Mode 0600; zeros take no room; the size is the area's."""
    target, area = dumped(tmp_path, pages=20)
    image, = images(target, tmp_path / "out")
    assert (image.path, image.pages, image.missing_pages) == (f"{tmp_path}/out/swap-1.img", 15, 0)
    status = os.stat(image.path)
    assert (stat.S_IMODE(status.st_mode), status.st_size) == (0o600, 20 * 4096)
    assert status.st_blocks * 512 < 20 * 4096
    assert Path(image.path).read_bytes() == area.medium
    assert read_partition(target).state is DumpState.COMPLETE                # it stays where it was


def test_no_file_is_replaced(tmp_path: Path) -> None:
    """A file of that name, or a link, stops it before anything is made."""
    target, _area = dumped(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (out / "swap-1.img").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DeviceError, match=r"out/swap-1\.img: there is such a file; move it, or name another directory"):
        images(target, out)
    assert os.listdir(out) == ["swap-1.img"]
    assert not (tmp_path / "elsewhere").exists()


@define(eq=False)
class FullDirectory(CrashDirectory):
    """A directory on a file system with *free* bytes left."""

    free: int = 0

    def free_bytes(self) -> int:
        """What the test says."""
        return self.free


def test_no_room(tmp_path: Path) -> None:
    """Pages that are there are what counts; nothing is made when they do not fit."""
    target, _area = dumped(tmp_path)
    with CrashDirectory.open(str(tmp_path / "out")) as real, target.open() as file:
        full = FullDirectory(real.path, real.fd, (1 << 20) + 16 * 4096 - 1)
        dump = read_open_partition(file)
        with pytest.raises(DeviceError, match=r"no space: swap-1-incomplete\.img takes 65536 bytes, 1114111 are free"):
            save_areas(full.itself(), file, dump, lambda phase, done, total: None)
        assert os.listdir(real.path) == []
        full.free += 1
        assert len(save_areas(full.itself(), file, dump, lambda phase, done, total: None)) == 1


def test_a_vmcore_that_fits_and_an_area_that_does_not(tmp_path: Path) -> None:
    """The vmcore is safe, the dump stays on the device, and the report says so; later it can be fetched."""
    target, area = dumped(tmp_path)
    before = Path(target.path).read_bytes()
    code = f"""
        from ddsdk.diskdump import crashdir, savecore
        from ddsdk.diskdump.target import DumpTarget
        answers = [1 << 30, 1000]
        crashdir.CrashDirectory.free_bytes = lambda self: answers.pop(0) if len(answers) > 1 else answers[0]
        report = savecore.save(DumpTarget({target.path!r}), {str(tmp_path / "out")!r}, on_nospace=lambda ip, path: 0)
        print(report.state.value, report.whole, report.resigned_blocks, report.swap)
        print(report.problem)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    first, problem = done.stdout.splitlines()
    assert first == "complete False None ()"
    assert problem.startswith("the swap areas are not saved, the dump stays on the device: ")
    assert "no space: swap-1-incomplete.img takes 65536 bytes, 1000 are free" in problem
    case, = (tmp_path / "out").iterdir()
    assert os.listdir(case) == ["vmcore"]
    assert Path(target.path).read_bytes() == before
    image, = images(target, tmp_path / "later")
    assert Path(image.path or "").read_bytes() == area.medium


def test_blocks_the_device_lost(tmp_path: Path) -> None:
    """A page whose block still has its signature was never written: it is missing, whatever the head says."""
    target, area = dumped(tmp_path)
    fresh = FakeDevice(MixedMemory(RUNS), 60).medium
    for block in (DATA + 2, DATA + 4):                  # pages 3 and 6
        change(target, block, bytes(fresh[block * 4096:block * 4096 + 512]))
    image, = images(target, tmp_path / "out")
    assert (image.path, image.pages, image.missing_pages, image.why) == (
        f"{tmp_path}/out/swap-1-incomplete.img", 13, 2, "its blocks on the dump device are damaged")
    assert (tmp_path / "out" / "swap-1-missing.txt").read_text() == "# first page, number of pages\n3 1\n6 1\n"
    found = Path(image.path).read_bytes()
    assert found[3 * 4096:4 * 4096] == found[6 * 4096:7 * 4096] == bytes(4096)
    assert found[7 * 4096:] == area.medium[7 * 4096:]


def test_records_that_are_damaged(tmp_path: Path) -> None:
    """One that does not unpack costs its page; a head of a record that cannot be, all behind it."""
    target, area = dumped(tmp_path, "zlib")
    part = read_partition(target).swap
    assert part is not None
    start = part.areas[0].entry.first_block + 3
    change(target, start, b"\xff\xff", 16)              # page 1's payload
    image, = images(target, tmp_path / "one")
    assert (image.missing_pages, image.pages) == (1, 14)
    assert Path(image.path or "").read_bytes()[2 * 4096:] == area.medium[2 * 4096:]
    change(target, start, b"\xff\xff\xff\xff", 8)       # its size
    image, = images(target, tmp_path / "all")
    assert (image.missing_pages, image.pages) == (15, 0)


@pytest.mark.parametrize(("block", "message"), [
    (HEADER, "swap area 1: block 20 should be its header and is none; it is damaged"),
])
def test_a_header_page_that_is_none(block: int, message: str, tmp_path: Path) -> None:
    """Without it there is no image: the vmcore is saved, the dump stays."""
    target, _area = dumped(tmp_path)
    change(target, block, bytes(4096))
    with pytest.raises(FormatError) as error:
        images(target, tmp_path / "out")
    assert str(error.value) == f"{target}: {message}"
    report = save(target, str(tmp_path / "crash"))
    assert (report.state, report.pages, report.resigned_blocks) == (DumpState.COMPLETE, 14, None)
    assert report.problem == f"the swap areas are not saved, the dump stays on the device: {target}: {message}"


def test_a_head_that_cannot_be(tmp_path: Path) -> None:
    """Both heads impossible: a warning says why, the memory is saved, the dump stays on the device."""
    target, _area = dumped(tmp_path)
    for block in (HEADS, HEADS + 1):
        with target.open() as file:
            head = bytearray(file.read(block * 4096, 4096))
        head[64 + 32:64 + 40] = (1000).to_bytes(8, "little")        # data blocks
        head[44:48] = bytes(4)
        head[44:48] = zlib.crc32(head).to_bytes(4, "little")
        change(target, block, bytes(head))
    found = read_partition(target)
    assert (found.state, found.written_pages) == (DumpState.COMPLETE, 14)
    assert found.warnings == (
        f"{target}: the head of the swap part in block 18 says of area 1 that it lies in 1000 data blocks from block 23"
        " on, of a partition of 60; it is damaged",
        "swap area 1, swap0: not saved: the dump ended before it")
    assert found.touched_end == 38
    report = save(target, str(tmp_path / "crash"))
    assert (report.state, report.whole, report.resigned_blocks) == (DumpState.COMPLETE, False, None)
    assert report.problem == f"the swap areas are not saved, the dump stays on the device: {found.warnings[0]}"


def bent(data: bytearray, start: int, chance: random.Random) -> None:
    """Change some bytes of the swap part at block *start*, or of its note; CRCs are right again most of the time."""
    head, entry, header = range(2, 44), range(64, 144), (*range(1024, 1052), *range(1536, 1544), *range(4086, 4096))
    places = ((start, head), (start, entry), (start + 1, head), (start + 1, entry), (start + 2, header),
              (start + 3, range(4)), (start + 4, range(4)), (start + 5, range(40)))
    note = data.index(b"swap0", 2 * 4096) - 60
    for _ in range(chance.randint(1, 3)):
        block, where = chance.choice(places)
        at = block * 4096 + chance.choice(where) if chance.random() < 0.8 else note + chance.randrange(65)
        data[at] = chance.choice((0, 1, 0xFF, chance.randrange(256)))
    for at in (start * 4096, (start + 1) * 4096):
        if chance.random() < 0.8:
            data[at + 44:at + 48] = bytes(4)
            data[at + 44:at + 48] = zlib.crc32(data[at:at + 4096]).to_bytes(4, "little")
    area = data.index(b"DDNOTES1", 2 * 4096)
    length = int.from_bytes(data[area + 8:area + 12], "little")
    data[area + 12:area + 16] = zlib.crc32(data[area + 16:area + 16 + length]).to_bytes(4, "little")


@pytest.mark.parametrize("codec", ["none", "zlib"])
def test_bent_swap_parts(codec: str, tmp_path: Path) -> None:
    """Whatever the swap part says: the memory is read, and nothing but a FormatError of one line comes of the areas."""
    target, _area = dumped(tmp_path, codec)
    start = read_partition(target).dump.header.written_blocks
    good, bad = Path(target.path).read_bytes(), DumpTarget(str(tmp_path / "bent.img"))
    told: set[str] = set()
    for seed in range(300):
        data = bytearray(good)
        bent(data, start, random.Random(seed))
        Path(bad.path).write_bytes(data)
        found = read_partition(bad)
        assert (found.state, found.written_pages) == (DumpState.COMPLETE, 14)
        try:
            told |= {"file" if image.path else "none" for image in images(bad, tmp_path / f"out{seed}")}
        except FormatError as error:
            told |= {"error", "lines"} if "\n" in str(error) else {"error"}
    assert told == {"file", "none", "error"}


def test_a_note_that_cannot_be(tmp_path: Path) -> None:
    """The memory is saved, registers and all; the dump stays on the device for whoever reads the note."""
    target, _area = dumped(tmp_path)
    data = bytearray(Path(target.path).read_bytes())
    note = data.index(b"swap0", 2 * 4096) - 60
    data[note] = 2                                      # its version
    area = data.index(b"DDNOTES1", 2 * 4096)
    length = int.from_bytes(data[area + 8:area + 12], "little")
    data[area + 12:area + 16] = zlib.crc32(data[area + 16:area + 16 + length]).to_bytes(4, "little")
    Path(target.path).write_bytes(data)
    found = read_partition(target)
    why = (f"{target}: sub header: the note on swap areas has version 2 and 1 areas, not 1 and 1 to 32; a newer ddsdk"
           " reads it")
    assert (found.warnings, found.sub is not None and found.sub.has_area) == ((why,), True)
    report = save(target, str(tmp_path / "out"))
    assert (report.state, report.pages, report.swap, report.whole) == (DumpState.COMPLETE, 14, (), False)
    assert report.problem == f"the swap areas are not saved, the dump stays on the device: {why}"
    assert Path(target.path).read_bytes() == data
    assert found.touched_end == 38
