"""The five banks behind MODE_PTR: two data FIFOs, command channel, SCSI core, configuration.

The SCSI core (3A-58) shows in both FIFO banks and in the SCSI bank; what lies around it differs.  SIMODE0 is in the
configuration bank, SIMODE1 in the SCSI core; 4B is SSTAT0, CLRSINT0 or SIMODE0 by mode and direction.

Sources: aic79xx.reg rev 70 (Linux 2.6.9, RHEL 4).
"""

from __future__ import annotations

from ddsdk.regs import Reg8, Reg16, Reg24, Reg64, RegBlock, bit, bits, ro, rw, wo


class QoffCtlSta(Reg8):
    """16, CCHAN."""

    EMPTY_SCB_AVAIL = bit(7, ro)
    NEW_SCB_AVAIL = bit(6, ro)
    SDSCB_ROLLOVR = bit(5, ro)
    HS_MAILBOX_ACT = bit(4, ro)
    SCB_QSIZE = bits(3, 0, int, rw)         # 7: 512 entries


class DfCntrl(Reg8):
    """19, DFF."""

    PRELOADEN = bit(7)
    SCSIENWRDIS = bit(6)                    # Rev B
    SCSIEN = bit(5)
    HDMAEN = bit(3)                         # reads as HDMAENACK
    DIRECTION = bit(2)
    FIFOFLUSH = bit(1)


class ScsiSeq0(Reg8):
    """3A."""

    TEMODEO = bit(7)
    ENSELO = bit(6)
    ENARBO = bit(5)
    FORCEBUSFREE = bit(4)
    SCSIRSTO = bit(0)


class SxfrCtl1(Reg8):
    """3D."""

    BITBUCKET = bit(7)
    ENSACHK = bit(6)
    ENSPCHK = bit(5)
    STIMESEL = bits(4, 3)                   # 256, 128, 64, 32 ms
    ENSTIMER = bit(2)
    ACTNEGEN = bit(1)
    STPWEN = bit(0)


class DffStat(Reg8):
    """3F, SCSI.  CURRFIFO 3: none.  Rev B wants FIFO 0 written as 2."""

    FIFO1FREE = bit(5)
    FIFO0FREE = bit(4)
    CURRFIFO = bits(1, 0)


class ScsiSig(Reg8):
    """40 write (SCSISIGO), 41 read (SCSISIGI): the bus's control lines."""

    CD = bit(7)
    IO = bit(6)
    MSG = bit(5)
    ATN = bit(4)
    SEL = bit(3)
    BSY = bit(2)
    REQ = bit(1)
    ACK = bit(0)


class LqCtl2(Reg8):
    """39."""

    LQIRETRY = bit(7)
    LQICONTINUE = bit(6)
    LQITOIDLE = bit(5)
    LQIPAUSE = bit(4)
    LQORETRY = bit(3)
    LQOCONTINUE = bit(2)
    LQOTOIDLE = bit(1)
    LQOPAUSE = bit(0)


class SblkCtl(Reg8):
    """4A."""

    DIAGLEDEN = bit(7)
    DIAGLEDON = bit(6)
    ENAB40 = bit(3)                         # LVD transceivers on
    ENAB20 = bit(2)                         # SE transceivers on
    SELWIDE = bit(1)


class SStat0(Reg8):
    """4B read."""

    TARGET = bit(7)
    SELDO = bit(6)
    SELDI = bit(5)
    SELINGO = bit(4)
    IOERR = bit(3)
    OVERRUN = bit(2)
    SPIORDY = bit(1)
    ARBDO = bit(0)


class ClrSint0(SStat0):
    """4B write: a written 1 clears."""


class SiMode0(SStat0):
    """4B, CFG: which bits of SSTAT0 interrupt."""


class SStat1(Reg8):
    """4C read."""

    SELTO = bit(7)
    ATNTARG = bit(6)
    SCSIRSTI = bit(5)
    PHASEMIS = bit(4)
    BUSFREE = bit(3)
    SCSIPERR = bit(2)
    STRB2FAST = bit(1)
    REQINIT = bit(0)


class ClrSint1(Reg8):
    """4C write: a written 1 clears; CLRATNO drops our ATN."""

    CLRSELTIMEO = bit(7)
    CLRATNO = bit(6)
    CLRSCSIRSTI = bit(5)
    CLRBUSFREE = bit(3)
    CLRSCSIPERR = bit(2)
    CLRSTRB2FAST = bit(1)
    CLRREQINIT = bit(0)


class SiMode1(SStat1):
    """57: which bits of SSTAT1 interrupt."""


class SStat2(Reg8):
    """4D read."""

    BUSFREETIME = bits(7, 6)                # 1 in LQ out, 2 in data FIFO 0, 3 in data FIFO 1
    NONPACKREQ = bit(5)
    EXP_ACTIVE = bit(4)
    BSYX = bit(3)
    WIDE_RES = bit(2)
    SDONE = bit(1)
    DMADONE = bit(0)


