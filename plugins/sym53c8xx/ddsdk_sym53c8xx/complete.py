"""Commands that end: which ones, with what result, how many bytes did not move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import (
    DID_ERROR,
    DID_OK,
    DRIVER_SENSE,
    SAM_STAT_CHECK_CONDITION,
    SAM_STAT_COMMAND_TERMINATED,
)

from .adapter import SENSE_BYTES
from .chip import R
from .frames import BLOCK_BYTES, BLOCKS
from .program import DONE, offset

if TYPE_CHECKING:
    from ddsdk.scsi.cmnd import ScsiCmnd

    from .adapter import Ccb, Hcb

_MOVED_AT: Final = offset("moved")
_DSA: Final = R.DSA.offset
_POOL_BYTES: Final = BLOCKS * BLOCK_BYTES
#: What a target may say (SCSI-2, table 27; SAM-2); anything else is an error of the bus.
_KNOWN: Final = frozenset((0x00, 0x02, 0x04, 0x08, 0x10, 0x14, 0x18, 0x22, 0x28, 0x30, 0x40))
_SENSED: Final = frozenset((SAM_STAT_CHECK_CONDITION, SAM_STAT_COMMAND_TERMINATED))


def ccb_of_dsa(np: Hcb) -> Ccb | None:
    """The block that DSA points to."""
    index, odd = divmod(np.kernel.readl(np.chip, _DSA) - np.pool.bus_addr, BLOCK_BYTES)
    return np.ccbs[index] if not odd and 0 <= index < BLOCKS else None


def take_done(np: Hcb, ended: list[ScsiCmnd]) -> None:
    """End every command that SCRIPTS have marked: good status, nothing special."""
    view = np.view
    done = [ccb for ccb in np.busy.values() if view[ccb.done_at] == DONE]
    for ccb in done:
        end_ccb(np, ccb, 0, ended)


def end_ccb(np: Hcb, ccb: Ccb, status: int, ended: list[ScsiCmnd]) -> None:
    """Its target has said all there is to say: fill in the result, free the block."""
    scmd = ccb.scmd
    if scmd is None:
        return
    np.unmap(ccb)
    left = 0 if np.view[ccb.offset + _MOVED_AT] else ccb.left
    np.answered.add(scmd.device.id)
    if ccb.sensing:
        _end_sense(np, ccb, scmd, status, left)
    else:
        scmd.resid = left
        if status not in _KNOWN:
            np.printk(f"target {scmd.device.id} ends a command with status {status:#04x}")
            scmd.result = DID_ERROR << 16
        else:
            scmd.result = (ccb.error or DID_OK) << 16 | status
    np.release(ccb)
    ended.append(scmd)


def _end_sense(np: Hcb, ccb: Ccb, scmd: ScsiCmnd, status: int, left: int) -> None:
    """REQUEST SENSE is over: the command itself ended with CHECK CONDITION."""
    scmd.resid = ccb.resid
    scmd.result = (ccb.error or DID_OK) << 16 | SAM_STAT_CHECK_CONDITION
    count = ccb.segments[0][1] - left
    if status or count <= 0:
        np.printk(f"target {scmd.device.id} gives no sense data")
        scmd.result = DID_ERROR << 16
        return
    count = min(count, SENSE_BYTES, len(scmd.sense_buffer))
    scmd.sense_buffer[:count] = np.code_view[ccb.sense_offset:ccb.sense_offset + count]
    scmd.result |= DRIVER_SENSE << 24


def drop(np: Hcb, ccb: Ccb, host_byte: int, ended: list[ScsiCmnd], *, rests: bool = False) -> None:
    """The chip does not hold the command any more, and its target did not end it."""
    scmd = ccb.scmd
    if scmd is None:
        return
    np.unmap(ccb)
    scmd.result = host_byte << 16
    scmd.resid = scmd.request_bufflen
    np.release(ccb, rests=rests)
    ended.append(scmd)


def wants_sense(ccb: Ccb, status: int) -> bool:
    """Whether sense data is due for a command that ended with *status*."""
    return status in _SENSED and not ccb.sensing
