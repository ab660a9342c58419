"""The bits of the registers in regs.py, byte by byte.

Sources: LSI53C895A Technical Manual v2.2, chapter 4 (names and order of bits); Linux 2.6.9 sym_defs.h.
"""

from __future__ import annotations

from enum import IntEnum

from ddsdk.regs import Reg8, bit, bits, ro, rw, w1c, wo


class Phase(IntEnum):
    """MSG, C/D and I/O: the information transfer phases (manual, table 5.2)."""

    DATA_OUT = 0
    DATA_IN = 1
    COMMAND = 2
    STATUS = 3
    DT_DATA_OUT = 4         # Ultra3 only
    DT_DATA_IN = 5          # Ultra3 only
    MSG_OUT = 6
    MSG_IN = 7


class Scntl0(Reg8):
    """SCSI Control Zero."""

    ARB = bits(7, 6)        # 3: full arbitration
    START = bit(5)
    WATN = bit(4)           # select with ATN
    EPC = bit(3)            # check parity
    AAP = bit(1)            # assert ATN on a parity error
    TRG = bit(0)            # target mode


class Scntl1(Reg8):
    """SCSI Control One."""

    EXC = bit(7)
    ADB = bit(6)            # assert the data bus
    DHP = bit(5)            # do not halt on parity error or ATN (target)
    CON = bit(4)            # connected
    RST = bit(3)            # assert the bus's RST line
    AESP = bit(2)
    IARB = bit(1)           # immediate arbitration
    SST = bit(0)


class Scntl2(Reg8):
    """SCSI Control Two.  SDU is set by every selection and reselection that works."""

    SDU = bit(7)            # a disconnect now is unexpected
    CHM = bit(6)
    SLPMD = bit(5)
    SLPHBEN = bit(4)
    WSS = bit(3, w1c)
    VUE0 = bit(2)
    VUE1 = bit(1)
    WSR = bit(0, w1c)


class Scntl3(Reg8):
    """SCSI Control Three: clocks and width."""

    ULTRA = bit(7)
    SCF = bits(6, 4)        # synchronous clock divider
    EWS = bit(3)            # wide
    CCF = bits(2, 0)        # asynchronous clock divider; 3: SCLK of 37.51 to 50 MHz


class Scid(Reg8):
    """SCSI Chip ID."""

    RRE = bit(6)            # answer reselections
    SRE = bit(5)            # answer selections
    ID = bits(3, 0)


class Socl(Reg8):
    """SCSI Output Control Latch."""

    REQ = bit(7)
    ACK = bit(6)
    BSY = bit(5)
    SEL = bit(4)
    ATN = bit(3)
    PHASE = bits(2, 0, Phase)


class Ssid(Reg8):
    """SCSI Selector ID: who selected or reselected us last."""

    VAL = bit(7)
    ID = bits(3, 0)


class Sbcl(Reg8):
    """SCSI Bus Control Lines."""

    REQ = bit(7)
    ACK = bit(6)
    BSY = bit(5)
    SEL = bit(4)
    ATN = bit(3)
    PHASE = bits(2, 0, Phase)


class Dstat(Reg8):
    """DMA Status: causes, cleared by reading, but for DFE."""

    DFE = bit(7, ro)        # the DMA FIFO is empty
    MDPE = bit(6)           # PCI parity error as master
    BF = bit(5)             # bus fault
    ABRT = bit(4)           # ISTAT0.ABRT stopped SCRIPTS
    SSI = bit(3)            # single step
    SIR = bit(2)            # INT instruction
    IID = bit(0)            # illegal instruction


class Dien(Reg8):
    """DMA Interrupt Enable."""

    MDPE = bit(6)
    BF = bit(5)
    ABRT = bit(4)
    SSI = bit(3)
    SIR = bit(2)
    IID = bit(0)


class Sstat0(Reg8):
    """SCSI Status Zero."""

    ILF = bit(7)            # a byte is in SIDL
    ORF = bit(6)            # a byte is in the hidden output register
    OLF = bit(5)            # a byte is in SODL
    AIP = bit(4)            # arbitration in progress
    LOA = bit(3)            # lost
    WOA = bit(2)            # won
    RST = bit(1)            # the bus's RST line
    SDP0 = bit(0)


class Sstat1(Reg8):
    """SCSI Status One."""

    FF = bits(7, 4)         # bytes in the SCSI FIFO
    SDP0L = bit(3)
    PHASE = bits(2, 0, Phase)       # latched by REQ


class Sstat2(Reg8):
    """SCSI Status Two."""

    ILF1 = bit(7)
    ORF1 = bit(6)
    OLF1 = bit(5)
    FF4 = bit(4)
    LDSC = bit(1)           # the last thing that happened was a disconnect


class Istat0(Reg8):
    """Interrupt Status Zero: the one register that may be accessed while SCRIPTS run."""

    ABRT = bit(7, rw)       # stop SCRIPTS
    SRST = bit(6, wo)       # reset the chip
    SIGP = bit(5, rw)       # signal process: wakes WAIT RESELECT
    SEM = bit(4, rw)
    CON = bit(3, ro)
    INTF = bit(2, w1c)      # INTFLY instruction
    SIP = bit(1, ro)        # something is in SIST0, SIST1
    DIP = bit(0, ro)        # something is in DSTAT


