"""The dump engine against devices that answer as told: order of writes, choice of device, reasons."""

from __future__ import annotations

import errno
from types import ModuleType

import pytest

from ddsdk.abi import ABIS, I386, X86_64, Abi
from ddsdk.diskdump.engine import DiskDump, DumpConfig, DumpReport
from ddsdk.diskdump.plan import CrashFacts, DumpPlan, blocks_line
from ddsdk.diskdump.signature import SignatureKind
from ddsdk.diskdump.writer import Stage
from ddsdk.errors import DeadlockFault, DeviceError, UsageError
from ddsdk.integrity import CodeImage
from ddsdk.vmcore.dumpheader import DiskDumpHeader
from ddsdk.vmcore.notes import CpuNote
from tests.diskdump.fake_device import FakeDevice, FakeMemory, Run

RUNS = (Run(1, 5), Run(16, 9))


def facts(abi: Abi = X86_64) -> CrashFacts:
    """One CPU with recognisable registers, a fixed time."""
    regs = b"".join(n.to_bytes(abi.word_bytes, abi.byteorder) for n in range(1, len(abi.gregs) + 1))
    return CrashFacts(1_100_000_000, 123_456_789, 0, (CpuNote(0, regs),), (0x100, 0x200))


def dump(memory: FakeMemory, *devices: FakeDevice, config: DumpConfig | None = None,
         core: CodeImage | None = None) -> DumpReport:
    """One dump to the first of *devices* that takes it."""
    service = DiskDump(memory, memory.scratch, core or CodeImage.take([]), config or DumpConfig())
    for device in devices:
        service.register(device)
    return service.dump(facts(memory.abi))


@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_every_page_lands_in_order_behind_header_and_bitmap(abi: Abi) -> None:
    """Block data_start + k holds the k-th RAM page; the bitmap has exactly the RAM frames; the header is complete."""
    memory = FakeMemory(RUNS, abi)
    device = FakeDevice(memory, 40)
    report = dump(memory, device)
    assert report.device == "fake0"
    assert report.kind is SignatureKind.DESIGN
    page, start = abi.page_size, report.plan.data_start
    pfns = [*range(1, 6), *range(16, 25)]
    for k, pfn in enumerate(pfns):
        assert device.medium[(start + k) * page:(start + k + 1) * page] == memory.page(pfn)
    bitmap = device.medium[(start - 1) * page:start * page]
    assert [pfn for pfn in range(8 * page) if bitmap[pfn >> 3] >> (pfn & 7) & 1] == pfns
    header = DiskDumpHeader.on(abi).unpack(device.medium, page)
    assert (header.status, header.written_blocks, header.max_mapnr) == (0, start + 14, 25)
    assert (header.total_ram_blocks, header.device_blocks, header.block_size) == (14, 40, page)
    assert header.timestamp.tv_sec == 1_100_000_000
    assert header.utsname.machine == abi.machine.encode()


def test_order_of_writes() -> None:
    """Header, sub header, bitmap, header, memory in chunks of 2**block_order, flush, header; then shutdown."""
    memory = FakeMemory(RUNS)
    device = FakeDevice(memory, 40)
    dump(memory, device)
    assert device.calls == ["sanity_check", "quiesce", "write 1+1", "write 2+1", "write 3+1", "write 1+1",
                            "write 4+4", "write 8+4", "write 12+4", "write 16+2", "flush", "write 1+1",
                            "shutdown"]


def test_a_chunk_never_exceeds_what_the_device_can_carry() -> None:
    """block_order 8 on a device of 3 blocks an I/O writes 3 at a time."""
    memory = FakeMemory((Run(0, 7),))
    device = FakeDevice(memory, 40, max_blocks=3)
    dump(memory, device, config=DumpConfig(block_order=8))
    assert [call for call in device.calls if call.startswith("write 4") or call.endswith("+3")][-2:] == [
        "write 4+3", "write 7+3"]


def test_shipped_signatures_are_recognised() -> None:
    """A device formatted with +7 is used and named so."""
    memory = FakeMemory(RUNS)
    report = dump(memory, FakeDevice(memory, 40, kind=SignatureKind.SHIPPED))
    assert report.kind is SignatureKind.SHIPPED


