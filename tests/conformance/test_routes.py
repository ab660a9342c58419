"""Routes: gone once for all the checks that ask, and what ended them is raised to each of those."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType

import pytest

from ddsdk.conformance import routes
from ddsdk.conformance.bench import Bench
from ddsdk.conformance.check import CheckFailed
from ddsdk.conformance.load import plans_for
from ddsdk.conformance.plan import Plan
from ddsdk.errors import MdelayFault


@pytest.fixture
def plan() -> Plan:
    """The bundled driver on the chip that comes up fastest."""
    return plans_for("mptfusion", chip="sas1068")[0]


@contextmanager
def traveller(plan: Plan, *, trace: bool = False) -> Iterator[Bench]:
    """A bench as checks that travel get it."""
    with Bench.build(plan, routes.TRAVELLER, trace=trace) as bench:
        yield bench


@pytest.mark.parametrize("route", routes.every_route(plans_for("mptfusion", chip="sas1068")[0]))
def test_every_route_can_be_gone(plan: Plan, route: str) -> None:
    """To its end, by a right driver; all but one lead through a crash."""
    with traveller(plan) as bench:
        bench.bring_up()
        routes.ROUTES[route](bench)
        assert bench.crashed == (route != "before-the-crash")


def test_the_routes_after_the_crash_are_all_but_the_first() -> None:
    """What begins with the crash does not ask for normal mode."""
    plan = plans_for("mptfusion", chip="sas1068")[0]
    assert set(routes.every_route(plan)) - set(routes.after_the_crash(plan)) == {"before-the-crash"}
    assert set(routes.main_roads(plan)) < set(routes.after_the_crash(plan))


def test_a_route_is_gone_once(plan: Plan) -> None:
    """The second check looks up how it was: its driver is not even probed."""
    with traveller(plan) as first:
        trip = routes.travel(first, "dump")
    with traveller(plan) as second:
        assert routes.travel(second, "dump") is trip
        assert not second.crashed
    assert trip.end is None
    assert trip.since_crash("mdelay") == []
    assert {call.name for call in trip.calls if call.crash} >= {"udelay", "diskdump_mdelay"}


def test_of_each_line_the_largest_call_is_kept(plan: Plan) -> None:
    """One entry a line, call and mode."""
    with traveller(plan) as bench:
        calls = routes.travel(bench, "dump").calls
        longest = max(call.amount for call in bench.calls if call.crash and call.name == "udelay")
    assert len(calls) == len({(call.name, call.crash, call.site) for call in calls})
    assert max(call.amount for call in calls if call.crash and call.name == "udelay") == longest


def forbidden(bench: Bench) -> None:
    """A route on which the driver's kernel is asked for an mdelay()."""
    bench.crash()
    bench.kernel.mdelay(7)


def failing(_bench: Bench) -> None:
    """A route that meets what another check judges."""
    raise CheckFailed("another check's business")


@pytest.fixture
def own_routes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two routes made for these tests."""
    monkeypatch.setattr(routes, "ROUTES", MappingProxyType({"forbidden": forbidden, "failing": failing}))


@pytest.mark.usefixtures("own_routes")
def test_a_fault_is_raised_to_every_check_that_travels(plan: Plan) -> None:
    """The same fault with the same traceback, without another journey."""
    texts = []
    for _ in range(2):
        with traveller(plan) as bench, pytest.raises(MdelayFault, match=r"mdelay\(7\)") as caught:
            routes.travel(bench, "forbidden")
        texts.append([entry.name for entry in caught.traceback if entry.name != "travel"])
    assert texts[0] == texts[1]


@pytest.mark.usefixtures("own_routes")
def test_a_failure_that_others_judge_ends_a_route_quietly(plan: Plan) -> None:
    """A route asks only that faults have occasion to be raised."""
    with traveller(plan) as bench:
        assert routes.travel(bench, "failing").end is None


@pytest.mark.usefixtures("own_routes")
def test_a_traced_machine_goes_the_route_again(plan: Plan) -> None:
    """A failure is run again with the trace on, to show what led to it."""
    for trace in (False, True):
        with traveller(plan, trace=trace) as bench, pytest.raises(MdelayFault):
            routes.travel(bench, "forbidden")
    assert bench.crashed
    assert "crash" in "".join(bench.machine.trace.tail())
