"""What a guest drill decides before a machine is started, and how it answers."""

from __future__ import annotations

import attrs
import pytest

from ddsdk.abi import X86_64
from ddsdk.diskdump.engine import DumpReport
from ddsdk.diskdump.plan import CrashFacts, DumpPlan
from ddsdk.errors import UsageError
from ddsdk.guestdrill.report import GuestReport, as_dict
from ddsdk.guestdrill.run import CRASH_WITHIN_US, PACES, GuestDrill
from ddsdk.lab.crash import CrashSaid
from ddsdk.registry import Registry
from ddsdk.sim.machine import Trigger

REPORT = GuestReport(
    7, Trigger.NMI_SWITCH, 1500, CrashSaid(("line",) * 50),
    DumpReport("toy:d.img", None, DumpPlan(X86_64, (), 0, 100, b"", CrashFacts(0, 0, 0, ()), "", ""), 100, ()),
    100, 0, 0, "", 0, {"boot": 9.0, "dump": 2.5, "judge": 4.0})


def test_the_seed_chooses_the_moment() -> None:
    """The same seed the same moment, others others; within the limits, at every pace."""
    drills = [GuestDrill("toy", seed=seed) for seed in range(200)]
    moments = [drill.moment() for drill in drills]
    assert moments == [drill.moment() for drill in drills]
    assert len({load_us for load_us, _ in moments}) > 190
    assert all(0 <= load_us < CRASH_WITHIN_US for load_us, _ in moments)
    assert {pace for _, pace in moments} == set(PACES)
    assert min(moments)[0] < CRASH_WITHIN_US // 20 < CRASH_WITHIN_US * 19 // 20 < max(moments)[0]


def test_what_a_guest_cannot_do_is_said_first() -> None:
    """Before the driver is looked for."""
    with pytest.raises(UsageError, match=r"a guest crashes by 'sysrq-c' or 'NMI switch', not by 'oops'"):
        GuestDrill("toy", trigger=Trigger.OOPS).model(Registry({}, ()))
    with pytest.raises(UsageError, match="block order 9"):
        GuestDrill("toy", block_order=9).model(Registry({}, ()))


@pytest.mark.parametrize(("change", "why"), [
    ({"differ": 3}, "3 of 100 pages differ from the memory at the crash"),
    ({"changed": 1}, "1 pages of the guest's memory changed after its crash"),
    ({"outside": "disk0.img, bytes 0 to 9,"}, "outside the dump partition disk0.img, bytes 0 to 9, changed after the"
                                              " crash"),
    ({"crash_differs": 2}, "crash says 2 of 50 lines differently of the reference")])
def test_every_witness_can_say_no(change: dict[str, object], why: str) -> None:
    """One is enough."""
    assert REPORT.why_not == ""
    said = as_dict(attrs.evolve(REPORT, **change))       # type: ignore[arg-type]
    assert (said["verified"], said["why"]) == (False, why)


def test_time_is_counted_from_the_boot() -> None:
    """What the machine took to come up is not the dump's."""
    assert REPORT.seconds_after_boot == 6.5
