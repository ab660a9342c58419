"""Swap areas through the engine: what lies where, what is left out, and that nothing of it costs the memory."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from attrs import define, evolve, field

from ddsdk.abi import ABIS, X86_64, Abi
from ddsdk.diskdump.engine import DiskDump, DumpConfig
from ddsdk.diskdump.partition import DumpState, read_partition
from ddsdk.diskdump.savecore import save
from ddsdk.diskdump.signature import signature_blocks
from ddsdk.diskdump.swap_write import GIVE_UP_PAGES
from ddsdk.diskdump.swappart import MAX_AREAS, AreaState
from ddsdk.diskdump.target import DumpTarget
from ddsdk.errors import DriverFault, UsageError
from ddsdk.integrity import CodeImage
from ddsdk.vmcore.dumpheader import DiskDumpHeader
from tests.diskdump.fake_device import CachedDevice, FakeDevice, FakeMemory
from tests.diskdump.partials import RUNS, MixedMemory, as_target, facts, frames
from tests.diskdump.swaps import UUID_TEXT, FakeSwap, data_page, dump_with_swap, order_of, swap_area

#: Blocks of a plain dump of RUNS: header 3, bitmap 1, 14 pages.
MEMORY_END = 18


def area_of(memory: FakeMemory, pages: int = 20, name: str = "swap0", **header: object) -> FakeSwap:
    """An area of *pages* pages in the machine's page size and byte order."""
    size = memory.abi.page_size
    return FakeSwap(memory, swap_area(pages, size=size, order=order_of(memory.abi), **header), name)


def image_of(area: FakeSwap, missing: Sequence[int] = (), bad: Sequence[int] = ()) -> bytes:
    """What savecore makes of *area*: as it is, zeros where nothing is known or nothing is kept."""
    size = area.memory.abi.page_size
    image = bytearray(area.medium)
    for number in (*missing, *bad):
        image[number * size:(number + 1) * size] = bytes(size)
    return bytes(image)


# -- what is written ----------------------------------------------------------------------------------------------


def test_order_of_writes() -> None:
    """The memory's last header is on the medium before the swap device is touched; then head, header page and maps,
    pages, maps, each head after a flush; the device of the area is let go.
    """
    memory = MixedMemory(RUNS)
    device, area = FakeDevice(memory, 60), area_of(memory)
    report = dump_with_swap(memory, device, area)
    calls = device.calls[device.calls.index("flush"):]
    assert calls == ["flush", "write 1+1", "flush", "flush", "write 18+1", "write 20+1", "write 21+2", "flush",
                     "write 19+1", "write 23+6", "write 29+6", "write 35+3", "write 21+1", "write 22+1", "flush",
                     "write 18+1", "flush", "write 19+1", "flush", "shutdown"]
    assert area.calls == ["take_up beside fake0", "read 0+1", "read 1+8", "read 9+8", "read 17+3", "let_go"]
    assert (report.complete, report.swap_whole, report.written_blocks) == (True, True, MEMORY_END)
    saved, = report.swap
    assert (saved.state, saved.saved, saved.zeros, saved.unreadable, saved.missing, saved.why) == (
        AreaState.WHOLE, 15, 4, 0, 0, "")


def test_where_everything_lies() -> None:
    """Head, header page, the two maps, and page n at the place of its rank among those stored."""
    memory = MixedMemory(RUNS)
    device, area = FakeDevice(memory, 60), area_of(memory, bad=(6, 9))
    dump_with_swap(memory, device, area)
    blocks = [bytes(device.medium[at:at + 4096]) for at in range(0, len(device.medium), 4096)]
    assert struct.unpack_from("<I", blocks[1], 452) == (MEMORY_END,)
    assert blocks[19][:8] == blocks[18][:8] == b"DDSWAP01"
    assert blocks[20] == area.medium[:4096]
    stored = [number for number in range(1, 20) if number % 4 and number not in (6, 9)]
    assert blocks[21] == sum(1 << number for number in stored).to_bytes(4096, "little")
    assert blocks[22] == bytes(4096)
    assert blocks[23:23 + len(stored)] == [data_page(number) for number in stored]
    assert bytes(device.medium[36 * 4096:]) == bytes(signature_blocks(device.kind, X86_64, 36, 24))


