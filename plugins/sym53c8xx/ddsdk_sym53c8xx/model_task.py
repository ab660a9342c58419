"""A command as its target holds it: the CDB, how far its data has come, what is to be said at the end.

A target carries out a command by `ScsiTarget.execute()`, which moves all data at once; the bus moves it in pieces.  For
data to the host a buffer lies in between, as disks have one.  For data to the disk `execute()` runs in a greenlet of its
own and waits in `gather()` until the bus has brought everything, so that the disk takes it out of host memory directly.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ddsdk.errors import HardwareFault
from ddsdk.sim.cpu import getcurrent, greenlet
from ddsdk.sim.scsi_target import ScsiResult, ScsiTarget, transfer_of

#: More than any command moves: on a parallel bus the host's length is not the target's business.
_ANY_LENGTH: Final = 1 << 40
CHECK_CONDITION: Final = 0x02
REQUEST_SENSE: Final = 0x03


class Task:
    """One command.  It is its own `ddsdk.sim.scsi_unit.DataPhase`.

    `current`: bytes of `total` moved; `saved`: what a reselection goes back to.  `result`: None until it was carried out.
    `gone`: aborted or reset, nothing of it happens any more.  `delivered`: its status has reached the initiator.
    """

    length = _ANY_LENGTH
    to_device: bool | None = None

    def __init__(self, target: ScsiTarget, lun: int, tag: int | None, cdb: bytes, may_disconnect: bool) -> None:
        self.target = target
        self.lun = lun
        self.tag = tag
        self.cdb = cdb
        self.may_disconnect = may_disconnect
        unit = target.units.get(lun)
        self.sector_size = unit.disk.sector_size if unit is not None else 512
        self.expected, self.out = transfer_of(cdb, self.sector_size)
        self.total = self.current = self.saved = 0
        self.burst_end = 0
        self.result: ScsiResult | None = None
        self.gone = self.delivered = False
        self.then: Callable[[], None] | None = None     # what a rest ends with
        self.extra = 0                          # bytes beyond the data, by a fault
        self._buffer = memoryview(b"")
        self._views: list[memoryview] = []
        self._worker: Any = None

    @property
    def key(self) -> tuple[int, int | None]:
        """What tells the commands of a target apart."""
        return self.lun, self.tag

    @property
    def data_left(self) -> int:
        """Bytes the target still wants to move."""
        return self.total - self.current

    def rewind(self) -> None:
        """Back to the saved pointer; a command that is over stays at its end."""
        if self.delivered:
            self.current = self.total
            return
        if self.out:
            kept, left = [], self.saved
            for view in self._views:
                if left:
                    kept.append(view[:left])
                    left -= len(kept[-1])
            self._views = kept
        self.current = self.saved

    # -- execution -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Data to the device: find out how much of it the target wants, if any; `result` when it wants none."""
        self._worker = greenlet(self._execute, getcurrent())
        self._switch(None)

    def end(self) -> None:
        """The data is there."""
        self._switch(self._views)

    def run(self) -> None:
        """Everything else, at once."""
        self._execute()

    def _execute(self) -> None:
        self.result = self.target.execute(self.lun, self.cdb, self)

    def _switch(self, value: object) -> None:
        self._worker.parent = getcurrent()
        self._worker.switch() if value is None else self._worker.switch(value)
        if self.result is not None:
            self._worker = None

    # -- DataPhase -------------------------------------------------------------------------------------------

    def gather(self, n: int) -> list[memoryview]:
        """See `DataPhase.gather`: not before the bus has moved *n* bytes."""
        if getcurrent() is not self._worker:
            raise HardwareFault(f"CDB {self.cdb.hex()}: data to the device in a command that is not known to have any")
        self.total = n
        views: list[memoryview] = self._worker.parent.switch()
        return views

    def scatter(self, n: int) -> list[memoryview]:
        """See `DataPhase.scatter`: the target's own buffer."""
        self._buffer, self.total = memoryview(bytearray(n)), n
        return [self._buffer]

    def put(self, data: bytes) -> int:
        """See `DataPhase.put`."""
        if data:
            self._buffer, self.total = memoryview(data), len(data)
        return len(data)

    # -- the bus's side --------------------------------------------------------------------------------------

    def take(self, views: list[memoryview], n: int) -> None:
        """Data out: *n* bytes of host memory."""
        self._views += views
        self.current += n

    def give(self, views: list[memoryview]) -> None:
        """Data in: fill *views* with what comes next."""
        at, buffer = self.current, self._buffer
        for view in views:
            n = len(view)
            piece = buffer[at:at + n]
            view[:len(piece)] = piece
            if len(piece) < n:                  # by a fault: more than there is
                view[len(piece):] = bytes(n - len(piece))
            at += n
        self.current = at

    def first_byte(self) -> int:
        """What comes next, for SFBR."""
        return self._buffer[self.current] if self.current < len(self._buffer) else 0
