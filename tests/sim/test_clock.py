"""The clock: integer nanoseconds, events in (when, order of scheduling)."""

from __future__ import annotations

import pytest

from ddsdk.errors import SimulationStuckError, UsageError
from ddsdk.sim.clock import Clock


def test_events_fire_in_time_order_and_ties_in_scheduling_order() -> None:
    """Due events fire by (when, seq), each seeing now_ns equal to its own time."""
    clock = Clock()
    seen: list[tuple[str, int]] = []

    def note(name: str) -> None:
        seen.append((name, clock.now_ns))

    clock.after_ns(20, note, "c")
    clock.after_ns(10, note, "a")
    clock.after_ns(10, note, "b")
    clock.after_ns(31, note, "later")
    clock.advance(30)
    assert seen == [("a", 10), ("b", 10), ("c", 20)]
    assert clock.now_ns == 30
    assert clock.next_event_ns == 31


def test_advance_reaches_its_end_inclusively() -> None:
    """An event due exactly at the end of an advance fires within it."""
    clock = Clock()
    seen: list[object] = []
    clock.after_ns(5, seen.append, 1)
    clock.advance(4)
    assert seen == []
    clock.advance(1)
    assert (seen, clock.now_ns, clock.next_event_ns) == ([1], 5, None)


def test_cancelled_event_never_fires() -> None:
    """cancel() says whether the event was pending; the next event is found again without it."""
    clock = Clock()
    seen: list[object] = []
    first = clock.after_ns(5, seen.append, 1)
    clock.after_ns(9, seen.append, 2)
    assert first.pending
    assert first.cancel() is True
    assert first.cancel() is False
    assert clock.next_event_ns == 9
    clock.advance(10)
    assert seen == [2]
    assert first.pending is False


def test_event_is_not_pending_inside_its_own_call() -> None:
    """An event may be rescheduled from its own call: by then it has fired."""
    clock = Clock()
    states = []

    def fire() -> None:
        states.append((event.pending, event.cancel()))

    event = clock.after_ns(1, fire)
    clock.advance(1)
    assert states == [(False, False)]


def test_event_may_schedule_for_now_and_for_the_rest_of_the_advance() -> None:
    """What an event schedules inside the running advance fires in that advance."""
    clock = Clock()
    seen: list[object] = []

    def chain(left: int) -> None:
        seen.append(clock.now_ns)
        if left:
            clock.after_ns(10, chain, left - 1)

    clock.after_ns(0, chain, 3)
    clock.advance(25)
    assert seen == [0, 10, 20]
    clock.advance(5)
    assert seen == [0, 10, 20, 30]


def test_event_may_advance_the_clock_itself() -> None:
    """A nested advance fires what it reaches, and the outer one never takes time back."""
    clock = Clock()
    seen: list[object] = []

    def busy() -> None:
        clock.advance(50)
        seen.append(("busy", clock.now_ns))

    clock.after_ns(10, busy)
    clock.after_ns(40, seen.append, "inner")
    clock.after_ns(70, seen.append, "outer")
    clock.advance(30)
    assert seen == ["inner", ("busy", 60)]
    assert clock.now_ns == 60


def test_time_past_is_due_at_the_next_advance() -> None:
    """at_ns() of a past moment does not turn the clock back."""
    clock = Clock(100)
    seen: list[int] = []
    clock.at_ns(40, lambda: seen.append(clock.now_ns))
    clock.advance(0)
    assert (seen, clock.now_ns) == ([100], 100)


def test_negative_times_are_refused() -> None:
    """Time only goes forward: both calls name the value."""
    clock = Clock()
    with pytest.raises(UsageError, match=r"advance: -1 ns is negative"):
        clock.advance(-1)
    with pytest.raises(UsageError, match=r"delay -5 ns is negative"):
        clock.after_ns(-5, print)


def test_advance_to_a_past_moment_does_nothing() -> None:
    """advance_to() is idempotent."""
    clock = Clock()
    clock.advance_to(70)
    clock.advance_to(60)
    assert clock.now_ns == 70


