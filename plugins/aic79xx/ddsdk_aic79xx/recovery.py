"""Error handlers, and the resets they come to: of a command, a device, the bus, the chip.

The handlers are called with host_lock held and drop it while they wait.  Nothing here needs memory or a semaphore, so
all of it works in crash mode, too.  Source: aic79xx_osm.c (Linux 2.6.9) for what the handlers mean; the chip reset from
any state, and its use as host reset, are ours.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DID_ABORT, DID_NO_CONNECT, DID_RESET, FAILED, SUCCESS

from .busfree import clear_sources
from .chips import Bug
from .flush import ahd_clear_critical_section, ahd_flush_qoutfifo, ahd_pause_and_flushwork
from .frames import TaskMgmt
from .init import ahd_chip_init, ahd_intr_enable, ahd_probe_scbs, ahd_reset, ahd_restart, ahd_sleep_ms
from .interrupt import ahd_poll
from .lists import pull
from .lost import ahd_end_all
from .negotiate import ahd_default_goals
from .queue import ahd_send
from .reset import ahd_bus_was_reset, ahd_freeze, ahd_quiet_bus, ahd_reset_current_bus
from .scb import ScbFlag
from .status import ahd_fail, ahd_run_completeq

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiHost

    from .ahd import AhdSoftc
    from .scb import Scb

#: How long a target may take to answer an abort or a reset of its own.
_ANSWER_MS: Final = 5000
#: In crash mode its answer is looked for so often.
_POLL_US: Final = 100
#: How long RST may stay low after a reset before the adapter is given up.
_THAW_MS: Final = 30_000
#: How long a second caller waits for the reset that is under way.
_OTHER_RESET_MS: Final = 60_000
#: Chip resets before one gives up.
_RESET_TRIES: Final = 2


def AHD_HOST_LOCK(shost: ScsiHost) -> None:
    """White paper 4.3 item 3: spin_lock() in crash mode, spin_lock_irq() otherwise."""
    if shost.kernel.crashdump_mode():
        shost.kernel.spin_lock(shost.host_lock)
    else:
        shost.kernel.spin_lock_irq(shost.host_lock)


def AHD_HOST_UNLOCK(shost: ScsiHost) -> None:
    """White paper 4.3 item 3: never enables interrupts in crash mode."""
    if shost.kernel.crashdump_mode():
        shost.kernel.spin_unlock(shost.host_lock)
    else:
        shost.kernel.spin_unlock_irq(shost.host_lock)


def _unlocked(scmd: ScsiCmnd, handle: Callable[[AhdSoftc], int]) -> int:
    """*handle* with host_lock dropped; FAILED when the host has no adapter."""
    shost = scmd.device.host
    ahd: AhdSoftc | None = shost.hostdata
    if ahd is None:
        return FAILED
    AHD_HOST_UNLOCK(shost)
    result = handle(ahd)
    AHD_HOST_LOCK(shost)
    return result


def ahd_linux_abort(scmd: ScsiCmnd) -> int:
    """int (*eh_abort_handler)(struct scsi_cmnd *): SUCCESS once neither we nor the target know the command."""
    return _unlocked(scmd, lambda ahd: _recover_cmd(ahd, scmd, None))


def ahd_linux_dev_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_device_reset_handler)(struct scsi_cmnd *): a LUN reset; without information units of the target."""
    return _unlocked(scmd, lambda ahd: _recover_cmd(ahd, scmd, ahd.tmf_scb))


def ahd_linux_bus_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_bus_reset_handler)(struct scsi_cmnd *)."""
    return _unlocked(scmd, lambda ahd: FAILED if ahd_recover(ahd, by_chip=False) else SUCCESS)


def ahd_linux_host_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_host_reset_handler)(struct scsi_cmnd *): chip reset, download, bus reset, from any state."""
    return _unlocked(scmd, lambda ahd: FAILED if ahd_recover(ahd, by_chip=True) else SUCCESS)


# -- one command, one device -----------------------------------------------------------------------------------


def _recover_cmd(ahd: AhdSoftc, scmd: ScsiCmnd, reset: Scb | None) -> int:
    """int ahd_linux_queue_recovery_cmd(struct scsi_cmnd *, scb_flag): abort *scmd*, or with *reset* its device."""
    kernel = ahd.kernel
    flags = kernel.spin_lock_irqsave(ahd.lock)

    def breathe() -> None:
        nonlocal flags
        kernel.spin_unlock_irqrestore(ahd.lock, flags)
        ahd_sleep_ms(ahd, 1)
        flags = kernel.spin_lock_irqsave(ahd.lock)

    done: Callable[[], bool] | None = None
    if ahd.active:
        if reset is None and _carrier(ahd, scmd) is None:
            done = _at_once
        elif ahd_pause_and_flushwork(ahd, breathe):
            done = _begin_abort(ahd, scmd) if reset is None else _begin_reset(ahd, scmd, reset)
            ahd.unpause()
    kernel.spin_unlock_irqrestore(ahd.lock, flags)
    ahd_run_completeq(ahd)
    if done is None:
        return FAILED
    return SUCCESS if _wait(ahd, done) else FAILED


