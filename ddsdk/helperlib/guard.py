"""Who calls, in which mode, from which context: the one place that knows what may not be done there.

White paper 4.1, 4.3; RHEL 4 (2.6.9-89.29.1.EL) kernel/sched.c might_sleep checks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ddsdk.errors import ForbiddenCallError, SleepFault

if TYPE_CHECKING:
    from ddsdk.sim.locks import SpinLock
    from ddsdk.sim.machine import Machine


def name_of(function: object) -> str:
    """How a function is called in traces and errors: never by its address."""
    return str(getattr(function, "__qualname__", type(function).__name__))


class Guard:
    """The calling context.  `machine` is read by every module of the helper library through here."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._softirq = 0           # depth of timer functions and tasklets run by diskdump_update()
        #: locks taken since the crash and not released yet; those from before it are not the port's doing
        self.held: list[SpinLock] = []

    def crashdump_mode(self) -> bool:
        """int crashdump_mode(void): true from the crash on."""
        return self.machine.crashdump_mode

    def in_irq(self) -> bool:
        """in_irq(): in a hardware interrupt handler; a crash inside one keeps it true."""
        return self.machine.current_cpu.in_irq > 0

    def in_interrupt(self) -> bool:
        """in_interrupt(): in a handler, a timer function or a tasklet, or with bottom halves disabled."""
        return self._softirq > 0 or self.machine.current_cpu.in_interrupt

    def run_softirq(self, function: Callable[[Any], object], data: Any) -> None:
        """Run a timer function or a tasklet.  In normal mode the machine has set the context up already."""
        if not self.machine.crashdump_mode:
            function(data)
            return
        self._softirq += 1
        try:
            function(data)
        finally:
            self._softirq -= 1

    def trace(self, kind: str, function: object) -> None:
        """Note that a deferred *function* is armed or runs."""
        trace = self.machine.trace
        if trace.on:
            trace.add(kind, name_of(function))

    @property
    def in_crash_softirq(self) -> bool:
        """In a timer function or tasklet that diskdump_update() runs."""
        return self._softirq > 0

    def forbid(self, call: str, remedy: str) -> None:
        """Raise ForbiddenCallError for *call* in crash mode."""
        if self.machine.crashdump_mode:
            raise ForbiddenCallError(f"{call}: called in crashdump_mode; {remedy}")

    def may_sleep(self, call: str) -> None:
        """Raise SleepFault unless the caller may sleep here.

        Normal mode: not in interrupt context, under a spin lock or with interrupts off.
        Crash mode: not in a timer function or tasklet, nor under a lock taken since the crash, because
        the waiting loop runs the driver's poll, which takes the same locks.
        """
        machine = self.machine
        why = ""
        if machine.crashdump_mode:
            if self._softirq:
                why = "in a timer function or tasklet"
            elif self.held:
                why = f"with spin lock {self.held[-1].name!r} held"
        else:
            cpu = machine.current_cpu
            if cpu.may_sleep:
                return
            if cpu.in_irq:
                why = "in an interrupt handler"
            elif cpu.in_softirq:
                why = "in a timer function or tasklet, or with bottom halves disabled"
            elif cpu.preempt_count:
                mine = [lock.name for lock in machine.locks.held() if lock.cpu_id == cpu.id]
                why = f"with spin lock {mine[-1]!r} held" if mine else "with preemption disabled"
            else:
                why = "with interrupts disabled"
        if why:
            raise SleepFault(f"{call}: sleeps {why}, which may not sleep; release it first,"
                             " or defer the work with schedule_work()")
