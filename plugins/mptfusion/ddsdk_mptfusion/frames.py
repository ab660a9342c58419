"""Every Fusion-MPT message in one place: MPI 1.x, little-endian, one class a message.

Member names are those of the C structs; `T.on(WIRE_LE)` gives the layout, tests/test_frames.py every offset.
Every request starts like MPIHeader, every reply like MPIDefaultReply.  This module holds the SCSI initiator's
messages and hands on what the two modules beside it hold: mpi.py (numbers, scatter/gather elements) and
mpi_ioc.py (facts, init, ports, events, configuration).

Sources: LSI Logic mpi_init.h 01.05.09 (FreeBSD sys/dev/mpt/mpilib); what a chip really answers: QEMU 7.2
mptsas1068, observed.
"""

from __future__ import annotations

from ddsdk.layout import CStruct, c_struct, pad, raw, u8, u16, u32

from .mpi import (
    IOCFACTS_FLAGS_FW_DOWNLOAD_BOOT,
    IOCSTATUS_FLAG_LOG_INFO_AVAILABLE,
    IOCSTATUS_MASK,
    MSGFLAGS_CONTINUATION_REPLY,
    SCSIIO_CONTROL_ACAQ,
    SCSIIO_CONTROL_ADDCDBLEN_MASK,
    SCSIIO_CONTROL_DATADIRECTION_MASK,
    SCSIIO_CONTROL_HEADOFQ,
    SCSIIO_CONTROL_NO_DISCONNECT,
    SCSIIO_CONTROL_NODATATRANSFER,
    SCSIIO_CONTROL_ORDEREDQ,
    SCSIIO_CONTROL_READ,
    SCSIIO_CONTROL_SIMPLEQ,
    SCSIIO_CONTROL_TASKATTRIBUTE_MASK,
    SCSIIO_CONTROL_UNTAGGED,
    SCSIIO_CONTROL_WRITE,
    SCSIIO_MSGFLGS_CMD_DETERMINES_DATA_DIR,
    SCSIIO_MSGFLGS_SENSE_LOC_IOC,
    SCSIIO_MSGFLGS_SENSE_WIDTH_64,
    SCSIIO_SGL_OFFSET,
    SGE_CHAIN_LENGTH_MASK,
    SGE_CHAIN_OFFSET_SHIFT,
    SGE_FLAGS_64_BIT_ADDRESSING,
    SGE_FLAGS_CHAIN_ELEMENT,
    SGE_FLAGS_ELEMENT_TYPE_MASK,
    SGE_FLAGS_END_OF_BUFFER,
    SGE_FLAGS_END_OF_LIST,
    SGE_FLAGS_HOST_TO_IOC,
    SGE_FLAGS_LAST_ELEMENT,
    SGE_FLAGS_LOCAL_ADDRESS,
    SGE_FLAGS_SHIFT,
    SGE_FLAGS_SIMPLE_ELEMENT,
    SGE_FLAGS_TRANSACTION_ELEMENT,
    SGE_LAST_READ_32,
    SGE_LAST_READ_64,
    SGE_LAST_WRITE_32,
    SGE_LAST_WRITE_64,
    SGE_LENGTH_MASK,
    ConfigAction,
    Event,
    IOCCapabilities,
    IOCStatus,
    MsgFunction,
    PortType,
    ProtocolFlags,
    ScsiState,
    SGEChain32,
    SGEChain64,
    SGESimple32,
    SGESimple64,
    TaskResponse,
    TaskType,
)
from .mpi_ioc import (
    Config,
    ConfigReply,
    EventAck,
    EventNotification,
    EventNotificationReply,
    IOCFacts,
    IOCFactsReply,
    IOCInit,
    IOCInitLong,
    IOCInitReply,
    MPIDefaultReply,
    MPIHeader,
    PortEnable,
    PortEnableReply,
    PortFacts,
    PortFactsReply,
)

