"""Ways into the driver: the locks it takes there, and a crash while one is held or at any line."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from ddsdk.conformance import linecrash, ownlocks, states
from ddsdk.conformance.bench import Bench
from ddsdk.conformance.check import Need, NotApplicable
from ddsdk.conformance.load import plans_for
from ddsdk.conformance.plan import Plan
from ddsdk.conformance.ways import WAYS, prepare


@pytest.fixture
def plan() -> Plan:
    """The bundled driver on the chip that comes up fastest."""
    return plans_for("mptfusion", chip="sas1068")[0]


@pytest.fixture
def bench(plan: Plan) -> Iterator[Bench]:
    """Probed, not crashed."""
    with Bench.build(plan) as built:
        yield built


@pytest.mark.parametrize(("way", "locks"), [
    ("queuecommand", ("FreeQlock",)),
    ("interrupt-handler", ("FreeQlock",)),
    ("abort", ("tmLock", "FreeQlock")),
    ("host-reset", ("diagLock",)),
])
def test_own_locks_are_those_taken_on_the_way(bench: Bench, way: str, locks: tuple[str, ...]) -> None:
    """In the order of their first use, host_lock left out; what comes before the way does not count."""
    assert ownlocks.taken_in(bench, way) == locks
    assert not bench.machine.trace.on


@pytest.mark.parametrize(("way", "held"), [
    ("queuecommand", ["mptscsih0.host_lock", "FreeQlock"]),
    ("interrupt-handler", ["FreeQlock"]),
])
def test_a_crash_that_finds_a_lock_held(bench: Bench, way: str, held: list[str]) -> None:
    """It is taken, and nobody will release it."""
    ownlocks.crash_holding(bench, way, "FreeQlock")
    assert bench.machine.record is not None
    assert [lock.name for lock in bench.machine.record.locks] == held


def test_queue_locks_are_measured_once(bench: Bench) -> None:
    """They are the plan's; and they are what the need for a lock of its own asks about."""
    assert ownlocks.queue_locks(bench) == ("FreeQlock",)
    assert bench.lacks(Need.OWN_LOCK) == ""
    bench.plan.queue_locks = ()
    assert bench.lacks(Need.OWN_LOCK) == "the driver offers no queue-lock"


def test_a_way_that_is_not_there(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver without the error handler, an adapter without a line: not applicable, and why."""
    monkeypatch.setattr(bench, "error_handlers", dict)
    with pytest.raises(NotApplicable, match=r"^the driver offers no abort handler$"):
        prepare(bench, "abort")
    monkeypatch.setattr(bench.function, "irq_line", None)
    with pytest.raises(NotApplicable, match=r"^the adapter has no interrupt line$"):
        prepare(bench, "interrupt-handler")


@pytest.mark.parametrize("way", WAYS)
def test_a_crash_at_any_line(plan: Plan, way: str) -> None:
    """Each number stands for another line, the first and the last of them are where the driver then is."""
    before = sys.gettrace()
    with Bench.build(plan) as counted:
        numbers = linecrash.lines_of(counted, way)
    assert len(numbers) > 15
    assert list(numbers) == sorted(set(numbers))
    said = []
    for number in (numbers[0], numbers[-1]):
        with Bench.build(plan) as bench:
            said.append(linecrash.crash_at(bench, way, number))
            assert bench.crashed
    assert len(set(said)) == 2
    assert all(one.endswith(f" in {way}") for one in said)
    assert sys.gettrace() is before


def test_a_crash_beyond_the_last_line(bench: Bench) -> None:
    """It comes at the end."""
    assert linecrash.crash_at(bench, "queuecommand", 10_000) == "the end of queuecommand"
    assert bench.crashed


def test_a_crash_in_the_mildest_error_handler(bench: Bench) -> None:
    """It has begun and not ended."""
    states.enter(bench, "in-error-handler")
    assert [task.name for task in bench.machine.scheduler.tasks] == ["abort"]
