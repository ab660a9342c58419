"""What host and chip exchange in memory: SCBs, scatter/gather elements, queue entries, status IUs; SCSI messages.

All of it is little-endian but the status IU, which comes from the target.

Sources: aic79xx.h, aic79xx_core.c, scsi_iu.h (Linux 2.6.9, RHEL 4); SPI-4 rev 10, 16 (messages), 14.3 (IUs).
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

from ddsdk.layout import CStruct, c_struct, raw, u8, u16, u32, u64

from .sequencer import SCB_LIST_NULL, is_null, odd_parity

__all__ = [
    "CDB_INLINE_MAX", "CDB_MAX", "SCB_BYTES", "SCB_LIST_NULL", "Control", "HardwareScb", "Msg", "PprOption",
    "SgElement", "SgElement64", "SgFlag", "StatusIu", "TaskMgmt", "Upload", "busy_slot", "is_null", "odd_parity",
]

SCB_BYTES: Final = 64
#: A CDB of up to so many bytes leaves room for the sense buffer's address.
CDB_INLINE_MAX: Final = 12
CDB_MAX: Final = 16
#: cdb_len: the CDB is elsewhere, at the address in the first eight bytes.
CDB_LEN_PTR: Final = 0x80

# -- SCB -------------------------------------------------------------------------------------------------------


class Control:
    """HardwareScb.control.  Plain numbers: the path of every command makes no enums."""

    TARGET_SCB: Final = 0x80
    DISCENB: Final = 0x40
    TAG_ENB: Final = 0x20
    MK_MESSAGE: Final = 0x10
    STATUS_RCVD: Final = 0x08              # the firmware's
    DISCONNECTED: Final = 0x04             # the firmware's
    TAG_TYPE: Final = 0x03                 # 0 simple, 1 head of queue, 2 ordered


class SgFlag:
    """Low bits of HardwareScb.sgptr and Upload.residual_sgptr; lists are 8-byte aligned.  Plain numbers, too."""

    LIST_NULL: Final = 0x01                # no data at all; of the residual pointer: everything moved
    FULL_RESID: Final = 0x02               # nothing has moved yet
    OVERRUN_RESID: Final = 0x02            # of the residual pointer: the target wanted more
    STATUS_VALID: Final = 0x04             # the firmware's: look at status and residual


class TaskMgmt(IntFlag):
    """HardwareScb.task_management (SPI-4, SPI command IU, task management flags)."""

    NONE = 0x00
    ABORT_TASK = 0x01
    ABORT_TASK_SET = 0x02
    CLEAR_TASK_SET = 0x04
    LUN_RESET = 0x08
    TARGET_RESET = 0x20
    CLEAR_ACA = 0x40


@c_struct
class HardwareScb(CStruct):
    """One command, 64 bytes; the first 48 (Rev A: 56) go to the chip's slot `tag`."""

    cdb: bytes = raw(12)
    sense_busaddr: int = u32()              # CDB bytes 12 to 15 of a longer one
    tag: int = u16()
    control: int = u8()
    scsiid: int = u8()                      # target << 4 | our id
    lun: int = u8()
    task_attribute: int = u8()
    cdb_len: int = u8()
    task_management: int = u8()
    dataptr: int = u64()                    # first element of the list ...
    datacnt: int = u32()                    # ... bit 31: and its last
    sgptr: int = u32()                      # second element | SgFlag
    hscb_busaddr: int = u32()               # where this element is
    next_hscb_busaddr: int = u32()          # the one fetched after it
    pkt_long_lun: int = u64()               # Rev A
    spare: bytes = raw(8)


@c_struct
class Upload(CStruct):
    """The first 16 bytes of an SCB that the chip has written back."""

    residual_datacnt: int = u32()           # 23:0 bytes of the element that did not move
    residual_sgptr: int = u32()             # the element after it | SgFlag
    scsi_status: int = u8()
    left_over: bytes = raw(3)
    next_complete: int = u16()              # link of the completion list
    sense_busaddr_high: int = u16()


#: Upload.scsi_status: the status IU is in the sense buffer.
STATUS_PKT_SENSE: Final = 0xFF


@c_struct
class SgElement(CStruct):
    """Scatter/gather element of the 32- and 39-bit modes."""

    addr: int = u32()
    len: int = u32()                        # 23:0 bytes, 30:24 address bits 38:32, 31 last


@c_struct
class SgElement64(CStruct):
    """Scatter/gather element of the 64-bit mode."""

    addr: int = u64()
    len: int = u32()                        # 23:0 bytes, 31 last
    pad: int = u32()


SG_LEN_MASK: Final = 0x00FFFFFF
SG_HIGH_ADDR_MASK: Final = 0x7F
SG_HIGH_ADDR_SHIFT: Final = 24
SG_LAST_SEG: Final = 0x80000000
#: Elements of one command's list.
AHD_NSEG: Final = 128
SG_PTR_MASK: Final = 0xFFFFFFF8

#: An output queue entry: bit 15 valid (or invalid, pass by pass), below it the tag.
QOUT_VALID: Final = 0x8000


def busy_slot(target: int, lun: int) -> tuple[int, int]:
    """(slot, index in its SCB_DISCONNECTED_LISTS) of the untagged command that (target, lun) is busy with."""
    return lun | (target & 0x0C) << 4, target & 0x03


# -- status IU -------------------------------------------------------------------------------------------------


@c_struct
class StatusIu(CStruct):
    """SPI L_Q status information unit, big-endian, as it lies in the sense buffer; failure data, sense follow."""

    reserved: bytes = raw(2)
    flags: int = u8()                       # 01 packet failure data valid, 02 sense data valid
    status: int = u8()
    sense_length: int = u32()
    pkt_failures_length: int = u32()


SIU_RSPVALID: Final = 0x01
SIU_SNSVALID: Final = 0x02
#: Byte of the packet failure code, counted from the status IU's start, and a length that has it.
SIU_PKTFAIL_CODE_AT: Final = 15
SIU_PKTFAIL_CODE_LENGTH: Final = 4

# -- messages --------------------------------------------------------------------------------------------------


class Msg(IntEnum):
    """SCSI messages (SPI-4, 16)."""

    COMMAND_COMPLETE = 0x00
    EXTENDED = 0x01
    SAVE_DATA_POINTERS = 0x02
    RESTORE_POINTERS = 0x03
    DISCONNECT = 0x04
    INITIATOR_DETECTED_ERROR = 0x05
    ABORT_TASK_SET = 0x06
    MESSAGE_REJECT = 0x07
    NO_OPERATION = 0x08
    MESSAGE_PARITY_ERROR = 0x09
    TARGET_RESET = 0x0C                 # BUS DEVICE RESET
    ABORT_TASK = 0x0D                   # ABORT TAG
    SIMPLE_QUEUE_TAG = 0x20
    IGNORE_WIDE_RESIDUE = 0x23
    IDENTIFY = 0x80


#: Extended messages: code and length byte.
EXT_SDTR: Final = 0x01
EXT_SDTR_LEN: Final = 3
EXT_WDTR: Final = 0x03
EXT_WDTR_LEN: Final = 2
EXT_PPR: Final = 0x04
EXT_PPR_LEN: Final = 6
IDENTIFY_DISCONNECT: Final = 0x40


class PprOption(IntFlag):
    """Protocol options of a PARALLEL PROTOCOL REQUEST."""

    PCOMP_EN = 0x80
    RTI = 0x40
    RD_STRM = 0x20
    WR_FLOW = 0x10
    HOLD_MCS = 0x08
    QAS_REQ = 0x04
    DT_REQ = 0x02
    IU_REQ = 0x01
