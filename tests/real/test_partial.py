"""A crashed Linux, filtered and compressed through the mptfusion driver onto a fifth of its memory, and back.

What crash says of the vmcores must be what it says of the reference core; the page sets are makedumpfile's.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from attrs import frozen

from ddsdk.vmcore.classify import classify
from ddsdk.vmcore.pagemap import PageMap
from ddsdk.vmcore.source import open_pages, open_source
from tests.real.conftest import Lab, ddsdk
from tests.real.cores import crash
from tests.real.kdumpfile import read_page_set

pytestmark = pytest.mark.real

FORMATS = {"elf": (), "kdump": ("--compress", "zstd", "-j", "2"), "lkcd": ()}
COMMANDS = ("sys", "bt", "ps", "log", "mod")
LEVEL = 31


@frozen
class Dumped:
    """The partition with its dump, and the vmcores that savecore made of it, by format."""

    disk: Path
    vmcores: dict[str, Path]


@pytest.fixture(scope="module")
def dumped(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Dumped:
    """format, dump, savecore three times; the last takes the dump off."""
    directory = tmp_path_factory.mktemp("partial")
    disk = directory / "d.img"
    with disk.open("wb") as image:
        image.truncate(lab.core.stat().st_size // 5 // 4096 * 4096)
    ddsdk("format", disk)
    ddsdk("dump", lab.core, "--to", f"mptfusion:{disk}", "--dump-level", LEVEL, "--compress", "zstd")
    vmcores = {}
    for kind, options in FORMATS.items():
        keep = () if kind == list(FORMATS)[-1] else ("--keep",)
        ddsdk("savecore", disk, directory / kind, "--format", kind, *options, *keep)
        vmcores[kind], = (directory / kind).glob("127.0.0.1-*/vmcore")
    ddsdk("check", disk)
    return Dumped(disk, vmcores)


@pytest.fixture(scope="module")
def kept(lab: Lab) -> PageMap:
    """What the level keeps; a compressed dump keeps the zero pages, too."""
    with open_source(str(lab.core)) as memory:
        return classify(memory, LEVEL & ~1).kept


@pytest.mark.parametrize("kind", FORMATS)
def test_every_kept_page_arrives(dumped: Dumped, lab: Lab, kept: PageMap, kind: str) -> None:
    """The page set is the filter's, and each page is the reference core's."""
    with open_pages(str(dumped.vmcores[kind])) as ours, open_source(str(lab.core)) as memory:
        assert list(ours.ram.runs()) == list(memory.ram.runs())
        if kind == "elf":                       # short gaps that are not in the dump stay out of the file, too
            assert list(ours.stored.runs()) == list(kept.runs())
        else:
            assert ours.stored == kept
        page = ours.page_size
        for first, count in kept.runs():
            for low in range(first, first + count, 256):
                pages = min(256, first + count - low)
                buffer = memoryview(bytearray(pages * page))
                ours.read_frames(low, pages, buffer)
                assert buffer == memory.view(low * page, pages * page), f"page frames {low:#x}+{pages}"


def test_the_page_set_is_makedumpfiles(dumped: Dumped, lab: Lab, tools: Callable[..., None], tmp_path: Path) -> None:
    """Both bitmaps of the kdump file are those that makedumpfile writes at the same level."""
    tools("makedumpfile")
    subprocess.run(["makedumpfile", "-l", "-d", str(LEVEL), lab.core, tmp_path / "theirs"], capture_output=True,
                   check=True)
    theirs, ours = (read_page_set(path, LEVEL) for path in (tmp_path / "theirs", dumped.vmcores["kdump"]))
    assert np.array_equal(ours.ram, theirs.ram)
    assert np.array_equal(ours.stored, theirs.stored)
    assert np.array_equal(ours.zero, theirs.zero)


@pytest.mark.parametrize("kind", ["elf", "kdump"])
def test_crash_says_the_same(dumped: Dumped, lab: Lab, tools: Callable[..., None], kind: str, tmp_path: Path) -> None:
    """Line for line: system, backtrace, processes, log, modules."""
    tools("crash")
    theirs = crash(lab.vmlinux, lab.core, COMMANDS, tmp_path)
    ours = crash(lab.vmlinux, dumped.vmcores[kind], COMMANDS, tmp_path)
    assert "sysrq_handle_crash" in "\n".join(theirs)
    # that line says [PARTIAL DUMP] for a filtered file
    assert [line for line in ours if "DUMPFILE:" not in line] == [line for line in theirs if "DUMPFILE:" not in line]


@pytest.mark.parametrize("kind", FORMATS)
def test_the_log_is_beside_it(dumped: Dumped, lab: Lab, kind: str) -> None:
    """vmcore-dmesg.txt is the reference core's log."""
    assert (dumped.vmcores[kind].parent / "vmcore-dmesg.txt").read_text() == ddsdk("log", lab.core)


@pytest.mark.parametrize(("level", "codec"), [(31, "none"), (0, "zlib"), (1, "lzo"), (16, "snappy")])
def test_other_levels_and_codecs(lab: Lab, level: int, codec: str, tmp_path: Path) -> None:
    """The page set is the filter's, every page right, whatever the partition's own format."""
    disk = tmp_path / "d.img"
    with disk.open("wb") as image:
        image.truncate(600 << 20)
    ddsdk("format", "--stride", "4096", disk)
    ddsdk("dump", lab.core, "--to", f"mptfusion:{disk}", "--dump-level", level, "--compress", codec)
    ddsdk("savecore", disk, tmp_path / "out")
    vmcore, = (tmp_path / "out").glob("127.0.0.1-*/vmcore")
    with open_source(str(lab.core)) as memory, open_pages(str(vmcore)) as ours:
        wanted = classify(memory, level if codec == "none" else level & ~1).kept if level else memory.stored
        assert ours.stored == wanted
        for first, count in wanted.runs():
            size = count * ours.page_size
            assert ours.view(first * ours.page_size, size) == memory.view(first * ours.page_size, size)
