"""Dump files of a Linux that really crashed: ours read by the field's tools, theirs and QEMU's read by us."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ddsdk.abi import X86_64
from ddsdk.lab import debian
from ddsdk.lab.crash import CrashSession
from ddsdk.lab.guest import GuestSpec, booted
from ddsdk.vmcore.pagemap import PageMap
from ddsdk.vmcore.pages import PageSource
from ddsdk.vmcore.source import open_pages, open_source
from ddsdk.vmcore.vmcoreinfo import parse
from tests.real.conftest import Lab, ddsdk
from tests.real.cores import crash
from tests.real.test_real_dump import DRGN, FILTERED_COMMANDS

pytestmark = pytest.mark.real

CODECS = ("zlib", "lzo", "snappy", "zstd")
#: What the crashed kernel keeps at level 31 of these addresses is sampled by the test itself.
KDUMPFILE = """
import sys, zlib, kdumpfile
core = kdumpfile.kdumpfile(sys.argv[1])
core.attr["addrxlat.ostype"] = "linux"
print(core.attr["linux.uts.release"], core.attr["arch.name"], core.attr["cpu.number"])
for paddr in map(int, sys.argv[2:]):
    print(hex(paddr), zlib.crc32(core.read(kdumpfile.KDUMP_MACHPHYSADDR, paddr, 4096)))
"""


def without_the_file(lines: list[str]) -> list[str]:
    """crash names the file, and says [PARTIAL DUMP] of a filtered one."""
    return [line for line in lines if "DUMPFILE:" not in line]


def differing_pages(source: PageSource, memory: PageSource) -> int:
    """Runs of up to 256 stored pages that are not the memory's, where both have RAM."""
    page, differ = source.page_size, 0
    ours, theirs = (memoryview(bytearray(256 * page)) for _ in range(2))
    top = min(source.max_pfn, memory.max_pfn)
    both = PageMap.of_runs(source.stored.runs(0, top), top) & PageMap.of_runs(memory.ram.runs(0, top), top)
    for first, count in both.runs():
        for low in range(first, first + count, 256):
            pages = min(256, first + count - low)
            source.read_frames(low, pages, ours[:pages * page])
            memory.read_frames(low, pages, theirs[:pages * page])
            differ += ours[:pages * page] != theirs[:pages * page]
    return differ


