"""How locks are taken before the crash: what the watch says of it, and what it lets pass."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ddsdk.conformance.bench import Bench
from ddsdk.conformance.check import Setup
from ddsdk.conformance.load import plans_for
from ddsdk.conformance.lockwatch import CLOSED, HANDLER, OPEN, LockWatch
from ddsdk.sim.irq import IrqLine
from ddsdk.sim.locks import SpinLock


@pytest.fixture
def bench() -> Iterator[Bench]:
    """A machine of two CPUs with the bundled driver's adapter, which nobody drives."""
    with Bench.build(plans_for("mptfusion", chip="sas1068")[0], Setup(ncpus=2, probe=False)) as built:
        yield built


def take(bench: Bench, *locks: SpinLock, irqs_off: bool = False) -> None:
    """Take *locks* in this order and release them."""
    flags = bench.kernel.local_irq_save() if irqs_off else 0
    for lock in locks:
        bench.kernel.spin_lock(lock)
    for lock in reversed(locks):
        bench.kernel.spin_unlock(lock)
    if irqs_off:
        bench.kernel.local_irq_restore(flags)


def in_handler(bench: Bench, *locks: SpinLock) -> None:
    """Have an interrupt handler take *locks*."""
    bench.machine.run_in_irq(lambda: take(bench, *locks))
    bench.machine.run(for_ns=1)


def test_a_lock_of_the_handler_taken_with_interrupts_on_is_told(bench: Bench) -> None:
    """Both places are named; with interrupts off there is nothing to say."""
    lock, other, watch = SpinLock("queue"), SpinLock("free"), LockWatch(bench)
    with bench.listening(watch):
        in_handler(bench, lock)
        in_handler(bench, other)
        take(bench, lock)
        take(bench, other, irqs_off=True)
    assert {name: sorted(sites) for name, sites in watch.habits.taken.items()} == {
        "queue": sorted((HANDLER, OPEN)), "free": sorted((HANDLER, CLOSED))}
    assert len(watch.habits.unsafe) == 1
    assert watch.habits.unsafe[0].startswith("queue is taken in the interrupt handler (at test_lockwatch.py:")
    assert "and elsewhere with interrupts on (at test_lockwatch.py:" in watch.habits.unsafe[0]


def test_disable_irq_is_as_good_as_interrupts_off(bench: Bench) -> None:
    """While the adapter's line is masked its handler does not come."""
    lock, watch = SpinLock("queue"), LockWatch(bench)
    line = bench.function.irq_line
    assert isinstance(line, IrqLine)
    with bench.listening(watch):
        in_handler(bench, lock)
        line.mask()
        take(bench, lock)
        line.unmask()
    assert watch.habits.unsafe == []


def test_a_trylock_proves_nothing(bench: Bench) -> None:
    """It waits for nobody, in the handler neither."""
    lock, watch = SpinLock("queue"), LockWatch(bench)

    def attempt() -> None:
        assert bench.kernel.spin_trylock(lock) == 1
        bench.kernel.spin_unlock(lock)

    with bench.listening(watch):
        bench.machine.run_in_irq(attempt)
        bench.machine.run(for_ns=1)
        take(bench, lock)
    assert watch.habits.unsafe == []


def test_two_locks_taken_in_both_orders_are_told(bench: Bench) -> None:
    """Once for each pair."""
    a, b, c, watch = SpinLock("a"), SpinLock("b"), SpinLock("c"), LockWatch(bench)
    with bench.listening(watch):
        take(bench, a, b)
        take(bench, b, a)
        take(bench, b, c)
        take(bench, a, c)
    assert len(watch.habits.crossed) == 1
    assert watch.habits.crossed[0].startswith("b is taken under a (at test_lockwatch.py:")
    assert watch.habits.crossed[0].endswith("two CPUs that do so at once wait for each other for ever")


def test_a_lock_around_both_orders_makes_them_safe(bench: Bench) -> None:
    """Who holds the gate is alone with the two."""
    gate, a, b, watch = SpinLock("gate"), SpinLock("a"), SpinLock("b"), LockWatch(bench)
    with bench.listening(watch):
        take(bench, gate, a, b)
        take(bench, gate, b, a)
    assert watch.habits.crossed == []
