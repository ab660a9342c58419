"""A crash at any line of the driver: the dump is refused for a reason, or works; and some of the model's faults."""

from __future__ import annotations

import pytest

from ddsdk.testing import crash_at_lines, one_strike, scsi_workload
from ddsdk_sym53c8xx import DRIVER_MODULES
from ddsdk_sym53c8xx.conformance import PROFILE
from ddsdk_sym53c8xx.model import LSI53C810, LSI53C895A, LSI53C1010, ChipProfile
from ddsdk_sym53c8xx.model_faults import FAULTS
from plugins.sym53c8xx.tests.driver_rig import Make

#: Lines tried of each scenario.
SAMPLES = 6
#: These cost a command its 30 s; they, and those left out below, are the conformance kit's.
TIME_OUTS = {"command-hung", "reselect-lost", "sigp-lost"}


@pytest.mark.parametrize(("chip", "handler"), [
    (LSI53C895A, ""), (LSI53C810, "device_reset"), (LSI53C1010, "host_reset")],
    ids=["io", "device reset", "host reset"])
def test_crash_at_any_line(make: Make, chip: ChipProfile, handler: str) -> None:
    """Wherever the driver stops: a dump with every page right, or a refusal that names the lock held there."""
    found = crash_at_lines(lambda: make(chip, ncpus=2).probe(), DRIVER_MODULES, scsi_workload(handler), SAMPLES)
    assert found.lines > 300


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - TIME_OUTS)[::3])
def test_one_strike_of_a_fault(make: Make, fault: str) -> None:
    """Before the take-over, in the middle of the dump: survived with every page right, or refused with a reason."""
    chip, when = ((LSI53C895A, "take-over"), (LSI53C810, "dump"))[sorted(FAULTS).index(fault) % 2]
    one_strike(make(chip).probe(), fault, when, PROFILE.fatal_faults, pages=4)
