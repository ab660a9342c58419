"""The whole way through an IDE driver: probe, scan, load, crash, dump, savecore, every page equal."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs
import pytest

from ddsdk.abi import X86_64
from ddsdk.ata.host import IdeHwif
from ddsdk.ata.ide_dump import AtaDumpDevice
from ddsdk.block.load import Region
from ddsdk.diskdump.engine import DumpReport
from ddsdk.diskdump.format import format_device
from ddsdk.diskdump.savecore import save
from ddsdk.diskdump.target import DumpTarget
from ddsdk.diskdump.writer import Stage
from ddsdk.drill import Drill, compare_with_source, run_drill
from ddsdk.errors import UsageError
from ddsdk.hookspecs import Chip, DriverInfo, HardwareModelInfo
from ddsdk.registry import Registry
from ddsdk.rig import Rig
from ddsdk.sim import disk_faults as faults
from ddsdk.sim.disk_faults import Access, DiskFault
from ddsdk.sim.machine import Trigger
from ddsdk.sim.trace import Trace
from ddsdk.target import Target
from ddsdk.vmcore.source import open_source
from tests.ata import toy_driver, toy_model

MIB = 1 << 20
S = 1_000_000_000
PARTITION = 4 * MIB
CHIPS = (Chip("dma", 0x1234, 0x1DE0, "Toy IDE"), Chip("pio", 0x1234, 0x1DE1, "Toy IDE without a bus master"))
DRIVER = DriverInfo(name="toy", bus="ata", summary="A toy IDE interface", chips=CHIPS, probe=toy_driver.toy_probe,
                    hooks=toy_driver.ToyHooks(), modules=("tests.ata.toy_driver", "tests.ata.toy_regs"))
MODELS = tuple(HardwareModelInfo(driver="toy", chip=chip, build=toy_model.build, documents=("hw-ide.md",))
               for chip in CHIPS)


def registry(**changes: Any) -> Registry:
    """A registry with the toy, changed."""
    return Registry(MappingProxyType({"toy": attrs.evolve(DRIVER, **changes)}), MODELS)


@pytest.mark.parametrize(("chip", "load_us"), [("dma", 0), ("dma", 3_000), ("pio", 1_000)])
def test_the_whole_story(tmp_path: Path, chip: str, load_us: int) -> None:
    """Every page of the vmcore is the memory's, and no byte outside the partition changed."""
    report = run_drill(Drill("toy", "synthetic:1M,cpus=2", chip=chip, load_us=load_us), registry(), tmp_path)
    assert (report.pages, report.differ) == (160, 0)
    assert report.in_flight == (4 if load_us else 0)


class Story:
    """A rig with one toy, a formatted partition in the middle of its disk."""

    def __init__(self, rig: Rig, source: Any, partition: DumpTarget) -> None:
        self.rig = rig
        self.source = source
        self.partition = partition
        (self.adapter,) = rig.adapters
        self.model: toy_model.ToyIde = self.adapter.pdev.function.model    # type: ignore[attr-defined]
        assert isinstance(self.adapter.device, AtaDumpDevice)
        self.device = self.adapter.device
        assert self.adapter.disk is not None
        self.disk = self.adapter.disk

    def dump(self) -> DumpReport:
        """Crash, if that has not happened, and dump."""
        record = self.rig.machine.record or self.rig.machine.crash(Trigger.PANIC)
        return self.rig.dump(record)

    def equal(self, crash: Path) -> bool:
        """The machine is gone; savecore, and every page compared."""
        self.rig.__exit__(None, None, None)
        saved = save(self.partition, str(crash))
        return saved.path is not None and compare_with_source(saved.path, self.source) == 0


@contextmanager
def story(tmp_path: Path, chip: str = "dma", *, trace: Trace | None = None, **changes: Any) -> Iterator[Story]:
    """1 MiB of memory, two CPUs."""
    image = tmp_path / "d.img"
    image.write_bytes(bytes(16 * MIB))
    (tmp_path / "crash").mkdir(0o700)
    partition = DumpTarget(str(image), PARTITION)
    format_device(partition, abi=X86_64)
    target = Target("toy", str(image), chip, offset_bytes=PARTITION)
    with open_source("synthetic:1M,cpus=2") as source, Rig.build(source, [target], registry(**changes),
                                                                 trace=trace) as rig:
        assert rig.refused == []
        yield Story(rig, source, partition)


