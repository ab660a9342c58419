"""Interrupt handlers: request_irq and its kin.

C: include/linux/interrupt.h, kernel/irq/manage.c.  Crash mode: nothing may be unmasked (white paper 4.3 item
3); handlers stay installed and are never called, the driver's dump_poll calls its own by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ddsdk.errors import DeadlockFault, InterruptFault, UsageError
from ddsdk.sim.irq import Handler, IrqLine, IrqPin

from .guard import Guard

if TYPE_CHECKING:
    from .pci import PciDev

#: C: irqreturn_t.
IRQ_NONE = 0
IRQ_HANDLED = 1

_SYNC_STEP_NS = 1000


class Irqs:
    """request_irq, free_irq, enable_irq, disable_irq: the device is named instead of its interrupt number."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._machine = guard.machine
        self._installed: dict[tuple[str, int], Handler] = {}

    def request_irq(self, pdev: PciDev, handler: Callable[[int, Any], int], dev: Any) -> int:
        """int request_irq(irq, handler, SA_SHIRQ, name, dev): `handler(irq, dev)` -> IRQ_HANDLED or IRQ_NONE.

        Returns 0, or -EINVAL (-22) when the device has no interrupt line.  Crash mode: InterruptFault.
        """
        self._forbid_unmasking("request_irq", pdev)
        line = _line(pdev)
        if line is None:
            return -22
        irq = pdev.irq

        def call() -> int:
            return handler(irq, dev)

        self._installed[pdev.name, id(dev)] = call
        line.add_handler(call)
        return 0

    def free_irq(self, pdev: PciDev, dev: Any) -> None:
        """void free_irq(irq, dev): remove the handler installed with *dev*, wait until it is not running.

        SleepFault in interrupt context.  UsageError when nothing was installed with *dev*.
        """
        if not self._machine.crashdump_mode:
            self._guard.may_sleep("free_irq")
        call = self._installed.pop((pdev.name, id(dev)), None)
        line = _line(pdev)
        if call is None or line is None:
            raise UsageError(f"free_irq: {pdev.name} has no handler with this dev; pass request_irq()'s")
        line.remove_handler(call)
        self._synchronize(line)

    def enable_irq(self, pdev: PciDev) -> None:
        """void enable_irq(irq): undo one disable_irq().  InterruptFault: crash mode, or not disabled."""
        self._forbid_unmasking("enable_irq", pdev)
        line = _line(pdev)
        if line is not None:
            line.unmask()

    def disable_irq(self, pdev: PciDev) -> None:
        """void disable_irq(irq): no handler of the line runs until enable_irq(), nor on return; nests.

        DeadlockFault from the handler itself, which it would wait for: use disable_irq_nosync().
        """
        line = _line(pdev)
        if line is None:
            return
        if line.in_progress and self._guard.in_irq() and not self._machine.crashdump_mode:
            raise DeadlockFault(f"disable_irq: {pdev.name} waits for the handler that calls it;"
                                " use disable_irq_nosync()")
        line.mask()
        self._synchronize(line)

    def disable_irq_nosync(self, pdev: PciDev) -> None:
        """void disable_irq_nosync(irq): the same without waiting for a running handler."""
        line = _line(pdev)
        if line is not None:
            line.mask()

    def remove_all(self) -> None:
        """The kernel is gone: none of its handlers runs any more."""
        for line in self._machine.irqs.lines:
            for call in self._installed.values():
                if call in line.handlers:
                    line.remove_handler(call)
        self._installed.clear()

    def _synchronize(self, line: IrqLine) -> None:
        """Wait for a handler on another CPU; in crash mode that CPU is frozen and the handler is over."""
        while line.in_progress and not self._machine.crashdump_mode:
            self._machine.pass_time(_SYNC_STEP_NS)

    def _forbid_unmasking(self, call: str, pdev: PciDev) -> None:
        if self._machine.crashdump_mode:
            raise InterruptFault(f"{call}: {pdev.name} may not interrupt in crashdump_mode, no handler runs;"
                                 " leave the line as it is, dump_poll calls the handler by hand")


def _line(pdev: PciDev) -> IrqLine | None:
    pin = pdev.function.irq_line
    if isinstance(pin, IrqPin):
        return pin.line
    return pin if isinstance(pin, IrqLine) else None
