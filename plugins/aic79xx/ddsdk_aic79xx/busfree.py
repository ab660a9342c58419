"""The bus went free where nobody expected it, or where somebody did.

Source: aic79xx_core.c, "ahd_handle_pkt_busfree", "ahd_handle_nonpkt_busfree" (Linux 2.6.9), by effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DID_ABORT, DID_ERROR, DID_PARITY, DID_RESET

from .chips import Bug
from .init import ahd_restart
from .lists import read_waiting, wait_first
from .message import Sent, ahd_clear_msg_state
from .negotiate import ASYNC, ahd_set_agreement
from .regs import (
    ClrSint0,
    ClrSint1,
    CommonRegs,
    DffRegs,
    DffSxfrCtl,
    IntStat,
    LqCtl2,
    LqoStat1,
    Mode,
    ModeRegs,
    PErrDiag,
    Scratch,
    ScsiRegs,
    ScsiSeq0,
    SeqFlags,
    SiMode1,
    SStat2,
)
from .scb import ScbFlag
from .sequencer import INVALID_ADDR, P_BUSFREE, Phase
from .status import ahd_fail, ahd_requeue_device, ahd_send_back

if TYPE_CHECKING:
    from .ahd import AhdSoftc
    from .scb import Scb

#: SSTAT2.BUSFREETIME.
_IN_LQO, _IN_DFF0, _IN_DFF1 = 1, 2, 3
#: Times a command may lose the bus while its packet is being sent.
_LQO_RETRIES: Final = 5


def ahd_handle_busfree(ahd: AhdSoftc) -> bool:
    """SSTAT1.BUSFREE: whether the sequencer was restarted.  SCSI mode, the chip is paused; CLRINT is done here."""
    ahd.outb(ScsiRegs.SCSISEQ0, 0)
    when = SStat2(ahd.inb(ScsiRegs.SSTAT2)).BUSFREETIME
    scb = None
    if when in (_IN_DFF0, _IN_DFF1):
        mode = Mode.DFF1 if when == _IN_DFF1 else Mode.DFF0
        ahd.set_modes(mode)
        scb = ahd.pending.get(ahd.inw(ModeRegs.SCBPTR))
        ahd.set_modes(Mode.SCSI)
        packetized = scb is not None and bool(scb.flags & ScbFlag.PACKETIZED)
    else:
        packetized = when == _IN_LQO or bool(ahd.inb(ScsiRegs.LQOSTAT1) & LqoStat1.LQOBUSFREE.mask)
        mode = Mode.SCSI
    restart = _packetized(ahd, scb, mode) if packetized else _nonpacketized(ahd)
    ahd.set_modes(Mode.SCSI)
    ahd.outb(ScsiRegs.CLRSINT1, ClrSint1.CLRBUSFREE.mask)
    if ahd.has(Bug.BUSFREEREV):
        ahd.change(ScsiRegs.SIMODE1, clear=SiMode1.BUSFREE.mask)
    if restart:
        ahd_clear_msg_state(ahd)
    ahd.outb(CommonRegs.CLRINT, IntStat.SCSIINT.mask)
    if restart:
        ahd_restart(ahd)
    return restart


# -- packetized ------------------------------------------------------------------------------------------------


def _packetized(ahd: AhdSoftc, scb: Scb | None, mode: Mode) -> bool:
    """int ahd_handle_pkt_busfree(struct ahd_softc *, u_int busfreetime): whether a restart is due."""
    if ahd.inb(Scratch.LASTPHASE) == P_BUSFREE and ahd.inb(ScsiRegs.LQOSTAT1) & LqoStat1.LQOBUSFREE.mask:
        return _lost_on_the_way_out(ahd)
    if ahd.inb(ScsiRegs.PERRDIAG) & PErrDiag.PARITYERR.mask:
        ahd.outb(ScsiRegs.CLRSINT1, ClrSint1.CLRBUSFREE.mask | ClrSint1.CLRSCSIPERR.mask)
        return False                            # parity at the last REQ looks like it
    if scb is not None:
        ahd_fail(ahd, scb, DID_ERROR)
        clear_fifo(ahd, mode)
    ahd.printk("unexpected bus free in a packetized connection")
    return True


def _lost_on_the_way_out(ahd: AhdSoftc) -> bool:
    """The packet with the command did not get through: that command is the next to be selected, a few times."""
    ahd.outb(ScsiRegs.CLRLQOINT1, LqoStat1.LQOBUSFREE.mask)
    ahd.change(ScsiRegs.SCSISEQ0, clear=ScsiSeq0.ENSELO.mask)
    ahd.outb(ScsiRegs.CLRSINT0, ClrSint0.SELDO.mask)
    ahd.change(ScsiRegs.LQCTL2, set_=LqCtl2.LQOTOIDLE.mask)
    scb = ahd.pending.get(ahd.inw(ScsiRegs.CURRSCB))
    if scb is not None:
        scb.lqo_retries += 1
        if scb.lqo_retries > _LQO_RETRIES:
            ahd_fail(ahd, scb, DID_PARITY)
        else:
            wait_first(ahd, scb)
    return False


# -- non-packetized --------------------------------------------------------------------------------------------


def _nonpacketized(ahd: AhdSoftc) -> bool:
    """int ahd_handle_nonpkt_busfree(struct ahd_softc *): always a restart."""
    msg = ahd.msg
    lastphase = ahd.inb(Scratch.LASTPHASE)
    # between connections SCBPTR names whatever was there last, and SSTAT1.BUSFREE is set anyway
    identified = lastphase != P_BUSFREE and not ahd.inb(Scratch.SEQ_FLAGS) & SeqFlags.NOT_IDENTIFIED.mask
    scb = ahd.pending.get(ahd.inw(ModeRegs.SCBPTR)) if identified else None
    number = ahd.inb(Scratch.SAVED_SCSIID) >> 4
    if msg.iu_busfree and lastphase in (Phase.MESGOUT, Phase.MESGIN):
        ahd_requeue_device(ahd, number)         # built under the old agreement
        if scb is not None:
            ahd_send_back(ahd, scb, counted=True)
    elif lastphase == Phase.MESGOUT and msg.said is not Sent.NOTHING:
        _after_message(ahd, scb, number, msg.said)
    else:
        _unexpected(ahd, scb, number, lastphase)
    return True


def _after_message(ahd: AhdSoftc, scb: Scb | None, number: int, said: Sent) -> None:
    target = ahd.targets[number]
    if said is Sent.ABORT:
        if scb is not None and scb.flags & ScbFlag.GONE_OVER:
            ahd_send_back(ahd, scb, counted=True)
        elif scb is not None:
            ahd_fail(ahd, scb, DID_ABORT if scb.host_byte is None else scb.host_byte)
    elif said is Sent.DEVICE_RESET:
        if scb is not None and scb.flags & ScbFlag.DEVICE_RESET:
            ahd_fail(ahd, scb, DID_RESET)
        device_was_reset(ahd, number, None)
    elif said in (Sent.PPR, Sent.WDTR, Sent.SDTR):
        if said is Sent.PPR:
            target.without_ppr()
        elif said is Sent.WDTR:
            target.without_wide()
            ahd_set_agreement(ahd, target, ASYNC)
        else:
            target.without_sync()
            ahd_set_agreement(ahd, target, target.goal)
        if scb is not None:
            ahd_send_back(ahd, scb, counted=True)
    elif scb is not None:                       # it was told of a parity error, and gives up
        ahd_fail(ahd, scb, DID_PARITY)


def _unexpected(ahd: AhdSoftc, scb: Scb | None, number: int, lastphase: int) -> None:
    if lastphase == P_BUSFREE:
        ahd.printk("bus free outside a connection")
        return
    ahd.printk(f"target {number}: unexpected bus free in phase {lastphase:#04x}")
    ahd.targets[number].force()
    if scb is not None:
        ahd_fail(ahd, scb, DID_ERROR)


# -- shared with others ----------------------------------------------------------------------------------------


def device_was_reset(ahd: AhdSoftc, number: int, lun: int | None) -> None:
    """void ahd_handle_devreset(...): a LUN, or the whole target, forgot its commands, a target its agreement too.

    What it has not been sent yet is sent anew.  The chip is paused.
    """
    ahd_requeue_device(ahd, number, lun)
    unsent = {tag for tags in read_waiting(ahd) for tag in tags}
    for scb in [one for one in ahd.pending.values() if one.target == number and (lun is None or one.lun == lun)]:
        if scb.tag not in unsent:
            ahd_fail(ahd, scb, DID_RESET)
    if lun is None:
        target = ahd.targets[number]
        ahd_set_agreement(ahd, target, ASYNC)
        target.goal = target.user


def clear_fifo(ahd: AhdSoftc, mode: Mode) -> None:
    """void ahd_clear_fifo(struct ahd_softc *, u_int fifo): nobody's any more."""
    before = ahd.set_modes(mode)
    ahd.outb(DffRegs.DFFSXFRCTL, DffSxfrCtl.RSTCHN.mask | DffSxfrCtl.CLRSHCNT.mask)
    ahd.outb(DffRegs.CCSGCTL, 0x01)
    ahd.outb_at(ModeRegs.LONGJMP_ADDR.offset + 1, INVALID_ADDR)
    ahd.outb(ModeRegs.SG_STATE, 0)
    ahd.set_modes(before)


def clear_sources(ahd: AhdSoftc) -> None:
    """void ahd_clear_intstat(struct ahd_softc *): every cause of SCSIINT; a SEQINT or CMDCMPLT that waits stays."""
    mode = ahd.set_modes(Mode.SCSI)
    ahd.outb(ScsiRegs.CLRLQIINT0, 0x3F)
    ahd.outb(ScsiRegs.CLRLQIINT1, 0xFF)
    ahd.outb(ScsiRegs.CLRLQOINT0, 0x1F)
    ahd.outb(ScsiRegs.CLRLQOINT1, 0x1F)
    ahd.outb(ScsiRegs.CLRSINT3, 0x03)
    ahd.outb(ScsiRegs.CLRSINT1, 0xED)
    ahd.outb(ScsiRegs.CLRSINT0, 0x7C)
    ahd.outb(CommonRegs.CLRINT, IntStat.SCSIINT.mask)
    ahd.set_modes(mode)
