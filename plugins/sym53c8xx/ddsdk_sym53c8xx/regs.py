"""The register files of the 53C810, 53C895A and 53C1010: bytes, in groups of two and four, all reached in any size.

Each chip's block takes over the one before it and adds what the chip has more of.  Fields: reg_fields.py.

Sources: LSI53C895A Technical Manual v2.2, chapter 4; SYM53C810A Data Manual, chapter 5; LSI53C1000 Technical Manual
v2.1, chapter 4; Linux 2.6.9 drivers/scsi/sym53c8xx_2/sym_defs.h (struct sym_reg).  Reset values are those the manuals
give; where they give none, what QEMU 7.2's lsi53c895a shows after power-on, observed.
"""

from __future__ import annotations

from typing import Final

from ddsdk.regs import Reg8, Reg16, Reg24, Reg32, RegBlock, rc, ro

from .reg_fields import (
    Ccntl0,
    Ccntl1,
    Ctest2,
    Ctest3,
    Ctest4,
    Ctest5,
    Dcntl,
    Dien,
    Dmode,
    Dstat,
    Istat0,
    Istat1,
    Phase,
    Sbcl,
    Scid,
    Scntl0,
    Scntl1,
    Scntl2,
    Scntl3,
    Sien0,
    Sien1,
    Sist0,
    Sist1,
    Socl,
    Ssid,
    Sstat0,
    Sstat1,
    Sstat2,
    Stest1,
    Stest2,
    Stest3,
    Stest4,
    Stime0,
)

__all__ = [
    "ALL_ONES", "PCI_VENDOR_ID_LSI_LOGIC", "Ccntl0", "Ccntl1", "Ctest2", "Ctest3", "Ctest4", "Ctest5", "Dcntl",
    "Dien", "Dmode", "Dstat", "Istat0", "Istat1", "PciDeviceId", "Phase", "Regs810", "Regs895a", "Regs1010", "Sbcl",
    "Scid", "Scntl0", "Scntl1", "Scntl2", "Scntl3", "Sien0", "Sien1", "Sist0", "Sist1", "Socl", "Ssid", "Sstat0",
    "Sstat1", "Sstat2", "Stest1", "Stest2", "Stest3", "Stest4", "Stime0",
]

PCI_VENDOR_ID_LSI_LOGIC: Final = 0x1000
#: What a byte of a chip that does not answer reads as.
ALL_ONES: Final = 0xFF


class PciDeviceId:
    """Device ids (sym_defs.h)."""

    LSI_53C810 = 0x0001
    LSI_53C895A = 0x0012
    LSI_53C1010_33 = 0x0020


