"""Spin locks and the interrupt flag.  Scenarios for `test_readme.py`."""

from __future__ import annotations

from ddsdk.errors import DeadlockFault, InterruptFault, LockFault
from tests.helperlib.board import World
from tests.helperlib.scenarios import CRASH, NORMAL, faults, works


@works("spin_lock_init", "spin_is_locked", "spin_lock", "spin_unlock", "spin_trylock", modes=(NORMAL,))
@works("spin_lock_init", "spin_is_locked", "spin_unlock", "spin_trylock", modes=(CRASH,))
def locks_and_unlocks(w: World) -> None:
    """Taken once; freed by its owner, or by initialising it anew."""
    k = w.kernel
    lock = k.spin_lock_init("lock")
    assert not k.spin_is_locked(lock)
    k.spin_lock(lock)
    assert k.spin_is_locked(lock)
    assert k.spin_trylock(lock) == 0
    k.spin_unlock(lock)
    assert k.spin_trylock(lock) == 1
    assert k.spin_lock_init(lock) is lock
    assert not k.spin_is_locked(lock)
    k.msleep(1)


@faults("spin_lock", DeadlockFault)
def spin_lock_twice(w: World) -> None:
    """Spin locks do not nest."""
    lock = w.kernel.spin_lock_init("lock")
    w.kernel.spin_lock(lock)
    w.kernel.spin_lock(lock)


@faults("spin_unlock", LockFault)
def spin_unlock_of_free_lock(w: World) -> None:
    """Nobody holds it."""
    w.kernel.spin_unlock(w.kernel.spin_lock_init("lock"))


@works("spin_lock_irq", "spin_unlock_irq", modes=(NORMAL,))
def lock_with_interrupts_off(w: World) -> None:
    """Off while it is held, on afterwards."""
    lock = w.kernel.spin_lock_init("lock")
    w.kernel.spin_lock_irq(lock)
    assert not w.machine.current_cpu.irq_enabled
    w.kernel.spin_unlock_irq(lock)
    assert w.machine.current_cpu.irq_enabled


@works("spin_lock_irq", modes=(CRASH,))
def spin_lock_irq_alone(w: World) -> None:
    """Taking it that way does no harm; spin_unlock() frees it."""
    lock = w.kernel.spin_lock_init("lock")
    w.kernel.spin_lock_irq(lock)
    w.kernel.spin_unlock(lock)
    w.kernel.msleep(1)


@faults("spin_lock_irq", DeadlockFault, (CRASH,))
def spin_lock_irq_twice(w: World) -> None:
    """Spin locks do not nest."""
    lock = w.kernel.spin_lock_init("lock")
    w.kernel.spin_lock_irq(lock)
    w.kernel.spin_lock_irq(lock)


@faults("spin_unlock_irq", InterruptFault, (CRASH,))
def spin_unlock_irq(w: World) -> None:
    """White paper 4.3 item 3."""
    lock = w.kernel.spin_lock_init("lock")
    w.kernel.spin_lock_irq(lock)
    w.kernel.spin_unlock_irq(lock)


@works("spin_lock_irqsave", "spin_unlock_irqrestore")
def irqsave_pairs(w: World) -> None:
    """The flags say what was: on in normal mode, off after the crash."""
    k = w.kernel
    outer, inner = k.spin_lock_init("outer"), k.spin_lock_init("inner")
    was = w.machine.current_cpu.irq_enabled
    flags = k.spin_lock_irqsave(outer)
    assert bool(flags) is was is not k.crashdump_mode()
    inner_flags = k.spin_lock_irqsave(inner)
    assert inner_flags == 0
    k.spin_unlock_irqrestore(inner, inner_flags)
    assert not w.machine.current_cpu.irq_enabled
    k.spin_unlock_irqrestore(outer, flags)
    assert w.machine.current_cpu.irq_enabled is was


@faults("spin_unlock_irqrestore", InterruptFault, (CRASH,))
def spin_unlock_irqrestore_enabling(w: World) -> None:
    """Flags of before the crash."""
    lock = w.kernel.spin_lock_init("lock")
    w.kernel.spin_lock(lock)
    w.kernel.spin_unlock_irqrestore(lock, 0x200)


@works("spin_lock_bh", "spin_unlock_bh")
def bottom_halves_wait(w: World) -> None:
    """A tasklet scheduled under the lock runs after it."""
    lock = w.kernel.spin_lock_init("lock")
    w.kernel.spin_lock_bh(lock)
    w.kernel.tasklet_schedule(w.kernel.tasklet_init(w.note, "tasklet"))
    w.kernel.udelay(5000)
    assert w.ran == []
    w.kernel.spin_unlock_bh(lock)
    w.settle()
    assert w.ran == ["tasklet"]


@works("local_irq_disable", "local_irq_save")
def interrupts_go_off(w: World) -> None:
    """And the second call finds them off."""
    w.kernel.local_irq_disable()
    assert not w.machine.current_cpu.irq_enabled
    assert w.kernel.local_irq_save() == 0


@works("local_irq_enable", modes=(NORMAL,))
def interrupts_go_on(w: World) -> None:
    """What waited is taken at once."""
    w.kernel.local_irq_disable()
    w.machine.run_in_irq(lambda: w.note("interrupt"))
    w.kernel.udelay(100)
    assert w.ran == []
    w.kernel.local_irq_enable()
    assert w.ran == ["interrupt"]


@faults("local_irq_enable", InterruptFault, (CRASH,))
def local_irq_enable(w: World) -> None:
    """White paper 4.3 item 3."""
    w.kernel.local_irq_enable()


@works("local_irq_restore")
def flags_are_restored(w: World) -> None:
    """To what they were."""
    was = w.machine.current_cpu.irq_enabled
    w.kernel.local_irq_restore(w.kernel.local_irq_save())
    assert w.machine.current_cpu.irq_enabled is was


@faults("local_irq_restore", InterruptFault, (CRASH,))
def local_irq_restore_enabling(w: World) -> None:
    """Flags of before the crash."""
    w.kernel.local_irq_restore(0x200)


@works("in_irq", "in_interrupt", modes=(NORMAL,))
def context_is_known(w: World) -> None:
    """Neither in a task, both in a handler, only the second in a tasklet."""
    def note() -> None:
        w.note((w.kernel.in_irq(), w.kernel.in_interrupt()))
    note()
    w.in_irq(note)
    w.in_tasklet(note)
    assert w.ran == [(False, False), (True, True), (False, True)]


@works("in_irq", "in_interrupt", modes=(CRASH,))
def context_is_known_after_the_crash(w: World) -> None:
    """The dump loop is no interrupt; a tasklet it runs is."""
    def note() -> None:
        w.note((w.kernel.in_irq(), w.kernel.in_interrupt()))
    note()
    w.in_tasklet(note)
    assert w.ran == [(False, False), (False, True)]
