"""Faults at the sequencer's decision points; asked only while one is armed.  Meanings: model_faults.py.

Each returns true when the usual course of things ends there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .frames import (
    EXT_LEN,
    PPR_DT,
    SCB_LUN,
    SCB_RESIDUAL_SGPTR,
    SCB_SGPTR,
    SCB_TAG,
    SG_FULL_RESID,
    XFER_LEN_ODD,
    Ext,
    Msg,
)
from .model_chip import S
from .model_faults import BREAKS, DEAD_ENDS, STATUSES
from .model_port import ASYNC, REQUEST_SENSE, is_negotiation
from .regs import NONE, Error, SeqInt, SStat0, SStat1

if TYPE_CHECKING:
    from .model import Aic7xxx
    from .model_data import SgList
    from .model_port import Connection, Task
    from .model_sequencer import Sequencer

_CHECK_CONDITION = 0x02
#: A data phase with a parity error goes on for so long.
_DATA_LASTS_NS = 20_000
_RW = frozenset((0x08, 0x0A, 0x28, 0x2A, 0x88, 0x8A))
_READS = frozenset((0x08, 0x28, 0x88))
_TASK_MESSAGES = frozenset((Msg.ABORT, Msg.ABORT_TAG, Msg.BUS_DEVICE_RESET))
_REJECTS: Final = {"ppr-rejected": (Ext.PPR,), "wdtr-rejected": (Ext.PPR, Ext.WDTR),
                   "sdtr-rejected": (Ext.PPR, Ext.WDTR, Ext.SDTR)}


def at_fetch(seq: Sequencer) -> bool:
    """Before an SCB is fetched."""
    chip, hit = seq.chip, seq.chip.faults.hit
    for fault, error in BREAKS.items():
        if hit(fault) is not None:
            chip.break_address(error)
            return True
    for fault, code in DEAD_ENDS.items():
        if hit(fault) is not None:
            seq.stop_with(code, seq.idle)
            return True
    struck = hit("pci-error")
    if struck is not None:
        chip.error |= Error.PCIERRSTAT.mask
        chip.config.report(struck.get("status", 0x80) << 8)
        seq.lose()
        return True
    if hit("command-hung") is not None:
        seq.doomed = chip.values["NEXT_QUEUED_SCB"]
    if seq.last_tag is not None and hit("completion-stale") is not None:
        chip.scbs.put_tag(seq.last_tag)
    return False


def at_message(chip: Aic7xxx, conn: Connection, message: bytes) -> bool:
    """The target has heard a message that is no IDENTIFY and no tag."""
    hit = chip.faults.hit
    if message[0] in _TASK_MESSAGES:
        if hit("abort-ignored") is None:
            return False
        conn.stage = "stuck"
        return True
    if hit("message-retry") is not None:
        conn.retry = True
        return True
    if not is_negotiation(message):
        return False
    for fault, codes in _REJECTS.items():
        if message[2] in codes and hit(fault) is not None:
            conn.port.rejected(message[2])
            conn.msgin.append(Msg.MESSAGE_REJECT)
            return True
    if hit("negotiation-ignored") is not None:
        return True
    if hit("negotiation-busfree") is not None:
        conn.leaves = True
        chip.later(chip.timing.message_ns, _leave, chip, conn)
        return True
    if hit("negotiation-greedy") is not None:
        conn.msgin += conn.port.negotiate(message, greedy=True)
        conn.answered = message[2]
        return True
    return False


def _leave(chip: Aic7xxx, conn: Connection) -> None:
    if chip.bus.conn is conn:
        conn.port.agreement = ASYNC
        chip.bus.drop()


def before_command(chip: Aic7xxx, conn: Connection) -> None:
    """The target could take the command block, and says something first."""
    struck = chip.faults.hit("message-unknown")
    if struck is not None:
        conn.msgin.append(struck.get("message", 0x1F))
        conn.answered = 0
    struck = chip.faults.hit("target-negotiates")
    if struck is not None:
        code, offset = Ext(struck.get("code", Ext.SDTR)), struck.get("offset", 31)
        arguments = {Ext.SDTR: (10, offset), Ext.WDTR: (1,), Ext.PPR: (9, 0, offset, 1, PPR_DT)}[code]
        conn.msgin += bytes((Msg.EXTENDED, EXT_LEN[code], code, *arguments))
        conn.asked, conn.answered = True, code


def at_command(chip: Aic7xxx, conn: Connection, task: Task) -> bool:
    """The command block is there."""
    hit, nexus = chip.faults.hit, chip.nexus
    if chip.seq.doomed == chip.slot[SCB_TAG]:
        chip.seq.doomed = NONE
        if task.disc:
            nexus.disconnect()
        return True
    if hit("unexpected-busfree") is not None:
        conn.port.end(task)
        chip.bus.drop()
        return True
    if hit("foreign-bus-reset") is not None:
        chip.bus.reset()
        return True
    if hit("transceiver-change") is not None:
        chip.values["SBLKCTL"] = chip.values["SBLKCTL"] & ~0x08 | 0x04
        chip.sstat0 |= SStat0.IOERR.mask
        nexus.begin(task)
        chip.look_at_bus()
        return True
    struck = hit("protocol-violation")
    if struck is not None:
        chip.values["LASTPHASE"] = struck.get("phase", 0xC0)
        chip.seq.stop_with(SeqInt.PROTO_VIOLATION, nexus.phase_loop)
        return True
    if hit("bad-phase") is not None:
        chip.seq.stop_with(SeqInt.BAD_PHASE, lambda: nexus.begin(task))
        return True
    struck = hit("send-reject")
    if struck is not None:
        chip.values["ACCUM"] = struck.get("message", 0x1F)
        chip.seq.stop_with(SeqInt.SEND_REJECT, lambda: nexus.begin(task))
        return True
    return _at_work(chip, conn, task)


def _at_work(chip: Aic7xxx, conn: Connection, task: Task) -> bool:
    hit, nexus = chip.faults.hit, chip.nexus
    if hit("scsiint-spurious") is not None:
        nexus.begin(task)
        chip.seq.spurious()
        return True
    struck = hit("command-slow")
    if struck is not None:
        nexus.begin(task, struck.get("ns", 10 * S))
        return True
    if task.cdb[0] == REQUEST_SENSE:
        return False
    for fault, status in STATUSES.items():
        if hit(fault) is not None:
            task.status = status
            break
    if hit("sense-fails") is not None:
        task.status, conn.port.sense_fails = _CHECK_CONDITION, True
    return False


def at_data(chip: Aic7xxx, conn: Connection, task: Task, sg: SgList) -> bool:
    """A data phase begins."""
    if task.cdb[0] not in _RW or chip.faults.hit("data-phase-split") is None:
        return False
    from .model_data import put_residual

    task.split = sg.length // 2
    put_residual(chip.slot, sg, task.split)
    chip.seq.stop_with(SeqInt.PDATA_REINIT, chip.nexus.phase_loop)
    return True


def after_data(chip: Aic7xxx, conn: Connection, task: Task, sg: SgList) -> bool:
    """The data phase is over."""
    hit, nexus = chip.faults.hit, chip.nexus
    if task.moved and task.cdb[0] in _READS:
        for fault in ("data-parity", "data-parity-code", "data-parity-code-alone"):
            struck = hit(fault)
            if struck is not None:
                _damage(sg)
                _parity(chip, fault, struck.get("ns", _DATA_LASTS_NS))
                return True
        if not task.status and not chip.slot[SCB_LUN] & XFER_LEN_ODD and hit("ignore-wide-residue") is not None:
            chip.seq.stop_with(SeqInt.IGN_WIDE_RES, nexus.phase_loop)
            return True
    if task.disc and not task.status and task.moved and hit("disconnect-before-status") is not None:
        from .model_data import save_pointers

        save_pointers(chip.slot, sg, task.moved)
        nexus.disconnect()
        task.event = chip.clock.after_ns(chip.timing.command_ns, chip.bus.offer, task)
        return True
    return False


def _damage(sg: SgList) -> None:
    """A byte arrived wrong, and is in memory by now."""
    view = sg.scatter(1)[0]
    view[0] ^= 0x10


def _parity(chip: Aic7xxx, fault: str, lasts_ns: int = 0) -> None:
    chip.sstat1 |= SStat1.SCSIPERR.mask
    chip.sstat2 |= 0x08
    chip.atn = True
    chip.values["MSG_OUT"] = 0x08
    chip.seq.then(chip.nexus.phase_loop)
    if fault == "data-parity-code-alone":
        chip.atn = False
        chip.messages.data_until_ns = chip.clock.now_ns + lasts_ns
        chip.seq.stop_with(SeqInt.PERR_DETECTED, chip.nexus.phase_loop)
        return
    if fault == "data-parity-code":
        chip.seq.stop_with(SeqInt.PERR_DETECTED, chip.nexus.phase_loop)
    chip.look_at_bus()


def at_status(chip: Aic7xxx, conn: Connection) -> bool:
    """The status byte is there."""
    for fault, phase in (("status-parity", 0xC0), ("message-parity", 0xE0)):
        if chip.faults.hit(fault) is not None:
            chip.values["LASTPHASE"] = phase
            _parity(chip, fault)
            return True
    return False


def at_upload(chip: Aic7xxx, raw: bytearray) -> None:
    """An element is about to be uploaded."""
    if not raw[SCB_SGPTR] & SG_FULL_RESID and chip.faults.hit("residual-garbled") is not None:
        raw[SCB_RESIDUAL_SGPTR:SCB_RESIDUAL_SGPTR + 4] = b"\xf4\xff\xff\x7f"


def at_post(seq: Sequencer, tag: int) -> bool:
    """A tag is about to be posted."""
    chip, hit = seq.chip, seq.chip.faults.hit
    struck = hit("completion-foreign")
    if struck is not None:
        chip.scbs.put_tag(struck.get("tag", 0xFC))
    if hit("completion-lost") is not None:
        return True
    struck = hit("completion-late")
    if struck is not None:
        chip.later(struck.get("ns", 5 * S), _post_late, seq, tag)
        return True
    if hit("cmdcmplt-lost") is not None:
        chip.scbs.put_tag(tag, tell=False)
        return True
    if hit("completion-duplicate") is not None:
        chip.scbs.put_tag(tag)
    return False


def _post_late(seq: Sequencer, tag: int) -> None:
    seq.last_tag = tag
    seq.chip.scbs.put_tag(tag)
