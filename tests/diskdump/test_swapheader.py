"""Which swap headers are believed before a crash, and what is said of the others."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from ddsdk.abi import ABIS, X86_64, Abi
from ddsdk.diskdump.swapheader import any_swap_header, bad_pages_max, parse_swap_header, read_swap_header
from ddsdk.diskdump.target import DumpTarget
from ddsdk.errors import FormatError
from tests.diskdump.swaps import UUID_TEXT, swap_page


def target(tmp_path: Path, content: bytes) -> DumpTarget:
    """A file with *content*."""
    path = tmp_path / "s.img"
    path.write_bytes(content)
    return DumpTarget(str(path))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_what_mkswap_writes(abi: Abi, order: str, tmp_path: Path) -> None:
    """Number of pages, bad pages in order, UUID and label, in the pages of the machine and in either byte order."""
    size = abi.page_size
    page = swap_page(12, size=size, order=order, bad=(7, 3), label=b"sixteen letters!")
    with target(tmp_path, bytes(page) + bytes(11 * size)).open() as file:
        header = read_swap_header(file, abi)
    assert (header.page_size, header.pages, header.bad) == (size, 12, (3, 7))
    assert (header.uuid_text, header.label) == (UUID_TEXT, "sixteen letters!")
    assert header.page == page


def test_the_vector() -> None:
    """Formats.md 9.6: an area of 12 pages without UUID and label has CRC 44b0f55e."""
    page = swap_page(12, label=b"")
    page[1036:1052] = bytes(16)
    assert zlib.crc32(page) == 0x44B0F55E


def test_an_area_smaller_than_its_device(tmp_path: Path) -> None:
    """Linux uses what the header says and no more."""
    with target(tmp_path, bytes(swap_page(10)) + bytes(20 * 4096)).open() as file:
        assert read_swap_header(file, X86_64).pages == 10


def test_the_same_area_later() -> None:
    """A new label or UUID makes no other area, another size, bad page or magic does."""
    header = parse_swap_header(bytes(swap_page(12, bad=(3,))), 12, "x")
    assert header.same_area(swap_page(12, bad=(3,), label=b"other"))
    for other in (swap_page(13, bad=(3,)), swap_page(12, bad=(4,)), swap_page(12), bytes(4096),
                  swap_page(12, bad=(3,), magic=b"S1SUSPEND")):
        assert not header.same_area(other)


def full(count: int) -> bytes:
    """A header with *count* bad pages, 1 to *count*, of an area of 2000 pages."""
    return bytes(swap_page(2000, bad=range(1, count + 1)))


def test_bad_pages_that_fit(tmp_path: Path) -> None:
    """637 with 4 KiB pages, as Linux's MAX_SWAP_BADPAGES; 15997 with 64 KiB."""
    assert [bad_pages_max(size) for size in (4096, 65536)] == [637, 15997]
    with target(tmp_path, full(637) + bytes(1999 * 4096)).open() as file:
        assert len(read_swap_header(file, X86_64).bad) == 637


def with_dump() -> bytes:
    """A swap area that was dumped to."""
    return bytes(swap_page(12)) + b"DISKDUMP".ljust(4096, b"\0") + bytes(10 * 4096)


NONE = "no swap area: there is no SWAPSPACE2 at the end of its first page; mkswap makes one"
BAD = {
    "nothing": (bytes(12 * 4096), NONE),
    "short": (bytes(1000), NONE),
    "ext4": (bytes(1080) + b"\x53\xef" + bytes(8192),
             "no swap area: it holds an ext2/3/4 file system; mkswap makes one"),
    "version 0": (bytes(swap_page(12, magic=b"SWAP-SPACE")) + bytes(11 * 4096),
                  "a swap area of version 0 (SWAP-SPACE), which Linux uses no more; mkswap makes version 1"),
    "version 2": (bytes(swap_page(12, version=2)) + bytes(11 * 4096),
                  "a swap header of version 2; Linux knows version 1 only"),
    "hibernated": (bytes(swap_page(12, magic=b"S1SUSPEND")) + bytes(11 * 4096),
                   "a hibernated system's memory, no swapped pages of this machine; resume it, or make the area anew"
                   " with mkswap"),
    "64 KiB": (bytes(swap_page(12, size=65536)) + bytes(11 * 65536),
               "this swap area was made for pages of 65536 bytes, the machine's have 4096: swapon would refuse it; make"
               " it with mkswap -p 4096"),
    "empty": (bytes(swap_page(1)) + bytes(11 * 4096), "an empty swap area: its last page is the header's own"),
    "cut": (bytes(swap_page(13)) + bytes(11 * 4096),
            "the swap header says that the last page is 12, the device has 12 pages of 4096 bytes; was it cut, or is"
            " it another partition's?"),
    "many bad": (bytes(swap_page(12, count=638)) + bytes(11 * 4096),
                 "the swap header counts 638 bad pages and has room for 637; it is damaged"),
    "bad 0": (bytes(swap_page(12, bad=(0,))) + bytes(11 * 4096),
              "the swap header lists bad page 0 of an area of pages 1 to 11; it is damaged"),
    "bad beyond": (bytes(swap_page(12, bad=(3, 12))) + bytes(11 * 4096),
                   "the swap header lists bad page 12 of an area of pages 1 to 11; it is damaged"),
    "bad twice": (bytes(swap_page(12, bad=(3, 3))) + bytes(11 * 4096),
                  "the swap header lists a bad page twice; it is damaged"),
    "all bad": (bytes(swap_page(3, bad=(1, 2))) + bytes(11 * 4096),
                "every page of the swap area is bad; there is nothing to save"),
    "a dump": (with_dump(), "a crash dump that has not been saved is in this swap area; run `ddsdk savecore` first"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_bad_headers(content: bytes, message: str, tmp_path: Path) -> None:
    """One line with the file, what is wrong and what helps."""
    where = target(tmp_path, content)
    with where.open() as file, pytest.raises(FormatError) as error:
        read_swap_header(file, X86_64)
    assert str(error.value) == f"{where}: {message}"


def test_headers_of_any_page_size(tmp_path: Path) -> None:
    """For whoever asks about a file of another machine; what is no header, or a bad one, is None."""
    for size in (4096, 8192, 16384, 32768, 65536):
        with target(tmp_path, bytes(swap_page(5, size=size)) + bytes(4 * size)).open() as file:
            header = any_swap_header(file)
        assert header is not None
        assert header.describe() == {"label": "pages", "uuid": UUID_TEXT, "page_bytes": size, "pages": 5,
                                     "bad_pages": 0}
    for content in (bytes(8192), bytes(swap_page(5)), struct.pack("<I", 1)):
        with target(tmp_path, content).open() as file:
            assert any_swap_header(file) is None
