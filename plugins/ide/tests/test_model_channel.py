"""The model's channels: who answers at which port, selection, the interrupt line, SRST, what the strict one refuses."""

from __future__ import annotations

import pytest

from ddsdk.errors import HardwareFault, RegisterAccessFault
from ddsdk.sim import disk_faults
from ddsdk.sim.ata_drive import AtaDrive
from ddsdk_ide.chips import PIIX3, PIIX4
from ddsdk_ide.model_personality import QEMU, REAL
from plugins.ide.tests.driver_rig import PERSONALITIES
from plugins.ide.tests.host import (
    BUFFER,
    COMMAND,
    DATA,
    DEVICE,
    ERROR,
    HOB,
    LBAH,
    LBAL,
    LBAM,
    MS,
    NIEN,
    NSECTOR,
    SRST,
    STATUS,
    Host,
    Make,
)

ALL_FOUR = ((0, 0), (0, 1), (1, 0), (1, 1))


# -- decoding ----------------------------------------------------------------------------------------------------------


def test_nothing_is_decoded_before_firmware_or_driver_says_so(make_host: Make) -> None:
    """IDETIM bit 15 of a channel, COMMAND bit 0: without them its ports read all ones and lose what is written."""
    host = make_host()
    host.function.config_write(0x40, 2, 0x0000)
    host.outb(NSECTOR, 0x55)
    assert (host.inb(NSECTOR), host.alt(), host.function.window(0).read(DATA, 2)) == (0xFF, 0xFF, 0xFFFF)
    assert host.bm(2) == 0x00
    host.function.config_write(0x40, 2, 0x8000)
    assert (host.inb(NSECTOR), host.alt()) == (0x01, 0x50)
    host.function.config_write(0x04, 2, 0x4)
    assert (host.inb(NSECTOR), host.alt(), host.bm(2)) == (0xFF, 0xFF, 0xFF)


def test_qemu_decodes_whatever_idetim_says(make_host: Make) -> None:
    """Its writes stick, and mean nothing."""
    host = make_host(personality=QEMU)
    host.function.config_write(0x40, 2, 0x0000)
    assert host.alt() == 0x50


@pytest.mark.parametrize(("chip", "kept"), [(PIIX3, 0), (PIIX4, 0x3333_000F)], ids=["piix3", "piix4"])
def test_which_configuration_bits_stick(make_host: Make, chip: object, kept: int) -> None:
    """IDETIM without its reserved bits, SIDETIM; Ultra DMA registers on PIIX4 alone."""
    function = make_host(chip=chip).function
    for at in (0x40, 0x44, 0x48):
        function.config_write(at, 4, 0xFFFF_FFFF)
    assert [function.config_read(at, 4) for at in (0x40, 0x44, 0x48)] == [0xF3FF_F3FF, 0xFF, kept]


def test_bars(host: Host) -> None:
    """Both channels at the ports of old, in no base address register; the bus master where it was put."""
    bars = host.function.bars
    assert [(bar.kind, bar.size) for bar in bars if bar] == [("io", 8), ("io", 1), ("io", 8), ("io", 1), ("io", 16)]
    assert [bar.bus_addr for bar in bars[:4] if bar] == [0x1F0, 0x3F6, 0x170, 0x376]
    assert [host.function.config_read(at, 4) for at in (0x10, 0x14, 0x18, 0x1C)] == [0, 0, 0, 0]
    assert host.function.config_read(0x08, 4) >> 8 == 0x010180


@pytest.mark.parametrize(("bar", "offset", "size"), [(0, 1, 2), (0, 4, 4), (1, 0, 2), (4, 5, 1), (4, 2, 2)])
def test_registers_have_one_width(host: Host, bar: int, offset: int, size: int) -> None:
    """Anything else is a fault."""
    with pytest.raises(RegisterAccessFault):
        host.function.window(bar).read(offset, size)


# -- registers ---------------------------------------------------------------------------------------------------------


def test_registers_are_two_deep(host: Host) -> None:
    """HOB shows the byte written before the last one; a write to the command block ends it."""
    for value in (0x12, 0x34):
        host.outb(LBAL, value)
    host.control(HOB)
    assert host.inb(LBAL) == 0x12
    host.outb(LBAM, 0)
    assert host.inb(LBAL) == 0x34


def test_both_drives_take_what_is_written(make_host: Make) -> None:
    """A register written with drive 0 selected reads back from drive 1."""
    host = make_host(places=((0, 0), (0, 1)))
    host.outb(LBAH, 0x77)
    host.outb(DEVICE, 0xB0)
    assert (host.inb(LBAH), host.inb(DEVICE), host.alt()) == (0x77, 0xB0, 0x50)


