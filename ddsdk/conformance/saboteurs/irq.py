"""Saboteurs of the IRQ family."""

from __future__ import annotations

from typing import Final

from . import Edit, Saboteur

SABOTEURS: Final[tuple[Saboteur, ...]] = (
    Saboteur("irq-host-unlock-enables", "IRQ-1", "TOY_HOST_UNLOCK is spin_unlock_irq(), in crash mode too.", (
        Edit("recovery.py", """
    if kernel.crashdump_mode():
        kernel.spin_unlock(shost.host_lock)
    else:
        kernel.spin_unlock_irq(shost.host_lock)
""", """
    kernel.spin_unlock_irq(shost.host_lock)
"""),
    ), case="dump"),
    Saboteur("irq-quiesce-does-not-mask", "IRQ-2", "Quiesce leaves the adapter's interrupt as it was.", (
        Edit("dump.py", """
    kernel.writel(MASK_ALL, adapter.chip, Regs.INTERRUPT_MASK)
""", "\n"),
    ), case="reply-pending"),
    Saboteur("irq-reset-unmasks", "IRQ-3", "The end of a reset unmasks the adapter, in crash mode too.", (
        Edit("recovery.py", "Control.of(RUN=1, INTERRUPT=not crashed)", "Control.of(RUN=1, INTERRUPT=1)"),
        Edit("recovery.py", "MASK_ALL if crashed else 0", "0"),
        Edit("recovery.py", "    crashed = kernel.crashdump_mode()\n", ""),
    ), case="completions-pending"),
    Saboteur("irq-handler-unmasks", "IRQ-4", "The handler ends by unmasking the adapter, in crash mode too.", (
        Edit("recovery.py", "Control.of(RUN=1, INTERRUPT=not crashed)", "Control.of(RUN=1, INTERRUPT=1)"),
        Edit("interrupt.py", """
    adapter.kernel.tasklet_schedule(adapter.done_tasklet)
""", """
    adapter.kernel.tasklet_schedule(adapter.done_tasklet)
    adapter.kernel.writel(0, adapter.chip, Regs.INTERRUPT_MASK)
"""),
    )),
    Saboteur("irq-shutdown-unmasks", "IRQ-5", "Shutdown lets commands end and turns interrupts on, as they were.", (
        Edit("dump.py", """
    kernel.writel(Control.of(RESET=1), adapter.chip, Regs.CONTROL)
""", """
    if kernel.readl(adapter.chip, Regs.STATUS).STATE == State.RUNNING:
        TOY_MDELAY(kernel, 50)
        kernel.writel(Control.of(RUN=1, INTERRUPT=1), adapter.chip, Regs.CONTROL)
        kernel.writel(0, adapter.chip, Regs.INTERRUPT_MASK)
        return 0
    kernel.writel(Control.of(RESET=1), adapter.chip, Regs.CONTROL)
"""),
    ), case="outstanding"),
)
