"""What the IOC says: the interrupt handler, the poll that stands in for it, what a reply means for a command.

Reply descriptors: LSI mpi.h 01.05.13.  IOCStatus -> result: Linux 2.6.9 mptscsih.c, but for the divergences
in README.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE
from ddsdk.helperlib.kernel import IRQ_HANDLED, IRQ_NONE
from ddsdk.scsi.cmnd import (
    DID_BAD_TARGET,
    DID_NO_CONNECT,
    DID_OK,
    DID_RESET,
    DID_SOFT_ERROR,
    DRIVER_SENSE,
    SAM_STAT_BUSY,
    SAM_STAT_CHECK_CONDITION,
    SAM_STAT_GOOD,
    end_cmds,
)

from .adapter import MPT_REPLY_BYTES, MPT_SENSE_BYTES
from .frames import IOCSTATUS_MASK, IOCStatus, MsgFunction, SCSIIOReply, ScsiState
from .handshake import ALL_ONES, adapter_gone
from .regs import (
    ADDRESS_REPLY_A_BIT,
    HIM_MASK_ALL,
    REPLY_FIFO_EMPTY,
    Doorbell,
    HostInterruptStatus,
    IocState,
    MptRegs,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ddsdk.scsi.cmnd import ScsiCmnd

    from .adapter import MptAdapter, MptRequest

# byte offsets: the per-command path makes no register objects
_DOORBELL: Final = MptRegs.DOORBELL.offset
_INT_STATUS: Final = MptRegs.HOST_INTERRUPT_STATUS.offset
_REPLY_FIFO: Final = MptRegs.REPLY_FIFO.offset
_REPLY_FREE_FIFO: Final = MptRegs.REPLY_FREE_FIFO.offset
_REPLY_MESSAGE: Final = HostInterruptStatus.REPLY_MESSAGE.mask
#: Reply descriptors taken in one go: more than requests and reply frames together.
MAX_POPS: Final = 256
#: The doorbell is looked at when this many polls in a row (a power of two) found nothing to do.
_QUIET_POLLS: Final = 8
_STALE_PRINTED: Final = 8

_SCSI_REPLY = SCSIIOReply.on(WIRE_LE)
_MSG_LENGTH_AT, _MSG_CONTEXT_AT = _SCSI_REPLY.offsetof("MsgLength"), _SCSI_REPLY.offsetof("MsgContext")

_NO_AUTOSENSE: Final = ScsiState.AUTOSENSE_FAILED | ScsiState.NO_SCSI_STATUS
_TERMINATED: Final = frozenset((IOCStatus.SCSI_TASK_TERMINATED, IOCStatus.SCSI_IOC_TERMINATED,
                                IOCStatus.SCSI_EXT_TERMINATED))
#: IOCStatus whose meaning does not depend on the rest of the reply.  What is in no table is a soft error.
_RESULTS: Final[Mapping[int, int]] = {
    IOCStatus.BUSY: DID_OK << 16 | SAM_STAT_BUSY,
    IOCStatus.SCSI_INVALID_BUS: DID_BAD_TARGET << 16,
    IOCStatus.SCSI_INVALID_TARGETID: DID_BAD_TARGET << 16,
    IOCStatus.SCSI_DEVICE_NOT_THERE: DID_NO_CONNECT << 16,
    **dict.fromkeys(_TERMINATED, DID_RESET << 16),
}
#: SPC-2 fixed format: ABORTED COMMAND, SCSI PARITY ERROR.
_FAKE_SENSE: Final = bytes((0x70, 0, 0x0B, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x47, 0, 0, 0, 0, 0))


# -- the interrupt -------------------------------------------------------------------------------------------


def mpt_interrupt(_irq: int, ioc: MptAdapter) -> int:
    """irqreturn_t mpt_interrupt(int irq, void *bus_id): take every reply there is, at most 256.

    Not while a reset is due or under way: nothing the IOC says then counts, and it may not be touched.
    """
    if not ioc.active:
        return IRQ_NONE
    readl, chip, outstanding = ioc.readl, ioc.chip, ioc.outstanding
    descriptor = readl(chip, _REPLY_FIFO)
    if descriptor == REPLY_FIFO_EMPTY:
        return IRQ_NONE
    for _ in range(MAX_POPS):
        if descriptor & ADDRESS_REPLY_A_BIT:
            mpt_reply(ioc, (descriptor << 1) & ALL_ONES)
        else:
            request = outstanding.pop(descriptor, None)
            if request is None or request.callback is None:
                ioc.stale_replies += 1
            else:
                request.callback(ioc, request, None)
        descriptor = readl(chip, _REPLY_FIFO)
        if descriptor == REPLY_FIFO_EMPTY:
            return IRQ_HANDLED
    mpt_lost(ioc, f"ReplyFifo is not empty after {MAX_POPS} replies, more than there can be")
    return IRQ_HANDLED


def mpt_reply(ioc: MptAdapter, bus_addr: int) -> None:
    """An address reply: copy the frame, give it back to the IOC at once, then act on the copy.

    A frame that is none of ours is neither read nor given back.
    """
    at = bus_addr - ioc.reply_bus_addr
    if at % MPT_REPLY_BYTES or not 0 <= at < ioc.reply_depth * MPT_REPLY_BYTES:
        ioc.stale_replies += 1
        if ioc.stale_replies <= _STALE_PRINTED:
            ioc.printk(f"reply frame at {bus_addr:#x} is none of ours; ignored")
        return
    offset = ioc.reply_offset + at
    reply = bytes(ioc.view[offset:offset + MPT_REPLY_BYTES])
    ioc.writel(bus_addr, ioc.chip, _REPLY_FREE_FIFO)
    context = int.from_bytes(reply[_MSG_CONTEXT_AT:_MSG_CONTEXT_AT + 4], "little")
    request = ioc.outstanding.pop(context, None)
    if request is None or request.callback is None:
        ioc.stale_replies += 1
        return
    # what lies past MsgLength is left over from the frame's last use
    reply = reply[:4 * reply[_MSG_LENGTH_AT]].ljust(MPT_REPLY_BYTES, b"\0")
    request.callback(ioc, request, reply)


def mpt_poll_interrupt(ioc: MptAdapter) -> None:
    """The interrupt handler by hand, if IntStatus has something for it; now and then: is the IOC alive?"""
    if not ioc.active:
        return
    status = ioc.readl(ioc.chip, _INT_STATUS)
    if status & _REPLY_MESSAGE and mpt_interrupt(0, ioc):
        ioc.quiet_polls = 0
    elif ioc.outstanding:
        ioc.quiet_polls += 1
        if status == ALL_ONES or not ioc.quiet_polls % _QUIET_POLLS:
            mpt_check_alive(ioc)


def mpt_check_alive(ioc: MptAdapter) -> None:
    """In FAULT, or reset behind our back, the IOC completes nothing any more: learn that before 30 s pass."""
    doorbell = Doorbell(ioc.readl(ioc.chip, _DOORBELL))
    if doorbell.STATE == IocState.OPERATIONAL:
        return
    if doorbell == ALL_ONES and adapter_gone(ioc):
        ioc.active = False
        ioc.dead = True
        ioc.printk("the adapter is gone")
        mpt_flush_running_cmds(ioc, DID_NO_CONNECT)
    else:
        mpt_lost(ioc, f"not OPERATIONAL any more: {doorbell!r}")


def mpt_lost(ioc: MptAdapter, why: str) -> None:
    """The IOC cannot be used as it is: commands end with DID_RESET, and a hard reset is scheduled."""
    ioc.active = False
    ioc.writel(HIM_MASK_ALL, ioc.chip, MptRegs.HOST_INTERRUPT_MASK)
    ioc.printk(f"{why}; hard reset scheduled")
    ioc.kernel.schedule_work(ioc.fault_reset_work)
    mpt_flush_running_cmds(ioc, DID_RESET)


def mpt_flush_running_cmds(ioc: MptAdapter, host_byte: int) -> None:
    """End every SCSI command the IOC held with *host_byte*.  Their memory stays mapped until a reset."""
    end_cmds(ioc.abandon_outstanding(), host_byte)


# -- SCSI commands -------------------------------------------------------------------------------------------


def mptscsih_io_done(ioc: MptAdapter, request: MptRequest, reply: bytes | None) -> None:
    """The IOC is done with a SCSI command: fill in its result, free its frame, tell the mid-layer."""
    scmd = request.scmd
    if scmd is None:
        ioc.stale_replies += 1
        return
    mapped = request.mapped
    if mapped:
        request.mapped = ()             # first: after a crash in between, it must not be unmapped twice
        ioc.dma_unmap_sg(ioc.pdev, mapped, request.direction)
    if reply is None:
        scmd.result = scmd.resid = 0
    else:
        _decode(ioc, request, scmd, _SCSI_REPLY.unpack(reply))
    request.scmd = None
    lock = ioc.FreeQlock
    ioc.spin_lock(lock)
    ioc.FreeQ.append(request)
    ioc.spin_unlock(lock)
    scmd.scsi_done(scmd)


def _decode(ioc: MptAdapter, request: MptRequest, scmd: ScsiCmnd, reply: SCSIIOReply) -> None:
    status = reply.IOCStatus & IOCSTATUS_MASK
    scmd.resid = max(0, scmd.request_bufflen - reply.TransferCount)
    if reply.Function != MsgFunction.SCSI_IO_REQUEST:
        scmd.result = DID_SOFT_ERROR << 16
        return
    if reply.SCSIState & ScsiState.AUTOSENSE_VALID:
        _copy_sense(ioc, request, scmd, reply.SenseCount)
    if status in (IOCStatus.SUCCESS, IOCStatus.SCSI_RECOVERED_ERROR):
        scmd.result = _by_state(reply)
    elif status == IOCStatus.SCSI_DATA_UNDERRUN:
        scmd.result = _underrun(scmd, reply)
    elif status == IOCStatus.SCSI_RESIDUAL_MISMATCH:
        scmd.result = _residual_mismatch(scmd, reply)
    else:
        scmd.result = _RESULTS.get(status, DID_SOFT_ERROR << 16)


def _by_state(reply: SCSIIOReply) -> int:
    """SCSIState, then SCSIStatus."""
    state = reply.SCSIState
    if not state & ScsiState.AUTOSENSE_VALID:
        if state & _NO_AUTOSENSE:
            return DID_SOFT_ERROR << 16
        if state & ScsiState.TERMINATED:
            return DID_RESET << 16
    return DID_OK << 16 | reply.SCSIStatus


def _underrun(scmd: ScsiCmnd, reply: SCSIIOReply) -> int:
    """Less moved than asked for: fine if a status or enough bytes explain it."""
    result = _by_state(reply)
    moved = reply.TransferCount
    if result != DID_OK << 16 | SAM_STAT_GOOD or not scmd.request_bufflen:
        return result
    return DID_SOFT_ERROR << 16 if not moved or moved < scmd.underflow else result


def _residual_mismatch(scmd: ScsiCmnd, reply: SCSIIOReply) -> int:
    """The IOC and the target count differently: a data error on the wire, unless enough moved after all."""
    moved = reply.TransferCount
    if not moved:
        scmd.sense_buffer[:len(_FAKE_SENSE)] = _FAKE_SENSE
        return DRIVER_SENSE << 24 | DID_OK << 16 | SAM_STAT_CHECK_CONDITION
    if moved < (scmd.underflow or scmd.request_bufflen):
        return DID_SOFT_ERROR << 16
    return DID_OK << 16 | reply.SCSIStatus


def _copy_sense(ioc: MptAdapter, request: MptRequest, scmd: ScsiCmnd, count: int) -> None:
    """Autosense into scmd.sense_buffer; the IOC's copy is cleared and never answers for another command."""
    count = min(count, MPT_SENSE_BYTES, len(scmd.sense_buffer))
    at = request.sense_offset
    scmd.sense_buffer[:count] = ioc.view[at:at + count]
    ioc.view[at:at + MPT_SENSE_BYTES] = bytes(MPT_SENSE_BYTES)