def test_a_reader_that_knows_no_swap() -> None:
    """Without the note in the sub header the dump is byte for byte the one that is made without swap areas."""
    memory = MixedMemory(RUNS)
    device, plain = FakeDevice(memory, 60), FakeDevice(memory, 60)
    dump_with_swap(memory, device, area_of(memory))
    dump_with_swap(memory, plain)
    same = [at // 4096 for at in range(0, MEMORY_END * 4096, 4096)
            if device.medium[at:at + 4096] == plain.medium[at:at + 4096]]
    assert same == [0, 1, *range(3, MEMORY_END)]
    assert device.medium[8192:8192 + 216] == plain.medium[8192:8192 + 216]          # the registers


@pytest.mark.parametrize("codec", ["none", "zlib", "zstd", "lzo", "snappy"])
@pytest.mark.parametrize("abi", ABIS, ids=lambda abi: abi.name)
def test_round_trip(abi: Abi, codec: str, tmp_path: Path) -> None:
    """Two areas, one with bad pages, come out of savecore as they went in, and the device gets its signatures back."""
    memory = MixedMemory(RUNS, abi=abi)
    device = FakeDevice(memory, 120)
    first, second = area_of(memory, bad=(2, 19)), area_of(memory, 33, "swap1", label=b"")
    fresh = bytes(device.medium)
    report = dump_with_swap(memory, device, first, second, codec=codec)
    assert (report.swap_whole, [area.saved for area in report.swap]) == (True, [13, 24])
    target = as_target(device, tmp_path / "d.img")
    found = read_partition(target)
    assert (found.state, found.written_pages, found.warnings) == (DumpState.COMPLETE, 14, ())
    saved = save(target, str(tmp_path / "out"))
    assert saved.whole
    assert saved.path is not None
    case = Path(saved.path).parent
    assert sorted(path.name for path in case.iterdir()) == ["swap-1.img", "swap-2.img", "vmcore"]
    assert (case / "swap-1.img").read_bytes() == image_of(first, bad=(2, 19))
    assert (case / "swap-2.img").read_bytes() == image_of(second)
    after = Path(target.path).read_bytes()
    assert after[:2 * abi.page_size] == fresh[:2 * abi.page_size]
    assert after[3 * abi.page_size:] == fresh[3 * abi.page_size:]       # between them: what the formatter did


def test_with_a_filter(tmp_path: Path) -> None:
    """A dump level is for the memory alone; blocks behind a partial dump."""
    memory = MixedMemory(RUNS)
    device, area = FakeDevice(memory, 60), area_of(memory)
    report = dump_with_swap(memory, device, area, level=1)
    assert (report.saved_pages, report.written_blocks, report.swap[0].saved) == (10, 15, 15)
    saved = save(as_target(device, tmp_path / "d.img"), str(tmp_path / "out"))
    assert [image.path for image in saved.swap] == [f"{Path(saved.path or '').parent}/swap-1.img"]


def test_what_info_tells(tmp_path: Path) -> None:
    """Name, label, UUID, pages, and where it lies."""
    memory = MixedMemory(RUNS)
    device = FakeDevice(memory, 60)
    dump_with_swap(memory, device, area_of(memory, bad=(7,)))
    found = read_partition(as_target(device, tmp_path / "d.img"))
    assert found.describe()["swap"] == [{
        "number": 1, "device": "swap0", "label": "pages", "uuid": UUID_TEXT, "page_bytes": 4096, "pages": 20,
        "bad_pages": 1, "state": "whole", "saved_pages": 14, "unreadable_pages": 0, "looked_at_pages": 20,
        "first_block": 20,
        "data_blocks": 14, "missing": ""}]


