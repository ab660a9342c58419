"""What the plugin registers, and that its README says the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsdk.registry import load_path
from ddsdk.testing.plugin import PluginCheck, plugin_checks
from ddsdk_aic79xx.conformance import PROFILE

PLUGIN = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("check", plugin_checks("aic79xx", PLUGIN), ids=str)
def test_plugin(check: PluginCheck) -> None:
    """What holds of every plugin holds of this one."""
    check.run()


def test_three_parts_are_modelled() -> None:
    """The 7901, the 7902 of revision B, and that of revision A with its bugs."""
    assert [model.chip.name for model in load_path(PLUGIN).models_of("aic79xx")] == ["aic7901", "aic7902", "aic7902a"]


def test_the_profile_leaves_nothing_out() -> None:
    """Every role is played, and no check is expected to fail."""
    assert len(PROFILE.roles) == 10
    assert not PROFILE.expected_failures
    assert not PROFILE.not_offered
