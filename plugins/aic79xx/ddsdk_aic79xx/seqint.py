"""SEQINT: the sequencer has stopped with a code.

Source: aic79xx_core.c, "ahd_handle_seqint" (Linux 2.6.9), by effect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DID_ABORT, DID_ERROR, DID_RESET

from .busfree import clear_sources, device_was_reset
from .chips import Bug
from .frames import SG_LEN_MASK, SG_PTR_MASK, Control, Msg, SgFlag, TaskMgmt
from .init import ahd_restart
from .lists import pull
from .lost import ahd_lost
from .message import Sent, ahd_handle_message_phase, assert_atn
from .negotiate import ASYNC, ahd_set_agreement
from .regs import (
    CommonRegs,
    DfCntrl,
    DffRegs,
    DffSxfrCtl,
    IntStat,
    Mode,
    ModeRegs,
    Scratch,
    ScsiRegs,
    ScsiSeq0,
    SeqFlags,
    SeqIntCode,
)
from .scb import ScbFlag
from .sequencer import PHASE_MASK, SENSE_BUFSIZE, SG_CACHE_STATUS_IU, Phase
from .status import ahd_fail, ahd_handle_scb_status, ahd_requeue_device, ahd_thaw_firmware, element_of

if TYPE_CHECKING:
    from .ahd import AhdSoftc
    from .scb import Scb

#: Code 06: so many microseconds until the FIFO is free (100 ms in the original, which is no time for a handler).
_FIFO_FREE_US: Final = 50
_MDFFSTAT_FREE: Final = 0x01
_PAUSE_SPINS: Final = 50
_AIM: Final = DfCntrl.PRELOADEN.mask | DfCntrl.SCSIEN.mask | DfCntrl.HDMAEN.mask
_DATA_PHASES: Final = frozenset((Phase.DATAOUT, Phase.DATAOUT_DT, Phase.DATAIN, Phase.DATAIN_DT, Phase.COMMAND))
#: 0D: what is sent instead of the command that the target has no agreement for.
_TUR_BYTES: Final = 6

#: A handler; true: the sequencer goes on when it returns, false: it has been restarted, or stays as it is.
Handler = Callable[["AhdSoftc", SeqIntCode], bool]


def ahd_handle_seqint(ahd: AhdSoftc) -> bool:
    """void ahd_handle_seqint(struct ahd_softc *, u_int intstat).  The lock is held; true, for callers that ask."""
    number = ahd.inb(CommonRegs.SEQINTCODE)
    ahd.outb(CommonRegs.CLRINT, IntStat.SEQINT.mask)
    if ahd.collides and number != SeqIntCode.NO_SEQINT:
        _confirm(ahd)
    ahd.update_modes()
    try:
        code = SeqIntCode(number)
    except ValueError:
        ahd_lost(ahd, f"sequencer interrupt {number:#04x}, which there is not")
        return True
    if _HANDLERS.get(code, _log)(ahd, code) and ahd.active:
        ahd.unpause()
    return True


def _confirm(ahd: AhdSoftc) -> None:
    """A part whose interrupts collide clears SEQINTCODE once it is let go, and stops again."""
    ahd.unpause()
    for _ in range(_PAUSE_SPINS):
        if ahd.is_paused():
            break
        ahd.udelay(1)
    else:
        ahd.pause()
    ahd.forget_modes()
    ahd.outb(CommonRegs.CLRINT, IntStat.SEQINT.mask)


def current_scb(ahd: AhdSoftc) -> Scb | None:
    """The SCB that this mode's SCBPTR names, if it is one of ours."""
    return ahd.pending.get(ahd.inw(ModeRegs.SCBPTR))


# -- commands that ended ---------------------------------------------------------------------------------------


