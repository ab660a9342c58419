"""Normal mode: which task runs next, where an interrupt goes, when the clock may move.

Everything is decided in one place, the loop in the *home* greenlet (the one that made the machine); tasks
come back to it whenever they wait.  Clock events fire only there.  The order is fixed: interrupts first
(lowest CPU that can take one), then tasks (CPUs in turn), then time - so a run is a function of its inputs.

The home greenlet outside `run()` is itself the boot context of CPU 0: it may wait like any task.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence

from ddsdk.errors import SimulationStuckError, SleepFault, UsageError

from .clock import NEVER_NS, Clock
from .cpu import Cpu, Task, TaskState, getcurrent
from .irq import IrqController
from .watchdog import NmiWatchdog, StallDetector

BUSY, READY, SLEEPING = TaskState.BUSY, TaskState.READY, TaskState.SLEEPING

#: An interrupt no line stands for: (hard?, what to call).
_Deferred = tuple[bool, Callable[[], object]]


class Scheduler:
    """The normal-mode half of a Machine."""

    def __init__(self, clock: Clock, cpus: Sequence[Cpu], irqs: IrqController, watchdog: NmiWatchdog,
                 stall: StallDetector) -> None:
        self.clock = clock
        self.cpus = cpus
        self.irqs = irqs
        self.watchdog = watchdog
        self.stall = stall
        self.home = getcurrent()
        self.boot = Task("boot", cpus[0], None, 0)
        self.boot.state = TaskState.RUNNING
        cpus[0].task = self.boot
        self.current = self.boot
        self.current_cpu = cpus[0]
        self.stopped = False                # the crash happened
        self.tasks: list[Task] = []         # not done, in order of spawning
        self.deferred: deque[_Deferred] = deque()
        self._next_pid = 1
        self._turn = 0                      # CPU that is looked at first

    # -- called by whoever runs ----------------------------------------------------------------------

    def spawn(self, cpu: Cpu, fn: Callable[[], object], name: str) -> Task:
        """A new task, queued on *cpu*."""
        task = Task(name, cpu, fn, self._next_pid)
        self._next_pid += 1
        self.tasks.append(task)
        cpu.queue.append(task)
        return task

    def busy(self, until_ns: int, condition: Callable[[], bool] | None = None) -> None:
        """Hold the calling CPU until *until_ns* or until *condition* holds, taking interrupts meanwhile."""
        task, clock = self.current, self.clock
        cpu = task.cpu
        if cpu.task is not task:
            self._get_cpu(task)
        if condition is None and self._undisturbed(task, until_ns):
            clock.now_ns = max(clock.now_ns, until_ns)
        while True:
            if cpu.irq_enabled:
                self.deliver()
            if self.stopped:
                raise _boot_interrupted()
            if clock.now_ns >= until_ns or (condition is not None and condition()):
                break
            task.wake_ns, task.condition, task.state = until_ns, condition, BUSY
            self._wait(task)
        watchdog = self.watchdog
        silent_since_ns = max(watchdog.touched_ns, cpu.irqs_off_since_ns)
        if not cpu.irq_enabled and clock.now_ns - silent_since_ns > watchdog.limit_ns:
            watchdog.bite(cpu.id, "normal mode, interrupts off")

    def sleep(self, until_ns: int | None) -> bool:
        """Give the CPU up until *until_ns* or `wake()`; true when woken.  SleepFault in atomic context."""
        task = self.current
        cpu = task.cpu
        if self.stopped:
            raise _boot_interrupted()
        if cpu.task is not task:
            self._get_cpu(task)
        if not cpu.may_sleep:
            raise SleepFault(f"scheduling while atomic: {task.name} on CPU {cpu.id} sleeps with "
                             f"{_atomic(cpu)}; use udelay() there, or leave the context first")
        self.stall.tick("sleep")
        if until_ns is not None and self._undisturbed(task, until_ns):
            self.clock.now_ns = max(self.clock.now_ns, until_ns)
            return False
        task.wake_ns, task.state, task.woken = until_ns, SLEEPING, False
        cpu.task = None
        cpu.queue.append(task)
        self._wait(task)
        if self.deferred or self.irqs.ready:
            self.deliver()
        return task.woken

    def wake(self, task: Task) -> None:
        """Let a sleeping task go on; the first wake-up counts, others are lost."""
        if task.state is SLEEPING:
            task.state, task.woken = READY, True

    def deliver(self) -> None:
        """Take whatever interrupts the running CPU can take now, on the running context's stack."""
        cpu, irqs = self.current_cpu, self.irqs
        while cpu.irq_enabled and not self.stopped:
            line = irqs.next_deliverable() if irqs.ready else None
            if line is not None:
                self._interrupt(cpu, line.run_handlers)
            elif self.deferred and not cpu.in_irq and not cpu.in_softirq:
                self.stall.tick("soft interrupt")
                hard, call = self.deferred.popleft()
                if hard:
                    self._interrupt(cpu, call)
                else:
                    self._soft_interrupt(cpu, call)
            else:
                return

    # -- the loop ------------------------------------------------------------------------------------

    def run(self, done: Callable[[], bool], until_ns: int, idle: bool) -> bool:
        """Run the world until `done()`, *until_ns*, or the crash.

        When nothing is left to happen: *idle* lets the time pass all the same, else False.
        """
        cpu, boot = self.cpus[0], self.boot
        if cpu.task is boot:
            cpu.task = None
            boot.wake_ns, boot.state = None, SLEEPING
        try:
            while not self.stopped:
                if done() or self.clock.now_ns >= until_ns:
                    return True
                if not self._step(until_ns, idle):
                    return False
            return True
        finally:
            self._come_home()

    def _undisturbed(self, task: Task, until_ns: int) -> bool:
        """Nobody but the boot context is there, and nothing happens until then: time may pass in one step."""
        if (until_ns >= self.clock.horizon_ns or self.tasks or self.deferred or self.irqs.ready or task is not self.boot
                or self.stopped):
            return False
        return all(cpu.task is None or cpu.task is task for cpu in self.cpus)

    def _wait(self, task: Task) -> None:
        """Leave the running context until the loop picks it again."""
        if task is self.boot:
            self._boot_wait(task)
        else:
            self.home.switch()
            task.state = TaskState.RUNNING

    def _get_cpu(self, boot: Task) -> None:
        """The boot context goes on after `run()` left another task busy on CPU 0: that one comes first."""
        boot.state = READY
        self._boot_wait(boot)

    def _boot_wait(self, boot: Task) -> None:
        cpu = boot.cpu
        try:
            while not self._ready(boot) or cpu.task not in (boot, None):
                if not self._step(NEVER_NS, False):
                    raise SimulationStuckError(
                        f"stuck at {self.clock.now_ns} ns: the boot context sleeps without a time limit and "
                        "nothing that is left to happen can wake it")
                if self.stopped:
                    raise _boot_interrupted()
                if boot.state is BUSY and cpu.irq_enabled and self._wanted(cpu):
                    break
        finally:
            if boot in cpu.queue:
                cpu.queue.remove(boot)
            self._come_home()

    def _come_home(self) -> None:
        """The home greenlet goes on: as the boot context while CPU 0 is free, as the dump after a crash."""
        if self.stopped:
            return
        self.current, self.current_cpu = self.boot, self.cpus[0]
        if self.cpus[0].task in (self.boot, None):
            self.cpus[0].task = self.boot
            self.boot.state = TaskState.RUNNING

    def _step(self, limit_ns: int, idle: bool) -> bool:
        """Let one context run until it waits, or let time pass.  False when there is neither to do."""
        task = self._interrupted() if self.irqs.ready or self.deferred else None
        if task is None:
            task = self._next_task()
        if task is not None:
            self._resume(task)
            return True
        when_ns = self._next_time()
        if when_ns == NEVER_NS and not idle:
            return False
        self.clock.advance_to(min(when_ns, limit_ns))
        return True

    def _resume(self, task: Task) -> None:
        cpu = task.cpu
        if cpu.task is not task:
            if task in cpu.queue:
                cpu.queue.remove(task)
            cpu.task = task
        self.current, self.current_cpu = task, cpu
        task.resume(self.home)
        if task.done:
            cpu.task = None
            if task in self.tasks:
                self.tasks.remove(task)
            if task.exception is not None:
                raise task.exception

    def _next_task(self) -> Task | None:
        count = len(self.cpus)
        for step in range(count):
            cpu = self.cpus[(self._turn + step) % count]
            running = cpu.task
            if running is not None:
                if running is not self.boot and self._ready(running):
                    self._turn = cpu.id + 1
                    return running
                continue
            for task in cpu.queue:
                if task is not self.boot and self._ready(task):
                    self._turn = cpu.id + 1
                    return task
        return None

    def _interrupted(self) -> Task | None:
        """The context that takes the next interrupt: a busy-waiting task, or a fresh one on an idle CPU."""
        for cpu in self.cpus:
            running = cpu.task
            if not cpu.irq_enabled or running is self.boot or not self._wanted(cpu):
                continue
            if running is None:
                return Task(f"irq/{cpu.id}", cpu, self.deliver, 0)
            if running.state is BUSY:
                return running
        return None

    def _wanted(self, cpu: Cpu) -> bool:
        """True when *cpu*, whose interrupts are enabled, has something to deliver."""
        return self.irqs.next_deliverable() is not None or bool(
            self.deferred and not cpu.in_irq and not cpu.in_softirq)

    def _ready(self, task: Task) -> bool:
        state = task.state
        if state is READY:
            return True
        if task.wake_ns is not None and self.clock.now_ns >= task.wake_ns and state in (BUSY, SLEEPING):
            return True
        return state is BUSY and task.condition is not None and task.condition()

    def _next_time(self) -> int:
        """When something is next due.  A sleeper that is due and finds its CPU taken waits for the CPU."""
        now_ns = self.clock.now_ns
        when_ns = self.clock.horizon_ns
        for task in (self.boot, *self._all_tasks()):
            wake_ns = task.wake_ns
            if wake_ns is not None and now_ns < wake_ns < when_ns and task.state in (BUSY, SLEEPING):
                when_ns = wake_ns
        return when_ns

    # -- the end -------------------------------------------------------------------------------------

    def stop(self, crash_cpu: Cpu) -> None:
        """Freeze every task where it is; the home greenlet goes on as *crash_cpu*, interrupts off."""
        self.stopped = True
        for task in self._all_tasks():
            task.state = TaskState.FROZEN
        for cpu in self.cpus:
            cpu.frozen = cpu is not crash_cpu
        self.deferred.clear()
        crash_cpu.irq_enabled = False
        dump = Task("dump", crash_cpu, None, crash_cpu.pid)
        dump.state = TaskState.RUNNING
        self.current, self.current_cpu = dump, crash_cpu

    def leave_frozen(self) -> None:
        """The end of the crash, on the stack that crashed: only the home greenlet returns from here.

        call_tracing: when a trace function called us, Python holds tracing back until it returns, which it
        never does.
        """
        if getcurrent() is not self.home:
            sys.call_tracing(self.home.switch, ())

    def discard(self) -> None:
        """Unwind every task that still stands somewhere; for a machine that is being closed."""
        self.stopped = True
        stopped, self.tasks = self._all_tasks(), []
        for task in stopped:
            task.discard()

    def _all_tasks(self) -> list[Task]:
        """Every task but boot, those of interrupts on idle CPUs included."""
        others = [cpu.task for cpu in self.cpus if cpu.task is not None and cpu.task is not self.boot]
        return [*self.tasks, *(task for task in others if task not in self.tasks)]

    # -- interrupt contexts --------------------------------------------------------------------------

    def _interrupt(self, cpu: Cpu, call: Callable[[], object]) -> None:
        cpu.in_irq += 1
        cpu.irq_enabled = False
        cpu.irqs_off_since_ns = self.clock.now_ns
        try:
            call()
        finally:
            cpu.in_irq -= 1
            cpu.irq_enabled = True

    def _soft_interrupt(self, cpu: Cpu, call: Callable[[], object]) -> None:
        cpu.in_softirq += 1
        try:
            call()
        finally:
            cpu.in_softirq -= 1


def _boot_interrupted() -> UsageError:
    return UsageError("the machine crashed while its boot context was waiting on CPU 0, and the boot context "
                      "cannot be frozen; run such code as a task: machine.spawn(0, fn), machine.run()")


def _atomic(cpu: Cpu) -> str:
    if cpu.in_irq or cpu.in_softirq:
        return "an interrupt on its stack"
    if cpu.preempt_count:
        return f"{cpu.preempt_count} spin lock(s) held"
    return "interrupts disabled"
