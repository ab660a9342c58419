"""What the plugin registers, and that its README says the same."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import ddsdk_ipr
import ddsdk_ipr.chips
from ddsdk.hookspecs import ScsiHookSpecs, bind
from ddsdk.registry import load_path
from ddsdk_ipr import DRIVER_MODULES, ddsdk_register_drivers
from ddsdk_ipr.chips import CHIPS
from ddsdk_ipr.model_chips import CHIPS as MODELLED
from ddsdk_ipr.model_faults import FAULTS

PLUGIN = Path(__file__).resolve().parent.parent
PACKAGE = Path(ddsdk_ipr.__file__).parent
README = (PLUGIN / "README.md").read_text(encoding="utf-8")


def test_driver_is_found_in_the_directory() -> None:
    """The entry point of the distribution registers one driver and the models of three chips."""
    registry = load_path(PLUGIN)
    assert list(registry.drivers) == ["ipr"]
    assert [model.chip.name for model in registry.models_of("ipr")] == ["gemstone", "citrine", "snipe"]
    assert not registry.broken


def test_every_modelled_chip_is_driven() -> None:
    """A model's chip is in the driver's table, under the same PCI ids and with the same registers."""
    ids = {chip.name: (chip.vendor, chip.device) for chip in CHIPS}
    for profile in MODELLED:
        assert ids[profile.chip.name] == (profile.chip.vendor, profile.chip.device)
        assert ddsdk_ipr.chips.REGISTERS[profile.chip.name] is profile.regs
    assert CHIPS[0].name == MODELLED[0].chip.name


def test_pci_ids_are_the_specs() -> None:
    """hw-ipr.md section 1."""
    assert [(chip.name, f"{chip.vendor:04X}:{chip.device:04X}") for chip in CHIPS] == [
        ("gemstone", "1069:B166"), ("citrine", "1014:028C"), ("snipe", "1014:0180"), ("scamp", "9005:0503"),
        ("obsidian", "1014:02BD"), ("obsidian-adaptec", "9005:0500"), ("obsidian-e", "1014:0339"),
        ("scamp-e", "1014:034A")]


def test_all_four_hooks_bind() -> None:
    """Sanity check, quiesce, poll, shutdown."""
    (driver,) = ddsdk_register_drivers()
    assert bind(driver.hooks, ScsiHookSpecs).implemented == {"dump_sanity_check", "quiesce", "dump_poll", "shutdown"}


def test_modules_are_all_of_the_driver() -> None:
    """Every module that is neither model nor registration is under the CRC, and can be imported."""
    here = {f"ddsdk_ipr.{path.stem}" for path in PACKAGE.glob("*.py")}
    rest = {name for name in here if re.search(r"\.(__init__|chips|conformance|model\w*)$", name)}
    assert set(DRIVER_MODULES) == here - rest
    for name in DRIVER_MODULES:
        importlib.import_module(name)


def test_readme_lists_the_chips() -> None:
    """Each with its ids, in the table's order."""
    rows = re.findall(r"^\| (\S+)(?: \(default\))? \| (\w{4}:\w{4}) \|", README, re.M)
    assert rows == [(chip.name, f"{chip.vendor:04x}:{chip.device:04x}") for chip in CHIPS]


def test_readme_lists_the_files() -> None:
    """Every module of the driver has its line."""
    for name in DRIVER_MODULES:
        assert f"`{name.rpartition('.')[2]}.py`" in README


def test_faults_are_sentences() -> None:
    """Each id is a word or two, each meaning starts without a capital and ends without a full stop."""
    for fault, meaning in FAULTS.items():
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", fault)
        assert not meaning.endswith(".")
