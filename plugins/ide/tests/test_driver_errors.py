"""Errors: what the driver says of each row of hw-ide.md 11, after the crash, and what the mid-layer makes of it."""

from __future__ import annotations

import pytest

from ddsdk.ata.disposition import ide_decide_disposition
from ddsdk.ata.host import ide_started
from ddsdk.ata.taskfile import (
    AC_ERR_HOST_BUS,
    AC_ERR_HSM,
    AC_ERR_NODEV_HINT,
    AC_ERR_OTHER,
    WIN_CHECKPOWERMODE1,
    WIN_FLUSH_CACHE_EXT,
    WIN_SETMULT,
    IdeTask,
    control,
)
from ddsdk.block.outcome import Disposition
from ddsdk.sim import disk_faults
from ddsdk.sim.disk_faults import DiskFault
from ddsdk_ide.dma import DOUBTS, STALL_POLLS
from ddsdk_ide.model_personality import QEMU, REAL
from plugins.ide.tests.driver_rig import DATA, Make, Rig

FAILED, RETRY, RESET, PIO = (Disposition.FAILED, Disposition.NEEDS_RETRY, Disposition.NEEDS_RESET,
                             Disposition.NEEDS_PIO)
FIRST = 64


def taken_over(make: Make, way: str = "dma", personality: object = REAL) -> Rig:
    """Ready to dump, data moving so; the drive was seen to count down its sectors."""
    rig = make(personality=personality).probe().take_over()
    rig.run(rig.rw(False, 0, [(DATA, 4096)]))
    rig.drive.using_dma = way == "dma"
    rig.drive.mult_count = 0 if way == "single" else 16
    rig.done.clear()
    return rig


def verdict(rig: Rig, task: IdeTask) -> Disposition:
    """What becomes of it, ended once; afterwards the next command works, if nothing needs a reset."""
    assert rig.done == [task]
    assert (rig.channel.task, rig.channel.mapped) == (None, ())
    outcome = ide_decide_disposition(task).disposition
    if outcome in (RESET, PIO):
        assert rig.reset() == 0
    if outcome is not FAILED or task.status not in (0x00, 0x7F, 0xFF):
        assert rig.why(rig.run(rig.rw(False, 8, [(DATA, 512)]))) == ""
    return outcome


# -- what the drive says -----------------------------------------------------------------------------------------------

SAID = {
    "bad sector": (disk_faults.medium_error(66), False, 0x51, 0x40, 66, FAILED),
    "no such sector": (disk_faults.check_condition(0x5, 0x21), True, 0x51, 0x10, FIRST, FAILED),
    "aborted": (disk_faults.check_condition(0x5, 0x20), True, 0x51, 0x04, FIRST, FAILED),
    "device fault": (disk_faults.hardware_error(), True, 0x70, 0x00, FIRST, FAILED),
    "crc": (disk_faults.aborted_command(), True, 0x51, 0x84, FIRST, RETRY),
    "medium changed": (disk_faults.unit_attention(0x28, 0), True, 0x51, 0x24, FIRST, FAILED),
}


@pytest.mark.parametrize("way", ["dma", "multiple", "single"])
@pytest.mark.parametrize(("fault", "write", "status", "error", "sector", "outcome"), SAID.values(), ids=SAID)
def test_registers_are_reported(make: Make, way: str, fault: DiskFault, write: bool, status: int, error: int,
                                sector: int, outcome: Disposition) -> None:
    """Status, error register and the sector in the LBA registers, by DMA and by programmed I/O."""
    rig = taken_over(make, way)
    rig.disk.inject(fault)
    task = rig.run(rig.rw(write, FIRST, [(DATA, 4096)]))
    rig.disk.faults.clear()
    assert (task.status, task.error) == (status, error)
    assert task.result_tf is not None
    assert task.result_tf.sector == sector
    assert task.resid > 0
    assert verdict(rig, task) is outcome


@pytest.mark.parametrize("way", ["dma", "multiple", "single"])
def test_qemu_says_less(make: Make, way: str) -> None:
    """41, 04 and the start of the command; what matters is that it is an error."""
    rig = taken_over(make, way, QEMU)
    rig.disk.inject(disk_faults.medium_error(66))
    task = rig.run(rig.rw(False, FIRST, [(DATA, 4096)]))
    rig.disk.faults.clear()
    assert (task.status, task.error, verdict(rig, task)) == (0x41, 0x04, FAILED)


@pytest.mark.parametrize("missing", [1, 7, 8])
@pytest.mark.parametrize("way", ["dma", "multiple"])
@pytest.mark.parametrize("write", [False, True])
def test_less_moved_than_asked_for(make: Make, way: str, missing: int, write: bool) -> None:
    """Good status, and not everything there: retried."""
    rig = taken_over(make, way)
    rig.disk.inject(disk_faults.wrong_length(missing))
    task = rig.run(rig.rw(write, FIRST, [(DATA, 4096)]))
    rig.disk.faults.clear()
    assert (task.status, task.resid > 0, verdict(rig, task)) == (0x50, True, RETRY)


