"""Retries, refusals, timeouts and resets while dumping: each within its bound, in virtual time."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from ddsdk.block import dump_queue
from ddsdk.errors import DeadlockFault
from ddsdk.sim import disk_faults as faults
from ddsdk.sim.disk_faults import Access, DiskFault
from tests.scsi.fake_hba import MS, S, World, build

PAGE = 4096
WRITE = [(0, PAGE)]


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
    faults.unit_attention(times=5), faults.aborted_command(times=5), faults.wrong_length(times=5),
    faults.medium_error(64, times=5), faults.unit_attention(0x2A, 1, times=5),
    faults.becoming_ready(times=50), faults.busy(times=50), faults.queue_full(times=50),
], ids=lambda f: f"{f.kind.name}-{f.sense}")
def test_passing_troubles_are_retried(world: World, fault: DiskFault) -> None:
    """Five counted retries, and many more of those that are not counted, end in success with the right
    data.
    """
    device = world.ready()
    data = world.fill(0, PAGE)
    world.disk.inject(fault)
    assert device.rw_block(True, 0, WRITE) == 0
    assert world.on_disk(64, PAGE) == data
    assert device.stats.retries == fault.times


@pytest.mark.parametrize(("fault", "error", "why"), [
    (faults.unit_attention(times=6), errno.EIO,
     "UNIT ATTENTION 29/00 (power on, reset or bus device reset occurred), after 5 retries"),
    (faults.medium_error(64), errno.EIO, "MEDIUM ERROR 0c/00 (write error) at sector 64, after 5 retries"),
    (faults.wrong_length(times=6), errno.EIO, "GOOD status, but 3584 of 4096 bytes moved, after 5 retries"),
    (faults.not_started(), errno.EIO, "NOT READY 04/02 (START UNIT required)"),
    (faults.hardware_error(), errno.EIO, "HARDWARE ERROR 44/00 (internal target failure)"),
    (faults.write_protected(), errno.EROFS, "DATA PROTECT 27/00 (write protected)"),
    (faults.reservation_conflict(), errno.EBUSY, "RESERVATION CONFLICT: another initiator holds the disk"),
])
def test_lasting_troubles_fail(world: World, fault: DiskFault, error: int, why: str) -> None:
    """Counted retries end after five; what no retry helps fails at once; the reason names command and
    device.
    """
    device = world.ready()
    world.disk.inject(fault)
    assert device.rw_block(True, 0, WRITE) == -error
    assert device.why == f"WRITE(10) to fake0:0:1:0: {why}"
    world.disk.faults.clear()
    assert device.rw_block(True, 0, WRITE) == 0


def test_recovered_error_is_success(world: World) -> None:
    """01/17/01: done, no retry."""
    device = world.ready()
    world.disk.inject(faults.recovered_error())
    assert device.rw_block(True, 0, WRITE) == 0
    assert device.stats.retries == 0


@pytest.mark.parametrize(("fault", "pause_ns"), [(faults.busy(times=None), 10 * MS),
                                                 (faults.becoming_ready(times=None), 100 * MS)])
def test_never_ready_ends_after_60_s(world: World, fault: DiskFault, pause_ns: int) -> None:
    """What is not counted is bounded by the command's 60 s."""
    device = world.ready()
    world.disk.inject(fault)
    error, took = timed(world, lambda: device.rw_block(True, 0, WRITE))
    assert error == -errno.EIO
    assert 60 * S <= took <= 60 * S + pause_ns + MS
    assert "after 60 s" in device.why


def test_medium_change_marks_the_device(world: World) -> None:
    """06/28 fails the command, and the next sanity check the device."""
    device = world.ready()
    world.disk.inject(faults.unit_attention(0x28))
    assert device.rw_block(True, 0, WRITE) == -errno.EIO
    assert device.sanity_check() == -errno.EIO
    assert device.why.endswith("the medium was changed since the device was registered")


def test_without_autosense_the_sense_is_asked_for() -> None:
    """A driver that brings no sense data: REQUEST SENSE decides, here for a retry."""
    world = build(target={"autosense": False})
    device = world.ready()
    world.disk.inject(faults.unit_attention())
    assert device.rw_block(True, 0, WRITE) == 0
    assert world.hardware.log == [("cmnd", 0x2A), ("cmnd", 0x03), ("cmnd", 0x2A)]


def test_no_sense_to_be_had() -> None:
    """CHECK CONDITION without sense, and REQUEST SENSE fails too: the command fails, nothing recurses."""
    world = build(target={"autosense": False})
    device = world.ready()
    world.disk.inject(faults.unit_attention(times=None))
    world.disk.inject(faults.check_condition(4, 0x44, on=Access.SENSE, times=None))
    assert device.rw_block(True, 0, WRITE) == -errno.EIO
    assert device.why == "WRITE(10) to fake0:0:1:0: CHECK CONDITION without sense data"


# --- queuecommand refuses ----------------------------------------------------------------------------------


def test_busy_host_is_polled_every_100_us(world: World) -> None:
    """Twenty refusals cost twenty polls, then the command goes through."""
    device = world.ready()
    world.hardware.busy = 20
    error, took = timed(world, lambda: device.rw_block(True, 0, WRITE))
    assert error == 0
    assert 2 * MS <= took <= 3 * MS
    assert world.driver.host.host_lock.owner is None


def test_host_busy_for_5_s_is_an_error(world: World) -> None:
    """The command never reached the adapter; the device itself is not given up."""
    device = world.ready()
    world.hardware.busy = 1_000_000
    error, took = timed(world, lambda: device.rw_block(True, 0, WRITE))
    assert (error, device.why) == (-errno.EIO, "WRITE(10) to fake0:0:1:0: queuecommand refused it for 5 s")
    assert 5 * S <= took <= 5 * S + MS
    world.hardware.busy = 0
    assert device.rw_block(True, 0, WRITE) == 0


