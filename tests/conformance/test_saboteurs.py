"""Saboteurs are caught by the checks they attack: every twelfth here.

`make matrix` (ddsdk.conformance.saboteurs.matrix), which CI runs, tries all of them, and every other check on each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest

from ddsdk.conformance.checks import all_checks
from ddsdk.conformance.saboteurs import Saboteur, all_saboteurs
from ddsdk.conformance.saboteurs.matrix import try_one
from ddsdk.conformance.saboteurs.toy import baked_toy

SABOTEURS: Final = all_saboteurs()
CHECKS: Final = {check.id: check for check in all_checks()}


@pytest.fixture(scope="session")
def toys() -> Iterator[dict[str, Path]]:
    """Bus -> the toy, whole."""
    with ExitStack() as stack:
        yield {bus: stack.enter_context(baked_toy(bus)) for bus in sorted({one.bus for one in SABOTEURS})}


@pytest.mark.parametrize("saboteur", SABOTEURS[::12], ids=lambda one: one.id)
def test_it_is_caught(toys: dict[str, Path], saboteur: Saboteur) -> None:
    """The check that must fail does."""
    row = try_one(toys[saboteur.bus], saboteur, [CHECKS[saboteur.catches]])
    assert row.failed == (saboteur.catches,)


def test_ids_say_which_family_they_attack() -> None:
    """mem-... attacks a MEM check."""
    assert [one.id for one in SABOTEURS if one.id.partition("-")[0].upper() != one.catches.partition("-")[0]] == []
