"""A crash at any line of the driver: the dump is refused for a reason, or works."""

from __future__ import annotations

import pytest

from ddsdk.testing import crash_at_lines, scsi_workload
from ddsdk_aic79xx import DRIVER_MODULES
from ddsdk_aic79xx.model import AIC7901, AIC7902, AIC7902A, ChipProfile
from plugins.aic79xx.tests.driver_rig import Make

#: Lines tried of the load without an error handler, and of each with one.
SAMPLES, FEWER = 5, 2


@pytest.mark.parametrize(("chip", "handler"), [
    (AIC7901, ""), (AIC7902, ""), (AIC7901, "abort"), (AIC7902, "abort"), (AIC7902A, "device_reset"),
    (AIC7901, "bus_reset"), (AIC7902A, "host_reset")],
    ids=["packets", "messages", "abort, packets", "abort, messages", "device reset", "bus reset", "host reset"])
def test_crash_at_any_line(make: Make, chip: ChipProfile, handler: str) -> None:
    """Wherever the driver stops: a dump with every page right, or a refusal that names the lock held there."""
    found = crash_at_lines(lambda: make(chip, ncpus=2).probe(), DRIVER_MODULES, scsi_workload(handler, victim=True),
                           FEWER if handler else SAMPLES)
    assert found.lines > 300