# -- what is not there --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["none", "zstd"])
def test_pages_that_cannot_be_read(codec: str, tmp_path: Path) -> None:
    """They are lost one by one, counted and told; the file is called incomplete and has a list of them."""
    memory = MixedMemory(RUNS)
    device, area = FakeDevice(memory, 60), area_of(memory)
    area.fail, area.why = lambda page: -5 if page in (5, 6, 18) else 0, "MEDIUM ERROR"
    report = dump_with_swap(memory, device, area, codec=codec)
    saved, = report.swap
    assert (report.complete, report.swap_whole) == (True, False)
    assert (saved.state, saved.saved, saved.zeros, saved.unreadable, saved.missing) == (AreaState.WHOLE, 12, 4, 3, 3)
    target = as_target(device, tmp_path / "d.img")
    done = save(target, str(tmp_path / "out"))
    assert (done.state, done.whole, done.warnings) == (
        DumpState.COMPLETE, False, ("swap area 1, swap0: 3 pages could not be read",))
    assert done.path is not None
    case = Path(done.path).parent
    assert sorted(path.name for path in case.iterdir()) == ["swap-1-incomplete.img", "swap-1-missing.txt", "vmcore"]
    assert (case / "swap-1-incomplete.img").read_bytes() == image_of(area, missing=(5, 6, 18))
    assert (case / "swap-1-missing.txt").read_text() == "# first page, number of pages\n5 2\n18 1\n"
    assert str(done.swap[0]) == (f"{case}/swap-1-incomplete.img: 12 of 20 pages of swap0 are not zeros, 3 pages are"
                                 " missing: 3 pages could not be read")


def test_a_device_that_reads_no_more() -> None:
    """After 32 pages in a row the area is given up, the next one is saved."""
    memory = MixedMemory(RUNS)
    device, area, other = FakeDevice(memory, 400), area_of(memory, 300), area_of(memory, 20, "swap1")
    area.fail, area.why = lambda page: -5 if page >= 100 else 0, "swap0: timed out"
    report = dump_with_swap(memory, device, area, other)
    first, second = report.swap
    # read in eights from page 1 on: 97 to 104 ends with five lost ones
    assert (first.state, first.saved, first.unreadable, first.why) == (
        AreaState.NOT_READ, 75, 37, f"{GIVE_UP_PAGES + 5} pages in a row cannot be read: timed out")
    assert first.missing == 299 - 75 - first.zeros
    assert second.whole
    assert area.calls.count("let_go") == 1


def test_a_driver_that_breaks_a_rule(tmp_path: Path) -> None:
    """A fault of the swap area's driver ends that area where it was."""
    memory = MixedMemory(RUNS)

    def fault(page: int) -> int:
        if page == 9:
            raise DriverFault("taken while held")
        return 0

    device, area = FakeDevice(memory, 60), area_of(memory)
    area.fail = fault
    report = dump_with_swap(memory, device, area)
    assert report.complete
    assert (report.swap[0].state, report.swap[0].saved, report.swap[0].why) == (
        AreaState.NOT_READ, 6, "DriverFault: taken while held")
    done = save(as_target(device, tmp_path / "d.img"), str(tmp_path / "out"))
    assert [image.missing_pages for image in done.swap] == [11]
    assert done.warnings == ("swap area 1, swap0: pages from 9 on are not there: its device was given up",)


@pytest.mark.parametrize(("change", "state", "why"), [
    ({"taken": -19, "why": "swap0: another drive answers"}, AreaState.NOT_READ, "another drive answers"),
    ({"medium": bytearray(20 * 4096)}, AreaState.NOT_READ,
     "its header is not the one that was registered: another area, or none, is there now"),
])
def test_areas_that_are_not_begun(change: dict[str, object], state: AreaState, why: str, tmp_path: Path) -> None:
    """A device that refuses, or that has something else on it now: told, and nothing of it is there."""
    memory = MixedMemory(RUNS)
    device, area = FakeDevice(memory, 60), area_of(memory)
    service = DiskDump(memory, memory.scratch, CodeImage.take([]), DumpConfig())
    service.register(device)
    service.register_swap(area, area.header)
    for name, value in change.items():
        setattr(area, name, value)
    report = service.dump(facts())
    saved, = report.swap
    assert (report.complete, saved.state, saved.saved, saved.missing, saved.why) == (True, state, 0, 19, why)
    done = save(as_target(device, tmp_path / "d.img"), str(tmp_path / "out"))
    assert (done.whole, done.swap[0].path, done.resigned_blocks) == (False, None, 19)
    assert str(done.swap[0]) == "swap area 1, swap0: not saved: its device could not be read"


