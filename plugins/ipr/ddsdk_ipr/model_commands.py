"""Commands the adapter carries out itself, and the notifications it owes.

hw-ipr.md sections 6.2, 7, 9 and 10.  CDBs of type 01 and 02, and SCSI commands to the adapter's own handle.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ddsdk.abi import WIRE_BE

from .frames import (
    BUS_RESET,
    IOA_RES_HANDLE,
    LUN_RESET,
    RESET_TYPE_SELECT,
    TARGET_RESET,
    IoaOpcode,
    RequestType,
    ShutdownType,
)
from .ioasc import Ioasc
from .model_pages import config_entry, config_table, inquiry, mode_page28, takes_mode_select
from .model_task import Request
from .regs import Interrupt
from .tables import CONFIG_TABLE_BYTES, Hcam, HcamCode, HcamError, HcamOp, NotifyType, ResAddr, SupportedDevice

if TYPE_CHECKING:
    from .model_core import IoaCore
    from .model_scsi import Unit

_INQUIRY, _MODE_SELECT, _MODE_SENSE, _TEST_UNIT_READY = 0x12, 0x15, 0x1A, 0x00
_SUPPORTED = SupportedDevice.on(WIRE_BE)
_HCAM = Hcam.on(WIRE_BE)
#: Ways of RESET DEVICE; anything else in CDB byte 2 is invalid.
_RESETS = (0, RESET_TYPE_SELECT | LUN_RESET, RESET_TYPE_SELECT | TARGET_RESET, RESET_TYPE_SELECT | BUS_RESET)

Carry = Callable[[Request], tuple[int, int] | None]


class AdapterCommands:
    """What one adapter answers for itself.  A command's outcome is (IOASC, bytes moved); None: it ends by itself."""

    def __init__(self, ioa: IoaCore) -> None:
        self._ioa = ioa
        timing = ioa.timing
        self._ioacmd: dict[int, tuple[int, Carry]] = {
            IoaOpcode.ID_HOST_RR_Q: (timing.ioa_command_ns, self._id_hrrq),
            IoaOpcode.QUERY_IOA_CONFIG: (timing.config_ns, self._query_config),
            IoaOpcode.QUERY_RSRC_STATE: (timing.ioa_command_ns, self._resource_state),
            IoaOpcode.RESET_DEVICE: (timing.device_reset_ns, self._reset_device),
            IoaOpcode.CANCEL_ALL_REQUESTS: (timing.cancel_ns, self._cancel_all),
            IoaOpcode.IOA_SHUTDOWN: (timing.shutdown_ns, self._shutdown),
            IoaOpcode.SET_SUPPORTED_DEVICES: (timing.ioa_command_ns, self._set_supported),
        }
        self._scsi: dict[int, Carry] = {
            _TEST_UNIT_READY: lambda _request: (Ioasc.GOOD, 0),
            _INQUIRY: self._inquiry,
            _MODE_SENSE: self._mode_sense,
            _MODE_SELECT: self._mode_select,
        }
        self._hcams: dict[int, list[Request]] = {}
        self.forget()

    def forget(self) -> None:
        """A reset: nobody waits for notifications, nothing was shut down."""
        self._hcams = {HcamCode.CONFIG_CHANGE: [], HcamCode.LOG_DATA: []}
        self._down = False
        self._lost = 0

    # -- a request ---------------------------------------------------------------------------------------

    def start(self, request: Request) -> None:
        """A request that is not a SCSI command for a resource."""
        ioa = self._ioa
        request.view = ioa.dma.view
        opcode = request.cdb[0]
        identifies = request.type == RequestType.IOACMD and opcode == IoaOpcode.ID_HOST_RR_Q
        if not ioa.hrrq.entries and not identifies:
            ioa.raise_int(Interrupt.NO_HRRQ.mask)           # there is nowhere to say anything
            return
        if request.type == RequestType.HCAM:
            self._ask_for(request)
            return
        refused = self._refused(request)
        if refused:
            ioa.later(ioa.timing.refused_ns, ioa.requests.end, request, refused, request.length)
            return
        if request.type == RequestType.IOACMD:
            delay_ns, carry = self._ioacmd[opcode]
            if opcode == IoaOpcode.RESET_DEVICE and request.cdb[2] & BUS_RESET:
                delay_ns = ioa.timing.bus_reset_ns
            elif opcode == IoaOpcode.IOA_SHUTDOWN and request.cdb[1] == ShutdownType.ABBREV:
                delay_ns = ioa.timing.abbrev_shutdown_ns
        else:
            delay_ns, carry = ioa.timing.ioa_command_ns, self._scsi[opcode]
        if not ioa.faults.armed or not self._strikes(request):
            ioa.later(delay_ns, self._carry_out, request, carry)

    def _refused(self, request: Request) -> int:
        """IOASC of a request that cannot be carried out; 0 when it can."""
        if self._down:
            return Ioasc.NR_SHUT_DOWN
        if request.type == RequestType.SCSICDB:
            if request.res_handle != IOA_RES_HANDLE:
                return Ioasc.IR_RESOURCE_HANDLE
            return 0 if request.cdb[0] in self._scsi else Ioasc.IR_INVALID_REQ
        if request.type != RequestType.IOACMD or request.cdb[0] not in self._ioacmd:
            return Ioasc.IR_INVALID_REQ
        to_resource = request.cdb[0] in (IoaOpcode.RESET_DEVICE, IoaOpcode.CANCEL_ALL_REQUESTS,
                                         IoaOpcode.QUERY_RSRC_STATE)
        known = request.res_handle in self._ioa.scsi.by_handle if to_resource else request.res_handle == IOA_RES_HANDLE
        return 0 if known else Ioasc.IR_RESOURCE_HANDLE

    def _strikes(self, request: Request) -> bool:
        """Faults of the adapter's own commands; true when this one goes no further."""
        hit, opcode = self._ioa.faults.hit, request.cdb[0]
        names: dict[int, tuple[str, str, Ioasc]] = {
            IoaOpcode.CANCEL_ALL_REQUESTS: ("cancel-hung", "cancel-fails", Ioasc.HW_RESET_NEEDED),
            IoaOpcode.RESET_DEVICE: ("device-reset-hung", "device-reset-fails", Ioasc.HW_RESET_NEEDED),
            IoaOpcode.IOA_SHUTDOWN: ("shutdown-hung", "shutdown-fails", Ioasc.IR_INVALID_REQ)}
        mode_sense = request.type == RequestType.SCSICDB and opcode == _MODE_SENSE
        if mode_sense and hit("page28-refused") is not None:
            self._end_soon(request, Ioasc.IR_INVALID_REQ)
            return True
        hung, fails, ioasc = names.get(opcode, ("start-step-hung", "start-step-fails", Ioasc.HW_FIRMWARE))
        if hit(hung) is not None:
            return True
        struck = hit(fails)
        if struck is None:
            return False
        self._end_soon(request, struck.get("ioasc", ioasc))
        return True

    def _end_soon(self, request: Request, ioasc: int) -> None:
        ioa = self._ioa
        if not ioa.hrrq.entries:                            # ID HRRQ: even to be refused it needs a queue
            self._id_hrrq(request)
        ioa.later(ioa.timing.ioa_command_ns, ioa.requests.end, request, ioasc, request.length)

    def _carry_out(self, request: Request, carry: Carry) -> None:
        if not self._ioa.can_dma():
            return
        outcome = carry(request)
        if outcome is None:
            return
        ioasc, moved = outcome
        left = request.length - moved
        if not ioasc and left:
            ioasc = Ioasc.UNDERLENGTH_OK
        self._ioa.requests.end(request, ioasc, left)

    # -- type 01 -----------------------------------------------------------------------------------------

    def _id_hrrq(self, request: Request) -> tuple[int, int] | None:
        cdb, ioa = request.cdb, self._ioa
        if not ioa.hrrq.identify(int.from_bytes(cdb[2:6]), int.from_bytes(cdb[7:9])):
            ioa.raise_int(Interrupt.NO_HRRQ.mask)
            return None
        ioa.got_hrrq()
        return Ioasc.GOOD, 0

    def _query_config(self, request: Request) -> tuple[int, int]:
        if int.from_bytes(request.cdb[7:9]) != CONFIG_TABLE_BYTES or request.length != CONFIG_TABLE_BYTES:
            return Ioasc.IR_INVALID_REQ, 0
        return Ioasc.GOOD, request.put(config_table(self._ioa.chip, self._ioa.scsi.units))

    def _resource_state(self, _request: Request) -> tuple[int, int]:
        return Ioasc.GOOD, 0

    def _reset_device(self, request: Request) -> tuple[int, int]:
        scsi, how = self._ioa.scsi, request.cdb[2]
        unit = scsi.by_handle.get(request.res_handle)
        if how not in _RESETS or unit is None:
            return Ioasc.IR_INVALID_REQ, 0
        if how & BUS_RESET:
            scsi.terminate(lambda other: other.bus == unit.bus, Ioasc.BUS_WAS_RESET)
            scsi.bus_reset(unit.bus)
            return Ioasc.GOOD, 0
        whole = bool(how & TARGET_RESET)
        scsi.terminate(lambda other: other is unit or (whole and other.target is unit.target),
                       Ioasc.ABORTED_CMD_TERM_BY_HOST)
        unit.thaw()
        unit.target.reset("target" if whole else "lun", None if whole else unit.lun)
        return Ioasc.GOOD, 0

    def _cancel_all(self, request: Request) -> tuple[int, int]:
        unit = self._ioa.scsi.by_handle.get(request.res_handle)
        self._ioa.scsi.terminate(lambda other: other is unit, Ioasc.ABORTED_CMD_TERM_BY_HOST)
        return Ioasc.GOOD, 0

    def _shutdown(self, request: Request) -> tuple[int, int]:
        """Nothing more is taken, but after "prepare".  There is no cache of the adapter's to write back."""
        try:
            kind = ShutdownType(request.cdb[1])
        except ValueError:
            return Ioasc.IR_INVALID_REQ, 0
        self._down = kind is not ShutdownType.PREPARE_FOR_NORMAL
        return Ioasc.GOOD, 0

    def _set_supported(self, request: Request) -> tuple[int, int]:
        if int.from_bytes(request.cdb[7:9]) != _SUPPORTED.size or request.length != _SUPPORTED.size:
            return Ioasc.IR_INVALID_REQ, 0
        data = _SUPPORTED.unpack(request.take())
        if data.data_length != _SUPPORTED.size or data.num_records != 1:
            return Ioasc.IR_INVALID_REQ, 0
        return Ioasc.GOOD, request.length

    # -- type 00 to the adapter itself ---------------------------------------------------------------------

    def _inquiry(self, request: Request) -> tuple[int, int]:
        cdb = request.cdb
        vpd = bool(cdb[1] & 0x01)
        data = inquiry(self._ioa.chip, cdb[2] if vpd else None)
        if data is None or (cdb[2] and not vpd):
            return Ioasc.IR_INVALID_REQ, 0
        return Ioasc.GOOD, request.put(data[:cdb[4]])

    def _mode_sense(self, request: Request) -> tuple[int, int]:
        page = mode_page28(self._ioa.chip) if request.cdb[2] & 0x3F == 0x28 else None
        if page is None:
            return Ioasc.IR_INVALID_REQ, 0
        return Ioasc.GOOD, request.put(page[:request.cdb[4]])

    def _mode_select(self, request: Request) -> tuple[int, int]:
        cdb = request.cdb
        if cdb[1] != 0x11 or request.length != cdb[4] or not takes_mode_select(self._ioa.chip, request.take()):
            return Ioasc.IR_INVALID_REQ, 0
        return Ioasc.GOOD, request.length

    # -- notifications -------------------------------------------------------------------------------------

    def _ask_for(self, request: Request) -> None:
        """The host waits for an event; what it is told goes into its buffer when there is one."""
        kind = request.cdb[1]
        if (request.cdb[0] != IoaOpcode.HOST_CONTROLLED_ASYNC or kind not in self._hcams or self._down
                or request.res_handle != IOA_RES_HANDLE or int.from_bytes(request.cdb[7:9]) != request.length):
            self._ioa.later(self._ioa.timing.refused_ns, self._ioa.requests.end, request, Ioasc.IR_INVALID_REQ,
                            request.length)
            return
        self._hcams[kind].append(request)

    def waiting(self, kind: HcamCode) -> bool:
        """Whether the host asked for that kind of event."""
        return bool(self._hcams[kind])

    def log(self, ioasc: int) -> None:
        """An error log entry."""
        body = HcamError.on(WIRE_BE).pack(HcamError(failing_dev_ioasc=ioasc, failing_dev_res_addr=ResAddr()))
        self._notify(HcamCode.LOG_DATA, HcamOp.LOG_DATA, NotifyType.ERROR_LOG_ENTRY, body)

    def config_changed(self, unit: Unit, how: NotifyType) -> None:
        """A resource came, went or changed."""
        self._notify(HcamCode.CONFIG_CHANGE, HcamOp.CONFIG_CHANGE, how, config_entry(unit))

    def _notify(self, kind: HcamCode, op: HcamOp, how: NotifyType, body: bytes) -> None:
        ioa = self._ioa
        if not ioa.can_dma():
            return
        request = self._hcams[kind].pop(0)
        data = _HCAM.pack(Hcam(op_code=op, notify_type=how, overlay_id=0xFF, length=len(body),
                               time_since_last_ioa_reset=ioa.clock.now_ns // 1_000_000_000)) + body
        request.put(data)
        ioa.requests.end(request, Ioasc.GOOD, 0)
