"""Catching the chip at rest: out of critical sections, nothing half done, what it has finished taken by hand.

Source: aic79xx_core.c, "ahd_clear_critical_section", "ahd_pause_and_flushwork", "ahd_flush_qoutfifo" (Linux 2.6.9), by
effect.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from .frames import SgFlag
from .interrupt import ahd_intr, ahd_run_qoutfifo
from .regs import (
    CchanRegs,
    CfgRegs,
    ClrSint1,
    CommonRegs,
    IntStat,
    LqiStat2,
    Mode,
    ModeRegs,
    Scratch,
    ScsiRegs,
    ScsiSeq0,
    SeqCtl0,
    SeqFlags2,
    SiMode1,
    SStat0,
)
from .sequencer import AHD_SCB_MAX, CRITICAL_SECTIONS, SCB_LIST_NULL, is_null
from .status import ahd_complete_scb, ahd_handle_scb_status, ahd_thaw_firmware

if TYPE_CHECKING:
    from ddsdk.regs import Placed

    from .ahd import AhdSoftc

#: Single steps out of a critical section, and microseconds for one: sections are a few instructions long.
_STEPS: Final = 64
_STEP_US: Final = 20
#: Rounds of 1 ms until the chip is at rest; a selection that nobody answers takes 256 of them.
_FLUSH_ROUNDS: Final = 1000
_SELECTING: Final = SStat0.SELDO.mask | SStat0.SELINGO.mask
_CCSCB_BUSY: Final = 0x18
_CCSCB_US: Final = 200
_WINDOW: Final = Scratch.SCB_RESIDUAL_DATACNT.offset
#: What an upload brings that the host needs: status and residuals, control byte, S/G pointer.
_COPIED: Final = (*range(0x0C), 0x12, *range(0x24, 0x28))
_MASKS: Final = (CfgRegs.SIMODE0, CfgRegs.SIMODE3, CfgRegs.LQIMODE0, CfgRegs.LQIMODE1, CfgRegs.LQOMODE0,
                 CfgRegs.LQOMODE1)


# -- critical sections -----------------------------------------------------------------------------------------


def _in_section(ahd: AhdSoftc) -> bool:
    mode = ahd.set_modes(Mode.SCSI)
    address = ahd.inw(ScsiRegs.CURADDR)
    ahd.set_modes(mode)
    return any(first <= address <= last for first, last in CRITICAL_SECTIONS)


def ahd_clear_critical_section(ahd: AhdSoftc) -> bool:
    """void ahd_clear_critical_section(struct ahd_softc *): step on until the sequencer may be looked at.

    The chip is paused, before and after; false when it does not get out.
    """
    if not _in_section(ahd):
        return True
    ahd.set_modes(Mode.CFG)
    masks = [ahd.inb(register) for register in _MASKS]
    for register in _MASKS:
        ahd.outb(register, 0)
    ahd.set_modes(Mode.SCSI)
    simode1 = ahd.inb(ScsiRegs.SIMODE1)
    ahd.outb(ScsiRegs.SIMODE1, simode1 & SiMode1.BUSFREE.mask)
    ahd.change(CommonRegs.SEQCTL0, set_=SeqCtl0.STEP.mask)
    ahd.outb(ScsiRegs.CLRSINT1, ClrSint1.CLRBUSFREE.mask)
    ahd.outb(CommonRegs.CLRINT, IntStat.SCSIINT.mask)
    out = _step(ahd)
    ahd.change(CommonRegs.SEQCTL0, clear=SeqCtl0.STEP.mask)
    ahd.set_modes(Mode.SCSI)
    ahd.outb(ScsiRegs.SIMODE1, simode1)
    ahd.set_modes(Mode.CFG)
    for register, value in zip(_MASKS, masks, strict=True):
        ahd.outb(register, value)
    ahd.set_modes(Mode.SCSI)
    return out


def _step(ahd: AhdSoftc) -> bool:
    for _ in range(_STEPS):
        ahd.unpause()
        for _ in range(_STEP_US):
            if ahd.is_paused():
                break
            ahd.udelay(1)
        else:
            return False
        if not _in_section(ahd):
            return True
    return False


# -- rest ------------------------------------------------------------------------------------------------------


def ahd_pause_and_flushwork(ahd: AhdSoftc, breathe: Callable[[], None]) -> bool:
    """void ahd_pause_and_flushwork(struct ahd_softc *): let what is under way end, start nothing, pause.

    The lock is held; *breathe* lets a millisecond pass without it.  True: the chip is paused and at rest.
    """
    if not ahd.pause():
        return False
    mode = ahd.set_modes(Mode.SCSI)
    ahd.outw(Scratch.QFREEZE_COUNT, ahd.inw(Scratch.QFREEZE_COUNT) + 1)
    ahd.change(Scratch.SEQ_FLAGS2, set_=SeqFlags2.SELECTOUT_QFROZEN.mask)
    ahd.set_modes(mode)
    for _ in range(_FLUSH_ROUNDS):
        ahd.unpause()
        breathe()
        if not ahd.active:
            return False
        ahd_intr(ahd)
        if not ahd.active or not ahd.pause() or not ahd_clear_critical_section(ahd):
            return False
        ahd.set_modes(Mode.SCSI)
        if not ahd.inb(ScsiRegs.SSTAT0) & _SELECTING:
            ahd.change(ScsiRegs.SCSISEQ0, clear=ScsiSeq0.ENSELO.mask)
        if not (ahd.inb(CommonRegs.INTSTAT) or ahd.inb(ScsiRegs.SCSISEQ0) & ScsiSeq0.ENSELO.mask
                or ahd.inb(ScsiRegs.SSTAT0) & _SELECTING):
            ahd_thaw_firmware(ahd)
            ahd_flush_qoutfifo(ahd)
            return True
    ahd_thaw_firmware(ahd)
    ahd.unpause()
    return False


def ahd_flush_qoutfifo(ahd: AhdSoftc, *, may_ask: bool = True) -> None:
    """void ahd_flush_qoutfifo(struct ahd_softc *): complete everything that the chip has finished.  It is paused.

    *may_ask*: as for ahd_handle_scb_status().
    """
    ahd_run_qoutfifo(ahd)
    mode = ahd.set_modes(Mode.SCSI)
    for _ in range(AHD_SCB_MAX):
        if not ahd.inb(ScsiRegs.LQISTAT2) & LqiStat2.LQIGSAVAIL.mask:
            break
        high = ahd.inb_at(ScsiRegs.GSFIFO.offset + 1)           # the low byte pops
        _complete(ahd, high << 8 | ahd.inb_at(ScsiRegs.GSFIFO.offset))
    ahd.set_modes(Mode.CCHAN)
    for _ in range(_CCSCB_US):
        if not ahd.inb(CchanRegs.CCSCBCTL) & _CCSCB_BUSY:
            break
        ahd.udelay(1)
    for tag in _take_list(ahd, Scratch.COMPLETE_DMA_SCB_HEAD):
        _take_upload(ahd, tag, may_ask)
    for head in (Scratch.COMPLETE_SCB_DMAINPROG_HEAD, Scratch.COMPLETE_SCB_HEAD):
        for tag in _take_list(ahd, head):
            _complete(ahd, tag)
    ahd.set_modes(mode)


def _take_list(ahd: AhdSoftc, head: Placed[Any]) -> list[int]:
    """Tags of a completion list, the oldest first; the list is empty afterwards."""
    pointer = ahd.inw(ModeRegs.SCBPTR)
    tags: list[int] = []
    tag = ahd.inw(head)
    while not is_null(tag) and tag < AHD_SCB_MAX and tag not in tags:
        tags.append(tag)
        ahd.outw(ModeRegs.SCBPTR, tag)
        tag = ahd.inw(Scratch.SCB_SENSE_BUSADDR)
    ahd.outw(head, SCB_LIST_NULL)
    ahd.outw(ModeRegs.SCBPTR, pointer)
    return tags[::-1]


def _complete(ahd: AhdSoftc, tag: int) -> None:
    scb = ahd.pending.get(tag)
    if scb is None:
        ahd.stale += 1
    else:
        ahd_complete_scb(ahd, scb)


def _take_upload(ahd: AhdSoftc, tag: int, may_ask: bool) -> None:
    """What the chip would have written back, byte by byte; not the tag, which counts FIFOs while it is on the chip."""
    scb = ahd.pending.get(tag)
    pointer = ahd.inw(ModeRegs.SCBPTR)
    ahd.outw(ModeRegs.SCBPTR, tag)
    status = ahd.inb(Scratch.SCB_SCSI_STATUS)
    if scb is not None:
        view = scb.element.view
        for at in _COPIED:
            view[at] = ahd.inb_at(_WINDOW + at)
        view[0x24] |= SgFlag.STATUS_VALID
    ahd.outw(ModeRegs.SCBPTR, pointer)
    if scb is None:
        ahd.stale += 1
    else:
        ahd_handle_scb_status(ahd, scb, may_ask=may_ask)
    if status:
        ahd_thaw_firmware(ahd)
