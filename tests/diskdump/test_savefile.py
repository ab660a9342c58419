"""savecore into every format, of plain, partial and compressed dumps: the same guarantees as for plain ELF."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import pytest

from ddsdk.abi import X86_64
from ddsdk.diskdump import savefile
from ddsdk.diskdump.check import check_device
from ddsdk.diskdump.crashdir import CaseDirectory, NoSpaceError, VmcoreFile
from ddsdk.diskdump.header import Status
from ddsdk.diskdump.partition import DumpState, read_partition
from ddsdk.diskdump.savecore import SaveOptions, save
from ddsdk.diskdump.signature import SignatureKind, signature_blocks
from ddsdk.diskdump.target import DumpTarget
from ddsdk.errors import DeviceError, FormatError, UsageError
from ddsdk.vmcore.dumpheader import DiskDumpHeader
from ddsdk.vmcore.pages import PageSource
from ddsdk.vmcore.source import open_pages, open_source
from tests.diskdump.fake_device import FakeDevice
from tests.diskdump.images import DIRECTORY_NAME, formatted, write_dump
from tests.diskdump.partials import RUNS, MixedMemory, as_target, dump, frames, kept_frames

FORMATS = ("elf", "kdump", "lkcd")


def pages(source: PageSource) -> dict[int, bytes]:
    """Page frame -> bytes of what is stored."""
    page = source.page_size
    return {pfn: bytes(source.view(pfn * page, page)) for first, count in source.stored.runs()
            for pfn in range(first, first + count)}


def partial(path: Path, level: int = 1, codec: str = "zstd", blocks: int = 40) -> tuple[DumpTarget, dict[int, bytes]]:
    """A partition with a dump of MixedMemory, and the pages that it kept."""
    memory = MixedMemory(RUNS)
    device = FakeDevice(memory, blocks)
    report = dump(memory, device, level, codec)
    kept = kept_frames(memory, level, codec)[:report.saved_pages]
    return as_target(device, path), {pfn: memory.page(pfn) for pfn in kept}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("codec", ["none", "zlib", "zstd"])
def test_partial_dump_into_every_format(kind: str, codec: str, tmp_path: Path) -> None:
    """Kept pages, RAM, notes and level arrive; the partition has its signatures back."""
    target, kept = partial(tmp_path / "d.img", codec=codec)
    report = save(target, str(tmp_path / "out"), SaveOptions(kind))
    assert (report.state, report.problem, report.warnings) == (DumpState.COMPLETE, None, ())
    assert (report.pages, report.total_pages, report.format) == (len(kept), 14, kind)
    assert report.path == str(tmp_path / "out" / DIRECTORY_NAME / "vmcore")
    assert os.path.getsize(report.path) == report.file_bytes
    with open_pages(report.path) as source:
        assert pages(source) == kept
        assert list(source.ram.runs()) == [(1, 5), (16, 9)]
        assert source.vmcoreinfo == b"OSRELEASE=6.1.0-test\n"
        assert int.from_bytes(source.cpus[0].regs[:8], "little") == 1
        assert (source.dump_level, source.incomplete) == (1 if kind == "kdump" else 0, False)
    after = Path(target.path).read_bytes()
    assert after[:8192] + after[12288:] == bytes(signature_blocks(SignatureKind.DESIGN, X86_64, 0, 2)) + bytes(
        signature_blocks(SignatureKind.DESIGN, X86_64, 3, 37))


@pytest.mark.parametrize("kind", FORMATS)
def test_plain_dump_into_every_format(kind: str, tmp_path: Path) -> None:
    """A plain dump, filtered and compressed by savecore."""
    target = formatted(tmp_path / "d.img", 1200)
    with open_source("synthetic:4M,cpus=2") as memory:
        write_dump(target, memory)
        report = save(target, str(tmp_path / "out"), SaveOptions(kind, 0, "none" if kind == "elf" else "zlib"))
        assert report.path is not None
        with open_pages(report.path) as source:
            assert pages(source) == pages(memory)
            assert [cpu.regs for cpu in source.cpus] == [cpu.regs for cpu in memory.cpus]
    assert check_device(target).ready


def test_savecore_filters(tmp_path: Path) -> None:
    """--dump-level 1 of a dump of everything: what is not zeros."""
    target, _ = partial(tmp_path / "d.img", 0, "lzo")
    report = save(target, str(tmp_path / "out"), SaveOptions("elf", 1))
    memory = MixedMemory(RUNS)
    assert report.path is not None
    with open_pages(report.path) as source:
        read = pages(source)
    assert {pfn: read[pfn] for pfn in read if any(read[pfn])} == {
        pfn: memory.page(pfn) for pfn in frames(memory) if pfn % 3}


def test_the_file_is_the_same_for_any_number_of_jobs(tmp_path: Path) -> None:
    """-j 1 and -j 3, of records and of plain blocks: byte for byte."""
    for codec in ("zstd", "none"):
        target, _ = partial(tmp_path / f"{codec}.img", codec=codec)
        made = [Path(str(save(target, str(tmp_path / f"{codec}{jobs}"), SaveOptions("kdump", 1, "lzo", jobs),
                              keep=True).path)).read_bytes() for jobs in (1, 3)]
        assert made[0] == made[1]


def test_a_short_dump_is_incomplete_in_every_format(tmp_path: Path) -> None:
    """What fitted, under a name and with a mark that say so."""
    for kind in FORMATS:
        target, kept = partial(tmp_path / f"{kind}.img", 2, "zlib", 9)
        report = save(target, str(tmp_path / kind), SaveOptions(kind))
        assert report.state is DumpState.INCOMPLETE
        assert 0 < report.pages == len(kept) < 14
        assert report.why.endswith("pages; the partition was too small for more")
        assert report.path is not None
        assert report.path.endswith("/vmcore-incomplete")
        with open_pages(report.path) as source:
            assert pages(source) == kept
            assert source.incomplete or kind == "lkcd"


def test_an_interrupted_plain_dump_becomes_a_kdump_file(tmp_path: Path) -> None:
    """Exactly the pages that were written."""
    target = formatted(tmp_path / "d.img", 1200)
    with open_source("synthetic:4M,cpus=2") as memory:
        write_dump(target, memory, status=Status.INCOMPLETED, wanted=lambda n: n in {0, 3})
        report = save(target, str(tmp_path / "out"), SaveOptions("kdump"))
        assert (report.state, report.pages) == (DumpState.INCOMPLETE, 32)
        assert report.path is not None
        with open_pages(report.path) as source:
            there = pages(source)
            assert there == {pfn: pages(memory)[pfn] for pfn in there}
            assert sorted(there) == [*range(16), *range(48, 64)]


@pytest.mark.parametrize("codec", ["none", "zlib"])
def test_pages_the_device_lost(codec: str, tmp_path: Path) -> None:
    """A header that counts a block never written: its pages are left out, and the dump is not complete."""
    target, kept = partial(tmp_path / "d.img", 1, codec)
    with target.open(write=True) as file:
        file.write(7 * 4096, signature_blocks(SignatureKind.DESIGN, X86_64, 7, 1))
    report = save(target, str(tmp_path / "out"))
    assert report.state is DumpState.INCOMPLETE
    assert report.path is not None
    with open_pages(report.path) as source:
        there = pages(source)
    assert there == {pfn: kept[pfn] for pfn in there}
    assert len(there) == 9 if codec == "none" else 0 < len(there) < 14


def test_a_damaged_record_costs_its_page(tmp_path: Path) -> None:
    """Bytes of a compressed page changed on the medium: that page is left out, and the others are saved."""
    target, kept = partial(tmp_path / "d.img", 1, "zlib")
    with target.open(write=True) as file:
        file.write(5 * 4096 + 20, b"\xff\xff\xff\xff")
    report = save(target, str(tmp_path / "out"), SaveOptions("kdump"))
    assert report.state is DumpState.INCOMPLETE
    assert "1 pages that it should hold are not on the device (first page frame 0x1)" in report.warnings[0]
    assert report.path is not None
    with open_pages(report.path) as source:
        assert pages(source) == {pfn: page for pfn, page in kept.items() if pfn != 1}


@pytest.mark.parametrize("codec", ["zlib", "zstd"])
def test_damaged_notes_do_not_cost_the_pages(codec: str, tmp_path: Path) -> None:
    """With the note on the codec gone, the codec that unpacks the first records is the one."""
    target, kept = partial(tmp_path / "d.img", 0, codec)
    with target.open(write=True) as file:
        file.write(2 * 4096 + 300, b"\xff")
    report = save(target, str(tmp_path / "out"), SaveOptions("kdump", 0, "zlib", 2))
    assert report.state is DumpState.COMPLETE
    assert "only the dumping CPU's registers are left" in report.warnings[0]
    assert report.path is not None
    with open_pages(report.path) as source:
        assert pages(source) == kept


def test_a_codec_that_the_format_has_not_got(tmp_path: Path) -> None:
    """Refused before anything is made."""
    target, _ = partial(tmp_path / "d.img")
    with pytest.raises(UsageError, match="--compress zstd: elf files have none"):
        save(target, str(tmp_path / "out"), SaveOptions("elf", 0, "zstd"))
    assert not (tmp_path / "out").exists()
    assert read_partition(target).state is DumpState.COMPLETE


class FullFile(VmcoreFile):
    """A file on a file system that is full after some bytes."""

    room = 0

    def write(self, offset: int, data: bytes | memoryview) -> None:
        if offset + len(data) > FullFile.room:
            raise NoSpaceError(self.path, offset + len(data), 0)
        super().write(offset, data)


@pytest.mark.parametrize("answer", [1, 0])
def test_no_room_in_the_middle(answer: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compressed file's size is not known before: when the space runs out, the script is asked, once."""
    create, asked = CaseDirectory.create, list[str]()

    def created(case: CaseDirectory, size_bytes: int) -> VmcoreFile:
        file = create(case, size_bytes)
        return FullFile(file.path, file.fd, file.direct)

    def ask(_address: str, path: str) -> int:
        asked.append(path)
        FullFile.room = 1 << 30 if answer else 0
        return answer

    FullFile.room = 20_000
    monkeypatch.setattr(CaseDirectory, "create", created)
    target, kept = partial(tmp_path / "d.img", 0)
    if answer:
        report = save(target, str(tmp_path / "out"), SaveOptions("kdump", 0, "snappy"), on_nospace=ask)
        assert report.path is not None
        with open_pages(report.path) as source:
            assert pages(source) == kept
    else:
        with pytest.raises(DeviceError, match="no space: the vmcore takes"):
            save(target, str(tmp_path / "out"), SaveOptions("kdump", 0, "snappy"), on_nospace=ask)
        assert os.listdir(tmp_path / "out") == []
        assert read_partition(target).state is DumpState.COMPLETE
    assert len(asked) == 1


