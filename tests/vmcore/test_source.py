"""`MEMORY` as the command line takes it: synthetic machines, raw images, ELF cores."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from ddsdk.abi import ABIS, IA64, X86_64, Abi
from ddsdk.errors import DeviceError, FormatError, UsageError
from ddsdk.vmcore.raw import pc_layout
from ddsdk.vmcore.source import MemorySource, open_source
from ddsdk.vmcore.synthetic import _TILE_PAGES, parse_synthetic, ram_map
from tests.vmcore.cores import Load, elf64

MIB, GIB = 1 << 20, 1 << 30


def content(source: MemorySource) -> bytes:
    """All of memory."""
    page = source.page_size
    return b"".join(bytes(view) for run in source.runs
                    for view in source.views(run.start_pfn * page, run.npages * page))


# --- synthetic ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_the_map_is_a_pcs(abi: Abi) -> None:
    """Holes at 640 KiB to 1 MiB and at 3 to 4 GiB; what lies in the second moves above it."""
    with open_source(f"synthetic:5G,abi={abi.name}") as source:
        page = abi.page_size
        assert [(run.start_pfn * page, run.npages * page) for run in source.runs] == [
            (0, 0xA0000), (MIB, 3 * GIB - MIB), (4 * GIB, 2 * GIB)]
        assert source.max_pfn == 6 * GIB // page
        with pytest.raises(UsageError, match="physical address 0xa0000 is not RAM"):
            source.view(0xA0000, page)


@pytest.mark.parametrize(("size", "pieces"), [
    (4096, [(0, 4096)]), (0xA0000, [(0, 0xA0000)]), (0xB0000, [(0, 0xA0000)]), (MIB, [(0, 0xA0000)]),
    (64 * MIB, [(0, 0xA0000), (MIB, 63 * MIB)]), (3 * GIB, [(0, 0xA0000), (MIB, 3 * GIB - MIB)]),
])
def test_small_maps(size: int, pieces: list[tuple[int, int]]) -> None:
    """Sizes that end in or before a hole."""
    assert ram_map(size) == pieces


def test_same_spec_same_bytes() -> None:
    """Content depends on the seed and the page frame, not on the size of the machine or on chance."""
    with open_source("synthetic:4M") as one, open_source("synthetic:8M") as two, \
            open_source("synthetic:4M,seed=2") as other:
        assert content(one) == content(two)[:928 * 4096]
        assert content(one) != content(other)
        assert one.vmcoreinfo == two.vmcoreinfo


def test_every_kind_of_page_is_there() -> None:
    """Zeros, text, pointers and noise: about three in ten pages are zero, all others differ from each other."""
    with open_source("synthetic:16M") as source:
        pages = np.frombuffer(content(source), np.uint8).reshape(-1, 4096)
    filled = pages[pages.any(axis=1)]
    assert 0.15 < 1 - len(filled) / len(pages) < 0.45
    assert len({page.tobytes() for page in filled}) == len(filled)


def test_pages_far_apart_differ() -> None:
    """The period is a prime number of pages, so equal pages are never a power of two apart; tiles differ too."""
    tile = _TILE_PAGES[4096]
    assert tile % 2
    assert all(tile % n for n in range(3, 130, 2))
    with open_source("synthetic:512M") as source:
        base = 1000
        assert bytes(source.view(base * 4096, 4096)) == bytes(source.view((base + tile) * 4096, 4096))
        filled = [pfn for pfn in range(256, 2000) if any(source.view(pfn * 4096, 4096))]
        for power in range(1, 17):
            for pfn in filled[:50]:
                assert source.view(pfn * 4096, 4096) != source.view((pfn + (1 << power)) * 4096, 4096)
        assert bytes(source.view(2 * tile * 4096, 4096)).startswith(b"page frame 32762 of seed 1. ")


def test_sixteen_gib_take_little_room() -> None:
    """Reading all over 16 GiB, handing pages back, stays below 150 MiB of memory."""
    code = """
        from pathlib import Path
        from ddsdk.vmcore.source import open_source
        with open_source("synthetic:16G") as source:
            for run in source.runs:
                for pfn in range(run.start_pfn, run.start_pfn + run.npages, 4096):
                    count = min(4096, run.start_pfn + run.npages - pfn)
                    view = source.view(pfn * 4096, count * 4096)
                    view[::1 << 20].tobytes()    # each fault maps 16 pages: 1 GiB in all
                    source.release_range(pfn * 4096, count * 4096)
        # not ru_maxrss: that one starts with what the parent had at the fork
        print(next(line.split()[1] for line in Path("/proc/self/status").open() if line.startswith("VmHWM")))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 150 * 1024


def test_cpus_have_registers() -> None:
    """Each CPU has registers of its own, plausible ones in program counter, stack and code segment."""
    with open_source("synthetic:1M,cpus=3") as source:
        assert [cpu.cpu for cpu in source.cpus] == [0, 1, 2]
        words = [np.frombuffer(cpu.regs, "<u8") for cpu in source.cpus]
        rip, rsp, cs = (X86_64.gregs.index(name) for name in ("rip", "rsp", "cs"))
        assert all(0xFFFFFFFF81000000 <= int(regs[rip]) < 0xFFFFFFFF81400000 for regs in words)
        assert len({int(regs[rsp]) for regs in words}) == 3
        assert {int(regs[cs]) for regs in words} == {0x10}
        assert (source.release, source.crashtime, source.nodename) == ("6.1.0-synthetic", 1_100_000_000, "synthetic")


