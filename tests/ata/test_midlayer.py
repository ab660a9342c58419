"""Commands in normal mode: one at a time, ended by interrupt, retried, recovered by a reset."""

from __future__ import annotations

import pytest

from ddsdk.ata.midlayer import IdeRequest
from ddsdk.ata.taskfile import WIN_CHECKPOWERMODE1, control
from ddsdk.block.outcome import Disposition
from ddsdk.sim import disk_faults as faults
from ddsdk.sim.disk_faults import DiskFault
from tests.ata.fake_hwif import S, World, build

PAGE = 4096


def write(world: World, sector: int = 0, nbytes: int = PAGE) -> tuple[bool, str]:
    """A write of memory at 0, from the boot task."""
    request = IdeRequest(world.drive)
    with_sg = ((0, nbytes),)
    return request.rw(True, sector, nbytes // 512, with_sg), request.why


def test_write_and_read() -> None:
    """Data arrives; the command is ended by the interrupt handler; lock and channel are free again."""
    world = build()
    with world.machine:
        data = world.fill(0, PAGE)
        assert write(world, 8) == (True, "")
        assert world.on_disk(8, PAGE) == data
        assert IdeRequest(world.drive).rw(False, 8, 8, ((0x8000, PAGE),))
        assert world.machine.memory.read(0x8000, PAGE) == data
        assert (world.driver.hwif.busy, world.driver.hwif.ide_lock.owner) == (False, None)


def test_one_command_at_a_time() -> None:
    """Four tasks want the channel; each gets it in turn."""
    world = build(ncpus=2)
    with world.machine:
        done: list[int] = []

        def task(number: int) -> None:
            for _ in range(5):
                assert IdeRequest(world.drive).rw(True, 8 * number, 8, ((number * PAGE, PAGE),))
            done.append(number)

        for number in range(4):
            world.machine.spawn(number % 2, lambda number=number: task(number), f"writer/{number}")
        world.machine.run()
        assert sorted(done) == [0, 1, 2, 3]
        assert world.hardware.most_in_flight == 1


def test_drives_of_one_channel_share_it() -> None:
    """A command to the slave waits for the master's."""
    world = build(ncpus=2, units=(0, 1))
    with world.machine:
        for drive in world.driver.hwif.drives:
            world.machine.spawn(drive.unit, lambda drive=drive: IdeRequest(drive).rw(True, 0, 8, ((0, PAGE),)),
                                drive.name)
        world.machine.run()
        assert world.hardware.most_in_flight == 1


@pytest.mark.parametrize("fault", [
    faults.aborted_command(times=5), faults.wrong_length(times=5), faults.busy(times=1), faults.becoming_ready()])
def test_passing_troubles(fault: DiskFault) -> None:
    """CRC errors and missing bytes are retried; a busy drive is waited for."""
    world = build()
    with world.machine:
        data = world.fill(0, PAGE)
        world.disk.inject(fault)
        assert write(world) == (True, "")
        assert world.on_disk(0, PAGE) == data


@pytest.mark.parametrize(("fault", "why"), [
    (faults.medium_error(3), "device fault (status 70) at sector 3"),
    (faults.hardware_error(), "device fault (status 70) at sector 0"),
    (faults.write_protected(), "the drive aborted it (status 51, error 04) at sector 0")])
def test_lasting_troubles(fault: DiskFault, why: str) -> None:
    """They fail at once, with the sector."""
    world = build()
    with world.machine:
        world.disk.inject(fault)
        assert write(world) == (False, f"WRITE DMA EXT to fake0:0:1: {why}")
        assert world.hardware.codes == [0x35]


def test_a_bad_cable_ends_in_pio() -> None:
    """Six CRC errors in a row: the drive is used by programmed I/O from then on."""
    world = build()
    with world.machine:
        data = world.fill(0, PAGE)
        world.hardware.bad_cable = 6
        assert write(world) == (True, "")
        assert world.hardware.codes == [0x35] * 6 + [0x39]
        assert world.on_disk(0, PAGE) == data
        assert world.kernel.log[-1] == ("WRITE DMA EXT to fake0:0:1: CRC error on the cable; programmed I/O from here"
                                        " on")


def test_a_bus_master_error_ends_in_pio_at_once() -> None:
    """hw-ide.md 11: stop, clear, retry in PIO - once the drive, which waits for the bus master, was reset."""
    world = build()
    with world.machine:
        world.hardware.no_dma = 1
        assert write(world) == (True, "")
        assert world.hardware.log == [("cmd", 0x35), ("reset",), ("cmd", 0xC6), ("cmd", 0x39)]
        assert not world.drive.using_dma


def test_a_lost_command_costs_a_reset_and_settings_again() -> None:
    """30 s, soft reset; transfer mode and multiple mode are sent before the next try."""
    world = build()
    with world.machine:
        data = world.fill(0, PAGE)
        world.hardware.lose = 1
        assert write(world) == (True, "")
        assert world.hardware.log == [("cmd", 0x35), ("reset",), ("cmd", 0xEF), ("cmd", 0xC6), ("cmd", 0x35)]
        assert (world.ata.multiple, world.ata.dma_mode) == (16, 0x44)
        assert world.on_disk(0, PAGE) == data
        assert 30 * S <= world.machine.clock.now_ns < 31 * S


def test_the_other_drive_gets_its_settings_back_too() -> None:
    """A soft reset hits both; the slave's settings go out before its next command."""
    world = build(units=(0, 1))
    master, slave = world.driver.hwif.drives
    with world.machine:
        assert IdeRequest(master).reset()
        assert IdeRequest(slave).rw(True, 0, 8, ((0, PAGE),))
        assert world.hardware.drives[1].multiple == 16
        assert world.hardware.drives[0].multiple == 0
        assert IdeRequest(master).rw(True, 0, 8, ((0, PAGE),))
        assert world.hardware.drives[0].multiple == 16


def test_left_over_drq_costs_a_reset() -> None:
    """Status 58 with the command over: reset, then once more."""
    world = build()
    with world.machine:
        world.hardware.override.append(0x58)
        assert write(world) == (True, "")
        assert world.hardware.log[:2] == [("cmd", 0x35), ("reset",)]


def test_not_ready_is_waited_for() -> None:
    """DRDY clear: asked again every 100 ms."""
    world = build()
    with world.machine:
        before = world.machine.clock.now_ns
        world.hardware.override.extend([0x10] * 7)
        assert write(world) == (True, "")
        assert world.machine.clock.now_ns - before >= 700_000_000


def test_a_dead_drive_is_given_up_in_bounded_time() -> None:
    """The command, then its settings twice: 30 s each, a reset after each; then no more."""
    world = build()
    with world.machine:
        world.hardware.dead = True
        before = world.machine.clock.now_ns
        assert write(world) == (False, "SET FEATURES to fake0:0:1: no completion after 30 s")
        assert world.hardware.log == [("cmd", 0x35), ("reset",), ("cmd", 0xEF), ("reset",), ("cmd", 0xEF), ("reset",)]
        assert 90 * S <= world.machine.clock.now_ns - before < 91 * S


def test_without_a_reset() -> None:
    """A driver that has none: a lost command fails after its 30 s."""
    world = build(reset=False)
    with world.machine:
        request = IdeRequest(world.drive)
        assert (request.can_reset, request.reset()) == (False, False)
        world.hardware.lose = 1
        assert write(world) == (False, "WRITE DMA EXT to fake0:0:1: no completion after 30 s")


def test_a_reset_that_fails_is_the_end() -> None:
    """Nothing is sent to an interface in an unknown state."""
    world = build()
    with world.machine:
        world.hardware.needs_reset = world.hardware.reset_fails = True
        assert write(world)[0] is False
        assert world.hardware.log == [("cmd", 0x35), ("reset",)]


def test_a_driver_that_never_takes_the_command() -> None:
    """ide_stopped for 30 s, three times, with resets in between."""
    world = build()
    with world.machine:
        world.hardware.busy = 1_000_000
        outcome = IdeRequest(world.drive).control(control(1, WIN_CHECKPOWERMODE1))
        assert (outcome.disposition, outcome.why) == (Disposition.NEEDS_RESET,
                                                      "do_rw_taskfile refused it all the time")
        assert world.driver.calls == ["reset"] * 3


def test_a_late_end_is_nobodys() -> None:
    """The end of a command that was given up does not end its successor."""
    world = build(flush_on_reset=False)
    with world.machine:
        world.hardware.lose, world.hardware.late_ns = 1, 30 * S + 20_000
        data = world.fill(0, PAGE)
        assert write(world) == (True, "")
        assert world.on_disk(0, PAGE) == data


def test_nobody_waits_after_the_crash() -> None:
    """The completion of a command from before returns at once."""
    world = build(ncpus=2)
    with world.machine:
        request = IdeRequest(world.drive)
        world.machine.spawn(1, lambda: request.rw(True, 0, 8, ((0, PAGE),)), "writer")
        world.machine.run(for_ns=10_000)
        world.crash()
        assert world.driver.outstanding is request.task
        world.kernel.udelay(1000)
        world.driver.interrupt()
        assert (request.task.done, world.driver.outstanding) == (False, None)
