"""The AIC-7892/7899 register file, 256 bytes, accessed a byte at a time; the scratch RAM and the SCB window lie in it.

BAR 1 (memory) and BAR 0 (I/O) show the same bytes.  Offsets, bits and names: hw-aic7xxx.md 3 and 4, from Linux 2.6.9
(RHEL 4) aic7xxx.reg rev 39; what the values mean: codes.py.  Where reading and writing reach two registers, both are
here.
"""

from __future__ import annotations

from typing import Final

from ddsdk.regs import Reg8, RegBlock, bit, bits, ro, wo

from .codes import ALL_ONES as ALL_ONES
from .codes import CRITICAL_SECTIONS as CRITICAL_SECTIONS
from .codes import DATA_PHASES as DATA_PHASES
from .codes import DEVCONFIG_DACEN as DEVCONFIG_DACEN
from .codes import DEVCONFIG_PCIERRGENDIS as DEVCONFIG_PCIERRGENDIS
from .codes import INSTRUCTION_BYTES as INSTRUCTION_BYTES
from .codes import NONE as NONE
from .codes import PCI_VENDOR_ID_ADAPTEC2 as PCI_VENDOR_ID_ADAPTEC2
from .codes import PCIR_CACHE_LINE_SIZE as PCIR_CACHE_LINE_SIZE
from .codes import PCIR_DEVCONFIG as PCIR_DEVCONFIG
from .codes import PCIR_STATUS_HIGH as PCIR_STATUS_HIGH
from .codes import PCIR_SUBSYSTEM as PCIR_SUBSYSTEM
from .codes import PHASE_MASK as PHASE_MASK
from .codes import SEQINT_CODE_MASK as SEQINT_CODE_MASK
from .codes import SEQRAM_INSTRUCTIONS as SEQRAM_INSTRUCTIONS
from .codes import SLOT_BYTES as SLOT_BYTES
from .codes import SLOTS as SLOTS
from .codes import STATUS_DPE as STATUS_DPE
from .codes import STATUS_DPR as STATUS_DPR
from .codes import STATUS_ERRORS as STATUS_ERRORS
from .codes import STATUS_RMA as STATUS_RMA
from .codes import STATUS_RTA as STATUS_RTA
from .codes import STATUS_SSE as STATUS_SSE
from .codes import STATUS_STA as STATUS_STA
from .codes import Answer as Answer
from .codes import MsgOut as MsgOut
from .codes import Phase as Phase
from .codes import SeqInt as SeqInt


class ScsiSeq(Reg8):
    """00."""

    TEMODE = bit(7)
    ENSELO = bit(6)             # select
    ENSELI = bit(5)
    ENRSELI = bit(4)            # let targets reselect
    ENAUTOATNO = bit(3)
    ENAUTOATNI = bit(2)
    ENAUTOATNP = bit(1)         # ATN on a parity error
    SCSIRSTO = bit(0)           # drive RST


class SxfrCtl0(Reg8):
    """01."""

    DFON = bit(7)
    DFPEXP = bit(6)
    FAST20 = bit(5)
    CLRSTCNT = bit(4)
    SPIOEN = bit(3)
    CLRCHN = bit(1)


class SxfrCtl1(Reg8):
    """02."""

    BITBUCKET = bit(7)          # data goes nowhere
    ENSPCHK = bit(5)            # check parity
    STIMESEL = bits(4, 3)       # selection timeout: 256 ms >> STIMESEL
    ENSTIMER = bit(2)
    ACTNEGEN = bit(1)
    STPWEN = bit(0)             # termination power


class ScsiSig(Reg8):
    """03: the bus's control lines."""

    PHASE = bits(7, 5, int)
    ATN = bit(4)
    SEL = bit(3)
    BSY = bit(2)
    REQ = bit(1)
    ACK = bit(0)


class ScsiRate(Reg8):
    """04."""

    WIDEXFER = bit(7)
    ENABLE_CRC = bit(6)         # DT
    SINGLE_EDGE = bit(4)
    RATE = bits(3, 0)


class SStat0(Reg8):
    """0B read; a 1 in SIMODE0 makes the bit a SCSIINT, a 1 written to CLRSINT0 clears it."""

    TARGET = bit(7)
    SELDO = bit(6)              # the selection is done
    SELDI = bit(5)              # somebody reselected us
    SELINGO = bit(4)            # a selection is going on
    IOERR = bit(3)              # the transceivers changed between LVD and SE
    SDONE = bit(2)
    SPIORDY = bit(1)
    DMADONE = bit(0)


class SStat1(Reg8):
    """0C read; the same with SIMODE1 and CLRSINT1, where 40 drops our ATN."""

    SELTO = bit(7)
    ATNTARG = bit(6)
    SCSIRSTI = bit(5)           # RST was seen
    PHASEMIS = bit(4)
    BUSFREE = bit(3)
    SCSIPERR = bit(2)
    PHASECHG = bit(1)
    REQINIT = bit(0)


#: CLRSINT1, bit 6: not a status but our ATN.
CLRATNO: Final = 0x40