def test_a_full_file_system_says_so() -> None:
    """ENOSPC of a write is "no space"."""
    fd = os.open("/dev/full", os.O_WRONLY)
    file = VmcoreFile("somewhere/vmcore-incomplete", fd)
    with pytest.raises(NoSpaceError, match="somewhere: no space: the vmcore takes 8 bytes"):
        file.write(0, b"12345678")
    file.close()


@pytest.mark.parametrize("kind", ["elf", "kdump"])
def test_killed_anywhere_nothing_is_lost(kind: str, tmp_path: Path) -> None:
    """Killed at each write, then run again: the dump is saved, no half file looks like a dump file."""
    code = textwrap.dedent("""
        import os, signal, sys
        from ddsdk.diskdump import crashdir
        from ddsdk.diskdump.savecore import SaveOptions, save
        from ddsdk.diskdump.target import DumpTarget
        left, write = [int(sys.argv[4])], crashdir.VmcoreFile.write
        def counted(self, offset, data):
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            write(self, offset, data)
        crashdir.VmcoreFile.write = counted
        save(DumpTarget(sys.argv[1]), sys.argv[2], SaveOptions(sys.argv[3]))
    """)
    target, kept = partial(tmp_path / "d.img")
    before = Path(target.path).read_bytes()
    for writes in range(3):
        out = tmp_path / f"out{writes}"
        done = subprocess.run([sys.executable, "-c", code, target.path, str(out), kind, str(writes)], check=False)
        if done.returncode != -signal.SIGKILL:
            break
        assert Path(target.path).read_bytes() == before
        half = (out / DIRECTORY_NAME / "vmcore-incomplete").read_bytes()
        assert not any(half[:8])
    else:
        report = save(target, str(tmp_path / "out"), SaveOptions(kind))
        assert report.path is not None
        with open_pages(report.path) as source:
            assert pages(source) == kept
    assert check_device(target).ready


