"""Partial and compressed dumps: written by the engine, read back, at every instant and at every size."""

from __future__ import annotations

import errno
import random
import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest
from attrs import define, field

from ddsdk.abi import ABIS, X86_64, Abi
from ddsdk.diskdump.engine import CODECS, DumpConfig
from ddsdk.diskdump.filter import DumpFilter
from ddsdk.diskdump.notes import PartialNote
from ddsdk.diskdump.pagesource import PartitionSource
from ddsdk.diskdump.partition import DumpState, PartitionDump, read_partition
from ddsdk.diskdump.plan import DumpPlan
from ddsdk.diskdump.savecore import save
from ddsdk.diskdump.signature import signature_blocks
from ddsdk.diskdump.target import DumpTarget
from ddsdk.diskdump.writer import Attempt, Stage
from ddsdk.errors import FormatError, UsageError
from ddsdk.vmcore.classify import Classifier
from ddsdk.vmcore.codecs import Codec
from ddsdk.vmcore.dumpheader import DiskDumpHeader
from tests.diskdump.fake_device import CachedDevice, FakeDevice, Run
from tests.diskdump.partials import RUNS, MixedMemory, as_target, dump, facts, frames, kept_frames

#: More RAM pages than one block of a second bitmap has bits (32768): two windows.
LARGE = (Run(0, 33_000),)


def header_of(device: FakeDevice) -> DiskDumpHeader:
    """Block 1."""
    abi = device.memory.abi
    return DiskDumpHeader.on(abi).unpack(device.medium, abi.page_size)


def read_pages(target: DumpTarget, dump: PartitionDump) -> dict[int, bytes]:
    """Page frame -> bytes of what is stored."""
    with target.open() as file:
        source = PartitionSource.of(file, dump)
        page = source.page_size
        return {pfn: bytes(source.view(pfn * page, page)) for first, count in source.stored.runs()
                for pfn in range(first, first + count)}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_what_is_written_is_read_back(abi: Abi, codec: str, tmp_path: Path) -> None:
    """Level 1: every page (no zeros without a codec), on every machine, in every codec; final status 0 or 8."""
    memory = MixedMemory(RUNS, abi)
    device = FakeDevice(memory, 40)
    report = dump(memory, device, 1, codec)
    kept = kept_frames(memory, 1, codec)
    assert (report.complete, report.saved_pages, report.kept_pages, report.short) == (True, len(kept), len(kept), False)
    header = header_of(device)
    assert (header.status, header.bitmap_blocks, header.total_ram_blocks) == (0 if codec == "none" else 8, 2, 14)
    assert header.written_blocks == report.written_blocks
    target = as_target(device, tmp_path / "d.img")
    found = read_partition(target)
    assert (found.state, found.dump_level, found.codec_name) == (DumpState.COMPLETE, 1, codec)
    assert read_pages(target, found) == {pfn: memory.page(pfn) for pfn in kept}
    assert found.touched_end == report.written_blocks


def test_a_codec_alone_keeps_every_page(tmp_path: Path) -> None:
    """Level 0 with a codec: the second bitmap has every bit of a RAM page set."""
    memory = MixedMemory(RUNS)
    device = FakeDevice(memory, 40)
    assert dump(memory, device, 0, "zstd").saved_pages == 14
    assert device.medium[4 * 4096:5 * 4096] == b"\xff\x3f".ljust(4096, b"\0")
    target = as_target(device, tmp_path / "d.img")
    assert read_pages(target, read_partition(target)) == {pfn: memory.page(pfn) for pfn in frames(memory)}


def test_plain_blocks_are_densely_packed() -> None:
    """Level and no codec: the k-th saved page in the k-th data block, as scatter lists of the pages."""
    memory = MixedMemory(RUNS)
    device = FakeDevice(memory, 40)
    dump(memory, device, 1)
    kept = [pfn for pfn in frames(memory) if pfn % 3]
    for k, pfn in enumerate(kept):
        assert device.medium[(5 + k) * 4096:(6 + k) * 4096] == memory.page(pfn)
    assert device.medium[4 * 4096] == sum(1 << k for k, pfn in enumerate(frames(memory)[:8]) if pfn % 3)


