"""The driver on its model, as the driver's tests use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import pytest
from attrs import define

from ddsdk.scsi.host import ScsiDevice, ScsiHost
from ddsdk.scsi.scan import scan_host
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk.testing import DATA, HIGH, PAGE, ScsiDriverRig, refusal
from ddsdk_aic7xxx.adapter import Ahc
from ddsdk_aic7xxx.driver import ahc_linux_pci_dev_probe
from ddsdk_aic7xxx.dump import AhcDumpHooks
from ddsdk_aic7xxx.model import AIC7892, AIC7899, Aic7xxx, ChipProfile, build
from ddsdk_aic7xxx.regs import AhcRegs

__all__ = ["BOTH", "DATA", "DISK_ID", "HIGH", "PAGE", "Make", "Rig", "refusal"]

#: Where the disk is: no id that comes first.
DISK_ID = 3

BOTH = pytest.mark.parametrize("chip", [AIC7892, AIC7899], ids=lambda profile: profile.chip.name)


@define(eq=False)
class Rig(ScsiDriverRig[Aic7xxx, ChipProfile]):
    """One channel."""

    driver_hooks, default_chip, registers, bar = AhcDumpHooks, AIC7892, AhcRegs, 1

    @classmethod
    def plug(cls, machine: Machine, disk: Disk, chip: ChipProfile, channel: int = 0, **options: Any) -> SimPciFunction:
        """See `DriverRig.plug`; the function of one *channel*."""
        build(machine, {(channel, DISK_ID): ScsiTarget(disk)}, chip, **options)
        return machine.pci.functions[channel]

    def attach(self) -> ScsiHost:
        """See `ScsiDriverRig.attach`."""
        return ahc_linux_pci_dev_probe(self.pdev, self.chip.chip)

    def probe_only(self) -> Self:
        """Bring the driver up."""
        return super().probe()

    def probe(self) -> Self:
        """Bring the driver up, and let the attach's settling time pass."""
        self.probe_only()
        self.machine.run(for_ns=5_100_000_000)
        return self

    def find_disk(self) -> ScsiDevice:
        """The disk, as if it had been scanned."""
        return ScsiDevice(self.shost, 0, DISK_ID, 0, nr_sectors=self.disk_bytes // 512, scsi_level=6,
                          tagged_supported=True)

    def scan(self) -> Self:
        """Find the disk as the mid-layer does."""
        self.disk_device = scan_host(self.shost)[0]
        return self

    @property
    def ahc(self) -> Ahc:
        """The driver's side of it."""
        ahc = self.shost.hostdata
        assert isinstance(ahc, Ahc)
        return ahc

    def value(self, name: str) -> int:
        """A register's or scratch byte's value, without an access."""
        return self.model.values[name]


Make = Callable[..., Rig]
