"""Registers of PIIX function 1 (IDE) and of the drives behind it; the tables are the data sheet's pages.

Sources: Intel 82371AB (PIIX4) data sheet, April 1997, 4.1 (PCI configuration registers of function 1) and 5.2 (bus
master registers); Intel 82371FB/82371SB (PIIX, PIIX3) data sheet for what PIIX3 lacks; Linux 2.6.9
drivers/ide/pci/piix.c for the values that go with each mode; ATA/ATAPI-6 (T13/1410D rev 3), 7 for the drive's
registers; hw-ide.md 1 and 2.
"""

from __future__ import annotations

from typing import Final

from ddsdk.regs import Reg8, Reg16, Reg32, RegBlock, bit, bits, ro, w1c, wo

PCI_VENDOR_ID_INTEL: Final = 0x8086
PIIX3_IDE: Final = 0x7010           # 82371SB function 1
PIIX4_IDE: Final = 0x7111           # 82371AB function 1
#: Both channels in compatibility mode, bus master.
CLASS_CODE: Final = 0x010180
#: Where the channels are then (BARs 0 to 3 are not implemented): command block, control block.
COMPATIBLE_PORTS: Final = ((0x1F0, 0x3F6), (0x170, 0x376))

#: What a port reads as that nobody decodes, or a cable with nothing on it.
GONE: Final = 0xFF
#: The status of a drive that is not there: pulled up, pulled up but for BSY, or given for it by the other drive.
NO_DRIVE: Final = (0xFF, 0x7F, 0x00)


# -- the drive -------------------------------------------------------------------------------------------------


class Control(Reg8):
    """Device control, written at the control block's one port (ATA/ATAPI-6, 7.8)."""

    HOB = bit(7)                        # count and LBA registers give the byte written before the last one
    SRST = bit(2)                       # both drives are reset while it is set
    NIEN = bit(1)                       # the selected drive keeps its interrupt to itself


class CommandBlock(RegBlock, size=8):
    """Ports 1F0 or 170.  1 to 5 are two bytes deep: a 48-bit command writes each twice, high byte first."""

    DATA = Reg16.at(0x0, port=True)     # a word of the block while DRQ; 32 bits wide it is two words, the first one low
    ERROR = Reg8.at(0x1, ro)
    FEATURE = Reg8.at(0x1, wo)
    NSECTOR = Reg8.at(0x2)
    LBAL = Reg8.at(0x3)
    LBAM = Reg8.at(0x4)
    LBAH = Reg8.at(0x5)
    DEVICE = Reg8.at(0x6)               # bit 6: LBA; bit 4: which drive; 3:0: LBA 27:24
    STATUS = Reg8.at(0x7, ro)           # reading it ends the interrupt
    COMMAND = Reg8.at(0x7, wo)


class ControlBlock(RegBlock, size=1):
    """Port 3F6 or 376."""

    ALTSTATUS = Reg8.at(0x0, ro)        # STATUS, and nothing happens
    CONTROL = Control.at(0x0, wo)


# -- the bus master --------------------------------------------------------------------------------------------


class BmCommand(Reg8):
    """BMICX.  Direction is not changed while it is active."""

    RWCON = bit(3)                      # 1: it writes memory, a read of the disk
    SSBM = bit(0)                       # from 0 to 1 it starts; 0 stops it at once, and all it knew is lost


class BmStatus(Reg8):
    """BMISX.  Bits 7, 4 and 3 are always 0, so that it never reads as all ones."""

    DMA1CAP = bit(6)                    # drive 1, drive 0 set up for DMA: notes of the software to itself
    DMA0CAP = bit(5)
    IDEINTS = bit(2, w1c)               # the interrupt line has risen, and all data is where it belongs
    ERROR = bit(1, w1c)                 # target or master abort on the PCI bus
    BMIDEA = bit(0, ro)                 # active: started, and not at the end of its table


class BusMaster(RegBlock, size=0x10):
    """BAR 4: [0] is the primary channel's, [1] the secondary's.  Reserved bytes read as FF in QEMU."""

    COMMAND = BmCommand.at(0x0, count=2, stride=8)
    RESERVED1 = Reg8.at(0x1, ro, count=2, stride=8)
    STATUS = BmStatus.at(0x2, count=2, stride=8)
    RESERVED3 = Reg8.at(0x3, ro, count=2, stride=8)
    TABLE = Reg32.at(0x4, count=2, stride=8)    # bus address of the PRD table; bits 1:0 are 0


# -- configuration space ---------------------------------------------------------------------------------------

IDETIM: Final = (0x40, 0x42)            # 16 bits, by channel
SIDETIM: Final = 0x44                   # 8 bits: drive 1 of both channels
UDMACTL: Final = 0x48                   # 8 bits, PIIX4
UDMATIM: Final = 0x4A                   # 16 bits, PIIX4
PCI_COMMAND: Final = 0x04
PCI_COMMAND_IO: Final = 0x1
PCI_COMMAND_MASTER: Final = 0x4


class IdeTim(Reg16):
    """IDETIM, one a channel.  ISP and RTC are drive 0's, and drive 1's too unless SITRE is set."""

    IDE = bit(15)                       # the channel's ports are decoded
    SITRE = bit(14)                     # SIDETIM has drive 1's sample point and recovery time
    ISP = bits(13, 12)                  # IORDY sample point: 5 clocks less this
    RTC = bits(9, 8)                    # recovery time: 4 clocks less this
    DTE1 = bit(7)                       # drive 1: fast timing for DMA only
    PPE1 = bit(6)                       # prefetch and posting
    IE1 = bit(5)                        # IORDY is sampled
    TIME1 = bit(4)                      # fast timing
    DTE0 = bit(3)
    PPE0 = bit(2)
    IE0 = bit(1)
    TIME0 = bit(0)


class SlaveTim(Reg8):
    """SIDETIM: two bits of sample point and two of recovery time for each channel's drive 1."""

    SISP1 = bits(7, 6)
    SRTC1 = bits(5, 4)
    PISP1 = bits(3, 2)
    PRTC1 = bits(1, 0)


class UdmaCtl(Reg8):
    """UDMACTL: which drives do Ultra DMA."""

    SSDE1 = bit(3)                      # secondary channel, drive 1
    SSDE0 = bit(2)
    PSDE1 = bit(1)
    PSDE0 = bit(0)


class UdmaTim(Reg16):
    """UDMATIM: Ultra DMA cycle time of each drive, 4 clocks less this: the mode's number."""

    SCT1 = bits(13, 12)
    SCT0 = bits(9, 8)
    PCT1 = bits(5, 4)
    PCT0 = bits(1, 0)
