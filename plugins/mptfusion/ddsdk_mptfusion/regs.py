"""Fusion-MPT system interface registers, as MPI 1.x lays them out; the table is the data sheet's page.

Every register is 32 bits wide and little-endian.  The I/O window shows the same file as the first 256 bytes
of the memory window, so a driver may use either; only these offsets answer.

Sources: LSI Logic mpi.h 01.05.13 ("PCI System Interface Registers"; FreeBSD sys/dev/mpt/mpilib) for offsets
and bits; Linux 2.6.9 mptbase.c for the order of accesses; QEMU 7.2 mptsas1068, observed, for what reads back.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ddsdk.regs import Reg32, RegBlock, bit, bits, ro, rw, wo


class IocState(IntEnum):
    """Doorbell 31:28 (mpi.h, "IOC State Definitions").  A chip that is gone reads 15, which is no state."""

    RESET = 0x0           # nothing is legal but waiting, or an IO unit reset
    READY = 0x1           # handshake messages: IOCFacts, PortFacts, IOCInit
    OPERATIONAL = 0x2     # everything
    FAULT = 0x4           # 15:0 is the fault code; only a hard reset leaves it


class WhoInit(IntEnum):
    """Doorbell 26:24 and IOCInit 00: who brought the IOC to OPERATIONAL (mpi_ioc.h, "WhoInit values")."""

    NO_ONE = 0
    SYSTEM_BIOS = 1
    ROM_BIOS = 2
    PCI_PEER = 3          # another PCI device owns the IOC; it must not be reset from here
    HOST_DRIVER = 4
    MANUFACTURER = 5


class DoorbellFunction(IntEnum):
    """Doorbell write 31:24 (mpi.h, "Message Functions"); these never appear in a request frame."""

    NONE = 0x00
    IOC_MESSAGE_UNIT_RESET = 0x40
    IO_UNIT_RESET = 0x41
    HANDSHAKE = 0x42


class FaultCode(IntEnum):
    """Doorbell 15:0 in FAULT.

    0x8111..0x8118: mpi.h, "Fault state codes".  The low ones are the IOCStatus number of what went wrong and
    are what QEMU 7.2 shows; firmware uses product codes there that LSI never published.
    """

    INVALID_FUNCTION = 0x0001                     # unknown function, or SCSI I/O by handshake
    INSUFFICIENT_RESOURCES = 0x0006               # no free reply frame, free list or request FIFO overrun
    INVALID_STATE = 0x0008                        # request posted while not OPERATIONAL
    REQUEST_MESSAGE_PCI_PARITY_ERROR = 0x8111
    REQUEST_MESSAGE_PCI_BUS_FAULT = 0x8112
    REPLY_MESSAGE_PCI_PARITY_ERROR = 0x8113
    REPLY_MESSAGE_PCI_BUS_FAULT = 0x8114
    DATA_SEND_PCI_PARITY_ERROR = 0x8115
    DATA_SEND_PCI_BUS_FAULT = 0x8116
    DATA_RECEIVE_PCI_PARITY_ERROR = 0x8117
    DATA_RECEIVE_PCI_BUS_FAULT = 0x8118


class Doorbell(Reg32):
    """0x00 read: the IOC's state; during a handshake reply 15:0 is the next word of it."""

    STATE = bits(31, 28, IocState, ro)
    USED = bit(27, ro)                            # a handshake is under way
    WHO_INIT = bits(26, 24, WhoInit, ro)
    DATA = bits(15, 0, int, ro)                   # fault code, or handshake data word


class DoorbellWrite(Reg32):
    """0x00 write: a doorbell function, or a dword of a handshake request (then the fields mean nothing)."""

    FUNCTION = bits(31, 24, DoorbellFunction, wo)
    ADD_DWORDS = bits(23, 16, int, wo)            # HANDSHAKE: request length in dwords
    SPECIFIC = bits(15, 0, int, wo)


class WriteSequence(Reg32):
    """0x04: five keys in a row switch Diagnostic writes on; anything else switches them off."""

    KEY = bits(3, 0, int, wo)


class Diagnostic(Reg32):
    """0x08: writes count only while DRWE reads 1."""

    CLEAR_FLASH_BAD_SIG = bit(10)
    PREVENT_IOC_BOOT = bit(9)
    DRWE = bit(7, ro)                             # diagnostic register write enable
    FLASH_BAD_SIG = bit(6, ro)
    RESET_HISTORY = bit(5)                        # set by every hard reset, stays until written 0
    RW_ENABLE = bit(4)
    RESET_ADAPTER = bit(2)
    DISABLE_ARM = bit(1)
    MEM_ENABLE = bit(0)