__all__ = [
    "IOCFACTS_FLAGS_FW_DOWNLOAD_BOOT",
    "IOCSTATUS_FLAG_LOG_INFO_AVAILABLE",
    "IOCSTATUS_MASK",
    "MSGFLAGS_CONTINUATION_REPLY",
    "SCSIIO_CONTROL_ACAQ",
    "SCSIIO_CONTROL_ADDCDBLEN_MASK",
    "SCSIIO_CONTROL_DATADIRECTION_MASK",
    "SCSIIO_CONTROL_HEADOFQ",
    "SCSIIO_CONTROL_NODATATRANSFER",
    "SCSIIO_CONTROL_NO_DISCONNECT",
    "SCSIIO_CONTROL_ORDEREDQ",
    "SCSIIO_CONTROL_READ",
    "SCSIIO_CONTROL_SIMPLEQ",
    "SCSIIO_CONTROL_TASKATTRIBUTE_MASK",
    "SCSIIO_CONTROL_UNTAGGED",
    "SCSIIO_CONTROL_WRITE",
    "SCSIIO_MSGFLGS_CMD_DETERMINES_DATA_DIR",
    "SCSIIO_MSGFLGS_SENSE_LOC_IOC",
    "SCSIIO_MSGFLGS_SENSE_WIDTH_64",
    "SCSIIO_SGL_OFFSET",
    "SGE_CHAIN_LENGTH_MASK",
    "SGE_CHAIN_OFFSET_SHIFT",
    "SGE_FLAGS_64_BIT_ADDRESSING",
    "SGE_FLAGS_CHAIN_ELEMENT",
    "SGE_FLAGS_ELEMENT_TYPE_MASK",
    "SGE_FLAGS_END_OF_BUFFER",
    "SGE_FLAGS_END_OF_LIST",
    "SGE_FLAGS_HOST_TO_IOC",
    "SGE_FLAGS_LAST_ELEMENT",
    "SGE_FLAGS_LOCAL_ADDRESS",
    "SGE_FLAGS_SHIFT",
    "SGE_FLAGS_SIMPLE_ELEMENT",
    "SGE_FLAGS_TRANSACTION_ELEMENT",
    "SGE_LAST_READ_32",
    "SGE_LAST_READ_64",
    "SGE_LAST_WRITE_32",
    "SGE_LAST_WRITE_64",
    "SGE_LENGTH_MASK",
    "Config",
    "ConfigAction",
    "ConfigReply",
    "Event",
    "EventAck",
    "EventNotification",
    "EventNotificationReply",
    "IOCCapabilities",
    "IOCFacts",
    "IOCFactsReply",
    "IOCInit",
    "IOCInitLong",
    "IOCInitReply",
    "IOCStatus",
    "MPIDefaultReply",
    "MPIHeader",
    "MsgFunction",
    "PortEnable",
    "PortEnableReply",
    "PortFacts",
    "PortFactsReply",
    "PortType",
    "ProtocolFlags",
    "SCSIIOReply",
    "SCSIIORequest",
    "SCSITaskMgmt",
    "SCSITaskMgmtReply",
    "SGEChain32",
    "SGEChain64",
    "SGESimple32",
    "SGESimple64",
    "ScsiState",
    "TaskResponse",
    "TaskType",
]


@c_struct
class SCSIIORequest(CStruct):
    """MSG_SCSI_IO_REQUEST up to its scatter list, which starts at SCSIIO_SGL_OFFSET."""

    TargetID: int = u8()
    Bus: int = u8()
    ChainOffset: int = u8()                       # dwords from the frame's start to the chain element, 0 none
    Function: int = u8(default=MsgFunction.SCSI_IO_REQUEST)
    CDBLength: int = u8()
    SenseBufferLength: int = u8()
    Reserved: bytes = pad(1)
    MsgFlags: int = u8()
    MsgContext: int = u32()
    LUN: bytes = raw(8)                           # single level: byte 0 = 0, byte 1 = LUN
    Control: int = u32()
    CDB: bytes = raw(16)
    DataLength: int = u32()
    SenseBufferLowAddr: int = u32()


@c_struct
class SCSIIOReply(CStruct):
    """MSG_SCSI_IO_REPLY (36 bytes); a GOOD command of full length has none."""

    TargetID: int = u8()
    Bus: int = u8()
    MsgLength: int = u8()
    Function: int = u8()
    CDBLength: int = u8()
    SenseBufferLength: int = u8()
    Reserved: bytes = pad(1)
    MsgFlags: int = u8()
    MsgContext: int = u32()
    SCSIStatus: int = u8()
    SCSIState: int = u8()
    IOCStatus: int = u16()
    IOCLogInfo: int = u32()
    TransferCount: int = u32()
    SenseCount: int = u32()
    ResponseInfo: int = u32()
    TaskTag: int = u16()
    Reserved1: bytes = pad(2)


@c_struct
class SCSITaskMgmt(CStruct):
    """MSG_SCSI_TASK_MGMT (52 bytes); the chip takes one at a time."""

    TargetID: int = u8()
    Bus: int = u8()
    ChainOffset: int = u8()
    Function: int = u8(default=MsgFunction.SCSI_TASK_MGMT)
    Reserved: bytes = pad(1)
    TaskType: int = u8()
    Reserved1: bytes = pad(1)
    MsgFlags: int = u8()
    MsgContext: int = u32()
    LUN: bytes = raw(8)
    Reserved2: bytes = pad(28)
    TaskMsgContext: int = u32()


@c_struct
class SCSITaskMgmtReply(CStruct):
    """MSG_SCSI_TASK_MGMT_REPLY (24 bytes)."""

    TargetID: int = u8()
    Bus: int = u8()
    MsgLength: int = u8()
    Function: int = u8()
    ResponseCode: int = u8()
    TaskType: int = u8()
    Reserved1: bytes = pad(1)
    MsgFlags: int = u8()
    MsgContext: int = u32()
    Reserved2: bytes = pad(2)
    IOCStatus: int = u16()
    IOCLogInfo: int = u32()
    TerminationCount: int = u32()
