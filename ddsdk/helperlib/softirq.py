"""Normal mode: what runs timers, tasklets and work items when nobody calls diskdump_update().

The tick's soft interrupt runs due timers, leaving an interrupt runs tasklets, keventd runs work.  All of it
ends at the crash.  C: kernel/softirq.c, kernel/timer.c, kernel/workqueue.c.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .tasklet import Tasklets
from .timer import Jiffies, Timers
from .workqueue import WorkQueue

if TYPE_CHECKING:
    from ddsdk.sim.clock import Event
    from ddsdk.sim.machine import Machine

#: How soon ksoftirqd runs what a tasklet scheduled.
_KSOFTIRQD_NS = 10_000


class Softirqs:
    """Hooks the queues to the machine's clock, soft interrupts and tasks.

    No tick happens unless a timer needs it: the clock event is set for the earliest timer's tick.
    """

    def __init__(self, machine: Machine, jiffies: Jiffies, timers: Timers, tasklets: Tasklets,
                 works: WorkQueue) -> None:
        self._machine = machine
        self._jiffies = jiffies
        self._timers = timers
        self._tasklets = tasklets
        self._works = works
        self._event: Event | None = None
        self._tasklets_raised = False
        self._keventd_runs = False
        timers.on_arm = self._set_tick
        tasklets.on_schedule = self._raise_tasklets
        works.on_queue = self._start_keventd

    def _set_tick(self, due: int) -> None:
        when_ns = self._jiffies.ns_of(due)
        event = self._event
        if event is not None and event.pending:
            if event.when_ns <= when_ns:
                return
            event.cancel()
        self._event = self._machine.clock.at_ns(when_ns, self._tick)

    def _tick(self) -> None:
        self._machine.run_in_softirq(self._run_timers)

    def _run_timers(self) -> None:
        self._jiffies.sync()
        self._timers.run_due()
        due = self._timers.next_due
        if due is not None:
            self._set_tick(due)

    def _raise_tasklets(self) -> None:
        if self._tasklets_raised:
            return
        self._tasklets_raised = True
        if self._tasklets.running is None:
            self._machine.run_in_softirq(self._run_tasklets)
        else:       # one schedules another, or itself: ksoftirqd's turn, or time would never go on
            self._machine.clock.after_ns(_KSOFTIRQD_NS, self._machine.run_in_softirq, self._run_tasklets)

    def _run_tasklets(self) -> None:
        self._tasklets_raised = False
        self._tasklets.run()

    def _start_keventd(self) -> None:
        if not self._keventd_runs:
            self._keventd_runs = True
            self._machine.spawn(self._machine.current_cpu.id, self._keventd, "events")

    def _keventd(self) -> None:
        works = self._works
        try:
            works.run()
            while works.queue:      # queued by an item, perhaps by itself: others have their turn first
                self._machine.sleep(self._jiffies.tick_ns)
                works.run()
        finally:
            self._keventd_runs = False
