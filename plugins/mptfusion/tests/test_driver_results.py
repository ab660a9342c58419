"""What a reply means for its command: every row of the IOCStatus table, crossed with SCSIState and what moved."""

from __future__ import annotations

import pytest

from ddsdk.abi import WIRE_LE
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, SCSI_SENSE_BUFFERSIZE, ScsiCmnd
from ddsdk.scsi.host import ScsiDevice
from ddsdk_mptfusion.adapter import MPT_REPLY_BYTES, MptRequest
from ddsdk_mptfusion.frames import IOCStatus, MsgFunction, SCSIIOReply, ScsiState
from ddsdk_mptfusion.model import ChipProfile
from plugins.mptfusion.tests.driver_rig import BOTH, DATA, Make, Rig

OK, NO_CONNECT, BAD_TARGET, RESET, SOFT = 0x000000, 0x010000, 0x040000, 0x080000, 0x0B0000
CHECK, BUSY, FULL, CONFLICT = 0x02, 0x08, 0x28, 0x18
SENSE_VALID, SENSE_FAILED, NO_STATUS = ScsiState.AUTOSENSE_VALID, ScsiState.AUTOSENSE_FAILED, ScsiState.NO_SCSI_STATUS
TERMINATED, INFO, TAG = ScsiState.TERMINATED, ScsiState.RESPONSE_INFO_VALID, ScsiState.QUEUE_TAG_REJECTED
S = IOCStatus
ALL, SOME = 4096, 1024

#: IOCStatus, SCSIState, SCSIStatus, TransferCount, underflow -> result.  Every command is for 4096 bytes.
ROWS: list[tuple[int, int, int, int, int, int]] = [
    (S.SUCCESS, 0, 0, ALL, ALL, OK),
    (S.SUCCESS, SENSE_VALID, CHECK, 0, ALL, OK | CHECK),
    (S.SUCCESS, SENSE_FAILED, CHECK, 0, ALL, SOFT),
    (S.SUCCESS, NO_STATUS, 0, 0, ALL, SOFT),
    (S.SUCCESS, TERMINATED, 0, 0, ALL, RESET),
    (S.SUCCESS, INFO, 0, ALL, ALL, OK),
    (S.SUCCESS, TAG, 0, ALL, ALL, OK),
    (S.SUCCESS, 0, BUSY, 0, ALL, OK | BUSY),
    (S.SUCCESS, 0, FULL, 0, ALL, OK | FULL),
    (S.SUCCESS, 0, CONFLICT, 0, ALL, OK | CONFLICT),
    (S.SCSI_RECOVERED_ERROR, 0, 0, ALL, ALL, OK),
    (S.SCSI_RECOVERED_ERROR, SENSE_VALID, CHECK, ALL, ALL, OK | CHECK),
    (S.BUSY, 0, 0, 0, ALL, OK | BUSY),
    (S.SCSI_INVALID_BUS, NO_STATUS, 0, 0, ALL, BAD_TARGET),
    (S.SCSI_INVALID_TARGETID, NO_STATUS, 0, 0, ALL, BAD_TARGET),
    (S.SCSI_DEVICE_NOT_THERE, NO_STATUS, 0, 0, ALL, NO_CONNECT),
    (S.SCSI_DATA_OVERRUN, NO_STATUS, 0, 0, ALL, SOFT),
    (S.SCSI_DATA_UNDERRUN, SENSE_VALID, CHECK, 0, ALL, OK | CHECK),
    (S.SCSI_DATA_UNDERRUN, SENSE_VALID, CHECK, SOME, ALL, OK | CHECK),
    (S.SCSI_DATA_UNDERRUN, 0, 0, SOME, 0, OK),
    (S.SCSI_DATA_UNDERRUN, 0, 0, SOME, SOME, OK),
    (S.SCSI_DATA_UNDERRUN, 0, 0, SOME, SOME + 1, SOFT),
    (S.SCSI_DATA_UNDERRUN, 0, 0, 0, 0, SOFT),
    (S.SCSI_DATA_UNDERRUN, 0, BUSY, 0, ALL, OK | BUSY),
    (S.SCSI_DATA_UNDERRUN, 0, FULL, 0, ALL, OK | FULL),
    (S.SCSI_DATA_UNDERRUN, SENSE_FAILED, CHECK, SOME, 0, SOFT),
    (S.SCSI_DATA_UNDERRUN, NO_STATUS, 0, SOME, 0, SOFT),
    (S.SCSI_DATA_UNDERRUN, TERMINATED, 0, SOME, 0, RESET),
    (S.SCSI_IO_DATA_ERROR, 0, 0, SOME, 0, SOFT),
    (S.SCSI_PROTOCOL_ERROR, 0, 0, 0, ALL, SOFT),
    (S.SCSI_TASK_TERMINATED, NO_STATUS, 0, 0, ALL, RESET),
    (S.SCSI_TASK_TERMINATED, NO_STATUS | TERMINATED, 0, 0, ALL, RESET),
    (S.SCSI_RESIDUAL_MISMATCH, 0, 0, ALL, ALL, OK),
    (S.SCSI_RESIDUAL_MISMATCH, 0, 0, SOME, ALL, SOFT),
    (S.SCSI_RESIDUAL_MISMATCH, 0, 0, SOME, SOME, OK),
    (S.SCSI_RESIDUAL_MISMATCH, 0, 0, SOME, 0, SOFT),
    (S.SCSI_TASK_MGMT_FAILED, 0, 0, 0, ALL, SOFT),
    (S.SCSI_IOC_TERMINATED, 0, 0, 0, ALL, RESET),
    (S.SCSI_EXT_TERMINATED, 0, 0, 0, ALL, RESET),
    *[(status, 0, 0, 0, ALL, SOFT) for status in (
        S.INVALID_FUNCTION, S.INVALID_SGL, S.INTERNAL_ERROR, S.RESERVED, S.INSUFFICIENT_RESOURCES, S.INVALID_FIELD,
        S.INVALID_STATE, S.OP_STATE_NOT_SUPPORTED, 0x0063, 0x7FFF)],
]
_LAYOUT = SCSIIOReply.on(WIRE_LE)


