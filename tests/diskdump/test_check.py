"""The verdict on a device, block by block."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from ddsdk.abi import ABIS, IA64, PPC64, X86_64, Abi
from ddsdk.diskdump.check import BlockRun, CheckReport, Verdict, check_device
from ddsdk.diskdump.header import Status
from ddsdk.diskdump.probe import Host
from ddsdk.diskdump.record import FormatRecord
from ddsdk.diskdump.resign import Marker
from ddsdk.diskdump.signature import SignatureKind, signature_blocks
from ddsdk.diskdump.target import DumpTarget
from ddsdk.errors import DeviceError
from ddsdk.vmcore.source import open_source
from tests.diskdump.images import formatted, write_dump

DESIGN, SHIPPED = SignatureKind.DESIGN, SignatureKind.SHIPPED


def overwrite(target: DumpTarget, offset: int, data: bytes) -> None:
    """Change bytes of the device."""
    with target.open(write=True) as file:
        file.write(offset, data)


def flip(target: DumpTarget, offset: int) -> None:
    """Flip one bit."""
    with target.open() as file:
        byte = file.read(offset, 1)[0]
    overwrite(target, offset, bytes([byte ^ 0x20]))


@pytest.mark.parametrize("kind", SignatureKind, ids=lambda kind: kind.value)
@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_ready(abi: Abi, kind: SignatureKind, tmp_path: Path) -> None:
    """A formatted device is ready; its kind and machine are recognised and named."""
    target = formatted(tmp_path / "d.img", 300, abi=abi, kind=kind)
    report = check_device(target)
    assert (report.verdict, report.ready, report.kind) == (Verdict.READY, True, kind)
    assert (report.blocks, report.checked_blocks, report.first_bad) == (300, 299, None)
    assert report.abi == abi
    assert report.why == f"{target}: ready; 299 of 300 blocks checked, all carry {kind.value} signatures"


@pytest.mark.parametrize(("abi", "name"), [(X86_64, "x86_64"), (IA64, "ia64"), (PPC64, "ppc64")])
def test_machine_is_recognised_without_a_record(abi: Abi, name: str, tmp_path: Path) -> None:
    """A device that the original formatter signed, block 2 included: page size and byte order are found."""
    target = formatted(tmp_path / "d.img", 100, abi=abi, kind=SHIPPED)
    overwrite(target, 2 * abi.page_size, bytes(signature_blocks(SHIPPED, abi, 2, 1)))
    report = check_device(target)
    assert (report.verdict, report.kind) == (Verdict.READY, SHIPPED)
    assert report.abi is not None
    assert (report.abi.name, report.abi.page_size) == (name, abi.page_size)


@pytest.mark.parametrize("block", [1, 3, 255, 2047, 2999])
def test_one_flipped_bit(block: int, tmp_path: Path) -> None:
    """One wrong bit in a large device is found by a full check, which names its block."""
    target = formatted(tmp_path / "d.img", 3000)
    flip(target, block * 4096 + 1234)
    report = check_device(target)
    assert (report.verdict, report.first_bad) == (Verdict.NEEDS_FORMAT, block)
    assert report.why == f"{target}: bad signature in block {block}: it carries a damaged signature"


def test_flipped_bit_in_block_0(tmp_path: Path) -> None:
    """Block 0 is written by the initial format only: that is what is needed."""
    target = formatted(tmp_path / "d.img", 100)
    flip(target, 100)
    report = check_device(target)
    assert (report.verdict, report.first_bad) == (Verdict.NEEDS_INITIAL_FORMAT, 0)


def test_sampling_looks_where_the_dump_looks(tmp_path: Path) -> None:
    """With sample_rate 8 a bad block inside a sampled chunk is found, one between two is not."""
    target = formatted(tmp_path / "d.img", 3000)
    flip(target, 1026 * 4096)
    assert check_device(target, sample_rate=8).first_bad == 1026
    flip(target, 1026 * 4096)
    flip(target, 1028 * 4096)
    report = check_device(target, sample_rate=8)
    assert report.ready
    assert report.checked_blocks == 15
    assert check_device(target).first_bad == 1028


def test_no_sampling(tmp_path: Path) -> None:
    """A negative rate looks at the first two blocks only."""
    target = formatted(tmp_path / "d.img", 3000)
    flip(target, 5 * 4096)
    assert check_device(target, sample_rate=-1).checked_blocks == 2
    assert check_device(target, sample_rate=-1).ready


def test_block_by_block(tmp_path: Path) -> None:
    """per_block tells every block: signed, the record, bad ones; neighbours together."""
    target = formatted(tmp_path / "d.img", 5000)
    for block in (10, 11, 4999):
        flip(target, block * 4096)
    report = check_device(target, per_block=True)
    assert report.runs == (
        BlockRun(0, 2, "signed"), BlockRun(2, 1, "record"), BlockRun(3, 7, "signed"), BlockRun(10, 2, "bad"),
        BlockRun(12, 4987, "signed"), BlockRun(4999, 1, "bad"))
    assert report.why == f"{target}: bad signature in block 10: it carries no signature (3 bad blocks in all)"
    assert report.describe()["runs"] == [
        {"start": run.start, "count": run.count, "what": run.what, "step": 1} for run in report.runs]


def test_sparse_format(tmp_path: Path) -> None:
    """Of a sparse format only the signed blocks count; the report says so, block by block in steps."""
    target = formatted(tmp_path / "d.img", 3000, stride=32)
    report = check_device(target, per_block=True)
    assert report.why.endswith("all carry design signatures (sparse: one block in 32)")
    assert report.runs[2:] == (BlockRun(3, 254, "signed"), BlockRun(288, 77, "signed", step=32),
                               BlockRun(2744, 256, "signed"))
    flip(target, 1000 * 4096)
    assert check_device(target).ready
    flip(target, 1024 * 4096)
    assert check_device(target).first_bad == 1024
    assert check_device(target, sample_rate=8).first_bad == 1024


def test_kinds_are_not_mixed(tmp_path: Path) -> None:
    """A block of the other kind is a bad block, and is called what it is."""
    target = formatted(tmp_path / "d.img", 100)
    overwrite(target, 50 * 4096, bytes(signature_blocks(SHIPPED, X86_64, 50, 1)))
    assert check_device(target).why == (
        f"{target}: bad signature in block 50: it carries a shipped signature, the blocks before it design ones: "
        "a device carries one kind")


def test_another_partition(tmp_path: Path) -> None:
    """A window that starts at the wrong place shows another partition's signatures, and by how much."""
    whole = formatted(tmp_path / "d.img", 300)
    report = check_device(DumpTarget(whole.path, 100 * 4096))
    assert report.verdict is Verdict.NEEDS_INITIAL_FORMAT
    assert "block 0 carries the signature of block 100 (design): it was formatted as another partition, shifted by " \
           "100 blocks" in report.why


