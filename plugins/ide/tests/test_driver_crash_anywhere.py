"""A crash at any line of the driver: the dump is refused for a reason, or works."""

from __future__ import annotations

import importlib

import pytest

from ddsdk.ata.ide_dump import AtaDumpDevice
from ddsdk.ata.load import IoLoad, Region
from ddsdk.conformance.line_trap import LineTrap
from ddsdk.sim.machine import Trigger
from ddsdk_ide import DRIVER_MODULES
from ddsdk_ide.chips import PIIX3, PIIX4
from ddsdk_ide.model_personality import QEMU, REAL
from plugins.ide.tests.driver_rig import DATA, Make, Rig

FILES = {str(importlib.import_module(name).__file__) for name in DRIVER_MODULES}
#: Lines tried of each scenario.
SAMPLES = 9


def workload(rig: Rig, trap: LineTrap, reset: bool) -> None:
    """Three workers read and write, by DMA and by programmed I/O, on both drives; one resets the channel if *reset*."""
    with trap.set():
        for number, drive in enumerate((rig.drive, rig.found[1])):
            drive.using_dma = drive.unit == 0
            load = IoLoad(drive, Region(3000, 512, writable=True), 1, 2 - number, 16, 3 if reset and not number else 0)
            load.start()
        rig.machine.run(for_ns=8_000_000)


def dump_some(rig: Rig, device: AtaDumpDevice) -> str:
    """Sanity check, quiesce, pages out and checked on the disk, shutdown: "dumped", or why it was refused."""
    if not rig.machine.crashdump_mode:
        rig.machine.crash(Trigger.PANIC)
    if device.sanity_check() < 0:
        return device.why
    assert device.quiesce() == 0, device.why
    for block in range(4):
        data = rig.fill(DATA, 8192, block)
        assert device.rw_block(True, 3 * block, [(DATA, 8192)]) == 0, device.why
        assert rig.on_disk(24 * block, 8192) == data
    assert device.shutdown() == 0, device.why
    return "dumped"


@pytest.mark.parametrize(("chip", "personality", "reset"), [
    (PIIX3, REAL, False), (PIIX4, REAL, True), (PIIX3, QEMU, True)], ids=["io", "io and reset", "qemu"])
def test_crash_at_any_line(make: Make, chip: object, personality: object, reset: bool) -> None:
    """Wherever the driver stops: a dump with every page right, or a refusal that names the lock held there."""
    def crash_at(line: int) -> tuple[LineTrap, str]:
        rig = make(chip, ((0, 0), (0, 1)), personality=personality, ncpus=2).probe()
        device = rig.dump_device()
        trap = LineTrap(rig.machine, FILES, line, lambda: rig.machine.crash(Trigger.OOPS))
        workload(rig, trap, reset)
        verdict = dump_some(rig, device) if line else ""
        rig.machine.close()
        return trap, verdict

    lines = crash_at(0)[0].lines
    assert lines > 500
    verdicts = {crash_at(line)[1] for line in range(7, lines, max(1, lines // SAMPLES))}
    assert "dumped" in verdicts
    for verdict in verdicts - {"dumped"}:
        assert verdict.startswith("ide_lock is held, taken at ")


def test_take_over_twice(make: Make) -> None:
    """A second quiesce and reset in the same dump work like the first."""
    rig = make().probe().take_over()
    assert rig.hooks.quiesce(rig.drive) == 0
    assert rig.reset() == 0
    assert rig.why(rig.run(rig.rw(True, 0, [(DATA, 4096)]))) == ""
