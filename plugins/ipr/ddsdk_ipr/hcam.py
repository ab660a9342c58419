"""Notifications: asked for once the adapter is ready, taken when they come, asked for again.

hw-ipr.md sections 6.2 (step 14) and 9.  A configuration change moves resources at once; the mid-layer finds out when
a command is refused, or by scanning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_BE

from .adapter import IPR_NUM_LOG_HCAMS
from .command import ipr_ioa_request, ipr_send_command
from .frames import IoaOpcode, RequestType
from .ioasc import ioasc_name, sense_key
from .resources import ipr_add_resource, ipr_find_resource, ipr_remove_resource
from .tables import HCAM_BYTES, IS_IOA_RESOURCE, ConfigTableEntry, Hcam, HcamCode, HcamError, HcamOp, NotifyType

if TYPE_CHECKING:
    from .adapter import IprCmnd, IprIoaCfg

_HCAM = Hcam.on(WIRE_BE)
_ERROR = HcamError.on(WIRE_BE)
_ENTRY = ConfigTableEntry.on(WIRE_BE)
_LOG_LENGTH: Final = HCAM_BYTES.to_bytes(2)


def ipr_send_hcams(ioa_cfg: IprIoaCfg) -> None:
    """Ask for log entries and for configuration changes, two of each."""
    for number, ipr_cmd in enumerate(ioa_cfg.hcam_blocks):
        _send(ioa_cfg, ipr_cmd, HcamCode.LOG_DATA if number < IPR_NUM_LOG_HCAMS else HcamCode.CONFIG_CHANGE)


def _send(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd, kind: HcamCode) -> None:
    cdb = bytes((IoaOpcode.HOST_CONTROLLED_ASYNC, kind)) + bytes(5) + _LOG_LENGTH
    ipr_ioa_request(ioa_cfg, ipr_cmd, RequestType.HCAM, cdb, (ipr_cmd.hostrcb_bus_addr, HCAM_BYTES))
    ipr_cmd.done = ipr_process_error if kind is HcamCode.LOG_DATA else ipr_process_ccn
    ipr_send_command(ioa_cfg, ipr_cmd)


def _taken(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd, wanted: HcamOp) -> tuple[Hcam, bytes] | None:
    """The notification and its body; None when the adapter refused to give any."""
    ioasc = ioa_cfg.word(ipr_cmd.ioasa_offset)
    if sense_key(ioasc):
        ioa_cfg.printk(f"no more notifications: {ioasc_name(ioasc)}")
        return None
    at = ipr_cmd.hostrcb_offset
    data = bytes(ioa_cfg.view[at:at + HCAM_BYTES])
    hcam = _HCAM.unpack(data)
    if hcam.op_code != wanted:
        ioa_cfg.printk(f"notification {hcam.op_code:#04x} where {wanted:#04x} was asked for; ignored")
    return hcam, data[_HCAM.size:]


def ipr_process_error(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd) -> None:
    """A log entry came: say so, and ask for the next."""
    taken = _taken(ioa_cfg, ipr_cmd, HcamOp.LOG_DATA)
    if taken is None:
        return
    hcam, body = taken
    if hcam.op_code == HcamOp.LOG_DATA:
        ipr_log_hcam(ioa_cfg, hcam, body)
    _send(ioa_cfg, ipr_cmd, HcamCode.LOG_DATA)


def ipr_log_buffer(ioa_cfg: IprIoaCfg, data: bytes) -> None:
    """The buffer of a unit check, which is a log entry as well."""
    ipr_log_hcam(ioa_cfg, _HCAM.unpack(data), data[_HCAM.size:])


def ipr_log_hcam(ioa_cfg: IprIoaCfg, hcam: Hcam, body: bytes) -> None:
    """A log entry in a line."""
    error = _ERROR.unpack(body)
    where = error.failing_dev_res_addr
    ioa_cfg.errors_logged += 1
    ioa_cfg.printk(f"error log: {ioasc_name(error.failing_dev_ioasc)} at {where.bus}:{where.target}:{where.lun}, PRC"
                   f" {error.prc:08x}, overlay {hcam.overlay_id:02x}")


def ipr_process_ccn(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd) -> None:
    """A configuration change came: act on it, and ask for the next."""
    taken = _taken(ioa_cfg, ipr_cmd, HcamOp.CONFIG_CHANGE)
    if taken is None:
        return
    hcam, body = taken
    if hcam.op_code == HcamOp.CONFIG_CHANGE:
        _config_change(ioa_cfg, hcam, _ENTRY.unpack(body))
    _send(ioa_cfg, ipr_cmd, HcamCode.CONFIG_CHANGE)


def _config_change(ioa_cfg: IprIoaCfg, hcam: Hcam, entry: ConfigTableEntry) -> None:
    if entry.flags & IS_IOA_RESOURCE:
        return
    if hcam.notify_type == NotifyType.REM_ENTRY:
        ipr_remove_resource(ioa_cfg, entry.res_handle)
    elif ipr_find_resource(ioa_cfg, entry.res_handle) is None:
        ioa_cfg.printk(f"device {ipr_add_resource(ioa_cfg, entry).name} was added")
