"""What the mid-layer reads from answers, and the bytes of what it sends."""

from __future__ import annotations

import pytest

from ddsdk.scsi import cdb
from ddsdk.scsi.sense import SenseData


@pytest.mark.parametrize(("buffer", "expected"), [
    ("70 00 06 00 00 00 00 0a 00 00 00 00 29 00 00 00 00 00", SenseData(6, 0x29, 0)),
    ("f0 00 03 00 01 02 03 0a 00 00 00 00 11 00 00 00 00 00", SenseData(3, 0x11, 0, 0x10203)),
    ("71 00 04 00 00 00 00 0a 00 00 00 00 44 00 00 00 00 00", SenseData(4, 0x44, 0)),
    ("72 05 24 00 00 00 00 00", SenseData(5, 0x24, 0)),
    ("00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00", None),
])
def test_sense_formats(buffer: str, expected: SenseData | None) -> None:
    """Fixed and descriptor format, current and deferred; an empty buffer is no sense data."""
    assert SenseData.parse(bytes.fromhex(buffer).ljust(96, b"\0")) == expected


def test_sense_in_words() -> None:
    """Known codes are spelled out, with the sector when the target named it."""
    assert str(SenseData(6, 0x29, 0)) == "UNIT ATTENTION 29/00 (power on, reset or bus device reset occurred)"
    assert str(SenseData(3, 0x11, 0, 12)) == "MEDIUM ERROR 11/00 (unrecovered read error) at sector 12"
    assert str(SenseData(9, 0x80, 1)) == "VENDOR SPECIFIC 80/01"


@pytest.mark.parametrize(("command", "expected"), [
    (cdb.test_unit_ready(), "00 00 00 00 00 00"),
    (cdb.request_sense(), "03 00 00 00 12 00"),
    (cdb.inquiry(), "12 00 00 00 24 00"),
    (cdb.read_capacity_10(), "25 00 00 00 00 00 00 00 00 00"),
    (cdb.read_capacity_16(), "9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00"),
    (cdb.mode_sense_6(), "1a 00 08 00 ff 00"),
    (cdb.mode_select_6(24), "15 10 00 00 18 00"),
    (cdb.synchronize_cache(), "35 00 00 00 00 00 00 00 00 00"),
    (cdb.read_write(True, 0x12345, 32, False), "2a 00 00 01 23 45 00 00 20 00"),
    (cdb.read_write(False, 0x12345, 32, False), "28 00 00 01 23 45 00 00 20 00"),
    (cdb.read_write(True, 0x123456789, 0xFFFF, True), "8a 00 00 00 00 01 23 45 67 89 00 00 ff ff 00 00"),
    (cdb.read_write(False, 1, 2, True), "88 00 00 00 00 00 00 00 00 01 00 00 00 02 00 00"),
])
def test_command_bytes(command: bytes, expected: str) -> None:
    """Bytes as SPC-3 and SBC-2 print them (WRITE and READ as in the vectors of the Fusion-MPT notes)."""
    assert command.hex(" ") == expected


@pytest.mark.parametrize(("version", "response", "level"), [(0, 0, 0), (1, 0, 1), (1, 1, 2), (2, 2, 3),
                                                            (5, 2, 6)])
def test_scsi_level(version: int, response: int, level: int) -> None:
    """The kernel's level: INQUIRY's version, plus one from SCSI-2 on and for SCSI-1-CCS."""
    assert cdb.InquiryData.parse(bytes((0, 0, version, response))).scsi_level == level


def test_caching_page_is_found_behind_any_descriptors() -> None:
    """Byte 12 with the usual descriptor, byte 4 without; NoCachingPage when the data ends before it."""
    page = bytes((0x88, 18, 4)) + bytes(17)
    assert cdb.caching_page_at(bytes((31, 0, 0, 8)) + bytes(8) + page) == 12
    assert cdb.caching_page_at(bytes((23, 0, 0, 0)) + page) == 4
    for data in (bytes((3, 0, 0, 0)) + bytes(251), bytes((11, 0, 0, 8)) + bytes(247),
                 bytes((23, 0, 0, 0, 0x0A)) + bytes(250), bytes((31, 0, 0, 200)) + bytes(251)):
        with pytest.raises(cdb.NoCachingPage):
            cdb.caching_page_at(data)
