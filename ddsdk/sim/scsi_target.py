"""A SCSI target: its logical units, how long it takes, and resets.

An adapter model calls `execute()` when a command reaches the target, and lets `service_ns()` pass before it
tells the host.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from .disk import Disk
from .disk_faults import Access, Sense
from .scsi_pages import NO_LUN_INQUIRY, Identity, fixed_sense
from .scsi_unit import (
    BUSY,
    CHECK_CONDITION,
    GOOD,
    RESERVATION_CONFLICT,
    TASK_SET_FULL,
    DataPhase,
    LogicalUnit,
    ResetKind,
    ScsiResult,
)

__all__ = [
    "BUSY", "CHECK_CONDITION", "GOOD", "RESERVATION_CONFLICT", "TASK_SET_FULL", "DataPhase", "Identity",
    "LogicalUnit", "ResetKind", "ScsiResult", "ScsiTarget", "Timing", "transfer_of",
]

NO_SUCH_LUN = Sense(0x5, 0x25)
INVALID_FIELD = Sense(0x5, 0x24)
#: By group code, the top three bits of an opcode: bytes of its CDB (SPC-3 rev 23, 4.3; 0: any).
_CDB_BYTES = (6, 10, 10, 0, 16, 12, 0, 0)


@frozen
class Timing:
    """How long a disk takes.  The defaults are a disk with a cache behind a 6 Gb/s link."""

    command_ns: int = 40_000
    bytes_per_second: int = 600_000_000
    flush_ns: int = 5_000_000
    start_ns: int = 2_000_000_000


class ScsiTarget:
    """A target port with its logical units: one disk on LUN 0, or several by number.

    `present` False: it answers no selection; the adapter reports what it reports for an absent target.
    """

    def __init__(self, disk: Disk | Mapping[int, Disk], identity: Identity | None = None,
                 timing: Timing | None = None, *, autosense: bool = True,
                 has_caching_page: bool = True) -> None:
        disks = {0: disk} if isinstance(disk, Disk) else dict(disk)
        self.identity = identity or Identity()
        self.timing = timing or Timing()
        self.present = True
        self.units = {lun: LogicalUnit(one, self.identity, autosense, has_caching_page)
                      for lun, one in disks.items()}

    def execute(self, lun: int, cdb: bytes, data: DataPhase) -> ScsiResult:
        """Carry out one command.  *cdb* is 6 to 16 bytes; shorter than its opcode demands it is an invalid field.

        `transferred` is bytes moved in the data phase; sense data is 18 bytes, fixed format.
        DmaFault and the like from *data* pass through: they are the adapter's.
        """
        if len(cdb) < _CDB_BYTES[cdb[0] >> 5]:
            return ScsiResult(CHECK_CONDITION, fixed_sense(INVALID_FIELD))
        if cdb[0] == 0xA0:
            return self._report_luns(cdb, data)
        unit = self.units.get(lun)
        if unit is None:
            return _no_such_lun(cdb, data)
        return unit.execute(cdb, data)

    def service_ns(self, cdb: bytes, nbytes: int) -> int:
        """Nanoseconds from the command's arrival to its status, *nbytes* of data moving meanwhile."""
        timing = self.timing
        took = timing.command_ns + nbytes * 1_000_000_000 // timing.bytes_per_second
        if cdb[0] in (0x35, 0x91):
            took += timing.flush_ns
        elif cdb[0] == 0x1B and cdb[4] & 0x01:
            took += timing.start_ns
        for unit in self.units.values():
            if unit.disk.faults.armed:
                fault = unit.disk.faults.strike(_access(cdb[0]), slow=True)
                took += fault.amount if fault is not None else 0
        return took

    def reset(self, kind: ResetKind = "bus", lun: int | None = None) -> None:
        """A reset reached the target: 06/29/00 on the next command of *lun*, or of every logical unit."""
        for number, unit in self.units.items():
            if lun is None or lun == number:
                unit.reset(kind)

    def _report_luns(self, cdb: bytes, data: DataPhase) -> ScsiResult:
        luns = b"".join(bytes((0, lun)).ljust(8, b"\0") for lun in sorted(self.units))
        reply = len(luns).to_bytes(4) + bytes(4) + luns
        return ScsiResult(GOOD, b"", data.put(reply[:int.from_bytes(cdb[6:10])]))


def _no_such_lun(cdb: bytes, data: DataPhase) -> ScsiResult:
    """A LUN that is not there: INQUIRY says 7F, the rest 05/25/00 (SPC-3 rev 23, 5.9.4)."""
    sense = fixed_sense(NO_SUCH_LUN)
    if cdb[0] == 0x12:
        return ScsiResult(GOOD, b"", data.put(NO_LUN_INQUIRY[:cdb[3] << 8 | cdb[4]]))
    if cdb[0] == 0x03:
        return ScsiResult(GOOD, b"", data.put(sense[:cdb[4]]))
    return ScsiResult(CHECK_CONDITION, sense)


def _access(opcode: int) -> Access:
    if opcode in (0x08, 0x28, 0x88, 0x2F):
        return Access.READ
    if opcode in (0x0A, 0x2A, 0x8A):
        return Access.WRITE
    return Access.FLUSH if opcode in (0x35, 0x91) else Access.OTHER


def transfer_of(cdb: bytes, sector_size: int) -> tuple[int, bool | None]:
    """(bytes the target will want to move at most, to the device?) by the CDB alone; None: no data phase.

    What an adapter that checks the host's length and direction against the command needs to know.
    """
    opcode = cdb[0]
    if len(cdb) < _CDB_BYTES[opcode >> 5]:
        return 0, None
    if opcode in (0x08, 0x0A):
        return (cdb[4] or 256) * sector_size, opcode == 0x0A
    if opcode in (0x28, 0x2A):
        return (cdb[7] << 8 | cdb[8]) * sector_size, opcode == 0x2A
    if opcode in (0x88, 0x8A):
        return int.from_bytes(cdb[10:14]) * sector_size, opcode == 0x8A
    allocation = {0x03: cdb[4:5], 0x12: cdb[3:5], 0x15: cdb[4:5], 0x1A: cdb[4:5], 0x25: b"\x08",
                  0x55: cdb[7:9], 0x5A: cdb[7:9], 0x9E: cdb[10:14], 0xA0: cdb[6:10]}.get(opcode)
    if allocation is None:
        return 0, None
    return int.from_bytes(allocation), opcode in (0x15, 0x55)