class SStat2(Reg8):
    """0D."""

    OVERRUN = bit(7)
    SHVALID = bit(6)
    EXP_ACTIVE = bit(4)
    CRCVALERR = bit(3)
    CRCENDERR = bit(2)
    CRCREQERR = bit(1)
    DUAL_EDGE_ERR = bit(0)


class ScsiId(Reg8):
    """0F, and SCSIID of an SCB."""

    TID = bits(7, 4)
    OID = bits(3, 0)


class SblkCtl(Reg8):
    """1F."""

    DIAGLEDEN = bit(7)
    DIAGLEDON = bit(6)
    AUTOFLUSHDIS = bit(5)
    ENAB40 = bit(3)             # the bus runs LVD
    ENAB20 = bit(2)             # ... single ended
    SELWIDE = bit(1)
    XCVR = bit(0)


class SeqFlags(Reg8):
    """Scratch 3C."""

    NOT_IDENTIFIED = bit(7)
    NO_CDB_SENT = bit(6)
    DPHASE = bit(5)


class SeqFlags2(Reg8):
    """Scratch 57."""

    TARGET_MSG_PENDING = bit(1)
    SCB_DMA = bit(0)            # an SCB is on its way to the chip


class SeqCtl(Reg8):
    """60."""

    PERRORDIS = bit(7)
    PAUSEDIS = bit(6)
    FAILDIS = bit(5)
    FASTMODE = bit(4)
    BRKADRINTEN = bit(3)
    STEP = bit(2)
    SEQRESET = bit(1)
    LOADRAM = bit(0)


class DsCommand0(Reg8):
    """84."""

    CACHETHEN = bit(7)
    DPARCKEN = bit(6)
    MPARCKEN = bit(5)
    EXTREQLCK = bit(4)
    INTSCBRAMSEL = bit(3)       # SCBs in the chip's own RAM
    RAMPS = bit(2, ro)          # external RAM is there
    USCBSIZE32 = bit(1)
    CIOPARCKEN = bit(0)


class HCntrl(Reg8):
    """87.  PAUSE reads 1 whenever the sequencer stands still, whatever stopped it."""

    POWRDN = bit(6)
    SWINT = bit(4)
    IRQMS = bit(3)
    PAUSE = bit(2)
    INTEN = bit(1)
    CHIPRST = bit(0)            # reads 1 when the reset is over (CHIPRSTACK), until written 0


class IntStat(Reg8):
    """91: the low four bits ask for an interrupt; all but CMDCMPLT stop the sequencer."""

    CODE = bits(7, 4, ro)       # with SEQINT: see SeqInt
    BRKADRINT = bit(3, ro)
    SCSIINT = bit(2, ro)
    CMDCMPLT = bit(1, ro)
    SEQINT = bit(0, ro)


#: Any interrupt; those that stop the sequencer.
INT_PEND: Final = 0x0F
INT_STOPS: Final = 0x0D


class Error(Reg8):
    """92 read: why BRKADRINT is set, and PCI errors, which set nothing."""

    CIOPARERR = bit(7, ro)
    PCIERRSTAT = bit(6, ro)
    MPARERR = bit(5, ro)
    DPARERR = bit(4, ro)
    SQPARERR = bit(3, ro)
    ILLOPCODE = bit(2, ro)
    ILLSADDR = bit(1, ro)
    ILLHADDR = bit(0, ro)


class ClrInt(Reg8):
    """92 write."""

    CLRPARERR = bit(4, wo)
    CLRBRKADRINT = bit(3, wo)
    CLRSCSIINT = bit(2, wo)
    CLRCMDINT = bit(1, wo)
    CLRSEQINT = bit(0, wo)      # and the code


class SFunct(Reg8):
    """9F."""

    ALT_MODE = bit(7)           # 08 is OPTIONMODE


class QOffCtlSta(Reg8):
    """FA."""

    SCB_AVAIL = bit(6, ro)      # HNSCB_QOFF is ahead of SNSCB_QOFF
    SNSCB_ROLLOVER = bit(5, ro)
    SDSCB_ROLLOVER = bit(4, ro)
    SCB_QSIZE = bits(2, 0)


#: QOFF_CTLSTA for queues of 256 entries.
SCB_QSIZE_256: Final = 6


