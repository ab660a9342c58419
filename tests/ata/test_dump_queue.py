"""Retries, refusals, timeouts and resets while dumping: each within its bound, in virtual time."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from ddsdk.ata.taskfile import AC_ERR_HSM, AC_ERR_TIMEOUT
from ddsdk.block import dump_queue
from ddsdk.errors import DeadlockFault
from ddsdk.sim import disk_faults as faults
from ddsdk.sim.disk_faults import Access, DiskFault, FaultKind
from tests.ata.fake_hwif import MS, S, World, build

PAGE = 4096
WRITE = [(0, PAGE)]
#: What a reset costs in commands: transfer mode, multiple mode, write cache.
SETTINGS = [("cmd", 0xEF), ("cmd", 0xC6), ("cmd", 0xEF)]


def timed(world: World, call: Callable[[], int]) -> tuple[int, int]:
    """(result, nanoseconds)."""
    before = world.machine.clock.now_ns
    result = call()
    return result, world.machine.clock.now_ns - before


@pytest.fixture
def world() -> World:
    """A healthy machine."""
    return build()


# --- retries -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [
    faults.aborted_command(times=5), faults.wrong_length(times=5), faults.recovered_error(times=1),
    faults.busy(), faults.becoming_ready(), DiskFault(FaultKind.BUSY, amount=20 * S)],
    ids=lambda f: f"{f.kind.name}-{f.sense}")
def test_passing_troubles(world: World, fault: DiskFault) -> None:
    """CRC errors and missing bytes are retried five times, a busy drive is waited for, corrected data is data."""
    device = world.ready()
    data = world.fill(0, PAGE)
    world.disk.inject(fault)
    assert device.rw_block(True, 0, WRITE) == 0
    assert world.on_disk(64, PAGE) == data
    counted = fault.kind in (FaultKind.CHECK, FaultKind.SHORT) and fault.sense != faults.becoming_ready().sense
    assert device.stats.retries == (fault.times if counted else 0)
    assert world.drive.using_dma


@pytest.mark.parametrize(("fault", "error", "why"), [
    (faults.medium_error(67), errno.EIO, "device fault (status 70) at sector 67"),
    (faults.hardware_error(), errno.EIO, "device fault (status 70) at sector 64"),
    (faults.write_protected(), errno.EIO, "the drive aborted it (status 51, error 04) at sector 64"),
    (faults.check_condition(0x5, 0x21), errno.EIO, "no such sector (status 51, error 10) at sector 64"),
])
def test_lasting_troubles_fail_at_once(world: World, fault: DiskFault, error: int, why: str) -> None:
    """No retry helps; the reason names command, drive, registers and the sector the drive named."""
    device = world.ready()
    world.disk.inject(fault)
    assert device.rw_block(True, 0, WRITE) == -error
    assert device.why == f"WRITE DMA EXT to fake0:0:1: {why}"
    assert device.stats.retries == 0
    world.disk.faults.clear()
    assert device.rw_block(True, 0, WRITE) == 0


def test_unreadable_sector(world: World) -> None:
    """UNC with its sector; what is before it was delivered."""
    device = world.ready()
    data = world.fill(0, PAGE)
    assert device.rw_block(True, 0, WRITE) == 0
    world.disk.inject(faults.medium_error(70))
    assert device.rw_block(False, 0, [(0x8000, PAGE)]) == -errno.EIO
    assert device.why == "READ DMA EXT to fake0:0:1: uncorrectable data (status 51, error 40) at sector 70"
    assert world.machine.memory.read(0x8000, 6 * 512) == data[:6 * 512]


@pytest.mark.parametrize("multiple", [16, 0])
def test_error_on_the_last_block_of_a_write_is_seen(multiple: int) -> None:
    """What the shipped port missed (hw-ide.md 8): the last block's status is the command's."""
    world = build(ultra_mask=0, identity={"max_multiple": multiple})
    device = world.ready()
    world.disk.inject(faults.medium_error(64 + 31))
    assert device.rw_block(True, 0, [(0, 4 * PAGE)]) == -errno.EIO
    assert device.why.endswith("device fault (status 70) at sector 95")
    assert world.hardware.codes == [0x39 if multiple else 0x34]


def test_never_ready_ends_after_60_s(world: World) -> None:
    """A drive without DRDY is asked again and again, but not for ever."""
    device = world.ready()
    world.hardware.override.extend([0x10] * 10_000)
    error, took = timed(world, lambda: device.rw_block(True, 0, WRITE))
    assert error == -errno.EIO
    assert 60 * S <= took <= 60 * S + 101 * MS
    assert device.why == "WRITE DMA EXT to fake0:0:1: still after 60 s: the drive is not ready (status 10)"


def test_medium_change_marks_the_device(world: World) -> None:
    """MC fails the command, and the next sanity check the device."""
    device = world.ready()
    world.disk.inject(faults.unit_attention(0x28))
    assert device.rw_block(True, 0, WRITE) == -errno.EIO
    assert device.why.endswith("the medium was changed (status 51, error 24) at sector 64")
    assert device.sanity_check() == -errno.EIO
    assert device.why == "the medium was changed since the device was registered"


# --- programmed I/O ----------------------------------------------------------------------------------------


def test_a_bad_cable_ends_in_pio(world: World) -> None:
    """Five retries, then MULTIPLE from there on: the dump goes on, with a warning."""
    device = world.ready()
    data = world.fill(0, 2 * PAGE)
    world.hardware.bad_cable = 6
    assert device.rw_block(True, 0, [(0, 2 * PAGE)]) == 0
    assert world.hardware.codes == [0x35] * 6 + [0x39]
    assert device.rw_block(False, 0, [(0x8000, 2 * PAGE)]) == 0
    assert world.hardware.codes[-1] == 0x29
    assert world.machine.memory.read(0x8000, 2 * PAGE) == world.on_disk(64, 2 * PAGE) == data
    assert device.warnings == ["WRITE DMA EXT to fake0:0:1: DMA does not work; programmed I/O from here on"]
    assert device.why == ""


def test_a_bus_master_error_ends_in_pio_at_once(world: World) -> None:
    """No retry by DMA: the PCI fault would only come again.  The drive waits for the bus master: it is reset first."""
    device = world.ready()
    world.hardware.no_dma = 1
    assert device.rw_block(True, 0, WRITE) == 0
    assert world.hardware.log == [("cmd", 0x35), ("reset",), ("cmd", 0xC6), ("cmd", 0xEF), ("cmd", 0x39)]
    assert not world.drive.using_dma


def test_pio_that_fails_too_is_the_end_of_it(world: World) -> None:
    """Five retries each way."""
    device = world.ready()
    world.disk.inject(faults.wrong_length(times=None))
    assert device.rw_block(True, 0, WRITE) == -errno.EIO
    assert world.hardware.codes == [0x35] * 6 + [0x39] * 5
    assert device.why == "WRITE MULTIPLE EXT to fake0:0:1: good status, but 0 of 4096 bytes moved, after 5 retries"


# --- refusals ----------------------------------------------------------------------------------------------


def test_a_refusing_driver_is_asked_every_100_us(world: World) -> None:
    """ide_stopped for a while only costs time; the lock is free afterwards."""
    device = world.ready()
    world.hardware.busy = 50
    error, took = timed(world, lambda: device.rw_block(True, 0, WRITE))
    assert error == 0
    assert 5 * MS <= took <= 6 * MS
    assert world.driver.hwif.ide_lock.owner is None


def test_a_driver_that_refuses_for_5_s_is_an_error(world: World) -> None:
    """The command never reached the drive; the device itself is not given up."""
    device = world.ready()
    world.hardware.busy = 1_000_000
    error, took = timed(world, lambda: device.rw_block(True, 0, WRITE))
    assert (error, device.why) == (-errno.EIO, "WRITE DMA EXT to fake0:0:1: do_rw_taskfile refused it for 5 s")
    assert 5 * S <= took <= 5 * S + MS
    world.hardware.busy = 0
    assert device.rw_block(True, 0, WRITE) == 0


def test_held_ide_lock_is_a_deadlock(world: World) -> None:
    """A lock that a frozen CPU holds is never waited for."""
    device = world.ready()
    world.kernel.spin_lock(world.driver.hwif.ide_lock)
    with pytest.raises(DeadlockFault):
        device.rw_block(True, 0, WRITE)


# --- commands that do not end ------------------------------------------------------------------------------


@pytest.mark.parametrize("flush", [True, False], ids=["driver flushes", "driver forgets"])
def test_lost_command_is_recovered_by_a_reset(flush: bool) -> None:
    """30 s, soft reset, 5 s settling, settings, the same command again: success, within 60 s."""
    world = build(flush_on_reset=flush)
    device = world.ready()
    data = world.fill(0, PAGE)
    world.hardware.lose = 1
    error, took = timed(world, lambda: device.rw_block(True, 0, WRITE))
    assert error == 0
    assert 35 * S <= took <= 35 * S + 3 * MS
    assert world.on_disk(64, PAGE) == data
    assert world.hardware.log == [("cmd", 0x35), ("reset",), *SETTINGS, ("cmd", 0x35)]
    assert (device.stats.timeouts, device.stats.recoveries) == (1, 1)
    assert (world.ata.multiple, world.ata.dma_mode, world.disk.write_cache) == (16, 0x44, True)


@pytest.mark.parametrize(("status", "mask"), [(0x58, 0), (0xD0, 0), (0x50, AC_ERR_HSM), (0x50, AC_ERR_TIMEOUT)])
def test_a_drive_that_lost_its_way_is_reset(world: World, status: int, mask: int) -> None:
    """DRQ or BSY left over, a broken protocol, a driver that gave up: one reset, once more."""
    device = world.ready()
    data = world.fill(0, PAGE)
    world.hardware.override.append(status)
    if mask:
        end = world.driver.interrupt

        def with_mask() -> bool:
            for posted in world.hardware.posted:
                posted.err_mask = mask
            world.driver.interrupt = end        # type: ignore[method-assign]
            return end()

        world.driver.interrupt = with_mask      # type: ignore[method-assign]
    error, took = timed(world, lambda: device.rw_block(True, 0, WRITE))
    assert (error, device.stats.resets) == (0, 2)
    assert 5 * S <= took <= 5 * S + 3 * MS
    assert world.hardware.log == [("cmd", 0x35), ("reset",), *SETTINGS, ("cmd", 0x35)]
    assert world.on_disk(64, PAGE) == data


def test_a_drive_that_stays_lost_is_given_up(world: World) -> None:
    """DRQ left over again after the reset."""
    device = world.ready()
    world.hardware.override.extend([0x58, 0x50, 0x50, 0x50, 0x58])
    assert device.rw_block(True, 0, WRITE) == -errno.EIO
    assert device.why == ("WRITE DMA EXT to fake0:0:1: the drive still has data to move (status 58), again after a"
                          " channel reset")
    assert device.rw_block(True, 0, WRITE) == -errno.EIO
    assert device.shutdown() == -errno.EIO


def test_settings_that_the_drive_refuses_after_a_reset(world: World) -> None:
    """No multiple mode, no DMA mode any more: the same transfer goes sector by sector."""
    device = world.ready()
    data = world.fill(0, PAGE)
    world.disk.inject(faults.check_condition(0x5, 0x24, on=Access.OTHER, times=2))
    world.hardware.lose = 1
    assert device.rw_block(True, 0, WRITE) == 0
    assert world.hardware.codes == [0x35, 0xEF, 0xC6, 0xEF, 0x34]
    assert world.on_disk(64, PAGE) == data
    assert [warning.rpartition("; ")[2] for warning in device.warnings] == [
        "data moves by programmed I/O", "one sector a block"]


def test_dead_interface_is_given_up_in_bounded_time(world: World) -> None:
    """30 s, reset, settling, 25 s for the first setting, a last reset; afterwards every call fails at once."""
    device = world.ready()
    world.hardware.dead = True
    error, took = timed(world, lambda: device.rw_block(True, 0, WRITE))
    assert error == -errno.EIO
    assert 60 * S <= took <= 66 * S
    assert device.why.endswith("no completion after 30 s, again after a channel reset")
    assert world.hardware.log == [("cmd", 0x35), ("reset",), ("cmd", 0xEF), ("reset",)]
    error, took = timed(world, lambda: device.rw_block(True, 1, WRITE))
    assert (error, took) == (-errno.EIO, 0)
    assert device.why == ("WRITE DMA EXT to fake0:0:1: the device was given up: no completion after 30 s, again after a"
                          " channel reset")
    assert device.shutdown() == -errno.EIO
    assert world.driver.calls[-1] == "shutdown"


def test_reset_that_fails_is_the_end(world: World) -> None:
    """No second try without a reset; what the shipped port reported as success is a failure."""
    device = world.ready()
    world.hardware.dead = world.hardware.reset_fails = True
    error, took = timed(world, lambda: device.rw_block(True, 0, WRITE))
    assert error == -errno.EIO
    assert 30 * S <= took <= 30 * S + MS
    assert device.why.endswith("no completion after 30 s, and the channel reset failed")


def test_three_recoveries_are_enough(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fourth lost command ends the device: bounded time for a dump of any size."""
    monkeypatch.setattr(dump_queue, "IO_TIMEOUT_NS", 2 * S)
    device = world.ready()
    for _ in range(3):
        world.hardware.lose = 1
        assert device.rw_block(True, 0, WRITE) == 0
    world.hardware.lose = 1
    assert device.rw_block(True, 0, WRITE) == -errno.EIO
    assert device.rw_block(True, 0, WRITE) == -errno.EIO


