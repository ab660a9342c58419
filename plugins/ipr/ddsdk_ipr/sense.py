"""Sense data made from an IOASC, where the adapter speaks for the device.

hw-ipr.md section 8.2: fixed format; descriptor format when the bad block of a volume set is beyond 32 bits.
"""

from __future__ import annotations

from typing import Final

from ddsdk.abi import WIRE_BE

from .frames import FIELD_POINTER_MASK, FIELD_POINTER_VALID, SCSI_SENSE_BUFFERSIZE, Ioasa, IoasaVset
from .ioasc import FIRST_DRIVER_IOASC, IOASC_MASK, Ioasc

_VSET = IoasaVset.on(WIRE_BE)
_FIXED, _VALID, _DESCRIPTOR = 0x70, 0x80, 0x72
_ILLEGAL_REQUEST: Final = 0x05
_LENGTH, _LENGTH_WITH_POINTER, _LENGTH_DESCRIPTOR = 6, 10, 12


def ipr_gen_sense(ioasa: Ioasa, is_vset: bool) -> bytes:
    """void ipr_gen_sense(struct ipr_cmnd *): 96 bytes; all zero for a code that the driver made up."""
    ioasc = ioasa.ioasc
    sense = bytearray(SCSI_SENSE_BUFFERSIZE)
    if ioasc >= FIRST_DRIVER_IOASC:
        return bytes(sense)
    key, code, qualifier = ioasc >> 24, ioasc >> 16 & 0xFF, ioasc >> 8 & 0xFF
    medium = ioasc & IOASC_MASK == Ioasc.MED_DO_NOT_REALLOC
    where = _VSET.unpack(ioasa.u)
    if medium and is_vset and where.failing_lba_hi:
        sense[0:8] = bytes((_DESCRIPTOR, key, code, qualifier, 0, 0, 0, _LENGTH_DESCRIPTOR))
        sense[8:12] = bytes((0x00, 0x0A, _VALID, 0))
        sense[12:16] = where.failing_lba_hi.to_bytes(4)
        sense[16:20] = where.failing_lba_lo.to_bytes(4)
        return bytes(sense)
    sense[0], sense[2], sense[12], sense[13] = _FIXED, key, code, qualifier
    sense[7] = _LENGTH
    if key == _ILLEGAL_REQUEST:
        sense[7] = _LENGTH_WITH_POINTER
        if ioasa.ioasc_specific & FIELD_POINTER_VALID:
            pointer = ioasa.ioasc_specific & FIELD_POINTER_MASK
            sense[15] = 0xC0                                # valid, in the CDB
            sense[16:18] = pointer.to_bytes(2)
    elif medium:
        lba = where.failing_lba_lo if is_vset else int.from_bytes(ioasa.u[:4])
        sense[0] |= _VALID
        sense[3:7] = lba.to_bytes(4)
    return bytes(sense)
