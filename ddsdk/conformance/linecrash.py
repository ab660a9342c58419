"""A crash at any line of the driver on a way into it: the machine stops there, with the driver's work half done.

Source: field.md 4.3, "time of crash: every step of a workload trace".  The lines are those of the modules the driver
names in DriverInfo.modules; which of them a way leads through is found out first, on another machine.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from ddsdk.sim.machine import Trigger

from .bench import Bench
from .line_trap import LineTrap
from .ways import Around, prepare


def lines_of(bench: Bench, way: str) -> tuple[int, ...]:
    """Numbers to pass to `crash_at`: one for each line of the driver's that runs on *way*; before the crash."""
    trap = LineTrap(bench.machine, bench.plan.files, kind=_line_now)
    prepare(bench, way)(_inside(trap))
    return tuple(numbers[0] for numbers in trap.kinds.values())


def crash_at(bench: Bench, way: str, number: int) -> str:
    """Crash before the line that is *number*-th on *way*, or at its end when there are fewer; says where that is."""
    trap = LineTrap(bench.machine, bench.plan.files, number, lambda: bench.machine.crash(Trigger.OOPS, reason=way))
    prepare(bench, way)(_inside(trap))
    if not bench.crashed:
        bench.crash()
    return f"{trap.where} in {way}" if trap.where else f"the end of {way}"


def _inside(trap: LineTrap) -> Around:
    """Set *trap* in whatever task or interrupt calls the driver."""
    def around(call: Callable[..., Any]) -> Callable[..., Any]:
        def trapped() -> Any:
            with trap.set():
                return call()
        return trapped
    return around


def _line_now() -> str:
    """The line that the trap is asking about: two frames up, behind the trap's own."""
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