def test_one_command_at_a_time_in_a_stream(world: World) -> None:
    """ATA has no queue: a depth of 8 is 1, and every chunk arrives all the same."""
    device = world.ready(queue_depth=8)
    assert device.queue_depth == 1
    data = world.fill(0, 16 * PAGE)
    world.hardware.lose = 1
    ended = list(device.stream(True, [(i, [(i * PAGE, PAGE)]) for i in range(16)]))
    assert sorted(ended) == [(i, 1, 0) for i in range(16)]
    assert world.on_disk(64, 16 * PAGE) == data
    assert world.hardware.most_in_flight == 1


# --- completions out of place ------------------------------------------------------------------------------


def test_duplicate_completions_are_counted_and_ignored(world: World) -> None:
    """Each command is reported done twice; the dump is right all the same."""
    device = world.ready()
    world.hardware.duplicate = True
    data = world.fill(0, 32 * PAGE)
    for block in range(32):
        assert device.rw_block(True, block, [(block * PAGE, PAGE)]) == 0
    assert world.on_disk(64, 32 * PAGE) == data
    assert device.stats.ignored == 32


def test_late_completion_of_a_command_given_up() -> None:
    """It comes back when its successor is long done: nobody mistakes it for another's."""
    world = build(flush_on_reset=False)
    device = world.ready()
    world.hardware.lose, world.hardware.late_ns = 1, 36 * S
    assert device.rw_block(True, 0, WRITE) == 0
    world.hardware.late_ns = 0
    for i in range(200):
        data = world.fill(0, PAGE, seed=i)
        assert device.rw_block(True, i, WRITE) == 0
        assert world.on_disk(64 + 8 * i, PAGE) == data
        world.kernel.diskdump_update()
        world.kernel.udelay(10_000)
    assert device.stats.ignored == 1


def test_serial_numbers_rise(world: World) -> None:
    """Every try has a serial number of its own."""
    device = world.ready()
    before = world.driver.hwif.last_serial
    world.disk.inject(faults.aborted_command(times=2))
    assert device.rw_block(True, 0, WRITE) == 0
    assert world.driver.hwif.last_serial == before + 3


def test_a_slow_flush_has_60_s(world: World) -> None:
    """FLUSH CACHE may take longer than any other command (hw-ide.md 3); one that takes for ever is an error."""
    device = world.ready()
    world.disk.inject(faults.slow(50 * S, on=Access.FLUSH))
    error, took = timed(world, device.flush)
    assert error == 0
    assert 50 * S <= took <= 51 * S
    world.disk.inject(faults.hang(on=Access.FLUSH, times=None))
    error, took = timed(world, device.flush)
    assert error == -errno.EIO
    assert took <= 70 * S
    assert device.why == "FLUSH CACHE EXT to fake0:0:1: no completion after 60 s"
    world.disk.faults.clear()
    assert device.flush() == 0
