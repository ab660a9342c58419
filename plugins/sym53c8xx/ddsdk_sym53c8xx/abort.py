"""Abort and device reset: SCRIPTS are brought to a stop between two commands, and a message is sent to the target.

The program's `gate` is an INT while somebody wants it to stop.  A bus that a target does not let go of never comes
there: then the handler says FAILED, and the mid-layer goes on to the bus reset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DID_ABORT, DID_RESET

from .adapter import INT, NOP, WORD, Ccb, Hcb
from .block import write_block
from .chip import go_on, signal
from .complete import drop
from .frames import INSN_BYTES, WORD_BYTES, Message
from .interrupt import sym53c8xx_poll
from .program import Sir, offset
from .recovery import unlocked, wait_for
from .scatter import ENTRY

if TYPE_CHECKING:
    from collections.abc import Callable

    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiDevice

_GATE_MS: Final = 1000
_TM_MS: Final = 2000
_POLL_US: Final = 100


def sym_eh_abort_handler(scmd: ScsiCmnd) -> int:
    """int sym53c8xx_eh_abort_handler(struct scsi_cmnd *): SUCCESS once the chip does not hold the command any more."""
    return unlocked(scmd, lambda np: sym_abort(np, scmd))


def sym_eh_device_reset_handler(scmd: ScsiCmnd) -> int:
    """int sym53c8xx_eh_device_reset_handler(struct scsi_cmnd *): reset the target; its commands end with DID_RESET."""
    return unlocked(scmd, lambda np: sym_device_reset(np, scmd.device))


def sym_abort(np: Hcb, scmd: ScsiCmnd) -> bool:
    """Abort *scmd*, wherever it is."""
    if _holding(np, scmd) is None:
        return True
    if not _stop_at_gate(np):
        return _holding(np, scmd) is None
    kernel = np.kernel
    flags = kernel.spin_lock_irqsave(np.lock)
    ccb = _holding(np, scmd)
    ended: list[ScsiCmnd] = []
    sent = False
    if ccb is not None and not np.started(ccb):
        waiting = [one for one in np.unstarted() if one is not ccb]
        drop(np, ccb, DID_ABORT, ended)
        np.rebuild_start_queue(waiting)
    elif ccb is not None:
        message = (Message.SIMPLE_QUEUE_TAG, ccb.tag, Message.ABORT_TAG) if ccb.tagged else (Message.ABORT,)
        _send(np, scmd.device, message)
        sent = True
    _leave_gate(np)
    kernel.spin_unlock_irqrestore(np.lock, flags)
    if sent and not _sent(np):
        return _holding(np, scmd) is None
    flags = kernel.spin_lock_irqsave(np.lock)
    ccb = _holding(np, scmd)
    if ccb is not None and np.active:
        drop(np, ccb, DID_ABORT, ended, rests=True)
    kernel.spin_unlock_irqrestore(np.lock, flags)
    for one in ended:
        one.scsi_done(one)
    return True


def sym_device_reset(np: Hcb, sdev: ScsiDevice) -> bool:
    """BUS DEVICE RESET to the target of *sdev*."""
    if not _stop_at_gate(np):
        return False
    kernel, resets = np.kernel, np.resets
    flags = kernel.spin_lock_irqsave(np.lock)
    _send(np, sdev, (Message.BUS_DEVICE_RESET,))
    _leave_gate(np)
    kernel.spin_unlock_irqrestore(np.lock, flags)
    if not _sent(np):
        return np.resets != resets and not np.dead
    ended: list[ScsiCmnd] = []
    flags = kernel.spin_lock_irqsave(np.lock)
    for ccb in list(np.busy.values()):
        if ccb.scmd is not None and ccb.scmd.device.id == sdev.id and np.started(ccb):
            drop(np, ccb, DID_RESET, ended, rests=True)
    kernel.spin_unlock_irqrestore(np.lock, flags)
    for one in ended:
        one.scsi_done(one)
    return True


def _holding(np: Hcb, scmd: ScsiCmnd) -> Ccb | None:
    """The block with which the chip holds *scmd*, if it does."""
    return next((ccb for ccb in np.busy.values() if ccb.scmd is scmd), None)


# -- the gate ------------------------------------------------------------------------------------------------


def _stop_at_gate(np: Hcb) -> bool:
    """Bring SCRIPTS to a stop with nothing connected; false when they do not come there."""
    kernel = np.kernel
    flags = kernel.spin_lock_irqsave(np.lock)
    usable = np.active and not np.at_gate
    if usable:
        np.poke("gate", Sir.STOPPED, 1)
        np.poke("gate", INT)
        signal(np)
    kernel.spin_unlock_irqrestore(np.lock, flags)
    if not usable:
        return False
    _wait(np, lambda: np.at_gate or not np.active, _GATE_MS)
    flags = kernel.spin_lock_irqsave(np.lock)
    there = np.at_gate and np.active
    if not there and np.active:
        np.poke("gate", NOP)
    kernel.spin_unlock_irqrestore(np.lock, flags)
    return there


def _leave_gate(np: Hcb) -> None:
    """SCRIPTS go on.  np.lock is held."""
    np.poke("gate", NOP)
    np.at_gate = False
    go_on(np, "start")


# -- the message ---------------------------------------------------------------------------------------------


def _send(np: Hcb, sdev: ScsiDevice, message: tuple[int, ...]) -> None:
    """Put a task management block ahead of all commands.  SCRIPTS stand still, np.lock is held."""
    tm = np.tm
    tm.tagged = False
    write_block(np, tm, sdev, b"", disconnect=True)
    view, at = np.view, tm.offset
    messages = view[at + offset("msgout_bytes"):at + offset("msgout_bytes") + 8]
    count = 1 + len(message)
    messages[1:count] = bytes(message)
    ENTRY.pack_into(view, at + offset("msgout"), count, tm.address + offset("msgout_bytes"))
    WORD.pack_into(view, at + offset("resume") + INSN_BYTES, INT)       # nobody reselects for it
    WORD.pack_into(view, at + offset("launch") + 2 * INSN_BYTES + WORD_BYTES, np.labels["tm_select"])
    np.tm_result = None
    np.rebuild_start_queue([tm, *np.unstarted()])


def _sent(np: Hcb) -> bool:
    """Wait until the target has taken the message and left the bus."""
    _wait(np, lambda: np.tm_result is not None or not np.active, _TM_MS)
    return bool(np.tm_result) and np.active


def _wait(np: Hcb, condition: Callable[[], bool], ms: int) -> None:
    """Until *condition*, or *ms*.  In crash mode nobody else calls the handler."""
    kernel = np.kernel
    if not kernel.crashdump_mode():
        wait_for(np, condition, kernel.msecs_to_jiffies(ms))
        return
    for _ in range(ms * 1000 // _POLL_US):
        if condition():
            return
        if np.active:
            sym53c8xx_poll(np)
        kernel.diskdump_update()
        kernel.udelay(_POLL_US)
