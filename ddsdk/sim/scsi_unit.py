"""A logical unit: what a SCSI disk does with each command, given its CDB and a way to move data.

Commands: SPC-3 rev 23, SBC-2 rev 16.  Stricter than most disks: reserved bits that matter are checked.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Literal, NamedTuple, Protocol

from .disk import OUT_OF_RANGE, Disk, DiskError
from .disk_faults import Access, DiskFault, FaultKind, Sense
from .scsi_pages import (
    ALL_PAGES,
    CACHING_PAGE,
    Identity,
    caching_page,
    fixed_sense,
    mode_data,
    parse_mode_select,
    read_capacity_10,
    read_capacity_16,
)

GOOD = 0x00
CHECK_CONDITION = 0x02
BUSY = 0x08
RESERVATION_CONFLICT = 0x18
TASK_SET_FULL = 0x28

NO_SENSE = Sense(0x0, 0x00)
STOPPED = Sense(0x2, 0x04, 0x02)
MEDIUM_READ = Sense(0x3, 0x11)
MEDIUM_WRITE = Sense(0x3, 0x0C)
LIST_LENGTH = Sense(0x5, 0x1A)
INVALID_OPCODE = Sense(0x5, 0x20)
INVALID_FIELD = Sense(0x5, 0x24)
INVALID_PARAMETER = Sense(0x5, 0x26)
RESET_OCCURRED = Sense(0x6, 0x29)
DATA_PHASE_ERROR = Sense(0xB, 0x4B)

_CDB6 = Struct(">BHBx")         # LBA bits 20..16 in the first byte's low five bits
_CDB10 = Struct(">xBIxHx")
_CDB16 = Struct(">xBQIxx")
_FUA = 0x08

ResetKind = Literal["power", "bus", "target", "lun"]


class ScsiResult(NamedTuple):
    """What the target answered.  `hang`: it never will; the rest is then meaningless."""

    status: int
    sense: bytes = b""
    transferred: int = 0
    hang: bool = False


class DataPhase(Protocol):
    """The adapter's side of the data phase.

    `length`: bytes the host offers or expects.  `to_device`: the direction the host announced, None when it
    did not.
    """

    length: int
    to_device: bool | None

    def gather(self, n: int) -> list[memoryview]:
        """The first *n* bytes of host memory, to be read."""

    def scatter(self, n: int) -> list[memoryview]:
        """The first *n* bytes of host memory, to be filled."""

    def put(self, data: bytes) -> int:
        """Store as much of *data* as `length` allows; returns how much."""


class ScatterData:
    """A data phase over host memory in pieces: what is left to say is where they are.

    `length`: bytes in all.  `_views(n, to_device)`: the first *n* of them, to be read (*to_device*) or filled.
    """

    __slots__ = ()

    length: int

    def _views(self, n: int, to_device: bool) -> list[memoryview]:
        raise NotImplementedError

    def gather(self, n: int) -> list[memoryview]:
        """See `DataPhase.gather`."""
        return self._views(n, True)

    def scatter(self, n: int) -> list[memoryview]:
        """See `DataPhase.scatter`."""
        return self._views(n, False)

    def put(self, data: bytes) -> int:
        """See `DataPhase.put`."""
        n = min(len(data), self.length)
        at = 0
        for view in self._views(n, False) if n else ():
            view[:] = data[at:at + len(view)]
            at += len(view)
        return n


class LogicalUnit:
    """One disk as a logical unit: its attention conditions, its mode pages, its commands.

    `autosense` False: sense data is kept for REQUEST SENSE instead of coming with the status.
    `has_caching_page` False: a target without mode page 8.
    """

    def __init__(self, disk: Disk, identity: Identity, autosense: bool = True,
                 has_caching_page: bool = True) -> None:
        self.disk = disk
        self.identity = identity
        self.autosense = autosense
        self.has_caching_page = has_caching_page
        self.stopped = False
        self.saved_wce = disk.write_cache
        self._attention: list[Sense] = [RESET_OCCURRED]     # power on
        self._kept = b""
        self._commands: dict[int, tuple[Callable[[bytes, DataPhase], ScsiResult], Access | None]] = {
            0x00: (self._good, Access.OTHER),
            0x03: (self._request_sense, None),
            0x08: (self._rw6, Access.READ), 0x0A: (self._rw6, Access.WRITE),
            0x12: (self._inquiry, None),
            0x15: (self._mode_select, Access.OTHER), 0x55: (self._mode_select, Access.OTHER),
            0x1A: (self._mode_sense, Access.OTHER), 0x5A: (self._mode_sense, Access.OTHER),
            0x1B: (self._start_stop, Access.OTHER),
            0x25: (self._read_capacity_10, Access.OTHER),
            0x28: (self._rw10, Access.READ), 0x2A: (self._rw10, Access.WRITE),
            0x2F: (self._verify, Access.READ),
            0x35: (self._synchronize_cache, Access.FLUSH), 0x91: (self._synchronize_cache, Access.FLUSH),
            0x88: (self._rw16, Access.READ), 0x8A: (self._rw16, Access.WRITE),
            0x9E: (self._service_action_in, Access.OTHER),
        }

    def execute(self, cdb: bytes, data: DataPhase) -> ScsiResult:
        """Carry out one command."""
        command = self._commands.get(cdb[0])
        if command is None:
            return self._check(INVALID_OPCODE)
        handler, access = command
        if access is None:
            return handler(cdb, data)
        self._kept = b""
        if self._attention:
            return self._check(self._attention.pop(0))
        if self.stopped and (access is not Access.OTHER or cdb[0] == 0x00):
            return self._check(STOPPED)
        if self.disk.faults.armed and access not in Access.MEDIUM:      # those know their sectors, below
            fault = self.disk.faults.strike(access)
            if fault is not None:
                return self._struck(fault)
        return handler(cdb, data)

    def takes(self, cdb: bytes) -> int:
        """Bytes that a WRITE moves if it is carried out now and nothing is in its way; 0: only `execute()` knows."""
        opcode, size = cdb[0], self.disk.sector_size
        if self._attention or self.stopped or self.disk.faults.armed:
            return 0
        if opcode == 0x2A and len(cdb) >= 10:
            _, lba, sectors = _CDB10.unpack_from(cdb)
        elif opcode == 0x8A and len(cdb) >= 16:
            _, lba, sectors = _CDB16.unpack_from(cdb)
        else:
            return 0
        return int(sectors) * size if lba + sectors <= self.disk.sectors else 0

    def reset(self, kind: ResetKind) -> None:
        """UNIT ATTENTION 06/29/00 is due; changeable mode pages are the saved ones again."""
        if kind == "power":
            self.disk.power_off()
            self.stopped = False
        self._attention = [RESET_OCCURRED]
        self._kept = b""
        self.disk.write_cache = self.saved_wce

    # --- outcomes ------------------------------------------------------------------------------------------

    def _check(self, sense: Sense, information: int | None = None, transferred: int = 0) -> ScsiResult:
        packed = fixed_sense(sense, information)
        if self.autosense:
            return ScsiResult(CHECK_CONDITION, packed, transferred)
        self._kept = packed
        return ScsiResult(CHECK_CONDITION, b"", transferred)

    def _struck(self, fault: DiskFault) -> ScsiResult:
        """The outcome of a fault that lets nothing through."""
        if fault.kind is FaultKind.HANG:
            return ScsiResult(GOOD, hang=True)
        if fault.kind is FaultKind.BUSY:
            return ScsiResult(BUSY)
        if fault.kind is FaultKind.QUEUE_FULL:
            return ScsiResult(TASK_SET_FULL)
        if fault.kind is FaultKind.RESERVED:
            return ScsiResult(RESERVATION_CONFLICT)
        return self._check(fault.sense or MEDIUM_READ)

    def _answer(self, data: DataPhase, reply: bytes, allocation: int) -> ScsiResult:
        return ScsiResult(GOOD, b"", data.put(reply[:allocation]))

    def _good(self, _cdb: bytes, _data: DataPhase) -> ScsiResult:
        return ScsiResult(GOOD)

    # --- medium access -------------------------------------------------------------------------------------

    def _rw10(self, cdb: bytes, data: DataPhase) -> ScsiResult:
        flags, lba, sectors = _CDB10.unpack_from(cdb)
        return self._move(cdb[0] == 0x2A, lba, sectors, bool(flags & _FUA), data)

    def _rw16(self, cdb: bytes, data: DataPhase) -> ScsiResult:
        flags, lba, sectors = _CDB16.unpack_from(cdb)
        return self._move(cdb[0] == 0x8A, lba, sectors, bool(flags & _FUA), data)

    def _rw6(self, cdb: bytes, data: DataPhase) -> ScsiResult:
        high, low, sectors = _CDB6.unpack_from(cdb, 1)
        return self._move(cdb[0] == 0x0A, (high & 0x1F) << 16 | low, sectors or 256, False, data)

    def _move(self, write: bool, lba: int, sectors: int, fua: bool, data: DataPhase) -> ScsiResult:
        disk = self.disk
        if lba + sectors > disk.sectors:
            return self._check(OUT_OF_RANGE)
        nbytes = sectors * disk.sector_size
        if data.to_device is not None and data.to_device is not write and sectors:
            return self._check(DATA_PHASE_ERROR)
        if nbytes > data.length:        # the host has less to give or take: whole sectors of it
            nbytes = data.length // disk.sector_size * disk.sector_size
        if disk.faults.armed:
            fault = disk.faults.strike(Access.WRITE if write else Access.READ, lba, sectors)
            if fault is not None:
                return self._move_faulty(fault, write, lba, nbytes, fua, data)
        return self._transfer(write, lba, nbytes, fua, data)

    def _transfer(self, write: bool, lba: int, nbytes: int, fua: bool, data: DataPhase) -> ScsiResult:
        if not nbytes:
            return ScsiResult(GOOD)
        try:
            if write:
                self.disk.writev(lba, data.gather(nbytes), fua)
            else:
                self.disk.readv(lba, data.scatter(nbytes))
        except DiskError as error:
            return self._check(error.sense)
        return ScsiResult(GOOD, b"", nbytes)

    def _move_faulty(self, fault: DiskFault, write: bool, lba: int, nbytes: int, fua: bool,
                     data: DataPhase) -> ScsiResult:
        kind, size = fault.kind, self.disk.sector_size
        if kind is FaultKind.MEDIUM:
            bad = max(lba, fault.first)
            done = self._transfer(write, lba, min(nbytes, (bad - lba) * size), fua, data).transferred
            return self._check(fault.sense or (MEDIUM_WRITE if write else MEDIUM_READ), bad, done)
        if kind is FaultKind.RECOVERED:
            result = self._transfer(write, lba, nbytes, fua, data)
            return self._check(fault.sense or Sense(0x1, 0x17), lba, result.transferred)
        if kind is FaultKind.SHORT:
            return self._transfer(write, lba, max(0, nbytes - fault.amount * size), fua, data)
        if kind is FaultKind.LOST_WRITE:
            return ScsiResult(GOOD, b"", nbytes)
        if kind is FaultKind.TORN_WRITE:
            result = self._transfer(write, lba, min(nbytes, fault.amount * size), fua, data)
            return result._replace(transferred=nbytes) if result.status == GOOD else result
        if kind is FaultKind.MISDIRECTED_WRITE:
            elsewhere = max(0, min(lba + fault.amount, self.disk.sectors - nbytes // size))
            return self._transfer(write, elsewhere, nbytes, fua, data)
        return self._struck(fault)

    def _verify(self, cdb: bytes, _data: DataPhase) -> ScsiResult:
        """VERIFY(10) without BYTCHK: read back, compare nothing."""
        flags, lba, sectors = _CDB10.unpack_from(cdb)
        if flags & 0x02:
            return self._check(INVALID_FIELD)
        if lba + sectors > self.disk.sectors:
            return self._check(OUT_OF_RANGE)
        fault = self.disk.faults.strike(Access.READ, lba, sectors)
        if fault is not None:
            return self._check(fault.sense or MEDIUM_READ, max(lba, fault.first))
        try:
            self.disk.readv(lba, [memoryview(bytearray(sectors * self.disk.sector_size))])
        except DiskError as error:
            return self._check(error.sense)
        return ScsiResult(GOOD)

    def _synchronize_cache(self, _cdb: bytes, _data: DataPhase) -> ScsiResult:
        try:
            self.disk.flush()
        except DiskError as error:
            return self._check(error.sense)
        return ScsiResult(GOOD)

    def _start_stop(self, cdb: bytes, _data: DataPhase) -> ScsiResult:
        self.stopped = not cdb[4] & 0x01
        return self._synchronize_cache(cdb, _data) if self.stopped else ScsiResult(GOOD)

    # --- information ---------------------------------------------------------------------------------------

    def _inquiry(self, cdb: bytes, data: DataPhase) -> ScsiResult:
        allocation = cdb[3] << 8 | cdb[4]
        if cdb[1] & 0x01:
            page = self.identity.vpd(cdb[2])
            return self._check(INVALID_FIELD) if page is None else self._answer(data, page, allocation)
        if cdb[2]:
            return self._check(INVALID_FIELD)
        return self._answer(data, self.identity.inquiry(), allocation)

    def _request_sense(self, cdb: bytes, data: DataPhase) -> ScsiResult:
        fault = self.disk.faults.strike(Access.SENSE)
        if fault is not None:
            return self._struck(fault)
        sense, self._kept = self._kept, b""
        if not sense:
            if self._attention:
                sense = fixed_sense(self._attention.pop(0))
            else:
                sense = fixed_sense(STOPPED if self.stopped else NO_SENSE)
        return self._answer(data, sense, cdb[4])

    def _read_capacity_10(self, cdb: bytes, data: DataPhase) -> ScsiResult:
        return self._answer(data, read_capacity_10(self.disk.sectors, self.disk.sector_size), 8)

    def _service_action_in(self, cdb: bytes, data: DataPhase) -> ScsiResult:
        if cdb[1] & 0x1F != 0x10:
            return self._check(INVALID_FIELD)
        reply = read_capacity_16(self.disk.sectors, self.disk.sector_size)
        return self._answer(data, reply, int.from_bytes(cdb[10:14]))

    def _mode_sense(self, cdb: bytes, data: DataPhase) -> ScsiResult:
        ten, control, page = cdb[0] == 0x5A, cdb[2] >> 6, cdb[2] & 0x3F
        if page not in (CACHING_PAGE, ALL_PAGES) or (page == CACHING_PAGE and not self.has_caching_page):
            return self._check(INVALID_FIELD)
        wce = (self.disk.write_cache, False, False, self.saved_wce)[control]
        pages = caching_page(wce, mask=control == 1) if self.has_caching_page else b""
        reply = mode_data(pages, self.disk.sectors, self.disk.sector_size, ten=ten,
                          descriptor=not cdb[1] & 0x08, read_only=self.disk.read_only)
        return self._answer(data, reply, cdb[7] << 8 | cdb[8] if ten else cdb[4])

    def _mode_select(self, cdb: bytes, data: DataPhase) -> ScsiResult:
        ten = cdb[0] == 0x55
        length = cdb[7] << 8 | cdb[8] if ten else cdb[4]
        if not length:
            return ScsiResult(GOOD)
        if not cdb[1] & 0x10 or not self.has_caching_page:
            return self._check(INVALID_FIELD)
        if data.length < length:
            return self._check(LIST_LENGTH)
        try:
            wce = parse_mode_select(b"".join(data.gather(length)), ten=ten)
        except ValueError:
            return self._check(INVALID_PARAMETER)
        if wce is not None:
            if self.disk.write_cache and not wce:
                flushed = self._synchronize_cache(cdb, data)
                if flushed.status != GOOD:
                    return flushed
            self.disk.write_cache = wce
            if cdb[1] & 0x01:
                self.saved_wce = wce
        return ScsiResult(GOOD, b"", length)