@pytest.mark.parametrize(("spec", "line"), [
    ("synthetic:", "size ''"), ("synthetic:lots", "size 'lots'"), ("synthetic:0", "0 bytes; it must be whole pages"),
    ("synthetic:5000", "5000 bytes; it must be whole pages of 4096 bytes, at most 1T"),
    ("synthetic:2T", "at most 1T"), ("synthetic:4M,abi=vax", "unknown ABI 'vax'"),
    ("synthetic:4M,cpu=2", "option 'cpu=2' is none of seed=, abi=, cpus="), ("synthetic:4M,seed=x", "seed='x' must be"),
    ("synthetic:4M,cpus=0", "cpus=0; it must be 1 to 4096"), ("synthetic:20K,abi=ia64", "whole pages of 16384 bytes"),
])
def test_bad_synthetic_specs(spec: str, line: str) -> None:
    """A bad spec is one line that shows it and says what may stand there."""
    with pytest.raises(UsageError) as caught:
        open_source(spec)
    assert line in str(caught.value)


def test_abi_of_a_synthetic_machine() -> None:
    """The spec's own option, else the caller's, else x86_64; two that differ are refused, as with an ELF core."""
    assert parse_synthetic("synthetic:1M").abi is X86_64
    assert parse_synthetic("synthetic:1M", IA64).abi is IA64
    assert parse_synthetic("synthetic:1M,abi=ppc64").abi.name == "ppc64"
    with pytest.raises(UsageError, match="the memory of ppc64, not of ia64 as asked for"):
        parse_synthetic("synthetic:1M,abi=ppc64", IA64)


def test_views_are_read_only_and_end_with_the_source() -> None:
    """Nobody changes the memory that is dumped; a closed source has no memory."""
    source = open_source("synthetic:4M")
    view = source.view(0, 4096)
    assert view.readonly
    source.close()
    assert source.extents == ()


# --- raw images -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "pieces"), [
    (512 * MIB, [(0, 0, 0xA0000), (0xC0000, 0xC0000, 512 * MIB - 0xC0000)]),
    (3 * GIB, [(0, 0, 0xA0000), (0xC0000, 0xC0000, 3 * GIB - 0xC0000)]),
    (4 * GIB, [(0, 0, 0xA0000), (0xC0000, 0xC0000, 3 * GIB - 0xC0000), (4 * GIB, 3 * GIB, GIB)]),
    (0x8000, [(0, 0, 0x8000)]),
])
def test_layout_of_a_pcs_image(size: int, pieces: list[tuple[int, int, int]]) -> None:
    """The VGA window is left out; from 3.5 GiB on what lies above 3 GiB is memory from 4 GiB on, as QEMU has it."""
    assert pc_layout(size) == pieces


def test_raw_image(tmp_path: Path) -> None:
    """File offset is physical address; no registers and no VMCOREINFO are invented."""
    path = tmp_path / "ram.img"
    path.write_bytes(bytes(range(256)) * (2 * MIB // 256))
    with open_source(str(path), abi=X86_64) as source:
        assert [(run.start_pfn, run.npages) for run in source.runs] == [(0, 160), (192, 320)]
        assert (source.cpus, source.vmcoreinfo, source.release, source.crashtime) == ((), None, "", None)
        assert bytes(source.view(MIB, 256)) == bytes(range(256))
        source.release_range(MIB, 64 * 4096)
        assert bytes(source.view(MIB, 256)) == bytes(range(256))
    with open_source(f"flat:{path}", abi=X86_64) as source:
        assert source.total_pages == 512
    with open_source(str(path), abi=IA64) as source:
        assert (source.page_size, source.total_pages) == (16384, 128)


def test_a_raw_image_must_name_its_machine(tmp_path: Path) -> None:
    """Without --abi a file must be an ELF core: a text file is not taken for memory."""
    path = tmp_path / "notes.txt"
    path.write_bytes(b"not memory" * 4096)
    with pytest.raises(FormatError, match=r"notes.txt: no dump file that ddsdk reads"):
        open_source(str(path))
    with pytest.raises(FormatError, match=r"notes.txt: a raw RAM image does not say whose it is"):
        open_source(f"raw:{path}")


def test_a_raw_image_is_whole_pages(tmp_path: Path) -> None:
    """A file that is no whole number of pages is no RAM image; an empty one neither."""
    path = tmp_path / "ram.img"
    path.write_bytes(bytes(5000))
    with pytest.raises(FormatError, match="5000 bytes are no whole number of 4096-byte pages"):
        open_source(str(path), abi=X86_64)
    path.write_bytes(b"")
    with pytest.raises(FormatError, match="the file is empty"):
        open_source(str(path), abi=X86_64)


def test_elf_core_of_another_machine(tmp_path: Path) -> None:
    """--abi is a promise that the file must keep; `raw:` takes even an ELF file as memory."""
    path = tmp_path / "vm.elf"
    path.write_bytes(elf64([Load(0, bytes(4096))]).ljust(8192, b"\0"))
    with pytest.raises(FormatError, match="a dump of x86_64, not of ia64 as asked for"):
        open_source(str(path), abi=IA64)
    with open_source(f"raw:{path}", abi=X86_64) as source:
        assert bytes(source.view(0, 4)) == b"\x7fELF"


def test_missing_memory(tmp_path: Path) -> None:
    """A missing file is a DeviceError that names it."""
    with pytest.raises(DeviceError, match="nowhere: cannot open for reading: No such file or directory"):
        open_source(str(tmp_path / "nowhere"))


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    """Opening and closing sources of every kind many times leaks no file descriptor."""
    path = tmp_path / "vm.elf"
    path.write_bytes(elf64([Load(0, bytes(4096))]))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        open_source(str(path)).close()
        open_source("synthetic:1M").close()
        with pytest.raises(FormatError):
            open_source(str(path), abi=IA64)
    assert len(os.listdir("/proc/self/fd")) == before
