"""The taskfile as a drive meets it: registers, status and error bits, command codes.

Source: ATA/ATAPI-6 (T13/1410D rev 3), 6.2, 7 and 8; hw-ide.md 2 and 3.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

# status register
BSY = 0x80
DRDY = 0x40
DF = 0x20
DSC = 0x10
DRQ = 0x08
CORR = 0x04
ERR = 0x01

# error register
ICRC = 0x80
UNC = 0x40
MC = 0x20
IDNF = 0x10
ABRT = 0x04
#: Diagnostic code after a reset: device 0 passed.
PASSED = 0x01

#: Device register: the address is an LBA, not a cylinder.
LBA = 0x40

LBA28_MAX = 0x0FFF_FFFF     # sectors


class Protocol(Enum):
    """How a command moves its data.  `to_device`: the host gives it; `dma`: a bus master moves it."""

    to_device: bool
    dma: bool

    NON_DATA = "no data"
    PIO_IN = "PIO, device to host"
    PIO_OUT = "PIO, host to device"
    DMA_IN = "DMA, device to host"
    DMA_OUT = "DMA, host to device"

    def __init__(self, text: str) -> None:
        self.to_device = text.endswith("host to device")
        self.dma = text.startswith("DMA")


class Taskfile(NamedTuple):
    """Command block registers, one byte each; `hob_*` what was in the register's FIFO before ("previous").

    As a result: what the host reads back, the error and status registers apart.
    """

    command: int = 0
    feature: int = 0
    nsector: int = 0
    lbal: int = 0
    lbam: int = 0
    lbah: int = 0
    device: int = 0
    hob_feature: int = 0
    hob_nsector: int = 0
    hob_lbal: int = 0
    hob_lbam: int = 0
    hob_lbah: int = 0

    def sector(self, ext: bool) -> int:
        """The LBA: 48 bits of a command *ext*, else 28."""
        low = self.lbah << 16 | self.lbam << 8 | self.lbal
        if ext:
            return (self.hob_lbah << 16 | self.hob_lbam << 8 | self.hob_lbal) << 24 | low
        return (self.device & 0x0F) << 24 | low

    def sectors(self, ext: bool) -> int:
        """The sector count: 0 is 65536 of a command *ext*, else 256."""
        return (self.hob_nsector << 8 | self.nsector or 1 << 16) if ext else self.nsector or 1 << 8

    def at(self, sector: int, sectors: int, ext: bool) -> Taskfile:
        """These registers with another LBA and count, as the drive leaves them."""
        low, high = sector & 0xFFFFFF, sector >> 24
        lba = low & 0xFF, low >> 8 & 0xFF, low >> 16
        if not ext:
            return Taskfile(self.command, self.feature, sectors & 0xFF, *lba, self.device & 0xF0 | high & 0x0F,
                            *self[7:])
        return Taskfile(self.command, self.feature, sectors & 0xFF, *lba, self.device, self.hob_feature,
                        sectors >> 8 & 0xFF, high & 0xFF, high >> 8 & 0xFF, high >> 16 & 0xFF)


#: What a disk's registers hold after a reset (ATA/ATAPI-6, 9.12).
SIGNATURE = Taskfile(nsector=0x01, lbal=0x01)


class AtaResult(NamedTuple):
    """How a command ended: status and error registers, the others, bytes moved.

    `hang`: it never ends; the rest is then meaningless and BSY stays up until a reset.
    """

    status: int
    error: int = 0
    taskfile: Taskfile = SIGNATURE
    transferred: int = 0
    hang: bool = False


# commands, by the standard's names
READ_SECTORS = 0x20
READ_SECTORS_EXT = 0x24
READ_DMA_EXT = 0x25
READ_MULTIPLE_EXT = 0x29
WRITE_SECTORS = 0x30
WRITE_SECTORS_EXT = 0x34
WRITE_DMA_EXT = 0x35
WRITE_MULTIPLE_EXT = 0x39
READ_VERIFY_SECTORS = 0x40
READ_VERIFY_SECTORS_EXT = 0x42
EXECUTE_DEVICE_DIAGNOSTIC = 0x90
READ_MULTIPLE = 0xC4
WRITE_MULTIPLE = 0xC5
SET_MULTIPLE_MODE = 0xC6
READ_DMA = 0xC8
WRITE_DMA = 0xCA
STANDBY_IMMEDIATE = 0xE0
IDLE_IMMEDIATE = 0xE1
STANDBY = 0xE2
IDLE = 0xE3
CHECK_POWER_MODE = 0xE5
SLEEP = 0xE6
FLUSH_CACHE = 0xE7
FLUSH_CACHE_EXT = 0xEA
IDENTIFY_DEVICE = 0xEC
SET_FEATURES = 0xEF

# subcommands of SET FEATURES
ENABLE_WRITE_CACHE = 0x02
SET_TRANSFER_MODE = 0x03
DISABLE_REVERTING = 0x66
DISABLE_WRITE_CACHE = 0x82
ENABLE_REVERTING = 0xCC

# transfer modes: the count of SET FEATURES 03
PIO_DEFAULT = 0x00
PIO_DEFAULT_NO_IORDY = 0x01
PIO_MODE = 0x08
MWDMA_MODE = 0x20
UDMA_MODE = 0x40