def test_a_header_that_cannot_be_read_any_more(tmp_path: Path) -> None:
    """The registered one takes its place."""
    memory = MixedMemory(RUNS)
    device, area = FakeDevice(memory, 60), area_of(memory)
    service_area = evolve(area, fail=lambda page: -5 if page == 0 else 0)
    report = dump_with_swap(memory, device, service_area)
    assert report.swap_whole
    done = save(as_target(device, tmp_path / "d.img"), str(tmp_path / "out"))
    assert Path(done.swap[0].path or "").read_bytes() == area.medium


@pytest.mark.parametrize(("blocks", "saved", "end"), [(18, 0, 0), (19, 0, 0), (23, 0, 0), (24, 1, 3), (30, 7, 11),
                                                      (36, 13, 19)])
def test_too_small_a_device(blocks: int, saved: int, end: int, tmp_path: Path) -> None:
    """Memory comes first; of the area exactly the pages that fit, and from which page on they do not is told."""
    memory = MixedMemory(RUNS)
    device, area = FakeDevice(memory, blocks), area_of(memory)
    area.medium[4096 * 1:4096 * 2] = bytes(4096)        # page 1: zeros
    report = dump_with_swap(memory, device, area)
    one, = report.swap
    assert (report.complete, one.state, one.saved, one.why) == (True, AreaState.NO_ROOM, saved, "fake0 is full")
    fresh = bytes(signature_blocks(device.kind, X86_64, 0, blocks))
    done = save(as_target(device, tmp_path / "d.img"), str(tmp_path / "out"))
    assert (done.state, done.pages, done.whole) == (DumpState.COMPLETE, 14, False)
    assert (tmp_path / "d.img").read_bytes()[3 * 4096:] == fresh[3 * 4096:]
    image = done.swap[0]
    if saved:
        assert image.why == f"pages from {end} on are not there: there was no room for more"
        assert Path(image.path or "").read_bytes() == image_of(area, missing=range(end, 20))
    else:
        assert image.path is None


def test_no_room_for_records(tmp_path: Path) -> None:
    """The same of a compressed dump, whose records end in the middle of a block."""
    memory = MixedMemory(RUNS)
    device, area = FakeDevice(memory, 22), area_of(memory, 40)
    report = dump_with_swap(memory, device, area, codec="zstd")
    one, = report.swap
    assert (report.complete, one.state) == (True, AreaState.NO_ROOM)
    done = save(as_target(device, tmp_path / "d.img"), str(tmp_path / "out"))
    first = 40 - done.swap[0].missing_pages
    assert one.missing == done.swap[0].missing_pages
    assert Path(done.swap[0].path or "").read_bytes() == image_of(area, missing=range(first, 40))


def test_memory_that_does_not_fit() -> None:
    """A partial dump that fills the device leaves no room for swap; the device of the area is not touched."""
    memory = MixedMemory(RUNS)
    device, area = FakeDevice(memory, 12), area_of(memory)
    report = dump_with_swap(memory, device, area, level=1)
    assert (report.short, report.saved_pages) == (True, 7)
    assert (report.swap[0].state, report.swap[0].why) == (AreaState.NO_ROOM, "fake0 is full")
    assert (area.calls, device.calls[-1]) == ([], "shutdown")


