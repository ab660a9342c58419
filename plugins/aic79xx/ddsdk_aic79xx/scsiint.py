"""SCSIINT: something happened on the bus.  The first cause of the list is handled; another one interrupts again.

Source: aic79xx_core.c, "ahd_handle_scsiint" (Linux 2.6.9), by effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DID_NO_CONNECT

from .busfree import ahd_handle_busfree, clear_sources
from .frames import Msg
from .init import ahd_iocell_first_selection
from .lists import pull
from .lost import ahd_lost
from .message import ahd_clear_msg_state
from .regs import (
    CfgRegs,
    ClrSint0,
    ClrSint1,
    CommonRegs,
    DffRegs,
    IntStat,
    LqCtl2,
    LqiStat1,
    Mode,
    ModeRegs,
    PErrDiag,
    Scratch,
    ScsiRegs,
    ScsiSig,
    SStat0,
    SStat1,
)
from .reset import ahd_bus_was_reset
from .scb import ScbFlag
from .sequencer import HOST_MSG, PHASE_MASK, Phase
from .status import ahd_fail, ahd_send_back

if TYPE_CHECKING:
    from .ahd import AhdSoftc
    from .scb import Scb

_SSTAT0: Final = SStat0.SELDO.mask | SStat0.SELDI.mask | SStat0.IOERR.mask | SStat0.OVERRUN.mask
_SSTAT1: Final = SStat1.SELTO.mask | SStat1.SCSIRSTI.mask | SStat1.BUSFREE.mask | SStat1.SCSIPERR.mask
_SELECTED: Final = SStat0.SELDO.mask | SStat0.SELDI.mask
_LQI_PHASE: Final = LqiStat1.LQIPHASE_LQ.mask | LqiStat1.LQIPHASE_NLQ.mask
_LQI_OVERRUN: Final = LqiStat1.LQIOVERI_LQ.mask | LqiStat1.LQIOVERI_NLQ.mask | LqiStat1.LQIBADLQI.mask
_DLZERO: Final = 0x04


def ahd_handle_scsiint(ahd: AhdSoftc) -> None:
    """void ahd_handle_scsiint(struct ahd_softc *, u_int intstat).  The lock is held, the chip is paused."""
    found = ahd.update_modes()
    ahd.set_modes(Mode.SCSI)
    status3 = ahd.inb(ScsiRegs.SSTAT3) & 0x03
    status0 = ahd.inb(ScsiRegs.SSTAT0) & _SSTAT0
    status = ahd.inb(ScsiRegs.SSTAT1) & _SSTAT1
    lqistat1 = ahd.inb(ScsiRegs.LQISTAT1)
    lqostat0 = ahd.inb(ScsiRegs.LQOSTAT0)
    if status0 & _SELECTED:
        ahd.set_modes(Mode.CFG)
        status0 &= ahd.inb(CfgRegs.SIMODE0)
        ahd.set_modes(Mode.SCSI)
    if status0 & (SStat0.IOERR.mask | SStat0.OVERRUN.mask):
        _transceivers(ahd, status0)
    elif status & SStat1.SCSIRSTI.mask:
        ahd.printk("somebody reset the SCSI bus")
        ahd_bus_was_reset(ahd)
    elif status & SStat1.SCSIPERR.mask:
        _parity_error(ahd, lqistat1, found)
    elif lqostat0:
        ahd.outb(ScsiRegs.CLRLQOINT0, lqostat0)
        _go_on(ahd)
    elif status & SStat1.SELTO.mask:
        _selection_timeout(ahd)
    elif status0 & _SELECTED:
        ahd.iocell_due = True
        ahd_iocell_first_selection(ahd)
        ahd.unpause()
    elif status3:
        ahd.printk(f"SCSI cell memory parity, SSTAT3 {status3:#04x}")
        ahd.outb(ScsiRegs.CLRSINT3, status3)
        _go_on(ahd)
    elif lqistat1 & _LQI_PHASE:
        _phase_change(ahd, lqistat1, found)
    elif lqistat1 & LqiStat1.LQICRCI_NLQ.mask:
        ahd.outb(ScsiRegs.CLRLQIINT1, LqiStat1.LQICRCI_NLQ.mask)
        _go_on(ahd)
    elif status & SStat1.BUSFREE.mask:
        if not ahd_handle_busfree(ahd):
            ahd.unpause()
    else:
        clear_sources(ahd)
        ahd.unpause()


def _go_on(ahd: AhdSoftc) -> None:
    """The cause is gone (the original leaves some of them to recur)."""
    ahd.outb(CommonRegs.CLRINT, IntStat.SCSIINT.mask)
    ahd.unpause()


def _transceivers(ahd: AhdSoftc, status0: int) -> None:
    """The bus changed between LVD and SE, or a target sent more than the offset allows: reset it, driving RST."""
    ahd.outb(ScsiRegs.CLRSINT0, status0 & (ClrSint0.IOERR.mask | ClrSint0.OVERRUN.mask))
    what = "transceiver mode changed" if status0 & SStat0.IOERR.mask else "offset overrun"
    ahd_lost(ahd, what)


def _selection_timeout(ahd: AhdSoftc) -> None:
    """Nobody answers: the first SCB of the waiting lists has no target; the rest of that device's try again."""
    ahd.outb(ScsiRegs.SCSISEQ0, 0)
    ahd_clear_msg_state(ahd)
    ahd.outb(ScsiRegs.CLRSINT1, ClrSint1.CLRSELTIMEO.mask | ClrSint1.CLRBUSFREE.mask | ClrSint1.CLRSCSIPERR.mask)
    ahd.outb(ScsiRegs.CLRSINT0, ClrSint0.SELINGO.mask)
    scb = ahd.pending.get(ahd.inw(Scratch.WAITING_TID_HEAD))
    if scb is not None:
        number, lun = scb.target, scb.lun
        ahd.targets[number].force()
        for other in pull(ahd, lambda one: one.target == number and one.lun == lun):
            if other is scb:
                ahd_fail(ahd, scb, DID_NO_CONNECT)
            else:
                ahd_send_back(ahd, other)
    ahd.outb(CommonRegs.CLRINT, IntStat.SCSIINT.mask)
    ahd_iocell_first_selection(ahd)
    ahd.unpause()


