"""Who calls, in which mode, from which context: the one place that knows what may not be done there.

White paper 4.1, 4.3; RHEL 4 (2.6.9-89.29.1.EL) kernel/sched.c might_sleep checks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ForbiddenCallError, SleepFault

if TYPE_CHECKING:
    from ..sim.cpu import Cpu
    from ..sim.locks import SpinLock
    from ..sim.machine import Machine


class Guard:
    """The calling context.  `machine` is read by every module of the helper library through here."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._softirq = [0] * len(machine.cpus)      # depth by CPU id, since the crash in crash mode
        self._crashed_in_softirq = False
        #: locks taken since the crash and not released yet; those from before it are not the port's doing
        self.held: list[SpinLock] = []

    @property
    def cpu(self) -> Cpu:
        """The CPU that is executing the caller."""
        return self.machine.current_cpu

    def crashdump_mode(self) -> bool:
        """int crashdump_mode(void): true from the crash on."""
        return self.machine.crashdump_mode

    def in_irq(self) -> bool:
        """in_irq(): in a hardware interrupt handler (a crash inside one keeps it true)."""
        return bool(self.machine.current_cpu.in_irq)

    def in_interrupt(self) -> bool:
        """in_interrupt(): in a hardware interrupt handler, a timer function or a tasklet."""
        cpu = self.machine.current_cpu
        return bool(cpu.in_irq) or self._softirq[cpu.id] > 0 or self._crashed_in_softirq

    def enter_softirq(self) -> None:
        """A timer function or tasklet starts on this CPU."""
        self._softirq[self.machine.current_cpu.id] += 1

    def leave_softirq(self) -> None:
        """It returned."""
        cpu_id = self.machine.current_cpu.id
        if self._softirq[cpu_id]:               # a crash in between has reset it
            self._softirq[cpu_id] -= 1

    def in_softirq(self) -> bool:
        """In a timer function or a tasklet; in crash mode only of those started since the crash."""
        return self._softirq[self.machine.current_cpu.id] > 0

    def at_crash(self) -> None:
        """Contexts are counted from the crash on: what was interrupted never returns."""
        self._crashed_in_softirq = self.in_softirq()
        self._softirq = [0] * len(self._softirq)
        self.held.clear()

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
        if self.in_softirq():
            why = "in a timer function or tasklet"
        elif machine.crashdump_mode:
            if self.held:
                why = f"with spin lock {self.held[-1].name!r} held"
        else:
            cpu = machine.current_cpu
            if cpu.in_irq:
                why = "in interrupt context"
            elif cpu.preempt_count:
                why = "with a spin lock held"
            elif not cpu.irq_enabled:
                why = "with interrupts disabled"
        if why:
            raise SleepFault(f"{call}: sleeps {why}, which may not sleep; release it first,"
                             " or defer the work with schedule_work()")
