"""Ways into the driver before the crash: queuecommand, the interrupt handler, each error handler."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from ddsdk.sim.irq import IrqLine

from .bench import DATA, PAGE, Bench
from .check import not_applicable

QUEUECOMMAND: Final = "queuecommand"
HANDLER: Final = "interrupt-handler"
#: As the cases of a check; the last four are error handlers, which a driver may lack.
WAYS: Final = (QUEUECOMMAND, HANDLER, "abort", "device-reset", "bus-reset", "host-reset")

#: Makes another call of a call, of what it does something more.
Around = Callable[[Callable[..., Any]], Callable[..., Any]]


def prepare(bench: Bench, way: str) -> Callable[[Around], None]:
    """All that comes before *way*: a command in flight, but for queuecommand.  What is returned goes it, once.

    The driver is called through `around(call)`, in the task or interrupt that calls it.  Not applicable: a way that
    the driver or the adapter lacks.
    """
    command = bench.command(True, 8, [(DATA, PAGE)])
    if way == QUEUECOMMAND:
        return lambda around: bench.in_task(around(partial(bench.start, command)), way)
    handlers, line = bench.error_handlers(), bench.function.irq_line
    if way == HANDLER and not isinstance(line, IrqLine):
        not_applicable("the adapter has no interrupt line")
    if way != HANDLER and way not in handlers:
        not_applicable(f"the driver offers no {way} handler")
    bench.expect(bench.start(command), "the driver says busy though nothing is outstanding")

    def interrupt(around: Around) -> None:
        assert isinstance(line, IrqLine)
        line.handlers[:] = [around(handler) for handler in line.handlers]
        bench.wait(command)

    return interrupt if way == HANDLER else lambda around: bench.in_task(around(partial(handlers[way], command)), way)