class Istat1(Reg8):
    """Interrupt Status One."""

    FLSH = bit(2, ro)
    SRUN = bit(1, ro)       # SCRIPTS are running
    SIRQD = bit(0, rw)      # the INTA pin is off


class Ctest2(Reg8):
    """Chip Test Two.  Reading it clears ISTAT0.SIGP."""

    DDIR = bit(7, ro)
    SIGP = bit(6, ro)       # copy of ISTAT0.SIGP
    CIO = bit(5, ro)
    CM = bit(4, ro)
    PCICIE = bit(3, rw)
    TEOP = bit(2, ro)
    DREQ = bit(1, ro)
    DACK = bit(0, ro)


class Ctest3(Reg8):
    """Chip Test Three."""

    FLF = bit(3)            # flush the DMA FIFO
    CLF = bit(2, wo)        # clear the DMA FIFO
    FM = bit(1)
    WRIE = bit(0)           # write and invalidate


class Ctest4(Reg8):
    """Chip Test Four."""

    BDIS = bit(7)           # no bursts
    MPEE = bit(3)           # master parity error enable


class Ctest5(Reg8):
    """Chip Test Five."""

    DFS = bit(5)            # large DMA FIFO
    BL2 = bit(2)
    BO = bits(1, 0)         # bits 9 and 8 of DFIFO, with DFS


class Dmode(Reg8):
    """DMA Mode."""

    BL = bits(7, 6)         # burst length
    SIOM = bit(5)
    DIOM = bit(4)
    ERL = bit(3)
    ERMP = bit(2)
    BOF = bit(1)
    MAN = bit(0)            # manual start: writing DSP does not start SCRIPTS


class Dcntl(Reg8):
    """DMA Control."""

    CLSE = bit(7)
    PFF = bit(6, wo)        # flush the prefetch unit
    PFEN = bit(5)
    SSM = bit(4)            # single step
    IRQM = bit(3)           # totem pole driver of the IRQ pin; what firmware chose must stay
    STD = bit(2, wo)        # start SCRIPTS
    IRQD = bit(1)           # the IRQ pin is off
    COM = bit(0)            # 0: 53C700 compatibility, SFBR is overwritten at selections


class Sien0(Reg8):
    """SCSI Interrupt Enable Zero; SIST0 has the same bits."""

    MA = bit(7)
    CMP = bit(6)
    SEL = bit(5)
    RSL = bit(4)
    SGE = bit(3)
    UDC = bit(2)
    RST = bit(1)
    PAR = bit(0)


class Sist0(Sien0):
    """SCSI Interrupt Status Zero: causes, cleared by reading.

    Phase mismatch, function complete, selected, reselected, gross error, unexpected disconnect, RST, parity.
    """


class Sien1(Reg8):
    """SCSI Interrupt Enable One; SIST1 has the same bits."""

    SBMC = bit(4)
    STO = bit(2)
    GEN = bit(1)
    HTH = bit(0)


class Sist1(Sien1):
    """SCSI Interrupt Status One: causes, cleared by reading.

    Bus mode change, selection timeout, general purpose timer, handshake timer.
    """


class Stime0(Reg8):
    """SCSI Timer Zero: 0 off, n: 125 us x 2^(n-1)."""

    HTH = bits(7, 4)
    SEL = bits(3, 0)


class Stest1(Reg8):
    """SCSI Test One."""

    SCLK = bit(7)           # the PCI clock instead of SCLK
    DBLEN = bit(3)          # clock multiplier on
    DBLSEL = bit(2)         # and used


class Stest2(Reg8):
    """SCSI Test Two."""

    ROF = bit(6)            # reset the synchronous offset
    EXT = bit(1)            # filter REQ and ACK longer
    LOW = bit(0)            # low-level mode


class Stest3(Reg8):
    """SCSI Test Three."""

    TE = bit(7)             # TolerANT: active negation
    STR = bit(6)
    HSC = bit(5)            # halt the SCSI clock
    CSF = bit(1, wo)        # clear the SCSI FIFO


class Stest4(Reg8):
    """SCSI Test Four."""

    SMODE = bits(7, 6)      # 1 HVD, 2 SE, 3 LVD
    LOCK = bit(5)           # the clock multiplier has locked


class Ccntl0(Reg8):
    """Chip Control Zero."""

    ENPMJ = bit(7)          # phase mismatches jump instead of interrupting
    PMJCTL = bit(6)         # to PMJAD1 for outbound, PMJAD2 for inbound; 0: by SCNTL2.WSR
    ENNDJ = bit(5)
    DISFC = bit(4)          # no automatic clearing of the FIFO
    DILS = bit(1)
    DPR = bit(0)


class Ccntl1(Reg8):
    """Chip Control One."""

    ZMOD = bit(7)
    DDAC = bit(3)           # no dual-address cycles
    TIMOD = bit(2)          # table entries: 0 an index of 64-bit selectors, 1 bits 39..32
    EN64TIBMV = bit(1)      # 64-bit table indirect moves
    EN64DBMV = bit(0)       # 64-bit direct moves
