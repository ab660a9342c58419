"""The driver on its model, as the driver's tests use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from attrs import define

from ddsdk.hookspecs import Chip
from ddsdk.scsi.host import ScsiHost
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk.testing import DATA, HIGH, PAGE, ScsiDriverRig, pattern, refusal
from ddsdk_sym53c8xx.adapter import Hcb
from ddsdk_sym53c8xx.chips import CHIPS
from ddsdk_sym53c8xx.driver import sym_probe
from ddsdk_sym53c8xx.dump import SymDumpHooks
from ddsdk_sym53c8xx.model import LSI53C810, LSI53C895A, LSI53C1010, ChipProfile, build
from ddsdk_sym53c8xx.model_core import SymChip
from ddsdk_sym53c8xx.regs import Regs1010

__all__ = ["ALL", "BOTH", "DATA", "HIGH", "PAGE", "Make", "Rig", "chip_named", "pattern", "refusal"]

ALL = pytest.mark.parametrize("chip", [LSI53C895A, LSI53C810, LSI53C1010], ids=lambda profile: profile.chip.name)
#: The two extremes.
BOTH = pytest.mark.parametrize("chip", [LSI53C810, LSI53C1010], ids=lambda profile: profile.chip.name)


def chip_named(name: str) -> Chip:
    """An entry of the driver's table."""
    return next(chip for chip in CHIPS if chip.name == name)


@define(eq=False)
class Rig(ScsiDriverRig[SymChip, ChipProfile]):
    """One chip."""

    driver_hooks, default_chip, registers, bar = SymDumpHooks, LSI53C895A, Regs1010, 1

    @classmethod
    def plug(cls, machine: Machine, disk: Disk, chip: ChipProfile, **options: Any) -> SimPciFunction:
        """See `DriverRig.plug`."""
        return build(machine, {(0, 0): ScsiTarget(disk)}, chip, **options)

    def attach(self) -> ScsiHost:
        """See `ScsiDriverRig.attach`."""
        return sym_probe(self.pdev, chip_named(self.chip.chip.name))

    @property
    def np(self) -> Hcb:
        """The driver's adapter."""
        np = self.shost.hostdata
        assert isinstance(np, Hcb)
        return np


Make = Callable[..., Rig]
