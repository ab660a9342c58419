"""The reset: started in any context, watched by a timer, ended by a tasklet.

    {{cookiecutter.name}}_start_reset() -> {{cookiecutter.name}}_reset_poll() every 10 ms -> {{cookiecutter.name}}_reset_end()

Timer and tasklet are the helper library's: they work in crash mode as long as somebody calls diskdump_update(), which
the dump loop and every sleeping call do.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any, Final

from ddsdk.scsi.cmnd import DID_NO_CONNECT, DID_RESET, FAILED, SUCCESS

from .adapter import Adapter, end_cmds
from .regs import MASK_ALL, WHOLE_BUS, Control, Regs, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiHost

RESET_POLL_MS: Final = 10
#: The data sheet gives 5 s for a reset that takes 30 ms; one that failed is tried again.
RESET_LIMIT_MS: Final = 5000
RESET_TRIES: Final = 3
#: How long the adapter may take to end what ABORT or RESET_TARGET names.
ASK_LIMIT_MS: Final = 2000


def {{cookiecutter.__NAME}}_HOST_LOCK(shost: ScsiHost) -> None:
    """White paper 4.3 item 3: spin_lock() in crash mode, spin_lock_irq() otherwise."""
    kernel = shost.kernel
    if kernel.crashdump_mode():
        kernel.spin_lock(shost.host_lock)
    else:
        kernel.spin_lock_irq(shost.host_lock)


def {{cookiecutter.__NAME}}_HOST_UNLOCK(shost: ScsiHost) -> None:
    """White paper 4.3 item 3: never enables interrupts in crash mode."""
    kernel = shost.kernel
    if kernel.crashdump_mode():
        kernel.spin_unlock(shost.host_lock)
    else:
        kernel.spin_unlock_irq(shost.host_lock)


# -- error handlers: called with host_lock held, which they drop while they wait ---------------------------------------


def {{cookiecutter.name}}_abort(scmd: ScsiCmnd) -> int:
    """int (*eh_abort_handler)(struct scsi_cmnd *): SUCCESS once the adapter does not hold the command any more."""
    adapter: Adapter = scmd.device.host.hostdata
    request = next((one for one in adapter.requests if one.scmd is scmd), None)
    return SUCCESS if request is None else ask(scmd, Regs.ABORT, request.tag, lambda other: other is scmd)


def {{cookiecutter.name}}_device_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_device_reset_handler)(struct scsi_cmnd *): reset the target, SUCCESS once its commands have ended."""
    return ask(scmd, Regs.RESET_TARGET, scmd.device.id, lambda other: other.device.id == scmd.device.id)


def {{cookiecutter.name}}_bus_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_bus_reset_handler)(struct scsi_cmnd *): reset all targets, SUCCESS once all commands have ended."""
    return ask(scmd, Regs.RESET_TARGET, WHOLE_BUS, lambda other: True)


def ask(scmd: ScsiCmnd, register: Any, value: int, concerns: Callable[[ScsiCmnd], bool]) -> int:
    """Write *value* to *register* and wait for the end of every command the adapter holds now that this *concerns*."""
    shost = scmd.device.host
    adapter: Adapter = shost.hostdata
    kernel = adapter.kernel
    held = [(one, one.tag) for one in adapter.requests if one.scmd is not None and concerns(one.scmd)]

    def ended() -> bool:
        return not any(request.tag == tag and request.scmd is not None for request, tag in held)

    {{cookiecutter.__NAME}}_HOST_UNLOCK(shost)
    kernel.writel(value, adapter.chip, register)
    left = kernel.wait_event_timeout(adapter.wait, ended, kernel.msecs_to_jiffies(ASK_LIMIT_MS))
    {{cookiecutter.__NAME}}_HOST_LOCK(shost)
    return SUCCESS if left else FAILED


def {{cookiecutter.name}}_host_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_host_reset_handler)(struct scsi_cmnd *): reset the adapter, from any state."""
    shost = scmd.device.host
    {{cookiecutter.__NAME}}_HOST_UNLOCK(shost)
    error = {{cookiecutter.name}}_reset(shost.hostdata, "host reset")
    {{cookiecutter.__NAME}}_HOST_LOCK(shost)
    return FAILED if error else SUCCESS


