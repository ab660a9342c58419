"""Plugins: found by entry point, chosen by variable, loaded from a directory, named when they are broken."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from ddsdk.errors import PluginError, UsageError
from ddsdk.registry import Broken, Registry, discover, load_path

GOOD = '''
from ddsdk.hookspecs import Chip, DriverInfo, HardwareModelInfo, hookimpl

CHIP = Chip("{name}chip", 0x1000, 0x0030, "A chip")

@hookimpl
def ddsdk_register_drivers():
    probe = lambda pdev, chip: None
    return [DriverInfo("{name}", "scsi", "A driver", (CHIP,), probe, object(), ("{module}",))]

@hookimpl
def ddsdk_register_hardware_models():
    return (HardwareModelInfo("{name}", CHIP, lambda machine, targets: None, ("a data sheet",)),)
'''


PYPROJECT = """
[project]
name = "ddsdk-{0}"
[project.entry-points.ddsdk]
{0} = "reg_{0}"
"""
#: The start of a module that registers something.
HOOK = "from ddsdk.hookspecs import hookimpl\n@hookimpl\ndef ddsdk_register_drivers(): return "


class Workshop:
    """Makes plugin distributions in a directory that is on sys.path."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def module(self, name: str, source: str) -> EntryPoint:
        """A module that can be imported, and its entry point."""
        (self.root / f"{name}.py").write_text(source)
        return EntryPoint(name.removeprefix("reg_"), name, "ddsdk")

    def good(self, name: str) -> EntryPoint:
        """A working plugin called *name*."""
        return self.module(f"reg_{name}", GOOD.format(name=name, module=f"reg_{name}"))

    def distribution(self, name: str, source: str = "", place: str = "", pyproject: str = PYPROJECT) -> Path:
        """A source tree of a plugin, not on sys.path."""
        tree = self.root / "trees" / name
        package = tree / place / f"reg_{name}"
        package.mkdir(parents=True)
        (tree / "pyproject.toml").write_text(pyproject.format(name))
        (package / "__init__.py").write_text(source or "from .plugin import *\n")
        (package / "plugin.py").write_text(GOOD.format(name=name, module=f"reg_{name}.plugin"))
        return tree


@pytest.fixture
def workshop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """A place for plugins; what was imported from it is forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("DDSDK_LOAD_PLUGINS", raising=False)
    yield Workshop(tmp_path)
    for name in [name for name in sys.modules if name.startswith("reg_")]:
        del sys.modules[name]


# --- discovery ---------------------------------------------------------------------------------------------


def test_finds_drivers_and_models(workshop: Workshop) -> None:
    """Every good plugin's drivers by name, its models in order of entry points."""
    registry = discover(found=[workshop.good("two"), workshop.good("one")])
    assert sorted(registry.drivers) == ["one", "two"]
    assert [model.driver for model in registry.models] == ["one", "two"]
    assert registry.driver("one").chips[0].name == "onechip"
    assert [m.chip.name for m in registry.models_of("two")] == ["twochip"]
    assert registry.broken == ()


BROKEN = {
    "raises": ("raise RuntimeError('no\\nluck')", "RuntimeError: no luck"),
    "leaves": ("import sys\nsys.exit(3)", "SystemExit: 3"),
    "syntax": ("def f(:", "SyntaxError: invalid syntax"),
    "imports": ("import reg_nowhere", "ModuleNotFoundError: No module named 'reg_nowhere'"),
    "empty": ("", "reg_empty implements no hook; mark ddsdk_register_drivers() with @hookimpl (from"
                  " ddsdk.hookspecs)"),
    "unmarked": ("def ddsdk_register_drivers(): return []", "reg_unmarked implements no hook; mark"),
    "nothing": (HOOK + "[]",
                "it registers neither a driver nor a hardware model"),
    "misspelt": (HOOK.replace("drivers", "driver") + "[]",
                 "unknown hook 'ddsdk_register_driver' of reg_misspelt.ddsdk_register_driver; did you mean"
                 " ddsdk_register_drivers()?"),
    "greedy": (HOOK.replace("()", "(kernel)") + "[]",
               "hook ddsdk_register_drivers(kernel) of reg_greedy.ddsdk_register_drivers takes kernel, which"
               " the spec ddsdk_register_drivers() does not give"),
    "wrong": (HOOK + "['mydriver']",
              "ddsdk_register_drivers() returned ['mydriver']; it must be a sequence of DriverInfo"),
    "single": (HOOK + "7",
               "ddsdk_register_drivers() returned 7; it must be a sequence of DriverInfo"),
    "late": (HOOK + "1 // 0",
             "ZeroDivisionError: integer division or modulo by zero"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_plugin_is_named_and_skipped(workshop: Workshop, name: str) -> None:
    """The reason is one line; the plugins before and after it work."""
    source, reason = BROKEN[name]
    bad = workshop.module(f"reg_{name}", source)
    registry = discover(found=[workshop.good("aaa"), bad, workshop.good("zzz")])
    assert sorted(registry.drivers) == ["aaa", "zzz"]
    (broken,) = registry.broken
    assert (broken.entry_point, broken.distribution) == (name, "unknown")
    assert broken.reason.startswith(reason)
    assert "\n" not in broken.reason


def test_two_drivers_of_one_name(workshop: Workshop) -> None:
    """The second is the broken one; nothing of it is registered."""
    points = [workshop.module(name, GOOD.format(name="same", module=name))
              for name in ("reg_first", "reg_other")]
    registry = discover(found=points)
    assert registry.driver("same").modules == ("reg_first",)
    reason = "driver same is registered by another plugin already"
    assert registry.broken == (Broken("other", "unknown", reason),)
    assert len(registry.models) == 1


# --- choosing ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("chosen", "names"), [
    (None, ["one", "three", "two"]), ("", []), ("two", ["two"]), ("two, one", ["one", "two"]),
    ("TWO", ["two"])])
