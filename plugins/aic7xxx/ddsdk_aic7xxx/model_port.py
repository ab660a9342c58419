"""A target's SCSI port: messages, transfer agreements, the commands it was given, and a connection to it.

SPI-4 rev 10, 16; SCSI-2 rev 10L, 7.6 (contingent allegiance).  Stricter than most disks: an untagged command beside
others of its initiator, a message cut off by ATN, data at a rate nobody agreed on are faults of the host's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim.scsi_target import CHECK_CONDITION, ScsiTarget

from .frames import (
    EXT_LEN,
    IDENTIFY_DISC,
    IDENTIFY_LUN,
    PPR_DT,
    RATE_CODES,
    RATE_DT,
    RATE_SINGLE_EDGE,
    RATE_WIDE,
    Ext,
    Msg,
)
from .model_chip import Port
from .regs import Phase

if TYPE_CHECKING:
    from ddsdk.sim.clock import Event

#: (period factor, offset, wide, DT)
Agreement = tuple[int, int, bool, bool]
ASYNC: Final[Agreement] = (0, 0, False, False)
REQUEST_SENSE: Final = 0x03
_COMMAND_TERMINATED: Final = 0x22
_GREEDY_OFFSET: Final = 0xFF
#: Bytes a microsecond: asynchronous, and what each period factor moves, one byte wide.
_ASYNC_RATE: Final = 5
_RATES: Final[Mapping[int, int]] = {9: 80, 10: 40, 11: 33, 12: 20, 15: 16, 18: 13, 25: 10, 31: 8, 37: 6, 43: 5, 50: 5}


def scsirate_of(agreement: Agreement) -> int:
    """What SCSIRATE has to be for an agreement."""
    period, offset, wide, dt = agreement
    value = RATE_WIDE if wide else 0
    if offset:
        value |= next((code for factor, code in RATE_CODES if factor >= period), RATE_CODES[-1][1])
        value |= RATE_DT if dt else RATE_SINGLE_EDGE
    return value


class Task:
    """A command at a target.  `status`: a fault decided it already.  `event`: when it will be ready to go on."""

    __slots__ = ("cdb", "dead", "disc", "event", "lun", "moved", "port", "ready", "sense", "split", "status", "tag")

    def __init__(self, port: TargetPort, lun: int, tag: int | None, cdb: bytes, disc: bool) -> None:
        self.port = port
        self.lun = lun
        self.tag = tag
        self.cdb = cdb
        self.disc = disc
        self.status: int | None = None
        self.event: Event | None = None
        self.ready = self.dead = False
        self.moved = -1                     # bytes of its data phase, -1 before it
        self.split = -1                     # bytes of a first part of it
        self.sense = b""


class TargetPort:
    """One target as the bus sees it."""

    def __init__(self, number: int, target: ScsiTarget, port: Port) -> None:
        self.id = number
        self.target = target
        self.can = port
        self.agreement = ASYNC
        self.tasks: list[Task] = []
        self.free_at_ns = 0
        self.deaf_until_ns = 0
        #: Logical units with sense data to be fetched; their other tasks wait for that.
        self.allegiance: set[int] = set()
        self.sense_fails = False
        for unit in target.units.values():
            unit.autosense = False          # SCSI parallel: sense data is asked for

    @property
    def present(self) -> bool:
        """Whether it answers."""
        return self.target.present

    def forget(self) -> None:
        """Every task."""
        for task in self.tasks:
            task.dead = True
            if task.event is not None:
                task.event.cancel()
        self.tasks.clear()
        self.allegiance.clear()
        self.free_at_ns = 0
        self.sense_fails = False

    def reset(self, *, bus: bool, until_ns: int) -> None:
        """RST, or BUS DEVICE RESET: a unit attention is due, agreements are void, no selection until *until_ns*."""
        self.forget()
        self.agreement = ASYNC
        self.deaf_until_ns = until_ns
        self.target.reset("bus" if bus else "target")

    def end(self, task: Task) -> None:
        """A task is over."""
        task.dead = True
        if task.event is not None:
            task.event.cancel()
        if task in self.tasks:
            self.tasks.remove(task)

    def accept(self, task: Task) -> bool:
        """A command arrived; whether it ends a contingent allegiance.  HardwareFault when it meets others it must not.
        """
        others = [one for one in self.tasks if one.lun == task.lun] if self.tasks else ()
        sensing = task.cdb[0] == REQUEST_SENSE and task.lun in self.allegiance
        if others and not sensing and any(one.tag is None or task.tag in (None, one.tag) for one in others):
            raise HardwareFault(f"target {self.id} lun {task.lun}: command {task.cdb[0]:02x} with tag {task.tag} beside"
                                f" tags {[one.tag for one in others]} of the same initiator: overlapped commands")
        self.tasks.append(task)
        if task.lun not in self.allegiance:
            return False
        self.allegiance.discard(task.lun)
        return True

    def note_status(self, task: Task, status: int) -> None:
        """The command ended with *status*: with sense data to fetch, the unit waits for REQUEST SENSE."""
        if status in (CHECK_CONDITION, _COMMAND_TERMINATED):
            self.allegiance.add(task.lun)

    def may_go_on(self, task: Task) -> bool:
        """Not while somebody else's sense data waits."""
        return task.lun not in self.allegiance or task.cdb[0] == REQUEST_SENSE

    # -- agreements --------------------------------------------------------------------------------

    @property
    def agreement(self) -> Agreement:
        """What data moves by."""
        return self._agreement

    @agreement.setter
    def agreement(self, agreement: Agreement) -> None:
        period, offset, wide, _ = self._agreement = agreement
        rate = next((_RATES[factor] for factor in _RATES if factor >= period), 5) if offset else _ASYNC_RATE
        self._bytes_per_us = rate * (2 if wide else 1)
        self._scsirate = scsirate_of(agreement)

    def negotiate(self, message: bytes, *, greedy: bool) -> bytes:
        """The answer to an extended message, and the agreement it makes; *greedy*: more than was asked for."""
        code, can = message[2], self.can
        if code == Ext.PPR and can.ppr:
            period, offset = max(message[3], can.period), min(message[5], can.offset)
            wide, dt = bool(message[6]) and can.wide, bool(message[7] & PPR_DT) and period == can.period == 9
            if greedy:
                return bytes((*message[:5], _GREEDY_OFFSET, message[6], message[7]))
            self.agreement = (period, offset, wide, dt) if offset else (0, 0, wide, False)
            return bytes((*message[:3], period, 0, offset, wide, PPR_DT if dt else 0))
        if code == Ext.WDTR:
            wide = bool(message[3]) and can.wide
            if greedy:
                return bytes((*message[:3], 2))
            self.agreement = (0, 0, wide, False)
            return bytes((*message[:3], wide))
        if code == Ext.SDTR:
            period, offset = max(message[3], can.period, 10), min(message[4], can.offset)
            if greedy:
                return bytes((*message[:4], _GREEDY_OFFSET))
            wide = self.agreement[2]
            self.agreement = (period, offset, wide, False) if offset else (0, 0, wide, False)
            return bytes((*message[:3], period, offset))
        return bytes((Msg.MESSAGE_REJECT,))

    def rejected(self, code: int) -> None:
        """A negotiation ended in MESSAGE REJECT: what held before is void."""
        self.agreement = (0, 0, self.agreement[2] and code == Ext.SDTR, False)

    def data_ns(self, nbytes: int) -> int:
        """How long *nbytes* take on the wire."""
        return nbytes * 1000 // self._bytes_per_us

    def check_rate(self, scsirate: int, scsioffset: int) -> None:
        """HardwareFault unless the chip is set to what was agreed on."""
        period, offset, wide, dt = self._agreement
        want = self._scsirate
        if (scsirate, scsioffset) != (want, offset):
            raise HardwareFault(f"target {self.id}: data at SCSIRATE {scsirate:#04x}, offset {scsioffset:#04x}; agreed:"
                                f" period factor {period}, offset {offset}, wide {wide}, DT {dt}, which is"
                                f" {want:#04x} and {offset:#04x}")


