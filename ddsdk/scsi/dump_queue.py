"""Commands carried out by polling: queued, polled for, judged, retried, given up on, all within fixed bounds.

Source: RHEL 4 `drivers/scsi/scsi_dump.c` by formats.md 1.15.  The loop is {dump_poll, diskdump_update,
100 us}.  Deliberate differences: a command that times out gets one host reset and one more try before the
device is declared dead (RHEL 4 gave up at once), at most three such resets a dump; several commands may be in
flight; BUSY and "becoming ready" are retried after a pause and not counted among the five retries, only
against the 60 s.
"""

from __future__ import annotations

import errno
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from attrs import define

from ddsdk.errors import DdsdkError, DriverFault

from . import cdb
from .cmnd import DMA_FROM_DEVICE, SUCCESS, ScatterList, ScsiCmnd
from .disposition import Disposition, describe, scsi_decide_disposition
from .dump_io import FINISHED, QUEUED, SENSING, WAITING, DumpIo
from .host import ErrorHandler

if TYPE_CHECKING:
    from .host import ScsiDevice

T = TypeVar("T")

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000

POLL_US: Final = 100
QCMND_TIMEOUT_NS: Final = 5 * NS_PER_S      # queuecommand refuses
IO_TIMEOUT_NS: Final = 30 * NS_PER_S        # one try
SCMND_TIMEOUT_NS: Final = 60 * NS_PER_S     # a command with all its tries
RETRIES_ALLOWED: Final = 5
BUSY_PAUSE_NS: Final = 10 * NS_PER_MS
READY_PAUSE_NS: Final = 100 * NS_PER_MS
SETTLE_MS: Final = 5000
#: Host resets after timeouts in one dump: a device that needs more is not worth waiting for.
RECOVERIES_MAX: Final = 3


@define
class QueueStats:
    """What happened.  `ignored`: completions of commands that were over or given up."""

    retries: int = 0
    timeouts: int = 0
    recoveries: int = 0         # timeouts answered with a reset and another try
    resets: int = 0             # host resets, the one of quiesce included
    ignored: int = 0


