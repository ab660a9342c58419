"""What the plugin registers, and that its README says the same."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import ddsdk_sym53c8xx
from ddsdk.hookspecs import ScsiHookSpecs, bind
from ddsdk.registry import load_path
from ddsdk_sym53c8xx import DRIVER_MODULES, ddsdk_register_drivers
from ddsdk_sym53c8xx.chips import CHIPS
from ddsdk_sym53c8xx.conformance import PROFILE
from ddsdk_sym53c8xx.model_faults import FAULTS

PLUGIN = Path(__file__).resolve().parent.parent
PACKAGE = Path(ddsdk_sym53c8xx.__file__).parent
README = (PLUGIN / "README.md").read_text(encoding="utf-8")


def test_driver_is_found_in_the_directory() -> None:
    """The entry point of the distribution registers one driver and the models of all its chips."""
    registry = load_path(PLUGIN)
    assert list(registry.drivers) == ["sym53c8xx"]
    assert not registry.broken
    ids = {chip.name: (chip.vendor, chip.device) for chip in CHIPS}
    assert {model.chip.name: (model.chip.vendor, model.chip.device)
            for model in registry.models_of("sym53c8xx")} == ids == {
        "53c895a": (0x1000, 0x0012), "53c810": (0x1000, 0x0001), "53c1010": (0x1000, 0x0020)}


def test_qemu_has_two_of_the_chips() -> None:
    """Its names for them."""
    models = load_path(PLUGIN).models_of("sym53c8xx")
    assert {model.chip.name: model.qemu and model.qemu.device for model in models} == {
        "53c895a": "lsi53c895a", "53c810": "lsi53c810", "53c1010": None}


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


def test_roles_are_faults_of_the_model() -> None:
    """What the conformance kit injects exists."""
    assert {fault.fault for fault in PROFILE.roles.values()} | set(PROFILE.fatal_faults) <= set(FAULTS)


def test_readme_lists_the_chips() -> None:
    """The table of chips is the driver's: names and PCI ids, the default first."""
    rows = re.findall(r"^\| (\S+?)(?: \(default\))? \| ([0-9a-f]{4}):([0-9a-f]{4}) \|", README, re.MULTILINE)
    assert rows == [(chip.name, f"{chip.vendor:04x}", f"{chip.device:04x}") for chip in CHIPS]


def test_readme_lists_the_files() -> None:
    """Every module has its line."""
    for path in PACKAGE.glob("*.py"):
        assert path.stem == "__init__" or f"`{path.name}`" in README, path.name
