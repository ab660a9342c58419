"""`ddsdk log` and `ddsdk estimate` of filtered dumps, on cores of made-up kernels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ddsdk.vmcore.vmcoreinfo import build
from tests.cli.conftest import Ddsdk
from tests.vmcore.cores import Load, elf64, note
from tests.vmcore.kernel import LRU, Kernel, P
from tests.vmcore.klogs import RESERVED, Ring

FRAMES = 10240


def core(directory: Path, kernel: Kernel) -> Path:
    """The kernel's memory as an ELF core."""
    path = directory / "vmcore"
    memory = bytes(kernel.source().view(0, kernel.frames * P))
    path.write_bytes(elf64([Load(0, memory)], note(b"VMCOREINFO", 0, build(kernel.info))))
    return path


@pytest.fixture
def talking(tmp_path: Path) -> Ring:
    """A kernel that said two things."""
    ring = Ring(Kernel(frames=FRAMES))
    ring.add(b"Linux version 6.1", level=5)
    ring.add(b"panic", ts=1_500_000_000, level=0)
    return ring


def test_log_prints_lines(ddsdk: Ddsdk, talking: Ring, tmp_path: Path) -> None:
    """The text is the result; nothing else is said."""
    path = core(tmp_path, talking.kernel)
    ended = ddsdk("log", path)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "[    0.000000] Linux version 6.1\n[    1.500000] panic\n"
    assert ddsdk("log", "--levels", "--callers", path).out.splitlines()[1] == "<0>[    1.500000] [      T1] panic"


def test_log_as_json(ddsdk: Ddsdk, talking: Ring, tmp_path: Path) -> None:
    """One object."""
    said = json.loads(ddsdk("log", "--json", core(tmp_path, talking.kernel)).out)
    assert said == {"generation": "printk ring buffer", "skipped": 0, "warnings": [], "records": [
        {"seconds": 0.0, "level": 5, "caller": 1, "text": "Linux version 6.1"},
        {"seconds": 1.5, "level": 0, "caller": 1, "text": "panic"}]}


def test_log_says_what_it_left_out(ddsdk: Ddsdk, talking: Ring, tmp_path: Path) -> None:
    """On stderr; the exit code is that of a log that was read."""
    talking.add(b"being written", state=RESERVED)
    path = core(tmp_path, talking.kernel)
    ended = ddsdk("log", path)
    assert (ended.code, len(ended.out.splitlines())) == (0, 2)
    assert ended.err == f"ddsdk: warning: {path}: 1 records were being written or are damaged, and are left out\n"


@pytest.mark.parametrize(("bend", "says"), [
    ({"SYMBOL(prb)": "5000"}, "SYMBOL(prb)=0x5000 leads to no ring buffer"),
    ({"SYMBOL(swapper_pg_dir)": "5000"}, "the x86_64 kernel's page tables are not where VMCOREINFO says"),
    ({"SIZE(prb_desc)": ""}, "SIZE(prb_desc) is missing or absurd")])
def test_a_log_that_cannot_be_found_is_one_line(ddsdk: Ddsdk, talking: Ring, tmp_path: Path, bend: dict[str, object],
                                                says: str) -> None:
    """Exit 4."""
    talking.kernel.info |= bend
    path = core(tmp_path, talking.kernel)
    ended = ddsdk("log", path)
    assert (ended.code, ended.out, ended.err.count("\n")) == (4, "", 1)
    assert ended.err.startswith(f"ddsdk: error: {path}: ")
    assert says in ended.err


def test_a_memory_without_vmcoreinfo_has_no_log(ddsdk: Ddsdk, tmp_path: Path) -> None:
    """Exit 4."""
    path = tmp_path / "vmcore"
    path.write_bytes(elf64([Load(0, bytes(P))]))
    ended = ddsdk("log", path)
    assert (ended.code, ended.err) == (
        4, f"ddsdk: error: {path}: there is no VMCOREINFO: where the kernel's page tables are is not known\n")