# -- failures of the dump device ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "why"), [
    (lambda block: -5, "the dump device failed: write error -EIO on block 18: error -EIO"),
    (lambda block: -5 if block >= 29 else 0, "the dump device failed: I/O error -EIO on block 29: error -EIO"),
])
def test_write_errors(fault: Callable[[int], int], why: str, tmp_path: Path) -> None:
    """The memory was whole before; no other device is tried, and the dump is taken as it is."""
    memory = MixedMemory(RUNS)
    device, spare, area = FakeDevice(memory, 60), FakeDevice(memory, 60, "fake1"), area_of(memory)
    device.fail = lambda write, block: fault(block) if write and block >= MEMORY_END else 0
    service = DiskDump(memory, memory.scratch, CodeImage.take([]), DumpConfig())
    service.register(device)
    service.register(spare)
    service.register_swap(area, area.header)
    report = service.dump(facts())
    assert (report.device, report.complete, report.swap[0].why) == ("fake0", True, why)
    assert (spare.calls, device.calls[-1]) == ([], "shutdown")
    done = save(as_target(device, tmp_path / "d.img"), str(tmp_path / "out"))
    assert (done.state, done.pages, done.whole) == (DumpState.COMPLETE, 14, False)


def test_a_shutdown_that_fails(tmp_path: Path) -> None:
    """Everything is on the medium by then: told, and no more."""
    memory = MixedMemory(RUNS)
    device, area = FakeDevice(memory, 60), area_of(memory)
    device.shutdown_error = -5
    report = dump_with_swap(memory, device, area)
    assert (report.complete, report.swap_whole) == (True, True)
    assert report.swap[0].why == "the dump device failed at its shutdown: error -EIO"


def test_memory_that_cannot_be_flushed_is_no_dump() -> None:
    """As without swap areas: the next device gets its chance, and no swap area is touched."""
    memory = MixedMemory(RUNS)
    device, area = FakeDevice(memory, 60), area_of(memory)
    device.flush_error = -5
    report = dump_with_swap(memory, device, area)
    assert (report.device, report.swap, area.calls) == (None, (), [])


def test_strict_is_passed_on() -> None:
    """An adapter that cannot tell whether it is sane is as good for swap as for a dump."""
    memory = MixedMemory(RUNS)
    area = area_of(memory)
    dump_with_swap(memory, FakeDevice(memory, 60), area, allow_risky_dumps=False)
    assert area.calls[0] == "take_up beside fake0, strict"


# -- power cuts ---------------------------------------------------------------------------------------------------


@define
class TornDevice(CachedDevice):
    """Writes are volatile until `flush`: a power cut keeps any of them."""

    durable: bytearray = field(factory=bytearray)

    def flush(self) -> int:
        self.durable[:] = self.medium
        return super().flush()

    def after_a_power_cut(self, seed: int) -> bytes:
        """What may be on the medium: some of the blocks in the cache, one of them torn."""
        medium, chance = bytearray(self.durable), random.Random(seed)
        for number, (block, data) in enumerate(self.volatile.items()):
            if chance.random() < 0.5:
                kept = 4096 if number else chance.choice((512, 2048, 4096))
                medium[block * 4096:block * 4096 + kept] = data[:kept]
        return bytes(medium)


def missing_pages(image: Path) -> set[int]:
    """What the list beside *image* has."""
    lines = image.with_name("swap-1-missing.txt").read_text().splitlines()[1:]
    return {page for first, count in (map(int, line.split()) for line in lines) for page in range(first, first + count)}


