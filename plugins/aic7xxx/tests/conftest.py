"""Fixtures of the plugin's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ddsdk.testing import rigs
from plugins.aic7xxx.tests.driver_rig import Make, Rig


@pytest.fixture
def make() -> Iterator[Make]:
    """Driver rigs around a chip."""
    yield from rigs(Rig)
