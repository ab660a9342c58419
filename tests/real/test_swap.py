"""Swap areas that mkswap made, through models and QEMU's adapters, and what util-linux says of what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ddsdk.lab.tools import find_tool, run
from tests.diskdump.swaps import data_page
from tests.real.conftest import ddsdk

pytestmark = pytest.mark.real

PAGES = 2560                # 10 MiB, and the same number of larger pages
UUID = "6b0a4c1e-0ad8-4d33-9d2c-3f4f6b1d7a55"


def mkswap(path: Path, page: int, label: str) -> bytes:
    """A swap area with every page written, in pages of *page* bytes; its bytes."""
    path.write_bytes(bytes(PAGES * page))
    run([str(find_tool("mkswap")), "-q", "-p", str(page), "-L", label, "-U", UUID, path])
    with path.open("r+b") as file:
        for number in range(1, PAGES):
            file.seek(number * page)
            file.write(data_page(number, page))
    return path.read_bytes()


@pytest.fixture(autouse=True)
def util_linux(tools: Callable[..., None]) -> None:
    """Everything here needs it."""
    tools("mkswap", "swaplabel", "blkid")


@pytest.mark.parametrize(("abi", "page"), [("x86_64", 4096), ("ia64", 16384), ("ppc64", 4096)])
def test_mkswap(abi: str, page: int, tmp_path: Path) -> None:
    """What mkswap -p -L -U made is registered, saved and written again byte for byte; swaplabel and blkid know it."""
    disk, area = tmp_path / "d.img", tmp_path / "s.img"
    before = mkswap(area, page, "paged out")
    with disk.open("wb") as file:
        file.truncate(3200 * page)
    ddsdk("format", "--abi", abi, disk)
    ddsdk("dump", f"synthetic:4M,abi={abi}", "--to", f"mptfusion:{disk}", "--swap", f"ide:{area}")
    listed, = json.loads(ddsdk("info", disk, "--json"))["swap"]
    assert (listed["label"], listed["uuid"], listed["page_bytes"], listed["pages"], listed["state"]) == (
        "paged out", UUID, page, PAGES, "whole")
    ddsdk("savecore", disk, tmp_path / "out")
    image, = (tmp_path / "out").glob("127.0.0.1-*/swap-1.img")
    assert image.read_bytes() == before
    assert run([str(find_tool("swaplabel")), image]).split() == ["LABEL:", "paged", "out", "UUID:", UUID]
    assert run([str(find_tool("blkid")), "-p", "-o", "value", "-s", "TYPE", image]).strip() == "swap"


def test_areas_of_another_machine(tmp_path: Path) -> None:
    """Pages of 64 KiB on a machine with 4 KiB ones: refused before the crash."""
    disk, area = tmp_path / "d.img", tmp_path / "s.img"
    mkswap(area, 65536, "large")
    with disk.open("wb") as file:
        file.truncate(16 << 20)
    ddsdk("format", disk)
    said = ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{disk}", "--swap", f"mptfusion:{area}", "--json", status=4)
    assert "this swap area was made for pages of 65536 bytes, the machine's have 4096" in said


@pytest.mark.parametrize(("to", "chip", "swap"), [("mptfusion", "sas1068", "second"), ("mptfusion", "sas1068", "same"),
                                                  ("ide", "piix3", "same"), ("sym53c8xx", "53c895a", "second")])
def test_through_qemus_adapter(to: str, chip: str, swap: str, tools: Callable[..., None], tmp_path: Path) -> None:
    """Memory and swap by QEMU's process alone: on one disk, or on two, each behind an adapter of its own."""
    tools("qemu-system-x86_64")
    disk, area = tmp_path / "d.img", tmp_path / "s.img"
    before = mkswap(area, 4096, "qemu")
    with disk.open("wb") as file:
        file.truncate(48 << 20)
        file.seek(32 << 20)
        file.write(before)
    ddsdk("format", f"{disk},size=24M")
    where = f"{to}:{disk},chip={chip},backend=qemu,offset=32M,size=10M" if swap == "same" else (
        f"{to}:{area},chip={chip},backend=qemu")
    ddsdk("dump", "synthetic:4M", "--to", f"{to}:{disk},chip={chip},backend=qemu,size=24M", "--swap", where)
    ddsdk("savecore", f"{disk},size=24M", tmp_path / "out")
    image, = (tmp_path / "out").glob("127.0.0.1-*/swap-1.img")
    assert image.read_bytes() == before
    assert area.read_bytes() == before
