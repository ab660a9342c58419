"""The starting point "toy": green on the day it is made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ddsdk.conformance.check import FAMILIES
from ddsdk.conformance.checks import all_checks
from ddsdk.conformance.plan import Plan
from ddsdk.conformance.runner import Verdict, items_of, run
from ddsdk.hookspecs import Role
from tests.templates.baking import bake, loaded

#: Several seconds each; the other toy meets them.
SLOW = ("REG-9", "POLL-4", "ERR-11", "ERR-12", "E2E-3")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    """The toy's driver on the toy's model."""
    project = bake(tmp_path_factory.mktemp("toy"), name="green_toy", chip="green1")
    with loaded(project) as plan:
        yield plan


@pytest.mark.parametrize("family", FAMILIES)
def test_the_kit_is_green(toy: Plan, family: str) -> None:
    """Every check passes, or needs what the driver does not offer and need not; none fails, none is expected to."""
    items = [item for item in items_of(toy, all_checks()) if item.check.family == family]
    if family == "ERR":         # a case for every fault there is: `make matrix` runs them all
        items = items[::6]
    results = run(toy, items)
    assert {result.verdict for result in results} <= {Verdict.PASS, Verdict.NOT_OFFERED}, [
        f"{result.id}: {result.why} {result.line}" for result in results if result.verdict.bad]
    passed = sum(result.verdict is Verdict.PASS for result in results)
    assert passed > 0.8 * len(results)


@pytest.fixture(scope="module")
def ide_toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    """The same of bus ata."""
    project = bake(tmp_path_factory.mktemp("ide"), name="green_ide", chip="green2", bus="ata")
    with loaded(project) as plan:
        yield plan


def test_the_kit_is_green_on_ide(ide_toy: Plan) -> None:
    """The first case of every check, but for those that wait for time-outs again and again."""
    items = [item for item in items_of(ide_toy, all_checks()) if not item.number and item.check.id not in SLOW]
    results = run(ide_toy, items)
    assert [f"{result.id}: {result.why} {result.line}" for result in results if result.verdict is not Verdict.PASS
            and result.verdict is not Verdict.NOT_OFFERED] == []
    passed = sum(result.verdict is Verdict.PASS for result in results)
    assert passed > 0.8 * len(results)
    assert set(ide_toy.profile.roles) == set(Role)
    assert not ide_toy.profile.expected_failures
    assert not ide_toy.profile.not_offered


def test_every_role_is_played(toy: Plan) -> None:
    """The model has a fault for each part, and the profile expects no failure."""
    assert set(toy.profile.roles) == set(Role)
    assert not toy.profile.expected_failures
    assert not toy.profile.not_offered


def test_the_same_seed_gives_the_same_results(toy: Plan) -> None:
    """Two runs of a family differ in nothing but the time they took."""
    items = [item for item in items_of(toy, all_checks()) if item.check.family in ("QUIESCE", "IO")]
    assert run(toy, items) == run(toy, items)


def test_the_plugin_says_what_it_is(toy: Plan, tmp_path: Path) -> None:
    """Name, chip and PCI ids are those asked for."""
    assert (toy.driver.name, toy.driver.bus) == ("green_toy", "scsi")
    assert [(chip.name, chip.vendor, chip.device) for chip in toy.driver.chips] == [("green1", 0x1234, 0x5C51)]
    with loaded(bake(tmp_path, name="q7", vendor_id="0x1000", device_id="30")) as plan:
        assert [(chip.name, chip.vendor, chip.device) for chip in plan.driver.chips] == [("toy320", 0x1000, 0x0030)]