def test_one_flipped_bit_in_a_signature_refuses_the_device() -> None:
    """The refused device is not written to, the next one takes the dump, the reason names the block."""
    memory = FakeMemory(RUNS)
    bad, good = FakeDevice(memory, 40), FakeDevice(memory, 40, name="fake1")
    bad.medium[7 * 4096 + 1000] ^= 0x10
    before = bytes(bad.medium)
    report = dump(memory, bad, good, config=DumpConfig(sample_rate=0))
    assert report.device == "fake1"
    assert report.rejections[0].stage is Stage.SIGNATURES
    assert "bad signature in block 7" in report.rejections[0].reason
    assert bad.medium == before
    assert bad.calls[-1] == "shutdown"


def test_signatures_of_two_kinds_on_one_device_are_refused() -> None:
    """The second kind is a bad signature or a mixture; nothing is written."""
    memory = FakeMemory((Run(0, 30),))
    device = FakeDevice(memory, 80)
    shipped = FakeDevice(memory, 80, kind=SignatureKind.SHIPPED)
    device.medium[16 * 4096:] = shipped.medium[16 * 4096:]
    report = dump(memory, device, config=DumpConfig(sample_rate=0))
    assert report.device is None
    assert report.rejections[0].stage is Stage.SIGNATURES
    assert not any(call.startswith("write") for call in device.calls)


def test_negative_sample_rate_checks_nothing() -> None:
    """sample_rate -1: a device without signatures takes the dump, the report has no kind."""
    memory = FakeMemory(RUNS)
    device = FakeDevice(memory, 40)
    device.medium[:] = bytes(len(device.medium))
    report = dump(memory, device, config=DumpConfig(sample_rate=-1))
    assert (report.device, report.kind) == ("fake0", None)


def test_too_small_a_device_says_how_many_blocks_are_missing() -> None:
    """18 blocks are required, 10 are there: 8 are missing, and nothing is touched."""
    memory = FakeMemory(RUNS)
    device = FakeDevice(memory, 10)
    report = dump(memory, device)
    assert report.rejections[0].reason == ("the dump partition has 10 blocks, 18 are required: 8 are missing")
    assert device.calls == ["sanity_check"]


def test_a_write_error_leaves_the_dump_incomplete_and_goes_on() -> None:
    """The first device fails at block 8; its header says incomplete; the second device has it all."""
    memory = FakeMemory(RUNS)
    bad = FakeDevice(memory, 40, fail=lambda write, block: -errno.EIO if write and block == 8 else 0,
                     why="medium error")
    good = FakeDevice(memory, 40, name="fake1")
    report = dump(memory, bad, good)
    assert report.device == "fake1"
    assert str(report.rejections[0]) == "fake0: memory write: I/O error -EIO on block 8: medium error"
    header = DiskDumpHeader.on(X86_64).unpack(bad.medium, 4096)
    assert (header.status, header.written_blocks) == (1, 4)
    assert bad.calls[-1] == "shutdown"


@pytest.mark.parametrize(("answers", "chosen"), [((0, 0), "fake0"), ((-5, 0), "fake1"), ((1, 0), "fake1"),
                                                 ((1, -5), "fake0"), ((-5, -5), None)])
def test_choice_by_sanity(answers: tuple[int, int], chosen: str | None) -> None:
    """< 0 is never used; > 0 only when no device is plainly sane."""
    memory = FakeMemory(RUNS)
    devices = [FakeDevice(memory, 40, name=f"fake{n}", sane=answer) for n, answer in enumerate(answers)]
    assert dump(memory, *devices).device == chosen


def test_strict_never_uses_a_device_that_cannot_tell() -> None:
    """allow_risky_dumps off: > 0 is a refusal."""
    memory = FakeMemory(RUNS)
    report = dump(memory, FakeDevice(memory, 40, sane=1, why="queue lock state unknown"),
                  config=DumpConfig(allow_risky_dumps=False))
    assert report.device is None
    assert str(report.rejections[0]) == "fake0: sanity check: queue lock state unknown"


def test_a_driver_fault_rejects_its_device_only() -> None:
    """A driver that would deadlock is named with its fault, the next device is tried."""
    memory = FakeMemory(RUNS)

    def deadlock(write: bool, block: int) -> int:
        raise DeadlockFault("FreeQlock is held by CPU 1")

    report = dump(memory, FakeDevice(memory, 40, fail=deadlock), FakeDevice(memory, 40, name="fake1"))
    assert report.device == "fake1"
    assert str(report.rejections[0]) == "fake0: driver fault: DeadlockFault: FreeQlock is held by CPU 1"


