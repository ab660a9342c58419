"""A crash at any line of the driver: the dump is refused for a reason, or works; and every fault the model knows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ddsdk.conformance.line_trap import LineTrap
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, DMA_TO_DEVICE, SUCCESS
from ddsdk.scsi.midlayer import ScsiRequest
from ddsdk.scsi.scsi_dump import ScsiDumpDevice
from ddsdk.sim.machine import Trigger
from ddsdk_mptfusion import DRIVER_MODULES
from ddsdk_mptfusion.conformance import PROFILE
from ddsdk_mptfusion.model import LSI53C1030, SAS1068, ChipProfile
from ddsdk_mptfusion.model_faults import FAULTS
from plugins.mptfusion.tests.campaign import source_files
from plugins.mptfusion.tests.driver_rig import BOTH, DATA, Make, Rig, rigs

#: Lines tried of each scenario.
SAMPLES = 25


@pytest.fixture
def make() -> Iterator[Make]:
    """Rigs around a chip."""
    yield from rigs()


def workload(rig: Rig, trap: LineTrap, reset: bool) -> None:
    """Two tasks with reads and writes on two CPUs; a third one resets the host if *reset*."""
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

    with trap.set():
        rig.machine.spawn(0, lambda: load(0), "load/0")
        rig.machine.spawn(1, lambda: load(1), "load/1")
        if reset:
            rig.machine.spawn(1, error_handler, "scsi_eh")
        rig.machine.run()


def dump_some(rig: Rig, device: ScsiDumpDevice) -> str:
    """Sanity check, quiesce, six pages out and checked on the disk, shutdown: "dumped", or why it was refused."""
    if not rig.machine.crashdump_mode:
        rig.machine.crash(Trigger.PANIC)
    if device.sanity_check() < 0:
        return device.why
    assert device.quiesce() == 0, device.why
    for block in range(6):
        data = rig.fill(DATA, 4096, block)
        assert device.rw_block(True, 3 * block, [(DATA, 4096)]) == 0, device.why
        assert rig.on_disk(24 * block, 4096) == data
    assert device.shutdown() == 0, device.why
    return "dumped"


@BOTH
@pytest.mark.parametrize("reset", [False, True], ids=["io", "io and host reset"])
def test_crash_at_any_line(make: Make, chip: ChipProfile, reset: bool) -> None:
    """Wherever the driver stops: a dump with every page right, or a refusal that names the lock held there."""
    def crash_at(line: int) -> tuple[LineTrap, str]:
        rig = make(chip, ncpus=2).probe()
        device = rig.dump_device()
        trap = LineTrap(rig.machine, source_files(DRIVER_MODULES), line, lambda: rig.machine.crash(Trigger.OOPS))
        workload(rig, trap, reset)
        verdict = dump_some(rig, device) if line else ""
        rig.machine.close()
        return trap, verdict

    lines = crash_at(0)[0].lines
    assert lines > 400
    verdicts = {crash_at(line)[1] for line in range(1, lines, max(1, lines // SAMPLES))}
    assert "dumped" in verdicts
    for verdict in verdicts - {"dumped"}:
        assert "host_lock is held" in verdict or verdict.endswith("dump_sanity_check of driver refuses: -EBUSY")


@pytest.mark.parametrize(("chip", "moment"), [(LSI53C1030, "take-over"), (SAS1068, "dump")],
                         ids=["53c1030, take-over", "sas1068, dump"])
@pytest.mark.parametrize("fault", sorted(FAULTS))
def test_one_strike_of_a_fault(make: Make, chip: ChipProfile, moment: str, fault: str) -> None:
    """Before the take-over or in the middle of the dump: survived with every page right, or refused with a reason."""
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
    for block in range(6):
        data = rig.fill(DATA, 4096, block)
        error = error or device.rw_block(True, 3 * block, [(DATA, 4096)])
        assert error or rig.on_disk(24 * block, 4096) == data
    assert bool(error) == (fault in PROFILE.fatal_faults and fault in faults.struck), device.why
    assert bool(error) == bool(device.why)
    assert rig.machine.clock.now_ns < 400_000_000_000


def test_take_over_twice(make: Make) -> None:
    """A second quiesce and host reset in the same dump work like the first."""
    rig = make().probe().take_over()
    assert rig.hooks.quiesce(rig.sdev) == 0
    assert rig.host_reset() == SUCCESS
    assert rig.run(rig.command(cdb.test_unit_ready())).result == 0x02
