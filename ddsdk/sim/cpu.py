"""CPUs, and the tasks that run on them.

A task is a greenlet: it can be stopped at any line and stay stopped, with its locals, its locks and its
half-done work exactly as they were.  No exception unwinds it, no `with` block of it ends.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum

# greenlet ships no type information; this is the one place that imports it
from greenlet import GreenletExit, getcurrent, greenlet  # type: ignore[import-untyped]

#: eflags.IF: what local_irq_save() returns while interrupts are enabled; 0 while they are not.
IRQ_FLAG_ENABLED = 0x200


class TaskState(Enum):
    """Where a task stands."""

    READY = "ready"          # waits for its CPU
    RUNNING = "running"      # on its CPU now
    BUSY = "busy"            # holds its CPU: udelay(), a contended spin lock
    SLEEPING = "sleeping"    # gave its CPU up until a time or a wake-up
    DONE = "done"
    FROZEN = "frozen"        # stopped by the crash, for good


class Cpu:
    """One processor: interrupt flag, nesting depths, what it runs, its registers.

    `regs` is its elf_gregset_t (`abi.gregset_bytes` bytes, all zero until somebody sets them), `task_ptr` and
    `pid` are what a dump's notes say about its current task.
    """

    __slots__ = ("frozen", "id", "in_irq", "in_softirq", "irq_enabled", "irqs_off_since_ns", "pid",
                 "preempt_count", "queue", "regs", "task", "task_ptr")

    def __init__(self, cpu_id: int, gregset_bytes: int) -> None:
        self.id = cpu_id
        self.irq_enabled = True
        self.irqs_off_since_ns = 0
        self.in_irq = 0             # depth of hard interrupt handlers
        self.in_softirq = 0         # depth of timers, tasklets
        self.preempt_count = 0      # spin locks held and preempt_disable() calls
        self.frozen = False
        self.task: Task | None = None
        self.queue: deque[Task] = deque()       # tasks that want to run here, or sleep
        self.regs = bytes(gregset_bytes)
        self.task_ptr = 0
        self.pid = 0

    @property
    def in_interrupt(self) -> bool:
        """in_interrupt(): in a hard or soft interrupt."""
        return bool(self.in_irq or self.in_softirq)

    @property
    def may_sleep(self) -> bool:
        """True in process context with no spin lock held and interrupts enabled."""
        return self.irq_enabled and not (self.in_irq or self.in_softirq or self.preempt_count)

    def __repr__(self) -> str:
        return f"<Cpu {self.id}>"


class Task:
    """Something that runs on one CPU until it is done or the machine crashes.

    `result` is what its function returned, `exception` what it raised.
    """

    __slots__ = ("_greenlet", "condition", "cpu", "exception", "fn", "name", "pid", "result", "state",
                 "wake_ns", "woken")

    def __init__(self, name: str, cpu: Cpu, fn: Callable[[], object] | None, pid: int) -> None:
        self.name = name
        self.cpu = cpu
        self.fn = fn
        self.pid = pid
        self.state = TaskState.READY
        self.wake_ns: int | None = None         # BUSY, SLEEPING: until then; None: without limit
        self.condition: Callable[[], bool] | None = None    # BUSY: or until this holds
        self.woken = False                      # SLEEPING: somebody woke it
        self.result: object = None
        self.exception: BaseException | None = None
        self._greenlet: greenlet | None = None

    @property
    def done(self) -> bool:
        """True when its function returned or raised."""
        return self.state is TaskState.DONE

    def resume(self, home: greenlet) -> None:
        """Run it until it switches back to *home* or ends.  What it raises is kept in `exception`."""
        if self._greenlet is None:
            self._greenlet = greenlet(self._main, home)
        self.state = TaskState.RUNNING
        self.wake_ns = self.condition = None
        self._greenlet.switch()

    def discard(self) -> None:
        """Unwind a stopped task so that its memory can go.  Only for a machine that is being closed."""
        stopped, self._greenlet = self._greenlet, None
        if stopped:
            self.state = TaskState.FROZEN
            stopped.throw(GreenletExit)

    def _main(self) -> None:
        try:
            assert self.fn is not None
            self.result = self.fn()
        except BaseException as error:
            # Whatever a discarded task's `finally` blocks raise is about a machine that is gone.
            if self.state is not TaskState.FROZEN:
                self.exception = error
        if self.state is not TaskState.FROZEN:
            self.state = TaskState.DONE

    def __repr__(self) -> str:
        return f"<Task {self.name} on CPU {self.cpu.id} {self.state.value}>"


__all__ = ["IRQ_FLAG_ENABLED", "Cpu", "Task", "TaskState", "getcurrent", "greenlet"]
