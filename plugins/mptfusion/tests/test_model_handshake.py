"""The doorbell: who takes what when, half-done handshakes, messages the IOC refuses."""

from __future__ import annotations

import pytest
from attrs import evolve

from ddsdk.abi import WIRE_LE
from ddsdk_mptfusion.frames import (
    Config,
    ConfigReply,
    EventAck,
    EventNotification,
    EventNotificationReply,
    IOCFactsReply,
    IOCInit,
    IOCInitLong,
    IOCStatus,
    MPIDefaultReply,
    PortEnable,
    PortFacts,
    PortFactsReply,
    PortType,
)
from ddsdk_mptfusion.model import LSI53C1030, SAS1068
from ddsdk_mptfusion.model_handshake import Phase
from ddsdk_mptfusion.regs import IocState

IOC_FACTS = bytes.fromhex("00000003 00000000 44332211")
INIT = IOCInit(WhoInit=4, MaxBuses=1, MsgContext=2, ReplyFrameSize=128)


def status(reply: bytes) -> int:
    """IOCStatus of any reply."""
    return int(MPIDefaultReply.on(WIRE_LE).unpack(reply).IOCStatus)


def test_bit_31_stays_until_the_doorbell_is_taken(host):
    """IntStatus bit 31 reads 1 right after a Doorbell write and 0 two microseconds later."""
    host.write("DOORBELL_WRITE", 0x42030000)
    assert host.read("HOST_INTERRUPT_STATUS") == 0x80000000
    host.advance(1_999)
    assert host.read("HOST_INTERRUPT_STATUS") == 0x80000000
    host.advance(1)
    assert host.read("HOST_INTERRUPT_STATUS") == 0x00000001


def test_a_write_before_the_last_was_taken_replaces_it(host):
    """Two dwords in a row without waiting: the first is lost, the handshake waits for one more."""
    host.begin_handshake(3)
    host.write("DOORBELL_WRITE", 0x03000000)
    host.write("DOORBELL_WRITE", 0x00000000)
    assert host.taken()
    host.write("DOORBELL_WRITE", 0x11223344)
    assert host.taken()
    assert host.ioc.handshake.phase is Phase.REQUEST


def test_doorbell_used_covers_the_whole_handshake(host):
    """Bit 27 is 1 from the start until the closing interrupt is acknowledged."""
    host.begin_handshake(3)
    host.send_dwords(IOC_FACTS)
    for _ in range(2 * 20):
        assert host.read("DOORBELL") & 0x08000000
        host.read_word()
    assert host.doorbell_interrupt()
    assert host.read("DOORBELL") & 0x08000000
    host.write("HOST_INTERRUPT_STATUS", 0)
    assert host.read("DOORBELL") == 0x10000000


def test_no_word_is_there_before_its_interrupt(host):
    """Between acknowledging a word and the next doorbell interrupt, Doorbell 15:0 reads 0."""
    host.begin_handshake(3)
    host.send_dwords(IOC_FACTS)
    assert host.read_word() == 0x0105
    assert host.read("DOORBELL") & 0xFFFF == 0
    assert host.read_word() == 0x0314


def test_acknowledging_without_an_interrupt_does_nothing(host):
    """IntStatus writes while bit 0 is 0 lose no word."""
    host.begin_handshake(3)
    host.send_dwords(IOC_FACTS)
    for _ in range(3):
        host.write("HOST_INTERRUPT_STATUS", 0)
    assert host.read_word() == 0x0105


def test_message_unit_reset_among_request_dwords_is_a_dword(host):
    """0x40000000 in the middle of a request counts as the next dword; the IOC is not reset."""
    host.begin_handshake(3)
    host.write("DOORBELL_WRITE", 0x40000000)
    assert host.taken()
    assert host.read("DOORBELL") == 0x18000000
    host.send_dwords(IOC_FACTS[4:])
    assert host.until(lambda: host.state() == IocState.FAULT)   # function 0x40 is no message


def test_message_unit_reset_during_a_reply_is_not_honoured(host):
    """It is taken, and the reply goes on where it was."""
    host.begin_handshake(3)
    host.send_dwords(IOC_FACTS)
    assert host.read_word() == 0x0105
    host.write("DOORBELL_WRITE", 0x40000000)
    assert host.taken()
    assert host.read_word() == 0x0314
    assert host.state() == IocState.READY


