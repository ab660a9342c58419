"""A target's connection: phases, REQ and ACK, messages to the initiator, disconnecting and coming back.

Source: SCSI-2 (X3.131-1994) 6.1 to 6.5.  What the target says and does meanwhile: model_port.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ddsdk.sim.scsi_target import ScsiTarget

from .frames import Message
from .model_task import Task
from .regs import Phase

if TYPE_CHECKING:
    from .model_bus import Bus

FOR_EVER_NS: Final = 1 << 62


class Connection:
    """One target id on the bus.

    `phase` is that of the REQ it asserts, None while it does not; `task` the command on the bus; `saying`: bytes that
    are still to come of a message.  `step` counts what the target does: what was to come of an earlier one does not.
    """

    def __init__(self, bus: Bus, number: int, target: ScsiTarget) -> None:
        self.bus = bus
        self.number = number
        self.target = target
        self.phase: Phase | None = None
        self.task: Task | None = None
        self.tasks: dict[tuple[int, int | None], Task] = {}
        self.saying = b""
        self._after_say: Callable[[], None] = self.nothing
        self.step = 0

    def forget(self) -> None:
        """After a reset: no command, no connection."""
        for task in self.tasks.values():
            task.gone = True
        self.phase = self.task = None
        self.tasks = {}
        self.saying, self._after_say = b"", self.nothing
        self.step += 1

    def proceed(self) -> None:
        """Connected, nothing else to say: what comes next of the current command."""
        raise NotImplementedError

    def nothing(self) -> None:
        """After messages that end nothing."""

    def abandoned(self) -> None:
        """The initiator was reset in mid-connection: the target waits for it, for ever."""
        self.step += 1

    # -- phases ----------------------------------------------------------------------------------------------

    def go(self, phase: Phase, delay_ns: int = 0) -> None:
        """Change the phase; REQ comes *delay_ns* later."""
        self.step += 1
        if delay_ns:
            self.phase = None
            clock = self.bus.chip.clock
            clock.at_ns(clock.now_ns + delay_ns, self._req, self.step, phase)
        else:
            self.phase = phase

    def _req(self, step: int, phase: Phase) -> None:
        if step == self.step:
            self.phase = phase
            self.bus.chip.scripts.kick()

    def say(self, messages: bytes, after: Callable[[], None], delay_ns: int = 0) -> None:
        """Message in phase; *after* once the last byte is acknowledged."""
        self.saying, self._after_say = messages, after
        self.go(Phase.MSG_IN, delay_ns)

    def leave(self) -> None:
        """Bus free."""
        self.step += 1
        self.phase, self.task = None, None
        self.bus.disconnect(self)

    # -- message in ------------------------------------------------------------------------------------------

    def message_in(self, count: int) -> bytes:
        """Up to *count* bytes of what is to be said; the last one waits for ACK to fall."""
        data, self.saying = self.saying[:count], self.saying[count:]
        return data

    def unsay(self, data: bytes) -> None:
        """The initiator saw bad parity: the bytes come again if it says so."""
        self.saying = data + self.saying

    def acknowledged(self) -> None:
        """ACK fell."""
        if self.bus.atn:
            self.go(Phase.MSG_OUT)
        elif self.saying:
            self.go(Phase.MSG_IN)
        else:
            self.heard()
        self.bus.chip.scripts.kick()

    def heard(self) -> None:
        """The last byte of a message was acknowledged."""
        after, self._after_say = self._after_say, self.nothing
        self.step += 1
        self.phase = None
        after()

    # -- disconnecting ---------------------------------------------------------------------------------------

    def rest(self, task: Task, ns: int, then: Callable[[], None], *, stay: bool = False) -> None:
        """*then* in *ns*: off the bus if that is long, the initiator allows it, and it is not to *stay*."""
        chip = self.bus.chip
        if self.task is task and task.may_disconnect and ns > chip.timing.patience_ns and not stay:
            task.saved = task.current
            self._say_disconnect(task, bytes((Message.SAVE_DATA_POINTER, Message.DISCONNECT)))
        elif self.task is task:
            self.go_silent()
        task.then = then
        if ns < FOR_EVER_NS:
            chip.later(ns, self._rested, task, then)
        chip.scripts.kick()

    def _say_disconnect(self, task: Task, messages: bytes) -> None:
        """Leave the bus once *messages* are acknowledged, however long that takes."""
        def leave() -> None:
            task.leaving = False
            self.leave()
            if task.due is not None:
                due, task.due = task.due, None
                due()
        task.leaving = True
        self.say(messages, leave)

    def go_silent(self) -> None:
        """Stay connected and assert no REQ."""
        self.step += 1
        self.phase = None

    def _rested(self, task: Task, then: Callable[[], None]) -> None:
        if task.then is not then or task.gone:
            return
        task.then = None
        if task.leaving:
            task.due = then
        else:
            then()

    def hurry(self) -> None:
        """A command that rests is ready now, if there is one."""
        for task in self.tasks.values():
            then = task.then
            if then is not None and self.task is not task:
                self._rested(task, then)
                return
