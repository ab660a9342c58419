"""SEQINT: the sequencer met something that only the host can decide.  hw-aic7xxx.md 9.

The sequencer is paused, `ahc.lock` is held.  Every handler ends with the sequencer going on, by unpausing or a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DID_ERROR

from .abort import ahc_freeze_device, ahc_reset_channel
from .adapter import SG_LIST_BYTES
from .done import SENSED, ahc_residual
from .frames import (
    SCB_LUN,
    SCB_RESIDUAL_SGPTR,
    SCB_SGPTR,
    SCB_STATUS,
    SCB_TAG,
    SG_BYTES,
    SG_FULL_RESID,
    SG_HIGH_MASK,
    SG_HIGH_SHIFT,
    SG_LEN_MASK,
    SG_LIST_NULL,
    XFER_LEN_ODD,
    Msg,
)
from .hw import (
    SCSISEQ_RESELECT,
    AhcError,
    ahc_assert_atn,
    ahc_change,
    ahc_restart,
    ahc_unpause,
    scb_inb,
    scb_inl,
    scb_outl,
)
from .msgloop import ahc_host_msg_loop
from .queue import element
from .regs import (
    ALL_ONES,
    DATA_PHASES,
    HADDLDSEL0,
    SEQINT_CODE_MASK,
    AhcRegs,
    Answer,
    ClrInt,
    IntStat,
    MsgOut,
    Phase,
    ScsiSeq,
    SeqFlags,
    SeqInt,
    SStat1,
    SxfrCtl0,
    SxfrCtl1,
)
from .sense import ahc_queue_sense

if TYPE_CHECKING:
    from .adapter import Ahc, AhcScb

#: Looks at the bus until a data phase with a parity error is over, so many us apart.
_BITBUCKET_TRIES, _BITBUCKET_US = 5, 10


def ahc_handle_seqint(ahc: Ahc, intstat: int) -> None:
    """SEQINT is set in *intstat*."""
    ahc.outb(AhcRegs.CLRINT, ClrInt.CLRSEQINT.mask)
    code = intstat & SEQINT_CODE_MASK
    handler = _HANDLERS.get(code)
    if handler is None:
        raise AhcError(f"the sequencer stopped with code {code:02x}, which none of its programs has")
    handler(ahc, ahc_current_scb(ahc), intstat)


def ahc_current_scb(ahc: Ahc) -> AhcScb | None:
    """The SCB in the slot that the sequencer works on."""
    return ahc.scb_of(scb_inb(ahc, SCB_TAG))


# -- status ----------------------------------------------------------------------------------------------------


def _bad_status(ahc: Ahc, scb: AhcScb | None, _intstat: int) -> None:
    """A status other than GOOD, the element uploaded.  CHECK CONDITION is answered at once, in the same element."""
    ahc.outb(AhcRegs.RETURN_1, Answer.NOTHING)
    if scb is None:
        raise AhcError("a bad status for no SCB of ours")
    status = element(ahc, scb)[SCB_STATUS]
    if scb.sensing:
        ahc.printk(f"REQUEST SENSE of SCB {scb.hscb} ended with status {status:#04x}")
        scb.host_byte = DID_ERROR
        ahc_unpause(ahc)
        return
    scb.scsi_status = status
    ahc_freeze_device(ahc, scb)
    if status in SENSED:
        assert scb.scmd is not None
        scb.resid = ahc_residual(ahc, scb)
        ahc_queue_sense(ahc, scb, nothing_moved=scb.resid == scb.scmd.request_bufflen)
        ahc.outb(AhcRegs.RETURN_1, Answer.SEND_SENSE)
    ahc_unpause(ahc)


# -- messages --------------------------------------------------------------------------------------------------


def _host_msg_loop(ahc: Ahc, scb: AhcScb | None, _intstat: int) -> None:
    ahc_host_msg_loop(ahc, scb)
    ahc_unpause(ahc)


def ahc_send_message(ahc: Ahc, message: int, scb: AhcScb | None) -> None:
    """Have the target listen to one message byte."""
    ahc.msg.clear()
    ahc.msg.out, ahc.msg.scb = bytes((message,)), scb
    ahc.outb(AhcRegs.MSG_OUT, MsgOut.HOST_MSG)
    ahc_assert_atn(ahc)


def _no_match(ahc: Ahc, _scb: AhcScb | None, _intstat: int) -> None:
    """A target reselected for what is no SCB of ours: it is reset, others are not affected."""
    ahc.printk(f"target {ahc.inb(AhcRegs.SELID) >> 4} reselected for nothing; resetting it")
    ahc.outb(AhcRegs.SCSISEQ, ahc.inb(AhcRegs.SCSISEQ) & SCSISEQ_RESELECT)
    ahc_send_message(ahc, Msg.BUS_DEVICE_RESET, None)
    ahc_unpause(ahc)


def _send_reject(ahc: Ahc, _scb: AhcScb | None, _intstat: int) -> None:
    ahc.printk(f"message {int(ahc.inb(AhcRegs.ACCUM)):#04x} is rejected")
    ahc_unpause(ahc)


def _mkmsg_failed(ahc: Ahc, scb: AhcScb | None, _intstat: int) -> None:
    """The target never let us say what we had to."""
    ahc.printk("the target did not listen")
    if scb is not None and scb.dev is not None:
        scb.dev.target.renegotiate()
    ahc_unpause(ahc)


# -- the bus ---------------------------------------------------------------------------------------------------


def _bad_phase(ahc: Ahc, _scb: AhcScb | None, _intstat: int) -> None:
    ahc.printk(f"bus phase {int(ahc.inb(AhcRegs.LASTPHASE)):#04x} is none the sequencer knows")
    ahc_unpause(ahc)


def _proto_violation(ahc: Ahc, scb: AhcScb | None, _intstat: int) -> None:
    """The target did what it must not: abort what it is at, or reset the bus where it would not listen."""
    lastphase = ahc.inb(AhcRegs.LASTPHASE)
    identified = not ahc.inb(AhcRegs.SEQ_FLAGS) & SeqFlags.NOT_IDENTIFIED.mask
    if lastphase in DATA_PHASES or lastphase == Phase.COMMAND or (identified and scb is None):
        ahc_reset_channel(ahc, f"protocol violation in phase {int(lastphase):#04x}", initiate=True)
        return
    ahc.printk(f"protocol violation in phase {int(lastphase):#04x}")
    ahc_change(ahc, AhcRegs.SCSISEQ, ScsiSeq.ENSELO.mask)
    message = Msg.ABORT
    if identified and scb is not None:
        scb.host_byte = DID_ERROR
        message = Msg.ABORT_TAG if scb.tagged and not scb.sensing else Msg.ABORT
        scb.recovery = message
    ahc_send_message(ahc, message, scb if identified else None)
    ahc_unpause(ahc)


def _missed_busfree(ahc: Ahc, _scb: AhcScb | None, _intstat: int) -> None:
    """A command is complete and the target does not let go of the bus."""
    ahc_restart(ahc)


def _perr_detected(ahc: Ahc, scb: AhcScb | None, intstat: int) -> None:
    """The firmware noticed a parity error.  With SCSIINT pending that one deals with it, right after this."""
    if intstat & IntStat.SCSIINT.mask or not ahc.inb(AhcRegs.SSTAT1) & SStat1.SCSIPERR.mask:
        ahc_unpause(ahc)
        return
    ahc.outb(AhcRegs.CLRSINT1, SStat1.SCSIPERR.mask)
    if scb is not None:
        scb.parity = True
    if ahc.inb(AhcRegs.LASTPHASE) not in DATA_PHASES:
        ahc.inb(AhcRegs.SCSIDATL)
        ahc_unpause(ahc)
        return
    ahc_change(ahc, AhcRegs.SXFRCTL1, 0, SxfrCtl1.BITBUCKET.mask)
    for _ in range(_BITBUCKET_TRIES):
        if ahc.inb(AhcRegs.SCSIPHASE) & 0x3C:
            ahc_change(ahc, AhcRegs.SXFRCTL1, SxfrCtl1.BITBUCKET.mask)
            ahc_unpause(ahc)
            return
        ahc.kernel.udelay(_BITBUCKET_US)
    ahc_reset_channel(ahc, "a data phase with a parity error does not end", initiate=True)


# -- data ------------------------------------------------------------------------------------------------------


def _data_overrun(ahc: Ahc, scb: AhcScb | None, _intstat: int) -> None:
    """The target wanted to move more than the list takes, or the other way."""
    if scb is not None:
        ahc_freeze_device(ahc, scb)
        scb.host_byte = DID_ERROR
    for _ in range(2):
        ahc_change(ahc, AhcRegs.SXFRCTL0, 0, SxfrCtl0.CLRSTCNT.mask | SxfrCtl0.CLRCHN.mask)
    _set_high_address(ahc, 0)
    ahc_unpause(ahc)


def _set_high_address(ahc: Ahc, high: int) -> None:
    """Bits 38:32 of the host address."""
    ahc_change(ahc, AhcRegs.DSCOMMAND1, 0, HADDLDSEL0)
    ahc.outb(AhcRegs.HADDR[0], high)
    ahc_change(ahc, AhcRegs.DSCOMMAND1, HADDLDSEL0)


def _position(ahc: Ahc, scb: AhcScb) -> tuple[int, int, int]:
    """Where the data phase stopped: offset of the element in the S/G memory, its second half, bytes left in it."""
    at = scb_inl(ahc, SCB_RESIDUAL_SGPTR) - ahc.memory.sg.bus_addr - SG_BYTES
    start = scb.number * SG_LIST_BYTES
    if at % SG_BYTES or not start <= at < start + scb.nseg * SG_BYTES:
        raise AhcError(f"the residual S/G pointer of SCB {scb.hscb} is not in its list")
    half = int.from_bytes(ahc.sg_view[at + 4:at + 8], "little")
    return at, half, scb_inl(ahc, 0) & SG_LEN_MASK


def _pdata_reinit(ahc: Ahc, scb: AhcScb | None, _intstat: int) -> None:
    """A second data phase: set the DMA engine to where the first one stopped."""
    if scb is None:
        raise AhcError("a data phase for no SCB of ours")
    at, half, left = _position(ahc, scb)
    bus_addr = int.from_bytes(ahc.sg_view[at:at + 4], "little") + (half & SG_LEN_MASK) - left
    _set_high_address(ahc, (half & SG_HIGH_MASK) >> SG_HIGH_SHIFT)
    for n in range(4):
        ahc.outb(AhcRegs.HADDR[n], bus_addr >> 8 * n & 0xFF)
    for n in range(3):
        ahc.outb(AhcRegs.HCNT[n], left >> 8 * n & 0xFF)
    ahc_unpause(ahc)


def _ign_wide_res(ahc: Ahc, scb: AhcScb | None, _intstat: int) -> None:
    """The last byte of a wide transfer was padding: one byte less moved, unless the padding was beyond our data."""
    if scb is not None and scb.nseg and not scb_inl(ahc, SCB_SGPTR) & SG_FULL_RESID:
        sgptr = scb_inl(ahc, SCB_RESIDUAL_SGPTR)
        if not sgptr & SG_LIST_NULL:
            at, half, left = _position(ahc, scb)
            if left == half & SG_LEN_MASK and at > scb.number * SG_LIST_BYTES:
                at, left = at - SG_BYTES, 0
                half = int.from_bytes(ahc.sg_view[at + 4:at + 8], "little")
            _set_position(ahc, at, half, left + 1)
        elif not scb_inb(ahc, SCB_LUN) & XFER_LEN_ODD:
            at = scb.number * SG_LIST_BYTES + (scb.nseg - 1) * SG_BYTES
            _set_position(ahc, at, int.from_bytes(ahc.sg_view[at + 4:at + 8], "little"), 1)
    ahc_unpause(ahc)


def _set_position(ahc: Ahc, at: int, half: int, left: int) -> None:
    scb_outl(ahc, 0, half & ~SG_LEN_MASK | left)
    scb_outl(ahc, SCB_RESIDUAL_SGPTR, ahc.memory.sg.bus_addr + at + SG_BYTES)


def _fatal(what: str) -> Callable[[Ahc, AhcScb | None, int], None]:
    def handler(_ahc: Ahc, _scb: AhcScb | None, intstat: int) -> None:
        raise AhcError(f"{what} (code {intstat & ALL_ONES & SEQINT_CODE_MASK:02x})")
    return handler


_HANDLERS: Final[Mapping[int, Callable[[Ahc, AhcScb | None, int], None]]] = {
    SeqInt.BAD_PHASE: _bad_phase,
    SeqInt.SEND_REJECT: _send_reject,
    SeqInt.PROTO_VIOLATION: _proto_violation,
    SeqInt.NO_MATCH: _no_match,
    SeqInt.IGN_WIDE_RES: _ign_wide_res,
    SeqInt.PDATA_REINIT: _pdata_reinit,
    SeqInt.HOST_MSG_LOOP: _host_msg_loop,
    SeqInt.BAD_STATUS: _bad_status,
    SeqInt.PERR_DETECTED: _perr_detected,
    SeqInt.DATA_OVERRUN: _data_overrun,
    SeqInt.MKMSG_FAILED: _mkmsg_failed,
    SeqInt.MISSED_BUSFREE: _missed_busfree,
    SeqInt.SCB_MISMATCH: _fatal("the sequencer found another SCB than it looked for"),
    SeqInt.NO_FREE_SCB: _fatal("the sequencer has no free slot"),
    SeqInt.OUT_OF_RANGE: _fatal("the sequencer met a tag out of range"),
}