@pytest.mark.parametrize("words", [0, 1, 7])
def test_hard_reset_ends_a_handshake_anywhere(host, words):
    """Bit 27 is 0 after a hard reset in the middle of a reply, and the next handshake works."""
    host.begin_handshake(3)
    host.send_dwords(IOC_FACTS)
    for _ in range(words):
        host.read_word()
    assert host.hard_reset()
    assert host.read("DOORBELL") == 0x10000000
    assert len(host.handshake(IOC_FACTS)) == 80


def test_hard_reset_ends_a_half_sent_request(host):
    """The missing dwords are not expected afterwards."""
    host.begin_handshake(3)
    host.send_dwords(IOC_FACTS[:4])
    assert host.hard_reset()
    assert len(host.handshake(IOC_FACTS)) == 80


@pytest.mark.parametrize("function", [0x00, 0x09, 0x7F])
def test_unknown_function_by_handshake_is_a_fault(host, function):
    """SCSI I/O by handshake, firmware download, nonsense: Doorbell reads FAULT 0x0001."""
    host.begin_handshake(3)
    host.send_dwords(bytes((0, 0, 0, function)) + bytes(8))
    assert host.read("DOORBELL") == 0x40000001


@pytest.mark.parametrize("dwords", [0, 129])
def test_a_handshake_of_impossible_length_is_a_fault(host, dwords):
    """No dwords, or more than RequestFrameSize."""
    host.write("DOORBELL_WRITE", 0x42000000 | dwords << 16)
    host.advance(10_000)
    assert host.read("DOORBELL") == 0x40000001


def test_unknown_doorbell_function_is_a_fault(host):
    """Doorbell function 0x55."""
    host.write("DOORBELL_WRITE", 0x55000000)
    host.advance(10_000)
    assert host.read("DOORBELL") == 0x40000001


def test_a_message_cut_short_is_refused(host):
    """IOCInit announced with three dwords: INVALID_FIELD, the IOC stays READY."""
    assert status(host.handshake(IOCInit.on(WIRE_LE).pack(INIT)[:12])) == IOCStatus.INVALID_FIELD
    assert host.state() == IocState.READY


@pytest.mark.parametrize("changes", [
    {"WhoInit": 0}, {"WhoInit": 6}, {"ReplyFrameSize": 0}, {"ReplyFrameSize": 8}, {"ReplyFrameSize": 130}])
def test_iocinit_checks_its_fields(host, changes):
    """Nobody as initiator, reply frames too small for IOCStatus or not a multiple of 8: INVALID_FIELD."""
    reply = host.handshake(IOCInit.on(WIRE_LE).pack(evolve(INIT, **changes)))
    assert status(reply) == IOCStatus.INVALID_FIELD
    assert host.state() == IocState.READY


def test_iocinit_takes_the_long_form(host):
    """44 bytes, as MPI 1.5 has it; reply signalling in host memory is refused."""
    init = IOCInitLong(WhoInit=4, MaxBuses=1, ReplyFrameSize=128, MsgVersion=0x0105)
    refused = evolve(init, ReplyFifoHostSignalingAddr=0x1000)
    assert status(host.handshake(IOCInitLong.on(WIRE_LE).pack(refused))) == IOCStatus.INVALID_FIELD
    assert status(host.handshake(IOCInitLong.on(WIRE_LE).pack(init))) == IOCStatus.SUCCESS
    assert host.state() == IocState.OPERATIONAL


def test_iocinit_while_operational_is_refused(ready):
    """INVALID_STATE (QEMU accepts it): a driver resets first."""
    assert status(ready.handshake(IOCInit.on(WIRE_LE).pack(INIT))) == IOCStatus.INVALID_STATE


def test_port_enable_needs_an_initialised_ioc(host):
    """INVALID_STATE in READY, INVALID_FIELD for a port the chip does not have."""
    enable = PortEnable(MsgContext=3)
    assert status(host.handshake(PortEnable.on(WIRE_LE).pack(enable))) == IOCStatus.INVALID_STATE
    host.bring_up()
    reply = host.handshake(PortEnable.on(WIRE_LE).pack(evolve(enable, PortNumber=8)))
    assert status(reply) == IOCStatus.INVALID_FIELD


def test_port_facts_of_a_port_that_is_not_there(host):
    """PortType 0 and no protocol, status success."""
    request = PortFacts.on(WIRE_LE).pack(PortFacts(PortNumber=8))
    reply = PortFactsReply.on(WIRE_LE).unpack(host.handshake(request))
    assert (reply.PortType, reply.ProtocolFlags, reply.IOCStatus) == (PortType.INACTIVE, 0, 0)


