"""What becomes of a command, by what the driver knows, status, error and length."""

from __future__ import annotations

import errno

import pytest

from ddsdk.ata import taskfile as t
from ddsdk.ata.disposition import describe, ide_decide_disposition
from ddsdk.block.outcome import Disposition
from tests.ata.fake_hwif import build

D = Disposition


def ended(status: int, error: int = 0, *, err_mask: int = 0, resid: int = 0, phase: int = t.TASKFILE_IN_DMA,
          sector: int | None = None) -> t.IdeTask:
    """A task of 4096 bytes that ended so."""
    task = t.IdeTask(build(scan=False).drive)
    task.tf, task.data_phase, task.nbytes = t.read_write(t.WIN_READDMA_EXT, 1, 64, 8, True), phase, 4096
    task.status, task.error, task.err_mask, task.resid = status, error, err_mask, resid
    if sector is not None:
        task.result_tf = t.read_write(t.WIN_READDMA_EXT, 1, sector, 0, True)
    return task


@pytest.mark.parametrize(("status", "expected", "why"), [
    (0x50, D.SUCCESS, ""), (0x40, D.SUCCESS, ""), (0x54, D.SUCCESS, ""),
    (0xD0, D.NEEDS_RESET, "the drive is still busy (status d0)"),
    (0x80, D.NEEDS_RESET, "the drive is still busy (status 80)"),
    (0x58, D.NEEDS_RESET, "the drive still has data to move (status 58)"),
    (0x70, D.FAILED, "device fault (status 70)"), (0x61, D.FAILED, "device fault (status 61)"),
    (0x10, D.BECOMING_READY, "the drive is not ready (status 10)"),
    (0xFF, D.FAILED, "no drive answers (status ff)"), (0x7F, D.FAILED, "no drive answers (status 7f)"),
    (0x00, D.FAILED, "no drive answers (status 00)")])
def test_status(status: int, expected: Disposition, why: str) -> None:
    """Busy and data left over cost a reset, a device fault is final, corrected data is good data."""
    outcome = ide_decide_disposition(ended(status))
    assert (outcome.disposition, outcome.why) == (expected, why)


def test_a_drive_that_is_gone() -> None:
    """FF has every bit, BSY and DF too: nobody there, at once."""
    assert ide_decide_disposition(ended(0xFF)).errno == errno.ENODEV


@pytest.mark.parametrize(("error", "phase", "expected", "why"), [
    (0x40, t.TASKFILE_IN_DMA, D.FAILED, "uncorrectable data (status 51, error 40) at sector 70"),
    (0x10, t.TASKFILE_IN_DMA, D.FAILED, "no such sector (status 51, error 10) at sector 70"),
    (0x04, t.TASKFILE_OUT, D.FAILED, "the drive aborted it (status 51, error 04) at sector 70"),
    (0x02, t.TASKFILE_IN, D.FAILED, "track 0 not found (status 51, error 02) at sector 70"),
    (0x01, t.TASKFILE_IN, D.FAILED, "address mark not found (status 51, error 01) at sector 70"),
    (0x00, t.TASKFILE_IN, D.FAILED, "it failed (status 51, error 00) at sector 70"),
    (0x84, t.TASKFILE_IN_DMA, D.NEEDS_RETRY, "CRC error on the cable"),
    (0x80, t.TASKFILE_OUT_DMA, D.NEEDS_RETRY, "CRC error on the cable"),
    (0x84, t.TASKFILE_IN, D.NEEDS_RETRY, "CRC error on the cable"),
    (0x80, t.TASKFILE_IN, D.FAILED, "bad block (status 51, error 80) at sector 70")])
def test_error_register(error: int, phase: int, expected: Disposition, why: str) -> None:
    """Bit 7 is a CRC error, except without ABRT by PIO; the sector comes out of the registers."""
    outcome = ide_decide_disposition(ended(0x51, error, phase=phase, sector=70))
    assert (outcome.disposition, outcome.why) == (expected, why)


def test_a_changed_medium_marks_the_drive() -> None:
    """It is not the disk that was registered."""
    task = ended(0x51, 0x24)
    assert ide_decide_disposition(task).disposition is D.FAILED
    assert task.drive.changed


def test_no_sector_when_nobody_read_it() -> None:
    """Without result registers nothing is claimed."""
    assert ide_decide_disposition(ended(0x51, 0x40)).why == "uncorrectable data (status 51, error 40)"


@pytest.mark.parametrize(("mask", "phase", "expected"), [
    (t.AC_ERR_NODEV_HINT, t.TASKFILE_IN, D.FAILED), (t.AC_ERR_INVALID, t.TASKFILE_IN, D.FAILED),
    (t.AC_ERR_TIMEOUT, t.TASKFILE_IN, D.NEEDS_RESET), (t.AC_ERR_HSM, t.TASKFILE_IN, D.NEEDS_RESET),
    (t.AC_ERR_ATA_BUS, t.TASKFILE_IN_DMA, D.NEEDS_RETRY), (t.AC_ERR_OTHER, t.TASKFILE_IN, D.NEEDS_RETRY),
    (t.AC_ERR_SYSTEM, t.TASKFILE_IN, D.NEEDS_RETRY), (t.AC_ERR_HOST_BUS, t.TASKFILE_IN_DMA, D.NEEDS_PIO),
    (t.AC_ERR_HOST_BUS, t.TASKFILE_IN, D.NEEDS_RETRY), (t.AC_ERR_DEV, t.TASKFILE_IN, D.SUCCESS),
    (t.AC_ERR_MEDIA, t.TASKFILE_IN, D.SUCCESS)])
def test_what_the_driver_knows_comes_first(mask: int, phase: int, expected: Disposition) -> None:
    """Whatever the status register says; "the drive said so" means: look there."""
    assert ide_decide_disposition(ended(0x50, err_mask=mask, phase=phase)).disposition is expected


def test_errno_of_a_missing_drive_and_of_an_impossible_command() -> None:
    """-ENODEV, -EINVAL."""
    assert ide_decide_disposition(ended(0x50, err_mask=t.AC_ERR_NODEV_HINT)).errno == errno.ENODEV
    assert ide_decide_disposition(ended(0x50, err_mask=t.AC_ERR_INVALID)).errno == errno.EINVAL


def test_bytes_missing() -> None:
    """Good status with bytes missing is tried again."""
    outcome = ide_decide_disposition(ended(0x50, resid=512))
    assert (outcome.disposition, outcome.why) == (D.NEEDS_RETRY, "good status, but 3584 of 4096 bytes moved")


def test_described() -> None:
    """Command and drive stand in front of the reason."""
    assert describe(ended(0x50), "why") == "READ DMA EXT to fake0:0:1: why"