def _parity_error(ahd: AhdSoftc, lqistat1: int, found: Mode) -> None:
    """SCSIPERR: an L_Q is sent again, data are asked for again by message; what is beyond that costs a reset."""
    ahd.outb(ScsiRegs.CLRLQIINT1, lqistat1 & 0x3F)
    ahd.outb(ScsiRegs.CLRSINT1, ClrSint1.CLRSCSIPERR.mask)
    if lqistat1 & _LQI_OVERRUN:
        ahd_lost(ahd, f"packet overrun, LQISTAT1 {lqistat1:#04x}")
        return
    if lqistat1 & LqiStat1.LQICRCI_LQ.mask:
        ahd.outb(ScsiRegs.LQCTL2, LqCtl2.LQIRETRY.mask)
        _go_on(ahd)
        return
    scb = _scb_of(ahd, found)
    if lqistat1 & LqiStat1.LQICRCI_NLQ.mask and scb is None:
        ahd_lost(ahd, "CRC error in data of a command that nobody knows")
        return
    diag = ahd.inb(ScsiRegs.PERRDIAG)
    phase = ahd.inb(ScsiRegs.SCSISIGI) & PHASE_MASK
    if diag & PErrDiag.PARITYERR.mask and not diag & PErrDiag.PREVPHASE.mask and phase in (Phase.STATUS, Phase.MESGIN):
        ahd.inb(ScsiRegs.SCSIDAT)               # acknowledges the byte
    ahd.msg.parity = Msg.MESSAGE_PARITY_ERROR if phase == Phase.MESGIN else Msg.INITIATOR_DETECTED_ERROR
    ahd.outb(Scratch.MSG_OUT, HOST_MSG)
    if scb is not None:
        scb.flags |= ScbFlag.TRANSMISSION_ERROR
    _go_on(ahd)


def _scb_of(ahd: AhdSoftc, mode: Mode) -> Scb | None:
    """The command that the sequencer was at in *mode*."""
    before = ahd.set_modes(mode if mode is not Mode.CFG else Mode.SCSI)
    scb = ahd.pending.get(ahd.inw(ModeRegs.SCBPTR))
    ahd.set_modes(before)
    return scb


def _phase_change(ahd: AhdSoftc, lqistat1: int, found: Mode) -> None:
    """An unexpected phase in a packet.  With ATN up and all data in, the target has heard us; else reset the bus."""
    ahd.outb(ScsiRegs.CLRLQIINT1, lqistat1)
    heard = ahd.inb(ScsiRegs.SCSISIGI) & ScsiSig.ATN.mask
    if heard and found <= Mode.DFF1:
        ahd.set_modes(found)
        heard = ahd.inb(DffRegs.MDFFSTAT) & _DLZERO
        ahd.set_modes(Mode.SCSI)
    if heard:
        ahd.outb(ScsiRegs.LQCTL2, LqCtl2.LQIRETRY.mask)
        _go_on(ahd)
    else:
        ahd_lost(ahd, f"phase change in a packet, LQISTAT1 {lqistat1:#04x}")
