"""Real time given to an emulated adapter, with a real clock made of numbers."""

from __future__ import annotations

import pytest
from attrs import define, field

from ddsdk.qemu import pace as pace_module
from ddsdk.qemu.pace import LEAD_NS, WAIT_MAX_NS, Pace
from ddsdk.sim.clock import Clock

MS = 1_000_000


@define
class World:
    """The real clock, the virtual one, and the sleeps in nanoseconds."""

    clock: Clock = field(factory=Clock)
    real_ns: int = 0
    slept: list[int] = field(factory=list)

    def sleep(self, seconds: float) -> None:
        """time.sleep()."""
        self.slept.append(round(seconds * 1e9))
        self.real_ns += self.slept[-1]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    """Real time stands still but for sleeps, and where a test says otherwise."""
    made = World()
    monkeypatch.setattr(pace_module.time, "monotonic_ns", lambda: made.real_ns)
    monkeypatch.setattr(pace_module.time, "sleep", made.sleep)
    return made


def test_what_ends_at_once_is_seen_at_once(world: World) -> None:
    """The first millisecond of polls costs nothing; from then on real time goes along."""
    pace = Pace(world.clock)
    for _ in range(13):
        world.clock.advance(MS // 10)
        pace.nothing_new()
    assert world.slept == [MS // 10] * 3
    assert world.clock.now_ns - world.real_ns == LEAD_NS


def test_news_forgives_the_lead(world: World) -> None:
    """An adapter that gets on is not waited for, however much time its driver spent."""
    pace = Pace(world.clock)
    world.clock.advance(5000 * MS)
    pace.news()
    pace.nothing_new()
    world.clock.advance(MS // 10)
    pace.nothing_new()
    assert world.slept == []


def test_a_leap_is_paid_access_by_access(world: World) -> None:
    """80 ms at once: 10 ms each time, until the real clock is where the virtual one is."""
    pace = Pace(world.clock)
    world.clock.advance(80 * MS)
    for _ in range(10):
        pace.nothing_new()
    assert world.slept == [WAIT_MAX_NS] * 7 + [WAIT_MAX_NS - LEAD_NS]


def test_a_long_leap_is_forgiven_but_for_a_tenth_of_a_second(world: World) -> None:
    """5 s at once, and polls after it."""
    pace = Pace(world.clock)
    world.clock.advance(5000 * MS)
    for _ in range(20):
        pace.nothing_new()
    assert world.slept == [WAIT_MAX_NS] * 9 + [WAIT_MAX_NS - LEAD_NS]
    world.clock.advance(MS)
    pace.nothing_new()
    assert world.slept[10:] == [MS]


def test_the_real_clock_s_lead_is_not_saved_up(world: World) -> None:
    """A host that was slow for a second owes the adapter as much as before."""
    pace = Pace(world.clock)
    world.real_ns += 1000 * MS
    pace.nothing_new()
    for _ in range(3):
        world.clock.advance(MS)
        pace.nothing_new()
    assert world.slept == [MS, MS]
