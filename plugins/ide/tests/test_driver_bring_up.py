"""Probe: from whatever state somebody left the interface in, to channels whose drives answer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ddsdk.ata.taskfile import WIN_CHECKPOWERMODE1, XFER_MW_DMA_0, XFER_PIO_0, XFER_UDMA_0, control
from ddsdk.helperlib.kernel import PciDev
from ddsdk_ide.chips import PIIX3, PIIX4
from ddsdk_ide.timing import piix_speedproc
from plugins.ide.tests.driver_rig import BOTH, DATA, PERSONALITIES, Make, Rig, refusal

COMMAND, IDETIM, SIDETIM, UDMACTL, UDMATIM = 0x04, 0x40, 0x44, 0x48, 0x4A
ALL_FOUR = ((0, 0), (0, 1), (1, 0), (1, 1))


@BOTH
@PERSONALITIES
def test_probe(make: Make, chip: object, personality: object) -> None:
    """Two channels that know each other, the drive found by interrupts, data by DMA in the best common mode."""
    rig = make(chip, personality=personality).probe()
    primary, secondary = rig.hwifs
    assert (primary.channel, secondary.channel, primary.mate, secondary.mate) == (0, 1, secondary, primary)
    assert rig.function.config_read(COMMAND, 2) & 0x5 == 0x5
    drive = rig.drive
    assert (drive.name, drive.lba48, drive.mult_count) == ("piix0:0:0", True, 16)
    assert drive.current_speed == (0x42 if chip is PIIX4 else 0x22)
    assert rig.kernel.log[0] == f"{rig.piix_name}: channel 1: no drives"
    info = primary.port_info
    assert (info.max_sectors, info.sg_tablesize, info.dma_alignment, info.mwdma_mask) == (2048, 248, 1, 0x06)
    assert info.ultra_mask == (0x07 if chip is PIIX4 else 0)


def test_every_place(make: Make) -> None:
    """Four drives, by channel and unit."""
    rig = make(places=ALL_FOUR).probe()
    assert rig.drive
    assert [(drive.hwif.channel, drive.unit) for drive in rig.found] == list(ALL_FOUR)
    assert all(drive.online for drive in rig.found)


@pytest.mark.parametrize("place", ALL_FOUR)
def test_one_drive_at_any_place(make: Make, place: tuple[int, int]) -> None:
    """A slave without a master, too."""
    rig = make(places=(place,)).probe()
    assert rig.run(rig.task(control(place[1], WIN_CHECKPOWERMODE1))).status == 0x50
    assert [(drive.hwif.channel, drive.unit) for drive in rig.found] == [place]


# -- decoding ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after", "channels"), [
    (0x0000_0000, 0x8000_8000, (0, 1)), (0x0000_8000, 0x0000_8000, (0,)), (0x8000_0000, 0x8000_0000, (1,)),
    (0xA307_A307, 0xA307_A307, (0, 1)),
])
def test_channels_that_firmware_enabled(make: Make, before: int, after: int, channels: tuple[int, ...]) -> None:
    """Those are used; where it enabled none it never ran, and both are."""
    rig = make(places=ALL_FOUR)
    rig.function.config_write(IDETIM, 4, before)
    rig.probe()
    assert rig.function.config_read(IDETIM, 4) == after
    assert tuple(hwif.channel for hwif in rig.hwifs) == channels
    assert (rig.hwifs[0].mate is None) is (len(channels) == 1)


# -- from any state ----------------------------------------------------------------------------------------------------


def taskfile(rig: Rig, code: int, sectors: int, unit: int = 0) -> None:
    """A command of somebody else's."""
    for register, value in ((2, sectors), (3, 0), (4, 0), (5, 0), (6, 0xE0 | unit << 4), (7, code)):
        rig.port(0, register, value)
    rig.machine.clock.advance(1000)


def busy_by_dma(rig: Rig) -> None:
    """The bus master is active in the middle of a read, into memory that was somebody's."""
    rig.function.dma_grant(DATA, 0x20000)
    rig.machine.memory.write(0x90000, bytes.fromhex("00001000" "0000" "0000" "00001100" "0000" "0080"))
    rig.function.dma_grant(0x90000, 4096)
    rig.port(4, 4, 0x90000, 4)
    rig.port(4, 0, 0x08)
    taskfile(rig, 0xC8, 0)
    rig.port(4, 0, 0x09)
    rig.machine.clock.advance(700_000)


