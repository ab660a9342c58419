"""A target as the bus sees it: what it makes of messages and commands.  What rarely happens: model_faulty.py.

    selected -> MESSAGE OUT -> COMMAND -> (disconnected, reselected: MESSAGE IN) -> DATA -> STATUS -> MESSAGE IN -> free

Source: SCSI-2 (X3.131-1994) 6.6 (messages), 7.  The disk behind it is the shared ScsiTarget; its sense data stays with
it until REQUEST SENSE asks, and meanwhile no other command of that logical unit is carried out (contingent allegiance,
7.6).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

from ddsdk.errors import HardwareFault
from ddsdk.sim.scsi_target import BUSY, GOOD, ScsiResult, ScsiTarget

from . import model_faulty
from .frames import Message
from .model_connection import FOR_EVER_NS, Connection
from .model_task import CHECK_CONDITION, REQUEST_SENSE, Task
from .regs import Phase

if TYPE_CHECKING:
    from .model_bus import Bus

#: Bytes of a CDB by its group code (SCSI-2, 7.2.1; group 4 since SPC).
_CDB_BYTES: Final = (6, 10, 10, 6, 16, 12, 6, 6)
_TAGS: Final = frozenset((Message.SIMPLE_QUEUE_TAG, Message.HEAD_OF_QUEUE_TAG, Message.ORDERED_QUEUE_TAG))
_LUN: Final = 0x07


class Reselection(NamedTuple):
    """A target that wants the bus back: as which id, with which messages, for which command (None: nobody's)."""

    port: Port
    number: int
    messages: bytes
    task: Task | None


class Port(Connection):
    """One target id with its commands.  `allegiance`: per LUN, the one whose sense data waits to be fetched."""

    def __init__(self, bus: Bus, number: int, target: ScsiTarget) -> None:
        super().__init__(bus, number, target)
        for unit in target.units.values():
            unit.autosense = False              # there is none on a parallel bus
        self.forget()

    def forget(self) -> None:
        """See `Connection.forget`; nothing is held back either."""
        super().forget()
        self.allegiance: dict[int, Task] = {}
        self.blocked: list[Task] = []
        self._done: Task | None = None
        self._lun = 0
        self._tag: int | None = None
        self._privilege = self.identified = self._impostor = False

    # -- connections -----------------------------------------------------------------------------------------

    def selected(self, atn: bool) -> None:
        """A new connection."""
        self.task, self._impostor = None, False
        self._lun, self._tag, self._privilege, self.identified = 0, None, False, False
        self.go(Phase.MSG_OUT if atn else Phase.COMMAND)

    def reselected(self, reselection: Reselection) -> None:
        """The chip answered."""
        task = self.task = reselection.task
        self._impostor = reselection.number != self.number
        self.identified = True
        if task is not None:
            self._lun, self._tag, self._privilege = task.lun, task.tag, task.may_disconnect
            task.rewind()
            task.burst_end = task.current + self.bus.chip.timing.burst_bytes
        self.say(reselection.messages, self.proceed)

    def _again(self, task: Task, then: Callable[[], None]) -> None:
        """Go on with *task* on the bus, now or once reselected."""
        if self.task is task and self.bus.connected is self:
            then()
        elif self.bus.chip.faults.armed:
            model_faulty.reselect(self, task)
        else:
            self.bus.ask(self.reselection(task))

    def as_said(self, messages: bytes, task: Task) -> Reselection:
        """A reselection with other messages than are due."""
        return Reselection(self, self.number, messages, task)

    def impostor(self, number: int, tag: int) -> Reselection:
        """A reselection for a command that nobody gave, with a good status."""
        task = Task(self.target, 0, tag, bytes(6), True)
        task.result, task.delivered = ScsiResult(GOOD), True
        return Reselection(self, number, bytes((Message.IDENTIFY, Message.SIMPLE_QUEUE_TAG, tag)), task)

    @property
    def last_done(self) -> Reselection | None:
        """The command that completed last, as it would come once more."""
        return None if self._done is None else self.reselection(self._done)

    def reselection(self, task: Task) -> Reselection:
        """IDENTIFY, and the tag if it has one."""
        tag = b"" if task.tag is None else bytes((Message.SIMPLE_QUEUE_TAG, task.tag))
        return Reselection(self, self.number, bytes((Message.IDENTIFY | task.lun,)) + tag, task)

    # -- message out -----------------------------------------------------------------------------------------

    def message_out(self, data: bytes) -> None:
        """All bytes of a message out phase."""
        chip = self.bus.chip
        end: Callable[[], None] = self._messages_over
        at = 0
        while at < len(data):
            byte = data[at]
            at += 1
            if byte & Message.IDENTIFY:
                self._lun, self._privilege = byte & _LUN, bool(byte & Message.DISCONNECT_PRIVILEGE)
            elif byte in _TAGS and at < len(data):
                self._tag = data[at]
                at += 1
            elif byte in (Message.ABORT, Message.ABORT_TAG, Message.CLEAR_QUEUE, Message.BUS_DEVICE_RESET):
                end = self._refuse if chip.strikes("abort-refused") is not None else self._abort(byte)
            elif byte == Message.INITIATOR_DETECTED_ERROR:
                end = self._initiator_error
            elif byte == Message.MESSAGE_PARITY_ERROR:
                end = self._say_again
            elif byte not in (Message.NO_OPERATION, Message.MESSAGE_REJECT):
                end = self._refuse
        if (chip.faults.armed and self._tag is not None and not self.identified
                and chip.strikes("tag-refused") is not None):
            self._tag = None
            end = self._refuse
        end()

    def _messages_over(self) -> None:
        self.saying = b""
        if self.identified:
            self.proceed()
        else:
            self.identified = True
            self.go(Phase.COMMAND)

    def _refuse(self) -> None:
        self.say(bytes((Message.MESSAGE_REJECT,)), self._messages_over)

    def _say_again(self) -> None:
        self.go(Phase.MSG_IN)

    def _initiator_error(self) -> None:
        task = self.task
        if task is None:
            self._messages_over()
            return
        model_faulty.fail(task, 0x0B, 0x48)
        self.proceed()

    def _abort(self, byte: int) -> Callable[[], None]:
        """ABORT TAG: one command; ABORT and CLEAR QUEUE: the logical unit's; BUS DEVICE RESET: all, and a reset."""
        for key, task in list(self.tasks.items()) if not self._impostor else ():
            if (byte == Message.BUS_DEVICE_RESET or (byte == Message.ABORT_TAG and key == (self._lun, self._tag))
                    or (byte in (Message.ABORT, Message.CLEAR_QUEUE) and key[0] == self._lun)):
                self.drop(task)
        if byte == Message.BUS_DEVICE_RESET and not self._impostor:
            self.target.reset("target")
            self.allegiance.clear()
        return self.leave

    def drop(self, task: Task) -> None:
        """Forget a command; nothing of it will be heard again."""
        task.gone = True
        self.bus.withdraw(task)
        self.tasks.pop(task.key, None)
        if self.allegiance.get(task.lun) is task:
            self._release(task.lun)

    # -- command ---------------------------------------------------------------------------------------------

    def command_bytes(self, data: bytes) -> int:
        """How many of *data* the target takes as its CDB."""
        return min(len(data), _CDB_BYTES[data[0] >> 5])

    def command(self, cdb: bytes) -> None:
        """The CDB is complete."""
        task = self.task = Task(self.target, self._lun, self._tag, cdb, self._privilege)
        task.burst_end = self.bus.chip.timing.burst_bytes
        if task.key in self.tasks:
            raise HardwareFault(f"target {self.number}: a command with LUN {task.lun}, tag {task.tag} while one is"
                                " under way: overlapped commands (SCSI-2, 7.5.2)")
        if task.tag is None and any(key[0] == task.lun for key in self.tasks) and self._unfit(task):
            self._busy(task)
            return
        self.tasks[task.key] = task
        if self.bus.chip.faults.armed and model_faulty.at_command(self, task):
            return
        self.start(task)

    def _busy(self, task: Task) -> None:
        """The logical unit cannot take it now."""
        task.result = ScsiResult(BUSY)
        self.go(Phase.STATUS, self.bus.chip.timing.req_ns)

    def _unfit(self, task: Task) -> bool:
        """An untagged command beside tagged ones; only REQUEST SENSE may come then."""
        return not (task.cdb[0] == REQUEST_SENSE and task.lun in self.allegiance)

    def start(self, task: Task) -> None:
        """Carry it out, or wait until the sense data of another one was fetched."""
        failed = self.allegiance.get(task.lun)
        if failed is not None and task.cdb[0] != REQUEST_SENSE:
            if not failed.delivered and self.task is task and not task.may_disconnect:
                self._busy(task)
                return
            if not failed.delivered:
                self.blocked.append(task)
                self.rest(task, FOR_EVER_NS, self.nothing)
                return
            self._release(task.lun)             # another command: the sense data is lost
        if task.out:
            task.begin()
            self._check(task)
            if task.result is None:
                self._move(task)
            else:
                self.answer(task)
            return
        self.rest(task, self.target.service_ns(task.cdb, task.expected), lambda: self._run(task))

    def _run(self, task: Task) -> None:
        failed = self.allegiance.get(task.lun)
        if failed is not None and task.cdb[0] != REQUEST_SENSE:
            self.blocked.append(task)
            return
        task.run()
        self._check(task)
        if task.cdb[0] == REQUEST_SENSE:
            self._release(task.lun)
        if self.bus.chip.faults.armed:
            model_faulty.at_executed(self, task)
        self.answer(task)

    def _check(self, task: Task) -> None:
        if task.result is not None and task.result.status == CHECK_CONDITION:
            self.allegiance[task.lun] = task

    def _release(self, lun: int) -> None:
        """The sense data is fetched, or lost: commands that waited go on."""
        self.allegiance.pop(lun, None)
        ready = [task for task in self.blocked if task.lun == lun]
        self.blocked = [task for task in self.blocked if task.lun != lun]
        for task in ready:
            if not task.gone:
                self.bus.chip.later(self.bus.chip.timing.pause_ns, self._unblock, task)

    def _unblock(self, task: Task) -> None:
        if not task.gone:
            self.resume_start(task)

    def answer(self, task: Task) -> None:
        """The result is known: data, then status, as soon as the bus allows."""
        result = task.result
        if result is not None and result.hang:
            if self.task is task and task.may_disconnect:
                self.rest(task, FOR_EVER_NS, self.nothing)
            return
        self._again(task, self.proceed)

    def resume_start(self, task: Task) -> None:
        """Carry out a command that was held up."""
        if task.out:
            self._again(task, lambda: self.start(task))
        else:
            self._run(task)

    # -- data, status ----------------------------------------------------------------------------------------

    def proceed(self) -> None:
        """Connected, nothing else to say: what comes next of the current command."""
        task = self.task
        if task is None:
            self.leave()
        elif task.out and task.result is None and not task.total:
            self.start(task)
        elif task.data_left or task.extra:
            self._move(task)
        else:
            self._status(task)

    def _move(self, task: Task) -> None:
        if self.bus.chip.faults.armed and model_faulty.at_data(self, task):
            return
        self.go(Phase.DATA_OUT if task.out else Phase.DATA_IN, self.bus.chip.timing.req_ns)

    def data_ready(self) -> int:
        """Bytes the target moves now before it does something else."""
        task = self.task
        if task is None:
            return 0
        left = task.data_left
        if not left:
            return task.extra
        return min(left, task.burst_end - task.current) if task.may_disconnect else left

    def data_moved(self, n: int) -> None:
        """*n* bytes moved; the phase changes when that was all for now."""
        task = self.task
        assert task is not None
        if task.current > task.total:           # these were beyond the data, by a fault
            task.extra = max(0, task.extra - n)
            task.current = task.total
        if self.bus.atn:
            self.go(Phase.MSG_OUT, self.bus.chip.timing.req_ns)
        elif task.data_left and task.may_disconnect and task.current >= task.burst_end:
            if not self.bus.chip.faults.armed or not model_faulty.at_break(self, task):
                self.pause(task)
        elif not task.data_left and not task.extra:
            self._data_over(task)

    def confused(self) -> None:
        """A byte moved in a direction the command does not have: on with the status."""
        if self.task is None:
            self.leave()
        else:
            self.task.total = self.task.current
            self.go(Phase.STATUS, self.bus.chip.timing.req_ns)

    def pause(self, task: Task, *, save: bool = True) -> None:
        """Disconnect in mid data, come back soon."""
        chip = self.bus.chip
        messages = bytes((Message.DISCONNECT,))
        if save:
            task.saved = task.current
            messages = bytes((Message.SAVE_DATA_POINTER,)) + messages
        self._say_disconnect(task, messages)
        task.then = then = lambda: self._again(task, self.proceed)
        chip.later(chip.timing.pause_ns, self._rested, task, then)
        chip.scripts.kick()

    def _data_over(self, task: Task) -> None:
        if task.out and task.result is None:
            nbytes = task.total
            task.end()
            self._check(task)
            stay = self._buffered(task)
            if self.bus.chip.faults.armed:
                model_faulty.at_executed(self, task)
                stay = False            # some want it to come back
            self.rest(task, self.target.service_ns(task.cdb, nbytes), lambda: self.answer(task), stay=stay)
        else:
            self._status(task)

    def _buffered(self, task: Task) -> bool:
        """A write that a cache took: nothing is to be waited for, so the target says so before it leaves the bus."""
        unit = self.target.units.get(task.lun)
        return unit is not None and unit.disk.write_cache and len(self.tasks) == 1

    def _status(self, task: Task) -> None:
        if self.bus.chip.faults.armed and model_faulty.at_status(self, task):
            return
        self.go(Phase.STATUS)
        self.bus.chip.scripts.kick()

    def status(self) -> int:
        """The status byte is taken."""
        task = self.task
        assert task is not None
        assert task.result is not None
        if self.bus.atn:
            self.go(Phase.MSG_OUT, self.bus.chip.timing.req_ns)
        else:
            self.say(bytes((Message.COMMAND_COMPLETE,)), self.complete)
        return task.result.status

    def complete(self) -> None:
        """COMMAND COMPLETE was acknowledged: the command is over."""
        task = self.task
        if task is not None:
            task.delivered = True
            if self.tasks.get(task.key) is task:
                del self.tasks[task.key]
            self._done = task
        self.leave()
        if task is not None and self.bus.chip.faults.armed:
            model_faulty.at_complete(self, task)
