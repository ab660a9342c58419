"""The published partition images (formats.md 9.4 to 9.6), rebuilt byte by byte and read."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import pytest

from ddsdk.abi import X86_64
from ddsdk.diskdump.check import Verdict, check_device
from ddsdk.diskdump.pagesource import PartitionSource
from ddsdk.diskdump.partition import DumpState, PageRun, read_partition
from ddsdk.diskdump.savecore import SaveOptions, save
from ddsdk.diskdump.signature import SignatureKind, signature_blocks
from ddsdk.diskdump.target import DumpTarget
from ddsdk.vmcore.dumpheader import DiskDumpHeader, NewUtsname, Timespec
from ddsdk.vmcore.source import open_pages, open_source

PAGE = 4096


def lcg(seed: int) -> bytes:
    """The published page generator."""
    x, out = seed, bytearray()
    for _ in range(PAGE):
        x = (x * 1103515245 + 12345) % 2**31
        out.append((x >> 16) & 255)
    return bytes(out)


def signatures(first: int, count: int) -> bytes:
    """Shipped signatures."""
    return bytes(signature_blocks(SignatureKind.SHIPPED, X86_64, first, count))


def header(status: int, bitmaps: int, written: int) -> bytes:
    """The header block of the published machine."""
    names = NewUtsname(sysname=b"Linux", nodename=b"testhost", release=b"2.6.9-89.EL", version=b"#1 SMP",
                       machine=b"x86_64", domainname=b"(none)")
    fixed = DiskDumpHeader.on(X86_64).pack(DiskDumpHeader(
        header_version=0, utsname=names, timestamp=Timespec(tv_sec=1100000000, tv_nsec=123456789), status=status,
        block_size=PAGE, sub_hdr_size=1, bitmap_blocks=bitmaps, max_mapnr=8, total_ram_blocks=6, device_blocks=12,
        written_blocks=written, current_cpu=0, nr_cpus=2))
    return (fixed + struct.pack("<2Q", 0x100, 0x200)).ljust(PAGE, b"\0")


def image_a() -> bytes:
    """A plain, complete dump."""
    sub = struct.pack("<27Q", *range(1, 28)).ljust(PAGE, b"\0")
    assert zlib.crc32(sub) == 0xE7BA27C0
    pages = b"".join(bytes([pfn + 1]) * PAGE for pfn in (0, 1, 2, 3, 6, 7))
    return signatures(0, 1) + header(0, 1, 10) + sub + b"\xcf".ljust(PAGE, b"\0") + pages + signatures(10, 2)


def image_b() -> bytes:
    """A partial, compressed dump of the same machine."""
    sub = struct.pack("<27Q", *range(1, 28)).ljust(PAGE, b"\0")
    stream = b"".join(struct.pack("<QII", 0x4000000000000000 | pfn, PAGE, flags) + lcg(pfn)
                      for pfn, flags in ((2, 0), (7, 2)))
    assert len(stream) == 8224
    return (signatures(0, 1) + header(8, 2, 8) + sub + b"\xcf".ljust(PAGE, b"\0") + b"\x24".ljust(PAGE, b"\0")
            + stream + b"m" * 4064 + signatures(8, 4))


def test_image_a_is_the_published_one() -> None:
    """Our construction of image A has the published CRC: the layout is understood."""
    assert zlib.crc32(header(0, 1, 10)) == 0x83D5256A
    assert (len(image_a()), zlib.crc32(image_a())) == (49152, 0x3654C876)


def test_image_a_is_read(tmp_path: Path) -> None:
    """Header, pages and registers of image A, a RHEL 4 dump with header_version 0."""
    path = tmp_path / "a.img"
    path.write_bytes(image_a())
    dump = read_partition(DumpTarget(str(path)))
    assert dump.state is DumpState.COMPLETE
    assert dump.kind is SignatureKind.SHIPPED
    assert dump.dump.abi is X86_64
    assert dump.dump.tasks == (0x100, 0x200)
    assert dump.pages == (PageRun(4, 0, 4), PageRun(8, 6, 2))
    assert dump.sub is not None
    assert dump.sub.cpus[0].regs == struct.pack("<27Q", *range(1, 28))
    assert dump.describe()["release"] == "2.6.9-89.EL"


def test_image_a_becomes_a_vmcore(tmp_path: Path) -> None:
    """savecore of image A: every page at its address, and the partition signed again, in its own kind."""
    path = tmp_path / "a.img"
    path.write_bytes(image_a())
    report = save(DumpTarget(str(path)), str(tmp_path / "out"))
    assert report.path == str(tmp_path / "out/127.0.0.1-2004-11-09-11:33:20/vmcore")
    with open_source(report.path) as source:
        assert [(run.start_pfn, run.npages) for run in source.runs] == [(0, 4), (6, 2)]
        assert all(bytes(source.view(pfn * PAGE, PAGE)) == bytes([pfn + 1]) * PAGE for pfn in (0, 1, 2, 3, 6, 7))
        assert [cpu.regs for cpu in source.cpus] == [struct.pack("<27Q", *range(1, 28))]
    after = path.read_bytes()
    assert after[:2 * PAGE] == signatures(0, 2)
    assert after[3 * PAGE:] == signatures(3, 9)
    assert check_device(DumpTarget(str(path))).kind is SignatureKind.SHIPPED


def test_image_b_is_the_published_one() -> None:
    """Our construction of image B has the published CRC."""
    assert zlib.crc32(lcg(1)) == 0x4641A512
    assert zlib.crc32(header(8, 2, 8)) == 0x09D2EF6C
    assert (len(image_b()), zlib.crc32(image_b())) == (49152, 0xC5BD4AF8)


def test_image_b_is_read(tmp_path: Path) -> None:
    """Two records, one of an anonymous page: the pages of ordinals 2 and 5."""
    path = tmp_path / "b.img"
    path.write_bytes(image_b())
    target = DumpTarget(str(path))
    dump = read_partition(target)
    assert (dump.state, dump.why) == (DumpState.COMPLETE, f"{path}: complete partial dump, 2 of 6 pages")
    assert (dump.codec_name, dump.dump_level, dump.touched_end) == ("zlib", None, 8)
    with target.open() as file:
        source = PartitionSource.of(file, dump)
        assert list(source.ram.runs()) == [(0, 4), (6, 2)]
        assert list(source.stored.runs()) == [(2, 1), (7, 1)]
        assert [bytes(source.view(pfn * PAGE, PAGE)) for pfn in (2, 7)] == [lcg(2), lcg(7)]
    assert check_device(target).verdict is Verdict.CONTAINS_DUMP


@pytest.mark.parametrize("kind", ["elf", "kdump", "lkcd"])
def test_image_b_becomes_a_vmcore(kind: str, tmp_path: Path) -> None:
    """savecore of image B in every format: its two pages, its RAM; and the partition is signed again."""
    path = tmp_path / "b.img"
    path.write_bytes(image_b())
    report = save(DumpTarget(str(path)), str(tmp_path / "out"), SaveOptions(kind))
    assert report.path == str(tmp_path / "out/127.0.0.1-2004-11-09-11:33:20/vmcore")
    with open_pages(report.path) as source:
        assert list(source.stored.runs()) == [(2, 1), (7, 1)]
        assert list(source.ram.runs()) == [(0, 4), (6, 2)]
        assert [bytes(source.view(pfn * PAGE, PAGE)) for pfn in (2, 7)] == [lcg(2), lcg(7)]
    assert path.read_bytes()[3 * PAGE:] == signatures(3, 9)
    assert check_device(DumpTarget(str(path))).kind is SignatureKind.SHIPPED


def test_swap_header_vector(tmp_path: Path) -> None:
    """The published swap header is a swap area of 12 pages, not a dump partition."""
    block = bytearray(PAGE)
    struct.pack_into("<III", block, 1024, 1, 11, 0)
    block[4086:] = b"SWAPSPACE2"
    assert zlib.crc32(block) == 0x44B0F55E
    path = tmp_path / "swap.img"
    path.write_bytes(bytes(block) + bytes(11 * PAGE))
    report = check_device(DumpTarget(str(path)))
    assert report.verdict is Verdict.SWAP
    assert report.why == f"{path}: a swap area of 12 pages of 4096 bytes"