def test_the_head_comes_last(tmp_path: Path) -> None:
    """Writes that touch the first 4096 bytes are kept back until finish()."""
    fd = os.open(tmp_path / "f", os.O_RDWR | os.O_CREAT)
    file = VmcoreFile(str(tmp_path / "f"), fd)
    out = savefile.HeadLast(file)
    out.write(4000, b"a" * 200)
    out.write(0, b"head")
    assert (tmp_path / "f").read_bytes() == bytes(4096) + b"a" * 104
    out.finish(4200)
    file.close()
    assert (tmp_path / "f").read_bytes() == b"head" + bytes(3996) + b"a" * 200


@pytest.mark.parametrize("codec", ["none", "zlib", "lzo", "snappy", "zstd"])
def test_whatever_is_on_the_partition_is_answered(codec: str, tmp_path: Path) -> None:
    """Header, sub header, bitmaps and records changed at random: pages inside the RAM that was, or one line."""
    target, _ = partial(tmp_path / "d.img", codec=codec)
    before = Path(target.path).read_bytes()
    fixed = DiskDumpHeader.on(X86_64).size
    places = ((4096 + 408, 4096 + fixed, 1), (8192, 8192 + 700, 1), (3 * 4096, 3 * 4096 + 4, 1),
              (4 * 4096, 4 * 4096 + 4, 1), (5 * 4096, 15 * 4096, 12))
    ended, lines = Counter[str](), list[str]()
    for seed in range(120):
        chance, data = random.Random(seed), bytearray(before)
        low, high, times = places[seed % len(places)]
        for _ in range(times):
            data[chance.randrange(low, high)] = chance.randrange(256)
        Path(target.path).write_bytes(data)
        try:
            report = save(target, str(tmp_path / "out"), SaveOptions(FORMATS[seed % 3]), keep=True)
        except (FormatError, DeviceError) as error:
            lines.append(str(error))
            continue
        ended[report.state.value] += 1
        assert report.pages <= max(report.total_pages, 14)
    assert len(lines) < 60
    assert not any("\n" in line for line in lines)
    assert ended["complete"] > 10
