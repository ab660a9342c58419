"""Registers of a toy IDE interface with one channel: a command block, a control register, a bus master.

The layout is PIIX's (hw-ide.md 2), all of it in one I/O BAR.
"""

from __future__ import annotations

from ddsdk.regs import Reg8, Reg16, Reg32, RegBlock, bit, ro, rw, w1c, wo


class BmCommand(Reg8):
    """Bus master command."""

    START = bit(0, rw)
    READ = bit(3, rw)           # device to memory


class BmStatus(Reg8):
    """Bus master status."""

    ACTIVE = bit(0, ro)
    ERROR = bit(1, w1c)
    INTR = bit(2, w1c)


class ToyRegs(RegBlock, size=0x10):
    """ERROR, STATUS and ALTSTATUS are read where FEATURE, COMMAND and CONTROL are written."""

    DATA = Reg16.at(0x0, port=True)
    ERROR = Reg8.at(0x1, ro)
    FEATURE = Reg8.at(0x1, wo)
    NSECTOR = Reg8.at(0x2)
    LBAL = Reg8.at(0x3)
    LBAM = Reg8.at(0x4)
    LBAH = Reg8.at(0x5)
    DEVICE = Reg8.at(0x6)
    STATUS = Reg8.at(0x7, ro)
    COMMAND = Reg8.at(0x7, wo)
    ALTSTATUS = Reg8.at(0x8, ro)
    CONTROL = Reg8.at(0x8, wo)
    BM_COMMAND = BmCommand.at(0x9)
    BM_STATUS = BmStatus.at(0xA)
    PRD_TABLE = Reg32.at(0xC)
