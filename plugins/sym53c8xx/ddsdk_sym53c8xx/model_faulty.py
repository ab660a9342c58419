"""What armed faults make a target do.  Asked only while one is armed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.sim.disk_faults import Sense
from ddsdk.sim.scsi_pages import fixed_sense
from ddsdk.sim.scsi_target import ScsiResult

from .frames import Message
from .model_chips import S
from .model_task import CHECK_CONDITION, REQUEST_SENSE, Task
from .regs import Phase

if TYPE_CHECKING:
    from .model_port import Port

_FOR_EVER_NS: Final = 1 << 62
_VENDOR_MESSAGE: Final = 0x1F
#: SDTR: extended, 3 bytes: code 1, period, offset.
_NEGOTIATE: Final = bytes((Message.EXTENDED, 3, 1, 25, 8))
_ODD: Final = 0x333
_BREAKS: Final = ("early-disconnect", "no-save-pointers", "restore-pointers", "unexpected-disconnect")


def fail(task: Task, key: int, asc: int) -> None:
    """The command ends with CHECK CONDITION."""
    unit = task.target.units.get(task.lun)
    if unit is not None:
        unit._kept = fixed_sense(Sense(key, asc))
    task.total = task.current
    task.result = ScsiResult(CHECK_CONDITION, b"", task.current)


def at_command(port: Port, task: Task) -> bool:
    """The CDB is there; True when the command goes no further."""
    chip = port.bus.chip
    if chip.strikes("command-hung") is not None:
        port.rest(task, _FOR_EVER_NS, lambda: None)
        return True
    if chip.strikes("target-hangs") is not None:
        port.go_silent()
        return True
    struck = chip.strikes("command-slow")
    if struck is not None:
        port.rest(task, struck.get("ns", 10 * S), lambda: port.resume_start(task))
        return True
    if task.cdb[0] == REQUEST_SENSE and chip.strikes("sense-refused") is not None:
        task.result = ScsiResult(CHECK_CONDITION)
        port.answer(task)
        return True
    if task.cdb[0] == REQUEST_SENSE and chip.strikes("sense-empty") is not None:
        task.result = ScsiResult(0)
        port.answer(task)
        return True
    return False


def at_executed(port: Port, task: Task) -> None:
    """The command was carried out."""
    chip = port.bus.chip
    if task.out and task.total and chip.strikes("parity-data-out") is not None:
        fail(task, 0x0B, 0x47)
        port.allegiance[task.lun] = task
    if task.out is False and task.data_left:
        struck = chip.strikes("data-overrun")
        if struck is not None:
            task.extra = struck.get("bytes", 64)


def at_data(port: Port, task: Task) -> bool:
    """A data phase is due; True when the target does something else."""
    chip, wait_ns = port.bus.chip, port.bus.chip.timing.req_ns
    if chip.strikes("wrong-direction") is not None:
        port.go(Phase.DATA_IN if task.out else Phase.DATA_OUT, wait_ns)
        return True
    if chip.strikes("bad-phase") is not None:
        port.go(Phase.DT_DATA_OUT, wait_ns)
        return True
    if task.may_disconnect and task.data_left > _ODD and any(
            one in chip.faults.armed for one in _BREAKS):
        task.burst_end = task.current + _ODD
    return False


def at_break(port: Port, task: Task) -> bool:
    """In the middle of data; True when the target does something else than to disconnect properly."""
    chip = port.bus.chip
    if chip.strikes("no-save-pointers") is not None:
        port.pause(task, save=False)
        return True
    if chip.strikes("restore-pointers") is not None:
        task.rewind()
        task.burst_end = task.current + chip.timing.burst_bytes
        port.say(bytes((Message.RESTORE_POINTERS,)), port.proceed, chip.timing.req_ns)
        return True
    if chip.strikes("unexpected-disconnect") is not None:
        port.drop(task)                         # the target forgets what it did not end (SCSI-2, 6.1.1)
        port.leave()
        return True
    chip.strikes("early-disconnect")
    return False


def at_status(port: Port, task: Task) -> bool:
    """The status is due; True when something comes first."""
    chip = port.bus.chip
    if task.result is not None:
        struck = chip.strikes("status-unknown")
        if struck is not None:
            task.result = task.result._replace(status=struck.get("status", 0x3E))
    for fault, message in (("message-unknown", bytes((_VENDOR_MESSAGE,))), ("message-negotiate", _NEGOTIATE),
                           ("message-noop", bytes((Message.NO_OPERATION,)))):
        if chip.strikes(fault) is not None:
            port.say(message, port.proceed, chip.timing.req_ns)
            return True
    if chip.strikes("message-out-again") is not None:
        port.go(Phase.MSG_OUT, chip.timing.req_ns)
        return True
    if chip.strikes("status-missing") is not None:
        port.say(bytes((Message.COMMAND_COMPLETE,)), port.complete, chip.timing.req_ns)
        return True
    return False


def reselect(port: Port, task: Task) -> None:
    """A command wants to go on: reselections that come wrong, late, or not at all."""
    chip, bus = port.bus.chip, port.bus
    if chip.strikes("reselect-lost") is not None:
        return
    struck = chip.strikes("reselect-late")
    if struck is not None:
        chip.later(struck.get("ns", chip.timing.late_ns), _late, port, task)
        return
    for fault, tag in (("reselect-foreign", 0xF0), ("reselect-bad-tag", 0x03)):
        struck = chip.strikes(fault)
        if struck is not None:
            bus.ask(port.impostor(port.number, struck.get("tag", tag)))
    struck = chip.strikes("reselect-wrong-target")
    if struck is not None:
        bus.ask(port.impostor(struck.get("id", 5), task.tag or 0))
    proper = port.reselection(task)
    if task.tag is not None and chip.strikes("reselect-no-tag") is not None:
        proper = port.as_said(proper.messages[:1], task)
    elif chip.strikes("reselect-no-identify") is not None:
        proper = port.as_said(bytes((Message.NO_OPERATION,)), task)
    bus.ask(proper)


def _late(port: Port, task: Task) -> None:
    if not task.gone:
        port.bus.ask(port.reselection(task))


def at_complete(port: Port, task: Task) -> None:
    """The command is over and the bus free."""
    if port.last_done is not None and port.bus.chip.strikes("reselect-duplicate") is not None:
        port.bus.ask(port.last_done)
