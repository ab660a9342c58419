"""What the plugin registers, and that its README says the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsdk.registry import load_path
from ddsdk.testing.plugin import PluginCheck, plugin_checks
from ddsdk_aic7xxx.conformance import PROFILE

PLUGIN = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("check", plugin_checks("aic7xxx", PLUGIN), ids=str)
def test_plugin(check: PluginCheck) -> None:
    """What holds of every plugin holds of this one."""
    check.run()


def test_both_chips_are_modelled() -> None:
    """One channel, and two."""
    assert [model.chip.name for model in load_path(PLUGIN).models_of("aic7xxx")] == ["aic7892", "aic7899"]


def test_the_profile_leaves_nothing_out() -> None:
    """Every role is played, and no check is expected to fail."""
    assert len(PROFILE.roles) == 10
    assert not PROFILE.expected_failures
    assert not PROFILE.not_offered
