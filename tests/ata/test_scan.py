"""Scanning a channel by interrupt, before any crash."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.ata.host import IdeHwif
from ddsdk.ata.scan import scan_hwif
from ddsdk.sim import disk_faults as faults
from ddsdk.sim.ata_drive import AtaDrive, AtaIdentity
from ddsdk.sim.disk import Disk
from ddsdk.sim.disk_faults import Access
from tests.ata.fake_hwif import World, build


def scanned(world: World) -> list[tuple[str, bool, int, int]]:
    """name, online, sectors, sector size of each drive found."""
    return [(d.name, d.online, d.nr_sectors, d.sector_size) for d in scan_hwif(world.driver.hwif)]


def test_finds_both_units() -> None:
    """Master and slave; what a drive is, and how it is set up, is in the log."""
    world = build(scan=False, units=(0, 1))
    with world.machine:
        assert scanned(world) == [("fake0:0:0", True, 8192, 512), ("fake0:0:1", True, 8192, 512)]
    assert world.kernel.log == [
        f"fake0:0:{unit}: DDSDK DISK 0001, 8192 sectors of 512 bytes, DMA mode 0x44, 16 sectors a block"
        for unit in (0, 1)]
    assert world.driver.outstanding is None
    assert all(world.driver.locked)
    assert not world.driver.hwif.ide_lock.owner


@pytest.mark.parametrize("units", [(0,), (1,)])
def test_an_absent_drive_is_no_drive(units: tuple[int, ...]) -> None:
    """Status 00: the other unit is there alone, and nobody waited for this one."""
    world = build(scan=False, units=units)
    with world.machine:
        assert [row[0] for row in scanned(world)] == [f"fake0:0:{units[0]}"]
        assert world.machine.clock.now_ns < 10_000_000


def test_the_other_channel_is_scanned_too() -> None:
    """`mate` of the channel that probe returned."""
    world = build(scan=False)
    hwif = world.driver.hwif
    world.hardware.drives.clear()
    hwif.mate = IdeHwif(hwif.port_info, world.kernel, channel=1)
    with world.machine:
        assert scanned(world) == []
    assert world.hardware.codes == [0xEC] * 4
    assert hwif.channels == (hwif, hwif.mate)
    assert hwif.mate.drives[0].name == "fake0:1:0"


def test_commands_of_a_scan() -> None:
    """IDENTIFY to both; then transfer mode, multiple mode, and CHECK POWER MODE as the first that needs them."""
    world = build(scan=False)
    with world.machine:
        scanned(world)
    assert world.hardware.codes == [0xEC, 0xEC, 0xEF, 0xC6, 0xE5]
    assert (world.ata.dma_mode, world.ata.multiple) == (0x44, 16)


@pytest.mark.parametrize(("info", "identity", "speed"), [
    ({"ultra_mask": 0x7F}, {}, 0x45), ({"ultra_mask": 0x07}, {}, 0x42),
    ({"ultra_mask": 0x7F}, {"ultra_mask": 0x01, "power_on_mode": 0}, 0x40),
    ({"ultra_mask": 0, "mwdma_mask": 0x07}, {}, 0x22),
    ({"ultra_mask": 0x7F, "mwdma_mask": 0x07}, {"ultra_mask": 0, "power_on_mode": 0, "mwdma_mask": 0x03}, 0x21),
    ({"ultra_mask": 0}, {}, 0), ({"ultra_mask": 0x7F}, {"ultra_mask": 0, "power_on_mode": 0}, 0)])
def test_the_fastest_mode_both_have(info: dict[str, int], identity: dict[str, Any], speed: int) -> None:
    """Ultra DMA before multiword DMA, the highest first; none in common is PIO, and speedproc is not asked."""
    world = build(scan=False, identity=identity, **info)
    with world.machine:
        scanned(world)
    assert (world.drive.current_speed, world.drive.using_dma) == (speed, bool(speed))
    assert world.driver.speeds == ([speed] if speed else [])


def test_an_interface_that_refuses_the_mode() -> None:
    """speedproc says no: programmed I/O."""
    world = build(scan=False)
    world.driver.speed_result = -22
    with world.machine:
        scanned(world)
    assert not world.drive.using_dma
    assert "fake0:0:1: the interface refuses transfer mode 0x44; programmed I/O" in world.kernel.log


def test_a_drive_that_refuses_the_mode() -> None:
    """SET FEATURES 03 fails: programmed I/O."""
    world = build(scan=False)
    world.disk.inject(faults.check_condition(0x5, 0x24, on=Access.OTHER))
    with world.machine:
        scanned(world)
    assert (world.drive.using_dma, world.drive.mult_count) == (False, 16)
    assert ("SET FEATURES to fake0:0:1: the drive aborted it (status 51, error 04); data moves by programmed I/O"
            in world.kernel.log)


def test_a_drive_that_refuses_multiple_mode() -> None:
    """SET MULTIPLE fails: one sector a block."""
    world = build(scan=False)
    world.disk.inject(faults.check_condition(0x5, 0x24, on=Access.OTHER, after=1))
    with world.machine:
        scanned(world)
    assert (world.drive.using_dma, world.drive.mult_count, world.drive.mult_req) == (True, 0, 0)
    assert world.kernel.log[0].endswith("; one sector a block")


@pytest.mark.parametrize(("most", "asked"), [(0, 0), (1, 1), (8, 8), (16, 16), (128, 16)])
def test_multiple_count(most: int, asked: int) -> None:
    """What the drive offers, 16 at most."""
    world = build(scan=False, identity={"max_multiple": most})
    with world.machine:
        scanned(world)
    assert world.drive.mult_count == world.ata.multiple == asked


def test_lba48_or_not() -> None:
    """A large drive, one without LBA48, and an interface without: 28 bits end at 0FFFFFFF sectors."""
    for lba48, no_lba48, sectors in ((True, False, 1 << 30), (False, False, 0xFFFFFFF), (True, True, 0xFFFFFFF)):
        world = build(scan=False, identity={"lba48": lba48}, no_lba48=no_lba48)
        world.disk.sectors = 1 << 30
        with world.machine:
            scanned(world)
        assert (world.drive.nr_sectors, world.drive.lba48) == (sectors, lba48 and not no_lba48)


def test_long_sectors() -> None:
    """The capacity counts the drive's own sectors."""
    world = build(scan=False, sector_size=4096)
    with world.machine:
        assert scanned(world) == [("fake0:0:1", True, 1024, 4096)]


