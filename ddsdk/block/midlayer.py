"""A mid-layer as whoever puts machines together sees it: what it scans, makes dump devices of, and puts load on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from ddsdk.errors import PluginError

from .dump_device import PolledDumpDevice, Unit

if TYPE_CHECKING:
    from ddsdk.hookspecs.device import BoundHooks
    from ddsdk.integrity import CodeImage
    from ddsdk.sim.disk import Disk

    from .load import BlockLoad, Region


class MidLayer(ABC):
    """One bus: "scsi" or "ata".  `specs`: the hooks its drivers implement; `host_type`: what their probe returns."""

    name: ClassVar[str]
    specs: ClassVar[type]
    host_type: ClassVar[type]

    def probed(self, driver: str, host: object) -> Any:
        """*host*, if it is what a driver of this bus returns from probe; else PluginError."""
        if not isinstance(host, self.host_type):
            raise PluginError(f"{driver}: probe returned {host!r}; a driver of bus {self.name} returns the"
                              f" {self.host_type.__name__} it made")
        return host

    @abstractmethod
    def target(self, disk: Disk) -> Any:
        """What a hardware model has behind it, with *disk* in it."""

    @abstractmethod
    def number(self, host: Any, number: int) -> None:
        """Call *host* by *number* in messages."""

    @abstractmethod
    def scan(self, host: Any) -> Sequence[Unit]:
        """Every disk behind *host*, in order."""

    @abstractmethod
    def dump_device(self, unit: Any, hooks: BoundHooks, start_sector: int, nr_sectors: int, page_size: int,
                    image: CodeImage, queue_depth: int, name: str) -> PolledDumpDevice[Any]:
        """A partition of *unit* (512-byte sectors) as a dump device."""

    @abstractmethod
    def load(self, unit: Any, region: Region, seed: int, **options: int) -> BlockLoad[Any]:
        """I/O load on *unit*; *options* are BlockLoad's."""
