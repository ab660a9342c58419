"""INT instructions of our own program: what SCRIPTS stop for, and how they go on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DID_ERROR, DID_REQUEUE

from .adapter import SENSE_BYTES
from .block import write_block
from .chip import R, go_on
from .complete import ccb_of_dsa, drop, end_ccb, wants_sense
from .frames import Message
from .program import NO_STATUS, Sir, offset
from .recovery import sym_request_reset
from .scatter import put_segments, save_pointer

if TYPE_CHECKING:
    from ddsdk.scsi.cmnd import ScsiCmnd

    from .adapter import Ccb, Hcb

_DSPS: Final = R.DSPS.offset
_REQUEST_SENSE: Final = 0x03
#: What a fixed-format answer has; more is nobody's interest, and would end in a phase mismatch each time.
_SENSE_LENGTH: Final = 18
_STATUS_AT: Final = offset("status_byte")
_STRAYS_PRINTED: Final = 8


def sym_int_sir(np: Hcb, ended: list[ScsiCmnd]) -> None:
    """DSPS holds the code."""
    code = np.kernel.readl(np.chip, _DSPS)
    handler = _HANDLERS.get(code)
    if handler is None:
        sym_request_reset(np, f"INT {code:#x} is none of this program's")
    else:
        handler(np, ended)


def _current(np: Hcb) -> Ccb | None:
    """The block on the bus, if it has a command."""
    ccb = ccb_of_dsa(np)
    return ccb if ccb is not None and ccb.scmd is not None else None


# -- the end of commands -------------------------------------------------------------------------------------


def _bad_status(np: Hcb, ended: list[ScsiCmnd]) -> None:
    """Bus free.  CHECK CONDITION: ask for the sense data before anything else reaches that target."""
    ccb = _current(np)
    if ccb is None:
        sym_request_reset(np, "a bad status of nobody's command")
        return
    status = np.view[ccb.offset + _STATUS_AT]
    if np.kernel.readb(np.chip, R.SCRATCHA.offset + 1) == NO_STATUS:
        status = NO_STATUS
    if status != NO_STATUS and wants_sense(ccb, status):
        _request_sense(np, ccb)
    else:
        end_ccb(np, ccb, status, ended)
    go_on(np, "start")


def _request_sense(np: Hcb, ccb: Ccb) -> None:
    """Send REQUEST SENSE with the command's own block, ahead of all others: autosense."""
    scmd = ccb.scmd
    assert scmd is not None
    ccb.resid = 0 if np.view[ccb.offset + offset("moved")] else ccb.left
    np.unmap(ccb)
    np.answered.add(scmd.device.id)
    ccb.sensing, ccb.tagged = True, False
    lun = scmd.device.lun
    np.code_view[ccb.sense_offset:ccb.sense_offset + SENSE_BYTES] = bytes(SENSE_BYTES)
    write_block(np, ccb, scmd.device, bytes((_REQUEST_SENSE, lun << 5, 0, 0, _SENSE_LENGTH, 0)), disconnect=False)
    ccb.set_data([(ccb.sense_address, _SENSE_LENGTH)], to_device=False)
    put_segments(np, ccb)
    np.rebuild_start_queue([ccb, *np.unstarted()])


# -- data ----------------------------------------------------------------------------------------------------


def _save_pointer(np: Hcb, _ended: list[ScsiCmnd]) -> None:
    ccb = _current(np)
    if ccb is None:
        sym_request_reset(np, "SAVE DATA POINTER of nobody's command")
        return
    save_pointer(np, ccb, np.kernel.readb(np.chip, R.TEMP.offset))
    go_on(np, "clear_ack")


def _overrun(np: Hcb, _ended: list[ScsiCmnd]) -> None:
    """A byte came that nobody asked for; take the others, too, and fail the command."""
    ccb = _current(np)
    if ccb is None:
        sym_request_reset(np, "data of nobody's command")
        return
    ccb.error = DID_ERROR
    go_on(np, "over_more")


def _data_out_overrun(np: Hcb, ended: list[ScsiCmnd]) -> None:
    """The target wants more than the command has: abort it."""
    ccb = _current(np)
    if ccb is None:
        sym_request_reset(np, "data of nobody's command")
        return
    assert ccb.scmd is not None
    np.printk(f"target {ccb.scmd.device.id} wants more data than there is; command aborted")
    np.poke("msgout", Message.ABORT_TAG if ccb.tagged else Message.ABORT)
    drop(np, ccb, DID_ERROR, ended, rests=True)
    go_on(np, "abandon_there")


