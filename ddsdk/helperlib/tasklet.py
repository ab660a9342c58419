"""Tasklets: a function run soon, once, in softirq context.

C: include/linux/interrupt.h, kernel/softirq.c; RHEL 4 (2.6.9-89.29.1.EL) for crash mode; dump formats 1.14.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from ..errors import DeadlockFault, TimerFault
from .guard import Guard


class TaskletStruct:
    """struct tasklet_struct: `func(data)`; `count` is how often it is disabled, `scheduled` its SCHED bit."""

    __slots__ = ("count", "data", "func", "scheduled")

    def __init__(self, func: Callable[[Any], object], data: Any = None) -> None:
        self.func = func
        self.data = data
        self.count = 0
        self.scheduled = False

    def __repr__(self) -> str:
        return f"<tasklet {getattr(self.func, '__qualname__', self.func)}>"


class Tasklets:
    """The tasklet vector.  Crash mode empties it; a tasklet set aside may be scheduled again.

    Divergence: RHEL 4 leaves the SCHED bit of a tasklet that was pending at the crash set, so scheduling it
    again does nothing for the rest of the dump.  Here the bit is cleared with the list.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self.queue: deque[TaskletStruct] = deque()
        self.running: TaskletStruct | None = None
        #: normal mode: called when a tasklet was queued
        self.on_schedule: Callable[[], None] | None = None
        #: crash mode: one turn of diskdump_update(), for tasklet_kill()
        self.pump: Callable[[], None] | None = None

    def tasklet_init(self, func: Callable[[Any], object], data: Any = None) -> TaskletStruct:
        """A tasklet, enabled and not scheduled.

        C: void tasklet_init(struct tasklet_struct *, void (*)(unsigned long), unsigned long)
        """
        return TaskletStruct(func, data)

    def tasklet_schedule(self, tasklet: TaskletStruct) -> None:
        """void tasklet_schedule(struct tasklet_struct *): run it once, soon; scheduling twice runs it once."""
        if not tasklet.scheduled:
            tasklet.scheduled = True
            self.queue.append(tasklet)
            if self.on_schedule is not None:
                self.on_schedule()

    def tasklet_hi_schedule(self, tasklet: TaskletStruct) -> None:
        """void tasklet_hi_schedule(struct tasklet_struct *): before the ordinary ones.

        Crash mode: ForbiddenCallError, nothing there runs the high-priority vector (white paper 4.3 item 5).
        """
        self._guard.forbid("tasklet_hi_schedule", "diskdump_update() runs no high-priority tasklets;"
                           " use tasklet_schedule()")
        if not tasklet.scheduled:
            tasklet.scheduled = True
            self.queue.appendleft(tasklet)
            if self.on_schedule is not None:
                self.on_schedule()

    def tasklet_disable(self, tasklet: TaskletStruct) -> None:
        """void tasklet_disable(struct tasklet_struct *): it stays scheduled but does not run; nests.

        DeadlockFault from the tasklet's own function, which it would wait for.
        """
        if self.running is tasklet:
            raise DeadlockFault(f"tasklet_disable: {tasklet} called from its own function waits for itself;"
                                " do it outside")
        tasklet.count += 1

    def tasklet_enable(self, tasklet: TaskletStruct) -> None:
        """void tasklet_enable(struct tasklet_struct *): undo one tasklet_disable(); TimerFault if there was none."""
        if tasklet.count == 0:
            raise TimerFault(f"tasklet_enable: {tasklet} is not disabled; drop the call")
        tasklet.count -= 1
        if tasklet.scheduled and tasklet.count == 0 and self.on_schedule is not None:
            self.on_schedule()

    def tasklet_kill(self, tasklet: TaskletStruct) -> None:
        """void tasklet_kill(struct tasklet_struct *): on return it is neither scheduled nor running.

        A scheduled one is run first.  DeadlockFault: disabled while scheduled, or from its own function.
        """
        self._guard.may_sleep("tasklet_kill")
        if self.running is tasklet or (tasklet.scheduled and tasklet.count):
            raise DeadlockFault(f"tasklet_kill: {tasklet} is {'running' if self.running is tasklet else 'disabled'}"
                                " and would be waited for without end; tasklet_enable() it first")
        while tasklet.scheduled:
            if self.pump is not None:
                self.pump()
            else:
                self.run()

    # -- running ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Run what is scheduled and not disabled now, each once; one that schedules itself waits for the next turn."""
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
            tasklet.scheduled = False
            self._run(tasklet)

    def _run(self, tasklet: TaskletStruct) -> None:
        guard = self._guard
        self.running = tasklet
        guard.enter_softirq()
        try:
            tasklet.func(tasklet.data)
        finally:
            guard.leave_softirq()
            self.running = None

    def set_aside(self) -> list[TaskletStruct]:
        """Empty the vector at the crash; returns what was scheduled, first scheduled first."""
        aside = list(self.queue)
        for tasklet in aside:
            tasklet.scheduled = False
        self.queue.clear()
        self.running = None
        self.on_schedule = None
        return aside