def test_another_size(tmp_path: Path) -> None:
    """A device that grew or shrank since it was formatted is not the one that was formatted."""
    target = formatted(tmp_path / "d.img", 300)
    report = check_device(DumpTarget(target.path, 0, 200 * 4096))
    assert report.verdict is Verdict.NEEDS_INITIAL_FORMAT
    assert "formatted as a partition of 300 blocks, it has 200" in report.why


def test_required_blocks(tmp_path: Path) -> None:
    """A device too small for the dump in mind says how much is missing."""
    target = formatted(tmp_path / "d.img", 300)
    report = check_device(target, blocks=1000)
    assert report.verdict is Verdict.UNSUITABLE
    assert report.why == f"{target}: 300 blocks, 1000 are required: 700 are missing"
    assert check_device(target, blocks=300).checked_blocks == 299
    assert check_device(target, blocks=100).checked_blocks == 99


@pytest.mark.parametrize(("content", "verdict", "why"), [
    (b"", Verdict.NEEDS_INITIAL_FORMAT, "not a dump partition: block 0 is all zeros; `ddsdk format` makes it one"),
    (b"\x01" * 4096, Verdict.NEEDS_INITIAL_FORMAT, "not a dump partition: block 0 carries no signature"),
    (b"diskdump", Verdict.NEEDS_INITIAL_FORMAT, "block 0 carries a damaged signature"),
    (b"XFSB", Verdict.UNSUITABLE, "holds an XFS file system"),
])
def test_other_content(content: bytes, verdict: Verdict, why: str, tmp_path: Path) -> None:
    """What is no dump partition is called what it is."""
    path = tmp_path / "d.img"
    path.write_bytes(content.ljust(1 << 20, b"\0"))
    report = check_device(DumpTarget(str(path)))
    assert report.verdict is verdict
    assert why in report.why