@pytest.mark.parametrize("codec", ["none", "zlib"])
def test_a_power_cut_in_the_swap_part(codec: str, tmp_path: Path) -> None:
    """At any write: a whole dump of the memory, an image with right pages and a list of the others, a mended device."""
    memory = MixedMemory(RUNS)
    pages = 33_000                                      # two windows of the maps
    medium = bytearray(swap_area(20) + bytes((pages - 20) * 4096))
    medium[1028:1032] = struct.pack("<I", pages - 1)
    used = [*range(1, 20), *range(300, pages, 1200)]
    for number in used[19:]:
        medium[number * 4096:(number + 1) * 4096] = data_page(number + 1)
    device, area = TornDevice(memory, 100), FakeSwap(memory, medium, max_blocks=32)
    device.durable[:] = device.medium
    fresh, target = bytes(device.medium), DumpTarget(str(tmp_path / "d.img"))
    seen: list[int] = []

    def look(last: bool = False) -> None:
        header = DiskDumpHeader.on(X86_64).unpack(device.durable[4096:8192])
        if header.signature != b"DISKDUMP" or header.status not in (0, 8):
            return                                      # the memory is still being written
        Path(target.path).write_bytes(device.after_a_power_cut(len(device.calls)))
        done = save(target, str(tmp_path / "out"))
        assert (done.state, done.pages) == (DumpState.COMPLETE, 14)
        assert Path(target.path).read_bytes()[3 * 4096:] == fresh[3 * 4096:]
        image, = done.swap
        seen.append(-1 if image.path is None else image.missing_pages)
        if image.path is None:
            assert image.why == "not saved: the dump ended before it"
            return
        assert last is (image.missing_pages == 0)
        lost = set() if last else missing_pages(Path(image.path))
        assert len(lost) == image.missing_pages
        with open(image.path, "rb") as file:
            for number in used:
                file.seek(number * 4096)
                wanted = bytes(4096) if number in lost else medium[number * 4096:(number + 1) * 4096]
                assert file.read(4096) == wanted

    device.look = look
    report = dump_with_swap(memory, device, area, codec=codec)
    assert (report.swap_whole, report.swap[0].why) == (True, "")
    device.look = lambda: None
    look(last=True)
    behind = pages - 32_768
    assert {-1, pages - 1, 0} < set(seen)
    assert all(number in (-1, 0, pages - 1) or behind <= number < behind + len(used) for number in seen)


def test_a_head_of_an_older_dump(tmp_path: Path) -> None:
    """Left over on a device that is not wholly formatted: its crash was another, and it is not taken for this one's."""
    memory = MixedMemory(RUNS)
    device = FakeDevice(memory, 60)
    dump_with_swap(memory, device, area_of(memory))
    medium = bytearray(device.medium)
    seconds, = struct.unpack_from("<q", medium, 4096 + 408)
    struct.pack_into("<q", medium, 4096 + 408, seconds + 1)
    (tmp_path / "d.img").write_bytes(medium)
    found = read_partition(DumpTarget(str(tmp_path / "d.img")))
    assert found.swap is not None
    assert [area.missing for area in found.swap.areas] == ["not saved: the dump ended before it"]
    assert (found.state, found.swap.touched_end) == (DumpState.COMPLETE, 38)


# -- registration, memory -----------------------------------------------------------------------------------------


def test_areas_that_cannot_be_registered() -> None:
    """Pages of another size, an area larger than its device, one too many."""
    memory = MixedMemory(RUNS)
    service = DiskDump(memory, memory.scratch, CodeImage.take([]), DumpConfig())
    area = area_of(memory)
    for header in (evolve(area.header, page_size=8192), evolve(area.header, pages=21)):
        with pytest.raises(UsageError, match="a swap area lies on its device, in pages of the machine's size"):
            service.register_swap(area, header)
    for _ in range(MAX_AREAS):
        service.register_swap(area, area.header)
    with pytest.raises(UsageError, match="there are 32 swap areas already, the most that Linux uses"):
        service.register_swap(area, area.header)


def test_saving_stays_inside_its_budget() -> None:
    """After the crash nothing grows with the area: it takes what was declared, and what the fakes make."""
    memory = MixedMemory(RUNS)
    medium = bytearray(swap_area(20) + bytes(39_980 * 4096))
    medium[1028:1032] = struct.pack("<I", 39_999)
    device, area = FakeDevice(memory, 100), FakeSwap(memory, medium, max_blocks=32)
    service = DiskDump(memory, memory.scratch, CodeImage.take([]), DumpConfig(codec="zstd"))
    service.register(device)
    service.register_swap(area, area.header)
    saver = service._swap
    assert saver is not None
    assert saver.budget_bytes == 2 * 8 * 4096 + (64 + 8) * 4096
    service.core.verify()
    tracemalloc.start()
    try:
        report = service.dump(facts())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # the fakes copy what they are given: 32 pages, twice; a dump of the few pages of memory, and the log of their calls
    assert peak < saver.budget_bytes + (2 << 20)
    assert (report.swap_whole, report.swap[0].saved, len(frames(memory))) == (True, 15, 14)