def test_the_variable_chooses(workshop: Workshop, monkeypatch: pytest.MonkeyPatch, chosen: str | None,
                              names: list[str]) -> None:
    """DDSDK_LOAD_PLUGINS: unset all, empty none, else those listed; the others are not even imported."""
    if chosen is not None:
        monkeypatch.setenv("DDSDK_LOAD_PLUGINS", chosen)
    registry = discover(found=[workshop.good(name) for name in ("one", "two", "three")])
    assert sorted(registry.drivers) == names
    assert sorted(n.removeprefix("reg_") for n in sys.modules if n.startswith("reg_")) == names


def test_the_argument_wins_over_the_variable(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """discover("one") loads one whatever the environment says."""
    monkeypatch.setenv("DDSDK_LOAD_PLUGINS", "two")
    assert list(discover("one", [workshop.good("one"), workshop.good("two")]).drivers) == ["one"]


def test_a_chosen_plugin_that_is_missing_is_named(workshop: Workshop) -> None:
    """Asking for what is not installed is said, with what there is."""
    registry = discover("one,nowhere", [workshop.good("one")])
    assert list(registry.drivers) == ["one"]
    reason = "DDSDK_LOAD_PLUGINS asks for it, but it is not installed; there are one"
    assert registry.broken == (Broken("nowhere", "nowhere", reason),)


# --- asking ------------------------------------------------------------------------------------------------


def test_unknown_driver_lists_what_there_is(workshop: Workshop) -> None:
    """A UsageError with the names; without any driver it says how to get one."""
    registry = discover(found=[workshop.good("one"), workshop.good("two")])
    with pytest.raises(UsageError) as error:
        registry.driver("tow")
    assert str(error.value) == "unknown driver 'tow': there are one, two"
    with pytest.raises(UsageError) as error:
        Registry().driver("one")
    assert str(error.value) == ("unknown driver 'one': there are none; install a plugin (DDSDK_LOAD_PLUGINS"
                                " can hide it)")


def test_driver_of_a_broken_plugin(workshop: Workshop) -> None:
    """Asking for it says why it is not there."""
    registry = discover(found=[workshop.module("reg_bad", "raise OSError('no chip')")])
    with pytest.raises(PluginError) as error:
        registry.driver("bad")
    assert str(error.value) == "driver bad: its plugin cannot be used: OSError: no chip"


# --- a directory -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["", "src"])
def test_load_path(workshop: Workshop, place: str) -> None:
    """A source tree is loaded by its pyproject, relative imports work, sys.path stays as it was."""
    tree = workshop.distribution("tree", place=place)
    before = list(sys.path)
    assert list(load_path(tree).drivers) == ["tree"]
    assert sys.path == before
    assert list(load_path(tree).drivers) == ["tree"]       # again: the loaded package is used


def test_load_path_of_a_second_copy(workshop: Workshop) -> None:
    """Two copies of one package cannot be used at once; it says where the first came from."""
    load_path(workshop.distribution("tree"))
    other = Workshop(workshop.root / "elsewhere").distribution("tree")
    with pytest.raises(PluginError) as error:
        load_path(other)
    first = f"{workshop.root}/trees/tree/reg_tree/__init__.py"
    assert f"package reg_tree is loaded from {first} already" in str(error.value)


@pytest.mark.parametrize(("pyproject", "reason"), [
    ('[project]\nname = "x"\n', "no [project.entry-points.ddsdk]; a plugin names its module there"),
    ("[project", "not TOML: TOMLDecodeError: "),
    ('[project.entry-points.ddsdk]\nx = "reg_other"\n', "has no package reg_other: neither"),
])
def test_directories_that_are_no_plugin(workshop: Workshop, pyproject: str, reason: str) -> None:
    """Each says what is missing, in one line."""
    tree = workshop.distribution("odd", pyproject=pyproject)
    with pytest.raises(PluginError) as error:
        load_path(tree)
    assert reason in str(error.value)
    assert "\n" not in str(error.value)


def test_load_path_of_a_broken_plugin(workshop: Workshop) -> None:
    """Its own error, and no half-loaded package stays behind."""
    tree = workshop.distribution("bad", "import reg_bad.plugin\nraise ValueError('oops')\n")
    with pytest.raises(PluginError) as error:
        load_path(tree)
    assert str(error.value) == f"{tree}: ValueError: oops"
    assert "reg_bad" not in sys.modules


def test_load_path_of_nothing(tmp_path: Path) -> None:
    """A directory without pyproject.toml."""
    with pytest.raises(PluginError) as error:
        load_path(tmp_path)
    assert str(error.value) == (f"{tmp_path}/pyproject.toml: No such file or directory; give the directory of"
                                " a plugin distribution, such as plugins/NAME")


def test_the_environment_is_readable() -> None:
    """discover() on whatever is installed here never raises."""
    assert isinstance(discover(), Registry)