def test_1030_answers_as_mpi_1_2_firmware(make_host):
    """60 bytes of IOCFacts, one SPI port of 16 ids."""
    host = make_host(chip=LSI53C1030)
    reply = host.handshake(IOC_FACTS)
    facts = IOCFactsReply.on(WIRE_LE).unpack(reply.ljust(80, b"\0"))
    assert len(reply) == 60
    assert (facts.MsgVersion, facts.NumberOfPorts) == (0x0102, 1)
    assert (facts.RequestFrameSize, facts.GlobalCredits) == (32, 222)
    port = PortFactsReply.on(WIRE_LE).unpack(host.handshake(PortFacts.on(WIRE_LE).pack(PortFacts())))
    assert (port.PortType, port.MaxDevices, port.PortSCSIID, port.ProtocolFlags) == (PortType.SCSI, 16, 7, 8)


def test_config_pages_do_not_exist(host):
    """Every page: CONFIG_INVALID_PAGE, the request's page header in the reply."""
    request = Config(Action=1, PageLength=4, PageNumber=2, PageType=9, MsgContext=5)
    reply = ConfigReply.on(WIRE_LE).unpack(host.handshake(Config.on(WIRE_LE).pack(request)))
    assert reply.IOCStatus == IOCStatus.CONFIG_INVALID_PAGE
    assert (reply.PageLength, reply.PageNumber, reply.PageType, reply.MsgContext) == (4, 2, 9, 5)


def events(host, switch: int, context: int) -> EventNotificationReply:
    """Switch event notification through the request FIFO."""
    request = EventNotification(Switch=switch, MsgContext=context)
    frame = host.frame_of(host.run(EventNotification.on(WIRE_LE).pack(request).ljust(64, b"\0")), 0x20)
    return EventNotificationReply.on(WIRE_LE).unpack(frame)


def test_event_notification_answers_with_event_change(ready):
    """Event 0x0A with the switch as data; MsgFlags 0x80 while more may follow; IOCFacts.EventState."""
    on = events(ready, 1, 0x77)
    assert (on.Event, on.Data, on.MsgFlags, on.MsgContext) == (0x0A, 1, 0x80, 0x77)
    assert (on.MsgLength, on.EventDataLength) == (8, 1)
    assert IOCFactsReply.on(WIRE_LE).unpack(ready.handshake(IOC_FACTS)).EventState == 1
    off = events(ready, 0, 0x78)
    assert (off.Event, off.Data, off.MsgFlags, off.MsgContext) == (0x0A, 0, 0, 0x78)
    assert IOCFactsReply.on(WIRE_LE).unpack(ready.handshake(IOC_FACTS)).EventState == 0


def test_events_can_be_acknowledged_once(ready):
    """EventAck of an event that wants it succeeds; the same again, or one never sent, is INVALID_FIELD."""
    events(ready, 1, 0x77)
    ready.ioc.messages.send_event(1, ack=True)
    event = EventNotificationReply.on(WIRE_LE).unpack(ready.frame_of(ready.reply(), 0x20))
    assert (event.Event, event.AckRequired, event.MsgContext, event.MsgFlags) == (1, 1, 0x77, 0x80)
    ack = EventAck.on(WIRE_LE).pack(EventAck(MsgContext=0x55, Event=1, EventContext=event.EventContext))
    assert status(ready.frame_of(ready.run(ack.ljust(64, b"\0")), 0x14)) == IOCStatus.SUCCESS
    assert status(ready.frame_of(ready.run(ack.ljust(64, b"\0")), 0x14)) == IOCStatus.INVALID_FIELD


def test_no_events_unless_switched_on(ready):
    """An event nobody asked for is not sent."""
    ready.ioc.messages.send_event(1, ack=True)
    assert ready.read("HOST_INTERRUPT_STATUS") == 0


def test_ioc_facts_through_the_request_fifo(ready):
    """The same 80 bytes by address reply; a message frame of 12 bytes is enough."""
    ready.function.dma_revoke(0x00200000, 0x300000)
    ready.function.dma_grant(0x00300000, 0x1000)
    ready.function.dma_grant(0x00200000, 0x0C)
    reply = ready.frame_of(ready.run(IOC_FACTS), 80)
    assert IOCFactsReply.on(WIRE_LE).unpack(reply).GlobalCredits == SAS1068.GlobalCredits