def test_zlib_records_are_what_rhel_wrote() -> None:
    """Unaligned records of 16 bytes and a zlib stream, flag 1; a raw page where that does not shrink; `m` behind."""
    memory = MixedMemory(RUNS)
    device = FakeDevice(memory, 40)
    report = dump(memory, device, 1, "zlib")
    stream = bytes(device.medium[5 * 4096:report.written_blocks * 4096])
    at = 0
    for pfn in frames(memory):
        page_flags, size, flags = struct.unpack_from("<QII", stream, at)
        payload = stream[at + 16:at + 16 + size]
        assert (page_flags, flags) == (0, int(pfn % 3 != 2))
        assert (zlib.decompress(payload) if flags else payload) == memory.page(pfn)
        at += 16 + size
    assert stream[at:] == b"m" * (-at % 4096)


def test_order_of_writes() -> None:
    """Headers, bitmaps, data, the second bitmap again, the cache flushed before the last header."""
    memory = MixedMemory(RUNS)
    device = FakeDevice(memory, 40)
    dump(memory, device, 1)
    assert device.calls == ["sanity_check", "quiesce", "write 1+1", "write 2+1", "write 3+1", "write 4+1", "flush",
                            "write 1+1", "write 5+4", "write 9+4", "write 13+2", "write 4+1", "flush", "write 1+1",
                            "shutdown"]


