"""The polled queue of an IDE drive: one taskfile command at a time, the soft reset, settings sent again after it.

Bounds and retries are block/dump_queue.py's.  Source: RHEL 4 `drivers/ide/ide-dump.c` by hw-ide.md 8, which says what
that port missed; here every wait is bounded, the status of the last block counts, a failed reset is a failure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..block.dump_queue import RETRIES_ALLOWED, PolledQueue
from ..block.outcome import Outcome
from .disposition import describe, ide_decide_disposition
from .dump_io import DumpIo
from .host import ide_started
from .settings import settings
from .taskfile import BAD_STAT, BUSY_STAT, DRQ_STAT, READY_STAT

if TYPE_CHECKING:
    from .host import IdeDrive


class AtaQueue(PolledQueue[DumpIo]):
    """The commands of one drive.  *warnings* receives what a drive refused that it can do without."""

    SUBMIT = "do_rw_taskfile"
    RESET = "channel reset"

    def __init__(self, drive: IdeDrive, plugin: str, warnings: list[str]) -> None:
        hwif = drive.hwif
        super().__init__(hwif.kernel, hwif.ide_lock, plugin)
        self.unit = drive
        self._hwif = hwif
        self._warnings = warnings
        self._do_rw_taskfile = hwif.port_info.do_rw_taskfile
        self._done = self.ended                 # bound once

    def _submit(self, io: DumpIo) -> bool:
        hwif, task = self._hwif, io.command
        hwif.last_serial = serial = hwif.last_serial + 1
        task.prepare(*io.taskfile(), serial)
        self._spin_lock(self._lock)
        answer = self._do_rw_taskfile(task, self._done)
        self._spin_unlock(self._lock)
        return answer != ide_started

    def _good(self, io: DumpIo) -> bool:
        task = io.command
        return task.status & (BAD_STAT | READY_STAT) == READY_STAT and not (task.err_mask or task.resid)

    def _decide(self, io: DumpIo) -> Outcome:
        return ide_decide_disposition(io.command)

    def _describe(self, io: DumpIo, why: str) -> str:
        task = io.command
        if not task.tf.command:                 # not sent yet, or not again
            task.tf, task.data_phase = io.taskfile()
        return describe(task, why)

    def _has_reset(self) -> bool:
        return self._hwif.port_info.do_reset is not None

    def _call_reset(self) -> bool:
        do_reset = self._hwif.port_info.do_reset
        assert do_reset is not None
        return self.call_driver(do_reset, self.unit) == 0

    def send_settings(self, run: Callable[[DumpIo], int]) -> str:
        """Send the drive's settings.  What it refuses it does without, with a warning; a dead device says why."""
        for setting in settings(self.unit):
            io = DumpIo.on(self.unit, RETRIES_ALLOWED).control(setting.tf)
            if run(io) == 0:
                setting.accepted()
                continue
            if self.dead:
                return self.dead
            setting.refused()
            self._warnings.append(f"{io.why}; {setting.consequence}")
        return ""

    def _restore(self) -> str:
        return self.send_settings(self.run_alone)

    def _fall_back(self, io: DumpIo) -> bool:
        """Programmed I/O for a drive whose DMA does not work."""
        if not (io.command.dma and self.unit.using_dma):
            return False
        self.unit.using_dma = False
        io.command.retries = 0
        self._warnings.append(f"{describe(io.command, 'DMA does not work')}; programmed I/O from here on")
        return True

    def _stuck(self, io: DumpIo) -> bool:
        """The drive still waits for the bus master."""
        return bool(io.command.status & (BUSY_STAT | DRQ_STAT))
