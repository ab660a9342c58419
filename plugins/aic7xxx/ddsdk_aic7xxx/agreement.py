"""Transfer agreements: what a target and we agreed on, what we would like, and the message that asks for it."""

from __future__ import annotations

from typing import Final

from attrs import evolve, field, frozen

from .frames import (
    EXT_LEN,
    OFFSET_MAX,
    PERIOD_ASYNC,
    PERIOD_DT,
    PERIOD_ST,
    PPR_DT,
    RATE_CODES,
    RATE_DT,
    RATE_SINGLE_EDGE,
    RATE_WIDE,
    Ext,
    Msg,
)


def rate_code(period: int, offset: int, wide: bool, dt: bool) -> int:
    """SCSIRATE for an agreement: the fastest rate not faster than *period*; 0, or wide alone, when asynchronous."""
    width = RATE_WIDE if wide else 0
    if not offset:
        return width
    slowest = RATE_CODES[-1][1]
    code = next((code for factor, code in RATE_CODES if factor >= period and (dt or factor >= PERIOD_ST)), slowest)
    return code | (RATE_DT if dt else RATE_SINGLE_EDGE) | width


@frozen
class TransInfo:
    """Period factor, REQ/ACK offset (0: asynchronous), 16 bits wide, clocking on both edges; SCSIRATE for it."""

    period: int = 0
    offset: int = 0
    wide: bool = False
    dt: bool = False

    scsirate: int = field(init=False, eq=False, repr=False)

    @scsirate.default
    def _scsirate(self) -> int:
        return rate_code(self.period, self.offset, self.wide, self.dt)


#: What holds after every reset.
ASYNC_NARROW: Final = TransInfo()
#: Ultra160, as far as the host is concerned.
ULTRA160: Final = TransInfo(PERIOD_DT, OFFSET_MAX, True, True)


def _extended(code: Ext, *arguments: int) -> bytes:
    return bytes((Msg.EXTENDED, EXT_LEN[code], code, *arguments))


def ppr(info: TransInfo) -> bytes:
    """PARALLEL PROTOCOL REQUEST."""
    return _extended(Ext.PPR, info.period, 0, info.offset, info.wide, PPR_DT if info.dt else 0)


def wdtr(wide: bool) -> bytes:
    """WIDE DATA TRANSFER REQUEST."""
    return _extended(Ext.WDTR, wide)


def sdtr(info: TransInfo) -> bytes:
    """SYNCHRONOUS DATA TRANSFER REQUEST."""
    return _extended(Ext.SDTR, info.period if info.offset else PERIOD_ASYNC, info.offset)


def request(curr: TransInfo, goal: TransInfo) -> bytes:
    """The message that leads from *curr* towards *goal*: PPR for what only PPR can say, then width, then speed."""
    if goal.dt:
        return ppr(goal)
    if goal.wide is not curr.wide:
        return wdtr(goal.wide)
    return sdtr(goal)


def without(goal: TransInfo, refused: Ext) -> TransInfo:
    """What to ask for next time of a target that will not hear of *refused*."""
    if refused is Ext.PPR:
        return evolve(goal, dt=False, period=max(goal.period, PERIOD_ST) if goal.offset else goal.period)
    if refused is Ext.WDTR:
        return evolve(goal, wide=False)
    return evolve(goal, period=0, offset=0)


def after_reject(curr: TransInfo, refused: Ext) -> TransInfo:
    """What holds once either side answered *refused* with MESSAGE REJECT: SPI-4, negotiation, asynchronous transfers;
    but for SDTR, which says nothing of the width, eight bits wide."""
    return TransInfo(wide=curr.wide and refused is Ext.SDTR)


def agreed(goal: TransInfo, curr: TransInfo, reply: bytes) -> TransInfo | None:
    """What *reply*, a whole extended message, makes the agreement; None when it asks for more than *goal*."""
    code = reply[2]
    if (code == Ext.WDTR and reply[3] > 1) or (code == Ext.PPR and reply[6] > 1):
        return None
    if code == Ext.WDTR:
        wide = bool(reply[3])
        return None if wide and not goal.wide else TransInfo(wide=wide)        # the speed is to be agreed on anew
    if code == Ext.SDTR:
        period, offset, wide, dt = reply[3], reply[4], curr.wide, False
    else:
        period, offset, wide, dt = reply[3], reply[5], bool(reply[6]), bool(reply[7] & PPR_DT)
    if offset > goal.offset or (wide and not goal.wide) or (dt and not goal.dt):
        return None
    if not offset:
        return TransInfo(wide=wide)
    return None if period < goal.period else TransInfo(period, offset, wide, dt)