@pytest.mark.parametrize(("personality", "slave", "empty"), [(REAL, 0x00, 0x7F), (QEMU, 0xFF, 0x00)],
                         ids=["real", "qemu"])
def test_nobody_there(make_host: Make, personality: object, slave: int, empty: int) -> None:
    """Drive 0 says 00 for a drive 1 that is not there; an empty cable floats, in QEMU it is silent."""
    host = make_host(personality=personality)
    host.outb(DEVICE, 0xB0)
    assert (host.alt(), host.inb(STATUS), host.inb(ERROR), host.inb(LBAM)) == (0, 0, 0, slave)
    host.outb(COMMAND, 0xEC)
    host.advance(MS)
    assert host.alt() == 0
    host.channel = 1
    assert {host.alt(), *(host.inb(register) for register in range(ERROR, STATUS + 1))} == {empty}


def test_a_slave_without_a_master(make_host: Make) -> None:
    """Nobody answers for drive 0; drive 1 does for itself."""
    host = make_host(places=((0, 1),))
    assert (host.alt(), host.inb(NSECTOR)) == (0x7F, 0x7F)
    host.outb(DEVICE, 0xB0)
    assert host.run(0xE5, unit=1) == 0x50


def test_an_absent_drive_is_no_drive(make_host: Make) -> None:
    """AtaDrive.present False: nothing is plugged in there."""
    host = make_host()
    disk = host.drives[0, 0].disk
    gone = AtaDrive(disk)
    gone.present = False
    from ddsdk_ide.model import PiixIde

    assert PiixIde({(0, 0): gone}).channels[0].sides == {}


def test_four_drives_know_nothing_of_each_other(make_host: Make) -> None:
    """A sector written to each at the same place."""
    host = make_host(places=ALL_FOUR)
    for channel, unit in ALL_FOUR:
        host.channel = channel
        data = host.fill(BUFFER, 512, 1 + 2 * channel + unit)
        host.dma(0xCA, 5, 1, (BUFFER, 512), write=True, unit=unit)
        assert host.finish() == (0x04, 0x50)
        found = bytearray(512)
        host.drives[channel, unit].disk.readv(5, [memoryview(found)])
        assert found == data
    firsts = set()
    for drive in host.drives.values():
        found = bytearray(512)
        drive.disk.readv(5, [memoryview(found)])
        firsts.add(bytes(found))
    assert len(firsts) == 4


# -- the interrupt -----------------------------------------------------------------------------------------------------


def test_a_command_s_interrupt(host: Host) -> None:
    """The line rises at its end; the status ends it, the alternate status does not; BMISX remembers until told."""
    line = host.function.irq_line
    assert line is not None
    host.command(0xE5)
    host.rest()
    assert (line.level, host.bm(2)) == (True, 0x04)
    host.inb(STATUS)
    assert (line.level, host.bm(2)) == (False, 0x04)
    host.bm(2, 0x04)
    assert host.bm(2) == 0x00


def test_a_cleared_event_waits_for_the_next_rise(host: Host) -> None:
    """Cleared while the line is up it stays 0 (82371AB, 5.2.2)."""
    host.command(0xE5)
    host.rest()
    host.bm(2, 0x04)
    assert host.bm(2) == 0x00
    host.inb(STATUS)
    host.run(0xE5)
    assert host.bm(2) == 0x04


def test_nien_holds_the_line_down(host: Host) -> None:
    """And BMISX knows nothing; when it is lifted a pending interrupt rises."""
    line = host.function.irq_line
    assert line is not None
    host.control(NIEN)
    host.command(0xE5)
    host.rest()
    assert (line.level, host.bm(2)) == (False, 0x00)
    host.control(0)
    assert (line.level, host.bm(2)) == (True, 0x04)


def test_only_the_selected_drive_drives_the_line(make_host: Make) -> None:
    """Deselected with an interrupt pending it lets go."""
    host = make_host(places=((0, 0), (0, 1)))
    line = host.function.irq_line
    assert line is not None
    host.command(0xE5)
    host.rest()
    host.outb(DEVICE, 0xB0)
    assert line.level is False
    host.outb(DEVICE, 0xA0)
    assert line.level is True


def test_a_new_command_ends_the_interrupt_of_the_last_one(host: Host) -> None:
    """ATA/ATAPI-6, 7.4: the write to COMMAND."""
    host.command(0xE5)
    host.rest()
    host.outb(COMMAND, 0xE5)
    assert host.function.irq_line is not None
    assert host.function.irq_line.level is False


