"""Commands carried out by polling: queued, polled for, judged, retried, given up on, all within fixed bounds.

Source: RHEL 4 `drivers/scsi/scsi_dump.c` by formats.md 1.15.  The loop is {dump_poll, diskdump_update, 100 us}.
Deliberate differences: from 100 ms without news on it is 1 ms (helperlib/delay.py); a command that times out gets one
reset and one more try before the device is declared dead (RHEL 4 gave up at once), at most three such resets a dump;
several commands may be in flight; BUSY and "becoming ready" are retried after a pause and not counted among the five
retries, only against the 60 s.  RHEL 4's IDE dump module waited without a bound and reset nothing (hw-ide.md 8); an IDE
device is carried by this same loop.
"""

from __future__ import annotations

import errno
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from attrs import define

from ddsdk.errors import DdsdkError, DriverFault
from ddsdk.helperlib.delay import PATIENT_AFTER_NS, POLL_INTERVAL_US, poll_interval_us

from .dump_io import FINISHED, QUEUED, WAITING, DumpIo
from .outcome import Disposition, Outcome

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Kernel
    from ddsdk.sim.locks import SpinLock

T = TypeVar("T")
Io = TypeVar("Io", bound=DumpIo[Any])

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000

QCMND_TIMEOUT_NS: Final = 5 * NS_PER_S      # the driver refuses
IO_TIMEOUT_NS: Final = 30 * NS_PER_S        # one try
SCMND_TIMEOUT_NS: Final = 60 * NS_PER_S     # a command with all its tries
RETRIES_ALLOWED: Final = 5
BUSY_PAUSE_NS: Final = 10 * NS_PER_MS
READY_PAUSE_NS: Final = 100 * NS_PER_MS
SETTLE_MS: Final = 5000
#: Resets after timeouts in one dump: a device that needs more is not worth waiting for.
RECOVERIES_MAX: Final = 3


@define
class QueueStats:
    """What happened.  `ignored`: completions of commands that were over or given up."""

    retries: int = 0
    timeouts: int = 0
    recoveries: int = 0         # answered with a reset and another try
    resets: int = 0             # resets, the one of quiesce included
    ignored: int = 0


