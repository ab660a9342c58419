"""Some seeds of the crash campaign, the same run twice, and drivers broken on purpose."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.campaign import Campaign, not_covered
from ddsdk.registry import discover
from ddsdk_ipr import bringup, driver, reset
from ddsdk_ipr.adapter import IprIoaCfg
from plugins.ipr.tests.campaign import CAMPAIGN

#: Every chip, moment, queue depth and trigger; every kind of fault.
SEEDS = (0, 1, 2, 3, 24, 26, 71, 74, 86, 90)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Driver and models as installed."""
    return Campaign(CAMPAIGN, discover("ipr"), tmp_path_factory.mktemp("campaign"))


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
    """The bring-up lets interrupts through also in crash mode."""
    def unmask(ioa: Any, bits: int) -> None:
        ioa.allow_interrupts = True
        ioa.kernel.writel(bits, ioa.hdw_dma_regs, ioa.regs.MASK_CLR)
    monkeypatch.setattr(bringup, "_unmask", unmask)


def loses_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """One block fewer after every reset."""
    def refill(ioa: IprIoaCfg) -> None:
        ioa.free_q[:] = ioa.scsi_blocks[:0:-1]
    monkeypatch.setattr(IprIoaCfg, "refill_free_q", refill)


def keeps_the_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of commands that the reset took along stays mapped."""
    monkeypatch.setattr(IprIoaCfg, "unmap", lambda ioa, block: None)


def restores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configuration space stays as BIST left it."""
    monkeypatch.setattr(reset, "ipr_restore_config", lambda ioa: None)


def one_page_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write goes one page too far."""
    build = driver.ipr_build_scsi

    def shifted(ioa: Any, block: Any, scmd: Any, res: Any) -> bool:
        if scmd.cmnd[0] == 0x2A:
            scmd.cmnd[2:6] = (int.from_bytes(scmd.cmnd[2:6]) + 8).to_bytes(4)
        return build(ioa, block, scmd, res)
    monkeypatch.setattr(driver, "ipr_build_scsi", shifted)


SABOTAGE = {
    unmasks: "MASK is 0xe3ffffe5",
    loses_a_block: "leak: free blocks 99, not 100",
    keeps_the_grants: "leak: ",
    restores_nothing: "given up after 2 resets that failed",
    one_page_further: "sectors outside the partition changed",
}


@pytest.mark.parametrize("sabotage", SABOTAGE, ids=lambda function: function.__name__)
def test_a_broken_driver_is_found_out(sabotage: Any, campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the campaign says of a driver with one fault of its own."""
    sabotage(monkeypatch)
    out = campaign.run(campaign.plain())
    assert any(SABOTAGE[sabotage] in wrong for wrong in (*out.wrong, out.verdict)), (out.verdict, out.wrong)
