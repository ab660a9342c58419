"""Formatting: every block signed, or one in N; devices that hold something are refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ddsdk.abi import ABIS, X86_64, Abi
from ddsdk.diskdump.format import format_device
from ddsdk.diskdump.record import FormatRecord
from ddsdk.diskdump.signature import SignatureKind, signature_blocks
from ddsdk.diskdump.target import DumpTarget
from ddsdk.errors import DeviceError, UsageError
from ddsdk.vmcore.source import open_source
from tests.diskdump.images import formatted, write_dump


def blank(path: Path, size: int) -> DumpTarget:
    """A file of zeros."""
    path.write_bytes(b"")
    os.truncate(path, size)
    return DumpTarget(str(path))


@pytest.mark.parametrize("kind", SignatureKind, ids=lambda kind: kind.value)
@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_every_block_is_signed(abi: Abi, kind: SignatureKind, tmp_path: Path) -> None:
    """Each block carries its signature, block 2 the format record over the start of its own."""
    target = blank(tmp_path / "d.img", 300 * abi.page_size)
    report = format_device(target, abi=abi, kind=kind)
    data, page = Path(target.path).read_bytes(), abi.page_size
    expected = bytearray(signature_blocks(kind, abi, 0, 300))
    expected[2 * page:2 * page + 64] = data[2 * page:2 * page + 64]
    assert data == expected
    assert FormatRecord.parse(data[2 * page:3 * page]) == FormatRecord(kind, abi, 300)
    assert (report.blocks, report.signed_blocks) == (300, 300)
    assert str(report) == f"{target}: 300 of 300 blocks of {page} bytes signed, {kind.value} signatures"


def test_large_device_is_signed_in_threads(tmp_path: Path) -> None:
    """Past 8 MiB threads share the work: every block is right, progress is complete and never falls."""
    target = blank(tmp_path / "d.img", 10_000 * 4096 + 1234)
    seen: list[tuple[int, int]] = []
    report = format_device(target, progress=lambda done, total: seen.append((done, total)))
    data = Path(target.path).read_bytes()
    assert report.blocks == 10_000
    assert data[3 * 4096:10_000 * 4096] == signature_blocks(SignatureKind.DESIGN, X86_64, 3, 9997)
    assert data[10_000 * 4096:] == bytes(1234)
    assert seen == sorted(seen)
    assert seen[-1] == (10_000, 10_000)


def test_sparse_format(tmp_path: Path) -> None:
    """--stride 16 signs the first and last 256 blocks and every 16th between; the rest stays as it was."""
    target = blank(tmp_path / "d.img", 1000 * 4096)
    report = format_device(target, stride=16)
    data = Path(target.path).read_bytes()
    signed = {n for n in range(1000) if n < 256 or n >= 744 or n % 16 == 0}
    for n in signed - {2}:
        assert data[n * 4096:(n + 1) * 4096] == signature_blocks(SignatureKind.DESIGN, X86_64, n, 1), n
    for n in set(range(1000)) - signed:
        assert data[n * 4096:(n + 1) * 4096] == bytes(4096), n
    assert report.signed_blocks == len(signed) == 543
    assert str(report).endswith("543 of 1000 blocks of 4096 bytes signed, design signatures (sparse: one block in 16)")


@pytest.mark.parametrize("blocks", [5, 255, 256, 257, 511, 512, 513])
def test_sparse_format_of_small_devices(blocks: int, tmp_path: Path) -> None:
    """Where first and last blocks meet, each is signed once and counted once."""
    target = blank(tmp_path / "d.img", blocks * 4096)
    report = format_device(target, stride=100)
    data = Path(target.path).read_bytes()
    assert report.signed_blocks == sum(1 for n in range(blocks) if any(data[n * 4096:(n + 1) * 4096]))


def test_nothing_outside_the_window_changes(tmp_path: Path) -> None:
    """A partition given by offset and size is signed from its own block 0; its neighbours keep every byte."""
    path = tmp_path / "disk.img"
    path.write_bytes(b"\x5a" * (400 * 4096))
    format_device(DumpTarget(str(path), 100 * 4096, 200 * 4096))
    data = path.read_bytes()
    assert data[:100 * 4096] == b"\x5a" * (100 * 4096)
    assert data[300 * 4096:] == b"\x5a" * (100 * 4096)
    assert data[103 * 4096:300 * 4096] == signature_blocks(SignatureKind.DESIGN, X86_64, 3, 197)


def test_window_off_the_page_grid(tmp_path: Path) -> None:
    """A partition that starts at an odd sector is signed all the same (without O_DIRECT)."""
    path = tmp_path / "disk.img"
    path.write_bytes(bytes(100 * 4096))
    format_device(DumpTarget(str(path), 63 * 512, 50 * 4096))
    data = path.read_bytes()[63 * 512:]
    assert data[3 * 4096:50 * 4096] == signature_blocks(SignatureKind.DESIGN, X86_64, 3, 47)
    assert not any(data[50 * 4096:])


@pytest.mark.parametrize(("size", "required", "message"), [
    (0, 5, "0 blocks of 4096 bytes, a dump needs 5: 5 are missing; choose a larger partition"),
    (4 * 4096 + 4095, 5, "4 blocks of 4096 bytes, a dump needs 5: 1 are missing"),
    (100 * 4096, 261909, "100 blocks of 4096 bytes, a dump needs 261909: 261809 are missing"),
])
def test_too_small(size: int, required: int, message: str, tmp_path: Path) -> None:
    """A device too small for any dump, or for the one that is planned, says how many blocks are missing."""
    target = blank(tmp_path / "d.img", size)
    with pytest.raises(DeviceError, match=message):
        format_device(target, required_blocks=required)
    assert not any(Path(target.path).read_bytes())


def test_what_is_there_is_refused_without_force(tmp_path: Path) -> None:
    """A LUKS volume is named and not touched; with force it is overwritten, and the report says what was."""
    target = blank(tmp_path / "d.img", 100 * 4096)
    with open(target.path, "r+b") as file:
        file.write(b"LUKS\xba\xbe\0\2")
    before = Path(target.path).read_bytes()
    with pytest.raises(DeviceError, match=r"d.img: holds a LUKS volume; formatting would destroy it \(--force"):
        format_device(target)
    assert Path(target.path).read_bytes() == before
    assert format_device(target, force=True).overridden == ("a LUKS volume",)


def test_unsaved_dump_is_refused_without_force(tmp_path: Path) -> None:
    """A dump that savecore has not taken yet is not formatted away by accident."""
    target = formatted(tmp_path / "d.img", 1200)
    with open_source("synthetic:4M") as source:
        write_dump(target, source)
    before = Path(target.path).read_bytes()
    with pytest.raises(DeviceError, match=r"holds a crash dump that has not been saved \(run `ddsdk savecore` first"):
        format_device(target)
    assert Path(target.path).read_bytes() == before
    format_device(target, force=True)


def test_formatting_again_needs_no_force(tmp_path: Path) -> None:
    """A formatted partition may be formatted again, in the other kind too: then no block of the old kind is left."""
    target = formatted(tmp_path / "d.img", 100, kind=SignatureKind.SHIPPED)
    format_device(target)
    data = Path(target.path).read_bytes()
    assert data[3 * 4096:] == signature_blocks(SignatureKind.DESIGN, X86_64, 3, 97)


@pytest.mark.parametrize("stride", [0, -1, (1 << 20) + 1])
def test_bad_stride(stride: int, tmp_path: Path) -> None:
    """A stride out of range is said before the device is opened."""
    with pytest.raises(UsageError, match=f"stride {stride}: it must be 1"):
        format_device(DumpTarget(str(tmp_path / "nowhere")), stride=stride)


def test_record_is_recognised_only_whole(tmp_path: Path) -> None:
    """A record with any bit flipped, or of a later version, is no record."""
    record = FormatRecord(SignatureKind.SHIPPED, X86_64, 12345, 64)
    wire = record.pack()
    assert len(wire) == 64
    assert FormatRecord.parse(wire) == record
    for bit in range(0, 512, 7):
        damaged = bytearray(wire)
        damaged[bit // 8] ^= 1 << bit % 8
        assert FormatRecord.parse(damaged) is None
    assert FormatRecord.parse(wire[:63]) is None


def test_record_layout() -> None:
    """The record's bytes, for whoever reads block 2 with another tool."""
    wire = FormatRecord(SignatureKind.DESIGN, X86_64, 0x1122334455, 16).pack()
    assert wire[:8] == b"DDFORMAT"
    assert wire[8:36].hex() == ("01000000" "01000000" "5544332211000000" "10000000" "00100000" "00010000")
    assert wire[40:56] == b"x86_64".ljust(16, b"\0")
