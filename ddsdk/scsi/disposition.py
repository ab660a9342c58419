"""What becomes of a command that ended: done, again, later, or failed.

Rules: RHEL 4 `drivers/scsi/scsi_dump.c` by formats.md 1.15; where that says "needs retry" or "add to queue",
the mid-layer's `scsi_decide_disposition` (2.6.9 `drivers/scsi/scsi_error.c`).  Deliberate differences:
RESERVATION CONFLICT is a failure with a reason, a changed medium marks the device `changed`, a GOOD status
with bytes missing is retried.
"""

from __future__ import annotations

import errno
from typing import Final

from ..block.outcome import Disposition as Disposition
from ..block.outcome import Outcome as Outcome
from .cdb import command_name
from .cmnd import (
    DID_BUS_BUSY,
    DID_ERROR,
    DID_IMM_RETRY,
    DID_NO_CONNECT,
    DID_OK,
    DID_PARITY,
    DID_PASSTHROUGH,
    DID_REQUEUE,
    DID_RESET,
    DID_SOFT_ERROR,
    DID_TIME_OUT,
    SAM_STAT_ACA_ACTIVE,
    SAM_STAT_BUSY,
    SAM_STAT_CHECK_CONDITION,
    SAM_STAT_COMMAND_TERMINATED,
    SAM_STAT_CONDITION_MET,
    SAM_STAT_GOOD,
    SAM_STAT_INTERMEDIATE,
    SAM_STAT_INTERMEDIATE_CONDITION_MET,
    SAM_STAT_RESERVATION_CONFLICT,
    SAM_STAT_TASK_ABORTED,
    SAM_STAT_TASK_SET_FULL,
    ScsiCmnd,
    did_name,
    host_byte,
    status_byte,
)
from .sense import (
    ABORTED_COMMAND,
    DATA_PROTECT,
    MEDIUM_ERROR,
    NOT_READY,
    RECOVERED_ERROR,
    UNIT_ATTENTION,
    SenseData,
)

_SUCCESS = Outcome(Disposition.SUCCESS)
_RETRY_HOSTS = frozenset((DID_BUS_BUSY, DID_PARITY, DID_ERROR, DID_SOFT_ERROR, DID_TIME_OUT))
_GOOD_STATUS = frozenset((SAM_STAT_GOOD, SAM_STAT_CONDITION_MET, SAM_STAT_INTERMEDIATE,
                          SAM_STAT_INTERMEDIATE_CONDITION_MET))
_RETRY_STATUS: Final = {SAM_STAT_COMMAND_TERMINATED: "COMMAND TERMINATED", SAM_STAT_ACA_ACTIVE: "ACA ACTIVE",
                 SAM_STAT_TASK_ABORTED: "TASK ABORTED"}
_QUEUE_STATUS: Final = {SAM_STAT_BUSY: "BUSY", SAM_STAT_TASK_SET_FULL: "TASK SET FULL"}


def scsi_decide_disposition(scmd: ScsiCmnd) -> Outcome:
    """int scsi_decide_disposition(struct scsi_cmnd *): look at `result`, then at sense data, then at what
    moved.
    """
    host = host_byte(scmd.result)
    if host == DID_RESET:
        scmd.device.expecting_cc_ua = True
        return Outcome(Disposition.NEEDS_RETRY, "a reset ended the command (DID_RESET)")
    if host in _RETRY_HOSTS:
        return Outcome(Disposition.NEEDS_RETRY, f"the adapter reports {did_name(host)}")
    if host in (DID_IMM_RETRY, DID_REQUEUE):
        return Outcome(Disposition.ADD_TO_MLQUEUE, f"the adapter reports {did_name(host)}")
    if host not in (DID_OK, DID_PASSTHROUGH):
        gone = errno.ENODEV if host == DID_NO_CONNECT else errno.EIO
        return Outcome(Disposition.FAILED, f"the adapter reports {did_name(host)}", gone)
    return _by_status(scmd, status_byte(scmd.result))


def _by_status(scmd: ScsiCmnd, status: int) -> Outcome:
    if status in _GOOD_STATUS:
        return _by_length(scmd)
    if status == SAM_STAT_CHECK_CONDITION:
        sense = SenseData.parse(scmd.sense_buffer)
        if sense is None:
            return Outcome(Disposition.NO_SENSE, "CHECK CONDITION without sense data")
        return _by_sense(scmd, sense)
    if status in _QUEUE_STATUS:
        return Outcome(Disposition.ADD_TO_MLQUEUE, f"the target is {_QUEUE_STATUS[status]}")
    if status in _RETRY_STATUS:
        return Outcome(Disposition.NEEDS_RETRY, f"the target reports {_RETRY_STATUS[status]}")
    if status == SAM_STAT_RESERVATION_CONFLICT:
        return Outcome(Disposition.FAILED, "RESERVATION CONFLICT: another initiator holds the disk",
                       errno.EBUSY)
    return Outcome(Disposition.FAILED, f"the target reports status {status:#04x}")


def _by_length(scmd: ScsiCmnd) -> Outcome:
    moved = scmd.request_bufflen - scmd.resid
    if moved < scmd.underflow:
        return Outcome(Disposition.NEEDS_RETRY,
                       f"GOOD status, but {moved} of {scmd.request_bufflen} bytes moved")
    return _SUCCESS


def _by_sense(scmd: ScsiCmnd, sense: SenseData) -> Outcome:
    """int scsi_check_sense(struct scsi_cmnd *)."""
    device, code = scmd.device, (sense.asc, sense.ascq)
    if sense.key == RECOVERED_ERROR:
        return _by_length(scmd)
    if sense.key == UNIT_ATTENTION and sense.asc == 0x28:
        device.changed = True
        return Outcome(Disposition.FAILED, str(sense), errno.EIO)
    if sense.key in (ABORTED_COMMAND, MEDIUM_ERROR, UNIT_ATTENTION) or sense.asc == 0x29:
        device.expecting_cc_ua = False
        return Outcome(Disposition.NEEDS_RETRY, str(sense))
    if sense.key == NOT_READY and code == (0x04, 0x01):
        return Outcome(Disposition.BECOMING_READY, str(sense))
    if sense.key == NOT_READY and device.expecting_cc_ua and sense.asc != 0x04:
        device.expecting_cc_ua = False
        return Outcome(Disposition.NEEDS_RETRY, str(sense))
    if sense.key == DATA_PROTECT:
        return Outcome(Disposition.FAILED, str(sense), errno.EROFS)
    return Outcome(Disposition.FAILED, str(sense))


def describe(scmd: ScsiCmnd, why: str) -> str:
    """`WRITE(10) to hba0:0:3:0: why`."""
    return f"{command_name(scmd.cmnd[0])} to {scmd.device.name}: {why}"
