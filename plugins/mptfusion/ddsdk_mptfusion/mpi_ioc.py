"""Fusion-MPT messages about the IOC itself: facts, init, ports, events, configuration; what mpi_ioc.h holds.

Sources: LSI Logic mpi_ioc.h 01.02.07 (IOCFacts and IOCInit as MPI 1.5 extends them), mpi_cnfg.h and mpi.h
01.05.13 (FreeBSD sys/dev/mpt/mpilib); what a chip really answers: QEMU 7.2 mptsas1068, observed.
"""

from __future__ import annotations

from ddsdk.layout import CStruct, c_struct, pad, raw, u8, u16, u32

from .mpi import MsgFunction


@c_struct
class MPIHeader(CStruct):
    """MSG_REQUEST_HEADER: what every request starts with; IOCFacts is nothing else."""

    Reserved: bytes = pad(2)
    ChainOffset: int = u8()
    Function: int = u8()
    Reserved1: bytes = pad(3)
    MsgFlags: int = u8()
    MsgContext: int = u32()


@c_struct
class MPIDefaultReply(CStruct):
    """MSG_DEFAULT_REPLY: what every reply starts with; EventAck's reply is nothing else."""

    Reserved: bytes = pad(2)
    MsgLength: int = u8()                         # dwords
    Function: int = u8()
    Reserved1: bytes = pad(3)
    MsgFlags: int = u8()
    MsgContext: int = u32()
    Reserved2: bytes = pad(2)
    IOCStatus: int = u16()
    IOCLogInfo: int = u32()


@c_struct
class IOCFacts(CStruct):
    """MSG_IOC_FACTS: a bare header."""

    Reserved: bytes = pad(2)
    ChainOffset: int = u8()
    Function: int = u8(default=MsgFunction.IOC_FACTS)
    Reserved1: bytes = pad(3)
    MsgFlags: int = u8()
    MsgContext: int = u32()


@c_struct
class IOCFactsReply(CStruct):
    """MSG_IOC_FACTS_REPLY as 1.05 extends it (80 bytes); older firmware answers less, trust MsgLength."""

    MsgVersion: int = u16()                       # major.minor
    MsgLength: int = u8()
    Function: int = u8()
    HeaderVersion: int = u16()
    IOCNumber: int = u8()
    MsgFlags: int = u8()
    MsgContext: int = u32()
    IOCExceptions: int = u16()                    # 1 config checksum, 2 RAID, 4 FW checksum, 8 table full
    IOCStatus: int = u16()
    IOCLogInfo: int = u32()
    MaxChainDepth: int = u8()
    WhoInit: int = u8()
    BlockSize: int = u8()                         # dwords
    Flags: int = u8()
    ReplyQueueDepth: int = u16()
    RequestFrameSize: int = u16()                 # dwords
    Reserved_0101_FWVersion: bytes = pad(2)
    ProductID: int = u16()
    CurrentHostMfaHighAddr: int = u32()
    GlobalCredits: int = u16()                    # requests that may be outstanding
    NumberOfPorts: int = u8()
    EventState: int = u8()
    CurrentSenseBufferHighAddr: int = u32()
    CurReplyFrameSize: int = u16()                # bytes
    MaxDevices: int = u8()                        # 0 means 256
    MaxBuses: int = u8()
    FWImageSize: int = u32()
    IOCCapabilities: int = u32()
    FWVersion: int = u32()                        # dev, unit, minor, major from the lowest byte
    HighPriorityQueueDepth: int = u16()
    Reserved2: bytes = pad(2)
    HostPageBufferSGE: bytes = raw(12)
    ReplyFifoHostSignalingAddr: int = u32()


@c_struct
class PortFacts(CStruct):
    """MSG_PORT_FACTS."""

    Reserved: bytes = pad(2)
    ChainOffset: int = u8()
    Function: int = u8(default=MsgFunction.PORT_FACTS)
    Reserved1: bytes = pad(2)
    PortNumber: int = u8()
    MsgFlags: int = u8()
    MsgContext: int = u32()


@c_struct
class PortFactsReply(CStruct):
    """MSG_PORT_FACTS_REPLY (40 bytes)."""

    Reserved: bytes = pad(2)
    MsgLength: int = u8()
    Function: int = u8()
    Reserved1: bytes = pad(2)
    PortNumber: int = u8()
    MsgFlags: int = u8()
    MsgContext: int = u32()
    Reserved2: bytes = pad(2)
    IOCStatus: int = u16()
    IOCLogInfo: int = u32()
    Reserved3: bytes = pad(1)
    PortType: int = u8()
    MaxDevices: int = u16()
    PortSCSIID: int = u16()
    ProtocolFlags: int = u16()
    MaxPostedCmdBuffers: int = u16()
    MaxPersistentIDs: int = u16()
    MaxLanBuckets: int = u16()
    MaxInitiators: int = u8()
    Reserved4: bytes = pad(1)
    Reserved5: bytes = pad(4)


@c_struct
class IOCInit(CStruct):
    """MSG_IOC_INIT, the short form every firmware takes (24 bytes)."""

    WhoInit: int = u8()
    Reserved: bytes = pad(1)
    ChainOffset: int = u8()
    Function: int = u8(default=MsgFunction.IOC_INIT)
    Flags: int = u8()
    MaxDevices: int = u8()                        # 0 means 256
    MaxBuses: int = u8()
    MsgFlags: int = u8()
    MsgContext: int = u32()
    ReplyFrameSize: int = u16()                   # bytes, a multiple of 8
    Reserved1: bytes = pad(2)
    HostMfaHighAddr: int = u32()
    SenseBufferHighAddr: int = u32()


