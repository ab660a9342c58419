"""Error handlers: abort, device reset, bus reset, host reset; and the reset that a broken chip schedules.

hw-aic7xxx.md 12.  They are called with host_lock held, and drop it while they wait.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DID_ABORT, DID_NO_CONNECT, DID_RESET, FAILED, SUCCESS

from .abort import ahc_drive_reset, ahc_free_slots, ahc_reset_channel, ahc_take_listed
from .done import ahc_done, ahc_run_complete_queue
from .frames import (
    DISCONNECTED,
    HSCB_BYTES,
    MK_MESSAGE,
    SCB_CONTROL,
    SG_LIST_NULL,
    STATUS_RCVD,
    Msg,
)
from .hw import (
    SCSIRSTI,
    AhcError,
    AhcGone,
    ahc_assert_atn,
    ahc_change,
    ahc_chip_init,
    ahc_chip_reset,
    ahc_core_init,
    ahc_leave_critical_section,
    ahc_pause,
    ahc_probe_scbs,
    ahc_restart,
    ahc_unpause,
)
from .isr import ahc_abandon, ahc_ended, ahc_schedule_reset, ahc_serve, ahc_stop
from .queue import _HSCB, ahc_exchange, ahc_hand_over, ahc_requeue_tail, ahc_take_queued, element
from .regs import (
    INT_PEND,
    AhcRegs,
    HCntrl,
    MsgOut,
    Phase,
    ScsiSeq,
    SStat0,
)
from .scsiint import ahc_nexus

if TYPE_CHECKING:
    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiHost

    from .adapter import Ahc, AhcScb, AhcTarget

#: How long a target may take to let itself be told.
_TELL_MS: Final = 5000
#: hw-aic7xxx.md 12.3.
_FLUSH_MAX: Final = 1000
#: How long a second caller waits for the reset that is under way.
_OTHER_RESET_MS, _OTHER_RESET_STEP_MS = 60_000, 100


def AHC_HOST_LOCK(shost: ScsiHost) -> None:
    """White paper 4.3 item 3: spin_lock() in crash mode, spin_lock_irq() otherwise."""
    kernel = shost.kernel
    if kernel.crashdump_mode():
        kernel.spin_lock(shost.host_lock)
    else:
        kernel.spin_lock_irq(shost.host_lock)


def AHC_HOST_UNLOCK(shost: ScsiHost) -> None:
    """White paper 4.3 item 3: never enables interrupts in crash mode."""
    kernel = shost.kernel
    if kernel.crashdump_mode():
        kernel.spin_unlock(shost.host_lock)
    else:
        kernel.spin_unlock_irq(shost.host_lock)


# -- abort and device reset ------------------------------------------------------------------------------------


def ahc_linux_abort(scmd: ScsiCmnd) -> int:
    """int (*eh_abort_handler)(struct scsi_cmnd *): SUCCESS once neither chip nor target holds the command."""
    def ended(ahc: Ahc) -> bool:
        return _holding(ahc, scmd) is None and scmd not in ahc.device_of(scmd).busyq

    return _told(scmd, lambda ahc: _abort(ahc, scmd), ended)


def ahc_linux_dev_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_device_reset_handler)(struct scsi_cmnd *): reset the target; SUCCESS once its commands have ended."""
    number = scmd.device.id
    held: list[tuple[AhcScb, ScsiCmnd | None]] = []

    def begin(ahc: Ahc) -> None:
        target = ahc.targets[number]
        held.extend((scb, scb.scmd) for scb in ahc.pending() if scb.dev is not None and scb.dev.target is target)
        _device_reset(ahc, target)

    def ended(ahc: Ahc) -> bool:
        return (not any(scb.scmd is one for scb, one in held)
                and ahc.by_tag[ahc.recovery_scb.hscb] is not ahc.recovery_scb)

    return _told(scmd, begin, ended)


def _told(scmd: ScsiCmnd, begin: Callable[[Ahc], None], ended: Callable[[Ahc], bool]) -> int:
    """Begin something that a target has to be told of; SUCCESS when it *ended*, in time and without a reset."""
    shost = scmd.device.host
    ahc: Ahc | None = shost.hostdata
    if ahc is None:
        return FAILED
    kernel = ahc.kernel
    AHC_HOST_UNLOCK(shost)
    flags = kernel.spin_lock_irqsave(ahc.lock)
    begun = ahc.active
    if begun:
        try:
            begin(ahc)
        except AhcError as error:
            ahc_stop(ahc, str(error))
    kernel.spin_unlock_irqrestore(ahc.lock, flags)
    ahc_schedule_reset(ahc)
    ahc_run_complete_queue(ahc)
    limit = kernel.msecs_to_jiffies(_TELL_MS)
    left = begun and kernel.wait_event_timeout(ahc.wait, lambda: ended(ahc) or not ahc.active, limit)
    over = ended(ahc) and ahc.active if left else False
    AHC_HOST_LOCK(shost)
    return SUCCESS if over else FAILED


