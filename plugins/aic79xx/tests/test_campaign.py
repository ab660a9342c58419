"""Some seeds of the campaign (campaign.py), the same run twice, a crash at any line, drivers broken on purpose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ddsdk.conformance.dump_disk import DumpDisk
from ddsdk.conformance.line_trap import LineTrap
from ddsdk.registry import Registry, discover
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, DMA_TO_DEVICE
from ddsdk.scsi.midlayer import ScsiRequest
from ddsdk.scsi.scsi_dump import ScsiDumpDevice
from ddsdk.sim.machine import Trigger
from ddsdk_aic79xx import DRIVER_MODULES, flush, init, queue, seqint
from ddsdk_aic79xx.ahd import AhdSoftc
from ddsdk_aic79xx.model import AIC7901, AIC7902, AIC7902A, ChipProfile
from plugins.aic79xx.tests.campaign import CHIPS, Case, formatted_disk, run_case, source_files
from plugins.aic79xx.tests.driver_rig import DATA, Make, Rig

#: Every kind of moment, all chips, every queue depth; and those that found something wrong once.
SEEDS = (1, 2, 3, 4, 5, 6, 10, 766)
#: Lines tried of each scenario.
SAMPLES = 5
#: A machine that crashes under load, nothing else wrong.
PLAIN = Case(1, "aic7901", 2, 4, 3, 0, Trigger.PANIC, "time", 1_000_000, ())


@pytest.fixture(scope="module")
def registry() -> Registry:
    """Driver and models as installed."""
    return discover("aic79xx")


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
    assert {case.chip for case in cases} == set(CHIPS)
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
def test_a_broken_driver_is_found_out(sabotage: Any, registry: Registry, template: DumpDisk, tmp_path: Path,
                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """What the campaign says of a driver with one fault of its own; or the model, before it comes to a crash."""
    sabotage(monkeypatch)
    try:
        wrong = run_case(PLAIN, registry, template, tmp_path).wrong
    except Exception as error:              # of the model's, in normal mode
        wrong = [str(error)]
    assert wrong
    assert any(SABOTAGE[sabotage] in one for one in wrong), wrong


# -- a crash at any line ---------------------------------------------------------------------------------------


def workload(rig: Rig, trap: LineTrap, handler: str) -> None:
    """Two tasks with reads and writes on two CPUs; a third one calls the error handler *handler*."""
    def load(number: int) -> None:
        request = ScsiRequest(rig.sdev)
        for turn in range(3):
            write = turn % 2 == 0
            request.execute(cdb.read_write(write, 3000 + 64 * number + 8 * turn, 8, False),
                            DMA_TO_DEVICE if write else DMA_FROM_DEVICE,
                            [(0x200000 + 0x10000 * number, 4096)], 4096, 4096)

    def error_handler() -> None:
        call = getattr(rig.shost.hostt, f"eh_{handler}_handler")
        victim = ScsiRequest(rig.sdev)
        victim.scmd.set_cdb(cdb.test_unit_ready())
        victim._queue()
        victim.call_handler(call)

    with trap.set():
        rig.machine.spawn(0, lambda: load(0), "load/0")
        rig.machine.spawn(1, lambda: load(1), "load/1")
        if handler:
            rig.machine.spawn(1, error_handler, "scsi_eh")
        rig.machine.run()


def dump_some(rig: Rig, device: ScsiDumpDevice) -> str:
    """Sanity check, quiesce, four pages out and checked on the disk, shutdown: "dumped", or why it was refused."""
    if not rig.machine.crashdump_mode:
        rig.machine.crash(Trigger.PANIC)
    if device.sanity_check() < 0:
        return device.why
    assert device.quiesce() == 0, device.why
    for block in range(4):
        data = rig.fill(DATA, 4096, block)
        assert device.rw_block(True, 3 * block, [(DATA, 4096)]) == 0, device.why
        assert rig.on_disk(24 * block, 4096) == data
    assert device.shutdown() == 0, device.why
    return "dumped"


@pytest.mark.parametrize(("chip", "handler"), [
    (AIC7901, ""), (AIC7902, ""), (AIC7901, "abort"), (AIC7902, "abort"), (AIC7902A, "device_reset"),
    (AIC7901, "bus_reset"), (AIC7902A, "host_reset")],
    ids=["packets", "messages", "abort, packets", "abort, messages", "device reset", "bus reset", "host reset"])
def test_crash_at_any_line(make: Make, chip: ChipProfile, handler: str) -> None:
    """Wherever the driver stops: a dump with every page right, or a refusal that names the lock held there."""
    def crash_at(line: int) -> tuple[LineTrap, str]:
        rig = make(chip, ncpus=2).probe()
        device = rig.dump_device()
        trap = LineTrap(rig.machine, source_files(DRIVER_MODULES), line, lambda: rig.machine.crash(Trigger.OOPS))
        workload(rig, trap, handler)
        verdict = dump_some(rig, device) if line else ""
        rig.machine.close()
        return trap, verdict

    lines = crash_at(0)[0].lines
    assert lines > 300
    samples = SAMPLES if not handler else SAMPLES // 2
    verdicts = {crash_at(line)[1] for line in range(1, lines, max(1, lines // samples))}
    assert "dumped" in verdicts
    assert all("host_lock is held" in verdict for verdict in verdicts - {"dumped"}), verdicts
