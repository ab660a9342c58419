"""SCSI I/O: queues, what is refused, completions."""

from __future__ import annotations

import struct

import pytest
from attrs import evolve

from ddsdk.abi import WIRE_LE
from ddsdk.errors import DmaFault, HardwareFault
from ddsdk.sim import disk_faults
from ddsdk_mptfusion.frames import IOCInit, IOCStatus, SCSIIOReply, SCSIIORequest, ScsiState
from ddsdk_mptfusion.model import LSI53C1030, SAS1068
from ddsdk_mptfusion.regs import IocState

REQUEST, CHAIN, REPLY, SENSE, DATA = 0x00200000, 0x00210000, 0x00300000, 0x00380000, 0x00400000
READ, WRITE, NONE = 0x02000000, 0x01000000, 0
ONLY = {READ: 0xD1000000, WRITE: 0xD5000000, NONE: 0xD1000000}


def cdb10(opcode: int, lba: int = 0, blocks: int = 1) -> bytes:
    """A ten-byte CDB with LBA and length."""
    return struct.pack(">BBIBHB", opcode, 0, lba, 0, blocks, 0)


def request(cdb: bytes, length: int = 0, control: int = NONE, sgl: bytes | None = None, **members) -> bytes:
    """A SCSIIORequest in a 128-byte frame; its list is one element at DATA unless given."""
    frame = SCSIIORequest(CDBLength=len(cdb), SenseBufferLength=32, MsgContext=0x21, Control=control,
                          CDB=cdb.ljust(16, b"\0"), DataLength=length, SenseBufferLowAddr=SENSE)
    if sgl is None:
        sgl = struct.pack("<II", ONLY[control & 0x03000000] | length, DATA)
    return (SCSIIORequest.on(WIRE_LE).pack(evolve(frame, **members)) + sgl).ljust(128, b"\0")


READ_1 = request(cdb10(0x28), 512, READ)
WRITE_1 = request(cdb10(0x2A), 512, WRITE)
TUR = request(bytes(6))


def outcome(host, frame: bytes) -> SCSIIOReply:
    """The address reply to *frame*."""
    return SCSIIOReply.on(WIRE_LE).unpack(host.frame_of(host.run(frame)))


# -- queues --------------------------------------------------------------------------------------------


def test_the_frame_is_fetched_after_the_write_returned(ready):
    """A frame changed within the microsecond before its fetch is what the IOC sees."""
    ready.post(READ_1)
    ready.poke(REQUEST, request(cdb10(0x28), 512, READ, MsgContext=0x22))
    assert ready.reply() == 0x22


def test_the_frame_may_be_reused_once_fetched_but_not_known_to_be(ready):
    """After the fetch a changed frame changes nothing."""
    ready.post(READ_1)
    ready.advance(1_000)
    ready.poke(REQUEST, bytes(128))
    assert ready.reply() == 0x21


def test_a_16k_write_takes_60_to_90_us(ready):
    """Fetch, firmware, disk: the time the model is tuned for."""
    ready.post(request(cdb10(0x2A, 0, 32), 0x4000, WRITE))
    ready.advance(60_000)
    assert ready.read("HOST_INTERRUPT_STATUS") == 0
    ready.advance(30_000)
    assert ready.read("HOST_INTERRUPT_STATUS") == 8


def test_request_descriptor_bits(ready):
    """Bits 1:0 are a prefetch hint; bit 2 is another frame type and refused."""
    ready.poke(REQUEST, READ_1)
    ready.write("REQUEST_FIFO", REQUEST | 3)
    assert ready.reply() == 0x21
    with pytest.raises(HardwareFault, match="bit 2 marks another frame type"):
        ready.write("REQUEST_FIFO", REQUEST | 4)


def test_one_request_too_many_is_a_fault(ready):
    """The 129th outstanding request: FAULT 0x0006, and nothing completes any more."""
    ready.poke(REQUEST, READ_1)
    for _ in range(128):
        ready.write("REQUEST_FIFO", REQUEST)
    assert ready.state() == IocState.OPERATIONAL
    ready.write("REQUEST_FIFO", REQUEST)
    assert ready.read("DOORBELL") == 0x44000006
    ready.advance(100_000_000)
    assert ready.read("REPLY_FIFO") == 0xFFFFFFFF


def test_credits_come_back_with_the_replies(ready):
    """128 at a time, three times over."""
    ready.poke(REQUEST, READ_1)
    for _ in range(3):
        for _ in range(128):
            ready.write("REQUEST_FIFO", REQUEST)
        ready.advance(100_000_000)
        assert [ready.read("REPLY_FIFO") for _ in range(129)] == [0x21] * 128 + [0xFFFFFFFF]


