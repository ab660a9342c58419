"""Jiffies and kernel timers: add_timer, mod_timer, del_timer, in both modes.

C: include/linux/jiffies.h, include/linux/timer.h, kernel/timer.c.  What crash mode makes of them:
RHEL 4 (2.6.9-89.29.1.EL) kernel/dump.c, kernel/timer.c; dump formats 1.14.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

from ddsdk.errors import DeadlockFault, TimerFault

from .guard import Guard, name_of

if TYPE_CHECKING:
    from ddsdk.sim.cpu import Cpu
    from ddsdk.sim.machine import Machine

NSEC_PER_SEC = 1_000_000_000
#: C: INITIAL_JIFFIES = (unsigned long)(unsigned int)(-300*HZ): the low 32 bits wrap five minutes after boot.
INITIAL_JIFFIES_SECONDS = 300

_NOT_ARMED = 0
_WAIT_STEP_NS = 1000


class Jiffies:
    """The tick counter.  `ticks` counts from boot and never wraps; `jiffies` is what C code sees.

    Normal mode: follows the clock while at least one CPU can take the tick interrupt.
    Crash mode: stands still except in `advance()`, which only diskdump_update() calls.
    `next_tick_ns` is when the tick after the last counted one is due.
    """

    __slots__ = ("_clock", "_machine", "_stall", "hz", "initial", "next_tick_ns", "tick_ns", "ticks",
                 "word_mask")

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._clock = machine.clock
        self._stall = machine.stall.tick
        self.hz = machine.hz
        self.tick_ns = NSEC_PER_SEC // machine.hz
        self.word_mask = (1 << (8 * machine.abi.word_bytes)) - 1
        self.initial = ((1 << 32) - INITIAL_JIFFIES_SECONDS * machine.hz) & self.word_mask
        self.ticks = machine.clock.now_ns // self.tick_ns
        self.next_tick_ns = (self.ticks + 1) * self.tick_ns

    def advance(self, until_ns: int) -> None:
        """Count the whole ticks up to *until_ns*."""
        late_ns = until_ns - self.next_tick_ns
        if late_ns >= 0:
            elapsed = late_ns // self.tick_ns + 1
            self.next_tick_ns += elapsed * self.tick_ns
            self.ticks += elapsed

    def sync(self) -> None:
        """Normal mode: count the ticks some CPU took: up to when the last one turned interrupts off."""
        until_ns = 0
        for cpu in self._machine.cpus:
            if cpu.irq_enabled:
                until_ns = self._clock.now_ns
                break
            until_ns = max(until_ns, cpu.irqs_off_since_ns)
        self.advance(until_ns)

    def at_crash(self) -> None:
        """Ticks are counted from the crash on; the first is due a whole tick after it (RHEL 4)."""
        self.advance(self._clock.now_ns)
        self.next_tick_ns = self._clock.now_ns + self.tick_ns

    def ns_of(self, ticks: int) -> int:
        """When tick number *ticks* is due, in clock nanoseconds."""
        return self.next_tick_ns + (ticks - self.ticks - 1) * self.tick_ns

    def read(self) -> int:
        """`jiffies`, an unsigned long of the machine's ABI.

        SimulationStuckError when a loop reads it over and over without letting time pass.
        """
        self._stall("jiffies")
        if not self._machine.crashdump_mode:
            self.sync()
        return (self.initial + self.ticks) & self.word_mask

    def ticks_of(self, jiffies: int) -> int:
        """The unwrapped tick a jiffies value means: at most half a word before or after now."""
        delta = (jiffies - self.initial - self.ticks) & self.word_mask
        if delta > self.word_mask >> 1:
            delta -= self.word_mask + 1
        return self.ticks + delta

    def after(self, a: int, b: int) -> bool:
        """time_after(a, b): whether time *a* is later than *b*, wrap-around respected."""
        return 0 < ((a - b) & self.word_mask) <= self.word_mask >> 1

    def before(self, a: int, b: int) -> bool:
        """time_before(a, b): whether time *a* is earlier than *b*, wrap-around respected."""
        return self.after(b, a)

    def from_msecs(self, ms: int) -> int:
        """msecs_to_jiffies: *ms* milliseconds in ticks, rounded up."""
        return (ms * self.hz + 999) // 1000

    def to_msecs(self, jiffies: int) -> int:
        """jiffies_to_msecs: *jiffies* ticks in milliseconds, rounded down."""
        return jiffies * 1000 // self.hz


class TimerList:
    """struct timer_list: `expires` in jiffies, `function(data)` runs in interrupt context.

    Made by `kernel.setup_timer(function, data)`; one made by hand needs `kernel.init_timer(timer)`.
    """

    __slots__ = ("_base", "_seq", "data", "expires", "function")

    def __init__(self, function: Callable[[Any], object] | None = None, data: Any = None) -> None:
        self.function = function
        self.data = data
        self.expires = 0
        self._base: Timers | None = None
        self._seq = _NOT_ARMED

    def __repr__(self) -> str:
        return f"<timer {name_of(self.function)} expires {self.expires}>"


class Timers:
    """The one timer base.  Crash mode empties it: what was armed is set aside and never fires.

    Each arming has a number.  Numbers up to `_floor` are from before the crash: such a timer still looks
    pending, as in RHEL 4, but is in no list, whichever line of this file the crash hit.
    """

    def __init__(self, guard: Guard, jiffies: Jiffies) -> None:
        self._guard = guard
        self._jiffies = jiffies
        self._heap: list[tuple[int, int, TimerList]] = []
        self._seq = _NOT_ARMED
        self._floor = _NOT_ARMED
        self.armed = 0
        self.running: TimerList | None = None
        self._running_on: Cpu | None = None
        #: told the tick at which the earliest timer is due whenever that may have become earlier
        self.on_arm: Callable[[int], None] | None = None

    # -- calls ------------------------------------------------------------------------------------

    def init_timer(self, timer: TimerList) -> None:
        """void init_timer(struct timer_list *): make *timer* usable; TimerFault if it is armed."""
        if timer._base is self and timer._seq > self._floor:
            raise TimerFault(f"init_timer: {timer} is pending; del_timer() it first")
        timer._base = self
        timer._seq = _NOT_ARMED

    def setup_timer(self, function: Callable[[Any], object], data: Any = None) -> TimerList:
        """A TimerList with function and data set, initialised, not armed.

        C: void setup_timer(struct timer_list *, void (*)(unsigned long), unsigned long)
        """
        timer = TimerList(function, data)
        timer._base = self
        return timer

    def add_timer(self, timer: TimerList) -> None:
        """void add_timer(struct timer_list *): arm *timer* for `timer.expires` (jiffies).

        TimerFault: already pending, no function, never initialised.  A timer that was pending at the
        crash may be added again.  One due already fires at the next tick.
        """
        if timer._seq > self._floor:
            raise TimerFault(f"add_timer: {timer} is already pending; use mod_timer()")
        self._arm("add_timer", timer, timer.expires)

    def mod_timer(self, timer: TimerList, expires: int) -> int:
        """int mod_timer(struct timer_list *, unsigned long): (re-)arm for *expires*; 1 if it was pending."""
        was_pending = self.del_timer(timer)
        self._arm("mod_timer", timer, expires)
        return was_pending

    def del_timer(self, timer: TimerList) -> int:
        """int del_timer(struct timer_list *): disarm; 1 if it was pending, else 0.

        A timer set aside at the crash counts as pending once: it was armed and did not fire (RHEL 4).
        """
        self._check("del_timer", timer)
        if timer._seq == _NOT_ARMED:
            return 0
        if timer._seq > self._floor:
            self.armed -= 1
            self._prune()
        timer._seq = _NOT_ARMED
        return 1

    def del_timer_sync(self, timer: TimerList) -> int:
        """int del_timer_sync(struct timer_list *): del_timer, and its function is not running on return.

        DeadlockFault from the timer's own function.  A function the crash stopped half way counts as over.
        """
        machine = self._guard.machine
        if self.running is timer and self._running_on is machine.current_cpu:
            raise DeadlockFault(f"del_timer_sync: {timer} called from its own function waits for itself;"
                                " use del_timer()")
        was_pending = self.del_timer(timer)
        while self.running is timer:
            machine.pass_time(_WAIT_STEP_NS)
            was_pending |= self.del_timer(timer)
        return was_pending

    def timer_pending(self, timer: TimerList) -> bool:
        """int timer_pending(const struct timer_list *): armed and not fired (set aside included, RHEL 4)."""
        return timer._seq != _NOT_ARMED

    # -- running ----------------------------------------------------------------------------------

    @property
    def next_due(self) -> int | None:
        """The tick of the earliest armed timer, None without one."""
        heap = self._heap
        while heap and heap[0][2]._seq != heap[0][1]:
            heappop(heap)
        return heap[0][0] if heap else None

    def run_due(self) -> None:
        """Run every timer due by the present tick, earliest first, equal ones in arming order.

        One call is bounded: a function that re-arms its timer for now or earlier runs again at the next tick.
        """
        if self.running is not None:
            return
        ticks = self._jiffies.ticks
        heap = self._heap
        while heap and heap[0][0] <= ticks:
            _, seq, timer = heappop(heap)
            if timer._seq != seq:
                continue
            timer._seq = _NOT_ARMED
            self.armed -= 1
            function = timer.function
            if function is not None:
                self._run(timer, function)

    def _run(self, timer: TimerList, function: Callable[[Any], object]) -> None:
        self._guard.trace("timer", function)
        self.running, self._running_on = timer, self._guard.machine.current_cpu
        try:
            self._guard.run_softirq(function, timer.data)
        finally:
            self.running = None

    def set_aside(self) -> list[TimerList]:
        """Empty the base at the crash; returns what was armed, in expiry order."""
        aside = [timer for _, seq, timer in sorted(self._heap, key=lambda e: e[:2]) if timer._seq == seq]
        self._floor = self._seq
        self._heap = []
        self.armed = 0
        self.running = None
        self.on_arm = None
        return aside

    # -- inside -----------------------------------------------------------------------------------

    def _check(self, call: str, timer: TimerList) -> None:
        if timer._base is not self:
            raise TimerFault(f"{call}: {timer} was never initialised; make it with setup_timer()")

    def _arm(self, call: str, timer: TimerList, expires: int) -> None:
        self._check(call, timer)
        if timer.function is None:
            raise TimerFault(f"{call}: the timer has no function; set timer.function before arming it")
        jiffies = self._jiffies
        if not self._guard.machine.crashdump_mode:
            jiffies.sync()
        timer.expires = expires & jiffies.word_mask         # jiffies + HZ may be past the wrap, as in C
        due = max(jiffies.ticks_of(timer.expires), jiffies.ticks + 1)
        self._seq += 1
        heappush(self._heap, (due, self._seq, timer))
        timer._seq = self._seq
        self.armed += 1
        if self.on_arm is not None:
            self.on_arm(due)

    def _prune(self) -> None:
        """Drop disarmed entries once they outnumber the armed ones, so that a heap cannot grow for ever."""
        if len(self._heap) > 64 and len(self._heap) > 2 * self.armed:
            self._heap[:] = [entry for entry in self._heap if entry[2]._seq == entry[1]]
            heapify(self._heap)
