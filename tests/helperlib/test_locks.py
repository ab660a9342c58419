"""Spin locks and the interrupt flag across CPUs and across the crash."""

from __future__ import annotations

import pytest

from ddsdk.errors import DeadlockFault, InterruptFault, LockFault
from ddsdk.sim.locks import SpinLock
from ddsdk.sim.machine import Trigger
from tests.helperlib.board import World, build


def test_held_elsewhere_is_waited_for() -> None:
    """CPU 1 gets the lock when CPU 0 lets go of it."""
    world = build(ncpus=2)
    kernel = world.kernel
    lock = kernel.spin_lock_init("lock")

    def holder() -> None:
        kernel.spin_lock(lock)
        kernel.udelay(50)
        kernel.spin_unlock(lock)

    def waiter() -> None:
        kernel.udelay(10)
        assert kernel.spin_trylock(lock) == 0
        flags = kernel.spin_lock_irqsave(lock)
        world.note(world.now_us)
        kernel.spin_unlock_irqrestore(lock, flags)

    world.machine.spawn(0, holder)
    world.machine.spawn(1, waiter)
    world.machine.run()
    assert world.ran == [50]


@pytest.fixture
def held(world: World) -> tuple[World, SpinLock]:
    """A two-CPU machine that crashed on CPU 0 while CPU 1 held a lock."""
    world = build(ncpus=2)
    lock = world.kernel.spin_lock_init("scsi0.host_lock")

    def queuecommand() -> None:
        world.kernel.spin_lock_irqsave(lock)
        world.kernel.udelay(1000)

    def panics() -> None:
        world.kernel.udelay(500)
        world.machine.crash(Trigger.PANIC)

    world.machine.spawn(1, queuecommand)
    world.machine.spawn(0, panics)
    world.machine.run()
    return world, lock


def test_held_by_a_frozen_cpu_is_a_deadlock(held: tuple[World, SpinLock]) -> None:
    """Whatever call takes it; the message says who holds it since where."""
    world, lock = held
    for take in (world.kernel.spin_lock, world.kernel.spin_lock_irq, world.kernel.spin_lock_irqsave,
                 world.kernel.spin_lock_bh):
        with pytest.raises(DeadlockFault, match=r"scsi0\.host_lock, held by .*CPU 1 .*in queuecommand"):
            take(lock)
    assert world.kernel.spin_is_locked(lock)
    assert world.kernel.spin_trylock(lock) == 0


def test_quiesce_frees_it_by_initialising_it(held: tuple[World, SpinLock]) -> None:
    """White paper 4.4 item 2; afterwards it locks, unlocks, and its holder may not sleep."""
    world, lock = held
    kernel = world.kernel
    assert kernel.spin_lock_init(lock) is lock
    kernel.spin_lock(lock)
    kernel.spin_unlock(lock)
    kernel.msleep(1)
    kernel.spin_lock(lock)
    kernel.spin_lock_init(lock)
    kernel.msleep(1)


def test_quiesce_may_also_unlock_it(held: tuple[World, SpinLock]) -> None:
    """A lock of before the crash may be released by whoever dumps, once."""
    world, lock = held
    world.kernel.spin_unlock(lock)
    assert not world.kernel.spin_is_locked(lock)
    with pytest.raises(LockFault):
        world.kernel.spin_unlock(lock)


def test_unlock_of_another_cpus_lock_is_refused() -> None:
    """In normal mode only its owner may."""
    world = build(ncpus=2)
    kernel = world.kernel
    lock = kernel.spin_lock_init("lock")

    def holder() -> None:
        kernel.spin_lock(lock)
        kernel.udelay(100)
        kernel.spin_unlock(lock)

    def thief() -> None:
        kernel.udelay(50)
        with pytest.raises(LockFault):
            kernel.spin_unlock(lock)
        world.note("refused")

    world.machine.spawn(0, holder)
    world.machine.spawn(1, thief)
    world.machine.run()
    assert world.ran == ["refused"]


def test_locks_may_be_released_in_any_order(crashed: World) -> None:
    """Both are forgotten; sleeping is allowed again."""
    kernel = crashed.kernel
    first, second = kernel.spin_lock_init("first"), kernel.spin_lock_init("second")
    kernel.spin_lock(first)
    kernel.spin_lock(second)
    kernel.spin_unlock(first)
    kernel.spin_unlock(second)
    kernel.msleep(1)


def test_refused_unlock_keeps_the_lock(crashed: World) -> None:
    """The fault comes before anything is changed."""
    kernel = crashed.kernel
    lock = kernel.spin_lock_init("lock")
    kernel.spin_lock(lock)
    with pytest.raises(InterruptFault):
        kernel.spin_unlock_irq(lock)
    with pytest.raises(InterruptFault):
        kernel.spin_unlock_irqrestore(lock, 0x200)
    assert kernel.spin_is_locked(lock)
    assert not crashed.machine.current_cpu.irq_enabled


def test_message_names_the_lock_and_the_remedy(crashed: World) -> None:
    """The white paper's own remedy."""
    lock = crashed.kernel.spin_lock_init("scsi0.host_lock")
    crashed.kernel.spin_lock_irq(lock)
    with pytest.raises(InterruptFault) as caught:
        crashed.kernel.spin_unlock_irq(lock)
    assert str(caught.value) == ("spin_unlock_irq: spin lock 'scsi0.host_lock': enables interrupts in"
                                 " crashdump_mode, where no handler may run; use spin_lock() and"
                                 " spin_unlock() when crashdump_mode()")


def test_flags_of_before_the_crash_enable(world: World) -> None:
    """A driver that kept them in its state and restores them later is caught."""
    lock = world.kernel.spin_lock_init("lock")
    flags = world.kernel.spin_lock_irqsave(lock)
    world.kernel.spin_unlock_irqrestore(lock, flags)
    world.crash()
    world.kernel.spin_lock(lock)
    with pytest.raises(InterruptFault, match=r"flags 0x200"):
        world.kernel.spin_unlock_irqrestore(lock, flags)


def test_nested_irqsave_keeps_interrupts_off_until_the_outermost(world: World) -> None:
    """What arrives meanwhile is taken when the outermost lock goes."""
    kernel = world.kernel
    outer, inner = kernel.spin_lock_init("outer"), kernel.spin_lock_init("inner")
    outer_flags = kernel.spin_lock_irqsave(outer)
    inner_flags = kernel.spin_lock_irqsave(inner)
    world.machine.run_in_irq(lambda: world.note("interrupt"))
    kernel.spin_unlock_irqrestore(inner, inner_flags)
    kernel.udelay(10)
    assert world.ran == []
    kernel.spin_unlock_irqrestore(outer, outer_flags)
    assert world.ran == ["interrupt"]


def test_bottom_halves_wait_on_one_cpu_only() -> None:
    """A timer due while CPU 0 holds a _bh lock runs on CPU 1."""
    world = build(ncpus=2)
    kernel = world.kernel
    lock = kernel.spin_lock_init("lock")
    timer = kernel.setup_timer(lambda _data: world.note(world.machine.current_cpu.id))
    kernel.mod_timer(timer, kernel.jiffies + 1)

    def holder() -> None:
        kernel.spin_lock_bh(lock)
        kernel.udelay(3000)
        kernel.spin_unlock_bh(lock)

    world.machine.spawn(0, holder)
    world.machine.run()
    assert world.ran == [1]
