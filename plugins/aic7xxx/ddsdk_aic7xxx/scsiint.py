"""SCSIINT: what happened on the bus; BRKADRINT and PCI errors.  hw-aic7xxx.md 11.

`ahc.lock` is held; but for PCI errors the sequencer is paused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DID_ABORT, DID_ERROR, DID_NO_CONNECT, DID_RESET

from .abort import (
    ahc_abort_scbs,
    ahc_freeze_device,
    ahc_requeue,
    ahc_reset_channel,
)
from .agreement import ASYNC_NARROW
from .done import ahc_done
from .frames import SCB_NEXT, SCB_TAG, Ext, Msg
from .hw import (
    BUSFREE,
    SCSISEQ_RESELECT,
    SEQCTL_RUN,
    ahc_change,
    ahc_clear_msg_state,
    ahc_free_slot,
    ahc_leave_critical_section,
    ahc_pause,
    ahc_restart,
    ahc_unpause,
    scb_inb,
)
from .msgloop import ahc_ask_for_less
from .regs import (
    PCIR_STATUS_HIGH,
    STATUS_DPE,
    STATUS_DPR,
    STATUS_RMA,
    STATUS_RTA,
    AhcRegs,
    ClrInt,
    Error,
    MsgOut,
    Phase,
    SblkCtl,
    SeqCtl,
    SeqFlags,
    SStat0,
    SStat1,
)

if TYPE_CHECKING:
    from .adapter import Ahc, AhcScb

_CLRSCSIINT: Final = ClrInt.CLRSCSIINT.mask
_SELECTION: Final = 0x8C                # CLRSINT1: SELTIMEO, BUSFREE, SCSIPERR
_STATUS1: Final = 0xAC                  # SELTO, SCSIRSTI, BUSFREE, SCSIPERR
_NEGOTIATION: Final = {Msg.EXTENDED << 8 | code: code for code in Ext}
#: After so many target parity errors the sequencer no longer stops for them.
_PARITY_MAX: Final = 10


def ahc_handle_scsiint(ahc: Ahc) -> None:
    """The first cause that there is, in the order of hw-aic7xxx.md 11."""
    ahc_leave_critical_section(ahc)
    status0 = ahc.inb(AhcRegs.SSTAT0) & SStat0.IOERR.mask
    status = ahc.inb(AhcRegs.SSTAT1) & _STATUS1
    if status0:
        ahc.outb(AhcRegs.CLRSINT0, SStat0.IOERR.mask)
        single_ended = not ahc.inb(AhcRegs.SBLKCTL) & SblkCtl.ENAB40.mask
        ahc_reset_channel(ahc, "the transceivers changed", initiate=single_ended)
    elif status & SStat1.SCSIRSTI.mask:
        ahc_reset_channel(ahc, "somebody reset the bus", initiate=False)
    elif status & SStat1.SCSIPERR.mask:
        _parity_error(ahc)
    elif status & SStat1.SELTO.mask:
        _selection_timeout(ahc)
    elif status & BUSFREE and ahc.inb(AhcRegs.SIMODE1) & BUSFREE:
        _busfree(ahc)
    else:
        ahc.outb(AhcRegs.CLRINT, _CLRSCSIINT)
        ahc_unpause(ahc)


def ahc_nexus(ahc: Ahc) -> AhcScb | None:
    """The SCB on the bus; None when no target has been identified."""
    if ahc.inb(AhcRegs.SEQ_FLAGS) & SeqFlags.NOT_IDENTIFIED.mask:
        return None
    return ahc.scb_of(scb_inb(ahc, SCB_TAG))


# -- causes ----------------------------------------------------------------------------------------------------


def _parity_error(ahc: Ahc) -> None:
    """Something came in damaged: tell the target where it will listen, and do not believe the command."""
    ahc.outb(AhcRegs.CLRSINT1, SStat1.SCSIPERR.mask)
    lastphase = ahc.inb(AhcRegs.LASTPHASE)
    message: int = MsgOut.NOOP
    if lastphase in (Phase.DATAIN, Phase.DATAIN_DT, Phase.STATUS):
        message = Msg.INITIATOR_DET_ERR
    elif lastphase == Phase.MESGIN:
        message = Msg.PARITY_ERROR
    scb = ahc_nexus(ahc)
    ahc.printk(f"parity error in phase {int(lastphase):#04x}")
    if message != MsgOut.NOOP:
        if ahc.msg.kind:
            ahc.msg.reply = bytes((message,))
        else:
            ahc.outb(AhcRegs.MSG_OUT, message)
    if scb is not None and scb.dev is not None:
        scb.parity = scb.parity or message == Msg.INITIATOR_DET_ERR
        scb.dev.target.renegotiate()
    ahc.outb(AhcRegs.CLRINT, _CLRSCSIINT)
    ahc_unpause(ahc)


def _selection_timeout(ahc: Ahc) -> None:
    """Nobody answered.  Nothing is posted for it: the host takes the SCB off the waiting list and ends it."""
    ahc.outb(AhcRegs.SCSISEQ, 0)
    ahc_clear_msg_state(ahc)
    ahc_change(ahc, AhcRegs.SIMODE1, BUSFREE)
    ahc.outb(AhcRegs.CLRSINT1, _SELECTION)
    ahc.outb(AhcRegs.CLRSINT0, SStat0.SELINGO.mask)
    slot = int(ahc.inb(AhcRegs.WAITING_SCBH))
    if slot < ahc.scb_count:
        ahc.outb(AhcRegs.SCBPTR, slot)
        scb = ahc.scb_of(scb_inb(ahc, SCB_TAG))
        ahc.outb(AhcRegs.WAITING_SCBH, scb_inb(ahc, SCB_NEXT))
        ahc_free_slot(ahc)
        if scb is not None and scb.dev is not None:
            scb.dev.target.renegotiate()
            scb.host_byte = DID_NO_CONNECT
            ahc_freeze_device(ahc, scb)
            ahc_done(ahc, scb)
        elif scb is not None:
            scb.recovery = 0
            ahc_done(ahc, scb)
    ahc.outb(AhcRegs.CLRINT, _CLRSCSIINT)
    ahc_restart(ahc)


def _busfree(ahc: Ahc) -> None:
    """A target left the bus in the middle of things: because we told it to, or all by itself."""
    ahc.outb(AhcRegs.SCSISEQ, ahc.inb(AhcRegs.SCSISEQ) & SCSISEQ_RESELECT)
    ahc_change(ahc, AhcRegs.SIMODE1, BUSFREE)
    ahc.outb(AhcRegs.CLRSINT1, 0x0C)
    said = ahc.inb(AhcRegs.LASTPHASE) == Phase.MESGOUT
    target_id = int(ahc.inb(AhcRegs.SAVED_SCSIID)) >> 4
    sent, about = ahc.msg.sent if said else 0, ahc.msg.scb
    if not (sent and _expected(ahc, sent, about, target_id)):
        _unexpected(ahc, target_id)
    ahc.outb(AhcRegs.CLRINT, _CLRSCSIINT)
    ahc_restart(ahc)


def _expected(ahc: Ahc, sent: int, about: AhcScb | None, target_id: int) -> bool:
    """Whether *sent*, the last message, explains that the target left; what it stands for is done then."""
    target = ahc.targets[target_id]
    if sent == Msg.BUS_DEVICE_RESET:
        ahc_abort_scbs(ahc, lambda scb: scb.dev is not None and scb.dev.target is target, DID_RESET)
        target.forget_agreement()
    elif sent in (Msg.ABORT, Msg.ABORT_TAG):
        ahc_abort_scbs(ahc, lambda scb: scb is about, DID_ABORT)
    elif sent in _NEGOTIATION and about is not None and target.asked:
        ahc_ask_for_less(ahc, target)
        target.asked = b""
        target.curr = ASYNC_NARROW
        target.negotiate = target.goal != ASYNC_NARROW
        _take_back(ahc, about)
        return True
    else:
        return False
    if about is not None and about.dev is None:                 # the recovery SCB
        ahc_abort_scbs(ahc, lambda scb: scb is about, DID_ABORT)
    return True


def _take_back(ahc: Ahc, scb: AhcScb) -> None:
    """The command never reached the target: it goes back to its device's queue."""
    slot_scb = ahc.scb_of(scb_inb(ahc, SCB_TAG))
    if slot_scb is not scb:
        return
    ahc_free_slot(ahc)
    if scb.sensing:
        scb.host_byte = DID_ERROR
        ahc_done(ahc, scb)
    else:
        ahc_requeue(ahc, scb)