#: What a stage drives when no message is due.
_PHASES: Final[Mapping[str, Phase | None]] = {
    "command": Phase.COMMAND, "work": None, "stuck": None, "data": Phase.DATAIN, "status": Phase.STATUS,
    "complete": Phase.MESGIN}


class Connection:
    """A target on the bus.

    `stage` names what follows once no message is due: "command", "work", "data", "status" or "complete"; "stuck":
    nothing ever.
    `msgin` is what it has to say.  `leaves`: it goes bus free when the message under way is over.
    """

    __slots__ = ("answered", "asked", "disc", "heard", "leaves", "lun", "msgin", "port", "retry", "stage", "tag",
                 "task")

    def __init__(self, port: TargetPort, task: Task | None = None) -> None:
        self.port = port
        self.task = task
        self.lun = task.lun if task is not None else 0
        self.tag = task.tag if task is not None else None
        self.disc = task.disc if task is not None else False
        self.stage = "command" if task is None else "data"
        self.msgin = bytearray()
        self.heard = bytearray()            # of a message out
        self.answered = 0                   # the extended message of its own that it has sent last
        self.leaves = self.retry = self.asked = False       # asked: the target itself began to negotiate

    def phase(self, atn: bool) -> Phase | None:
        """What it drives next; None: nothing, it works."""
        if atn or self.retry:
            return Phase.MESGOUT
        if self.msgin:
            return Phase.MESGIN
        return _PHASES[self.stage]

    def identified(self, lun: int, disc: bool, tag: int | None) -> None:
        """The firmware's own IDENTIFY and tag message, whole."""
        self.lun, self.disc, self.tag = lun, disc, tag

    def hear(self, byte: int, atn: bool) -> bytes:
        """One byte of MESSAGE OUT, *atn* still asserted?  A whole message is returned, else b"".

        HardwareFault for a message that ends in its middle.
        """
        heard = self.heard
        heard.append(byte)
        length = 1
        if heard[0] == Msg.EXTENDED:
            length = 2 + heard[1] if len(heard) > 1 else 3
        elif heard[0] & 0xF0 == Msg.SIMPLE_TAG:
            length = 2
        if len(heard) < length:
            if not atn:
                raise HardwareFault(f"target {self.port.id}: ATN is gone after {heard.hex(' ')}, in the middle of a"
                                    " message; drop it before the last byte")
            return b""
        message = bytes(heard)
        heard.clear()
        return message

    def nexus_message(self, message: bytes) -> bool:
        """IDENTIFY and tag messages; false for others."""
        code = message[0]
        if code & Msg.IDENTIFY:
            self.lun, self.disc = code & IDENTIFY_LUN, bool(code & IDENTIFY_DISC)
        elif code & 0xF0 == Msg.SIMPLE_TAG and code != Msg.IGNORE_WIDE_RESIDUE:
            self.tag = message[1]
        else:
            return False
        return True


def is_negotiation(message: bytes) -> bool:
    """PPR, WDTR or SDTR, whole."""
    return message[0] == Msg.EXTENDED and message[2] in EXT_LEN and len(message) == EXT_LEN[Ext(message[2])] + 2
