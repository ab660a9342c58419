"""The polled queue of a SCSI disk: queuecommand, autosense or REQUEST SENSE, the host reset handler.

Source: RHEL 4 `drivers/scsi/scsi_dump.c` by formats.md 1.15; bounds and retries are block/dump_queue.py's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..block.dump_queue import RETRIES_ALLOWED, PolledQueue, blame
from . import cdb
from .cmnd import DMA_FROM_DEVICE, SUCCESS, ScatterList, ScsiCmnd
from .disposition import Disposition, Outcome, describe, scsi_decide_disposition
from .dump_io import SENSING, DumpIo

if TYPE_CHECKING:
    from .host import ErrorHandler, ScsiDevice

__all__ = ["ScsiQueue", "blame"]


class ScsiQueue(PolledQueue[DumpIo]):
    """The commands of one device.  *sense*: physical address and view of memory for REQUEST SENSE."""

    SUBMIT = "queuecommand"
    RESET = "host reset"

    def __init__(self, sdev: ScsiDevice, plugin: str, sense: tuple[int, memoryview]) -> None:
        host = sdev.host
        super().__init__(host.kernel, host.host_lock, plugin)
        self.sdev = sdev
        self._host = host
        self._queuecommand = host.hostt.queuecommand
        self._done = self.scsi_done             # bound once
        self._sense_sg: ScatterList = ((sense[0], cdb.SENSE_BYTES),)
        self._sense_view = sense[1]

    def scsi_done(self, scmd: ScsiCmnd) -> None:
        """void scsi_done(struct scsi_cmnd *): the driver's word that *scmd* ended; a second word is not heard."""
        if scmd.done:
            self.stats.ignored += 1
        else:
            scmd.done = True

    def _submit(self, io: DumpIo) -> bool:
        host, scmd = self._host, io.command
        host.last_serial = scmd.serial_number = host.last_serial + 1
        scmd.done = False
        scmd.result = scmd.resid = 0
        scmd.clear_sense()
        self._spin_lock(self._lock)
        refused = self._queuecommand(scmd, self._done)
        self._spin_unlock(self._lock)
        return bool(refused)

    def _good(self, io: DumpIo) -> bool:
        return not (io.command.result or io.command.resid)

    def _decide(self, io: DumpIo) -> Outcome:
        scmd = io.command
        outcome = scsi_decide_disposition(scmd)
        if outcome.disposition is Disposition.NO_SENSE and scmd.cmnd[0] != cdb.REQUEST_SENSE:
            io.state = SENSING
            self._fetch_sense(scmd)
            outcome = scsi_decide_disposition(scmd)
        return outcome

    def _fetch_sense(self, scmd: ScsiCmnd) -> None:
        """REQUEST SENSE, for a driver without autosense; the sense buffer stays empty when that fails."""
        ask = DumpIo.on(self.sdev, RETRIES_ALLOWED)
        ask.control(cdb.request_sense(), DMA_FROM_DEVICE, self._sense_sg, cdb.SENSE_BYTES)
        self._sense_view[:cdb.SENSE_BYTES] = bytes(cdb.SENSE_BYTES)
        if self.run(ask) == 0:
            scmd.sense_buffer[:cdb.SENSE_BYTES] = self._sense_view[:cdb.SENSE_BYTES]

    def _describe(self, io: DumpIo, why: str) -> str:
        return describe(io.command, why)

    def _reset_handler(self) -> ErrorHandler | None:
        return self._host.hostt.eh_host_reset_handler or self._host.hostt.eh_bus_reset_handler

    def _has_reset(self) -> bool:
        return self._reset_handler() is not None

    def _call_reset(self) -> bool:
        handler = self._reset_handler()
        assert handler is not None
        self.sdev.expecting_cc_ua = True
        return self.call_driver(handler, ScsiCmnd(self.sdev)) == SUCCESS
