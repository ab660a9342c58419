"""The interrupt handler, the poll that stands in for it, and what they leave to a tasklet.  hw-aic7xxx.md 8, 14."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.helperlib.kernel import IRQ_HANDLED, IRQ_NONE
from ddsdk.scsi.cmnd import DID_NO_CONNECT, DID_RESET

from .done import ahc_run_complete_queue, ahc_run_qoutfifo
from .frames import QOUT_EMPTY
from .hw import AhcError, AhcGone, ahc_gone, ahc_paused
from .queue import ahc_run_device_queues
from .regs import ALL_ONES, INT_PEND, AhcRegs, ClrInt, HCntrl, IntStat
from .scsiint import ahc_handle_scsiint, ahc_pci_error, ahc_why_broken
from .seqint import ahc_handle_seqint

if TYPE_CHECKING:
    from ddsdk.scsi.cmnd import ScsiCmnd

    from .adapter import Ahc

# byte offsets and masks: the per-command path makes no register objects
_INTSTAT: Final = AhcRegs.INTSTAT.offset
_CLRINT: Final = AhcRegs.CLRINT.offset
_CLRCMDINT: Final = ClrInt.CLRCMDINT.mask
_CMDCMPLT: Final = IntStat.CMDCMPLT.mask
_BRKADRINT: Final = IntStat.BRKADRINT.mask
_SCSIINT: Final = IntStat.SCSIINT.mask
_SEQINT: Final = IntStat.SEQINT.mask
#: Looks at INTSTAT that find nothing, until ERROR is looked at for PCI errors.
_UNSOLICITED_MAX: Final = 500


def ahc_linux_isr(_irq: int, ahc: Ahc) -> int:
    """irqreturn_t ahc_linux_isr(int irq, void *dev_id): deal with what the chip has to say; run queues in a tasklet.

    A tag in the output queue is taken for CMDCMPLT, without a look at the chip; what else there is the next pass finds.
    Not while a reset is due or under way: nothing the chip says then counts.
    """
    if not ahc.active:
        return IRQ_NONE
    intstat = _CMDCMPLT if ahc.qout[ahc.qoutpos] != QOUT_EMPTY else ahc.inb(_INTSTAT)
    handled = ahc_intr(ahc, intstat) if intstat & INT_PEND else ahc_nothing(ahc)
    if ahc.completeq:
        ahc_run_complete_queue(ahc)
    if ahc.runq:
        ahc.kernel.tasklet_schedule(ahc.runq_tasklet)
    return IRQ_HANDLED if handled else IRQ_NONE


def ahc_linux_poll(ahc: Ahc) -> None:
    """The handler by hand, then device queues and completions, which in normal mode the tasklet runs."""
    if ahc.active:
        intstat = _CMDCMPLT if ahc.qout[ahc.qoutpos] != QOUT_EMPTY else ahc.inb(_INTSTAT)
        if intstat & INT_PEND:
            ahc_intr(ahc, intstat)
        else:
            ahc.unsolicited += 1
            if ahc.unsolicited > _UNSOLICITED_MAX:          # ahc_nothing(), without the call
                ahc_look_for_pci_error(ahc)
    if ahc.runq:
        ahc_runq_tasklet(ahc)
    elif ahc.completeq:
        ahc_run_complete_queue(ahc)


def ahc_runq_tasklet(ahc: Ahc) -> None:
    """void ahc_runq_tasklet(unsigned long): serve devices that may go on, tell of commands that ended."""
    kernel = ahc.kernel
    flags = kernel.spin_lock_irqsave(ahc.lock)
    ahc_run_device_queues(ahc)
    kernel.spin_unlock_irqrestore(ahc.lock, flags)
    ahc_run_complete_queue(ahc)


def ahc_intr(ahc: Ahc, intstat: int) -> bool:
    """Serve every cause in *intstat*; true, for there was one."""
    kernel = ahc.kernel
    flags = kernel.spin_lock_irqsave(ahc.lock)
    ahc.unsolicited = 0
    try:
        why = ahc_serve(ahc, intstat)
    except AhcError as error:
        why = str(error)
        if isinstance(error, AhcGone):
            ahc.dead = True
    if why:
        ahc_stop(ahc, why)
    kernel.spin_unlock_irqrestore(ahc.lock, flags)
    ahc_schedule_reset(ahc)
    return True


def ahc_serve(ahc: Ahc, intstat: int) -> str:
    """Serve every cause in *intstat*; why the chip can go on no more, "" while it can."""
    if intstat == ALL_ONES:
        if ahc_gone(ahc):
            ahc.dead = True
            return "the adapter is gone"
        return "INTSTAT gives all ones"
    if intstat & _CMDCMPLT:
        ahc.outb(_CLRINT, _CLRCMDINT)
        ahc.inb(_INTSTAT)                   # the write has reached the chip before the queue is looked at
        ahc_run_qoutfifo(ahc)
    if intstat & _BRKADRINT:
        return ahc_why_broken(ahc)
    if intstat & (_SEQINT | _SCSIINT):
        ahc_paused(ahc)
        if intstat & _SEQINT:
            ahc_handle_seqint(ahc, intstat)
        if intstat & _SCSIINT and ahc.inb(_INTSTAT) & _SCSIINT:
            ahc_handle_scsiint(ahc)
    return ""


def ahc_nothing(ahc: Ahc) -> bool:
    """Nothing is pending; after many times perhaps because of a PCI error, which raises no interrupt."""
    ahc.unsolicited += 1
    return ahc.unsolicited > _UNSOLICITED_MAX and ahc_look_for_pci_error(ahc)


def ahc_look_for_pci_error(ahc: Ahc) -> bool:
    """Whether there was one; the chip goes on after it."""
    ahc.unsolicited = 0
    kernel = ahc.kernel
    flags = kernel.spin_lock_irqsave(ahc.lock)
    found = False
    try:
        found = ahc_pci_error(ahc)
    except AhcError as error:
        ahc_stop(ahc, str(error))
    kernel.spin_unlock_irqrestore(ahc.lock, flags)
    ahc_schedule_reset(ahc)
    return found


# -- when nothing helps but a reset ----------------------------------------------------------------------------


def ahc_stop(ahc: Ahc, why: str) -> None:
    """The chip cannot be used as it is: its commands end, a reset is due - unless it is gone.  `lock` is held.

    ahc_schedule_reset() has to follow, without the lock.  The memory of those commands stays mapped: the chip reaches
    it until it is reset.
    """
    ahc.active = False
    ahc.printk(f"{why}; {'given up' if ahc.dead else 'reset scheduled'}")
    if not ahc.dead:
        ahc.outb(AhcRegs.HCNTRL, HCntrl.PAUSE.mask)
        ahc.reset_due = True
    host_byte = DID_NO_CONNECT if ahc.dead else DID_RESET
    ahc.completeq += ahc_ended(ahc_abandon(ahc), host_byte)


def ahc_schedule_reset(ahc: Ahc) -> None:
    """Have a work item do the reset that ahc_stop() found due."""
    if ahc.reset_due:
        ahc.reset_due = False
        ahc.kernel.schedule_work(ahc.reset_work)


def ahc_abandon(ahc: Ahc) -> list[ScsiCmnd]:
    """Forget every SCB and every command that waits; those commands, still to be ended."""
    scmds = [scb.scmd for scb in ahc.pending() if scb.scmd is not None]
    for target in ahc.targets:
        for dev in target.devices:
            scmds += dev.busyq
            dev.busyq.clear()
    ahc.forget(keep_ended=True)
    return scmds


def ahc_ended(scmds: list[ScsiCmnd], host_byte: int) -> list[tuple[ScsiCmnd, None]]:
    """*scmds* as `completeq` wants them, nothing of them moved."""
    for scmd in scmds:
        scmd.result, scmd.resid = host_byte << 16, scmd.request_bufflen
    return [(scmd, None) for scmd in scmds]
