"""The load: deterministic, inside its region, and in the middle of something when the crash comes."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.errors import UsageError
from ddsdk.scsi.load import IoLoad, Region
from ddsdk.sim.machine import Trigger
from tests.scsi.fake_hba import MS, World, build


def loaded(world: World, for_ns: int, **options: Any) -> IoLoad:
    """A load run for *for_ns*, then a crash; the adapter is inspected afterwards."""
    arguments: dict[str, Any] = {"region": Region(4096, 1024, True), "seed": 7, "workers": 3}
    load = IoLoad(world.sdev, **{**arguments, **options})
    load.start()
    world.machine.run(for_ns=for_ns)
    world.machine.crash(Trigger.SYSRQ_C)
    return load


def test_crash_finds_commands_in_flight() -> None:
    """Three workers keep three commands busy; at the crash they are with the driver and stay there."""
    world = build(ncpus=2)
    with world.machine:
        load = loaded(world, 20 * MS)
        assert load.completed > 50
        assert load.failed == 0
        assert load.in_flight == 3
        assert len(world.driver.outstanding) == 3


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


def test_writes_are_on_record() -> None:
    """Every sector that changed is named by some write, also of those that never ended."""
    world = build(ncpus=2)
    with world.machine:
        load = loaded(world, 20 * MS)
        medium = bytes(world.disk._memory)
    named = {sector for first, sectors in load.written for sector in range(first, first + sectors)}
    changed = {n for n in range(len(medium) // 512) if any(medium[512 * n:512 * n + 512])}
    assert changed
    assert changed <= named <= set(range(4096, 5120))


def test_same_seed_same_commands() -> None:
    """Two runs of one seed leave the same medium and the same log; another seed does not."""
    def one(seed: int) -> tuple[bytes, list[tuple[object, ...]]]:
        world = build(ncpus=2)
        with world.machine:
            loaded(world, 10 * MS, seed=seed)
            return bytes(world.disk._memory), world.hardware.log

    assert one(1) == one(1)
    assert one(1)[0] != one(2)[0]


def test_resets_now_and_then() -> None:
    """With reset_every a worker runs the host reset; commands it killed are retried and succeed."""
    world = build(ncpus=2)
    with world.machine:
        load = loaded(world, 20 * MS, reset_every=10)
        assert load.resets >= 3
        assert load.failed == 0
        assert all(world.driver.locked)


def test_completion_after_the_crash_is_not_heard() -> None:
    """scsi_done of a command from before the crash returns at once: polling the driver completes nothing."""
    world = build(ncpus=2)
    with world.machine:
        load = loaded(world, 5 * MS)
        before = load.completed
        for _ in range(100):
            world.kernel.udelay(100)
            world.driver.dump_poll(world.sdev)
        assert not world.driver.outstanding
        assert (load.completed, load.in_flight) == (before, 3)


def test_region_must_be_on_the_disk() -> None:
    """A region past the end is a usage error that says what the disk has."""
    world = build()
    with pytest.raises(UsageError) as error:
        IoLoad(world.sdev, Region(8000, 1000), 1)
    assert str(error.value) == "I/O load on fake0:0:1:0: sectors 8000..8999 are not on a disk of 8192 sectors"
