"""What the tests of a driver start from: the driver on its model, a crash at any of its lines, recorded exchanges.

    class Rig(ScsiDriverRig[MyModel, Chip]): ...            # see ScsiDriverRig

    @pytest.fixture
    def make():
        yield from rigs(Rig)

    def test_crash_at_any_line(make):
        crash_at_lines(lambda: make(ncpus=2).probe(), DRIVER_MODULES, scsi_workload("host_reset"), samples=20)

- `ScsiDriverRig`, `AtaDriverRig`: a machine, one adapter, one disk, the driver probed; a subclass says how its adapter
  is plugged in and probed.
- `crash_at_lines`: the driver stops at any of its lines, in the middle of I/O or of an error handler, and a dump has to
  work, or to be refused for the lock that is held there.  `one_strike`: the same for a fault of the model.
- `Replay`: golden exchanges, taken from an adapter that nobody here wrote, against the model.
- `plugin_checks`: what the plugin registers, and that its README says the same.

Nothing here needs pytest; it lies beside ddsdk.campaign and knows it as little as that knows this.
"""

from __future__ import annotations

from .ata import AtaDriverRig
from .golden import Difference, Exchanges, Replay
from .lines import ata_workload, crash_at_lines, scsi_workload
from .plugin import plugin_checks
from .rig import DATA, HIGH, PAGE, DriverRig, pattern, refusal, rigs
from .scsi import ScsiDriverRig
from .strikes import one_strike

__all__ = ["DATA", "HIGH", "PAGE", "AtaDriverRig", "Difference", "DriverRig", "Exchanges", "Replay", "ScsiDriverRig",
           "ata_workload", "crash_at_lines", "one_strike", "pattern", "plugin_checks", "refusal", "rigs",
           "scsi_workload"]
