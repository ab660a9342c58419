"""Fixtures of the plugin's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ddsdk.testing import rigs
from plugins.ide.tests.driver_rig import Make as MakeRig
from plugins.ide.tests.driver_rig import Rig
from plugins.ide.tests.host import Host, Make, hosts


@pytest.fixture
def make_host() -> Iterator[Make]:
    """Builds a Host around a chip."""
    yield from hosts()


@pytest.fixture
def host(make_host: Make) -> Host:
    """A PIIX3 with one drive, decoding and bus mastering on."""
    return make_host()


@pytest.fixture
def make() -> Iterator[MakeRig]:
    """Builds a driver Rig around a chip."""
    yield from rigs(Rig)
