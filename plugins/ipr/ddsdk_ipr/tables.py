"""What the adapter tells of itself: configuration table, mode page 28, INQUIRY, notifications, unit check buffer.

Big-endian; frames.py has the requests.  Sources: RHEL 4 drivers/scsi/ipr.h (2.0.11 and 2.0.11.6), as hw-ipr.md
sections 6.2, 7 and 9 give them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from ddsdk.abi import WIRE_BE
from ddsdk.layout import CStruct, c_struct, nested, pad, raw, u8, u16, u32

#: Volume sets are on this bus, the adapter's own entry on bus, target and LUN FF.
VSET_BUS: Final = 0xFF

# -- configuration -------------------------------------------------------------------------------------------


class Subtype(IntEnum):
    """ConfigTableEntry.rsvd_subtype, low nibble."""

    AF_DASD = 0                   # a member of the adapter's arrays; not a dump target
    GENERIC_SCSI = 1
    VOLUME_SET = 2
    GENERIC_ATA = 4


IS_IOA_RESOURCE: Final = 0x80
IS_ARRAY_MEMBER: Final = 0x20
IS_HOT_SPARE: Final = 0x10
UCODE_DOWNLOAD_REQ: Final = 0x10
QUEUE_FROZEN_MODEL: Final = 0
QUEUE_NACA_MODEL: Final = 1
SUBTYPE_MASK: Final = 0x0F
MAX_PHYSICAL_DEVS: Final = 192


def queueing_model(flags: int) -> int:
    """Bits 6:4 of ConfigTableEntry.flags (they overlap IS_ARRAY_MEMBER and IS_HOT_SPARE, as in the C header)."""
    return flags >> 4 & 0x07


@c_struct
class ResAddr(CStruct):
    """struct ipr_res_addr: where a device is."""

    reserved: bytes = pad(1)
    bus: int = u8()
    target: int = u8()
    lun: int = u8()


@c_struct
class StdInqData(CStruct):
    """struct ipr_std_inq_data: what a device answers to INQUIRY, 44 bytes."""

    peri_qual_dev_type: int = u8()
    removeable_medium_rsvd: int = u8()
    version: int = u8()
    aen_naca_fmt: int = u8()
    additional_len: int = u8()
    sccs_rsvd: int = u8()
    bq_enc_multi: int = u8()
    sync_cmdq_flags: int = u8()
    vendor_id: bytes = raw(8)
    product_id: bytes = raw(16)
    ros_rsvd_ram_rsvd: bytes = raw(4)
    serial_num: bytes = raw(8)


@c_struct
class ConfigTableEntry(CStruct):
    """struct ipr_config_table_entry: one resource, 64 bytes."""

    proto: int = u8()                 # "service level" in 2.0.11
    array_id: int = u8()
    flags: int = u8()
    rsvd_subtype: int = u8()
    res_addr: ResAddr = nested(ResAddr)
    res_handle: int = u32()
    reserved4: bytes = pad(8)
    std_inq_data: StdInqData = nested(StdInqData)


@c_struct
class ConfigTableHdr(CStruct):
    """struct ipr_config_table_hdr; the entries follow."""

    num_entries: int = u8()
    flags: int = u8()
    reserved: bytes = pad(2)


CONFIG_HDR_BYTES: Final = ConfigTableHdr.on(WIRE_BE).size
CONFIG_ENTRY_BYTES: Final = ConfigTableEntry.on(WIRE_BE).size
CONFIG_TABLE_BYTES: Final = CONFIG_HDR_BYTES + MAX_PHYSICAL_DEVS * CONFIG_ENTRY_BYTES


@c_struct
class SupportedDevice(CStruct):
    """struct ipr_supported_device: data of SET SUPPORTED DEVICES, 44 bytes."""

    data_length: int = u16()
    reserved: bytes = pad(1)
    num_records: int = u8()
    vendor_id: bytes = raw(8)
    product_id: bytes = raw(16)
    reserved2: bytes = pad(16)


@c_struct
class ModeParmHdr(CStruct):
    """struct ipr_mode_parm_hdr: MODE SENSE(6) header."""

    length: int = u8()                # bytes that follow this one
    medium_type: int = u8()
    device_spec_parms: int = u8()
    block_desc_len: int = u8()


@c_struct
class ModePage28(CStruct):
    """struct ipr_mode_page28: SCSI bus attributes; `num_entries` DevBusEntry follow."""

    ps_page_code: int = u8()
    page_length: int = u8()
    num_entries: int = u8()
    entry_length: int = u8()


@c_struct
class DevBusEntry(CStruct):
    """struct ipr_dev_bus_entry: one SCSI bus, 16 bytes."""

    res_addr: ResAddr = nested(ResAddr)
    flags: int = u8()
    scsi_id: int = u8()
    bus_width: int = u8()
    extended_reset_delay: int = u8()  # seconds
    max_xfer_rate: int = u32()        # 100 kHz units
    spinup_delay: int = u8()
    reserved3: bytes = pad(3)


MODE_PAGE_28: Final = 0x28
MODE_PAGE_PS: Final = 0x80
MODE_PAGES_BYTES: Final = 255
EXTENDED_RESET_DELAY: Final = 7


@c_struct
class InquiryPage3(CStruct):
    """struct ipr_inquiry_page3: the firmware's level, 24 bytes are asked for."""

    peri_qual_dev_type: int = u8()
    page_code: int = u8()
    reserved1: bytes = pad(1)
    page_length: int = u8()
    ascii_len: int = u8()
    reserved2: bytes = pad(3)
    load_id: bytes = raw(4)
    major_release: int = u8()
    card_type: int = u8()
    minor_release: bytes = raw(2)
    ptf_number: bytes = raw(4)
    patch_number: bytes = raw(4)