class Cylinders(AtaDrive):
    """A drive from before LBA."""

    def _identify(self) -> bytes:
        data = bytearray(super()._identify())
        data[99] &= ~0x02
        data[510] = 0                       # and before checksums
        return bytes(data)


def test_a_drive_without_lba_is_listed_dead() -> None:
    """hw-ide.md 8: LBA is required."""
    world = build(scan=False)
    world.hardware.drives[1] = Cylinders(Disk(bytearray(1 << 20)))
    with world.machine:
        assert scanned(world) == [("fake0:0:1", False, 2048, 512)]
    assert world.kernel.log == ["fake0:0:1: DDSDK DISK: cannot be used: addresses by cylinder only"]


class Locked(AtaDrive):
    """A drive with a password set, before anybody gave it."""

    def _identify(self) -> bytes:
        data = bytearray(super()._identify())
        data[256] = 0x07
        data[511] = (data[511] - 0x07) & 0xFF
        return bytes(data)


def test_a_locked_drive_is_listed_dead() -> None:
    """hw-ide.md 9: every write would be aborted."""
    world = build(scan=False)
    world.hardware.drives[1] = Locked(Disk(bytearray(1 << 20)))
    with world.machine:
        assert scanned(world) == [("fake0:0:1", False, 2048, 512)]
    assert world.kernel.log == ["fake0:0:1: DDSDK DISK: cannot be used: locked by a password"]
    assert world.drive.model == "DDSDK DISK"


class Cdrom(AtaDrive):
    """A packet device that answers IDENTIFY DEVICE all the same."""

    def _identify(self) -> bytes:
        return b"\x80\x85" + bytes(510)


def test_other_devices_are_no_disks() -> None:
    """An ATAPI device is named and left alone."""
    world = build(scan=False)
    world.hardware.drives[1] = Cdrom(Disk(bytearray(1 << 20)))
    with world.machine:
        assert scanned(world) == []
    assert world.kernel.log == ["fake0:0:1: an ATAPI device (word 0 is 0x8580), no disk"]
    assert not world.drive.present


def test_a_lost_command_is_recovered() -> None:
    """IDENTIFY without an end for 30 s: the channel is reset and the scan goes on."""
    world = build(scan=False)
    world.hardware.lose = 1
    with world.machine:
        assert [row[0] for row in scanned(world)] == ["fake0:0:1"]
    assert ("reset",) in world.hardware.log
    assert 30_000_000_000 <= world.machine.clock.now_ns < 40_000_000_000


def test_a_slow_starter_is_waited_for() -> None:
    """BSY for seconds is what spinning up looks like."""
    world = build(scan=False)
    world.disk.inject(faults.slow(7_000_000_000, on=Access.OTHER))
    with world.machine:
        assert scanned(world)[0][1] is True
    assert world.machine.clock.now_ns > 7_000_000_000


def test_a_busy_interface_is_retried() -> None:
    """ide_stopped for a while only costs time."""
    world = build(scan=False)
    world.hardware.busy = 20
    with world.machine:
        assert len(scanned(world)) == 1


def test_identity_of_the_drive() -> None:
    """Model and serial are kept: the dump compares them."""
    world = build(identity={"model": "A", "serial": "B"})
    assert world.drive.id is not None
    assert (world.drive.id.model, world.drive.id.serial) == ("A", "B")
    assert AtaIdentity().model == "DDSDK DISK"