def _holding(ahc: Ahc, scmd: ScsiCmnd) -> AhcScb | None:
    """The SCB with which the chip holds *scmd*, if it does."""
    return next((scb for scb in ahc.pending() if scb.scmd is scmd), None)


def _abort(ahc: Ahc, scmd: ScsiCmnd) -> None:
    """Take *scmd* back, or begin to: where it is decides how."""
    dev = ahc.device_of(scmd)
    if scmd in dev.busyq:
        dev.busyq.remove(scmd)
        scmd.result, scmd.resid = DID_ABORT << 16, scmd.request_bufflen
        ahc.completeq.append((scmd, None))
        return
    if _holding(ahc, scmd) is None:
        return
    ahc_pause_and_flush(ahc)
    scb = _holding(ahc, scmd)
    if scb is None or not ahc.active:
        ahc_unpause(ahc)
        return

    def matches(other: AhcScb) -> bool:
        return other is scb

    if ahc_take_queued(ahc, matches) or ahc_take_listed(ahc, AhcRegs.WAITING_SCBH, matches):
        scb.host_byte = DID_ABORT
        ahc_done(ahc, scb)
    else:
        scb.recovery = Msg.ABORT_TAG if scb.tagged and not scb.sensing else Msg.ABORT
        if not _tell_connected(ahc, scb):
            _tell_disconnected(ahc, scb)
    ahc_unpause(ahc)


def _tell_connected(ahc: Ahc, scb: AhcScb) -> bool:
    """The SCB is on the bus now: ATN makes the target ask what there is to be said."""
    if ahc_nexus(ahc) is not scb or ahc.inb(AhcRegs.LASTPHASE) == Phase.BUSFREE:
        return False
    ahc.outb(AhcRegs.MSG_OUT, MsgOut.HOST_MSG)
    ahc_assert_atn(ahc)
    return True


def _tell_disconnected(ahc: Ahc, scb: AhcScb) -> None:
    """A target works on it, or nobody knows of it: queue the element again, to select the target and say it."""
    ahc_take_listed(ahc, AhcRegs.DISCONNECTED_SCBH, lambda other: other is scb)
    ahc_free_slots(ahc, lambda other: other is scb)
    raw = element(ahc, scb)
    # the chip may have uploaded it, its status received, and the completion got lost
    raw[SCB_CONTROL] = raw[SCB_CONTROL] & ~STATUS_RCVD & 0xFF | MK_MESSAGE | DISCONNECTED
    ahc_requeue_tail(ahc, scb)


def _device_reset(ahc: Ahc, target: AhcTarget) -> None:
    """Send BUS DEVICE RESET: by the command on the bus, or by an SCB of its own."""
    ahc_pause_and_flush(ahc)
    if not ahc.active:
        return
    nexus = ahc_nexus(ahc)
    if nexus is not None and nexus.dev is not None and nexus.dev.target is target:
        nexus.recovery = Msg.BUS_DEVICE_RESET
        if _tell_connected(ahc, nexus):
            ahc_unpause(ahc)
            return
    scb = ahc.recovery_scb
    if ahc.by_tag[scb.hscb] is not scb:
        scb.start()
        scb.recovery = Msg.BUS_DEVICE_RESET
        ahc_exchange(ahc, scb)
        _HSCB.pack_into(ahc.hscb_view, scb.hscb * HSCB_BYTES, b"", 0, 0, SG_LIST_NULL, MK_MESSAGE,
                        target.id << 4 | ahc.our_id, 0, scb.hscb, 6, target.curr.scsirate, target.curr.offset,
                        ahc.reserved.hscb)
        ahc_hand_over(ahc, scb)
    ahc_unpause(ahc)


def ahc_pause_and_flush(ahc: Ahc) -> None:
    """Stop the sequencer where it has nothing to say and selects nobody.  AhcError when it never is there."""
    for _ in range(_FLUSH_MAX):
        ahc_pause(ahc)
        ahc_change(ahc, AhcRegs.SCSISEQ, ScsiSeq.ENSELO.mask)
        intstat = ahc.inb(AhcRegs.INTSTAT)
        selecting = ahc.inb(AhcRegs.SSTAT0) & (SStat0.SELDO.mask | SStat0.SELINGO.mask)
        if not intstat & INT_PEND and not selecting:
            ahc_leave_critical_section(ahc)
            return
        ahc_serve_pending(ahc)
        if not ahc.active:
            return
        ahc_unpause(ahc)
        ahc.kernel.udelay(1)
    raise AhcError("the chip always has something to say")


