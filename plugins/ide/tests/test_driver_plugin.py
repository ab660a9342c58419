"""What the plugin registers, that its README says the same, and parts of the kit on the model's other personality."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import ddsdk_ide
from ddsdk.conformance.checks import all_checks
from ddsdk.conformance.plan import plans_of
from ddsdk.conformance.runner import Verdict, items_of, run
from ddsdk.hookspecs import AtaHookSpecs, bind
from ddsdk.registry import discover, load_path
from ddsdk_ide import DRIVER_MODULES, ddsdk_register_drivers
from ddsdk_ide.chips import CHIPS
from plugins.ide.tests.campaign import with_personality

PLUGIN = Path(__file__).resolve().parent.parent
PACKAGE = Path(ddsdk_ide.__file__).parent
README = (PLUGIN / "README.md").read_text(encoding="utf-8")
#: Of each family what meets QEMU's peculiarities: DMA's end, errors, resets with either drive selected.
KIT = ("QUIESCE-1", "RESET-5", "POLL-1", "IRQ-4", "IO-21", "ERR-15", "ERR-16")


def test_driver_is_found_in_the_directory() -> None:
    """The entry point of the distribution registers one driver and the models of both chips."""
    registry = load_path(PLUGIN)
    assert list(registry.drivers) == ["ide"]
    assert [model.chip for model in registry.models_of("ide")] == list(CHIPS)
    assert all(model.qemu is not None for model in registry.models_of("ide"))
    assert not registry.broken


def test_code_check_covers_what_runs_after_a_crash() -> None:
    """Every module of the driver is under the code CRC; models, the chip table, discovery and the profile are not."""
    modules = {path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith(("model", "__init__"))}
    assert {name.rpartition(".")[2] for name in DRIVER_MODULES} == modules - {"chips", "conformance"}
    for name in DRIVER_MODULES:
        importlib.import_module(name)


def test_hooks_fit_their_specs() -> None:
    """All four hooks are implemented with the arguments the specs give."""
    [info] = ddsdk_register_drivers()
    assert bind(info.hooks, AtaHookSpecs).implemented == {"dump_sanity_check", "quiesce", "dump_poll", "shutdown"}


def test_readme_lists_chips_and_files() -> None:
    """Names and PCI ids, the default first; every module of the driver has its line."""
    rows = re.findall(r"^\| (\S+?)(?: \(default\))? \| ([0-9a-f]{4}):([0-9a-f]{4}) \|", README, re.MULTILINE)
    assert rows == [(chip.name, f"{chip.vendor:04x}", f"{chip.device:04x}") for chip in CHIPS]
    for name in DRIVER_MODULES:
        assert f"`{name.rpartition('.')[2]}.py`" in README


@pytest.mark.parametrize("personality", ["qemu"])
def test_the_kit_on_the_other_personality(personality: str) -> None:
    """What `ddsdk conformance` asks of the default one, in part."""
    (plan,) = plans_of(with_personality(discover("ide"), personality), ["ide"], chip="piix3")
    items = [item for item in items_of(plan, all_checks()) if item.check.id in KIT]
    results = run(plan, items)
    assert [f"{result.id}: {result.why}" for result in results
            if result.verdict not in (Verdict.PASS, Verdict.NOT_OFFERED)] == []
    assert sum(result.verdict is Verdict.PASS for result in results) >= 20
