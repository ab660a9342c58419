"""LKCD's run-length code: the vectors of formats.md 9.8."""

from __future__ import annotations

import contextlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsdk.errors import FormatError
from ddsdk.vmcore.rle import rle_compress, rle_decompress

VECTORS = [
    (bytes(256), "00ff00"), (bytes(257), "00ff000000"), (b"A" * 257, "00ff4141"), (b"A" * 258, "00ff414141"),
    (b"AAB" + bytes(4), "414142000300"), (b"ABBCCC\0D\0\0E" + b"\xff" * 5, "414242000243000044000100450004ff"),
    (b"AAAA\0\0\0B\0C\0\0DD", None),
]


@pytest.mark.parametrize(("page", "coded"), VECTORS, ids=range(len(VECTORS)))
def test_vectors(page: bytes, coded: str | None) -> None:
    """Encoded as the kernel does, and back."""
    made = rle_compress(page)
    assert (made.hex() if made is not None else None) == coded
    if made is not None:
        assert rle_decompress(made, len(page)) == page


def test_a_page_of_zeros() -> None:
    """48 bytes."""
    made = rle_compress(bytes(4096))
    assert made is not None
    assert (len(made), zlib.crc32(made)) == (48, 0xA65C2BF1)


@given(st.lists(st.tuples(st.sampled_from(b"\0\1A"), st.integers(1, 600)), max_size=20))
def test_whatever_is_encoded_comes_back(runs: list[tuple[int, int]]) -> None:
    """Runs of any length, of zeros and others."""
    page = b"".join(bytes((value,)) * count for value, count in runs)
    made = rle_compress(page) if page else b""
    assert made is None or rle_decompress(made, len(page)) == page


@pytest.mark.parametrize(("coded", "said"), [
    (b"AB\0", "end inside a run"), (b"AB\0\7", "end inside a run"), (b"AB", "a page of 2 bytes, not of 4096"),
    (b"\0\xff\0" * 17, "a page of more than 4096 bytes, not of 4096")])
def test_what_is_no_page(coded: bytes, said: str) -> None:
    """Cut short, too little, too much."""
    with pytest.raises(FormatError, match=said):
        rle_decompress(coded, 4096)


@given(st.binary(max_size=200))
def test_noise_ends(coded: bytes) -> None:
    """In a page or a FormatError."""
    with contextlib.suppress(FormatError):
        assert len(rle_decompress(coded, 64)) == 64
