"""The chip's handles: pause and unpause, the SCB window, lists of slots, reset, program, bring-up, restart.

Steps, values and order: hw-aic7xxx.md 6.  Every wait is bounded; the shipped driver spun for PAUSE without a limit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from . import seqprog
from .frames import QOUT_EMPTY, SCB_CONTROL, SCB_LUN, SCB_NEXT, SCB_SCSIID, SCB_TAG
from .regs import (
    ALL_ONES,
    CRITICAL_SECTIONS,
    INT_STOPS,
    NONE,
    PCIR_STATUS_HIGH,
    SCB_QSIZE_256,
    SLOTS,
    STATUS_ERRORS,
    STATUS_STA,
    AhcRegs,
    HCntrl,
    IntStat,
    MsgOut,
    Phase,
    SblkCtl,
    ScsiSeq,
    SeqCtl,
    SeqFlags2,
    SFunct,
    SStat0,
    SStat1,
    SxfrCtl0,
    SxfrCtl1,
)

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Kernel

    from .adapter import Ahc

_PAUSE: Final = HCntrl.PAUSE.mask
_CHIPRST: Final = HCntrl.CHIPRST.mask
#: The sequencer stops within a microsecond.
_PAUSE_TRIES: Final = 50
#: No critical section is that long; hw-aic7xxx.md 11 has 2000, 200 us each.
_STEPS_MAX: Final = 64
_STOPS_ITSELF: Final = IntStat.SEQINT.mask | IntStat.BRKADRINT.mask
#: hw-aic7xxx.md 6: 1 ms, then a thousand looks; ours waits longer, and tries again.
_RESET_MS: Final = 5000
_RESET_TRIES: Final = 3
#: Most resets are over at once; one that is not is looked at less often.
_RESET_SOON_MS: Final = 20
_RESET_LOOK_MS: Final = 10
#: Until the transceivers have found out what bus it is: 5000 times 100 us, no error when they have not.
_SETTLE_MS: Final = 500
_SELFTEST: Final = (0xAA, 0x55, 0xA5, 0x5A)
_SELECTION_TIMEOUT_256_MS: Final = 0

#: SIMODE1 while nothing is connected.
SIMODE1_IDLE: Final = SStat1.SELTO.mask | SStat1.SCSIRSTI.mask | SStat1.SCSIPERR.mask
BUSFREE: Final = SStat1.BUSFREE.mask
SCSIRSTI: Final = SStat1.SCSIRSTI.mask
SCSISEQ_TEMPLATE: Final = (ScsiSeq.ENSELO.mask | ScsiSeq.ENRSELI.mask | ScsiSeq.ENAUTOATNO.mask
                           | ScsiSeq.ENAUTOATNP.mask)
#: What is left of it when no selection is wanted.
SCSISEQ_RESELECT: Final = 0x32
SEQCTL_RUN: Final = SeqCtl.FASTMODE.mask
_SEQCTL_LOAD: Final = SeqCtl.PERRORDIS.mask | SeqCtl.FAILDIS.mask | SeqCtl.FASTMODE.mask | SeqCtl.LOADRAM.mask
_OPTIONMODE: Final = 0x5B
_CRCCONTROL1: Final = 0x78
_DSCOMMAND0_ON, _DSCOMMAND0_OFF = 0xAA, 0x40
_CMDSIZES: Final = (5, 9, 9, 0, 15, 11, 0, 0)


class AhcError(Exception):
    """The chip does not do what it must; str() says what.  Only a reset helps."""


class AhcGone(AhcError):
    """Nobody answers: every read gives all ones."""


def AHC_MDELAY(kernel: Kernel, ms: int) -> None:
    """White paper 4.3 item 4: diskdump_mdelay() in crash mode; before it, asleep."""
    kernel.diskdump_msleep(ms)


# -- pause -----------------------------------------------------------------------------------------------------


def ahc_pause(ahc: Ahc) -> None:
    """Stop the sequencer; AhcError when it goes on, AhcGone when nobody is there."""
    ahc.outb(AhcRegs.HCNTRL, _PAUSE | ahc.inten)
    _wait_for_pause(ahc)


def _wait_for_pause(ahc: Ahc) -> None:
    for _ in range(_PAUSE_TRIES):
        hcntrl = ahc.inb(AhcRegs.HCNTRL)
        if hcntrl == ALL_ONES:
            raise AhcGone("the adapter is gone")
        if hcntrl & _PAUSE:
            ahc_paused(ahc)
            return
        ahc.kernel.udelay(1)
    raise AhcError("the sequencer does not pause")


def ahc_paused(ahc: Ahc) -> None:
    """The sequencer stands still, whatever stopped it: CCSCBCTL has to be read once, or later accesses may stall."""
    ahc.inb(AhcRegs.CCSCBCTL)


def ahc_unpause(ahc: Ahc) -> None:
    """Let the sequencer go on, unless there is something it waits for: the next pass of the handler sees that."""
    if not ahc.inb(AhcRegs.INTSTAT) & INT_STOPS:
        ahc.outb(AhcRegs.HCNTRL, ahc.inten)


def ahc_leave_critical_section(ahc: Ahc) -> None:
    """The sequencer is paused: let it make single steps while it is where a list is half linked.

    AhcError when it does not get out of there.  One that stopped by itself is never in there.
    """
    if not _in_critical_section(ahc) or ahc.inb(AhcRegs.INTSTAT) & _STOPS_ITSELF:
        return
    outb, inb = ahc.outb, ahc.inb
    simode0, simode1, seqctl = int(inb(AhcRegs.SIMODE0)), int(inb(AhcRegs.SIMODE1)), int(inb(AhcRegs.SEQCTL))
    outb(AhcRegs.SIMODE0, 0)
    outb(AhcRegs.SIMODE1, simode1 & BUSFREE)
    outb(AhcRegs.CLRINT, IntStat.SCSIINT.mask)
    outb(AhcRegs.SEQCTL, seqctl | SeqCtl.STEP.mask)
    for _ in range(_STEPS_MAX):
        outb(AhcRegs.HCNTRL, ahc.inten)
        _wait_for_pause(ahc)
        if not _in_critical_section(ahc):
            break
    else:
        raise AhcError(f"the sequencer is in a critical section after {_STEPS_MAX} steps")
    outb(AhcRegs.SEQCTL, seqctl)
    outb(AhcRegs.SIMODE0, simode0)
    outb(AhcRegs.SIMODE1, simode1)


def _in_critical_section(ahc: Ahc) -> bool:
    address = int(ahc.inb(AhcRegs.SEQADDR1)) << 8 | int(ahc.inb(AhcRegs.SEQADDR0))
    return any(first <= address < last for first, last in CRITICAL_SECTIONS)


def ahc_change(ahc: Ahc, reg: Any, clear: int, set_: int = 0) -> int:
    """Clear bits, set bits; the new value."""
    value = int(ahc.inb(reg)) & ~clear | set_
    ahc.outb(reg, value)
    return value


# -- slots -----------------------------------------------------------------------------------------------------


def scb_inb(ahc: Ahc, field: int) -> int:
    """A byte of the slot that SCBPTR names."""
    return int(ahc.inb(AhcRegs.SCB[field]))


def scb_outb(ahc: Ahc, field: int, value: int) -> None:
    """The same, written."""
    ahc.outb(AhcRegs.SCB[field], value)


def scb_inl(ahc: Ahc, field: int) -> int:
    """Four bytes of it."""
    return int.from_bytes(bytes(scb_inb(ahc, field + n) for n in range(4)), "little")


def scb_outl(ahc: Ahc, field: int, value: int) -> None:
    """Four bytes, written low byte first."""
    for n, byte in enumerate(value.to_bytes(4, "little")):
        scb_outb(ahc, field + n, byte)


def ahc_free_slot(ahc: Ahc) -> None:
    """The slot that SCBPTR names goes onto the chip's free list."""
    scb_outb(ahc, SCB_CONTROL, 0)
    scb_outb(ahc, SCB_TAG, NONE)
    scb_outb(ahc, SCB_NEXT, ahc.inb(AhcRegs.FREE_SCBH))
    ahc.outb(AhcRegs.FREE_SCBH, ahc.inb(AhcRegs.SCBPTR))


