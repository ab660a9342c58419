"""How commands end: the output queue, residuals, results, and telling the mid-layer.

hw-aic7xxx.md 5.2, 5.3, 8.  `ahc.lock` is held but in ahc_run_complete_queue().
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import (
    DID_ERROR,
    DID_OK,
    DID_PARITY,
    DID_REQUEUE,
    DRIVER_SENSE,
    SAM_STAT_BUSY,
    SAM_STAT_CHECK_CONDITION,
    SAM_STAT_COMMAND_TERMINATED,
    SAM_STAT_TASK_SET_FULL,
)

from .adapter import AHC_CAN_QUEUE, POSITION_MASK, SENSE_BYTES, SG_LIST_BYTES, Ahc, AhcDevice, AhcScb
from .frames import (
    QOUT_EMPTY,
    QOUT_GROUP,
    QUEUE_ENTRIES,
    SCB_RESIDUAL_SGPTR,
    SCB_SGPTR,
    SG_BYTES,
    SG_FULL_RESID,
    SG_LAST,
    SG_LEN_MASK,
    SG_LIST_NULL,
    SG_PTR_MASK,
    SG_RESID_VALID,
)
from .hw import AhcError
from .queue import element

if TYPE_CHECKING:
    from ddsdk.scsi.cmnd import ScsiCmnd

_GROUP_MASK: Final = QOUT_GROUP - 1
_EMPTY_GROUP: Final = bytes((QOUT_EMPTY,)) * QOUT_GROUP
_U32: Final = Struct("<I").unpack_from
#: A device that says BUSY is left alone for so long.
_BUSY_MS: Final = 500
#: A device that took so many commands well may be given one more at a time.
_GOOD_MEANS_MORE: Final = 50
SENSED: Final = frozenset((SAM_STAT_CHECK_CONDITION, SAM_STAT_COMMAND_TERMINATED))


# -- the output queue ------------------------------------------------------------------------------------------


def ahc_run_qoutfifo(ahc: Ahc) -> bool:
    """End every command whose tag is in the output queue; whether there was any.

    An entry's FF comes back four entries at a time, after the last of them: the chip may be writing beside it.  Tags of
    no SCB with the chip are dropped.  AhcError when the queue does not run empty.
    """
    qout, found = ahc.qout, 0
    tag = qout[ahc.qoutpos]
    while tag != QOUT_EMPTY:
        pos = ahc.qoutpos
        ahc.qoutpos = (pos + 1) & POSITION_MASK
        if pos & _GROUP_MASK == _GROUP_MASK:
            qout[pos - _GROUP_MASK:pos + 1] = _EMPTY_GROUP
        scb = ahc.scb_of(tag)
        if scb is None:
            ahc.stale += 1
        else:
            ahc_scb_posted(ahc, scb)
        found += 1
        if found > QUEUE_ENTRIES:
            raise AhcError(f"the output queue is not empty after {found} completions, more than there can be")
        tag = qout[ahc.qoutpos]
    return bool(found)


def ahc_scb_posted(ahc: Ahc, scb: AhcScb) -> None:
    """The chip says that it is through with the SCB."""
    if ahc.hscb_view[scb.hscb * 64 + SCB_SGPTR] & SG_RESID_VALID:
        resid = ahc_residual(ahc, scb)
        if scb.sensing:
            scb.sense_resid = resid
        else:
            scb.resid = resid
    ahc_done(ahc, scb)


def ahc_residual(ahc: Ahc, scb: AhcScb) -> int:
    """Bytes that did not move, by the uploaded element: hw-aic7xxx.md 5.2.  AhcError when it makes no sense."""
    raw = element(ahc, scb)
    assert scb.scmd is not None
    sgptr = _U32(raw, SCB_SGPTR)[0]
    if not sgptr & SG_RESID_VALID or sgptr & SG_LIST_NULL:
        return 0
    if sgptr & SG_FULL_RESID:           # no data phase: the first eight bytes are still command bytes
        return SENSE_BYTES if scb.sensing else scb.scmd.request_bufflen
    datacnt, resid_sgptr = _U32(raw, 0)[0], _U32(raw, SCB_RESIDUAL_SGPTR)[0]
    if resid_sgptr & SG_LIST_NULL:
        return 0
    if resid_sgptr & ~SG_PTR_MASK:
        raise AhcError(f"the residual S/G pointer {resid_sgptr:#x} of SCB {scb.hscb} is garbled")
    at = resid_sgptr - ahc.sg_bus_addr(scb) - SG_BYTES     # of the element it stopped in
    if at % SG_BYTES or not 0 <= at < SG_LIST_BYTES:
        raise AhcError(f"the residual S/G pointer {resid_sgptr:#x} of SCB {scb.hscb} is not in its list")
    resid = int(datacnt & SG_LEN_MASK)
    at += scb.number * SG_LIST_BYTES
    while not _U32(ahc.sg_view, at + 4)[0] & SG_LAST:
        at += SG_BYTES
        resid += _U32(ahc.sg_view, at + 4)[0] & SG_LEN_MASK
    return resid


# -- ending ----------------------------------------------------------------------------------------------------


def ahc_done(ahc: Ahc, scb: AhcScb) -> None:
    """The chip does not hold the SCB any more: free it, fill in its command's result."""
    ahc.by_tag[scb.hscb] = None
    ahc.unmap(scb)
    scmd, dev = scb.scmd, scb.dev
    if scmd is None or dev is None:             # the recovery SCB carries none
        return
    scb.scmd = None
    dev.active -= 1
    if dev.target.untagged is scb:
        dev.target.untagged = None
        for other in dev.target.devices:
            ahc.runnable(other)
    ahc.runnable(dev)
    if scb.host_byte is None and not scb.scsi_status and not scb.parity:
        scmd.result, scmd.resid = 0, scb.resid
        if dev.openings < AHC_CAN_QUEUE:
            dev.good += 1
            if dev.good == _GOOD_MEANS_MORE:
                dev.good, dev.openings = 0, dev.openings + 1
    else:
        _bad(ahc, scb, scmd, dev)
    ahc.completeq.append((scmd, dev if scb.frozen else None))
    ahc.free.append(scb)


