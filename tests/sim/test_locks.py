"""Spin locks: owner, contention in normal mode, deadlock in both."""

from __future__ import annotations

import inspect

import pytest

from ddsdk.errors import DeadlockFault, LockFault, SimulationStuckError
from ddsdk.sim.locks import SPIN_LIMIT_NS, HeldLock, SpinLock
from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.trace import Trace


@pytest.fixture
def machine() -> Machine:
    """Two CPUs."""
    return Machine(PhysicalMemory.anonymous(1 << 20), ncpus=2)


def here() -> int:
    """The caller's line number."""
    frame = inspect.currentframe()
    assert frame is not None
    assert frame.f_back is not None
    return frame.f_back.f_lineno


def test_owner_and_preempt_count_follow_the_lock(machine: Machine) -> None:
    """Taking sets owner and forbids sleeping; releasing undoes both."""
    lock = SpinLock("host_lock")
    cpu = machine.current_cpu
    machine.locks.acquire(lock, depth=1)
    assert (lock.owner, lock.is_locked, cpu.preempt_count, cpu.may_sleep) == (cpu, True, 1, False)
    machine.locks.release(lock)
    assert (lock.owner, lock.is_locked, cpu.preempt_count, cpu.may_sleep) == (None, False, 0, True)
    assert lock.taken_in == ""


def test_place_of_taking_is_known_to_the_line(machine: Machine) -> None:
    """taken_in names file, line and function of the frame `depth` levels up."""
    lock = SpinLock("FreeQlock")

    def spin_lock() -> None:            # stands for the helper library
        machine.locks.acquire(lock)

    spin_lock(); line = here()  # noqa: E702 - both must be on one line
    assert lock.taken_in == (f"test_locks.py:{line} in "
                             "test_place_of_taking_is_known_to_the_line")
    assert machine.locks.held() == (HeldLock("FreeQlock", 0, lock.taken_in),)
    assert str(machine.locks.held()[0]) == f"FreeQlock held by CPU 0, taken at {lock.taken_in}"


def test_taking_it_twice_is_a_deadlock_in_normal_mode(machine: Machine) -> None:
    """The fault names the lock, the CPU and where it was taken."""
    lock = SpinLock("host_lock")
    machine.locks.acquire(lock, depth=1)
    with pytest.raises(DeadlockFault, match=r"CPU 0 takes host_lock, which it already holds \(taken at test_locks.py:"):
        machine.locks.acquire(lock, depth=1)


def test_interrupt_handler_taking_a_lock_held_with_interrupts_on_is_a_deadlock(machine: Machine) -> None:
    """The classic: spin_lock() where spin_lock_irqsave() was needed."""
    lock = SpinLock("host_lock")
    line = machine.irqs.line(11)
    line.add_handler(lambda: machine.locks.acquire(lock, depth=1))
    machine.clock.after_ns(10, line.raise_)
    machine.locks.acquire(lock, depth=1)
    with pytest.raises(DeadlockFault, match="CPU 0 takes host_lock, which it already holds"):
        machine.pass_time(100)


def test_trylock_says_no_instead(machine: Machine) -> None:
    """try_acquire() never waits and never faults."""
    lock = SpinLock("l")
    assert machine.locks.try_acquire(lock, depth=1) is True
    assert machine.locks.try_acquire(lock, depth=1) is False
    machine.locks.release(lock)
    assert machine.locks.try_acquire(lock, depth=1) is True


def test_a_cpu_s_locks_are_told_in_the_order_they_were_taken(machine: Machine) -> None:
    """held_by() names this CPU's locks only; the trace tells a trylock from a lock that would have waited."""
    outer, inner = SpinLock("outer"), SpinLock("inner")
    machine.trace.on = True
    machine.locks.acquire(outer, depth=1)
    machine.locks.try_acquire(inner, depth=1)
    assert machine.locks.held_by(machine.cpus[0]) == [outer, inner]
    assert machine.locks.held_by(machine.cpus[1]) == []
    machine.locks.release(outer)
    assert machine.locks.held_by(machine.cpus[0]) == [inner]
    assert [(record.kind, record.fields) for record in machine.trace] == [
        ("lock", ("outer", 0)), ("trylock", ("inner", 0)), ("unlock", ("outer", 0))]


def test_contended_lock_is_taken_the_moment_it_is_released(machine: Machine) -> None:
    """CPU 1 spins in virtual time while CPU 0 holds the lock for 5 us."""
    lock = SpinLock("l")
    seen = []

    def holder() -> None:
        machine.locks.acquire(lock, depth=1)
        machine.pass_time(5_000)
        machine.locks.release(lock)
        machine.pass_time(1_000)

    def waiter() -> None:
        machine.pass_time(100)
        machine.locks.acquire(lock, depth=1)
        seen.append((machine.clock.now_ns, lock.owner is machine.cpus[1]))
        machine.locks.release(lock)

    machine.spawn(0, holder)
    machine.spawn(1, waiter)
    machine.run()
    assert seen == [(5_000, True)]
    assert machine.clock.now_ns == 6_000


