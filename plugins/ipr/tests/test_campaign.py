"""Some seeds of the crash campaign (campaign.py), the same run twice, and drivers broken on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ddsdk.conformance.dump_disk import DumpDisk
from ddsdk.registry import Registry, discover
from ddsdk.sim.machine import Trigger
from ddsdk_ipr import bringup, driver, reset
from ddsdk_ipr.adapter import IprIoaCfg
from plugins.ipr.tests.campaign import Case, formatted_disk, run_case

#: Both kinds of moment, every chip; without those that take seconds.
SEEDS = (1, 2, 3, 5)
#: A machine that crashes under load, nothing else wrong.
PLAIN = Case(9, "gemstone", 2, 4, Trigger.PANIC, 3, 0, "time", 1_000_000, ())


@pytest.fixture(scope="module")
def registry() -> Registry:
    """Driver and models as installed."""
    return discover("ipr")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> DumpDisk:
    """The disk of every run."""
    return formatted_disk(tmp_path_factory.mktemp("template"))


@pytest.mark.parametrize("seed", SEEDS)
def test_seed(seed: int, registry: Registry, template: DumpDisk, tmp_path: Path) -> None:
    """Complete with every page right, or refused for a reason; nothing else on the disk moved; nothing leaked."""
    out = run_case(Case.draw(seed), registry, template, tmp_path)
    assert out.wrong == [], (out.case, out.verdict)


def test_the_same_seed_gives_the_same_trace(registry: Registry, template: DumpDisk, tmp_path: Path) -> None:
    """Every register access, DMA, interrupt and lock of load, dump and recovery."""
    digests = set()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        digests.add(run_case(PLAIN, registry, template, tmp_path / name, traced=True).digest)
    assert len(digests) == 1


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
def test_a_broken_driver_is_found_out(sabotage: Any, registry: Registry, template: DumpDisk, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """What the campaign says of a driver with one fault of its own."""
    sabotage(monkeypatch)
    out = run_case(PLAIN, registry, template, tmp_path)
    assert any(SABOTAGE[sabotage] in wrong for wrong in (*out.wrong, out.verdict)), (out.verdict, out.wrong)