# -- reset -----------------------------------------------------------------------------------------------------


def ahc_gone(ahc: Ahc) -> bool:
    """Whether the function is not there any more, or does not decode its registers."""
    kernel = ahc.kernel
    if kernel.pci_read_config_word(ahc.pdev, 0) == 0xFFFF:
        return True
    return all(ahc.inb(AhcRegs.HCNTRL) == ALL_ONES for _ in range(3))


def ahc_chip_reset(ahc: Ahc) -> None:
    """Reset the chip: it is paused afterwards, and knows nothing.  AhcError when the reset has no end."""
    for _ in range(_RESET_TRIES):
        if ahc_gone(ahc):
            raise AhcGone("the adapter is gone")
        sxfrctl1 = ahc.inb(AhcRegs.SXFRCTL1)
        ahc.outb(AhcRegs.HCNTRL, _CHIPRST | _PAUSE)
        if _reset_ends(ahc):
            ahc.outb(AhcRegs.HCNTRL, _PAUSE)
            ahc_paused(ahc)
            ahc.outb(AhcRegs.SXFRCTL1, sxfrctl1)
            return
        ahc.printk(f"the chip reset is not over after {_RESET_MS} ms")
    raise AhcError(f"the chip does not come out of its reset, {_RESET_TRIES} times tried")


