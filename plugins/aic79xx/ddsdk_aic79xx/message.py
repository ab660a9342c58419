"""The host's part of message phases: code 07, one bus byte at a time, by RETURN_1 and RETURN_2.

Source: aic79xx_core.c, "ahd_handle_message_phase", "ahd_parse_msg" (Linux 2.6.9), by effect; SPI-4, 16.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from attrs import evolve

from .frames import (
    EXT_PPR,
    EXT_PPR_LEN,
    EXT_SDTR,
    EXT_SDTR_LEN,
    EXT_WDTR,
    EXT_WDTR_LEN,
    IDENTIFY_DISCONNECT,
    Control,
    Msg,
)
from .negotiate import ASYNC, AhdTarget, TransInfo, ahd_set_agreement
from .regs import ClrSint1, CommonRegs, LqCtl2, LqiStat2, Mode, Scratch, ScsiRegs, ScsiSig, SeqCtl0, SeqFlags
from .scb import ScbFlag
from .sequencer import (
    CONT_MSG_LOOP_READ,
    CONT_MSG_LOOP_WRITE,
    EXIT_MSG_LOOP,
    HOST_MSG,
    MSG_IDENTIFYFLAG,
    MSG_NOOP,
    P_BUSFREE,
    PHASE_MASK,
    Phase,
)

if TYPE_CHECKING:
    from .ahd import AhdSoftc
    from .scb import Scb

#: An extended message is as long as its second byte says; a byte more than fits one is never asked for.
_EXTENDED_HEADER: Final = 2
_EXPECTED_LENGTHS: Final = {EXT_PPR: EXT_PPR_LEN, EXT_WDTR: EXT_WDTR_LEN, EXT_SDTR: EXT_SDTR_LEN}


class Sent(Enum):
    """What our message-out is about; decides what a bus free after it means."""

    NOTHING = "nothing that frees the bus"
    PPR = "PARALLEL PROTOCOL REQUEST"
    WDTR = "WIDE DATA TRANSFER REQUEST"
    SDTR = "SYNCHRONOUS DATA TRANSFER REQUEST"
    ABORT = "ABORT TASK, ABORT TASK SET"
    DEVICE_RESET = "BUS DEVICE RESET"
    PARITY = "INITIATOR DETECTED ERROR, MESSAGE PARITY ERROR, MESSAGE REJECT"


class MsgState:
    """What is being said.  `out` goes to the target, `index` bytes of it have gone; `inb` came from it.

    `parity`: a one-byte message about a parity error, to be said as soon as the target listens.
    `iu_busfree`: the target will go bus free, for the use of information units changes.
    """

    __slots__ = ("inb", "index", "iu_busfree", "listening", "out", "parity", "sent", "talking")

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """void ahd_clear_msg_state(struct ahd_softc *), the host's half."""
        self.out = b""
        self.index = 0
        self.inb = bytearray()
        self.talking = self.listening = False
        self.parity = 0
        self.sent = Sent.NOTHING
        self.iu_busfree = False

    def say(self, out: bytes, sent: Sent) -> None:
        """*out* is said from its beginning, as soon as the target listens."""
        self.out, self.index, self.sent = out, 0, sent

    @property
    def said(self) -> Sent:
        """What has been said to its last byte."""
        return self.sent if self.out and self.index >= len(self.out) else Sent.NOTHING


# -- building --------------------------------------------------------------------------------------------------


def transfer_message(target: AhdTarget) -> tuple[bytes, Sent]:
    """void ahd_build_transfer_msg(...): PPR where something of it is wanted, else width, else speed."""
    goal = target.goal
    if goal.ppr_options and target.ppr:
        return bytes((Msg.EXTENDED, EXT_PPR_LEN, EXT_PPR, goal.period, 0, goal.offset, goal.width,
                      goal.ppr_options)), Sent.PPR
    if goal.width != target.curr.width:
        return bytes((Msg.EXTENDED, EXT_WDTR_LEN, EXT_WDTR, goal.width)), Sent.WDTR
    return bytes((Msg.EXTENDED, EXT_SDTR_LEN, EXT_SDTR, goal.period, goal.offset)), Sent.SDTR


def identify_message(lun: int, control: int, tag: int) -> bytes:
    """IDENTIFY, and the tag of a tagged command."""
    message = bytes((Msg.IDENTIFY | (IDENTIFY_DISCONNECT if control & Control.DISCENB else 0) | lun,))
    if control & Control.TAG_ENB:
        message += bytes((control & (Control.TAG_ENB | Control.TAG_TYPE), tag & 0xFF))
    return message


