"""Reading ELF cores with code that is not ddsdk's, and running crash over them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from attrs import frozen
from elftools.elf.elffile import ELFFile
from elftools.elf.segments import NoteSegment

from ddsdk.lab.crash import crash_says

COMPARED_BYTES = 1 << 20
PAGE_BYTES = 4096


@frozen
class Load:
    """A PT_LOAD: physical address, bytes in the file, where they are."""

    paddr: int
    size: int
    offset: int


def loads(path: Path) -> list[Load]:
    """The PT_LOAD segments of an ELF core, by physical address."""
    with path.open("rb") as file:
        segments = [s.header for s in ELFFile(file).iter_segments() if s.header.p_type == "PT_LOAD"]
    return sorted((Load(h.p_paddr, h.p_filesz, h.p_offset) for h in segments), key=lambda load: load.paddr)


def notes(path: Path) -> list[tuple[str, str, bytes]]:
    """(owner, type, descriptor) of every note."""
    with path.open("rb") as file:
        return [(note["n_name"], str(note["n_type"]), bytes(note["n_descdata"]))
                for segment in ELFFile(file).iter_segments() if isinstance(segment, NoteSegment)
                for note in segment.iter_notes()]


def memory(path: Path, ranges: Sequence[Load]) -> Iterator[tuple[int, bytes]]:
    """(physical address, up to 1 MiB) over *ranges*, read out of the core at *path*."""
    with path.open("rb") as file:
        for load in ranges:
            for at in range(0, load.size, COMPARED_BYTES):
                file.seek(load.offset + at)
                yield load.paddr + at, file.read(min(COMPARED_BYTES, load.size - at))


class CoreReader:
    """Physical memory of an ELF core, wherever its segments put it."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._loads = loads(path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, paddr: int, length: int) -> bytes:
        """The *length* bytes at *paddr*; fewer where the core ends or has a hole."""
        found = b""
        for load in self._loads:
            if load.paddr <= paddr < load.paddr + load.size:
                self._file.seek(load.offset + paddr - load.paddr)
                found = self._file.read(min(length, load.paddr + load.size - paddr))
                break
        if found and len(found) < length:
            return found + self.read(paddr + len(found), length - len(found))
        return found

    @property
    def pages(self) -> int:
        """Distinct pages the core holds."""
        frames: set[int] = set()
        for load in self._loads:
            frames.update(range(load.paddr // PAGE_BYTES, (load.paddr + load.size) // PAGE_BYTES))
        return len(frames)


def crash(vmlinux: Path, core: Path, commands: Sequence[str], directory: Path) -> list[str]:
    """What crash says to *commands*; the core is always called `core`, so that outputs can be compared."""
    return crash_says(vmlinux, core, commands, directory)
