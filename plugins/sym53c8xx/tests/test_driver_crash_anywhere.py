"""A crash at any line of the driver: the dump is refused for a reason, or works; and some of the model's faults."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ddsdk.conformance.line_trap import LineTrap
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, DMA_TO_DEVICE
from ddsdk.scsi.midlayer import ScsiRequest
from ddsdk.scsi.scsi_dump import ScsiDumpDevice
from ddsdk.sim.machine import Trigger
from ddsdk_sym53c8xx import DRIVER_MODULES
from ddsdk_sym53c8xx.conformance import PROFILE
from ddsdk_sym53c8xx.model import LSI53C810, LSI53C895A, LSI53C1010, ChipProfile
from ddsdk_sym53c8xx.model_faults import FAULTS
from plugins.sym53c8xx.tests.campaign import source_files
from plugins.sym53c8xx.tests.driver_rig import DATA, Make, Rig, rigs

#: Lines tried of each scenario.
SAMPLES = 8
#: These cost a command its 30 s; they, and those left out below, are the conformance kit's.
TIME_OUTS = {"command-hung", "reselect-lost", "sigp-lost"}


@pytest.fixture
def make() -> Iterator[Make]:
    """Rigs around a chip."""
    yield from rigs()


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
        ScsiRequest(rig.sdev).call_handler(call)

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
    for page in range(4):
        data = rig.fill(DATA, 4096, page)
        assert device.rw_block(True, 3 * page, [(DATA, 4096)]) == 0, device.why
        assert rig.on_disk(24 * page, 4096) == data
    assert device.shutdown() == 0, device.why
    return "dumped"


@pytest.mark.parametrize(("chip", "handler"), [
    (LSI53C895A, ""), (LSI53C810, "device_reset"), (LSI53C1010, "host_reset")],
    ids=["io", "device reset", "host reset"])
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
    verdicts = {crash_at(line)[1] for line in range(1, lines, max(1, lines // SAMPLES))}
    assert "dumped" in verdicts
    assert all("host_lock is held" in verdict for verdict in verdicts - {"dumped"}), verdicts


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - TIME_OUTS)[::3])
def test_one_strike_of_a_fault(make: Make, fault: str) -> None:
    """Before the take-over, in the middle of the dump: survived with every page right, or refused with a reason."""
    chip, moment = ((LSI53C895A, "take-over"), (LSI53C810, "dump"))[sorted(FAULTS).index(fault) % 2]
    rig = make(chip).probe()
    device = rig.dump_device()
    rig.crash()
    faults = rig.model.faults
    if moment == "take-over":
        faults.inject(fault)
    error = device.sanity_check()
    error = error if error < 0 else device.quiesce()
    if moment == "dump":
        faults.inject(fault, after=2)
    for page in range(4):
        data = rig.fill(DATA, 4096, page)
        error = error or device.rw_block(True, 3 * page, [(DATA, 4096)])
        assert error or rig.on_disk(24 * page, 4096) == data
    assert bool(error) == (fault in PROFILE.fatal_faults and fault in faults.struck), device.why
    assert bool(error) == bool(device.why)
    assert rig.machine.clock.now_ns < 400_000_000_000
