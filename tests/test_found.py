"""Inputs that fuzzing once found."""

from __future__ import annotations

from pathlib import Path

from tests.found import FOUND, judge


def test_what_was_found_is_mended(tmp_path: Path) -> None:
    """Each is read or refused in one line now."""
    for number, path in enumerate(sorted(FOUND.glob("*"))):
        judge(tmp_path / str(number), path.read_bytes())
