"""The campaign of a driver it has never seen: the template's toy, and the toy broken on purpose."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ddsdk.campaign import Campaign, CampaignProfile, Injection
from ddsdk.registry import Registry
from ddsdk.sim import disk_faults
from tests.templates.baking import bake, loaded

NAME = "campaigned"


def masked(model: Any) -> str | None:
    """Everything is masked; once it is gone nobody can tell."""
    mask = int(model.values["INTERRUPT_MASK"])
    return None if model.state.name == "GONE" or not mask ^ 0x3 else f"INTERRUPT_MASK is {mask:#x}"


def leaks(host: Any, model: Any) -> dict[str, tuple[int, int]]:
    """Requests."""
    adapter = host.hostdata
    return {"free": (len(adapter.free), len(adapter.requests)),
            "mapped": (sum(bool(request.mapped) for request in adapter.requests), 0)}


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Campaign]:
    """The toy's driver on the toy's model."""
    project = bake(tmp_path_factory.mktemp("toy"), name=NAME, chip="toy9")
    with loaded(project) as plan:
        faults = importlib.import_module(f"ddsdk_{NAME}.model_faults").FAULTS
        told = CampaignProfile(NAME, ("toy9",), faults, masked, leaks, stuck=("command-hung",), queue_depths=(1, 4),
                               recovery_modules=(f"ddsdk_{NAME}.recovery",), recovery_lines=300)
        assert plan.driver.name == NAME
        registry = Registry({NAME: plan.driver}, (plan.model,))
        yield Campaign(told, registry, tmp_path_factory.mktemp("campaign"))


@pytest.mark.parametrize("seed", range(8))
def test_the_toy_survives(campaign: Campaign, seed: int) -> None:
    """Whatever is drawn."""
    out = campaign.run_seed(seed)
    assert out.wrong == [], (out.case, out.verdict, out.where)


def test_the_same_case_gives_the_same_trace(campaign: Campaign) -> None:
    """Two runs of one case do not differ, those of two cases do."""
    runs = [campaign.run(campaign.plain(seed=seed), traced=True) for seed in (1, 1, 2)]
    assert [(out.verdict, out.recovered, out.wrong) for out in runs] == 3 * [("complete", True, [])]
    assert runs[0].digest == runs[1].digest != runs[2].digest


def test_a_disk_that_lies_is_not_the_drivers_fault(campaign: Campaign) -> None:
    """A lost write is silent: the dump says complete, and nothing is wrong with the driver."""
    out = campaign.run(campaign.plain(injections=(Injection("crash", disk_faults.lost_write(after=4)),)))
    assert (out.verdict, out.silent, out.wrong) == ("complete", True, [])
    assert out.struck == ("LOST_WRITE",)


def test_where_a_crash_came_is_told(campaign: Campaign) -> None:
    """Function and line of the driver, or of its recovery while the load is stuck."""
    out = campaign.run(campaign.plain(how="line", at=40))
    assert ":" in out.where
    stuck = (Injection("load", "command-hung", times=0),)
    out = campaign.run(campaign.plain(how="recovery", at=5, heals=True, injections=stuck))
    assert (":" in out.where, out.wrong) == (True, [])


def test_a_broken_toy_is_found_out(campaign: Campaign, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A request that a reset loses, and a chip that is not masked."""
    adapter = importlib.import_module(f"ddsdk_{NAME}.adapter").Adapter
    with monkeypatch.context() as patch:
        patch.setattr(adapter, "reclaim", lambda adapter: adapter.free.extend(adapter.requests[1:]))
        assert "leak: free 15, not 16" in campaign.run(campaign.plain()).wrong
    told = campaign.profile
    loud = CampaignProfile(NAME, told.chips, told.faults, lambda model: "by decree", told.leaks)
    out = Campaign(loud, campaign.registry, tmp_path).run(campaign.plain())
    assert "not masked: by decree" in out.wrong