class AhcRegs(RegBlock, size=0x100):
    """The register file."""

    SCSISEQ = ScsiSeq.at(0x00)
    SXFRCTL0 = SxfrCtl0.at(0x01)
    SXFRCTL1 = SxfrCtl1.at(0x02)
    SCSISIGI = ScsiSig.at(0x03, ro)
    SCSISIGO = ScsiSig.at(0x03, wo)
    SCSIRATE = ScsiRate.at(0x04)
    SCSIOFFSET = Reg8.at(0x05)              # SCSIID on chips before Ultra2
    SCSIDATL = Reg8.at(0x06)                # a read takes the byte off the bus (ACK), a write presents one
    OPTIONMODE = Reg8.at(0x08)              # with ALT_MODE; else STCNT 7:0
    SSTAT0 = SStat0.at(0x0B, ro)
    CLRSINT0 = SStat0.at(0x0B, wo)
    SSTAT1 = SStat1.at(0x0C, ro)
    CLRSINT1 = SStat1.at(0x0C, wo)
    SSTAT2 = SStat2.at(0x0D, ro)
    SSTAT3 = Reg8.at(0x0E, ro)
    SCSIID_ULTRA2 = ScsiId.at(0x0F)
    SIMODE0 = SStat0.at(0x10)
    SIMODE1 = SStat1.at(0x11)
    SCSIBUSL = Reg8.at(0x12, ro)            # the data lines; reading takes nothing off the bus
    SELID = ScsiId.at(0x19, ro)
    TARGID = Reg8.at(0x1B, count=2)
    SBLKCTL = SblkCtl.at(0x1F)
    # scratch RAM
    BUSY_TARGETS = Reg8.at(0x20, count=16)  # tag of the untagged command a target works on
    CMDSIZE_TABLE = Reg8.at(0x30, count=8)
    MWI_RESIDUAL = Reg8.at(0x38)
    NEXT_QUEUED_SCB = Reg8.at(0x39)
    MSG_OUT = Reg8.at(0x3A)
    DMAPARAMS = Reg8.at(0x3B)
    SEQ_FLAGS = SeqFlags.at(0x3C)
    SAVED_SCSIID = ScsiId.at(0x3D)
    SAVED_LUN = Reg8.at(0x3E)
    LASTPHASE = Reg8.at(0x3F)
    WAITING_SCBH = Reg8.at(0x40)
    DISCONNECTED_SCBH = Reg8.at(0x41)
    FREE_SCBH = Reg8.at(0x42)
    COMPLETE_SCBH = Reg8.at(0x43)
    HSCB_ADDR = Reg8.at(0x44, count=4)
    SHARED_DATA_ADDR = Reg8.at(0x48, count=4)
    QUEUE_POSITIONS = Reg8.at(0x4C, count=3)        # only on chips without HNSCB_QOFF
    KERNEL_TQINPOS = Reg8.at(0x4F)
    TQINPOS = Reg8.at(0x50)
    RETURN_1 = Reg8.at(0x51)                # and ARG_1
    ARG_2 = Reg8.at(0x52)
    LAST_MSG = Reg8.at(0x53)
    SCSISEQ_TEMPLATE = ScsiSeq.at(0x54)
    SCRATCH_55 = Reg8.at(0x55, count=2)
    SEQ_FLAGS2 = SeqFlags2.at(0x57)
    SCRATCH_58 = Reg8.at(0x58, count=2)
    SCSICONF = Reg8.at(0x5A, count=2)       # the BIOS's: 80 termination, 40 reset at boot, 20 parity, 0F our id
    SCRATCH_5C = Reg8.at(0x5C, count=4)
    # sequencer
    SEQCTL = SeqCtl.at(0x60)
    SEQRAM = Reg8.at(0x61)
    SEQADDR0 = Reg8.at(0x62)
    SEQADDR1 = Reg8.at(0x63)
    ACCUM = Reg8.at(0x64)
    TARG_OFFSET = Reg8.at(0x70, count=16)
    # host, queues, DMA
    DSCOMMAND0 = DsCommand0.at(0x84)
    DSCOMMAND1 = Reg8.at(0x85)              # 01: HADDR is its fifth byte
    HS_MAILBOX = Reg8.at(0x86)
    HCNTRL = HCntrl.at(0x87)
    HADDR = Reg8.at(0x88, count=4)
    HCNT = Reg8.at(0x8C, count=3)
    SCBPTR = Reg8.at(0x90)
    INTSTAT = IntStat.at(0x91, ro)
    ERROR = Error.at(0x92, ro)
    CLRINT = ClrInt.at(0x92, wo)
    DFCNTRL = Reg8.at(0x93)
    DFSTATUS = Reg8.at(0x94, ro)
    CRCCONTROL1 = Reg8.at(0x9D)
    SCSIPHASE = Reg8.at(0x9E, ro)
    SFUNCT = SFunct.at(0x9F)
    SCB = Reg8.at(0xA0, count=SLOT_BYTES)   # the slot that SCBPTR names; fields: frames.HardwareScb
    CCSGCTL = Reg8.at(0xEB)
    CCSCBCTL = Reg8.at(0xEE)
    CCSCBCNT = Reg8.at(0xEF)
    SCBBADDR = Reg8.at(0xF0)
    HNSCB_QOFF = Reg8.at(0xF4)
    SNSCB_QOFF = Reg8.at(0xF6)              # every read adds one: write back what you read
    SDSCB_QOFF = Reg8.at(0xF8)
    QOFF_CTLSTA = QOffCtlSta.at(0xFA)
    DFF_THRSH = Reg8.at(0xFB)


#: Scratch bytes that the BRKADRINT path zeroes: hw-aic7xxx.md 11.
SCRATCH_CLEARED: Final = range(0x20, 0x5A)
#: DSCOMMAND1: HADDR addresses bits 39:32.
HADDLDSEL0: Final = 0x01
