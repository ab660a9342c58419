"""A target on the bus: its agreement with us, the messages it understands, the commands it works on."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field, frozen

from ddsdk.sim.disk_faults import Sense
from ddsdk.sim.scsi_pages import fixed_sense
from ddsdk.sim.scsi_target import CHECK_CONDITION, GOOD, ScsiResult, ScsiTarget, transfer_of

from .frames import (
    EXT_PPR,
    EXT_SDTR,
    EXT_WDTR,
    IDENTIFY_DISCONNECT,
    Msg,
    PprOption,
    TaskMgmt,
)

if TYPE_CHECKING:
    from .model_chips import SpiDisk
    from .model_data import DataPhase

_SECTOR_BYTES: Final = 512              # for a CDB to a logical unit that is not there
_OVERLAPPED: Final = Sense(0xB, 0x4E)
_REQUEST_SENSE: Final = 0x03


@frozen
class Agreement:
    """What was negotiated.  Offset 0 is asynchronous."""

    period: int = 0
    offset: int = 0
    wide: int = 0
    options: int = 0                        # PprOption

    packetized: bool = field(init=False, eq=False, repr=False)      # information units

    @packetized.default
    def _packetized(self) -> bool:
        return bool(self.options & PprOption.IU_REQ)


ASYNC: Final = Agreement()


class After(Enum):
    """What the target does after a message-out phase."""

    COMMAND = "goes to command phase"
    REPLY = "answers, then command phase"
    REPLY_FREE = "answers, then goes bus free: the use of information units changed"
    FREE = "goes bus free"
    ON = "goes on with what it was at"


@frozen
class Heard:
    """What came of the messages of one message-out phase."""

    after: After
    reply: bytes = b""


@define(eq=False)
class Task:
    """A command at the target.  `connected`: it waits on the bus, nobody allowed it to disconnect."""

    target: SpiTarget
    tag: int
    lun: int
    cdb: bytes
    packetized: bool
    tagged: bool
    connected: bool = False
    dead: bool = False
    result: ScsiResult | None = None
    wanted: int = -1                        # bytes it means to move, by its CDB; see SpiTarget.wanted


class SpiTarget:
    """One target.  `ready` is called with a task that wants its data and status phases."""

    def __init__(self, number: int, scsi: ScsiTarget, disk: SpiDisk) -> None:
        self.number, self.scsi, self.disk = number, scsi, disk
        self.agreement = ASYNC
        self.tasks: list[Task] = []
        self._sense: dict[int, bytes] = {}      # contingent allegiance: who wants to know why, by LUN
        self.blocked: list[Task] = []           # commands that wait until somebody has asked, or sent another one
        self._free_at_ns = 0

    @property
    def present(self) -> bool:
        """Whether it answers a selection."""
        return self.scsi.present

    def bus_reset(self) -> None:
        """RST: everything is forgotten, unit attention is due."""
        self._sense.clear()
        self._forget(lambda task: True)
        self.agreement = ASYNC
        self.scsi.reset("bus")
        self._free_at_ns = 0

    def _forget(self, doomed: Callable[[Task], bool]) -> None:
        for task in self.tasks:
            task.dead |= doomed(task)
        self.tasks = [task for task in self.tasks if not task.dead]
        self.blocked = [task for task in self.blocked if not task.dead]

    def must_wait(self, task: Task) -> bool:
        """A command that is due while somebody's sense data waits to be asked for is blocked (SAM-2, 5.9.1)."""
        if task.lun not in self._sense or task.cdb[0] == _REQUEST_SENSE:
            return False
        self.blocked.append(task)
        return True

    def unblocked(self) -> list[Task]:
        """What was blocked and is no longer."""
        free = [task for task in self.blocked if task.lun not in self._sense]
        self.blocked = [task for task in self.blocked if task.lun in self._sense]
        return free

    # -- commands --------------------------------------------------------------------------------------

    def accept(self, task: Task, now_ns: int) -> int:
        """Queue *task*; when its data and status phases are due.  A tag that is in use ends both commands."""
        if self._sense and task.cdb[0] != _REQUEST_SENSE:
            self._sense.pop(task.lun, None)     # a command that does not ask: nobody will know
        same = [one for one in self.tasks if one.tag == task.tag and one.lun == task.lun] if self.tasks else []
        if same and task.tagged:
            self._forget(lambda one: one in same)
            task.result = ScsiResult(CHECK_CONDITION, fixed_sense(_OVERLAPPED))
        self.tasks.append(task)
        begin_ns = max(now_ns, self._free_at_ns)
        self._free_at_ns = begin_ns + self.scsi.service_ns(task.cdb, self.wanted(task))
        return self._free_at_ns

    def hold_up(self, delay_ns: int) -> None:
        """Nothing new begins for so long."""
        self._free_at_ns += delay_ns

    def wanted(self, task: Task) -> int:
        """Bytes that the command means to move, by its CDB."""
        if task.wanted < 0:
            unit = self.scsi.units.get(task.lun)
            task.wanted = transfer_of(task.cdb, _SECTOR_BYTES if unit is None else unit.disk.sector_size)[0]
        return task.wanted

    def over(self, task: Task) -> None:
        """The command is no longer here."""
        task.dead = True
        if task in self.tasks:
            self.tasks.remove(task)

    def carry_out(self, task: Task, data: DataPhase) -> ScsiResult:
        """The data phase.  Without information units the sense data stays here until somebody asks for it."""
        if task.result is not None:
            result = task.result
        elif task.cdb[0] == _REQUEST_SENSE and task.lun in self._sense:
            result = ScsiResult(GOOD, b"", data.put(self._sense.pop(task.lun)[:task.cdb[4]]))
        else:
            result = self.scsi.execute(task.lun, task.cdb, data)
        if result.status == CHECK_CONDITION and result.sense and not task.packetized:
            self._sense[task.lun] = result.sense
        return result

    def task_management(self, flags: TaskMgmt, lun: int, tag: int) -> None:
        """ABORT TASK, LUN RESET and their like: what they name is no longer here."""
        if flags & TaskMgmt.ABORT_TASK:
            self._forget(lambda task: task.lun == lun and task.tag == tag)
        elif flags & (TaskMgmt.ABORT_TASK_SET | TaskMgmt.CLEAR_TASK_SET):
            self._forget(lambda task: task.lun == lun)
        elif flags & TaskMgmt.LUN_RESET:
            self._forget(lambda task: task.lun == lun)
            self._sense.pop(lun, None)
            self.scsi.reset("lun", lun)
        elif flags & TaskMgmt.TARGET_RESET:
            self.target_reset()

    def target_reset(self) -> None:
        """BUS DEVICE RESET."""
        self._forget(lambda task: True)
        self._sense.clear()
        self.agreement = ASYNC
        self.scsi.reset("target")

    # -- messages --------------------------------------------------------------------------------------

    def hear(self, message: bytes, lun: int, tag: int) -> Heard:
        """The bytes of one message-out phase; *lun* and *tag* are the connection's as far as it is identified."""
        heard = Heard(After.COMMAND)
        while message:
            code = message[0]
            if code & Msg.IDENTIFY:
                lun, message = code & 0x3F, message[1:]
            elif code in (0x20, 0x21, 0x22):
                tag, message = message[1] if len(message) > 1 else 0, message[2:]
            elif code == Msg.EXTENDED:
                length = message[1] if len(message) > 1 else 0
                heard = self._negotiate(message[2:2 + length])
                message = message[2 + length:]
            elif code in (Msg.ABORT_TASK, Msg.ABORT_TASK_SET):
                whole = code == Msg.ABORT_TASK_SET
                self._forget(lambda task, lun=lun, tag=tag, whole=whole: task.lun == lun  # type: ignore[misc]
                             and (whole or task.tag & 0xFF == tag))
                return Heard(After.FREE)
            elif code == Msg.TARGET_RESET:
                self.target_reset()
                return Heard(After.FREE)
            elif code in (Msg.INITIATOR_DETECTED_ERROR, Msg.MESSAGE_PARITY_ERROR, Msg.NO_OPERATION):
                heard, message = Heard(After.ON), message[1:]
            elif code == Msg.MESSAGE_REJECT:
                message = message[1:]
            else:
                heard, message = Heard(After.REPLY, bytes((Msg.MESSAGE_REJECT,))), message[1:]
        return heard

    def _negotiate(self, body: bytes) -> Heard:
        """PPR, WDTR or SDTR: the smaller of what each can."""
        before, disk = self.agreement, self.disk
        if body[0] == EXT_PPR and disk.ppr and len(body) == 6:
            _, period, _, offset, wide, asked = body
            options = asked & disk.options
            period, offset = max(period, disk.period), min(offset, disk.offset)
            if not offset or not options & PprOption.DT_REQ:
                options = 0
                period = max(period, 0x0A)
            self.agreement = Agreement(period, offset, min(wide, disk.wide), options)
            reply = bytes((Msg.EXTENDED, 6, EXT_PPR, period, 0, offset, self.agreement.wide, options))
        elif body[0] == EXT_WDTR and len(body) == 2:
            self.agreement = Agreement(wide=min(body[1], disk.wide))
            reply = bytes((Msg.EXTENDED, 2, EXT_WDTR, self.agreement.wide))
        elif body[0] == EXT_SDTR and len(body) == 3:
            period, offset = max(body[1], 0x0A, disk.period), min(body[2], disk.offset)
            self.agreement = evolve(before, period=period if offset else 0, offset=offset, options=0)
            reply = bytes((Msg.EXTENDED, 3, EXT_SDTR, period, offset))
        else:
            return Heard(After.REPLY, bytes((Msg.MESSAGE_REJECT,)))
        changed = before.packetized != self.agreement.packetized
        return Heard(After.REPLY_FREE if changed else After.REPLY, reply)


def identify(lun: int, disconnect: bool) -> bytes:
    """The IDENTIFY message."""
    return bytes((Msg.IDENTIFY | (IDENTIFY_DISCONNECT if disconnect else 0) | lun,))