@pytest.mark.parametrize(("status", "how"), [(Status.COMPLETED, "complete"), (Status.INCOMPLETED, "not finished")])
def test_contains_a_dump(status: Status, how: str, tmp_path: Path) -> None:
    """A dump waiting to be saved is told, whatever its state."""
    target = formatted(tmp_path / "d.img", 1200, kind=SHIPPED)
    with open_source("synthetic:4M") as source:
        write_dump(target, source, status=status)
    report = check_device(target)
    assert (report.verdict, report.kind) == (Verdict.CONTAINS_DUMP, SHIPPED)
    assert report.why == f"{target}: contains a dump ({how}, 928 pages of x86_64); run `ddsdk savecore` first"


def test_dump_on_swap(tmp_path: Path) -> None:
    """A dump behind a swap header is told apart: formatting would take the swap space."""
    target = formatted(tmp_path / "d.img", 1200)
    with open_source("synthetic:4M") as source:
        write_dump(target, source)
    header = bytearray(4096)
    struct.pack_into("<II", header, 1024, 1, 1199)
    header[4086:] = b"SWAPSPACE2"
    overwrite(target, 0, bytes(header))
    assert check_device(target).verdict is Verdict.SWAP_WITH_DUMP


def test_damaged_dump_header(tmp_path: Path) -> None:
    """A header that cannot be is still a dump that somebody may want: one line, no exception."""
    target = formatted(tmp_path / "d.img", 100)
    overwrite(target, 4096, b"DISKDUMP".ljust(4096, b"\xff"))
    report = check_device(target)
    assert report.verdict is Verdict.CONTAINS_DUMP
    assert "the header is damaged" in report.why


def test_interrupted_savecore(tmp_path: Path) -> None:
    """The marker of a savecore that was stopped while it signed: the remedy is savecore again."""
    target = formatted(tmp_path / "d.img", 100)
    overwrite(target, 4096, Marker(FormatRecord(DESIGN, X86_64, 100), 50).pack())
    report = check_device(target)
    assert report.verdict is Verdict.NEEDS_FORMAT
    assert report.why.endswith("(its dump is saved); run `ddsdk savecore` again")


def test_in_use(tmp_path: Path) -> None:
    """A device in use is not even read."""
    target = formatted(tmp_path / "d.img", 100)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/swaps").write_text(f"Filename Type Size Used Priority\n{target.path} file 1 0 -2\n")
    report = check_device(target, host=Host(tmp_path / "proc", tmp_path / "sys"))
    assert (report.verdict, report.why) == (Verdict.IN_USE, f"{target}: it is a swap file in use")


@pytest.mark.parametrize("size", [0, 100, 4096, 8191])
def test_tiny_devices(size: int, tmp_path: Path) -> None:
    """A device of less than three blocks is unsuitable, and nothing else happens."""
    path = tmp_path / "d.img"
    path.write_bytes(bytes(size))
    report = check_device(DumpTarget(str(path)))
    assert report.verdict is Verdict.UNSUITABLE
    assert report.why == f"{path}: {size // 4096} blocks of 4096 bytes hold no dump"


def test_missing_device(tmp_path: Path) -> None:
    """What is not there is a DeviceError that names it."""
    with pytest.raises(DeviceError, match=r"nothing.img: cannot open for reading: No such file or directory"):
        check_device(DumpTarget(str(tmp_path / "nothing.img")))


def test_nothing_is_written(tmp_path: Path) -> None:
    """Checking never changes a device, cached or not, formatted or not."""
    target = formatted(tmp_path / "d.img", 3000)
    flip(target, 77 * 4096)
    before = (Path(target.path).read_bytes(), os.stat(target.path).st_mtime_ns)
    reports: list[CheckReport] = [check_device(target, sample_rate=rate) for rate in (0, 3, -1)]
    assert [report.first_bad for report in reports] == [77, None, None]
    assert (Path(target.path).read_bytes(), os.stat(target.path).st_mtime_ns) == before


def test_exit_codes_of_diskdumpfmt() -> None:
    """The verdicts carry `diskdumpfmt -c`'s exit codes."""
    assert [verdict.value for verdict in Verdict] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert Verdict.NEEDS_INITIAL_FORMAT.words == "needs initial format"