class PolledQueue:
    """The commands of one device.  `dead` is the reason why it takes no more, empty while it does."""

    def __init__(self, sdev: ScsiDevice, plugin: str, sense: tuple[int, memoryview]) -> None:
        host, kernel = sdev.host, sdev.host.kernel
        self.sdev = sdev
        self.plugin = plugin
        self.dead = ""
        self.stats = QueueStats()
        self.flying: list[DumpIo] = []
        self._host = host
        self._clock = kernel.machine.clock
        self._lock = host.host_lock
        self._spin_lock = kernel.spin_lock
        self._spin_unlock = kernel.spin_unlock
        self._queuecommand = host.hostt.queuecommand
        self._update = kernel.diskdump_update
        self._udelay = kernel.udelay
        self._poll = kernel.poll_once
        self._done = self.scsi_done             # bound once
        self._sense_sg: ScatterList = ((sense[0], cdb.SENSE_BYTES),)
        self._sense_view = sense[1]

    def scsi_done(self, scmd: ScsiCmnd) -> None:
        """void scsi_done(struct scsi_cmnd *): the driver's word that *scmd* ended; a second word is not
        heard.
        """
        if scmd.done:
            self.stats.ignored += 1
        else:
            scmd.done = True

    def call_driver(self, call: Callable[..., T], *arguments: object) -> T:
        """Call into the driver; a Python exception from there becomes a DriverFault that names the place."""
        try:
            return call(*arguments)
        except DdsdkError:
            raise
        except Exception as error:
            raise blame(self.plugin, error) from error

    # --- one command, many commands ------------------------------------------------------------------------

    def run(self, io: DumpIo) -> int:
        """Carry out *io* to its end: 0 or -errno, and then `io.why` says why.  At most 60 s and one reset."""
        if self.dead:
            self._refuse(io)
            return io.error
        io.first_ns = self._clock.now_ns
        io.recovered = False
        if self.call_driver(self._first_try, io):
            return 0
        self.flying.append(io)
        while io.state != FINISHED:
            self._round()
            if io.state != FINISHED:
                self._update()
                self._udelay(POLL_US)
        self.flying.remove(io)
        return io.error

    def _first_try(self, io: DumpIo) -> bool:
        """The common case, kept free of all else: queued, polled for, good.  False: look closer."""
        self._queue(io)
        if io.state != QUEUED:
            return False
        clock, poll, update, udelay = self._clock, self._poll, self._update, self._udelay
        scmd = io.scmd
        deadline_ns = io.deadline_ns
        poll()
        while not scmd.done and clock.now_ns < deadline_ns:
            update()
            udelay(POLL_US)
            poll()
        if not scmd.done or scmd.result or scmd.resid:
            return False
        io.state = FINISHED
        return True

    def launch(self, io: DumpIo) -> None:
        """Queue *io*; `drive()` looks after it."""
        self.flying.append(io)
        io.first_ns = self._clock.now_ns
        io.recovered = False
        if self.dead:
            self._refuse(io)
        else:
            self.call_driver(self._queue, io)

    def drive(self) -> list[DumpIo]:
        """Poll until at least one of those in flight has ended; they are returned and no longer in flight."""
        while True:
            self._round()
            ended = [io for io in self.flying if io.state == FINISHED]
            if ended:
                self.flying = [io for io in self.flying if io.state != FINISHED]
                return ended
            self._update()
            self._udelay(POLL_US)

    def _round(self) -> None:
        """One turn of the loop, without its delay: poll, judge what ended, queue what is due, look at the
        clock.
        """
        self.call_driver(self._poll)
        now_ns = self._clock.now_ns
        for io in tuple(self.flying):           # judging may send a REQUEST SENSE, which flies too
            if io.state == QUEUED:
                if io.scmd.done:
                    self._judge(io)
                elif now_ns >= io.deadline_ns:
                    self._timed_out(io)
                    return
            elif io.state == WAITING and io.not_before_ns <= now_ns:
                self.call_driver(self._queue, io)
                self._look_at_clock(io)

    def _queue(self, io: DumpIo) -> None:
        """Hand the command to the driver, under host_lock; refused, it waits for its next try in 100 us."""
        host, scmd = self._host, io.scmd
        host.last_serial = scmd.serial_number = host.last_serial + 1
        scmd.done = False
        scmd.result = scmd.resid = 0
        scmd.clear_sense()
        self._spin_lock(self._lock)
        refused = self._queuecommand(scmd, self._done)
        self._spin_unlock(self._lock)
        now_ns = self._clock.now_ns
        if not refused:
            io.busy_since_ns = 0
            io.issued_ns = now_ns
            io.deadline_ns = min(now_ns + IO_TIMEOUT_NS, io.first_ns + SCMND_TIMEOUT_NS)
            io.state = QUEUED
            return
        scmd.done = True
        io.state = WAITING
        io.not_before_ns = now_ns + POLL_US * 1000
        io.busy_since_ns = io.busy_since_ns or now_ns

    # --- how commands end ----------------------------------------------------------------------------------

    def _refuse(self, io: DumpIo) -> None:
        self._finish(io, errno.EIO, f"the device was given up: {self.dead}")

    def _finish(self, io: DumpIo, error: int, why: str) -> None:
        io.state = FINISHED
        io.error = -error
        io.why = describe(io.scmd, why) if error else ""

    def _judge(self, io: DumpIo) -> None:
        scmd = io.scmd
        outcome = scsi_decide_disposition(scmd)
        if outcome.disposition is Disposition.NO_SENSE and scmd.cmnd[0] != cdb.REQUEST_SENSE:
            io.state = SENSING
            self._fetch_sense(scmd)
            if io.state == FINISHED:            # the device died meanwhile
                return
            outcome = scsi_decide_disposition(scmd)
        verdict, now_ns = outcome.disposition, self._clock.now_ns
        if verdict is Disposition.SUCCESS:
            self._finish(io, 0, "")
        elif verdict in (Disposition.FAILED, Disposition.NO_SENSE):
            self._finish(io, outcome.errno, outcome.why)
        elif now_ns - io.first_ns >= SCMND_TIMEOUT_NS:
            self._finish(io, outcome.errno, f"still after 60 s: {outcome.why}")
        elif verdict is Disposition.NEEDS_RETRY and scmd.retries >= scmd.allowed:
            self._finish(io, outcome.errno, f"{outcome.why}, after {scmd.retries} retries")
        else:
            self._again(io, verdict, now_ns)

    def _again(self, io: DumpIo, verdict: Disposition, now_ns: int) -> None:
        self.stats.retries += 1
        io.state = WAITING
        io.not_before_ns = now_ns
        if verdict is Disposition.NEEDS_RETRY:
            io.scmd.retries += 1
        else:
            ready = verdict is Disposition.BECOMING_READY
            io.not_before_ns += READY_PAUSE_NS if ready else BUSY_PAUSE_NS

    def _fetch_sense(self, scmd: ScsiCmnd) -> None:
        """REQUEST SENSE, for a driver without autosense; the sense buffer stays empty when that fails."""
        ask = DumpIo.on(self.sdev, RETRIES_ALLOWED)
        ask.control(cdb.request_sense(), DMA_FROM_DEVICE, self._sense_sg, cdb.SENSE_BYTES)
        self._sense_view[:cdb.SENSE_BYTES] = bytes(cdb.SENSE_BYTES)
        if self.run(ask) == 0:
            scmd.sense_buffer[:cdb.SENSE_BYTES] = self._sense_view[:cdb.SENSE_BYTES]

    # --- time ----------------------------------------------------------------------------------------------

    def _look_at_clock(self, io: DumpIo) -> None:
        """A command that the driver still refuses: there is a limit to that."""
        now_ns = self._clock.now_ns
        if io.state == WAITING and now_ns - io.busy_since_ns >= QCMND_TIMEOUT_NS:
            self._finish(io, errno.EIO, "queuecommand refused it for 5 s")
        elif io.state == WAITING and now_ns - io.first_ns >= SCMND_TIMEOUT_NS:
            self._finish(io, errno.EIO, "not done after 60 s")

    def _timed_out(self, culprit: DumpIo) -> None:
        """One host reset, and the culprit and whatever flew with it once more; or the end of this device."""
        self.stats.timeouts += 1
        why = f"no completion after {(self._clock.now_ns - culprit.issued_ns) // NS_PER_S} s"
        if culprit.recovered or self.stats.recoveries >= RECOVERIES_MAX:
            self._reset_host()                  # so that the adapter lets go of memory, whatever it says
            self._die(f"{why}, again after a host reset")
            return
        self.stats.recoveries += 1
        for io in self.flying:
            io.recovered = True
        if not self._reset_host():
            self._die(f"{why}, and the host reset failed")
            return
        self.settle()
        for io in self.flying:
            if io.state == QUEUED and not io.scmd.done:     # the reset took it along
                io.give_up()
                io.state = WAITING
                io.not_before_ns = self._clock.now_ns
                self.stats.retries += 1

    def _die(self, why: str) -> None:
        self.dead = why
        for io in self.flying:
            if io.state != FINISHED:
                io.give_up()
                self._finish(io, errno.EIO, why)

    # --- resets --------------------------------------------------------------------------------------------

    def reset(self) -> bool:
        """Reset the host through the driver: true when it says SUCCESS, or when it has no reset at all."""
        return self._reset_handler() is None or self._reset_host()

    def _reset_handler(self) -> ErrorHandler | None:
        return self._host.hostt.eh_host_reset_handler or self._host.hostt.eh_bus_reset_handler

    def _reset_host(self) -> bool:
        handler = self._reset_handler()
        if handler is None:
            return False
        self.stats.resets += 1
        self.sdev.expecting_cc_ua = True
        self._spin_lock(self._lock)
        result = self.call_driver(handler, ScsiCmnd(self.sdev))
        self._spin_unlock(self._lock)
        return result == SUCCESS

    def settle(self) -> None:
        """5000 times {diskdump_update, 1 ms}: disks find their feet after a reset."""
        for _ in range(SETTLE_MS):
            self._update()
            self._udelay(1000)


def blame(plugin: str, error: Exception) -> DriverFault:
    """A Python exception out of a driver, as the fault it is: in C this would be an oops inside the dump."""
    where, text = "an unknown place", " ".join(str(error).split()) or "no text"
    for frame in traceback.extract_tb(error.__traceback__)[-1:]:
        where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}"
    return DriverFault(f"{plugin}: {type(error).__name__}: {text} at {where}; a driver must not raise while"
                       " dumping")