class Regs810(RegBlock, size=0x100, byte_access=True):
    """53C810: SCSI-2, 8 bits wide, no on-chip RAM."""

    SCNTL0 = Scntl0.at(0x00, reset=0xC0)
    SCNTL1 = Scntl1.at(0x01)
    SCNTL2 = Scntl2.at(0x02)
    SCNTL3 = Scntl3.at(0x03)
    SCID = Scid.at(0x04, reset=0x07)
    SXFER = Reg8.at(0x05)
    SDID = Reg8.at(0x06)
    GPREG = Reg8.at(0x07, reset=0x7F)
    SFBR = Reg8.at(0x08)                # written by SCRIPTS only
    SOCL = Socl.at(0x09)
    SSID = Ssid.at(0x0A, ro)
    SBCL = Sbcl.at(0x0B, ro)
    DSTAT = Dstat.at(0x0C, rc, reset=0x80)
    SSTAT0 = Sstat0.at(0x0D, ro)
    SSTAT1 = Sstat1.at(0x0E, ro)
    SSTAT2 = Sstat2.at(0x0F, ro, reset=0x02)
    DSA = Reg32.at(0x10)
    ISTAT0 = Istat0.at(0x14)
    CTEST0 = Reg8.at(0x18, reset=0xFF)
    CTEST1 = Reg8.at(0x19, ro, reset=0x00)
    CTEST2 = Ctest2.at(0x1A, reset=0x11)
    CTEST3 = Ctest3.at(0x1B)
    TEMP = Reg32.at(0x1C)
    DFIFO = Reg8.at(0x20)
    CTEST4 = Ctest4.at(0x21)
    CTEST5 = Ctest5.at(0x22)
    CTEST6 = Reg8.at(0x23)
    DBC = Reg24.at(0x24)
    DCMD = Reg8.at(0x27, reset=0x40)
    DNAD = Reg32.at(0x28)
    DSP = Reg32.at(0x2C)
    DSPS = Reg32.at(0x30)
    SCRATCHA = Reg32.at(0x34)
    DMODE = Dmode.at(0x38)
    DIEN = Dien.at(0x39)
    SBR = Reg8.at(0x3A)
    DCNTL = Dcntl.at(0x3B)
    ADDER = Reg32.at(0x3C, ro)
    SIEN0 = Sien0.at(0x40)
    SIEN1 = Sien1.at(0x41)
    SIST0 = Sist0.at(0x42, rc)
    SIST1 = Sist1.at(0x43, rc)
    SLPAR = Reg8.at(0x44)
    MACNTL = Reg8.at(0x46, reset=0x0F)
    GPCNTL = Reg8.at(0x47, reset=0x0F)
    STIME0 = Stime0.at(0x48)
    STIME1 = Reg8.at(0x49)
    RESPID0 = Reg8.at(0x4A, reset=0x80)
    STEST0 = Reg8.at(0x4C, ro)
    STEST1 = Stest1.at(0x4D)
    STEST2 = Stest2.at(0x4E)
    STEST3 = Stest3.at(0x4F)
    SIDL = Reg8.at(0x50, ro)
    SODL = Reg8.at(0x54)
    SBDL = Reg8.at(0x58, ro)
    SCRATCHB = Reg32.at(0x5C)


class Regs895a(Regs810):
    """53C895A: Ultra2, 16 bits wide, LVD; mailboxes, SRUN, phase mismatch jumps, 64-bit addresses, 8 KiB of RAM."""

    ISTAT1 = Istat1.at(0x15)
    MBOX0 = Reg8.at(0x16)
    MBOX1 = Reg8.at(0x17)
    SWIDE = Reg8.at(0x45, ro)
    RESPID1 = Reg8.at(0x4B)
    SIDL1 = Reg8.at(0x51, ro)
    STEST4 = Stest4.at(0x52, ro, reset=0xE0)
    SODL1 = Reg8.at(0x55)
    CCNTL0 = Ccntl0.at(0x56)
    CCNTL1 = Ccntl1.at(0x57)
    SBDL1 = Reg8.at(0x59, ro)
    SCRATCHC = Reg32.at(0x60, count=16)         # SCRATCHC to SCRATCHR
    MMRS = Reg32.at(0xA0)
    MMWS = Reg32.at(0xA4)
    SFS = Reg32.at(0xA8)
    DRS = Reg32.at(0xAC)
    SBMS = Reg32.at(0xB0)
    DBMS = Reg32.at(0xB4)
    DNAD64 = Reg32.at(0xB8)
    PMJAD1 = Reg32.at(0xC0)
    PMJAD2 = Reg32.at(0xC4)
    RBC = Reg32.at(0xC8)
    UA = Reg32.at(0xCC)
    ESA = Reg32.at(0xD0)
    IA = Reg32.at(0xD4)
    SBC = Reg32.at(0xD8)
    CSBC = Reg32.at(0xDC)


class Regs1010(Regs895a):
    """53C1010 (LSI53C1000 core): Ultra160; CRC, and a register that counts what is left in the DMA FIFO."""

    SCNTL4 = Reg8.at(0xBC)
    AIPCNTL0 = Reg8.at(0xBE)
    AIPCNTL1 = Reg8.at(0xBF)
    CRCPAD = Reg16.at(0xE0)
    CRCCNTL0 = Reg8.at(0xE2)
    CRCCNTL1 = Reg8.at(0xE3)
    CRCDATA = Reg32.at(0xE4)
    DFBC = Reg16.at(0xF0, ro)
