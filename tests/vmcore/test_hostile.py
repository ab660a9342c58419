"""Damaged dump files: every one is read, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.vmcore.hostile import bent, outcome, samples

#: The real tier runs thousands more (tests/real/test_fuzz.py).
SEEDS = range(40)


@pytest.mark.parametrize("name", samples())
def test_a_good_file_is_read(name: str, tmp_path: Path) -> None:
    """What the others are bent from."""
    assert outcome(tmp_path / "dump", samples()[name]) == "read"


@pytest.mark.parametrize("name", samples())
def test_bent_files(name: str, tmp_path: Path) -> None:
    """FormatError at the worst; some are refused, so that the bending bites."""
    said = {outcome(tmp_path / "dump", bent(samples()[name], seed)) for seed in SEEDS}
    assert len(said) > 3
