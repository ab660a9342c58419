"""ddsdk and each plugin as wheels, in a clean environment outside the source tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))


def run(*argv: str | Path, cwd: Path) -> str:
    """stdout of a command that must succeed, in an environment that knows nothing of this checkout."""
    environment = {key: value for key, value in os.environ.items()
                   if not key.startswith(("PYTHON", "DDSDK", "VIRTUAL_ENV"))}
    done = subprocess.run([str(a) for a in argv], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin directory of a new virtual environment with the wheels, and nothing of the source tree, in it."""
    directory = tmp_path_factory.mktemp("clean")
    wheels = directory / "wheels"
    for source in (ROOT, *PLUGINS):
        run(sys.executable, "-m", "build", "--wheel", "--outdir", wheels, source, cwd=directory)
    run(sys.executable, "-m", "venv", directory / "env", cwd=directory)
    binaries = directory / "env" / "bin"
    run(binaries / "python", "-m", "pip", "install", "--quiet", *sorted(wheels.glob("*.whl")), cwd=directory)
    return binaries


def test_installed_plugins_register_their_drivers(clean: Path, tmp_path: Path) -> None:
    """Each plugin's wheel is found by its entry point; nothing is broken."""
    listed = json.loads(run(clean / "ddsdk", "drivers", "--json", cwd=tmp_path))
    assert [driver["name"] for driver in listed["drivers"]] == [path.name for path in PLUGINS]
    assert listed["broken"] == []


def test_a_whole_drill_runs_from_the_wheels(clean: Path, tmp_path: Path) -> None:
    """Crash, dump, savecore, verification: without the repository."""
    assert run(clean / "ddsdk", "drill", "--memory", "synthetic:8M", cwd=tmp_path).rstrip().endswith(", 0 differ")


def test_typing_information_is_shipped(clean: Path) -> None:
    """py.typed is in the wheels: plugin authors get errors at edit time."""
    site = next(clean.parent.glob("lib/python*/site-packages"))
    assert (site / "ddsdk" / "py.typed").exists()
    assert all((site / f"ddsdk_{path.name}" / "py.typed").exists() for path in PLUGINS)
