"""A live machine's memory, by a file that looks like /proc/kcore."""

from __future__ import annotations

from pathlib import Path

import pytest

from ddsdk.errors import DeviceError, FormatError
from ddsdk.vmcore.kcore import KcoreSource
from ddsdk.vmcore.source import open_pages
from tests.vmcore.cores import Load, elf64, note

PAGE = 4096
INFO = b"OSRELEASE=6.1.0\nPAGESIZE=4096\n"
NOTES = note(b"CORE", 1, bytes(336)) + note(b"CORE", 4, bytes(64)) + note(b"VMCOREINFO", 0, INFO)
DIRECT = 0xFFFF_8880_0000_0000


def with_paddrs(loads: list[Load]) -> bytes:
    """A core whose paddr -1 are those of a kernel's virtual ranges."""
    return elf64(loads, NOTES)


def kcore(tmp_path: Path) -> Path:
    """Text, vmalloc, two pieces of RAM."""
    path = tmp_path / "kcore"
    path.write_bytes(with_paddrs([
        Load((1 << 64) - 1, b"v" * PAGE, vaddr=0xFFFF_C900_0000_0000),
        Load(0x0100_0000, b"t" * PAGE, vaddr=0xFFFF_FFFF_8100_0000),
        Load(0x10_0000, b"b" * PAGE + b"c" * PAGE, vaddr=DIRECT + 0x10_0000),
        Load(0x1000, b"a" * PAGE, vaddr=DIRECT + 0x1000)]))
    return path


def test_the_direct_map_is_the_memory(tmp_path: Path) -> None:
    """By physical address; the kernel's other ranges are views of the same pages."""
    with open_pages(f"kcore:{kcore(tmp_path)}") as source:
        assert list(source.ram.runs()) == [(1, 1), (0x100, 2)]
        assert [bytes(source.view(at, 2)) for at in (0x1000, 0x10_0FFF)] == [b"aa", b"bc"]
        assert (source.kind, source.release, source.vmcoreinfo, source.cpus) == ("/proc/kcore", "6.1.0", INFO, ())
        buffer = bytearray(2 * PAGE)
        source.read_frames(0x100, 2, memoryview(buffer))
        assert bytes(buffer) == b"b" * PAGE + b"c" * PAGE


def test_a_page_that_the_kernel_keeps_to_itself_is_zeros(tmp_path: Path) -> None:
    """And counted: here the file ends before it."""
    path = kcore(tmp_path)
    path.write_bytes(path.read_bytes()[:-PAGE])
    with KcoreSource(str(path)) as source:
        assert bytes(source.view(0x1000, 4)) == bytes(4)
        assert source.unreadable == 1


@pytest.mark.parametrize(("loads", "said"), [
    ([Load(0, bytes(PAGE), vaddr=DIRECT), Load(0, bytes(PAGE), vaddr=DIRECT + PAGE)], "the kernel is too old"),
    ([Load((1 << 64) - 1, bytes(PAGE), vaddr=DIRECT)], "the kernel is too old")])
def test_without_physical_addresses(tmp_path: Path, loads: list[Load], said: str) -> None:
    """Nothing tells where its segments are."""
    path = tmp_path / "kcore"
    path.write_bytes(with_paddrs(loads))
    with pytest.raises(FormatError, match=said):
        KcoreSource(str(path))


def test_where_there_is_none(tmp_path: Path) -> None:
    """A line that says what it takes; something else is no kcore."""
    with pytest.raises(DeviceError, match="cannot be opened: No such file or directory; a live dump needs"):
        KcoreSource(str(tmp_path / "none"))
    (tmp_path / "text").write_text("hello")
    with pytest.raises(FormatError, match="no 64-bit little-endian ELF file"):
        KcoreSource(str(tmp_path / "text"))
