"""A command as its target holds it, between two connections and during one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ddsdk.sim.scsi_phases import PhasedCommand
from ddsdk.sim.scsi_target import ScsiTarget

CHECK_CONDITION: Final = 0x02
REQUEST_SENSE: Final = 0x03


class Task(PhasedCommand):
    """One command.

    `gone`: aborted or reset, nothing of it happens any more.  `delivered`: its status has reached the initiator.
    `then`: what a rest off the bus ends with; `leaving`: it has begun, and the target is still connected; `due`: its
    end came before the target had left.  `burst_end`: where the target leaves the bus in mid data.  `extra`: bytes
    beyond the data, by a fault.
    """

    def __init__(self, target: ScsiTarget, lun: int, tag: int | None, cdb: bytes, may_disconnect: bool) -> None:
        super().__init__(target, lun, cdb)
        self.tag = tag
        #: What tells the commands of a target apart.
        self.key = lun, tag
        self.may_disconnect = may_disconnect
        self.gone = self.delivered = False
        self.then: Callable[[], None] | None = None
        self.leaving = False
        self.due: Callable[[], None] | None = None
        self.burst_end = 0
        self.extra = 0

    def rewind(self) -> None:
        """Back to the saved pointer; a command that is over stays at its end."""
        if self.delivered:
            self.current = self.total
        else:
            super().rewind()