def _reset_ends(ahc: Ahc) -> bool:
    waited_ms = 0
    while waited_ms < _RESET_MS:
        pause_ms = 1 if waited_ms < _RESET_SOON_MS else _RESET_LOOK_MS
        AHC_MDELAY(ahc.kernel, pause_ms)
        waited_ms += pause_ms
        hcntrl = ahc.inb(AhcRegs.HCNTRL)
        if hcntrl & _CHIPRST:
            if hcntrl == ALL_ONES and ahc_gone(ahc):
                raise AhcGone("the adapter went away in its reset")
            return True
    return False


def ahc_access_test(ahc: Ahc) -> bool:
    """Whether registers read back what was written, and nobody aborted the accesses on the PCI bus."""
    kernel = ahc.kernel
    if ahc.inb(AhcRegs.HCNTRL) == ALL_ONES:
        return False
    try:
        ahc.outb(AhcRegs.HCNTRL, ahc.inb(AhcRegs.HCNTRL) & ~(_CHIPRST | HCntrl.INTEN.mask) | _PAUSE)
        ahc_pause(ahc)
    except AhcError:
        return False
    kernel.pci_write_config_byte(ahc.pdev, PCIR_STATUS_HIGH, STATUS_ERRORS)
    ahc.outb(AhcRegs.CLRINT, 0x10)
    ahc.outb(AhcRegs.SEQCTL, SeqCtl.PERRORDIS.mask)
    ahc.outb(AhcRegs.SCBPTR, 0)
    for n, byte in enumerate(_SELFTEST):
        scb_outb(ahc, n, byte)
    good = tuple(scb_inb(ahc, n) for n in range(4)) == _SELFTEST
    status = kernel.pci_read_config_byte(ahc.pdev, PCIR_STATUS_HIGH)
    ahc.outb(AhcRegs.SEQCTL, SeqCtl.PERRORDIS.mask | SeqCtl.FAILDIS.mask)
    return good and not status & STATUS_STA


# -- bring-up --------------------------------------------------------------------------------------------------


