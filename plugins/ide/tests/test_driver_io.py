"""Commands: every way data moves, at every place, by interrupt and by poll; scatter lists; nobody there."""

from __future__ import annotations

import pytest

from ddsdk.ata.host import ide_started, ide_stopped
from ddsdk.ata.taskfile import (
    AC_ERR_INVALID,
    AC_ERR_NODEV_HINT,
    TASKFILE_IN,
    WIN_CHECKPOWERMODE1,
    WIN_IDENTIFY,
    control,
)
from ddsdk_ide.adapter import MAX_SECTORS, SG_TABLESIZE
from ddsdk_ide.interrupt import piix_interrupt
from plugins.ide.tests.driver_rig import BOTH, DATA, PERSONALITIES, Make, Rig

PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))
#: How a drive can be set up: (DMA, sectors a block).
WAYS = {"dma": (True, 16), "multiple": (False, 16), "single": (False, 0)}


def set_up(rig: Rig, way: str, lba48: bool = True) -> None:
    """From here on data moves so."""
    rig.drive.using_dma, rig.drive.mult_count = WAYS[way]
    rig.drive.lba48 = lba48


def there_and_back(rig: Rig, sector: int, sg: list[tuple[int, int]]) -> None:
    """A write of *sg*, compared with the disk; a read into the same memory, compared with what was written."""
    total, pieces = sum(length for _, length in sg), list[bytes]()
    for number, (paddr, length) in enumerate(sg):
        pieces.append(rig.fill(paddr, length, number + sector))
    task = rig.run(rig.rw(True, sector, sg))
    assert (rig.why(task), task.resid) == ("", 0)
    assert rig.on_disk(sector, total) == b"".join(pieces)
    for paddr, length in sg:
        rig.machine.memory.write(paddr, bytes(length))
    task = rig.run(rig.rw(False, sector, sg))
    assert (rig.why(task), task.resid) == ("", 0)
    assert [rig.machine.memory.read(*segment) for segment in sg] == pieces


@PERSONALITIES
@pytest.mark.parametrize("crash", [False, True], ids=["by interrupt", "by poll"])
@pytest.mark.parametrize("lba48", [False, True], ids=["28 bits", "48 bits"])
@pytest.mark.parametrize("way", WAYS)
def test_there_and_back(make: Make, way: str, lba48: bool, crash: bool, personality: object) -> None:
    """A sector, a page, 21 sectors in three pieces."""
    rig = make(personality=personality).probe()
    if crash:
        rig.take_over()
    set_up(rig, way, lba48)
    there_and_back(rig, 5, [(DATA, 512)])
    there_and_back(rig, 100, [(DATA, 4096)])
    there_and_back(rig, 200, [(DATA, 4096), (DATA + 0x3000, 2560), (DATA + 0x8000, 4096)])


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", ["dma", "multiple"])
@BOTH
def test_at_every_place(make: Make, chip: object, way: str, place: tuple[int, int]) -> None:
    """Master and slave of both channels, the other three there as well."""
    rig = make(chip, places=(place, *(other for other in PLACES if other != place))).probe()
    assert rig.drive
    set_up(rig, way)
    there_and_back(rig, 40, [(DATA, 8192)])
    rig.take_over()
    set_up(rig, way)
    there_and_back(rig, 60, [(DATA, 8192)])
    assert {rig.disks[other].unsynced for other in PLACES if other != place} == {0}


@pytest.mark.parametrize("way", WAYS)
def test_odd_pieces(make: Make, way: str) -> None:
    """Pieces that are no double words, over page and 64 KiB boundaries."""
    rig = make().probe().take_over()
    set_up(rig, way)
    there_and_back(rig, 9, [(DATA + 0xFFE, 6), (DATA + 0xFFF0, 0x1002), (DATA + 0x20002, 0x3F8)])


def test_the_worst_scatter_list(make: Make) -> None:
    """Every segment over a multiple of 64 KiB; then as many segments as promised."""
    rig = make().probe().take_over()
    there_and_back(rig, 0, [(0x10000 * (n + 2) - 1024, 4096) for n in range(120)])
    there_and_back(rig, 0, [(DATA + 0x2000 * n, 512) for n in range(SG_TABLESIZE)])


@pytest.mark.parametrize(("way", "lba48", "sectors"), [("dma", True, MAX_SECTORS), ("dma", False, 256),
                                                     ("multiple", False, 256)])
def test_the_longest_command(make: Make, way: str, lba48: bool, sectors: int) -> None:
    """1 MiB in one piece; 256 sectors, which are 0 in one byte."""
    rig = make().probe().take_over()
    set_up(rig, way, lba48)
    there_and_back(rig, 1000, [(DATA, sectors * 512)])


