"""From what a user types - the directory of a plugin, the name of a driver - to plans that can be run.

Everything a plugin can do wrong before the first check is found here, and is one line: PluginError.
"""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import TracebackType
from typing import Final

from ddsdk.errors import DdsdkError, PluginError, UsageError
from ddsdk.hookspecs.device import bind
from ddsdk.hookspecs.profile import Role
from ddsdk.registry import Registry, discover, load_path

from .bench import Bench
from .bounded import HungError, bounded
from .check import Check, Need, Setup
from .plan import Plan, plans_of

#: Importing a plugin and building its model take no longer.
LOAD_LIMIT_S: Final = 30.0


def plans_for(target: str | os.PathLike[str] | None, *, chip: str | None = None, backend: str = "model",
              seed: int = 1) -> list[Plan]:
    """A plan for each chip of *target* (a path or a name; None: every installed driver) that *backend* can play.

    UsageError: an unknown name, chip or backend.  PluginError, one line: the plugin cannot be loaded, registers
    nothing, has no model, or its hooks do not bind.  DeviceError: the backend is not there.
    """
    registry, names = load_target(target)
    plans: list[Plan] = []
    refusals: list[UsageError] = []
    for name in names:
        try:
            plans += plans_of(registry, [name], chip=chip, backend=backend, seed=seed)
        except UsageError as refusal:           # of several drivers, one that has this chip is enough
            refusals.append(refusal)
    if not plans and refusals:
        raise refusals[0]
    for plan in plans:
        _try(plan)
    return plans


def load_target(target: str | os.PathLike[str] | None) -> tuple[Registry, tuple[str, ...]]:
    """(where they are registered, the names of the drivers *target* means)."""
    if target is None:
        with _turn_of("an installed plugin"):
            registry = discover()
        return registry, tuple(sorted(name for name in registry.drivers if registry.models_of(name)))
    text = os.fspath(target)
    if _is_path(text):
        return _from_path(text)
    with _turn_of("an installed plugin"):
        registry = discover()
    if text not in registry.drivers and os.path.exists(text):
        return _from_path(text)
    return registry, (registry.driver(text).name,)


def _is_path(text: str) -> bool:
    return os.sep in text or text in (os.curdir, os.pardir) or Path(text, "pyproject.toml").is_file()


def _from_path(text: str) -> tuple[Registry, tuple[str, ...]]:
    with _turn_of(text):
        registry = load_path(text)
    if not registry.drivers:
        raise PluginError(f"{text}: it registers no driver, there is nothing to judge; mark ddsdk_register_drivers()"
                          " with @hookimpl (from ddsdk.hookspecs)")
    return registry, tuple(registry.drivers)


def _try(plan: Plan) -> None:
    """Bind the hooks and build the adapter once; PluginError says what does not fit."""
    driver, chip = plan.driver, plan.model.chip.name
    for what, function in (("probe", driver.probe), ("its model's build", plan.model.build)):
        if not callable(function):
            raise PluginError(f"driver {driver.name}: {what} is {type(function).__name__}, not a function")
    bind(driver.hooks, plan.specs, plugin=driver.name)
    with _turn_of(f"driver {driver.name}: chip {chip} on backend {plan.backend}"):
        Bench.build(plan, Setup(probe=False)).close()


@contextmanager
def _turn_of(what: str) -> Iterator[None]:
    """A plugin's code runs: whatever it raises, prints or never ends is one line that starts with *what*."""
    try:
        with bounded(LOAD_LIMIT_S), redirect_stdout(sys.stderr):
            yield
    except HungError as error:
        raise PluginError(f"{what}: not over after {LOAD_LIMIT_S:.0f} s, at {_place(error.__traceback__)}; registering"
                          " a driver and building its model must not wait") from None
    except (KeyboardInterrupt, DdsdkError):
        raise
    except BaseException as error:
        text = " ".join(str(error).split()) or "no text"
        raise PluginError(f"{what}: {type(error).__name__}: {text} at {_place(error.__traceback__)}") from error


def _place(trace: TracebackType | None) -> str:
    """The last line that is not ours or the import system's: "driver.py:12"."""
    found = "an unknown place"
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] not in ("ddsdk", "importlib", "contextlib", "pluggy"):
            found = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found


def doubts(plan: Plan, checks: Iterable[Check]) -> list[str]:
    """What the driver's profile says of checks and needs that do not exist, one line each: it has no effect."""
    ids = [check.id for check in checks]
    needs = [need.value for need in (*Need, *Role)]
    lines = []
    for what, keys, known in (("expected_failures", plan.profile.expected_failures, ids),
                              ("not_offered", plan.profile.not_offered, needs)):
        for key in keys:
            name = key.partition("@")[0].partition("[")[0]
            if name not in known:
                near = difflib.get_close_matches(name, known, 1)
                hint = f"; did you mean {near[0]}?" if near else ""
                lines.append(f"conformance profile of {plan.driver.name}: {what}[{key!r}] names nothing there is{hint}")
    return lines
