"""The crash campaign of every driver in plugins/: seeds that no fast test runs."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from ddsdk.campaign import Campaign, CampaignProfile
from ddsdk.registry import discover

pytestmark = pytest.mark.real

PLUGINS = Path(__file__).parents[2] / "plugins"
DRIVERS = sorted(path.parents[1].name for path in PLUGINS.glob("*/tests/campaign.py"))
#: The fast tier has seeds below a hundred.
SEEDS = range(1000, 1010)


def test_every_installed_driver_has_a_campaign() -> None:
    """Of those that are in plugins/."""
    assert DRIVERS
    assert set(DRIVERS) >= {name for name in discover().drivers if (PLUGINS / name).is_dir()}


@pytest.mark.parametrize("name", DRIVERS)
def test_campaign(name: str, tmp_path: Path) -> None:
    """Complete with every page right, or refused for a reason; nothing else on the disk moved; nothing leaked."""
    profile: CampaignProfile = importlib.import_module(f"plugins.{name}.tests.campaign").CAMPAIGN
    campaign = Campaign(profile, discover(name), tmp_path)
    wrong = {seed: out.wrong for seed in SEEDS if (out := campaign.run_seed(seed)).wrong}
    assert wrong == {}
