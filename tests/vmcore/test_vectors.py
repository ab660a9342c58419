"""The dump files of formats.md 9, built from the descriptions there by hand: read, and written byte for byte."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise
from pathlib import Path

import pytest

from ddsdk.abi import X86_64, abi_named
from ddsdk.errors import FormatError
from ddsdk.vmcore.codecs import Codec
from ddsdk.vmcore.filebytes import FlattenedFile, open_bytes
from ddsdk.vmcore.notes import prstatus
from ddsdk.vmcore.pages import PageSource
from ddsdk.vmcore.source import open_pages
from ddsdk.vmcore.synthetic import registers
from tests.vmcore.cores import note

PAGE = 4096


def lcg(seed: int) -> bytes:
    """Formats.md 9.3."""
    x, out = seed, bytearray()
    for _ in range(PAGE):
        x = (x * 1103515245 + 12345) % 2**31
        out.append(x >> 16 & 255)
    return bytes(out)


def utsname(release: bytes, machine: bytes = b"x86_64") -> bytes:
    """Linux on testhost."""
    members = (b"Linux", b"testhost", release, b"#1 SMP" if release == b"6.1.0" else b"#1", machine, b"(none)")
    return b"".join(member.ljust(65, b"\0") for member in members)


def kdump_v6() -> bytes:
    """9.7."""
    header = struct.pack("<8si390s6x", b"KDUMP   ", 6, utsname(b"6.1.0"))
    header += struct.pack("<qqIiiIIIIIIi", 1700000000, 0, 0, PAGE, 1, 2, 8, 0, 0, 0, 0, 1)
    sub = struct.pack("<QiiQQqQqQqQQQQ", 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8)
    at = 4 * PAGE + 3 * 24
    pages = (bytes(PAGE), lcg(1), lcg(3))
    table = b"".join(struct.pack("<qIIQ", at + number * PAGE, PAGE, 0, 0) for number in range(3))
    blocks = (header, sub, b"\x0f", b"\x0b")
    return b"".join(block.ljust(PAGE, b"\0") for block in blocks) + table + b"".join(pages)


#: ABI -> byte order, struct's letter for an unsigned long, what utsname says.
KDUMP_MACHINES = {"i386": ("<", "I", b"i686"), "x86_64": ("<", "Q", b"x86_64"), "ppc64": (">", "Q", b"ppc64")}
KDUMP_VMCOREINFO = b"OSRELEASE=2.6.32\n"


def kdump(version: int, machine: str) -> bytes:
    """A file of formats.md 3 of any version: what its sub header has not got yet is filled with EEh.

    Frames 0, 1 and 3 are stored; from version 2 on it is the part [1, 4) of a set.
    """
    order, ulong, name = KDUMP_MACHINES[machine]
    wide = ulong == "Q"
    head = struct.pack(f"{order}8si390s" + ("6x" if wide else "2x"), b"KDUMP   ", version, utsname(b"2.6.32", name))
    head += struct.pack(f"{order}" + ("qq" if wide else "ii") + "IiiIIIIIIi", 1700000000, 0, 0, PAGE, 1, 2, 8, 0, 0, 0,
                        0, 1)
    status = prstatus(abi_named(machine), registers(abi_named(machine), 0, 1), 42)
    notes = note(b"CORE", 1, status, order=order) + note(b"VMCOREINFO", 0, KDUMP_VMCOREINFO, order=order)
    behind = PAGE + 1024
    members = [(ulong, 0)]                                              # phys_base
    members += [("i", 0x1F)] if version >= 1 else []                    # dump_level
    members += [("i", 1), (ulong, 1), (ulong, 4)] if version >= 2 else []               # split, start_pfn, end_pfn
    members += [("q", behind), (ulong, len(KDUMP_VMCOREINFO))] if version >= 3 else []  # VMCOREINFO
    members += [("q", behind + 64), (ulong, len(notes))] if version >= 4 else []        # notes
    members += [("q", 0), (ulong, 0)] if version >= 5 else []                           # erased
    members += [("Q", 1), ("Q", 4), ("Q", 8)] if version >= 6 else []                   # start, end, max_mapnr
    sub = b"".join(struct.pack(order + kind, value) for kind, value in members)
    sub = sub.ljust(1024, b"\xee") + KDUMP_VMCOREINFO.ljust(64, b"\0") + notes
    stored = (1, 3) if version >= 2 else (0, 1, 3)
    at = 4 * PAGE + len(stored) * 24
    table = b"".join(struct.pack(f"{order}qIIQ", at + number * PAGE, PAGE, 0, 0) for number in range(len(stored)))
    blocks = (head, sub, b"\x0f", b"\x0b")
    return b"".join(block.ljust(PAGE, b"\0") for block in blocks) + table + b"".join(lcg(pfn) for pfn in stored)


def lkcd_v9() -> bytes:
    """9.9."""
    header = struct.pack("<QIIIIQQQI256s", 0xA8190173618F23ED, 9, 742, 8, PAGE, 16, 0, 65536, 2, b"test panic")
    header += struct.pack("<QQ390sQIIIQ", 1110000000, 5, utsname(b"2.6.10"), 0x1234, 1, 0, 0, 65536)
    rle = b"\0\xff\0" * 16
    pages = struct.pack("<QII", 0, len(rle), 2) + rle + struct.pack("<QII", 0x3000, PAGE, 1) + lcg(3)
    return header.ljust(65536, b"\0") + pages + struct.pack("<QII", 0, 0, 4)


#: What every LKCD page of the older files is made of: (address, bytes, flags); a raw page without bytes is zeros.
LKCD_PAGES = ((0, b"\0\xff\0" * 16, 2), (0x1000, b"", 1), (0x3000, lcg(3), 1))


def lkcd(version: int, rest: bytes, *, data_at: int = 65536, compress: int = 1, frames: bool = False
         ) -> bytes:
    """A file of formats.md 6: what all versions begin with, *rest* from byte 308 on, pages, an end mark."""
    head = struct.pack("<QIIIIQQQI256s", 0xA8190173618F23ED, version, 308 + len(rest), 8, PAGE, 16, 0, 65536, 3,
                       b"panic")
    pages = b""
    for address, data, flags in LKCD_PAGES:
        if flags == 2 and compress == 2:
            data = zlib.compress(bytes(PAGE))
        pages += struct.pack("<QII", address // PAGE if frames else address, len(data), flags) + data
    return (head + rest).ljust(data_at, b"\0") + pages + struct.pack("<QII", 0, 0, 4)


def old_32(machine: bytes, compress: int) -> bytes:
    """Versions 2 to 7 of 32 bits from byte 308 on: time, utsname, task, compress, flags, device."""
    return struct.pack("<II390s2xIIII", 1110000000, 5, utsname(b"2.4.20", machine), 0x1234, compress, 0, 0)


def old_64(machine: bytes, compress: int) -> bytes:
    """The same of 64 bits."""
    return struct.pack("<4xQQ390s2xQIIII", 1110000000, 5, utsname(b"2.4.20", machine), 0x1234, compress, 0, 0, 0)


def packed(machine: bytes, compress: int, buffer: int | None) -> bytes:
    """Versions 8 and later: all packed, the buffer's size from 9 on."""
    rest = struct.pack("<QQ390sQIII", 1110000000, 5, utsname(b"2.6.10", machine), 0x1234, compress, 0, 0)
    return rest if buffer is None else rest + struct.pack("<Q", buffer)


