"""How commands end: the interrupt handler takes tags off DONE, a tasklet finishes the requests they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_LE
from ddsdk.helperlib.kernel import IRQ_HANDLED, IRQ_NONE
from ddsdk.scsi.cmnd import DID_ABORT, DID_ERROR, DID_NO_CONNECT, DID_OK, DID_PARITY, DID_RESET, DID_SOFT_ERROR

from .adapter import SENSE_BYTES, Adapter, Request
from .frames import STATUS_OFFSET, TAG_NUMBER, Outcome, StatusBlock
from .recovery import {{cookiecutter.name}}_gone, {{cookiecutter.name}}_start_reset
from .regs import ALL_ONES, DONE_EMPTY, Regs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ddsdk.scsi.cmnd import ScsiCmnd

#: Outcome -> host byte; what is not here is DID_ERROR, which is tried again.
_HOST_BYTES: Final[Mapping[int, int]] = {
    Outcome.ENDED: DID_OK, Outcome.NO_TARGET: DID_NO_CONNECT, Outcome.PARITY: DID_PARITY,
    Outcome.RESET: DID_RESET, Outcome.ABORTED: DID_ABORT, Outcome.SENSE_FAILED: DID_SOFT_ERROR,
}


def {{cookiecutter.name}}_interrupt(_irq: int, adapter: Adapter) -> int:
    """irqreturn_t {{cookiecutter.name}}_interrupt(int irq, void *dev_id): take tags off DONE, let the tasklet finish them.

    Not while a reset is under way: nothing the adapter says then counts.
    """
    if not adapter.active:
        return IRQ_NONE
    pending = adapter.kernel.readl(adapter.chip, Regs.INTERRUPT_STATUS)
    if not pending:
        return IRQ_NONE
    if pending == ALL_ONES:
        {{cookiecutter.name}}_gone(adapter)
        return IRQ_NONE
    if pending.FAULT:
        status = adapter.kernel.readl(adapter.chip, Regs.STATUS)
        {{cookiecutter.name}}_start_reset(adapter, f"firmware fault {status.CODE:#04x}")
        return IRQ_HANDLED
    take_tags(adapter)
    adapter.kernel.tasklet_schedule(adapter.done_tasklet)
    return IRQ_HANDLED


def take_tags(adapter: Adapter) -> None:
    """Move every tag from DONE to `adapter.done`.  More than can be there: the adapter has lost its mind."""
    kernel = adapter.kernel
    flags = kernel.spin_lock_irqsave(adapter.queue_lock)
    left = 4 * len(adapter.requests)
    tag = kernel.readl(adapter.chip, Regs.DONE)
    while tag != DONE_EMPTY and left:
        adapter.done.append(tag)
        left -= 1
        tag = kernel.readl(adapter.chip, Regs.DONE)
    kernel.spin_unlock_irqrestore(adapter.queue_lock, flags)
    if tag != DONE_EMPTY:
        {{cookiecutter.name}}_start_reset(adapter, "DONE does not run empty")


def {{cookiecutter.name}}_finish(adapter: Adapter) -> None:
    """void {{cookiecutter.name}}_finish(unsigned long): the tasklet; ends the commands whose tags the handler took."""
    kernel = adapter.kernel
    flags = kernel.spin_lock_irqsave(adapter.queue_lock)
    tags, adapter.done = adapter.done, []
    scmds = [finish_request(adapter, tag) for tag in tags]
    kernel.spin_unlock_irqrestore(adapter.queue_lock, flags)
    for scmd in scmds:
        if scmd is not None:
            scmd.scsi_done(scmd)
    kernel.wake_up(adapter.wait)


def finish_request(adapter: Adapter, tag: int) -> ScsiCmnd | None:
    """The command that ended with *tag*, its result filled in, its request free again.  queue_lock is held.

    None for a tag of no request the adapter holds: one from before a reset, a second one, somebody else's.
    """
    number = tag & TAG_NUMBER
    request = adapter.requests[number] if number < len(adapter.requests) else None
    if request is None or request.tag != tag or request.scmd is None:
        adapter.stale += 1
        return None
    scmd, request.scmd = request.scmd, None
    adapter.unmap(request)
    fill_result(adapter, request, scmd)
    adapter.free.append(request)
    return scmd


def fill_result(adapter: Adapter, request: Request, scmd: ScsiCmnd) -> None:
    """Result, residual count and sense data, by what the adapter wrote into the status block."""
    view = adapter.pool.view
    status = StatusBlock.on(WIRE_LE).unpack(view, request.block + STATUS_OFFSET)
    scmd.resid = max(0, scmd.request_bufflen - status.MOVED)
    scmd.result = _HOST_BYTES.get(status.OUTCOME, DID_ERROR) << 16
    if status.OUTCOME == Outcome.ENDED:
        scmd.result |= status.SCSI_STATUS
        count = min(status.SENSE_COUNT, SENSE_BYTES)
        scmd.sense_buffer[:count] = view[request.sense:request.sense + count]
