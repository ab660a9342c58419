"""The load: deterministic, inside its region, and in the middle of something when the crash comes."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.ata.host import ide_started
from ddsdk.ata.load import IoLoad, Region
from ddsdk.ata.taskfile import AC_ERR_NODEV_HINT, ide_end_drive_cmd
from ddsdk.errors import UsageError
from ddsdk.sim.machine import Trigger
from tests.ata.fake_hwif import MS, World, build


def loaded(world: World, for_ns: int, **options: Any) -> IoLoad:
    """A load run for *for_ns*, then a crash; the interface is inspected afterwards."""
    arguments: dict[str, Any] = {"region": Region(4096, 1024, True), "seed": 7, "workers": 3}
    load = IoLoad(world.drive, **{**arguments, **options})
    load.start()
    world.machine.run(for_ns=for_ns)
    world.machine.crash(Trigger.SYSRQ_C)
    return load


def test_crash_finds_a_command_in_flight() -> None:
    """Three workers, one command with the driver, two waiting for the channel."""
    world = build(ncpus=2)
    with world.machine:
        load = loaded(world, 20 * MS)
        assert load.completed > 40
        assert load.failed == 0
        assert load.in_flight == 3
        assert world.driver.outstanding is not None
        assert world.driver.hwif.busy


def test_every_worker_gets_its_turn() -> None:
    """Nobody starves on the channel."""
    world = build(ncpus=2)
    with world.machine:
        load = IoLoad(world.drive, Region(0, 1024), 3, workers=4)
        load.start()
        turns: list[str] = []
        real = world.driver.do_rw_taskfile

        def noted(task: Any, done: Any) -> int:
            turns.append(world.machine.current_task.name)
            return real(task, done)

        world.driver.do_rw_taskfile = noted      # type: ignore[method-assign]
        object.__setattr__(world.driver.hwif.port_info, "do_rw_taskfile", noted)
        world.machine.run(for_ns=20 * MS)
        counts = [turns.count(f"load/{number}") for number in range(4)]
        assert min(counts) * 2 >= max(counts)


def test_only_the_region_changes() -> None:
    """Writes stay inside; a region that is not writable is only read."""
    for writable in (True, False):
        world = build(ncpus=2)
        with world.machine:
            loaded(world, 20 * MS, region=Region(4096, 1024, writable))
            medium = bytes(world.disk._memory)
        assert not any(medium[:4096 * 512])
        assert not any(medium[5120 * 512:])
        assert any(medium) is writable


def test_same_seed_same_commands() -> None:
    """Two runs of one seed leave the same medium and the same log; another seed does not."""
    def one(seed: int) -> tuple[bytes, list[tuple[object, ...]]]:
        world = build(ncpus=2)
        with world.machine:
            loaded(world, 10 * MS, seed=seed)
            return bytes(world.disk._memory), world.hardware.log

    assert one(1) == one(1)
    assert one(1)[0] != one(2)[0]


@pytest.mark.parametrize("flush", [True, False], ids=["driver flushes", "driver forgets"])
def test_resets_now_and_then(flush: bool) -> None:
    """With reset_every a worker resets the channel under somebody's command; that is done again and succeeds."""
    world = build(ncpus=2, flush_on_reset=flush)
    with world.machine:
        load = loaded(world, 100 * MS if flush else 70_000 * MS, reset_every=10)
        assert load.resets >= 3
        assert load.failed == 0
        assert load.completed > 30
        assert all(world.driver.locked)
        assert world.machine.clock.now_ns < 71_000 * MS


def test_completion_after_the_crash_is_not_heard() -> None:
    """Polling the driver after the crash completes nothing of the load's."""
    world = build(ncpus=2)
    with world.machine:
        load = loaded(world, 5 * MS)
        before = load.completed
        for _ in range(100):
            world.kernel.udelay(100)
            world.driver.dump_poll(world.drive)
        assert world.driver.outstanding is None
        assert (load.completed, load.in_flight) == (before, 3)


def test_a_drive_that_is_gone_is_asked_now_and_then() -> None:
    """Commands that fail without taking time cost a jiffy each: the machine goes on."""
    world = build()
    with world.machine:
        def gone(task: Any, done: Any) -> int:
            task.complete = done
            ide_end_drive_cmd(task, 0, err_mask=AC_ERR_NODEV_HINT)
            return ide_started

        object.__setattr__(world.driver.hwif.port_info, "do_rw_taskfile", gone)
        load = loaded(world, 100 * MS)
        jiffies = 100 * world.driver.hwif.kernel.HZ // 1000
        assert 3 * (jiffies - 1) <= load.failed <= 3 * (jiffies + 1)


def test_region_must_be_on_the_disk() -> None:
    """A region past the end is a usage error that says what the disk has."""
    world = build()
    with pytest.raises(UsageError) as error:
        IoLoad(world.drive, Region(8000, 1000), 1)
    assert str(error.value) == "I/O load on fake0:0:1: sectors 8000..8999 are not on a disk of 8192 sectors"
