"""I/O load on a SCSI disk; block/load.py says what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from ..block.load import BlockLoad
from ..block.load import Region as Region
from .host import ScsiDevice
from .midlayer import ScsiRequest

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Kernel


@define
class IoLoad(BlockLoad[ScsiDevice]):
    """Load on a ScsiDevice; the reset is the host reset handler."""

    @property
    def sdev(self) -> ScsiDevice:
        """The disk."""
        return self.unit

    @property
    def kernel(self) -> Kernel:
        """See `BlockLoad.kernel`."""
        return self.unit.host.kernel

    def request(self) -> ScsiRequest:
        """See `BlockLoad.request`."""
        return ScsiRequest(self.unit)
