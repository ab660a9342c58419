"""Scanning a host by interrupt, before any crash."""

from __future__ import annotations

from ddsdk.scsi.scan import scan_host
from ddsdk.sim import disk_faults as faults
from ddsdk.sim.disk import Disk
from ddsdk.sim.scsi_target import Identity, ScsiTarget
from tests.scsi.fake_hba import Hardware, World, build


def scanned(world: World) -> list[tuple[str, bool, int, int, int]]:
    """name, online, sectors, sector size, level of each device found."""
    found = scan_host(world.driver.host)
    return [(s.name, s.online, s.nr_sectors, s.sector_size, s.scsi_level) for s in found]


def test_finds_disks_by_id_and_lun() -> None:
    """Disks at ids 0 and 1 (two LUNs) are found, the empty id 2 is not; the power-on attention is no
    obstacle.
    """
    world = build()
    world.hardware.targets[0] = ScsiTarget(Disk(bytearray(1 << 20)), Identity(version=2))
    world.hardware.targets[1] = ScsiTarget({0: Disk(bytearray(8192)),
                                            1: Disk(bytearray(81920), sector_size=4096)})
    with world.machine:
        assert scanned(world) == [("fake0:0:0:0", True, 2048, 512, 3), ("fake0:0:1:0", True, 16, 512, 6),
                                  ("fake0:0:1:1", True, 20, 4096, 6)]
    assert world.kernel.log[0] == "fake0:0:0:0: DDSDK DISK 0001, 2048 sectors of 512 bytes"
    assert not world.driver.outstanding


def test_the_adapters_own_id_is_skipped() -> None:
    """Nobody selects himself."""
    world = build()
    world.driver.host.this_id = 1
    with world.machine:
        assert scanned(world) == []
        assert not any(entry == ("cmnd", 0) for entry in world.hardware.log)


def test_huge_disk_uses_16_byte_commands() -> None:
    """READ CAPACITY(10) overflowing leads to READ CAPACITY(16) and to use_16_for_rw."""
    world = build()
    world.disk.sectors = 1 << 33
    with world.machine:
        (sdev,) = scan_host(world.driver.host)
    assert (sdev.nr_sectors, sdev.use_16_for_rw) == (1 << 33, True)


def test_slow_starter_is_waited_for() -> None:
    """04/01 is asked again every 100 ms until the disk is there."""
    world = build()
    world.disk.inject(faults.becoming_ready(times=7, after=1))
    with world.machine:
        assert scanned(world)[0][1] is True
    assert world.machine.clock.now_ns > 700_000_000


def test_disk_that_does_not_start_is_listed_offline() -> None:
    """04/02: the disk exists, but is offline with unknown size."""
    world = build()
    world.disk.inject(faults.not_started())
    with world.machine:
        assert scanned(world) == [("fake0:0:1:0", False, 0, 512, 6)]


def test_a_lost_command_is_recovered() -> None:
    """INQUIRY without an answer for 30 s: the error handler resets the host and the scan goes on."""
    world = build()
    world.hardware.lose = 1
    with world.machine:
        assert [row[0] for row in scanned(world)] == ["fake0:0:1:0"]
    assert ("reset",) in world.hardware.log
    assert 30_000_000_000 <= world.machine.clock.now_ns < 40_000_000_000


def test_busy_adapter_is_retried() -> None:
    """queuecommand refusing a while only costs time."""
    world = build()
    world.hardware.busy = 20
    with world.machine:
        assert len(scanned(world)) == 1


def test_fake_hardware_is_not_trivial() -> None:
    """The fake completes in virtual time only: nothing is posted in the instant a command arrives."""
    world = build()
    assert isinstance(world.hardware, Hardware)
    with world.machine:
        before = world.machine.clock.now_ns
        scan_host(world.driver.host)
        assert world.machine.clock.now_ns > before


def test_a_scan_of_some_addresses() -> None:
    """Only the addresses that are named are asked; one where nobody is among them finds nothing."""
    world = build()
    for target in (0, 1):
        world.hardware.targets[target] = ScsiTarget(Disk(bytearray(1 << 20)))
    with world.machine:
        assert [(sdev.channel, sdev.id) for sdev in scan_host(world.driver.host, ((0, 1), (0, 2)))] == [(0, 1)]
