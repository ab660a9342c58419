"""The driver's own locks: which it takes on the way, and a crash at the very moment one is taken.

The driver's own is every spin lock but host_lock.  Source: white paper 4.4 (1), the lock of the message frame queue;
4.4 (2), "release any driver lock".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ddsdk.sim.machine import Trigger
from ddsdk.sim.trace import TraceField

from .bench import Bench
from .ways import QUEUECOMMAND, prepare

_TAKES: Final = ("lock", "trylock")


def taken_in(bench: Bench, way: str) -> tuple[str, ...]:
    """Names of the driver's own locks that it takes on *way*, in the order of their first use; before the crash."""
    taken: dict[str, None] = {}

    def listen(kind: str, fields: tuple[TraceField, ...]) -> None:
        if kind in _TAKES and fields[0] != bench.lock.name:
            taken[str(fields[0])] = None

    go = prepare(bench, way)
    with bench.listening(listen):
        go(_as_it_is)
    return tuple(taken)


def crash_holding(bench: Bench, way: str, lock: str) -> None:
    """Crash on *way*, as the driver has just taken *lock*; where another machine like this one does."""
    def listen(kind: str, fields: tuple[TraceField, ...]) -> None:
        if kind in _TAKES and fields[0] == lock and not bench.crashed:
            bench.machine.crash(Trigger.NMI_SWITCH, reason=f"{lock} held")

    go = prepare(bench, way)
    with bench.listening(listen):
        go(_as_it_is)
    bench.expect(bench.crashed, f"in {way} the driver took its lock {lock} on one machine and not on another like it")


def queue_locks(bench: Bench) -> tuple[str, ...]:
    """The driver's own locks that one queuecommand takes; measured once, on another machine."""
    if bench.plan.queue_locks is None:
        with bench.another() as other:
            bench.plan.queue_locks = taken_in(other, QUEUECOMMAND)
    return bench.plan.queue_locks


def _as_it_is(call: Callable[..., Any]) -> Callable[..., Any]:
    return call
