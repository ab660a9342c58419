"""Error handlers: abort, device reset, bus reset, host reset.

hw-ipr.md section 10.  One request at a time, through the error handlers' block, watched by its timer.  Called with
host_lock held, which they drop while they wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ddsdk.scsi.cmnd import FAILED, SUCCESS

from .command import ipr_do_req, ipr_ioa_request
from .frames import BUS_RESET, RESET_TYPE_SELECT, IoaOpcode, RequestType, ShutdownType
from .ioasc import ioasc_name, sense_key
from .job import ipr_initiate_ioa_reset, ipr_timeout, ipr_wait_for_reset

if TYPE_CHECKING:
    from ddsdk.scsi.cmnd import ScsiCmnd
    from ddsdk.scsi.host import ScsiHost

    from .adapter import IprCmnd, IprIoaCfg, Resource

_CANCEL_ALL_MS: Final = 30_000
_DEVICE_RESET_MS: Final = 30_000
_RESET_BUS: Final = RESET_TYPE_SELECT | BUS_RESET
_POLL_US: Final = 100
#: The block's timer ends the wait; this is in case it cannot.
_LONGEST_MS: Final = 40_000
#: How long what a request brought back may stay behind its own response.
_SETTLE_POLLS: Final = 20


def _host_lock(shost: ScsiHost) -> None:
    """HOST_LOCK of the white paper, 4.3 item 3: spin_lock() in crash mode, spin_lock_irq() otherwise."""
    kernel = shost.kernel
    if kernel.crashdump_mode():
        kernel.spin_lock(shost.host_lock)
    else:
        kernel.spin_lock_irq(shost.host_lock)


def _host_unlock(shost: ScsiHost) -> None:
    """HOST_UNLOCK of the white paper, 4.3 item 3: never enables interrupts in crash mode."""
    kernel = shost.kernel
    if kernel.crashdump_mode():
        kernel.spin_unlock(shost.host_lock)
    else:
        kernel.spin_unlock_irq(shost.host_lock)


def _unlocked(scmd: ScsiCmnd, handle: Callable[[IprIoaCfg], bool]) -> int:
    """*handle* with host_lock dropped; FAILED when the host has no adapter."""
    shost = scmd.device.host
    ioa_cfg: IprIoaCfg | None = shost.hostdata
    if ioa_cfg is None:
        return FAILED
    _host_unlock(shost)
    worked = handle(ioa_cfg)
    _host_lock(shost)
    return SUCCESS if worked else FAILED


def ipr_eh_abort(scmd: ScsiCmnd) -> int:
    """int (*eh_abort_handler)(struct scsi_cmnd *): everything of the device is cancelled."""
    return _unlocked(scmd, lambda ioa_cfg: _abort(ioa_cfg, scmd))


def ipr_eh_dev_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_device_reset_handler)(struct scsi_cmnd *)."""
    return _unlocked(scmd, lambda ioa_cfg: _reset(ioa_cfg, scmd, 0))


