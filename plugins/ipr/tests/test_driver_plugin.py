"""What the plugin registers, and that its README says the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsdk.testing.plugin import PluginCheck, plugin_checks
from ddsdk_ipr.chips import CHIPS, REGISTERS
from ddsdk_ipr.model_chips import CHIPS as MODELLED

PLUGIN = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("check", plugin_checks("ipr", PLUGIN), ids=str)
def test_plugin(check: PluginCheck) -> None:
    """What holds of every plugin holds of this one."""
    check.run()


def test_modelled_chips_have_the_driver_s_registers() -> None:
    """Three chips are modelled; the driver knows where each keeps its registers."""
    assert [profile.chip.name for profile in MODELLED] == ["gemstone", "citrine", "snipe"]
    for profile in MODELLED:
        assert REGISTERS[profile.chip.name] is profile.regs


def test_pci_ids_are_the_specs() -> None:
    """hw-ipr.md section 1."""
    assert [(chip.name, f"{chip.vendor:04X}:{chip.device:04X}") for chip in CHIPS] == [
        ("gemstone", "1069:B166"), ("citrine", "1014:028C"), ("snipe", "1014:0180"), ("scamp", "9005:0503"),
        ("obsidian", "1014:02BD"), ("obsidian-adaptec", "9005:0500"), ("obsidian-e", "1014:0339"),
        ("scamp-e", "1014:034A")]
