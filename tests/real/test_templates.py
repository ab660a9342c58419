"""What the template makes, under its own tools: slow beside what tests/templates says of it."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.templates.baking import bake
from tests.templates.test_bake import PROJECTS

pytestmark = pytest.mark.real

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", params=PROJECTS, ids=lambda param: "-".join(param[:3]))
def project(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A distribution for each bus, starting point and name."""
    bus, start, name, chip = request.param
    return bake(tmp_path_factory.mktemp(start), name=name, chip=chip, bus=bus, starting_point=start)


def test_ruff_and_mypy_are_clean(project: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The output's own configuration finds nothing to say of it; mypy is strict."""
    pyproject = tomllib.loads((project / "pyproject.toml").read_text())
    house = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert pyproject["tool"]["ruff"]["lint"]["select"] == house["tool"]["ruff"]["lint"]["select"]
    assert pyproject["tool"]["mypy"]["strict"] is True
    cache = tmp_path_factory.getbasetemp() / "mypy-cache"
    for command in (["ruff", "check", "--no-cache", "."], ["mypy", "--cache-dir", str(cache)]):
        ended = subprocess.run([sys.executable, "-m", *command], cwd=project, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize(("bus", "count"), [("scsi", 13), ("ata", 8)])
def test_its_vectors_pass(bus: str, count: int, tmp_path: Path) -> None:
    """The tests of registers and frames that come with it."""
    project = bake(tmp_path, name="my_hba", bus=bus)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_regs.py", "tests/test_frames.py"],
        cwd=project, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": f"{project}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert f"{count} passed" in ended.stdout
