"""The default work queue: functions run later in process context, where they may sleep.

C: include/linux/workqueue.h, kernel/workqueue.c; RHEL 4 (2.6.9-89.29.1.EL) for crash mode; dump formats 1.14.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .delay import Delays
from .guard import Guard, name_of
from .timer import Jiffies, TimerList, Timers

if TYPE_CHECKING:
    from ddsdk.sim.cpu import Task

_IDLE = 0


class WorkStruct:
    """struct work_struct: `func(data)`, run in process context."""

    __slots__ = ("_pending", "data", "func", "timer")

    def __init__(self, func: Callable[[Any], object], data: Any, timer: TimerList) -> None:
        self.func = func
        self.data = data
        self._pending = _IDLE           # the pending bit: the generation of the queue it is in
        self.timer = timer

    def __repr__(self) -> str:
        return f"<work {name_of(self.func)}>"


class WorkQueue:
    """keventd's queue, first in first out, one item at a time.

    Crash mode empties it; an item set aside may be scheduled again.  Divergence: RHEL 4 leaves its pending
    bit set, which makes schedule_work() of it do nothing for the rest of the dump; here it counts only in its
    generation.
    """

    def __init__(self, guard: Guard, timers: Timers, jiffies: Jiffies, delays: Delays) -> None:
        self._guard = guard
        self._delays = delays
        self._timers = timers
        self._jiffies = jiffies
        self.queue: deque[WorkStruct] = deque()
        self.running: WorkStruct | None = None
        #: normal mode: called when an item was queued
        self.on_queue: Callable[[], None] | None = None
        self._sleepers: list[Task] = []
        self._generation = 1
        self._delayed: dict[int, WorkStruct] = {}
        self.inserted = 0
        self.removed = 0

    def INIT_WORK(self, func: Callable[[Any], object], data: Any = None) -> WorkStruct:
        """A work item, not queued.  C: INIT_WORK(struct work_struct *, void (*)(void *), void *)."""
        work = WorkStruct(func, data, self._timers.setup_timer(self._delay_over))
        work.timer.data = work
        return work

    def schedule_work(self, work: WorkStruct) -> int:
        """int schedule_work(struct work_struct *): queue it; 1, or 0 when it is pending already."""
        if work._pending == self._generation:
            return 0
        work._pending = self._generation
        self._queue(work)
        return 1

    def schedule_delayed_work(self, work: WorkStruct, delay: int) -> int:
        """int schedule_delayed_work(struct work_struct *, unsigned long): the same in *delay* jiffies."""
        if work._pending == self._generation:
            return 0
        work._pending = self._generation
        self._delayed[id(work)] = work
        self._timers.mod_timer(work.timer, self._jiffies.read() + delay)
        return 1

    def cancel_delayed_work(self, work: WorkStruct) -> int:
        """int cancel_delayed_work(struct work_struct *): 1 if its delay was still running, else 0.

        An item whose delay is over is queued or running; flush_scheduled_work() waits for that.
        """
        was_waiting = self._timers.del_timer(work.timer)
        if was_waiting:
            self._delayed.pop(id(work), None)
            work._pending = _IDLE
        return was_waiting

    def flush_scheduled_work(self) -> None:
        """void flush_scheduled_work(void): what is queued now has run on return.

        Normal mode: sleeps until the worker is through; SleepFault in atomic context.  Crash mode: runs it.
        """
        self._guard.may_sleep("flush_scheduled_work")
        if self._guard.machine.crashdump_mode or self.running is not None:
            for _ in range(len(self.queue)):
                if self.queue:
                    self._run_first()
            return
        needed = self.inserted
        self._delays.wait(None, lambda: self.removed >= needed, self._sleepers)

    # -- running ----------------------------------------------------------------------------------

    def run(self) -> None:
        """Run what is queued now, first in first out; not from within an item: the worker is one thread."""
        if self.running is not None:
            return
        for _ in range(len(self.queue)):
            if self.queue:
                self._run_first()

    def _run_first(self) -> None:
        work = self.queue.popleft()
        work._pending = _IDLE
        outer, self.running = self.running, work
        self._guard.trace("work", work.func)
        try:
            work.func(work.data)
        finally:
            self.running = outer
            self.removed += 1
            self._delays.wake(self._sleepers)

    def set_aside(self) -> list[WorkStruct]:
        """Empty the queue at the crash; returns what was queued or waiting for its delay."""
        aside = [*self.queue, *self._delayed.values()]
        self._generation += 1
        self.queue = deque()
        self._delayed = {}
        self.running = None
        self.on_queue = None
        return aside

    def _delay_over(self, work: WorkStruct) -> None:
        self._delayed.pop(id(work), None)
        self._queue(work)

    def _queue(self, work: WorkStruct) -> None:
        self.queue.append(work)
        self.inserted += 1
        if self.on_queue is not None:
            self.on_queue()
