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

#: Several seconds each.
SLOW = ("REG-9", "POLL-4", "ERR-11", "ERR-12", "E2E-3")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    """The toy's driver on the toy's model."""
    project = bake(tmp_path_factory.mktemp("toy"), name="green_toy", chip="green1")
    with loaded(project) as plan:
        yield plan


@pytest.fixture(scope="module")
def ide_toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plan]:
    """The same of bus ata."""
    project = bake(tmp_path_factory.mktemp("ide"), name="green_ide", chip="green2", bus="ata")
    with loaded(project) as plan:
        yield plan


@pytest.mark.parametrize(("bus", "family"), [("toy", family) for family in FAMILIES]
                         + [("ide_toy", family) for family in FAMILIES if family in ("REG", "SANE", "QUIESCE", "POLL")])
def test_the_kit_is_green(request: pytest.FixtureRequest, bus: str, family: str) -> None:
    """The first case of every check passes, or needs what the driver does not offer and need not.

    `make matrix` runs every case.
    """
    plan = request.getfixturevalue(bus)
    items = [item for item in items_of(plan, all_checks())
             if item.check.family == family and not item.number and item.check.id not in SLOW]
    results = run(plan, items)
    assert [f"{result.id}: {result.why} {result.line}" for result in results
            if result.verdict not in (Verdict.PASS, Verdict.NOT_OFFERED)] == []
    passed = sum(result.verdict is Verdict.PASS for result in results)
    assert passed > 0.7 * len(results)


@pytest.mark.parametrize("bus", ["toy", "ide_toy"])
def test_every_role_is_played(request: pytest.FixtureRequest, bus: str) -> None:
    """The model has a fault for each part, and the profile expects no failure."""
    profile = request.getfixturevalue(bus).profile
    assert set(profile.roles) == set(Role)
    assert not profile.expected_failures
    assert not profile.not_offered


def test_the_same_seed_gives_the_same_results(toy: Plan) -> None:
    """Two runs of a family differ in nothing but the time they took."""
    items = [item for item in items_of(toy, all_checks()) if item.check.family == "QUIESCE" and not item.number]
    assert run(toy, items) == run(toy, items)


def test_the_plugin_says_what_it_is(toy: Plan, tmp_path: Path) -> None:
    """Name, chip and PCI ids are those asked for."""
    assert (toy.driver.name, toy.driver.bus) == ("green_toy", "scsi")
    assert [(chip.name, chip.vendor, chip.device) for chip in toy.driver.chips] == [("green1", 0x1234, 0x5C51)]
    with loaded(bake(tmp_path, name="q7", vendor_id="0x1000", device_id="30")) as plan:
        assert [(chip.name, chip.vendor, chip.device) for chip in plan.driver.chips] == [("toy320", 0x1000, 0x0030)]
