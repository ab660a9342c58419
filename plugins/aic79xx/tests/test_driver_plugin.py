"""What the plugin registers, and that its README says the same."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import ddsdk_aic79xx
from ddsdk.hookspecs import ScsiHookSpecs, bind
from ddsdk.registry import load_path
from ddsdk_aic79xx import DRIVER_MODULES, ddsdk_register_drivers
from ddsdk_aic79xx.chips import CHIPS
from ddsdk_aic79xx.conformance import PROFILE
from ddsdk_aic79xx.model_faults import FAULTS

PLUGIN = Path(__file__).resolve().parent.parent
PACKAGE = Path(ddsdk_aic79xx.__file__).parent
README = (PLUGIN / "README.md").read_text(encoding="utf-8")


def test_driver_is_found_in_the_directory() -> None:
    """The entry point of the distribution registers one driver and the models of its chips."""
    registry = load_path(PLUGIN)
    assert list(registry.drivers) == ["aic79xx"]
    assert [model.chip.name for model in registry.models_of("aic79xx")] == ["aic7901", "aic7902", "aic7902a"]
    assert not registry.broken


def test_every_modelled_chip_is_driven() -> None:
    """A model's chip is in the driver's table, under the same PCI ids; the default chip has a model."""
    registry = load_path(PLUGIN)
    ids = {chip.name: (chip.vendor, chip.device) for chip in CHIPS}
    models = registry.models_of("aic79xx")
    assert all(ids[model.chip.name] == (model.chip.vendor, model.chip.device) for model in models)
    assert CHIPS[0].name in {model.chip.name for model in models}


def test_code_check_covers_what_runs_after_a_crash() -> None:
    """Every module of the driver is under the code CRC; models, discovery and the profile are not."""
    modules = {path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith(("model", "__init__"))}
    assert {name.rpartition(".")[2] for name in DRIVER_MODULES} == modules - {"conformance"}
    for name in DRIVER_MODULES:
        importlib.import_module(name)


def test_hooks_fit_their_specs() -> None:
    """All four hooks are implemented with the arguments the specs give."""
    [info] = ddsdk_register_drivers()
    assert bind(info.hooks, ScsiHookSpecs).implemented == {"dump_sanity_check", "quiesce", "dump_poll", "shutdown"}


def test_the_profile_names_faults_of_the_model() -> None:
    """Every role is played, and no check is expected to fail."""
    named = {fault.fault for fault in PROFILE.roles.values()} | set(PROFILE.fatal_faults)
    assert named <= FAULTS.keys()
    assert len(PROFILE.roles) == 10
    assert not PROFILE.expected_failures
    assert not PROFILE.not_offered


def test_readme_lists_the_chips() -> None:
    """The table of chips is the driver's: names and PCI ids, the default first."""
    rows = re.findall(r"^\| (\S+?)(?: \(default\))? \| ([0-9a-f]{4}):([0-9a-f]{4}) \|", README, re.MULTILINE)
    assert rows == [(chip.name, f"{chip.vendor:04x}", f"{chip.device:04x}") for chip in CHIPS]


def test_readme_lists_the_files() -> None:
    """Every module of the driver has its line."""
    for name in DRIVER_MODULES:
        assert f"`{name.rpartition('.')[2]}.py`" in README
