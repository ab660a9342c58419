"""What the plugin registers, and that its README says the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsdk.registry import load_path
from ddsdk.testing.plugin import PluginCheck, plugin_checks
from ddsdk_sym53c8xx.chips import CHIPS

PLUGIN = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("check", plugin_checks("sym53c8xx", PLUGIN), ids=str)
def test_plugin(check: PluginCheck) -> None:
    """What holds of every plugin holds of this one."""
    check.run()


def test_every_chip_is_modelled() -> None:
    """Under these ids."""
    models = load_path(PLUGIN).models_of("sym53c8xx")
    assert {model.chip.name: (model.chip.vendor, model.chip.device) for model in models} == {
        "53c895a": (0x1000, 0x0012), "53c810": (0x1000, 0x0001), "53c1010": (0x1000, 0x0020)}
    assert len(CHIPS) == 3


def test_qemu_has_two_of_the_chips() -> None:
    """Its names for them."""
    models = load_path(PLUGIN).models_of("sym53c8xx")
    assert {model.chip.name: model.qemu and model.qemu.device for model in models} == {
        "53c895a": "lsi53c895a", "53c810": "lsi53c810", "53c1010": None}