# -- notifications -------------------------------------------------------------------------------------------


class HcamCode(IntEnum):
    """HOST_CONTROLLED_ASYNC, CDB byte 1: what is asked for."""

    CONFIG_CHANGE = 0x01
    LOG_DATA = 0x02


class HcamOp(IntEnum):
    """Hcam.op_code."""

    CONFIG_CHANGE = 0xE1
    LOG_DATA = 0xE2


class NotifyType(IntEnum):
    """Hcam.notify_type."""

    EXISTING_CHANGED = 0x00
    NEW_ENTRY = 0x01
    REM_ENTRY = 0x02
    ERROR_LOG_ENTRY = 0x10
    INFORMATION_ENTRY = 0x11


NOTIFICATIONS_LOST: Final = 0x80


@c_struct
class Hcam(CStruct):
    """struct ipr_hcam up to its body, 24 bytes."""

    op_code: int = u8()
    notify_type: int = u8()
    notifications_lost: int = u8()
    flags: int = u8()
    overlay_id: int = u8()
    reserved1: bytes = pad(3)
    ilid: int = u32()
    time_since_last_ioa_reset: int = u32()
    reserved2: bytes = pad(4)
    length: int = u32()               # of the body


@c_struct
class HcamError(CStruct):
    """struct ipr_hostrcb_error: how the body of a log entry begins."""

    failing_dev_ioasc: int = u32()
    failing_dev_res_addr: ResAddr = nested(ResAddr)
    failing_dev_res_handle: int = u32()
    prc: int = u32()


HCAM_BYTES: Final = 2048              # later drivers; 1024 in 2.0.11


# -- the unit check buffer -----------------------------------------------------------------------------------

#: MAILBOX addresses, format 2: BAR in the top nibble.
FMT2_ADDR_MASK: Final = 0x0FFFFFFF
FMT2_BAR_SHIFT: Final = 28
FMT2_BARS: Final = (0, 1, 2, 3, 4, 5, 8)
SDT_READY_TO_USE: Final = 0xC4D4E3F2
SDT_ENDIAN: Final = 0x80
SDT_VALID_ENTRY: Final = 0x20


@c_struct
class SdtHeader(CStruct):
    """struct ipr_sdt_header: how the table begins that MAILBOX points to after a unit check."""

    state: int = u32()
    num_entries: int = u32()
    num_entries_used: int = u32()
    dump_size: int = u32()


@c_struct
class SdtEntry(CStruct):
    """struct ipr_sdt_entry: a piece of the adapter's memory."""

    bar_str_offset: int = u32()
    end_offset: int = u32()
    entry_byte: int = u8()
    reserved: bytes = pad(3)
    flags: int = u8()
    resv: bytes = pad(1)
    priority: int = u16()
