"""What the chip reads and writes in host memory, little-endian: hw-aic7xxx.md 5; message bytes are spi.py's.

The first 32 bytes of an element move to the chip and back; once the command block is sent, its first twelve bytes hold
residuals and status.
"""

from __future__ import annotations

from typing import Final

from ddsdk.abi import WIRE_LE
from ddsdk.layout import CStruct, c_struct, raw, u8, u32

from .spi import EXT_LEN as EXT_LEN
from .spi import IDENTIFY_DISC as IDENTIFY_DISC
from .spi import IDENTIFY_LUN as IDENTIFY_LUN
from .spi import OFFSET_MAX as OFFSET_MAX
from .spi import PERIOD_ASYNC as PERIOD_ASYNC
from .spi import PERIOD_DT as PERIOD_DT
from .spi import PERIOD_ST as PERIOD_ST
from .spi import PPR_DT as PPR_DT
from .spi import RATE_CODES as RATE_CODES
from .spi import RATE_DT as RATE_DT
from .spi import RATE_SINGLE_EDGE as RATE_SINGLE_EDGE
from .spi import RATE_WIDE as RATE_WIDE
from .spi import Ext as Ext
from .spi import Msg as Msg

#: Bytes of an element of the SCB array; of what moves.
HSCB_BYTES: Final = 64
SCB_BYTES: Final = 32
#: Where a command block of 13 to 32 bytes lies in its element.
CDB32_OFFSET: Final = 32
CDB_INLINE: Final = 12

# CONTROL
STATUS_RCVD: Final = 0x80       # set by the firmware
DISCENB: Final = 0x40
TAG_ENB: Final = 0x20           # TAG_ENB | type is the tag message
MK_MESSAGE: Final = 0x10
DISCONNECTED: Final = 0x04
TAG_TYPE: Final = 0x03
# LUN
LUN_MASK: Final = 0x3F
XFER_LEN_ODD: Final = 0x80
# SGPTR
SG_LIST_NULL: Final = 0x01      # no data at all
SG_FULL_RESID: Final = 0x02     # nothing was transferred
SG_RESID_VALID: Final = 0x04    # this is an upload
SG_PTR_MASK: Final = 0xFFFFFFF8
# element and DATACNT
SG_LAST: Final = 0x80000000
SG_HIGH_MASK: Final = 0x7F000000        # address bits 38:32
SG_HIGH_SHIFT: Final = 24
SG_LEN_MASK: Final = 0x00FFFFFF
SG_BYTES: Final = 8


@c_struct
class HardwareScb(CStruct):
    """One element of the SCB array, as downloaded.  A CDB of more than 12 bytes: CDB is the address of CDB32."""

    CDB: bytes = raw(12)
    DATAPTR: int = u32()        # of the first segment, bits 31:0
    DATACNT: int = u32()        # the first element's second half
    SGPTR: int = u32()          # of the second element, and flags
    CONTROL: int = u8()
    SCSIID: int = u8()          # target << 4 | our id
    LUN: int = u8()
    TAG: int = u8()             # number of this element
    CDB_LEN: int = u8()
    SCSIRATE: int = u8()
    SCSIOFFSET: int = u8()
    NEXT: int = u8()            # number of the element to fetch after this one
    CDB32: bytes = raw(32)


@c_struct
class ScbStatus(CStruct):
    """The first twelve bytes once the CDB is gone."""

    RESIDUAL_DATACNT: int = u32()
    RESIDUAL_SGPTR: int = u32()
    SCSI_STATUS: int = u8()
    rest: bytes = raw(3)


@c_struct
class SgElement(CStruct):
    """One segment: hw-aic7xxx.md 5.1."""

    ADDRESS: int = u32()
    LENGTH: int = u32()         # 31 last, 30:24 address bits 38:32, 23:0 bytes


_OFFSET = HardwareScb.on(WIRE_LE).offsetof
#: Offsets in an element, and in the SCB window.
SCB_STATUS: Final = ScbStatus.on(WIRE_LE).offsetof("SCSI_STATUS")
SCB_RESIDUAL_SGPTR: Final = ScbStatus.on(WIRE_LE).offsetof("RESIDUAL_SGPTR")
SCB_DATAPTR: Final = _OFFSET("DATAPTR")
SCB_DATACNT: Final = _OFFSET("DATACNT")
SCB_SGPTR: Final = _OFFSET("SGPTR")
SCB_CONTROL: Final = _OFFSET("CONTROL")
SCB_SCSIID: Final = _OFFSET("SCSIID")
SCB_LUN: Final = _OFFSET("LUN")
SCB_TAG: Final = _OFFSET("TAG")
SCB_CDB_LEN: Final = _OFFSET("CDB_LEN")
SCB_SCSIRATE: Final = _OFFSET("SCSIRATE")
SCB_SCSIOFFSET: Final = _OFFSET("SCSIOFFSET")
SCB_NEXT: Final = _OFFSET("NEXT")

#: Shared memory (5.3): output queue, then the host's own log of the input queue.
QUEUE_ENTRIES: Final = 256
QOUT_OFFSET: Final = 0
QIN_OFFSET: Final = 256
SHARED_BYTES: Final = 512
#: An output queue entry that the host has not been given.
QOUT_EMPTY: Final = 0xFF
#: Entries are given back to the chip so many at a time.
QOUT_GROUP: Final = 4
#: Commands outstanding at most, for that reason.
QUEUE_MAX: Final = 253
