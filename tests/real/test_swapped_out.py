"""A Linux that swapped and panicked: what was paged out is in the swap area alone, and comes out of the dump."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ddsdk.lab import debian
from ddsdk.lab.guest import TOOLS, GuestSpec, booted
from ddsdk.lab.kernels import pci_alias
from ddsdk.lab.reference import write_reference_elf
from ddsdk.lab.tools import find_tool, run
from tests.real.conftest import ddsdk

pytestmark = pytest.mark.real

MEMORY, SWAP, DISK = 256 << 20, 256 << 20, 64 << 20
#: Numbered pages: as much as the memory, so that not all can stay in it.
PAGES = MEMORY // 4096
DEVICES = ("-drive", "file={scratch}/load.img,format=raw,if=none,id=d0", "-device", "ide-hd,drive=d0,bus=ide.0",
           "-drive", "file={scratch}/swap.img,format=raw,if=none,id=d1", "-device", "ide-hd,drive=d1,bus=ide.1")


def numbers(path: Path) -> set[int]:
    """The numbered pages that the file *path* has: pages of 4 KiB, at multiples of it in both kinds of file."""
    found = set[int]()
    with path.open("rb") as file:
        while piece := file.read(1 << 24):
            found |= {int(number) for number in re.findall(rb"ddsdk-swap (\d{8}) {64}", piece)}
    return found


def test_what_was_paged_out(tools: Callable[..., None], tmp_path: Path) -> None:
    """The vmcore alone lacks pages of the guest's, vmcore and swap-1.img together have every one; whatever the dump."""
    tools(*TOOLS, "mkswap", "swaplabel")
    for name, size in (("load.img", DISK), ("swap.img", SWAP), ("ram.img", MEMORY)):
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    run([str(find_tool("mkswap")), "-q", "-L", "guest", tmp_path / "swap.img"])
    devices = tuple(argument.format(scratch=tmp_path) for argument in DEVICES)
    spec = GuestSpec(debian.kernel("cloud"), MEMORY, 1, devices, (pci_alias(0x8086, 0x7010),), load="sda", swap="sdb",
                     swap_pages=PAGES)
    with (tmp_path / "ram.img").open("r+b") as ram, booted(spec, tmp_path, ram) as guest:
        guest.wait_for_panic(600)
        write_reference_elf(tmp_path / "vm.elf", tmp_path / "ram.img", guest.notes(tmp_path))
    serial = (tmp_path / "serial.log").read_text(errors="replace")
    used_kib = int(re.findall(r"LAB /dev/sdb\s+partition\s+\d+\s+(\d+)", serial)[0])
    disk = tmp_path / "d.img"
    with disk.open("wb") as file:
        file.truncate(MEMORY + SWAP + (16 << 20))
    for options in ((), ("--dump-level", "31", "--compress", "zstd")):
        ddsdk("format", disk)
        ddsdk("dump", tmp_path / "vm.elf", "--to", f"mptfusion:{disk}", "--swap", f"ide:{tmp_path / 'swap.img'}",
              *options)
        out = tmp_path / f"out{len(options)}"
        ddsdk("savecore", disk, out)
        image, = out.glob("127.0.0.1-*/swap-1.img")
        assert image.read_bytes() == (tmp_path / "swap.img").read_bytes()
        assert "guest" in run([str(find_tool("swaplabel")), image])
        swapped = numbers(image)
        assert len(swapped) * 4 > used_kib // 2
        if not options:
            in_memory = numbers(image.with_name("vmcore"))
            assert len(in_memory) < PAGES
            assert in_memory | swapped == set(range(PAGES))
