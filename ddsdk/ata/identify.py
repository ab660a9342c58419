"""IDENTIFY DEVICE data as a host reads it.

Source: ATA/ATAPI-6 (T13/1410D rev 3), 8.15; words 106 and 117 ATA/ATAPI-7, 6.16.
"""

from __future__ import annotations

import struct
from typing import Final

from attrs import frozen

IDENTIFY_BYTES: Final = 512
LBA28_SECTORS: Final = 1 << 28
#: Bits 15 and 14 of a word that means something: 01.
_VALID_MASK: Final = 0xC000
_VALID: Final = 0x4000


class NotAnAtaDisk(ValueError):
    """The data is not that of an ATA disk."""


@frozen
class IdentifyData:
    """struct hd_driveid, what of it matters here.

    `sectors` counts sectors of `sector_size` bytes.  `max_multiple`: sectors per DRQ block, 0 none.  `ultra_mask`,
    `mwdma_mask`: bit n is mode n.  `write_cache`: it has one that can be switched; `wcache_on`: it is on.  `locked`: by
    a password, so that every read and write is aborted.
    """

    model: str
    serial: str
    fw_rev: str
    lba: bool
    dma: bool
    lba48: bool
    sectors: int
    sector_size: int
    max_multiple: int
    ultra_mask: int
    mwdma_mask: int
    write_cache: bool
    wcache_on: bool
    flush: bool
    flush_ext: bool
    locked: bool = False

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> IdentifyData:
        """From 512 bytes.  NotAnAtaDisk: short, damaged (the checksum of ATA-5 and later says so), or no ATA disk."""
        if len(data) < IDENTIFY_BYTES:
            raise NotAnAtaDisk(f"{len(data)} bytes of IDENTIFY data, {IDENTIFY_BYTES} are due")
        words = struct.unpack_from("<256H", data)
        if words[255] & 0xFF == 0xA5 and sum(data[:IDENTIFY_BYTES]) & 0xFF:
            raise NotAnAtaDisk("the IDENTIFY data's checksum is wrong")
        if words[0] & 0x8000:
            raise NotAnAtaDisk(f"an ATAPI device (word 0 is {words[0]:#06x}), no disk")
        if not any(words):
            raise NotAnAtaDisk("the IDENTIFY data is empty")
        sets = words[83] if words[83] & _VALID_MASK == _VALID else 0
        lba48 = bool(sets & 0x0400)
        sectors = _number(words[100:104]) if lba48 else 0
        return cls(
            model=_text(words[27:47]), serial=_text(words[10:20]), fw_rev=_text(words[23:27]),
            lba=bool(words[49] & 0x0200), dma=bool(words[49] & 0x0100), lba48=lba48,
            sectors=sectors or _number(words[60:62]), sector_size=_sector_size(words),
            max_multiple=words[47] & 0xFF, ultra_mask=words[88] & 0x7F if words[53] & 0x0004 else 0,
            mwdma_mask=words[63] & 0x07, write_cache=bool(words[82] & 0x0020), wcache_on=bool(words[85] & 0x0020),
            flush=bool(sets & 0x1000), flush_ext=bool(sets & 0x2000), locked=words[128] & 0x0006 == 0x0006)


def _sector_size(words: tuple[int, ...]) -> int:
    """Word 106 bit 12: words 117-118 hold the size in 16-bit words."""
    if words[106] & _VALID_MASK == _VALID and words[106] & 0x1000:
        return 2 * _number(words[117:119])
    return 512


def _number(words: tuple[int, ...]) -> int:
    return sum(word << 16 * n for n, word in enumerate(words))


def _text(words: tuple[int, ...]) -> str:
    """ATA strings: two characters a word, the first one in the high byte."""
    return struct.pack(f">{len(words)}H", *words).decode("ascii", "replace").strip(" \0")