class HostInterruptStatus(Reg32):
    """0x30: shows events whether IntMask lets them through or not.  A write, of anything, drops DOORBELL."""

    IOP_DOORBELL_STATUS = bit(31, ro)             # the IOC has not taken the last doorbell write yet
    REPLY_MESSAGE = bit(3, ro)                    # the reply post FIFO is not empty
    DOORBELL = bit(0, ro)


class HostInterruptMask(Reg32):
    """0x34: 1 keeps the event off the interrupt line.  A polled driver runs with both bits set."""

    RIM = bit(3)                                  # reply message interrupt
    DIM = bit(0)                                  # doorbell interrupt


class MptRegs(RegBlock, size=0x80):
    """The register file, lowest 128 bytes of the I/O window and of the first memory window."""

    DOORBELL = Doorbell.at(0x00, ro)
    DOORBELL_WRITE = DoorbellWrite.at(0x00, wo)
    WRITE_SEQUENCE = WriteSequence.at(0x04, wo)
    DIAGNOSTIC = Diagnostic.at(0x08)
    TEST_BASE_ADDRESS = Reg32.at(0x0C, rw)        # firmware loading only, like the next two
    DIAG_RW_DATA = Reg32.at(0x10, rw)
    DIAG_RW_ADDRESS = Reg32.at(0x14, rw)
    HOST_INTERRUPT_STATUS = HostInterruptStatus.at(0x30, rw)
    HOST_INTERRUPT_MASK = HostInterruptMask.at(0x34)
    REQUEST_FIFO = Reg32.at(0x40, wo)             # low 32 bits of a request frame's bus address
    REPLY_FIFO = Reg32.at(0x44, ro)               # pops a reply descriptor; REPLY_FIFO_EMPTY if none
    REPLY_FREE_FIFO = Reg32.at(0x44, wo)          # pushes a reply frame's bus address on the free list
    HI_PRI_REQUEST_FIFO = Reg32.at(0x48, wo)      # only with IOCCapabilities.HIGH_PRI_Q


#: Written to WRITE_SEQUENCE in this order; the leading 0xFF resynchronises the matcher (mptbase.c, 2.6.9).
WRITE_SEQUENCE_KEYS: Final = (0xFF, 0x04, 0x0B, 0x02, 0x07, 0x0D)

#: What the key matcher compares, bits 3:0 only (mpi.h, MPI_WRSEQ_*_KEY_VALUE).
UNLOCK_KEYS: Final = (0x4, 0xB, 0x2, 0x7, 0xD)

#: Both interrupts masked.
HIM_MASK_ALL: Final = HostInterruptMask(0x9)

# Message frame descriptors (mpi.h, "Message Frame Descriptors").
REQ_MF_DESCRIPTOR_NB_MASK: Final = 0x00000003         # extra BlockSize blocks worth prefetching, a hint
REQ_MF_DESCRIPTOR_F_BIT: Final = 0x00000004           # another frame type; never set by a SCSI initiator
REQ_MF_DESCRIPTOR_ADDRESS_MASK: Final = 0xFFFFFFF8
REPLY_FIFO_EMPTY: Final = 0xFFFFFFFF
ADDRESS_REPLY_A_BIT: Final = 0x80000000               # 1: address reply, 0: context reply
ADDRESS_REPLY_ADDRESS_MASK: Final = 0x7FFFFFFF        # frame address >> 1


class PciDeviceId(IntEnum):
    """PCI device ids of the family under vendor 0x1000 (mpi_cnfg.h, device identifiers)."""

    LSI_53C1030 = 0x0030                          # Ultra320 SPI, two functions
    LSI_53C1030ZC = 0x0031
    LSI_1030_53C1035 = 0x0032
    LSI_1030ZC_53C1035 = 0x0033
    LSI_53C1035 = 0x0040
    LSI_53C1035ZC = 0x0041
    LSI_SAS1064 = 0x0050
    LSI_SAS1068 = 0x0054
    LSI_SAS1064E = 0x0056
    LSI_SAS1068E = 0x0058
    LSI_SAS1066E = 0x005A
    LSI_SAS1064A = 0x005C
    LSI_SAS1066 = 0x005E
    LSI_SAS1078 = 0x0062
    LSI_FC909 = 0x0621
    LSI_FC929 = 0x0622
    LSI_FC919 = 0x0624
    LSI_FC929X = 0x0626
    LSI_FC919X = 0x0628


PCI_VENDOR_ID_LSI_LOGIC: Final = 0x1000
