"""Register tables against the map: offsets and bits as literals."""

from __future__ import annotations

import pytest

from ddsdk_aic79xx import regs
from ddsdk_aic79xx.regs_banks import ModeRegs, ScsiCoreRegs

#: block -> {register: offset}
PLACES = {
    regs.CommonRegs: {
        "MODE_PTR": 0x00, "INTSTAT": 0x01, "SEQINTCODE": 0x02, "CLRINT": 0x03, "ERROR": 0x04, "CLRERR": 0x04,
        "HCNTRL": 0x05, "HNSCB_QOFF": 0x06, "HESCB_QOFF": 0x08, "HS_MAILBOX": 0x0B, "SEQINTSTAT": 0x0C,
        "SWTIMER": 0x0E, "INTCTL": 0x18, "SEQCTL0": 0xD6, "SEQINTCTL": 0xD9, "SEQRAM": 0xDA, "PRGMCNT": 0xDE},
    ModeRegs: {"SG_STATE": 0xA6, "SCBPTR": 0xA8, "LONGJMP_ADDR": 0xF8},
    ScsiCoreRegs: {
        "LQCTL1": 0x38, "LQCTL2": 0x39, "SCSISEQ0": 0x3A, "SCSISEQ1": 0x3B, "SCSISIGO": 0x40, "SCSISIGI": 0x41,
        "SCSIPHASE": 0x42, "SCSIDAT": 0x44, "SCSIBUS": 0x46, "SELID": 0x49, "SBLKCTL": 0x4A, "SSTAT0": 0x4B,
        "CLRSINT0": 0x4B, "SSTAT1": 0x4C, "CLRSINT1": 0x4C, "SSTAT2": 0x4D, "PERRDIAG": 0x4E, "LQISTAT0": 0x50,
        "LQISTAT1": 0x51, "LQISTAT2": 0x52, "SSTAT3": 0x53, "LQOSTAT0": 0x54, "LQOSTAT1": 0x55, "LQOSTAT2": 0x56,
        "SIMODE1": 0x57, "GSFIFO": 0x58},
    regs.DffRegs: {
        "DFCNTRL": 0x19, "DFSTATUS": 0x1A, "SG_CACHE_PRE": 0x1B, "DFFSXFRCTL": 0x5A, "SEQINTSRC": 0x5B,
        "SEQIMODE": 0x5C, "MDFFSTAT": 0x5D, "SHADDR": 0x60, "SHCNT": 0x68, "HADDR": 0x70, "HCNT": 0x78,
        "CCSGCTL": 0xAD},
    regs.CchanRegs: {
        "SNSCB_QOFF": 0x10, "SESCB_QOFF": 0x12, "SDSCB_QOFF": 0x14, "QOFF_CTLSTA": 0x16, "SCBHCNT": 0x84,
        "CCSCBADDR": 0xAC, "CCSCBCTL": 0xAD, "CCSCBRAM": 0xB0},
    regs.ScsiRegs: {
        "SXFRCTL0": 0x3C, "SXFRCTL1": 0x3D, "DFFSTAT": 0x3F, "NEXTSCB": 0x5A, "CURRSCB": 0x5C, "LASTSCB": 0x5E,
        "NEGOADDR": 0x60, "NEGPERIOD": 0x61, "NEGOFFSET": 0x62, "NEGPPROPTS": 0x63, "NEGCONOPTS": 0x64,
        "ANNEXCOL": 0x65, "ANNEXDAT": 0x66, "IOWNID": 0x67, "TOWNID": 0x69, "SELOID": 0x6B, "CURADDR": 0xF4},
    regs.CfgRegs: {
        "DSCOMMAND0": 0x19, "LUNPTR": 0x22, "CMDLENPTR": 0x25, "ATTRPTR": 0x26, "FLAGPTR": 0x27, "CMDPTR": 0x28,
        "QNEXTPTR": 0x29, "ABRTBYTEPTR": 0x2B, "ABRTBITPTR": 0x2C, "LUNLEN": 0x30, "CDBLIMIT": 0x31, "MAXCMD": 0x32,
        "MAXCMDCNT": 0x33, "MULTARGID": 0x40, "OPTIONMODE": 0x4A, "SIMODE0": 0x4B, "LQIMODE0": 0x50,
        "LQIMODE1": 0x51, "SIMODE3": 0x53, "LQOMODE0": 0x54, "LQOMODE1": 0x55, "LQOSCSCTL": 0x5A, "SCSCHKN": 0x66,
        "DFF_THRSH": 0x88, "PCIXCTL": 0x93, "SCBAUTOPTR": 0xAB, "DSPDATACTL": 0xC1, "INTVEC1_ADDR": 0xF4,
        "INTVEC2_ADDR": 0xF6},
    regs.Scratch: {
        "WAITING_TID_HEAD": 0x120, "WAITING_TID_TAIL": 0x122, "NEXT_QUEUED_SCB_ADDR": 0x124,
        "COMPLETE_SCB_HEAD": 0x128, "COMPLETE_SCB_DMAINPROG_HEAD": 0x12A, "COMPLETE_DMA_SCB_HEAD": 0x12C,
        "QFREEZE_COUNT": 0x12E, "SAVED_MODE": 0x130, "MSG_OUT": 0x131, "SEQ_FLAGS": 0x133, "SAVED_SCSIID": 0x134,
        "SAVED_LUN": 0x135, "LASTPHASE": 0x136, "QOUTFIFO_ENTRY_VALID_TAG": 0x137, "SHARED_DATA_ADDR": 0x138,
        "QOUTFIFO_NEXT_ADDR": 0x13C, "RETURN_1": 0x142, "RETURN_2": 0x143, "LAST_MSG": 0x144,
        "SCSISEQ_TEMPLATE": 0x145, "SEQ_FLAGS2": 0x147, "INT_COALESCING_TIMER": 0x14A, "CMDS_PENDING": 0x14E,
        "LOCAL_HS_MAILBOX": 0x151, "SCB_SCSI_STATUS": 0x188, "SCB_SENSE_BUSADDR": 0x18C, "SCB_TAG": 0x190,
        "SCB_CONTROL": 0x192, "SCB_SGPTR": 0x1A4, "SCB_BUSADDR": 0x1A8, "SCB_NEXT": 0x1AC, "SCB_NEXT2": 0x1AE},
}


