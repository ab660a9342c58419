"""One transfer of an IDE dump device.  Its taskfile is made anew for every try: the way data moves may have changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..block.dump_io import DumpIo as BlockIo
from ..block.pieces import ScatterList
from .taskfile import TASKFILE_NO_DATA, AtaTaskfile, IdeTask, rw_taskfile

if TYPE_CHECKING:
    from .host import IdeDrive

_NOT_SENT: Final = AtaTaskfile()


class DumpIo(BlockIo[IdeTask]):
    """Carried by an IdeTask.  A read or write of `sectors` from `sector` on, or the command in `fixed`."""

    __slots__ = ("fixed", "sector", "sectors", "write")

    def __init__(self, command: IdeTask) -> None:
        super().__init__(command)
        self.write = False
        self.sector = 0
        self.sectors = 0
        self.fixed: tuple[AtaTaskfile, int] | None = None

    @classmethod
    def on(cls, drive: IdeDrive, allowed: int) -> DumpIo:
        """A new one for *drive*, with *allowed* retries."""
        task = IdeTask(drive)
        task.allowed = allowed
        return cls(task)

    def rw(self, write: bool, sector: int, sectors: int, nbytes: int, sg: ScatterList) -> DumpIo:
        """Make this a read or write."""
        self.write, self.sector, self.sectors, self.fixed = write, sector, sectors, None
        self._data(nbytes, sg)
        return self

    def control(self, tf: AtaTaskfile, data_phase: int = TASKFILE_NO_DATA, nbytes: int = 0, sg: ScatterList = (),
                timeout_ns: int = 0) -> DumpIo:
        """Make this another command."""
        self.fixed = (tf, data_phase)
        self.timeout_ns = timeout_ns
        self._data(nbytes, sg)
        return self

    def taskfile(self) -> tuple[AtaTaskfile, int]:
        """(taskfile, data phase) of the next try."""
        return self.fixed or rw_taskfile(self.command.drive, self.write, self.sector, self.sectors)

    def _data(self, nbytes: int, sg: ScatterList) -> None:
        task = self.command
        task.nbytes, task.sg, task.retries = nbytes, sg, 0
        task.tf = _NOT_SENT

    def give_up(self) -> None:
        """Go on with a new IdeTask for the same transfer; whoever holds the old one finds it done."""
        old, new = self.command, IdeTask(self.command.drive)
        old.done = True
        new.tf, new.data_phase = old.tf, old.data_phase
        new.nbytes, new.sg = old.nbytes, old.sg
        new.retries, new.allowed, new.timeout = old.retries, old.allowed, old.timeout
        self.command = new
