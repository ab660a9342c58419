"""One transfer of a SCSI dump device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..block.dump_io import SENSING as SENSING
from ..block.dump_io import DumpIo as BlockIo
from .cmnd import ScatterList, ScsiCmnd

if TYPE_CHECKING:
    from .host import ScsiDevice


class DumpIo(BlockIo[ScsiCmnd]):
    """Carried by a ScsiCmnd."""

    __slots__ = ()

    @classmethod
    def on(cls, sdev: ScsiDevice, allowed: int) -> DumpIo:
        """A new one for *sdev*, with *allowed* retries."""
        scmd = ScsiCmnd(sdev)
        scmd.allowed = allowed
        return cls(scmd)

    def control(self, command: bytes, direction: int, sg: ScatterList, nbytes: int) -> DumpIo:
        """Make this a command other than READ or WRITE; all of its data may be missing."""
        scmd = self.command
        scmd.set_cdb(command)
        scmd.sc_data_direction = direction
        scmd.sg = sg
        scmd.request_bufflen = nbytes
        scmd.underflow = 0
        scmd.retries = 0
        return self

    def give_up(self) -> None:
        """Go on with a new ScsiCmnd for the same transfer; whoever holds the old one finds it done."""
        old, new = self.command, ScsiCmnd(self.command.device)
        old.done = True
        new.cmnd[:] = old.cmnd
        new.cmd_len = old.cmd_len
        new.sc_data_direction = old.sc_data_direction
        new.sg = old.sg
        new.request_bufflen = old.request_bufflen
        new.underflow = old.underflow
        new.retries = old.retries
        new.allowed = old.allowed
        new.timeout_per_command = old.timeout_per_command
        self.command = new
