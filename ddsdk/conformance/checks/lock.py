"""LOCK: no lock taken twice, none released that is not held; what leads to it before the crash.

What each function leaves held, and what becomes of the mid-layer's lock, is in lock_left.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from attrs import evolve

from ddsdk.errors import DeadlockFault, LockFault
from ddsdk.sim.machine import Trigger
from ddsdk.sim.trace import TraceField

from .. import routes
from ..bench import NS_PER_MS, NS_PER_S, Bench, Command
from ..check import CheckFailed, Need, check
from ..lockwatch import LockHabits, LockWatch
from ..plan import Plan
from .irq import everywhere, go

#: What routes go through, with the driver probed and a second CPU.
_TWO_CPUS: Final = evolve(routes.TRAVELLER, ncpus=2, probe=True, record=False)
#: The load: so many workers on two CPUs, until so many commands are done.
_WORKERS, _COMMANDS = 6, 300
_LOAD, _HELD = "load", "held-at-the-crash"
#: What is not taken within this is taken under host_lock only, where nobody dumps.
_LOOK_FOR_NS: Final = 20 * NS_PER_S


def _everywhere_and_load(plan: Plan) -> tuple[str, ...]:
    return (*everywhere(plan), _LOAD)


def _everywhere_and_held(plan: Plan) -> tuple[str, ...]:
    held = (_HELD,) if plan.backend == "model" else ()      # it takes many machines, and is not about the adapter
    return (*_everywhere_and_load(plan), *held)


def _go(bench: Bench, case: str) -> None:
    if case == _LOAD:
        with bench.another(_TWO_CPUS) as other:
            _under_load(other)
    elif case == _HELD:
        for name, where in _own_locks(bench):
            with bench.another(_TWO_CPUS) as other:
                _crash_under(other, name, where)
    else:
        go(bench, case)


def _own_locks(bench: Bench) -> list[tuple[str, str]]:
    """The locks that the driver takes in normal mode, but for the mid-layer's, each with where it takes them."""
    with bench.another(_TWO_CPUS) as other:
        taken, host_lock = _habits(other).taken, other.lock.name
    return [(name, where) for name, sites in taken.items() if name != host_lock for where in sites]


def _crash_under(bench: Bench, name: str, where: str) -> None:
    """The crash comes the moment lock *name* has been taken *where*, host_lock free; then the dump, unless
    dump_sanity_check refuses.
    """
    watch = LockWatch(bench)

    def crash(kind: str, fields: Sequence[TraceField]) -> None:
        cpu = bench.machine.current_cpu
        if (kind == "lock" and fields[0] == name and not bench.crashed and watch.context(cpu) == where
                and bench.lock not in bench.machine.locks.held_by(cpu)):
            bench.machine.crash(Trigger.NMI_SWITCH, reason=f"under {name}")

    load = bench.load(_WORKERS)
    load.start()
    for n, (handler, handle) in enumerate(bench.error_handlers().items()):
        bench.machine.spawn(n % 2, partial(_handle_one, bench, handle), handler)
    with bench.listening(crash):
        bench.machine.run(until=lambda: bench.crashed or load.completed > _COMMANDS, for_ns=_LOOK_FOR_NS)
    if bench.crashed and bench.device.sanity_check() >= 0:
        with suppress(CheckFailed):
            routes.dump(bench)


def _handle_one(bench: Bench, handle: Callable[[Command], object]) -> None:
    victim = routes.page_command(bench, write=False)
    bench.start(victim)
    handle(victim)


def _under_load(bench: Bench) -> None:
    """Commands from two CPUs by interrupt; meanwhile an error handler and host resets."""
    load = bench.load(_WORKERS)
    load.start()
    bench.machine.run(until=lambda: load.completed >= _COMMANDS, for_ns=NS_PER_S)
    handlers = bench.error_handlers() if bench.disk is not None else {}         # QEMU takes real time
    for name, handle in handlers.items():
        bench.in_task(partial(_handle_one, bench, handle), name)
        bench.machine.run(for_ns=NS_PER_MS)


@check("LOCK-1", hook="all", setup=routes.TRAVELLER, faults=(DeadlockFault,), cases=_everywhere_and_held,
       source="white paper 4.4 (1), (2): spin_is_locked() in sanity_check, release any driver lock in quiesce", fix="""
       Before the crash: spin_lock_irqsave() for a lock that the interrupt handler takes too.
       After it nobody releases what is held: refuse in dump_sanity_check when spin_is_locked(), and start quiesce with
       spin_lock_init(&hba->lock);
       """)
def no_lock_is_taken_that_is_held(bench: Bench, case: str) -> None:
    """No lock is taken that this CPU already holds, or that a frozen CPU holds: under a load on two CPUs, and on every
    way through the driver before and after the crash."""
    _go(bench, case)


@check("LOCK-2", hook="all", setup=routes.TRAVELLER, faults=(LockFault,), cases=_everywhere_and_load,
       source="white paper 4.3 (3): HOST_LOCK and HOST_UNLOCK pair", fix="""
       Every way out of a function releases what that function took, once, and takes again what it dropped.
       """)
def no_lock_is_released_that_is_not_held(bench: Bench, case: str) -> None:
    """No lock is released that this CPU does not hold, on every way through the driver before and after the crash."""
    _go(bench, case)


# -- habits ----------------------------------------------------------------------------------------------------


def _habits(bench: Bench) -> LockHabits:
    """How the driver takes its locks under the load and in every error handler; seen once, on a machine like this."""
    known: LockHabits | None = bench.plan.lock_habits
    if known is None or bench.machine.trace.on:
        watch = LockWatch(bench)
        with bench.listening(watch), suppress(CheckFailed):
            _under_load(bench)
        if bench.disk is not None:              # where no load's tasks are half way through queuecommand
            with bench.another() as other, other.listening(LockWatch(other, watch.habits)), suppress(CheckFailed):
                routes.before_the_crash(other)
        known = bench.plan.lock_habits = watch.habits
    return known


@check("LOCK-6", hook="all", needs=(Need.INTERRUPT,), setup=_TWO_CPUS, faults=(DeadlockFault,),
       source="field.md 4.2: lockdep among Linux's run-time nets; white paper 4.3 (3): spin_lock_irq() in normal mode",
       fix="""
       spin_lock_irqsave(&hba->lock, flags);       /* not spin_lock(): the handler takes it too */
       """)
def locks_of_the_handler_are_taken_with_interrupts_off(bench: Bench) -> None:
    """In normal mode a lock that the interrupt handler takes is taken with interrupts off everywhere else."""
    found = _habits(bench).unsafe
    bench.expect(not found, "; ".join(found[:2]))


@check("LOCK-7", hook="all", setup=_TWO_CPUS, faults=(DeadlockFault,),
       source="field.md 4.2: lockdep among Linux's run-time nets", fix="""
       Choose an order (host_lock, then the queue's lock, then the free list's) and keep it; drop the outer one before
       you call what takes it.
       """)
def locks_are_taken_in_one_order(bench: Bench) -> None:
    """In normal mode no two locks are taken in one order here and in the other there."""
    found = _habits(bench).crossed
    bench.expect(not found, "; ".join(found[:2]))
