"""A crash at any line of the driver: the dump is refused for a reason, or works; and every fault the model knows."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import pytest

from ddsdk.conformance.line_trap import LineTrap
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, DMA_TO_DEVICE
from ddsdk.scsi.midlayer import ScsiRequest
from ddsdk.scsi.scsi_dump import ScsiDumpDevice
from ddsdk.sim import disk_faults
from ddsdk.sim.machine import Trigger
from ddsdk_ipr import DRIVER_MODULES
from ddsdk_ipr.conformance import PROFILE
from ddsdk_ipr.model_faults import FAULTS
from plugins.ipr.tests.driver_rig import CITRINE, GEMSTONE, SNIPE, ChipProfile, Make, Rig, rigs

#: Lines tried of each scenario.
SAMPLES = 14
DATA = 0x100000


@pytest.fixture
def make() -> Iterator[Make]:
    """Rigs around a chip."""
    yield from rigs()


def source_files() -> set[str]:
    """Where the driver's code says that it is from."""
    return {str(importlib.import_module(name).__file__) for name in DRIVER_MODULES}


def workload(rig: Rig, trap: LineTrap, reset: bool) -> None:
    """Two tasks with reads, writes and an error on two CPUs; or a host reset with commands in flight."""
    rig.drive.faults.inject(disk_faults.hardware_error(after=3))

    def load(number: int) -> None:
        request = ScsiRequest(rig.sdev)
        for turn in range(4):
            write = turn % 2 == 0
            request.execute(cdb.read_write(write, 3000 + 64 * number + 8 * turn, 8, False),
                            DMA_TO_DEVICE if write else DMA_FROM_DEVICE,
                            [(0x200000 + 0x10000 * number, 4096)], 4096, 4096)

    def error_handler() -> None:
        handler = rig.shost.hostt.eh_host_reset_handler
        assert handler is not None
        ScsiRequest(rig.sdev).call_handler(handler)

    def in_flight() -> None:
        for number in range(3):
            rig.queue(rig.rw(number == 1, 3000 + 64 * number, [(0x200000 + 0x10000 * number, 4096)]))

    with trap.set():
        if reset:
            rig.machine.spawn(0, in_flight, "load")
            rig.machine.spawn(1, error_handler, "scsi_eh")
        else:
            rig.machine.spawn(0, lambda: load(0), "load/0")
            rig.machine.spawn(1, lambda: load(1), "load/1")
        rig.machine.run()


def dump_some(rig: Rig, device: ScsiDumpDevice) -> str:
    """Sanity check, quiesce, pages out and checked on the disk, shutdown: "dumped", or why it was refused."""
    if not rig.machine.crashdump_mode:
        rig.machine.crash(Trigger.PANIC)
    rig.drive.faults.clear()
    if device.sanity_check() < 0:
        return device.why
    assert device.quiesce() == 0, device.why
    for block in range(3):
        data = rig.fill(DATA, 4096, block)
        assert device.rw_block(True, 3 * block, [(DATA, 4096)]) == 0, device.why
        assert rig.on_disk(24 * block, 4096) == data
    assert device.shutdown() == 0, device.why
    return "dumped"


@pytest.mark.parametrize(("chip", "reset"), [(GEMSTONE, False), (CITRINE, False), (SNIPE, True)],
                         ids=["io, no autosense", "io, autosense", "io and host reset"])
def test_crash_at_any_line(make: Make, chip: ChipProfile, reset: bool) -> None:
    """Wherever the driver stops: a dump with every page right, or a refusal that names the lock held there."""
    def crash_at(line: int) -> tuple[LineTrap, str]:
        rig = make(chip, ncpus=2, autosense=False).probe()
        device = rig.dump_device()
        trap = LineTrap(rig.machine, source_files(), line, lambda: rig.machine.crash(Trigger.OOPS))
        workload(rig, trap, reset)
        verdict = dump_some(rig, device) if line else ""
        rig.machine.close()
        return trap, verdict

    lines = crash_at(0)[0].lines
    assert lines > 400
    verdicts = {crash_at(line)[1] for line in range(1, lines, max(1, lines // SAMPLES))}
    assert "dumped" in verdicts
    for verdict in verdicts - {"dumped"}:
        assert "host_lock is held" in verdict


#: Half a minute of waiting each; the kit has them, too.
LENGTHY = frozenset({"cancel-hung", "sense-hung", "firmware-hang", "toggle-stuck", "never-operational",
                     "completion-lost", "start-step-hung", "command-hung", "completion-late", "command-slow"})


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - LENGTHY))
def test_one_strike_of_a_fault(make: Make, fault: str) -> None:
    """In the middle of the dump: survived with every page right, or refused with a reason."""
    rig = make(GEMSTONE, autosense=False).probe()
    device = rig.dump_device()
    rig.crash()
    assert device.sanity_check() == 0
    assert device.quiesce() == 0
    rig.model.faults.inject(fault, after=1)
    error = 0
    for block in range(4):
        data = rig.fill(DATA, 4096, block)
        error = error or device.rw_block(True, 3 * block, [(DATA, 4096)])
        assert error or rig.on_disk(24 * block, 4096) == data
    assert bool(error) == (fault in PROFILE.fatal_faults and fault in rig.model.faults.struck), device.why
    assert bool(error) == bool(device.why)


def test_fatal_faults_are_faults() -> None:
    """Of the profile, each names one there is."""
    assert set(PROFILE.fatal_faults) <= set(FAULTS)