def _bad_scb_status(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """1A: an SCB ended with a status.  Each freeze is undone once, also one whose command is gone."""
    ahd.set_modes(Mode.CCHAN)
    scb = current_scb(ahd)
    ahd.outw(Scratch.CMDS_PENDING, max(0, ahd.inw(Scratch.CMDS_PENDING) - 1))
    if scb is not None:
        ahd_handle_scb_status(ahd, scb)
    else:
        ahd.stale += 1
    ahd_thaw_firmware(ahd)
    return True


def _cfg4istat(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """0F: the FIFO wants to know where the status IU goes.  Of a command that is not ours: where it does no harm."""
    scb = current_scb(ahd) or ahd.tmf_scb
    ahd.outn(DffRegs.HADDR, scb.sense_busaddr)
    ahd.outn(DffRegs.HCNT, SENSE_BUFSIZE)
    ahd.outb(DffRegs.SG_CACHE_PRE, SG_CACHE_STATUS_IU)
    ahd.outb(DffRegs.DFCNTRL, _AIM)
    return True


def _status_overrun(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """10: a status IU that does not fit."""
    ahd_lost(ahd, "status information unit longer than its buffer")
    return False


def _cfg4overrun(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """11: a packetized target wants more than there is; the residual pointer will say so.  Not ours: abort it."""
    if current_scb(ahd) is None:
        mode = ahd.set_modes(Mode.SCSI)
        ahd.change(Scratch.SCB_CONTROL, clear=Control.STATUS_RCVD)
        ahd.msg.say(bytes((Msg.ABORT_TASK,)), Sent.ABORT)
        assert_atn(ahd)
        ahd.set_modes(mode)
    return True


def _data_overrun(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """09: the same of a non-packetized one; takes effect when the command completes."""
    scb = current_scb(ahd)
    if scb is not None:
        scb.host_byte = DID_ERROR
    return True


# -- messages --------------------------------------------------------------------------------------------------


def _host_msg_loop(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """07."""
    ahd.set_modes(Mode.SCSI)
    if ahd_handle_message_phase(ahd, current_scb(ahd)):
        return True
    clear_sources(ahd)
    ahd_restart(ahd)
    return False


def _entering_nonpack(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """12: a message phase inside a packetized connection; 07 follows."""
    scb = current_scb(ahd)
    if scb is not None:
        ahd.outb(Scratch.SAVED_SCSIID, scb.target << 4 | ahd.our_id)
        ahd.outb(Scratch.SAVED_LUN, scb.lun)
    ahd.outb(Scratch.SEQ_FLAGS, 0)
    return True


def _proto_violation(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """03: abort the command if the bus is in a phase that lets us say so, else reset the bus."""
    ahd.set_modes(Mode.SCSI)
    identified = not ahd.inb(Scratch.SEQ_FLAGS) & SeqFlags.NOT_IDENTIFIED.mask
    scb = current_scb(ahd) if identified else None
    phase = ahd.inb(Scratch.LASTPHASE)
    if (identified and scb is None) or phase in _DATA_PHASES:
        ahd_lost(ahd, f"protocol violation in phase {phase:#04x}")
        return False
    ahd.printk(f"protocol violation in phase {phase:#04x}; command aborted")
    ahd.change(ScsiRegs.SCSISEQ0, clear=ScsiSeq0.ENSELO.mask)
    if scb is not None:
        scb.host_byte = DID_ERROR
        scb.flags |= ScbFlag.ABORT
        tagged = ahd.inb(Scratch.SCB_CONTROL) & Control.TAG_ENB
        ahd.msg.say(bytes((Msg.ABORT_TASK if tagged else Msg.ABORT_TASK_SET,)), Sent.ABORT)
    else:
        ahd.msg.say(bytes((Msg.ABORT_TASK_SET,)), Sent.ABORT)
    assert_atn(ahd)
    return True


def _no_match(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """04: a target came back for a command that nobody knows: BUS DEVICE RESET."""
    ahd.set_modes(Mode.SCSI)
    ahd.printk(f"target {ahd.inb(ScsiRegs.SELID) >> 4} reselected without a command; device reset")
    ahd.change(ScsiRegs.SCSISEQ0, clear=ScsiSeq0.ENSELO.mask)
    ahd.outb(Scratch.SAVED_SCSIID, ahd.inb(ScsiRegs.SELID) & 0xF0 | ahd.our_id)
    ahd.msg.say(bytes((Msg.TARGET_RESET,)), Sent.DEVICE_RESET)
    assert_atn(ahd)
    return True


def _mkmsg_failed(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """0A: a command completed before its message was said."""
    scb = current_scb(ahd)
    ahd.change(Scratch.SCB_CONTROL, clear=Control.MK_MESSAGE)
    if scb is not None and scb.flags & (ScbFlag.ABORT | ScbFlag.DEVICE_RESET):
        _drop_second_copy(ahd, scb)
        scb.flags &= ~(ScbFlag.ABORT | ScbFlag.DEVICE_RESET)
    return True


def _drop_second_copy(ahd: AhdSoftc, scb: Scb) -> None:
    """It was queued once more to be aborted, and needs that no longer."""
    element = scb.element
    pull(ahd, lambda other: other is scb)
    assert scb.element is element


# -- data ------------------------------------------------------------------------------------------------------


def _residual(ahd: AhdSoftc) -> tuple[int, int]:
    """(residual count, residual S/G pointer) in the slot that this mode looks at."""
    return ahd.inl(Scratch.SCB_RESIDUAL_DATACNT), ahd.inl(Scratch.SCB_RESIDUAL_SGPTR)


def _ign_wide_res(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """05: the last byte was padding: one byte more is residual, unless an odd length expects just that."""
    scb = current_scb(ahd)
    if scb is None or scb.scmd is None:
        return True
    count, pointer = _residual(ahd)
    if ahd.inb(Scratch.SCB_SGPTR) & (SgFlag.LIST_NULL | SgFlag.FULL_RESID) or scb.scmd.request_bufflen & 1:
        return True
    if pointer & SgFlag.LIST_NULL:              # everything had moved: the last element's last byte has not
        last = len(scb.mapped) - 1
        pointer = scb.sg_busaddr + (last + 1) * ahd.sg_size
        count = element_of(ahd, scb, last)[1] & ~SG_LEN_MASK
    ahd.outn(Scratch.SCB_RESIDUAL_DATACNT, count + 1)
    ahd.outn(Scratch.SCB_RESIDUAL_SGPTR, pointer)
    return True


def _pdata_reinit(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """06: a data phase goes on in mid list: aim the FIFO at what is left of the element before the residual pointer."""
    mode = ahd.update_modes()
    scb = current_scb(ahd)
    if scb is None or mode > Mode.DFF1:
        ahd_lost(ahd, "data pointers wanted for a command that nobody knows")
        return False
    ahd.outb(DffRegs.DFFSXFRCTL, DffSxfrCtl.CLRCHN.mask)
    for _ in range(_FIFO_FREE_US):
        if ahd.inb(DffRegs.MDFFSTAT) & _MDFFSTAT_FREE:
            break
        ahd.udelay(1)
    else:
        ahd.outb(DffRegs.DFFSXFRCTL, DffSxfrCtl.RSTCHN.mask | DffSxfrCtl.CLRSHCNT.mask)
    set_current_fifo(ahd, mode)
    count, pointer = _residual(ahd)
    number = ((pointer & SG_PTR_MASK) - scb.sg_busaddr) // ahd.sg_size - 1
    address, word = element_of(ahd, scb, number)
    left = count & SG_LEN_MASK
    ahd.outn(DffRegs.HADDR, address + (word & SG_LEN_MASK) - left)
    ahd.outn(DffRegs.HCNT, left)
    return True


def set_current_fifo(ahd: AhdSoftc, mode: Mode) -> None:
    """DFFSTAT: make the FIFO of *mode* current; Rev B wants FIFO 0 written as 2."""
    before = ahd.set_modes(Mode.SCSI)
    ahd.outb(ScsiRegs.DFFSTAT, 2 if mode is Mode.DFF0 and not ahd.has(Bug.BUSFREEREV) else int(mode))
    ahd.set_modes(before)


# -- odd ones --------------------------------------------------------------------------------------------------


def _illegal_phase(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """0D: a target that was sent a packet wants a command: it lost the agreement on information units.

    What it gets is a TEST UNIT READY, and then an abort; the command is sent again when all is agreed anew.
    """
    ahd.set_modes(Mode.SCSI)
    scb = current_scb(ahd)
    phase = ahd.inb(ScsiRegs.SCSISIGI) & PHASE_MASK
    if phase != Phase.COMMAND or scb is None:
        ahd_lost(ahd, f"illegal phase {phase:#04x}")
        return False
    target = ahd.targets[scb.target]
    ahd.printk(f"target {scb.target} lost the packetized agreement")
    ahd_set_agreement(ahd, target, ASYNC)
    target.goal = target.user
    for n in range(_TUR_BYTES):
        ahd.outb_at(Scratch.SCB_RESIDUAL_DATACNT.offset + n, 0)
    ahd.outb(Scratch.SCB_CDB_LEN, _TUR_BYTES)
    ahd.change(Scratch.SCB_CONTROL, clear=Control.TAG_ENB | Control.TAG_TYPE, set_=Control.MK_MESSAGE)
    ahd.outb(Scratch.SAVED_SCSIID, scb.target << 4 | ahd.our_id)
    ahd.outb(Scratch.SAVED_LUN, 0)
    ahd.outb(Scratch.SEQ_FLAGS, 0)
    scb.flags |= ScbFlag.ABORT | ScbFlag.GONE_OVER
    ahd.msg.say(bytes((Msg.ABORT_TASK_SET,)), Sent.ABORT)
    assert_atn(ahd)
    ahd.outb(ScsiRegs.CLRLQOINT1, 0x01)
    ahd_requeue_device(ahd, scb.target)
    return True


def _taskmgmt_done(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """13: a task management function was carried out."""
    scb = current_scb(ahd)
    if scb is None:
        return True
    function = TaskMgmt(ahd.inb(Scratch.SCB_TASK_MANAGEMENT))
    if function & TaskMgmt.ABORT_TASK:
        ahd_fail(ahd, scb, DID_ABORT)
    else:
        target, lun = scb.target, scb.lun
        ahd_fail(ahd, scb, DID_RESET)
        device_was_reset(ahd, target, lun)
    return True


def _taskmgmt_beaten(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """14: the command was faster than its abort."""
    scb = current_scb(ahd)
    ahd.outb(Scratch.SCB_TASK_MANAGEMENT, 0)
    if scb is not None:
        scb.task_management = 0
        _drop_second_copy(ahd, scb)
    return True


def _missed_busfree(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """0B: the program never saw the bus go free."""
    ahd.printk("missed bus free")
    ahd_restart(ahd)
    return False


def _invalid_seqint(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """0E: the program found itself where it should not be."""
    ahd_lost(ahd, "invalid sequencer interrupt")
    return False


def _saw_hwerr(ahd: AhdSoftc, _code: SeqIntCode) -> bool:
    """19: the program saw ERROR."""
    ahd.hwerr_count += 1
    ahd_lost(ahd, f"the sequencer saw a hardware error, ERROR {ahd.inb(CommonRegs.ERROR):#04x}")
    return False


def _log(ahd: AhdSoftc, code: SeqIntCode) -> bool:
    """00 is nobody's; 01, 02, 08, 0C, 15 to 18 are worth a line."""
    if code is not SeqIntCode.NO_SEQINT:
        ahd.printk(f"sequencer interrupt {code.name}")
    return True


_HANDLERS: Final = {
    SeqIntCode.PROTO_VIOLATION: _proto_violation,
    SeqIntCode.NO_MATCH: _no_match,
    SeqIntCode.IGN_WIDE_RES: _ign_wide_res,
    SeqIntCode.PDATA_REINIT: _pdata_reinit,
    SeqIntCode.HOST_MSG_LOOP: _host_msg_loop,
    SeqIntCode.DATA_OVERRUN: _data_overrun,
    SeqIntCode.MKMSG_FAILED: _mkmsg_failed,
    SeqIntCode.MISSED_BUSFREE: _missed_busfree,
    SeqIntCode.ILLEGAL_PHASE: _illegal_phase,
    SeqIntCode.INVALID_SEQINT: _invalid_seqint,
    SeqIntCode.CFG4ISTAT_INTR: _cfg4istat,
    SeqIntCode.STATUS_OVERRUN: _status_overrun,
    SeqIntCode.CFG4OVERRUN: _cfg4overrun,
    SeqIntCode.ENTERING_NONPACK: _entering_nonpack,
    SeqIntCode.TASKMGMT_FUNC_COMPLETE: _taskmgmt_done,
    SeqIntCode.TASKMGMT_CMD_CMPLT_OKAY: _taskmgmt_beaten,
    SeqIntCode.SAW_HWERR: _saw_hwerr,
    SeqIntCode.BAD_SCB_STATUS: _bad_scb_status,
}
