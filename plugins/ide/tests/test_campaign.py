"""Some seeds of the crash campaign, the same run twice, and drivers broken on purpose."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.ata.taskfile import TASKFILE_OUT_DMA
from ddsdk.campaign import Campaign, Injection, not_covered
from ddsdk.registry import discover
from ddsdk.sim import disk_faults
from ddsdk_ide import commands, recovery
from ddsdk_ide.adapter import Channel
from ddsdk_ide.regs import Control
from plugins.ide.tests.campaign import CAMPAIGN

#: Every chip, moment, queue depth and trigger; every kind of fault.
SEEDS = (0, 2, 3, 8, 9, 29, 47, 48, 54, 87)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Driver and models as installed."""
    return Campaign(CAMPAIGN, discover("ide"), tmp_path_factory.mktemp("campaign"))


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


def test_a_disk_that_lies_is_found_out(campaign: Campaign) -> None:
    """The campaign compares pages: with a lost write that it does not know to be silent, it would object."""
    out = campaign.run(campaign.plain(injections=(Injection("crash", disk_faults.lost_write(after=4)),)))
    assert (out.verdict, out.silent, out.wrong) == ("complete", True, [])


# -- broken on purpose -------------------------------------------------------------------------------------------------


def one_page_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write goes eight sectors too far."""
    start = commands.write_taskfile

    def shifted(channel: Channel, tf: Any) -> None:
        if channel.task is not None and channel.task.data_phase == TASKFILE_OUT_DMA:
            tf = tf._replace(lbal=tf.lbal + 8 & 0xFF)
        start(channel, tf)
    monkeypatch.setattr(commands, "write_taskfile", shifted)


def unmasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Interrupts are let through in crash mode as well."""
    silence = recovery.silence

    def loud(channel: Channel) -> None:
        silence(channel)
        channel.kernel.outb(Control.of(), channel.control, 0)
    from ddsdk_ide import dump
    monkeypatch.setattr(dump, "silence", loud)


def keeps_the_mappings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of commands stays mapped."""
    monkeypatch.setattr(Channel, "unmap", lambda channel: setattr(channel, "mapped", ()))


SABOTAGE = {
    one_page_further: "sectors outside the partition changed",
    unmasks: "not masked: channel",
    keeps_the_mappings: "leak: grants",
}


@pytest.mark.parametrize("sabotage", SABOTAGE, ids=lambda function: function.__name__)
def test_a_broken_driver_is_found_out(sabotage: Any, campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the campaign says of a driver with one fault of its own."""
    sabotage(monkeypatch)
    out = campaign.run(campaign.plain())
    assert any(SABOTAGE[sabotage] in wrong for wrong in out.wrong), (out.wrong, out.verdict)
