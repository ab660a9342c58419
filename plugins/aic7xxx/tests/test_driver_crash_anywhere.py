"""A crash at any line of the driver: the dump is refused for a reason, or works."""

from __future__ import annotations

import pytest

from ddsdk.testing import crash_at_lines, scsi_workload
from ddsdk_aic7xxx import DRIVER_MODULES
from plugins.aic7xxx.tests.driver_rig import Make

#: Lines tried of the load without an error handler, and of each with one.
SAMPLES, FEWER = 8, 3


@pytest.mark.parametrize("handler", ["", "abort", "device_reset", "bus_reset", "host_reset"])
def test_crash_at_any_line(make: Make, handler: str) -> None:
    """Wherever the driver stops: a dump with every page right, or a refusal that names the lock held there."""
    found = crash_at_lines(lambda: make(ncpus=2).probe().attention(), DRIVER_MODULES,
                           scsi_workload(handler, victim=True), FEWER if handler else SAMPLES)
    assert found.lines > 300