def ipr_eh_bus_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_bus_reset_handler)(struct scsi_cmnd *): the SCSI bus that the device is on."""
    return _unlocked(scmd, lambda ioa_cfg: _reset(ioa_cfg, scmd, _RESET_BUS))


def ipr_eh_host_reset(scmd: ScsiCmnd) -> int:
    """int (*eh_host_reset_handler)(struct scsi_cmnd *): the reset job, from any state, to a working adapter."""
    return _unlocked(scmd, _host_reset)


def _host_reset(ioa_cfg: IprIoaCfg) -> bool:
    if ioa_cfg.ioa_is_dead:
        return False
    if not ioa_cfg.in_reset_reload:
        ioa_cfg.waiters += 1
        ipr_initiate_ioa_reset(ioa_cfg, ShutdownType.ABBREV, "host reset")
        ioa_cfg.waiters -= 1
    return ipr_wait_for_reset(ioa_cfg)


def _resource_of(ioa_cfg: IprIoaCfg, scmd: ScsiCmnd) -> Resource | None:
    sdev = scmd.device
    return ioa_cfg.resources.get((sdev.channel, sdev.id, sdev.lun))


def _abort(ioa_cfg: IprIoaCfg, scmd: ScsiCmnd) -> bool:
    """True when the adapter does not hold *scmd* any more."""
    res = _resource_of(ioa_cfg, scmd)
    if not _holding(ioa_cfg, lambda block: block.scmd is scmd):
        return True
    if res is None or not ioa_cfg.allow_cmds:
        return False
    ioasc = _send_blocking(ioa_cfg, res, bytes((IoaOpcode.CANCEL_ALL_REQUESTS,)), _CANCEL_ALL_MS, _cancel_timeout)
    if ioasc is None and ioa_cfg.allow_cmds:
        ioa_cfg.printk(f"CANCEL_ALL_REQUESTS to {res.name} got no answer; resetting its bus")
        ioasc = _send_blocking(ioa_cfg, res, bytes((IoaOpcode.RESET_DEVICE, 0, _RESET_BUS)), _DEVICE_RESET_MS,
                               ipr_timeout)
    res.owes_sync()
    return ioasc == 0 and _wait_until_gone(ioa_cfg, lambda block: block.scmd is scmd)


def _reset(ioa_cfg: IprIoaCfg, scmd: ScsiCmnd, how: int) -> bool:
    """RESET DEVICE to the resource; true when the adapter holds none of what it took along."""
    res = _resource_of(ioa_cfg, scmd)
    if res is None or not ioa_cfg.allow_cmds:
        return False
    channel, target, lun = scmd.device.channel, scmd.device.id, scmd.device.lun
    if _send_blocking(ioa_cfg, res, bytes((IoaOpcode.RESET_DEVICE, 0, how)), _DEVICE_RESET_MS, ipr_timeout) != 0:
        return False

    def reset(block: IprCmnd) -> bool:
        sdev = block.scmd.device if block.scmd is not None else None
        if sdev is None or sdev.channel != channel:
            return False
        return bool(how) or (sdev.id, sdev.lun) == (target, lun)

    return _wait_until_gone(ioa_cfg, reset)


def _holding(ioa_cfg: IprIoaCfg, which: Callable[[IprCmnd], bool]) -> bool:
    return any(which(block) for block in ioa_cfg.scsi_blocks if block.scmd is not None)


def _wait_until_gone(ioa_cfg: IprIoaCfg, which: Callable[[IprCmnd], bool]) -> bool:
    """Responses of what was cancelled precede that of the request; a recovery of a check condition may still run."""
    kernel = ioa_cfg.kernel
    for _ in range(_SETTLE_POLLS):
        if not _holding(ioa_cfg, which):
            return True
        if kernel.crashdump_mode():
            ioa_cfg.poll()
            kernel.diskdump_update()
            kernel.udelay(_POLL_US)
        else:
            kernel.schedule_timeout(1)
    return not _holding(ioa_cfg, which)


def _send_blocking(ioa_cfg: IprIoaCfg, res: Resource, cdb: bytes, timeout_ms: int,
                   timeout: Callable[[IprCmnd], None]) -> int | None:
    """ipr_send_blocking_cmd: the request's IOASC, 0 when it ended well; None when it was not answered.

    *timeout*: what its timer does then.  None, too, while the adapter holds both blocks of the error handlers.
    """
    kernel = ioa_cfg.kernel
    ipr_cmd = next((block for block in ioa_cfg.eh_blocks if not block.held), None)
    if ipr_cmd is None:
        return None
    completion = ioa_cfg.eh_done = kernel.init_completion()
    ioa_cfg.eh_cmd = ipr_cmd
    ipr_ioa_request(ioa_cfg, ipr_cmd, RequestType.IOACMD, cdb, res_handle=res.handle)
    ipr_do_req(ioa_cfg, ipr_cmd, _eh_done, timeout, timeout_ms)
    if kernel.crashdump_mode():
        for _ in range(_LONGEST_MS * 1000 // _POLL_US):
            ioa_cfg.poll()
            kernel.diskdump_update()
            if completion.done:
                break
            kernel.udelay(_POLL_US)
    else:
        kernel.wait_for_completion_timeout(completion, kernel.msecs_to_jiffies(_LONGEST_MS))
    if ipr_cmd.pending:
        return None
    ioasc = ioa_cfg.word(ipr_cmd.ioasa_offset)
    if sense_key(ioasc):
        ioa_cfg.printk(f"{IoaOpcode(cdb[0]).name} to {res.name} failed: {ioasc_name(ioasc)}")
        return ioasc
    return 0


def _eh_done(ioa_cfg: IprIoaCfg, ipr_cmd: IprCmnd) -> None:
    """The request ended; one that was given up on before wakes nobody."""
    if ipr_cmd is ioa_cfg.eh_cmd:
        ioa_cfg.kernel.complete(ioa_cfg.eh_done)


def _cancel_timeout(ipr_cmd: IprCmnd) -> None:
    """void ipr_abort_timeout(struct ipr_cmnd *): the error handler goes on with something stronger."""
    ipr_cmd.timed = False
    ipr_cmd.ioa_cfg.kernel.complete(ipr_cmd.ioa_cfg.eh_done)
