"""Waiting: busy (udelay, mdelay, diskdump_mdelay) and asleep (msleep, schedule_timeout).

C: include/linux/delay.h, include/linux/sched.h, include/linux/diskdump.h.
Crash mode: a sleep is a loop {driver poll, diskdump_update(), 100 us} until its end, as RHEL 3's
schedule_timeout; RHEL 4 busy-waits there, which never ends a wait for what an interrupt would have brought.
Dump formats 1.14; white paper 4.3 items 4, 5.  A deliberate difference: whoever has waited for 100 ms looks every
millisecond from then on, and every 10 ms after a second; what took so long may take 1 % more, and the register is read
a tenth and a hundredth as often.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import frozen

from ddsdk.errors import MdelayFault, SleepFault

from .guard import Guard
from .timer import Jiffies

if TYPE_CHECKING:
    from ddsdk.sim.cpu import Task
    from ddsdk.sim.machine import Machine

NSEC_PER_USEC = 1000
NSEC_PER_MSEC = 1_000_000
#: One turn of a crash-mode wait, as of the dump loop itself (RHEL 3 diskdumplib, RHEL 4 scsi_dump).
POLL_INTERVAL_US = 100
#: What a context switch takes.
_SWITCH_NS = 1000
#: How often a wait looks that has gone on for so long.
PATIENT_INTERVAL_US, PATIENT_AFTER_NS = 1000, 100 * NSEC_PER_MSEC
STOICAL_INTERVAL_US, STOICAL_AFTER_NS = 10_000, 1000 * NSEC_PER_MSEC


def poll_interval_us(waited_ns: int) -> int:
    """Microseconds to the next look of a polling loop that has waited *waited_ns* for something to happen."""
    if waited_ns < PATIENT_AFTER_NS:
        return POLL_INTERVAL_US
    return PATIENT_INTERVAL_US if waited_ns < STOICAL_AFTER_NS else STOICAL_INTERVAL_US


@frozen(eq=False)
class PollBoth:
    """The polls of two devices at work at once: one that is dumped to, and one that is read meanwhile."""

    first: Callable[[], object]
    second: Callable[[], object]

    def __call__(self) -> None:
        """Both, in turn."""
        self.first()
        self.second()


class Delays:
    """Everything that lets time pass.

    `update` is diskdump_update; `poll` the bound device's dump_poll while it is being dumped to, else None.
    """

    def __init__(self, guard: Guard, jiffies: Jiffies, update: Callable[[], None]) -> None:
        self._guard = guard
        self._machine: Machine = guard.machine
        self._clock = guard.machine.clock
        self._pass_time = guard.machine.pass_time
        self._touch = guard.machine.watchdog.touch
        self._jiffies = jiffies
        self._update = update
        self._polling = False
        self.poll: Callable[[], object] | None = None
        self.max_timeout = jiffies.word_mask >> 1        # MAX_SCHEDULE_TIMEOUT = LONG_MAX

    # -- busy -------------------------------------------------------------------------------------

    def udelay(self, us: int) -> None:
        """void udelay(unsigned long): busy-wait *us* microseconds, any context, both modes."""
        self._pass_time(us * NSEC_PER_USEC)

    def mdelay(self, ms: int) -> None:
        """void mdelay(unsigned long): busy-wait *ms* milliseconds.

        Crash mode: MdelayFault; it warns in_irq() and starves the NMI watchdog (white paper 4.3 item 4).
        """
        if self._machine.crashdump_mode:
            raise MdelayFault(f"mdelay: mdelay({ms}) in crashdump_mode warns in_irq() and starves the NMI"
                              " watchdog; use diskdump_mdelay()")
        self._pass_time(ms * NSEC_PER_MSEC)

    def diskdump_mdelay(self, ms: int) -> None:
        """void diskdump_mdelay(unsigned long): *ms* times {1000 us busy-wait, touch the NMI watchdog}.

        Both modes, any context.  Jiffies stand still and no timer runs meanwhile (RHEL 4).
        """
        clock = self._clock
        while ms > 0:
            if self._machine.crashdump_mode:            # in one step where no adapter has anything to say
                quiet_ms = min(ms - 1, (clock.horizon_ns - 1 - clock.now_ns) // NSEC_PER_MSEC)
                if quiet_ms > 0:
                    clock.now_ns += quiet_ms * NSEC_PER_MSEC
                    self._touch()
                    ms -= quiet_ms
            self._pass_time(NSEC_PER_MSEC)
            self._touch()
            ms -= 1

    def touch_nmi_watchdog(self) -> None:
        """void touch_nmi_watchdog(void): the watchdog's five seconds begin again."""
        self._touch()

    # -- asleep -----------------------------------------------------------------------------------

    def msleep(self, ms: int) -> None:
        """void msleep(unsigned int): sleep *ms* milliseconds; SleepFault in atomic context.

        Crash mode: polls and updates every 100 us (divergence: RHEL 4 only busy-waits).
        """
        self._guard.may_sleep("msleep")
        self.wait(self._clock.now_ns + ms * NSEC_PER_MSEC, None, [])

    def diskdump_msleep(self, ms: int) -> None:
        """void diskdump_msleep(unsigned int): diskdump_mdelay in crash mode, msleep otherwise (RHEL 4)."""
        if self._machine.crashdump_mode:
            self.diskdump_mdelay(ms)
        else:
            self.msleep(ms)

    def schedule_timeout(self, timeout: int) -> int:
        """signed long schedule_timeout(signed long): sleep *timeout* jiffies; returns those left.

        SleepFault: atomic context, a negative timeout, MAX_SCHEDULE_TIMEOUT in crash mode.
        """
        return self.sleep("schedule_timeout", timeout, None, [])

    def schedule(self) -> None:
        """void schedule(void): let others run.  Crash mode: ForbiddenCallError (white paper 4.3 item 5)."""
        self._guard.forbid("schedule", "nobody else runs, nothing wakes the caller; use schedule_timeout()")
        self._guard.may_sleep("schedule")
        self._machine.sleep(_SWITCH_NS)

    def sleep(self, call: str, timeout: int, woken: Callable[[], bool] | None, sleepers: list[Task]) -> int:
        """Sleep *timeout* jiffies or until *woken* says so; returns the jiffies left (0: timed out)."""
        self._guard.may_sleep(call)
        if timeout < 0:
            raise SleepFault(f"{call}: timeout {timeout} is negative; give it in jiffies, 0 or more")
        if timeout >= self.max_timeout:
            self.sleep_unbounded(call, woken, sleepers)
            return timeout
        tick_ns = self._jiffies.tick_ns
        end_ns = self._clock.now_ns + timeout * tick_ns
        if not self.wait(end_ns, woken, sleepers):
            return 0
        return max(0, end_ns - self._clock.now_ns) // tick_ns

    def sleep_unbounded(self, call: str, woken: Callable[[], bool] | None, sleepers: list[Task]) -> None:
        """Sleep until *woken* says so.  Crash mode: SleepFault, the event may never come."""
        if self._machine.crashdump_mode:
            raise SleepFault(f"{call}: waits without a bound in crashdump_mode for what may never come;"
                             " use the _timeout form and give it jiffies")
        self._guard.may_sleep(call)
        self.wait(None, woken, sleepers)

    def wait(self, end_ns: int | None, woken: Callable[[], bool] | None, sleepers: list[Task]) -> bool:
        """Let time pass until *end_ns* or until *woken* is true; returns whether it was woken.

        Normal mode: the caller's task is in *sleepers* meanwhile, for whoever wakes it.
        """
        if self._machine.crashdump_mode:
            assert end_ns is not None
            return self._wait_polling(end_ns, woken)
        machine, clock = self._machine, self._clock
        task = machine.current_task
        sleepers.append(task)
        try:
            while woken is None or not woken():
                left_ns = None if end_ns is None else end_ns - clock.now_ns
                if left_ns is not None and left_ns <= 0:
                    return False
                machine.sleep(left_ns)
            return True
        finally:
            sleepers.remove(task)

    def wake(self, sleepers: list[Task]) -> None:
        """Wake everyone in *sleepers*; they look again at what they wait for."""
        for task in sleepers:
            self._machine.wake(task)

    def _wait_polling(self, end_ns: int, woken: Callable[[], bool] | None) -> bool:
        clock = self._clock
        began_ns = clock.now_ns
        while True:
            self.poll_once()
            self._update()
            if woken is not None and woken():
                return True
            now_ns = clock.now_ns
            if now_ns >= end_ns:
                return False
            self._pass_time(min(poll_interval_us(now_ns - began_ns) * NSEC_PER_USEC, end_ns - now_ns))

    def let_run(self, done: Callable[[], bool]) -> None:
        """Let timers, tasklets and work run once more, if *done* does not hold yet."""
        if not done():
            if self._machine.crashdump_mode:
                self._update()
            else:
                self._machine.sleep(self._jiffies.tick_ns)

    def poll_once(self) -> None:
        """Run the driver's poll, never from within itself: an interrupt handler is not re-entered."""
        if self.poll is None or self._polling:
            return
        self._polling = True
        try:
            self.poll()
        finally:
            self._polling = False