def test_what_the_rig_brings_up(tmp_path: Path) -> None:
    """The drive at channel 0, unit 0; DMA at the best mode; the log says so; it is no SCSI device."""
    with story(tmp_path) as s:
        assert isinstance(s.adapter.host, IdeHwif)
        assert s.adapter.drive is s.adapter.unit
        assert (s.adapter.drive.name, s.adapter.drive.current_speed) == ("toy0:0:0", 0x45)
        assert s.rig.kernel.log == ["toy0:0:0: DDSDK DISK 0001, 32768 sectors of 512 bytes, DMA mode 0x45, 16 sectors a"
                                    " block"]
        assert s.device.lock is s.adapter.host.ide_lock
        with pytest.raises(UsageError) as error:
            _ = s.adapter.sdev
        assert str(error.value).endswith("the disk is on bus ata, not scsi")


@pytest.mark.parametrize("chip", ["dma", "pio"])
def test_ways_of_moving(tmp_path: Path, chip: str) -> None:
    """By DMA no word is written through the data port after the crash; without a bus master every block is."""
    with story(tmp_path, chip) as s:
        s.rig.machine.crash(Trigger.PANIC)
        words = []
        outsw = s.rig.kernel.outsw
        s.rig.kernel.outsw = lambda mem, reg, view, n: (words.append(n), outsw(mem, reg, view, n))  # type: ignore
        report = s.dump()
        assert report.complete
        assert (sum(words) >= report.written_blocks * 2048) is (chip == "pio")
        assert bool(words) is (chip == "pio")


def test_a_bus_master_that_fails_in_the_middle(tmp_path: Path) -> None:
    """The dump goes on by programmed I/O; every page arrives."""
    with story(tmp_path) as s:
        s.rig.machine.crash(Trigger.OOPS)
        s.model.faults.inject("dma-error", after=20)
        assert s.dump().complete
        assert s.model.faults.struck == {"dma-error": 1}
        assert [w.partition("; ")[2] for w in s.device.warnings] == ["programmed I/O from here on"]
        assert s.equal(tmp_path / "crash")


@pytest.mark.parametrize(("fault", "chip"), [("interrupt-lost", "dma"), ("drq-stuck", "dma")])
def test_the_interface_loses_its_way_once(tmp_path: Path, fault: str, chip: str) -> None:
    """One reset, settings again, and the dump goes on."""
    with story(tmp_path, chip) as s:
        s.rig.machine.crash(Trigger.OOPS)
        s.model.faults.inject(fault, after=30)
        assert s.dump().complete
        assert s.device.stats.recoveries == 1
        assert s.equal(tmp_path / "crash")


@pytest.mark.parametrize(("fault", "chip"), [
    (faults.aborted_command(after=5, times=3), "dma"), (faults.busy(after=5), "dma"),
    (faults.recovered_error(after=5), "dma"), (faults.wrong_length(after=5), "dma"),
    (faults.wrong_length(after=5), "pio"), (faults.slow(3 * S, after=5), "dma")],
    ids=lambda value: value if isinstance(value, str) else value.kind.name)
def test_disk_troubles_that_pass(tmp_path: Path, fault: DiskFault, chip: str) -> None:
    """CRC errors, a busy drive, corrected and missing data, a slow one: a complete dump."""
    with story(tmp_path, chip) as s:
        s.rig.machine.crash(Trigger.PANIC)
        s.disk.inject(attrs.evolve(fault, on=Access.WRITE))
        assert s.dump().complete
        assert len(s.disk.faults.struck) == fault.times
        s.disk.faults.clear()
        assert s.equal(tmp_path / "crash")


@pytest.mark.parametrize("chip", ["dma", "pio"])
def test_a_bad_sector_is_named(tmp_path: Path, chip: str) -> None:
    """No dump claims to be complete over a sector that could not be written; the sector is in the reason."""
    with story(tmp_path, chip) as s:
        s.rig.machine.crash(Trigger.PANIC)
        bad = PARTITION // 512 + 8 * 100 + 3
        s.disk.inject(faults.medium_error(bad, on=Access.WRITE))
        report = s.dump()
        assert not report.complete
        assert report.rejections[-1].reason.endswith(f"device fault (status 70) at sector {bad}")


