"""Where drivers are broken: a copy of a plugin with a few words changed, loaded under a package name of its own."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

from ddsdk.errors import UsageError
from ddsdk.registry import Registry, load_path

#: What is not needed to run a plugin.
_LEFT_BEHIND: Final = ("tests", "golden", "c", ".*", "__pycache__", "*.egg-info", "dist", "build")


@frozen
class Edit:
    """In *file* of the plugin's package, *old* becomes *new*.  *old* must be there exactly once."""

    file: str
    old: str
    new: str

    def apply(self, package: Path) -> None:
        """Carry it out; UsageError when *old* is not there, or more than once."""
        path = package / self.file
        text = path.read_text("utf-8")
        count = text.count(self.old)
        if count != 1:
            raise UsageError(f"{self.file}: the text to change is there {count} times, it must be there once:"
                             f" {self.old!r}")
        path.write_text(text.replace(self.old, self.new), "utf-8")


@contextmanager
def edited_plugin(root: Path, edits: Sequence[Edit]) -> Iterator[Registry]:
    """The plugin distribution at *root* with *edits*, as `load_path` gives it; gone again afterwards.

    UsageError for an edit that does not fit, PluginError when the result cannot be loaded.
    """
    package = _package(root)
    name = _free_name(package)
    with tempfile.TemporaryDirectory(prefix="ddsdk-saboteur-") as directory:
        copy = Path(directory) / "plugin"
        shutil.copytree(root, copy, ignore=shutil.ignore_patterns(*_LEFT_BEHIND))
        for edit in edits:
            edit.apply(copy / package)
        (copy / package).rename(copy / name)
        for path in (copy / "pyproject.toml", *(copy / name).rglob("*.py")):
            path.write_text(re.sub(rf"\b{package}\b", name, path.read_text("utf-8")), "utf-8")
        wrote, sys.dont_write_bytecode = sys.dont_write_bytecode, True
        try:
            yield load_path(copy)
        finally:
            sys.dont_write_bytecode = wrote
            for module in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
                del sys.modules[module]


def _package(root: Path) -> str:
    """The import package of the distribution at *root*: the only directory with an __init__.py."""
    found = [path.parent.name for path in sorted(root.glob("*/__init__.py")) if path.parent.name != "tests"]
    if len(found) != 1:
        raise UsageError(f"{root}: packages {found or 'none'}; a plugin to be edited has exactly one")
    return found[0]


def _free_name(package: str) -> str:
    number = 1
    while f"{package}_x{number}" in sys.modules:
        number += 1
    return f"{package}_x{number}"
