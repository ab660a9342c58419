"""Swap areas behind models whose disks fail: what is lost, that it ends, and that the memory is not touched by it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ddsdk.block.load import Region
from ddsdk.diskdump.engine import DumpReport
from ddsdk.diskdump.format import format_device
from ddsdk.diskdump.partition import DumpState, read_partition
from ddsdk.diskdump.savecore import save
from ddsdk.diskdump.swappart import AreaState
from ddsdk.diskdump.target import DumpTarget
from ddsdk.registry import discover
from ddsdk.rig import Rig
from ddsdk.sim import disk_faults as faults
from ddsdk.sim.disk_faults import Access, DiskFault
from ddsdk.target import Target
from ddsdk.vmcore.source import open_source
from tests.diskdump.swaps import swap_area

PAGES, SECOND_NS = 120, 1_000_000_000


def dump(tmp_path: Path, to: str, swap: str, *armed: DiskFault, on_dump: bool = False,
         between: Callable[[Rig], None] = lambda rig: None) -> tuple[DumpReport, int]:
    """2 MiB of memory through *to*, a swap area read through *swap* from a disk with faults; the seconds it took."""
    area, disk = tmp_path / "s.img", tmp_path / "d.img"
    area.write_bytes(swap_area(PAGES))
    disk.write_bytes(bytes(4 << 20))
    format_device(DumpTarget(str(disk)))
    with open_source("synthetic:2M") as source, Rig.build(
            source, [Target(to, str(disk))], discover(f"{to},{swap}"), swaps=[Target(swap, str(area))]) as rig:
        victim = rig.adapters[0 if on_dump else 1].disk
        assert victim is not None
        for fault in armed:
            victim.inject(fault)
        between(rig)
        began = rig.machine.clock.now_ns
        return rig.crash_and_dump(), (rig.machine.clock.now_ns - began) // SECOND_NS


@pytest.mark.parametrize(("to", "swap"), [("mptfusion", "ide"), ("ide", "mptfusion")])
def test_a_medium_error(to: str, swap: str, tmp_path: Path) -> None:
    """Sectors that cannot be read cost the pages they are in: 8 sectors a page, one of page 9, all of page 30."""
    report, _ = dump(tmp_path, to, swap, faults.medium_error(9 * 8 + 3, on=Access.READ),
                     faults.medium_error(30 * 8, 30 * 8 + 7, on=Access.READ))
    one, = report.swap
    assert (report.complete, one.state, one.unreadable, one.missing) == (True, AreaState.WHOLE, 2, 2)
    saved = save(DumpTarget(str(tmp_path / "d.img")), str(tmp_path / "out"))
    assert (saved.state, saved.whole) == (DumpState.COMPLETE, False)
    image = Path(saved.swap[0].path or "")
    assert image.with_name("swap-1-missing.txt").read_text().splitlines()[1:] == ["9 1", "30 1"]


@pytest.mark.parametrize(("to", "swap"), [("mptfusion", "ide"), ("ide", "mptfusion")])
def test_a_disk_that_answers_no_more(to: str, swap: str, tmp_path: Path) -> None:
    """Every read but the header's hangs: the area is given up within minutes, the memory is a whole dump."""
    report, seconds = dump(tmp_path, to, swap, faults.hang(times=None, after=1, on=Access.READ))
    one, = report.swap
    assert (report.complete, one.state) == (True, AreaState.NOT_READ)
    assert (one.saved, one.missing) == (0, PAGES - 1)
    assert "pages in a row cannot be read: " in one.why
    assert seconds < 600
    found = read_partition(DumpTarget(str(tmp_path / "d.img")))
    assert (found.state, found.written_pages) == (DumpState.COMPLETE, report.saved_pages)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("to", "swap"), [("mptfusion", "ide"), ("ide", "mptfusion"), ("mptfusion", "mptfusion")])
def test_a_crash_under_load(to: str, swap: str, seed: int, tmp_path: Path) -> None:
    """Both adapters have commands in flight when the machine stops: every page of memory and swap is saved."""

    def work(rig: Rig) -> None:
        loads = [adapter.load(Region(0, PAGES * 8), seed) for adapter in rig.adapters]
        for load in loads:
            load.start()
        rig.machine.run(for_ns=3_000_000 + seed * 777_777)
        assert all(load.in_flight for load in loads)

    report, _ = dump(tmp_path, to, swap, between=work)
    assert (report.complete, report.swap_whole, report.swap[0].why) == (True, True, "")
    saved = save(DumpTarget(str(tmp_path / "d.img")), str(tmp_path / "out"))
    assert saved.whole
    assert Path(saved.swap[0].path or "").read_bytes() == (tmp_path / "s.img").read_bytes() == swap_area(PAGES)


@pytest.mark.parametrize(("to", "swap"), [("sym53c8xx", "aic7xxx"), ("ipr", "aic79xx"), ("aic79xx", "ipr"),
                                          ("aic7xxx", "sym53c8xx")])
def test_every_driver(to: str, swap: str, tmp_path: Path) -> None:
    """No driver is disturbed by another one that is polled with it."""
    report, _ = dump(tmp_path, to, swap)
    assert (report.complete, report.swap_whole, report.swap[0].saved) == (True, True, 90)


def test_the_first_dump_device_fails(tmp_path: Path) -> None:
    """A swap area on its disk is read all the same, the adapter brought up anew; the dump goes to the second."""
    first, second = tmp_path / "1.img", tmp_path / "2.img"
    first.write_bytes(bytes(4 << 20) + swap_area(PAGES))            # not formatted
    second.write_bytes(bytes(4 << 20))
    format_device(DumpTarget(str(second)))
    targets = [Target("mptfusion", str(first), size_bytes=4 << 20), Target("ide", str(second))]
    area = Target("mptfusion", str(first), offset_bytes=4 << 20)
    with open_source("synthetic:2M") as source, Rig.build(source, targets, discover("mptfusion,ide"),
                                                          swaps=[area]) as rig:
        assert len(rig.adapters) == 2
        report = rig.crash_and_dump()
    assert (report.device, len(report.rejections), report.swap_whole) == (f"ide:{second}", 1, True)
    saved = save(DumpTarget(str(second)), str(tmp_path / "out"))
    assert Path(saved.swap[0].path or "").read_bytes() == swap_area(PAGES)


def test_an_adapter_that_is_not_sane(tmp_path: Path) -> None:
    """A lock of the swap area's driver that a frozen CPU holds: the area is not read, and that is said."""
    report, _ = dump(tmp_path, "ide", "mptfusion",
                     between=lambda rig: rig.kernel.spin_lock(rig.adapters[1].device.lock))
    one, = report.swap
    assert (report.complete, one.state, one.saved) == (True, AreaState.NOT_READ, 0)
    assert one.why.startswith("host_lock is held, taken at ")


def test_a_dump_disk_that_takes_no_more(tmp_path: Path) -> None:
    """The disk behind the dump device fails behind the memory: the dump is whole, the area's pages are lost."""
    report, _ = dump(tmp_path, "mptfusion", "ide", faults.medium_error(480 * 8, 1023 * 8, on=Access.WRITE),
                     on_dump=True)
    one, = report.swap
    assert (report.complete, one.saved) == (True, 0)
    assert one.why.startswith("the dump device failed: I/O error -EIO on block ")
    saved = save(DumpTarget(str(tmp_path / "d.img")), str(tmp_path / "out"))
    assert (saved.state, saved.pages, saved.whole) == (DumpState.COMPLETE, report.saved_pages, False)
