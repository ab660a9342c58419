"""The driver on its model, as the driver's tests use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import pytest
from attrs import define

from ddsdk.hookspecs import Chip
from ddsdk.scsi.cmnd import ScsiCmnd
from ddsdk.scsi.host import ScsiHost
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk.testing import DATA, PAGE, ScsiDriverRig, refusal
from ddsdk_ipr.adapter import LATER, BlockLayout, IprCmnd, IprIoaCfg
from ddsdk_ipr.chips import CHIPS
from ddsdk_ipr.driver import ipr_probe
from ddsdk_ipr.dump import IprDumpHooks
from ddsdk_ipr.model import CITRINE, GEMSTONE, SNIPE, ChipProfile, IprIoa, build

__all__ = ["ALL", "CITRINE", "DATA", "GEMSTONE", "MS", "PAGE", "SNIPE", "ChipProfile", "Make", "Rig", "S",
           "chip_named", "refusal"]

S, MS = 1_000_000_000, 1_000_000

ALL = pytest.mark.parametrize("chip", [GEMSTONE, CITRINE, SNIPE], ids=lambda profile: profile.chip.name)


def chip_named(name: str) -> Chip:
    """An entry of the driver's table."""
    return next(chip for chip in CHIPS if chip.name == name)


@define(eq=False)
class Rig(ScsiDriverRig[IprIoa, ChipProfile]):
    """One adapter; `layout` is the command blocks' in the driver."""

    driver_hooks, default_chip = IprDumpHooks, GEMSTONE

    layout: BlockLayout = LATER

    @classmethod
    def plug(cls, machine: Machine, disk: Disk, chip: ChipProfile, at: tuple[int, int] = (0, 0), autosense: bool = True,
             **options: Any) -> SimPciFunction:
        """See `DriverRig.plug`; the disk is *at* (bus, id), and keeps its sense data without *autosense*."""
        return build(machine, {at: ScsiTarget(disk, autosense=autosense)}, chip, **options)

    def probe(self, layout: BlockLayout = LATER) -> Self:
        """See `DriverRig.probe`."""
        self.layout = layout
        return super().probe()

    def attach(self) -> ScsiHost:
        """See `ScsiDriverRig.attach`."""
        return ipr_probe(self.pdev, chip_named(self.chip.chip.name), self.layout)

    @property
    def ioa(self) -> IprIoaCfg:
        """The driver's adapter."""
        ioa = self.shost.hostdata
        assert isinstance(ioa, IprIoaCfg)
        return ioa

    @property
    def registers(self) -> Any:
        """Where they are depends on the chip."""
        return self.chip.regs

    def log(self, part: str) -> bool:
        """Whether the kernel's log has a line with *part* in it."""
        return any(part in line for line in self.kernel.log)

    def block_of(self, scmd: ScsiCmnd) -> IprCmnd:
        """The block that carries a command."""
        return next(block for block in self.ioa.blocks if block.scmd is scmd)

    def ioarcb(self, block: IprCmnd) -> bytes:
        """Its request block."""
        return bytes(self.ioa.view[block.ioarcb_offset:block.ioarcb_offset + 128])


Make = Callable[..., Rig]
