"""dump --swap, info, savecore, convert --swap-to: swap areas through the driver and back, on every kind of adapter."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

import pytest

from ddsdk.sizes import parse_size
from tests.diskdump.swaps import UUID_TEXT, data_page, swap_area, swap_page
from tests.diskdump.test_swapheader import BAD

from .conftest import Ddsdk
from .test_bad_input import one_line


@pytest.fixture
def both(ddsdk: Ddsdk, monkeypatch: pytest.MonkeyPatch) -> Ddsdk:
    """A SCSI and an IDE driver."""
    monkeypatch.setenv("DDSDK_LOAD_PLUGINS", "mptfusion,ide")
    return ddsdk


@pytest.fixture
def area(tmp_path: Path) -> Path:
    """A swap area of 300 pages, two of them bad, a quarter zeros."""
    path = tmp_path / "s.img"
    path.write_bytes(swap_area(300, bad=(7, 150)))
    return path


def wanted(area: Path) -> bytes:
    """What comes out: everything but the bad pages."""
    image = bytearray(area.read_bytes())
    for number in (7, 150):
        image[number * 4096:(number + 1) * 4096] = bytes(4096)
    return bytes(image)


@pytest.mark.parametrize(("to", "swap", "options"), [
    ("mptfusion", "mptfusion", ()), ("mptfusion", "ide", ("--dump-level", "1")), ("ide", "mptfusion", ()),
    ("ide", "ide", ("--compress", "zstd"))])
def test_through_another_adapter(both: Ddsdk, image: Path, area: Path, tmp_path: Path, to: str, swap: str,
                                 options: tuple[str, ...]) -> None:
    """Memory through one adapter, swap read through another: both come back, the swap area is as it was."""
    before = area.read_bytes()
    assert both("format", image).code == 0
    ended = both("dump", "synthetic:4M", "--to", f"{to}:{image}", "--swap", f"{swap}:{area}", *options)
    assert (ended.code, ended.out.splitlines()[-1]) == (
        0, f"swap area {swap}:{area}: 223 pages saved, 74 are zeros")
    saved = both("savecore", image, tmp_path / "crash")
    assert saved.code == 0
    case = Path(saved.out.split(": ")[0]).parent
    assert (case / "swap-1.img").read_bytes() == wanted(area)
    assert f"{case}/swap-1.img: 223 of 300 pages of {swap}:{area} are not zeros, whole" in saved.out.splitlines()
    assert area.read_bytes() == before
    assert both("check", image).code == 0


@pytest.mark.parametrize("driver", ["mptfusion", "ide"])
def test_on_the_disk_that_is_dumped_to(both: Ddsdk, image: Path, area: Path, tmp_path: Path, driver: str) -> None:
    """Two partitions of one disk behind one adapter; a second area beside it; none of the disk's other bytes change."""
    with image.open("r+b") as disk:
        disk.seek(parse_size("10M"))
        disk.write(area.read_bytes())
    window = f"{image},size=8M"
    assert both("format", window).code == 0
    before = image.read_bytes()
    ended = both("dump", "synthetic:4M", "--to", f"{driver}:{window}", "--swap", f"{driver}:{image},offset=10M",
                 "--swap", f"{driver}:{area}", "--json")
    told = json.loads(ended.out)
    assert (ended.code, told["complete"], [one["saved_pages"] for one in told["swap"]]) == (0, True, [223, 223])
    assert image.read_bytes()[8 << 20:] == before[8 << 20:]
    listed = json.loads(both("info", window, "--json").out)["swap"]
    assert [(one["number"], one["label"], one["uuid"], one["bad_pages"], one["state"]) for one in listed] == [
        (number, "pages", UUID_TEXT, 2, "whole") for number in (1, 2)]
    taken = both("convert", window, "--swap-to", tmp_path / "out")
    assert (taken.code, len(taken.out.splitlines())) == (0, 2)
    for number in (1, 2):
        assert (tmp_path / "out" / f"swap-{number}.img").read_bytes() == wanted(area)
    assert both("savecore", window, tmp_path / "crash").code == 0
    assert image.read_bytes() == before