class PErrDiag(Reg8):
    """4E read."""

    HIZERO = bit(7)
    HIPERR = bit(6)
    PREVPHASE = bit(5)
    PARITYERR = bit(4)
    AIPERR = bit(3)
    CRCERR = bit(2)
    DGFORMERR = bit(1)
    DTERR = bit(0)


class LqiStat1(Reg8):
    """51 read; written (CLRLQIINT1) 1 clears."""

    LQIPHASE_LQ = bit(7)
    LQIPHASE_NLQ = bit(6)
    LQIABORT = bit(5)
    LQICRCI_LQ = bit(4)
    LQICRCI_NLQ = bit(3)
    LQIBADLQI = bit(2)
    LQIOVERI_LQ = bit(1)
    LQIOVERI_NLQ = bit(0)


class LqiStat2(Reg8):
    """52 read."""

    PACKETIZED = bit(7)
    LQIPHASE_OUTPKT = bit(6)
    LQIGSAVAIL = bit(0)                     # the good-status FIFO is not empty


class SStat3(Reg8):
    """53 read; written (CLRSINT3) 1 clears."""

    NTRAMPERR = bit(1)
    OSRAMPERR = bit(0)


class ClrSint3(SStat3):
    """53 write."""


class LqoStat1(Reg8):
    """55 read; written (CLRLQOINT1) 1 clears."""

    LQOINITSCBPERR = bit(4)
    LQOSTOPI2 = bit(3)
    LQOBADQAS = bit(2)
    LQOBUSFREE = bit(1)
    LQOPHACHGINPKT = bit(0)


class DffSxfrCtl(Reg8):
    """5A, DFF."""

    DFFBITBUCKET = bit(3)
    CLRSHCNT = bit(2)
    CLRCHN = bit(1)
    RSTCHN = bit(0)


class NegConOpts(Reg8):
    """64, SCSI: connection options of the target that NEGOADDR names."""

    ENSNAPSHOT = bit(6)
    RTI_WRTDIS = bit(5)
    RTI_OVRDTRN = bit(4)
    ENSLOWCRC = bit(3)
    ENAUTOATNI = bit(2)
    ENAUTOATNO = bit(1)
    WIDEXFER = bit(0)


class OptionMode(Reg8):
    """4A, CFG."""

    BIOSCANCTL = bit(7)
    AUTOACKEN = bit(6)
    BUSFREEREV = bit(4)
    ENDGFORMCHK = bit(2)
    AUTO_MSGOUT_DE = bit(1)


class ModeRegs(RegBlock, size=0x100, byte_access=True):
    """Modes 0 to 3: the SCB pointer and some scratch of each mode's own."""

    SPLTSTAT0 = Reg8.at(0x96)               # DCHSPLTSTAT, CMCSPLTSTAT, OVLYSPLTSTAT
    SPLTSTAT1 = Reg8.at(0x97)
    SG_STATE = Reg8.at(0xA6)
    SCBPTR = Reg16.at(0xA8)
    LONGJMP_ADDR = Reg16.at(0xF8)           # high byte 80: no routine, the FIFO is idle


class ScsiCoreRegs(ModeRegs):
    """Modes 0, 1 and 3."""

    LQCTL1 = Reg8.at(0x38)
    LQCTL2 = LqCtl2.at(0x39)
    SCSISEQ0 = ScsiSeq0.at(0x3A)
    SCSISEQ1 = Reg8.at(0x3B)
    SCSISIGO = ScsiSig.at(0x40, wo)
    SCSISIGI = ScsiSig.at(0x41, ro)
    SCSIPHASE = Reg8.at(0x42, ro)
    SCSIDAT = Reg8.at(0x44)
    SCSIBUS = Reg8.at(0x46, ro)
    SELID = Reg8.at(0x49, ro)
    SBLKCTL = SblkCtl.at(0x4A)
    SSTAT0 = SStat0.at(0x4B, ro)
    CLRSINT0 = ClrSint0.at(0x4B, wo)
    SSTAT1 = SStat1.at(0x4C, ro)
    CLRSINT1 = ClrSint1.at(0x4C, wo)
    SSTAT2 = SStat2.at(0x4D, ro)
    PERRDIAG = PErrDiag.at(0x4E, ro)
    LQISTAT0 = Reg8.at(0x50, ro)
    CLRLQIINT0 = Reg8.at(0x50, wo)
    LQISTAT1 = LqiStat1.at(0x51, ro)
    CLRLQIINT1 = LqiStat1.at(0x51, wo)
    LQISTAT2 = LqiStat2.at(0x52, ro)
    SSTAT3 = SStat3.at(0x53, ro)
    CLRSINT3 = ClrSint3.at(0x53, wo)
    LQOSTAT0 = Reg8.at(0x54, ro)
    CLRLQOINT0 = Reg8.at(0x54, wo)
    LQOSTAT1 = LqoStat1.at(0x55, ro)
    CLRLQOINT1 = LqoStat1.at(0x55, wo)
    LQOSTAT2 = Reg8.at(0x56, ro)
    SIMODE1 = SiMode1.at(0x57)
    GSFIFO = Reg16.at(0x58, ro)             # tag of a packetized command that ended good; the low byte pops


