"""The driver on its model, as the driver's tests use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
from attrs import define

from ddsdk.hookspecs import Chip
from ddsdk.scsi.host import ScsiHost
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk.testing import DATA, HIGH, PAGE, ScsiDriverRig, refusal
from ddsdk_mptfusion.adapter import MptAdapter, MptScsiHost
from ddsdk_mptfusion.chips import CHIPS
from ddsdk_mptfusion.driver import mptscsih_probe
from ddsdk_mptfusion.dump import MptDumpHooks
from ddsdk_mptfusion.model import LSI53C1030, SAS1068, ChipProfile, MptIoc, build
from ddsdk_mptfusion.model_chips import Timing
from ddsdk_mptfusion.regs import MptRegs

__all__ = ["BOTH", "DATA", "HIGH", "PAGE", "Make", "Rig", "chip_named", "refusal"]

MS = 1_000_000

BOTH = pytest.mark.parametrize("chip", [SAS1068, LSI53C1030], ids=lambda profile: profile.chip.name)


def chip_named(name: str) -> Chip:
    """An entry of the driver's table."""
    return next(chip for chip in CHIPS if chip.name == name)


@define(eq=False)
class Rig(ScsiDriverRig[MptIoc, ChipProfile]):
    """One IOC."""

    driver_hooks, default_chip, registers, bar = MptDumpHooks, SAS1068, MptRegs, 1

    @classmethod
    def plug(cls, machine: Machine, disk: Disk, chip: ChipProfile, timing: Timing | None = None,
             **options: Any) -> SimPciFunction:
        """See `DriverRig.plug`; an IOC in a hurry, for the driver looks every millisecond.

        Conformance kit and campaign have the chip's own timing.
        """
        quick = timing or attrs.evolve(chip.timing, port_enable_ns=10 * MS, hard_reset_ns=40 * MS, ioc_init_ns=2 * MS)
        return build(machine, {(0, 0): ScsiTarget(disk)}, chip, timing=quick, **options)

    def attach(self) -> ScsiHost:
        """See `ScsiDriverRig.attach`."""
        return mptscsih_probe(self.pdev, chip_named(self.chip.chip.name))

    @property
    def hd(self) -> MptScsiHost:
        """The driver's side of the host."""
        hd = self.shost.hostdata
        assert isinstance(hd, MptScsiHost)
        return hd

    @property
    def ioc(self) -> MptAdapter:
        """The driver's adapter."""
        return self.hd.ioc


Make = Callable[..., Rig]
