"""Jiffies and kernel timers: add_timer, mod_timer, del_timer, in both modes.

C: include/linux/jiffies.h, include/linux/timer.h, kernel/timer.c.  What crash mode makes of them:
RHEL 4 (2.6.9-89.29.1.EL) kernel/dump.c, kernel/timer.c; dump formats 1.14.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Any

from ..errors import DeadlockFault, SimulationStuckError, TimerFault
from .guard import Guard

if TYPE_CHECKING:
    from ..sim.machine import Machine

NSEC_PER_SEC = 1_000_000_000
#: C: INITIAL_JIFFIES = (unsigned long)(unsigned int)(-300*HZ): the low 32 bits wrap five minutes after boot.
INITIAL_JIFFIES_SECONDS = 300
#: Reads of jiffies at one instant after which a loop is taken to wait for a time that cannot come.
STUCK_READS = 100_000

_NOT_ARMED = 0
_SET_ASIDE = -1


class Jiffies:
    """The tick counter.  `ticks` counts from boot and never wraps; `jiffies` is what C code sees.

    Normal mode: follows the clock while at least one CPU can take the tick interrupt.
    Crash mode: stands still except in `advance()`, which only diskdump_update() calls.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._clock = machine.clock
        self.hz = machine.hz
        self.tick_ns = NSEC_PER_SEC // machine.hz
        self.word_mask = (1 << (8 * machine.abi.word_bytes)) - 1
        self.initial = ((1 << 32) - INITIAL_JIFFIES_SECONDS * machine.hz) & self.word_mask
        self.ticks = machine.clock.now_ns // self.tick_ns
        self._stamp_ns = self.ticks * self.tick_ns
        self._read_at_ns = -1
        self._reads = 0

    def advance(self) -> int:
        """Let `ticks` catch up with the clock, whole ticks only; returns the new `ticks`."""
        elapsed = (self._clock.now_ns - self._stamp_ns) // self.tick_ns
        if elapsed > 0:
            self._stamp_ns += elapsed * self.tick_ns
            self.ticks += elapsed
        return self.ticks

    def sync(self) -> None:
        """Normal mode: advance if some CPU takes ticks now.  Called before interrupts go off, too."""
        for cpu in self._machine.cpus:
            if cpu.irq_enabled:
                self.advance()
                return

    def at_crash(self) -> None:
        """From here ticks are counted from the crash: those lost with interrupts off stay lost (RHEL 4)."""
        self._stamp_ns = self._clock.now_ns

    def read(self) -> int:
        """`jiffies`, an unsigned long of the machine's ABI.

        SimulationStuckError when one instant reads it 100000 times: the loop lets no time pass.
        """
        now_ns = self._clock.now_ns
        if now_ns != self._read_at_ns:
            self._read_at_ns = now_ns
            self._reads = 0
        self._reads += 1
        if self._reads > STUCK_READS:
            raise SimulationStuckError(
                f"jiffies: read {STUCK_READS} times at {now_ns} ns; time passes only in a delay"
                f"{' and jiffies move only in diskdump_update()' if self._machine.crashdump_mode else ''};"
                " put udelay() into the loop")
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
        return f"<timer {getattr(self.function, '__qualname__', self.function)} expires {self.expires}>"


class Timers:
    """The one timer base.  Crash mode empties it: what was armed is set aside and never fires."""

    def __init__(self, guard: Guard, jiffies: Jiffies) -> None:
        self._guard = guard
        self._jiffies = jiffies
        self._heap: list[tuple[int, int, TimerList]] = []
        self._seq = _NOT_ARMED
        self._next_tick = jiffies.ticks + 1      # C: base->timer_jiffies, the next tick to be processed
        self._armed = 0
        self.running: TimerList | None = None
        #: told the tick at which the earliest timer is due whenever that may have become earlier
        self.on_arm: Callable[[int], None] | None = None

    # -- calls ------------------------------------------------------------------------------------

    def init_timer(self, timer: TimerList) -> None:
        """void init_timer(struct timer_list *): make *timer* usable; TimerFault if it is armed."""
        if timer._seq > _NOT_ARMED:
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
        if timer._seq > _NOT_ARMED:
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
        if timer._seq > _NOT_ARMED:
            self._armed -= 1
            self._prune()
        timer._seq = _NOT_ARMED
        return 1

    def del_timer_sync(self, timer: TimerList) -> int:
        """int del_timer_sync(struct timer_list *): del_timer, and its function is not running on return.

        DeadlockFault from the timer's own function.  A function the crash stopped half way counts as over.
        """
        if self.running is timer:
            raise DeadlockFault(f"del_timer_sync: {timer} called from its own function waits for itself;"
                                " use del_timer()")
        return self.del_timer(timer)

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

        A function that re-arms for now or earlier runs at the next tick, as in the kernel: one call is bounded.
        """
        ticks = self._jiffies.ticks
        if ticks < self._next_tick or self.running is not None:
            return
        self._next_tick = ticks + 1
        heap = self._heap
        while heap and heap[0][0] <= ticks:
            _, seq, timer = heappop(heap)
            if timer._seq != seq:
                continue
            timer._seq = _NOT_ARMED
            self._armed -= 1
            function = timer.function
            if function is not None:
                self._run(timer, function)

    def _run(self, timer: TimerList, function: Callable[[Any], object]) -> None:
        guard = self._guard
        self.running = timer
        guard.enter_softirq()
        try:
            function(timer.data)
        finally:
            guard.leave_softirq()
            self.running = None

    def set_aside(self) -> list[TimerList]:
        """Empty the base at the crash; returns what was armed, in expiry order."""
        aside = [timer for _, seq, timer in sorted(self._heap, key=lambda e: e[:2]) if timer._seq == seq]
        for timer in aside:
            timer._seq = _SET_ASIDE
        self._heap.clear()
        self._armed = 0
        self.running = None
        self.on_arm = None
        self._next_tick = self._jiffies.ticks + 1
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
        if not 0 <= expires <= jiffies.word_mask:
            expires &= jiffies.word_mask        # jiffies + HZ computed past the wrap, as C's unsigned long
        if not self._guard.machine.crashdump_mode:
            jiffies.sync()
        timer.expires = expires
        due = max(jiffies.ticks_of(expires), self._next_tick)
        self._seq += 1
        timer._seq = self._seq
        heappush(self._heap, (due, self._seq, timer))
        self._armed += 1
        if self.on_arm is not None:
            self.on_arm(due)

    def _prune(self) -> None:
        """Drop disarmed entries once they outnumber the armed ones, so that a heap cannot grow for ever."""
        if len(self._heap) > 64 and len(self._heap) > 2 * self._armed:
            self._heap = [entry for entry in self._heap if entry[2]._seq == entry[1]]
            heapify(self._heap)
