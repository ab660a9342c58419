"""The host message loop: the sequencer stops (code 61) and the host says and hears the messages, a byte a stop.

hw-aic7xxx.md 10.  Needed after every reset: the first command to each target carries MK_MESSAGE and begins with a
negotiation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .agreement import TransInfo, after_reject, agreed, request, sdtr, without
from .frames import (
    DISCENB,
    EXT_LEN,
    IDENTIFY_DISC,
    LUN_MASK,
    MK_MESSAGE,
    SCB_CONTROL,
    SCB_LUN,
    SCB_SCSIOFFSET,
    SCB_SCSIRATE,
    SCB_TAG,
    TAG_ENB,
    Ext,
    Msg,
)
from .hw import ahc_assert_atn, ahc_change, ahc_clear_msg_state, scb_inb, scb_outb
from .queue import element
from .regs import CLRATNO, PHASE_MASK, AhcRegs, Answer, MsgOut, Phase, SStat1

if TYPE_CHECKING:
    from .adapter import Ahc, AhcScb, AhcTarget

_REQINIT: Final = SStat1.REQINIT.mask
#: Messages that the firmware deals with itself.
_FIRMWARES: Final = frozenset((Msg.COMMAND_COMPLETE, Msg.SAVE_POINTERS, Msg.RESTORE_POINTERS, Msg.DISCONNECT,
                               Msg.IGNORE_WIDE_RESIDUE))
_EXTENDED: Final = frozenset(EXT_LEN)
#: Bytes of an extended message beyond which nobody listens.
_LONGEST: Final = 8
#: Requests that a target may leave unanswered before less is asked for.
_IGNORED_MAX: Final = 2


def ahc_host_msg_loop(ahc: Ahc, scb: AhcScb | None) -> None:
    """One pass: one byte on the bus.  *scb* is the one the sequencer works on, if that is known."""
    phase = ahc.inb(AhcRegs.SCSISIGI) & PHASE_MASK
    msg = ahc.msg
    if phase == Phase.MESGOUT:
        _say(ahc, scb)
    elif phase == Phase.MESGIN:
        if msg.kind == "out":
            ahc.outb(AhcRegs.CLRSINT1, CLRATNO)
        _hear(ahc, scb)
    else:
        _left_unanswered(ahc, scb)
        ahc_clear_msg_state(ahc)
        ahc.outb(AhcRegs.RETURN_1, Answer.EXIT_MSG_LOOP)


# -- out -------------------------------------------------------------------------------------------------------


def _say(ahc: Ahc, scb: AhcScb | None) -> None:
    msg = ahc.msg
    if msg.reply:
        msg.out, msg.reply, msg.index = msg.reply, b"", 0
    elif not msg.out:
        msg.out, msg.index = _first_words(ahc, scb), 0
    msg.kind = "out"
    if msg.index >= len(msg.out):           # the target did not understand: once more
        msg.index = 0
        ahc_assert_atn(ahc)
    byte = msg.out[msg.index]
    if msg.index == len(msg.out) - 1:
        ahc.outb(AhcRegs.CLRSINT1, CLRATNO)
        msg.sent = _last_message(msg.out)
    ahc.outb(AhcRegs.CLRSINT1, _REQINIT)
    ahc.outb(AhcRegs.SCSIDATL, byte)
    msg.index += 1
    ahc.outb(AhcRegs.RETURN_1, Answer.CONT_MSG_LOOP)


def _first_words(ahc: Ahc, scb: AhcScb | None) -> bytes:
    """What the host has to say to a target that was just selected, or that reselected and was asked to listen."""
    if scb is None:
        return bytes((Msg.BUS_DEVICE_RESET,))
    ahc.msg.scb = scb
    words = b""
    if ahc.inb(AhcRegs.MSG_OUT) == MsgOut.IDENTIFYFLAG:
        words = _identify(scb_inb(ahc, SCB_CONTROL), scb_inb(ahc, SCB_LUN) & LUN_MASK, scb.hscb)
    ahc_clear_mk_message(ahc, scb)
    if scb.recovery or scb.dev is None:
        return words + bytes((scb.recovery or Msg.NOOP,))
    target = scb.dev.target
    target.asked = request(target.curr, target.goal)
    return words + target.asked


def _identify(control: int, lun: int, tag: int) -> bytes:
    words = bytes((Msg.IDENTIFY | lun | (IDENTIFY_DISC if control & DISCENB else 0),))
    return words + bytes((control & (TAG_ENB | 0x03), tag)) if control & TAG_ENB else words


def _last_message(out: bytes) -> int:
    """The code of the message that ends *out*: a Msg, for extended ones Msg.EXTENDED << 8 | Ext."""
    for code, length in EXT_LEN.items():
        if out[-length - 2:-length + 1] == bytes((Msg.EXTENDED, length, code)):
            return Msg.EXTENDED << 8 | code
    return out[-1]


def ahc_clear_mk_message(ahc: Ahc, scb: AhcScb) -> None:
    """The host has had its say: on the chip and in the element."""
    scb_outb(ahc, SCB_CONTROL, scb_inb(ahc, SCB_CONTROL) & ~MK_MESSAGE)
    element(ahc, scb)[SCB_CONTROL] &= ~MK_MESSAGE & 0xFF


# -- in --------------------------------------------------------------------------------------------------------


def _hear(ahc: Ahc, scb: AhcScb | None) -> None:
    msg = ahc.msg
    if msg.kind != "in":
        msg.kind = "in"
        msg.incoming.clear()
    byte = int(ahc.inb(AhcRegs.SCSIBUSL))
    if not msg.incoming and byte in _FIRMWARES:
        _left_unanswered(ahc, scb)
        ahc_clear_msg_state(ahc)
        ahc.outb(AhcRegs.RETURN_1, Answer.EXIT_MSG_LOOP)
        return
    msg.incoming.append(byte)
    if _whole(msg.incoming):
        heard = bytes(msg.incoming)
        msg.incoming.clear()
        msg.reply = _understand(ahc, scb, heard)
        if msg.reply:
            ahc_assert_atn(ahc)
    ahc.outb(AhcRegs.CLRSINT1, _REQINIT)
    ahc.inb(AhcRegs.SCSIDATL)
    ahc.outb(AhcRegs.RETURN_1, Answer.CONT_MSG_LOOP)


def _whole(incoming: bytearray) -> bool:
    """Whether a message is complete; one that is longer than any known is not listened to any further."""
    if incoming[0] != Msg.EXTENDED:
        return True
    return len(incoming) >= 2 and len(incoming) >= min(incoming[1] + 2, _LONGEST)


def _understand(ahc: Ahc, scb: AhcScb | None, heard: bytes) -> bytes:
    """Act on a message; the reply, empty for none."""
    target = scb.dev.target if scb is not None and scb.dev is not None else None
    if heard[0] == Msg.MESSAGE_REJECT:
        return _refused(ahc, target)
    if heard[0] == Msg.NOOP:
        return b""
    reject = bytes((Msg.MESSAGE_REJECT,))
    if target is None or heard[0] != Msg.EXTENDED or heard[2:3] not in (bytes((code,)) for code in _EXTENDED):
        return reject
    code = Ext(heard[2])
    if len(heard) != EXT_LEN[code] + 2:
        return reject
    info = agreed(target.goal, target.curr, heard)
    if info is None:
        _left_unanswered(ahc, scb)
        ahc_set_agreement(ahc, target, after_reject(target.curr, code))
        target.renegotiate()
        return reject
    asked = target.asked[2:3] == heard[2:3]
    if asked:
        target.asked = b""
    ahc_set_agreement(ahc, target, info)
    if code is not Ext.WDTR:
        return b"" if asked else heard      # a target that begins gets its own words back
    if not asked:
        target.renegotiate()                # the speed, with the next command
        return heard
    target.asked = sdtr(target.goal)
    return target.asked


def _refused(ahc: Ahc, target: AhcTarget | None) -> bytes:
    """MESSAGE REJECT: ask for less, at once."""
    if target is None or not target.asked:
        return b""
    return ahc_ask_for_less(ahc, target)


def ahc_ask_for_less(ahc: Ahc, target: AhcTarget) -> bytes:
    """The target does not want what it was asked: the next request, empty when there is nothing left to ask for."""
    refused = Ext(target.asked[2])
    target.asked = b""
    target.goal = without(target.goal, refused)
    ahc_set_agreement(ahc, target, after_reject(target.curr, refused))
    if target.goal != target.curr:
        target.asked = request(target.curr, target.goal)
    return target.asked


def _left_unanswered(ahc: Ahc, scb: AhcScb | None) -> None:
    """The target goes on as if nothing had been asked: it does not know the message; sooner or later ask for less."""
    target = scb.dev.target if scb is not None and scb.dev is not None else None
    if target is None or not target.asked:
        return
    target.ignored += 1
    if target.ignored >= _IGNORED_MAX:
        target.ignored = 0
        target.goal = without(target.goal, Ext(target.asked[2]))
        target.negotiate = target.goal != target.curr
    target.asked = b""


# -- agreements ------------------------------------------------------------------------------------------------


def ahc_set_agreement(ahc: Ahc, target: AhcTarget, info: TransInfo) -> None:
    """From now on data moves like this: on the wire, on the chip, and in every SCB on its way."""
    target.curr = info
    target.negotiate = False
    rate, offset = info.scsirate, info.offset
    ahc.outb(AhcRegs.SCSIRATE, rate)
    ahc.outb(AhcRegs.SCSIOFFSET, offset)
    saved = int(ahc.inb(AhcRegs.SCBPTR))
    for scb in ahc.pending():
        if scb.dev is not None and scb.dev.target is target:
            raw = element(ahc, scb)
            raw[SCB_SCSIRATE], raw[SCB_SCSIOFFSET] = rate, offset
            if scb.negotiate:
                raw[SCB_CONTROL] &= ~MK_MESSAGE & 0xFF
    # a single SCB is in the slot that is looked at
    for slot in range(ahc.scb_count) if target.active > 1 else (saved,):
        ahc.outb(AhcRegs.SCBPTR, slot)
        other = ahc.scb_of(scb_inb(ahc, SCB_TAG))
        if other is None or other.dev is None or other.dev.target is not target:
            continue
        scb_outb(ahc, SCB_SCSIRATE, rate)
        scb_outb(ahc, SCB_SCSIOFFSET, offset)
        if other.negotiate:
            other.negotiate = False
            ahc_change(ahc, AhcRegs.SCB[SCB_CONTROL], MK_MESSAGE)
    for scb in ahc.pending():
        if scb.dev is not None and scb.dev.target is target:
            scb.negotiate = False
    ahc.outb(AhcRegs.SCBPTR, saved)
