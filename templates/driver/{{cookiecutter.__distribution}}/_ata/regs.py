"""The registers of the {{cookiecutter.chip}}: BAR 0, 16 I/O ports, as PIIX has them.  Data sheet: README.md, "Registers"."""

from __future__ import annotations

from typing import Final

from ddsdk.regs import Reg8, Reg16, Reg32, RegBlock, bit, ro, w1c, wo

#: What a read gives that nobody answers: BM_STATUS has bits that are always zero.
GONE: Final = 0xFF
#: What the status of a drive that is not there reads as: pulled up, pulled up but for BSY, pulled down.
NO_DRIVE: Final = (0xFF, 0x7F, 0x00)


class Control(Reg8):
    """0x8, written: the drive's device control register."""

    HOB = bit(7)                        # the registers give the byte that was written before the last one
    SRST = bit(2)                       # both drives are reset, from this write on
    NIEN = bit(1)                       # the interrupt line stays down


class BmCommand(Reg8):
    """0x9: the bus master."""

    READ = bit(3)                       # it writes memory
    START = bit(0)                      # from 0 to 1: it begins; 0 stops it at once


class BmStatus(Reg8):
    """0xA: the bus master.  The other bits are zero."""

    INTR = bit(2, w1c)                  # the interrupt line has risen; a 1 clears it
    ERROR = bit(1, w1c)                 # the PCI bus refused; a 1 clears it
    ACTIVE = bit(0, ro)                 # not at the end of its table, and not stopped


class Regs(RegBlock, size=0x10):
    """The register file.  ERROR, STATUS and ALTSTATUS are read where FEATURE, COMMAND and CONTROL are written."""

    DATA = Reg16.at(0x0, port=True)     # a word of the block while DRQ
    ERROR = Reg8.at(0x1, ro)
    FEATURE = Reg8.at(0x1, wo)
    NSECTOR = Reg8.at(0x2)
    LBAL = Reg8.at(0x3)
    LBAM = Reg8.at(0x4)
    LBAH = Reg8.at(0x5)
    DEVICE = Reg8.at(0x6)               # bit 4: which drive; bits 3:0: LBA bits 27:24
    STATUS = Reg8.at(0x7, ro)           # reading it lowers the interrupt line
    COMMAND = Reg8.at(0x7, wo)
    ALTSTATUS = Reg8.at(0x8, ro)        # the same, without effect
    CONTROL = Control.at(0x8, wo)
    BM_COMMAND = BmCommand.at(0x9)
    BM_STATUS = BmStatus.at(0xA)
    PRD_TABLE = Reg32.at(0xC)           # bus address of the table, a multiple of 4
