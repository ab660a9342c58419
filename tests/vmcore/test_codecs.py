"""Pages compressed and back, and what is no compressed page."""

from __future__ import annotations

import contextlib
import zlib

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ddsdk.errors import FormatError, UsageError
from ddsdk.vmcore import codecs
from ddsdk.vmcore.codecs import Codec, Decompressor, PageFlag

PAGE = 4096
COMPRESSING = [codec for codec in Codec if codec is not Codec.NONE]
PAGES = {"zeros": bytes(PAGE), "text": (b"the quick brown fox " * 205)[:PAGE],
         "noise": bytes((at * 7919 + (at >> 3) ** 2) >> 4 & 0xFF for at in range(PAGE))}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
@pytest.mark.parametrize("codec", COMPRESSING, ids=lambda codec: codec.value)
def test_a_page_comes_back(codec: Codec, page: bytes) -> None:
    """From bytes and from a read-only view; the same page always gives the same bytes."""
    compress = codec.compressor()
    packed = compress(page)
    assert packed == compress(memoryview(page)) == codec.compressor()(page)
    assert bytes(Decompressor(PAGE).page(codec.flag, packed)) == page
    assert len(packed) < PAGE or page is PAGES["noise"]


def test_the_flags_are_the_files() -> None:
    """formats.md 3.2."""
    assert [(codec.value, int(codec.flag)) for codec in Codec] == [
        ("none", 0), ("zlib", 1), ("lzo", 2), ("snappy", 4), ("zstd", 0x20)]
    with pytest.raises(UsageError, match="need no compressor"):
        Codec.NONE.compressor()


def test_zlib_streams_are_everybodys() -> None:
    """The standard library reads what we write, and we what it writes."""
    page = PAGES["text"]
    assert zlib.decompress(Codec.ZLIB.compressor()(page)) == page
    assert Decompressor(PAGE).page(PageFlag.ZLIB, zlib.compress(page, 9)) == page


def test_lzo_without_the_systems_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """lzallright writes the same format."""
    monkeypatch.setattr(codecs, "_liblzo2", lambda: None)
    packed = Codec.LZO.compressor()(PAGES["text"])
    assert Decompressor(PAGE).page(PageFlag.LZO, packed) == PAGES["text"]


@pytest.mark.parametrize("codec", COMPRESSING, ids=lambda codec: codec.value)
def test_a_bomb_does_not_go_off(codec: Codec) -> None:
    """What unpacks to more than a page is no page."""
    large = codec.compressor()(bytes(8 << 20)) if codec is not Codec.LZO else codec.compressor()(bytes(1 << 16))
    with pytest.raises(FormatError, match=r"page of more than 4096 bytes, not of 4096"):
        Decompressor(PAGE).page(codec.flag, large)


def test_a_zstd_frame_that_does_not_say_its_size() -> None:
    """It is read as long as it is a page."""
    silent = zstandard.ZstdCompressor(write_content_size=False).compress
    assert Decompressor(PAGE).page(PageFlag.ZSTD, silent(PAGES["text"])) == PAGES["text"]
    with pytest.raises(FormatError, match="no zstd data"):
        Decompressor(PAGE).page(PageFlag.ZSTD, silent(bytes(8 << 20)))


@pytest.mark.parametrize("codec", COMPRESSING, ids=lambda codec: codec.value)
def test_cut_short(codec: Codec) -> None:
    """Half a stream is no page."""
    packed = codec.compressor()(PAGES["noise"])
    with pytest.raises(FormatError, match=r"no \w+ data|are a page of \d+ bytes, not of 4096"):
        Decompressor(PAGE).page(codec.flag, packed[:len(packed) // 2])


@pytest.mark.parametrize("flags", [3, 8, 0x10, 0x40, 0x21])
def test_unknown_compression(flags: int) -> None:
    """One bit at the most, and one that there is."""
    with pytest.raises(FormatError, match="are no compression"):
        Decompressor(PAGE).page(flags, b"abc")


@given(st.sampled_from([1, 2, 4, 0x20]), st.binary(max_size=300))
def test_noise_is_refused(flags: int, data: bytes) -> None:
    """FormatError and nothing else."""
    with contextlib.suppress(FormatError):
        assert len(Decompressor(PAGE).page(flags, data)) == PAGE
