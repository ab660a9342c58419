"""Saboteurs of the TIME family."""

from __future__ import annotations

from typing import Final

from . import Edit, Saboteur

SABOTEURS: Final[tuple[Saboteur, ...]] = (
    # -- calls that may not be ---------------------------------------------------------------------------------------
    Saboteur("time-mdelay-in-shutdown", "TIME-1", "shutdown() waits by mdelay(), as it did before the port.", (
        Edit("dump.py", "        TOY_MDELAY(kernel, 1)\n", "        kernel.mdelay(1)\n"),
    ), case="dump"),
    Saboteur("time-mdelay-when-a-reset-fails", "TIME-1", "mdelay() is left where only a reset that fails comes by.", (
        Edit("recovery.py", """
        adapter.printk(f"reset {adapter.reset_tries} failed: {status!r}; again")
""", """
        adapter.printk(f"reset {adapter.reset_tries} failed: {status!r}; again")
        kernel.mdelay(10)
"""),
    ), case="resets"),
    Saboteur("time-schedule-in-the-reset", "TIME-2", "The reset gives up the CPU by schedule() before it waits.", (
        Edit("recovery.py", """
    toy_start_reset(adapter, why)
    limit =""", """
    toy_start_reset(adapter, why)
    kernel.schedule()
    limit ="""),
    ), case="dump"),
    Saboteur("time-high-priority-tasklet", "TIME-2", "The reset ends in a high-priority tasklet.", (
        Edit("recovery.py", "kernel.tasklet_schedule(adapter.reset_tasklet)",
             "kernel.tasklet_hi_schedule(adapter.reset_tasklet)"),
    ), case="dump"),
    Saboteur("time-sleeps-under-the-host-lock", "TIME-3", "The host reset sleeps without letting go of host_lock.", (
        Edit("recovery.py", """
    shost = scmd.device.host
    TOY_HOST_UNLOCK(shost)
    error = toy_reset(shost.hostdata, "host reset")
    TOY_HOST_LOCK(shost)
""", """
    error = toy_reset(scmd.device.host.hostdata, "host reset")
"""),
    ), case="before-the-crash"),
    Saboteur("time-sleeps-in-the-tasklet", "TIME-3", "The tasklet gives the adapter 10 ms after RUN, by msleep().", (
        Edit("recovery.py", """
    if not error:
        run(adapter)
""", """
    if not error:
        run(adapter)
        kernel.msleep(10)
"""),
    ), case="before-the-crash"),
    Saboteur("time-waits-without-a-bound", "TIME-3", "The reset waits by wait_event(), which has no bound.", (
        Edit("recovery.py", """
    limit = kernel.msecs_to_jiffies((RESET_TRIES + 1) * RESET_LIMIT_MS)
    if not kernel.wait_event_timeout(adapter.wait, lambda: not adapter.resetting, limit):
        return -errno.ETIMEDOUT
""", """
    kernel.wait_event(adapter.wait, lambda: not adapter.resetting)
"""),
    ), case="dump"),

    # -- the watchdog --------------------------------------------------------------------------------------------------
    Saboteur("time-busy-waits-for-the-reset", "TIME-4", "shutdown() waits by udelay(): a reset that hangs takes 5 s.", (
        Edit("dump.py", "        TOY_MDELAY(kernel, 1)\n", "        kernel.udelay(1000)\n"),
    ), case="resets"),
    Saboteur("time-quiesce-lets-the-dust-settle", "TIME-7", "quiesce() busy-waits 200 ms for DMA under way to end.", (
        Edit("dump.py", """
    adapter.forget()
    return 0


def toy_poll(""", """
    adapter.forget()
    for _ in range(200):
        kernel.udelay(1000)
    return 0


def toy_poll("""),
    ), case="idle"),
    Saboteur("time-one-long-udelay", "TIME-10", "quiesce() busy-waits 5 ms in one udelay().", (
        Edit("dump.py", """
    kernel.writel(MASK_ALL, adapter.chip, Regs.INTERRUPT_MASK)
    adapter.active""", """
    kernel.writel(MASK_ALL, adapter.chip, Regs.INTERRUPT_MASK)
    kernel.udelay(5000)
    adapter.active"""),
    ), case="dump"),

    # -- bounds --------------------------------------------------------------------------------------------------------
    Saboteur("time-drains-an-adapter-that-is-gone", "TIME-5", "shutdown() empties DONE first; all ones never end.", (
        Edit("dump.py", """
    adapter.forget()
    kernel.writel(Control.of(RESET=1), adapter.chip, Regs.CONTROL)
""", """
    adapter.forget()
    while kernel.readl(adapter.chip, Regs.INTERRUPT_STATUS).DONE:
        kernel.readl(adapter.chip, Regs.DONE)
    kernel.writel(Control.of(RESET=1), adapter.chip, Regs.CONTROL)
"""),
    ), case="adapter-gone-in-the-dump"),
    Saboteur("time-shutdown-waits-for-ever", "TIME-5", "shutdown() waits for READY, however long it takes.", (
        Edit("dump.py", """
    for _ in range(RESET_LIMIT_MS):
        TOY_MDELAY(kernel, 1)
        state""", """
    while True:
        TOY_MDELAY(kernel, 1)
        state"""),
    ), case="reset-hangs-in-the-dump"),

    # -- what was pending ----------------------------------------------------------------------------------------------
    Saboteur("time-fault-work-of-the-dead-kernel", "TIME-6", "Busy until the work it queued for a fault has run.", (
        Edit("interrupt.py", """
        status = adapter.kernel.readl(adapter.chip, Regs.STATUS)
        toy_start_reset(adapter, f"firmware fault {status.CODE:#04x}")
""", """
        adapter.faulted = True
        adapter.kernel.schedule_work(adapter.fault_work)
"""),
        Edit("recovery.py", """
def write_reset(adapter: Adapter) -> None:
""", """
def toy_fault_work(adapter: Adapter) -> None:
    \"""void toy_fault_work(void *): reset after a firmware fault.\"""
    adapter.faulted = False
    toy_start_reset(adapter, "firmware fault")


def write_reset(adapter: Adapter) -> None:
"""),
        Edit("driver.py", "    toy_device_reset,\n", "    toy_device_reset,\n    toy_fault_work,\n"),
        Edit("driver.py", """
    adapter.reset_timer = kernel""", """
    adapter.faulted = False
    adapter.fault_work = kernel.INIT_WORK(toy_fault_work, adapter)
    adapter.reset_timer = kernel"""),
        Edit("driver.py", "if not adapter.active or not adapter.free:",
             "if adapter.faulted or not adapter.active or not adapter.free:"),
    ), case="firmware-fault"),
    Saboteur("time-tasklet-of-the-dead-kernel", "TIME-6", "A flag of its own says that the tasklet is scheduled.", (
        Edit("recovery.py", """
    kernel.tasklet_schedule(adapter.reset_tasklet)
""", """
    if not adapter.ending:
        adapter.ending = True
        kernel.tasklet_schedule(adapter.reset_tasklet)
"""),
        Edit("recovery.py", """
    kernel, error = adapter.kernel, adapter.reset_error
""", """
    adapter.ending = False
    kernel, error = adapter.kernel, adapter.reset_error
"""),
        Edit("adapter.py", "self.resetting = self.dead = False", "self.resetting = self.dead = self.ending = False"),
    ), case="host-reset"),
    Saboteur("time-timer-of-the-dead-kernel", "TIME-6", "A timer that looks pending is not armed again.", (
        Edit("recovery.py", """
    kernel.mod_timer(adapter.reset_timer, kernel.jiffies + kernel.msecs_to_jiffies(RESET_POLL_MS))


def toy_reset_poll(""", """
    if not kernel.timer_pending(adapter.reset_timer):
        kernel.mod_timer(adapter.reset_timer, kernel.jiffies + kernel.msecs_to_jiffies(RESET_POLL_MS))


def toy_reset_poll("""),
        Edit("dump.py", """
    kernel.del_timer(adapter.reset_timer)
    kernel.writel(MASK_ALL""", """
    kernel.writel(MASK_ALL"""),
    ), case="host-reset"),

    # -- timers and tasklets -------------------------------------------------------------------------------------------
    Saboteur("time-adds-a-pending-timer", "TIME-8", "A reset that joins another one adds its timer again.", (
        Edit("recovery.py", """
    if begin:
        adapter.printk(f"{why}; resetting")
        adapter.reset_tries = 0
        write_reset(adapter)
""", """
    adapter.printk(f"{why}; resetting {'anew' if begin else 'again'}")
    adapter.reset_tries = 0
    write_reset(adapter)
"""),
        Edit("recovery.py", """
    kernel.mod_timer(adapter.reset_timer, kernel.jiffies + kernel.msecs_to_jiffies(RESET_POLL_MS))


def toy_reset_poll(""", """
    adapter.reset_timer.expires = kernel.jiffies + kernel.msecs_to_jiffies(RESET_POLL_MS)
    kernel.add_timer(adapter.reset_timer)


def toy_reset_poll("""),
    ), case="completions"),
    Saboteur("time-enables-what-is-not-disabled", "TIME-8", "quiesce() enables the tasklet, in case it was disabled.", (
        Edit("dump.py", """
    kernel.del_timer(adapter.reset_timer)
    kernel.writel(MASK_ALL""", """
    kernel.tasklet_enable(adapter.done_tasklet)
    kernel.del_timer(adapter.reset_timer)
    kernel.writel(MASK_ALL"""),
    ), case="dump"),

    # -- the fast paths ------------------------------------------------------------------------------------------------
    Saboteur("time-queuecommand-waits", "TIME-9", "Each request is followed by 200 us for the adapter to fetch it.", (
        Edit("driver.py", """
    kernel.writel(bus_addr >> 32, adapter.chip, Regs.SUBMIT_HIGH)
""", """
    kernel.writel(bus_addr >> 32, adapter.chip, Regs.SUBMIT_HIGH)
    kernel.udelay(200)
"""),
    )),
    Saboteur("time-queuecommand-waits-for-a-request", "TIME-9", "Without a free request it waits 1 ms for one.", (
        Edit("driver.py", """
    if not adapter.active or not adapter.free:
        return None
""", """
    for _ in range(100):
        if adapter.free:
            break
        adapter.kernel.udelay(10)
    if not adapter.active or not adapter.free:
        return None
"""),
    )),
    Saboteur("time-handler-waits", "TIME-9", "The handler waits 500 us, so that it finds more tags at once.", (
        Edit("interrupt.py", """
    take_tags(adapter)
    adapter.kernel.tasklet_schedule""", """
    adapter.kernel.udelay(500)
    take_tags(adapter)
    adapter.kernel.tasklet_schedule"""),
    )),
)
