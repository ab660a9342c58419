"""AIC-79xx registers: what every mode shows at the same place.  The banks behind MODE_PTR are in regs_banks.py.

The chip answers single bytes; a 16-bit register is two of them, low byte first.  The one exception is HNSCB_QOFF,
whose 16 bits go in one access.  Everything but MODE_PTR's own row is reached only while the sequencer stands still.

Sources: aic79xx.reg rev 70 (Linux 2.6.9, RHEL 4): addresses, bits, modes.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ddsdk.regs import Reg8, Reg16, RegBlock, bit, bits, ro, rw, wo

from .regs_banks import (
    CchanRegs,
    CfgRegs,
    ClrSint0,
    ClrSint1,
    ClrSint3,
    DfCntrl,
    DffRegs,
    DffStat,
    DffSxfrCtl,
    LqCtl2,
    LqiStat1,
    LqiStat2,
    LqoStat1,
    ModeRegs,
    NegConOpts,
    OptionMode,
    PErrDiag,
    QoffCtlSta,
    SblkCtl,
    ScsiRegs,
    ScsiSeq0,
    ScsiSig,
    SiMode0,
    SiMode1,
    SStat0,
    SStat1,
    SStat2,
    SStat3,
    SxfrCtl1,
)
from .regs_scratch import Scratch, SeqFlags, SeqFlags2

__all__ = [
    "ALL_ONES",
    "HCNTRL_PAUSING",
    "MODES",
    "PAUSING",
    "CchanRegs",
    "CfgRegs",
    "ClrSint0",
    "ClrSint1",
    "ClrSint3",
    "CommonRegs",
    "DfCntrl",
    "DffRegs",
    "DffStat",
    "DffSxfrCtl",
    "ErrorBits",
    "HCntrl",
    "HsMailbox",
    "IntStat",
    "LqCtl2",
    "LqiStat1",
    "LqiStat2",
    "LqoStat1",
    "Mode",
    "ModePtr",
    "ModeRegs",
    "NegConOpts",
    "OptionMode",
    "PErrDiag",
    "QoffCtlSta",
    "SStat0",
    "SStat1",
    "SStat2",
    "SStat3",
    "SblkCtl",
    "Scratch",
    "ScsiRegs",
    "ScsiSeq0",
    "ScsiSig",
    "SeqCtl0",
    "SeqFlags",
    "SeqFlags2",
    "SeqIntCode",
    "SiMode0",
    "SiMode1",
    "SxfrCtl1",
]

#: What a byte reads as when nobody drives the bus.
ALL_ONES: Final = 0xFF


class Mode(IntEnum):
    """MODE_PTR 2:0 and 6:4: which bank the window shows."""

    DFF0 = 0        # data FIFO 0 and its context
    DFF1 = 1
    CCHAN = 2       # command channel: queues, SCB DMA
    SCSI = 3        # SCSI core, negotiation table
    CFG = 4         # configuration shadows, interrupt masks


MODES: Final = tuple(Mode)


class SeqIntCode(IntEnum):
    """SEQINTCODE: why the sequencer stopped, while INTSTAT.SEQINT is set."""

    NO_SEQINT = 0x00
    BAD_PHASE = 0x01
    SEND_REJECT = 0x02
    PROTO_VIOLATION = 0x03
    NO_MATCH = 0x04
    IGN_WIDE_RES = 0x05
    PDATA_REINIT = 0x06
    HOST_MSG_LOOP = 0x07
    BAD_STATUS = 0x08               # no firmware of this generation raises it
    DATA_OVERRUN = 0x09
    MKMSG_FAILED = 0x0A
    MISSED_BUSFREE = 0x0B
    DUMP_CARD_STATE = 0x0C
    ILLEGAL_PHASE = 0x0D
    INVALID_SEQINT = 0x0E
    CFG4ISTAT_INTR = 0x0F
    STATUS_OVERRUN = 0x10
    CFG4OVERRUN = 0x11
    ENTERING_NONPACK = 0x12
    TASKMGMT_FUNC_COMPLETE = 0x13
    TASKMGMT_CMD_CMPLT_OKAY = 0x14
    TRACEPOINT0 = 0x15
    TRACEPOINT1 = 0x16
    TRACEPOINT2 = 0x17
    TRACEPOINT3 = 0x18
    SAW_HWERR = 0x19
    BAD_SCB_STATUS = 0x1A


class ModePtr(Reg8):
    """00: the bank that reads come from and the one that writes go to; the host keeps both equal."""

    DST = bits(6, 4, Mode)
    SRC = bits(2, 0, Mode)


class IntStat(Reg8):
    """01 read; 03 (CLRINT), same bits, a written 1 clears."""

    HWERRINT = bit(7)
    BRKADRINT = bit(6)
    SWTMINT = bit(5)
    PCIINT = bit(4)
    SCSIINT = bit(3)
    SEQINT = bit(2)
    CMDCMPLT = bit(1)
    SPLTINT = bit(0)


#: What stops the sequencer; CMDCMPLT, SPLTINT and the software timer do not.
PAUSING: Final = (IntStat.HWERRINT.mask | IntStat.BRKADRINT.mask | IntStat.PCIINT.mask | IntStat.SCSIINT.mask
                  | IntStat.SEQINT.mask)


class ErrorBits(Reg8):
    """04 read; 04 write (CLRERR), same bits."""

    CIOPARERR = bit(7)
    CIOACCESFAIL = bit(6)
    MPARERR = bit(5)
    DPARERR = bit(4)
    SQPARERR = bit(3)
    ILLOPCODE = bit(2)
    DSCTMOUT = bit(1)


class HCntrl(Reg8):
    """05.  CHIPRST is what a write asks for, CHIPRSTACK what a read of the same bit says."""

    SEQ_RESET = bit(7)
    POWRDN = bit(6)
    SWINT = bit(4)
    SWTIMER_START = bit(3)
    PAUSE = bit(2)
    INTEN = bit(1)
    CHIPRST = bit(0)


HCNTRL_PAUSING: Final = HCntrl.PAUSE.mask | HCntrl.CHIPRST.mask


class HsMailbox(Reg8):
    """0B: the host's letter box; the rest of it is the firmware's."""

    HOST_TQINPOS = bit(7)
    ENINT_COALESCE = bit(6)


class SeqCtl0(Reg8):
    """D6: program load, single step, restart."""

    PERRORDIS = bit(7)
    PAUSEDIS = bit(6)
    FAILDIS = bit(5)
    FASTMODE = bit(4)
    BRKADRINTEN = bit(3)
    STEP = bit(2)
    SEQRESET = bit(1)
    LOADRAM = bit(0)


class CommonRegs(RegBlock, size=0x100, byte_access=True):
    """Offsets that mean the same in every mode."""

    MODE_PTR = ModePtr.at(0x00, reset=0x33)
    INTSTAT = IntStat.at(0x01, ro)
    SEQINTCODE = Reg8.at(0x02, ro)
    CLRINT = IntStat.at(0x03, wo)
    ERROR = ErrorBits.at(0x04, ro)
    CLRERR = ErrorBits.at(0x04, wo)
    HCNTRL = HCntrl.at(0x05, rw)
    HNSCB_QOFF = Reg16.at(0x06)             # 16 bits, one access
    HESCB_QOFF = Reg8.at(0x08)
    HS_MAILBOX = HsMailbox.at(0x0B)
    SEQINTSTAT = Reg8.at(0x0C, ro)
    CLRSEQINTSTAT = Reg8.at(0x0C, wo)
    SWTIMER = Reg16.at(0x0E)
    INTCTL = Reg8.at(0x18)
    SEQCTL0 = SeqCtl0.at(0xD6, reset=0x10)
    SEQINTCTL = Reg8.at(0xD9)
    SEQRAM = Reg8.at(0xDA)
    PRGMCNT = Reg16.at(0xDE)
