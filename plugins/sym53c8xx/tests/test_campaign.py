"""Some seeds of the crash campaign (campaign.py), the same run twice, and drivers broken on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ddsdk.conformance.dump_disk import DumpDisk
from ddsdk.registry import Registry, discover
from ddsdk.scsi.cmnd import DMA_TO_DEVICE
from ddsdk.sim.machine import Trigger
from ddsdk_sym53c8xx import block, dump, recovery, scatter
from ddsdk_sym53c8xx.adapter import Hcb
from plugins.sym53c8xx.tests.campaign import formatted_disk, run_case
from plugins.sym53c8xx.tests.campaign_cases import Case

#: Every kind of moment, all chips, every queue depth.
SEEDS = (0, 1, 2, 3, 5, 6)
#: A machine that crashes under load, nothing else wrong.
PLAIN = Case(1, "53c895a", 2, 4, Trigger.PANIC, 3, 0, "time", 1_000_000, ())


@pytest.fixture(scope="module")
def registry() -> Registry:
    """Driver and models as installed."""
    return discover("sym53c8xx")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> DumpDisk:
    """The disk of every run."""
    return formatted_disk(tmp_path_factory.mktemp("template"))


@pytest.mark.parametrize("seed", SEEDS)
def test_seed(seed: int, registry: Registry, template: DumpDisk, tmp_path: Path) -> None:
    """Complete with every page right, or refused for a reason; nothing else on the disk moved; nothing leaked."""
    out = run_case(Case.draw(seed), registry, template, tmp_path)
    assert out.wrong == [], (out.case, out.verdict, out.where)


def test_the_seeds_are_not_all_alike() -> None:
    """All chips, every kind of moment and queue depth; runs with and without faults."""
    cases = [Case.draw(seed) for seed in SEEDS]
    assert {case.chip for case in cases} == {"53c810", "53c895a", "53c1010"}
    assert {case.how for case in cases} == {"time", "line", "recovery"}
    assert {case.queue_depth for case in cases} == {1, 4, 16}
    assert {bool(case.injections) for case in cases} == {False, True}


def test_the_same_seed_gives_the_same_trace(registry: Registry, template: DumpDisk, tmp_path: Path) -> None:
    """Every register access, DMA, interrupt and lock of load, dump and recovery."""
    digests = set()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        digests.add(run_case(PLAIN, registry, template, tmp_path / name, traced=True).digest)
    assert len(digests) == 1


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
def test_a_broken_driver_is_found_out(sabotage: Any, registry: Registry, template: DumpDisk, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """What the campaign says of a driver with one fault of its own."""
    sabotage(monkeypatch)
    out = run_case(PLAIN, registry, template, tmp_path)
    assert any(SABOTAGE[sabotage] in one for one in out.wrong), (out.wrong, out.verdict)

