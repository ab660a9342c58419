"""Some seeds of the crash campaign, the same run twice, and drivers broken on purpose."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.campaign import Campaign, Injection, not_covered
from ddsdk.registry import discover
from ddsdk.scsi.cmnd import DMA_TO_DEVICE
from ddsdk.sim import disk_faults
from ddsdk_mptfusion import driver, handshake, recovery, reply
from ddsdk_mptfusion.adapter import MptAdapter
from ddsdk_mptfusion.regs import MptRegs
from plugins.mptfusion.tests.campaign import CAMPAIGN

#: Every chip, moment, queue depth and trigger; every kind of fault.
SEEDS = (0, 1, 2, 3, 21, 22, 37, 66, 79, 92, 98)


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Driver and models as installed."""
    return Campaign(CAMPAIGN, discover("mptfusion"), tmp_path_factory.mktemp("campaign"))


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
    out = campaign.run(campaign.plain(injections=(Injection("crash", disk_faults.lost_write(after=20)),)))
    assert (out.verdict, out.silent, out.wrong) == ("complete", True, [])


# -- broken on purpose -----------------------------------------------------------------------------------------


def one_page_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every write goes one page too far."""
    fill = driver._fill_frame

    def shifted(ioc: Any, hd: Any, request: Any, scmd: Any) -> bool:
        if scmd.sc_data_direction == DMA_TO_DEVICE and scmd.cmnd[0] == 0x2A:
            scmd.cmnd[2:6] = (int.from_bytes(scmd.cmnd[2:6]) + 8).to_bytes(4)
        return fill(ioc, hd, request, scmd)
    monkeypatch.setattr(driver, "_fill_frame", shifted)


def unmasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reset lets interrupts through again, also in crash mode."""
    monkeypatch.setattr(recovery, "enable_interrupts",
                        lambda ioc: ioc.kernel.writel(1, ioc.chip, MptRegs.HOST_INTERRUPT_MASK))


def loses_a_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """One request frame fewer after every reset."""
    def refill(ioc: MptAdapter) -> None:
        ioc.FreeQ[:] = ioc.requests[:0:-1]
    monkeypatch.setattr(MptAdapter, "refill_FreeQ", refill)


def keeps_reply_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reply frame is read and not given back."""
    take = reply.mpt_reply

    def taken(ioc: Any, bus_addr: int) -> None:
        writel, ioc.writel = ioc.writel, lambda *write: None
        try:
            take(ioc, bus_addr)
        finally:
            ioc.writel = writel
    monkeypatch.setattr(reply, "mpt_reply", taken)


def plain_mdelay(monkeypatch: pytest.MonkeyPatch) -> None:
    """mdelay() where diskdump_mdelay() belongs."""
    import ddsdk_mptfusion.ioc as ioc_module
    monkeypatch.setattr(ioc_module, "MPT_MDELAY", lambda ioc, ms: ioc.kernel.mdelay(ms))


def starves_the_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits for the doorbell without touching the NMI watchdog: 5 s are too long for that."""
    def wait(ioc: MptAdapter, mask: int, wanted: int, howlong_ms: int) -> bool:
        for _ in range(howlong_ms + 1):
            if ioc.kernel.readl(ioc.chip, MptRegs.HOST_INTERRUPT_STATUS) & mask == wanted:
                return True
            ioc.kernel.udelay(1000)
        return False
    monkeypatch.setattr(handshake, "_wait", wait)


def keeps_the_grants(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory of commands that the reset took along stays mapped."""
    monkeypatch.setattr(MptAdapter, "unmap_abandoned", lambda ioc: None)


SABOTAGE = {
    one_page_further: "sectors outside the partition changed",
    unmasks: "IntMask is 0x1",
    loses_a_request: "leak: FreeQ 63, not 64",
    keeps_reply_frames: "leak: reply frames 1",
    plain_mdelay: "driver fault: MdelayFault",
    starves_the_watchdog: "driver fault: WatchdogFault",
    keeps_the_grants: "leak: ",
}


@pytest.mark.parametrize("sabotage", SABOTAGE, ids=lambda function: function.__name__)
def test_a_broken_driver_is_found_out(sabotage: Any, campaign: Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the campaign says of a driver with one fault of its own."""
    silent = (Injection("crash", "handshake-silent"),)
    sabotage(monkeypatch)
    out = campaign.run(campaign.plain(injections=silent if sabotage is starves_the_watchdog else ()))
    assert any(SABOTAGE[sabotage] in wrong for wrong in out.wrong), out.wrong
