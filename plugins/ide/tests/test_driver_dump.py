"""The dump hooks and the soft reset: sanity check, quiesce, reset, poll, shutdown; a whole dump."""

from __future__ import annotations

import errno

import pytest

from ddsdk.ata.host import ide_started
from ddsdk.sim.machine import Trigger
from plugins.ide.tests.driver_rig import BOTH, DATA, PERSONALITIES, Make, Rig

ALL_FOUR = ((0, 0), (0, 1), (1, 0), (1, 1))


def sanity(rig: Rig) -> int | None:
    """The driver's word."""
    return rig.hooks.dump_sanity_check(rig.drive)


# -- sanity check ------------------------------------------------------------------------------------------------------


@BOTH
def test_sane(make: Make, chip: object) -> None:
    """Idle, busy, with a block waiting: a reset mends that."""
    rig = make(chip).probe()
    assert rig.drive
    rig.drive.using_dma = False
    assert rig.start(rig.rw(False, 0, [(DATA, 4096)])) == ide_started
    rig.crash()
    assert sanity(rig) == 0
    rig.kernel.udelay(5000)
    assert sanity(rig) == 0


@pytest.mark.parametrize(("at", "value", "answer"), [
    (0x04, 0x1, -errno.ENXIO), (0x04, 0x4, -errno.ENXIO), (0x40, 0x0307, -errno.ENXIO)],
    ids=["no bus mastering", "no ports", "channel not decoded"])
def test_what_configuration_space_says(make: Make, at: int, value: int, answer: int) -> None:
    """Without bus mastering some interfaces report success and move nothing: it has to be refused here."""
    rig = make().probe().crash()
    rig.function.config_write(at, 2, value)
    assert sanity(rig) == answer


@pytest.mark.parametrize("fault", ["adapter-gone", "drive-gone"])
def test_gone(make: Make, fault: str) -> None:
    """All ones."""
    rig = make().probe().crash()
    rig.model.faults.inject(fault)
    assert sanity(rig) == -errno.ENODEV


def test_pulled_out_or_unloaded(make: Make) -> None:
    """Configuration space reads all ones; there is no channel any more."""
    rig = make().probe().crash()
    hwif = rig.hwif
    rig.function.remove()
    assert sanity(rig) == -errno.ENODEV
    channel, hwif.hwif_data = hwif.hwif_data, None
    assert (sanity(rig), rig.hooks.quiesce(rig.drive), rig.hooks.shutdown(rig.drive)) == (-6, -6, 0)
    rig.hooks.dump_poll(rig.drive)
    hwif.hwif_data = channel


def test_a_reset_under_way_or_failed(make: Make) -> None:
    """Cannot tell."""
    rig = make(ncpus=2).probe()
    assert rig.drive
    rig.machine.spawn(0, rig.reset, "error handler")
    rig.machine.run(for_ns=5_000_000)
    rig.machine.crash(Trigger.PANIC)
    assert sanity(rig) == 1
    assert rig.hooks.quiesce(rig.drive) == 0
    rig.model.faults.inject("reset-hangs", times=2)
    assert rig.reset() == -errno.EIO
    assert sanity(rig) == 1


def test_another_drive_is_selected(make: Make) -> None:
    """What the selected one reads as says nothing of the other."""
    rig = make().probe().crash()
    rig.channel.unit = 1
    rig.port(0, 6, 0xB0)
    assert (rig.port(1, 0), sanity(rig)) == (0x00, 0)
    rig.channel.unit = 0
    assert sanity(rig) == -errno.ENODEV


# -- quiesce and reset -------------------------------------------------------------------------------------------------


@PERSONALITIES
def test_both_bus_masters_stop(make: Make, personality: object) -> None:
    """That of the other channel too, whose read would go on into memory that is being saved; both are masked."""
    rig = make(places=((0, 0), (1, 0)), personality=personality).probe()
    assert rig.drive
    other = rig.found[1]
    for drive, at in ((rig.drive, DATA), (other, DATA + 0x100000)):
        rig.disks[drive.hwif.channel, 0].writev(0, [memoryview(b"\7" * 0x80000)])
        task = rig.rw(False, 0, [(at, 0x80000)])
        task.drive = drive
        flags = rig.kernel.spin_lock_irqsave(drive.hwif.ide_lock)
        assert drive.hwif.port_info.do_rw_taskfile(task, rig.ended) == ide_started
        rig.kernel.spin_unlock_irqrestore(drive.hwif.ide_lock, flags)
    rig.machine.run(for_ns=2_000_000)
    rig.crash()
    assert rig.hooks.quiesce(rig.drive) == 0
    memory = rig.machine.memory.read(DATA, 0x200000)
    rig.kernel.diskdump_mdelay(100)
    assert rig.machine.memory.read(DATA, 0x200000) == memory
    assert [channel.control.NIEN for channel in rig.model.channels] == [1, 1]
    assert rig.model.irq.level is False
    assert all(hwif.hwif_data.task is None and not hwif.hwif_data.mapped for hwif in rig.hwifs)
    assert rig.reset() == 0
    data = rig.fill(DATA, 4096)
    rig.run(rig.rw(True, 8, [(DATA, 4096)]))
    assert rig.on_disk(8, 4096) == data
    assert rig.done[0].nbytes == 4096       # those of before the crash ended never


