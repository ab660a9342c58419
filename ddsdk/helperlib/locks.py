"""Spin locks and the CPU's interrupt flag.

C: include/linux/spinlock.h, include/asm/system.h.  White paper 4.1 item 3, 4.3 item 3: nothing may enable
interrupts while dumping, and nobody will ever release a lock that was held at the crash.
"""

from __future__ import annotations

from ddsdk.errors import InterruptFault
from ddsdk.sim.cpu import IRQ_FLAG_ENABLED
from ddsdk.sim.locks import SpinLock

from .guard import Guard


class Locks:
    """spin_*, local_irq_*.  Flags are 0x200 (interrupts were on) or 0."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._machine = guard.machine
        self._acquire = guard.machine.locks.acquire
        self._release = guard.machine.locks.release
        self._held = guard.held

    # -- plain ------------------------------------------------------------------------------------

    def spin_lock_init(self, lock: str | SpinLock) -> SpinLock:
        """void spin_lock_init(spinlock_t *): a new lock by name; or free an existing one, whoever held it.

        The latter is how a quiesce hook releases its driver's locks (white paper 4.4 item 2).
        """
        if isinstance(lock, str):
            return SpinLock(lock)
        self._machine.locks.reinit(lock)
        self._forget(lock)
        return lock

    def spin_lock(self, lock: SpinLock) -> None:
        """void spin_lock(spinlock_t *).

        Normal mode: spins while another CPU holds it; DeadlockFault when this one does.
        Crash mode: DeadlockFault when anyone does, for nobody will release it.
        """
        self._acquire(lock)
        if self._machine.crashdump_mode:
            self._held.append(lock)

    def spin_unlock(self, lock: SpinLock) -> None:
        """void spin_unlock(spinlock_t *); LockFault when this CPU does not hold it.

        Crash mode: a lock held since before the crash may be released, whoever held it.
        """
        self._release(lock)
        held = self._held
        if held:
            if held[-1] is lock:
                held.pop()
            else:
                self._forget(lock)

    def spin_trylock(self, lock: SpinLock) -> int:
        """int spin_trylock(spinlock_t *): 1 taken, 0 held by somebody."""
        if not self._machine.locks.try_acquire(lock):
            return 0
        if self._machine.crashdump_mode:
            self._held.append(lock)
        return 1

    def spin_is_locked(self, lock: SpinLock) -> bool:
        """int spin_is_locked(spinlock_t *): held by anyone, frozen CPUs included."""
        return lock.owner is not None

    def _forget(self, lock: SpinLock) -> None:
        if lock in self._held:
            self._held.remove(lock)

    # -- with interrupts --------------------------------------------------------------------------

    def spin_lock_irq(self, lock: SpinLock) -> None:
        """void spin_lock_irq(spinlock_t *): interrupts off, then spin_lock()."""
        self._machine.irq_disable()
        self._acquire(lock)
        if self._machine.crashdump_mode:
            self._held.append(lock)

    def spin_unlock_irq(self, lock: SpinLock) -> None:
        """void spin_unlock_irq(spinlock_t *): unlock, then interrupts on.  Crash mode: InterruptFault."""
        if self._machine.crashdump_mode:
            raise _enables("spin_unlock_irq", f"spin lock {lock.name!r}",
                           "use spin_lock() and spin_unlock() when crashdump_mode()")
        self._release(lock)
        self._machine.irq_enable()

    def spin_lock_irqsave(self, lock: SpinLock) -> int:
        """flags = spin_lock_irqsave(spinlock_t *): interrupts off, then spin_lock(); returns the flags."""
        flags = self._machine.irq_save()
        self._acquire(lock)
        if self._machine.crashdump_mode:
            self._held.append(lock)
        return flags

    def spin_unlock_irqrestore(self, lock: SpinLock, flags: int) -> None:
        """void spin_unlock_irqrestore(spinlock_t *, unsigned long): unlock, interrupts as *flags* say.

        Crash mode: InterruptFault for flags that enable.
        """
        if flags & IRQ_FLAG_ENABLED and self._machine.crashdump_mode:
            raise _enables("spin_unlock_irqrestore", f"spin lock {lock.name!r}, flags {flags:#x}",
                           "pass the flags spin_lock_irqsave() returned since the crash")
        self._release(lock)                 # spin_unlock(), without the call
        held = self._held
        if held:
            if held[-1] is lock:
                held.pop()
            else:
                self._forget(lock)
        if flags & IRQ_FLAG_ENABLED:
            self._machine.irq_enable()

    def spin_lock_bh(self, lock: SpinLock) -> None:
        """void spin_lock_bh(spinlock_t *): no timer function or tasklet on this CPU while it is held."""
        self._machine.current_cpu.in_softirq += 1
        self._acquire(lock)
        if self._machine.crashdump_mode:
            self._held.append(lock)

    def spin_unlock_bh(self, lock: SpinLock) -> None:
        """void spin_unlock_bh(spinlock_t *).  Normal mode: what was held back runs now."""
        self.spin_unlock(lock)
        cpu = self._machine.current_cpu
        cpu.in_softirq -= 1
        if cpu.irq_enabled:
            self._machine.pass_time(0)

    # -- the flag itself --------------------------------------------------------------------------

    def local_irq_disable(self) -> None:
        """void local_irq_disable(void): both modes."""
        self._machine.irq_disable()

    def local_irq_enable(self) -> None:
        """void local_irq_enable(void).  Crash mode: InterruptFault."""
        if self._machine.crashdump_mode:
            raise _enables("local_irq_enable", "the CPU's flag", "do not call it when crashdump_mode()")
        self._machine.irq_enable()

    def local_irq_save(self) -> int:
        """unsigned long flags = local_irq_save(void): interrupts off; returns the flags."""
        return self._machine.irq_save()

    def local_irq_restore(self, flags: int) -> None:
        """void local_irq_restore(unsigned long).  Crash mode: InterruptFault for flags that enable."""
        if flags & IRQ_FLAG_ENABLED:
            if self._machine.crashdump_mode:
                raise _enables("local_irq_restore", f"flags {flags:#x}",
                               "pass the flags local_irq_save() returned since the crash")
            self._machine.irq_enable()


def _enables(call: str, what: str, remedy: str) -> InterruptFault:
    return InterruptFault(f"{call}: {what}: enables interrupts in crashdump_mode, where no handler may run;"
                          f" {remedy}")
