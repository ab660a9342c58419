"""I/O load on an IDE disk; block/load.py says what it does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define

from ..block.load import BlockLoad
from ..block.load import Region as Region
from .host import IdeDrive
from .midlayer import IdeRequest

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Kernel


@define
class IoLoad(BlockLoad[IdeDrive]):
    """Load on an IdeDrive: one worker's command is outstanding, the others wait; the reset is the channel's."""

    @property
    def drive(self) -> IdeDrive:
        """The disk."""
        return self.unit

    @property
    def kernel(self) -> Kernel:
        """See `BlockLoad.kernel`."""
        return self.unit.hwif.kernel

    def request(self) -> IdeRequest:
        """See `BlockLoad.request`."""
        return _Request(self.unit)


class _Request(IdeRequest):
    """A worker's.  It resets a jiffy later, in the middle of somebody else's command."""

    def reset(self) -> bool:
        """See `IdeRequest.reset`."""
        self.kernel.schedule_timeout(1)
        return super().reset()
