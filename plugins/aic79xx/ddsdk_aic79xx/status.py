"""How commands end: residuals, bad statuses, autosense, and the ways of a command back to the mid-layer.

Source: aic79xx_core.c, "ahd_handle_scb_status", "ahd_calc_residual"; scsi_iu.h (Linux 2.6.9), by effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_BE, WIRE_LE
from ddsdk.scsi.cmnd import (
    DID_ERROR,
    DID_OK,
    DID_PARITY,
    DID_REQUEUE,
    SAM_STAT_CHECK_CONDITION,
    SAM_STAT_COMMAND_TERMINATED,
    SAM_STAT_GOOD,
)
from ddsdk.scsi.host import SCSI_2

from .ahd import Addressing
from .frames import (
    AHD_NSEG,
    SG_HIGH_ADDR_MASK,
    SG_HIGH_ADDR_SHIFT,
    SG_LAST_SEG,
    SG_LEN_MASK,
    SG_PTR_MASK,
    SIU_PKTFAIL_CODE_AT,
    SIU_PKTFAIL_CODE_LENGTH,
    SIU_RSPVALID,
    SIU_SNSVALID,
    STATUS_PKT_SENSE,
    HardwareScb,
    SgElement,
    SgElement64,
    SgFlag,
    StatusIu,
    Upload,
)
from .lists import pull
from .negotiate import ASYNC
from .queue import SENSE_BYTES, ahd_send, ahd_send_sense
from .regs import Mode, Scratch, SeqFlags2
from .scb import ScbFlag
from .sequencer import SENSE_BUFSIZE

if TYPE_CHECKING:
    from .ahd import AhdSoftc
    from .scb import Scb

_upload: Final = Upload.on(WIRE_LE).unpack
_siu: Final = StatusIu.on(WIRE_BE)
_element, _element64 = SgElement.on(WIRE_LE).unpack, SgElement64.on(WIRE_LE).unpack
_SGPTR_AT: Final = HardwareScb.on(WIRE_LE).offsetof("sgptr")
#: A command that a bus free or a lost agreement sends back so often goes back to the mid-layer.
REQUEUES_MAX: Final = 5
_NO_SENSE: Final = bytes(SENSE_BUFSIZE)


# -- residuals -------------------------------------------------------------------------------------------------


def ahd_calc_residual(ahd: AhdSoftc, scb: Scb, nbytes: int) -> tuple[int, bool]:
    """(bytes of *nbytes* that did not move, whether the target wanted more), by what the chip wrote back."""
    view = scb.element.view
    sgptr = int.from_bytes(view[_SGPTR_AT:_SGPTR_AT + 4], "little")
    if not sgptr & SgFlag.STATUS_VALID or sgptr & SgFlag.LIST_NULL:
        return 0, False
    if sgptr & SgFlag.FULL_RESID:
        return nbytes, False
    upload = _upload(view)
    pointer = upload.residual_sgptr
    if pointer & SgFlag.OVERRUN_RESID:
        return 0, True
    if pointer & SgFlag.LIST_NULL:
        return 0, False
    return (upload.residual_datacnt & SG_LEN_MASK) + _rest_of_list(ahd, scb, pointer & SG_PTR_MASK,
                                                                    upload.residual_datacnt), False


def _rest_of_list(ahd: AhdSoftc, scb: Scb, pointer: int, word: int) -> int:
    """Bytes of the elements from *pointer* on; *word* is the length word of the one before."""
    total, number = 0, (pointer - scb.sg_busaddr) // ahd.sg_size
    while not word & SG_LAST_SEG and 0 <= number < AHD_NSEG:
        word = element_of(ahd, scb, number)[1]
        total += word & SG_LEN_MASK
        number += 1
    return total


def element_of(ahd: AhdSoftc, scb: Scb, number: int) -> tuple[int, int]:
    """(bus address, length word) of one element of the command's scatter list."""
    at = scb.sg_offset + number * ahd.sg_size
    if ahd.addressing is Addressing.BITS_64:
        wide = _element64(ahd.sg_view, at)
        return wide.addr, wide.len
    element = _element(ahd.sg_view, at)
    return element.addr | (element.len >> SG_HIGH_ADDR_SHIFT & SG_HIGH_ADDR_MASK) << 32, element.len


