"""Commands in normal mode: queued, ended by interrupt, recovered by the error handlers when they do not end.

The part of the SCSI mid-layer that lives before the crash (`drivers/scsi/scsi.c`, `scsi_error.c`, 2.6.9).
Nothing of it runs afterwards: `scsi_done` of these commands returns at once in crashdump_mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .cdb import read_write
from .cmnd import (
    DID_TIME_OUT,
    DMA_FROM_DEVICE,
    DMA_NONE,
    DMA_TO_DEVICE,
    SUCCESS,
    ScatterList,
    ScsiCmnd,
)
from .disposition import Disposition, Outcome, describe, scsi_decide_disposition

if TYPE_CHECKING:
    from .host import ErrorHandler, ScsiDevice

TIMEOUT_MS: Final = 30_000
RETRIES: Final = 5
BUSY_MS: Final = 10
READY_MS: Final = 100


class ScsiRequest:
    """A command on its way and whoever waits for it.  One object, one command at a time."""

    def __init__(self, sdev: ScsiDevice, timeout_ms: int = TIMEOUT_MS) -> None:
        self.sdev = sdev
        self.kernel = sdev.host.kernel
        self.timeout_jiffies = self.kernel.msecs_to_jiffies(timeout_ms)
        self.scmd = ScsiCmnd(sdev)
        self.why = ""
        self._completion = self.kernel.init_completion()

    def scsi_done(self, scmd: ScsiCmnd) -> None:
        """void scsi_done(struct scsi_cmnd *).  After a crash it returns at once: nobody waits any more."""
        if self.kernel.crashdump_mode() or scmd is not self.scmd or scmd.done:
            return
        scmd.done = True
        self.kernel.complete(self._completion)

    def execute(self, cdb: bytes, direction: int = DMA_NONE, sg: ScatterList = (), nbytes: int = 0,
                underflow: int = 0) -> Outcome:
        """Carry out one command, retries and error recovery included.  Sleeps; normal mode, process
        context.
        """
        tries = 0
        while True:
            self._once(cdb, direction, sg, nbytes, underflow)
            outcome = scsi_decide_disposition(self.scmd)
            verdict = outcome.disposition
            self.why = "" if verdict is Disposition.SUCCESS else describe(self.scmd, outcome.why)
            if verdict in (Disposition.SUCCESS, Disposition.FAILED, Disposition.NO_SENSE):
                return outcome
            tries += 1
            if tries > (RETRIES if verdict is Disposition.NEEDS_RETRY else TIMEOUT_MS // READY_MS):
                return outcome
            if verdict is not Disposition.NEEDS_RETRY:
                self.kernel.msleep(READY_MS if verdict is Disposition.BECOMING_READY else BUSY_MS)

    def rw(self, write: bool, sector: int, sectors: int, sg: ScatterList) -> bool:
        """READ or WRITE of the disk's *sectors* from *sector* on; whether everything moved."""
        sdev = self.sdev
        wide = sdev.use_16_for_rw or sector + sectors > 1 << 32
        nbytes = sectors * sdev.sector_size
        outcome = self.execute(read_write(write, sector, sectors, wide), DMA_TO_DEVICE if write else DMA_FROM_DEVICE,
                               sg, nbytes, nbytes)
        return outcome.disposition is Disposition.SUCCESS

    @property
    def can_reset(self) -> bool:
        """Whether there is an eh_host_reset_handler, or an eh_bus_reset_handler at least."""
        return self._reset_handler is not None

    def reset(self) -> None:
        """Call it: the host reset, where there is none the bus reset."""
        if self._reset_handler is not None:
            self.call_handler(self._reset_handler)

    @property
    def _reset_handler(self) -> ErrorHandler | None:
        hostt = self.sdev.host.hostt
        return hostt.eh_host_reset_handler or hostt.eh_bus_reset_handler

    def _once(self, cdb: bytes, direction: int, sg: ScatterList, nbytes: int, underflow: int) -> None:
        """One try: result and sense are in `scmd` afterwards, DID_TIME_OUT if it never ended."""
        scmd, kernel = self.scmd, self.kernel
        scmd.set_cdb(cdb)
        scmd.sc_data_direction, scmd.sg = direction, sg
        scmd.request_bufflen, scmd.underflow = nbytes, underflow
        scmd.timeout_per_command = self.timeout_jiffies
        waited = 0
        while self._queue():
            if waited >= self.timeout_jiffies:
                scmd.result = DID_TIME_OUT << 16
                return
            waited += 1
            kernel.schedule_timeout(1)
        if not kernel.wait_for_completion_timeout(self._completion, self.timeout_jiffies):
            self._recover()
            self._completion = kernel.init_completion()     # a reset may have completed it after all
            scmd = self.scmd = ScsiCmnd(self.sdev)          # and the driver may hold the old one
            scmd.set_cdb(cdb)
            scmd.result = DID_TIME_OUT << 16

    def _queue(self) -> int:
        scmd, host = self.scmd, self.sdev.host
        scmd.serial_number = host.next_serial()
        scmd.done = False
        scmd.result = scmd.resid = 0
        scmd.clear_sense()
        flags = self.kernel.spin_lock_irqsave(host.host_lock)
        refused = host.hostt.queuecommand(scmd, self.scsi_done)
        self.kernel.spin_unlock_irqrestore(host.host_lock, flags)
        if refused:
            scmd.done = True
        return refused

    def _recover(self) -> None:
        """Abort, device reset, bus reset, host reset: until one of them works."""
        hostt = self.sdev.host.hostt
        for handler in (hostt.eh_abort_handler, hostt.eh_device_reset_handler, hostt.eh_bus_reset_handler,
                        hostt.eh_host_reset_handler):
            if handler is not None and self.call_handler(handler) == SUCCESS:
                break
        self.scmd.done = True

    def call_handler(self, handler: ErrorHandler) -> int:
        """Run one error handler as the error handler thread does: under host_lock, interrupts off."""
        host = self.sdev.host
        flags = self.kernel.spin_lock_irqsave(host.host_lock)
        result = handler(self.scmd)
        self.kernel.spin_unlock_irqrestore(host.host_lock, flags)
        return result
