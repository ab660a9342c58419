"""The dump device on an IDE disk: order, refusals, geometry, data."""

from __future__ import annotations

import errno
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ddsdk.ata.ide_dump import AtaDumpDevice
from ddsdk.ata.scan import scan_hwif
from ddsdk.ata.taskfile import IdeDone, IdeTask
from ddsdk.diskdump.device import DumpDevice
from ddsdk.errors import DriverFault, UsageError
from ddsdk.hookspecs import HookTracer
from ddsdk.integrity import CodeImage
from ddsdk.sim import disk_faults as faults
from ddsdk.sim.ata_drive import AtaDrive, AtaIdentity
from ddsdk.sim.disk import Disk
from ddsdk.sim.disk_faults import Access
from tests.ata.fake_hwif import MS, S, World, build, no_code

PAGE = 4096
HIGH = 5 << 30


@pytest.fixture
def world() -> World:
    """A healthy machine."""
    return build()


# --- sanity ------------------------------------------------------------------------------------------------


def test_sane(world: World) -> None:
    """A healthy device is sane, gives no reason, and is not touched."""
    device = world.device()
    world.crash()
    assert device.sanity_check() == 0
    assert device.why == ""
    assert world.driver.calls == ["sanity"]
    assert world.hardware.log == []


def damaged_image() -> CodeImage:
    """An image of a module whose function was changed afterwards."""
    module = ModuleType("drv")
    exec("def f():\n    return 1\n", module.__dict__)
    image = CodeImage.take([module])
    module.f.__code__ = module.f.__code__.replace(co_consts=(None, 2))
    return image


def test_sanity_order(world: World) -> None:
    """CRC before the drive's state before the driver's hook before the lock: each hides what follows."""
    device = world.device(image=damaged_image())
    sound = world.device()
    world.kernel.spin_lock(world.driver.hwif.ide_lock)
    drive = world.drive
    drive.present, drive.dead, drive.changed, world.driver.sane = False, True, True, -errno.ENXIO
    world.crash()
    assert device.sanity_check() == -errno.EINVAL
    assert device.why.startswith("checksum error, the driver's code may be compromised: ")
    assert world.driver.calls == []
    assert (sound.sanity_check(), sound.why) == (-errno.EIO, "the drive did not answer when the channel was scanned")
    drive.present = True
    assert (sound.sanity_check(), sound.why) == (-errno.EIO, "the drive cannot be used")
    drive.dead = False
    assert (sound.sanity_check(), sound.why) == (
        -errno.EIO, "the medium was changed since the device was registered")
    drive.changed = False
    assert (sound.sanity_check(), sound.why) == (-errno.ENXIO, "dump_sanity_check of fake refuses: -ENXIO")
    world.driver.sane = 0
    assert sound.sanity_check() == -errno.EIO
    assert sound.why == (f"ide_lock is held, taken at {world.driver.hwif.ide_lock.taken_in}; nobody will release it")


# --- quiesce -----------------------------------------------------------------------------------------------


def test_quiesce_order(world: World) -> None:
    """Driver's quiesce, soft reset under ide_lock, 5 s, IDENTIFY, transfer mode, multiple mode, write cache on."""
    device = world.device()
    world.crash()
    before = world.machine.clock.now_ns
    assert device.quiesce() == 0
    assert world.driver.calls == ["quiesce", "reset"]
    assert all(world.driver.locked)
    assert world.driver.hwif.ide_lock.owner is None
    assert world.hardware.log == [("reset",), ("cmd", 0xEC), ("cmd", 0xEF), ("cmd", 0xC6), ("cmd", 0xEF)]
    assert 5 * S <= world.machine.clock.now_ns - before <= 5 * S + 2 * MS
    assert world.disk.write_cache
    assert (world.ata.multiple, world.ata.dma_mode) == (16, 0x44)
    assert device.warnings == []


def test_quiesce_while_a_command_is_in_flight() -> None:
    """The crash caught the load's command: the reset ends it, and its completion is nobody's."""
    from ddsdk.ata.load import IoLoad, Region

    world = build(ncpus=2)
    load = IoLoad(world.drive, Region(4096, 1024, True), 3)
    device = world.device()
    load.start()
    world.machine.run(for_ns=5 * MS)
    world.crash()
    assert world.driver.outstanding is not None
    assert device.sanity_check() == 0
    assert device.quiesce() == 0
    data = world.fill(0, PAGE)
    assert device.rw_block(True, 0, [(0, PAGE)]) == 0
    assert world.on_disk(64, PAGE) == data
    world.machine.close()


