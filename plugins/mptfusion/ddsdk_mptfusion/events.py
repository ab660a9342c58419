"""Events: asked for once the IOC is OPERATIONAL, noted in the log, acknowledged where the IOC wants that.

LSI mpi_ioc.h 01.02.07 (EventNotification, EventAck); Linux 2.6.9 mptbase.c.  Normal mode only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE

from .frames import MSGFLAGS_CONTINUATION_REPLY, Event, EventAck, EventNotification, EventNotificationReply

if TYPE_CHECKING:
    from .adapter import MptAdapter, MptRequest

_NOTIFICATION = EventNotification.on(WIRE_LE)
_REPLY = EventNotificationReply.on(WIRE_LE)
_ACK = EventAck.on(WIRE_LE)
_NAMES: Final = {event.value: event.name for event in Event}


def SendEventNotification(ioc: MptAdapter) -> None:
    """Switch events on.  Its frame stays with the IOC as long as replies say that more will follow."""
    request = ioc.event_request
    ioc.event_acks.clear()
    _NOTIFICATION.pack_into(ioc.view, request.frame_offset,
                            EventNotification(Switch=1, MsgContext=ioc.new_context(request)))
    ioc.post(request, mpt_event)


def mpt_event(ioc: MptAdapter, request: MptRequest, reply: bytes | None) -> None:
    """An event arrived, in interrupt context."""
    if reply is None:
        return
    event = _REPLY.unpack(reply)
    if event.MsgFlags & MSGFLAGS_CONTINUATION_REPLY:
        ioc.outstanding[request.context] = request
    if event.Event != Event.EVENT_CHANGE:
        ioc.printk(f"event {_NAMES.get(event.Event, hex(event.Event))}, data {event.Data:#010x}")
    if event.AckRequired:
        ioc.event_acks.append((event.Event, event.EventContext))
        if ioc.ack_request.context not in ioc.outstanding:
            _send_next_ack(ioc)


def _send_next_ack(ioc: MptAdapter) -> None:
    request = ioc.ack_request
    number, context = ioc.event_acks.popleft()
    _ACK.pack_into(ioc.view, request.frame_offset,
                   EventAck(MsgContext=ioc.new_context(request), Event=number, EventContext=context))
    ioc.post(request, _acked)


def _acked(ioc: MptAdapter, _request: MptRequest, _reply: bytes | None) -> None:
    if ioc.event_acks:
        _send_next_ack(ioc)
