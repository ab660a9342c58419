"""The firmware's side of every message that is not SCSI I/O: facts, init, ports, events, configuration.

A message is answered the same way whether it came by handshake or through the request FIFO.  Layouts:
mpi_ioc.py.  Values: model_chips.py.  What is refused where QEMU 7.2 mptsas1068 obliges: IOCInit while
OPERATIONAL, PortEnable before IOCInit, messages shorter than their structure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ddsdk.abi import WIRE_LE

from .mpi import (
    IOCFACTS_FLAGS_FW_DOWNLOAD_BOOT,
    MSGFLAGS_CONTINUATION_REPLY,
    Event,
    IOCStatus,
    MsgFunction,
)
from .mpi_ioc import (
    Config,
    ConfigReply,
    EventAck,
    EventNotification,
    EventNotificationReply,
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
from .regs import FaultCode, IocState, WhoInit

if TYPE_CHECKING:
    from .model_core import IocCore

#: (nanoseconds until the answer, what then makes the reply)
Outcome = tuple[int, Callable[[], bytes]]

_HEADER = MPIHeader.on(WIRE_LE)
_SMALLEST_REPLY_FRAME = 16              # IOCStatus must fit
_DEFAULT_REPLY_BYTES = 20


def default_reply(header: MPIHeader, status: IOCStatus) -> bytes:
    """The 20 bytes every reply can be cut down to."""
    return MPIDefaultReply.on(WIRE_LE).pack(MPIDefaultReply(
        MsgLength=_DEFAULT_REPLY_BYTES // 4, Function=header.Function, MsgFlags=header.MsgFlags,
        MsgContext=header.MsgContext, IOCStatus=status))


class Messages:
    """Event state and configuration of one IOC, and the dispatch of its messages."""

    def __init__(self, ioc: IocCore) -> None:
        self._ioc = ioc
        self._handlers: dict[int, tuple[int, Callable[[bytes], Outcome | None]]] = {
            MsgFunction.IOC_INIT: (IOCInit.on(WIRE_LE).size, self._ioc_init),
            MsgFunction.IOC_FACTS: (_HEADER.size, self._ioc_facts),
            MsgFunction.CONFIG: (Config.on(WIRE_LE).size, self._config),
            MsgFunction.PORT_FACTS: (PortFacts.on(WIRE_LE).size, self._port_facts),
            MsgFunction.PORT_ENABLE: (PortEnable.on(WIRE_LE).size, self._port_enable),
            MsgFunction.EVENT_NOTIFICATION: (EventNotification.on(WIRE_LE).size, self._event_notification),
            MsgFunction.EVENT_ACK: (EventAck.on(WIRE_LE).size, self._event_ack),
            MsgFunction.SCSI_TASK_MGMT: ioc.task_mgmt.handler,
        }
        self.reset()

    def reset(self) -> None:
        """What IOCInit and EventNotification set up is gone."""
        self.event_context: int | None = None
        self._unacknowledged: set[tuple[int, int]] = set()
        self._next_event = 1
        self.init = IOCInit(MaxDevices=self._ioc.chip.MaxDevices)
        self.ports_enabled = False

    def size_of(self, function: int) -> int | None:
        """Bytes the message with this function code has at least; None for one the IOC does not know."""
        known = self._handlers.get(function)
        return known[0] if known else None

    def handle(self, request: bytes, by_handshake: bool) -> Outcome | None:
        """Act on a message; None when there will be no answer (the IOC went to FAULT, or a fault struck)."""
        known = self._handlers.get(request[3])
        if known is None:
            self._ioc.enter_fault(FaultCode.INVALID_FUNCTION)
            return None
        size, handler = known
        if by_handshake and len(request) < size:
            return self.refuse(request, IOCStatus.INVALID_FIELD)
        return handler(request)

    def refuse(self, request: bytes, status: IOCStatus) -> Outcome:
        """Answer with a status and nothing else."""
        return self._ioc.timing.message_ns, partial(default_reply, _HEADER.unpack(request), status)

    # -- facts -----------------------------------------------------------------------------------------

    def _ioc_facts(self, request: bytes) -> Outcome:
        return self._ioc.timing.message_ns, partial(self._facts_reply, _HEADER.unpack(request))

    def _facts_reply(self, header: MPIHeader) -> bytes:
        ioc, chip = self._ioc, self._ioc.chip
        there = 0 if ioc.faults.hit("facts-zero") is not None else 1
        missing = ioc.faults.hit("facts-firmware-missing") is not None
        return IOCFactsReply.on(WIRE_LE).pack(IOCFactsReply(
            MsgVersion=chip.MsgVersion, MsgLength=chip.facts_bytes // 4, Function=MsgFunction.IOC_FACTS,
            HeaderVersion=chip.HeaderVersion, IOCNumber=ioc.number, MsgFlags=header.MsgFlags,
            MsgContext=header.MsgContext, MaxChainDepth=chip.MaxChainDepth, WhoInit=ioc.who_init,
            BlockSize=chip.BlockSize, Flags=IOCFACTS_FLAGS_FW_DOWNLOAD_BOOT if missing else 0,
            ReplyQueueDepth=chip.ReplyQueueDepth * there, RequestFrameSize=chip.RequestFrameSize * there,
            ProductID=chip.ProductID, CurrentHostMfaHighAddr=self.init.HostMfaHighAddr,
            GlobalCredits=chip.GlobalCredits * there,
            NumberOfPorts=chip.NumberOfPorts, EventState=int(self.event_context is not None),
            CurrentSenseBufferHighAddr=self.init.SenseBufferHighAddr,
            CurReplyFrameSize=self.init.ReplyFrameSize, MaxDevices=self.init.MaxDevices,
            MaxBuses=chip.MaxBuses, IOCCapabilities=chip.IOCCapabilities, FWVersion=chip.FWVersion,
            HighPriorityQueueDepth=chip.HighPriorityQueueDepth))[:chip.facts_bytes]

    def _port_facts(self, request: bytes) -> Outcome:
        return self._ioc.timing.message_ns, partial(self._port_reply, PortFacts.on(WIRE_LE).unpack(request))

    def _port_reply(self, message: PortFacts) -> bytes:
        chip = self._ioc.chip
        absent = message.PortNumber >= chip.NumberOfPorts
        there = 0 if absent or self._ioc.faults.hit("port-inactive") is not None else 1
        return PortFactsReply.on(WIRE_LE).pack(PortFactsReply(
            MsgLength=PortFactsReply.on(WIRE_LE).size // 4, Function=MsgFunction.PORT_FACTS,
            PortNumber=message.PortNumber, MsgFlags=message.MsgFlags, MsgContext=message.MsgContext,
            PortType=chip.PortType * there, MaxDevices=chip.PortMaxDevices * there,
            PortSCSIID=chip.PortSCSIID * there, ProtocolFlags=chip.ProtocolFlags * there))

    # -- bring-up --------------------------------------------------------------------------------------

    def _ioc_init(self, request: bytes) -> Outcome:
        message = IOCInit.on(WIRE_LE).unpack(request)
        if self._ioc.state is not IocState.READY:
            status = IOCStatus.INVALID_STATE
        elif (message.WhoInit == WhoInit.NO_ONE or message.WhoInit > WhoInit.MANUFACTURER
              or message.ReplyFrameSize < _SMALLEST_REPLY_FRAME or message.ReplyFrameSize % 8
              or self._wants_signalling(request)):
            status = IOCStatus.INVALID_FIELD
        else:
            status = IOCStatus.SUCCESS
        return self._ioc.timing.ioc_init_ns, partial(self._init_reply, message, status)

    def _wants_signalling(self, request: bytes) -> bool:
        """The long form may ask for reply signalling in host memory, which neither chip here has."""
        layout = IOCInitLong.on(WIRE_LE)
        return len(request) == layout.size and bool(layout.unpack(request).ReplyFifoHostSignalingAddr)

    def _init_reply(self, message: IOCInit, status: IOCStatus) -> bytes:
        ioc = self._ioc
        if status is IOCStatus.SUCCESS and ioc.faults.hit("init-ignored") is None:
            self.init = message
            ioc.initialised(message)
        return IOCInitReply.on(WIRE_LE).pack(IOCInitReply(
            WhoInit=message.WhoInit, MsgLength=_DEFAULT_REPLY_BYTES // 4, Function=MsgFunction.IOC_INIT,
            Flags=message.Flags, MaxDevices=message.MaxDevices, MaxBuses=message.MaxBuses,
            MsgFlags=message.MsgFlags, MsgContext=message.MsgContext, IOCStatus=status))

    def _port_enable(self, request: bytes) -> Outcome:
        message = PortEnable.on(WIRE_LE).unpack(request)
        if self._ioc.state is not IocState.OPERATIONAL:
            return self.refuse(request, IOCStatus.INVALID_STATE)
        if message.PortNumber >= self._ioc.chip.NumberOfPorts:
            return self.refuse(request, IOCStatus.INVALID_FIELD)
        return self._ioc.timing.port_enable_ns, partial(self._enabled_reply, message)

    def _enabled_reply(self, message: PortEnable) -> bytes:
        self.ports_enabled = True
        return PortEnableReply.on(WIRE_LE).pack(PortEnableReply(
            MsgLength=_DEFAULT_REPLY_BYTES // 4, Function=MsgFunction.PORT_ENABLE,
            PortNumber=message.PortNumber, MsgFlags=message.MsgFlags, MsgContext=message.MsgContext))

    # -- events ----------------------------------------------------------------------------------------

    def _event_notification(self, request: bytes) -> Outcome:
        message = EventNotification.on(WIRE_LE).unpack(request)
        return self._ioc.timing.message_ns, partial(self._switch_events, message)

    def _switch_events(self, message: EventNotification) -> bytes:
        """The first reply of the stream says that the switch moved; the last one ends it."""
        on = bool(message.Switch)
        self.event_context = message.MsgContext if on else None
        return self._event_frame(Event.EVENT_CHANGE, 0, int(on), message.MsgContext, more=on)

    def _event_frame(self, event: int, event_context: int, data: int, msg_context: int, *, more: bool,
                     ack: bool = False) -> bytes:
        return EventNotificationReply.on(WIRE_LE).pack(EventNotificationReply(
            EventDataLength=1, MsgLength=EventNotificationReply.on(WIRE_LE).size // 4,
            Function=MsgFunction.EVENT_NOTIFICATION, AckRequired=int(ack),
            MsgFlags=MSGFLAGS_CONTINUATION_REPLY if more else 0, MsgContext=msg_context, Event=event,
            EventContext=event_context, Data=data))

    def send_event(self, event: int, data: int = 0, *, ack: bool = False) -> None:
        """Something happened; the host hears of it if it switched events on."""
        if self.event_context is None:
            return
        number, self._next_event = self._next_event, self._next_event + 1
        if ack:
            self._unacknowledged.add((event, number))
        self._ioc.post_frame(self._event_frame(event, number, data, self.event_context, more=True, ack=ack))

    def _event_ack(self, request: bytes) -> Outcome:
        message = EventAck.on(WIRE_LE).unpack(request)
        pair = (message.Event, message.EventContext)
        known = pair in self._unacknowledged
        self._unacknowledged.discard(pair)
        return self.refuse(request, IOCStatus.SUCCESS if known else IOCStatus.INVALID_FIELD)

    # -- configuration ---------------------------------------------------------------------------------

    def _config(self, request: bytes) -> Outcome:
        """No page exists: every action is answered CONFIG_INVALID_PAGE."""
        message = Config.on(WIRE_LE).unpack(request)
        reply = ConfigReply(
            Action=message.Action, MsgLength=ConfigReply.on(WIRE_LE).size // 4, Function=MsgFunction.CONFIG,
            ExtPageLength=message.ExtPageLength, ExtPageType=message.ExtPageType, MsgFlags=message.MsgFlags,
            MsgContext=message.MsgContext, IOCStatus=IOCStatus.CONFIG_INVALID_PAGE,
            PageVersion=message.PageVersion, PageLength=message.PageLength, PageNumber=message.PageNumber,
            PageType=message.PageType)
        return self._ioc.timing.message_ns, partial(ConfigReply.on(WIRE_LE).pack, reply)