def ahc_chip_init(ahc: Ahc) -> None:
    """What a chip reset took away and every Ultra160 part wants first."""
    outb = ahc.outb
    ahc_change(ahc, AhcRegs.SFUNCT, 0, SFunct.ALT_MODE.mask)
    outb(AhcRegs.OPTIONMODE, _OPTIONMODE)
    ahc_change(ahc, AhcRegs.SFUNCT, SFunct.ALT_MODE.mask)
    outb(AhcRegs.CRCCONTROL1, _CRCCONTROL1)
    ahc_change(ahc, AhcRegs.DSCOMMAND0, _DSCOMMAND0_OFF, _DSCOMMAND0_ON)
    ahc_change(ahc, AhcRegs.SBLKCTL, SblkCtl.DIAGLEDEN.mask | SblkCtl.DIAGLEDON.mask)
    outb(AhcRegs.DFF_THRSH, 0x77)
    outb(AhcRegs.SCBBADDR, ahc.function)


def ahc_probe_scbs(ahc: Ahc) -> int:
    """How many slots the chip has: beyond the last one they repeat."""
    for number in range(SLOTS):
        ahc.outb(AhcRegs.SCBPTR, number)
        scb_outb(ahc, 0, number)
        if scb_inb(ahc, 0) != number:
            return number
        ahc.outb(AhcRegs.SCBPTR, 0)
        if scb_inb(ahc, 0):
            return number
    return SLOTS


def ahc_core_init(ahc: Ahc) -> None:
    """Registers, queues, scratch RAM, slots, program; the sequencer stays paused."""
    outb = ahc.outb
    outb(AhcRegs.SEQ_FLAGS, 0)
    outb(AhcRegs.SEQ_FLAGS2, 0)
    outb(AhcRegs.SCSIID_ULTRA2, ahc.our_id)
    outb(AhcRegs.SXFRCTL1, SxfrCtl1.of(ENSPCHK=1, STIMESEL=_SELECTION_TIMEOUT_256_MS, ENSTIMER=1, ACTNEGEN=1, STPWEN=1))
    ahc_change(ahc, AhcRegs.SIMODE0, 0, SStat0.IOERR.mask)
    outb(AhcRegs.SIMODE1, SIMODE1_IDLE)
    outb(AhcRegs.SXFRCTL0, SxfrCtl0.of(DFON=1, SPIOEN=1))
    for number in range(16):
        outb(AhcRegs.BUSY_TARGETS[number], NONE)
    ahc.qout[:] = bytes((QOUT_EMPTY,)) * len(ahc.qout)
    ahc.qin[:] = bytes((NONE,)) * len(ahc.qin)
    for number in range(2):
        outb(AhcRegs.TARGID[number], 0)
    for n in range(4):
        outb(AhcRegs.HSCB_ADDR[n], ahc.memory.hscbs.bus_addr >> 8 * n & 0xFF)
        outb(AhcRegs.SHARED_DATA_ADDR[n], ahc.memory.shared.bus_addr >> 8 * n & 0xFF)
    for n, size in enumerate(_CMDSIZES):
        outb(AhcRegs.CMDSIZE_TABLE[n], size)
    outb(AhcRegs.HS_MAILBOX, 0)
    outb(AhcRegs.QOFF_CTLSTA, SCB_QSIZE_256)
    for queue in (AhcRegs.HNSCB_QOFF, AhcRegs.SNSCB_QOFF, AhcRegs.SDSCB_QOFF):
        outb(queue, 0)
    ahc.qinpos = ahc.qoutpos = 0
    outb(AhcRegs.WAITING_SCBH, NONE)
    outb(AhcRegs.DISCONNECTED_SCBH, NONE)
    outb(AhcRegs.MSG_OUT, MsgOut.NOOP)
    outb(AhcRegs.SCSISEQ_TEMPLATE, SCSISEQ_TEMPLATE)
    _init_slots(ahc)
    outb(AhcRegs.NEXT_QUEUED_SCB, ahc.reserved.hscb)
    _load_program(ahc)
    for _ in range(_SETTLE_MS):
        if ahc.inb(AhcRegs.SBLKCTL) & (SblkCtl.ENAB40.mask | SblkCtl.ENAB20.mask):
            break
        AHC_MDELAY(ahc.kernel, 1)


