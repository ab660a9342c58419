"""Command descriptor blocks the mid-layer sends, and what it reads from the answers.

Layouts: SPC-3 rev 23, SBC-2 rev 16.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from attrs import frozen

TEST_UNIT_READY: Final = 0x00
REQUEST_SENSE: Final = 0x03
INQUIRY: Final = 0x12
MODE_SELECT: Final = 0x15
MODE_SENSE: Final = 0x1A
READ_CAPACITY: Final = 0x25
READ_10: Final = 0x28
WRITE_10: Final = 0x2A
SYNCHRONIZE_CACHE: Final = 0x35
READ_16: Final = 0x88
WRITE_16: Final = 0x8A
SERVICE_ACTION_IN: Final = 0x9E

CACHING_PAGE: Final = 0x08
INQUIRY_BYTES: Final = 36
SENSE_BYTES: Final = 18
MODE_ALLOCATION: Final = 255

#: READ(10), WRITE(10): opcode, flags, LBA, group, sectors, control.
RW_10: Final = Struct(">BBIBHB")
#: READ(16), WRITE(16): opcode, flags, LBA, sectors, group, control.
RW_16: Final = Struct(">BBQIBB")

#: Names for messages.
OPCODE_NAMES: Final = {
    TEST_UNIT_READY: "TEST UNIT READY", REQUEST_SENSE: "REQUEST SENSE", INQUIRY: "INQUIRY",
    MODE_SELECT: "MODE SELECT", MODE_SENSE: "MODE SENSE", READ_CAPACITY: "READ CAPACITY", READ_10: "READ(10)",
    WRITE_10: "WRITE(10)", SYNCHRONIZE_CACHE: "SYNCHRONIZE CACHE", READ_16: "READ(16)", WRITE_16: "WRITE(16)",
    SERVICE_ACTION_IN: "READ CAPACITY(16)",
}


def command_name(opcode: int) -> str:
    """`WRITE(10)`, or `command 0x42`."""
    return OPCODE_NAMES.get(opcode) or f"command {opcode:#04x}"


def test_unit_ready() -> bytes:
    """TEST UNIT READY."""
    return bytes(6)


def request_sense(allocation: int = SENSE_BYTES) -> bytes:
    """REQUEST SENSE, fixed format."""
    return bytes((REQUEST_SENSE, 0, 0, 0, allocation, 0))


def inquiry(allocation: int = INQUIRY_BYTES) -> bytes:
    """INQUIRY, standard data."""
    return bytes((INQUIRY, 0, 0, 0, allocation, 0))


def read_capacity_10() -> bytes:
    """READ CAPACITY(10)."""
    return bytes((READ_CAPACITY, *bytes(9)))


def read_capacity_16() -> bytes:
    """READ CAPACITY(16), 32 bytes wanted."""
    return bytes((SERVICE_ACTION_IN, 0x10, *bytes(11), 32, 0, 0))


def mode_sense_6(page: int = CACHING_PAGE, allocation: int = MODE_ALLOCATION) -> bytes:
    """MODE SENSE(6), current values, block descriptor not suppressed."""
    return bytes((MODE_SENSE, 0, page, 0, allocation, 0))


def mode_select_6(length: int) -> bytes:
    """MODE SELECT(6), page format, not saved."""
    return bytes((MODE_SELECT, 0x10, 0, 0, length, 0))


def synchronize_cache() -> bytes:
    """SYNCHRONIZE CACHE(10) of the whole medium, returning when it is done."""
    return bytes((SYNCHRONIZE_CACHE, *bytes(9)))


@frozen
class InquiryData:
    """Standard INQUIRY data.  `present` False: no device behind that LUN.  `scsi_level` is the kernel's."""

    present: bool
    type: int
    scsi_level: int
    tagged: bool
    vendor: str
    model: str
    rev: str

    @classmethod
    def parse(cls, data: bytes) -> InquiryData:
        """From 36 bytes or more; what a short answer left zero stays empty."""
        data = data.ljust(INQUIRY_BYTES, b"\0")
        level = data[2] & 0x07
        if level >= 2 or (level == 1 and data[3] & 0x0F == 1):      # scsi_scan.c, 2.6.9
            level += 1
        return cls(data[0] >> 5 == 0 and data[0] & 0x1F != 0x1F, data[0] & 0x1F, level, bool(data[7] & 0x02),
                   _text(data[8:16]), _text(data[16:32]), _text(data[32:36]))


def _text(data: bytes) -> str:
    return data.decode("ascii", "replace").rstrip(" \0")


def parse_capacity_10(data: bytes) -> tuple[int, int]:
    """(sectors, bytes a sector); 2**32 sectors means: ask READ CAPACITY(16)."""
    return int.from_bytes(data[:4]) + 1, int.from_bytes(data[4:8])


def parse_capacity_16(data: bytes) -> tuple[int, int]:
    """(sectors, bytes a sector)."""
    return int.from_bytes(data[:8]) + 1, int.from_bytes(data[8:12])


class NoCachingPage(ValueError):
    """The mode data carries no caching page."""


def caching_page_at(mode_data: bytes | bytearray) -> int:
    """Offset of the caching page in MODE SENSE(6) data, after the header and whatever block descriptors
    follow.

    NoCachingPage when it is not there.  (RHEL 4 takes byte 12 for granted: one 8-byte descriptor.)
    """
    at = 4 + mode_data[3]
    end = min(len(mode_data), mode_data[0] + 1)
    if at + 3 > end or mode_data[at] & 0x3F != CACHING_PAGE:
        raise NoCachingPage(f"{mode_data[0] + 1} bytes of mode data, no page 08 at byte {at}")
    return at


def read_write(write: bool, sector: int, sectors: int, wide: bool) -> bytes:
    """READ or WRITE of *sectors* from *sector* on; *wide*: the 16-byte form."""
    if wide:
        return RW_16.pack(WRITE_16 if write else READ_16, 0, sector, sectors, 0, 0)
    return RW_10.pack(WRITE_10 if write else READ_10, 0, sector, 0, sectors, 0)
