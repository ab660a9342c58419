"""A made-up machine of any size: the same bytes for the same spec, and never more than 64 MiB of real memory.

One *tile* of pages - zeros, text, kernel-like pointers, random bytes - is made once, in an unlinked memory
file, and mapped over and over.  A tile is a prime number of pages long, so that no slip by a power of two (a
wrong chunk, a wrapped block number) lands on an equal page; and the first page of every tile is its own: it
names its page frame, so that a slip by whole tiles shows too.  Page content depends on seed, page size and
page frame number only.

The map is a PC's: a hole at 640 KiB-1 MiB, one at 3-4 GiB.
"""

from __future__ import annotations

import ctypes
import hashlib
import mmap
import os
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from attrs import frozen

from ddsdk.abi import X86_64, Abi, abi_named
from ddsdk.errors import DeviceError, UsageError
from ddsdk.sizes import parse_size

from . import vmcoreinfo as vmci
from .image import MAP_NORESERVE, MemoryExtent, MemorySource
from .notes import CpuNote

PREFIX = "synthetic:"
RELEASE = "6.1.0-synthetic"
#: 2004-11-09 11:33:20 UTC, the month of RHEL 4's kernel.
CRASHTIME = 1_100_000_000
HOLES = ((0xA_0000, 0x10_0000), (0xC000_0000, 0x1_0000_0000))
MAX_BYTES = 1 << 40
MAX_CPUS = 4096
_TILE_PAGES: Final = {4096: 16381, 8192: 8191, 16384: 4093, 65536: 1021}      # primes below 64 MiB
_GROUP_PAGES = 256
_MAP_FIXED = 0x10
_KINDS = ("zero", "text", "pointers", "random")
_SHARES = (0.3, 0.3, 0.2, 0.2)


@frozen
class SyntheticSpec:
    """`size_bytes` of RAM installed (the holes at 640 KiB take some of it), `cpus` CPUs."""

    size_bytes: int
    seed: int = 1
    abi: Abi = X86_64
    cpus: int = 1

    def __str__(self) -> str:
        return f"{PREFIX}{self.size_bytes},seed={self.seed},abi={self.abi.name},cpus={self.cpus}"


def parse_synthetic(spec: str, abi: Abi | None = None) -> SyntheticSpec:
    """`synthetic:64M,seed=2,abi=i386,cpus=2` -> SyntheticSpec; UsageError says which part is wrong."""
    size_text, *options = spec.removeprefix(PREFIX).split(",")
    values: dict[str, str] = {}
    for option in options:
        key, equals, value = option.partition("=")
        if key not in ("seed", "abi", "cpus") or not equals:
            raise UsageError(f"{spec!r}: option {option!r} is none of seed=, abi=, cpus=")
        values[key] = value
    machine = abi_named(values["abi"]) if "abi" in values else abi or X86_64
    if abi is not None and machine.name != abi.name:
        raise UsageError(f"{spec!r}: the memory of {machine.name}, not of {abi.name} as asked for")
    size = parse_size(size_text, f"{spec!r}: size")
    if not machine.page_size <= size <= MAX_BYTES or size % machine.page_size:
        raise UsageError(f"{spec!r}: {size} bytes; it must be whole pages of {machine.page_size} bytes, at most 1T")
    seed, cpus = (_number(spec, values, key, 1) for key in ("seed", "cpus"))
    if not 1 <= cpus <= MAX_CPUS:
        raise UsageError(f"{spec!r}: cpus={cpus}; it must be 1 to {MAX_CPUS}")
    return SyntheticSpec(size, seed, machine, cpus)


def _number(spec: str, values: dict[str, str], key: str, default: int) -> int:
    value = values.get(key, str(default))
    if not (value.isascii() and value.isdecimal()) or len(value) > 18:
        raise UsageError(f"{spec!r}: {key}={value!r} must be a positive number")
    return int(value)


def ram_map(size_bytes: int) -> list[tuple[int, int]]:
    """(paddr, bytes) of RAM when *size_bytes* are installed: what lies in the 3 GiB hole is moved to 4 GiB."""
    (vga, bios_end), (pci, high) = HOLES
    low = min(size_bytes, pci)
    pieces = [(0, min(low, vga)), (bios_end, low - bios_end), (high, size_bytes - low)]
    return [(paddr, size) for paddr, size in pieces if size > 0]


def open_synthetic(spec: SyntheticSpec) -> MemorySource:
    """The memory of *spec*.  DeviceError when the host has no memory file or no room for the mappings."""
    pattern = _Pattern.make(spec)
    try:
        extents = tuple(pattern.extent(paddr, size) for paddr, size in ram_map(spec.size_bytes))
    finally:
        os.close(pattern.fd)                # the mappings keep the file
    info = vmci.build({"OSRELEASE": RELEASE, "PAGESIZE": spec.abi.page_size, "CRASHTIME": CRASHTIME})
    cpus = tuple(CpuNote(cpu, registers(spec.abi, cpu, spec.seed), pid=0 if cpu else 1234) for cpu in range(spec.cpus))
    return MemorySource(spec.abi, extents, cpus, info, str(spec), nodename="synthetic")