def _init_slots(ahc: Ahc) -> None:
    for number in range(ahc.scb_count):
        ahc.outb(AhcRegs.SCBPTR, number)
        scb_outb(ahc, SCB_CONTROL, 0)
        scb_outb(ahc, SCB_SCSIID, NONE)
        scb_outb(ahc, SCB_LUN, NONE)
        scb_outb(ahc, SCB_TAG, NONE)
        scb_outb(ahc, SCB_NEXT, number + 1 if number + 1 < ahc.scb_count else NONE)
    ahc.outb(AhcRegs.FREE_SCBH, 0)


def _load_program(ahc: Ahc) -> None:
    outb = ahc.outb
    outb(AhcRegs.SEQCTL, _SEQCTL_LOAD)
    outb(AhcRegs.SEQADDR0, 0)
    outb(AhcRegs.SEQADDR1, 0)
    for byte in seqprog.image(ahc.cache_line_bytes):
        outb(AhcRegs.SEQRAM, byte)
    outb(AhcRegs.SEQCTL, _SEQCTL_LOAD & ~SeqCtl.LOADRAM.mask)


# -- the sequencer from the beginning --------------------------------------------------------------------------


def ahc_clear_msg_state(ahc: Ahc) -> None:
    """Nothing is to be said: drop ATN, forget the message loop."""
    ahc.msg.clear()
    if ahc.inb(AhcRegs.SCSISIGI) & 0x10:
        ahc.outb(AhcRegs.CLRSINT1, 0x40)
    ahc.outb(AhcRegs.MSG_OUT, MsgOut.NOOP)
    ahc_change(ahc, AhcRegs.SEQ_FLAGS2, SeqFlags2.TARGET_MSG_PENDING.mask)


def ahc_restart(ahc: Ahc) -> None:
    """Begin the program anew, no target connected; the sequencer is paused."""
    outb, inb = ahc.outb, ahc.inb
    ahc_clear_msg_state(ahc)
    outb(AhcRegs.SCSISIGO, 0)
    outb(AhcRegs.MSG_OUT, MsgOut.NOOP)
    ahc_change(ahc, AhcRegs.SXFRCTL1, SxfrCtl1.BITBUCKET.mask)
    outb(AhcRegs.LASTPHASE, Phase.BUSFREE)
    outb(AhcRegs.SAVED_SCSIID, NONE)
    outb(AhcRegs.SAVED_LUN, NONE)
    outb(AhcRegs.TQINPOS, 0)
    outb(AhcRegs.SCSISEQ, inb(AhcRegs.SCSISEQ_TEMPLATE) & SCSISEQ_RESELECT)
    outb(AhcRegs.CCSCBCNT, 0)
    outb(AhcRegs.CCSGCTL, 0)
    outb(AhcRegs.CCSCBCTL, 0)
    if inb(AhcRegs.SEQ_FLAGS2) & SeqFlags2.SCB_DMA.mask:
        ahc_free_slot(ahc)
        ahc_change(ahc, AhcRegs.SEQ_FLAGS2, SeqFlags2.SCB_DMA.mask)
    outb(AhcRegs.MWI_RESIDUAL, 0)
    outb(AhcRegs.SEQCTL, SEQCTL_RUN)
    outb(AhcRegs.SEQADDR0, 0)
    outb(AhcRegs.SEQADDR1, 0)
    ahc_unpause(ahc)


def ahc_assert_atn(ahc: Ahc) -> None:
    """Tell the target that we have something to say."""
    ahc.outb(AhcRegs.SCSISIGO, 0x10)
