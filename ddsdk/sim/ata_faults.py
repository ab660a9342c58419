"""Disk faults and disk errors in ATA's words.

A DiskFault is written for any disk, mostly in SCSI's terms; this is what an ATA drive shows of it.  Source: ATA/ATAPI-6
(T13/1410D rev 3), 7.7 (error register) and 7.14 (status register); hw-ide.md 7 and 11.

A bad sector cannot be read: UNC.  That it cannot be written means that the drive has no spare left to put in its
place: DF, device fault.  A sense key HARDWARE ERROR is DF, "LBA out of range" IDNF, a parity error on the bus ICRC with
ABRT, a changed medium MC with ABRT; the rest is ABRT.
"""

from __future__ import annotations

from .ata_taskfile import ABRT, DF, DRDY, DSC, ERR, ICRC, IDNF, MC, UNC
from .disk_faults import DiskFault, FaultKind, Sense

READY = DRDY | DSC
#: A sector that cannot be read or written, when the fault does not say more.
BAD_SECTOR = Sense(0x3, 0x11)

_MEDIUM_ERROR, _HARDWARE_ERROR, _ILLEGAL_REQUEST, _UNIT_ATTENTION, _ABORTED = 0x3, 0x4, 0x5, 0x6, 0xB
_BECOMING_READY = Sense(0x2, 0x04, 0x01)


def registers_of(sense: Sense | None, write: bool) -> tuple[int, int]:
    """(status, error) of a command that failed because of *sense*."""
    key, asc = (sense.key, sense.asc) if sense is not None else (0, 0)
    if key == _HARDWARE_ERROR or (key == _MEDIUM_ERROR and write):
        return READY | DF, 0
    error = ABRT
    if key == _MEDIUM_ERROR:
        error = UNC
    elif key == _ILLEGAL_REQUEST and asc == 0x21:
        error = IDNF
    elif key == _UNIT_ATTENTION and asc == 0x28:
        error = MC | ABRT
    elif key == _ABORTED and asc == 0x47:
        error = ICRC | ABRT
    return READY | ERR, error


def keeps_busy(fault: DiskFault) -> bool:
    """The drive takes longer and then does its work: what other disks refuse for a while."""
    return (fault.kind in (FaultKind.BUSY, FaultKind.QUEUE_FULL)
            or (fault.kind is FaultKind.CHECK and fault.sense == _BECOMING_READY))


def refuses(fault: DiskFault) -> bool:
    """Nothing moves: the command fails at once.  A reservation is a drive locked by somebody else."""
    return fault.kind in (FaultKind.RESERVED, FaultKind.CHECK) and not keeps_busy(fault)