def _bad(ahc: Ahc, scb: AhcScb, scmd: ScsiCmnd, dev: AhcDevice) -> None:
    """Anything but GOOD."""
    scmd.resid = scb.resid
    if scb.host_byte is not None:
        scmd.result = scb.host_byte << 16
        scmd.resid = scmd.request_bufflen
    elif scb.parity:
        scmd.result = DID_PARITY << 16
    elif scb.sensing:
        count = SENSE_BYTES - scb.sense_resid
        at = scb.number * SENSE_BYTES
        scmd.sense_buffer[:count] = ahc.memory.sense.view[at:at + count]
        scmd.result = DRIVER_SENSE << 24 | DID_OK << 16 | scb.scsi_status
    elif scb.scsi_status in SENSED:
        scmd.result = DID_ERROR << 16           # the sense data never came
    else:
        scmd.result = DID_OK << 16 | scb.scsi_status
        ahc_device_busy(ahc, scb, scmd, dev)


def ahc_device_busy(ahc: Ahc, scb: AhcScb, scmd: ScsiCmnd, dev: AhcDevice) -> None:
    """BUSY, or QUEUE FULL with nothing else there: give the device half a second.  Full of ours: give it less."""
    if scb.scsi_status == SAM_STAT_TASK_SET_FULL and dev.active:
        dev.openings = dev.active
        scmd.result = DID_REQUEUE << 16
    elif scb.scsi_status in (SAM_STAT_BUSY, SAM_STAT_TASK_SET_FULL) and dev.thaw_at is None:
        kernel = ahc.kernel
        first = all(one.thaw_at is None for target in ahc.targets for one in target.devices)
        dev.thaw_at = kernel.jiffies + kernel.msecs_to_jiffies(_BUSY_MS)
        ahc.freeze(dev)
        if first:
            kernel.mod_timer(ahc.thaw_timer, dev.thaw_at)


def ahc_thaw_devices(ahc: Ahc) -> None:
    """void ahc_thaw_devices(unsigned long): the timer.  Devices whose half second is over are served again."""
    kernel = ahc.kernel
    flags = kernel.spin_lock_irqsave(ahc.lock)
    now, due = kernel.jiffies, []
    for target in ahc.targets:
        for dev in target.devices:
            if dev.thaw_at is None:
                continue
            if kernel.time_before(now, dev.thaw_at):
                due.append(dev.thaw_at)
            else:
                dev.thaw_at = None
                ahc.thaw(dev)
    if due:
        kernel.mod_timer(ahc.thaw_timer, min(due))
    kernel.spin_unlock_irqrestore(ahc.lock, flags)
    kernel.tasklet_schedule(ahc.runq_tasklet)


def ahc_end_all(ahc: Ahc, host_byte: Callable[[AhcScb], int]) -> None:
    """End every SCB with the chip; their memory is the chip's no more."""
    for scb in ahc.pending():
        scb.host_byte = host_byte(scb)
        ahc_done(ahc, scb)


def ahc_drain(ahc: Ahc, host_byte: int) -> None:
    """End every command that waits in a device's queue."""
    for target in ahc.targets:
        for dev in target.devices:
            while dev.busyq:
                scmd = dev.busyq.popleft()
                scmd.result, scmd.resid = host_byte << 16, scmd.request_bufflen
                ahc.completeq.append((scmd, None))


def ahc_run_complete_queue(ahc: Ahc) -> None:
    """Tell the mid-layer of the commands that ended, no lock held; a device frozen by an error goes on after that."""
    kernel = ahc.kernel
    while ahc.completeq:
        flags = kernel.spin_lock_irqsave(ahc.lock)
        ended, ahc.completeq = ahc.completeq, []
        for _, dev in ended:
            if dev is not None:
                ahc.thaw(dev)
        kernel.spin_unlock_irqrestore(ahc.lock, flags)
        for scmd, _ in ended:
            scmd.scsi_done(scmd)
        kernel.wake_up(ahc.wait)
