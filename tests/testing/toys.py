"""The template's toys as drivers to be tested: a rig for each bus."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from attrs import define

from ddsdk.ata.host import IdeHwif
from ddsdk.conformance.plan import Plan
from ddsdk.scsi.host import ScsiHost
from ddsdk.sim.ata_drive import AtaDrive
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk.testing import AtaDriverRig, ScsiDriverRig
from tests.templates.baking import bake, loaded


@contextmanager
def scsi_toy(out: Path) -> Iterator[tuple[Plan, type[ScsiDriverRig[Any, Any]]]]:
    """The toy, and its rig."""
    with loaded(bake(out, name="rigged", chip="toy9")) as plan:
        driver, build = plan.driver, plan.model.build
        regs = import_module("ddsdk_rigged.regs").Regs

        @define(eq=False)
        class Rig(ScsiDriverRig[Any, Any]):
            driver_hooks, default_chip, registers = type(driver.hooks), driver.chips[0], regs

            @classmethod
            def plug(cls, machine: Machine, disk: Disk, chip: Any, **options: Any) -> SimPciFunction:
                return machine.pci.plug(build(machine, {(0, 0): ScsiTarget(disk)}))

            def attach(self) -> ScsiHost:
                host = driver.probe(self.pdev, self.chip)
                assert isinstance(host, ScsiHost)
                return host

        yield plan, Rig


@contextmanager
def ata_toy(out: Path) -> Iterator[tuple[Plan, type[AtaDriverRig[Any, Any]]]]:
    """The toy of bus ata, and its rig."""
    with loaded(bake(out, name="rigged_ide", chip="toy8", bus="ata")) as plan:
        driver, build = plan.driver, plan.model.build

        @define(eq=False)
        class Rig(AtaDriverRig[Any, Any]):
            driver_hooks, default_chip = type(driver.hooks), driver.chips[0]

            @classmethod
            def plug_disks(cls, machine: Machine, disks: Mapping[tuple[int, int], Disk], chip: Any,
                           **options: Any) -> SimPciFunction:
                return machine.pci.plug(build(machine, {place: AtaDrive(disk) for place, disk in disks.items()}))

            def attach(self) -> Sequence[IdeHwif]:
                hwif = driver.probe(self.pdev, self.chip)
                assert isinstance(hwif, IdeHwif)
                return hwif.channels

        yield plan, Rig