@pytest.mark.parametrize(("result", "error"), [(-errno.EBUSY, -errno.EBUSY), (5, -5)])
def test_quiesce_refused_by_the_driver(world: World, result: int, error: int) -> None:
    """Anything but 0 rejects the device, and no reset is tried."""
    world.driver.quiesce_result = result
    device = world.device()
    world.crash()
    assert device.quiesce() == error
    assert "quiesce of fake" in device.why
    assert world.hardware.log == []
    assert world.kernel.poll is None


def test_failed_reset_is_fatal(world: World) -> None:
    """What the shipped port took for success (hw-ide.md 8); the driver's last word is the reason."""
    world.hardware.reset_fails = True
    device = world.device()
    world.crash()
    assert (device.quiesce(), device.why) == (-errno.EIO, "the channel reset handler failed")
    world.driver.before_reset = lambda: world.kernel.printk("fake: BSY for 31 s")
    assert device.quiesce() == -errno.EIO
    assert device.why == "the channel reset handler failed; the driver's last word: fake: BSY for 31 s"


def test_a_driver_without_reset() -> None:
    """It is taken at its word that there is nothing to reset."""
    world = build(reset=False)
    device = world.device()
    world.crash()
    assert device.quiesce() == 0


def test_failed_identify_is_fatal(world: World) -> None:
    """IDENTIFY after the reset is the first proof that commands work."""
    device = world.device()
    world.crash()
    world.hardware.override.append(0x51)
    assert device.quiesce() == -errno.EIO
    assert device.why == "IDENTIFY DEVICE to fake0:0:1: it failed (status 51, error 00)"


@pytest.mark.parametrize(("identity", "why"), [
    ({"serial": "other"}, "another drive answers: DDSDK DISK other, registered was DDSDK DISK DD000001"),
    ({"model": "M"}, "another drive answers: M DD000001, registered was DDSDK DISK DD000001")])
def test_another_drive_answers(world: World, identity: dict[str, Any], why: str) -> None:
    """The dump does not go onto a disk that was not registered."""
    device = world.device()
    world.crash()
    world.hardware.drives[1] = AtaDrive(Disk(bytearray(4 << 20)), AtaIdentity(**identity))
    assert (device.quiesce(), device.why) == (-errno.ENODEV, why)


def test_a_drive_that_locked_itself(world: World) -> None:
    """A security feature that the reset brought back is said, not found out write by write."""
    from tests.ata.test_scan import Locked

    device = world.device()
    world.crash()
    world.hardware.drives[1] = Locked(world.disk)
    assert (device.quiesce(), device.why) == (-errno.EIO, "after the reset the drive is locked by a password")


def test_the_partition_moved(world: World) -> None:
    """A capacity that the reset changed (a host protected area, hw-ide.md 9) must still hold the partition."""
    device = world.device()
    world.crash()
    world.disk.sectors = 2111
    assert device.quiesce() == -errno.ENODEV
    assert device.why == ("after the reset the drive has 2111 sectors of 512 bytes, the partition ends at sector 2112"
                          " of 512")
    world.disk.sectors = 2112
    assert device.quiesce() == 0


def test_what_the_drive_refuses_is_a_warning(world: World) -> None:
    """Transfer mode, multiple mode, cache: it works without, slower."""
    device = world.device()
    world.crash()
    world.disk.inject(faults.check_condition(0x5, 0x24, on=Access.OTHER, times=3))
    assert device.quiesce() == 0
    aborted = "to fake0:0:1: the drive aborted it (status 51, error 04)"
    assert device.warnings == [f"SET FEATURES {aborted}; data moves by programmed I/O",
                               f"SET MULTIPLE MODE {aborted}; one sector a block",
                               f"SET FEATURES {aborted}; the write cache stays as it is"]
    assert (device.why, world.disk.write_cache) == ("", False)
    data = world.fill(0, PAGE)
    assert device.rw_block(True, 0, [(0, PAGE)]) == 0
    assert world.hardware.codes[-1] == 0x34
    assert world.on_disk(64, PAGE) == data


@pytest.mark.parametrize(("identity", "options", "cache", "commands"), [
    ({}, {}, True, [0xEF]), ({}, {"set_wce": False}, False, []), ({"write_cache": False}, {}, False, []),
    ({"flush": False}, {}, False, [0xEF])])
def test_write_cache(identity: dict[str, Any], options: dict[str, Any], cache: bool, commands: list[int]) -> None:
    """On where FLUSH CACHE can empty it; off where nothing can; left alone by request, or where there is none."""
    world = build(identity=identity, ultra_mask=0)
    world.ata._power_on_cache = identity.get("flush") is False
    device = world.device(**options)
    world.crash()
    assert device.quiesce() == 0
    assert world.hardware.codes == [0xEC, 0xC6, *commands]
    assert world.disk.write_cache is cache


