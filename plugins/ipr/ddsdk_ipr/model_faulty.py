"""What armed faults do to a request on its way.  Asked only while one is armed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .frames import RequestType
from .ioasc import Ioasc
from .model_faults import CARRIED_OUT_IOASC, COMMAND_IOASC, INT_BITS
from .tables import HcamCode, NotifyType

if TYPE_CHECKING:
    from ddsdk.sim.scsi_target import ScsiResult

    from .model_core import IoaCore
    from .model_scsi import Unit
    from .model_task import Request

S = 1_000_000_000
_SWAP_NS = 5_000_000
_PRC = 0x12345678
#: Of a command block that no SCSI command uses.
_FOREIGN_HANDLE = 104 << 2
_BAD_INDEX = 115
_REQUEST_SENSE = 0x03


def at_fetch(ioa: IoaCore, request: Request) -> bool:
    """Before a request block is read; True when the request is gone."""
    hit = ioa.faults.hit
    for fault, bit in INT_BITS.items():
        if hit(fault) is not None:
            ioa.raise_int(bit)
            return True
    struck = hit("unit-check")
    if struck is not None:
        ioa.enter_unit_check(struck.get("prc", _PRC))
        return True
    if hit("firmware-hang") is not None:
        ioa.enter_dead()
        return True
    if hit("bus-master-cleared") is not None:
        ioa.drop_bus_master()
    stale = ioa.requests.last_handle
    if stale is not None and hit("completion-stale") is not None:
        ioa.hrrq.post(stale)
    events(ioa)
    return False


def events(ioa: IoaCore) -> None:
    """Notifications that are due, if the host asked for any."""
    hit, commands = ioa.faults.hit, ioa.commands
    if commands.waiting(HcamCode.LOG_DATA) and hit("hcam-error-log") is not None:
        commands.log(Ioasc.HW_DEV_PERMANENT)
    if commands.waiting(HcamCode.CONFIG_CHANGE) and ioa.scsi.units and hit("hcam-config-changed") is not None:
        commands.config_changed(ioa.scsi.units[0], NotifyType.EXISTING_CHANGED)


def at_start(ioa: IoaCore, request: Request, unit: Unit) -> bool:
    """A SCSI command was found in order; True when it goes no further."""
    hit = ioa.faults.hit
    if request.cdb[0] == _REQUEST_SENSE and unit.frozen:
        if hit("sense-hung") is not None:
            return True
        struck = hit("sense-fails")
        if struck is not None:
            _end_soon(ioa, request, struck.get("ioasc", Ioasc.HW_CMD_TIMEOUT))
            return True
    if hit("command-hung") is not None:
        unit.tasks.pop(request, None)
        return True
    if hit("stale-handle") is not None:
        _stale_handle(ioa, request, unit)
        return True
    if hit("bus-reset-by-other") is not None:
        bus = unit.bus
        ioa.scsi.terminate(lambda other: other.bus == bus, Ioasc.BUS_WAS_RESET_BY_OTHER)
        ioa.scsi.bus_reset(bus)
        return True
    for fault, ioasc in COMMAND_IOASC.items():
        if hit(fault) is not None:
            if ioasc == Ioasc.SYNC_REQUIRED:
                unit.freeze()
            _end_soon(ioa, request, ioasc)
            return True
    struck = hit("command-slow")
    if struck is not None:
        unit.free_at_ns = max(ioa.clock.now_ns, unit.free_at_ns) + struck.get("ns", 10 * S)
    return False


def _end_soon(ioa: IoaCore, request: Request, ioasc: int) -> None:
    ioa.later(ioa.timing.command_ns, ioa.requests.end, request, ioasc, request.length)


def _stale_handle(ioa: IoaCore, request: Request, unit: Unit) -> None:
    """The device goes and comes back; the host is told if it wanted to know, and its command is refused."""
    commands = ioa.commands
    if commands.waiting(HcamCode.CONFIG_CHANGE):
        commands.config_changed(unit, NotifyType.REM_ENTRY)
    ioa.scsi.new_handle(unit)
    if commands.waiting(HcamCode.CONFIG_CHANGE):
        commands.config_changed(unit, NotifyType.NEW_ENTRY)
    _end_soon(ioa, request, Ioasc.IR_RESOURCE_HANDLE)


def carried_out(ioa: IoaCore, request: Request, result: ScsiResult) -> bool:
    """A command went well; True when it ends with something else than that."""
    for fault, ioasc in CARRIED_OUT_IOASC.items():
        if ioa.faults.hit(fault) is not None:
            ioa.requests.end(request, ioasc, request.length - result.transferred)
            return True
    return False


def respond(ioa: IoaCore, request: Request) -> None:
    """A response is about to be posted."""
    requests, hit = ioa.requests, ioa.faults.hit
    if request.type != RequestType.SCSICDB or request.unit is None:
        requests.post(request)
        _post_swapped(ioa)
        return
    struck = hit("completion-foreign")
    if struck is not None:
        ioa.hrrq.post(struck.get("handle", _FOREIGN_HANDLE))
    struck = hit("bad-index")
    if struck is not None:
        ioa.hrrq.post(struck.get("index", _BAD_INDEX) << 2)
    if hit("completion-lost") is not None:
        return
    struck = hit("completion-late")
    if struck is not None:
        ioa.later(struck.get("ns", 10 * S), requests.post, request)
        return
    if hit("toggle-stuck") is not None:
        ioa.hrrq.post_stale(request.response_handle)
        return
    if requests.swapped is None and hit("completion-out-of-order") is not None:
        requests.swapped = request
        ioa.later(_SWAP_NS, _post_swapped, ioa)
        return
    requests.post(request)
    if hit("completion-duplicate") is not None:
        ioa.hrrq.post(request.response_handle)
    _post_swapped(ioa)


def _post_swapped(ioa: IoaCore) -> None:
    swapped, ioa.requests.swapped = ioa.requests.swapped, None
    if swapped is not None:
        ioa.requests.post(swapped)
