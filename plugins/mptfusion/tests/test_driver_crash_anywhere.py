"""A crash at any line of the driver: the dump is refused for a reason, or works; and some of the model's faults."""

from __future__ import annotations

import pytest

from ddsdk.scsi.cmnd import SUCCESS
from ddsdk.testing import crash_at_lines, one_strike, scsi_workload
from ddsdk_mptfusion import DRIVER_MODULES
from ddsdk_mptfusion.conformance import PROFILE
from ddsdk_mptfusion.model import LSI53C1030, SAS1068, ChipProfile
from ddsdk_mptfusion.model_faults import FAULTS
from plugins.mptfusion.tests.driver_rig import Make

#: Lines tried of each scenario.
SAMPLES = 6
#: These cost a command its 30 s, or 10; they, and those left out below, are the conformance kit's.
TIME_OUTS = {"command-hung", "command-slow", "reply-garbled", "reply-late", "reply-lost"}


@pytest.mark.parametrize(("chip", "handler"), [(SAS1068, ""), (LSI53C1030, "host_reset"), (SAS1068, "device_reset")],
                         ids=["io", "host reset", "device reset"])
def test_crash_at_any_line(make: Make, chip: ChipProfile, handler: str) -> None:
    """Wherever the driver stops: a dump with every page right, or a refusal that names the lock held there."""
    found = crash_at_lines(lambda: make(chip, ncpus=2).probe(), DRIVER_MODULES, scsi_workload(handler), SAMPLES)
    assert found.lines > 350


@pytest.mark.parametrize("fault", sorted(set(FAULTS) - TIME_OUTS)[::2])
def test_one_strike_of_a_fault(make: Make, fault: str) -> None:
    """Before the take-over or in the middle of the dump: survived with every page right, or refused with a reason."""
    chip, when = ((LSI53C1030, "take-over"), (SAS1068, "dump"))[sorted(FAULTS).index(fault) // 2 % 2]
    one_strike(make(chip).probe(), fault, when, PROFILE.fatal_faults)


def test_take_over_twice(make: Make) -> None:
    """A second quiesce and host reset in the same dump work like the first."""
    rig = make().probe().take_over()
    assert rig.hooks.quiesce(rig.sdev) == 0
    assert rig.host_reset() == SUCCESS
    assert rig.run(rig.tur()).result == 0x02