def test_info(ddsdk: Ddsdk, image: Path, area: Path, tmp_path: Path) -> None:
    """Of the partition, of the vmcore whose swap areas lie beside it, of an image."""
    ddsdk("format", image)
    ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}", "--swap", f"mptfusion:{area}")
    line, = [line for line in ddsdk("info", image).out.splitlines() if line.startswith("swap ")]
    assert line == (f"swap                 number 1, device mptfusion:{area}, label pages, uuid {UUID_TEXT}, page bytes"
                    " 4096, pages 300, bad pages 2, state whole, saved pages 223, looked at pages 300, first block 934,"
                    " data blocks 223")
    ddsdk("savecore", image, tmp_path / "crash")
    case, = (tmp_path / "crash").iterdir()
    facts = {"label": "pages", "uuid": UUID_TEXT, "page_bytes": 4096, "pages": 300, "bad_pages": 2}
    one = {"kind": "swap area", "file": f"{case}/swap-1.img", **facts}
    assert json.loads(ddsdk("info", case / "vmcore", "--json").out)["swap"] == [one]
    assert json.loads(ddsdk("info", case / "swap-1.img", "--json").out) == one


def test_estimate(ddsdk: Ddsdk, area: Path, tmp_path: Path) -> None:
    """What estimate says is enough: 2 heads, the header, 2 maps, 300 pages and their heads should they be records."""
    told = json.loads(ddsdk("estimate", "synthetic:4M", "--swap", area, "--json").out)
    assert (told["total_blocks"], told["swap_blocks"], told["total_bytes"]) == (932, 307, (932 + 307) * 4096)
    ended = ddsdk("estimate", "synthetic:4M", "--swap", area)
    assert ended.out.splitlines()[1:3] == ["swap areas: at most 307 blocks behind them",
                                           "partition of at least 5074944 bytes (4.8 MiB), blocks of 4096"]
    disk = tmp_path / "d.img"
    disk.write_bytes(bytes(told["total_bytes"]))
    ddsdk("format", disk)
    assert ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{disk}", "--swap", f"mptfusion:{area}").code == 0
    one_line(ddsdk("estimate", "pages:100", "--swap", disk), 4, "no swap area")


def test_what_there_is_no_room_for(ddsdk: Ddsdk, image: Path, area: Path, tmp_path: Path) -> None:
    """Exit code 1 of dump, savecore and convert; the memory is whole, and what is missing is said."""
    small = tmp_path / "small.img"
    small.write_bytes(bytes(1000 * 4096))
    assert ddsdk("format", small).code == 0
    ended = ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{small}", "--swap", f"mptfusion:{area}")
    assert (ended.code, ended.err) == (1, f"ddsdk: error: swap area mptfusion:{area}: 63 pages saved, 213 are missing:"
                                          f" mptfusion:{small} is full\n")
    assert "dumped 928 pages" in ended.out
    taken = ddsdk("convert", small, "--swap-to", tmp_path / "out")
    assert (taken.code, taken.out) == (
        1, f"{tmp_path}/out/swap-1-incomplete.img: 63 of 300 pages of mptfusion:{area} are not zeros, 213 pages are"
           " missing: pages from 86 on are not there: there was no room for more\n")
    saved = ddsdk("savecore", small, tmp_path / "crash")
    assert saved.code == 1
    assert "vmcore: 928 of 928 pages" in saved.out
    assert saved.err == (f"ddsdk: warning: swap area 1, mptfusion:{area}: pages from 86 on are not there: there was no"
                         " room for more\n")
    assert ddsdk("check", small).code == 0


def test_an_adapter_that_does_not_come_up(ddsdk: Ddsdk, image: Path, area: Path, tmp_path: Path) -> None:
    """The memory is dumped all the same, and so is the other area; the one is named with the reason (exit code 1)."""
    other = tmp_path / "other.img"
    other.write_bytes(area.read_bytes())
    ddsdk("format", image)
    with area.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)                # somebody else is at work on it
        ended = ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}", "--swap", f"mptfusion:{area}", "--swap",
                      f"mptfusion:{other}")
    assert (ended.code, ended.err) == (
        1, f"ddsdk: error: swap area mptfusion:{area}: 0 pages saved, 297 are missing: {area}: another format, dump or"
           " savecore is at work on it; wait for that one\n")
    assert ended.out.splitlines()[-1] == f"swap area mptfusion:{other}: 223 pages saved, 74 are zeros"
    assert len(json.loads(ddsdk("info", image, "--json").out)["swap"]) == 1


