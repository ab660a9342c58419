"""A crash at any line of the driver: the dump is refused for a reason, or works."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.hookspecs import Chip
from ddsdk.testing import DATA, ata_workload, crash_at_lines
from ddsdk_ide import DRIVER_MODULES
from ddsdk_ide.chips import PIIX3, PIIX4
from ddsdk_ide.model_personality import QEMU, REAL
from plugins.ide.tests.driver_rig import Make

#: Lines tried of each scenario.
SAMPLES = 6


@pytest.mark.parametrize(("chip", "personality", "reset"), [
    (PIIX3, REAL, False), (PIIX4, REAL, True), (PIIX3, QEMU, True)], ids=["io", "io and reset", "qemu"])
def test_crash_at_any_line(make: Make, chip: Chip, personality: Any, reset: bool) -> None:
    """Wherever the driver stops: a dump with every page right, or a refusal that names the lock held there."""
    found = crash_at_lines(lambda: make(chip, ((0, 0), (0, 1)), personality=personality, ncpus=2).probe(),
                           DRIVER_MODULES, ata_workload(reset=reset, for_ns=4_000_000), SAMPLES)
    assert found.lines > 500
    assert all(verdict == "dumped" or verdict.startswith("ide_lock is held, taken at ") for verdict in found.verdicts)


def test_take_over_twice(make: Make) -> None:
    """A second quiesce and reset in the same dump work like the first."""
    rig = make().probe().take_over()
    assert rig.hooks.quiesce(rig.drive) == 0
    assert rig.reset() == 0
    assert rig.why(rig.run(rig.rw(True, 0, [(DATA, 4096)]))) == ""
