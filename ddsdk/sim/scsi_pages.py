"""The data a disk answers with: INQUIRY and vital product data, mode pages, sense, capacities.

Layouts: SPC-3 rev 23 (6.4, 7.4.6, 7.6, 4.5.3), SBC-2 rev 16 (5.10, 5.11, 6.3.4).
"""

from __future__ import annotations

import struct

from attrs import frozen

from .disk_faults import Sense

CACHING_PAGE = 0x08
ALL_PAGES = 0x3F
WCE = 0x04              # caching page, byte 2
PAGE_SAVEABLE = 0x80    # byte 0 of a page in MODE SENSE; reserved in MODE SELECT
_CACHING_BYTES = 20
_DPOFUA = 0x10
_WRITE_PROTECT = 0x80


@frozen
class Identity:
    """What INQUIRY says.  `version` is byte 2: 2 is SCSI-2, 3 SPC, 5 SPC-3.  `serial` is VPD page 80."""

    vendor: str = "DDSDK"
    product: str = "DISK"
    revision: str = "0001"
    serial: str = "DD000001"
    version: int = 5

    def inquiry(self) -> bytes:
        """36 bytes of standard INQUIRY data: a disk that queues commands."""
        return struct.pack(">BBBBBBBB8s16s4s", 0x00, 0x00, self.version, 0x02, 31, 0, 0, 0x02,
                           _text(self.vendor, 8), _text(self.product, 16), _text(self.revision, 4))

    def vpd(self, page: int) -> bytes | None:
        """Vital product data page *page*, None when there is no such page."""
        if page == 0x00:
            body = bytes((0x00, 0x80, 0x83))
        elif page == 0x80:
            body = self.serial.encode("ascii")
        elif page == 0x83:      # one designator: ASCII, T10 vendor id, of the logical unit
            name = _text(self.vendor, 8) + _text(self.product, 16) + self.serial.encode("ascii")
            body = struct.pack(">BBBB", 0x02, 0x01, 0, len(name)) + name
        else:
            return None
        return struct.pack(">BBH", 0x00, page, len(body)) + body


#: Byte 0 of INQUIRY data for a logical unit number the target does not have.
NO_LUN_INQUIRY = bytes((0x7F, 0x00, 5, 0x02, 31)) + bytes(31)


def _text(text: str, width: int) -> bytes:
    return text.encode("ascii").ljust(width)[:width]


def fixed_sense(sense: Sense, information: int | None = None) -> bytes:
    """18 bytes of fixed-format sense data; *information* is the LBA it is about."""
    valid = information is not None and information < 1 << 32
    where = information if valid and information is not None else 0
    return struct.pack(">BBBIBIBBBBBB", 0xF0 if valid else 0x70, 0, sense.key, where, 10, 0, sense.asc,
                       sense.ascq, 0, 0, 0, 0)


def read_capacity_10(sectors: int, sector_size: int) -> bytes:
    """Last LBA, all ones when it does not fit, and sector size."""
    return struct.pack(">II", min(sectors - 1, 0xFFFF_FFFF), sector_size)


def read_capacity_16(sectors: int, sector_size: int) -> bytes:
    """Last LBA in 64 bits; no protection information."""
    return struct.pack(">QI", sectors - 1, sector_size).ljust(32, b"\0")


def caching_page(wce: bool, mask: bool = False) -> bytes:
    """Page 08.  *mask*: the changeable-values form, where only WCE is changeable."""
    flags = WCE if wce or mask else 0
    return bytes((PAGE_SAVEABLE | CACHING_PAGE, _CACHING_BYTES - 2, flags)).ljust(_CACHING_BYTES, b"\0")


def mode_data(pages: bytes, sectors: int, sector_size: int, *, ten: bool, descriptor: bool,
              read_only: bool) -> bytes:
    """Mode parameter header, block descriptor unless suppressed, pages."""
    block = struct.pack(">II", min(sectors, 0xFFFF_FFFF), sector_size) if descriptor else b""
    device = _DPOFUA | (_WRITE_PROTECT if read_only else 0)
    length = len(block) + len(pages)
    if ten:
        return struct.pack(">HBBHH", length + 6, 0, device, 0, len(block)) + block + pages
    return struct.pack(">BBBB", length + 3, 0, device, len(block)) + block + pages


def parse_mode_select(data: bytes, *, ten: bool) -> bool | None:
    """The WCE bit of a MODE SELECT parameter list; None when it carries no page.

    ValueError for what a disk refuses with 05/26/00: reserved bits, wrong lengths, any other page or bit
    changed.
    """
    header = 8 if ten else 4
    if len(data) < header:
        raise ValueError("parameter list shorter than its header")
    reserved = data[0] | data[1] if ten else data[0]
    descriptor = int.from_bytes(data[6:8]) if ten else data[3]
    if reserved or descriptor not in (0, 8):
        raise ValueError("mode data length is reserved in MODE SELECT; one block descriptor at most")
    page = data[header + descriptor:]
    if not page:
        return None
    if page[0] != CACHING_PAGE or len(page) != _CACHING_BYTES or page[1] != _CACHING_BYTES - 2:
        raise ValueError("only the caching page can be changed, whole and with PS clear")
    if page[2] & ~WCE or any(page[3:]):
        raise ValueError("only WCE is changeable")
    return bool(page[2] & WCE)
