"""Every state the crash can find the adapter in, each brought about on purpose.

Source: field.md 2, row 2 (quiesce from every reachable device state: mid-DMA, queue full, firmware faulted, reset
pending) and 4.3.  A state is entered in normal mode by the means a running kernel has; then the machine crashes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import attrs

from ddsdk.hookspecs.profile import Role
from ddsdk.sim.machine import Trigger

from .bench import DATA, NS_PER_MS, NS_PER_S, PAGE, Bench, Command
from .check import Need, not_applicable
from .plan import Plan

#: How long a state may take to come about.
_ENTER_NS: Final = 5 * NS_PER_S
_ERROR_HANDLER_NS: Final = 700 * NS_PER_S


def idle(bench: Bench) -> None:
    """Nothing is under way."""
    bench.crash()


def in_flight(bench: Bench) -> None:
    """One write is with the adapter, its data not fetched yet."""
    _start(bench, 1)
    bench.crash()


def mid_dma(bench: Bench) -> None:
    """A long read is under way: the adapter writes to memory that the dead kernel gave it."""
    nbytes = min(bench.max_bytes, 1 << 18)
    command = bench.command(False, 64, [(DATA, nbytes)])
    bench.expect(bench.start(command), "the driver says busy though nothing is outstanding")
    bench.machine.run(until=lambda: command.done, for_ns=50_000)
    bench.crash()


def queue_full(bench: Bench) -> None:
    """The driver was given commands until it said busy, or as many as can_queue."""
    _start(bench, bench.depth)
    bench.crash()


def reply_pending(bench: Bench) -> None:
    """Commands are done, the interrupt line is up, and the handler never ran."""
    line = bench.function.irq_line
    if line is None:
        not_applicable("the adapter has no interrupt line")
    bench.kernel.disable_irq_nosync(bench.pdev)
    _start(bench, min(4, bench.depth))
    bench.machine.run(until=lambda: line.level, for_ns=_ENTER_NS)
    bench.machine.run(for_ns=10 * NS_PER_MS)
    bench.expect(line.level, "commands were queued, but within 5 s the adapter did not ask for an interrupt")
    bench.crash()


def in_handler(bench: Bench) -> None:
    """The interrupt handler is half way: it has just said that a command ended."""
    command = bench.command(True, 8, [(DATA, PAGE)])
    command.on_end = lambda: bench.crashed or bench.machine.crash(Trigger.NMI_SWITCH, reason="in the handler")
    bench.expect(bench.start(command), "the driver says busy though nothing is outstanding")
    bench.machine.run(until=lambda: bench.crashed, for_ns=_ENTER_NS)
    bench.expect(bench.crashed, "in normal mode a command did not end within 5 s")


def in_reset(part: int, parts: int = 8) -> Callable[[Bench], None]:
    """The host reset is under way, *part* of *parts* through."""
    def enter(bench: Bench) -> None:
        if bench.lacks(Need.RESET):
            not_applicable(bench.lacks(Need.RESET))
        took_ns = reset_ns(bench)
        _start(bench, 1)
        bench.machine.spawn(0, lambda: bench.call_reset(), "error handler")
        bench.machine.clock.after_ns(max(1, took_ns * part // parts),
                                     lambda: bench.machine.crash(Trigger.PANIC, reason="in the host reset"))
        bench.machine.run(until=lambda: bench.crashed, for_ns=took_ns + NS_PER_S)
    return enter


def in_error_handler(bench: Bench) -> None:
    """The mildest error handler - abort, device reset, bus reset - is half way with a command that does not end."""
    names = [name for name in bench.error_handlers() if name != "host-reset"]
    if not names:
        not_applicable("the driver offers no error handler but the host reset")
    with bench.another() as other:
        before_ns = other.now_ns
        other.in_task(_error_handling(other, names[0]))
        took_ns = other.now_ns - before_ns
    bench.machine.spawn(0, _error_handling(bench, names[0]), names[0])
    bench.machine.clock.after_ns(max(1, took_ns // 2),
                                 lambda: bench.machine.crash(Trigger.PANIC, reason=f"in {names[0]}"))
    bench.machine.run(until=lambda: bench.crashed, for_ns=took_ns + NS_PER_S)


def _error_handling(bench: Bench, name: str) -> Callable[[], object]:
    handle = bench.error_handlers()[name]

    def task() -> None:
        command = bench.command(False, 8, [(DATA, PAGE)])
        bench.start(command)
        handle(command)
    return task


def firmware_fault(bench: Bench) -> None:
    """The adapter's firmware stopped as a command arrived."""
    if bench.plan.backend != "model" or bench.plan.role(Role.FIRMWARE_FAULT) is None:
        not_applicable("no model's fault plays firmware-fault here")
    fault = bench.inject(Role.FIRMWARE_FAULT)
    _start(bench, 2 if bench.depth > 1 else 1)
    bench.machine.run(until=lambda: fault in bench.faults.struck, for_ns=_ENTER_NS)
    bench.crash()


def error_handler(bench: Bench) -> None:
    """A command hung, its time ran out, and the error handlers are at work."""
    if bench.plan.backend != "model" or bench.plan.role(Role.COMMAND_HUNG) is None:
        not_applicable("no model's fault plays command-hung here")
    bench.inject(Role.COMMAND_HUNG)
    command = bench.command(False, 8, [(DATA, PAGE)])
    bench.start(command)
    bench.machine.run(for_ns=NS_PER_S)
    bench.crash()


#: Name -> how to get there.
STATES: Final[Mapping[str, Callable[[Bench], None]]] = MappingProxyType({
    "idle": idle,
    "in-flight": in_flight,
    "mid-dma": mid_dma,
    "queue-full": queue_full,
    "reply-pending": reply_pending,
    "in-handler": in_handler,
    "in-error-handler": in_error_handler,
    "reset-begins": in_reset(0),
    "reset-early": in_reset(1),
    "reset-half-way": in_reset(4),
    "reset-late": in_reset(7),
    "firmware-fault": firmware_fault,
    "command-hung": error_handler,
})


def every_state(_plan: Plan) -> Sequence[str]:
    """The cases of a check that holds from every state."""
    return tuple(STATES)


def enter(bench: Bench, state: str) -> None:
    """Bring the machine there, and crash it.

    Where the crash leaves the mid-layer's lock held - a driver may hold it through its handlers - the dump layer takes
    no such adapter, whatever its driver says: the case does not apply.
    """
    STATES[state](bench)
    if bench.crashed and bench.lock.is_locked:
        not_applicable(f"the crash left {bench.lock.name} held, taken at {bench.lock.taken_in}: nobody dumps there")


def reset_ns(bench: Bench) -> int:
    """Nanoseconds a host reset takes on a machine like this one, in normal mode; measured once."""
    setup = attrs.evolve(bench.setup, probe=True)
    known = bench.plan.reset_ns.get(setup)
    if known is None:
        with bench.another(setup) as other:
            task = other.machine.spawn(0, lambda: other.call_reset(), "error handler")
            before_ns = other.now_ns
            other.machine.run(until=task, for_ns=_ERROR_HANDLER_NS)
            other.expect(task.done and task.result, "in normal mode, on an idle adapter, the host reset fails")
            known = bench.plan.reset_ns[setup] = other.now_ns - before_ns
    return known


def _start(bench: Bench, count: int) -> list[Command]:
    """*count* writes handed to the driver; at least one it must take."""
    commands = [bench.command(True, 8 * n + 8, [(DATA + n % 16 * PAGE, PAGE)]) for n in range(count)]
    taken = bench.start_all(commands)
    bench.expect(taken, "the driver says busy though nothing is outstanding")
    return taken
