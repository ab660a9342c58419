"""Thousands of bent dump files: every one is read, or refused in one line, and the reader does not grow."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from tests.vmcore.hostile import bent, outcome, samples

pytestmark = pytest.mark.real

#: The fast tier has the first forty; `make fuzz` is guided by what is reached.
SEEDS = range(1000, 1600)
GROWTH_KIB = 64 << 10


@pytest.mark.parametrize("name", samples())
def test_bent_files(name: str, tmp_path: Path) -> None:
    """No exception but FormatError; some are refused, some are read."""
    path, data = tmp_path / "dump", samples()[name]
    for seed in range(100):
        outcome(path, bent(data, seed))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    said = {outcome(path, bent(data, seed)) for seed in SEEDS}
    assert "read" in said
    assert len(said) > 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < before + GROWTH_KIB