def test_corrected_data_is_good_data(make: Make) -> None:
    """CORR is no error."""
    rig = taken_over(make)
    rig.disk.inject(disk_faults.recovered_error())
    assert rig.why(rig.run(rig.rw(False, FIRST, [(DATA, 4096)]))) == ""


def test_a_flush_that_fails(make: Make) -> None:
    """ABRT or DF, never success."""
    rig = taken_over(make)
    rig.disk.inject(disk_faults.sync_fails())
    task = rig.run(rig.task(control(0, WIN_FLUSH_CACHE_EXT)))
    assert ide_decide_disposition(task).disposition is FAILED


# -- the rows of the fault table ---------------------------------------------------------------------------------------

ROWS = {
    # fault, way, write -> status, err_mask, outcome
    ("command-aborted", "dma", True): (0x51, 0, FAILED),
    ("command-aborted", "single", False): (0x51, 0, FAILED),
    ("device-fault", "dma", True): (0x70, 0, FAILED),
    ("icrc", "dma", True): (0x51, 0, RETRY),
    ("drq-missing", "single", False): (0x50, 0, RETRY),
    ("drq-missing", "multiple", True): (0x50, 0, RETRY),
    ("drq-missing", "dma", True): (0x50, 0, RETRY),
    ("drq-stuck", "dma", True): (0x58, AC_ERR_HSM, RESET),
    ("drq-stuck", "single", True): (0x58, AC_ERR_HSM, RESET),
    ("drq-stuck", "single", False): (0x58, AC_ERR_HSM, RESET),
    ("last-block-fails", "single", True): (0x51, 0, FAILED),
    ("last-block-fails", "multiple", True): (0x51, 0, FAILED),
    ("dma-error", "dma", True): (0x58, AC_ERR_HOST_BUS, PIO),
    ("table-short", "dma", True): (0x58, AC_ERR_HSM, RESET),
    ("table-short", "dma", False): (0x58, AC_ERR_HSM, RESET),
    ("drive-gone", "dma", True): (0xFF, AC_ERR_NODEV_HINT, FAILED),
    ("drive-gone", "single", False): (0xFF, AC_ERR_NODEV_HINT, FAILED),
    ("adapter-gone", "dma", True): (0xFF, AC_ERR_NODEV_HINT, FAILED),
    ("adapter-gone", "single", True): (0xFF, AC_ERR_NODEV_HINT, FAILED),
}


@pytest.mark.parametrize(("fault", "way", "write"), ROWS)
def test_rows(make: Make, fault: str, way: str, write: bool) -> None:
    """The command ends once, as an error, within what the row allows."""
    rig = taken_over(make, way)
    task = rig.rw(write, FIRST, [(DATA, 4096)])
    if fault in ("drive-gone", "adapter-gone"):
        assert rig.start(task) == ide_started
    rig.model.faults.inject(fault)
    if fault in ("drive-gone", "adapter-gone"):
        rig.poll_until_done(task)
    else:
        rig.run(task)
    assert rig.model.faults.struck == {fault: 1}
    assert (task.status, task.err_mask, verdict(rig, task)) == ROWS[fault, way, write]


@pytest.mark.parametrize("fault", ["command-hung", "firmware-fault", "completion-lost"])
@pytest.mark.parametrize("way", ["dma", "multiple"])
def test_bsy_for_ever(make: Make, fault: str, way: str) -> None:
    """Not waited for in any poll; the reset ends it, and its memory is taken back only then."""
    rig = taken_over(make, way)
    rig.model.faults.inject(fault)
    task = rig.rw(True, FIRST, [(DATA, 4096)])
    assert rig.start(task) == ide_started
    for _ in range(1000):
        rig.hooks.dump_poll(rig.drive)
        rig.kernel.udelay(100)
    assert not task.done
    assert bool(rig.channel.mapped) is (way == "dma")
    assert rig.reset() == 0
    assert (task.done, task.err_mask) == (True, AC_ERR_OTHER)
    assert verdict(rig, task) is RETRY


def test_a_bus_master_that_is_done_before_the_drive(make: Make) -> None:
    """For a moment that is nothing; after 100 polls in a row it is a fault."""
    rig = taken_over(make)
    rig.model.faults.inject("table-short")
    task = rig.rw(True, FIRST, [(DATA, 4096)])
    assert rig.start(task) == ide_started
    rig.kernel.udelay(500)
    for polls in range(1, STALL_POLLS + 1):
        assert not task.done
        rig.hooks.dump_poll(rig.drive)
        assert rig.channel.stalled == (polls if polls < STALL_POLLS else STALL_POLLS)
    assert task.err_mask == AC_ERR_HSM