def test_held_host_lock_is_a_deadlock(world: World) -> None:
    """A lock that a frozen CPU holds is never waited for."""
    device = world.ready()
    world.kernel.spin_lock(world.driver.host.host_lock)
    with pytest.raises(DeadlockFault):
        device.rw_block(True, 0, WRITE)


# --- commands that do not end ------------------------------------------------------------------------------


@pytest.mark.parametrize("flush", [True, False], ids=["driver flushes", "driver forgets"])
def test_lost_command_is_recovered_by_a_host_reset(flush: bool) -> None:
    """30 s, host reset, 5 s settling, the same command again: success, within 60 s."""
    world = build(flush_on_reset=flush)
    device = world.ready()
    data = world.fill(0, PAGE)
    world.hardware.lose = 1
    error, took = timed(world, lambda: device.rw_block(True, 0, WRITE))
    assert error == 0
    assert 35 * S <= took <= 35 * S + 12 * MS       # looked at every 10 ms
    assert world.on_disk(64, PAGE) == data
    assert world.hardware.log == [("cmnd", 0x2A), ("reset",), ("cmnd", 0x2A), ("cmnd", 0x2A)]
    assert (device.stats.timeouts, device.stats.recoveries) == (1, 1)


def test_needs_reset(world: World) -> None:
    """An adapter that stopped and works again after a reset."""
    device = world.ready()
    world.hardware.needs_reset = True
    assert device.rw_block(True, 0, WRITE) == 0


def test_dead_adapter_is_given_up_within_60_s(world: World) -> None:
    """30 s, reset, the rest of 60 s, a last reset so that it lets go of memory; afterwards every call fails
    at once.
    """
    device = world.ready()
    world.hardware.dead = True
    error, took = timed(world, lambda: device.rw_block(True, 0, WRITE))
    assert error == -errno.EIO
    assert 60 * S <= took <= 60 * S + MS
    assert device.why == "WRITE(10) to fake0:0:1:0: no completion after 24 s, again after a host reset"
    assert world.hardware.log == [("cmnd", 0x2A), ("reset",), ("cmnd", 0x2A), ("reset",)]
    error, took = timed(world, lambda: device.rw_block(True, 1, WRITE))
    assert (error, took) == (-errno.EIO, 0)
    assert device.why == ("WRITE(10) to fake0:0:1:0: the device was given up: no completion after 24 s,"
                          " again after a host reset")
    assert device.shutdown() == -errno.EIO
    assert world.driver.calls[-1] == "shutdown"
    assert device.stats.timeouts == 2       # and the NMI watchdog was fed all the while


def test_reset_that_fails_is_the_end(world: World) -> None:
    """No second try without a reset."""
    device = world.ready()
    world.hardware.dead = world.hardware.reset_fails = True
    error, took = timed(world, lambda: device.rw_block(True, 0, WRITE))
    assert error == -errno.EIO
    assert 30 * S <= took <= 30 * S + MS
    assert device.why.endswith("no completion after 30 s, and the host reset failed")


def test_three_recoveries_are_enough(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fourth lost command ends the device: bounded time for a dump of any size."""
    monkeypatch.setattr(dump_queue, "IO_TIMEOUT_NS", 2 * S)     # the rule does not depend on the length
    device = world.ready()
    for _ in range(3):
        world.hardware.lose = 1
        assert device.rw_block(True, 0, WRITE) == 0
    world.hardware.lose = 1
    assert device.rw_block(True, 0, WRITE) == -errno.EIO
    assert device.rw_block(True, 0, WRITE) == -errno.EIO


def test_timeout_with_others_in_flight() -> None:
    """One of four is lost: the reset takes the others along, all four are done again, every byte is right."""
    world = build(flush_on_reset=False)
    device = world.ready(queue_depth=4)
    data = world.fill(0, 16 * PAGE)
    world.hardware.lose = 1
    ended = list(device.stream(True, [(i, [(i * PAGE, PAGE)]) for i in range(16)]))
    assert sorted(ended) == [(i, 1, 0) for i in range(16)]
    assert world.on_disk(64, 16 * PAGE) == data
    assert device.stats.recoveries == 1


def test_dead_adapter_in_a_stream() -> None:
    """Each chunk is reported with its error, and the stream ends."""
    world = build()
    device = world.ready(queue_depth=4)
    world.hardware.dead = world.hardware.reset_fails = True
    ended = list(device.stream(True, [(i, [(0, PAGE)]) for i in range(100)]))
    assert sorted(ended) == [(i, 1, -errno.EIO) for i in range(100)]


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
    """It comes back 36 s after it was sent, when its successor is long done: nobody mistakes it for
    another's.
    """
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


def test_reads_retry_too(world: World) -> None:
    """A READ that was lost brings the right data in the end."""
    device = world.ready()
    data = world.fill(0, PAGE)
    device.rw_block(True, 0, WRITE)
    world.hardware.lose = 1
    assert device.rw_block(False, 0, [(0x8000, PAGE)]) == 0
    assert world.machine.memory.read(0x8000, PAGE) == data


def test_serial_numbers_rise(world: World) -> None:
    """Every try has a serial number of its own."""
    device = world.ready()
    before = world.driver.host.last_serial
    world.disk.inject(faults.aborted_command(times=2))
    assert device.rw_block(True, 0, WRITE) == 0
    assert world.driver.host.last_serial == before + 3
