"""The tutorial from an empty directory on: what installs and what takes long, too."""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.test_skeleton import steps_of
from tests.templates.baking import ROOT, WRITTEN, bake, package_of
from tests.templates.tutorial import TUTORIAL, Code, run, steps, write

pytestmark = pytest.mark.real


def test_every_command_with_nothing_left_out(tools: Callable[..., None], tmp_path: Path) -> None:
    """All of it, in an environment that the tutorial makes itself; afterwards nothing is left to be written, and the
    driver is the toy's.
    """
    tools("qemu-system-x86_64")
    work = tmp_path / "work"
    work.mkdir()
    (work / "ddsdk").symlink_to(ROOT)
    (tmp_path / "cookiecutter.yaml").write_text(f"replay_dir: {tmp_path}/replay\ncookiecutters_dir: {tmp_path}/all\n")
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith(("PYTHON", "DDSDK", "VIRTUAL_ENV"))}
    environment |= {"PATH": f"{Path(sys.base_prefix)}/bin:{os.environ['PATH']}", "LANG": "C.UTF-8",
                    "COOKIECUTTER_CONFIG": f"{tmp_path}/cookiecutter.yaml", "PIP_DISABLE_PIP_VERSION_CHECK": "1",
                    "PYTHONDONTWRITEBYTECODE": "1"}
    for step in steps(TUTORIAL.read_text()):
        if isinstance(step, Code):
            write(step, work / "ddsdk-acme" / "ddsdk_acme")
        else:
            run(step, work, environment)
    acme = work / "ddsdk-acme"
    assert not steps_of(acme)
    toy = package_of(bake(tmp_path / "toy", name="acme", chip="acme320"))
    for file in WRITTEN:
        assert imported(package_of(acme) / file) == imported(toy / file)


def imported(path: Path) -> set[str]:
    """The names a module imports, at the top or for its annotations."""
    return {alias.name for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
