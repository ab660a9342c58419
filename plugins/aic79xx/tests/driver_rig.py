"""The driver on its model, as the driver's tests use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import pytest
from attrs import define, field

from ddsdk.helperlib.dma import DmaBuffer
from ddsdk.hookspecs import Chip
from ddsdk.scsi.host import ScsiDevice, ScsiHost
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk.testing import DATA, HIGH, PAGE, ScsiDriverRig, refusal
from ddsdk_aic79xx.ahd import Addressing, AhdSoftc
from ddsdk_aic79xx.chips import CHIPS
from ddsdk_aic79xx.driver import ahd_linux_probe
from ddsdk_aic79xx.dump import AhdDumpHooks
from ddsdk_aic79xx.model import AIC7901, AIC7902, AIC7902A, AicCore, ChipProfile, make_function

__all__ = ["BOTH", "DATA", "EACH", "HIGH", "PAGE", "Make", "Rig", "chip_named", "place_at", "refusal"]

EACH = pytest.mark.parametrize("chip", [AIC7901, AIC7902, AIC7902A], ids=lambda profile: profile.chip.name)
#: One that speaks information units, one that does not.
BOTH = pytest.mark.parametrize("chip", [AIC7901, AIC7902], ids=["packetized", "non-packetized"])


def chip_named(name: str) -> Chip:
    """An entry of the driver's table."""
    return next(chip for chip in CHIPS if chip.name == name)


@define(eq=False)
class Rig(ScsiDriverRig[AicCore, ChipProfile]):
    """One adapter."""

    driver_hooks, default_chip, bar = AhdDumpHooks, AIC7901, 1

    addressing: Addressing | None = field(default=None, init=False)

    @classmethod
    def plug(cls, machine: Machine, disk: Disk, chip: ChipProfile, target: int = 0, **options: Any) -> SimPciFunction:
        """See `DriverRig.plug`; the disk is *target*."""
        return machine.pci.plug(make_function(machine, {(0, target): ScsiTarget(disk)}, chip, **options))

    def attach(self) -> ScsiHost:
        """See `ScsiDriverRig.attach`."""
        return ahd_linux_probe(self.pdev, chip_named(self.chip.chip.name), self.addressing)

    def probe(self, addressing: Addressing | None = None) -> Self:
        """Bring the driver up."""
        self.addressing = addressing
        return super().probe()

    @property
    def ahd(self) -> AhdSoftc:
        """The driver's side of it."""
        ahd = self.shost.hostdata
        assert isinstance(ahd, AhdSoftc)
        return ahd

    def log(self) -> str:
        """What the driver has printed."""
        return "\n".join(self.kernel.log)

    def device(self, target: int, lun: int = 0) -> ScsiDevice:
        """A device that nobody scanned for."""
        return ScsiDevice(self.shost, 0, target, lun)

    def known_disk(self, target: int = 0) -> ScsiDevice:
        """The disk as a scan would find it, without the scan."""
        self.disk_device = sdev = self.device(target)
        sdev.tagged_supported = True
        return sdev

    def polled(self) -> Self:
        """Crash, and go on polling with the chip as it is: the unit attention used up, everything agreed."""
        self.known_disk()
        self.crash()
        while self.run(self.tur()).result:
            assert len(self.done) < 5
        self.done.clear()
        return self


Make = Callable[..., Rig]


def place_at(rig: Rig, monkeypatch: pytest.MonkeyPatch, count: int, *places: tuple[int, int]) -> None:
    """Memory for *count* commands at *places*: (address, bytes) of elements, lists, sense buffers, shared block."""
    def alloc(ahd: AhdSoftc) -> None:
        buffers = []
        for paddr, size in places:
            rig.function.dma_grant(paddr, size)
            buffers.append(DmaBuffer(paddr, paddr, rig.machine.memory.view(paddr, size)))
        ahd.place(*buffers, count)
    monkeypatch.setattr(AhdSoftc, "alloc_memory", alloc)