def test_an_adapter_that_is_gone_rejects_its_device_only() -> None:
    """An emulated adapter whose process died: the next device is used."""
    memory = FakeMemory(RUNS)

    def gone(_write: bool, _block: int) -> int:
        raise DeviceError("qtest: QEMU is gone")

    report = dump(memory, FakeDevice(memory, 40, "gone0", fail=gone), FakeDevice(memory, 40, "good0"))
    assert report.device == "good0"
    assert [(r.device, r.stage, r.reason) for r in report.rejections] == [
        ("gone0", Stage.FAULT, "DeviceError: qtest: QEMU is gone")]


def test_a_failed_cache_flush_is_no_success() -> None:
    """SYNCHRONIZE CACHE failing at the end: the dump may not survive, so the next device is tried."""
    memory = FakeMemory(RUNS)
    report = dump(memory, FakeDevice(memory, 40, shutdown_error=-errno.EIO))
    assert report.device is None
    assert report.rejections[0].stage is Stage.SHUTDOWN


def test_the_header_is_complete_only_after_the_pages_are_on_the_medium() -> None:
    """A flush that fails after the last page: the header still says incomplete, the next device is tried."""
    memory = FakeMemory(RUNS)
    bad, good = FakeDevice(memory, 40, flush_error=-errno.EIO), FakeDevice(memory, 40, name="fake1")
    report = dump(memory, bad, good)
    assert report.device == "fake1"
    assert str(report.rejections[0]) == "fake0: memory write: error -EIO"
    assert DiskDumpHeader.on(X86_64).unpack(bad.medium, 4096).status == 1


def test_damaged_core_code_refuses_every_device() -> None:
    """One changed constant in the pipeline's own code: no device is even asked."""
    module = ModuleType("victim")
    exec("def step():\n    return 41\n", module.__dict__)
    core = CodeImage.take([module])
    exec("def replacement():\n    return 42\n", module.__dict__)
    module.step.__code__ = module.replacement.__code__.replace(co_name="step", co_qualname="step")
    memory = FakeMemory(RUNS)
    device = FakeDevice(memory, 40)
    report = dump(memory, device, core=core)
    assert report.device is None
    assert report.rejections[0].stage is Stage.CORE_CHECK
    assert "victim" in report.rejections[0].reason
    assert device.calls == []


def test_a_second_panic_does_not_enter_again() -> None:
    """dump() runs once; the second call touches nothing."""
    memory = FakeMemory(RUNS)
    device = FakeDevice(memory, 40)
    service = DiskDump(memory, memory.scratch, CodeImage.take([]))
    service.register(device)
    assert service.dump(facts()).complete
    calls = list(device.calls)
    assert "not entered twice" in service.dump(facts()).rejections[0].reason
    assert device.calls == calls


def test_lost_completions_are_no_success() -> None:
    """A device that acknowledges fewer pages than it was given fails the dump."""
    memory = FakeMemory(RUNS)

    class Forgetful(FakeDevice):
        def stream(self, write, chunks):
            yield from list(super().stream(write, chunks))[:-1]

    report = dump(memory, Forgetful(memory, 40))
    assert report.device is None
    assert "12 pages acknowledged of 14" in report.rejections[0].reason


def test_the_design_documents_line() -> None:
    """White paper 5.2: 261898 pages take 261909 blocks."""
    assert blocks_line(1, 8, 261898) == (
        "disk_dump: total blocks required: 261909 (header 3 + bitmap 8 + memory 261898)")


def test_bitmap_pieces_join_to_one_bitmap() -> None:
    """A bitmap of three blocks in pieces of one and of three is the same."""
    memory = FakeMemory((Run(3, 2), Run(40_000, 30_000), Run(98_303, 1)), I386)
    plan = DumpPlan.of(memory, facts(I386))
    assert plan.bitmap_blocks == 3
    whole = b"".join(plan.bitmap_pieces(3))
    assert b"".join(plan.bitmap_pieces(1)) == whole
    assert sum(byte.bit_count() for byte in whole) == 30_003


@pytest.mark.parametrize("config", [{"block_order": 9}, {"block_order": -1}, {"sample_rate": 32}])
def test_parameters_out_of_range(config: dict[str, int]) -> None:
    """block_order is 0..8, sample_rate at most 31."""
    with pytest.raises(UsageError, match="it must be"):
        DumpConfig(**config)