def test_set_multiple_refused(make: Make) -> None:
    """An error like any other: the mid-layer then does without."""
    rig = taken_over(make)
    rig.model.faults.inject("multiple-refused")
    task = rig.run(rig.task(control(0, WIN_SETMULT, 0, 16)))
    assert (task.status, task.error, verdict(rig, task)) == (0x51, 0x04, FAILED)


# -- who vouches for data by DMA ---------------------------------------------------------------------------------------


def test_a_longer_table_and_a_drive_that_counts(make: Make) -> None:
    """Active to the end, though all has moved: the count register says so."""
    rig = taken_over(make)
    rig.model.faults.inject("table-long")
    assert rig.why(rig.run(rig.rw(True, FIRST, [(DATA, 4096)]))) == ""


def test_qemu_s_short_table(make: Make) -> None:
    """It looks like success: only the count register gives it away.  In the first command of the dump, too."""
    for earlier in (0, 1):
        rig = make(personality=QEMU).probe().take_over()
        for _ in range(earlier):
            rig.run(rig.rw(False, 0, [(DATA, 4096)]))
        rig.model.faults.inject("table-short")
        task = rig.run(rig.rw(True, FIRST, [(DATA, 4096)]))
        assert (task.status, task.resid) == (0x50, 4096)
        assert rig.why(rig.run(rig.rw(True, FIRST, [(DATA, 4096)]))) == ""


def not_counting(rig: Rig) -> None:
    """A drive that leaves count and LBA registers as they were written, which the standard lets it."""
    side = rig.channel_model.sides[rig.place[1]]
    side.show = lambda _tf: None            # type: ignore[method-assign]


def test_a_drive_that_does_not_count(make: Make) -> None:
    """After the crash nobody vouches for its first commands: they are sent again; then the bus master is believed."""
    rig = make().probe().take_over()
    not_counting(rig)
    verdicts = [rig.why(rig.run(rig.rw(True, FIRST, [(DATA, 4096)]))) for _ in range(DOUBTS + 2)]
    assert [bool(why) for why in verdicts] == [True] * (DOUBTS - 1) + [False] * 3
    rig.disk.inject(disk_faults.wrong_length(1))
    assert rig.why(rig.run(rig.rw(True, FIRST, [(DATA, 4096)]))) != ""


def test_by_interrupt_it_is_learned_for_nothing(make: Make) -> None:
    """In normal mode BMISX vouches: no command is sent twice, and the dump knows."""
    rig = make().probe()
    assert rig.drive
    not_counting(rig)
    for _ in range(DOUBTS):
        assert rig.why(rig.run(rig.rw(True, FIRST, [(DATA, 4096)]))) == ""
    assert rig.channel.counts == [False, None]
    rig.take_over()
    assert rig.why(rig.run(rig.rw(True, FIRST, [(DATA, 4096)]))) == ""


# -- interrupts in normal mode -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["dma", "multiple"])
@pytest.mark.parametrize("fault", ["irq-twice", "irq-spurious", "irq-stale"])
def test_interrupts_for_nobody(make: Make, fault: str, way: str) -> None:
    """Each command ends once, with its data."""
    rig = make().probe()
    rig.drive.using_dma = way == "dma"
    for number in range(3):
        rig.model.faults.inject(fault)
        data = rig.fill(DATA, 20 * 512, number)
        task = rig.run(rig.rw(True, FIRST, [(DATA, 20 * 512)]))
        assert (rig.why(task), rig.on_disk(FIRST, 20 * 512)) == ("", data)
        rig.machine.run(for_ns=1_000_000)
    assert len(rig.done) == 3
    assert rig.model.faults.struck[fault] == 3


def test_a_lost_interrupt_is_no_matter_to_a_poll(make: Make) -> None:
    """In normal mode the command hangs; after the crash nobody waits for one."""
    rig = make().probe()
    task = rig.rw(True, FIRST, [(DATA, 4096)])
    rig.model.faults.inject("irq-lost")
    assert rig.start(task) == ide_started
    rig.machine.run(for_ns=1_000_000_000)
    assert not task.done
    rig.take_over()
    rig.model.faults.inject("irq-lost")
    assert rig.why(rig.run(rig.rw(True, FIRST, [(DATA, 4096)]))) == ""


def test_a_read_that_is_busy_after_its_last_block(make: Make) -> None:
    """No interrupt comes any more: in normal mode a timer looks again."""
    for crash in (False, True):
        rig = make().probe()
        assert rig.drive
        if crash:
            rig.take_over()
        rig.drive.using_dma, rig.drive.mult_count = False, 0
        rig.model.faults.inject("completion-late", ns=30_000_000)
        task = rig.run(rig.rw(False, FIRST, [(DATA, 512)]))
        assert (rig.why(task), len(rig.done)) == ("", 1)


def test_power_mode_is_reported(make: Make) -> None:
    """A command without data brings its registers back."""
    rig = taken_over(make)
    task = rig.run(rig.task(control(0, WIN_CHECKPOWERMODE1)))
    assert task.result_tf is not None
    assert task.result_tf.nsector == 0xFF
