"""What a seed draws, and what a profile may say."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ddsdk.campaign import CampaignProfile, Case, Injection, Variant, not_covered, plain
from ddsdk.campaign.case import DISK_FAULTS
from ddsdk.sim.disk_faults import DiskFault, FaultKind

FAULTS = {"gone": "it is away", "hung": "nothing comes", "late": "it comes late", "storm": "the line stays up"}


def profile(**changes: Any) -> CampaignProfile:
    """Of a driver with four faults."""
    said: dict[str, Any] = {"after_crash": {"storm": "a storm"}, "enough": {"late": 2}, "stuck": ("hung",),
                            "recovery_modules": ("ddsdk.errors",), "left_out": {"gone": "nothing to see"}} | changes
    return CampaignProfile("nobody", ("one", "two"), FAULTS, lambda _model: None, lambda _host, _model: {}, **said)


def test_the_same_seed_is_the_same_case() -> None:
    """And another driver's is another."""
    assert Case.draw(7, profile()) == Case.draw(7, profile())
    other = CampaignProfile("somebody", ("one", "two"), FAULTS, lambda _model: None, lambda _host, _model: {})
    assert Case.draw(7, other) != Case.draw(7, profile())


def test_two_hundred_seeds_draw_everything() -> None:
    """Chips, moments, queue depths, triggers, faults of model and disk; a handful of seeds does not."""
    assert not_covered(profile(), range(200)) == []
    missing = not_covered(profile(), [0])
    assert len(missing) > 10
    assert {"chip one", "chip two"} & set(missing)


def test_faults_are_drawn_as_the_profile_allows() -> None:
    """What is left out never comes, a storm not before the crash, a late completion twice at most."""
    drawn = [one for seed in range(400) for one in Case.draw(seed, profile()).injections]
    assert "gone" not in {one.fault for one in drawn}
    assert {one.when for one in drawn if one.fault == "storm"} == {"crash", "dump"}
    assert {one.times for one in drawn if one.fault == "late"} == {1, 2}
    assert 0 in {one.times for one in drawn if one.fault == "hung"}


def test_a_crash_in_the_recovery_comes_with_a_load_that_is_stuck() -> None:
    """The first fault of such a case makes every command time out; without such faults there are no such cases."""
    cases = [Case.draw(seed, profile()) for seed in range(100)]
    recovering = [case for case in cases if case.how == "recovery"]
    assert recovering
    assert {(case.injections[0].when, case.injections[0].fault, case.injections[0].times) for case in recovering} == {
        ("load", "hung", 0)}
    calm = profile(stuck=(), recovery_modules=())
    assert {Case.draw(seed, calm).how for seed in range(100)} == {"time", "event", "line"}


def test_slow_variants_are_for_short_runs() -> None:
    """Not for a load of seconds, nor for one that is stuck."""
    told = profile(variants=(Variant("fast"), Variant("slow", slow=True)))
    slow = [case for case in (Case.draw(seed, told) for seed in range(200)) if case.variant == "slow"]
    assert slow
    assert all(case.how != "recovery" and (case.how == "line" or case.at <= 3_000_000) for case in slow)


def test_disks_of_each_bus_have_their_faults() -> None:
    """A SCSI disk has unit attentions and reservations, an IDE disk has not; both lie."""
    kinds = {bus: {draw(random.Random(1)).kind for draw in draws} for bus, draws in DISK_FAULTS.items()}
    assert kinds["ata"] < kinds["scsi"]
    assert {FaultKind.LOST_WRITE, FaultKind.TORN_WRITE, FaultKind.MISDIRECTED_WRITE} <= kinds["ata"]
    assert kinds["scsi"] - kinds["ata"] == {FaultKind.RESERVED, FaultKind.QUEUE_FULL}
    assert all(isinstance(draw(random.Random(seed)), DiskFault) for seed in range(20) for draw in DISK_FAULTS["scsi"])


def test_a_plain_case_has_nothing_wrong() -> None:
    """The first chip, a queue of middling depth, no fault; fields may be changed."""
    case = plain(profile())
    assert (case.chip, case.queue_depth, case.injections, case.how) == ("one", 4, (), "time")
    assert plain(profile(), injections=(Injection("crash", "gone"),)).injections[0].fault == "gone"


@pytest.mark.parametrize(("changes", "said"), [
    ({"enough": {"slow": 3}}, "campaign of nobody: enough names 'slow', which is no fault of the model; it has: gone,"),
    ({"stuck": ("slow",)}, "stuck names 'slow'"),
    ({"left_out": {"gone": " "}}, "left_out['gone'] is ' '; say why, or how often"),
    ({"enough": {"late": 0}}, "enough['late'] is 0"),
    ({"stuck": ()}, "stuck and recovery_modules belong together"),
    ({"queue_depths": ()}, "must not be empty")])
def test_a_profile_that_makes_no_sense_is_refused(changes: dict[str, Any], said: str) -> None:
    """At once, with what is there."""
    with pytest.raises(ValueError) as raised:
        profile(**changes)
    assert said in str(raised.value)
