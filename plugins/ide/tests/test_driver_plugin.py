"""What the plugin registers, that its README says the same, and parts of the kit on the model's other personality."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsdk.conformance.checks import all_checks
from ddsdk.conformance.plan import plans_of
from ddsdk.conformance.runner import Verdict, items_of, run
from ddsdk.registry import discover, load_path
from ddsdk.testing.plugin import PluginCheck, plugin_checks
from ddsdk_ide.chips import CHIPS
from plugins.ide.tests.campaign import as_qemu

PLUGIN = Path(__file__).resolve().parent.parent
#: Of each family what meets QEMU's peculiarities: DMA's end, errors, resets with either drive selected.
KIT = ("QUIESCE-1", "RESET-5", "POLL-1", "IRQ-4", "IO-21", "ERR-15", "ERR-16")


@pytest.mark.parametrize("check", plugin_checks("ide", PLUGIN), ids=str)
def test_plugin(check: PluginCheck) -> None:
    """What holds of every plugin holds of this one."""
    check.run()


def test_both_chips_are_modelled_and_qemu_has_them() -> None:
    """In the driver's order."""
    models = load_path(PLUGIN).models_of("ide")
    assert [model.chip for model in models] == list(CHIPS)
    assert all(model.qemu is not None for model in models)


def test_the_kit_on_the_other_personality() -> None:
    """What `ddsdk conformance` asks of the default one, in part."""
    (plan,) = plans_of(as_qemu(discover("ide")), ["ide"], chip="piix3")
    items = [item for item in items_of(plan, all_checks()) if item.check.id in KIT]
    results = run(plan, items)
    assert [f"{result.id}: {result.why}" for result in results
            if result.verdict not in (Verdict.PASS, Verdict.NOT_OFFERED)] == []
    assert sum(result.verdict is Verdict.PASS for result in results) >= 20
