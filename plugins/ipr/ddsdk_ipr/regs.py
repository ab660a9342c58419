"""Registers of the IBM Power Linux RAID adapters: one file of them, at two sets of offsets.

Every register is 32 bits wide and little-endian; everything the adapter reads from or writes to host memory is
big-endian (frames.py).

Sources: RHEL 4 drivers/scsi/ipr.h and ipr.c (89.29.1.EL, driver 2.0.11.6) for offsets and bits, as hw-ipr.md
sections 1 and 2 give them.  What the firmware answers where that is silent is a choice of the model's.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ddsdk.regs import Reg32, RegBlock, bit, ro, wo


class Interrupt(Reg32):
    """INT, INT_CLR, MASK, MASK_SET, MASK_CLR: what the adapter has to say to the host."""

    TO_OPER = bit(31)             # it became operational
    XFER_FAIL = bit(28)           # a request block could not be fetched
    UNIT_CHECK = bit(27)          # the firmware failed; a buffer may say why
    NO_HRRQ = bit(26)             # no host response queue to post to
    CRIT_OP = bit(25)             # flash is being written: do not reset now
    DBG_ACK = bit(24)             # handshake of a read through MAILBOX
    IOARRIN_LOST = bit(4)         # a write of IOARRIN was lost
    MMIO_ERR = bit(3)             # register access error
    PROC_ERR = bit(2)
    HRRQ_UPD = bit(1)             # the host response queue got an entry
    RST_REQ = bit(0)              # the core asks for a reset


class Uproc(Reg32):
    """UPROC, UPROC_SET, UPROC_CLR: what the host has to say to the adapter."""

    RESET_ALERT = bit(24)         # "you are about to be reset"; also part of the handshake of MAILBOX
    DBG_ALERT = bit(22)           # begins that handshake


class IprRegsL1(RegBlock, size=0x1000):
    """Gemstone, Citrine, Obsidian.  BAR 0; its size is not confirmed, the highest offset used is 0x42C."""

    UPROC = Uproc.at(0x214, ro)
    UPROC_SET = Uproc.at(0x214, wo)
    UPROC_CLR = Uproc.at(0x218, wo)
    INT = Interrupt.at(0x224, ro)             # before masking
    INT_CLR = Interrupt.at(0x228, wo)
    MASK = Interrupt.at(0x22C, ro)            # 1: masked
    MASK_SET = Interrupt.at(0x22C, wo)
    MASK_CLR = Interrupt.at(0x230, wo)
    IOARRIN = Reg32.at(0x404, wo)             # bus address of a request block: submits it
    MAILBOX = Reg32.at(0x42C)                 # address in, data out


class IprRegsL2(RegBlock, size=0x1000):
    """Snipe, Scamp: the same registers elsewhere."""

    INT = Interrupt.at(0x280, ro)
    INT_CLR = Interrupt.at(0x284, wo)
    MASK = Interrupt.at(0x288, ro)
    MASK_SET = Interrupt.at(0x288, wo)
    MASK_CLR = Interrupt.at(0x28C, wo)
    UPROC = Uproc.at(0x290, ro)
    UPROC_SET = Uproc.at(0x290, wo)
    UPROC_CLR = Uproc.at(0x294, wo)
    IOARRIN = Reg32.at(0x504, wo)
    MAILBOX = Reg32.at(0x52C)


#: Either set of offsets.
IprRegs = type[IprRegsL1] | type[IprRegsL2]

TO_OPER: Final = Interrupt.TO_OPER.mask
UNIT_CHECK: Final = Interrupt.UNIT_CHECK.mask
CRIT_OP: Final = Interrupt.CRIT_OP.mask
DBG_ACK: Final = Interrupt.DBG_ACK.mask
HRRQ_UPD: Final = Interrupt.HRRQ_UPD.mask
RESET_ALERT: Final = Uproc.RESET_ALERT.mask
DBG_ALERT: Final = Uproc.DBG_ALERT.mask

#: IPR_PCII_ERROR_INTERRUPTS: after any of these the adapter is reset.
ERROR_INTERRUPTS: Final = (Interrupt.XFER_FAIL.mask | UNIT_CHECK | Interrupt.NO_HRRQ.mask
                           | Interrupt.IOARRIN_LOST.mask | Interrupt.MMIO_ERR.mask)
#: IPR_PCII_OPER_INTERRUPTS: what is unmasked before the adapter is started.
OPER_INTERRUPTS: Final = ERROR_INTERRUPTS | HRRQ_UPD | TO_OPER
ALL_ONES: Final = 0xFFFFFFFF

#: Written once to UPROC_SET: initialise, destructive diagnostics allowed (a value, not one bit).
START: Final = 0x82800000
#: OR-ed into START on every start after the first that worked (2.0.11.4 on).
RUNTIME_RESET: Final = 0x40000000

PCI_VENDOR_ID_MYLEX: Final = 0x1069
PCI_VENDOR_ID_IBM: Final = 0x1014
PCI_VENDOR_ID_ADAPTEC2: Final = 0x9005


class PciDeviceId(IntEnum):
    """PCI device ids (RHEL 4 include/linux/pci_ids.h)."""

    GEMSTONE = 0xB166             # 1069
    CITRINE = 0x028C              # 1014
    SNIPE = 0x0180                # 1014
    SCAMP = 0x0503                # 9005
    OBSIDIAN = 0x02BD             # 1014
    OBSIDIAN_ADAPTEC = 0x0500     # 9005
    OBSIDIAN_E = 0x0339           # 1014
    SCAMP_E = 0x034A              # 1014


#: PCI-X capability: id, the command word's offset in it, its bits 0 (parity recovery) and 1 (relaxed ordering).
PCI_CAP_ID_PCIX: Final = 0x07
PCI_X_CMD: Final = 2
PCI_X_CMD_DPERR_E: Final = 0x0001
PCI_X_CMD_ERO: Final = 0x0002
CACHE_LINE_SIZE: Final = 0x20
