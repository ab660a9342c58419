"""The interrupt handler, the poll that stands in for it, and what each cause means.

Causes and reactions: hw notes 6, LSI53C895A Technical Manual v2.2, 2.2.16; Linux 2.6.9 sym_hipd.c (sym_interrupt).
np.lock is held in all of this; commands that ended are handed back and told to the mid-layer without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.helperlib.kernel import IRQ_HANDLED, IRQ_NONE
from ddsdk.scsi.cmnd import DID_BUS_BUSY, DID_ERROR, DID_NO_CONNECT, DID_PARITY, end_cmds

from .chip import DSP, ISTAT0, R, clear_fifos, gather, go_on, leave_line_alone
from .complete import ccb_of_dsa, drop, take_done
from .frames import INSN_BYTES, Message, Phase
from .recovery import sym_request_reset
from .regs import ALL_ONES, Dstat, Istat0, Sist0, Sist1, Sstat0, Sstat1
from .scatter import current_rest, interrupted
from .sir import sym_int_sir

if TYPE_CHECKING:
    from ddsdk.scsi.cmnd import ScsiCmnd

    from .adapter import Ccb, Hcb

_INTF, _PENDING = Istat0.INTF.mask, Istat0.SIP.mask | Istat0.DIP.mask
_SIGP: Final = Istat0.SIGP.mask
_MA, _PAR, _UDC, _RST, _SGE = (Sist0.MA.mask, Sist0.PAR.mask, Sist0.UDC.mask, Sist0.RST.mask, Sist0.SGE.mask)
_STO, _SBMC = Sist1.STO.mask << 8, Sist1.SBMC.mask << 8
_HARD_SIST: Final = _SGE | _SBMC | Sist1.of(GEN=1, HTH=1) << 8
_SIR: Final = Dstat.SIR.mask
#: Registers as offsets: what they hold is taken as it is.
_DBC, _DFIFO, _SSTAT0, _SSTAT1, _TEMP = (
    R.DBC.offset, R.DFIFO.offset, R.SSTAT0.offset, R.SSTAT1.offset, R.TEMP.offset)
_PHASE, _OLF, _ORF = Sstat1.PHASE.mask, Sstat0.OLF.mask, Sstat0.ORF.mask
_HARD_DSTAT: Final = int(Dstat.of(MDPE=1, BF=1, ABRT=1, IID=1, SSI=1))
_PCI_STATUS: Final = 0x06
_PCI_STATUS_ERRORS: Final = 0xF900
_NAMES: Final = ((_RST, "RST"), (_SGE, "gross error"), (_SBMC, "bus mode change"),
                 (Sist1.GEN.mask << 8, "general purpose timer"), (Sist1.HTH.mask << 8, "handshake timer"))


# -- the handler ---------------------------------------------------------------------------------------------


def sym53c8xx_intr(_irq: int, np: Hcb) -> int:
    """irqreturn_t sym53c8xx_intr(int irq, void *dev_id).

    Not while a reset is due or under way: nothing the chip says then counts, and the reset reads its causes itself.
    """
    if not np.active:
        return IRQ_NONE
    flags = np.kernel.spin_lock_irqsave(np.lock)
    ended: list[ScsiCmnd] = []
    handled = sym_interrupt(np, ended)
    np.kernel.spin_unlock_irqrestore(np.lock, flags)
    _tell(np, ended)
    return IRQ_HANDLED if handled else IRQ_NONE


def sym53c8xx_poll(np: Hcb) -> None:
    """The handler by hand, of an active adapter.  What finds nothing takes no lock: it is most of what a dump does.

    Commands that SCRIPTS have marked count as well: after a crash no INTFLY says so.
    """
    view = np.view
    for ccb in np.busy.values():
        if view[ccb.done_at]:
            break
    else:
        if not np.readb(np.chip, ISTAT0) & (_INTF | _PENDING):
            return
    flags = np.kernel.spin_lock_irqsave(np.lock)
    ended: list[ScsiCmnd] = []
    take_done(np, ended)
    if not ended:
        sym_interrupt(np, ended)
    np.kernel.spin_unlock_irqrestore(np.lock, flags)
    _tell(np, ended)


def _tell(np: Hcb, ended: list[ScsiCmnd]) -> None:
    if np.dead:
        end_cmds(ended, DID_NO_CONNECT)
    else:
        for scmd in ended:
            scmd.scsi_done(scmd)
    if np.waiting:
        np.kernel.wake_up(np.wait)


def sym_interrupt(np: Hcb, ended: list[ScsiCmnd]) -> bool:
    """Look at ISTAT and do what it says; false when it says nothing."""
    kernel, chip = np.kernel, np.chip
    istat = kernel.readb(chip, ISTAT0)
    if not istat & (_INTF | _PENDING):
        return False
    if istat == ALL_ONES:
        _gone(np, ended)
        return True
    if istat & _INTF:
        kernel.writeb(istat & _SIGP | _INTF, chip, ISTAT0)
        istat = kernel.readb(chip, ISTAT0)
        take_done(np, ended)
    if istat & _PENDING:
        sist, dstat = gather(np, istat)
        take_done(np, ended)
        sym_causes(np, sist, dstat, ended)
    return True


def _gone(np: Hcb, ended: list[ScsiCmnd]) -> None:
    """All ones: the chip does not answer any more; its commands end, and so will all others."""
    np.active, np.dead = False, True
    np.printk("the adapter is gone")
    leave_line_alone(np)
    ended += np.forget()


def sym_causes(np: Hcb, sist: int, dstat: int, ended: list[ScsiCmnd]) -> None:
    """SCRIPTS have stopped.  RST first, then what only a reset mends, then what a command caused."""
    if sist & _RST:
        sym_request_reset(np, "somebody reset the bus")
    elif sist & _HARD_SIST or dstat & _HARD_DSTAT:
        _hard_error(np, sist, dstat)
    elif sist & _PAR:
        sym_int_par(np)
    elif sist & _STO:
        sym_int_sto(np, ended)
    elif sist & _UDC:
        sym_int_udc(np, ended)
    elif sist & _MA:
        sym_int_ma(np)
    elif dstat & _SIR:
        sym_int_sir(np, ended)
    else:
        _lost(np, f"SCRIPTS stopped with SIST {sist:04x}, DSTAT {dstat:02x}")


def _lost(np: Hcb, why: str) -> None:
    dsp = np.kernel.readl(np.chip, R.DSP)
    sym_request_reset(np, f"{why} at DSP {int(dsp):08x}")


def _hard_error(np: Hcb, sist: int, dstat: int) -> None:
    kernel = np.kernel
    if dstat & Dstat.of(MDPE=1, BF=1):
        status = kernel.pci_read_config_word(np.pdev, _PCI_STATUS)
        kernel.pci_write_config_word(np.pdev, _PCI_STATUS, status & _PCI_STATUS_ERRORS)
        _lost(np, f"PCI error, DSTAT {dstat:02x}, PCI status {status:04x}")
        return
    named = ", ".join(name for mask, name in _NAMES if sist & mask)
    _lost(np, f"{named or 'SCRIPTS error'} (SIST {sist:04x}, DSTAT {dstat:02x})")


# -- selection timeout, unexpected disconnect ----------------------------------------------------------------


def sym_int_sto(np: Hcb, ended: list[ScsiCmnd]) -> None:
    """Nobody answered a selection: the command ends; a target that has answered before is tried again."""
    dsp = np.kernel.readl(np.chip, DSP)
    ccb = ccb_of_dsa(np)
    clear_fifos(np)
    if ccb is np.tm and dsp == np.labels["tm_select"] + 2 * INSN_BYTES:
        np.tm_result = False
        np.skip_slot(ccb)
    elif ccb is not None and ccb.scmd is not None and dsp == np.labels["messages_sent"]:
        np.skip_slot(ccb)
        known = ccb.scmd.device.id in np.answered
        drop(np, ccb, DID_BUS_BUSY if known else DID_NO_CONNECT, ended)
    else:
        _lost(np, "selection timeout")
        return
    go_on(np, "start")


def sym_int_udc(np: Hcb, ended: list[ScsiCmnd]) -> None:
    """The target left the bus without a word: its command has failed, to be tried again."""
    dsp, labels = np.kernel.readl(np.chip, DSP), np.labels
    ccb = ccb_of_dsa(np)
    clear_fifos(np)
    if labels["reselected"] < dsp <= labels["untagged"]:
        np.strays += 1                              # before it said for which command it came
    elif ccb is None or ccb.scmd is None or labels["abandon_there"] < dsp <= labels["tm_select"]:
        if ccb is np.tm:
            _lost(np, "unexpected disconnect")
            return
    else:
        np.printk(f"target {ccb.scmd.device.id} left the bus in mid command")
        if dsp == labels["messages_sent"]:
            np.skip_slot(ccb)
        drop(np, ccb, DID_ERROR, ended)
    go_on(np, "start")


# -- phase mismatch, parity ----------------------------------------------------------------------------------


def _left(np: Hcb, out: bool) -> int:
    """Bytes of the interrupted move that did not reach their end: DBC, and outbound what is left in the FIFOs."""
    kernel, chip = np.kernel, np.chip
    dbc = kernel.readl(chip, _DBC) & 0xFF_FFFF
    if not out:
        return dbc
    status, dfbc = kernel.readb(chip, _SSTAT0), np.features.dfbc
    fifo = kernel.readw(chip, np.dfbc_at) if dfbc else kernel.readb(chip, _DFIFO) - dbc & 0x7F
    return dbc + fifo + bool(status & _OLF) + bool(status & _ORF and not dfbc)


def _data_stopped(np: Hcb, ccb: Ccb, insn: int) -> bool:
    """A data move of *ccb* stopped half way; false when it was another move."""
    if not interrupted(np, ccb, insn, _left(np, ccb.to_device)):
        return False
    np.kernel.writeb(current_rest(ccb), np.chip, _TEMP)
    return True


def sym_int_ma(np: Hcb) -> None:
    """The target went to another phase than the move was for."""
    kernel, chip, labels = np.kernel, np.chip, np.labels
    insn = kernel.readl(chip, DSP) - INSN_BYTES
    phase = kernel.readb(chip, _SSTAT1) & _PHASE
    ccb = ccb_of_dsa(np)
    if ccb is None or (ccb.scmd is None and ccb is not np.tm):
        _lost(np, f"phase {phase} of nobody's command")
        return
    if ccb.scmd is not None and _data_stopped(np, ccb, insn):
        clear_fifos(np)
        if phase == (Phase.DATA_IN if ccb.to_device else Phase.DATA_OUT):
            _lost(np, f"target {ccb.scmd.device.id} moves data in the wrong direction")
        else:
            go_on(np, "dispatch")
    elif insn + INSN_BYTES == labels["messages_sent"]:
        go_on(np, "messages_sent")                  # it does not want all our messages
    elif insn in (labels["command"], labels["status"], labels["over_in"], labels["over_more"], labels["reject"],
                  labels["message_out"]):
        clear_fifos(np)
        go_on(np, "dispatch")
    else:
        _lost(np, f"unexpected phase {phase}")


def sym_int_par(np: Hcb) -> None:
    """Bad parity; the chip asserts ATN.  Tell the target, which aborts the command or says it again."""
    kernel, chip, labels = np.kernel, np.chip, np.labels
    insn = kernel.readl(chip, DSP) - INSN_BYTES
    phase = kernel.readb(chip, _SSTAT1) & _PHASE
    ccb = ccb_of_dsa(np)
    if ccb is None or ccb.scmd is None or not kernel.readb(chip, R.SBCL).ATN:
        _lost(np, "parity error")
        return
    np.printk(f"parity error from target {ccb.scmd.device.id} in phase {phase}")
    if phase == Phase.DATA_IN and not ccb.to_device and _data_stopped(np, ccb, insn):
        ccb.error = DID_PARITY
        np.poke("msgout", Message.INITIATOR_DETECTED_ERROR)
        go_on(np, "dispatch")
    elif insn == labels["status"]:
        np.poke("msgout", Message.INITIATOR_DETECTED_ERROR)
        go_on(np, "dispatch")
    elif insn == labels["message_in"]:
        np.poke("msgout", Message.MESSAGE_PARITY_ERROR)
        go_on(np, "clear_ack")
    else:
        _lost(np, "parity error")
