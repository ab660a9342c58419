"""Signature blocks: the two formulas on every machine, made and checked in bulk."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from ddsdk.abi import ABIS, I386, IA64, PPC64, X86_64, Abi
from ddsdk.diskdump.record import FormatRecord
from ddsdk.diskdump.signature import (
    SignatureKind,
    block_states,
    kind_of_block,
    owner_of_block,
    sampling,
    signature_blocks,
    verify_blocks,
)
from ddsdk.errors import UsageError

DESIGN, SHIPPED = SignatureKind.DESIGN, SignatureKind.SHIPPED


def by_definition(kind: SignatureKind, abi: Abi, block: int) -> bytes:
    """The recurrence word by word, as the design document and formats.md 1.1 write it."""
    number = block % 2**32
    words = [number]
    while len(words) < abi.page_size // 4 - 2:
        words.append((words[-1] + (3 if kind is DESIGN else 7)) * 11 % 2**32)
    return b"diskdump" + b"".join(word.to_bytes(4, abi.byteorder) for word in words)


def crc(kind: SignatureKind, abi: Abi, block: int) -> int:
    """CRC-32 of one block's signature."""
    return zlib.crc32(signature_blocks(kind, abi, block, 1))


@pytest.mark.parametrize(("block", "words", "last", "expected"), [
    (0, "6b736964 706d7564 0 4d 39c 2801 1b858 12ec15", 0xE658D205, 0x381C2DB4),
    (1, "6b736964 706d7564 1 58 415 2d34 1f189 156130", 0xFD9CE000, 0xB91CD3B7),
    (5, "6b736964 706d7564 5 84 5f9 4200 2d64d 1f359c", 0x5AAD17EC, 0xDB4B7063),
    (1023, "6b736964 706d7564 3ff 2c42 1e723 14eece e64327 9e4e2fa", 0xDF4CB00A, 0xA7D45373),
    (65536, "6b736964 706d7564 10000 b004d 79039c 5332801 3932b858 752dec15", 0xF453D205, 0x2ECACD47),
    (4294967295, "6b736964 706d7564 ffffffff 42 323 22ce 17f27 1076fa", 0xCF14C40A, 0x1F3C92D3),
])
def test_shipped_vectors(block: int, words: str, last: int, expected: int) -> None:
    """The shipped formula gives the published words and CRCs on a 4096-byte little-endian machine."""
    made = np.frombuffer(signature_blocks(SHIPPED, X86_64, block, 1), "<u4")
    assert [f"{word:x}" for word in made[:8]] == words.split()
    assert int(made[1023]) == last
    assert crc(SHIPPED, X86_64, block) == expected


def test_shipped_vectors_of_other_machines() -> None:
    """16 KiB blocks of ia64 and big-endian blocks of ppc64 give the published CRCs and bytes."""
    assert (crc(SHIPPED, IA64, 0), crc(SHIPPED, IA64, 5)) == (0xA58463F3, 0x0FC2C6FB)
    assert signature_blocks(SHIPPED, IA64, 5, 1)[-4:] == 0x37381FEC.to_bytes(4, "little")
    assert signature_blocks(SHIPPED, PPC64, 5, 1)[:16].hex() == "6469736b64756d700000000500000084"
    assert crc(SHIPPED, PPC64, 5) == 0x5E0CCA18


def test_design_literals() -> None:
    """The design document's +3: words worked out by hand, and CRCs kept as literals."""
    start = "6469736b 64756d70 05000000 58000000 e9030000 242b0000"
    assert signature_blocks(DESIGN, X86_64, 5, 1)[:24].hex(" ", 4) == start
    made = np.frombuffer(signature_blocks(DESIGN, X86_64, 5, 1), "<u4")
    assert [int(word) for word in made[2:7]] == [5, 88, 1001, 11044, 121517]
    assert [crc(DESIGN, X86_64, block) for block in (0, 1, 5, 1023, 65536, 2**32 - 1)] == [
        0xC1A1C346, 0xDBC6A26C, 0x20F81EF6, 0x9E673C99, 0xF9585490, 0x83B4B422]


@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
@pytest.mark.parametrize("kind", SignatureKind, ids=lambda kind: kind.value)
def test_bulk_equals_the_definition(kind: SignatureKind, abi: Abi) -> None:
    """Blocks made in bulk, over the seams of the internal table and of 2**32, equal the recurrence."""
    for first in (0, 60, 2**32 - 3):
        made = signature_blocks(kind, abi, first, 9)
        assert bytes(made) == b"".join(by_definition(kind, abi, first + n) for n in range(9))


def test_a_run_longer_than_the_table() -> None:
    """Many tables' worth of blocks in the caller's buffer: the first and last are right, nothing beyond is touched."""
    out = bytearray(300 * 4096 + 7)
    signature_blocks(DESIGN, X86_64, 1000, 300, memoryview(out)[:-7])
    for n in (0, 63, 64, 127, 128, 299):
        assert out[n * 4096:(n + 1) * 4096] == by_definition(DESIGN, X86_64, 1000 + n)
    assert out[-7:] == bytes(7)


def test_block_number_counts_modulo_2_to_32() -> None:
    """Block 2**32 + 5 carries the signature of block 5: the number is a 32-bit word on every machine."""
    assert signature_blocks(DESIGN, X86_64, 2**32 + 5, 1) == signature_blocks(DESIGN, X86_64, 5, 1)


