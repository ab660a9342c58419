"""What the plugin registers, and that its README says the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsdk.hookspecs import Chip
from ddsdk.registry import load_path
from ddsdk.testing.plugin import PluginCheck, plugin_checks
from ddsdk_mptfusion.chips import CHIPS
from ddsdk_mptfusion.regs import PciDeviceId

PLUGIN = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("check", plugin_checks("mptfusion", PLUGIN), ids=str)
def test_plugin(check: PluginCheck) -> None:
    """What holds of every plugin holds of this one."""
    check.run()


def test_two_chips_are_modelled() -> None:
    """One of each family."""
    assert [model.chip.name for model in load_path(PLUGIN).models_of("mptfusion")] == ["53c1030", "sas1068"]


@pytest.mark.parametrize("chip", CHIPS, ids=lambda chip: chip.name)
def test_chip_ids_are_the_headers(chip: Chip) -> None:
    """Each chip's device id is one of mpi_cnfg.h's SPI or SAS ids."""
    assert PciDeviceId(chip.device).name.startswith(("LSI_53C10", "LSI_SAS"))
