"""Who an ATA drive says it is: IDENTIFY DEVICE data.

Source: ATA/ATAPI-6 (T13/1410D rev 3), 8.15; words 106 and 117 ATA/ATAPI-7, 6.16.
"""

from __future__ import annotations

import struct

from attrs import frozen

from ddsdk.errors import UsageError

from .ata_taskfile import LBA28_MAX, MWDMA_MODE, UDMA_MODE

_WORDS = 256
_INTEGRITY = 0xA5           # low byte of word 255 when the high byte is a checksum

# word 82/85
_POWER_MANAGEMENT = 0x0008
_WRITE_CACHE = 0x0020
# words 83/86
_LBA48 = 0x0400
_FLUSH_CACHE = 0x1000
_FLUSH_CACHE_EXT = 0x2000
#: Bit 14 set, bit 15 clear: the word means something.
_VALID = 0x4000


@frozen
class AtaIdentity:
    """What the drive says of itself, and how it wakes up.

    `ultra_mask`, `mwdma_mask`: bit n is mode n.  `max_multiple`: sectors per DRQ block at most, 0 none.
    `power_on_mode`, `power_on_multiple`: transfer mode (as SET FEATURES 03 counts it, 0: no DMA) and multiple count
    after power-on and, unless reverting is disabled, after SRST.
    """

    model: str = "DDSDK DISK"
    serial: str = "DD000001"
    firmware: str = "0001"
    lba48: bool = True
    flush: bool = True
    write_cache: bool = True
    max_multiple: int = 16
    ultra_mask: int = 0x3F
    mwdma_mask: int = 0x07
    power_on_mode: int = UDMA_MODE | 5
    power_on_multiple: int = 0

    def __attrs_post_init__(self) -> None:
        for what, count in (("max_multiple", self.max_multiple), ("power_on_multiple", self.power_on_multiple)):
            if count and (count & (count - 1) or not 1 <= count <= 128):
                raise UsageError(f"ATA identity: {what} {count} must be 0 or a power of two up to 128")
        if self.power_on_mode and not self.has_dma_mode(self.power_on_mode):
            raise UsageError(f"ATA identity: power_on_mode {self.power_on_mode:#x} is none of the DMA modes in"
                             f" ultra_mask {self.ultra_mask:#x} and mwdma_mask {self.mwdma_mask:#x}")

    def has_dma_mode(self, mode: int) -> bool:
        """Whether *mode* is a DMA mode of this drive."""
        if mode & ~7 == UDMA_MODE:
            return bool(self.ultra_mask >> (mode & 7) & 1)
        return mode & ~7 == MWDMA_MODE and bool(self.mwdma_mask >> (mode & 7) & 1)


@frozen
class Settings:
    """What IDENTIFY DEVICE reports of the present moment."""

    sectors: int
    sector_size: int
    multiple: int
    dma_mode: int
    write_cache: bool


def identify_device(identity: AtaIdentity, now: Settings) -> bytes:
    """512 bytes: 256 little-endian words, checksum in the last."""
    words = [0] * _WORDS
    words[0] = 0x0040                                       # a fixed disk
    words[10:20] = _text(identity.serial, 20)
    words[23:27] = _text(identity.firmware, 8)
    words[27:47] = _text(identity.model, 40)
    words[47] = 0x8000 | identity.max_multiple
    words[49] = 0x0A00 | (0x0100 if identity.ultra_mask | identity.mwdma_mask else 0)   # IORDY, LBA, DMA
    words[50] = _VALID
    words[53] = 0x0006                                      # words 64-70 and 88 are valid
    words[59] = 0x0100 | now.multiple if now.multiple else 0
    words[60:62] = _little(min(now.sectors, LBA28_MAX), 2)
    words[63] = _modes(identity.mwdma_mask, now.dma_mode, MWDMA_MODE)
    words[64] = 0x0003                                      # PIO 3 and 4
    words[65:69] = [120] * 4                                # ns a cycle
    words[80] = 0x0070                                      # ATA-4 to ATA/ATAPI-6
    flush = _FLUSH_CACHE if identity.flush else 0
    flush |= _FLUSH_CACHE_EXT if identity.flush and identity.lba48 else 0
    sets = flush | (_LBA48 if identity.lba48 else 0)
    words[82] = _POWER_MANAGEMENT | (_WRITE_CACHE if identity.write_cache else 0)
    words[83] = _VALID | sets
    words[84] = words[87] = _VALID
    words[85] = _POWER_MANAGEMENT | (_WRITE_CACHE if now.write_cache else 0)
    words[86] = sets
    words[88] = _modes(identity.ultra_mask, now.dma_mode, UDMA_MODE)
    words[93] = 0x6001                                      # a cable of 80 conductors
    if identity.lba48:
        words[100:104] = _little(now.sectors, 4)
    words[106] = _VALID
    if now.sector_size != 512:
        words[106] |= 0x1000                                # logical sectors longer than 256 words
        words[117:119] = _little(now.sector_size // 2, 2)
    data = struct.pack("<255H", *words[:255]) + bytes((_INTEGRITY,))
    return data + bytes((-sum(data) & 0xFF,))


def _text(text: str, width: int) -> list[int]:
    """ASCII, two characters a word, the first one in the high byte, padded with blanks."""
    return list(struct.unpack(f">{width // 2}H", text.encode("ascii").ljust(width)[:width]))


def _little(value: int, words: int) -> list[int]:
    return [value >> 16 * n & 0xFFFF for n in range(words)]


def _modes(mask: int, mode: int, family: int) -> int:
    """Supported modes below, the selected one above."""
    return mask | (1 << 8 + (mode & 7) if mode & ~7 == family else 0)