@pytest.mark.parametrize("block", PLACES, ids=lambda block: block.__name__)
def test_places(block: type) -> None:
    """Each register is where the map has it."""
    assert {name: getattr(block, name).offset for name in PLACES[block]} == PLACES[block]


@pytest.mark.parametrize(("value", "bits"), [
    (regs.IntStat(0x80), "HWERRINT"), (regs.IntStat(0x10), "PCIINT"), (regs.IntStat(0x08), "SCSIINT"),
    (regs.IntStat(0x04), "SEQINT"), (regs.IntStat(0x02), "CMDCMPLT"), (regs.IntStat(0x01), "SPLTINT"),
    (regs.HCntrl(0x04), "PAUSE"), (regs.HCntrl(0x02), "INTEN"), (regs.HCntrl(0x01), "CHIPRST"),
    (regs.SStat0(0x40), "SELDO"), (regs.SStat0(0x20), "SELDI"), (regs.SStat0(0x10), "SELINGO"),
    (regs.SStat0(0x08), "IOERR"), (regs.SStat0(0x04), "OVERRUN"), (regs.SStat1(0x80), "SELTO"),
    (regs.SStat1(0x20), "SCSIRSTI"), (regs.SStat1(0x08), "BUSFREE"), (regs.SStat1(0x04), "SCSIPERR"),
    (regs.LqoStat1(0x02), "LQOBUSFREE"), (regs.LqiStat1(0x10), "LQICRCI_LQ"), (regs.LqiStat2(0x01), "LQIGSAVAIL"),
    (regs.LqCtl2(0x80), "LQIRETRY"), (regs.LqCtl2(0x02), "LQOTOIDLE"), (regs.SeqCtl0(0x02), "SEQRESET"),
    (regs.SeqCtl0(0x01), "LOADRAM"), (regs.SeqCtl0(0x04), "STEP"), (regs.ScsiSeq0(0x40), "ENSELO"),
    (regs.ScsiSeq0(0x01), "SCSIRSTO"), (regs.SeqFlags2(0x04), "SELECTOUT_QFROZEN"),
    (regs.HsMailbox(0x40), "ENINT_COALESCE"), (regs.DfCntrl(0x08), "HDMAEN")])
def test_bits(value: regs.IntStat, bits: str) -> None:
    """Each bit has the name of the map, and no other bit has."""
    assert [name for name in value.fields if getattr(value, name)] == [bits]


def test_what_stops_the_sequencer() -> None:
    """HWERR, BRKADR, PCI, SCSI, SEQ; a completion, a split error or the software timer do not."""
    assert regs.PAUSING == 0x80 | 0x40 | 0x10 | 0x08 | 0x04


def test_interrupt_masks_are_in_different_banks() -> None:
    """SIMODE0 is in the configuration bank where the SCSI core has SSTAT0; SIMODE1 is in the SCSI core."""
    assert regs.CfgRegs.SIMODE0.offset == regs.ScsiRegs.SSTAT0.offset == 0x4B
    assert not hasattr(regs.ScsiRegs, "SIMODE0")
    assert not hasattr(regs.CfgRegs, "SIMODE1")
