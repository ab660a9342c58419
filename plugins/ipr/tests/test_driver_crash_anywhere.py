"""A crash at any line of the driver: the dump is refused for a reason, or works; and every fault the model knows."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.scsi.midlayer import ScsiRequest
from ddsdk.sim import disk_faults
from ddsdk.testing import crash_at_lines, one_strike, scsi_workload
from ddsdk.testing.lines import SECTOR
from ddsdk_ipr import DRIVER_MODULES
from ddsdk_ipr.conformance import PROFILE
from ddsdk_ipr.model_faults import FAULTS
from plugins.ipr.tests.driver_rig import CITRINE, GEMSTONE, SNIPE, ChipProfile, Make, Rig

#: Lines tried of each scenario.
SAMPLES = 8


def with_an_error(rig: Rig) -> None:
    """Reads and writes, and an error that the adapter has to fetch the sense data of."""
    rig.disk.inject(disk_faults.hardware_error(after=3))
    scsi_workload(turns=4)(rig)


def reset_in_flight(rig: Rig) -> None:
    """A host reset with three commands in flight."""
    def in_flight() -> None:
        for number in range(3):
            rig.queue(rig.rw(number == 1, SECTOR + 64 * number, [(0x200000 + 0x10000 * number, 4096)]))

    rig.machine.spawn(0, in_flight, "load")
    rig.machine.spawn(1, lambda: ScsiRequest(rig.sdev).reset(), "scsi_eh")
    rig.machine.run()


@pytest.mark.parametrize(("chip", "workload"), [
    (GEMSTONE, with_an_error), (CITRINE, with_an_error), (SNIPE, reset_in_flight)],
    ids=["io, no autosense", "io, autosense", "io and host reset"])
def test_crash_at_any_line(make: Make, chip: ChipProfile, workload: Any) -> None:
    """Wherever the driver stops: a dump with every page right, or a refusal that names the lock held there."""
    found = crash_at_lines(lambda: make(chip, ncpus=2, autosense=False).probe(), DRIVER_MODULES, workload, SAMPLES,
                           pages=3)
    assert found.lines > 400


#: Half a minute of waiting each; the kit has them, too.
LENGTHY = frozenset({"cancel-hung", "sense-hung", "firmware-hang", "toggle-stuck", "never-operational",
                     "completion-lost", "start-step-hung", "command-hung", "completion-late", "command-slow"})


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - LENGTHY))
def test_one_strike_of_a_fault(make: Make, fault: str) -> None:
    """In the middle of the dump: survived with every page right, or refused with a reason."""
    one_strike(make(GEMSTONE, autosense=False).probe(), fault, "dump", PROFILE.fatal_faults, after=1, pages=4)
