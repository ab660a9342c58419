"""Fixtures: a chip driven register by register, and the driver on its model."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ddsdk.testing import rigs
from plugins.aic79xx.tests.chip_host import ChipHost, Make, chip_hosts
from plugins.aic79xx.tests.driver_rig import Make as MakeRig
from plugins.aic79xx.tests.driver_rig import Rig


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