@c_struct
class IOCInitLong(CStruct):
    """MSG_IOC_INIT as MPI 1.5 extends it (44 bytes)."""

    WhoInit: int = u8()
    Reserved: bytes = pad(1)
    ChainOffset: int = u8()
    Function: int = u8(default=MsgFunction.IOC_INIT)
    Flags: int = u8()
    MaxDevices: int = u8()
    MaxBuses: int = u8()
    MsgFlags: int = u8()
    MsgContext: int = u32()
    ReplyFrameSize: int = u16()
    Reserved1: bytes = pad(2)
    HostMfaHighAddr: int = u32()
    SenseBufferHighAddr: int = u32()
    ReplyFifoHostSignalingAddr: int = u32()
    HostPageBufferSGE: bytes = raw(12)
    MsgVersion: int = u16()
    HeaderVersion: int = u16()


@c_struct
class IOCInitReply(CStruct):
    """MSG_IOC_INIT_REPLY (20 bytes); IOCStatus SUCCESS means READY became OPERATIONAL."""

    WhoInit: int = u8()
    Reserved: bytes = pad(1)
    MsgLength: int = u8()
    Function: int = u8()
    Flags: int = u8()
    MaxDevices: int = u8()
    MaxBuses: int = u8()
    MsgFlags: int = u8()
    MsgContext: int = u32()
    Reserved2: bytes = pad(2)
    IOCStatus: int = u16()
    IOCLogInfo: int = u32()


@c_struct
class PortEnable(CStruct):
    """MSG_PORT_ENABLE: starts device discovery on a port."""

    Reserved: bytes = pad(2)
    ChainOffset: int = u8()
    Function: int = u8(default=MsgFunction.PORT_ENABLE)
    Reserved1: bytes = pad(2)
    PortNumber: int = u8()
    MsgFlags: int = u8()
    MsgContext: int = u32()


@c_struct
class PortEnableReply(CStruct):
    """MSG_PORT_ENABLE_REPLY (20 bytes)."""

    Reserved: bytes = pad(2)
    MsgLength: int = u8()
    Function: int = u8()
    Reserved1: bytes = pad(2)
    PortNumber: int = u8()
    MsgFlags: int = u8()
    MsgContext: int = u32()
    Reserved2: bytes = pad(2)
    IOCStatus: int = u16()
    IOCLogInfo: int = u32()


@c_struct
class EventNotification(CStruct):
    """MSG_EVENT_NOTIFY.  Its frame stays the IOC's as long as replies carry MSGFLAGS_CONTINUATION_REPLY."""

    Switch: int = u8()                            # 1 on, 0 off
    Reserved: bytes = pad(1)
    ChainOffset: int = u8()
    Function: int = u8(default=MsgFunction.EVENT_NOTIFICATION)
    Reserved1: bytes = pad(3)
    MsgFlags: int = u8()
    MsgContext: int = u32()


@c_struct
class EventNotificationReply(CStruct):
    """MSG_EVENT_NOTIFY_REPLY with one data dword (32 bytes); EventDataLength counts them."""

    EventDataLength: int = u16()                  # dwords
    MsgLength: int = u8()
    Function: int = u8()
    Reserved1: bytes = pad(2)
    AckRequired: int = u8()
    MsgFlags: int = u8()
    MsgContext: int = u32()
    Reserved2: bytes = pad(2)
    IOCStatus: int = u16()
    IOCLogInfo: int = u32()
    Event: int = u32()
    EventContext: int = u32()
    Data: int = u32()


@c_struct
class EventAck(CStruct):
    """MSG_EVENT_ACK, wanted for each event with AckRequired."""

    Reserved: bytes = pad(2)
    ChainOffset: int = u8()
    Function: int = u8(default=MsgFunction.EVENT_ACK)
    Reserved1: bytes = pad(3)
    MsgFlags: int = u8()
    MsgContext: int = u32()
    Event: int = u32()
    EventContext: int = u32()


@c_struct
class Config(CStruct):
    """MSG_CONFIG up to its page buffer element."""

    Action: int = u8()
    Reserved: bytes = pad(1)
    ChainOffset: int = u8()
    Function: int = u8(default=MsgFunction.CONFIG)
    ExtPageLength: int = u16()
    ExtPageType: int = u8()
    MsgFlags: int = u8()
    MsgContext: int = u32()
    Reserved2: bytes = pad(8)
    PageVersion: int = u8()
    PageLength: int = u8()                        # dwords
    PageNumber: int = u8()
    PageType: int = u8()
    PageAddress: int = u32()


@c_struct
class ConfigReply(CStruct):
    """MSG_CONFIG_REPLY (24 bytes)."""

    Action: int = u8()
    Reserved: bytes = pad(1)
    MsgLength: int = u8()
    Function: int = u8()
    ExtPageLength: int = u16()
    ExtPageType: int = u8()
    MsgFlags: int = u8()
    MsgContext: int = u32()
    Reserved2: bytes = pad(2)
    IOCStatus: int = u16()
    IOCLogInfo: int = u32()
    PageVersion: int = u8()
    PageLength: int = u8()
    PageNumber: int = u8()
    PageType: int = u8()