def registers(abi: Abi, cpu: int, seed: int) -> bytes:
    """A register set that differs for every CPU and register: kernel text in the program counter, a kernel stack."""
    word = abi.word_bytes
    text, stack, flat = ((0xC010_0000, 0xF700_0000, 0xC000_0000) if word == 4 else
                         (0xFFFF_FFFF_8100_0000, 0xFFFF_C900_0000_0000, 0xFFFF_8880_0000_0000))
    fixed = {"cs": 0x60 if word == 4 else 0x10, "ss": 0x68 if word == 4 else 0x18, "eflags": 0x246,
             "ds": 0x7B if word == 4 else 0, "es": 0x7B if word == 4 else 0, "fs": 0, "gs": 0}
    out = b""
    for index, name in enumerate(abi.gregs):
        draw = int.from_bytes(hashlib.sha256(f"{seed}/{cpu}/{name}".encode()).digest()[:3], "big")
        if name in ("eip", "rip", "nip", "ip"):
            value = text + (draw & 0x3F_FFFC)
        elif name in ("esp", "rsp", "gpr1", "r12"):
            value = stack + cpu * 0x4000 + 0x3C00 + (draw & 0x3F8)
        else:
            value = fixed.get(name, flat + index * 0x100_0000 + (draw & ~7))
        out += (value & ((1 << 8 * word) - 1)).to_bytes(word, abi.byteorder)
    return out


@frozen
class _Pattern:
    """The memory file: pages 1, 2, ... of the tile, then one first page for every tile."""

    fd: int
    page: int
    tile_pages: int
    body_pages: int

    @classmethod
    def make(cls, spec: SyntheticSpec) -> _Pattern:
        """Create and fill the file."""
        page = spec.abi.page_size
        tile = _TILE_PAGES[page]
        paddr, size = ram_map(spec.size_bytes)[-1]
        frames = (paddr + size) // page
        body, tiles = min(frames, tile) - 1, -(-frames // tile)
        try:
            fd = os.memfd_create("ddsdk-synthetic", os.MFD_CLOEXEC)
            os.ftruncate(fd, (body + tiles) * page)
        except OSError as error:
            raise DeviceError(f"{spec}: no memory file from this host: {os.strerror(error.errno or 0)}") from None
        for first in range(0, body, _GROUP_PAGES):      # written, not mapped: it does not count as ours
            os.pwrite(fd, _group(spec, first, min(_GROUP_PAGES, body - first)).data, first * page)
        for number in range(tiles):
            first_page = _text(page, f"page frame {number * tile} of seed {spec.seed}. ")
            os.pwrite(fd, first_page, (body + number) * page)
        return cls(fd, page, tile, body)

    def extent(self, paddr: int, size: int) -> MemoryExtent:
        """*size* bytes of memory at *paddr*, the tile mapped over them piece by piece."""
        memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_NORESERVE)
        address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        for at, file_page, pages in self._pieces(paddr // self.page, size // self.page):
            _map_over(address + at * self.page, pages * self.page, self.fd, file_page * self.page)

        def drop(start: int, length: int) -> None:
            memory.madvise(mmap.MADV_DONTNEED, start - paddr, length)

        return MemoryExtent(paddr, size, memoryview(memory).toreadonly(), drop=drop)

    def _pieces(self, pfn: int, npages: int) -> Iterator[tuple[int, int, int]]:
        """(page in the extent, page in the file, pages) from frame *pfn* on."""
        at = 0
        while at < npages:
            number, inside = divmod(pfn + at, self.tile_pages)
            if inside:
                pages = min(npages - at, self.tile_pages - inside)
                yield at, inside - 1, pages
            else:
                pages = 1
                yield at, self.body_pages + number, 1
            at += pages


def _map_over(address: int, length: int, fd: int, offset: int) -> None:
    """mmap(2) with MAP_FIXED over a part of our own mapping, read only; the mmap module has no address argument."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_longlong)
    got = libc.mmap(address, length, mmap.PROT_READ, mmap.MAP_SHARED | _MAP_FIXED, fd, offset)
    if got != address:
        raise DeviceError(f"synthetic memory: mapping {length} bytes failed: {os.strerror(ctypes.get_errno())}; "
                          "is vm.max_map_count very low?")


def _text(page: int, line: str) -> bytes:
    return (line.encode() * (page // len(line) + 1))[:page]


def _group(spec: SyntheticSpec, first: int, count: int) -> npt.NDArray[np.uint8]:
    """Tile pages *first* + 1, ... : runs of zero, text, pointer and random pages."""
    page = spec.abi.page_size
    draw = np.random.Generator(np.random.PCG64([spec.seed, first]))
    kinds = np.repeat(draw.choice(len(_KINDS), size=_GROUP_PAGES, p=_SHARES), draw.integers(1, 9, size=_GROUP_PAGES))
    pages = np.zeros((count, page), np.uint8)
    for index in range(count):
        kind, frame = _KINDS[kinds[index]], first + index + 1
        if kind == "text":
            pages[index] = np.frombuffer(_text(page, f"page frame {frame} of seed {spec.seed}, text. "), np.uint8)
        elif kind == "pointers":
            words = np.arange(page // 8, dtype=np.uint64) * np.uint64(64)
            pages[index] = (words + np.uint64(0xFFFF_8880_0000_0000 + frame * page)).view(np.uint8)
        elif kind == "random":
            pages[index] = np.frombuffer(draw.bytes(page), np.uint8)
    return pages