@pytest.fixture(scope="module")
def reference(lab: Lab, tools: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What crash says of the core."""
    tools("crash", "makedumpfile")
    return crash(lab.vmlinux, lab.core, FILTERED_COMMANDS, tmp_path_factory.mktemp("reference"))


@pytest.fixture(scope="module", params=CODECS)
def small(request: pytest.FixtureRequest, lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Level 31 in one of the codecs."""
    path = tmp_path_factory.mktemp(request.param) / "vmcore"
    ddsdk("convert", lab.core, path, "--dump-level", 31, "--compress", request.param)
    return path


def test_crash_says_the_same(small: Path, lab: Lab, reference: list[str], tmp_path: Path) -> None:
    """Of a file a tenth the size, whatever the codec."""
    assert small.stat().st_size < lab.core.stat().st_size // 10
    assert without_the_file(crash(lab.vmlinux, small, FILTERED_COMMANDS, tmp_path)) == without_the_file(reference)


def test_every_kept_page_is_the_memorys(small: Path, lab: Lab) -> None:
    """Read back by ourselves."""
    with open_pages(str(small)) as source, open_source(str(lab.core)) as memory:
        assert source.stored.count() > 10_000
        assert differing_pages(source, memory) == 0


def test_drgn_and_libkdumpfile_open_it(small: Path, lab: Lab, python3: Callable[..., str]) -> None:
    """The same tasks and modules as in the whole core of ours; the same pages as in the memory."""
    with open_source(str(lab.core)) as memory, open_pages(str(small)) as kept:
        frames = kept.stored.frames(0, kept.max_pfn)[::997]
        told = python3(KDUMPFILE, small, *(int(pfn) * 4096 for pfn in frames))
        whole = small.with_name("elf")
        ddsdk("convert", lab.core, whole, "--to", "elf", "--force")
        assert told == python3(KDUMPFILE, whole, *(int(pfn) * 4096 for pfn in frames))
        assert memory.release in told
    assert python3(DRGN, small, lab.vmlinux) == python3(DRGN, whole, lab.vmlinux)


@pytest.mark.parametrize("codec", ["zlib", "lzo"])
def test_makedumpfile_takes_it_further(codec: str, lab: Lab, tools: Callable[..., None], tmp_path: Path) -> None:
    """Filters what we wrote, as it filters the core (Debian's has neither snappy nor zstd)."""
    tools("makedumpfile")
    whole, theirs, direct = tmp_path / "whole", tmp_path / "theirs", tmp_path / "direct"
    ddsdk("convert", lab.core, whole, "--compress", codec)
    for source, target in ((whole, theirs), (lab.core, direct)):
        subprocess.run(["makedumpfile", "-c", "-d", "31", str(source), str(target)], check=True, capture_output=True)
    with open_pages(str(theirs)) as once, open_pages(str(direct)) as twice:
        assert once.stored == twice.stored


@pytest.mark.parametrize("options", [("-c", "-d", "1"), ("-l", "-d", "31"), ("-d", "0"), ("-E", "-d", "31"),
                                     ("-E", "-d", "0")], ids=" ".join)
@pytest.mark.parametrize("flattened", [False, True], ids=["", "flattened"])
def test_makedumpfiles_files_are_read(options: tuple[str, ...], flattened: bool, lab: Lab, tools: Callable[..., None],
                                      tmp_path: Path) -> None:
    """Page for page, flattened or not."""
    tools("makedumpfile")
    path = tmp_path / "dump"
    if flattened:
        with path.open("wb") as file:
            subprocess.run(["makedumpfile", "-F", *options, str(lab.core)], check=True, stdout=file,
                           stderr=subprocess.DEVNULL)
    else:
        subprocess.run(["makedumpfile", *options, str(lab.core), str(path)], check=True, capture_output=True)
    with open_pages(str(path)) as source, open_source(str(lab.core)) as memory:
        assert source.vmcoreinfo == memory.vmcoreinfo
        assert [cpu.regs for cpu in source.cpus] == [cpu.regs for cpu in memory.cpus]
        assert source.stored.count() > 1000
        assert differing_pages(source, memory) == 0


def test_makedumpfiles_split_set_is_read(lab: Lab, tools: Callable[..., None], tmp_path: Path) -> None:
    """All pages, from three files."""
    tools("makedumpfile")
    parts = [tmp_path / f"part{number}" for number in range(3)]
    subprocess.run(["makedumpfile", "--split", "-c", "-d", "1", str(lab.core), *map(str, parts)], check=True,
                   capture_output=True)
    joined = tmp_path / "joined"
    ddsdk("convert", *parts, joined, "--to", "elf")
    with open_source(str(joined)) as source, open_source(str(lab.core)) as memory:
        assert source.stored == memory.ram
        assert differing_pages(source, memory) == 0


def test_our_split_set_is_reassembled_by_makedumpfile(lab: Lab, tools: Callable[..., None], tmp_path: Path) -> None:
    """`--reassemble` makes of our parts what is page for page the memory."""
    tools("makedumpfile")
    ddsdk("convert", lab.core, tmp_path / "part", "--split", 3)
    whole = tmp_path / "whole"
    subprocess.run(["makedumpfile", "--reassemble", *(str(tmp_path / f"part.{number}") for number in (1, 2, 3)),
                    str(whole)], check=True, capture_output=True)
    with open_pages(str(whole)) as source, open_source(str(lab.core)) as memory:
        assert source.stored == memory.ram
        assert differing_pages(source, memory) == 0


@pytest.fixture(scope="module")
def qemus(tools: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """(RAM, ELF, kdump-zlib) of a guest that stands still in its panic, as QEMU itself dumps it."""
    tools("qemu-system-x86_64")
    directory = tmp_path_factory.mktemp("qemu")
    spec = GuestSpec(debian.kernel("cloud"), 256 << 20, crash_us=200_000)
    ram = directory / "ram"
    with ram.open("w+b") as file, tempfile.TemporaryDirectory(dir=directory) as scratch:
        file.truncate(spec.memory_bytes)
        with booted(spec, Path(scratch), file) as guest:
            guest.wait_for_panic(120)
            for name, more in (("elf", {}), ("kdump", {"format": "kdump-zlib"})):
                guest.qmp("dump-guest-memory", paging=False, protocol=f"file:{directory / name}", **more)
    return ram, directory / "elf", directory / "kdump"


@pytest.mark.parametrize("which", [1, 2], ids=["ELF", "kdump-zlib"])
def test_qemus_own_dumps_are_read(which: int, qemus: tuple[Path, Path, Path]) -> None:
    """Every page is what is in the RAM file; the registers and VMCOREINFO are there."""
    with open_pages(str(qemus[which])) as source, open_source(f"flat:{qemus[0]}", abi=X86_64) as memory:
        assert source.stored.count() > 60_000
        assert differing_pages(source, memory) == 0
        assert source.cpus
        assert source.vmcoreinfo is not None


def test_crash_opens_an_lkcd_file(lab: Lab, tools: Callable[..., None], tmp_path: Path) -> None:
    """Told where the kernel was loaded, which the format cannot say; zero pages are there, or crash would give up."""
    tools("crash")
    path = tmp_path / "dump.lkcd"
    ddsdk("convert", lab.core, path, "--to", "lkcd", "--dump-level", 31)
    with open_pages(str(lab.core)) as source:
        info = parse(source.vmcoreinfo)
    base = int(info["NUMBER(phys_base)"]) % (1 << 64)
    options = (f"--kaslr=0x{info['KERNELOFFSET']}", "-m", f"phys_base={base:#x}")
    with CrashSession(lab.vmlinux, path, ("sys", "log"), tmp_path, options) as session:
        said = session.said()
    assert not said.failure
    release = next(line for line in said.lines if "RELEASE:" in line)
    assert release.split()[-1] == info["OSRELEASE"]
    ours = ddsdk("log", lab.core).splitlines()
    assert said.lines[-len(ours):] == tuple(ours)