def _unexpected(ahc: Ahc, target_id: int) -> None:
    """By itself: what it was working on is lost."""
    scb = ahc_nexus(ahc)
    ahc.printk(f"target {target_id} left the bus")
    if scb is None or scb.dev is None:
        if scb is not None:
            ahc_abort_scbs(ahc, lambda other: other is scb, DID_ERROR)
        return
    scb.dev.target.renegotiate()
    ahc_freeze_device(ahc, scb)
    ahc_abort_scbs(ahc, lambda other: other is scb, DID_ERROR)


# -- the chip --------------------------------------------------------------------------------------------------


def ahc_why_broken(ahc: Ahc) -> str:
    """BRKADRINT: what ERROR says."""
    error = ahc.inb(AhcRegs.ERROR)
    causes = [name for name, field in Error.fields.items() if error & field.mask]
    return f"the chip stopped: {', '.join(causes) or 'no reason given'}"


def ahc_pci_error(ahc: Ahc) -> bool:
    """ERROR.PCIERRSTAT without an interrupt: clear what the bus says, and go on.  Whether there was one."""
    if not ahc.inb(AhcRegs.ERROR) & Error.PCIERRSTAT.mask:
        return False
    kernel = ahc.kernel
    status = kernel.pci_read_config_byte(ahc.pdev, PCIR_STATUS_HIGH)
    ahc.printk(f"PCI error, status {status:#04x}")
    kernel.pci_write_config_byte(ahc.pdev, PCIR_STATUS_HIGH, status)
    ahc_pause(ahc)
    if status & STATUS_DPE and not status & (STATUS_DPR | STATUS_RMA | STATUS_RTA):
        ahc.target_perrs += 1
    ahc.outb(AhcRegs.CLRINT, ClrInt.CLRPARERR.mask)
    if ahc.target_perrs > _PARITY_MAX:
        ahc.outb(AhcRegs.SEQCTL, SEQCTL_RUN | SeqCtl.FAILDIS.mask)
    ahc_unpause(ahc)
    return True