def test_too_many_regions(make: Make) -> None:
    """More than the table holds: the command cannot be done; nothing stays mapped."""
    rig = make().probe().take_over()
    task = rig.rw(True, 0, [(DATA + 1024 * n, 512) for n in range(600)])
    assert rig.start(task) == ide_started
    assert (task.done, task.err_mask, rig.channel.mapped) == (True, AC_ERR_INVALID, ())
    there_and_back(rig, 0, [(DATA, 4096)])


def test_identify(make: Make) -> None:
    """One block, in the memory that was named."""
    rig = make().probe().take_over()
    task = rig.run(rig.task(control(0, WIN_IDENTIFY), TASKFILE_IN, [(DATA, 512)]))
    assert rig.why(task) == ""
    assert rig.machine.memory.read(DATA + 54, 10) == b"DDDS KIDKS"


def test_one_at_a_time(make: Make) -> None:
    """A second command is not taken while one is outstanding; each ends once."""
    rig = make().probe().take_over()
    first, second = rig.rw(True, 0, [(DATA, 4096)]), rig.rw(True, 8, [(DATA, 4096)])
    assert (rig.start(first), rig.start(second)) == (ide_started, ide_stopped)
    rig.poll_until_done(first)
    for _ in range(10):
        rig.hooks.dump_poll(rig.drive)
    assert (rig.done, second.done) == ([first], False)


def test_both_channels_at_once(make: Make) -> None:
    """A command on each in normal mode: one line, each ends its own."""
    rig = make(places=((0, 0), (1, 0))).probe()
    assert rig.drive
    other = rig.found[1]
    first, second = rig.rw(True, 0, [(DATA, 65536)]), rig.rw(True, 0, [(DATA, 512)])
    second.drive = other
    assert rig.start(first) == ide_started
    kernel = rig.kernel
    flags = kernel.spin_lock_irqsave(other.hwif.ide_lock)
    assert other.hwif.port_info.do_rw_taskfile(second, rig.ended) == ide_started
    kernel.spin_unlock_irqrestore(other.hwif.ide_lock, flags)
    rig.machine.run(until=lambda: first.done and second.done, for_ns=1_000_000_000)
    assert rig.done == [second, first]
    assert [rig.why(task) for task in rig.done] == ["", ""]


@pytest.mark.parametrize("places", [((0, 0),), ((1, 1),)])
def test_nobody_there(make: Make, places: tuple[tuple[int, int], ...]) -> None:
    """A drive that is not there is reported at once; the one that is works before and after."""
    rig = make(places=places).probe().take_over()
    for number in range(2):
        there_and_back(rig, 8 * number, [(DATA, 512)])
        task = rig.task(control(1 - rig.place[1], WIN_CHECKPOWERMODE1))
        task.drive = rig.hwif.drives[1 - rig.place[1]]
        assert rig.start(task) == ide_started
        assert (task.done, task.err_mask) == (True, AC_ERR_NODEV_HINT)


def test_an_empty_channel(make: Make) -> None:
    """The other channel's drives are not there either."""
    rig = make().probe()
    assert rig.drive
    for drive in rig.hwifs[1].drives:
        task = rig.task(control(drive.unit, WIN_CHECKPOWERMODE1))
        task.drive = drive
        flags = rig.kernel.spin_lock_irqsave(drive.hwif.ide_lock)
        drive.hwif.port_info.do_rw_taskfile(task, rig.ended)
        rig.kernel.spin_unlock_irqrestore(drive.hwif.ide_lock, flags)
        assert (task.done, task.err_mask) == (True, AC_ERR_NODEV_HINT)


def test_an_interrupt_for_nobody(make: Make) -> None:
    """Ended and claimed when the line has risen; not ours when it has not."""
    rig = make().probe()
    assert piix_interrupt(14, rig.channel) == 0
    rig.kernel.disable_irq_nosync(rig.pdev)
    rig.port(0, 6, 0xE0)
    rig.port(0, 7, 0xE5)
    rig.machine.clock.advance(1_000_000)
    assert rig.model.irq.level is True
    assert piix_interrupt(14, rig.channel) == 1
    assert (rig.model.irq.level, rig.port(4, 2)) == (False, 0x00)


def test_polls_of_a_busy_drive_are_short(make: Make) -> None:
    """One look at the drive; of sixteen one looks at the bus master as well."""
    rig = make().probe().take_over()
    rig.model.faults.inject("command-hung")
    assert rig.start(rig.rw(False, 0, [(DATA, 512)])) == ide_started
    rig.kernel.udelay(10)
    with rig.watching() as seen:
        for _ in range(32):
            rig.hooks.dump_poll(rig.drive)
    assert len(seen) == 32 + 2
    assert {kind for kind, *_ in seen} == {"read"}
