"""The interrupt: what the chip has to say, by handler or by poll; completions; errors of chip and bus.

Source: aic79xx_inline.h "ahd_intr", aic79xx_core.c "ahd_run_qoutfifo", aic79xx_pci.c "ahd_pci_intr" (Linux 2.6.9), by
effect.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.helperlib.kernel import IRQ_HANDLED, IRQ_NONE

from .access import PAUSE
from .frames import QOUT_VALID, SgFlag
from .lost import ahd_gone, ahd_lost
from .regs import ALL_ONES, CfgRegs, CommonRegs, DffRegs, IntStat, Mode, ModeRegs
from .scsiint import ahd_handle_scsiint
from .seqint import ahd_handle_seqint
from .sequencer import AHD_SCB_MAX
from .status import (
    ahd_complete_scb,
    ahd_handle_scb_status,
    ahd_run_busyq,
    ahd_run_completeq,
)

if TYPE_CHECKING:
    from .ahd import AhdSoftc
    from .scb import Scb

_CMDCMPLT, _SEQINT, _SCSIINT = IntStat.CMDCMPLT.mask, IntStat.SEQINT.mask, IntStat.SCSIINT.mask
#: A lost SEQINT is looked for when so many polls in a row (a power of two) found nothing.
_QUIET_POLLS: Final = 32
_PCI_OR_SPLIT: Final = IntStat.PCIINT.mask | IntStat.SPLTINT.mask
_ENTRY: Final = Struct("<H")
_CLRINT: Final = CommonRegs.CLRINT.offset
_HCNTRL: Final = CommonRegs.HCNTRL.offset
_STATUS_VALID: Final = SgFlag.STATUS_VALID
#: QOUT_VALID in the entry's second byte.
_VALID_BYTE: Final = QOUT_VALID >> 8
_SGPTR_AT: Final = 0x24
_PCI_STATUS: Final = 0x06
_PCI_STATUS_W1C: Final = 0xF900
#: Of the clients of the PCI bus, the one that is not there.
_NO_CLIENT: Final = 5


def ahd_linux_isr(_irq: int, ahd: AhdSoftc) -> int:
    """irqreturn_t ahd_linux_isr(int irq, void *dev_id): not while a reset is due or under way."""
    if not ahd.active:
        return IRQ_NONE
    kernel = ahd.kernel
    flags = kernel.spin_lock_irqsave(ahd.lock)
    mine = ahd.active and ahd_intr(ahd)
    again = bool(ahd.busyq)
    kernel.spin_unlock_irqrestore(ahd.lock, flags)
    if again:
        kernel.tasklet_schedule(ahd.runq_tasklet)
    if mine:
        ahd_run_completeq(ahd)
        kernel.wake_up(ahd.wait)
    return IRQ_HANDLED if mine else IRQ_NONE


def ahd_poll(ahd: AhdSoftc) -> None:
    """The handler by hand, and what it would have left to the run-queue tasklet."""
    if not ahd.active:
        return
    kernel = ahd.kernel
    if (ahd.shared_view[2 * ahd.qoutnext + 1] & _VALID_BYTE != ahd.qout_valid >> 8
            and not ahd.read_intstat() and not ahd.busyq):
        ahd.quiet_polls += 1                    # nothing to say: the common case, kept short
        if not ahd.collides or ahd.quiet_polls % _QUIET_POLLS or not _collided(ahd):
            return
    flags = kernel.spin_lock_irqsave(ahd.lock)
    mine = ahd_intr(ahd)
    if ahd.busyq:
        ahd_run_busyq(ahd)
    kernel.spin_unlock_irqrestore(ahd.lock, flags)
    if mine:
        ahd_run_completeq(ahd)
        kernel.wake_up(ahd.wait)


def ahd_intr(ahd: AhdSoftc) -> bool:
    """int ahd_intr(struct ahd_softc *): whether there was something.  The lock is held.

    A valid entry of the output queue is taken without a look at INTSTAT; what else there is shows next time.
    """
    if _ENTRY.unpack_from(ahd.shared_view, 2 * ahd.qoutnext)[0] & QOUT_VALID == ahd.qout_valid:
        intstat = _CMDCMPLT
    else:
        intstat = ahd.read_intstat()
        if not intstat:
            return ahd.collides and _collided(ahd) and ahd_handle_seqint(ahd)
        if intstat == ALL_ONES and ahd.inb(CommonRegs.HCNTRL) == ALL_ONES:
            ahd_gone(ahd)
            return True
    if intstat & _CMDCMPLT:
        ahd.outb_at(_CLRINT, _CMDCMPLT)
        # a read, whichever: the clear has to be there before the queue is looked at
        if not ahd.collides:
            ahd.read_intstat()
        elif _collided(ahd):
            intstat |= _SEQINT
        ahd_run_qoutfifo(ahd)
    if intstat & IntStat.HWERRINT.mask:
        ahd_handle_hwerrint(ahd)
    elif intstat & _PCI_OR_SPLIT:
        _bus_interrupt(ahd, intstat)
    else:
        if intstat & _SEQINT:
            ahd_handle_seqint(ahd)
        if intstat & _SCSIINT and ahd.active:
            ahd_handle_scsiint(ahd)
    return True


def _collided(ahd: AhdSoftc) -> bool:
    """The sequencer stands still with a code, and INTSTAT does not say so: it came together with a completion."""
    hcntrl = ahd.inb_at(_HCNTRL)
    return (bool(hcntrl & PAUSE) and hcntrl != ALL_ONES and ahd.inb(CommonRegs.SEQINTCODE) != 0
            and not ahd.read_intstat() & _SEQINT)


def ahd_run_qoutfifo(ahd: AhdSoftc) -> None:
    """void ahd_run_qoutfifo(struct ahd_softc *): every entry whose valid bit is that of this pass.

    The host never clears entries; when its index wraps it expects the other value.  Bounded by the queue's size.
    """
    view, pending = ahd.shared_view, ahd.pending
    for _ in range(AHD_SCB_MAX):
        entry = _ENTRY.unpack_from(view, 2 * ahd.qoutnext)[0]
        if entry & QOUT_VALID != ahd.qout_valid:
            return
        ahd.qoutnext += 1
        if ahd.qoutnext == AHD_SCB_MAX:
            ahd.qoutnext = 0
            ahd.qout_valid ^= QOUT_VALID
        scb = pending.get(entry & ~QOUT_VALID)
        if scb is None:
            ahd.stale += 1                      # from before a reset, a second one, or nobody's
        elif scb.element.view[_SGPTR_AT] & _STATUS_VALID:
            _handle_status_entry(ahd, scb)
        else:
            ahd_complete_scb(ahd, scb)


def _handle_status_entry(ahd: AhdSoftc, scb: Scb) -> None:
    """The SCB was written back: a short transfer, or (not by this firmware, which reports it by code 1A) a status."""
    if not scb.element.view[8]:
        ahd_complete_scb(ahd, scb)
    elif ahd.pause():
        ahd_handle_scb_status(ahd, scb)
        ahd.unpause()


# -- errors of the chip, and of its bus ------------------------------------------------------------------------


def ahd_handle_hwerrint(ahd: AhdSoftc) -> None:
    """void ahd_handle_hwerrint(struct ahd_softc *): the sequencer is lost; a chip reset and a download bring it back.

    (The original prints and panics.)
    """
    ahd.hwerr_count += 1
    ahd_lost(ahd, f"hardware error, ERROR {ahd.inb(CommonRegs.ERROR):#04x}")


def _bus_interrupt(ahd: AhdSoftc, intstat: int) -> None:
    """void ahd_pci_intr(struct ahd_softc *), void ahd_pci_split_intr(...): read, write back, go on."""
    if intstat & IntStat.PCIINT.mask:
        ahd.set_modes(Mode.CFG)
        for client, register in enumerate(CfgRegs.PCISTAT):
            if client != _NO_CLIENT:
                ahd.outb(register, ahd.inb(register))
        kernel, pdev = ahd.kernel, ahd.pdev
        status = kernel.pci_read_config_word(pdev, _PCI_STATUS)
        kernel.pci_write_config_word(pdev, _PCI_STATUS, status & _PCI_STATUS_W1C)
        ahd.printk("PCI error; cleared")
    if intstat & IntStat.SPLTINT.mask and (intstat & IntStat.PCIINT.mask or ahd.pause()):
        for mode in (Mode.DFF0, Mode.DFF1, Mode.CCHAN, Mode.SCSI):
            ahd.set_modes(mode)
            registers = [ModeRegs.SPLTSTAT0, ModeRegs.SPLTSTAT1]
            if mode <= Mode.DFF1:
                registers += [DffRegs.SGSPLTSTAT0, DffRegs.SGSPLTSTAT1]
            for register in registers:
                ahd.outb(register, ahd.inb(register))
        ahd.printk("split transaction error; cleared")
    ahd.outb(CommonRegs.CLRINT, intstat & _PCI_OR_SPLIT)
    ahd.unpause()