def setup_msgout(ahd: AhdSoftc, scb: Scb | None) -> None:
    """void ahd_setup_initiator_msgout(...): what MK_MESSAGE of *scb* stands for, behind IDENTIFY if that is due."""
    msg = ahd.msg
    if scb is None:
        msg.say(bytes((Msg.NO_OPERATION,)), Sent.NOTHING)
        return
    control = ahd.inb(Scratch.SCB_CONTROL)
    head = b""
    if ahd.inb(Scratch.MSG_OUT) == MSG_IDENTIFYFLAG:
        head = identify_message(scb.lun, 0 if scb.flags & ScbFlag.DEVICE_RESET else control, scb.tag)
    target = ahd.targets[scb.target]
    if scb.flags & ScbFlag.DEVICE_RESET:
        body, sent = bytes((Msg.TARGET_RESET,)), Sent.DEVICE_RESET
    elif scb.flags & ScbFlag.ABORT:
        body = bytes((Msg.ABORT_TASK if control & Control.TAG_ENB else Msg.ABORT_TASK_SET,))
        sent = Sent.ABORT
    elif scb.flags & ScbFlag.NEGOTIATE:
        body, sent = transfer_message(target)
    else:
        body, sent = b"" if head else bytes((Msg.NO_OPERATION,)), Sent.NOTHING
    msg.say(head + body, sent)
    ahd.outb(Scratch.SCB_CONTROL, control & ~Control.MK_MESSAGE)


# -- the loop --------------------------------------------------------------------------------------------------


def ahd_handle_message_phase(ahd: AhdSoftc, scb: Scb | None) -> bool:
    """void ahd_handle_message_phase(struct ahd_softc *): code 07, the chip is paused in SCSI mode.

    False: the bus is in no message phase at all, and the caller has to restart the sequencer.
    """
    msg = ahd.msg
    ahd.set_modes(Mode.SCSI)
    phase = ahd.inb(Scratch.LASTPHASE)
    if not (msg.talking or msg.listening):
        phase = ahd.inb(ScsiRegs.SCSISIGI) & PHASE_MASK
        if phase not in (Phase.MESGOUT, Phase.MESGIN):
            return False
        if phase == Phase.MESGOUT and not (msg.out and msg.index == 0) and not msg.parity:
            setup_msgout(ahd, scb)
        msg.talking, msg.listening = phase == Phase.MESGOUT, phase == Phase.MESGIN
    if ahd.inb(ScsiRegs.LQISTAT2) & LqiStat2.LQIPHASE_OUTPKT.mask:
        ahd.outb(ScsiRegs.LQCTL2, LqCtl2.LQIRETRY.mask)
    if phase == Phase.MESGOUT and (msg.talking or msg.out or msg.parity):
        msg.talking, msg.listening = True, False
        _talk(ahd)
    elif phase == Phase.MESGIN:
        if msg.talking:                         # the target answers
            ahd.outb(ScsiRegs.CLRSINT1, ClrSint1.CLRATNO.mask)
            msg.parity = 0
            msg.inb.clear()
        msg.talking, msg.listening = False, True
        _listen(ahd, scb)
    else:
        _leave(ahd)
    return True


def _talk(ahd: AhdSoftc) -> None:
    """The next byte of ours; ATN falls before the last one."""
    msg = ahd.msg
    if msg.parity:
        byte, last = msg.parity, True
        msg.say(bytes((byte,)), Sent.PARITY)
        msg.index, msg.parity = 1, 0
    else:
        if msg.index >= len(msg.out):           # all was said, and the target wants it once more
            ahd.outb(ScsiRegs.SCSISIGO, ScsiSig.ATN.mask | Phase.MESGOUT)
            msg.index = 0
        byte, last = msg.out[msg.index], msg.index == len(msg.out) - 1
        msg.index += 1
    if last:
        ahd.outb(ScsiRegs.CLRSINT1, ClrSint1.CLRATNO.mask)
    ahd.outb(ScsiRegs.CLRSINT1, ClrSint1.CLRREQINIT.mask)
    ahd.outb(Scratch.RETURN_2, byte)
    ahd.outb(Scratch.RETURN_1, CONT_MSG_LOOP_WRITE)


def _listen(ahd: AhdSoftc, scb: Scb | None) -> None:
    """A byte of the target's, and the answer once it has said all."""
    msg = ahd.msg
    msg.inb.append(ahd.inb(ScsiRegs.SCSIBUS))
    reply = _parse(ahd, scb)
    if reply is not None:
        msg.inb.clear()
        if reply:
            ahd.outb(ScsiRegs.SCSISIGO, ScsiSig.ATN.mask | Phase.MESGIN)
    ahd.outb(ScsiRegs.CLRSINT1, ClrSint1.CLRREQINIT.mask)
    ahd.outb(Scratch.RETURN_1, CONT_MSG_LOOP_READ)


