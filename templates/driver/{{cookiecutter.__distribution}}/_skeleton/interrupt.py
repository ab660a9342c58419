"""How commands end: the interrupt handler takes tags off DONE, a tasklet finishes the requests they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import DID_ABORT, DID_NO_CONNECT, DID_OK, DID_PARITY, DID_RESET, DID_SOFT_ERROR

from .adapter import Adapter, Request
from .frames import Outcome

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
    raise NotImplementedError(
        "{{cookiecutter.name}}_interrupt: IRQ_NONE unless adapter.active; read INTERRUPT_STATUS (regs.py): zero is "
        "IRQ_NONE, all ones {{cookiecutter.name}}_gone(), FAULT {{cookiecutter.name}}_start_reset(), DONE take_tags() and "
        "tasklet_schedule() of done_tasklet.")


def take_tags(adapter: Adapter) -> None:
    """Move every tag from DONE to `adapter.done`.  More than can be there: the adapter has lost its mind."""
    raise NotImplementedError(
        "take_tags: under queue_lock read DONE (regs.py) until it gives DONE_EMPTY, but not for ever, and append each "
        "tag to adapter.done; {{cookiecutter.name}}_start_reset() when it never runs empty.")


def {{cookiecutter.name}}_finish(adapter: Adapter) -> None:
    """void {{cookiecutter.name}}_finish(unsigned long): the tasklet; ends the commands whose tags the handler took."""
    raise NotImplementedError(
        "{{cookiecutter.name}}_finish: under queue_lock take all of adapter.done and call finish_request() with each tag; "
        "without the lock call scsi_done() of each command; then wake_up() adapter.wait.")


def finish_request(adapter: Adapter, tag: int) -> ScsiCmnd | None:
    """The command that ended with *tag*, its result filled in, its request free again.  queue_lock is held.

    None for a tag of no request the adapter holds: one from before a reset, a second one, somebody else's.
    """
    raise NotImplementedError(
        "finish_request: find the request by TAG_NUMBER (frames.py); unless its tag is this very one and it carries a "
        "command, count adapter.stale and return None; else unmap, fill_result(), free it, return its command.")


def fill_result(adapter: Adapter, request: Request, scmd: ScsiCmnd) -> None:
    """Result, residual count and sense data, by what the adapter wrote into the status block."""
    raise NotImplementedError(
        "fill_result: unpack the StatusBlock (frames.py) at request.block + STATUS_OFFSET into scmd.resid, "
        "scmd.result and, as far as SENSE_COUNT says, scmd.sense_buffer.")
