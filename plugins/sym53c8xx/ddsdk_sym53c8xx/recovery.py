"""The reset of chip and bus: asked for in any context, taken step by step by a timer, ended by a tasklet.

    BEGIN (tasklet or caller) -> chip reset -> 2 ms -> RST asserted -> 1 tick -> released -> bus quiet? -> settle -> END

Timer and tasklet are the helper library's: they work in crash mode as long as somebody calls diskdump_update(), which
the dump loop and every sleeping call do.  Targets must not be selected for 250 ms after a reset (SCSI-2, 5.6.1).
"""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DID_NO_CONNECT, DID_RESET, FAILED, SUCCESS, end_cmds

from .adapter import Hcb
from .chip import (
    assert_rst,
    bus_is_quiet,
    go_on,
    gone,
    let_line_be_heard,
    release_rst,
    sym_chip_reset,
    sym_init,
    unmask,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiHost

#: After SRST: for the bus mode to settle (sym_hipd.c).
_AFTER_SRST_MS: Final = 2
_RST_MS: Final = 1
_LINE_POLL_MS: Final = 10
#: How long somebody else may hold RST or BSY after our reset; then it is tried again.
LINE_LIMIT_MS: Final = 6000
_SETTLE_MS: Final = 250
RESET_TRIES: Final = 3


class Step(IntEnum):
    """Where a reset is."""

    NONE = 0
    BEGIN = 1
    CHIP_RESET = 2
    RST_ASSERTED = 3
    LINES = 4
    SETTLE = 5
    END = 6


def SYM_HOST_LOCK(shost: ScsiHost) -> None:
    """White paper 4.3 item 3: spin_lock() in crash mode, spin_lock_irq() otherwise."""
    kernel = shost.kernel
    if kernel.crashdump_mode():
        kernel.spin_lock(shost.host_lock)
    else:
        kernel.spin_lock_irq(shost.host_lock)


def SYM_HOST_UNLOCK(shost: ScsiHost) -> None:
    """White paper 4.3 item 3: never enables interrupts in crash mode."""
    kernel = shost.kernel
    if kernel.crashdump_mode():
        kernel.spin_unlock(shost.host_lock)
    else:
        kernel.spin_unlock_irq(shost.host_lock)


# -- error handlers: called with host_lock held, which they drop while they wait -----------------------------


def unlocked(scmd: ScsiCmnd, handle: Callable[[Hcb], bool]) -> int:
    """*handle* with host_lock dropped: SUCCESS or FAILED; FAILED when the host has no adapter."""
    shost = scmd.device.host
    np: Hcb | None = shost.hostdata
    if np is None:
        return FAILED
    SYM_HOST_UNLOCK(shost)
    worked = handle(np)
    SYM_HOST_LOCK(shost)
    return SUCCESS if worked else FAILED


def sym_eh_bus_reset_handler(scmd: ScsiCmnd) -> int:
    """int sym53c8xx_eh_bus_reset_handler(struct scsi_cmnd *)."""
    return unlocked(scmd, lambda np: not sym_reset(np, "bus reset"))


def sym_eh_host_reset_handler(scmd: ScsiCmnd) -> int:
    """int sym53c8xx_eh_host_reset_handler(struct scsi_cmnd *): the same: there is no reset of less."""
    return unlocked(scmd, lambda np: not sym_reset(np, "host reset"))


def sym_reset(np: Hcb, why: str) -> int:
    """Reset, or join the reset under way, and wait for its end: 0 or -errno.  May sleep, no lock is held."""
    kernel = np.kernel
    _claim(np, why)
    limit = kernel.msecs_to_jiffies((RESET_TRIES + 1) * (LINE_LIMIT_MS + 2 * _SETTLE_MS))
    if not wait_for(np, lambda: not np.resetting, limit):
        return -errno.ETIMEDOUT
    return -errno.EIO if np.dead else 0


def wait_for(np: Hcb, condition: Callable[[], bool], jiffies: int) -> int:
    """wait_event_timeout() on `np.wait`: what is left of *jiffies*, 0 when it never came true."""
    np.waiting = True
    left = np.kernel.wait_event_timeout(np.wait, condition, jiffies)
    np.waiting = False
    return left


def sym_request_reset(np: Hcb, why: str) -> None:
    """Something only a reset mends: take no more commands, and let the tasklet begin.  np.lock is held."""
    if np.resetting:
        return
    np.active, np.resetting, np.reset_step = False, True, Step.BEGIN
    np.printk(f"{why}; resetting")
    np.kernel.tasklet_schedule(np.reset_tasklet)


# -- the steps -----------------------------------------------------------------------------------------------


def _claim(np: Hcb, why: str) -> None:
    """Begin a reset unless one is under way.  The handler says "not mine" from here on; so the chip is reset before
    interrupts come again.
    """
    kernel = np.kernel
    flags = kernel.spin_lock_irqsave(np.lock)
    if not np.resetting:
        np.active, np.resetting = False, True
        np.printk(f"{why}; resetting")
        np.reset_tries = 0
        _begin(np)
    kernel.spin_unlock_irqrestore(np.lock, flags)


def _begin(np: Hcb) -> None:
    """Reset the chip; the timer does the rest."""
    np.reset_tries += 1
    if gone(np):
        _end(np, -errno.ENODEV)
        return
    sym_chip_reset(np)
    _next(np, Step.CHIP_RESET, _AFTER_SRST_MS)


def _next(np: Hcb, step: Step, ms: int) -> None:
    kernel = np.kernel
    np.reset_step = step
    kernel.mod_timer(np.reset_timer, kernel.jiffies + kernel.msecs_to_jiffies(ms) + 1)


def sym_reset_timer(np: Hcb) -> None:
    """void sym_reset_timer(unsigned long): the next step."""
    kernel, step = np.kernel, np.reset_step
    if gone(np):
        _end(np, -errno.ENODEV)
    elif step == Step.CHIP_RESET:
        assert_rst(np)
        _next(np, Step.RST_ASSERTED, _RST_MS)
    elif step == Step.RST_ASSERTED:
        release_rst(np)
        np.reset_deadline = kernel.jiffies + kernel.msecs_to_jiffies(LINE_LIMIT_MS)
        _look_at_lines(np)
    elif step == Step.LINES:
        _look_at_lines(np)
    elif step == Step.SETTLE:
        _end(np, 0)


def _look_at_lines(np: Hcb) -> None:
    kernel = np.kernel
    if bus_is_quiet(np):
        _next(np, Step.SETTLE, _SETTLE_MS)
    elif kernel.time_before(kernel.jiffies, np.reset_deadline):
        _next(np, Step.LINES, _LINE_POLL_MS)
    elif np.reset_tries < RESET_TRIES:
        np.printk(f"somebody holds the bus after reset {np.reset_tries}; again")
        _begin(np)
    else:
        np.printk(f"somebody holds the bus after reset {np.reset_tries}; given up")
        _end(np, -errno.EIO)


def _end(np: Hcb, error: int) -> None:
    np.reset_error, np.reset_step = error, Step.END
    np.kernel.tasklet_schedule(np.reset_tasklet)


def sym_reset_tasklet(np: Hcb) -> None:
    """void sym_reset_tasklet(unsigned long): the beginning of a reset that an interrupt asked for; the end of any."""
    if np.reset_step == Step.BEGIN:
        np.reset_tries = 0
        _begin(np)
    elif np.reset_step == Step.END:
        _finish(np)


def _finish(np: Hcb) -> None:
    """Start SCRIPTS, end what the chip held, wake who waits."""
    kernel, error = np.kernel, np.reset_error
    if error:
        np.printk("the adapter is gone" if error == -errno.ENODEV else "reset failed")
    else:
        np.write_memory()
        sym_init(np)
        unmask(np)
        let_line_be_heard(np)
    flags = kernel.spin_lock_irqsave(np.lock)
    scmds = np.forget()
    if not error:
        np.reclaim()
        np.untagged.clear()
        np.tm_result = False
        np.resets += 1
        go_on(np, "start")
    np.active, np.dead, np.resetting, np.reset_step = not error, bool(error), False, Step.NONE
    kernel.spin_unlock_irqrestore(np.lock, flags)
    end_cmds(scmds, DID_NO_CONNECT if error else DID_RESET)
    kernel.wake_up(np.wait)
