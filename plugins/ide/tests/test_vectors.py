"""The vectors of hw-ide.md 13: played on the model by hand as they were on QEMU; what the driver writes for them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ddsdk.ata.taskfile import (
    TASKFILE_IN_DMA,
    TASKFILE_NO_DATA,
    TASKFILE_OUT_DMA,
    WIN_FLUSH_CACHE_EXT,
    WIN_READDMA,
    WIN_WRITEDMA_EXT,
    control,
    read_write,
)
from ddsdk.sim.disk import Disk
from ddsdk_ide.adapter import PRD_BYTES
from ddsdk_ide.model_personality import QEMU
from plugins.ide.tests.driver_rig import Make as MakeRig
from plugins.ide.tests.driver_rig import Rig
from plugins.ide.tests.host import (
    BUFFER,
    COMMAND,
    DEVICE,
    ERROR,
    LBAH,
    LBAL,
    LBAM,
    NSECTOR,
    STATUS,
    TABLE,
    Host,
    Make,
)

V1_SECTOR, V1_BYTES = 0x1_2345_6789, 32 * 512
V1_TABLE = "00004000002000000020400000200080"


@pytest.fixture
def huge(tmp_path: Path) -> Iterator[Disk]:
    """A disk of 3 TiB with nothing on it."""
    path = tmp_path / "huge.img"
    path.touch()
    os.truncate(path, 3 << 40)
    with Disk(str(path)) as disk:
        yield disk


def content(disk: Disk, sector: int, nbytes: int = V1_BYTES) -> bytes:
    """What lies there."""
    data = bytearray(nbytes)
    disk.readv(sector, [memoryview(data)])
    return bytes(data)


def test_v1_on_the_model(make_host: Make, huge: Disk) -> None:
    """LBA48 write by DMA at 0x123456789: the data lands there, nothing at the LBA modulo 2**32; FLUSH CACHE EXT."""
    host = make_host(disk=huge)
    data = host.fill(0x40_0000, V1_BYTES)
    host.machine.memory.write(TABLE, bytes.fromhex(V1_TABLE))
    host.bm(4, TABLE, 4)
    host.bm(2, 0x06)
    host.bm(0, 0x00)
    for register, value in ((1, 0x00), (2, 0x00), (3, 0x23), (4, 0x01), (5, 0x00),
                            (1, 0x00), (2, 0x20), (3, 0x89), (4, 0x67), (5, 0x45), (6, 0xE0), (7, 0x35)):
        host.outb(register, value)
    host.bm(0, 0x01)
    assert host.rest() == 0x50
    assert host.bm(2) == 0x04
    host.bm(0, 0x00)
    assert host.inb(STATUS) == 0x50
    host.bm(2, 0x06)
    assert content(huge, V1_SECTOR) == data
    assert content(huge, V1_SECTOR % (1 << 32)) == bytes(V1_BYTES)
    host.outb(DEVICE, 0xE0)
    host.outb(COMMAND, 0xEA)
    assert host.rest() == 0x50


def taken_over(make: MakeRig) -> Rig:
    """After the crash, ready to dump, a write by DMA behind it."""
    return make().probe().take_over()


def writes(seen: list[tuple[str, str, int]]) -> list[tuple[str, int]]:
    """What was written, and where."""
    return [(name, value) for kind, name, value in seen if kind == "write"]


def test_v1_by_the_driver(make: MakeRig) -> None:
    """The same accesses in the same order, once the drive is selected: table, events, direction, both bytes of each
    register, start; stop and events at the end.
    """
    rig = taken_over(make)
    rig.drive.nr_sectors = 1 << 40
    rig.run(rig.task(control(0, WIN_FLUSH_CACHE_EXT)))
    task = rig.task(read_write(WIN_WRITEDMA_EXT, 0, V1_SECTOR, 32, True), TASKFILE_OUT_DMA,
                    [(0x40_0000, 0x2000), (0x40_4000, 0x2000)])
    with rig.watching() as seen:
        rig.run(task)
    table = rig.channel.table
    assert writes(seen) == [
        ("TABLE[0]", table.bus_addr), ("STATUS[0]", 0x06), ("COMMAND[0]", 0x00),
        ("FEATURE", 0x00), ("NSECTOR", 0x00), ("LBAL", 0x23), ("LBAM", 0x01), ("LBAH", 0x00),
        ("FEATURE", 0x00), ("NSECTOR", 0x20), ("LBAL", 0x89), ("LBAM", 0x67), ("LBAH", 0x45), ("DEVICE", 0xE0),
        ("COMMAND", 0x35), ("COMMAND[0]", 0x01),
        # such a sector is not there: IDNF, and 48 bits of LBA are read back
        ("COMMAND[0]", 0x00), ("STATUS[0]", 0x06), ("CONTROL", 0x82), ("CONTROL", 0x02)]
    assert bytes(table.view[:2 * PRD_BYTES]).hex() == "00004000002000000040400000200080"
    assert task.result_tf is not None
    assert (task.status, task.error, task.result_tf.sector) == (0x51, 0x10, V1_SECTOR)


def test_v1_flush_by_the_driver(make: MakeRig) -> None:
    """FLUSH CACHE EXT: status 50."""
    rig = taken_over(make)
    task = rig.task(control(0, WIN_FLUSH_CACHE_EXT), TASKFILE_NO_DATA)
    with rig.watching() as seen:
        rig.run(task)
    assert writes(seen)[-1] == ("COMMAND", 0xEA)
    assert (task.status, rig.why(task)) == (0x50, "")


def test_v2_on_the_model(make_host: Make) -> None:
    """LBA28 READ DMA of 8 sectors at 0x12345: count 0, LBA registers one past the end."""
    host = make_host(disk=Disk(memoryview(bytearray((0x12345 + 8) * 512))))
    host.dma(0xC8, 0x12345, 8, (BUFFER, 0x1000))
    assert host.finish() == (0x04, 0x50)
    assert [host.inb(register) for register in (NSECTOR, LBAL, LBAM, LBAH)] == [0x00, 0x4D, 0x23, 0x01]


def test_v2_by_the_driver(make: MakeRig) -> None:
    """Single registers, the LBA's highest bits in the device register, bus master command 08 and 09."""
    rig = taken_over(make)
    rig.run(rig.task(control(0, WIN_FLUSH_CACHE_EXT)))
    task = rig.task(read_write(WIN_READDMA, 0, 0x0A01345, 8, False), TASKFILE_IN_DMA, [(0x40_0000, 0x1000)])
    with rig.watching() as seen:
        assert rig.start(task)
    assert writes(seen)[2:] == [
        ("COMMAND[0]", 0x08), ("FEATURE", 0x00), ("NSECTOR", 0x08), ("LBAL", 0x45), ("LBAM", 0x13), ("LBAH", 0xA0),
        ("DEVICE", 0xE0), ("COMMAND", 0xC8), ("COMMAND[0]", 0x09)]