# -- back to the mid-layer -------------------------------------------------------------------------------------


def ahd_done(ahd: AhdSoftc, scb: Scb) -> None:
    """void ahd_done(struct ahd_softc *, struct scb *): the chip does not hold it any more; its result is known.

    scsi_done() is called by ahd_run_completeq(), without the lock.
    """
    ahd.unmap(scb)
    scmd, scb.scmd = scb.scmd, None
    if scmd is not None:
        host = scb.host_byte
        if host is None:
            host = DID_PARITY if scb.flags & ScbFlag.TRANSMISSION_ERROR else DID_OK
        scmd.result = scb.status if host == DID_OK else host << 16
        scmd.resid = scb.resid if host == DID_OK else scmd.request_bufflen
        ahd.completeq.append(scmd)
    scb.clear()
    if scb is not ahd.tmf_scb:
        ahd.free.append(scb)


def ahd_fail(ahd: AhdSoftc, scb: Scb, host_byte: int) -> None:
    """The command ends with *host_byte*."""
    ahd.pending.pop(scb.tag, None)
    scb.host_byte = host_byte
    ahd_done(ahd, scb)


def ahd_send_back(ahd: AhdSoftc, scb: Scb, *, counted: bool = False) -> None:
    """It is to be sent again: by ahd_run_busyq(), or by the mid-layer once that has happened too often (*counted*)."""
    ahd.pending.pop(scb.tag, None)
    scb.requeues += counted
    scb.flags &= ~(ScbFlag.ABORT | ScbFlag.GONE_OVER | ScbFlag.TRANSMISSION_ERROR)
    if scb is ahd.tmf_scb or scb.requeues > REQUEUES_MAX:
        ahd_fail(ahd, scb, DID_REQUEUE)
    else:
        ahd.busyq.append(scb)


def ahd_run_busyq(ahd: AhdSoftc) -> None:
    """Send what is to be sent again, unless the queue is frozen.  The lock is held."""
    while ahd.busyq and ahd.active and not ahd.qfrozen:
        scb = ahd.busyq.popleft()
        if scb.flags & ScbFlag.SENSE:
            _ask_for_sense(ahd, scb)
        else:
            ahd_send(ahd, scb, list(scb.mapped))


def ahd_run_completeq(ahd: AhdSoftc) -> None:
    """void ahd_linux_run_complete_queue(struct ahd_softc *): tell the mid-layer.  The lock is not held."""
    while ahd.completeq:
        scmd = ahd.completeq.popleft()
        scmd.scsi_done(scmd)


# -- what the chip says of a command ---------------------------------------------------------------------------


def ahd_complete_scb(ahd: AhdSoftc, scb: Scb) -> None:
    """The chip is done with *scb*, and nothing was wrong but perhaps its length."""
    ahd.pending.pop(scb.tag, None)
    if scb.flags & ScbFlag.SENSE:
        _take_sense(ahd, scb)
    elif scb.scmd is not None and scb.element.view[_SGPTR_AT] & SgFlag.STATUS_VALID:
        scb.resid, overrun = ahd_calc_residual(ahd, scb, scb.scmd.request_bufflen)
        if overrun:
            scb.host_byte = DID_ERROR
    ahd_done(ahd, scb)


def ahd_handle_scb_status(ahd: AhdSoftc, scb: Scb, *, may_ask: bool = True) -> None:
    """void ahd_handle_scb_status(struct ahd_softc *, struct scb *): it ended with a status.  The chip is paused.

    *may_ask* False: no REQUEST SENSE can be sent; a CHECK CONDITION without sense data ends with DID_REQUEUE.
    """
    status = scb.element.view[8]
    if status == SAM_STAT_GOOD:
        ahd_complete_scb(ahd, scb)
        return
    ahd.pending.pop(scb.tag, None)
    if scb.scmd is None:
        ahd_done(ahd, scb)
        return
    nbytes = scb.scmd.request_bufflen
    if scb.flags & ScbFlag.SENSE:
        scb.host_byte = DID_ERROR               # not even the sense data can be had
        ahd_done(ahd, scb)
        return
    scb.resid = ahd_calc_residual(ahd, scb, nbytes)[0]
    if status == STATUS_PKT_SENSE:
        _take_status_iu(ahd, scb)
    else:
        scb.status = status
        if status in (SAM_STAT_CHECK_CONDITION, SAM_STAT_COMMAND_TERMINATED):
            if not may_ask:
                ahd_fail(ahd, scb, DID_REQUEUE)
                return
            ahd_requeue_device(ahd, scb.target, scb.lun)
            _ask_for_sense(ahd, scb)
            return
    ahd_done(ahd, scb)


