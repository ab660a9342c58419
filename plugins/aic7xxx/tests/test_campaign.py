"""Some seeds of the crash campaign, the same run twice, and drivers broken on purpose."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.campaign import Campaign, not_covered
from ddsdk.registry import discover
from ddsdk_aic7xxx import done, hw, queue
from ddsdk_aic7xxx.adapter import Ahc
from plugins.aic7xxx.tests.campaign import CAMPAIGN

#: Every chip, moment, queue depth and trigger; every kind of fault.
SEEDS = (0, 1, 2, 3, 26, 41, 69, 77, 78)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Driver and models as installed."""
    return Campaign(CAMPAIGN, discover("aic7xxx"), tmp_path_factory.mktemp("campaign"))


@pytest.mark.parametrize("seed", SEEDS)
def test_seed(seed: int, campaign: Campaign) -> None:
    """Complete with every page right, or refused for a reason; nothing else on the disk moved; nothing leaked."""
    out = campaign.run_seed(seed)
    assert out.wrong == [], (out.case, out.verdict, out.where)


def test_the_seeds_are_not_all_alike() -> None:
    """Nothing that can be drawn is missing from the list."""
    assert not_covered(CAMPAIGN, SEEDS) == []


def test_the_same_seed_gives_the_same_trace(campaign: Campaign) -> None:
    """Every register access, DMA, interrupt and lock of load, dump and recovery."""
    first, second = (campaign.run(campaign.plain(), traced=True) for _ in range(2))
    assert (first.verdict, first.recovered, first.wrong) == ("complete", True, [])
    assert first.digest == second.digest


# -- broken on purpose -----------------------------------------------------------------------------------------


def unmasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Quiesce and reset leave interrupts enabled."""
    monkeypatch.setattr(Ahc, "inten", property(lambda ahc: 2, lambda ahc, value: None), raising=False)


def loses_an_scb(monkeypatch: pytest.MonkeyPatch) -> None:
    """One object fewer after every reset."""
    forget = Ahc.forget

    def forgetful(ahc: Ahc, **options: bool) -> None:
        forget(ahc, **options)
        ahc.free.pop()
    monkeypatch.setattr(Ahc, "forget", forgetful)


def keeps_the_mappings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of commands that the reset took along stays mapped."""
    monkeypatch.setattr(Ahc, "unmap_all", lambda ahc: None)


def gives_entries_back_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in fours."""
    monkeypatch.setattr(done, "_GROUP_MASK", 0)
    monkeypatch.setattr(done, "_EMPTY_GROUP", b"\xff")


def does_not_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands go into the object's own element."""
    monkeypatch.setattr(queue, "ahc_exchange", lambda ahc, scb: ahc.by_tag.__setitem__(scb.hscb, scb))


def plain_mdelay(monkeypatch: pytest.MonkeyPatch) -> None:
    """mdelay() where diskdump_mdelay() belongs."""
    monkeypatch.setattr(hw, "AHC_MDELAY", lambda kernel, ms: kernel.mdelay(ms))


SABOTAGE = {
    unmasks: "INTEN is set",
    loses_an_scb: "leak: free 63, not 64",
    keeps_the_mappings: "leak: grants",
    gives_entries_back_one_by_one: "four at a time",
    does_not_exchange: "a command goes into the element the chip fetches next",
    plain_mdelay: "MdelayFault",
}


@pytest.mark.parametrize("sabotage", SABOTAGE, ids=lambda function: function.__name__)
def test_a_broken_driver_is_found_out(sabotage: Any, campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the campaign says of a driver with one fault of its own; or the model, before it comes to a crash."""
    sabotage(monkeypatch)
    try:
        wrong = campaign.run(campaign.plain()).wrong
    except Exception as error:              # of the model's, in normal mode
        wrong = [str(error)]
    assert wrong
    assert any(SABOTAGE[sabotage] in one for one in wrong), wrong
