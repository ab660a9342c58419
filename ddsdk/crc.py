"""The CRCs of this field by name, each with its parameters and its check value.

A `Crc` is described the way catalogues do (Rocksoft model): polynomial without its top bit, start value of
the register, whether bits are taken least significant first, and what is XORed on the way out.  `check` is
the CRC of b"123456789"; tests/test_crc.py computes every one of them bit by bit.

The module check of diskdump is `crc32_kernel`: Linux `crc32_le(0, data, len)`, which neither presets nor
inverts (formats.md 1.10).  zlib's CRC-32 is the same register between two inversions, and bulk data go there.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import crcmod
from attrs import field, frozen

from .errors import UsageError

Buffer = bytes | bytearray | memoryview
_Step = Callable[[Buffer, int], int]

_ZLIB_POLY: Final = 0x04C11DB7
_ALL_ONES_32: Final = 0xFFFFFFFF


@frozen
class Crc:
    """One CRC.  `refin` reflects input and output alike; `width` is in bits, 8, 16, 24, 32 or 64."""

    name: str
    poly: int
    width: int
    init: int
    refin: bool
    xorout: int
    check: int
    _step: _Step = field(init=False, repr=False, eq=False)
    _bulk: _Step = field(init=False, repr=False, eq=False)

    @_step.default
    def _table_driven(self) -> _Step:
        # crcmod takes the CRC of no data where catalogues give the register's start value
        poly, start = self.poly | 1 << self.width, self.init ^ self.xorout
        step: _Step = crcmod.mkCrcFun(poly, start, self.refin, self.xorout)
        return step

    @_bulk.default
    def _fastest(self) -> _Step:
        if (self.width, self.poly, self.refin) != (32, _ZLIB_POLY, True):
            return self._step
        # zlib inverts on the way in and out; `flip` undoes what this CRC does not want
        flip = self.xorout ^ _ALL_ONES_32
        return lambda data, crc: zlib.crc32(data, crc ^ flip) ^ flip

    def of(self, data: Buffer, crc: int | None = None) -> int:
        """The CRC of *data*, or of what had CRC *crc* followed by *data*."""
        return self._bulk(data, self.init ^ self.xorout if crc is None else crc)

    def reference(self, data: Buffer, crc: int | None = None) -> int:
        """What `of` computes, by crcmod's table whatever the CRC: for comparison."""
        return self._step(data, self.init ^ self.xorout if crc is None else crc)


#: Linux crc32_le(0, ..): no preset, no inversion.  The module check of diskdump.
crc32_kernel: Final = Crc("crc32_kernel", 0x04C11DB7, 32, 0, True, 0, 0x2DFD2D88)
#: CRC-32/ISO-HDLC: zlib, Ethernet, the vectors of formats.md section 9.
crc32: Final = Crc("crc32", 0x04C11DB7, 32, 0xFFFFFFFF, True, 0xFFFFFFFF, 0xCBF43926)
#: CRC-32C (Castagnoli): iSCSI, SSE 4.2, btrfs.
crc32c: Final = Crc("crc32c", 0x1EDC6F41, 32, 0xFFFFFFFF, True, 0xFFFFFFFF, 0xE3069283)
#: CRC-16/ARC: Linux crc16().
crc16: Final = Crc("crc16", 0x8005, 16, 0, True, 0, 0xBB3D)
#: CRC-16/KERMIT: Linux crc_ccitt() started at 0.
crc16_ccitt: Final = Crc("crc16_ccitt", 0x1021, 16, 0, True, 0, 0x2189)
#: CRC-16/T10-DIF: the guard tag of a SCSI protection information tuple (SBC-3 4.22.4).
crc16_t10dif: Final = Crc("crc16_t10dif", 0x8BB7, 16, 0, False, 0, 0xD0DB)
#: CRC-64/ECMA-182: Linux crc64_be().
crc64: Final = Crc("crc64", 0x42F0E1EBA9EA3693, 64, 0, False, 0, 0x6C40DF5F0B497347)

CRCS: Final[Mapping[str, Crc]] = MappingProxyType(
    {crc.name: crc for crc in (crc32_kernel, crc32, crc32c, crc16, crc16_ccitt, crc16_t10dif, crc64)})


def crc_named(name: str) -> Crc:
    """The Crc called *name*; UsageError lists those there are."""
    if name not in CRCS:
        raise UsageError(f"unknown CRC {name!r}: ddsdk knows {', '.join(CRCS)}")
    return CRCS[name]
