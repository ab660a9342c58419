"""A command on a parallel bus: its data moves in pieces, when the bus has time, and can begin anew.

`ScsiTarget.execute()` moves all data of a command at once.  On a parallel bus the initiator takes and gives it piece
by piece, and how much there is only the target knows.  Data to the initiator goes through a buffer, as a disk has one.
The disk takes its data out of the initiator's memory directly: a WRITE that nothing stands in the way of is carried out
once everything is there; any other command with data to the disk runs in a greenlet of its own, which waits for that.
"""

from __future__ import annotations

from typing import Any, Final

from ddsdk.errors import HardwareFault

from .cpu import getcurrent, greenlet
from .scsi_target import ScsiResult, ScsiTarget, transfer_of

#: More than any command moves: the initiator's length is not the target's business.
_ANY_LENGTH: Final = 1 << 40


class PhasedCommand:
    """One command of *target*; it is its own `scsi_unit.DataPhase`.

    `out`: data goes to the device, None: there is none; `expected`: at most so many bytes, by the CDB.  `total`: bytes
    the target wants to move, known once it was begun or run; `current` of them have moved, `saved` is where `rewind()`
    goes back to.  `result`: None until the command was carried out.
    """

    length = _ANY_LENGTH
    to_device: bool | None = None

    def __init__(self, target: ScsiTarget, lun: int, cdb: bytes) -> None:
        self.target = target
        self.lun = lun
        self.cdb = cdb
        unit = target.units.get(lun)
        self.expected, self.out = transfer_of(cdb, unit.disk.sector_size if unit is not None else 512)
        self.total = self.current = self.saved = 0
        self.result: ScsiResult | None = None
        self._buffer = memoryview(b"")
        self._views: list[memoryview] = []
        self._worker: Any = None
        self._unit = unit
        self._ready = False                     # all data is there, for whoever asks

    @property
    def data_left(self) -> int:
        """Bytes the target still wants to move."""
        return self.total - self.current

    # -- carrying it out -------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Data to the device: find out how much the target wants (`total`); `result` is there when it wants none."""
        if self._unit is not None:
            self.total = self._unit.takes(self.cdb)
            if self.total:
                return
        self._worker = greenlet(self._execute, getcurrent())
        self._switch(None)

    def end(self) -> None:
        """All data to the device has moved: carry the command out."""
        if self._worker is None:
            self._ready = True
            self._execute()
        else:
            self._switch(self._views)

    def run(self) -> None:
        """A command that is not begun is carried out at once; data for the initiator waits in the buffer."""
        self._execute()

    def _execute(self) -> None:
        self.result = self.target.execute(self.lun, self.cdb, self)

    def _switch(self, value: object) -> None:
        worker = self._worker
        worker.parent = getcurrent()
        worker.switch() if value is None else worker.switch(value)
        if self.result is not None:
            self._worker = None

    # -- what the target sees: DataPhase ---------------------------------------------------------------------

    def gather(self, n: int) -> list[memoryview]:
        """See `DataPhase.gather`: comes back when *n* bytes have moved."""
        if self._ready:
            return _first(self._views, n)
        if self._worker is None or getcurrent() is not self._worker:
            raise HardwareFault(f"CDB {self.cdb.hex()} wants {n} bytes, and by its operation code it has none to take")
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

    # -- what the bus sees -----------------------------------------------------------------------------------

    def take(self, views: list[memoryview], n: int) -> None:
        """The next *n* bytes to the device; *views* must stay what they are until `end()`."""
        self._views += views
        self.current += n

    def give(self, views: list[memoryview]) -> None:
        """The next bytes to the initiator, as many as *views* hold; zeros past the end."""
        at, buffer = self.current, self._buffer
        for view in views:
            n = len(view)
            piece = buffer[at:at + n]
            view[:len(piece)] = piece
            if len(piece) < n:
                view[len(piece):] = bytes(n - len(piece))
            at += n
        self.current = at

    def first_byte(self) -> int:
        """The next byte to the initiator."""
        return self._buffer[self.current] if self.current < len(self._buffer) else 0

    def rewind(self) -> None:
        """Back to `saved`."""
        if self.out:
            self._views = _first(self._views, self.saved)
        self.current = self.saved


def _first(views: list[memoryview], n: int) -> list[memoryview]:
    """The first *n* bytes."""
    if len(views) == 1:
        return views if len(views[0]) == n else [views[0][:n]] if n else []
    kept: list[memoryview] = []
    for view in views:
        if n:
            kept.append(view[:n])
            n -= len(kept[-1])
    return kept
