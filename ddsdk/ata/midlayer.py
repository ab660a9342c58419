"""Commands in normal mode: one at a time a channel, ended by interrupt, recovered by a soft reset when they do not end.

The part of `drivers/ide/ide-io.c` and `ide-iops.c` (2.6.9) that lives before the crash.  Nothing of it runs afterwards:
the completion of these commands returns at once in crashdump_mode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from ..block.outcome import Disposition, Outcome
from ..block.pieces import ScatterList
from .disposition import describe, ide_decide_disposition
from .host import ide_started
from .settings import settings
from .taskfile import BUSY_STAT, DRQ_STAT, TASKFILE_NO_DATA, AtaTaskfile, IdeTask, rw_taskfile

if TYPE_CHECKING:
    from .host import IdeDrive

TIMEOUT_MS: Final = 30_000
#: How long a command waits for the channel: others may be in the middle of all their retries.
CHANNEL_MS: Final = 600_000
RETRIES: Final = 5
#: Resets that one command may cost.
RESETS: Final = 2
READY_MS: Final = 100

#: Makes the taskfile of a try: how data moves may have changed since the last one.
Build = Callable[["IdeDrive"], tuple[AtaTaskfile, int]]
_OVER: Final = (Disposition.SUCCESS, Disposition.FAILED, Disposition.NO_SENSE)


class IdeRequest:
    """A command on its way and whoever waits for it.  One object, one command at a time."""

    def __init__(self, drive: IdeDrive, timeout_ms: int = TIMEOUT_MS, retries: int = RETRIES) -> None:
        self.drive = drive
        self.hwif = drive.hwif
        self.kernel = drive.hwif.kernel
        self.timeout_jiffies = self.kernel.msecs_to_jiffies(timeout_ms)
        self.retries = retries
        self.task = IdeTask(drive)
        self.why = ""
        self._completion = self.kernel.init_completion()

    def ide_done(self, task: IdeTask) -> None:
        """The driver's word that *task* ended.  After a crash it returns at once: nobody waits any more."""
        if self.kernel.crashdump_mode() or task is not self.task or task.done:
            return
        task.done = True
        self.kernel.complete(self._completion)

    # --- what callers ask for ------------------------------------------------------------------------------

    def execute(self, build: Build, sg: ScatterList = (), nbytes: int = 0) -> Outcome:
        """Carry out one command, settings, retries and recovery included.  Sleeps; normal mode, process context."""
        if not self._hold():
            return Outcome(Disposition.FAILED, "the channel was busy all the time")
        try:
            return self._until_over(build, sg, nbytes)
        finally:
            self._release()

    def control(self, tf: AtaTaskfile, data_phase: int = TASKFILE_NO_DATA, sg: ScatterList = (),
                nbytes: int = 0) -> Outcome:
        """A command other than a read or write."""
        return self.execute(lambda _drive: (tf, data_phase), sg, nbytes)

    def rw(self, write: bool, sector: int, sectors: int, sg: ScatterList) -> bool:
        """Read or write the disk's *sectors* from *sector* on; whether everything moved."""
        outcome = self.execute(lambda drive: rw_taskfile(drive, write, sector, sectors), sg,
                               sectors * self.drive.sector_size)
        return outcome.disposition is Disposition.SUCCESS

    @property
    def can_reset(self) -> bool:
        """Whether the driver has a reset."""
        return self.hwif.port_info.do_reset is not None

    def reset(self) -> bool:
        """Soft reset of the channel, whatever is outstanding; true when the driver says that it worked."""
        do_reset, hwif, kernel = self.hwif.port_info.do_reset, self.hwif, self.kernel
        if do_reset is None or not self._reset_over():
            return False
        hwif.resetting = True
        flags = kernel.spin_lock_irqsave(hwif.ide_lock)
        error = do_reset(self.drive)
        kernel.spin_unlock_irqrestore(hwif.ide_lock, flags)
        hwif.resetting = False
        for drive in hwif.drives:
            drive.special = True
        kernel.wake_up(hwif.wait)
        return error == 0

    # --- the channel ---------------------------------------------------------------------------------------

    def _hold(self) -> bool:
        """Sleep until it is our turn on the channel: first come, first served."""
        queue, kernel = self.hwif.queue, self.kernel
        queue.append(self)
        if kernel.wait_event_timeout(self.hwif.wait, lambda: queue[0] is self, kernel.msecs_to_jiffies(CHANNEL_MS)):
            return True
        queue.remove(self)
        return False

    def _release(self) -> None:
        self.hwif.queue.popleft()
        self.kernel.wake_up(self.hwif.wait)

    def _reset_over(self) -> bool:
        """Sleep until no reset is under way."""
        hwif, kernel = self.hwif, self.kernel
        return bool(kernel.wait_event_timeout(hwif.wait, lambda: not hwif.resetting,
                                              kernel.msecs_to_jiffies(CHANNEL_MS)))

    # --- one command ---------------------------------------------------------------------------------------

    def _until_over(self, build: Build, sg: ScatterList, nbytes: int) -> Outcome:
        tries = patience = resets = 0
        while True:
            outcome = self._settings() or self._once(*build(self.drive), sg, nbytes)
            verdict = outcome.disposition
            self.why = "" if verdict is Disposition.SUCCESS else describe(self.task, outcome.why)
            if verdict in _OVER:
                return outcome
            if verdict is Disposition.BECOMING_READY:
                patience += 1
                if patience > TIMEOUT_MS // READY_MS:
                    return outcome
                self.kernel.msleep(READY_MS)
            elif verdict is Disposition.NEEDS_RESET:
                resets += 1
                if not self.reset() or resets > RESETS:     # the last one makes the interface let go of memory
                    return outcome
            else:
                tries += 1
                if verdict is Disposition.NEEDS_PIO or tries > self.retries:
                    if not (self.task.dma and self.drive.using_dma):
                        return outcome
                    self.kernel.printk(f"{self.why}; programmed I/O from here on")
                    self.drive.using_dma = False
                    tries = 0
                    if self.task.status & (BUSY_STAT | DRQ_STAT):       # the drive still waits for the bus master
                        self.reset()

    def _settings(self) -> Outcome | None:
        """Send what a reset took away, if one did.  What the drive refuses it does without.

        None, or the outcome of a command that asks for another reset.
        """
        drive = self.drive
        for _ in range(RETRIES):                # another reset may come in between
            if not drive.special:
                break
            drive.special = False
            for setting in settings(drive):
                outcome = self._once(setting.tf, TASKFILE_NO_DATA, (), 0)
                if outcome.disposition is Disposition.SUCCESS:
                    setting.accepted()
                elif outcome.disposition is Disposition.NEEDS_RESET:
                    drive.special = True
                    return outcome
                elif not drive.special:
                    setting.refused()
                    self.kernel.printk(f"{describe(self.task, outcome.why)}; {setting.consequence}")
        return None

    def _once(self, tf: AtaTaskfile, data_phase: int, sg: ScatterList, nbytes: int) -> Outcome:
        """One try.  NEEDS_RESET when it never ended, or was never taken."""
        task, kernel = self.task, self.kernel
        task.sg, task.nbytes, task.timeout = sg, nbytes, self.timeout_jiffies
        waited = 0
        while not self._start(tf, data_phase):
            if waited >= self.timeout_jiffies:
                return Outcome(Disposition.NEEDS_RESET, "do_rw_taskfile refused it all the time")
            waited += 1
            kernel.schedule_timeout(1)
        if kernel.wait_for_completion_timeout(self._completion, self.timeout_jiffies):
            return ide_decide_disposition(task)
        # a new task: the driver may hold the old one, and the reset to come may complete it after all
        self.task, self._completion = IdeTask(self.drive), kernel.init_completion()
        self.task.tf, self.task.data_phase = tf, data_phase
        task.done = True
        return Outcome(Disposition.NEEDS_RESET,
                       f"no completion after {kernel.jiffies_to_msecs(self.timeout_jiffies) // 1000} s")

    def _start(self, tf: AtaTaskfile, data_phase: int) -> bool:
        """Hand the command to the driver; false while it or a reset says not now."""
        task, hwif, kernel = self.task, self.hwif, self.kernel
        if hwif.resetting and not self._reset_over():
            return False
        task.prepare(tf, data_phase, hwif.next_serial())
        flags = kernel.spin_lock_irqsave(hwif.ide_lock)
        answer = hwif.port_info.do_rw_taskfile(task, self.ide_done)
        kernel.spin_unlock_irqrestore(hwif.ide_lock, flags)
        if answer != ide_started:
            task.done = True
        return answer == ide_started
