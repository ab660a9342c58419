"""A device that is read while another one is dumped to: both drivers are polled, and neither is disturbed."""

from __future__ import annotations

import errno

import pytest

from ddsdk.errors import DriverFault
from ddsdk.helperlib.delay import PollBoth
from ddsdk.hookspecs import ScsiHookSpecs, bind, hookimpl
from ddsdk.scsi.host import ScsiDevice
from ddsdk.scsi.scsi_dump import ScsiDumpDevice
from ddsdk.sim.disk import Disk
from ddsdk.sim.scsi_target import ScsiTarget
from tests.scsi.fake_hba import Driver, Hardware, World, build, no_code

PAGE = 4096


@pytest.fixture
def world() -> World:
    """A healthy machine."""
    return build()


def second(world: World) -> tuple[ScsiDumpDevice, Driver, Disk]:
    """Another adapter with a disk of its own, on the same machine."""
    disk = Disk(bytearray(1 << 20))
    driver = Driver(world.kernel, Hardware(world.machine, {1: ScsiTarget(disk)}))
    sdev = ScsiDevice(driver.host, 0, 1, 0, sector_size=512, nr_sectors=disk.sectors, scsi_level=6)
    hooks = bind(driver, ScsiHookSpecs, (), plugin="fake")
    return ScsiDumpDevice(sdev, hooks, 0, 2048, PAGE, no_code(), name="swap"), driver, disk


def test_the_same_disk(world: World) -> None:
    """Nothing is to be done: no sanity check, no reset, no shutdown; both partitions can be used in turn."""
    other = world.device(start_sector=4096, nr_sectors=1024, name="swap")
    device = world.ready()
    poll = world.kernel.poll
    assert other.take_up(device) == 0
    assert (world.driver.calls, world.hardware.log, world.kernel.poll) == ([], [], poll)
    data = world.fill(0x10000, PAGE)
    assert device.rw_block(True, 0, [(0x10000, PAGE)]) == 0
    assert other.rw_block(False, 3, [(0x20000, PAGE)]) == 0
    assert device.rw_block(True, 1, [(0x10000, PAGE)]) == 0
    assert world.machine.memory.read(0x20000, PAGE) == bytes(PAGE)
    assert world.on_disk(64, 2 * PAGE) == 2 * data
    assert other.let_go() == 0
    assert (device.shutdown(), world.driver.calls) == (0, ["shutdown"])


def test_another_adapter(world: World) -> None:
    """Sanity check, quiesce and reset of its own; both are polled until it is let go; transfers alternate."""
    other, driver, disk = second(world)
    disk.writev(8, [memoryview(b"x" * PAGE)])
    device = world.ready()
    poll = world.kernel.poll
    assert other.take_up(device) == 0
    both = world.kernel.poll
    assert isinstance(both, PollBoth)
    assert both.first is poll
    assert (driver.calls, world.driver.calls) == (["sanity", "quiesce", "reset"], [])
    world.fill(0x10000, PAGE)
    for block in range(3):
        assert other.rw_block(False, 1, [(0x20000, PAGE)]) == 0
        assert device.rw_block(True, block, [(0x20000, PAGE)]) == 0
    assert world.on_disk(64, 3 * PAGE) == b"x" * (3 * PAGE)
    assert (other.let_go(), world.kernel.poll, driver.calls[3:]) == (0, poll, ["shutdown"])
    assert other.let_go() == 0
    assert (device.shutdown(), world.kernel.poll) == (0, None)


def test_timers_of_the_dump_devices_driver_go_on(world: World) -> None:
    """A second device that is taken up takes nothing away; letting it go leaves nothing of its driver behind."""
    other, _driver, _disk = second(world)
    device = world.ready()
    fired: list[str] = []
    mine = world.kernel.setup_timer(lambda _data: fired.append("mine"), 0)
    world.kernel.mod_timer(mine, world.kernel.jiffies + 2)
    assert other.take_up(device) == 0
    assert fired == ["mine"]
    theirs = world.kernel.setup_timer(lambda _data: fired.append("theirs"), 0)
    world.kernel.mod_timer(theirs, world.kernel.jiffies + 2)
    assert other.let_go() == 0
    for _ in range(10):
        world.kernel.diskdump_mdelay(1)
        world.kernel.diskdump_update()
    assert fired == ["mine"]
    assert device.shutdown() == 0


@pytest.mark.parametrize(("sane", "risky", "error"), [(-errno.ENXIO, True, -errno.ENXIO), (1, True, 0), (1, False, -1)])
def test_sanity(world: World, sane: int, risky: bool, error: int) -> None:
    """A driver that refuses is believed; one that cannot tell will do when risky dumps are allowed."""
    other, driver, _disk = second(world)
    device = world.ready()
    driver.sane = sane
    poll = world.kernel.poll
    assert other.take_up(device, risky) == error
    if error:
        assert driver.calls == ["sanity"]
        assert world.kernel.poll is poll
        assert other.why.startswith("dump_sanity_check of fake ")


def test_a_reset_that_fails(world: World) -> None:
    """The device is not used, and only the dump device is polled again."""
    other, driver, _disk = second(world)
    device = world.ready()
    poll = world.kernel.poll
    driver.hardware.reset_fails = True
    assert other.take_up(device) == -errno.EIO
    assert (other.why, world.kernel.poll) == ("the host reset handler failed", poll)
    assert (other.let_go(), driver.calls) == (0, ["sanity", "quiesce", "reset"])
    assert device.rw_block(True, 0, [(0x10000, PAGE)]) == 0


def test_a_shutdown_that_fails(world: World) -> None:
    """Its error is returned; polling goes on with the dump device alone."""
    other, driver, _disk = second(world)
    device = world.ready()
    poll = world.kernel.poll
    assert other.take_up(device) == 0
    driver.shutdown_result = -errno.EIO
    assert (other.let_go(), other.why) == (-errno.EIO, "shutdown of fake refuses: -EIO")
    assert world.kernel.poll is poll


def test_a_driver_that_raises(world: World) -> None:
    """In its reset or in its shutdown: from then on only the dump device is polled."""
    other, driver, _disk = second(world)
    device = world.ready()
    poll = world.kernel.poll

    def broken() -> None:
        raise ZeroDivisionError

    driver.before_reset = broken
    with pytest.raises(DriverFault, match="ZeroDivisionError"):
        other.take_up(device)
    assert world.kernel.poll is poll
    world.kernel.spin_unlock(driver.host.host_lock)
    driver.before_reset = lambda: None
    assert other.take_up(device) == 0

    class Broken(Driver):
        @hookimpl
        def shutdown(self, sdev: ScsiDevice) -> object:
            raise DriverFault("of a test")

    other.hooks = bind(Broken(world.kernel, driver.hardware), ScsiHookSpecs, (), plugin="fake")
    with pytest.raises(DriverFault):
        other.let_go()
    assert world.kernel.poll is poll
