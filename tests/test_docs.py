"""The README says what is: verbs, exit codes, make targets."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import ddsdk.errors
from ddsdk.cli.main import EXIT_BUG, VERBS
from ddsdk.registry import discover
from tests.driver_table import BEGIN, END, table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_every_verb_has_a_row() -> None:
    """The table of commands is the list of verbs, in its order."""
    assert re.findall(r"^\| `ddsdk (\w+)", README, re.MULTILINE) == list(VERBS)


def test_exit_codes_are_those_of_the_errors() -> None:
    """Every exit code an error class carries, 0, and our bug: one row each."""
    codes = {error.exit_code for error in vars(ddsdk.errors).values()
             if isinstance(error, type) and issubclass(error, ddsdk.errors.DdsdkError)}
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", README, re.MULTILINE)} == codes | {0, EXIT_BUG}


def test_every_make_target_it_names_exists() -> None:
    """`make drill` and the others are rules of the Makefile."""
    rules = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"\bmake (\w+)", README))
    assert {"drill", "test", "conformance", "matrix", "real", "bench"} <= named <= rules


def test_ci_runs_the_readmes_test_command() -> None:
    """.ci/run installs the real tier's tools and calls make."""
    script = (ROOT / ".ci" / "run").read_text()
    for line in ("tests/real/install-tools", "make drill", "make test", "make conformance", "make matrix",
                 "make real"):
        assert line in script


def test_every_place_in_the_lay_of_the_land_exists() -> None:
    """Folders named in the table are there."""
    for place in re.findall(r"^\| `(ddsdk/\w+|plugins)/?` \|", README, re.MULTILINE):
        assert (ROOT / place).is_dir(), place


def test_the_table_of_drivers_is_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """`make table` would change nothing."""
    plugins = [path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml")]
    monkeypatch.setenv("DDSDK_LOAD_PLUGINS", ",".join(plugins))
    assert README.partition(BEGIN)[2].partition(END)[0] == table(discover())
