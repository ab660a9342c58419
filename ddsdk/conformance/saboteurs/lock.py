"""Saboteurs of the LOCK family."""

from __future__ import annotations

from typing import Final

from . import Edit, Saboteur

SABOTEURS: Final[tuple[Saboteur, ...]] = (
    # -- taken twice, released twice -----------------------------------------------------------------------------------
    Saboteur("lock-handler-starts-a-reset-inside", "LOCK-1", "The handler holds queue_lock, and a reset takes it.", (
        Edit("interrupt.py", """
        status = adapter.kernel.readl(adapter.chip, Regs.STATUS)
        toy_start_reset(adapter, f"firmware fault {status.CODE:#04x}")
        return IRQ_HANDLED
""", """
        flags = adapter.kernel.spin_lock_irqsave(adapter.queue_lock)
        status = adapter.kernel.readl(adapter.chip, Regs.STATUS)
        toy_start_reset(adapter, f"firmware fault {status.CODE:#04x}")
        adapter.kernel.spin_unlock_irqrestore(adapter.queue_lock, flags)
        return IRQ_HANDLED
"""),
    ), case="completions"),
    Saboteur("lock-gone-unlocks-twice", "LOCK-2", "toy_gone() drops queue_lock twice.", (
        Edit("recovery.py", """
    adapter.printk("the adapter is gone")
""", """
    adapter.printk("the adapter is gone")
    kernel.spin_unlock_irqrestore(adapter.queue_lock, flags)
"""),
    ), case="gone"),

    # -- left behind ---------------------------------------------------------------------------------------------------
    Saboteur("lock-busy-keeps-the-queue-lock", "LOCK-3", "queuecommand says busy with queue_lock held.", (
        Edit("driver.py", """
    sent = request is not None and send(adapter, request, scmd)
    kernel.spin_unlock_irqrestore(adapter.queue_lock, flags)
    if request is None:
        return refuse(adapter, scmd)
""", """
    if request is None:
        return refuse(adapter, scmd)
    sent = send(adapter, request, scmd)
    kernel.spin_unlock_irqrestore(adapter.queue_lock, flags)
"""),
    ), case="queuecommand"),
    Saboteur("lock-shutdown-keeps-the-queue-lock", "LOCK-3", "Shutdown takes queue_lock and never gives it back.", (
        Edit("dump.py", """
    adapter.active = adapter.resetting = False
    adapter.forget()
    kernel.writel(Control""", """
    kernel.spin_lock(adapter.queue_lock)
    adapter.active = adapter.resetting = False
    adapter.forget()
    kernel.writel(Control"""),
    ), case="shutdown"),
    Saboteur("lock-abort-drops-host-lock", "LOCK-4", "An abort that worked does not take host_lock again.", (
        Edit("recovery.py", """
    TOY_HOST_LOCK(shost)
    return SUCCESS if left else FAILED
""", """
    if left and register is Regs.ABORT:
        return SUCCESS
    TOY_HOST_LOCK(shost)
    return SUCCESS if left else FAILED
"""),
    ), case="normal-mode"),
    Saboteur("lock-done-under-the-queue-lock", "LOCK-5", "scsi_done() is called with queue_lock held.", (
        Edit("interrupt.py", """
    kernel.spin_unlock_irqrestore(adapter.queue_lock, flags)
    for scmd in scmds:
        if scmd is not None:
            scmd.scsi_done(scmd)
""", """
    for scmd in scmds:
        if scmd is not None:
            scmd.scsi_done(scmd)
    kernel.spin_unlock_irqrestore(adapter.queue_lock, flags)
"""),
    ), case="normal-mode"),

    # -- habits --------------------------------------------------------------------------------------------------------
    Saboteur("lock-start-reset-leaves-interrupts-on", "LOCK-6", "toy_start_reset() uses spin_lock(), not irqsave.", (
        Edit("recovery.py", """
    flags = kernel.spin_lock_irqsave(adapter.queue_lock)
    begin = not adapter.resetting
    adapter.resetting, adapter.active = True, False
    kernel.spin_unlock_irqrestore(adapter.queue_lock, flags)
""", """
    kernel.spin_lock(adapter.queue_lock)
    begin = not adapter.resetting
    adapter.resetting, adapter.active = True, False
    kernel.spin_unlock(adapter.queue_lock)
"""),
    )),
    Saboteur("lock-host-lock-inside-the-queue-lock", "LOCK-7", "host_lock and queue_lock are taken in either order.", (
        Edit("interrupt.py", """
    fill_result(adapter, request, scmd)
""", """
    adapter.kernel.spin_lock(scmd.device.host.host_lock)
    fill_result(adapter, request, scmd)
    adapter.kernel.spin_unlock(scmd.device.host.host_lock)
"""),
    )),
)