def {{cookiecutter.name}}_reset(adapter: Adapter, why: str) -> int:
    """Start a reset, or join the one under way, and wait for its end: 0 or -errno.  May sleep, no lock is held."""
    kernel = adapter.kernel
    {{cookiecutter.name}}_start_reset(adapter, why)
    limit = kernel.msecs_to_jiffies((RESET_TRIES + 1) * RESET_LIMIT_MS)
    if not kernel.wait_event_timeout(adapter.wait, lambda: not adapter.resetting, limit):
        return -errno.ETIMEDOUT
    return -errno.EIO if adapter.dead else 0


# -- the reset ---------------------------------------------------------------------------------------------------------


def {{cookiecutter.name}}_start_reset(adapter: Adapter, why: str) -> None:
    """Take no more requests and begin a reset, unless one is under way.  Any context, queue_lock is not held."""
    kernel = adapter.kernel
    flags = kernel.spin_lock_irqsave(adapter.queue_lock)
    begin = not adapter.resetting
    adapter.resetting, adapter.active = True, False
    kernel.spin_unlock_irqrestore(adapter.queue_lock, flags)
    if begin:
        adapter.printk(f"{why}; resetting")
        adapter.reset_tries = 0
        write_reset(adapter)


def write_reset(adapter: Adapter) -> None:
    """Write CONTROL.RESET and let the timer watch what comes of it."""
    kernel = adapter.kernel
    adapter.reset_tries += 1
    kernel.writel(MASK_ALL, adapter.chip, Regs.INTERRUPT_MASK)
    kernel.writel(Control.of(RESET=1), adapter.chip, Regs.CONTROL)
    adapter.reset_deadline = kernel.jiffies + kernel.msecs_to_jiffies(RESET_LIMIT_MS)
    kernel.mod_timer(adapter.reset_timer, kernel.jiffies + kernel.msecs_to_jiffies(RESET_POLL_MS))


def {{cookiecutter.name}}_reset_poll(adapter: Adapter) -> None:
    """void {{cookiecutter.name}}_reset_poll(unsigned long): the timer.  Is it READY?  Wait on, try again, or give up."""
    kernel = adapter.kernel
    status = kernel.readl(adapter.chip, Regs.STATUS)
    if status.STATE == State.RESETTING and kernel.time_before(kernel.jiffies, adapter.reset_deadline):
        kernel.mod_timer(adapter.reset_timer, kernel.jiffies + kernel.msecs_to_jiffies(RESET_POLL_MS))
        return
    if status.STATE not in (State.READY, State.GONE) and adapter.reset_tries < RESET_TRIES:
        adapter.printk(f"reset {adapter.reset_tries} failed: {status!r}; again")
        write_reset(adapter)
        return
    adapter.reset_error = 0 if status.STATE == State.READY else -errno.EIO
    if adapter.reset_error:
        adapter.printk(f"reset {adapter.reset_tries} failed: {status!r}; given up")
    kernel.tasklet_schedule(adapter.reset_tasklet)


def {{cookiecutter.name}}_reset_end(adapter: Adapter) -> None:
    """void {{cookiecutter.name}}_reset_end(unsigned long): the tasklet.  Let it run, end what it held, wake who waits."""
    kernel, error = adapter.kernel, adapter.reset_error
    if not error:
        run(adapter)
    flags = kernel.spin_lock_irqsave(adapter.queue_lock)
    scmds = adapter.forget()
    if not error:
        adapter.reclaim()
    adapter.active, adapter.dead, adapter.resetting = not error, bool(error), False
    kernel.spin_unlock_irqrestore(adapter.queue_lock, flags)
    end_cmds(scmds, DID_NO_CONNECT if error else DID_RESET)
    kernel.wake_up(adapter.wait)


def run(adapter: Adapter) -> None:
    """READY becomes RUNNING.  In crash mode without interrupts: dump_poll stands in for them."""
    kernel = adapter.kernel
    crashed = kernel.crashdump_mode()
    kernel.writel(Control.of(RUN=1, INTERRUPT=not crashed), adapter.chip, Regs.CONTROL)
    kernel.writel(MASK_ALL if crashed else 0, adapter.chip, Regs.INTERRUPT_MASK)


def {{cookiecutter.name}}_gone(adapter: Adapter) -> None:
    """The adapter does not answer any more: its commands end, and so will all others."""
    kernel = adapter.kernel
    flags = kernel.spin_lock_irqsave(adapter.queue_lock)
    adapter.active, adapter.dead = False, True
    scmds = adapter.forget()
    kernel.spin_unlock_irqrestore(adapter.queue_lock, flags)
    adapter.printk("the adapter is gone")
    end_cmds(scmds, DID_NO_CONNECT)