def _wait(ahd: AhdSoftc, done: Callable[[], bool]) -> bool:
    """Until *done*, or until the target has not answered in time.  In crash mode nobody else calls the handler."""
    kernel = ahd.kernel
    if not kernel.crashdump_mode():
        return bool(kernel.wait_event_timeout(ahd.wait, done, kernel.msecs_to_jiffies(_ANSWER_MS)))
    for _ in range(_ANSWER_MS * 1000 // _POLL_US):
        if done():
            return True
        ahd_poll(ahd)
        kernel.diskdump_update()
        kernel.udelay(_POLL_US)
    return done()


def _at_once() -> bool:
    return True


def _carrier(ahd: AhdSoftc, scmd: ScsiCmnd) -> Scb | None:
    """The SCB that carries *scmd*, if one does."""
    return next((scb for scb in ahd.scbs if scb.scmd is scmd), None)


def _begin_abort(ahd: AhdSoftc, scmd: ScsiCmnd) -> Callable[[], bool]:
    """The chip is paused and at rest.  What it takes to be rid of *scmd*; the condition that it is over."""
    scb = _carrier(ahd, scmd)
    if scb is None:
        return _at_once                         # it ended meanwhile
    if scb in ahd.busyq:
        ahd.busyq.remove(scb)
        ahd_fail(ahd, scb, DID_ABORT)
        return _at_once
    if pull(ahd, lambda one: one is scb):
        ahd_fail(ahd, scb, DID_ABORT)           # the target never heard of it
        return _at_once
    if scb.flags & ScbFlag.PACKETIZED and ahd.targets[scb.target].curr.packetized:
        scb.task_management = TaskMgmt.ABORT_TASK
    else:
        scb.flags |= ScbFlag.ABORT
    ahd_send(ahd, scb, list(scb.mapped))        # the same SCB once more, in another element
    return lambda: scb.scmd is not scmd


def _begin_reset(ahd: AhdSoftc, scmd: ScsiCmnd, scb: Scb) -> Callable[[], bool] | None:
    """Likewise for a reset of the device; None when one is under way already."""
    sdev = scmd.device
    if scb.tag in ahd.pending:
        return None
    for other in pull(ahd, lambda one: one.target == sdev.id and one.lun == sdev.lun):
        ahd_fail(ahd, other, DID_RESET)
    for other in [one for one in ahd.busyq if one.target == sdev.id and one.lun == sdev.lun]:
        ahd.busyq.remove(other)
        ahd_fail(ahd, other, DID_RESET)
    scb.clear()
    scb.target, scb.lun = sdev.id, sdev.lun
    if ahd.targets[sdev.id].curr.packetized:
        scb.task_management = TaskMgmt.LUN_RESET
    else:
        scb.flags |= ScbFlag.DEVICE_RESET
    ahd_send(ahd, scb, [], disconnect=False)
    held = [(one, one.scmd) for one in ahd.pending.values() if one.target == sdev.id and one.lun == sdev.lun]
    return lambda: not any(one.tag in ahd.pending and one.scmd is was for one, was in held)


# -- bus and chip ----------------------------------------------------------------------------------------------


def ahd_recover(ahd: AhdSoftc, *, by_chip: bool) -> int:
    """Reset the bus, *by_chip* the chip as well, and wait until the queue is thawed: 0, or -errno and it is dead.

    One at a time.  No lock may be held; it waits by diskdump_mdelay() in crash mode, asleep otherwise.
    """
    kernel = ahd.kernel
    flags = kernel.spin_lock_irqsave(ahd.lock)
    pending, ahd.resetting = ahd.resetting, True
    if not pending:
        by_chip |= ahd.dead or not ahd.active
        if by_chip:
            ahd.active = False
    kernel.spin_unlock_irqrestore(ahd.lock, flags)
    if pending:
        return _wait_for_other(ahd)
    error = 0 if not by_chip and _reset_channel(ahd) else _reset_chip(ahd)
    if not error and not _thawed(ahd):
        error = -errno.EIO
        flags = kernel.spin_lock_irqsave(ahd.lock)
        ahd.active, ahd.dead = False, True
        ahd.hold()
        ahd_end_all(ahd, DID_NO_CONNECT)
        kernel.spin_unlock_irqrestore(ahd.lock, flags)
        ahd.printk(f"RST is still low after {_THAW_MS // 1000} s; given up")
    ahd.resetting = False
    ahd_run_completeq(ahd)
    kernel.wake_up(ahd.wait)
    return error


def _wait_for_other(ahd: AhdSoftc) -> int:
    """Somebody is at it: wait for what comes of it.  In crash mode nobody can be, but the caller itself."""
    kernel = ahd.kernel
    if kernel.crashdump_mode():
        return -errno.EBUSY
    kernel.wait_event_timeout(ahd.wait, lambda: not ahd.resetting, kernel.msecs_to_jiffies(_OTHER_RESET_MS))
    return 0 if ahd.active else -errno.EIO


def _thawed(ahd: AhdSoftc) -> bool:
    """The reset timer has found RST high, and the tasklet has thawed the queue."""
    kernel = ahd.kernel
    ahd_run_completeq(ahd)
    return bool(kernel.wait_event_timeout(ahd.wait, lambda: not ahd.qfrozen, kernel.msecs_to_jiffies(_THAW_MS)))


def _reset_channel(ahd: AhdSoftc) -> bool:
    """int ahd_reset_channel(struct ahd_softc *, char, TRUE): false when it takes a chip reset.

    What the chip has finished completes first, then RST.
    """
    kernel = ahd.kernel
    flags = kernel.spin_lock_irqsave(ahd.lock)
    stopped = ahd.pause() and ahd_clear_critical_section(ahd)
    if stopped:
        ahd_quiet_bus(ahd)
        ahd_flush_qoutfifo(ahd, may_ask=False)
        if ahd.has(Bug.SENT_RST):
            stopped = False                     # RST will spoil it: what follows does all that, too
        else:
            ahd_reset_current_bus(ahd)
            ahd_bus_was_reset(ahd)
    if not stopped:
        ahd.active = False
    kernel.spin_unlock_irqrestore(ahd.lock, flags)
    return stopped


def _reset_chip(ahd: AhdSoftc) -> int:
    """Chip reset, RST, everything anew; what the driver held ends with DID_RESET.  `active` is false meanwhile."""
    kernel = ahd.kernel
    why = ""
    for _ in range(_RESET_TRIES):
        why = _bring_up(ahd)
        if not why:
            break
        ahd.printk(why)
    flags = kernel.spin_lock_irqsave(ahd.lock)
    ahd_end_all(ahd, DID_NO_CONNECT if why else DID_RESET)
    if why:
        ahd.dead = True
    else:
        ahd_go(ahd)
    kernel.spin_unlock_irqrestore(ahd.lock, flags)
    return -errno.EIO if why else 0


def _bring_up(ahd: AhdSoftc) -> str:
    """From any state to paused and initialised, the bus reset: why not, empty when it worked."""
    why = ahd_reset(ahd) or _identify(ahd)
    if why:
        return why
    ahd_quiet_bus(ahd)
    ahd_reset_current_bus(ahd)
    if ahd.has(Bug.SENT_RST):
        why = ahd_reset(ahd)
    return why


def _identify(ahd: AhdSoftc) -> str:
    """Once, after the first reset: is it all there, and how wide is its bus?"""
    if not ahd.identified:
        if not ahd_probe_scbs(ahd):
            return "fewer than 512 on-chip SCBs; this driver needs all of them"
        ahd_default_goals(ahd)
        ahd.identified = True
    return ""


def ahd_go(ahd: AhdSoftc) -> None:
    """The chip was reset and has forgotten everything: forget it too, give it its values and let it run.

    Interrupts only in normal mode: in crash mode dump_poll stands in for them.  The lock is held.
    """
    ahd.unmap_all()
    ahd.forget_queues()
    ahd_chip_init(ahd)
    clear_sources(ahd)
    ahd.active, ahd.lost, ahd.dead = True, False, False
    ahd.qfrozen, ahd.reset_polling, ahd.thaw_due = 0, False, False
    ahd.reset_count += 1
    ahd_restart(ahd)
    ahd_intr_enable(ahd, not ahd.kernel.crashdump_mode())
    ahd_freeze(ahd)


def ahd_recover_work(ahd: AhdSoftc) -> None:
    """The work item that ahd_lost() schedules."""
    if ahd.lost and not ahd.dead:
        ahd_recover(ahd, by_chip=True)
