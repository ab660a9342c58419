"""Some seeds of the crash campaign, the same run twice, and drivers broken on purpose."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.campaign import Campaign, not_covered
from ddsdk.registry import discover
from ddsdk_aic79xx import flush, init, queue, seqint
from ddsdk_aic79xx.ahd import AhdSoftc
from plugins.aic79xx.tests.campaign import CAMPAIGN

#: Every chip, moment, queue depth and trigger; every kind of fault.
SEEDS = (3, 5, 13, 17, 30, 59)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Driver and models as installed."""
    return Campaign(CAMPAIGN, discover("aic79xx"), tmp_path_factory.mktemp("campaign"))


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
    monkeypatch.setattr(AhdSoftc, "inten", property(lambda ahd: 2, lambda ahd, value: None), raising=False)


def loses_an_scb(monkeypatch: pytest.MonkeyPatch) -> None:
    """One object fewer after every reset."""
    forget = AhdSoftc.forget_queues

    def forgetful(ahd: AhdSoftc) -> None:
        forget(ahd)
        ahd.free.pop()
    monkeypatch.setattr(AhdSoftc, "forget_queues", forgetful)


def keeps_the_mappings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of commands that the reset took along stays mapped."""
    monkeypatch.setattr(AhdSoftc, "unmap_all", lambda ahd: None)


def never_thaws(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad status was looked at, and QFREEZE_COUNT stays: nothing goes out any more."""
    for module in (seqint, flush):
        monkeypatch.setattr(module, "ahd_thaw_firmware", lambda ahd: None)


def keeps_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands go into the object's own element."""
    send = queue.ahd_queue_scb

    def own(ahd: AhdSoftc, scb: Any, fields: tuple[object, ...]) -> None:
        reserved = ahd.reserved
        ahd.reserved = scb.element
        send(ahd, scb, fields)
        ahd.reserved = reserved
    monkeypatch.setattr(queue, "ahd_queue_scb", own)


def plain_mdelay(monkeypatch: pytest.MonkeyPatch) -> None:
    """mdelay() where diskdump_mdelay() belongs."""
    monkeypatch.setattr(init, "ahd_sleep_ms", lambda ahd, ms: ahd.kernel.mdelay(ms))


SABOTAGE = {
    unmasks: "INTEN is set",
    loses_an_scb: "leak: free 127, not 128",
    keeps_the_mappings: "leak: grants",
    never_thaws: "found no disk that is ready",
    keeps_elements: "selects as id 0, IOWNID is 7",
    plain_mdelay: "MdelayFault",
}


@pytest.mark.parametrize("sabotage", SABOTAGE, ids=lambda function: function.__name__)
def test_a_broken_driver_is_found_out(sabotage: Any, campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the campaign says of a driver with one fault of its own; or the model, before it comes to a crash."""
    sabotage(monkeypatch)
    try:
        wrong = campaign.run(campaign.plain(workers=6, cpus=1)).wrong
    except Exception as error:              # of the model's, in normal mode
        wrong = [str(error)]
    assert wrong
    assert any(SABOTAGE[sabotage] in one for one in wrong), wrong