@pytest.mark.parametrize("name", BAD)
def test_headers_that_swapon_refuses(ddsdk: Ddsdk, image: Path, tmp_path: Path, name: str) -> None:
    """Said before the crash, in one line, exit code 4; the dump device is not touched."""
    content, message = BAD[name]
    area = tmp_path / "s.img"
    area.write_bytes(content)
    ddsdk("format", image)
    before = image.read_bytes()
    ended = ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}", "--swap", f"mptfusion:{area}")
    assert one_line(ended, 4) == f"ddsdk: error: {area}: {message}"
    assert image.read_bytes() == before


@pytest.mark.parametrize(("swap", "code", "message"), [
    ("/dev/sda2", 2, "--swap '/dev/sda2': it must be DRIVER:PATH[,chip=C][,backend=B][,offset=O][,size=S]; after a"
                     " crash nothing but a driver reaches a disk"),
    ("/dev/disk/by-path/pci-0:1", 2, "--swap '/dev/disk/by-path/pci-0:1': it must be DRIVER:PATH[,chip=C][,backend=B]"
                                     "[,offset=O][,size=S]; after a crash nothing but a driver reaches a disk"),
    ("mptfusion:", 2, "--swap 'mptfusion:': it must be DRIVER:PATH[,chip=C][,backend=B][,offset=O][,size=S]"),
    ("mptfusion:{area},label=x", 2, "--swap 'mptfusion:{area},label=x': option 'label=x' is none of chip=, backend=,"
                                    " offset=, size="),
    ("nix:{area}", 2, "unknown driver 'nix'"),
    ("mptfusion:{area}.gone", 5, "{area}.gone: cannot open for reading: No such file or directory"),
    ("mptfusion:{area},size=2M", 5, "{area},offset=0,size=2097152: the window ends at byte 2097152, the"
                                    " device at 1228800"),
    ("mptfusion:{image},offset=1M", 2, "mptfusion:{image},offset=1048576 and mptfusion:{image} are the same bytes of"
                                       " one disk; a swap area is saved once, and not from where the dump goes"),
])
def test_areas_that_cannot_be(ddsdk: Ddsdk, image: Path, area: Path, swap: str, code: int, message: str) -> None:
    """One line, before the crash."""
    ddsdk("format", image)
    ended = ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}", "--swap", swap.format(area=area, image=image))
    assert message.format(area=area, image=image) in one_line(ended, code)


def test_the_same_area_twice(ddsdk: Ddsdk, image: Path, area: Path) -> None:
    """It is one, whatever it is called."""
    ddsdk("format", image)
    ended = ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}", *("--swap", f"mptfusion:{area}") * 2)
    one_line(ended, 2, "are the same bytes of one disk; a swap area is saved once")


def test_convert_without_swap_areas(ddsdk: Ddsdk, image: Path, tmp_path: Path) -> None:
    """No dump, no areas, a DST too many, no SRC: one line and the documented exit code."""
    ddsdk("format", image)
    one_line(ddsdk("convert", image, "--swap-to", tmp_path / "out"), 4, "no dump header in block 1")
    ddsdk("dump", "synthetic:4M", "--to", f"mptfusion:{image}")
    one_line(ddsdk("convert", image, "--swap-to", tmp_path / "out"), 4, "no swap area was dumped with the memory")
    one_line(ddsdk("convert", image, "x", "--swap-to", tmp_path / "out"), 2, "--swap-to takes one dump partition")
    one_line(ddsdk("convert", "--swap-to", tmp_path / "out"), 2, "--swap-to takes one dump partition")
    assert not (tmp_path / "out").exists()


def test_an_area_smaller_than_its_device(both: Ddsdk, image: Path, tmp_path: Path) -> None:
    """What lies behind the last page is not swap's, and the device may end inside a page."""
    area = tmp_path / "s.img"
    area.write_bytes(bytes(swap_page(5)) + b"".join(data_page(number) for number in range(1, 9)) + bytes(512))
    both("format", image)
    assert both("dump", "synthetic:4M", "--to", f"mptfusion:{image}", "--swap", f"ide:{area}").code == 0
    assert both("convert", image, "--swap-to", tmp_path / "out").code == 0
    assert (tmp_path / "out" / "swap-1.img").read_bytes() == area.read_bytes()[:5 * 4096]