def test_high_priority_fifo_needs_the_capability(ready, make_host):
    """Without it a write is refused; with it the FIFO takes requests."""
    with pytest.raises(HardwareFault, match="high-priority"):
        ready.write("HI_PRI_REQUEST_FIFO", REQUEST)
    host = make_host(chip=evolve(SAS1068, IOCCapabilities=1, HighPriorityQueueDepth=8))
    host.bring_up()
    host.clear_attention()
    host.poke(REQUEST, READ_1)
    host.write("HI_PRI_REQUEST_FIFO", REQUEST)
    assert host.reply() == 0x21


def test_free_list_overflow_is_a_fault(ready):
    """ReplyQueueDepth frames fit (8 are there, one is out to the host); the next is FAULT 0x0006."""
    for _ in range(120):
        ready.write("REPLY_FREE_FIFO", REPLY)
    assert ready.state() == IocState.OPERATIONAL
    ready.write("REPLY_FREE_FIFO", REPLY)
    assert ready.read("DOORBELL") == 0x44000006


def test_free_list_underflow_is_a_fault_only_when_a_frame_is_needed(ready):
    """With an empty free list good commands work; an address reply is FAULT 0x0006."""
    ready.ioc.free.clear()
    assert ready.run(READ_1) == 0x21
    ready.post(request(cdb10(0x28, 0xFFFFFFF0), 512, READ))
    ready.advance(1_000_000)
    assert ready.read("DOORBELL") == 0x44000006


def test_reply_frames_are_used_in_the_order_they_were_given(ready):
    """The free list is a FIFO: seven frames later the first one, pushed back, comes again."""
    used = []
    for _ in range(9):
        descriptor = ready.run(request(cdb10(0x28, 0xFFFFFFF0), 512, READ))
        used.append(descriptor << 1 & 0xFFFFFFFF)
        ready.frame_of(descriptor)
    assert used == [REPLY + 0x80 * n for n in (1, 2, 3, 4, 5, 6, 7, 0, 1)]


def test_reply_frames_are_cut_to_their_size(make_host, host):
    """With 16-byte frames the reply ends after IOCStatus."""
    host.bring_up(IOCInit.on(WIRE_LE).pack(IOCInit(WhoInit=4, ReplyFrameSize=16)))
    host.poke(REPLY, b"\xEE" * 0x80)
    host.run(TUR)
    assert host.peek(REPLY + 0x0E, 4) == bytes.fromhex("4500eeee")


def test_addresses_are_completed_with_the_high_halves(make_host):
    """Frame and sense addresses get HostMfaHighAddr and SenseBufferHighAddr: beyond what is granted here."""
    host = make_host()
    host.bring_up(IOCInit.on(WIRE_LE).pack(IOCInit(WhoInit=4, ReplyFrameSize=128, SenseBufferHighAddr=2)))
    host.post(TUR)
    with pytest.raises(DmaFault, match="0x200380000"):
        host.advance(1_000_000)
    host = make_host()
    host.bring_up(IOCInit.on(WIRE_LE).pack(IOCInit(WhoInit=4, ReplyFrameSize=128, HostMfaHighAddr=1)))
    host.post(TUR)
    with pytest.raises(DmaFault, match="0x100200000"):
        host.advance(1_000_000)


def test_dma_only_where_it_was_granted(ready):
    """Data outside the grants is refused, not moved."""
    ready.post(request(cdb10(0x28), 512, READ, struct.pack("<II", 0xD1000200, 0x00600000)))
    with pytest.raises(DmaFault, match="not inside one granted piece"):
        ready.advance(1_000_000)


def test_no_dma_without_bus_mastering(ready):
    """COMMAND bit 2 off: the fetch is refused."""
    ready.function.config_write(4, 2, 0x3)
    ready.post(READ_1)
    with pytest.raises(DmaFault, match="bus mastering off"):
        ready.advance(1_000)


# -- scatter lists -------------------------------------------------------------------------------------


def test_a_list_the_ioc_refuses(ready):
    """INVALID_SGL, no SCSI status, nothing moved (test_model_sgl.py has every kind of bad list)."""
    reply = outcome(ready, request(cdb10(0x28), 512, READ, struct.pack("<II", 0xD1000000 | 511, DATA)))
    assert (reply.IOCStatus, reply.SCSIState, reply.TransferCount) == (IOCStatus.INVALID_SGL, 4, 0)
    assert outcome(ready, request(bytes(6), sgl=bytes(8))).IOCStatus == IOCStatus.INVALID_SGL


def test_a_list_longer_than_the_data(ready):
    """What is beyond DataLength stays untouched."""
    ready.poke(DATA, b"\x5A" * 1024)
    assert ready.run(request(cdb10(0x28), 512, READ, struct.pack("<II", 0xD1000000 | 1024, DATA))) == 0x21
    assert ready.peek(DATA, 1024) == bytes(512) + b"\x5A" * 512