def test_exception_in_an_event_leaves_the_clock_at_that_event() -> None:
    """A model's fault comes out of advance(); later events are still pending."""
    clock = Clock()
    seen: list[object] = []

    def fail() -> None:
        raise ValueError("broken")

    clock.after_ns(10, fail)
    clock.after_ns(20, seen.append, 1)
    with pytest.raises(ValueError, match="broken"):
        clock.advance(100)
    assert (clock.now_ns, clock.next_event_ns) == (10, 20)
    clock.advance(10)
    assert seen == [1]


def test_event_rescheduling_itself_for_now_is_stuck() -> None:
    """An event that schedules itself without delay is a SimulationStuckError that names it."""
    clock = Clock()
    clock.same_time_limit = 100

    def again() -> None:
        clock.after_ns(0, again)

    clock.after_ns(7, again)
    with pytest.raises(SimulationStuckError, match=r"stuck at 7 ns: 100 events .*again"):
        clock.advance(10)


def test_cancelled_timeouts_do_not_pile_up() -> None:
    """A timeout per command, cancelled each time, keeps the heap small however far ahead it lies."""
    clock = Clock()
    far = clock.after_ns(10**12, int)
    for _ in range(10_000):
        clock.after_ns(10**11, int).cancel()
        clock.advance(1)
    assert len(clock._heap) < 1_000
    assert far.pending
    assert clock.next_event_ns == 10**12


def test_cancelling_inside_an_event_is_seen_by_the_running_advance() -> None:
    """A sweep of cancelled events in the middle of an advance loses none of the others."""
    clock = Clock()
    seen: list[object] = []
    doomed = [clock.after_ns(20, seen.append, "no") for _ in range(1_000)]
    clock.after_ns(30, seen.append, "yes")
    clock.after_ns(10, lambda: [event.cancel() for event in doomed])
    clock.advance(50)
    assert seen == ["yes"]


def test_clear_forgets_every_event() -> None:
    """After clear() nothing is left to happen."""
    clock = Clock()
    seen: list[object] = []
    event = clock.after_ns(1, seen.append, 1)
    clock.clear()
    clock.advance(10)
    assert (seen, event.pending, clock.next_event_ns) == ([], False, None)


def test_an_event_passes_to_its_next_step_while_nothing_else_is_due() -> None:
    """pass_to() goes on within the advance, up to its end, not to or past another event, and never outside one."""
    clock = Clock()
    seen: list[tuple[int, bool]] = []

    def step(*whens: int) -> None:
        seen.extend((when_ns, clock.pass_to(when_ns)) for when_ns in whens)

    clock.at_ns(10, step, 12, 12, 20, 19, 31)
    clock.at_ns(20, step, 30, 31)
    clock.advance(30)
    assert seen == [(12, True), (12, False), (20, False), (19, True), (31, False), (30, True), (31, False)]
    assert clock.now_ns == 30
    assert not clock.pass_to(30)
    assert not clock.pass_to(31)


def test_an_inner_advance_bounds_what_is_passed_within_it_only() -> None:
    """An event's own advance() is the bound for the events in it; afterwards the outer one is again."""
    clock = Clock()
    seen: list[bool] = []

    def outer() -> None:
        clock.at_ns(12, lambda: seen.append(clock.pass_to(14)))
        clock.advance(3)
        seen.append(clock.pass_to(20))

    clock.at_ns(10, outer)
    clock.advance(20)
    assert seen == [False, True]


def test_an_advance_that_is_given_up_passes_nothing_on() -> None:
    """After abandon(), as a crash inside an event does it, pass_to() refuses until the next advance."""
    clock = Clock()
    seen: list[bool] = []

    def crash() -> None:
        clock.abandon()
        seen.append(clock.pass_to(15))

    clock.at_ns(10, crash)
    clock.at_ns(30, lambda: seen.append(clock.pass_to(35)))
    clock.advance(20)
    clock.advance(20)
    assert seen == [False, True]
