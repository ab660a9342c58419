"""Tiny plugin distributions: the bundled driver under another name, with something wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PYPROJECT = """
[project]
name = "ddsdk-{0}"
[project.entry-points.ddsdk]
{0} = "ddsdk_{0}"
"""
BASE = """
import attrs
import ddsdk_mptfusion as other
from ddsdk.hookspecs import ConformanceProfile, hookimpl

NAME = __name__.removeprefix("ddsdk_")

def drivers():
    (driver,) = other.ddsdk_register_drivers()
    return [attrs.evolve(driver, name=NAME, modules=(*driver.modules, __name__))]

def models():
    return [attrs.evolve(model, driver=NAME) for model in other.ddsdk_register_hardware_models()]

def profiles():
    (profile,) = other.ddsdk_register_conformance_profiles()
    return [attrs.evolve(profile, driver=NAME)]
"""
REGISTER = """
@hookimpl
def ddsdk_register_drivers():
    return drivers()

@hookimpl
def ddsdk_register_hardware_models():
    return models()

@hookimpl
def ddsdk_register_conformance_profiles():
    return profiles()
"""


class Workshop:
    """Makes plugin distributions, each under a package name of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def plugin(self, name: str, changes: str = "", register: str = REGISTER) -> Path:
        """The bundled driver called *name*, with *changes* behind it and registered by *register*."""
        return self.raw(name, BASE + changes + register)

    def raw(self, name: str, source: str, pyproject: str = PYPROJECT) -> Path:
        """A distribution whose only module is *source*."""
        package = self.root / name / f"ddsdk_{name}"
        package.mkdir(parents=True)
        (self.root / name / "pyproject.toml").write_text(pyproject.format(name))
        (package / "__init__.py").write_text(source)
        return self.root / name

    def site(self, name: str, source: str) -> Path:
        """An installed distribution; the directory has to be on sys.path."""
        info = self.root / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[ddsdk]\n{name} = ddsdk_{name}\n")
        (self.root / f"ddsdk_{name}.py").write_text(source)
        return self.root


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """A place for plugins; what was imported from it is forgotten afterwards."""
    before = set(sys.modules)
    yield Workshop(tmp_path / "plugins")
    for name in set(sys.modules) - before:
        if name.startswith("ddsdk_") and not name.startswith("ddsdk_mptfusion"):
            del sys.modules[name]