def test_a_list_with_pieces_of_any_size(ready):
    """One sector in three pieces, the middle one empty."""
    data = bytes(range(256)) * 2
    ready.target.units[0].disk.writev(0, [memoryview(data)])
    sgl = struct.pack("<IIIIII", 0x10000000 | 8, DATA + 504, 0x10000000, 0, 0xD1000000 | 504, DATA)
    assert ready.run(request(cdb10(0x28), 512, READ, sgl)) == 0x21
    assert ready.peek(DATA, 512) == data[8:] + data[:8]


# -- what is refused before it reaches the disk --------------------------------------------------------

BAD_FIELDS = {
    "CDB of 5 bytes": request(bytes(5)),
    "CDB of 17 bytes": request(bytes(6), CDBLength=17),
    "additional CDB bytes": request(bytes(6), Control=0x04000000),
    "both directions": request(bytes(6), Control=0x03000000),
    "reserved task attribute": request(bytes(6), Control=0x00000300),
    "sense in IOC memory": request(bytes(6), MsgFlags=2),
    "LUN with another addressing method": request(bytes(6), LUN=b"\x40" + bytes(7)),
    "two-level LUN": request(bytes(6), LUN=bytes((0, 0, 0, 1, 0, 0, 0, 0))),
}


@pytest.mark.parametrize("name", BAD_FIELDS)
def test_bad_field(ready, name):
    """INVALID_FIELD, no SCSI status."""
    reply = outcome(ready, BAD_FIELDS[name])
    assert (reply.IOCStatus, reply.SCSIState) == (IOCStatus.INVALID_FIELD, ScsiState.NO_SCSI_STATUS)


@pytest.mark.parametrize("attribute", [0x000, 0x100, 0x200, 0x400, 0x500, 0x700])
def test_task_attributes(ready, attribute):
    """Simple, head, ordered, ACA, untagged, no disconnect."""
    assert ready.run(request(cdb10(0x28), 512, READ, Control=READ | attribute)) == 0x21


OVERRUNS = {
    "fewer bytes than the CDB": request(cdb10(0x28, 0, 2), 512, READ),
    "a read announced as a write": request(cdb10(0x28), 512, WRITE),
    "a write announced as a read": request(cdb10(0x2A), 512, READ),
    "no direction": request(cdb10(0x28), 512, NONE),
}


@pytest.mark.parametrize("name", OVERRUNS)
def test_overrun(ready, name):
    """DATA_OVERRUN, SCSIState 4, the command is not run."""
    ready.poke(DATA, b"\x5A" * 512)
    reply = outcome(ready, OVERRUNS[name])
    assert (reply.IOCStatus, reply.SCSIState) == (IOCStatus.SCSI_DATA_OVERRUN, 4)
    assert ready.peek(DATA, 512) == b"\x5A" * 512


def test_direction_from_the_cdb(ready):
    """MsgFlags bit 2: Control's direction does not matter."""
    assert ready.run(request(cdb10(0x28), 512, NONE, MsgFlags=4)) == 0x21


@pytest.mark.parametrize(("chip", "members", "status"), [
    (SAS1068, {"Bus": 1}, IOCStatus.SCSI_INVALID_BUS),
    (SAS1068, {"TargetID": 7}, IOCStatus.SCSI_DEVICE_NOT_THERE),
    (SAS1068, {"TargetID": 8}, IOCStatus.SCSI_DEVICE_NOT_THERE),
    (LSI53C1030, {"TargetID": 15}, IOCStatus.SCSI_DEVICE_NOT_THERE),
    (LSI53C1030, {"TargetID": 16}, IOCStatus.SCSI_INVALID_TARGETID)])
def test_addresses_nobody_answers(make_host, chip, members, status):
    """Wrong bus, no device, no such id; SCSIState 4."""
    host = make_host(chip=chip)
    host.bring_up()
    reply = outcome(host, request(bytes(6), **members))
    assert (reply.IOCStatus, reply.SCSIState) == (status, 4)


def test_selection_of_nobody_takes_250_ms_on_spi(make_host):
    """The SCSI selection time-out."""
    host = make_host(chip=LSI53C1030)
    host.bring_up()
    host.post(request(bytes(6), TargetID=5))
    host.advance(249_000_000)
    assert host.read("HOST_INTERRUPT_STATUS") == 0
    host.advance(2_000_000)
    assert host.read("HOST_INTERRUPT_STATUS") == 8


def test_no_device_before_port_enable(host):
    """Without PortEnable nothing was discovered (QEMU has the devices anyway)."""
    host.push()
    host.handshake(IOCInit.on(WIRE_LE).pack(IOCInit(WhoInit=4, ReplyFrameSize=128)))
    assert outcome(host, TUR).IOCStatus == IOCStatus.SCSI_DEVICE_NOT_THERE