def _leave(ahd: AhdSoftc) -> None:
    """No message phase any more: back to the program, in a packetized connection to its beginning."""
    ahd_clear_msg_state(ahd)
    if ahd.inb(ScsiRegs.LQISTAT2) & LqiStat2.PACKETIZED.mask:
        ahd.outb(Scratch.LASTPHASE, P_BUSFREE)
        ahd.outb(Scratch.SEQ_FLAGS, SeqFlags.NOT_IDENTIFIED.mask | SeqFlags.NO_CDB_SENT.mask)
        ahd.outb(CommonRegs.SEQCTL0, SeqCtl0.FASTMODE.mask | SeqCtl0.SEQRESET.mask)
    else:
        ahd.outb(Scratch.RETURN_1, EXIT_MSG_LOOP)


def ahd_clear_msg_state(ahd: AhdSoftc) -> None:
    """void ahd_clear_msg_state(struct ahd_softc *): nothing to say, ATN down.  The chip is paused."""
    mode = ahd.set_modes(Mode.SCSI)
    ahd.msg.clear()
    if ahd.inb(ScsiRegs.SCSISIGI) & ScsiSig.ATN.mask:
        ahd.outb(ScsiRegs.CLRSINT1, ClrSint1.CLRATNO.mask)
    ahd.outb(Scratch.MSG_OUT, MSG_NOOP)
    ahd.set_modes(mode)


def assert_atn(ahd: AhdSoftc) -> None:
    """void ahd_assert_atn(struct ahd_softc *): the host has something to say, the program asks it (MSG_OUT = FF)."""
    ahd.outb(Scratch.MSG_OUT, HOST_MSG)
    ahd.outb(ScsiRegs.SCSISIGO, ScsiSig.ATN.mask)


# -- what the target says --------------------------------------------------------------------------------------


def _parse(ahd: AhdSoftc, scb: Scb | None) -> bool | None:
    """int ahd_parse_msg(...): None when more is to come; else whether we have an answer to it."""
    msg, message = ahd.msg, bytes(ahd.msg.inb)
    if message[0] == Msg.EXTENDED:
        if len(message) < _EXTENDED_HEADER or len(message) < _EXTENDED_HEADER + message[1]:
            return None
        if scb is not None and _EXPECTED_LENGTHS.get(message[2] if message[1] else 0) == message[1]:
            return _agreed(ahd, ahd.targets[scb.target], message[2:])
        msg.say(bytes((Msg.MESSAGE_REJECT,)), Sent.NOTHING)
        return True
    if message[0] == Msg.MESSAGE_REJECT:
        return scb is not None and _rejected(ahd, ahd.targets[scb.target], msg.said)
    if message[0] == Msg.NO_OPERATION:
        return False
    msg.say(bytes((Msg.MESSAGE_REJECT,)), Sent.NOTHING)
    return True


def _agreed(ahd: AhdSoftc, target: AhdTarget, body: bytes) -> bool:
    """The target's answer to a negotiation: never more than we asked for."""
    msg, goal = ahd.msg, target.goal
    if body[0] == EXT_PPR:
        _, period, _, offset, width, options = body
        options &= goal.ppr_options
        info = TransInfo(max(period, goal.period), min(offset, goal.offset), options, min(width, goal.width))
        if not info.offset:
            info = evolve(ASYNC, width=info.width)
        msg.iu_busfree = ahd_set_agreement(ahd, target, info)
        target.goal = info
        return False
    if body[0] == EXT_WDTR:
        width = min(body[1], goal.width)
        ahd_set_agreement(ahd, target, evolve(ASYNC, width=width))
        target.goal = evolve(goal, width=width)
        return _next_step(ahd, target)
    offset = min(body[2], goal.offset)
    period = max(body[1], goal.period) if offset else 0
    ahd_set_agreement(ahd, target, evolve(target.curr, period=period, offset=offset, ppr_options=0))
    target.goal = target.curr
    return False


def _rejected(ahd: AhdSoftc, target: AhdTarget, said: Sent) -> bool:
    """MESSAGE REJECT: what the target does not know is not asked for again."""
    if said is Sent.PPR:
        target.without_ppr()
    elif said is Sent.WDTR:
        target.without_wide()
        ahd_set_agreement(ahd, target, ASYNC)
    elif said is Sent.SDTR:
        target.without_sync()
        ahd_set_agreement(ahd, target, evolve(target.curr, period=0, offset=0, ppr_options=0))
        target.goal = target.curr
        return False
    else:
        return False
    return _next_step(ahd, target)


def _next_step(ahd: AhdSoftc, target: AhdTarget) -> bool:
    """The next negotiation message, if there is more to agree on."""
    if not target.must_negotiate:
        return False
    out, sent = transfer_message(target)
    ahd.msg.say(out, sent)
    return True
