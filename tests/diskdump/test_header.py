"""The dump header on the four machines, and the RAM bitmap."""

from __future__ import annotations

import zlib

import pytest

from ddsdk.abi import ABIS, I386, IA64, PPC64, X86_64, Abi
from ddsdk.diskdump.header import Status, bitmap_of
from ddsdk.vmcore.dumpheader import DiskDumpHeader, NewUtsname, Timespec, bitmap_blocks, text, unpack_tasks
from ddsdk.vmcore.pagemap import PageMap

#: formats.md 1.4, measured with gcc (64 bit) and confirmed with libkdumpfile (32 bit)
OFFSETS_32 = {"signature": 0, "header_version": 8, "utsname": 12, "timestamp": 404, "status": 412, "block_size": 416,
              "sub_hdr_size": 420, "bitmap_blocks": 424, "max_mapnr": 428, "total_ram_blocks": 432,
              "device_blocks": 436, "written_blocks": 440, "current_cpu": 444, "nr_cpus": 448}
OFFSETS_64 = {"signature": 0, "header_version": 8, "utsname": 12, "timestamp": 408, "status": 424, "block_size": 428,
              "sub_hdr_size": 432, "bitmap_blocks": 436, "max_mapnr": 440, "total_ram_blocks": 444,
              "device_blocks": 448, "written_blocks": 452, "current_cpu": 456, "nr_cpus": 460}
UTSNAME = {"sysname": 0, "nodename": 65, "release": 130, "version": 195, "machine": 260, "domainname": 325}


@pytest.mark.parametrize(("abi", "offsets", "size"), [
    (I386, OFFSETS_32, 452), (X86_64, OFFSETS_64, 464), (IA64, OFFSETS_64, 464), (PPC64, OFFSETS_64, 464),
], ids=["i386", "x86_64", "ia64", "ppc64"])
def test_offsets(abi: Abi, offsets: dict[str, int], size: int) -> None:
    """Every member lies where the C compiler of that machine puts it; tasks[] begins at the structure's end."""
    layout = DiskDumpHeader.on(abi)
    assert {name: layout.offsetof(name) for name in offsets} == offsets
    assert {name: layout.offsetof(f"utsname.{name}") - 12 for name in UTSNAME} == UTSNAME
    assert layout.offsetof("timestamp.tv_nsec") == offsets["timestamp"] + abi.word_bytes
    assert layout.size == size


def test_byte_order_is_the_machines() -> None:
    """The same status is stored big-endian by ppc64 and little-endian by x86_64."""
    header = DiskDumpHeader(status=int(Status.INCOMPLETED))
    assert DiskDumpHeader.on(PPC64).pack(header)[424:428] == b"\0\0\0\1"
    assert DiskDumpHeader.on(X86_64).pack(header)[424:428] == b"\1\0\0\0"


def test_vector_a_header_block() -> None:
    """The header of the published image A packs to the published CRC, and reads back."""
    header = DiskDumpHeader(
        header_version=0,
        utsname=NewUtsname(sysname=b"Linux", nodename=b"testhost", release=b"2.6.9-89.EL", version=b"#1 SMP",
                           machine=b"x86_64", domainname=b"(none)"),
        timestamp=Timespec(tv_sec=1100000000, tv_nsec=123456789), status=0, block_size=4096, sub_hdr_size=1,
        bitmap_blocks=1, max_mapnr=8, total_ram_blocks=6, device_blocks=12, written_blocks=10, current_cpu=0,
        nr_cpus=2)
    tasks = (0x100).to_bytes(8, "little") + (0x200).to_bytes(8, "little")
    block = (DiskDumpHeader.on(X86_64).pack(header) + tasks).ljust(4096, b"\0")
    assert zlib.crc32(block) == 0x83D5256A
    assert DiskDumpHeader.on(X86_64).unpack(block) == header
    assert unpack_tasks(X86_64, block) == (0x100, 0x200)


@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_tasks_keep_the_cpus_that_did_not_answer(abi: Abi) -> None:
    """A zero between two pointers is a CPU that did not answer; zeros behind the last one are padding."""
    size = DiskDumpHeader.on(abi).size
    words = b"".join(task.to_bytes(abi.word_bytes, abi.byteorder) for task in (0xC0000000, 0, 0xC0004000))
    assert unpack_tasks(abi, (bytes(size) + words).ljust(abi.page_size, b"\0")) == (0xC0000000, 0, 0xC0004000)
    assert unpack_tasks(abi, bytes(abi.page_size)) == ()


def test_status_values() -> None:
    """Status numbers on a partition: 0 completed, 1 incompleted, 2 in progress, 4 short area, 8 compressed."""
    assert [int(status) for status in (Status.COMPLETED, Status.INCOMPLETED, Status.IN_PROGRESS, Status.SHORT_AREA,
                                       Status.COMPRESSED)] == [0, 1, 2, 4, 8]


def test_utsname_text_is_printable() -> None:
    """A hostile host name cannot put control characters on a terminal; what follows the NUL is ignored."""
    assert text(b"host\x1b[2J\0garbage") == "host?[2J"


@pytest.mark.parametrize(("max_pfn", "page", "blocks"), [(1, 4096, 1), (32768, 4096, 1), (32769, 4096, 2),
                                                          (261898, 4096, 8), (131073, 16384, 2)])
def test_bitmap_blocks(max_pfn: int, page: int, blocks: int) -> None:
    """One bit a page frame, whole blocks; the design document's machine needs 8."""
    assert bitmap_blocks(max_pfn, page) == blocks


def test_bitmap_is_least_significant_bit_first() -> None:
    """Frames 0-3, 6 and 7 are 0xcf, as in the published image."""
    bitmap = bitmap_of([(0, 4), (6, 2)], 8, 4096)
    assert bitmap == b"\xcf".ljust(4096, b"\0")
    assert list(PageMap.of_bitmap(bitmap, 8).runs()) == [(0, 4), (6, 2)]


@pytest.mark.parametrize("runs", [
    [], [(0, 1)], [(0, 3_000_000)], [(5, 1), (7, 1), (1 << 20, 1)], [((1 << 20) - 3, 7), (2_999_999, 1)],
    [(0, 160), (256, 786176), (1048576, 3407)],
])
def test_page_maps_invert_bitmap_of(runs: list[tuple[int, int]]) -> None:
    """Runs survive the bitmap, over the seams of the piecewise reader and up to the last bit."""
    bitmap = bitmap_of(runs, 3_000_000, 4096)
    assert list(PageMap.of_bitmap(bitmap, 3_000_000).runs()) == runs


def test_bits_beyond_max_pfn_do_not_count() -> None:
    """Padding bits of the last byte and block are not page frames."""
    assert list(PageMap.of_bitmap(b"\xff" * 4096, 13).runs()) == [(0, 13)]