@pytest.mark.parametrize("byte", [0, 3, 4, 7, 8, 11, 12, 2048, 4095])
@pytest.mark.parametrize("block", [0, 3, 64, 299])
def test_one_flipped_bit_is_found(block: int, byte: int) -> None:
    """A single wrong bit anywhere in any block is found, the word `dump` included, and its block is named."""
    data = bytearray(signature_blocks(DESIGN, X86_64, 100, 300))
    assert verify_blocks(data, 100, X86_64) == (DESIGN, None)
    data[block * 4096 + byte] ^= 0x10
    kind, bad = verify_blocks(data, 100, X86_64)
    assert bad == 100 + block
    assert kind is (None if block == 0 else DESIGN)


def test_the_other_kind_is_a_bad_block() -> None:
    """Kinds are told apart and never mixed: the first block of the other kind is the bad one."""
    data = bytearray(signature_blocks(SHIPPED, X86_64, 0, 8))
    assert verify_blocks(data, 0, X86_64) == (SHIPPED, None)
    data[5 * 4096:6 * 4096] = signature_blocks(DESIGN, X86_64, 5, 1)
    assert verify_blocks(data, 0, X86_64) == (SHIPPED, 5)


def test_user_parameter_block_is_not_checked() -> None:
    """Block 2 may hold anything, in the middle of a run and alone."""
    data = bytearray(signature_blocks(DESIGN, X86_64, 0, 4))
    data[2 * 4096:3 * 4096] = bytes(4096)
    assert verify_blocks(data, 0, X86_64) == (DESIGN, None)
    assert verify_blocks(bytes(4096), 2, X86_64) == (None, None)


def test_sparse_format_leaves_blocks_unchecked() -> None:
    """With a sparse format only its signed blocks count."""
    record = FormatRecord(DESIGN, X86_64, 10_000, stride=16)
    data = bytearray(16 * 4096)
    data[:4096] = signature_blocks(DESIGN, X86_64, 1024, 1)
    assert verify_blocks(data, 1024, X86_64, record) == (DESIGN, None)
    assert verify_blocks(data, 1024, X86_64) == (DESIGN, 1025)
    data[5] ^= 1
    assert verify_blocks(data, 1024, X86_64, record) == (None, 1024)


def test_kind_and_owner_of_a_block() -> None:
    """A block says which kind it is and, moved elsewhere, whose it was."""
    block = bytes(signature_blocks(SHIPPED, PPC64, 77, 1))
    assert kind_of_block(block, 77, PPC64) is SHIPPED
    assert kind_of_block(block, 78, PPC64) is None
    assert kind_of_block(block, 77, X86_64) is None
    assert owner_of_block(block, PPC64) == (SHIPPED, 77)
    assert owner_of_block(bytes(4096), PPC64) is None


def test_block_states_tell_written_torn_and_intact() -> None:
    """A write that stopped inside a block leaves sectors of the signature: torn, wherever the tear is."""
    data = bytearray(signature_blocks(DESIGN, I386, 500, 6))
    data[0:4096] = b"\xa5" * 4096                       # written
    data[4096:4096 + 512] = b"\xa5" * 512               # its first sector only
    data[3 * 4096 - 512:3 * 4096] = b"\xa5" * 512       # its last sector only
    data[3 * 4096 + 512:4 * 4096] = bytes(7 * 512)      # all but the first sector
    data[4 * 4096:5 * 4096] = signature_blocks(DESIGN, I386, 700, 1)    # a page holding another block's signature
    intact, torn = block_states(data, 500, I386, DESIGN)
    assert intact.tolist() == [False, False, False, False, False, True]
    assert torn.tolist() == [False, True, True, True, False, False]


def test_buffers_of_no_whole_blocks_are_refused() -> None:
    """A length that is no multiple of the block size is a caller's mistake, named with both numbers."""
    with pytest.raises(UsageError, match="5000 bytes is not whole blocks of 4096"):
        verify_blocks(bytes(5000), 0, X86_64)
    with pytest.raises(UsageError, match="cannot hold 2 blocks of 4096"):
        signature_blocks(DESIGN, X86_64, 0, 2, bytearray(4096))


@pytest.mark.parametrize(("total", "runs"), [
    (1, [(0, 1)]), (3, [(0, 3)]), (4, [(0, 4)]), (5, [(0, 4), (1, 4)]), (1024, [(0, 4), (1020, 4)]),
    (1025, [(0, 4), (1024, 1)]), (1028, [(0, 4), (1024, 4)]), (1029, [(0, 4), (1024, 4), (1025, 4)]),
    (3000, [(0, 4), (1024, 4), (2048, 4), (2996, 4)]),
    (10000, [*((start, 4) for start in range(0, 9217, 1024)), (9996, 4)]),
])
def test_sampling_vectors(total: int, runs: list[tuple[int, int]]) -> None:
    """block_order 2 and sample_rate 8 check the runs that formats.md 9.2 lists."""
    assert list(sampling(total, 2, 8)) == runs


def test_sampling_extremes() -> None:
    """Rate 0 covers every block once in chunks; a negative rate checks nothing; order 0 looks at single blocks."""
    assert list(sampling(10, 2, 0)) == [(0, 4), (4, 4), (8, 2)]
    assert list(sampling(10, 2, -1)) == []
    assert list(sampling(300, 0, 8)) == [(0, 1), (256, 1), (299, 1)]


def test_sampling_a_sparse_format() -> None:
    """Starts move down to signed blocks, and no run comes twice."""
    assert list(sampling(3000, 2, 8, stride=1000)) == [(0, 4), (1000, 4), (2000, 4)]
    runs = list(sampling(100_000, 2, 8, stride=64))
    assert all(start % 64 == 0 for start, _ in runs)
    assert runs[-1] == (99968, 4)