@pytest.fixture
def rig(make: Make) -> Rig:
    """A driver taken over by the dump."""
    return make().probe().take_over()


def pending(rig: Rig, underflow: int = 0) -> tuple[ScsiCmnd, MptRequest]:
    """A READ of one page that the IOC holds and has not begun."""
    scmd = rig.rw(False, 0, [(DATA, 4096)])
    scmd.underflow = underflow
    assert rig.queue(scmd) == 0
    return scmd, next(iter(rig.ioc.outstanding.values()))


def answer(rig: Rig, request: MptRequest, **fields: int) -> None:
    """Let *request* be answered by a reply frame with *fields*."""
    reply = SCSIIOReply(MsgLength=_LAYOUT.size // 4, MsgContext=request.context, **fields)
    callback = rig.ioc.outstanding.pop(request.context).callback
    assert callback is not None
    callback(rig.ioc, request, _LAYOUT.pack(reply).ljust(MPT_REPLY_BYTES, b"\0"))


@pytest.mark.parametrize(("status", "state", "scsi_status", "moved", "underflow", "result"), ROWS)
def test_row(rig: Rig, status: int, state: int, scsi_status: int, moved: int, underflow: int, result: int) -> None:
    """IOCStatus decides first, then SCSIState, then SCSIStatus; bit 15 (log info) changes nothing; resid is exact."""
    for log_info in (0, 0x8000):
        scmd, request = pending(rig, underflow)
        answer(rig, request, IOCStatus=status | log_info, SCSIState=state, SCSIStatus=scsi_status, TransferCount=moved)
        assert (scmd.done, scmd.result, scmd.resid) == (True, result, 4096 - moved)
        assert not rig.ioc.outstanding
        assert request in rig.ioc.FreeQ


def test_every_status_of_the_table_has_a_row() -> None:
    """No IOCStatus a SCSI command can end with is left out."""
    config = {status for status in IOCStatus if status.name.startswith("CONFIG")}
    assert {row[0] for row in ROWS} >= set(IOCStatus) - config


def test_nothing_moved_at_all_is_made_an_aborted_command(rig: Rig) -> None:
    """RESIDUAL_MISMATCH with no byte moved: a CHECK CONDITION whose sense data makes everybody retry."""
    scmd, request = pending(rig, 4096)
    answer(rig, request, IOCStatus=S.SCSI_RESIDUAL_MISMATCH)
    assert scmd.result == 0x08000002
    assert (scmd.sense_buffer[0], scmd.sense_buffer[2], scmd.sense_buffer[12]) == (0x70, 0x0B, 0x47)


@pytest.mark.parametrize("claimed", [18, 0, 96, 255, 0xFFFFFFFF])
def test_autosense_is_copied_within_bounds(rig: Rig, claimed: int) -> None:
    """SenseCount bytes are copied, never more than there is room for; nothing stays for the next command."""
    scmd, request = pending(rig)
    ioc, at = rig.ioc, request.sense_offset
    ioc.view[at:at + 96] = bytes(range(0x70, 0xD0))
    answer(rig, request, IOCStatus=S.SUCCESS, SCSIStatus=CHECK, SCSIState=SENSE_VALID, SenseCount=claimed)
    copied = min(claimed, SCSI_SENSE_BUFFERSIZE)
    assert bytes(scmd.sense_buffer) == bytes(range(0x70, 0xD0))[:copied].ljust(96, b"\0")
    assert bytes(ioc.view[at:at + 96]) == bytes(96)


def test_more_moved_than_asked_for_is_no_negative_residue(rig: Rig) -> None:
    """A TransferCount beyond DataLength leaves resid 0."""
    scmd, request = pending(rig)
    answer(rig, request, TransferCount=5000)
    assert (scmd.result, scmd.resid) == (0, 0)


def test_reply_of_another_function_is_a_soft_error(rig: Rig) -> None:
    """A reply frame with the command's context and another message's function says nothing; the command is retried."""
    scmd, request = pending(rig)
    answer(rig, request, Function=MsgFunction.IOC_INIT, TransferCount=4096)
    assert scmd.result == SOFT


def test_short_reply_has_nothing_left_over_in_it(rig: Rig) -> None:
    """What lies past MsgLength in a reply frame is from its last use and is not taken for this reply's."""
    scmd, request = pending(rig, 4096)
    ioc = rig.ioc
    frame = _LAYOUT.pack(SCSIIOReply(MsgLength=5, MsgContext=request.context, IOCStatus=S.SCSI_DATA_UNDERRUN,
                                     TransferCount=4096))
    ioc.view[ioc.reply_offset:ioc.reply_offset + len(frame)] = frame
    rig.model.free.remove(ioc.reply_bus_addr)
    rig.model.append_reply(0x80000000 | ioc.reply_bus_addr >> 1)
    rig.hooks.dump_poll(rig.sdev)
    assert (scmd.done, scmd.result, scmd.resid) == (True, SOFT, 4096)
    assert len(rig.model.free) == 128


@BOTH
def test_check_condition_by_the_hardware(make: Make, chip: ChipProfile) -> None:
    """A READ beyond the end: ILLEGAL REQUEST 21/00 arrives as autosense, whichever IOCStatus the chip says it with."""
    rig = make(chip).probe().take_over()
    scmd = rig.run(rig.rw(False, 0xFFFFFF00, [(DATA, 4096)]))
    assert scmd.result == CHECK
    assert (scmd.sense_buffer[2] & 0xF, scmd.sense_buffer[12]) == (5, 0x21)
    assert len(rig.model.free) == 128


@BOTH
def test_absent_target_is_no_connect(make: Make, chip: ChipProfile) -> None:
    """Selection timeout is DID_NO_CONNECT."""
    rig = make(chip).probe().take_over()
    scmd = rig.command(cdb.inquiry(36), DMA_FROM_DEVICE, [(DATA, 36)], ScsiDevice(rig.shost, 0, 5, 0))
    assert rig.run(scmd).result == NO_CONNECT
