"""The model moves data: blocks through the data port, the bus master's table, and how each of them ends."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.errors import DmaFault, HardwareFault
from ddsdk.sim import disk_faults
from ddsdk_ide.chips import PIIX3, PIIX4
from ddsdk_ide.model_personality import QEMU, REAL
from plugins.ide.tests.driver_rig import PERSONALITIES
from plugins.ide.tests.host import BUFFER, ERROR, LBAH, LBAL, LBAM, NSECTOR, STATUS, TABLE, Host, Make


def on_disk(host: Host, sector: int, nbytes: int) -> bytes:
    """What the master holds."""
    data = bytearray(nbytes)
    host.drives[0, 0].disk.readv(sector, [memoryview(data)])
    return bytes(data)


def lba(host: Host) -> int:
    """Bits 23 to 0 in the registers."""
    return host.inb(LBAL) | host.inb(LBAM) << 8 | host.inb(LBAH) << 16


# -- programmed I/O ----------------------------------------------------------------------------------------------------


@PERSONALITIES
@pytest.mark.parametrize(("code", "ext"), [(0x20, False), (0x24, True), (0xC4, False), (0x29, True)])
def test_reads(make_host: Make, personality: Any, code: int, ext: bool) -> None:
    """Block by block, an interrupt before each, none after the last."""
    host = make_host(personality=personality)
    data = bytes(range(256)) * 40
    host.drives[0, 0].disk.writev(9, [memoryview(data)])
    host.command(code, 9, 20, ext=ext)
    blocks = [16, 4] if code in (0xC4, 0x29) else [1] * 20
    found = b""
    for sectors in blocks:
        host.drq()
        assert host.bm(2) == 0x04
        assert host.inb(STATUS) == 0x58
        host.bm(2, 0x04)
        found += host.data(256 * sectors)
    assert found == data
    assert (host.rest(), host.bm(2), host.inb(NSECTOR), lba(host)) == (0x50, 0x00, 0, 29)


@PERSONALITIES
@pytest.mark.parametrize(("code", "ext"), [(0x30, False), (0x34, True), (0xC5, False), (0x39, True)])
def test_writes(make_host: Make, personality: Any, code: int, ext: bool) -> None:
    """No interrupt asks for the first block; one comes after each."""
    host = make_host(personality=personality)
    data = host.fill(BUFFER, 20 * 512)
    host.command(code, 9, 20, ext=ext)
    blocks = [16, 4] if code in (0xC5, 0x39) else [1] * 20
    at = 0
    for number, sectors in enumerate(blocks):
        host.drq()
        assert host.bm(2) == (0x04 if number else 0x00)
        host.bm(2, 0x04)
        host.inb(STATUS)
        host.put_data(data[at:at + 512 * sectors])
        at += 512 * sectors
        assert host.alt() & 0x80
    assert (host.rest(), host.bm(2), lba(host)) == (0x50, 0x04, 29)
    assert on_disk(host, 9, 20 * 512) == data


@pytest.mark.parametrize(("personality", "found"), [(REAL, (0x51, 0x40, 11, 2)), (QEMU, (0x41, 0x04, 9, 4))],
                         ids=["real", "qemu"])
def test_a_bad_sector_of_a_read(make_host: Make, personality: Any, found: tuple[int, ...]) -> None:
    """UNC and the sector, those before it delivered; QEMU aborts, and says where the command began."""
    host = make_host(personality=personality)
    host.drives[0, 0].disk.inject(disk_faults.medium_error(11))
    host.command(0x20, 9, 4)
    for _ in range(2):
        host.drq()
        host.data(256)
    assert (host.rest(), host.inb(ERROR), lba(host), host.inb(NSECTOR)) == found


@pytest.mark.parametrize(("personality", "found"), [(REAL, (0x70, 0x00)), (QEMU, (0x41, 0x04))], ids=["real", "qemu"])
def test_a_last_block_that_cannot_be_written(make_host: Make, personality: Any, found: tuple[int, ...]) -> None:
    """It shows only after the data."""
    host = make_host(personality=personality)
    host.drives[0, 0].disk.inject(disk_faults.medium_error(10))
    host.command(0x30, 9, 2)
    for _ in range(2):
        host.drq()
        host.put_data(bytes(512))
    assert (host.rest(), host.inb(ERROR)) == found


# -- the bus master ----------------------------------------------------------------------------------------------------


@PERSONALITIES
@pytest.mark.parametrize("ext", [False, True])
def test_there_and_back(make_host: Make, personality: Any, ext: bool) -> None:
    """Regions of 64 KiB, of 2 bytes, in any order; the interrupt when all has moved."""
    host = make_host(personality=personality)
    data = host.fill(BUFFER, 0x14000)
    regions = ((BUFFER, 0x10000), (BUFFER + 0x10000, 2), (BUFFER + 0x10002, 0x3FFE))
    host.dma(0x35 if ext else 0xCA, 100, 160, *regions, write=True, ext=ext)
    assert host.finish() == (0x04, 0x50)
    assert on_disk(host, 100, 0x14000) == data
    swapped = ((BUFFER + 0x8000, 0x4000), (BUFFER + 0x20000, 0x10000))
    host.dma(0x25 if ext else 0xC8, 100, 160, *swapped, ext=ext)
    assert host.finish() == (0x04, 0x50)
    assert host.peek(BUFFER + 0x8000, 0x4000) + host.peek(BUFFER + 0x20000, 0x10000) == data


def test_the_drive_waits_for_the_bus_master_and_the_other_way_round(host: Host) -> None:
    """Whoever is first waits: DRQ; active."""
    host.table((BUFFER, 0x1000))
    host.bm(0, 0x08)
    host.command(0xC8, 0, 8)
    host.advance(1_000_000)
    assert (host.alt(), host.bm(2)) == (0x58, 0x00)
    host.bm(0, 0x09)
    assert (host.alt(), host.bm(2)) == (0xD0, 0x01)
    assert host.finish() == (0x04, 0x50)
    host.bm(0, 0x08)
    host.bm(0, 0x09)
    assert host.bm(2) == 0x01
    host.command(0xC8, 0, 8)
    assert host.finish() == (0x04, 0x50)


def test_the_four_meanings_of_bmisx(host: Host) -> None:
    """82371AB, table 15: running, exact table, longer table, shorter table."""
    host.dma(0xC8, 0, 64, (BUFFER, 0x8000))
    host.advance(100_000)
    assert host.bm(2) == 0x01
    assert host.finish() == (0x04, 0x50)
    host.dma(0xC8, 0, 8, (BUFFER, 0x2000))
    assert host.finish() == (0x05, 0x50)
    host.dma(0xC8, 0, 8, (BUFFER, 0x800))
    host.advance(1_000_000)
    assert (host.bm(2), host.alt()) == (0x00, 0x58)


def test_a_stop_in_the_middle(host: Host) -> None:
    """What had moved has moved; the drive waits for ever, and starting again is no resuming."""
    data = bytes(range(256)) * 0x400
    host.drives[0, 0].disk.writev(0, [memoryview(data)])
    host.dma(0x25, 0, 512, *((BUFFER + 0x10000 * n, 0x10000) for n in range(4)), ext=True)
    host.advance(40_000 + 2 * 655_360 + 100_000)
    host.bm(0, 0)
    assert host.peek(BUFFER, 0x40000) == data[:0x20000] + bytes(0x20000)
    host.advance(50_000_000)
    assert (host.alt(), host.bm(2)) == (0x58, 0x00)
    assert host.peek(BUFFER + 0x20000, 0x20000) == bytes(0x20000)


def test_a_reset_in_the_middle_of_a_write(host: Host) -> None:
    """Regions that had their time when SRST came are on the disk, the others are not; nothing moves after it."""
    data = host.fill(BUFFER, 0x40000)
    host.dma(0x35, 0, 512, *((BUFFER + 0x10000 * n, 0x10000) for n in range(4)), write=True, ext=True)
    host.advance(40_000 + 3 * 655_360 + 100_000)
    host.control(0x04)
    host.advance(50_000_000)
    view = memoryview(bytearray(0x40000))
    host.drives[0, 0].disk.readv(0, [view])
    assert bytes(view) == data[:0x30000] + bytes(0x10000)


def test_qemu_stops_when_it_is_done(make_host: Make) -> None:
    """The port write waits for the end of the transfer."""
    host = make_host(personality=QEMU)
    host.drives[0, 0].disk.writev(0, [memoryview(b"\5" * 0x1000)])
    host.dma(0xC8, 0, 8, (BUFFER, 0x1000))
    host.advance(45_000)
    assert host.alt() == 0x58
    host.bm(0, 0)
    assert (host.alt(), host.bm(2), host.peek(BUFFER, 0x1000)) == (0x50, 0x04, b"\5" * 0x1000)


@pytest.mark.parametrize(("personality", "found", "delivered"), [
    (REAL, ((0x05, 0x51), 0x40, 130), 128), (QEMU, ((0x04, 0x41), 0x04, 0), 0)], ids=["real", "qemu"])
def test_a_bad_sector_by_dma(make_host: Make, personality: Any, found: tuple[object, ...], delivered: int) -> None:
    """UNC at the sector, what came before it is in memory; QEMU delivers nothing."""
    host = make_host(personality=personality)
    host.drives[0, 0].disk.writev(0, [memoryview(b"\7" * 512 * 256)])
    host.drives[0, 0].disk.inject(disk_faults.medium_error(130))
    host.dma(0xC8, 0, 256, (BUFFER, 0x10000), (BUFFER + 0x10000, 0x10000))
    assert (host.finish(), host.inb(ERROR), lba(host)) == found
    assert host.peek(BUFFER, 512 * delivered) == b"\7" * 512 * delivered
    assert host.peek(BUFFER + 0x10000 + 1024, 1024) == bytes(1024)


@pytest.mark.parametrize(("personality", "found"), [(REAL, (0x01, 0x58)), (QEMU, (0x05, 0x50))], ids=["real", "qemu"])
def test_bus_mastering_off(make_host: Make, personality: Any, found: tuple[int, int]) -> None:
    """It never gets the bus; QEMU says that all is well, and nothing has moved."""
    host = make_host(personality=personality)
    memory = host.fill(BUFFER, 0x1000)
    host.function.config_write(0x04, 2, 0x1)
    host.dma(0xC8, 0, 8, (BUFFER, 0x1000))
    host.rest(10)
    assert (host.bm(2), host.alt()) == found
    assert host.peek(BUFFER, 0x1000) == memory


def test_memory_that_was_not_granted(host: Host) -> None:
    """A fault, for data and for the table itself."""
    host.dma(0xC8, 0, 8, (0x1000, 0x1000))
    with pytest.raises(DmaFault):
        host.rest()


REFUSED = {
    "odd address": (((BUFFER + 1, 0x1000),), "both must be even"),
    "odd count": (((BUFFER, 0xFFF), (BUFFER + 0x1000, 1)), "both must be even"),
    "over a boundary": (((BUFFER + 0xF000, 0x2000),), "no region crosses"),
}


@pytest.mark.parametrize(("regions", "why"), REFUSED.values(), ids=REFUSED)
def test_tables_nobody_may_write(host: Host, regions: tuple[tuple[int, int], ...], why: str) -> None:
    """What the data sheet forbids is a fault."""
    host.dma(0xC8, 0, 16, *regions)
    with pytest.raises(HardwareFault, match=why):
        host.rest()


def test_a_table_over_a_boundary(host: Host) -> None:
    """The table itself crosses no multiple of 64 KiB."""
    at = TABLE + 0x10000 - 8
    host.table((BUFFER, 0x800), (BUFFER + 0x800, 0x800), at=at)
    host.bm(0, 0x08)
    host.command(0xC8, 0, 8)
    host.bm(0, 0x09)
    with pytest.raises(HardwareFault, match=f"PRD table at {at:#x}: it crosses a multiple of 64 KiB"):
        host.rest()


def test_flags_nobody_knows(host: Host) -> None:
    """Only the end of the table is marked."""
    host.table((BUFFER, 0x1000))
    host.machine.memory.write(TABLE + 6, b"\1\x80")
    host.bm(0, 0x08)
    host.command(0xC8, 0, 8)
    host.bm(0, 0x09)
    with pytest.raises(HardwareFault, match="FLAGS 0x8001, only bit 15 may be set"):
        host.rest()


def test_qemu_reads_a_page_of_table(make_host: Make) -> None:
    """512 entries; what comes after them is not there."""
    host = make_host(personality=QEMU)
    host.dma(0xC8, 0, 513, *((BUFFER + 512 * n, 512) for n in range(513)), ext=False)
    assert host.finish()[0] == 0x05      # 1 sector: 513 is 1 in one byte
    host.dma(0x25, 0, 513, *((BUFFER + 512 * n, 512) for n in range(513)), ext=True)
    assert (host.finish(), host.inb(NSECTOR)) == ((0x00, 0x50), 1)


@pytest.mark.parametrize("write", [False, True])
def test_the_wrong_direction(host: Host, write: bool) -> None:
    """RWCON against the command: a fault."""
    host.dma(0xC8 if write else 0xCA, 0, 8, (BUFFER, 0x1000), write=write)
    with pytest.raises(HardwareFault, match=r"BMICX.RWCON does not go with command 0xc[8a]"):
        host.rest()


def test_the_direction_stays_while_it_is_active(host: Host) -> None:
    """A change is a fault."""
    host.dma(0xC8, 0, 256, (BUFFER, 0x10000), (BUFFER + 0x10000, 0x10000))
    with pytest.raises(HardwareFault, match="BMICX <- 0x01 of channel 0: RWCON changes while it is active"):
        host.bm(0, 0x01)


# -- timing ------------------------------------------------------------------------------------------------------------


def transfer(host: Host, mode: int) -> None:
    """A read by DMA in a mode that the host has set."""
    assert host.run(0xEF, 0, mode, 0x03) == 0x50
    host.bm(2, 0x04)
    host.dma(0xC8, 0, 8, (BUFFER, 0x1000))
    assert host.finish() == (0x04, 0x50)


@pytest.mark.parametrize(("chip", "mode", "registers"), [
    (PIIX3, 0x22, {0x40: 0xA307}), (PIIX3, 0x21, {0x40: 0xA107}), (PIIX3, 0x22, {0x40: 0x8000}),
    (PIIX4, 0x42, {0x48: 0x01, 0x4A: 0x0002}), (PIIX4, 0x40, {0x48: 0x01, 0x4A: 0x0000}),
])
def test_timing_that_fits(make_host: Make, chip: Any, mode: int, registers: dict[int, int]) -> None:
    """As fast as the mode, or slower; Ultra DMA exactly."""
    host = make_host(chip=chip)
    for at, value in registers.items():
        host.function.config_write(at, 1 if at == 0x48 else 2, value)
    transfer(host, mode)


@pytest.mark.parametrize(("chip", "mode", "registers", "why"), [
    (PIIX3, 0x21, {0x40: 0xA307}, "IDETIM is too fast: ISP 2, RTC 3"),
    (PIIX3, 0x42, {}, "UDMACTL does not enable Ultra DMA for it"),
    (PIIX4, 0x42, {0x4A: 0x0002}, "UDMACTL does not enable Ultra DMA for it"),
    (PIIX4, 0x42, {0x48: 0x01, 0x4A: 0x0001}, "UDMATIM has mode 1"),
    (PIIX4, 0x22, {0x48: 0x01}, "UDMACTL enables Ultra DMA for it"),
])
def test_timing_that_does_not(make_host: Make, chip: Any, mode: int, registers: dict[int, int], why: str) -> None:
    """A mode that the host sets and the interface is not programmed for is a fault, once data is to move."""
    host = make_host(chip=chip)
    for at, value in registers.items():
        host.function.config_write(at, 1 if at == 0x48 else 2, value)
    with pytest.raises(HardwareFault, match=f"DMA with drive 0 of channel 0 in mode {mode:#x}: {why}"):
        transfer(host, mode)
