"""A live machine's memory through /proc/kcore: what it is this instant, page after page, while it goes on.

The file is an ELF core of the kernel's virtual memory; its PT_LOADs of the direct map carry physical addresses, the
others (text, vmalloc, vmemmap) all ones in their place (Linux `fs/proc/kcore.c`; old kernels had 0 everywhere).  It
cannot be mapped, and it is never the same twice; pages that the kernel refuses to show read as zeros and are counted.
"""

from __future__ import annotations

import os
import struct
from contextlib import suppress
from functools import cached_property

from attrs import frozen

from ddsdk.abi import abi_for_elf
from ddsdk.errors import DeviceError, FormatError

from .elfread import KERNEL_IMAGE_VADDR, MAX_NOTES_BYTES
from .image import MAX_PADDR
from .notes import NT_PRPSINFO, NT_PRSTATUS, VMCOREINFO, CpuNote, Note, cpus_and_vmcoreinfo, parse_notes
from .pagemap import PageMap
from .pages import PackedSource
from .vmcoreinfo import parse

MAX_SEGMENTS = 1 << 16
PT_LOAD, PT_NOTE = 1, 4
#: p_paddr of what has no physical address of its own.
NO_PADDR = (1 << 64) - 1


@frozen
class KcoreSegment:
    """`size` bytes of physical memory at `paddr` are at `offset` of the file."""

    paddr: int
    size: int
    offset: int


class KcoreSource(PackedSource):
    """Memory behind /proc/kcore (the protocol: pages.py).

    `unreadable` counts the pages that the kernel kept to itself.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self.origin, self.kind = path, "/proc/kcore"
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise DeviceError(f"{path}: cannot be opened: {os.strerror(error.errno or 0)}; a live dump needs a kernel "
                              "with CONFIG_PROC_KCORE and CAP_SYS_RAWIO") from None
        try:
            self._read_headers()
        except BaseException:
            os.close(self._fd)
            raise
        self.dump_level, self.incomplete, self.unreadable = 0, False, 0
        self.nodename = os.uname().nodename if path.startswith("/proc/") else ""
        self.crashtime: int | None = None

    def _read_headers(self) -> None:
        head = self._pread(64, 0)
        if len(head) < 64 or head[:6] != b"\x7fELF\x02\x01":
            raise FormatError(f"{self.origin}: no 64-bit little-endian ELF file; /proc/kcore is one on every machine "
                              "whose live memory is read")
        kind, machine = struct.unpack_from("<HH", head, 16)
        phoff, = struct.unpack_from("<Q", head, 32)
        count, = struct.unpack_from("<H", head, 56)
        abi = abi_for_elf(machine, "little")
        if kind != 4 or abi is None or not 0 < count <= MAX_SEGMENTS:
            raise FormatError(f"{self.origin}: an ELF file of type {kind}, machine {machine}, with {count} program "
                              "headers; /proc/kcore is a core of this machine")
        self.abi = abi
        table, notes, segments = self._pread(count * 56, phoff), b"", list[KcoreSegment]()
        for kind, _, offset, vaddr, paddr, filesz, _, _ in struct.iter_unpack("<IIQQQQQQ", table):
            if kind == PT_NOTE and filesz <= MAX_NOTES_BYTES:
                notes += self._pread(filesz, offset)
            elif kind == PT_LOAD and vaddr < KERNEL_IMAGE_VADDR and paddr != NO_PADDR and paddr + filesz <= MAX_PADDR:
                segments.append(KcoreSegment(paddr, filesz - filesz % abi.page_size, offset))
        if not segments or len(segments) != len({segment.paddr for segment in segments}):
            raise FormatError(f"{self.origin}: its segments have no physical addresses: the kernel is too old")
        self._segments = sorted(segments, key=lambda segment: segment.paddr)
        # no CPU has stopped; the empty registers among the notes stay, because crash opens no file without any
        self.notes: tuple[Note, ...] = tuple(note for note in parse_notes(abi, notes)
                                             if note.name == VMCOREINFO or note.type in (NT_PRSTATUS, NT_PRPSINFO))
        self.cpus: tuple[CpuNote, ...] = ()
        self.vmcoreinfo = cpus_and_vmcoreinfo(abi, self.notes)[1]
        self.release = parse(self.vmcoreinfo).get("OSRELEASE", "")

    @cached_property
    def ram(self) -> PageMap:  # type: ignore[override]
        """The page frames of the direct map."""
        page = self.page_size
        top = self._segments[-1]
        return PageMap.of_runs(((segment.paddr // page, segment.size // page) for segment in self._segments),
                               (top.paddr + top.size) // page)

    @property
    def stored(self) -> PageMap:  # type: ignore[override]
        """The same."""
        return self.ram

    def read_frames(self, first: int, count: int, into: memoryview) -> None:
        """What they are now; pages that cannot be read are zeros."""
        page, at, end = self.page_size, first * self.page_size, (first + count) * self.page_size
        for segment in self._segments:
            low, high = max(at, segment.paddr), min(end, segment.paddr + segment.size)
            if low < high:
                self._fill(segment.offset + low - segment.paddr, into[low - at:high - at], page)

    def _fill(self, offset: int, into: memoryview, page: int) -> None:
        with suppress(OSError):
            if os.preadv(self._fd, [into], offset) == len(into):
                return
        for at in range(0, len(into), page):
            try:
                done = os.preadv(self._fd, [into[at:at + page]], offset + at)
            except OSError:
                done = 0
            if done != page:
                into[at:at + page] = bytes(page)
                self.unreadable += 1

    def _pread(self, size: int, offset: int) -> bytes:
        try:
            return os.pread(self._fd, size, offset)
        except OSError as error:
            raise DeviceError(f"{self.origin}: cannot be read at byte {offset}: {os.strerror(error.errno or 0)}"
                              ) from None

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)
