"""The driver on its model, as the driver's tests use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import pytest
from attrs import define

from ddsdk.ata.host import IdeHwif
from ddsdk.hookspecs import Chip
from ddsdk.sim.ata_drive import AtaDrive, AtaIdentity
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import SimPciFunction
from ddsdk.testing import DATA, PAGE, AtaDriverRig, refusal
from ddsdk_ide.adapter import Channel
from ddsdk_ide.chips import PIIX3, PIIX4
from ddsdk_ide.driver import piix_probe
from ddsdk_ide.dump import PiixDumpHooks
from ddsdk_ide.model import PiixIde, build
from ddsdk_ide.model_channel import ChannelModel
from ddsdk_ide.model_personality import QEMU, REAL, Personality

__all__ = ["BOTH", "DATA", "PAGE", "PERSONALITIES", "Make", "Rig", "refusal"]

BOTH = pytest.mark.parametrize("chip", [PIIX3, PIIX4], ids=lambda chip: chip.name)
PERSONALITIES = pytest.mark.parametrize("personality", [REAL, QEMU], ids=lambda personality: personality.name)


@define(eq=False)
class Rig(AtaDriverRig[PiixIde, Chip]):
    """One interface."""

    driver_hooks, default_chip, disk_bytes = PiixDumpHooks, PIIX3, 4 << 20

    @classmethod
    def plug_disks(cls, machine: Machine, disks: Mapping[tuple[int, int], Disk], chip: Chip,
                   personality: Personality = REAL, identity: AtaIdentity | None = None,
                   **options: Any) -> SimPciFunction:
        """See `AtaDriverRig.plug_disks`."""
        drives = {place: AtaDrive(disk, identity or AtaIdentity(power_on_multiple=16))
                  for place, disk in disks.items()}
        return machine.pci.plug(build(chip, machine, drives, personality, **options))

    def power_up(self) -> Self:
        """Let the function decode and master, as firmware does."""
        self.function.config_write(0x04, 2, 0x5)
        self.function.config_write(0x40, 4, 0x8000_8000)
        return self

    def attach(self) -> Sequence[IdeHwif]:
        """See `AtaDriverRig.attach`."""
        return piix_probe(self.pdev, self.chip).channels

    @property
    def channel_model(self) -> ChannelModel:
        """The drive's channel in the model."""
        return self.model.channels[self.place[0]]

    @property
    def channel(self) -> Channel:
        """The driver's side of the channel."""
        assert isinstance(self.hwif.hwif_data, Channel)
        return self.hwif.hwif_data

    @property
    def piix_name(self) -> str:
        """How the driver's messages call it."""
        return f"{self.chip.name} {self.pdev.name}"

    def port(self, bar: int, offset: int, value: int | None = None, size: int = 1) -> int:
        """A register, behind the driver's back: written, or read."""
        window = self.function.window(bar)
        if value is None:
            return window.read(offset, size)
        window.write(offset, size, value)
        return value


Make = Callable[..., Rig]
