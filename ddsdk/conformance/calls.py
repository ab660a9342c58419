"""What the driver asked of the kernel: one entry a call, with the mode it was made in and the driver's line."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Kernel

    from .plan import Plan

#: Calls that are kept: everything about time, deferral and memory.  Locks are in the trace, registers too.
RECORDED: Final = (
    "udelay", "mdelay", "diskdump_mdelay", "msleep", "diskdump_msleep", "schedule_timeout", "schedule",
    "wait_event", "wait_event_timeout", "wait_for_completion", "wait_for_completion_timeout", "touch_nmi_watchdog",
    "add_timer", "mod_timer", "del_timer", "del_timer_sync", "tasklet_schedule", "tasklet_hi_schedule",
    "schedule_work", "schedule_delayed_work", "flush_scheduled_work", "kmalloc", "kfree", "dma_alloc_coherent",
    "dma_free_coherent", "enable_irq", "disable_irq", "local_irq_enable",
)

#: How many are kept: a loop without an end must not eat the memory.
_KEPT: Final = 200_000


@frozen
class Call:
    """One call: its name, its first plain argument (a delay, a size) or 0, in crash mode?, when, from where."""

    name: str
    amount: int
    crash: bool
    now_ns: int
    site: str


class CallLog:
    """The calls of one bench, oldest first.  Only those the driver itself made; the kit's own are left out."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.calls: list[Call] = []

    def attach(self, kernel: Kernel) -> None:
        """Listen to *kernel*, before a driver binds its calls."""
        for name in RECORDED:
            setattr(kernel, name, self._recorded(kernel, name, getattr(kernel, name)))

    def _recorded(self, kernel: Kernel, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        files, clock = self._plan.files, kernel.machine.clock

        def recorded(*arguments: Any, **named: Any) -> Any:
            code = sys._getframe(1).f_code
            shown = files.get(code.co_filename)
            if shown and len(self.calls) < _KEPT:
                amount = next((a for a in arguments if type(a) is int), 0)
                self.calls.append(Call(name, amount, kernel.machine.crashdump_mode, clock.now_ns,
                                       f"{shown}:{sys._getframe(1).f_lineno} in {code.co_name}"))
            return call(*arguments, **named)
        return recorded

    def since_crash(self, *names: str) -> list[Call]:
        """Calls of *names* (all when none is given) made after the crash."""
        return [call for call in self.calls if call.crash and (not names or call.name in names)]

    def __iter__(self) -> Iterator[Call]:
        return iter(self.calls)
