"""The rigs of both buses, around the template's toys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ddsdk.conformance.plan import Plan
from ddsdk.errors import DeviceError
from ddsdk.hookspecs import hookimpl
from ddsdk.scsi.cmnd import SUCCESS
from ddsdk.testing import (
    DATA,
    HIGH,
    PAGE,
    AtaDriverRig,
    ScsiDriverRig,
    ata_workload,
    crash_at_lines,
    one_strike,
    refusal,
    rigs,
    scsi_workload,
)
from tests.testing.toys import ata_toy, scsi_toy

Scsi = ScsiDriverRig[Any, Any]
Ata = AtaDriverRig[Any, Any]


@pytest.fixture(scope="module")
def scsi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Plan, type[Scsi]]]:
    """The toy of bus scsi."""
    with scsi_toy(tmp_path_factory.mktemp("scsi")) as toy:
        yield toy


@pytest.fixture(scope="module")
def ata(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Plan, type[Ata]]]:
    """The toy of bus ata."""
    with ata_toy(tmp_path_factory.mktemp("ata")) as toy:
        yield toy


@pytest.fixture
def make(scsi: tuple[Plan, type[Scsi]]) -> Iterator[Callable[..., Scsi]]:
    """SCSI rigs."""
    yield from rigs(scsi[1])


@pytest.fixture
def make_ata(ata: tuple[Plan, type[Ata]]) -> Iterator[Callable[..., Ata]]:
    """IDE rigs."""
    yield from rigs(ata[1])


def test_a_command_ends_by_interrupt_and_after_the_crash_by_polling(make: Callable[..., Scsi]) -> None:
    """The same call; what it wrote is on the disk, and in `done`."""
    rig = make(high=True).probe().attention()
    data = rig.fill(HIGH, PAGE, 5)
    assert rig.run(rig.rw(True, 8, [(HIGH, PAGE)])).result == 0
    rig.take_over()
    assert rig.run(rig.rw(True, 64, [(HIGH, PAGE)])).result == 0
    assert rig.on_disk(8, PAGE) == rig.on_disk(64, PAGE) == data
    assert [scmd.cmnd[0] for scmd in rig.done] == [0x2A]


def test_a_completion_that_comes_twice_fails(make: Callable[..., Scsi]) -> None:
    """scsi_done of a rig is as strict as the mid-layer."""
    rig = make().probe().attention()
    scmd = rig.run(rig.tur())
    with pytest.raises(AssertionError, match="ended twice"):
        rig.scsi_done(scmd)


def test_error_handlers_run_in_a_task_before_the_crash(make: Callable[..., Scsi]) -> None:
    """They may sleep there; afterwards the boot context calls them; a task of a test calls them itself."""
    rig = make(ncpus=2).probe().attention()
    assert rig.host_reset() == SUCCESS
    task = rig.machine.spawn(1, rig.host_reset, "mine")
    rig.machine.run(until=task)
    assert task.result == SUCCESS
    rig.take_over()
    assert rig.host_reset() == SUCCESS


def test_registers_behind_the_drivers_back(make: Callable[..., Scsi]) -> None:
    """By name, seen by whoever watches."""
    rig = make().power_up()
    with rig.watching() as seen:
        rig.write("INTERRUPT_MASK", 1)
        assert rig.read("INTERRUPT_MASK") == 1
    rig.read("STATUS")
    assert seen == [("write", "INTERRUPT_MASK", 1), ("read", "INTERRUPT_MASK", 1)]


def test_polling_ends_in_bounded_time(make: Callable[..., Scsi]) -> None:
    """Forty seconds, as the clock has it; and says how long it took."""
    rig = make().probe().take_over()
    assert rig.poll_until(lambda: rig.machine.clock.now_ns > 20_000_000_000) > 10_000
    with pytest.raises(AssertionError, match="not done after 8500 polls"):
        rig.poll_until(lambda: False)


def test_a_refusal_is_told_and_its_absence_fails(make: Callable[..., Scsi]) -> None:
    """An adapter that is gone is refused with a reason; one that is there is not refused."""
    rig = make()
    rig.power_up()
    rig.inject("adapter-gone")
    rig.read("STATUS")
    assert refusal(rig)
    with pytest.raises(AssertionError, match="without a DeviceError"):
        refusal(make())
    with pytest.raises(DeviceError):
        rig.probe()


def test_drives_of_both_units(make_ata: Callable[..., Ata]) -> None:
    """Tests talk to the first of the places; what they write is on its disk, not on the other."""
    rig = make_ata(places=((0, 1), (0, 0))).probe()
    assert (rig.drive.unit, len(rig.found)) == (1, 2)
    data = rig.fill(DATA, PAGE)
    assert rig.why(rig.run(rig.rw(True, 16))) == ""
    assert rig.on_disk(16, PAGE) == data
    other = bytearray(PAGE)
    rig.disks[0, 0].readv(16, [memoryview(other)])
    assert not any(other)


def test_an_ide_dump_by_hand(make_ata: Callable[..., Ata]) -> None:
    """Take-over, then a write and a read by polling."""
    rig = make_ata().probe().take_over()
    data = rig.fill(DATA, PAGE, 9)
    for write in (True, False):
        assert rig.why(rig.run(rig.rw(write, 24))) == ""
    assert rig.on_disk(24, PAGE) == data
    assert len(rig.done) == 2


@pytest.mark.parametrize("handler", ["", "host_reset"])
def test_crash_at_lines_of_the_toy(scsi: tuple[Plan, type[Scsi]], handler: str) -> None:
    """Where no lock is held it is dumped, where one is the refusal names it."""
    plan, rig = scsi
    found = crash_at_lines(lambda: rig.make(ncpus=2).probe(), plan.driver.modules, scsi_workload(handler), 4)
    assert found.lines > 100
    assert len(found.verdicts) >= 2
    assert all(verdict == "dumped" or "is held" in verdict or "-EBUSY" in verdict for verdict in found.verdicts)


def test_crash_at_lines_of_the_ide_toy(ata: tuple[Plan, type[Ata]]) -> None:
    """The same of an interface, with resets."""
    plan, rig = ata
    found = crash_at_lines(lambda: rig.make(ncpus=2).probe(), plan.driver.modules, ata_workload(reset=True), 4)
    assert "dumped" in found.verdicts


def test_crash_at_lines_bites(scsi: tuple[Plan, type[Scsi]], monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal for another reason than a lock fails, and the line is named; so does a driver that never dumps."""
    plan, rig = scsi

    @hookimpl
    def busy(_self: object, sdev: Any) -> int:
        return -16
    monkeypatch.setattr(type(plan.driver.hooks), "dump_sanity_check", busy)
    with pytest.raises(AssertionError, match=r"^line \d+, \w+:\d+, locks none: .*-EBUSY"):
        crash_at_lines(lambda: rig.make(ncpus=2).probe(), plan.driver.modules, scsi_workload(), 1)

    def queue_one(rig: Scsi) -> None:
        rig.machine.spawn(0, lambda: rig.queue(rig.tur()), "one")
        rig.machine.run(for_ns=1)
    with pytest.raises(AssertionError, match="and a crash at any is refused"):
        crash_at_lines(lambda: rig.make().probe(), plan.driver.modules, queue_one, 1)


@pytest.mark.parametrize("when", ["take-over", "dump"])
@pytest.mark.parametrize("fault", ["bus-parity", "irq-lost", "reservation-conflict"])
def test_one_strike(scsi: tuple[Plan, type[Scsi]], make: Callable[..., Scsi], fault: str, when: str) -> None:
    """Survived, or refused where that is said to be right."""
    one_strike(make().probe(), fault, when, scsi[0].profile.fatal_faults)


def test_one_strike_bites(make: Callable[..., Scsi]) -> None:
    """A dump that ends although nothing fatal struck."""
    with pytest.raises(AssertionError, match="reservation-conflict: error -"):
        one_strike(make().probe(), "reservation-conflict", "dump", ())