LKCD_FILES = {
    "v2 i386, RLE unsaid": (lkcd(2, old_32(b"i686", 0)), "LKCD v2", "i386"),
    "v3 x86_64, RLE unsaid": (lkcd(3, old_64(b"x86_64", 0)), "LKCD v3", "x86_64"),
    "v5 i386, gzip": (lkcd(5, old_32(b"i686", 2), compress=2), "LKCD v5", "i386"),
    "v7 i386, RLE": (lkcd(7, old_32(b"i686", 1)), "LKCD v7", "i386"),
    "v7 x86_64, gzip": (lkcd(7, old_64(b"x86_64", 2), compress=2), "LKCD v7", "x86_64"),
    "v7 MCLX": (lkcd(0x80000007, old_32(b"i686", 1), frames=True), "LKCD v7", "i386"),
    "v8 x86_64": (lkcd(8, packed(b"x86_64", 1, None)), "LKCD v8", "x86_64"),
    "v9 i386, 256 KiB": (lkcd(9, packed(b"i686", 2, 262144), data_at=262144, compress=2), "LKCD v9", "i386"),
    "v10 x86_64": (lkcd(10, packed(b"x86_64", 1, 131072), data_at=131072), "LKCD v10", "x86_64"),
}


def flattened(*records: tuple[int, bytes], end: bool = True) -> bytes:
    """A flattened file."""
    data = bytes.fromhex("6d616b6564756d7066696c6500000000" + "0000000000000001" * 2).ljust(PAGE, b"\0")
    for offset, piece in records:
        data += struct.pack(">qq", offset, len(piece)) + piece
    return data + b"\xff" * 16 if end else data


def pages_of(source: PageSource) -> dict[int, bytes]:
    """Every stored page."""
    found = {}
    for first, count in source.stored.runs():
        for pfn in range(first, first + count):
            found[pfn] = bytes(source.view(pfn * PAGE, PAGE))
    return found


def test_the_vectors_are_those_of_the_specification() -> None:
    """Lengths and CRCs."""
    assert (len(kdump_v6()), zlib.crc32(kdump_v6())) == (28744, 0xC18D022F)
    assert (len(lkcd_v9()), zlib.crc32(lkcd_v9())) == (69728, 0x9D6E8D24)
    assert [zlib.crc32(lcg(seed)) for seed in (1, 2, 3)] == [0x4641A512, 0x5F28FD3D, 0x251371F6]


