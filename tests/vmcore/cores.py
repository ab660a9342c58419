"""ELF cores put together by hand, so that a test can bend any field."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from attrs import evolve, frozen


@frozen
class Load:
    """One program header and the bytes of its segment."""

    paddr: int
    data: bytes = b""
    memsz: int | None = None
    vaddr: int = 0
    kind: int = 1
    offset: int | None = None
    filesz: int | None = None


def note(name: bytes, kind: int, desc: bytes, *, order: str = "<", count_nul: bool = True) -> bytes:
    """One note record."""
    namesz = len(name) + count_nul
    padded = name.ljust(-(-namesz // 4) * 4, b"\0")
    return struct.pack(f"{order}III", namesz, len(desc), kind) + padded + desc + bytes(-len(desc) % 4)


def elf64(loads: Sequence[Load], notes: bytes = b"", *, phoff: int = 64, e_type: int = 4, machine: int = 62,
          flags: int = 0, data: int = 1, phentsize: int = 56, phnum: int | None = None) -> bytes:
    """An ELF64 file: header, gap up to *phoff*, program headers, notes, segments back to back (not aligned)."""
    order = "<" if data == 1 else ">"
    headers = [Load(0, notes, kind=4), *loads]
    at = phoff + 56 * len(headers)
    table = body = b""
    for load in headers:
        load = evolve(load, offset=at if load.offset is None else load.offset,
                      filesz=len(load.data) if load.filesz is None else load.filesz)
        assert load.filesz is not None
        memsz = load.filesz if load.memsz is None else load.memsz
        table += struct.pack(f"{order}IIQQQQQQ", load.kind, 7, load.offset, load.vaddr, load.paddr, load.filesz,
                             memsz, 0)
        body += load.data
        at += len(load.data)
    ident = bytes([0x7F, *b"ELF", 2, data, 1]).ljust(16, b"\0")
    head = ident + struct.pack(f"{order}HHIQQQIHHHHHH", e_type, machine, 1, 0, phoff, 0, flags, 64, phentsize,
                               len(headers) if phnum is None else phnum, 0, 0, 0)
    return head.ljust(phoff, b"\0") + table + body
