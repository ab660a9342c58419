"""What the {{cookiecutter.chip}} reads and writes in memory, little-endian.  Data sheet: README.md, "Request block"."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ddsdk.layout import CStruct, c_struct, pad, raw, u8, u16, u32, u64

#: A request block's size and alignment; its last 16 bytes are the StatusBlock.
BLOCK_BYTES: Final = 64
STATUS_OFFSET: Final = 48

#: A tag: bits 7:0 the request's number, 30:8 how often it was used, 31 zero.
TAG_NUMBER: Final = 0xFF
TAG_USE: Final = 0x100
TAG_MASK: Final = 0x7FFFFFFF


class Direction(IntEnum):
    """RequestBlock.DIRECTION."""

    NONE = 0
    TO_DEVICE = 1
    FROM_DEVICE = 2


class Outcome(IntEnum):
    """StatusBlock.OUTCOME: what became of the request."""

    ENDED = 0x00            # the target answered: look at SCSI_STATUS
    NO_TARGET = 0x01        # nobody answered the selection
    OVERRUN = 0x02          # the target wants to move more than LENGTH, or the other way
    DMA_ERROR = 0x03        # target abort or master abort on the PCI bus
    PARITY = 0x04           # on the SCSI bus
    RESET = 0x05            # its target was reset, by RESET_TARGET or by somebody else
    ABORTED = 0x06          # by the ABORT register
    SENSE_FAILED = 0x07     # CHECK CONDITION, and the sense data could not be fetched


@c_struct
class RequestBlock(CStruct):
    """The driver's part of a request block: offset 0, 48 bytes."""

    TAG: int = u32()
    ID: int = u8()
    LUN: int = u8()
    DIRECTION: int = u8()
    CDB_LENGTH: int = u8()
    CDB: bytes = raw(16)
    LENGTH: int = u32()             # bytes to move
    SEGMENTS: int = u16()           # elements of the scatter list
    SENSE_LENGTH: int = u8()
    RESERVED: int = u8()            # 0
    LIST: int = u64()               # bus address of the scatter list
    SENSE: int = u64()              # bus address of the sense buffer


@c_struct
class StatusBlock(CStruct):
    """The adapter's part: offset 48, 16 bytes, written before the tag appears in DONE."""

    OUTCOME: int = u8()
    SCSI_STATUS: int = u8()
    SENSE_COUNT: int = u8()         # bytes of sense data written to SENSE
    Reserved1: bytes = pad(1)
    MOVED: int = u32()              # bytes moved
    Reserved2: bytes = pad(8)


@c_struct
class ScatterElement(CStruct):
    """One element of a scatter list, 16 bytes."""

    ADDRESS: int = u64()
    LENGTH: int = u32()
    RESERVED: int = u32()           # 0