def test_v3_on_the_model(host: Host) -> None:
    """SRST: alternate status 50, the signature of a disk."""
    host.control(0x06)
    host.advance(10_000)
    host.control(0x02)
    assert host.alt() == 0x80
    host.advance(2_000_000)
    assert host.alt() == 0x50
    assert [host.inb(register) for register in (ERROR, NSECTOR, LBAL, LBAM, LBAH)] == [0x01, 0x01, 0x01, 0x00, 0x00]


def test_v3_by_the_driver(make: MakeRig) -> None:
    """Bus master stopped, interrupts masked; 06, 10 us, 02; then each drive is looked at, no sooner than after 2 ms."""
    rig = make().probe()
    assert rig.drive
    with rig.watching() as seen:
        assert rig.reset() == 0
    assert writes(seen) == [
        ("COMMAND[0]", 0x00), ("CONTROL", 0x02), ("STATUS[0]", 0x06), ("CONTROL", 0x06), ("CONTROL", 0x02),
        ("DEVICE", 0xA0), ("DEVICE", 0xB0), ("CONTROL", 0x00)]


def test_v4_as_the_shipped_module_wrote(make_host: Make) -> None:
    """Reset with 0C and 0A, SET MULTIPLE 16, 32 sectors by WRITE MULTIPLE EXT: count 20, 10, 00, the data there."""
    disk = Disk(memoryview(bytearray((0x12345 + 32) * 512)))
    host = make_host(disk=disk)
    host.control(0x0C)
    host.advance(10_000)
    host.control(0x0A)
    assert host.rest() == 0x50
    assert host.inb(ERROR) == 0x01
    for register, value in ((2, 0x10), (6, 0xE0), (7, 0xC6)):
        host.outb(register, value)
    assert host.rest() == 0x50
    host.outb(DEVICE, 0xE0)
    assert host.alt() & 0xC8 == 0x40
    for register, value in ((1, 0), (2, 0), (3, 0), (4, 0), (5, 0),
                            (1, 0), (2, 0x20), (3, 0x45), (4, 0x23), (5, 0x01), (6, 0xE0), (7, 0x39)):
        host.outb(register, value)
    data, seen = host.fill(BUFFER, V1_BYTES), []
    for block in range(2):
        host.drq()
        seen.append((host.inb(NSECTOR), host.alt()))
        host.put_data(data[0x2000 * block:0x2000 * (block + 1)])
    host.rest()
    seen.append((host.inb(NSECTOR), host.inb(STATUS)))
    assert seen == [(0x20, 0x58), (0x10, 0x58), (0x00, 0x50)]
    assert content(disk, 0x12345) == data


def test_v5_errors_in_qemu(make_host: Make) -> None:
    """Unknown command, DMA past the end, short and long table, as QEMU answers."""
    host = make_host(personality=QEMU)
    end = host.drives[0, 0].disk.sectors
    assert (host.run(0xFE), host.inb(ERROR)) == (0x41, 0x04)
    host.bm(2, 0x06)
    host.dma(0xC8, end - 4, 8, (BUFFER, 0x1000))
    assert (host.finish(), host.inb(ERROR), host.inb(NSECTOR)) == ((0x04, 0x41), 0x04, 0x08)
    host.dma(0xC8, 0x100, 8, (BUFFER, 0x800))
    assert (host.finish(), host.inb(NSECTOR)) == ((0x00, 0x50), 0x08)
    host.dma(0xC8, 0x100, 8, (BUFFER, 0x2000))
    assert (host.finish(), host.inb(NSECTOR)) == ((0x05, 0x50), 0x00)
