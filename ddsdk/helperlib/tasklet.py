"""Tasklets: a function run soon, once, in softirq context.

C: include/linux/interrupt.h, kernel/softirq.c; RHEL 4 (2.6.9-89.29.1.EL) for crash mode; dump formats 1.14.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ddsdk.errors import DeadlockFault, TimerFault

from .delay import Delays
from .guard import Guard, name_of

if TYPE_CHECKING:
    from ddsdk.sim.cpu import Cpu

_IDLE = 0
_WAIT_STEP_NS = 1000


class TaskletStruct:
    """struct tasklet_struct: `func(data)`; `count` is how often it is disabled."""

    __slots__ = ("_scheduled", "count", "data", "func")

    def __init__(self, func: Callable[[Any], object], data: Any = None) -> None:
        self.func = func
        self.data = data
        self.count = 0
        self._scheduled = _IDLE         # the SCHED bit: the generation of the vector it is in

    def __repr__(self) -> str:
        return f"<tasklet {name_of(self.func)}>"


class Tasklets:
    """The tasklet vector.  Crash mode empties it; a tasklet set aside may be scheduled again.

    Divergence: RHEL 4 leaves the SCHED bit of a tasklet that was pending at the crash set, so scheduling it
    again does nothing for the rest of the dump.  Here a bit counts only in its generation: a crash between
    setting the bit and linking the tasklet loses nothing either.
    """

    def __init__(self, guard: Guard, delays: Delays) -> None:
        self._guard = guard
        self._delays = delays
        self._generation = 1
        self.queue: deque[TaskletStruct] = deque()
        self.running: TaskletStruct | None = None
        self._running_on: Cpu | None = None
        #: normal mode: called when a tasklet was queued
        self.on_schedule: Callable[[], None] | None = None

    def tasklet_init(self, func: Callable[[Any], object], data: Any = None) -> TaskletStruct:
        """A tasklet, enabled and not scheduled.

        C: void tasklet_init(struct tasklet_struct *, void (*)(unsigned long), unsigned long)
        """
        return TaskletStruct(func, data)

    def tasklet_schedule(self, tasklet: TaskletStruct) -> None:
        """void tasklet_schedule(struct tasklet_struct *): run it soon, once however often it is scheduled."""
        if tasklet._scheduled != self._generation:
            tasklet._scheduled = self._generation
            self.queue.append(tasklet)
            if self.on_schedule is not None:
                self.on_schedule()

    def tasklet_hi_schedule(self, tasklet: TaskletStruct) -> None:
        """void tasklet_hi_schedule(struct tasklet_struct *): before the ordinary ones.

        Crash mode: ForbiddenCallError, nothing there runs the high-priority vector (white paper 4.3 item 5).
        """
        self._guard.forbid("tasklet_hi_schedule", "diskdump_update() runs no high-priority tasklets;"
                           " use tasklet_schedule()")
        if tasklet._scheduled != self._generation:
            tasklet._scheduled = self._generation
            self.queue.appendleft(tasklet)
            if self.on_schedule is not None:
                self.on_schedule()

    def tasklet_disable(self, tasklet: TaskletStruct) -> None:
        """void tasklet_disable(struct tasklet_struct *): it stays scheduled but does not run; nests.

        Waits while it runs on another CPU; DeadlockFault from its own function, which would be waited for.
        """
        self._not_from_itself("tasklet_disable", tasklet)
        tasklet.count += 1
        self._wait_until_over(tasklet)

    def tasklet_enable(self, tasklet: TaskletStruct) -> None:
        """void tasklet_enable(struct tasklet_struct *): undo one tasklet_disable(), else TimerFault."""
        if tasklet.count == 0:
            raise TimerFault(f"tasklet_enable: {tasklet} is not disabled; each enable needs its own disable")
        tasklet.count -= 1
        if tasklet._scheduled == self._generation and tasklet.count == 0 and self.on_schedule is not None:
            self.on_schedule()

    def tasklet_kill(self, tasklet: TaskletStruct) -> None:
        """void tasklet_kill(struct tasklet_struct *): on return it is neither scheduled nor running.

        A scheduled one runs first.  SleepFault in atomic context.  DeadlockFault: it is disabled, schedules
        itself again, or is the caller.
        """
        self._not_from_itself("tasklet_kill", tasklet)
        self._guard.may_sleep("tasklet_kill")
        if tasklet._scheduled == self._generation and tasklet.count:
            raise DeadlockFault(f"tasklet_kill: {tasklet} is scheduled and disabled: it would be waited for"
                                " without end; tasklet_enable() it first")
        self._delays.let_run(lambda: tasklet._scheduled != self._generation)
        if tasklet._scheduled == self._generation:
            raise DeadlockFault(f"tasklet_kill: {tasklet} ran and is scheduled again: it would be waited for"
                                " without end; stop it from scheduling itself first")
        self._wait_until_over(tasklet)

    def _not_from_itself(self, call: str, tasklet: TaskletStruct) -> None:
        if self.running is tasklet and self._running_on is self._guard.machine.current_cpu:
            raise DeadlockFault(f"{call}: {tasklet} called from its own function waits for itself; do so"
                                " outside it")

    def _wait_until_over(self, tasklet: TaskletStruct) -> None:
        while self.running is tasklet:
            self._guard.machine.pass_time(_WAIT_STEP_NS)

    # -- running ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Run what is scheduled and enabled, each once; what schedules itself waits for the next turn."""
        if self.running is not None:
            return
        queue = self.queue
        for _ in range(len(queue)):
            if not queue:
                return
            tasklet = queue.popleft()
            if tasklet.count:
                queue.append(tasklet)
                continue
            tasklet._scheduled = _IDLE
            self._run(tasklet)

    def _run(self, tasklet: TaskletStruct) -> None:
        self._guard.trace("tasklet", tasklet.func)
        self.running, self._running_on = tasklet, self._guard.machine.current_cpu
        try:
            self._guard.run_softirq(tasklet.func, tasklet.data)
        finally:
            self.running = None

    def set_aside(self) -> list[TaskletStruct]:
        """Empty the vector at the crash; returns what was scheduled, first scheduled first."""
        aside = list(self.queue)
        self._generation += 1
        self.queue = deque()
        self.running = None
        self.on_schedule = None
        return aside
