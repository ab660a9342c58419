"""The register table against hw-aic7xxx.md 3 and 4, written out as literals."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.regs import Access
from ddsdk_aic7xxx import codes, regs
from ddsdk_aic7xxx.regs import AhcRegs

RW, RO, WO = Access.RW, Access.RO, Access.WO

PLACES = [
    ("SCSISEQ", 0x00, RW), ("SXFRCTL0", 0x01, RW), ("SXFRCTL1", 0x02, RW), ("SCSISIGI", 0x03, RO),
    ("SCSISIGO", 0x03, WO), ("SCSIRATE", 0x04, RW), ("SCSIOFFSET", 0x05, RW), ("SCSIDATL", 0x06, RW),
    ("OPTIONMODE", 0x08, RW), ("SSTAT0", 0x0B, RO), ("CLRSINT0", 0x0B, WO), ("SSTAT1", 0x0C, RO),
    ("CLRSINT1", 0x0C, WO), ("SSTAT2", 0x0D, RO), ("SSTAT3", 0x0E, RO), ("SCSIID_ULTRA2", 0x0F, RW),
    ("SIMODE0", 0x10, RW), ("SIMODE1", 0x11, RW), ("SCSIBUSL", 0x12, RO), ("SELID", 0x19, RO),
    ("TARGID[0]", 0x1B, RW), ("TARGID[1]", 0x1C, RW), ("SBLKCTL", 0x1F, RW),
    *((f"BUSY_TARGETS[{n}]", 0x20 + n, RW) for n in range(16)),
    *((f"CMDSIZE_TABLE[{n}]", 0x30 + n, RW) for n in range(8)),
    ("MWI_RESIDUAL", 0x38, RW), ("NEXT_QUEUED_SCB", 0x39, RW), ("MSG_OUT", 0x3A, RW), ("DMAPARAMS", 0x3B, RW),
    ("SEQ_FLAGS", 0x3C, RW), ("SAVED_SCSIID", 0x3D, RW), ("SAVED_LUN", 0x3E, RW), ("LASTPHASE", 0x3F, RW),
    ("WAITING_SCBH", 0x40, RW), ("DISCONNECTED_SCBH", 0x41, RW), ("FREE_SCBH", 0x42, RW), ("COMPLETE_SCBH", 0x43, RW),
    *((f"HSCB_ADDR[{n}]", 0x44 + n, RW) for n in range(4)),
    *((f"SHARED_DATA_ADDR[{n}]", 0x48 + n, RW) for n in range(4)),
    *((f"QUEUE_POSITIONS[{n}]", 0x4C + n, RW) for n in range(3)),
    ("KERNEL_TQINPOS", 0x4F, RW), ("TQINPOS", 0x50, RW), ("RETURN_1", 0x51, RW), ("ARG_2", 0x52, RW),
    ("LAST_MSG", 0x53, RW), ("SCSISEQ_TEMPLATE", 0x54, RW), ("SCRATCH_55[0]", 0x55, RW), ("SCRATCH_55[1]", 0x56, RW),
    ("SEQ_FLAGS2", 0x57, RW), ("SCRATCH_58[0]", 0x58, RW), ("SCRATCH_58[1]", 0x59, RW), ("SCSICONF[0]", 0x5A, RW),
    ("SCSICONF[1]", 0x5B, RW), *((f"SCRATCH_5C[{n}]", 0x5C + n, RW) for n in range(4)),
    ("SEQCTL", 0x60, RW), ("SEQRAM", 0x61, RW), ("SEQADDR0", 0x62, RW), ("SEQADDR1", 0x63, RW), ("ACCUM", 0x64, RW),
    *((f"TARG_OFFSET[{n}]", 0x70 + n, RW) for n in range(16)),
    ("DSCOMMAND0", 0x84, RW), ("DSCOMMAND1", 0x85, RW), ("HS_MAILBOX", 0x86, RW), ("HCNTRL", 0x87, RW),
    *((f"HADDR[{n}]", 0x88 + n, RW) for n in range(4)), *((f"HCNT[{n}]", 0x8C + n, RW) for n in range(3)),
    ("SCBPTR", 0x90, RW), ("INTSTAT", 0x91, RO), ("ERROR", 0x92, RO), ("CLRINT", 0x92, WO), ("DFCNTRL", 0x93, RW),
    ("DFSTATUS", 0x94, RO), ("CRCCONTROL1", 0x9D, RW), ("SCSIPHASE", 0x9E, RO), ("SFUNCT", 0x9F, RW),
    *((f"SCB[{n}]", 0xA0 + n, RW) for n in range(32)),
    ("CCSGCTL", 0xEB, RW), ("CCSCBCTL", 0xEE, RW), ("CCSCBCNT", 0xEF, RW), ("SCBBADDR", 0xF0, RW),
    ("HNSCB_QOFF", 0xF4, RW), ("SNSCB_QOFF", 0xF6, RW), ("SDSCB_QOFF", 0xF8, RW), ("QOFF_CTLSTA", 0xFA, RW),
    ("DFF_THRSH", 0xFB, RW),
]

FIELDS = [
    (regs.ScsiSeq, {"TEMODE": 0x80, "ENSELO": 0x40, "ENSELI": 0x20, "ENRSELI": 0x10, "ENAUTOATNO": 0x08,
                    "ENAUTOATNI": 0x04, "ENAUTOATNP": 0x02, "SCSIRSTO": 0x01}),
    (regs.SxfrCtl0, {"DFON": 0x80, "DFPEXP": 0x40, "FAST20": 0x20, "CLRSTCNT": 0x10, "SPIOEN": 0x08, "CLRCHN": 0x02}),
    (regs.SxfrCtl1, {"BITBUCKET": 0x80, "ENSPCHK": 0x20, "STIMESEL": 0x18, "ENSTIMER": 0x04, "ACTNEGEN": 0x02,
                     "STPWEN": 0x01}),
    (regs.ScsiSig, {"PHASE": 0xE0, "ATN": 0x10, "SEL": 0x08, "BSY": 0x04, "REQ": 0x02, "ACK": 0x01}),
    (regs.ScsiRate, {"WIDEXFER": 0x80, "ENABLE_CRC": 0x40, "SINGLE_EDGE": 0x10, "RATE": 0x0F}),
    (regs.SStat0, {"TARGET": 0x80, "SELDO": 0x40, "SELDI": 0x20, "SELINGO": 0x10, "IOERR": 0x08, "SDONE": 0x04,
                   "SPIORDY": 0x02, "DMADONE": 0x01}),
    (regs.SStat1, {"SELTO": 0x80, "ATNTARG": 0x40, "SCSIRSTI": 0x20, "PHASEMIS": 0x10, "BUSFREE": 0x08,
                   "SCSIPERR": 0x04, "PHASECHG": 0x02, "REQINIT": 0x01}),
    (regs.SStat2, {"OVERRUN": 0x80, "SHVALID": 0x40, "EXP_ACTIVE": 0x10, "CRCVALERR": 0x08, "CRCENDERR": 0x04,
                   "CRCREQERR": 0x02, "DUAL_EDGE_ERR": 0x01}),
    (regs.ScsiId, {"TID": 0xF0, "OID": 0x0F}),
    (regs.SblkCtl, {"DIAGLEDEN": 0x80, "DIAGLEDON": 0x40, "AUTOFLUSHDIS": 0x20, "ENAB40": 0x08, "ENAB20": 0x04,
                    "SELWIDE": 0x02, "XCVR": 0x01}),
    (regs.SeqFlags, {"NOT_IDENTIFIED": 0x80, "NO_CDB_SENT": 0x40, "DPHASE": 0x20}),
    (regs.SeqFlags2, {"TARGET_MSG_PENDING": 0x02, "SCB_DMA": 0x01}),
    (regs.SeqCtl, {"PERRORDIS": 0x80, "PAUSEDIS": 0x40, "FAILDIS": 0x20, "FASTMODE": 0x10, "BRKADRINTEN": 0x08,
                   "STEP": 0x04, "SEQRESET": 0x02, "LOADRAM": 0x01}),
    (regs.DsCommand0, {"CACHETHEN": 0x80, "DPARCKEN": 0x40, "MPARCKEN": 0x20, "EXTREQLCK": 0x10, "INTSCBRAMSEL": 0x08,
                       "RAMPS": 0x04, "USCBSIZE32": 0x02, "CIOPARCKEN": 0x01}),
    (regs.HCntrl, {"POWRDN": 0x40, "SWINT": 0x10, "IRQMS": 0x08, "PAUSE": 0x04, "INTEN": 0x02, "CHIPRST": 0x01}),
    (regs.IntStat, {"CODE": 0xF0, "BRKADRINT": 0x08, "SCSIINT": 0x04, "CMDCMPLT": 0x02, "SEQINT": 0x01}),
    (regs.Error, {"CIOPARERR": 0x80, "PCIERRSTAT": 0x40, "MPARERR": 0x20, "DPARERR": 0x10, "SQPARERR": 0x08,
                  "ILLOPCODE": 0x04, "ILLSADDR": 0x02, "ILLHADDR": 0x01}),
    (regs.ClrInt, {"CLRPARERR": 0x10, "CLRBRKADRINT": 0x08, "CLRSCSIINT": 0x04, "CLRCMDINT": 0x02, "CLRSEQINT": 0x01}),
    (regs.SFunct, {"ALT_MODE": 0x80}),
    (regs.QOffCtlSta, {"SCB_AVAIL": 0x40, "SNSCB_ROLLOVER": 0x20, "SDSCB_ROLLOVER": 0x10, "SCB_QSIZE": 0x07}),
]

SEQINTS = {
    "BAD_PHASE": 0x01, "SEND_REJECT": 0x11, "PROTO_VIOLATION": 0x21, "NO_MATCH": 0x31, "IGN_WIDE_RES": 0x41,
    "PDATA_REINIT": 0x51, "HOST_MSG_LOOP": 0x61, "BAD_STATUS": 0x71, "PERR_DETECTED": 0x81, "DATA_OVERRUN": 0x91,
    "MKMSG_FAILED": 0xA1, "MISSED_BUSFREE": 0xB1, "SCB_MISMATCH": 0xC1, "NO_FREE_SCB": 0xD1, "OUT_OF_RANGE": 0xE1,
}


def test_registers_lie_where_the_document_says() -> None:
    """Name, offset and access of every register, all of them a byte wide, in 256 bytes."""
    assert [(one.name, one.offset, one.access) for one in AhcRegs.registers] == PLACES
    assert {one.size for one in AhcRegs.registers} == {1}
    assert AhcRegs.size == 0x100


@pytest.mark.parametrize(("reg", "masks"), FIELDS, ids=lambda value: getattr(value, "__name__", ""))
def test_fields_cover_the_documents_bits(reg: Any, masks: dict[str, int]) -> None:
    """Every field's mask, and no field beyond the table's."""
    assert {name: field.mask for name, field in reg.fields.items()} == masks


def test_codes_are_the_documents() -> None:
    """Why the sequencer stops, what it is answered, phases, where configuration space has what."""
    assert {code.name: code.value for code in codes.SeqInt} == SEQINTS
    assert {code.name: code.value for code in codes.Answer} == {
        "NOTHING": 0, "CONT_MSG_LOOP": 0x04, "EXIT_MSG_LOOP": 0x08, "SEND_REJ": 0x20, "SEND_SENSE": 0x40,
        "SEND_MSG": 0x80}
    assert {code.name: code.value for code in codes.MsgOut} == {"NOOP": 0x08, "IDENTIFYFLAG": 0x80, "HOST_MSG": 0xFF}
    assert {phase.name: phase.value for phase in codes.Phase} == {
        "DATAOUT": 0x00, "BUSFREE": 0x01, "DATAOUT_DT": 0x20, "DATAIN": 0x40, "DATAIN_DT": 0x60, "COMMAND": 0x80,
        "MESGOUT": 0xA0, "STATUS": 0xC0, "MESGIN": 0xE0}
    assert (codes.PCIR_DEVCONFIG, codes.DEVCONFIG_DACEN, codes.DEVCONFIG_PCIERRGENDIS) == (0x40, 0x4, 0x80000000)
    assert (codes.SLOTS, codes.SEQRAM_INSTRUCTIONS, codes.NONE) == (32, 1024, 0xFF)


def test_a_code_is_not_hidden_by_what_shares_its_byte() -> None:
    """BAD_STATUS together with CMDCMPLT reads 73: masked, it is BAD_STATUS."""
    assert codes.SeqInt(0x73 & codes.SEQINT_CODE_MASK) is codes.SeqInt.BAD_STATUS
    assert regs.IntStat(0x73).CMDCMPLT