def ahd_requeue_device(ahd: AhdSoftc, target: int, lun: int | None = None) -> None:
    """Take back what was not sent yet of a device's commands (lun None: of all LUNs); it is built and sent anew."""
    for other in pull(ahd, lambda scb: scb.target == target and (lun is None or scb.lun == lun)):
        ahd_send_back(ahd, other)


def ahd_thaw_firmware(ahd: AhdSoftc, *, all_: bool = False) -> None:
    """A status was looked at: QFREEZE_COUNT, once for each; nothing goes out while it is not 0.  The chip is paused.

    *all_*: no status is outstanding, whatever the count says.
    """
    mode = ahd.set_modes(Mode.SCSI)
    count = 0 if all_ else max(0, ahd.inw(Scratch.QFREEZE_COUNT) - 1)
    ahd.outw(Scratch.QFREEZE_COUNT, count)
    if not count:
        ahd.change(Scratch.SEQ_FLAGS2, clear=SeqFlags2.SELECTOUT_QFROZEN.mask)
    ahd.set_modes(mode)


# -- sense data ------------------------------------------------------------------------------------------------


def _ask_for_sense(ahd: AhdSoftc, scb: Scb) -> None:
    """Autosense: the next command that the target gets."""
    assert scb.scmd is not None
    old = scb.scmd.device.scsi_level <= SCSI_2 and scb.lun < 8
    nothing_moved = scb.resid == scb.scmd.request_bufflen
    ahd_send_sense(ahd, scb, by_lun=old, renegotiate=nothing_moved and ahd.targets[scb.target].goal != ASYNC)


def _take_sense(ahd: AhdSoftc, scb: Scb) -> None:
    """REQUEST SENSE brought it; the status is that of the command before."""
    missing, _ = ahd_calc_residual(ahd, scb, SENSE_BYTES)
    _copy_sense(ahd, scb, 0, SENSE_BYTES - min(missing, SENSE_BYTES))


def _take_status_iu(ahd: AhdSoftc, scb: Scb) -> None:
    """The status information unit in the sense buffer."""
    at = scb.sense_offset
    iu = _siu.unpack(ahd.sense_view, at)
    scb.status = iu.status
    failures = 0
    if iu.flags & SIU_RSPVALID:
        failures = iu.pkt_failures_length
        if failures >= SIU_PKTFAIL_CODE_LENGTH:
            ahd.printk(f"{scb}: packet failure {ahd.sense_view[at + SIU_PKTFAIL_CODE_AT]:#04x}")
        if iu.status == SAM_STAT_GOOD:
            scb.host_byte = DID_ERROR
    if iu.flags & SIU_SNSVALID:
        _copy_sense(ahd, scb, _siu.size + failures, iu.sense_length)
    else:
        ahd.sense_view[at:at + SENSE_BUFSIZE] = _NO_SENSE


def _copy_sense(ahd: AhdSoftc, scb: Scb, skip: int, count: int) -> None:
    """Into scmd.sense_buffer; the chip's copy is cleared and never answers for another command."""
    assert scb.scmd is not None
    buffer, at = scb.scmd.sense_buffer, scb.sense_offset
    count = max(0, min(count, len(buffer), SENSE_BUFSIZE - skip))
    buffer[:count] = ahd.sense_view[at + skip:at + skip + count]
    ahd.sense_view[at:at + SENSE_BUFSIZE] = _NO_SENSE
