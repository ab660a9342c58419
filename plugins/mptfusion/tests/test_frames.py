"""Message layouts against offsets written out as literals, and the codes drivers compare."""

from __future__ import annotations

import pytest

from ddsdk.abi import WIRE_LE
from ddsdk_mptfusion import frames

REQUEST_HEADER = {"ChainOffset": 2, "Function": 3, "MsgFlags": 7, "MsgContext": 8}
REPLY_HEADER = {"MsgLength": 2, "Function": 3, "MsgFlags": 7, "MsgContext": 8, "IOCStatus": 0x0E,
                "IOCLogInfo": 0x10}

#: message -> (size, {member: offset}), the header's members apart; offsets as in the comments of mpi_ioc.h,
#: mpi_init.h, mpi_cnfg.h
LAYOUTS = {
    "MPIHeader": (0x0C, {}),
    "MPIDefaultReply": (0x14, {}),
    "IOCFacts": (0x0C, {}),
    "IOCFactsReply": (0x50, {
        "MsgVersion": 0x00, "HeaderVersion": 0x04, "IOCNumber": 0x06, "IOCExceptions": 0x0C,
        "MaxChainDepth": 0x14, "WhoInit": 0x15, "BlockSize": 0x16, "Flags": 0x17, "ReplyQueueDepth": 0x18,
        "RequestFrameSize": 0x1A, "ProductID": 0x1E, "CurrentHostMfaHighAddr": 0x20,
        "GlobalCredits": 0x24, "NumberOfPorts": 0x26,
        "EventState": 0x27, "CurrentSenseBufferHighAddr": 0x28, "CurReplyFrameSize": 0x2C, "MaxDevices": 0x2E,
        "MaxBuses": 0x2F, "FWImageSize": 0x30, "IOCCapabilities": 0x34, "FWVersion": 0x38,
        "HighPriorityQueueDepth": 0x3C, "HostPageBufferSGE": 0x40, "ReplyFifoHostSignalingAddr": 0x4C}),
    "PortFacts": (0x0C, {"PortNumber": 0x06}),
    "PortFactsReply": (0x28, {
        "PortNumber": 0x06, "PortType": 0x15, "MaxDevices": 0x16, "PortSCSIID": 0x18, "ProtocolFlags": 0x1A,
        "MaxPostedCmdBuffers": 0x1C, "MaxPersistentIDs": 0x1E, "MaxLanBuckets": 0x20, "MaxInitiators": 0x22}),
    "IOCInit": (0x18, {
        "WhoInit": 0x00, "Flags": 0x04, "MaxDevices": 0x05, "MaxBuses": 0x06, "ReplyFrameSize": 0x0C,
        "HostMfaHighAddr": 0x10, "SenseBufferHighAddr": 0x14}),
    "IOCInitLong": (0x2C, {
        "WhoInit": 0x00, "Flags": 0x04, "MaxDevices": 0x05, "MaxBuses": 0x06, "ReplyFrameSize": 0x0C,
        "HostMfaHighAddr": 0x10, "SenseBufferHighAddr": 0x14, "ReplyFifoHostSignalingAddr": 0x18,
        "HostPageBufferSGE": 0x1C, "MsgVersion": 0x28, "HeaderVersion": 0x2A}),
    "IOCInitReply": (0x14, {"WhoInit": 0x00, "Flags": 0x04, "MaxDevices": 0x05, "MaxBuses": 0x06}),
    "PortEnable": (0x0C, {"PortNumber": 0x06}),
    "PortEnableReply": (0x14, {"PortNumber": 0x06}),
    "EventNotification": (0x0C, {"Switch": 0x00}),
    "EventNotificationReply": (0x20, {
        "EventDataLength": 0x00, "AckRequired": 0x06, "Event": 0x14, "EventContext": 0x18, "Data": 0x1C}),
    "EventAck": (0x14, {"Event": 0x0C, "EventContext": 0x10}),
    "Config": (0x1C, {
        "Action": 0x00, "ExtPageLength": 0x04, "ExtPageType": 0x06, "PageVersion": 0x14, "PageLength": 0x15,
        "PageNumber": 0x16, "PageType": 0x17, "PageAddress": 0x18}),
    "ConfigReply": (0x18, {
        "Action": 0x00, "ExtPageLength": 0x04, "ExtPageType": 0x06, "PageVersion": 0x14, "PageLength": 0x15,
        "PageNumber": 0x16, "PageType": 0x17}),
    "SCSIIORequest": (0x30, {
        "TargetID": 0x00, "Bus": 0x01, "CDBLength": 0x04, "SenseBufferLength": 0x05, "LUN": 0x0C,
        "Control": 0x14, "CDB": 0x18, "DataLength": 0x28, "SenseBufferLowAddr": 0x2C}),
    "SCSIIOReply": (0x24, {
        "TargetID": 0x00, "Bus": 0x01, "CDBLength": 0x04, "SenseBufferLength": 0x05, "SCSIStatus": 0x0C,
        "SCSIState": 0x0D, "TransferCount": 0x14, "SenseCount": 0x18, "ResponseInfo": 0x1C, "TaskTag": 0x20}),
    "SCSITaskMgmt": (0x34, {
        "TargetID": 0x00, "Bus": 0x01, "TaskType": 0x05, "LUN": 0x0C, "TaskMsgContext": 0x30}),
    "SCSITaskMgmtReply": (0x18, {
        "TargetID": 0x00, "Bus": 0x01, "ResponseCode": 0x04, "TaskType": 0x05, "TerminationCount": 0x14}),
    "SGESimple32": (8, {"FlagsLength": 0, "Address": 4}),
    "SGESimple64": (12, {"FlagsLength": 0, "Address": 4}),
    "SGEChain32": (8, {"Length": 0, "NextChainOffset": 2, "Flags": 3, "Address": 4}),
    "SGEChain64": (12, {"Length": 0, "NextChainOffset": 2, "Flags": 3, "Address": 4}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_message_layout(name):
    """Size and offset of every member that is not reserved."""
    size, offsets = LAYOUTS[name]
    layout = getattr(frames, name).on(WIRE_LE)
    assert layout.size == size
    header = {} if name.startswith("SGE") else REPLY_HEADER if name.endswith("Reply") else REQUEST_HEADER
    found = {f.name: f.offset for f in layout.fields if not f.name.startswith("Reserved")}
    assert found == {**header, **offsets}


def test_every_message_has_a_layout_test():
    """No structure is exported without a row in the table above."""
    structs = {name for name in frames.__all__ if hasattr(getattr(frames, name), "on")}
    assert structs == set(LAYOUTS)


def test_requests_carry_their_function_code():
    """A request made without arguments already has byte 03 right."""
    codes = {name: getattr(frames, name)().Function for name in (
        "SCSIIORequest", "SCSITaskMgmt", "IOCInit", "IOCInitLong", "IOCFacts", "Config", "PortFacts",
        "PortEnable", "EventNotification", "EventAck")}
    assert codes == {"SCSIIORequest": 0, "SCSITaskMgmt": 1, "IOCInit": 2, "IOCInitLong": 2, "IOCFacts": 3,
                     "Config": 4, "PortFacts": 5, "PortEnable": 6, "EventNotification": 7, "EventAck": 8}


def test_scsi_io_statuses():
    """The IOCStatus numbers of the completion table."""
    assert {s.value: s.name for s in frames.IOCStatus if s.value >= 0x40} == {
        0x40: "SCSI_RECOVERED_ERROR", 0x41: "SCSI_INVALID_BUS", 0x42: "SCSI_INVALID_TARGETID",
        0x43: "SCSI_DEVICE_NOT_THERE", 0x44: "SCSI_DATA_OVERRUN", 0x45: "SCSI_DATA_UNDERRUN",
        0x46: "SCSI_IO_DATA_ERROR", 0x47: "SCSI_PROTOCOL_ERROR", 0x48: "SCSI_TASK_TERMINATED",
        0x49: "SCSI_RESIDUAL_MISMATCH", 0x4A: "SCSI_TASK_MGMT_FAILED", 0x4B: "SCSI_IOC_TERMINATED",
        0x4C: "SCSI_EXT_TERMINATED"}


def test_one_element_lists_have_the_documented_flags():
    """0xD1 read, 0xD5 write, 0xD3 and 0xD7 with a 64-bit address: simple, last of segment, buffer, list."""
    last = (frames.SGE_FLAGS_LAST_ELEMENT | frames.SGE_FLAGS_END_OF_BUFFER | frames.SGE_FLAGS_SIMPLE_ELEMENT
            | frames.SGE_FLAGS_END_OF_LIST)
    assert last << 24 == frames.SGE_LAST_READ_32 == 0xD1000000
    assert (last | frames.SGE_FLAGS_HOST_TO_IOC) << 24 == frames.SGE_LAST_WRITE_32 == 0xD5000000
    assert (last | frames.SGE_FLAGS_64_BIT_ADDRESSING) << 24 == frames.SGE_LAST_READ_64 == 0xD3000000
    assert frames.SGE_LAST_WRITE_64 == 0xD7000000
