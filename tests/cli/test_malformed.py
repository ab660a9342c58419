"""Dump files that are damaged in ways that kill or fool today's readers (field.md 5.2): one line, exit code 4."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ddsdk
from tests.vmcore.hostile import samples
from tests.vmcore.test_vectors import flattened

PAGE = 4096
Bend = Callable[[bytearray], object]


def put(at: int, layout: str, *values: int) -> Bend:
    """Numbers written over a place."""
    return lambda data: struct.pack_into(layout, data, at, *values)


def cut(size: int) -> Bend:
    """All behind *size* bytes is gone."""
    return lambda data: data.__delitem__(slice(size, None))


def half(data: bytearray) -> None:
    """The second half is gone."""
    del data[len(data) // 2:]


def magic(word: bytes) -> Bend:
    """Another first word."""
    return lambda data: data.__setitem__(slice(0, 8), word)


#: name -> (good file, what is done to it, what is said; a verb other than info)
FILES: dict[str, tuple[str, Bend, str]] = {
    "bitmap_blocks 2**32-1": ("kdump-zlib", put(436, "<I", 0xFFFF_FFFF), "its bitmaps have 4294967295 blocks"),
    "cut to 8 KiB": ("kdump-zlib", cut(2 * PAGE), "its bitmaps end at byte"),
    "cut to 100 bytes": ("kdump-zlib", cut(100), "its header has 100 bytes; it is cut short"),
    "body of a KDUMP named DISKDUMP": ("kdump-zlib", magic(b"DISKDUMP"), "its version is 6; DISKDUMP files"),
    "block_size 0": ("kdump-zlib", put(428, "<i", 0), "its block size is 0"),
    "block_size 2**30": ("kdump-zlib", put(428, "<i", 1 << 30), "its block size is 1073741824"),
    "cut in half": ("kdump-none", half, "bytes are missing, it is cut short"),
    "sub header of 2**31-1 blocks": ("kdump-zlib", put(432, "<i", 0x7FFF_FFFF), "its sub header has 2147483647 blocks"),
    "max_mapnr_64 2**60": ("kdump-zlib", put(PAGE + 96, "<Q", 1 << 60), "it counts 1152921504606846976 page frames"),
    "notes beyond the end": ("kdump-zlib", put(PAGE + 48, "<qQ", 1 << 40, 4096), "its notes lie at bytes"),
    "version 99": ("kdump-zlib", put(8, "<i", 99), "its version is 99"),
    "stored, and no RAM": ("kdump-zlib", lambda data: data.__setitem__(slice(2 * PAGE, 3 * PAGE), bytes(PAGE)),
                           "pages are stored that are no RAM"),
    "ELF without PT_LOAD": ("elf", put(56, "<H", 1), "without any PT_LOAD"),
    "ELF of no machine": ("elf", put(18, "<H", 0x1234), "is none that ddsdk knows"),
    "ELF of type EXEC": ("elf", put(16, "<H", 2), "ET_CORE files"),
    "n_descsz 0xfffffff0": ("elf", lambda data: struct.pack_into("<I", data, notes_at(data) + 4, 0xFFFF_FFF0),
                            "the notes are damaged"),
    "ELF cut in half": ("elf", half, "it is cut short"),
    "ELF of 65520 segments": ("elf", put(56, "<H", 0xFFF0), "program headers end at byte"),
    "ELF that ends at 2**63": ("elf", put(64 + 56 + 24, "<Q", 1 << 63), "where no machine has memory"),
    "flattened record of -5 bytes": ("flat", put(PAGE + 8, ">q", -5), "flattened record 0"),
    "flattened version 7": ("flat", put(24, ">q", 7), "a flattened file of type 1, version 7"),
    "flattened header alone": ("flat", cut(64), "its header alone has 4096"),
    "LKCD of version 15": ("lkcd-GZIP", put(8, "<I", 15), "an LKCD dump of version 15"),
    "LKCD page of 1 GiB": ("lkcd-GZIP", put(65536 + 8, "<I", 1 << 30), "is for 1073741824 bytes"),
    "LKCD page at 2**62": ("lkcd-GZIP", put(65536, "<Q", 1 << 62), "the file is damaged there"),
}


def notes_at(data: bytearray) -> int:
    """Where the notes are."""
    return int(struct.unpack_from("<Q", data, 64 + 8)[0])


def good(name: str) -> bytearray:
    """The file before."""
    return bytearray(flattened((0, samples()["kdump-zlib"])) if name == "flat" else samples()[name])


@pytest.mark.parametrize("name", FILES)
def test_one_line_and_exit_4(name: str, ddsdk: Ddsdk, tmp_path: Path) -> None:
    """What, where, why; nothing on stdout, no traceback, nothing written."""
    base, bend, said = FILES[name]
    data, path = good(base), tmp_path / "dump"
    bend(data)
    path.write_bytes(data)
    for arguments in (("info", path), ("convert", path, tmp_path / "out")):
        ended = ddsdk(*arguments)
        assert (ended.code, ended.out) == (4, "")
        assert ended.err.count("\n") == 1
        assert ended.err.startswith(f"ddsdk: error: {path}: ")
        assert said in ended.err
    assert [file.name for file in tmp_path.iterdir()] == ["dump"]


def test_what_is_there_of_a_file_that_is_cut_short(ddsdk: Ddsdk, tmp_path: Path) -> None:
    """With --skip-damaged: the pages whose bytes are there, marked as not whole, exit code 1."""
    path, out = tmp_path / "dump", tmp_path / "out"
    data = good("kdump-none")
    half(data)
    path.write_bytes(data)
    ended = ddsdk("convert", path, out, "--skip-damaged")
    assert ended.code == 1
    assert ended.err.endswith(f"ddsdk: warning: {path} is not whole, and neither is {out}\n")
    told = ddsdk("info", out, "--json").out
    assert '"incomplete": true' in told
    assert '"stored_pages": 0' not in told


@pytest.mark.parametrize(("name", "bend"), [
    ("kdump-zlib", put(460, "<i", 0)), ("elf", put(48, "<I", 1)), ("kdump-zlib", put(424, "<I", 0x9))],
    ids=["nr_cpus 0", "ELF incomplete", "KDUMP incomplete"])
def test_what_is_odd_and_can_be_read(name: str, bend: Bend, ddsdk: Ddsdk, tmp_path: Path) -> None:
    """A count that nobody needs; a dump that says itself that it is not whole."""
    data, path = good(name), tmp_path / "dump"
    bend(data)
    path.write_bytes(data)
    ended = ddsdk("info", path)
    assert (ended.code, ended.err) == (0, "")
