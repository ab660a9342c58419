"""The SCSI mid-layer as a rig sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ddsdk.hookspecs.scsi import ScsiHookSpecs
from ddsdk.sim.scsi_target import ScsiTarget

from ..block.midlayer import MidLayer
from .host import ScsiDevice, ScsiHost
from .scan import scan_host
from .scsi_dump import ScsiDumpDevice

if TYPE_CHECKING:
    from ddsdk.hookspecs.device import BoundHooks
    from ddsdk.integrity import CodeImage
    from ddsdk.sim.disk import Disk

    from .load import IoLoad, Region


class ScsiBus(MidLayer):
    """Hosts, devices, targets."""

    name = "scsi"
    specs = ScsiHookSpecs
    host_type = ScsiHost

    def target(self, disk: Disk) -> ScsiTarget:
        """See `MidLayer.target`."""
        return ScsiTarget(disk)

    def number(self, host: ScsiHost, number: int) -> None:
        """See `MidLayer.number`."""
        host.host_no = number

    def scan(self, host: ScsiHost) -> list[ScsiDevice]:
        """See `MidLayer.scan`."""
        return scan_host(host)

    def dump_device(self, unit: ScsiDevice, hooks: BoundHooks, start_sector: int, nr_sectors: int, page_size: int,
                    image: CodeImage, queue_depth: int, name: str) -> ScsiDumpDevice:
        """See `MidLayer.dump_device`."""
        return ScsiDumpDevice(unit, hooks, start_sector, nr_sectors, page_size, image, queue_depth, name=name)

    def load(self, unit: ScsiDevice, region: Region, seed: int, **options: int) -> IoLoad:
        """See `MidLayer.load`."""
        from .load import IoLoad  # a dump needs none

        return IoLoad(unit, region, seed, **options)