@pytest.mark.parametrize(("fault", "times", "error", "seconds"), [
    ("reset-hangs", 0, -errno.EIO, 62), ("reset-hangs", 1, 0, 31), ("reset-slow", 1, 0, 20),
    ("reset-diagnosis", 0, -errno.EIO, 0), ("reset-diagnosis", 1, 0, 0), ("drive-gone", 0, -errno.ENODEV, 0),
    ("adapter-gone", 0, -errno.ENODEV, 0),
])
def test_resets_that_fail_are_reported(make: Make, fault: str, times: int, error: int, seconds: int) -> None:
    """Within the bound, after two tries; not success, as the shipped module said."""
    rig = make().probe().crash()
    assert rig.hooks.quiesce(rig.drive) == 0
    rig.model.faults.inject(fault, times=times)
    before_ns = rig.machine.clock.now_ns
    assert rig.reset() == error
    assert seconds <= (rig.machine.clock.now_ns - before_ns) / 1e9 < seconds + 1


@pytest.mark.parametrize(("place", "fault", "error"), [
    ((0, 0), "reset-drive-1", 0), ((0, 1), "reset-drive-1", -errno.EIO), ((0, 0), "drive-1-busy", 0),
    ((0, 1), "drive-1-busy", -errno.EIO), ((0, 1), "reset-diagnosis", 0)])
def test_the_other_drive_s_trouble(make: Make, place: tuple[int, int], fault: str, error: int) -> None:
    """Only the drive that the dump goes to has to come back; a master works beside a slave that does not."""
    rig = make(places=(place, (0, 1 - place[1]))).probe().crash()
    assert rig.hooks.quiesce(rig.drive) == 0
    rig.model.faults.inject(fault, times=0)
    assert rig.reset() == error
    rig.model.faults.clear()
    if not error:
        assert rig.why(rig.run(rig.rw(True, 8, [(DATA, 4096)]))) == ""


def test_a_reset_says_what_it_ends(make: Make) -> None:
    """The status of whoever is in the middle of something goes into the log."""
    rig = make().probe().crash()
    rig.model.faults.inject("command-hung")
    rig.hooks.quiesce(rig.drive)
    assert rig.start(rig.rw(False, 0, [(DATA, 512)])) == ide_started
    rig.kernel.udelay(10)
    assert rig.reset() == 0
    assert rig.kernel.log[-1] == f"{rig.piix_name}: channel 0: the reset ends a command that is under way (status 80)"


# -- poll, shutdown ----------------------------------------------------------------------------------------------------


def test_a_poll_without_a_command_touches_nothing(make: Make) -> None:
    """Not even to look."""
    rig = make().probe().take_over()
    with rig.watching() as seen:
        for _ in range(10):
            rig.hooks.dump_poll(rig.drive)
    assert seen == []


@PERSONALITIES
def test_shutdown(make: Make, personality: object) -> None:
    """The drives of both channels at rest and masked, the memory of a command that was given up taken back."""
    rig = make(places=ALL_FOUR, personality=personality).probe().take_over()
    assert rig.start(rig.rw(False, 0, [(DATA, 0x80000)])) == ide_started
    rig.kernel.udelay(1000)
    assert rig.hooks.shutdown(rig.drive) == 0
    assert (rig.channel.task, rig.channel.mapped) == (None, ())
    assert [channel.control.NIEN for channel in rig.model.channels] == [1, 1]
    assert [side.status for channel in rig.model.channels for side in channel.sides.values()] == [0x50] * 4
    assert rig.model.irq.level is False


def test_shutdown_tries_twice(make: Make) -> None:
    """A reset that hangs once does not spoil a dump that is complete."""
    rig = make().probe().take_over()
    rig.model.faults.inject("reset-hangs")
    assert rig.hooks.shutdown(rig.drive) == 0


@pytest.mark.parametrize(("fault", "error"), [("reset-hangs", -errno.EIO), ("adapter-gone", -errno.ENODEV)])
def test_shutdown_fails_honestly(make: Make, fault: str, error: int) -> None:
    """In bounded time."""
    rig = make().probe().take_over()
    rig.model.faults.inject(fault, times=0)
    before_ns = rig.machine.clock.now_ns
    assert rig.hooks.shutdown(rig.drive) == error
    assert (rig.machine.clock.now_ns - before_ns) / 1e9 < 63


# -- a dump device -----------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("place", [(0, 0), (1, 1)])
def test_a_dump_device(make: Make, chip: object, place: tuple[int, int]) -> None:
    """Sanity check, take-over, pages out, flush, shutdown; what was written is on the medium."""
    rig = make(chip, places=(place,)).probe()
    device = rig.dump_device()
    rig.disk.volatile_cache = True
    rig.machine.crash(Trigger.PANIC)
    assert (device.sanity_check(), device.quiesce()) == (0, 0)
    assert (rig.drive.using_dma, rig.drive.current_speed) == (True, 0x42 if rig.chip.name == "piix4" else 0x22)
    data = rig.fill(DATA, 64 * 4096)
    assert device.rw_block(True, 7, [(DATA, 64 * 4096)]) == 0
    assert device.shutdown() == 0
    rig.disk.power_off()
    assert rig.on_disk(7 * 8, 64 * 4096) == data


def test_a_pci_bus_that_refuses(make: Make) -> None:
    """ERROR: the dump goes on by programmed I/O, every page right."""
    rig = make().probe()
    device = rig.dump_device()
    rig.machine.crash(Trigger.PANIC)
    assert device.quiesce() == 0
    rig.model.faults.inject("dma-error", times=0)
    data = rig.fill(DATA, 16 * 4096)
    assert device.rw_block(True, 7, [(DATA, 16 * 4096)]) == 0
    assert rig.on_disk(7 * 8, 16 * 4096) == data
    assert rig.drive.using_dma is False
    assert device.warnings[-1].endswith("programmed I/O from here on")
