"""Time: one integer-nanosecond clock.  Nothing happens by itself; events fire inside `advance()`."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Any

from ddsdk.errors import SimulationStuckError, UsageError

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

#: Later than anything: "no event is pending".
NEVER_NS = 1 << 63

#: Events that may fire without the clock moving: one that reschedules itself for now would never end.
SAME_TIME_LIMIT = 1_000_000
#: Cancelled events are swept out of the heap when there are this many, and more of them than live ones.
_SWEEP_AT = 256


class Event:
    """One call to come.  `cancel()` makes it never happen."""

    __slots__ = ("_clock", "args", "fn", "when_ns")

    def __init__(self, clock: Clock, when_ns: int, fn: Callable[..., object], args: tuple[Any, ...]) -> None:
        self._clock = clock
        self.when_ns = when_ns
        self.fn: Callable[..., object] | None = fn
        self.args = args

    @property
    def pending(self) -> bool:
        """True until it fires or is cancelled."""
        return self.fn is not None

    def cancel(self) -> bool:
        """Take it back.  True when it was still pending."""
        if self.fn is None:
            return False
        self.fn = None
        self.args = ()
        self._clock._cancelled()
        return True


class Clock:
    """`now_ns`, and a heap of events fired in (when, order of scheduling)."""

    __slots__ = ("_dead", "_heap", "_seq", "_until_ns", "horizon_ns", "now_ns", "same_time_limit")

    def __init__(self, now_ns: int = 0) -> None:
        self.now_ns = now_ns
        self.same_time_limit = SAME_TIME_LIMIT
        #: When the next event is due (NEVER_NS: none); a plain attribute because polls test it.
        self.horizon_ns = NEVER_NS
        self._heap: list[tuple[int, int, Event]] = []
        self._seq = 0
        self._until_ns = 0  # what the advance under way lets pass
        self._dead = 0      # cancelled, still in the heap (a few already gone may be counted)

    def at_ns(self, when_ns: int, fn: Callable[..., object], *args: Any) -> Event:
        """Call `fn(*args)` when the clock reaches *when_ns*; a time past fires at the next advance."""
        if when_ns < self.now_ns:
            when_ns = self.now_ns
        event = Event(self, when_ns, fn, args)
        self._seq = seq = self._seq + 1
        heappush(self._heap, (when_ns, seq, event))
        if when_ns < self.horizon_ns:
            self.horizon_ns = when_ns
        return event

    def after_ns(self, delay_ns: int, fn: Callable[..., object], *args: Any) -> Event:
        """Call `fn(*args)` *delay_ns* from now (0: at the next advance, even one of 0 ns)."""
        if delay_ns < 0:
            raise UsageError(f"Clock.after_ns: delay {delay_ns} ns is negative; time only goes forward")
        return self.at_ns(self.now_ns + delay_ns, fn, *args)

    @property
    def next_event_ns(self) -> int | None:
        """When the next pending event is due, or None."""
        return None if self.horizon_ns == NEVER_NS else self.horizon_ns

    def advance(self, ns: int) -> None:
        """Let *ns* pass: due events fire in order, each seeing `now_ns` equal to its own time.

        An event may schedule, cancel, or advance further; `now_ns` never goes back.
        """
        target = self.now_ns + ns
        if target < self.horizon_ns and ns >= 0:
            self.now_ns = target
        else:
            self._fire_until(target, ns)

    def advance_to(self, when_ns: int) -> None:
        """Let time pass until *when_ns*; does nothing when that is past."""
        if when_ns >= self.now_ns:
            self.advance(when_ns - self.now_ns)

    def pass_to(self, when_ns: int) -> bool:
        """Inside an event, as its last act: let time go on to *when_ns* at once; true when it did.

        It does when the advance under way gets there and no other event is due by then, so that nobody could tell it
        from an event of its own.  Else the caller schedules one.
        """
        if self.now_ns < when_ns <= self._until_ns and when_ns < self.horizon_ns:
            self.now_ns = when_ns
            return True
        return False

    def abandon(self) -> None:
        """The advance under way is not gone on with (its CPU stopped for good): its events are as due as ever."""
        self._until_ns = 0

    def clear(self) -> None:
        """Forget every event: nothing is left to happen."""
        for _, _, event in self._heap:
            event.fn = None
        self._settle()
        self._dead = 0

    def _fire_until(self, target: int, ns: int) -> None:
        if ns < 0:
            raise UsageError(f"Clock.advance: {ns} ns is negative; time only goes forward")
        heap = self._heap
        same = 0
        outer_ns, self._until_ns = self._until_ns, target
        try:
            while heap and heap[0][0] <= target:
                when_ns, _, event = heappop(heap)
                fn, args = event.fn, event.args
                event.fn = None
                if heap and heap[0][2].fn is None:
                    self._settle()
                else:
                    self.horizon_ns = heap[0][0] if heap else NEVER_NS
                if fn is None:
                    continue
                if when_ns > self.now_ns:
                    self.now_ns = when_ns
                    same = 0
                same += 1
                if same > self.same_time_limit:
                    raise SimulationStuckError(
                        f"stuck at {self.now_ns} ns: {self.same_time_limit} events fired at this one instant (the "
                        f"last: {getattr(fn, '__qualname__', fn)}); an event that schedules itself needs a delay")
                fn(*args)
        finally:
            self._until_ns = outer_ns
        if target > self.now_ns:
            self.now_ns = target

    def _cancelled(self) -> None:
        self._dead += 1
        if self._dead > _SWEEP_AT and 2 * self._dead > len(self._heap):
            # in place: an advance() further up the stack holds the list
            self._heap[:] = [entry for entry in self._heap if entry[2].fn is not None]
            heapify(self._heap)
            self._dead = 0
        self._settle()

    def _settle(self) -> None:
        """Drop cancelled events from the top and note when the next live one is due."""
        heap = self._heap
        while heap and heap[0][2].fn is None:
            heappop(heap)
        self.horizon_ns = heap[0][0] if heap else NEVER_NS
