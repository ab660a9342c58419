"""Requests, as driver and adapter share them in host memory.  Big-endian, all of it.

Member names are those of the C structs; `T.on(WIRE_BE)` gives the layout, tests/test_frames.py every offset.
Status codes are in ioasc.py, what the adapter tells of itself in tables.py.  Sources: RHEL 4 drivers/scsi/ipr.h
(2.0.11 and 2.0.11.6), as hw-ipr.md sections 3 to 6 give them.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

from ddsdk.layout import CStruct, c_struct, nested, pad, raw, u8, u16, u32

from . import ioasc as ioasc
from . import tables as tables

# -- numbers -------------------------------------------------------------------------------------------------

#: Command blocks: 100 for the mid-layer, 4 HCAMs, 2 x (3 reset retries + 1), 3 more.  The host response queue
#: has a slot for each.
NUM_CMD_BLKS: Final = 115
MAX_SGLIST: Final = 64
#: Descriptors that fit into the request block itself (2.0.11.6).
INLINE_IOADLS: Final = 5
IOA_RES_HANDLE: Final = 0xFFFFFFFF
INVALID_RES_HANDLE: Final = 0
SCSI_SENSE_BUFFERSIZE: Final = 96

#: Words of the host response queue.
HRRQ_HANDLE_MASK: Final = 0xFFFFFFFC
HRRQ_RESP_BIT: Final = 0x00000002         # named by the driver, and ignored
HRRQ_TOGGLE_BIT: Final = 0x00000001
HRRQ_HANDLE_SHIFT: Final = 2

#: IOASA bytes: 24 raw words behind byte 32 in 2.0.11, autosense from 2.0.11.4 on.
IOASA_BYTES_FIRST: Final = 128
IOASA_BYTES: Final = 144


class RequestType(IntEnum):
    """Command packet byte 2."""

    SCSICDB = 0x00
    IOACMD = 0x01
    HCAM = 0x02
    ATA_PASSTHRU = 0x04


class FlagsHi(IntFlag):
    """Command packet byte 4."""

    WRITE_NOT_READ = 0x80
    NO_ULEN_CHK = 0x20            # less data than asked for is no error
    SYNC_OVERRIDE = 0x10          # goes past a frozen queue and leaves it frozen
    SYNC_COMPLETE = 0x08          # thaws a frozen queue
    NO_LINK_DESC = 0x04


class FlagsLo(IntFlag):
    """Command packet byte 5; the task attribute is bits 3:1."""

    ALIGNED_BFR = 0x20
    DELAY_AFTER_RST = 0x10
    ACA_TASK = 0x08
    ORDERED_TASK = 0x04
    SIMPLE_TASK = 0x02
    UNTAGGED_TASK = 0x00


class IoaOpcode(IntEnum):
    """Opcodes of the adapter itself."""

    QUERY_RSRC_STATE = 0xC2
    RESET_DEVICE = 0xC3
    ID_HOST_RR_Q = 0xC4
    QUERY_IOA_CONFIG = 0xC5
    CANCEL_ALL_REQUESTS = 0xCE
    HOST_CONTROLLED_ASYNC = 0xCF
    IOA_SHUTDOWN = 0xF7
    SET_SUPPORTED_DEVICES = 0xFB


#: RESET_DEVICE, CDB byte 2; all 0 resets the device that the handle names.
RESET_TYPE_SELECT: Final = 0x80
LUN_RESET: Final = 0x40
TARGET_RESET: Final = 0x20
BUS_RESET: Final = 0x10


class ShutdownType(IntEnum):
    """IOA_SHUTDOWN, CDB byte 1; NONE is the driver's."""

    NORMAL = 0x00
    PREPARE_FOR_NORMAL = 0x40
    ABBREV = 0x80
    NONE = 0x100


class IoadlFlags(IntFlag):
    """Byte 0 of a data descriptor."""

    READ = 0x48
    WRITE = 0x68
    LAST = 0x01


IOADL_LEN_MASK: Final = 0x00FFFFFF
IOADL_FLAGS_SHIFT: Final = 24

#: IOASA.ioasc_specific.
AUTOSENSE_VALID: Final = 0x40000000
FIELD_POINTER_VALID: Final = 0x00800000
FIELD_POINTER_MASK: Final = 0x0000FFFF
#: IOASA.ilid: the adapter logged nothing; the driver filled it in.
NO_ILID: Final = 0
DRIVER_ILID: Final = 0xFFFFFFFF

# -- requests ------------------------------------------------------------------------------------------------


@c_struct
class CmdPkt(CStruct):
    """struct ipr_cmd_pkt: what the adapter, or the device, is to do."""

    reserved: bytes = pad(2)
    request_type: int = u8()
    luntar_luntrn: int = u8()
    flags_hi: int = u8()
    flags_lo: int = u8()
    cdb: bytes = raw(16)
    timeout: int = u16()              # seconds, 0: none set by the host


@c_struct
class Ioarcb(CStruct):
    """struct ipr_ioarcb: a request block, 128 bytes; its bus address is written to IOARRIN."""

    ioarcb_host_pci_addr: int = u32()
    reserved: bytes = pad(4)
    res_handle: int = u32()           # opaque, as the configuration table has it
    host_response_handle: int = u32()
    reserved1: bytes = pad(12)
    write_data_transfer_length: int = u32()
    read_data_transfer_length: int = u32()
    write_ioadl_addr: int = u32()
    write_ioadl_len: int = u32()
    read_ioadl_addr: int = u32()
    read_ioadl_len: int = u32()
    ioasa_host_pci_addr: int = u32()
    ioasa_len: int = u16()
    reserved4: bytes = pad(2)
    cmd_pkt: CmdPkt = nested(CmdPkt)
    add_cmd_parms_len: int = u32()
    add_data: bytes = raw(40)         # ATA registers, or up to INLINE_IOADLS descriptors


@c_struct
class Ioadl(CStruct):
    """struct ipr_ioadl_desc: a piece of host memory."""

    flags_and_data_len: int = u32()   # IoadlFlags in the high byte, bytes in the rest
    address: int = u32()


@c_struct
class Ioasa(CStruct):
    """struct ipr_ioasa: how a request ended."""

    ioasc: int = u32()
    ret_stat_len: int = u16()
    avail_stat_len: int = u16()
    residual_data_len: int = u32()    # bytes of the host's buffer that were not used
    ilid: int = u32()
    fd_ioasc: int = u32()
    fd_phys_locator: int = u32()
    fd_res_handle: int = u32()
    ioasc_specific: int = u32()
    u: bytes = raw(12)                # by kind of device: failing LBA, or end state and bus phase
    auto_sense_len: int = u16()       # from here on in 144 bytes only
    ioa_data_len: int = u16()
    auto_sense: bytes = raw(SCSI_SENSE_BUFFERSIZE)


@c_struct
class IoasaVset(CStruct):
    """struct ipr_ioasa_vset: `Ioasa.u` of a volume set."""

    failing_lba_hi: int = u32()
    failing_lba_lo: int = u32()
    reserved: bytes = pad(4)
