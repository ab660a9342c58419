"""Which drivers and hardware models there are: installed distributions, or one given as a directory.

A distribution names a module under the entry-point group `ddsdk`; the module implements the discovery hooks.
One PluginManager discovers them all; a plugin that cannot be used is named in `Registry.broken` and skipped.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import pluggy
from attrs import field, frozen

from .errors import PluginError, UsageError
from .hookspecs.device import implementations, misfit
from .hookspecs.discovery import DiscoveryHookSpecs, DriverInfo, HardwareModelInfo
from .hookspecs.markers import PROJECT
from .hookspecs.profile import ConformanceProfile

GROUP = "ddsdk"
LOAD_VARIABLE = "DDSDK_LOAD_PLUGINS"


@frozen
class Broken:
    """A plugin that was found and cannot be used, and why, in one line."""

    entry_point: str
    distribution: str
    reason: str


@frozen
class Registry:
    """What was found.  `drivers` by name, `models` in the order they were registered, `profiles` by driver."""

    drivers: Mapping[str, DriverInfo] = field(factory=lambda: MappingProxyType({}))
    models: tuple[HardwareModelInfo, ...] = ()
    broken: tuple[Broken, ...] = ()
    profiles: Mapping[str, ConformanceProfile] = field(factory=lambda: MappingProxyType({}))

    def driver(self, name: str) -> DriverInfo:
        """The driver called *name*; UsageError lists what there is, PluginError: its plugin is broken."""
        found = self.drivers.get(name)
        if found is not None:
            return found
        for plugin in self.broken:
            if name in (plugin.entry_point, plugin.distribution):
                raise PluginError(f"driver {name}: its plugin cannot be used: {plugin.reason}")
        there = ", ".join(sorted(self.drivers)) or f"none; install a plugin ({LOAD_VARIABLE} can hide it)"
        raise UsageError(f"unknown driver {name!r}: there are {there}")

    def profile_of(self, name: str) -> ConformanceProfile:
        """What the conformance kit is told of driver *name*; an empty profile when its plugin brings none."""
        return self.profiles.get(name) or ConformanceProfile(name)

    def models_of(self, name: str) -> tuple[HardwareModelInfo, ...]:
        """The hardware models that driver *name* can run on."""
        return tuple(model for model in self.models if model.driver == name)


@frozen
class _Found:
    """A plugin before it is loaded: who it is, and what imports it."""

    entry_point: str
    distribution: str
    load: Any


def discover(load: str | None = None, found: Iterable[EntryPoint] | None = None) -> Registry:
    """The plugins of this environment.

    *load* (default: the environment variable DDSDK_LOAD_PLUGINS) is a comma-separated list of entry points or
    distributions; only those are loaded, in this order; empty: none; unset: all, by name.  *found*: entry
    points to choose from instead of the installed ones.  Never fails: what cannot be used is in
    `Registry.broken`.
    """
    chosen = os.environ.get(LOAD_VARIABLE) if load is None else load
    available = sorted((entry_points(group=GROUP) if found is None else found), key=lambda e: e.name)
    plugins = [_Found(point.name, point.dist.name if point.dist else "unknown", point.load)
               for point in available]
    missing: list[Broken] = []
    if chosen is not None:
        plugins, missing = _choose(plugins, chosen)
    return _collect(plugins, missing)


def load_path(path: str | os.PathLike[str]) -> Registry:
    """The plugin distribution whose sources are in directory *path*, whether it is installed or not.

    Its pyproject.toml names the entry point; the package lies beside it or under src/.  PluginError, one
    line, when there is no such plugin or it cannot be used.
    """
    root = Path(path)
    distribution, points = _project(root)
    plugins = [_Found(name, distribution, lambda module=module: _import_from(root, module))
               for name, module in points.items()]
    registry = _collect(plugins, [])
    if registry.broken:
        raise PluginError(f"{root}: {registry.broken[0].reason}")
    return registry


# --- choosing ----------------------------------------------------------------------------------------------


def _choose(plugins: Sequence[_Found], chosen: str) -> tuple[list[_Found], list[Broken]]:
    taken: list[_Found] = []
    missing: list[Broken] = []
    for name in filter(None, (part.strip() for part in chosen.split(","))):
        matches = [p for p in plugins if _same(name, p.entry_point) or _same(name, p.distribution)]
        taken += [p for p in matches if p not in taken]
        if not matches:
            there = ", ".join(p.entry_point for p in plugins) or "none"
            missing.append(Broken(name, name, f"{LOAD_VARIABLE} asks for it, but it is not installed; there"
                                              f" are {there}"))
    return taken, missing


def _same(one: str, other: str) -> bool:
    """Names compare as distribution names do: case and -_. do not matter."""
    return re.sub(r"[-_.]+", "-", one).lower() == re.sub(r"[-_.]+", "-", other).lower()


# --- loading -----------------------------------------------------------------------------------------------


def _collect(plugins: Sequence[_Found], broken: list[Broken]) -> Registry:
    pm = pluggy.PluginManager(PROJECT)
    pm.add_hookspecs(DiscoveryHookSpecs)
    drivers: dict[str, DriverInfo] = {}
    models: list[HardwareModelInfo] = []
    profiles: dict[str, ConformanceProfile] = {}
    for plugin in plugins:
        try:
            with redirect_stdout(sys.stderr):       # stdout is the program's result, not a plugin's greeting
                brought = _register(pm, plugin)
            for driver in brought.drivers:
                if driver.name in drivers:
                    raise PluginError(f"driver {driver.name} is registered by another plugin already")
        except (Exception, SystemExit) as error:    # whatever a plugin does wrong, the others work
            broken.append(Broken(plugin.entry_point, plugin.distribution, _one_line(error)))
            continue
        drivers.update((driver.name, driver) for driver in brought.drivers)
        models += brought.models
        profiles.update((profile.driver, profile) for profile in brought.profiles)
    return Registry(MappingProxyType(drivers), tuple(models), tuple(broken), MappingProxyType(profiles))


@frozen
class _Brought:
    """What one plugin registers."""

    drivers: list[DriverInfo]
    models: list[HardwareModelInfo]
    profiles: list[ConformanceProfile]


def _register(pm: pluggy.PluginManager, plugin: _Found) -> _Brought:
    """Import one plugin and ask it, and only it, what it brings."""
    module = plugin.load()
    impls = implementations(module)
    if not impls:
        raise PluginError(f"{getattr(module, '__name__', module)} implements no hook; mark"
                          " ddsdk_register_drivers() with @hookimpl (from ddsdk.hookspecs)")
    for hook, impl in impls:
        complaint = misfit(DiscoveryHookSpecs, hook, impl)
        if complaint:
            raise PluginError(complaint)
    others = pm.get_plugins()
    pm.register(module, name=plugin.entry_point)
    try:
        drivers = list(_answers(pm, others, "ddsdk_register_drivers", DriverInfo))
        models = list(_answers(pm, others, "ddsdk_register_hardware_models", HardwareModelInfo))
        profiles = list(_answers(pm, others, "ddsdk_register_conformance_profiles", ConformanceProfile))
        if not drivers and not models:
            raise PluginError("it registers neither a driver nor a hardware model")
        strangers = {profile.driver for profile in profiles} - {driver.name for driver in drivers}
        if strangers:
            raise PluginError(f"its conformance profile is of driver {min(strangers)}, which it does not register")
    except Exception:
        pm.unregister(module)
        raise
    return _Brought(drivers, models, profiles)


def _answers(pm: pluggy.PluginManager, others: set[Any], hook: str, kind: type) -> Iterator[Any]:
    """What one plugin answers to a discovery hook, checked."""
    for answer in pm.subset_hook_caller(hook, remove_plugins=others)():
        items = answer if isinstance(answer, Sequence) else [answer]
        if items is not answer or not all(isinstance(item, kind) for item in items):
            raise PluginError(f"{hook}() returned {answer!r}; it must be a sequence of {kind.__name__}")
        yield from items


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, PluginError) else f"{type(error).__name__}: {text or 'no text'}"


# --- a plugin in a directory -------------------------------------------------------------------------------


def _project(root: Path) -> tuple[str, dict[str, str]]:
    """(distribution name, {entry point: module}) by *root*/pyproject.toml."""
    file = root / "pyproject.toml"
    try:
        project = _table(tomllib.loads(file.read_text(encoding="utf-8")), "project")
    except OSError as error:
        raise PluginError(f"{file}: {error.strerror}; give the directory of a plugin distribution, such as"
                          " plugins/NAME") from error
    except ValueError as error:
        raise PluginError(f"{file}: not TOML: {_one_line(error)}") from error
    points = _table(_table(project, "entry-points"), GROUP)
    if not points:
        raise PluginError(f'{file}: no [project.entry-points.{GROUP}]; a plugin names its module there')
    return str(project.get("name", root.name)), {str(name): str(module) for name, module in points.items()}


def _table(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Table *name* of a TOML table; an empty one when it is not there, or is no table."""
    found = table.get(name)
    return found if isinstance(found, dict) else {}


def _import_from(root: Path, name: str) -> ModuleType:
    """Module *name* (an attribute after a colon is not needed) out of *root* or *root*/src."""
    name = name.partition(":")[0]
    top = name.partition(".")[0]
    init = next((place / top / "__init__.py" for place in (root, root / "src")
                 if (place / top / "__init__.py").is_file()), None)
    if init is None:
        raise PluginError(f"{root} has no package {top}: neither {top}/__init__.py nor src/{top}/__init__.py")
    loaded = sys.modules.get(top)
    if loaded is None:
        _import_package(top, init)
    elif not loaded.__file__ or not Path(loaded.__file__).samefile(init):
        raise PluginError(f"package {top} is loaded from {loaded.__file__} already; one program can use only"
                          " one of the two")
    return importlib.import_module(name)


def _import_package(name: str, init: Path) -> None:
    spec = importlib.util.spec_from_file_location(name, init, submodule_search_locations=[str(init.parent)])
    if spec is None or spec.loader is None:
        raise PluginError(f"{init}: not a Python package")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
