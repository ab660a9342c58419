"""Reading a partition back: what is there, how much of it, and headers that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ddsdk.abi import ABIS, IA64, PPC64, X86_64, Abi
from ddsdk.diskdump.header import Status
from ddsdk.diskdump.notes import with_record
from ddsdk.diskdump.partition import DumpState, PageRun, PartitionDump, read_partition
from ddsdk.diskdump.record import FormatRecord
from ddsdk.diskdump.signature import SignatureKind, signature_blocks
from ddsdk.diskdump.target import DumpTarget
from ddsdk.errors import FormatError
from ddsdk.vmcore.dumpheader import DiskDumpHeader
from ddsdk.vmcore.source import open_source
from tests.diskdump.images import formatted, write_dump

#: 4 MiB of RAM less the hole: 928 pages of 4 KiB, 160 before the hole and 768 behind it
SPEC = "synthetic:4M,cpus=2"


def dumped(path: Path, *, abi: Abi = X86_64, stride: int = 1, **how: object) -> DumpTarget:
    """A formatted partition with a dump of SPEC on it; *how* goes to write_dump."""
    target = formatted(path, 1200, abi=abi, stride=stride)
    with open_source(f"{SPEC},abi={abi.name}") as source:
        write_dump(target, source, **how)           # type: ignore[arg-type]
    return target


@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_complete_dump_of_every_machine(abi: Abi, tmp_path: Path) -> None:
    """The machine is recognised by its header; every page has its block; the device's format is known."""
    dump = read_partition(dumped(tmp_path / "d.img", abi=abi))
    first = 0xA0000 // abi.page_size
    rest = (4 << 20) // abi.page_size - 0x100000 // abi.page_size
    assert dump.state is DumpState.COMPLETE
    assert dump.dump.abi.name == abi.name
    assert dump.pages == (PageRun(4, 0, first), PageRun(4 + first, 0x100000 // abi.page_size, rest))
    assert dump.why == f"{tmp_path / 'd.img'}: complete dump, {first + rest} of {first + rest} pages"
    assert dump.record is not None
    assert (dump.record.abi.name, dump.record.device_blocks, dump.warnings) == (abi.name, 1200, ())


def test_a_kernel_with_another_page_size(tmp_path: Path) -> None:
    """A 4 KiB-page ia64 kernel is told from x86_64 by its utsname."""
    target = dumped(tmp_path / "d.img")
    with target.open(write=True) as file:
        machine = DiskDumpHeader.on(X86_64).offsetof("utsname.machine")
        file.write(4096 + machine, b"ia64".ljust(65, b"\0"))
    dump = read_partition(target)
    assert (dump.dump.abi.name, dump.dump.abi.page_size) == ("ia64", 4096)


def test_no_dump(tmp_path: Path) -> None:
    """A formatted partition holds no dump, and its kind of signature is still told."""
    target = formatted(tmp_path / "d.img", 100, kind=SignatureKind.SHIPPED)
    dump = read_partition(target)
    assert (dump.state, dump.kind) == (DumpState.NONE, SignatureKind.SHIPPED)
    assert dump.why == f"{target}: no dump header in block 1"
    with pytest.raises(FormatError, match="no dump header"):
        _ = dump.dump


def test_interrupted_in_order(tmp_path: Path) -> None:
    """A dump stopped after 20 chunks of 16: exactly their 320 pages are there."""
    dump = read_partition(dumped(tmp_path / "d.img", status=Status.INCOMPLETED, wanted=lambda n: n < 20))
    assert dump.state is DumpState.INCOMPLETE
    assert dump.pages == (PageRun(4, 0, 160), PageRun(164, 256, 160))
    assert (dump.written_pages, dump.uncertain_pages, dump.touched_end) == (320, 0, 324)


def test_interrupted_out_of_order(tmp_path: Path) -> None:
    """With commands in flight the end is ragged: holes are found, pages behind them kept."""
    dump = read_partition(dumped(tmp_path / "d.img", status=Status.INCOMPLETED, wanted=lambda n: n in {0, 1, 3, 6}))
    assert dump.pages == (PageRun(4, 0, 32), PageRun(52, 48, 16), PageRun(100, 96, 16))
    assert dump.touched_end == 116


def test_torn_page_is_not_there(tmp_path: Path) -> None:
    """A page of which one sector is missing was not written; the block is known to be touched."""
    target = dumped(tmp_path / "d.img", status=Status.INCOMPLETED, wanted=lambda n: n < 2)
    with target.open(write=True) as file:
        signature = bytes(signature_blocks(SignatureKind.DESIGN, X86_64, 35, 1))
        file.write(36 * 4096 - 512, signature[-512:])               # the last sector never arrived
        file.write(36 * 4096, b"\xa5" * 512)                        # and only the first one of the next block
    dump = read_partition(target)
    assert dump.pages == (PageRun(4, 0, 31),)
    assert dump.touched_end == 37


def test_nothing_but_the_header(tmp_path: Path) -> None:
    """A dump that stopped before its memory: incomplete, no pages, no registers invented."""
    dump = read_partition(dumped(tmp_path / "d.img", header_only=True))
    assert (dump.state, dump.pages, dump.sub, dump.touched_end) == (DumpState.INCOMPLETE, (), None, 4)
    assert dump.why.endswith("the dump stopped before any page was written")


def test_all_pages_but_no_final_header(tmp_path: Path) -> None:
    """Every page was written but not the last header: the pages are all there, the dump is still incomplete."""
    dump = read_partition(dumped(tmp_path / "d.img", status=Status.INCOMPLETED))
    assert (dump.state, dump.written_pages) == (DumpState.INCOMPLETE, 928)


def test_sparse_format_gives_an_upper_bound(tmp_path: Path) -> None:
    """Between a written and an untouched mark there is no telling: those pages are counted, and left out."""
    target = dumped(tmp_path / "d.img", stride=64, status=Status.INCOMPLETED, wanted=lambda n: n < 20)
    dump = read_partition(target)
    assert dump.pages == (PageRun(4, 0, 160), PageRun(164, 256, 157))       # up to block 320, a mark
    assert dump.uncertain_pages == 63                                       # blocks 321 to 383
    assert dump.why.endswith("317 of 928 pages were written (up to 63 more may be there: the format is sparse)")


def test_sparse_format_without_a_record(tmp_path: Path) -> None:
    """A kernel that overwrites the record leaves the marks: their pattern shows that the format is sparse."""
    target = dumped(tmp_path / "d.img", stride=64, status=Status.INCOMPLETED, wanted=lambda n: n < 20)
    with target.open(write=True) as file:
        block = bytearray(file.read(2 * 4096, 4096))
        block[256:] = bytes(4096 - 256)                                     # no notes area, as RHEL leaves it
        file.write(2 * 4096, block)
    dump = read_partition(target)
    assert dump.record is None
    assert (dump.written_pages, dump.uncertain_pages) == (317, 63)


def test_stale_pages_of_an_older_dump(tmp_path: Path) -> None:
    """Blocks that look written far behind the end are older than this dump: left out, and said."""
    path = tmp_path / "d.img"
    target = formatted(path, 66_400)
    with open_source("synthetic:260M") as source:
        write_dump(target, source, status=Status.INCOMPLETED, wanted=lambda n: n < 10)
    with target.open(write=True) as file:
        file.write(66_000 * 4096, b"\xa5" * 4096)
    dump = read_partition(target)
    assert dump.written_pages == 160
    assert len(dump.warnings) == 1
    assert "1 blocks behind block 166 are older than this dump" in dump.warnings[0]


def test_device_without_signatures(tmp_path: Path) -> None:
    """On swap there are no marks: the end of an interrupted dump cannot be found, and no page is claimed."""
    target = dumped(tmp_path / "d.img", status=Status.INCOMPLETED, wanted=lambda n: n < 20)
    with target.open(write=True) as file:
        file.write(0, bytes(4096))
        file.write(2 * 4096 + 256, bytes(4096 - 256))
        file.write(1199 * 4096, bytes(4096))
    dump = read_partition(target)
    assert (dump.state, dump.kind, dump.pages) == (DumpState.INCOMPLETE, None, ())
    assert dump.why.endswith("on a device without signatures: its end cannot be found")


@pytest.mark.parametrize("record", [
    FormatRecord(SignatureKind.DESIGN, X86_64, 1200, 64), FormatRecord(SignatureKind.SHIPPED, X86_64, 1200, 64),
    FormatRecord(SignatureKind.DESIGN, X86_64, 1201, 64), FormatRecord(SignatureKind.DESIGN, IA64, 1200, 64),
    FormatRecord(SignatureKind.DESIGN, PPC64, 1200, 64), FormatRecord(SignatureKind.DESIGN, X86_64, 2**64 - 1, 64),
], ids=["fits", "kind", "size", "page size", "byte order", "huge"])
def test_record_of_another_device(record: FormatRecord, tmp_path: Path) -> None:
    """A record in the sub header that contradicts what is seen is not believed."""
    target = dumped(tmp_path / "d.img", status=Status.INCOMPLETED, wanted=lambda n: n < 20)
    with target.open(write=True) as file:
        file.write(2 * 4096, with_record(file.read(2 * 4096, 4096), X86_64, record.pack()))
    dump = read_partition(target)
    if record.abi is X86_64 and record.device_blocks == 1200 and record.kind is SignatureKind.DESIGN:
        assert (dump.record, dump.written_pages, dump.uncertain_pages) == (record, 317, 63)
    else:
        assert (dump.record, dump.written_pages, dump.uncertain_pages) == (None, 320, 0)


def test_kind_from_the_record(tmp_path: Path) -> None:
    """With block 0 and the last block gone, the record still tells the kind of signature."""
    target = dumped(tmp_path / "d.img", status=Status.INCOMPLETED, wanted=lambda n: n < 20)
    with target.open(write=True) as file:
        file.write(0, bytes(4096))
        file.write(1199 * 4096, bytes(4096))
    dump = read_partition(target)
    assert (dump.kind, dump.written_pages) == (SignatureKind.DESIGN, 320)


def test_short_complete_dump(tmp_path: Path) -> None:
    """Status completed with fewer blocks than pages (RHEL 3 on a small partition): incomplete, the first pages."""
    target = dumped(tmp_path / "d.img")
    change(target, written_blocks=104)
    dump = read_partition(target)
    assert (dump.state, dump.pages) == (DumpState.INCOMPLETE, (PageRun(4, 0, 100),))


def test_damaged_notes_do_not_cost_the_memory(tmp_path: Path) -> None:
    """Notes with a bad CRC become a warning and the bare registers; the pages stay."""
    target = dumped(tmp_path / "d.img")
    with target.open(write=True) as file:
        file.write(2 * 4096 + 300, b"\xff")
    dump = read_partition(target)
    assert (dump.state, dump.written_pages) == (DumpState.COMPLETE, 928)
    assert "only the dumping CPU's registers are left" in dump.warnings[0]
    assert dump.sub is not None
    assert (len(dump.sub.cpus), dump.sub.vmcoreinfo) == (1, None)


def change(target: DumpTarget, **fields: int) -> None:
    """Overwrite fields of the header."""
    layout = DiskDumpHeader.on(X86_64)
    with target.open(write=True) as file:
        for name, value in fields.items():
            file.write(4096 + layout.offsetof(name), value.to_bytes(4, "little", signed=value < 0))


@pytest.mark.parametrize(("fields", "reason"), [
    ({"block_size": 8192}, "its block size is not the 4096 bytes it lies at on any machine ddsdk knows"),
    ({"block_size": 0}, "its block size is not the 4096 bytes"),
    ({"status": 0x40}, "its status is 0x40, no combination of 1, 2, 4 and 8"),
    ({"status": 8}, "its status is 0x8, compressed records, and it has one bitmap"),
    ({"header_version": 7}, "its version is 7; there are 0 and 1"),
    ({"sub_hdr_size": 0}, "its sub header has 0 blocks, not 1 to 8192"),
    ({"sub_hdr_size": -5}, "its sub header has -5 blocks"),
    ({"sub_hdr_size": 0x7FFFFFFF}, "its sub header has 2147483647 blocks"),
    ({"bitmap_blocks": 0xFFFFFFFF}, "its bitmap has 4294967295 blocks, and 1024 page frames take 1 (or twice that)"),
    ({"max_mapnr": 0}, "its bitmap has 1 blocks, and 0 page frames take 0"),
    ({"max_mapnr": 0xFFFFFFFF, "bitmap_blocks": 131072}, "its pages start at block 131075, the partition has 1200"),
    ({"total_ram_blocks": 2000}, "it counts 2000 pages among 1024 page frames"),
    ({"written_blocks": 1201}, "it counts 1201 written blocks, the partition has 1200"),
    ({"written_blocks": 933}, "it counts 933 written blocks, the whole dump has 932"),
    ({"written_blocks": 2}, "it counts 2 written blocks, the whole dump has 932"),
])
def test_headers_that_cannot_be(fields: dict[str, int], reason: str, tmp_path: Path) -> None:
    """A field out of bounds is one line that names field, value and rule; nothing is allocated for it."""
    target = dumped(tmp_path / "d.img")
    change(target, **fields)
    with pytest.raises(FormatError) as caught:
        read_partition(target)
    assert reason in str(caught.value)
    assert str(caught.value).startswith(f"{target}: block 1 starts like a dump header, but ")
    assert "\n" not in str(caught.value)


def test_bitmap_must_agree_with_the_header(tmp_path: Path) -> None:
    """A bitmap with another number of pages than the header counts cannot place pages: refused."""
    target = dumped(tmp_path / "d.img")
    with target.open(write=True) as file:
        file.write(3 * 4096 + 20, b"\x01")
    with pytest.raises(FormatError, match="the bitmap has 929 page frames set, the header counts 928 pages"):
        read_partition(target)


def test_a_window_reads_like_a_partition(tmp_path: Path) -> None:
    """A dump at an offset of a larger file is read through offset and size; a wrong size only warns."""
    inner = dumped(tmp_path / "d.img")
    outer = tmp_path / "disk.img"
    outer.write_bytes(bytes(1 << 20) + Path(inner.path).read_bytes() + bytes(1 << 20))
    dump = read_partition(DumpTarget(str(outer), 1 << 20, 1200 * 4096))
    assert (dump.state, dump.warnings) == (DumpState.COMPLETE, ())
    dump = read_partition(DumpTarget(str(outer), 1 << 20))
    assert dump.state is DumpState.COMPLETE
    assert dump.warnings == ("the header knows a partition of 1200 blocks, this one has 1456",)


def test_a_cut_image(tmp_path: Path) -> None:
    """An image cut behind its bitmap: the header no longer fits the partition."""
    target = dumped(tmp_path / "d.img")
    with open(target.path, "r+b") as file:
        file.truncate(500 * 4096)
    with pytest.raises(FormatError, match="it counts 932 written blocks, the partition has 500"):
        read_partition(target)


def fuzz(mutate: Callable[[bytearray, int], None], target: DumpTarget) -> list[PartitionDump]:
    """Read the partition with block 1 mutated in 200 ways; what was readable."""
    with target.open() as file:
        block = file.read(4096, 4096)
    read, lines = [], []
    for step in range(200):
        changed = bytearray(block)
        mutate(changed, step)
        with target.open(write=True) as file:
            file.write(4096, changed)
        try:
            read.append(read_partition(target))
        except FormatError as error:
            lines.append(str(error))
    assert lines
    assert not any("\n" in line for line in lines)
    return read


def test_any_header_is_answered(tmp_path: Path) -> None:
    """Whatever a header says, the answer is a dump inside the partition or one line; never another exception."""
    target = dumped(tmp_path / "d.img")

    def mutate(block: bytearray, step: int) -> None:
        at = 408 + (step * 7) % 64
        block[at] ^= 1 << step % 8
        block[408 + (step * 13) % 64] ^= 0xFF if step % 3 == 0 else 0

    for dump in fuzz(mutate, target):
        assert all(run.block + run.npages <= 1200 for run in dump.pages)
