"""Some seeds of the crash campaign, the same run twice, and drivers broken on purpose."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.campaign import Campaign, not_covered
from ddsdk.registry import discover
from ddsdk.scsi.cmnd import DMA_TO_DEVICE
from ddsdk_sym53c8xx import block, dump, recovery, scatter
from ddsdk_sym53c8xx.adapter import Hcb
from plugins.sym53c8xx.tests.campaign import CAMPAIGN

#: Every chip, moment, queue depth and trigger; every kind of fault.
SEEDS = (0, 1, 4, 21, 37, 44, 64, 76, 82)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Driver and models as installed."""
    return Campaign(CAMPAIGN, discover("sym53c8xx"), tmp_path_factory.mktemp("campaign"))


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


def one_page_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write goes one page too far."""
    write_block = block.write_block

    def shifted(np: Any, ccb: Any, sdev: Any, cdb: bytes, **options: Any) -> None:
        if cdb[:1] == b"\x2A" and ccb.scmd.sc_data_direction == DMA_TO_DEVICE:
            cdb = cdb[:2] + (int.from_bytes(cdb[2:6]) + 8).to_bytes(4) + cdb[6:]
        write_block(np, ccb, sdev, cdb, **options)
    monkeypatch.setattr(block, "write_block", shifted)


def unmasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reset lets causes through again, also in crash mode."""
    unmask = recovery.unmask

    def unmasked(np: Hcb) -> None:
        unmask(np)
        np.kernel.writeb(0x04, np.chip, 0x39)
    monkeypatch.setattr(recovery, "unmask", unmasked)


def loses_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """One command block fewer after every reset."""
    reclaim = Hcb.reclaim

    def reclaimed(np: Hcb) -> None:
        reclaim(np)
        np.free.pop()
    monkeypatch.setattr(Hcb, "reclaim", reclaimed)


def keeps_the_mappings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of commands that ended stays mapped."""
    monkeypatch.setattr(Hcb, "unmap", lambda np, ccb: None)


def plain_mdelay(monkeypatch: pytest.MonkeyPatch) -> None:
    """mdelay() where diskdump_mdelay() belongs."""
    monkeypatch.setattr(dump, "SYM_MDELAY", lambda kernel, ms: kernel.mdelay(ms))


def lists_a_byte_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list does not cover the data, of a page or more."""
    put = scatter.put_segments

    def shorter(np: Any, ccb: Any) -> None:
        ccb.segments = [(address, length - (length >= 4096)) for address, length in ccb.segments]
        put(np, ccb)
    monkeypatch.setattr(block, "put_segments", shorter)


SABOTAGE = {
    one_page_further: "sectors outside the partition changed",
    unmasks: "causes are enabled",
    loses_a_block: "leak: free 62, not 63",
    keeps_the_mappings: "leak: mapped",
    plain_mdelay: "MdelayFault",
    lists_a_byte_short: "recovery: -5",
}


@pytest.mark.parametrize("sabotage", SABOTAGE, ids=lambda function: function.__name__)
def test_a_broken_driver_is_found_out(sabotage: Any, campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the campaign says of a driver with one fault of its own."""
    sabotage(monkeypatch)
    out = campaign.run(campaign.plain())
    assert any(SABOTAGE[sabotage] in one for one in out.wrong), (out.wrong, out.verdict)

