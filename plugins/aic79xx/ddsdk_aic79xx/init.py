"""Bringing the chip up: self-test of the access, chip reset, the values every register has to have, restart.

Source: aic79xx_core.c, "ahd_reset", "ahd_chip_init", "ahd_restart"; aic79xx_pci.c (Linux 2.6.9), by effect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .access import INTEN, PAUSE
from .chips import Bug, Feature
from .firmware import ahd_loadseq
from .frames import Control, busy_slot
from .message import ahd_clear_msg_state
from .negotiate import ahd_all_async
from .regs import (
    ALL_ONES,
    CchanRegs,
    CfgRegs,
    ClrSint1,
    CommonRegs,
    DffRegs,
    HCntrl,
    IntStat,
    Mode,
    ModeRegs,
    SblkCtl,
    Scratch,
    ScsiRegs,
    SeqCtl0,
    SiMode0,
    SiMode1,
    SxfrCtl1,
)
from .sequencer import (
    AHD_SCB_MAX,
    INTVEC1,
    INTVEC2,
    INVALID_ADDR,
    LUNLEN_SINGLE,
    MSG_NOOP,
    P_BUSFREE,
    SCB_LIST_NULL,
    SCB_LIST_NULL_HIGH,
    SCB_QSIZE_512,
    SCBAUTOPTR_TAG,
    VALID_TAG,
)

if TYPE_CHECKING:
    from .ahd import AhdSoftc

#: Chip reset: so many times 1 ms until CHIPRSTACK.
RESET_TRIES_MS: Final = 1000
#: Transceivers: so many times 100 us until they have settled (10000 tries in the original; half a second is plenty).
_SETTLE_TRIES: Final = 5000
_SETTLE_US: Final = 100
SIMODE1_IDLE: Final = SiMode1.SELTO.mask | SiMode1.SCSIRSTI.mask | SiMode1.SCSIPERR.mask
#: ENRSELI and ENAUTOATNP; what restart takes of it.
SCSISEQ_TEMPLATE: Final = 0x12
SCSISEQ_RESTART_MASK: Final = 0x32
_SIMODE0_IDLE: Final = SiMode0.IOERR.mask | SiMode0.OVERRUN.mask
IOCELL_MASK: Final = SiMode0.SELDO.mask | SiMode0.SELDI.mask
_BYPASSENAB: Final = 0x80
_IOCELL_BYPASS: Final = 0x86            # DSPDATACTL: bypass, offset correction off
_OPTIONMODE, _OPTIONMODE_A = 0x52, 0x42
#: Slots of the busy target table: eight LUNs, four groups of targets.
_LUNS: Final = 8
_CMDSIZE: Final = (0x05, 0x09, 0x09, 0x00, 0x0F, 0x0B, 0x00, 0x00)
#: Interrupt coalescing as the original sets it up and leaves it off: 10 ticks, 10 commands, 5 commands.
_COALESCE_TICKS, _COALESCE_MAX, _COALESCE_MIN = 10, 10, 5
_RESET_WORK_MS: Final = 1
_CONFIG_COMMAND: Final = 0x04
_SERR_PERR: Final = 0x0140
#: Slots that the probe looks at: a smaller memory would show one of them as another.
_PROBED_SLOTS: Final = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, AHD_SCB_MAX - 1)


def ahd_sleep_ms(ahd: AhdSoftc, ms: int) -> None:
    """Wait in a context that may sleep; diskdump_mdelay() in crash mode (white paper 4.3 item 4)."""
    kernel = ahd.kernel
    if kernel.crashdump_mode():
        kernel.diskdump_mdelay(ms)
    else:
        kernel.msleep(ms)


# -- chip reset ------------------------------------------------------------------------------------------------


def ahd_reset(ahd: AhdSoftc) -> str:
    """int ahd_reset(struct ahd_softc *, int reinit), without the re-init: why it failed, empty when it did not.

    Interrupts are off afterwards, the sequencer is paused and has no program.  Waits 1 ms at a time.
    """
    value = ahd.inb(CommonRegs.HCNTRL)
    if value == ALL_ONES:
        return "the chip does not answer"
    ahd.inten = 0
    # a chip that may be in reset - since power on, or since somebody stopped half way through here - has HCNTRL alone
    if not value & HCntrl.CHIPRST.mask and ahd.pause() and not ahd.in_chip_reset:
        ahd.forget_modes()
        ahd.set_modes(Mode.SCSI)
        ahd.sxfrctl1 = ahd.inb(ScsiRegs.SXFRCTL1)
    ahd.in_chip_reset = True
    with _QuietBus(ahd):
        ahd.outb(CommonRegs.HCNTRL, HCntrl.CHIPRST.mask | PAUSE)
        for _ in range(RESET_TRIES_MS):
            ahd_sleep_ms(ahd, _RESET_WORK_MS)
            value = ahd.inb(CommonRegs.HCNTRL)
            if value == ALL_ONES:
                return "the chip does not answer"
            if value & HCntrl.CHIPRST.mask:
                break
        else:
            return f"no CHIPRSTACK within {RESET_TRIES_MS} ms"
        ahd.outb(CommonRegs.HCNTRL, PAUSE)
    ahd.in_chip_reset = False
    ahd.forget_modes(Mode.SCSI)
    # termination power first, so that the bus does not see it fall
    ahd.outb(ScsiRegs.SXFRCTL1, ahd.sxfrctl1 | SxfrCtl1.STPWEN.mask)
    ahd.outb(ScsiRegs.SXFRCTL1, ahd.sxfrctl1)
    ahd.wide = bool(ahd.inb(ScsiRegs.SBLKCTL) & SblkCtl.SELWIDE.mask)
    return ""


class _QuietBus:
    """Rev A in PCI-X: PERR and SERR are off while the chip is reset."""

    def __init__(self, ahd: AhdSoftc) -> None:
        self._ahd = ahd
        self._command = 0
        self._needed = ahd.pcix and ahd.has(Bug.PCIX_CHIPRST)

    def __enter__(self) -> None:
        if self._needed:
            kernel, pdev = self._ahd.kernel, self._ahd.pdev
            self._command = kernel.pci_read_config_word(pdev, _CONFIG_COMMAND)
            kernel.pci_write_config_word(pdev, _CONFIG_COMMAND, self._command & ~_SERR_PERR)

    def __exit__(self, *_error: object) -> None:
        if self._needed:
            self._ahd.kernel.pci_write_config_word(self._ahd.pdev, _CONFIG_COMMAND, self._command)


def ahd_probe_scbs(ahd: AhdSoftc) -> bool:
    """int ahd_probe_scbs(struct ahd_softc *): whether there are 512 slots.  The chip is paused in SCSI mode."""
    for slot in reversed(_PROBED_SLOTS):
        ahd.outw(ModeRegs.SCBPTR, slot)
        ahd.outw(Scratch.SCB_RESIDUAL_DATACNT, slot)
    for slot in _PROBED_SLOTS:
        ahd.outw(ModeRegs.SCBPTR, slot)
        if ahd.inw(Scratch.SCB_RESIDUAL_DATACNT) != slot:
            return False
    return True


# -- init ------------------------------------------------------------------------------------------------------


def ahd_chip_init(ahd: AhdSoftc) -> None:
    """void ahd_chip_init(struct ahd_softc *): everything a chip reset forgot, and the program.  The chip is paused.

    The queues of the driver have been forgotten before (AhdSoftc.forget_queues).
    """
    _init_scsi(ahd)
    _init_fifos(ahd)
    _init_config(ahd)
    ahd.set_modes(Mode.SCSI)
    ahd_all_async(ahd)
    ahd.outb(ScsiRegs.CLRSINT3, 0x03)
    ahd.outb(CommonRegs.CLRINT, IntStat.SCSIINT.mask)
    ahd.outb(ScsiRegs.LQCTL1, 0)
    _init_scratch(ahd)
    _init_scbs(ahd)
    _init_queues(ahd)
    ahd_loadseq(ahd)
    ahd_setup_iocell_workaround(ahd)


def _init_scsi(ahd: AhdSoftc) -> None:
    ahd.set_modes(Mode.SCSI)
    ahd.change(ScsiRegs.SBLKCTL, clear=0xC0)
    ahd.outb(CommonRegs.HS_MAILBOX, 0)
    ahd.outb(ScsiRegs.IOWNID, ahd.our_id)
    ahd.outb(ScsiRegs.TOWNID, ahd.our_id)
    ahd.outb(ScsiRegs.SXFRCTL0, 0x80)
    timeout = 0x08 if ahd.has(Bug.LONG_SETIMO) else 0           # 256 ms; Rev A's timer takes twice as long
    ahd.outb(ScsiRegs.SXFRCTL1, SxfrCtl1.ENSPCHK.mask | timeout | SxfrCtl1.ENSTIMER.mask | SxfrCtl1.ACTNEGEN.mask
             | SxfrCtl1.STPWEN.mask)
    ahd.outb(ScsiRegs.SIMODE1, SIMODE1_IDLE)
    for _ in range(_SETTLE_TRIES):
        if ahd.inb(ScsiRegs.SBLKCTL) & (SblkCtl.ENAB40.mask | SblkCtl.ENAB20.mask):
            break
        ahd.udelay(_SETTLE_US)
        ahd.kernel.touch_nmi_watchdog()
    ahd.outb(ScsiRegs.CLRSINT1, ClrSint1.CLRSCSIRSTI.mask)
    ahd.outb(CommonRegs.CLRINT, IntStat.SCSIINT.mask)


def _init_fifos(ahd: AhdSoftc) -> None:
    for mode in (Mode.DFF0, Mode.DFF1):
        ahd.set_modes(mode)
        ahd.outb_at(ModeRegs.LONGJMP_ADDR.offset + 1, INVALID_ADDR)
        ahd.outb(ModeRegs.SG_STATE, 0)
        ahd.outb(DffRegs.CLRSEQINTSRC, 0xFF)
        ahd.outb(DffRegs.SEQIMODE, 0x3F)


def _init_config(ahd: AhdSoftc) -> None:
    ahd.set_modes(Mode.CFG)
    ahd.change(CfgRegs.DSCOMMAND0, set_=0xA0)
    ahd.outb(CfgRegs.DFF_THRSH, 0x44)
    ahd.outb(CfgRegs.SIMODE0, _SIMODE0_IDLE)
    ahd.outb(CfgRegs.SIMODE3, 0x03)
    ahd.outb(CfgRegs.OPTIONMODE, _OPTIONMODE_A if ahd.has(Bug.BUSFREEREV) else _OPTIONMODE)
    ahd.outb(CfgRegs.SCSCHKN, 0x32)
    if ahd.pcix:
        ahd.change(CfgRegs.PCIXCTL, set_=0x08)
    if ahd.has(Bug.LQO_OVERRUN):
        ahd.outb(CfgRegs.LQOSCSCTL, 0x01)
    ahd.outb(CfgRegs.LQIMODE1, 0xFF)
    ahd.outb(CfgRegs.LQOMODE0, 0x07)
    ahd.outb(CfgRegs.LQOMODE1, 0)
    ahd.outw(CfgRegs.INTVEC1_ADDR, INTVEC1)
    ahd.outw(CfgRegs.INTVEC2_ADDR, INTVEC2)
    for register, value in (
            (CfgRegs.LUNPTR, 0x30 if ahd.has(Bug.PKT_LUN) else 0x14), (CfgRegs.CMDLENPTR, 0x16),
            (CfgRegs.ATTRPTR, 0x15), (CfgRegs.FLAGPTR, 0x17), (CfgRegs.CMDPTR, 0x00), (CfgRegs.QNEXTPTR, 0x2C),
            (CfgRegs.ABRTBITPTR, 0x04), (CfgRegs.ABRTBYTEPTR, 0x12),
            (CfgRegs.LUNLEN, 0x07 if ahd.has(Bug.PKT_LUN) else LUNLEN_SINGLE), (CfgRegs.CDBLIMIT, 0x7F),
            (CfgRegs.MAXCMD, 0xFF), (CfgRegs.SCBAUTOPTR, SCBAUTOPTR_TAG)):
        ahd.outb(register, value)
    ahd.outw(CfgRegs.MULTARGID, 0)


def _init_scratch(ahd: AhdSoftc) -> None:
    ahd.outb(Scratch.QOUTFIFO_ENTRY_VALID_TAG, VALID_TAG)
    for register in (Scratch.SEQ_FLAGS, Scratch.SEQ_FLAGS2, Scratch.LOCAL_HS_MAILBOX):
        ahd.outb(register, 0)
    for head in (*Scratch.WAITING_SCB_TAILS, Scratch.WAITING_TID_HEAD, Scratch.WAITING_TID_TAIL,
                 Scratch.COMPLETE_SCB_HEAD, Scratch.COMPLETE_SCB_DMAINPROG_HEAD, Scratch.COMPLETE_DMA_SCB_HEAD):
        ahd.outw(head, SCB_LIST_NULL)
    for counter in (Scratch.QFREEZE_COUNT, Scratch.CMDS_PENDING):
        ahd.outw(counter, 0)
    ahd.outn(Scratch.SHARED_DATA_ADDR, ahd.shared_busaddr)
    ahd.outn(Scratch.QOUTFIFO_NEXT_ADDR, ahd.shared_busaddr)
    ahd.outb(Scratch.SCSISEQ_TEMPLATE, SCSISEQ_TEMPLATE)
    for entry, size in zip(Scratch.CMDSIZE_TABLE, _CMDSIZE, strict=True):
        ahd.outb(entry, size)
    ahd.outw(Scratch.INT_COALESCING_TIMER, _COALESCE_TICKS)
    ahd.outb(Scratch.INT_COALESCING_MAXCMDS, -_COALESCE_MAX & 0xFF)
    ahd.outb(Scratch.INT_COALESCING_MINCMDS, -_COALESCE_MIN & 0xFF)


def _init_scbs(ahd: AhdSoftc) -> None:
    """Slots that tags name hold no command that a target could come back for; then the busy target table.

    (The original nulls their links, too; the program does that itself as it fetches.)
    """
    pointer, control = ModeRegs.SCBPTR.offset, Scratch.SCB_CONTROL.offset
    outb_at = ahd.outb_at
    outb_at(pointer + 1, 0)
    for tag in range(len(ahd.scbs) + 1):            # all below 256
        outb_at(pointer, tag)
        outb_at(control, Control.MK_MESSAGE)
    ahd_unbusy_all(ahd)


def ahd_unbusy_all(ahd: AhdSoftc) -> None:
    """No (target, lun) is busy with an untagged command.  The chip is paused in SCSI mode."""
    pointer, outb_at = ModeRegs.SCBPTR.offset, ahd.outb_at
    entries = [entry.offset + 1 for entry in Scratch.SCB_DISCONNECTED_LISTS]
    outb_at(pointer + 1, 0)
    for target in range(0, 16, 4):
        for lun in range(_LUNS):
            outb_at(pointer, busy_slot(target, lun)[0])
            for entry in entries:
                outb_at(entry, SCB_LIST_NULL_HIGH)


def _init_queues(ahd: AhdSoftc) -> None:
    ahd.set_modes(Mode.CCHAN)
    ahd.outb(CchanRegs.QOFF_CTLSTA, SCB_QSIZE_512)
    ahd.set_hnscb_qoff(0)
    ahd.outw(CchanRegs.SNSCB_QOFF, 0)
    ahd.outw(CchanRegs.SDSCB_QOFF, 0)
    ahd.outb(CommonRegs.HESCB_QOFF, 0)
    ahd.outb(CchanRegs.SESCB_QOFF, 0)
    ahd.outn(Scratch.NEXT_QUEUED_SCB_ADDR, ahd.reserved.busaddr)


def ahd_setup_iocell_workaround(ahd: AhdSoftc) -> None:
    """void ahd_setup_iocell_workaround(struct ahd_softc *): the next selection stops once.  The chip is paused."""
    if not ahd.features & Feature.NEW_IOCELL:
        return
    mode = ahd.set_modes(Mode.CFG)
    ahd.change(CfgRegs.DSPDATACTL, set_=_IOCELL_BYPASS)
    ahd.change(CfgRegs.SIMODE0, set_=IOCELL_MASK)
    ahd.set_modes(mode)
    ahd.iocell_due = True


def ahd_iocell_first_selection(ahd: AhdSoftc) -> None:
    """void ahd_iocell_first_selection(struct ahd_softc *): it has stopped.  The chip is paused."""
    if not ahd.iocell_due:
        return
    ahd.iocell_due = False
    mode = ahd.set_modes(Mode.SCSI)
    lvd = ahd.inb(ScsiRegs.SBLKCTL) & SblkCtl.ENAB40.mask
    ahd.set_modes(Mode.CFG)
    if lvd:
        ahd.change(CfgRegs.DSPDATACTL, clear=_BYPASSENAB)
    ahd.change(CfgRegs.SIMODE0, clear=IOCELL_MASK)
    ahd.set_modes(mode)
    ahd.outb(CommonRegs.CLRINT, IntStat.SCSIINT.mask)


# -- restart ---------------------------------------------------------------------------------------------------


def ahd_restart(ahd: AhdSoftc) -> None:
    """void ahd_restart(struct ahd_softc *): the program from its beginning; scratch and SCBs stay.  Unpauses."""
    ahd_prepare_restart(ahd)
    ahd.unpause()


def ahd_prepare_restart(ahd: AhdSoftc) -> None:
    """The same, and the chip stays paused.  What the program stopped for is no longer relevant."""
    if not ahd.pause():
        return
    ahd.set_modes(Mode.SCSI)
    ahd_clear_msg_state(ahd)
    ahd.outb(ScsiRegs.SCSISIGO, 0)
    ahd.outb(Scratch.MSG_OUT, MSG_NOOP)
    ahd.change(ScsiRegs.SXFRCTL1, clear=SxfrCtl1.BITBUCKET.mask)
    ahd.outb(CommonRegs.SEQINTCTL, 0)
    ahd.outb(Scratch.LASTPHASE, P_BUSFREE)
    ahd.outb(Scratch.SEQ_FLAGS, 0)
    ahd.outb(Scratch.SAVED_SCSIID, 0xFF)
    ahd.outb(Scratch.SAVED_LUN, 0xFF)
    ahd.outb(Scratch.TQINPOS, 0)
    ahd.outb(ScsiRegs.SCSISEQ1, ahd.inb(Scratch.SCSISEQ_TEMPLATE) & SCSISEQ_RESTART_MASK)
    ahd.set_modes(Mode.CCHAN)
    ahd.outb(CommonRegs.CLRINT, IntStat.SEQINT.mask)
    ahd.outb(CommonRegs.SEQCTL0, SeqCtl0.FASTMODE.mask | SeqCtl0.SEQRESET.mask)
    ahd.forget_modes(Mode.CCHAN)


def ahd_intr_enable(ahd: AhdSoftc, enable: bool) -> None:
    """void ahd_intr_enable(struct ahd_softc *, int): INTEN, in HCNTRL and in every later write of it."""
    ahd.inten = INTEN if enable else 0
    paused = ahd.inb(CommonRegs.HCNTRL) & PAUSE
    ahd.outb(CommonRegs.HCNTRL, paused | ahd.inten)