def ahc_serve_pending(ahc: Ahc) -> None:
    """The interrupt handler from within, `lock` held."""
    intstat = ahc.inb(AhcRegs.INTSTAT)
    if intstat & INT_PEND:
        why = ahc_serve(ahc, intstat)
        if why:
            ahc_stop(ahc, why)


# -- bus reset -------------------------------------------------------------------------------------------------


def ahc_linux_bus_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_bus_reset_handler)(struct scsi_cmnd *): RST; every command ends."""
    ahc: Ahc | None = scmd.device.host.hostdata
    if ahc is None:
        return FAILED
    kernel = ahc.kernel
    shost = scmd.device.host
    AHC_HOST_UNLOCK(shost)
    flags = kernel.spin_lock_irqsave(ahc.lock)
    worked = ahc.active
    if worked:
        try:
            ahc_pause(ahc)
            ahc_leave_critical_section(ahc)
            ahc_reset_channel(ahc, "bus reset handler", initiate=True)
        except AhcError as error:
            worked = False
            ahc.dead = isinstance(error, AhcGone)
            ahc_stop(ahc, str(error))
    kernel.spin_unlock_irqrestore(ahc.lock, flags)
    ahc_schedule_reset(ahc)
    ahc_run_complete_queue(ahc)
    AHC_HOST_LOCK(shost)
    return SUCCESS if worked else FAILED


# -- host reset ------------------------------------------------------------------------------------------------


def ahc_linux_host_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_host_reset_handler)(struct scsi_cmnd *): reset the chip and the bus, from any state."""
    shost = scmd.device.host
    ahc: Ahc | None = shost.hostdata
    if ahc is None:
        return FAILED
    AHC_HOST_UNLOCK(shost)
    error = ahc_reset(ahc, "host reset")
    AHC_HOST_LOCK(shost)
    return FAILED if error else SUCCESS


def ahc_reset_work(ahc: Ahc) -> None:
    """The work item that ahc_stop() schedules."""
    if not ahc.active and not ahc.dead:
        ahc_reset(ahc, "recovery")


def ahc_reset(ahc: Ahc, why: str) -> int:
    """Reset the chip, set it up anew, reset the bus: 0, or -errno and the adapter is dead.  May sleep, no lock is held.

    Commands that the chip or a device's queue held end with DID_RESET; DID_NO_CONNECT when it fails.
    """
    kernel = ahc.kernel
    flags = kernel.spin_lock_irqsave(ahc.lock)
    other = ahc.resetting
    if not other:
        ahc.resetting, ahc.active = True, False
        ahc.qfrozen += 1
        abandoned = ahc_abandon(ahc)
    kernel.spin_unlock_irqrestore(ahc.lock, flags)
    if other:
        return _wait_for_other_reset(ahc)
    ahc.printk(f"{why}: chip and bus reset")
    error = 0
    try:
        ahc_bring_up(ahc)
    except AhcError as failure:
        ahc.printk(str(failure))
        error = -errno.EIO
    flags = kernel.spin_lock_irqsave(ahc.lock)
    if not error:
        ahc.unmap_all()
        ahc_go(ahc)
        ahc.reset_count += 1
    ahc.dead, ahc.resetting = bool(error), False
    ahc.qfrozen = 0
    ahc.completeq += ahc_ended(abandoned, DID_NO_CONNECT if error else DID_RESET)
    kernel.spin_unlock_irqrestore(ahc.lock, flags)
    ahc_run_complete_queue(ahc)
    kernel.wake_up(ahc.wait)
    return error


def ahc_bring_up(ahc: Ahc) -> None:
    """From any state to a chip that is set up, paused, its bus reset; AhcError when it does not play along."""
    ahc_chip_reset(ahc)
    ahc_chip_init(ahc)
    if not ahc.scb_count:
        ahc.scb_count = ahc_probe_scbs(ahc)
    ahc_core_init(ahc)
    ahc_drive_reset(ahc)
    ahc_change(ahc, AhcRegs.SIMODE1, SCSIRSTI)         # the firmware switches it on with the next selection


def ahc_go(ahc: Ahc) -> None:
    """Every SCB is ours: let the sequencer run.  In crash mode without interrupts: dump_poll stands in for them."""
    ahc.inten = 0 if ahc.kernel.crashdump_mode() else HCntrl.INTEN.mask
    for target in ahc.targets:
        target.forget_agreement()
    ahc.unsolicited = 0
    ahc_restart(ahc)
    ahc.active = True


def _wait_for_other_reset(ahc: Ahc) -> int:
    """Somebody is at it: wait for what comes of it.  In crash mode nobody can be, but the caller itself."""
    kernel = ahc.kernel
    if kernel.crashdump_mode():
        return -errno.EBUSY
    for _ in range(_OTHER_RESET_MS // _OTHER_RESET_STEP_MS):
        kernel.msleep(_OTHER_RESET_STEP_MS)
        if not ahc.resetting:
            break
    return 0 if ahc.active else -errno.EIO