class PolledQueue(ABC, Generic[Io]):
    """The commands of one device.  `dead` is the reason why it takes no more, empty while it does.

    A mid-layer says how a command is handed over, judged, described, and how the hardware is reset.
    """

    #: The driver's entry and its reset, as messages call them.
    SUBMIT: ClassVar[str]
    RESET: ClassVar[str]

    def __init__(self, kernel: Kernel, lock: SpinLock, plugin: str) -> None:
        self.plugin = plugin
        self.dead = ""
        self.stats = QueueStats()
        self.flying: list[Io] = []
        self._clock = kernel.machine.clock
        self._lock = lock
        self._spin_lock = kernel.spin_lock
        self._spin_unlock = kernel.spin_unlock
        self._update = kernel.diskdump_update
        self._udelay = kernel.udelay
        self._settle = kernel.diskdump_pause
        self._poll = kernel.poll_once
        self._news_ns = 0                   # when a command was handed over or ended last

    # --- what a mid-layer says -----------------------------------------------------------------------------

    @abstractmethod
    def _submit(self, io: Io) -> bool:
        """Hand the command to the driver, under its lock; whether it was refused."""

    @abstractmethod
    def _good(self, io: Io) -> bool:
        """A quick look at a command that is done: nothing about it needs a closer one."""

    @abstractmethod
    def _decide(self, io: Io) -> Outcome:
        """What becomes of a command that is done.  May run another one; `io` may be FINISHED afterwards."""

    @abstractmethod
    def _describe(self, io: Io, why: str) -> str:
        """`WRITE(10) to hba0:0:3:0: why`."""

    @abstractmethod
    def _has_reset(self) -> bool:
        """Whether the driver can reset anything."""

    @abstractmethod
    def _call_reset(self) -> bool:
        """Let the driver reset its hardware, under its lock: true when it says that it worked."""

    def _restore(self) -> str:
        """After a reset and its settling: settings that the reset took away.  Why it cannot be, else ""."""
        return ""

    def _fall_back(self, io: Io) -> bool:
        """A slower way for a command that ran out of retries; false when there is none."""
        return False

    def _stuck(self, io: Io) -> bool:
        """Whether the hardware needs a reset before it can take the slower way."""
        return False

    # --- calling the driver --------------------------------------------------------------------------------

    def ended(self, command: Any) -> None:
        """The driver's word that *command* ended; a second word is not heard."""
        if command.done:
            self.stats.ignored += 1
        else:
            command.done = True

    def call_driver(self, call: Callable[..., T], *arguments: object) -> T:
        """Call into the driver; a Python exception from there becomes a DriverFault that names the place."""
        try:
            return call(*arguments)
        except DdsdkError:
            raise
        except Exception as error:
            raise blame(self.plugin, error) from error

    # --- one command, many commands ------------------------------------------------------------------------

    def run(self, io: Io) -> int:
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
            self._round(tuple(self.flying))
            if io.state != FINISHED:
                self._pause()
        self.flying.remove(io)
        return io.error

    def run_alone(self, io: Io) -> int:
        """The same while others wait for what it brings: they stand still, and no reset is spent on it."""
        io.first_ns = self._clock.now_ns
        io.recovered = True
        self.flying.append(io)
        self.call_driver(self._queue, io)
        while io.state != FINISHED:
            self._round((io,))
            if io.state != FINISHED:
                self._pause()
        self.flying.remove(io)
        return io.error

    def _first_try(self, io: Io) -> bool:
        """The common case, kept free of all else: queued, polled for, good.  False: look closer."""
        self._queue(io)
        if io.state != QUEUED:
            return False
        clock, poll, update, udelay = self._clock, self._poll, self._update, self._udelay
        command = io.command
        deadline_ns, patient_ns = io.deadline_ns, io.issued_ns + PATIENT_AFTER_NS
        poll()
        while not command.done and (now_ns := clock.now_ns) < deadline_ns:
            update()
            udelay(POLL_INTERVAL_US if now_ns < patient_ns else poll_interval_us(now_ns - io.issued_ns))
            poll()
        if not command.done or not self._good(io):
            return False
        io.state = FINISHED
        return True

    def launch(self, io: Io) -> None:
        """Queue *io*; `drive()` looks after it."""
        self.flying.append(io)
        io.first_ns = self._clock.now_ns
        io.recovered = False
        if self.dead:
            self._refuse(io)
        else:
            self.call_driver(self._queue, io)

    def drive(self) -> list[Io]:
        """Poll until at least one of those in flight has ended; they are returned and no longer in flight."""
        while True:
            self._round(tuple(self.flying))     # judging may send another command, which flies too
            ended = [io for io in self.flying if io.state == FINISHED]
            if ended:
                self.flying = [io for io in self.flying if io.state != FINISHED]
                return ended
            self._pause()

    def _pause(self) -> None:
        """From one turn of the loop to the next."""
        self._update()
        self._udelay(poll_interval_us(self._clock.now_ns - self._news_ns))

    def _round(self, ios: tuple[Io, ...]) -> None:
        """One turn of the loop, without its delay: poll, judge what ended, queue what is due, look at the clock."""
        self.call_driver(self._poll)
        now_ns = self._clock.now_ns
        for io in ios:
            if io.state == QUEUED:
                if io.command.done:
                    self._news_ns = now_ns
                    self._judge(io)
                elif now_ns >= io.deadline_ns:
                    self._timed_out(io)
                    return
            elif io.state == WAITING and io.not_before_ns <= now_ns:
                self.call_driver(self._queue, io)
                self._look_at_clock(io)

    def _queue(self, io: Io) -> None:
        """Hand the command to the driver; refused, it waits for its next try in 100 us."""
        refused = self._submit(io)
        now_ns = self._news_ns = self._clock.now_ns
        if not refused:
            io.busy_since_ns = 0
            io.issued_ns = now_ns
            io.deadline_ns = min(now_ns + (io.timeout_ns or IO_TIMEOUT_NS), io.first_ns + SCMND_TIMEOUT_NS)
            io.state = QUEUED
            return
        io.command.done = True
        io.state = WAITING
        io.not_before_ns = now_ns + POLL_INTERVAL_US * 1000
        io.busy_since_ns = io.busy_since_ns or now_ns

    # --- how commands end ----------------------------------------------------------------------------------

    def _refuse(self, io: Io) -> None:
        self._finish(io, errno.EIO, f"the device was given up: {self.dead}")

    def _finish(self, io: Io, error: int, why: str) -> None:
        io.state = FINISHED
        io.error = -error
        io.why = self._describe(io, why) if error else ""

    def _judge(self, io: Io) -> None:
        outcome = self._decide(io)
        if io.state == FINISHED:                # the device died meanwhile
            return
        command, verdict, now_ns = io.command, outcome.disposition, self._clock.now_ns
        if verdict is Disposition.SUCCESS:
            self._finish(io, 0, "")
        elif verdict in (Disposition.FAILED, Disposition.NO_SENSE):
            self._finish(io, outcome.errno, outcome.why)
        elif now_ns - io.first_ns >= SCMND_TIMEOUT_NS:
            self._finish(io, outcome.errno, f"still after 60 s: {outcome.why}")
        elif verdict is Disposition.NEEDS_RESET:
            self._recover(io, outcome.why)
        elif verdict is Disposition.NEEDS_PIO or (verdict is Disposition.NEEDS_RETRY
                                                  and command.retries >= command.allowed):
            if not self._fall_back(io):
                self._finish(io, outcome.errno, f"{outcome.why}, after {command.retries} retries")
            elif self._stuck(io):
                self._recover(io, outcome.why)
            else:
                self._again(io, Disposition.NEEDS_RETRY, now_ns)
        else:
            self._again(io, verdict, now_ns)

    def _again(self, io: Io, verdict: Disposition, now_ns: int) -> None:
        self.stats.retries += 1
        io.state = WAITING
        io.not_before_ns = now_ns
        if verdict is Disposition.NEEDS_RETRY:
            io.command.retries += 1
        else:
            ready = verdict is Disposition.BECOMING_READY
            io.not_before_ns += READY_PAUSE_NS if ready else BUSY_PAUSE_NS

    # --- time ----------------------------------------------------------------------------------------------

    def _look_at_clock(self, io: Io) -> None:
        """A command that the driver still refuses: there is a limit to that."""
        now_ns = self._clock.now_ns
        if io.state == WAITING and now_ns - io.busy_since_ns >= QCMND_TIMEOUT_NS:
            self._finish(io, errno.EIO, f"{self.SUBMIT} refused it for 5 s")
        elif io.state == WAITING and now_ns - io.first_ns >= SCMND_TIMEOUT_NS:
            self._finish(io, errno.EIO, "not done after 60 s")

    def _timed_out(self, culprit: Io) -> None:
        self.stats.timeouts += 1
        self._recover(culprit, f"no completion after {(self._clock.now_ns - culprit.issued_ns) // NS_PER_S} s")

    def _recover(self, culprit: Io, why: str) -> None:
        """One reset, and the culprit and whatever flew with it once more; or the end of this device."""
        if culprit.recovered or self.stats.recoveries >= RECOVERIES_MAX:
            self._reset()                       # so that the adapter lets go of memory, whatever it says
            self._die(f"{why}, again after a {self.RESET}")
            return
        self.stats.recoveries += 1
        for io in self.flying:
            io.recovered = True
        if not self._reset():
            self._die(f"{why}, and the {self.RESET} failed")
            return
        self.settle()
        now_ns = self._clock.now_ns
        for io in self.flying:
            if io is not culprit and (io.state != QUEUED or io.command.done):
                continue
            io.give_up()                        # the reset took it along
            if now_ns - io.first_ns >= SCMND_TIMEOUT_NS:
                self._finish(io, errno.EIO, why)
                continue
            io.state = WAITING
            io.not_before_ns = now_ns
            self.stats.retries += 1
        gone = self._restore()
        if gone and not self.dead:
            self._die(f"{why}, and after the {self.RESET}: {gone}")

    def _die(self, why: str) -> None:
        self.dead = why
        for io in self.flying:
            if io.state != FINISHED:
                io.give_up()
                self._finish(io, errno.EIO, why)

    # --- resets --------------------------------------------------------------------------------------------

    def reset(self) -> bool:
        """Reset through the driver: true when it says that it worked, or when it has no reset at all."""
        return not self._has_reset() or self._reset()

    def _reset(self) -> bool:
        if not self._has_reset():
            return False
        self.stats.resets += 1
        self._spin_lock(self._lock)
        worked = self._call_reset()
        self._spin_unlock(self._lock)
        return worked

    def settle(self) -> None:
        """5000 times {diskdump_update, 1 ms}: disks find their feet after a reset."""
        self._settle(SETTLE_MS)


def blame(plugin: str, error: BaseException) -> DriverFault:
    """A Python exception out of a driver, as the fault it is: in C this would be an oops inside the dump."""
    where, text = "an unknown place", " ".join(str(error).split()) or "no text"
    for frame in traceback.extract_tb(error.__traceback__)[-1:]:
        where = f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}"
    return DriverFault(f"{plugin}: {type(error).__name__}: {text} at {where}; a driver must not raise while"
                       " dumping")
