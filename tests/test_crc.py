"""Named CRCs: their parameters, their check values, and the fast path against the table."""

from __future__ import annotations

import zlib

import pytest

from ddsdk.crc import CRCS, Crc, crc16, crc32, crc32_kernel, crc32c, crc_named
from ddsdk.errors import UsageError

CHECK_DATA = b"123456789"

#: name -> polynomial, width, init, reflected, xorout, check: as CRC catalogues list them.
CATALOGUE = {
    "crc32_kernel": (0x04C11DB7, 32, 0, True, 0, 0x2DFD2D88),
    "crc32": (0x04C11DB7, 32, 0xFFFFFFFF, True, 0xFFFFFFFF, 0xCBF43926),
    "crc32c": (0x1EDC6F41, 32, 0xFFFFFFFF, True, 0xFFFFFFFF, 0xE3069283),
    "crc16": (0x8005, 16, 0, True, 0, 0xBB3D),
    "crc16_ccitt": (0x1021, 16, 0, True, 0, 0x2189),
    "crc16_t10dif": (0x8BB7, 16, 0, False, 0, 0xD0DB),
    "crc64": (0x42F0E1EBA9EA3693, 64, 0, False, 0, 0x6C40DF5F0B497347),
}


def _bit_by_bit(crc: Crc, data: bytes) -> int:
    """The definition: one bit at a time, no table, nothing shared with crcmod or zlib."""
    register, top, mask = crc.init, 1 << (crc.width - 1), (1 << crc.width) - 1
    for byte in data:
        for position in range(8):
            bit = byte >> (position if crc.refin else 7 - position) & 1
            carry = bool(register & top) ^ bit
            register = (register << 1 & mask) ^ (crc.poly if carry else 0)
    if crc.refin:
        register = int(f"{register:0{crc.width}b}"[::-1], 2)
    return register ^ crc.xorout


@pytest.mark.parametrize("name", CATALOGUE)
def test_parameters_and_check_value(name: str) -> None:
    """Each CRC has the catalogue's parameters, and its check value is the CRC of 123456789."""
    crc = CRCS[name]
    assert (crc.poly, crc.width, crc.init, crc.refin, crc.xorout, crc.check) == CATALOGUE[name]
    assert crc.of(CHECK_DATA) == crc.check


def test_catalogue_is_complete() -> None:
    """No CRC is offered without a line in this file's table."""
    assert list(CRCS) == list(CATALOGUE)


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize("length", [0, 1, 3, 9, 64, 257])
def test_agrees_with_the_definition(name: str, length: int) -> None:
    """Every length gives what a bit-by-bit computation gives, by the fast path and by crcmod."""
    data = bytes(17 * n + 3 & 0xFF for n in range(length))
    crc = CRCS[name]
    assert crc.of(data) == crc.reference(data) == _bit_by_bit(crc, data)


@pytest.mark.parametrize("name", CATALOGUE)
def test_data_may_come_in_pieces(name: str) -> None:
    """The CRC of a piece is where the next piece goes on, by either path."""
    crc = CRCS[name]
    assert crc.of(CHECK_DATA[4:], crc.of(CHECK_DATA[:4])) == crc.check
    assert crc.reference(CHECK_DATA[4:], crc.of(CHECK_DATA[:4])) == crc.check


def test_kernel_crc_is_zlib_without_its_inversions() -> None:
    """crc32_le(seed, data) is zlib.crc32 with both inversions undone, for any seed."""
    data = bytes(range(256)) * 5
    for seed in (0, 1, 0x12345678, 0xFFFFFFFF):
        expected = zlib.crc32(data, seed ^ 0xFFFFFFFF) ^ 0xFFFFFFFF
        assert crc32_kernel.of(data, seed) == crc32_kernel.reference(data, seed) == expected


def test_kernel_crc_of_leading_zeros_is_zero() -> None:
    """Without a preset, zeros leave the register alone: what tells crc32_le(0, ..) from zlib's CRC."""
    assert crc32_kernel.of(bytes(4096)) == 0
    assert crc32.of(bytes(4096)) == 0xC71C0011  # formats.md 9.3: the zero page


def test_buffers_of_every_kind_are_taken() -> None:
    """bytes, bytearray and memoryview give the same CRC, so that mapped memory needs no copy."""
    for crc in (crc32_kernel, crc32c, crc16):
        assert crc.of(bytearray(CHECK_DATA)) == crc.of(memoryview(b"x" + CHECK_DATA)[1:]) == crc.check


def test_unknown_name_lists_what_there_is() -> None:
    """A CRC asked for by a wrong name is a usage error with the names there are."""
    assert crc_named("crc32c") is crc32c
    with pytest.raises(UsageError) as caught:
        crc_named("crc33")
    assert str(caught.value) == ("unknown CRC 'crc33': ddsdk knows crc32_kernel, crc32, crc32c, crc16, "
                                 "crc16_ccitt, crc16_t10dif, crc64")