def test_a_flush_that_fails_is_no_complete_dump(tmp_path: Path) -> None:
    """What is not durable is not reported as saved."""
    with story(tmp_path) as s:
        s.rig.machine.crash(Trigger.PANIC)
        s.disk.inject(faults.sync_fails())
        report = s.dump()
        assert not report.complete
        assert "FLUSH CACHE EXT to toy0:0:0" in report.rejections[-1].reason


@pytest.mark.parametrize(("chip", "crashes"), [("dma", 5), ("pio", 1)])
def test_crashes_at_any_moment(tmp_path: Path, chip: str, crashes: int) -> None:
    """Load that reads, writes and resets the channel, a crash somewhere in it, a complete dump."""
    for seed in range(crashes):
        where = tmp_path / str(seed)
        where.mkdir()
        with story(where, chip) as s:
            load = s.adapter.load(Region(0, 4096, writable=True), seed, reset_every=5)
            load.start()
            s.rig.machine.run(for_ns=random.Random(seed).randrange(1, 30_000_000))
            s.rig.machine.crash(Trigger.NMI_SWITCH)
            assert load.failed == 0
            report = s.dump()
            locked = "ide_lock is held" in str(report.rejections)
            assert report.complete or locked, report.rejections
            assert locked or s.equal(where / "crash")


def test_same_seed_same_trace(tmp_path: Path) -> None:
    """A crash under load and a dump, twice: every register access, DMA, interrupt and lock is the same."""
    def digest(seed: int, where: str) -> str:
        trace = Trace(enabled=True)
        (tmp_path / where).mkdir()
        with story(tmp_path / where, trace=trace) as s:
            s.adapter.load(Region(0, 4096), seed).start()
            s.rig.machine.run(for_ns=3_000_000)
            assert s.dump().complete
            return trace.digest()

    assert digest(1, "a") == digest(1, "b") != digest(2, "c")


# --- refusals ----------------------------------------------------------------------------------------------


def refused(tmp_path: Path, **changes: Any) -> str:
    """Why a target could not be registered."""
    image = tmp_path / "d.img"
    image.write_bytes(bytes(8 * MIB))
    with open_source("synthetic:1M") as source, Rig.build(source, [Target("toy", str(image))],
                                                          registry(**changes)) as rig:
        (rejection,) = rig.refused
        assert rejection.stage is Stage.REGISTER
        return rejection.reason


def test_a_probe_that_returns_something_else(tmp_path: Path) -> None:
    """One line: what came back, what the bus wants."""
    assert refused(tmp_path, probe=lambda pdev, chip: None) == (
        "toy: probe returned None; a driver of bus ata returns the IdeHwif it made")


def test_no_drive_there(tmp_path: Path) -> None:
    """An empty channel."""
    def probe(pdev: Any, chip: Chip) -> IdeHwif:
        pdev.function.model.drives = {}
        return toy_driver.toy_probe(pdev, chip)

    assert refused(tmp_path, probe=probe) == "toy found no disk that is ready behind the dma"


def test_hooks_for_the_wrong_bus(tmp_path: Path) -> None:
    """A hook that takes sdev does not fit a driver of bus ata."""
    from ddsdk.hookspecs import hookimpl

    class Scsi:
        @hookimpl
        def dump_poll(self, sdev: object) -> None:
            return None

    assert refused(tmp_path, hooks=Scsi()).endswith("takes sdev, which the spec dump_poll(drive) does not give")


def test_a_driver_that_refuses_at_the_crash(tmp_path: Path) -> None:
    """Bus mastering went off: its sanity check says no, and nothing is written."""
    with story(tmp_path) as s:
        s.adapter.pdev.function.config_write(4, 2, 0x1)
        before = bytes((tmp_path / "d.img").read_bytes())
        report = s.dump()
        assert (report.device, report.rejections[-1].stage) == (None, Stage.SANITY)
        assert report.rejections[-1].reason.endswith("dump_sanity_check of toy refuses: -ENXIO")
        assert (tmp_path / "d.img").read_bytes() == before


def test_the_mid_layers_code_is_checked(tmp_path: Path) -> None:
    """The core's code image covers ata and block once a driver of bus ata is there."""
    from ddsdk.rig import core_image

    with story(tmp_path):
        names = {module.__name__ for module in core_image().modules}
    assert {"ddsdk.ata.dump_queue", "ddsdk.ata.ide_dump", "ddsdk.ata.settings", "ddsdk.block.dump_queue"} <= names