# -- completions ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chip", "status"), [(SAS1068, 0x45), (LSI53C1030, 0x00)])
def test_check_condition_without_data(make_host, chip, status):
    """SAS firmware reports underrun with every check condition, SPI firmware only when data is missing."""
    host = make_host(chip=chip)
    host.bring_up()
    reply = outcome(host, TUR)
    assert (reply.SCSIStatus, reply.SCSIState, reply.IOCStatus, reply.SenseCount) == (2, 1, status, 18)


def test_sense_is_cut_to_its_buffer(ready):
    """SenseBufferLength 8: 8 bytes written, SenseCount 8."""
    ready.poke(SENSE, b"\xEE" * 32)
    reply = outcome(ready, request(cdb10(0x28, 0xFFFFFFF0), 512, READ, SenseBufferLength=8))
    assert reply.SenseCount == 8
    assert ready.peek(SENSE + 7, 2) == b"\x0A\xEE"


def test_no_room_for_sense(ready):
    """SenseBufferLength 0: autosense failed."""
    reply = outcome(ready, request(cdb10(0x28, 0xFFFFFFF0), 512, READ, SenseBufferLength=0))
    assert (reply.SCSIStatus, reply.SCSIState, reply.SenseCount) == (2, ScsiState.AUTOSENSE_FAILED, 0)


def test_medium_error_in_the_middle(ready):
    """What moved before the bad sector is counted."""
    ready.target.units[0].disk.inject(disk_faults.medium_error(4))
    reply = outcome(ready, request(cdb10(0x28, 0, 32), 0x4000, READ))
    assert (reply.IOCStatus, reply.SCSIStatus, reply.SCSIState, reply.TransferCount) == (0x45, 2, 1, 4 * 512)
    assert ready.peek(SENSE + 12, 2) == b"\x11\x00"


def test_short_transfer_with_good_status(ready):
    """Underrun with TransferCount, no sense."""
    ready.target.units[0].disk.inject(disk_faults.wrong_length(1))
    reply = outcome(ready, request(cdb10(0x28, 0, 2), 1024, READ))
    assert (reply.IOCStatus, reply.SCSIStatus, reply.SCSIState, reply.TransferCount) == (0x45, 0, 0, 512)


@pytest.mark.parametrize(("fault", "scsi_status"), [("busy", 0x08), ("queue_full", 0x28)])
def test_busy_and_queue_full(ready, fault, scsi_status):
    """The target's status comes through."""
    ready.target.units[0].disk.inject(getattr(disk_faults, fault)())
    assert outcome(ready, READ_1).SCSIStatus == scsi_status


def test_a_command_the_disk_hangs_on(ready):
    """No reply; the IOC goes on serving others."""
    ready.target.units[0].disk.inject(disk_faults.hang())
    ready.post(READ_1)
    ready.advance(10_000_000_000)
    assert ready.read("REPLY_FIFO") == 0xFFFFFFFF
    assert ready.run(request(cdb10(0x28), 512, READ, MsgContext=0x22)) == 0x22


def test_lun_1_is_not_there(ready):
    """INQUIRY answers 7F; other commands 05/25/00."""
    lun1 = bytes((0, 1, 0, 0, 0, 0, 0, 0))
    assert ready.run(request(bytes((0x12, 0, 0, 0, 36, 0)), 36, READ, LUN=lun1)) == 0x21
    assert ready.peek(DATA, 1) == b"\x7F"
    outcome(ready, request(bytes(6), LUN=lun1))
    assert ready.peek(SENSE + 12, 1) == b"\x25"


def test_msgcontext_with_bit_31_looks_like_an_address(ready):
    """The context comes back as it is; keeping bit 31 clear is the driver's business."""
    assert ready.run(request(cdb10(0x28), 512, READ, MsgContext=0x80000021)) == 0x80000021


def test_commands_of_one_disk_share_its_time(ready):
    """Two 16 KiB reads at once take as long as two in a row, minus the firmware's overlap."""
    ready.poke(REQUEST, request(cdb10(0x28, 0, 32), 0x4000, READ))
    start = ready.machine.clock.now_ns
    ready.write("REQUEST_FIFO", REQUEST)
    ready.write("REQUEST_FIFO", REQUEST)
    took = []
    while len(took) < 2:
        ready.advance(100)
        if ready.read("HOST_INTERRUPT_STATUS") & 8:
            ready.read("REPLY_FIFO")
            took.append(ready.machine.clock.now_ns - start)
    service = ready.target.service_ns(cdb10(0x28), 0x4000)
    assert took[1] - took[0] == pytest.approx(service, abs=200)