# -- reselections that cannot be --------------------------------------------------------------------------------


def _untagged(np: Hcb, _ended: list[ScsiCmnd]) -> None:
    """A reselection without a tag: the one untagged command of that target and LUN."""
    _without_tag(np, "resume_there", "abandon_there")


def _reselect_message(np: Hcb, _ended: list[ScsiCmnd]) -> None:
    """The same, and a message waits."""
    _without_tag(np, "resume_message", "abandon")


def _without_tag(np: Hcb, resume: str, abandon: str) -> None:
    nexus = np.kernel.readb(np.chip, R.SSID).ID, np.kernel.readb(np.chip, R.SCRATCHA.offset) & 0x07
    there = [ccb for ccb in np.busy.values() if ccb.nexus == nexus and np.started(ccb)]
    ccb = next((one for one in there if not one.tagged), None)
    if ccb is not None:
        np.kernel.writel(ccb.address, np.chip, R.DSA)
        np.kernel.writel(ccb.address, np.chip, R.TEMP)
        go_on(np, resume)
    elif there:                                     # ABORT would take them along
        sym_request_reset(np, f"target {nexus[0]} reselects without a tag")
    else:
        _stray(np, Message.ABORT, abandon)


def _bad_tag(np: Hcb, _ended: list[ScsiCmnd]) -> None:
    _stray(np, Message.ABORT_TAG, "abandon")


def _stray(np: Hcb, message: Message, label: str) -> None:
    """A reselection for a command that nobody gave, or that is over: send it away."""
    np.strays += 1
    if np.strays <= _STRAYS_PRINTED:
        np.printk(f"target {np.kernel.readb(np.chip, R.SSID).ID} reselects for a command that is not there;"
                  f" {message.name}")
    np.poke("msgout", message)
    go_on(np, label)


# -- the rest ------------------------------------------------------------------------------------------------


def _stopped(np: Hcb, _ended: list[ScsiCmnd]) -> None:
    """At the gate: whoever put the INT there goes on."""
    np.at_gate = True


def _tm_done(np: Hcb, _ended: list[ScsiCmnd]) -> None:
    np.tm_result = True
    np.skip_slot(np.tm)
    go_on(np, "start")


def _message_rejected(np: Hcb, ended: list[ScsiCmnd]) -> None:
    """The tag, most likely: this logical unit takes none.  Commands for it that wait with a tag are to come again."""
    ccb = _current(np)
    if ccb is not None and ccb.tagged:
        np.printk("target {}, LUN {} refuses tags".format(*ccb.nexus))
        np.untagged.add(ccb.nexus)
        ccb.tagged, ccb.without_tag = False, True
        np.without_tag += 1
        waiting = np.unstarted()
        for one in waiting:
            if one.tagged and one.nexus == ccb.nexus:
                drop(np, one, DID_REQUEUE, ended)
        np.rebuild_start_queue([one for one in waiting if one is np.tm or one.scmd is not None])
    go_on(np, "clear_ack")


def _reset(why: str) -> Callable[[Hcb, list[ScsiCmnd]], None]:
    def handler(np: Hcb, _ended: list[ScsiCmnd]) -> None:
        sym_request_reset(np, why)
    return handler


_HANDLERS: Final[Mapping[int, Callable[[Hcb, list[ScsiCmnd]], None]]] = MappingProxyType({
    Sir.STOPPED: _stopped,
    Sir.BAD_STATUS: _bad_status,
    Sir.SAVE_POINTER: _save_pointer,
    Sir.OVERRUN: _overrun,
    Sir.DATA_OUT_OVERRUN: _data_out_overrun,
    Sir.NO_IDENTIFY: _reset("a target reselects and does not say who it is"),
    Sir.UNTAGGED: _untagged,
    Sir.RESELECT_MESSAGE: _reselect_message,
    Sir.BAD_TAG: _bad_tag,
    Sir.BAD_NEXUS: _bad_tag,
    Sir.MESSAGE_REJECTED: _message_rejected,
    Sir.BAD_PHASE: _reset("a phase that SCSI-2 does not have"),
    Sir.TM_PHASE: _reset("no message out phase for a task management message"),
    Sir.TM_DONE: _tm_done,
    Sir.ABANDON_PHASE: _reset("a target does not let itself be aborted"),
})