def test_bsy_takes_400_ns_to_show(host: Host) -> None:
    """Who looks at once sees the old status."""
    host.outb(DEVICE, 0xE0)
    host.outb(COMMAND, 0xE5)
    assert host.alt() == 0x50
    host.advance(400)
    assert host.alt() == 0x80


# -- SRST --------------------------------------------------------------------------------------------------------------


@PERSONALITIES
def test_srst_resets_both_drives(make_host: Make, personality: object) -> None:
    """Whatever was under way is gone, error 01, the signature, and settings are those of power-on."""
    host = make_host(places=((0, 0), (0, 1)), personality=personality)
    assert host.run(0xC6, 0, 8) == 0x50
    host.command(0x20, 5, 2)
    host.drq()
    host.data(100)
    assert host.reset() == 0x50
    assert [host.inb(register) for register in (ERROR, NSECTOR, LBAL, LBAM, LBAH)] == [1, 1, 1, 0, 0]
    assert host.drives[0, 0].multiple == 16
    assert host.run(0xE5, unit=1) == 0x50


def test_srst_has_to_be_held(host: Host) -> None:
    """5 us; less is a fault."""
    host.control(SRST)
    host.advance(4999)
    with pytest.raises(HardwareFault, match="SRST was set for 4999 ns"):
        host.control(0)


def test_srst_in_the_middle_of_a_transfer(make_host: Make) -> None:
    """The drive lets go at once, the bus master notices nothing: it is active until it is stopped."""
    host = make_host()
    host.dma(0xC8, 0, 256, (BUFFER, 0x10000), (BUFFER + 0x10000, 0x10000))
    host.advance(700_000)
    assert (host.alt(), host.bm(2)) == (0xD0, 0x01)
    assert host.reset() == 0x50
    assert host.bm(2) == 0x01
    host.bm(0, 0)
    assert host.bm(2) == 0x00


def test_qemu_finishes_the_transfer_first(make_host: Make) -> None:
    """All data is there when SRST was written, BMISX is 0, BMICX keeps its value."""
    host = make_host(personality=QEMU)
    host.drives[0, 0].disk.writev(0, [memoryview(bytes(range(256)) * 512)])
    host.dma(0xC8, 0, 256, (BUFFER, 0x10000), (BUFFER + 0x10000, 0x10000))
    host.advance(100_000)
    assert (host.alt(), host.bm(2)) == (0x58, 0x01)
    host.control(SRST)
    assert host.peek(BUFFER, 0x20000) == bytes(range(256)) * 512
    assert (host.bm(2), host.bm(0)) == (0x00, 0x09)


def test_a_drive_s_hang_ends_with_srst(host: Host) -> None:
    """BSY until then."""
    host.drives[0, 0].disk.inject(disk_faults.hang())
    host.command(0x20, 5, 1)
    host.advance(60_000 * MS)
    assert host.alt() == 0x80
    assert host.reset() == 0x50


# -- what nobody may do ------------------------------------------------------------------------------------------------


def test_a_command_while_busy(host: Host) -> None:
    """Undefined by the standard: a fault."""
    host.command(0xE5)
    with pytest.raises(HardwareFault, match="COMMAND <- 0xe5 while STATUS of drive 0 is 0x80"):
        host.outb(COMMAND, 0xE5)


def test_another_drive_is_selected_at_rest_only(host: Host) -> None:
    """The device register while BSY or DRQ is set: a fault."""
    host.command(0xE5)
    with pytest.raises(HardwareFault, match="DEVICE <- 0xb0 while STATUS is 0x80"):
        host.outb(DEVICE, 0xB0)


@pytest.mark.parametrize("write", [False, True])
def test_the_data_port_without_drq(host: Host, write: bool) -> None:
    """A fault, whichever way."""
    with pytest.raises(HardwareFault, match=r"the data port is (read|written) while STATUS of drive 0 is 0x50"):
        host.put_data(bytes(4)) if write else host.data(1)


def test_qemu_lets_it_pass(make_host: Make) -> None:
    """Commands are ignored while a block waits, the data port gives 0."""
    host = make_host(personality=QEMU)
    host.command(0x20, 5, 1)
    host.drq()
    host.outb(DEVICE, 0xB0)
    host.outb(COMMAND, 0xE5)
    assert (host.alt(), host.inb(DEVICE)) == (0x58, 0xE0)
    host.data(256)
    assert (host.alt(), host.data(1)) == (0x50, b"\0\0")
    host.put_data(bytes(4))
