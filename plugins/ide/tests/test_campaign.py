"""Some seeds of the crash campaign (campaign.py), the same run twice, and drivers broken on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

from ddsdk.ata.taskfile import TASKFILE_OUT_DMA
from ddsdk.conformance.dump_disk import DumpDisk
from ddsdk.registry import Registry, discover
from ddsdk.sim import disk_faults
from ddsdk.sim.machine import Trigger
from ddsdk_ide import commands, recovery
from ddsdk_ide.adapter import Channel
from ddsdk_ide.regs import Control
from plugins.ide.tests.campaign import formatted_disk, run_case
from plugins.ide.tests.campaign_cases import Case, Injection

#: Every kind of moment, both chips, both personalities; without those that take long.
SEEDS = (0, 7, 11, 19, 21, 23, 84, 94, 114)
#: A machine that crashes under load, nothing else wrong.
PLAIN = Case(1, "piix4", "real", 2, 5, Trigger.PANIC, 3, 0, "time", 1_000_000, False, True, ())


@pytest.fixture(scope="module")
def registry() -> Registry:
    """Driver and models as installed."""
    return discover("ide")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> DumpDisk:
    """The disk of every run."""
    return formatted_disk(tmp_path_factory.mktemp("template"))


@pytest.mark.parametrize("seed", SEEDS)
def test_seed(seed: int, registry: Registry, template: DumpDisk, tmp_path: Path) -> None:
    """Complete with every page right, or refused for a reason; nothing else on the disk moved; nothing leaked."""
    out = run_case(Case.draw(seed), registry, template, tmp_path)
    assert out.wrong == [], (out.case, out.verdict)


def test_the_seeds_are_not_all_alike() -> None:
    """Both chips and personalities, every kind of moment; runs with and without faults."""
    cases = [Case.draw(seed) for seed in SEEDS]
    assert {case.chip for case in cases} == {"piix3", "piix4"}
    assert {case.personality for case in cases} == {"real", "qemu"}
    assert {case.how for case in cases} == {"time", "event", "line", "recovery"}
    assert len({case.trigger for case in cases}) > 3
    assert {bool(case.injections) for case in cases} == {False, True}


def test_the_same_seed_gives_the_same_trace(registry: Registry, template: DumpDisk, tmp_path: Path) -> None:
    """Every register access, DMA, interrupt and lock of load, dump and recovery."""
    digests = set()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        # the paths differ, the traces must not
        digests.add(run_case(PLAIN, registry, template, tmp_path / name, traced=True).digest)
    assert len(digests) == 1


def test_a_disk_that_lies_is_found_out(registry: Registry, template: DumpDisk, tmp_path: Path) -> None:
    """The campaign compares pages: with a lost write that it does not know to be silent, it would object."""
    case = attrs.evolve(PLAIN, injections=(Injection("crash", disk_faults.lost_write(after=4)),))
    out = run_case(case, registry, template, tmp_path)
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
    unmasks: "is not masked",
    keeps_the_mappings: "leak: grants",
}


@pytest.mark.parametrize("sabotage", SABOTAGE, ids=lambda function: function.__name__)
def test_a_broken_driver_is_found_out(sabotage: Any, registry: Registry, template: DumpDisk, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """What the campaign says of a driver with one fault of its own."""
    sabotage(monkeypatch)
    out = run_case(PLAIN, registry, template, tmp_path)
    assert any(SABOTAGE[sabotage] in wrong for wrong in out.wrong), (out.wrong, out.verdict)
