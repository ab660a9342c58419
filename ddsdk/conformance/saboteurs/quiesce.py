"""Saboteurs of the QUIESCE family."""

from __future__ import annotations

from typing import Final

from . import Edit, Saboteur

_MASKS: Final = """
    kernel.writel(MASK_ALL, adapter.chip, Regs.INTERRUPT_MASK)
    adapter.active = adapter.resetting = False
"""
_FLAGS: Final = "self.resetting = self.dead = False\n"
_FORGETS: Final = """
    adapter.forget()
    return 0


def toy_poll("""

SABOTEURS: Final[tuple[Saboteur, ...]] = (
    Saboteur("quiesce-leaves-the-reset-pending", "QUIESCE-1", "quiesce() does not forget that a reset was under way.", (
        Edit("dump.py", _MASKS, """
    kernel.writel(MASK_ALL, adapter.chip, Regs.INTERRUPT_MASK)
    adapter.active = False
"""),
    ), case="reset-half-way"),
    Saboteur("quiesce-refuses-a-stopped-firmware", "QUIESCE-1", "A firmware that stopped makes quiesce() say -EIO.", (
        Edit("dump.py", _MASKS, """
    if kernel.readl(adapter.chip, Regs.STATUS).STATE == State.FAULT:
        return -errno.EIO
""" + _MASKS.lstrip("\n")),
    ), case="firmware-fault"),
    Saboteur("quiesce-releases-no-lock", "QUIESCE-2", "quiesce() leaves the driver's lock as it is.", (
        Edit("dump.py", "    kernel.spin_lock_init(adapter.queue_lock)\n", ""),
    ), case="interrupt-handler"),
    Saboteur("quiesce-only-once", "QUIESCE-3", "quiesce() says -EALREADY when it is called again.", (
        Edit("dump.py", """
    kernel.spin_lock_init(adapter.queue_lock)
""", """
    if adapter.quiesced:
        return -errno.EALREADY
    adapter.quiesced = True
    kernel.spin_lock_init(adapter.queue_lock)
"""),
        Edit("adapter.py", _FLAGS, "self.resetting = self.dead = self.quiesced = False\n"),
    ), case="idle"),
    Saboteur("quiesce-ends-commands-as-good", "QUIESCE-4", "quiesce() ends what was in flight, with no result: good.", (
        Edit("dump.py", _FORGETS, """
    for scmd in adapter.forget():
        scmd.scsi_done(scmd)
    return 0


def toy_poll("""),
    ), case="in-flight-writes"),
    Saboteur("quiesce-names-the-state", "QUIESCE-5", "quiesce() logs the state; the table has none for all ones.", (
        Edit("dump.py", _MASKS, """
    state = kernel.readl(adapter.chip, Regs.STATUS).STATE
    adapter.printk(f"quiesce: it was {_STATES[state]}")
""" + _MASKS.lstrip("\n")),
        Edit("dump.py", """
_PCI_COMMAND: Final""", """
_STATES: Final = {
    State.RESETTING: "in a reset", State.READY: "ready", State.RUNNING: "running", State.FAULT: "stopped",
}
_PCI_COMMAND: Final"""),
    ), case="removed"),
    Saboteur("quiesce-waits-for-its-mask", "QUIESCE-5", "quiesce() waits for its mask to be read back.", (
        Edit("dump.py", _MASKS, """
    kernel.writel(MASK_ALL, adapter.chip, Regs.INTERRUPT_MASK)
    while kernel.readl(adapter.chip, Regs.INTERRUPT_MASK) != MASK_ALL:
        TOY_MDELAY(kernel, 1)
    adapter.active = adapter.resetting = False
"""),
    ), case="all-ones"),
    Saboteur("quiesce-leaves-the-handler-at-work", "QUIESCE-6", "Busy while a handler takes tags, a dead one too.", (
        Edit("interrupt.py", """
    take_tags(adapter)
    adapter.kernel.tasklet_schedule""", """
    take_tags(adapter)
    adapter.taking = False
    adapter.kernel.tasklet_schedule"""),
        Edit("interrupt.py", """
    left = 4 * len(adapter.requests)
""", """
    adapter.taking = True
    left = 4 * len(adapter.requests)
"""),
        Edit("driver.py", "    if not adapter.active or", "    if adapter.taking or not adapter.active or"),
        Edit("adapter.py", _FLAGS, "self.resetting = self.dead = self.taking = False\n"),
    ), case="interrupt-handler"),
)
