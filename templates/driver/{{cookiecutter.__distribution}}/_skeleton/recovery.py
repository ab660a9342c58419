"""The reset: started in any context, watched by a timer, ended by a tasklet.

    {{cookiecutter.name}}_start_reset() -> {{cookiecutter.name}}_reset_poll() every 10 ms -> {{cookiecutter.name}}_reset_end()

Timer and tasklet are the helper library's: they work in crash mode as long as somebody calls diskdump_update(), which
the dump loop and every sleeping call do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ddsdk.scsi.cmnd import FAILED, SUCCESS

from .adapter import Adapter
from .regs import WHOLE_BUS, Regs

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
    raise NotImplementedError(
        "{{cookiecutter.__NAME}}_HOST_LOCK: spin_lock() host_lock when crashdump_mode(), else spin_lock_irq() (white paper "
        "4.3 item 3).")


def {{cookiecutter.__NAME}}_HOST_UNLOCK(shost: ScsiHost) -> None:
    """White paper 4.3 item 3: never enables interrupts in crash mode."""
    raise NotImplementedError(
        "{{cookiecutter.__NAME}}_HOST_UNLOCK: spin_unlock() host_lock when crashdump_mode(), else spin_unlock_irq() (white "
        "paper 4.3 item 3).")


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
    raise NotImplementedError(
        "ask: note the requests held now whose commands it concerns, and their tags; drop host_lock, write the value "
        "to the register (ABORT, RESET_TARGET in regs.py), wait_event_timeout() on adapter.wait for their end, take "
        "host_lock again; SUCCESS or FAILED.")


def {{cookiecutter.name}}_host_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_host_reset_handler)(struct scsi_cmnd *): reset the adapter, from any state."""
    shost = scmd.device.host
    {{cookiecutter.__NAME}}_HOST_UNLOCK(shost)
    error = {{cookiecutter.name}}_reset(shost.hostdata, "host reset")
    {{cookiecutter.__NAME}}_HOST_LOCK(shost)
    return FAILED if error else SUCCESS


def {{cookiecutter.name}}_reset(adapter: Adapter, why: str) -> int:
    """Start a reset, or join the one under way, and wait for its end: 0 or -errno.  May sleep, no lock is held."""
    raise NotImplementedError(
        "{{cookiecutter.name}}_reset: {{cookiecutter.name}}_start_reset(), then wait_event_timeout() on adapter.wait, with a "
        "bound, until adapter.resetting is over; 0, -ETIMEDOUT, or -EIO when adapter.dead.")


# -- the reset ---------------------------------------------------------------------------------------------------------


def {{cookiecutter.name}}_start_reset(adapter: Adapter, why: str) -> None:
    """Take no more requests and begin a reset, unless one is under way.  Any context, queue_lock is not held."""
    raise NotImplementedError(
        "{{cookiecutter.name}}_start_reset: under queue_lock set adapter.resetting and clear adapter.active; if no reset "
        "was under way, clear adapter.reset_tries and write_reset().")


def write_reset(adapter: Adapter) -> None:
    """Write CONTROL.RESET and let the timer watch what comes of it."""
    raise NotImplementedError(
        "write_reset: count adapter.reset_tries, mask everything in INTERRUPT_MASK, write RESET to CONTROL (regs.py), "
        "set reset_deadline in jiffies, mod_timer() reset_timer to RESET_POLL_MS from now.")


def {{cookiecutter.name}}_reset_poll(adapter: Adapter) -> None:
    """void {{cookiecutter.name}}_reset_poll(unsigned long): the timer.  Is it READY?  Wait on, try again, or give up."""
    raise NotImplementedError(
        "{{cookiecutter.name}}_reset_poll: read STATUS (regs.py): RESETTING before the deadline, mod_timer() again; "
        "neither READY nor GONE, write_reset() while there are tries; else set adapter.reset_error and "
        "tasklet_schedule() reset_tasklet.")


def {{cookiecutter.name}}_reset_end(adapter: Adapter) -> None:
    """void {{cookiecutter.name}}_reset_end(unsigned long): the tasklet.  Let it run, end what it held, wake who waits."""
    raise NotImplementedError(
        "{{cookiecutter.name}}_reset_end: run() unless adapter.reset_error; under queue_lock forget() the requests, "
        "reclaim() them after success, set active, dead, resetting; end_cmds() with DID_RESET or DID_NO_CONNECT; "
        "wake_up() adapter.wait.")


def run(adapter: Adapter) -> None:
    """READY becomes RUNNING.  In crash mode without interrupts: dump_poll stands in for them."""
    raise NotImplementedError(
        "run: write RUN to CONTROL (regs.py), in normal mode with INTERRUPT, and then open INTERRUPT_MASK; in crash "
        "mode everything stays masked.")


def {{cookiecutter.name}}_gone(adapter: Adapter) -> None:
    """The adapter does not answer any more: its commands end, and so will all others."""
    raise NotImplementedError(
        "{{cookiecutter.name}}_gone: under queue_lock clear adapter.active, set adapter.dead and forget() the requests; "
        "end their commands with DID_NO_CONNECT.")
