"""What is judged: one driver, one chip, one backend, one seed."""

from __future__ import annotations

import importlib
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any

from attrs import define, field

from ddsdk.errors import PluginError, UsageError
from ddsdk.hookspecs.ata import AtaHookSpecs
from ddsdk.hookspecs.discovery import DriverInfo, HardwareModelInfo
from ddsdk.hookspecs.profile import ConformanceProfile, ModelFault, Role
from ddsdk.hookspecs.scsi import ScsiHookSpecs
from ddsdk.registry import Registry
from ddsdk.target import BACKENDS, Target

from .emulated import Emulators

if TYPE_CHECKING:
    from .check import Setup


@define
class Plan:
    """One driver on one adapter.  Holds what checks measure once and share, such as how long a reset takes."""

    driver: DriverInfo
    model: HardwareModelInfo
    profile: ConformanceProfile
    backend: str = "model"
    seed: int = 1
    #: By Setup: nanoseconds a host reset takes in normal mode on an idle adapter.
    reset_ns: dict[Setup, int] = field(factory=dict, repr=False)
    #: By name: what became of a route (see routes.py).
    trips: dict[str, Any] = field(factory=dict, repr=False)
    #: The driver's own locks that one queuecommand takes, in that order; None: not measured yet.
    queue_locks: tuple[str, ...] | None = field(default=None, repr=False)
    #: How the driver takes its locks before the crash (see lockwatch.py); None: not watched yet.
    lock_habits: Any = field(default=None, repr=False)
    #: Ids of items that had no end: after the first the others get less time.
    hung: list[str] = field(factory=list, repr=False)
    #: QEMUs that wait for another machine.
    emulators: Emulators = field(factory=Emulators, repr=False)
    _files: dict[str, str] | None = field(default=None, repr=False)

    @property
    def specs(self) -> type:
        """The hook specs of the driver's bus."""
        return AtaHookSpecs if self.driver.bus == "ata" else ScsiHookSpecs

    @property
    def registry(self) -> Registry:
        """This driver on this model, and nothing else."""
        return Registry(MappingProxyType({self.driver.name: self.driver}), (self.model,), (),
                        MappingProxyType({self.driver.name: self.profile}))

    def target(self, path: str, offset_bytes: int = 0, size_bytes: int | None = None) -> Target:
        """A dump target on this adapter, as `--to` would name it."""
        return Target(self.driver.name, path, self.model.chip.name, self.backend, offset_bytes, size_bytes)

    def random(self, *what: object) -> random.Random:
        """A generator of its own for *what* under this plan's seed."""
        return random.Random(f"{self.seed}/" + "/".join(map(str, what)))

    def role(self, role: Role) -> ModelFault | None:
        """The model's fault that plays *role*, if the profile names one."""
        return self.profile.roles.get(role)

    @property
    def files(self) -> dict[str, str]:
        """Source file -> how it is shown, of every module of the driver that runs after a crash.

        One that cannot be imported is left out; REG-9 says so.
        """
        if self._files is None:
            self._files = {}
            for name in self.driver.modules:
                with suppress(Exception):
                    file = importlib.import_module(name).__file__
                    if file:
                        self._files[file] = Path(file).name
        return self._files

    def site(self, trace: TracebackType | None) -> str:
        """The driver's line a traceback leads through last: "driver.py:120 in queuecommand"; "" when through none."""
        found = ""
        while trace is not None:
            code = trace.tb_frame.f_code
            shown = self.files.get(code.co_filename)
            if shown:
                found = f"{shown}:{trace.tb_lineno} in {code.co_name}"
            trace = trace.tb_next
        return found


def plans_of(registry: Registry, names: Sequence[str], *, chip: str | None = None, backend: str = "model",
             seed: int = 1) -> list[Plan]:
    """A Plan for every chip of drivers *names* that *backend* can play; only *chip* when it is given.

    UsageError: an unknown chip or backend, or nothing to run on.  PluginError: the driver comes without a model.
    """
    if backend not in BACKENDS:
        raise UsageError(f"unknown backend {backend!r}: there are {', '.join(BACKENDS)}")
    plans = []
    for name in names:
        driver, profile = registry.driver(name), registry.profile_of(name)
        models = registry.models_of(name)
        if not models:
            raise PluginError(f"driver {name} comes without a hardware model; register one with"
                              " ddsdk_register_hardware_models(), the kit has nothing else to run it on")
        able = [model for model in models if backend == "model" or model.qemu]
        if chip is not None:
            if chip not in [model.chip.name for model in models]:
                there = ", ".join(model.chip.name for model in models)
                raise UsageError(f"unknown chip {chip!r}: {name} has {there}")
            able = [model for model in able if model.chip.name == chip]
        if not able:
            what = "no chip" if chip is None else f"chip {chip}, but not"
            raise UsageError(f"driver {name} has {what} for backend {backend}: use --backend model")
        plans += [Plan(driver, model, profile, backend, seed) for model in able]
    return plans
