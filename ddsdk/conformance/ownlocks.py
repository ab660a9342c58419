"""The driver's own locks: which it takes on the way, and a crash at the very moment one is taken.

The driver's own is every spin lock but host_lock.  Source: white paper 4.4 (1), the lock of the message frame queue;
4.4 (2), "release any driver lock".
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from ddsdk.sim.machine import Trigger
from ddsdk.sim.trace import TraceField

from .bench import DATA, PAGE, Bench
from .check import not_applicable

QUEUECOMMAND: Final = "queuecommand"
HANDLER: Final = "interrupt-handler"
#: Ways into the driver, as the cases of a check; the last four are error handlers, which it may lack.
WAYS: Final = (QUEUECOMMAND, HANDLER, "abort", "device-reset", "bus-reset", "host-reset")

_TAKES: Final = ("lock", "trylock")
_Listener = Callable[[str, tuple[TraceField, ...]], object]


def taken_in(bench: Bench, way: str) -> tuple[str, ...]:
    """Names of the driver's own locks that it takes on *way*, in the order of their first use; before the crash."""
    taken: dict[str, None] = {}

    def listen(kind: str, fields: tuple[TraceField, ...]) -> None:
        if kind in _TAKES and fields[0] != bench.lock.name:
            taken[str(fields[0])] = None

    _go(bench, way, listen)
    return tuple(taken)


def crash_holding(bench: Bench, way: str, lock: str) -> None:
    """Crash on *way*, as the driver has just taken *lock*; where another machine like this one does."""
    def listen(kind: str, fields: tuple[TraceField, ...]) -> None:
        if kind in _TAKES and fields[0] == lock and not bench.crashed:
            bench.machine.crash(Trigger.NMI_SWITCH, reason=f"{lock} held")

    _go(bench, way, listen)
    bench.expect(bench.crashed, f"in {way} the driver took its lock {lock} on one machine and not on another like it")


def queue_locks(bench: Bench) -> tuple[str, ...]:
    """The driver's own locks that one queuecommand takes; measured once, on another machine."""
    if bench.plan.queue_locks is None:
        with bench.another() as other:
            bench.plan.queue_locks = taken_in(other, QUEUECOMMAND)
    return bench.plan.queue_locks


def _go(bench: Bench, way: str, listener: _Listener) -> None:
    """Into the driver by *way*, with somebody listening to what it takes."""
    command = bench.command(False, 8, [(DATA, PAGE)])
    if way == QUEUECOMMAND:
        with bench.listening(listener):
            bench.in_task(partial(bench.start, command), QUEUECOMMAND)
        return
    handlers = bench.error_handlers()
    if way != HANDLER and way not in handlers:
        not_applicable(f"the driver offers no {way} handler")
    bench.expect(bench.start(command), "the driver says busy though nothing is outstanding")
    with bench.listening(listener):
        if way == HANDLER:
            bench.wait(command)
        else:
            bench.in_task(partial(handlers[way], command), way)
