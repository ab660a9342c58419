"""Comparing a vmcore with the memory it is of."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from ddsdk.abi import X86_64
from ddsdk.drill import compare_with_source
from ddsdk.vmcore.elf import CoreSegment, layout_core
from ddsdk.vmcore.image import MemoryExtent, MemorySource

PAGE = 4096
PAGES = 600         # more than is compared at a time


def content(pages: int) -> bytearray:
    """Every page its own."""
    return bytearray(b"".join(n.to_bytes(4, "big") * (PAGE // 4) for n in range(1, pages + 1)))


def source(data: bytearray) -> MemorySource:
    """Memory at 1 MiB."""
    return MemorySource(X86_64, (MemoryExtent(1 << 20, len(data), memoryview(data)),), (), None, "memory")


def core(path: Path, pieces: dict[int, bytes]) -> str:
    """An ELF core with *pieces*: physical address -> bytes."""
    layout = layout_core(X86_64, [CoreSegment(paddr, len(data)) for paddr, data in pieces.items()], b"")
    with path.open("wb") as file:
        file.write(layout.header)
        for offset, data in zip(layout.offsets, pieces.values(), strict=True):
            file.seek(offset)
            file.write(data)
    return str(path)


@pytest.mark.parametrize("changed", [(), (0,), (5, 255, 256), (PAGES - 1,)])
def test_pages_that_differ_are_counted(tmp_path: Path, changed: tuple[int, ...]) -> None:
    """One byte of a page is enough."""
    data = content(PAGES)
    saved = bytearray(data)
    for page in changed:
        saved[page * PAGE + 17] ^= 1
    assert compare_with_source(core(tmp_path / "vmcore", {1 << 20: bytes(saved)}), source(data)) == len(changed)


def test_pages_that_are_missing_are_counted_too(tmp_path: Path) -> None:
    """A vmcore with a hole in it is not an error, it is a vmcore with pages missing."""
    data = content(PAGES)
    whole, low, high = bytes(data), 10 * PAGE, 17 * PAGE
    vmcore = core(tmp_path / "vmcore", {1 << 20: whole[:low], (1 << 20) + high: whole[high:-PAGE]})
    assert compare_with_source(vmcore, source(data)) == 7 + 1


def test_pages_of_nothing_are_no_excuse(tmp_path: Path) -> None:
    """Memory that the vmcore has besides does not count."""
    data = content(2)
    assert compare_with_source(core(tmp_path / "vmcore", {0: bytes(mmap.PAGESIZE), 1 << 20: bytes(data)}),
                               source(data)) == 0