def dma_over(rig: Rig) -> None:
    """A transfer is done and nobody looked: BMICX 09, BMISX 04, the line up."""
    busy_by_dma(rig)
    rig.machine.clock.advance(50_000_000)


def block_waits(rig: Rig) -> None:
    """A block of a read is half read."""
    taskfile(rig, 0x20, 4)
    rig.machine.clock.advance(1_000_000)
    for _ in range(100):
        rig.port(0, 0, size=2)


def block_wanted(rig: Rig) -> None:
    """A write waits for its second block."""
    taskfile(rig, 0x30, 4)
    rig.machine.clock.advance(1_000_000)
    for _ in range(256):
        rig.port(0, 0, 0xAAAA, 2)
    rig.machine.clock.advance(1_000_000)


def in_reset(rig: Rig) -> None:
    """SRST is set."""
    rig.port(1, 0, 0x04)


def high_order(rig: Rig) -> None:
    """HOB and nIEN are set, the slave is selected, the registers are full of something."""
    for register in range(1, 6):
        rig.port(0, register, 0x5A)
    rig.port(0, 6, 0xFF)
    rig.port(1, 0, 0x82)


def asleep(rig: Rig) -> None:
    """SLEEP: nothing but a reset wakes it."""
    taskfile(rig, 0xE6, 0)
    rig.machine.clock.advance(100_000_000)


def failed(rig: Rig) -> None:
    """The last command ended in an error, its interrupt is pending."""
    taskfile(rig, 0xFE, 0)
    rig.machine.clock.advance(1_000_000)


STATES: tuple[Callable[[Rig], None], ...] = (busy_by_dma, dma_over, block_waits, block_wanted, in_reset, high_order,
                                             asleep, failed)


@PERSONALITIES
@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
def test_any_state(make: Make, state: Callable[[Rig], None], personality: object) -> None:
    """Stopped, masked, reset: then commands work, no old interrupt is left, and memory of before stays as it is."""
    rig = make(personality=personality).power_up()
    state(rig)
    rig.probe()
    memory = rig.machine.memory.read(DATA, 0x20000)
    assert rig.model.irq.level is False
    assert (rig.port(4, 0) & 0x01, rig.port(4, 2)) == (0, 0x00)
    data = rig.fill(0x200000, 4096)
    rig.run(rig.rw(True, 8, [(0x200000, 4096)]))
    assert rig.on_disk(8, 4096) == data
    assert rig.machine.memory.read(DATA, 0x20000) == memory


def test_the_notes_about_the_drives_are_kept(make: Make) -> None:
    """DMA0CAP and DMA1CAP are somebody's."""
    rig = make().power_up()
    rig.port(4, 2, 0x60)
    rig.probe()
    rig.run(rig.rw(False, 0, [(DATA, 4096)]))
    assert rig.port(4, 2) == 0x60


def test_a_drive_that_is_slow_to_come_back(make: Make) -> None:
    """20 s are waited for."""
    rig = make()
    rig.model.faults.inject("reset-slow")
    assert rig.probe().drive.online


# -- refusals ----------------------------------------------------------------------------------------------------------


def test_it_is_not_there(make: Make) -> None:
    """All ones from configuration space."""
    rig = make()
    rig.function.remove()
    rig.pdev = PciDev(rig.kernel, rig.function)
    assert refusal(rig).endswith("does not answer configuration cycles; is it seated and powered?")


def test_nobody_decodes_the_bus_master(make: Make) -> None:
    """BMISX has bits that are always 0."""
    rig = make()
    rig.model.faults.inject("adapter-gone")
    assert refusal(rig) == f"{rig.piix_name}: BMISX reads all ones: nobody decodes its ports; is BAR 4 assigned?"


def test_no_drive_comes_back(make: Make) -> None:
    """Both channels, twice 31 s each; the last word of the log is in the reason."""
    rig = make(places=((0, 0), (1, 0)))
    rig.model.faults.inject("reset-hangs", times=0)
    assert refusal(rig) == (f"{rig.piix_name}: the reset failed: {rig.piix_name}: channel 1: busy for 31 s after a soft"
                            " reset; is the drive's cable plugged in?")
    assert 124 < rig.machine.clock.now_ns / 1e9 < 126


