"""Fixtures: a chip driven register by register, and the driver on its model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ddsdk.testing import rigs
from ddsdk_aic79xx.model import AIC7901, AIC7902
from plugins.aic79xx.tests.chip_host import ChipHost, Make, chip_hosts
from plugins.aic79xx.tests.driver_rig import Make as MakeRig
from plugins.aic79xx.tests.driver_rig import Rig
from plugins.aic79xx.tests.eh_rig import AFTER, BEFORE, start


@pytest.fixture
def make_chip() -> Iterator[Make]:
    """Builds a ChipHost."""
    yield from chip_hosts()


@pytest.fixture
def chip(make_chip: Make) -> ChipHost:
    """An AIC-7901 brought up, with one disk without unit attention, nothing agreed."""
    return make_chip()


@pytest.fixture
def make() -> Iterator[MakeRig]:
    """Builds a Rig: the driver beside its model."""
    yield from rigs(Rig)


@pytest.fixture(params=[BEFORE, AFTER])
def mode(request: pytest.FixtureRequest) -> str:
    """In which of the two modes."""
    return str(request.param)


@pytest.fixture(params=[(AIC7901, BEFORE), (AIC7901, AFTER), (AIC7902, AFTER)],
                ids=["packetized, before", "packetized, after", "non-packetized, after"])
def rig(make: MakeRig, request: pytest.FixtureRequest) -> Rig:
    """The disk ready, with information units and without, in either mode."""
    return start(make, *request.param)
