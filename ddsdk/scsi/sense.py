"""Sense data as an initiator reads it.  SPC-3 rev 23, 4.5."""

from __future__ import annotations

from typing import Final

from attrs import frozen

NO_SENSE: Final = 0x0
RECOVERED_ERROR: Final = 0x1
NOT_READY: Final = 0x2
MEDIUM_ERROR: Final = 0x3
HARDWARE_ERROR: Final = 0x4
ILLEGAL_REQUEST: Final = 0x5
UNIT_ATTENTION: Final = 0x6
DATA_PROTECT: Final = 0x7
BLANK_CHECK: Final = 0x8
COPY_ABORTED: Final = 0xA
ABORTED_COMMAND: Final = 0xB
VOLUME_OVERFLOW: Final = 0xD
MISCOMPARE: Final = 0xE

KEY_NAMES: Final = ("NO SENSE", "RECOVERED ERROR", "NOT READY", "MEDIUM ERROR", "HARDWARE ERROR",
                    "ILLEGAL REQUEST", "UNIT ATTENTION", "DATA PROTECT", "BLANK CHECK", "VENDOR SPECIFIC",
                    "COPY ABORTED", "ABORTED COMMAND", "EQUAL", "VOLUME OVERFLOW", "MISCOMPARE", "RESERVED")

#: What a dump is likely to meet (SPC-3 rev 23, annex D).
_ASC_TEXT: Final = {
    (0x04, 0x00): "not ready, cause not reportable", (0x04, 0x01): "becoming ready",
    (0x04, 0x02): "START UNIT required", (0x04, 0x03): "manual intervention required",
    (0x0C, 0x00): "write error", (0x11, 0x00): "unrecovered read error",
    (0x17, 0x01): "recovered with retries",
    (0x1A, 0x00): "parameter list length error", (0x20, 0x00): "invalid command operation code",
    (0x21, 0x00): "LBA out of range", (0x24, 0x00): "invalid field in CDB",
    (0x25, 0x00): "logical unit not supported", (0x26, 0x00): "invalid field in parameter list",
    (0x27, 0x00): "write protected", (0x28, 0x00): "medium may have changed",
    (0x29, 0x00): "power on, reset or bus device reset occurred", (0x2A, 0x01): "mode parameters changed",
    (0x3A, 0x00): "medium not present", (0x44, 0x00): "internal target failure",
    (0x47, 0x00): "SCSI parity error", (0x4B, 0x00): "data phase error",
}


@frozen
class SenseData:
    """Sense key, additional sense code, qualifier; `information` is the sector it is about, if any."""

    key: int
    asc: int
    ascq: int
    information: int | None = None

    @classmethod
    def parse(cls, buffer: bytes | bytearray) -> SenseData | None:
        """Fixed (70, 71) or descriptor (72, 73) format; None for anything else, such as an empty buffer."""
        response = buffer[0] & 0x7F
        if response in (0x70, 0x71):
            where = int.from_bytes(buffer[3:7]) if buffer[0] & 0x80 else None
            return cls(buffer[2] & 0x0F, buffer[12], buffer[13], where)
        if response in (0x72, 0x73):
            return cls(buffer[1] & 0x0F, buffer[2], buffer[3])
        return None

    def __str__(self) -> str:
        text = _ASC_TEXT.get((self.asc, self.ascq))
        where = "" if self.information is None else f" at sector {self.information}"
        return f"{KEY_NAMES[self.key]} {self.asc:02x}/{self.ascq:02x}{f' ({text})' if text else ''}{where}"
