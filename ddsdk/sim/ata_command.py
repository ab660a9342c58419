"""A command that an ATA drive has taken: what it will move, how far it has come, how it ended.

A model shows BSY for `service_ns`, then moves the data - block by block through the data port, or all of it by DMA -
by calling `move()` until that returns the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from ddsdk.errors import UsageError

from .ata_faults import BAD_SECTOR, READY, registers_of
from .ata_taskfile import CORR, AtaResult, Protocol, Taskfile
from .disk import Disk, DiskError
from .disk_faults import DiskFault, FaultKind

_SECTOR_BYTES = 512


class AtaCommand(ABC):
    """One command under way.

    `protocol`: how its data moves.  `nbytes`: how much the drive will move, `block_bytes` at a time by PIO (one DRQ
    block; the last may be shorter), `moved` so far.  `service_ns`: BSY before the first data, or before the end.
    `result`: None until it has ended; a refused command has one from the start, a hung one a result that says so.
    """

    def __init__(self, taskfile: Taskfile, protocol: Protocol, nbytes: int = 0, block_bytes: int = 0) -> None:
        self.taskfile = taskfile
        self.protocol = protocol
        self.nbytes = nbytes
        self.block_bytes = block_bytes
        self.service_ns = 0
        self.moved = 0
        self.result: AtaResult | None = None
        self._dropped = False

    def drop(self) -> None:
        """A reset: the drive has forgotten the command."""
        self._dropped = True

    def move(self, views: Sequence[memoryview] = ()) -> AtaResult | None:
        """Move the next data from or to *views*, or carry out a command without data; the result when it ended.

        Whole sectors are moved, never more than are left.  UsageError after a reset: a defect of the model.
        """
        if self._dropped:
            raise UsageError(f"ATA command {self.taskfile.command:#04x} was ended by a reset; forget it there")
        if self.result is None:
            self.result = self._advance(views)
        return self.result

    @abstractmethod
    def _advance(self, views: Sequence[memoryview]) -> AtaResult | None: ...


class Refused(AtaCommand):
    """One that ends as it is taken: with an error, or never."""

    def __init__(self, taskfile: Taskfile, status: int = 0, error: int = 0, *, hang: bool = False) -> None:
        super().__init__(taskfile, Protocol.NON_DATA)
        self.result = AtaResult(status, error, taskfile, hang=hang)

    def _advance(self, views: Sequence[memoryview]) -> AtaResult | None:
        return self.result


class Action(AtaCommand):
    """One without data: *act* does it once BSY falls, and says how it went."""

    def __init__(self, taskfile: Taskfile, act: Callable[[], AtaResult]) -> None:
        super().__init__(taskfile, Protocol.NON_DATA)
        self._act = act

    def _advance(self, views: Sequence[memoryview]) -> AtaResult | None:
        return self._act()


class Reply(AtaCommand):
    """One block of 512 bytes by PIO, which *answer* makes when it is asked for."""

    def __init__(self, taskfile: Taskfile, answer: Callable[[], bytes]) -> None:
        super().__init__(taskfile, Protocol.PIO_IN, _SECTOR_BYTES, _SECTOR_BYTES)
        self._answer = answer

    def _advance(self, views: Sequence[memoryview]) -> AtaResult | None:
        data, at = self._answer(), 0
        if sum(map(len, views)) < len(data):
            return None
        for view in views:
            piece = data[at:at + len(view)]
            view[:len(piece)] = piece
            at += len(piece)
        self.moved = len(data)
        return AtaResult(READY, 0, self.taskfile, len(data))


class Transfer(AtaCommand):
    """A read or write of *sectors* from *sector* on, with whatever *fault* does to it."""

    def __init__(self, disk: Disk, taskfile: Taskfile, protocol: Protocol, sector: int, sectors: int, ext: bool,
                 block_sectors: int, fault: DiskFault | None) -> None:
        size = disk.sector_size
        missing = fault.amount if fault is not None and fault.kind is FaultKind.SHORT else 0
        self._kind = fault.kind if fault is not None else None
        self._fault = fault
        self._disk = disk
        self._sector = sector
        self._sectors = sectors
        self._ext = ext
        moving = max(0, sectors - missing)
        if missing and not protocol.dma:
            moving -= moving % block_sectors    # DRQ blocks are whole: it asks for one less
        nbytes = moving * size
        super().__init__(taskfile, protocol if nbytes else Protocol.NON_DATA, nbytes, block_sectors * size)
        self._to_device = protocol.to_device
        self._bad = max(sector, fault.first) if fault is not None and self._kind is FaultKind.MEDIUM else -1

    def _advance(self, views: Sequence[memoryview]) -> AtaResult | None:
        size = self._disk.sector_size
        start = self._sector + self.moved // size
        nbytes = min(sum(map(len, views)), self.nbytes - self.moved) // size * size
        bad = start <= self._bad < start + nbytes // size
        if bad:
            nbytes = (self._bad - start) * size
        try:
            self._transfer(start, first_bytes(views, nbytes))
        except DiskError as error:
            return self._ended(*registers_of(error.sense, self._to_device), start)
        self.moved += nbytes
        if bad:
            sense = self._fault.sense if self._fault is not None else None
            status, error_bits = registers_of(sense or BAD_SECTOR, self._to_device)
            return self._ended(status, error_bits, self._bad)
        if self.moved < self.nbytes:
            return None
        recovered = CORR if self._kind is FaultKind.RECOVERED else 0
        return self._ended(READY | recovered, 0, start + nbytes // size)

    def _ended(self, status: int, error: int, sector: int) -> AtaResult:
        left = self._sectors - self.moved // self._disk.sector_size
        return AtaResult(status, error, self.taskfile.at(sector, left, self._ext), self.moved)

    def _transfer(self, start: int, views: list[memoryview]) -> None:
        """Move *views* as a healthy disk would, or as the silent faults do."""
        if not views:
            return
        size, fault = self._disk.sector_size, self._fault
        if self._kind is FaultKind.LOST_WRITE:
            return
        if self._kind is FaultKind.TORN_WRITE and fault is not None:
            whole = max(0, self._sector + fault.amount - start) * size
            views = first_bytes(views, min(whole, sum(map(len, views))))
        elif self._kind is FaultKind.MISDIRECTED_WRITE and fault is not None:
            start += max(0, min(self._sector + fault.amount, self._disk.sectors - self._sectors)) - self._sector
        if not views:
            return
        if self._to_device:
            self._disk.writev(start, views)
        else:
            self._disk.readv(start, views)


def first_bytes(views: Sequence[memoryview], nbytes: int) -> list[memoryview]:
    """*views* cut to *nbytes* in all."""
    cut = []
    for view in views:
        if not nbytes:
            break
        cut.append(view[:nbytes])
        nbytes -= len(cut[-1])
    return cut