class DffRegs(ScsiCoreRegs):
    """Modes 0 and 1: one data FIFO."""

    DFCNTRL = DfCntrl.at(0x19)
    DFSTATUS = Reg8.at(0x1A, ro, reset=0x89)
    SG_CACHE_PRE = Reg8.at(0x1B, wo)
    SG_CACHE_SHADOW = Reg8.at(0x1B, ro)
    DFFSXFRCTL = DffSxfrCtl.at(0x5A)
    SEQINTSRC = Reg8.at(0x5B, ro)
    CLRSEQINTSRC = Reg8.at(0x5B, wo)
    SEQIMODE = Reg8.at(0x5C)
    MDFFSTAT = Reg8.at(0x5D, ro, reset=0x05)
    SHADDR = Reg64.at(0x60, ro)
    SHCNT = Reg24.at(0x68, ro)
    HADDR = Reg64.at(0x70)
    HCNT = Reg24.at(0x78)
    SGSPLTSTAT0 = Reg8.at(0x9E)
    SGSPLTSTAT1 = Reg8.at(0x9F)
    CCSGCTL = Reg8.at(0xAD)


class CchanRegs(ModeRegs):
    """Mode 2: the command channel."""

    SNSCB_QOFF = Reg16.at(0x10)             # reading it moves it on: write back what was read
    SESCB_QOFF = Reg8.at(0x12)
    SDSCB_QOFF = Reg16.at(0x14)
    QOFF_CTLSTA = QoffCtlSta.at(0x16)
    SCBHADDR = Reg8.at(0x7C, count=8)
    SCBHCNT = Reg8.at(0x84)
    CCSCBADDR = Reg8.at(0xAC)
    CCSCBCTL = Reg8.at(0xAD)
    CCSCBRAM = Reg8.at(0xB0)


class ScsiRegs(ScsiCoreRegs):
    """Mode 3: the SCSI core, the output manager, the negotiation table."""

    SXFRCTL0 = Reg8.at(0x3C)
    SXFRCTL1 = SxfrCtl1.at(0x3D)
    DFFSTAT = DffStat.at(0x3F, reset=0x33)
    NEXTSCB = Reg16.at(0x5A)
    CURRSCB = Reg16.at(0x5C)
    LASTSCB = Reg16.at(0x5E)
    NEGOADDR = Reg8.at(0x60)
    NEGPERIOD = Reg8.at(0x61)
    NEGOFFSET = Reg8.at(0x62)
    NEGPPROPTS = Reg8.at(0x63)
    NEGCONOPTS = NegConOpts.at(0x64)
    ANNEXCOL = Reg8.at(0x65)
    ANNEXDAT = Reg8.at(0x66)
    IOWNID = Reg8.at(0x67)
    TOWNID = Reg8.at(0x69)
    SELOID = Reg8.at(0x6B)
    CURADDR = Reg16.at(0xF4, ro)
    LASTADDR = Reg16.at(0xF6, ro)


class CfgRegs(RegBlock, size=0x100, byte_access=True):
    """Mode 4: where things are in an SCB, interrupt masks, bus errors.  100-1FF is PCI configuration space."""

    DSCOMMAND0 = Reg8.at(0x19)
    LUNPTR = Reg8.at(0x22)
    CMDLENPTR = Reg8.at(0x25)
    ATTRPTR = Reg8.at(0x26)
    FLAGPTR = Reg8.at(0x27)
    CMDPTR = Reg8.at(0x28)
    QNEXTPTR = Reg8.at(0x29)
    ABRTBYTEPTR = Reg8.at(0x2B)
    ABRTBITPTR = Reg8.at(0x2C)
    LUNLEN = Reg8.at(0x30)
    CDBLIMIT = Reg8.at(0x31)
    MAXCMD = Reg8.at(0x32)
    MAXCMDCNT = Reg8.at(0x33)
    MULTARGID = Reg16.at(0x40)
    OPTIONMODE = OptionMode.at(0x4A)
    SIMODE0 = SiMode0.at(0x4B)
    LQISTATE = Reg8.at(0x4E, ro)
    LQOSTATE = Reg8.at(0x4F, ro)
    LQIMODE0 = Reg8.at(0x50)
    LQIMODE1 = Reg8.at(0x51)
    SIMODE3 = Reg8.at(0x53)
    LQOMODE0 = Reg8.at(0x54)
    LQOMODE1 = Reg8.at(0x55)
    LQOSCSCTL = Reg8.at(0x5A)               # Rev B
    SCSCHKN = Reg8.at(0x66)
    DFF_THRSH = Reg8.at(0x88)
    PCIXCTL = Reg8.at(0x93)
    PCISTAT = Reg8.at(0xA0, count=8)        # one for each client of the bus; the sixth is not there
    SCBAUTOPTR = Reg8.at(0xAB)
    DSPDATACTL = Reg8.at(0xC1)
    INTVEC1_ADDR = Reg16.at(0xF4)
    INTVEC2_ADDR = Reg16.at(0xF6)
