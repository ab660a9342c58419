"""The IDE mid-layer as a rig sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddsdk.hookspecs.ata import AtaHookSpecs
from ddsdk.sim.ata_drive import AtaDrive

from ..block.midlayer import MidLayer
from .host import IdeDrive, IdeHwif
from .ide_dump import AtaDumpDevice
from .scan import scan_hwif

if TYPE_CHECKING:
    from ddsdk.hookspecs.device import BoundHooks
    from ddsdk.integrity import CodeImage
    from ddsdk.sim.disk import Disk

    from .load import IoLoad, Region


class AtaBus(MidLayer):
    """Channels and drives."""

    name = "ata"
    specs = AtaHookSpecs
    host_type = IdeHwif

    def target(self, disk: Disk) -> AtaDrive:
        """See `MidLayer.target`."""
        return AtaDrive(disk)

    def number(self, host: IdeHwif, number: int) -> None:
        """See `MidLayer.number`."""
        for channel in host.channels:
            channel.index = number

    def scan(self, host: IdeHwif) -> list[IdeDrive]:
        """See `MidLayer.scan`."""
        return scan_hwif(host)

    def dump_device(self, unit: IdeDrive, hooks: BoundHooks, start_sector: int, nr_sectors: int, page_size: int,
                    image: CodeImage, queue_depth: int, name: str) -> AtaDumpDevice:
        """See `MidLayer.dump_device`."""
        return AtaDumpDevice(unit, hooks, start_sector, nr_sectors, page_size, image, queue_depth, name=name)

    def load(self, unit: IdeDrive, region: Region, seed: int, **options: int) -> IoLoad:
        """See `MidLayer.load`."""
        from .load import IoLoad  # a dump needs none

        return IoLoad(unit, region, seed, **options)