class SparseMemory(MixedMemory):
    """Noise in every 300th page, zeros in the others: two windows of a second bitmap on a small device."""

    def page(self, pfn: int) -> bytes:
        return super().page(2 + pfn // 300 * 3) if pfn % 300 == 2 else bytes(self.abi.page_size)


@define
class AnyOrderDevice(CachedDevice):
    """Writes are volatile until `flush`: a power cut keeps any of them, and any order."""

    durable: dict[int, bytes] = field(factory=dict)

    def flush(self) -> int:
        self.durable |= self.volatile
        return super().flush()

    def after_a_power_cut(self, seed: int) -> bytes:
        """What may be on the medium."""
        medium = bytearray(signature_blocks(self.kind, self.memory.abi, 0, self.blocks))
        chance = random.Random(seed)
        for block, data in (*self.durable.items(), *(item for item in self.volatile.items() if chance.random() < 0.5)):
            medium[block * 4096:(block + 1) * 4096] = data
        return bytes(medium)


@pytest.mark.parametrize(("codec", "status", "blocks"), [("none", 2, 130), ("zlib", 10, 700)])
def test_a_power_cut_leaves_what_the_header_counts(codec: str, status: int, blocks: int, tmp_path: Path) -> None:
    """At any write, whatever of the cache is lost: the first pages, each right, on a device that savecore mends."""
    memory = SparseMemory(LARGE)
    device = AnyOrderDevice(memory, blocks)
    kept = [pfn for pfn in range(33_000) if pfn % 300 == 2 or codec != "none"]
    target = DumpTarget(str(tmp_path / "d.img"))
    fresh, seen = bytes(device.medium), list[tuple[int, int, int]]()

    def look(last: bool = False) -> None:
        if codec == "zlib" and len(device.calls) % 6 and not last:      # its stream is many writes like each other
            return
        Path(target.path).write_bytes(device.after_a_power_cut(len(device.calls)))
        found = read_partition(target)
        if found.facts is None:
            return
        there = read_pages(target, found)
        assert list(there) == kept[:len(there)]
        assert all(page == memory.page(pfn) for pfn, page in there.items())
        seen.append((found.facts.header.status, found.facts.header.written_blocks, len(there)))
        save(target, str(tmp_path / "out"))
        assert Path(target.path).read_bytes()[3 * 4096:] == fresh[3 * 4096:]

    device.look = look
    assert dump(memory, device, 1, codec).complete
    device.flush()
    look(last=True)
    final = 8 if codec == "zlib" else 0
    assert {state for state, *_ in seen} == {1, status, final}
    assert seen[-1][::2] == (final, len(kept))
    assert next(count for state, _, count in seen if state == status) > len(kept) * 9 // 10


@pytest.mark.parametrize("codec", ["none", "zlib", "zstd"])
def test_too_small_a_partition_gets_what_fits(codec: str, tmp_path: Path) -> None:
    """Whatever the size: the report says short, status 4 (or 12), and exactly the first pages are readable."""
    memory = MixedMemory(RUNS, zeros=False)
    counts = []
    for blocks in range(6, 20):
        device = FakeDevice(memory, blocks)
        report = dump(memory, device, 0 if codec != "none" else 2, codec)
        target = as_target(device, tmp_path / "d.img")
        found = read_partition(target)
        pages = read_pages(target, found)
        assert pages == {pfn: memory.page(pfn) for pfn in frames(memory)[:report.saved_pages]}
        assert report.short == (report.saved_pages < 14) == (not report.complete)
        assert found.state is (DumpState.INCOMPLETE if report.short else DumpState.COMPLETE)
        assert header_of(device).status == (4 if report.short else 0) + (8 if codec != "none" else 0)
        assert report.written_blocks <= blocks
        counts.append(report.saved_pages)
    assert counts == sorted(counts)
    assert counts[-1] == 14
    assert codec != "none" or counts == [min(14, n) for n in range(1, 15)]
    assert found.why == f"{target}: complete partial dump, 14 of 14 pages"


def test_a_plain_dump_does_not_start_on_a_partition_that_is_too_small() -> None:
    """Without level and codec it is refused, as ever; with one, only if not even one page fits."""
    memory = MixedMemory(RUNS)
    assert dump(memory, FakeDevice(memory, 10)).rejections[0].stage is Stage.SIZE
    device = FakeDevice(memory, 5)
    report = dump(memory, device, 1)
    assert str(report.rejections[0]) == "fake0: size: the dump partition has 5 blocks, 6 are required: 1 are missing"
    assert device.calls == ["sanity_check"]


def test_only_the_blocks_that_can_be_written_are_checked() -> None:
    """A small partition's last block is the last one that is checked: a bad one there refuses it."""
    memory = MixedMemory(RUNS)
    device = FakeDevice(memory, 12)
    device.medium[11 * 4096 + 100] ^= 1
    report = dump(memory, device, 0, "zlib")
    assert "bad signature in block 11" in report.rejections[0].reason


def test_a_write_error_leaves_a_dump_that_is_not_whole(tmp_path: Path) -> None:
    """An error in the stream: the device is refused, its header still counts no page."""
    memory = MixedMemory(RUNS)
    device = FakeDevice(memory, 40, fail=lambda write, block: -errno.EIO if write and block >= 5 else 0)
    report = dump(memory, device, 0, "lzo")
    assert report.rejections[0].stage is Stage.MEMORY
    found = read_partition(as_target(device, tmp_path / "d.img"))
    assert (found.state, found.written_pages) == (DumpState.INCOMPLETE, 0)


def test_a_truncated_stream_ends_cleanly(tmp_path: Path) -> None:
    """Cut at every block: bits without a record have no page, the others are right, and the dump is not complete."""
    memory = MixedMemory(RUNS, zeros=False)
    device = FakeDevice(memory, 40)
    report = dump(memory, device, 0, "zlib")
    at = 4096 + DiskDumpHeader.on(X86_64).offsetof("written_blocks")
    for written in range(5, report.written_blocks):
        device.medium[at:at + 4] = written.to_bytes(4, "little")
        target = as_target(device, tmp_path / "d.img")
        found = read_partition(target)
        pages = read_pages(target, found)
        assert found.state is DumpState.INCOMPLETE
        assert "are not there: the stream ends" in found.warnings[0]
        assert pages == {pfn: memory.page(pfn) for pfn in frames(memory)[:len(pages)]}


@pytest.mark.parametrize(("change", "reason"), [
    (struct.pack("<QII", 0, 0, 1), "0 bytes and flags 0x1"), (struct.pack("<QII", 0, 5000, 1), "5000 bytes"),
    (struct.pack("<QII", 0, 0xFFFFFFFF, 0), "4294967295 bytes"), (struct.pack("<QII", 0, 100, 0), "100 bytes and"),
    (struct.pack("<QII", 0, 4096, 8), "flags 0x8"),
])
def test_records_that_cannot_be(change: bytes, reason: str, tmp_path: Path) -> None:
    """A size or flag out of bounds ends the stream there, with a line about it; nothing is allocated for it."""
    memory = MixedMemory(RUNS)
    device = FakeDevice(memory, 40)
    dump(memory, device, 1, "zlib")
    device.medium[5 * 4096:5 * 4096 + 16] = change
    found = read_partition(as_target(device, tmp_path / "d.img"))
    assert (found.state, found.written_pages) == (DumpState.INCOMPLETE, 0)
    assert reason in found.warnings[0]


def test_rhel_without_our_note_means_zlib(tmp_path: Path) -> None:
    """A dump with records and a bare sub header is read as zlib, its level unknown."""
    memory = MixedMemory(RUNS)
    device = FakeDevice(memory, 40)
    dump(memory, device, 1, "zlib")
    device.medium[2 * 4096 + 256:3 * 4096] = bytes(4096 - 256)
    target = as_target(device, tmp_path / "d.img")
    found = read_partition(target)
    assert (found.codec_name, found.dump_level, found.state) == ("zlib", None, DumpState.COMPLETE)
    assert len(read_pages(target, found)) == found.written_pages == 14


def test_a_codec_nobody_knows(tmp_path: Path) -> None:
    """A note that names another codec: one line, and no page is guessed."""
    memory = MixedMemory(RUNS)
    device = FakeDevice(memory, 40)
    dump(memory, device, 1, "zstd")
    target = as_target(device, tmp_path / "d.img")
    found = read_partition(target)
    assert found.layout is not None
    with target.open() as file, pytest.raises(FormatError, match="compressed with 'brotli', which this version does"):
        PartitionSource(file, found.dump, found.layout, found.layout.saved, codec="brotli")


def test_a_dump_stays_inside_its_budget() -> None:
    """After the crash nothing grows with the memory: all of it takes what was declared, and 4 MiB."""
    memory = SparseMemory(LARGE)
    device = FakeDevice(memory, 700)
    chosen = DumpFilter(memory, 1, "zstd")
    plan = DumpPlan.of(memory, facts(), PartialNote(1, "zstd"))
    attempt = Attempt(device, memory, plan, memory.scratch, 2, 8, lambda _progress: None)
    tracemalloc.start()
    try:
        chosen.run()
        written = chosen.write(attempt)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # the fake memory makes the pages it is asked for, up to 256 at a time, twice
    assert peak < chosen.budget_bytes + (4 << 20)
    assert (written.pages, written.short) == (33_000, False)


def test_a_filter_that_fails_costs_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Memory that breaks the filter is saved whole; the report says why."""
    def broken(_self: Classifier) -> None:
        raise ValueError("no such section")

    monkeypatch.setattr(Classifier, "run", broken)
    memory = MixedMemory(RUNS)
    device = FakeDevice(memory, 40)
    report = dump(memory, device, 31)
    assert (report.complete, report.saved_pages) == (True, 14)
    assert report.gaps == ("the filter failed, ValueError: no such section: every page is kept",)
    target = as_target(device, tmp_path / "d.img")
    assert read_pages(target, read_partition(target)) == {pfn: memory.page(pfn) for pfn in frames(memory)}


@pytest.mark.parametrize("config", [{"dump_level": 32}, {"dump_level": -1}, {"codec": "gzip"}])
def test_parameters_out_of_range(config: dict[str, object]) -> None:
    """dump_level is 0..31; the codecs are named."""
    with pytest.raises(UsageError, match="it must be"):
        DumpConfig(**config)            # type: ignore[arg-type]


def test_the_codecs_are_the_files_codecs() -> None:
    """One list, said twice so that a plain dump imports no compressor."""
    assert tuple(codec.value for codec in Codec) == CODECS