def test_one_channel_of_two(make: Make) -> None:
    """The drive of the other one is found; the dead one's is not waited for."""
    rig = make(places=((1, 0), (0, 0)))
    rig.model.faults.inject("reset-hangs", times=2)
    rig.probe()
    assert [(drive.hwif.channel, drive.unit) for drive in (rig.drive, *rig.found[1:])] == [(1, 0)]


def test_a_slave_that_stays_busy(make: Make) -> None:
    """Tried twice; then reset once more and not selected again, so that the master can be used alone."""
    rig = make(places=((0, 0), (0, 1)))
    rig.model.faults.inject("drive-1-busy", times=0)
    rig.probe()
    assert rig.drive.online
    assert rig.found == [rig.drive]
    assert rig.kernel.log.count(f"{rig.piix_name}: channel 0: drive 1 stays busy after a soft reset") == 2


def test_a_drive_that_says_it_is_broken(make: Make) -> None:
    """Once is tried again; the log says what the code was."""
    rig = make()
    rig.model.faults.inject("reset-diagnosis")
    assert rig.probe().drive.online
    assert rig.kernel.log[0] == f"{rig.piix_name}: channel 0: drive 0 failed its diagnosis, code 02"


def test_no_interrupt_line(make: Make) -> None:
    """Accepted, and said."""
    rig = make()
    rig.function.irq_line = None
    rig.probe()
    assert rig.kernel.log[-1] == f"{rig.piix_name}: channel 1: no interrupt line; commands end by polling only"


# -- timing ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("place", "speed", "idetim", "sidetim"), [
    ((0, 0), XFER_MW_DMA_0 + 1, 0x8000_A10F, 0x00), ((0, 0), XFER_MW_DMA_0 + 2, 0x8000_A30F, 0x00),
    ((0, 1), XFER_MW_DMA_0 + 1, 0x8000_C0F0, 0x09), ((0, 1), XFER_MW_DMA_0 + 2, 0x8000_C0F0, 0x0B),
    ((1, 0), XFER_MW_DMA_0 + 2, 0xA30F_8000, 0x00), ((1, 1), XFER_MW_DMA_0 + 2, 0xC0F0_8000, 0xB0),
])
@BOTH
def test_multiword_timing(make: Make, chip: object, place: tuple[int, int], speed: int, idetim: int,
                          sidetim: int) -> None:
    """The values of piix.c, for DMA only; the slave's in SIDETIM."""
    rig = make(chip, places=(place,)).probe()
    drive = rig.hwif.drives[place[1]]
    assert piix_speedproc(drive, speed) == 0
    assert (rig.function.config_read(IDETIM, 4), rig.function.config_read(SIDETIM, 1)) == (idetim, sidetim)


@pytest.mark.parametrize(("place", "mode", "ctl", "tim"), [
    ((0, 0), 2, 0x01, 0x0002), ((0, 1), 1, 0x02, 0x0010), ((1, 0), 2, 0x04, 0x0200), ((1, 1), 0, 0x08, 0x0000)])
def test_ultra_timing(make: Make, place: tuple[int, int], mode: int, ctl: int, tim: int) -> None:
    """Enable bit and cycle time of each drive; a slower mode takes the bit away again."""
    rig = make(PIIX4, places=(place,)).probe()
    drive = rig.hwif.drives[place[1]]
    assert piix_speedproc(drive, XFER_UDMA_0 + mode) == 0
    assert (rig.function.config_read(UDMACTL, 1), rig.function.config_read(UDMATIM, 2)) == (ctl, tim)
    assert piix_speedproc(drive, XFER_MW_DMA_0 + 2) == 0
    assert rig.function.config_read(UDMACTL, 1) == 0


@pytest.mark.parametrize(("chip", "speed"), [
    (PIIX3, XFER_UDMA_0), (PIIX4, XFER_UDMA_0 + 3), (PIIX3, XFER_MW_DMA_0), (PIIX4, XFER_PIO_0 + 4)])
def test_modes_nobody_programs(make: Make, chip: object, speed: int) -> None:
    """-EINVAL, and nothing is written."""
    rig = make(chip).probe()
    before = rig.function.config_read(IDETIM, 4)
    assert piix_speedproc(rig.hwif.drives[0], speed) == -22
    assert rig.function.config_read(IDETIM, 4) == before
