"""What a status area means for a command, and the recovery of a check condition without sense data.

hw-ipr.md sections 8.2 and 8.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ddsdk.abi import WIRE_BE
from ddsdk.scsi.cmnd import (
    DID_ABORT,
    DID_ERROR,
    DID_IMM_RETRY,
    DID_NO_CONNECT,
    DID_PASSTHROUGH,
    SAM_STAT_CHECK_CONDITION,
)

from .command import ipr_do_req, ipr_ioa_request
from .frames import (
    AUTOSENSE_VALID,
    IOASA_BYTES,
    SCSI_SENSE_BUFFERSIZE,
    FlagsHi,
    IoaOpcode,
    Ioasa,
    RequestType,
    ShutdownType,
)
from .ioasc import IOASC_MASK, KEY_SHIFT, STATUS_MASK, Ioasc, sense_key
from .job import ipr_initiate_ioa_reset, ipr_timeout
from .sense import ipr_gen_sense

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ddsdk.scsi.cmnd import ScsiCmnd

    from .adapter import IprCmnd, IprIoaCfg, Resource

_IOASA = Ioasa.on(WIRE_BE)
_RESIDUAL_AT: Final = _IOASA.offsetof("residual_data_len")
_CANCEL_ALL_MS: Final = 30_000
_REQUEST_SENSE_S: Final = 10                        # in the packet; the driver waits twice as long
_REQUEST_SENSE: Final = 0x03
_RECOVERED_ERROR: Final = 1
#: IOASC -> (host byte, whether the device owes a sync complete).  What is not here is decided below.
_RESULTS: Final[Mapping[int, tuple[int, bool]]] = {
    Ioasc.IR_RESOURCE_HANDLE: (DID_NO_CONNECT, False),
    Ioasc.IR_NO_CMDS_TO_2ND_IOA: (DID_NO_CONNECT, False),
    Ioasc.HW_SEL_TIMEOUT: (DID_NO_CONNECT, True),
    Ioasc.BUS_WAS_RESET: (DID_ERROR, True),
    Ioasc.BUS_WAS_RESET_BY_OTHER: (DID_ERROR, True),
    Ioasc.MED_DO_NOT_REALLOC: (DID_PASSTHROUGH, False),
    Ioasc.IR_INVALID_REQ: (DID_ERROR, False),
}
#: For a device on a SCSI bus sense data is made of these only; the rest the device would have said itself.
_SENSE_OF_GSCSI: Final = frozenset((Ioasc.NR_INIT_CMD_REQUIRED, Ioasc.MED_DO_NOT_REALLOC))


def ipr_scsi_done(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd) -> None:
    """The adapter is done with a SCSI command.

    C: void ipr_scsi_done(struct ipr_cmnd *)
    """
    scmd, res = ipr_cmd.scmd, ipr_cmd.res
    if scmd is None or res is None:
        ioa_cfg.stale_responses += 1
        return
    mapped = ipr_cmd.mapped
    if mapped:
        ipr_cmd.mapped = ()             # first: after a crash in between, it must not be unmapped twice
        ioa_cfg.dma_unmap_sg(ioa_cfg.pdev, mapped, ipr_cmd.direction)
    at = ipr_cmd.ioasa_offset
    ioasc = ioa_cfg.word(at)
    scmd.resid = min(ioa_cfg.word(at + _RESIDUAL_AT), scmd.request_bufflen)
    if ioasc >> KEY_SHIFT:
        ipr_erp_start(ioa_cfg, ipr_cmd, scmd, res, ioasc)
        return
    scmd.result = ioasc & STATUS_MASK
    ipr_end(ioa_cfg, ipr_cmd, scmd)


def ipr_end(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd, scmd: ScsiCmnd) -> None:
    """The block is free again, and the mid-layer is told."""
    ipr_cmd.scmd = ipr_cmd.res = None
    lock = ioa_cfg.lock
    ioa_cfg.spin_lock(lock)
    ioa_cfg.free_q.append(ipr_cmd)
    ioa_cfg.spin_unlock(lock)
    scmd.scsi_done(scmd)


def ipr_erp_start(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd, scmd: ScsiCmnd, res: Resource, ioasc: int) -> None:
    """Anything but success: the result, the sense data, what the device owes.

    C: void ipr_erp_start(struct ipr_ioa_cfg *, struct ipr_cmnd *)
    """
    code = ioasc & IOASC_MASK
    ioasa = _ioasa_of(ioa_cfg, ipr_cmd)
    if code == Ioasc.HW_DEV_BUS_STATUS:
        _bus_status(ioa_cfg, ipr_cmd, scmd, res, ioasa)
        return
    result = 0
    if not res.is_gscsi or code in _SENSE_OF_GSCSI:
        sense = ipr_gen_sense(ioasa, res.is_vset)
        scmd.sense_buffer[:len(sense)] = sense
        result = SAM_STAT_CHECK_CONDITION
    scmd.result = result | _host_byte(res, code) << 16
    ipr_end(ioa_cfg, ipr_cmd, scmd)
    if code == Ioasc.NR_IOA_RESET_REQUIRED and ioa_cfg.allow_cmds:
        ipr_initiate_ioa_reset(ioa_cfg, ShutdownType.NONE, "the adapter asks for a reset")


def _host_byte(res: Resource, code: int) -> int:
    """DID_*; what the device owes is noted."""
    if code == Ioasc.SYNC_REQUIRED:
        if not res.in_erp:
            res.owes_sync()
        return DID_IMM_RETRY
    if code == Ioasc.ABORTED_CMD_TERM_BY_HOST:
        return DID_ABORT if res.naca else DID_IMM_RETRY
    if code == Ioasc.NR_INIT_CMD_REQUIRED:
        return 0
    known = _RESULTS.get(code)
    if known is not None:
        host_byte, sync = known
    else:
        host_byte = DID_ERROR if sense_key(code) > _RECOVERED_ERROR else 0
        sync = not res.is_vset
    if sync:
        res.owes_sync()
    return host_byte


def _ioasa_of(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd) -> Ioasa:
    at = ipr_cmd.ioasa_offset
    return _IOASA.unpack(bytes(ioa_cfg.view[at:at + ioa_cfg.layout.ioasa_bytes]).ljust(_IOASA.size, b"\0"))


def _bus_status(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd, scmd: ScsiCmnd, res: Resource, ioasa: Ioasa) -> None:
    """The device returned a SCSI status; with a check condition its sense data is to be had."""
    status = scmd.result = ioasa.ioasc & STATUS_MASK
    if status == SAM_STAT_CHECK_CONDITION and not _autosense(ioa_cfg, scmd, ioasa) and not res.naca:
        ipr_erp_cancel_all(ioa_cfg, ipr_cmd, scmd, res)
        return
    res.owes_sync()
    ipr_end(ioa_cfg, ipr_cmd, scmd)


def _autosense(ioa_cfg: IprIoaCfg, scmd: ScsiCmnd, ioasa: Ioasa) -> bool:
    """int ipr_get_autosense(struct ipr_cmnd *): true when the adapter fetched the sense data."""
    if ioa_cfg.layout.ioasa_bytes < IOASA_BYTES or not ioasa.ioasc_specific & AUTOSENSE_VALID:
        return False
    count = min(ioasa.auto_sense_len, SCSI_SENSE_BUFFERSIZE)
    scmd.sense_buffer[:count] = ioasa.auto_sense[:count]
    return bool(count)


# -- recovery of a check condition: the same block, two more requests ------------------------------------------


def ipr_erp_cancel_all(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd, scmd: ScsiCmnd, res: Resource) -> None:
    """What else the device holds comes back first, if it queues: sense data is that of its last command.

    C: void ipr_erp_cancel_all(struct ipr_cmnd *)
    """
    res.in_erp = True
    if not ioa_cfg.allow_cmds:
        _erp_failed(ioa_cfg, ipr_cmd, scmd, res)
    elif scmd.device.tagged_supported:
        ipr_ioa_request(ioa_cfg, ipr_cmd, RequestType.IOACMD, bytes((IoaOpcode.CANCEL_ALL_REQUESTS,)),
                        res_handle=res.handle)
        ipr_do_req(ioa_cfg, ipr_cmd, ipr_erp_request_sense, ipr_timeout, _CANCEL_ALL_MS)
    else:
        _ask(ioa_cfg, ipr_cmd, res)


def ipr_erp_request_sense(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd) -> None:
    """CANCEL ALL REQUESTS is over: now the sense data."""
    scmd, res = ipr_cmd.scmd, ipr_cmd.res
    if scmd is None or res is None:
        ioa_cfg.stale_responses += 1
    elif sense_key(ioa_cfg.word(ipr_cmd.ioasa_offset)) or not ioa_cfg.allow_cmds:
        _erp_failed(ioa_cfg, ipr_cmd, scmd, res)
    else:
        _ask(ioa_cfg, ipr_cmd, res)


def _ask(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd, res: Resource) -> None:
    at = ipr_cmd.sense_offset
    ioa_cfg.view[at:at + SCSI_SENSE_BUFFERSIZE] = bytes(SCSI_SENSE_BUFFERSIZE)
    ipr_ioa_request(ioa_cfg, ipr_cmd, RequestType.SCSICDB,
                    bytes((_REQUEST_SENSE, 0, 0, 0, SCSI_SENSE_BUFFERSIZE, 0)),
                    (ipr_cmd.sense_bus_addr, SCSI_SENSE_BUFFERSIZE), res_handle=res.handle,
                    flags_hi=FlagsHi.SYNC_OVERRIDE | FlagsHi.NO_ULEN_CHK, timeout_s=_REQUEST_SENSE_S)
    ipr_do_req(ioa_cfg, ipr_cmd, ipr_erp_done, ipr_timeout, 2 * _REQUEST_SENSE_S * 1000)


def ipr_erp_done(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd) -> None:
    """REQUEST SENSE is over, and so is the command."""
    scmd, res = ipr_cmd.scmd, ipr_cmd.res
    if scmd is None or res is None:
        ioa_cfg.stale_responses += 1
        return
    if sense_key(ioa_cfg.word(ipr_cmd.ioasa_offset)):
        _erp_failed(ioa_cfg, ipr_cmd, scmd, res)
        return
    at = ipr_cmd.sense_offset
    scmd.sense_buffer[:SCSI_SENSE_BUFFERSIZE] = ioa_cfg.view[at:at + SCSI_SENSE_BUFFERSIZE]
    _erp_over(ioa_cfg, ipr_cmd, scmd, res)


def _erp_failed(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd, scmd: ScsiCmnd, res: Resource) -> None:
    """Why the device complained will never be known."""
    scmd.result |= DID_ERROR << 16
    _erp_over(ioa_cfg, ipr_cmd, scmd, res)


def _erp_over(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd, scmd: ScsiCmnd, res: Resource) -> None:
    res.in_erp = False
    res.owes_sync()
    ipr_end(ioa_cfg, ipr_cmd, scmd)