@pytest.mark.parametrize("cuts", [None, (), (100, 4096, 16384, 20000)], ids=["plain", "one record", "records"])
def test_a_kdump_file(tmp_path: Path, cuts: tuple[int, ...] | None) -> None:
    """Version 6, as it is and behind flattened records; frame 2 was left out."""
    data = kdump_v6()
    if cuts is not None:
        edges = (0, *cuts, len(data))
        data = flattened(*((low, data[low:high]) for low, high in pairwise(edges)))
    path = tmp_path / "dump"
    path.write_bytes(data)
    with open_pages(str(path)) as source:
        assert (source.kind, source.abi.name, source.release, source.nodename, source.crashtime, source.dump_level) == (
            "KDUMP v6", "x86_64", "6.1.0", "testhost", 1700000000, 1)
        assert list(source.ram.runs()) == [(0, 4)]
        assert pages_of(source) == {0: bytes(PAGE), 1: lcg(1), 3: lcg(3)}
        assert (source.max_pfn, source.incomplete, source.cpus, source.vmcoreinfo) == (8, False, (), None)


@pytest.mark.parametrize("machine", KDUMP_MACHINES)
@pytest.mark.parametrize("version", range(7))
def test_every_version_of_kdump(version: int, machine: str, tmp_path: Path) -> None:
    """Members are read from the version on that has them, in both widths and byte orders."""
    path = tmp_path / "dump"
    path.write_bytes(kdump(version, machine))
    with open_pages(str(path)) as source:
        assert (source.kind, source.abi.name, source.nodename, source.crashtime, source.max_pfn) == (
            f"KDUMP v{version}", machine, "testhost", 1700000000, 8)
        assert source.dump_level == (31 if version >= 1 else 0)
        assert list(source.ram.runs()) == [(0, 4)]
        assert pages_of(source) == {pfn: lcg(pfn) for pfn in ((1, 3) if version >= 2 else (0, 1, 3))}
        assert source.vmcoreinfo == (KDUMP_VMCOREINFO if version >= 3 else None)
        assert [(cpu.cpu, cpu.pid, cpu.regs) for cpu in source.cpus] == (
            [(0, 42, registers(abi_named(machine), 0, 1))] if version >= 4 else [])


def test_an_lkcd_file(tmp_path: Path) -> None:
    """Version 9: a page in RLE, one raw."""
    path = tmp_path / "dump"
    path.write_bytes(lkcd_v9())
    with open_pages(str(path)) as source:
        assert (source.kind, source.abi.name, source.release, source.crashtime, source.incomplete) == (
            "LKCD v9", "x86_64", "2.6.10", 1110000000, False)
        assert pages_of(source) == {0: bytes(PAGE), 3: lcg(3)}


@pytest.mark.parametrize("name", LKCD_FILES)
def test_older_and_newer_lkcd_files(name: str, tmp_path: Path) -> None:
    """Where each version has its members; the compression that old ones imply; page headers with frame numbers."""
    data, kind, abi = LKCD_FILES[name]
    path = tmp_path / "dump"
    path.write_bytes(data)
    with open_pages(str(path)) as source:
        assert (source.kind, source.abi.name, source.nodename, source.crashtime, source.incomplete) == (
            kind, abi, "testhost", 1110000000, False)
        assert pages_of(source) == {0: bytes(PAGE), 1: bytes(PAGE), 3: lcg(3)}


def test_later_records_win(tmp_path: Path) -> None:
    """Where flattened records overlap; what none covers is zeros; without the end mark the file is not whole."""
    path = tmp_path / "flat"
    path.write_bytes(flattened((0, b"aaaaaaaa"), (2, b"bb"), (3, b"cc"), (12, b"d"), end=False))
    file = open_bytes(str(path))
    assert isinstance(file, FlattenedFile)
    assert (bytes(file.view(0, file.size)), file.complete) == (b"aabccaaa\0\0\0\0d", False)
    assert bytes(file.view(3, 3)) == b"cca"
    file.close()


def test_a_record_beyond_everything(tmp_path: Path) -> None:
    """A flattened file of a few bytes that speaks of petabytes is damaged: nobody tries to make that file."""
    path = tmp_path / "flat"
    path.write_bytes(flattened((0, b"\x7fELF"), (1 << 52, b"x")))
    with pytest.raises(FormatError, match=r"^[^ ]*flat: 4149 bytes with a flattened record for byte 4503599627370496"):
        open_pages(str(path))


def test_the_codecs_of_a_page() -> None:
    """zlib's stream of a zero page may differ from version to version; it is always one."""
    assert zlib.decompress(Codec.ZLIB.compressor()(bytes(PAGE))) == bytes(PAGE)
    assert X86_64.page_size == PAGE