def test_contended_wait_is_bounded(machine: Machine) -> None:
    """A lock held for 10 s and more ends the waiter with SimulationStuckError."""
    lock = SpinLock("l")

    def holder() -> None:
        machine.locks.acquire(lock, depth=1)
        machine.pass_time(2 * SPIN_LIMIT_NS)

    machine.spawn(0, holder)
    machine.spawn(1, lambda: machine.locks.acquire(lock, depth=1))
    with pytest.raises(SimulationStuckError, match="CPU 1 waited 10 s for l, held by CPU 0"):
        machine.run()


def test_releasing_what_one_does_not_hold_is_a_lock_fault(machine: Machine) -> None:
    """A free lock, and a lock of another CPU."""
    lock = SpinLock("l")
    with pytest.raises(LockFault, match="CPU 0 releases l, which is not held"):
        machine.locks.release(lock)

    def holder() -> None:
        machine.locks.acquire(lock, depth=1)

    machine.spawn(1, holder)
    machine.run()
    with pytest.raises(LockFault, match=r"CPU 0 releases l, which CPU 1 holds \(taken at test_locks.py:\d+ in hold"):
        machine.locks.release(lock)


def crash_holding(machine: Machine, lock: SpinLock, cpu: int) -> None:
    """CPU *cpu* takes the lock and is busy when CPU 0's NMI switch is pressed."""
    def holder() -> None:
        machine.locks.acquire(lock, depth=1)
        machine.pass_time(10**9)

    machine.spawn(cpu, holder)
    machine.clock.after_ns(1_000, lambda: machine.crash(Trigger.NMI_SWITCH, cpu=0))
    assert machine.run() is not None


@pytest.mark.parametrize("cpu", [0, 1])
def test_lock_held_at_the_crash_stays_held(machine: Machine, cpu: int) -> None:
    """Whether the crashed CPU or a frozen one holds it: taking it in the dump is a DeadlockFault."""
    lock = SpinLock("FreeQlock")
    crash_holding(machine, lock, cpu)
    assert lock.is_locked
    assert machine.record is not None
    assert [(h.name, h.cpu_id) for h in machine.record.locks] == [("FreeQlock", cpu)]
    with pytest.raises(DeadlockFault, match=rf"CPU 0 takes FreeQlock, held by CPU {cpu} since before the crash \(taken "
                                            r"at test_locks.py:\d+ in holder\): nobody will ever release it"):
        machine.locks.acquire(lock, depth=1)
    machine.close()


@pytest.mark.parametrize("cpu", [0, 1])
def test_quiesce_may_release_what_was_held_at_the_crash(machine: Machine, cpu: int) -> None:
    """Releasing or initialising anew frees it, whoever held it; afterwards it works like any lock."""
    for free in (machine.locks.release, machine.locks.reinit):
        lock = SpinLock("FreeQlock")
        crash_machine = Machine(PhysicalMemory.anonymous(1 << 20), ncpus=2)
        free = getattr(crash_machine.locks, free.__name__)
        crash_holding(crash_machine, lock, cpu)
        free(lock)
        assert (lock.owner, crash_machine.cpus[cpu].preempt_count) == (None, 0)
        crash_machine.locks.acquire(lock, depth=1)
        with pytest.raises(DeadlockFault, match="which it already holds"):
            crash_machine.locks.acquire(lock, depth=1)
        crash_machine.locks.release(lock)
        with pytest.raises(LockFault, match="which is not held"):
            crash_machine.locks.release(lock)
        crash_machine.close()


def test_trace_notes_locks() -> None:
    """Taking, spinning, releasing and initialising are records."""
    trace = Trace()
    machine = Machine(PhysicalMemory.anonymous(1 << 20), ncpus=2, trace=trace)
    lock = SpinLock("l")
    machine.locks.acquire(lock, depth=1)
    machine.locks.release(lock)
    machine.locks.reinit(lock)
    assert [(r.kind, r.fields) for r in trace] == [("lock", ("l", 0)), ("unlock", ("l", 0)), ("lockinit", ("l",))]

    def hold() -> None:
        machine.locks.acquire(lock, depth=1)
        machine.pass_time(10)
        machine.locks.release(lock)

    machine.spawn(0, hold)
    machine.spawn(1, hold)
    machine.run()
    assert [(r.now_ns, r.kind, r.fields[-1]) for r in trace][3:] == [
        (0, "lock", 0), (0, "spin", 1), (10, "unlock", 0), (10, "lock", 1), (20, "unlock", 1)]
