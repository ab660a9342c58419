"""What becomes of a command, by host byte, status, sense and length."""

from __future__ import annotations

import errno

import pytest

from ddsdk.scsi import cmnd as c
from ddsdk.scsi.disposition import Disposition, scsi_decide_disposition
from tests.scsi.fake_hba import build

FIXED = "70 00 {:02x} 00 00 00 00 0a 00 00 00 00 {:02x} {:02x} 00 00 00 00"


def decide(result: int, sense: tuple[int, int, int] | None = None, *, resid: int = 0,
           expecting: bool = False) -> tuple[Disposition, str, int, bool, bool]:
    """Disposition, why, errno, changed, expecting_cc_ua."""
    scmd = c.ScsiCmnd(build().sdev)
    scmd.result, scmd.resid = result, resid
    scmd.request_bufflen = scmd.underflow = 4096
    scmd.device.expecting_cc_ua = expecting
    if sense is not None:
        scmd.sense_buffer[:18] = bytes.fromhex(FIXED.format(*sense))
    outcome = scsi_decide_disposition(scmd)
    return outcome.disposition, outcome.why, outcome.errno, scmd.device.changed, scmd.device.expecting_cc_ua


@pytest.mark.parametrize(("host", "expected"), [
    (c.DID_OK, Disposition.SUCCESS), (c.DID_PASSTHROUGH, Disposition.SUCCESS),
    (c.DID_RESET, Disposition.NEEDS_RETRY), (c.DID_SOFT_ERROR, Disposition.NEEDS_RETRY),
    (c.DID_BUS_BUSY, Disposition.NEEDS_RETRY), (c.DID_PARITY, Disposition.NEEDS_RETRY),
    (c.DID_ERROR, Disposition.NEEDS_RETRY), (c.DID_TIME_OUT, Disposition.NEEDS_RETRY),
    (c.DID_IMM_RETRY, Disposition.ADD_TO_MLQUEUE), (c.DID_REQUEUE, Disposition.ADD_TO_MLQUEUE),
    (c.DID_NO_CONNECT, Disposition.FAILED), (c.DID_BAD_TARGET, Disposition.FAILED),
    (c.DID_ABORT, Disposition.FAILED), (c.DID_BAD_INTR, Disposition.FAILED), (0x42, Disposition.FAILED)])
def test_host_byte(host: int, expected: Disposition) -> None:
    """The adapter's word comes first."""
    assert decide(host << 16)[0] is expected


def test_reset_expects_an_attention() -> None:
    """DID_RESET announces a unit attention; a disk that is gone is -ENODEV."""
    assert decide(c.DID_RESET << 16)[4] is True
    assert decide(c.DID_NO_CONNECT << 16)[1:3] == ("the adapter reports DID_NO_CONNECT", errno.ENODEV)


@pytest.mark.parametrize(("status", "expected"), [
    (c.SAM_STAT_GOOD, Disposition.SUCCESS), (c.SAM_STAT_CONDITION_MET, Disposition.SUCCESS),
    (c.SAM_STAT_BUSY, Disposition.ADD_TO_MLQUEUE), (c.SAM_STAT_TASK_SET_FULL, Disposition.ADD_TO_MLQUEUE),
    (c.SAM_STAT_COMMAND_TERMINATED, Disposition.NEEDS_RETRY),
    (c.SAM_STAT_TASK_ABORTED, Disposition.NEEDS_RETRY),
    (c.SAM_STAT_ACA_ACTIVE, Disposition.NEEDS_RETRY), (c.SAM_STAT_RESERVATION_CONFLICT, Disposition.FAILED),
    (c.SAM_STAT_CHECK_CONDITION, Disposition.NO_SENSE), (0x7C, Disposition.FAILED)])
def test_status_byte(status: int, expected: Disposition) -> None:
    """Then the target's status; a CHECK CONDITION without sense data asks for it."""
    assert decide(status)[0] is expected


@pytest.mark.parametrize(("sense", "expected"), [
    ((0x1, 0x17, 0x01), Disposition.SUCCESS),
    ((0x2, 0x04, 0x00), Disposition.FAILED), ((0x2, 0x04, 0x01), Disposition.BECOMING_READY),
    ((0x2, 0x04, 0x02), Disposition.FAILED), ((0x2, 0x3A, 0x00), Disposition.FAILED),
    ((0x3, 0x11, 0x00), Disposition.NEEDS_RETRY), ((0x4, 0x44, 0x00), Disposition.FAILED),
    ((0x5, 0x24, 0x00), Disposition.FAILED), ((0x6, 0x29, 0x00), Disposition.NEEDS_RETRY),
    ((0x6, 0x2A, 0x01), Disposition.NEEDS_RETRY), ((0x6, 0x28, 0x00), Disposition.FAILED),
    ((0xB, 0x47, 0x00), Disposition.NEEDS_RETRY), ((0x7, 0x27, 0x00), Disposition.FAILED),
    ((0x0, 0x00, 0x00), Disposition.FAILED), ((0xD, 0x00, 0x02), Disposition.FAILED)])
def test_sense_key(sense: tuple[int, int, int], expected: Disposition) -> None:
    """04/01 waits, 04/02 fails, 29 and aborted and medium errors are tried again, recovered is success."""
    assert decide(c.SAM_STAT_CHECK_CONDITION, sense)[0] is expected


def test_not_ready_right_after_a_reset() -> None:
    """A target that is not ready because of the reset we made is tried again, once."""
    verdict = decide(c.SAM_STAT_CHECK_CONDITION, (0x2, 0x3A, 0x00), expecting=True)
    assert (verdict[0], verdict[4]) == (Disposition.NEEDS_RETRY, False)
    assert decide(c.SAM_STAT_CHECK_CONDITION, (0x2, 0x04, 0x02), expecting=True)[0] is Disposition.FAILED


def test_changed_medium() -> None:
    """06/28 marks the device changed: it is not the disk that was registered."""
    assert decide(c.SAM_STAT_CHECK_CONDITION, (0x6, 0x28, 0x00))[3] is True


def test_write_protect_is_erofs() -> None:
    """07/27 says so in the error number."""
    assert decide(c.SAM_STAT_CHECK_CONDITION, (0x7, 0x27, 0x00))[1:3] == (
        "DATA PROTECT 27/00 (write protected)", errno.EROFS)


def test_bytes_missing() -> None:
    """GOOD, and recovered errors, with bytes missing are tried again."""
    assert decide(c.SAM_STAT_GOOD, resid=512)[:2] == (
        Disposition.NEEDS_RETRY, "GOOD status, but 3584 of 4096 bytes moved")
    assert decide(c.SAM_STAT_CHECK_CONDITION, (1, 0x17, 1), resid=512)[0] is Disposition.NEEDS_RETRY
