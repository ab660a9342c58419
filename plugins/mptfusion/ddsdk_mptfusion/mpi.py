"""Fusion-MPT numbers shared by all messages, and the scatter/gather elements: what mpi.h holds.

Sources: LSI Logic mpi.h 01.05.13, mpi_ioc.h 01.02.07, mpi_init.h 01.05.09, mpi_cnfg.h (FreeBSD
sys/dev/mpt/mpilib).  Names are theirs without the MPI_ prefix.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final

from ddsdk.layout import CStruct, c_struct, u8, u16, u32, u64


class MsgFunction(IntEnum):
    """Byte 03 of every message (mpi.h, "Message Functions"); what comes by doorbell only is in regs.py."""

    SCSI_IO_REQUEST = 0x00
    SCSI_TASK_MGMT = 0x01
    IOC_INIT = 0x02
    IOC_FACTS = 0x03
    CONFIG = 0x04
    PORT_FACTS = 0x05
    PORT_ENABLE = 0x06
    EVENT_NOTIFICATION = 0x07
    EVENT_ACK = 0x08


class IOCStatus(IntEnum):
    """Reply 0E, bits 14:0 (mpi.h, "IOC Status Values")."""

    SUCCESS = 0x0000
    INVALID_FUNCTION = 0x0001
    BUSY = 0x0002
    INVALID_SGL = 0x0003
    INTERNAL_ERROR = 0x0004
    RESERVED = 0x0005
    INSUFFICIENT_RESOURCES = 0x0006
    INVALID_FIELD = 0x0007
    INVALID_STATE = 0x0008
    OP_STATE_NOT_SUPPORTED = 0x0009
    CONFIG_INVALID_ACTION = 0x0020
    CONFIG_INVALID_TYPE = 0x0021
    CONFIG_INVALID_PAGE = 0x0022
    CONFIG_INVALID_DATA = 0x0023
    CONFIG_NO_DEFAULTS = 0x0024
    CONFIG_CANT_COMMIT = 0x0025
    SCSI_RECOVERED_ERROR = 0x0040
    SCSI_INVALID_BUS = 0x0041
    SCSI_INVALID_TARGETID = 0x0042
    SCSI_DEVICE_NOT_THERE = 0x0043                # MPT's selection timeout
    SCSI_DATA_OVERRUN = 0x0044
    SCSI_DATA_UNDERRUN = 0x0045
    SCSI_IO_DATA_ERROR = 0x0046
    SCSI_PROTOCOL_ERROR = 0x0047
    SCSI_TASK_TERMINATED = 0x0048
    SCSI_RESIDUAL_MISMATCH = 0x0049
    SCSI_TASK_MGMT_FAILED = 0x004A
    SCSI_IOC_TERMINATED = 0x004B
    SCSI_EXT_TERMINATED = 0x004C


IOCSTATUS_FLAG_LOG_INFO_AVAILABLE: Final = 0x8000
IOCSTATUS_MASK: Final = 0x7FFF
MSGFLAGS_CONTINUATION_REPLY: Final = 0x80         # more replies will follow for this context


class ScsiState(IntFlag):
    """SCSIIOReply 0D (mpi_init.h, "SCSI IO Reply SCSIState values")."""

    AUTOSENSE_VALID = 0x01
    AUTOSENSE_FAILED = 0x02
    NO_SCSI_STATUS = 0x04
    TERMINATED = 0x08
    RESPONSE_INFO_VALID = 0x10
    QUEUE_TAG_REJECTED = 0x20


class TaskType(IntEnum):
    """SCSITaskMgmt 05 (mpi_init.h, "TaskType values")."""

    ABORT_TASK = 1
    ABRT_TASK_SET = 2
    TARGET_RESET = 3
    RESET_BUS = 4
    LOGICAL_UNIT_RESET = 5
    CLEAR_TASK_SET = 6
    QUERY_TASK = 7
    CLR_ACA = 8


class TaskResponse(IntEnum):
    """SCSITaskMgmtReply 04 (mpi_init.h, "ResponseCode values")."""

    TM_COMPLETE = 0x00
    TM_INVALID_FRAME = 0x02
    TM_NOT_SUPPORTED = 0x04
    TM_FAILED = 0x05
    TM_SUCCEEDED = 0x08
    TM_INVALID_LUN = 0x09
    IO_QUEUED_ON_IOC = 0x80


class PortType(IntEnum):
    """PortFactsReply 15 (mpi_ioc.h, "PortTypes values")."""

    INACTIVE = 0x00
    SCSI = 0x01
    FC = 0x10
    ISCSI = 0x20
    SAS = 0x30


class ProtocolFlags(IntFlag):
    """PortFactsReply 1A; a port without INITIATOR carries no disks."""

    LOGBUSADDR = 0x01
    LAN = 0x02
    TARGET = 0x04
    INITIATOR = 0x08


class IOCCapabilities(IntFlag):
    """IOCFactsReply 34."""

    HIGH_PRI_Q = 0x01
    QUEUE_FULL_HANDLING = 0x04


class Event(IntEnum):
    """EventNotificationReply 14 (mpi_ioc.h, "Event")."""

    NONE = 0x00
    LOG_DATA = 0x01
    STATE_CHANGE = 0x02
    UNIT_ATTENTION = 0x03
    IOC_BUS_RESET = 0x04
    EXT_BUS_RESET = 0x05
    RESCAN = 0x06
    LINK_STATUS_CHANGE = 0x07
    LOOP_STATE_CHANGE = 0x08
    LOGOUT = 0x09
    EVENT_CHANGE = 0x0A                           # data dword: the new switch


class ConfigAction(IntEnum):
    """Config 00 (mpi_cnfg.h, "Action field values")."""

    PAGE_HEADER = 0x00
    PAGE_READ_CURRENT = 0x01
    PAGE_WRITE_CURRENT = 0x02
    PAGE_DEFAULT = 0x03
    PAGE_WRITE_NVRAM = 0x04
    PAGE_READ_DEFAULT = 0x05
    PAGE_READ_NVRAM = 0x06


IOCFACTS_FLAGS_FW_DOWNLOAD_BOOT: Final = 0x01     # IOCFactsReply 17: the host must load the firmware

# SCSIIORequest 14 Control (mpi_init.h, "SCSI IO Control bits").
SCSIIO_CONTROL_NODATATRANSFER: Final = 0x00000000
SCSIIO_CONTROL_WRITE: Final = 0x01000000
SCSIIO_CONTROL_READ: Final = 0x02000000
SCSIIO_CONTROL_DATADIRECTION_MASK: Final = 0x03000000
SCSIIO_CONTROL_ADDCDBLEN_MASK: Final = 0x3C000000
SCSIIO_CONTROL_SIMPLEQ: Final = 0x00000000
SCSIIO_CONTROL_HEADOFQ: Final = 0x00000100
SCSIIO_CONTROL_ORDEREDQ: Final = 0x00000200
SCSIIO_CONTROL_ACAQ: Final = 0x00000400
SCSIIO_CONTROL_UNTAGGED: Final = 0x00000500
SCSIIO_CONTROL_NO_DISCONNECT: Final = 0x00000700
SCSIIO_CONTROL_TASKATTRIBUTE_MASK: Final = 0x00000700

# SCSIIORequest 07 MsgFlags.
SCSIIO_MSGFLGS_SENSE_WIDTH_64: Final = 0x01
SCSIIO_MSGFLGS_SENSE_LOC_IOC: Final = 0x02
SCSIIO_MSGFLGS_CMD_DETERMINES_DATA_DIR: Final = 0x04

# Scatter/gather element flags, byte 3 of the first dword (mpi.h, "SGE field definition and masks").
SGE_FLAGS_LAST_ELEMENT: Final = 0x80              # last of this segment (frame or chain buffer)
SGE_FLAGS_END_OF_BUFFER: Final = 0x40
SGE_FLAGS_ELEMENT_TYPE_MASK: Final = 0x30
SGE_FLAGS_TRANSACTION_ELEMENT: Final = 0x00
SGE_FLAGS_SIMPLE_ELEMENT: Final = 0x10
SGE_FLAGS_CHAIN_ELEMENT: Final = 0x30
SGE_FLAGS_LOCAL_ADDRESS: Final = 0x08
SGE_FLAGS_HOST_TO_IOC: Final = 0x04               # direction: write to the device
SGE_FLAGS_64_BIT_ADDRESSING: Final = 0x02
SGE_FLAGS_END_OF_LIST: Final = 0x01
SGE_FLAGS_SHIFT: Final = 24
SGE_LENGTH_MASK: Final = 0x00FFFFFF
SGE_CHAIN_LENGTH_MASK: Final = 0x0000FFFF
SGE_CHAIN_OFFSET_SHIFT: Final = 16
#: The last element of a whole list, flags already in place (simple, system address).
SGE_LAST_READ_32: Final = 0xD1000000
SGE_LAST_WRITE_32: Final = 0xD5000000
SGE_LAST_READ_64: Final = 0xD3000000
SGE_LAST_WRITE_64: Final = 0xD7000000

#: Offset of the scatter list in a SCSIIORequest, in bytes.
SCSIIO_SGL_OFFSET: Final = 0x30


@c_struct
class SGESimple32(CStruct):
    """SGE_SIMPLE32: flags in 31:24, length in 23:0."""

    FlagsLength: int = u32()
    Address: int = u32()


@c_struct(packed=True)
class SGESimple64(CStruct):
    """SGE_SIMPLE64, 12 bytes: the address is not aligned to 8."""

    FlagsLength: int = u32()
    Address: int = u64()


@c_struct
class SGEChain32(CStruct):
    """SGE_CHAIN32.

    Length: bytes of the next segment.  NextChainOffset: dwords from that segment's start to its own chain
    element, 0 when it has none.
    """

    Length: int = u16()
    NextChainOffset: int = u8()
    Flags: int = u8()
    Address: int = u32()


@c_struct(packed=True)
class SGEChain64(CStruct):
    """SGE_CHAIN64, 12 bytes."""

    Length: int = u16()
    NextChainOffset: int = u8()
    Flags: int = u8()
    Address: int = u64()