def test_estimate_shows_what_each_level_leaves(ddsdk: Ddsdk, tmp_path: Path) -> None:
    """The useful levels for people, all for scripts."""
    kernel = Kernel(frames=FRAMES)
    for pfn in range(16):
        kernel.page(pfn, flags=LRU)
        kernel.write(pfn * P, b"cache")
    kernel.free(1024, 10)
    path = core(tmp_path, kernel)
    ended = ddsdk("estimate", path)
    assert (ended.code, ended.err) == (0, "")
    levels, _, codecs = ended.out.partition("\n\n")
    whole, partition, head, *rows = levels.splitlines()
    assert whole == "disk_dump: total blocks required: 10244 (header 3 + bitmap 1 + memory 10240)"
    assert partition == "partition of at least 41959424 bytes (40.0 MiB), blocks of 4096"
    assert head == "level        pages           bytes  left out (pages)"
    assert rows[0] == "    0        10240        40.0 MiB  nothing"
    assert [row.split()[0] for row in rows] == ["0", "1", "17", "23", "27", "31"]
    said = json.loads(ddsdk("estimate", path, "--json").out)
    assert [row["level"] for row in said["levels"]] == list(range(32))
    zero = said["levels"][1]["left_out"]["zero"]
    assert said["levels"][18]["left_out"] == {"free": 1024, "cache": 16, "private_cache": 0, "user": 0, "hwpoison": 0,
                                              "offline": 0, "unreadable": 0, "zero": 0}
    assert said["levels"][18]["kept_bytes"] == (FRAMES - 1040) * P
    assert said["levels"][1]["kept_pages"] == FRAMES - zero
    assert said["gaps"] == []
    assert rows[-1].endswith(f"free 1024, cache 16, zero {zero - 1024}")
    assert ddsdk("estimate", path, "--dump-level", "18").out.splitlines()[3] == (
        "   18         9200        35.9 MiB  free 1024, cache 16")
    head, *rows = codecs.splitlines()
    assert head.split() == ["level", "none", "zlib", "lzo", "snappy", "zstd"]
    assert [row.split()[0] for row in rows] == ["0", "1", "17", "23", "27", "31"]


def test_estimate_says_what_codecs_make_of_it(ddsdk: Ddsdk, tmp_path: Path) -> None:
    """Bytes within a tenth of what convert writes, at a level that keeps little and one that keeps all."""
    kernel = Kernel(frames=FRAMES)
    for pfn in range(64):
        kernel.page(pfn, flags=LRU)
        kernel.write(pfn * P, bytes((pfn * at) >> 3 & 0xFF for at in range(P)))
    path = core(tmp_path, kernel)
    rows = json.loads(ddsdk("estimate", path, "--json", "--rate", "10").out)["levels"]
    for level in (0, 30):
        for codec in ("zlib", "zstd"):
            target = tmp_path / f"{codec}{level}"
            assert ddsdk("convert", path, target, "--compress", codec, "--dump-level", str(level)).code == 0
            said = rows[level]["compressed"][codec]
            assert said["bytes"] == pytest.approx(target.stat().st_size - 4 * P, rel=0.1)
            assert said["write_seconds"] == pytest.approx(said["bytes"] / 1e7, abs=0.01)
    assert rows[0]["write_seconds"] == 4.19


def test_estimate_says_what_is_not_known(ddsdk: Ddsdk, tmp_path: Path) -> None:
    """A raw image has zero pages and others."""
    path = tmp_path / "ram"
    path.write_bytes(bytes(P) + b"x" * P)
    ended = ddsdk("estimate", path, "--abi", "i386")
    assert ended.code == 0
    assert ended.out.partition("\n\n")[0].splitlines()[-1] == "   31            1         4.0 KiB  zero 1"
    assert ended.err == (f"ddsdk: note: {path}: there is no VMCOREINFO, so nothing tells what the kernel used a page "
                         "for: only zero pages can be left out\n")
    assert ddsdk("estimate", path, "--abi", "i386", "--no-levels").err == ""


@pytest.mark.parametrize("arguments", [("--levels",), ("--dump-level", "1")])
def test_a_page_count_has_no_levels(ddsdk: Ddsdk, arguments: tuple[str, ...]) -> None:
    """Exit 2."""
    ended = ddsdk("estimate", "pages:100", *arguments)
    assert (ended.code, ended.err) == (2, "ddsdk: error: 'pages:100' has no pages to look at; levels need a memory\n")


@pytest.mark.parametrize("level", ["32", "-1", "x"])
def test_levels_are_0_to_31(ddsdk: Ddsdk, level: str) -> None:
    """Exit 2."""
    assert ddsdk("estimate", "pages:100", f"--dump-level={level}").code == 2