def test_driver_sleeping_in_its_reset_is_polled(world: World) -> None:
    """kernel.poll is the device's dump_poll while it is dumped to, so that a driver's own wait can make progress."""
    device = world.device()
    world.crash()
    seen: list[object] = []
    world.driver.before_reset = lambda: seen.append(world.kernel.poll)
    device.quiesce()
    assert seen[0] is not None
    device.shutdown()
    assert world.kernel.poll is None


# --- moving data -------------------------------------------------------------------------------------------

WAYS = [("dma", {}, {}), ("multiple", {"ultra_mask": 0}, {}), ("sectors", {"ultra_mask": 0}, {"max_multiple": 0}),
        ("28 bits", {"no_lba48": True}, {}), ("old", {"ultra_mask": 0}, {"lba48": False, "flush": False})]


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize(("info", "identity"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS])
def test_write_and_read_back(sector_size: int, info: dict[str, Any], identity: dict[str, Any]) -> None:
    """Pages land at the partition's start plus block, whatever the way and the sector size, and nowhere else."""
    world = build(sector_size=sector_size, identity=identity, **info)
    device = world.ready()
    assert (device.blocks, device.max_blocks) == (256, 32)
    data = world.fill(0x10000, 4 * PAGE)
    assert device.rw_block(True, 5, [(0x10000, PAGE), (0x12000, PAGE), (0x11000, PAGE), (0x13000, PAGE)]) == 0
    scattered = data[:PAGE] + data[2 * PAGE:3 * PAGE] + data[PAGE:2 * PAGE] + data[3 * PAGE:]
    start = 64 * 512 + 5 * PAGE
    assert world.on_disk(start // sector_size, 4 * PAGE) == scattered
    everything = world.on_disk(0, 4 << 20)
    assert not any(everything[:start])
    assert not any(everything[start + 4 * PAGE:])
    assert device.rw_block(False, 5, [(0x20000, 4 * PAGE)]) == 0
    assert world.machine.memory.read(0x20000, 4 * PAGE) == scattered


def test_scatter_list_reaches_the_driver_untouched(world: World) -> None:
    """The very object, physical addresses and all: nothing is copied on the way."""
    seen: list[object] = []
    real = world.driver.do_rw_taskfile

    def spy(task: IdeTask, done: IdeDone) -> int:
        seen.append(task.sg)
        return real(task, done)

    object.__setattr__(world.driver.hwif.port_info, "do_rw_taskfile", spy)
    device = world.ready()
    sg = ((0x10000, PAGE),)
    assert device.rw_block(True, 0, sg) == 0
    assert seen[-1] is sg


@pytest.mark.parametrize(("block", "pages"), [(256, 1), (255, 2), (-1, 1), (1 << 40, 1), (0, 257)])
def test_outside_the_partition(world: World, block: int, pages: int) -> None:
    """Start and end are checked (the shipped port looked at the count only); no command is sent."""
    device = world.ready()
    assert device.rw_block(True, block, [(0, pages * PAGE)]) == -errno.EFBIG
    assert device.why == f"blocks {block}..{block + pages - 1} are outside the partition of 256 blocks"
    assert world.hardware.log == []


def test_half_a_page(world: World) -> None:
    """Blocks are whole pages."""
    device = world.ready()
    assert device.rw_block(True, 0, [(0, 2048)]) == -errno.EINVAL
    assert device.why == "2048 bytes at block 0 are not whole pages of 4096"


def test_long_transfers_are_split(world: World) -> None:
    """256 sectors a command: 100 pages are four commands."""
    device = world.ready()
    data = world.fill(0, 100 * PAGE)
    assert device.rw_block(True, 0, [(0, 100 * PAGE)]) == 0
    assert world.hardware.codes == [0x35] * 4
    assert world.on_disk(64, 100 * PAGE) == data


def test_long_scatter_lists_are_split(world: World) -> None:
    """Eight segments a command: 20 scattered pages are three commands."""
    device = world.ready()
    data = world.fill(0, 40 * PAGE)
    assert device.rw_block(True, 0, [(2 * i * PAGE, PAGE) for i in range(20)]) == 0
    assert len(world.hardware.log) == 3
    assert world.on_disk(64, 20 * PAGE) == b"".join(data[2 * i * PAGE:(2 * i + 1) * PAGE] for i in range(20))


@pytest.mark.parametrize(("options", "blocks"), [
    ({"max_sectors": 1 << 20}, 65536 * 512 // PAGE), ({"max_sectors": 1 << 20, "no_lba48": True}, 32),
    ({"max_sectors": 256}, 32), ({"max_sectors": 128}, 16),
    ({"max_sectors": 1 << 20, "no_lba48": True, "sector_size": 4096}, 256)])
def test_what_one_command_can_carry(options: dict[str, Any], blocks: int) -> None:
    """The driver's max_sectors counts 512 bytes; the count register counts the drive's sectors: 256, or 65536."""
    assert build(**options).device().max_blocks == blocks


def test_a_full_28_bit_command() -> None:
    """256 sectors: the count in the register is 0."""
    world = build(no_lba48=True)
    device = world.ready()
    data = world.fill(0, 32 * PAGE)
    assert device.rw_block(True, 0, [(0, 32 * PAGE)]) == 0
    assert world.hardware.codes == [0xCA]
    assert world.on_disk(64, 32 * PAGE) == data


def test_sectors_beyond_28_and_32_bits(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """All 48 bits are written (the shipped port wrote 32)."""
    base = 0x123456789 // 8 * 8
    world.disk.sectors = world.drive.nr_sectors = base + 4096
    world.disk.size_bytes = world.disk.sectors * 512
    device = world.device(start_sector=base, nr_sectors=2048)
    world.crash()
    assert device.quiesce() == 0
    sent: list[int] = []
    monkeypatch.setattr(world.disk, "writev", lambda sector, views, fua=False: sent.append(sector))
    assert device.rw_block(True, 1, [(0, PAGE)]) == 0
    assert sent == [base + 8]


def test_a_partition_that_28_bits_do_not_reach() -> None:
    """Refused when it is registered: the drive's end is at 0FFFFFFF sectors there."""
    world = build(scan=False, identity={"lba48": False})
    world.disk.sectors = 1 << 29
    with world.machine:
        scan_hwif(world.driver.hwif)
        with pytest.raises(UsageError) as error:
            world.device(start_sector=(1 << 28) - 8, nr_sectors=4096)
    assert "the disk has 268435455 of 512 bytes" in str(error.value)


@pytest.mark.parametrize(("options", "message"), [
    ({"nr_sectors": 8192}, "the partition ends at sector 8256, the disk has 8192 of 512 bytes"),
    ({"start_sector": -8}, "the partition ends at sector 2040, the disk has 8192"),
    ({"page_size": 1000}, "a page of 1000 bytes and a partition at byte 32768 must be whole sectors of 512")])
def test_impossible_partitions(world: World, options: dict[str, Any], message: str) -> None:
    """Refused when the device is registered, not at the crash."""
    with pytest.raises(UsageError) as error:
        world.device(**options)
    assert message in str(error.value)


# --- streaming, shutdown -----------------------------------------------------------------------------------


def test_stream_reports_errors_by_chunk(world: World) -> None:
    """A bad sector fails its own chunk and no other; a chunk outside the partition is -EFBIG."""
    device = world.ready()
    world.disk.inject(faults.medium_error(64 + 8 * 5))
    chunks = [(i, [(i * PAGE, PAGE)]) for i in range(8)] + [(256, [(0, PAGE)])]
    ended = {block: error for block, _, error in device.stream(True, chunks)}
    assert {block for block, error in ended.items() if error} == {5, 256}
    assert (ended[5], ended[256]) == (-errno.EIO, -errno.EFBIG)


def test_shutdown_flushes(world: World) -> None:
    """FLUSH CACHE EXT, then the driver's shutdown; the second call does nothing."""
    device = world.ready()
    assert device.shutdown() == 0
    assert world.hardware.codes == [0xEA]
    assert world.driver.calls == ["shutdown"]
    assert device.shutdown() == 0
    assert world.driver.calls == ["shutdown"]


@pytest.mark.parametrize(("identity", "codes"), [({"lba48": False}, [0xE7]), ({"flush": False}, [])])
def test_the_flush_the_drive_has(identity: dict[str, Any], codes: list[int]) -> None:
    """FLUSH CACHE without LBA48; nothing where there is neither: the cache was switched off."""
    world = build(identity=identity)
    device = world.ready()
    assert device.flush() == 0
    assert world.hardware.codes == codes


def test_power_cut_before_and_after_the_flush() -> None:
    """What the dump wrote with the cache on is lost before the flush and safe after it."""
    for flushed in (False, True):
        world = build()
        world.disk.volatile_cache = True
        device = world.ready()
        data = world.fill(0, PAGE)
        assert device.rw_block(True, 0, [(0, PAGE)]) == 0
        if flushed:
            assert device.flush() == 0
        world.disk.power_off()
        assert (world.on_disk(64, PAGE) == data) is flushed


def test_failed_flush_is_an_error(world: World) -> None:
    """The dump is not durable, and says so; the driver is shut down all the same."""
    device = world.ready()
    world.disk.inject(faults.sync_fails())
    assert device.shutdown() == -errno.EIO
    assert device.why == "FLUSH CACHE EXT to fake0:0:1: device fault (status 70)"
    assert world.driver.calls == ["shutdown"]


def test_shutdown_of_a_device_never_used(world: World) -> None:
    """No command, no hook."""
    device = world.device()
    world.crash()
    assert device.shutdown() == 0
    assert (world.driver.calls, world.hardware.log) == ([], [])


# --- drivers that raise, observers -------------------------------------------------------------------------


def test_exception_out_of_a_driver_is_a_driver_fault(world: World) -> None:
    """A Python bug in do_rw_taskfile is reported as the driver's, with its place, in one line."""
    device = world.ready()
    world.driver.raises = KeyError("tag\n5")
    with pytest.raises(DriverFault) as fault:
        device.rw_block(True, 0, [(0, PAGE)])
    assert str(fault.value).startswith("fake: KeyError: 'tag\\n5' at fake_hwif.py:")
    assert str(fault.value).endswith(" in do_rw_taskfile; a driver must not raise while dumping")


def test_observers_see_every_poll(world: World) -> None:
    """A hook tracer on the device records its polls, and the dump works through it."""
    seen: list[str] = []
    device = world.device(observers=[HookTracer(lambda _kind, name, _result: seen.append(name))])
    world.crash()
    assert device.quiesce() == 0
    seen.clear()
    assert device.rw_block(True, 0, [(0, PAGE)]) == 0
    assert seen == ["dump_poll", "dump_poll"]


def test_same_run_same_time() -> None:
    """Two machines doing the same end at the same nanosecond with the same medium."""
    def one() -> tuple[int, bytes]:
        world = build()
        device = world.ready()
        world.fill(0, 32 * PAGE)
        world.disk.inject(faults.aborted_command(times=3))
        list(device.stream(True, [(i, [(i * PAGE, PAGE)]) for i in range(32)]))
        device.shutdown()
        return world.machine.clock.now_ns, world.on_disk(0, 4 << 20)

    assert one() == one()


def test_conforms_to_what_the_engine_expects(world: World) -> None:
    """Every member of the engine's DumpDevice protocol is there."""
    device = world.device()
    members = [name for name in vars(DumpDevice) if not name.startswith("_")]
    assert members
    assert all(hasattr(device, name) for name in members)
    assert isinstance(device, AtaDumpDevice)
    assert no_code().verify() == []


# --- memory beyond the adapter's reach -----------------------------------------------------------------------


class Spy:
    """The hardware, and where the memory of each command ends."""

    def __init__(self, hardware: Any, ends: list[int]) -> None:
        self._hardware = hardware
        self._ends = ends

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hardware, name)

    def start(self, task: IdeTask) -> None:
        """Look, and pass it on."""
        self._ends.extend(paddr + length for paddr, length in task.sg)
        self._hardware.start(task)


def with_high_memory(ultra_mask: int) -> tuple[World, bytes, list[int]]:
    """Memory at 5 GiB, an interface that reaches 32 bits; where its commands' memory ends is remembered."""
    world = build(high=HIGH, ultra_mask=ultra_mask)
    world.driver.hwif.pdev = SimpleNamespace(dma_mask=0xFFFF_FFFF)      # type: ignore[assignment]
    ends: list[int] = []
    world.driver.hardware = Spy(world.hardware, ends)       # type: ignore[assignment]
    return world, world.fill(HIGH, 40 * PAGE, 9), ends


def test_memory_beyond_the_dma_mask_is_copied() -> None:
    """An interface with a bus master sees nothing above 4 GiB; every page arrives all the same."""
    world, data, ends = with_high_memory(0x1F)
    assert world.ready().rw_block(True, 1, [(HIGH, 40 * PAGE)]) == 0
    assert world.on_disk(64 + 8, 40 * PAGE) == data
    assert max(ends) <= 1 << 32


def test_programmed_io_reaches_all_memory() -> None:
    """The processor moves the data: nothing is copied first."""
    world, data, ends = with_high_memory(0)
    assert world.ready().rw_block(True, 1, [(HIGH, 40 * PAGE)]) == 0
    assert world.on_disk(64 + 8, 40 * PAGE) == data
    assert max(ends) == HIGH + 40 * PAGE
