"""The dump device on a SCSI disk: order, refusals, geometry, data."""

from __future__ import annotations

import errno
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ddsdk.errors import DriverFault, UsageError
from ddsdk.hookspecs import HookTracer
from ddsdk.integrity import CodeImage
from ddsdk.scsi.cmnd import ScsiCmnd
from ddsdk.scsi.host import ScsiDevice
from ddsdk.scsi.scsi_dump import ScsiDumpDevice
from ddsdk.sim import disk_faults as faults
from ddsdk.sim.disk_faults import Access
from tests.scsi.fake_hba import MS, S, World, build, no_code

PAGE = 4096


@pytest.fixture
def world() -> World:
    """A healthy machine."""
    return build()


# --- sanity ------------------------------------------------------------------------------------------------


def test_sane(world: World) -> None:
    """A healthy device is sane and gives no reason."""
    device = world.device()
    world.crash()
    assert device.sanity_check() == 0
    assert device.why == ""
    assert world.driver.calls == ["sanity"]


def damaged_image() -> CodeImage:
    """An image of a module whose function was changed afterwards."""
    module = ModuleType("drv")
    exec("def f():\n    return 1\n", module.__dict__)
    image = CodeImage.take([module])
    module.f.__code__ = module.f.__code__.replace(co_consts=(None, 2))
    return image


def test_sanity_order(world: World) -> None:
    """CRC before online before changed before the driver's hook before the host lock: each hides what
    follows.
    """
    device = world.device(image=damaged_image())
    sound = world.device()
    world.kernel.spin_lock(world.driver.host.host_lock)
    world.sdev.online, world.sdev.changed, world.driver.sane = False, True, -errno.ENXIO
    world.crash()
    assert device.sanity_check() == -errno.EINVAL
    assert device.why.startswith("checksum error, the driver's code may be compromised: ")
    assert world.driver.calls == []
    assert (sound.sanity_check(), sound.why) == (-errno.EIO, "the device is offline")
    world.sdev.online = True
    assert (sound.sanity_check(), sound.why) == (
        -errno.EIO, "the medium was changed since the device was registered")
    world.sdev.changed = False
    assert (sound.sanity_check(), sound.why) == (
        -errno.ENXIO, "dump_sanity_check of fake refuses: -ENXIO")
    world.driver.sane = 0
    assert sound.sanity_check() == -errno.EIO
    assert sound.why == (f"host_lock is held, taken at {world.driver.host.host_lock.taken_in};"
                         " nobody will release it")


def test_image_is_verified_once(world: World) -> None:
    """Damage found in the first pass is not forgotten in the second; a sound image is not computed again."""
    device = world.device(image=damaged_image())
    world.crash()
    assert device.sanity_check() == -errno.EINVAL
    assert device.sanity_check() == -errno.EINVAL


@pytest.mark.parametrize(("answer", "verdict", "why"), [
    (None, 0, ""), (0, 0, ""), (3, 3, "dump_sanity_check of fake cannot tell"),
    (-16, -16, "dump_sanity_check of fake refuses: -EBUSY"),
    ("no", -22, "dump_sanity_check of fake returned 'no', not 0 or -errno")])
def test_what_the_hook_may_answer(world: World, answer: object, verdict: int, why: str) -> None:
    """None is 0; positive is cannot tell; what is no number is refused."""
    world.driver.sane = answer
    device = world.device()
    world.crash()
    assert (device.sanity_check(), device.why) == (verdict, why)


# --- quiesce -----------------------------------------------------------------------------------------------


def test_quiesce_order(world: World) -> None:
    """Driver's quiesce, host reset under host_lock, 5 s, REQUEST SENSE, MODE SENSE, MODE SELECT: the cache is
    on.
    """
    device = world.device()
    world.crash()
    before = world.machine.clock.now_ns
    assert device.quiesce() == 0
    assert world.driver.calls == ["quiesce", "reset"]
    assert all(world.driver.locked)
    assert world.driver.host.host_lock.owner is None
    assert world.hardware.log == [("reset",), ("cmnd", 0x03), ("cmnd", 0x1A), ("cmnd", 0x15)]
    assert 5 * S <= world.machine.clock.now_ns - before <= 5 * S + MS
    assert world.disk.write_cache
    assert device.warnings == []


def test_settling_runs_timers(world: World) -> None:
    """During the 5 s diskdump_update() runs every millisecond: jiffies move by 5000 at HZ 1000."""
    device = world.device()
    world.crash()
    before = world.kernel.jiffies
    device.quiesce()
    assert 5000 <= world.kernel.jiffies - before <= 5002


def test_bus_reset_when_there_is_no_host_reset() -> None:
    """eh_bus_reset_handler stands in."""
    world = build(host_reset=False)
    device = world.device()
    world.crash()
    assert device.quiesce() == 0
    assert world.driver.calls == ["quiesce", "reset"]


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
    """FAILED from the handler ends it."""
    world.hardware.reset_fails = True
    device = world.device()
    world.crash()
    assert (device.quiesce(), device.why) == (-errno.EIO, "the host reset handler failed")


def test_failed_reset_quotes_the_driver(world: World) -> None:
    """What the driver printed last while it failed is the reason that a user can act on."""
    world.hardware.reset_fails = True
    world.driver.before_reset = lambda: world.kernel.printk("fake: no answer within 60 s")
    device = world.device()
    world.crash()
    assert device.quiesce() == -errno.EIO
    assert device.why == "the host reset handler failed; the driver's last word: fake: no answer within 60 s"


def test_failed_request_sense_is_fatal(world: World) -> None:
    """REQUEST SENSE after the reset is the first proof that commands work."""
    world.disk.inject(faults.check_condition(0x4, 0x44, on=Access.SENSE, times=None))
    device = world.device()
    world.crash()
    assert device.quiesce() == -errno.EIO
    assert device.why == "REQUEST SENSE to fake0:0:1:0: HARDWARE ERROR 44/00 (internal target failure)"


def test_mode_sense_failure_is_a_warning() -> None:
    """A target without the page is used with the cache as it is, after a REQUEST SENSE."""
    world = build(target={"has_caching_page": False})
    device = world.device()
    world.crash()
    assert device.quiesce() == 0
    assert world.hardware.log == [("reset",), ("cmnd", 0x03), ("cmnd", 0x1A), ("cmnd", 0x03)]
    assert device.warnings == ["MODE SENSE to fake0:0:1:0: ILLEGAL REQUEST 24/00 (invalid field in CDB); the"
                               " write cache stays as it is"]
    assert device.why == ""


def test_cache_already_on_is_left_alone(world: World) -> None:
    """No MODE SELECT when WCE is set (saved, so that it survives the reset)."""
    world.disk.write_cache = world.target.units[0].saved_wce = True
    world.ready()
    assert world.disk.write_cache


@pytest.mark.parametrize("options", [{"set_wce": False}, {}])
def test_no_mode_pages_for_old_disks_or_by_request(options: dict[str, Any]) -> None:
    """SCSI-1 devices and set_wce=False skip the caching page."""
    world = build()
    if not options:
        world.sdev.scsi_level = 2
    device = world.device(**options)
    world.crash()
    assert device.quiesce() == 0
    assert world.hardware.log == [("reset",), ("cmnd", 0x03)]


def test_driver_sleeping_in_its_reset_is_polled(world: World) -> None:
    """kernel.poll is the device's dump_poll while it is dumped to, so that a driver's own wait can make
    progress.
    """
    device = world.device()
    world.crash()
    seen: list[object] = []
    world.driver.before_reset = lambda: seen.append(world.kernel.poll)
    assert world.kernel.poll is None
    device.quiesce()
    assert seen[0] is not None
    device.shutdown()
    assert world.kernel.poll is None


# --- moving data -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sector_size", [512, 1024, 2048, 4096])
def test_write_and_read_back(sector_size: int) -> None:
    """Pages land at the partition's start plus block, whatever the sector size, and nowhere else."""
    world = build(sector_size=sector_size)
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


def test_scatter_list_reaches_the_driver_untouched(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The very object: nothing is copied on the way."""
    device = world.ready()
    sg = ((0x10000, PAGE),)
    seen: list[object] = []
    monkeypatch.setattr(world.driver, "hardware", Spy(world.hardware, seen))
    assert device.rw_block(True, 0, sg) == 0
    assert seen[0] is sg


class Spy:
    """Notes the scatter list of each command."""

    def __init__(self, hardware: Any, seen: list[object]) -> None:
        self._hardware, self._seen = hardware, seen

    def start(self, scmd: ScsiCmnd) -> None:
        """Note, then go on."""
        self._seen.append(scmd.sg)
        self._hardware.start(scmd)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hardware, name)


@pytest.mark.parametrize(("block", "pages"), [(256, 1), (255, 2), (-1, 1), (1 << 40, 1), (0, 257)])
def test_outside_the_partition(world: World, block: int, pages: int) -> None:
    """-EFBIG, in one sentence, and no command is sent."""
    device = world.ready()
    assert device.rw_block(True, block, [(0, pages * PAGE)]) == -errno.EFBIG
    assert device.why == (f"blocks {block}..{block + pages - 1} are outside the partition of 256"
                          " blocks")
    assert world.hardware.log == []


def test_half_a_page(world: World) -> None:
    """Blocks are whole pages."""
    device = world.ready()
    assert device.rw_block(True, 0, [(0, 2048)]) == -errno.EINVAL
    assert device.why == "2048 bytes at block 0 are not whole pages of 4096"


def test_long_transfers_are_split_by_max_sectors(world: World) -> None:
    """256 sectors a command: 100 pages are four commands."""
    device = world.ready()
    data = world.fill(0, 100 * PAGE)
    assert device.rw_block(True, 0, [(0, 100 * PAGE)]) == 0
    assert [entry[1] for entry in world.hardware.log] == [0x2A] * 4
    assert world.on_disk(64, 100 * PAGE) == data


def test_long_scatter_lists_are_split() -> None:
    """Eight segments a command: 20 scattered pages are three commands."""
    world = build(sg_tablesize=8)
    device = world.ready()
    data = world.fill(0, 40 * PAGE)
    assert device.rw_block(True, 0, [(2 * i * PAGE, PAGE) for i in range(20)]) == 0
    assert len(world.hardware.log) == 3
    assert world.on_disk(64, 20 * PAGE) == b"".join(data[2 * i * PAGE:(2 * i + 1) * PAGE] for i in range(20))


def test_page_in_too_many_pieces() -> None:
    """A page that one command cannot carry is refused."""
    world = build(sg_tablesize=2)
    device = world.ready()
    assert device.rw_block(True, 0, [(0, 1000), (8192, 1000), (16384, PAGE - 2000)]) == -errno.EINVAL
    assert device.why == ("a page in more than 2 pieces of memory, which is all the adapter"
                          " takes in a command")


def test_16_byte_commands_beyond_two_tebibytes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A partition that ends above sector 2**32 uses READ(16) and WRITE(16); below it the 10-byte forms."""
    base = 1 << 32
    world.disk.sectors = world.sdev.nr_sectors = base + 4096
    world.disk.size_bytes = world.disk.sectors * 512
    device = world.device(start_sector=base, nr_sectors=2048)
    world.crash()
    assert device.quiesce() == 0
    world.hardware.log.clear()
    sent: list[int] = []
    monkeypatch.setattr(world.disk, "writev", lambda lba, views, fua=False: sent.append(lba))
    assert device.rw_block(True, 1, [(0, PAGE)]) == 0
    assert world.hardware.log == [("cmnd", 0x8A)]
    assert sent == [base + 8]


def test_16_byte_commands_need_a_host_that_sends_them(world: World) -> None:
    """max_cmd_len 12 and sectors above 2**32 do not go together."""
    world.sdev.nr_sectors = (1 << 32) + 4096
    world.driver.host.max_cmd_len = 12
    with pytest.raises(UsageError) as error:
        world.device(start_sector=1 << 32, nr_sectors=2048)
    assert str(error.value) == ("fake0:0:1:0: sectors up to 4294969344 need 16-byte commands, fake sends at"
                                " most 12; use one below 2 TiB")


@pytest.mark.parametrize(("options", "message"), [
    ({"nr_sectors": 8192}, "the partition ends at sector 8256, the disk has 8192 of 512 bytes"),
    ({"start_sector": -8}, "the partition ends at sector 2040, the disk has 8192"),
    ({"page_size": 1000}, "a page of 1000 bytes and a partition at byte 32768 must be whole sectors of 512"),
])
def test_impossible_partitions(world: World, options: dict[str, Any], message: str) -> None:
    """Refused when the device is registered, not at the crash."""
    with pytest.raises(UsageError) as error:
        world.device(**options)
    assert message in str(error.value)


def test_partition_must_start_on_a_sector() -> None:
    """Sector 63 of a 4096-byte-sector disk is no place to start."""
    world = build(sector_size=4096)
    with pytest.raises(UsageError):
        world.device(start_sector=63)


def test_max_blocks_of_4k_sectors() -> None:
    """max_sectors counts 512 bytes; the 0xffff cap counts the disk's sectors; 16 KiB pages make fewer
    blocks.
    """
    world = build(sector_size=4096, max_sectors=1 << 20)
    assert world.device().max_blocks == 0xFFFF
    assert build(max_sectors=1 << 20).device().max_blocks == 0xFFFF * 512 // 4096
    assert build().device(page_size=16384).max_blocks == 8
    with pytest.raises(UsageError) as error:
        build(max_sectors=4).device()
    assert str(error.value) == "fake0:0:1:0: max_sectors 4 of fake is less than a page of 4096 bytes"


# --- streaming ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [1, 3, 4, 9])
def test_stream(depth: int) -> None:
    """Every chunk once, every byte in place, never more in flight than both depth and can_queue allow."""
    world = build(can_queue=4)
    device = world.ready(queue_depth=depth)
    assert device.queue_depth == min(depth, 4)
    data = world.fill(0, 64 * PAGE)
    world.hardware.most_in_flight = 0
    chunks = [(i * 4, [(i * 4 * PAGE, 4 * PAGE)]) for i in range(16)]
    ended = list(device.stream(True, iter(chunks)))
    assert sorted(ended) == [(i * 4, 4, 0) for i in range(16)]
    assert world.on_disk(64, 64 * PAGE) == data
    assert world.hardware.most_in_flight == min(depth, 4)


def test_deeper_queues_take_less_time() -> None:
    """Four in flight finish in less virtual time than one after the other."""
    def took(depth: int) -> int:
        world = build(can_queue=4)
        device = world.ready(queue_depth=depth)
        before = world.machine.clock.now_ns
        list(device.stream(True, [(i * 4, [(0, 4 * PAGE)]) for i in range(16)]))
        return world.machine.clock.now_ns - before

    assert took(4) * 3 <= took(1)


@pytest.mark.parametrize("depth", [1, 4])
def test_stream_reports_errors_by_chunk(depth: int) -> None:
    """A bad sector fails its own chunk and no other; a chunk outside the partition is -EFBIG."""
    world = build()
    device = world.ready(queue_depth=depth)
    world.disk.inject(faults.medium_error(64 + 8 * 5))
    chunks = [(i, [(i * PAGE, PAGE)]) for i in range(8)] + [(256, [(0, PAGE)])]
    ended = {block: error for block, _, error in device.stream(True, chunks)}
    assert {block for block, error in ended.items() if error} == {5, 256}
    assert (ended[5], ended[256]) == (-errno.EIO, -errno.EFBIG)


def test_stream_splits_what_does_not_fit() -> None:
    """A chunk above max_blocks is carried in several commands and reported once."""
    world = build()
    device = world.ready(queue_depth=4)
    data = world.fill(0, 80 * PAGE)
    ended = list(device.stream(True, [(0, [(0, 40 * PAGE)]), (40, [(40 * PAGE, 40 * PAGE)])]))
    assert sorted(ended) == [(0, 40, 0), (40, 40, 0)]
    assert world.on_disk(64, 80 * PAGE) == data


HIGH = 5 << 30


def short_sighted(sdev: ScsiDevice) -> None:
    """Its adapter reaches 32 bits of addresses."""
    sdev.host.pdev = SimpleNamespace(dma_mask=0xFFFFFFFF)  # type: ignore[assignment]


@pytest.mark.parametrize("depth", [1, 4])
def test_memory_beyond_the_dma_mask_is_copied(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages above 4 GiB go through memory below, in order, both ways; what the adapter reaches goes untouched."""
    world = build(high=HIGH)
    short_sighted(world.sdev)
    device = world.ready(queue_depth=depth)
    seen: list[Any] = []
    monkeypatch.setattr(world.driver, "hardware", Spy(world.hardware, seen))
    low, high = world.fill(0x10000, 3 * PAGE), world.fill(HIGH, 40 * PAGE, 9)
    chunks = [(0, [(0x10000, PAGE)]), (1, [(HIGH, 40 * PAGE)]), (41, [(0x11000, PAGE), (HIGH + 512, PAGE)]),
              (43, [(0x12000, PAGE)])]
    assert sorted(device.stream(True, chunks)) == [(0, 1, 0), (1, 40, 0), (41, 2, 0), (43, 1, 0)]
    assert world.on_disk(64, 44 * PAGE) == (low[:PAGE] + high + low[PAGE:2 * PAGE] + high[512:512 + PAGE]
                                            + low[2 * PAGE:])
    assert max(paddr + length for sg in seen for paddr, length in sg) <= 1 << 32
    assert ((0x10000, PAGE),) in [tuple(sg) for sg in seen]
    world.machine.memory.write(HIGH, bytes(40 * PAGE))
    assert device.rw_block(False, 1, [(HIGH, 40 * PAGE)]) == 0
    assert world.machine.memory.read(HIGH, 40 * PAGE) == high


def test_an_error_ends_a_copied_transfer() -> None:
    """The first command that fails is the last; the partition's end is looked at before the first."""
    world = build(high=HIGH)
    short_sighted(world.sdev)
    device = world.ready()
    world.disk.inject(faults.write_protected(after=1))
    assert device.rw_block(True, 0, [(HIGH, 40 * PAGE)]) == -errno.EROFS
    assert len(world.hardware.log) == 2
    assert device.rw_block(True, 255, [(HIGH, 2 * PAGE)]) == -errno.EFBIG


def test_no_memory_is_taken_for_an_adapter_that_reaches_all() -> None:
    """Whether its mask is wide, or the machine has nothing beyond it."""
    for world, mask in ((build(high=HIGH), (1 << 64) - 1), (build(), 0xFFFFFFFF)):
        world.sdev.host.pdev = SimpleNamespace(dma_mask=mask)  # type: ignore[assignment]
        before = world.machine.memory.reserve.free_bytes
        world.device()
        assert before - world.machine.memory.reserve.free_bytes == 4096


def test_an_adapter_that_reaches_not_even_the_reserve() -> None:
    """It cannot be dumped through; said when the device is registered."""
    world = build()
    world.sdev.host.pdev = SimpleNamespace(dma_mask=0xFFFFFF)  # type: ignore[assignment]
    with pytest.raises(UsageError, match="reaches addresses up to 0xffffff"):
        world.device()


def test_closing_a_stream_waits_for_its_commands() -> None:
    """What is in flight when the consumer stops is finished: the adapter no longer touches that memory."""
    world = build()
    device = world.ready(queue_depth=4)
    stream = device.stream(True, [(i, [(0, PAGE)]) for i in range(16)])
    next(iter(stream))
    stream.close()
    assert world.driver.outstanding == []
    assert device.rw_block(True, 0, [(0, PAGE)]) == 0


# --- shutdown ----------------------------------------------------------------------------------------------


def test_shutdown_synchronises_the_cache(world: World) -> None:
    """SYNCHRONIZE CACHE, then the driver's shutdown; the second call does nothing."""
    device = world.ready()
    assert device.shutdown() == 0
    assert world.hardware.log == [("cmnd", 0x35)]
    assert world.driver.calls == ["shutdown"]
    assert device.shutdown() == 0
    assert world.driver.calls == ["shutdown"]


def test_power_cut_before_and_after_the_flush() -> None:
    """What the dump wrote with the cache on is lost before shutdown and safe after it."""
    for flushed in (False, True):
        world = build()
        world.disk.volatile_cache = True
        device = world.ready()
        data = world.fill(0, PAGE)
        assert device.rw_block(True, 0, [(0, PAGE)]) == 0
        if flushed:
            assert device.shutdown() == 0
        world.disk.power_off()
        assert (world.on_disk(64, PAGE) == data) is flushed


def test_failed_synchronize_is_an_error(world: World) -> None:
    """The driver is shut down all the same."""
    device = world.ready()
    world.disk.inject(faults.sync_fails())
    assert device.shutdown() == -errno.EIO
    assert device.why == "SYNCHRONIZE CACHE to fake0:0:1:0: HARDWARE ERROR 44/00 (internal target failure)"
    assert world.driver.calls == ["shutdown"]


def test_target_without_synchronize_cache(world: World) -> None:
    """05/20/00: nothing to synchronise, no error."""
    device = world.ready()
    world.disk.inject(faults.check_condition(0x5, 0x20, on=Access.FLUSH))
    assert (device.shutdown(), device.why) == (0, "")


def test_shutdown_of_a_device_never_used(world: World) -> None:
    """No command, no hook."""
    device = world.device()
    world.crash()
    assert device.shutdown() == 0
    assert world.driver.calls == []


def test_failing_shutdown_hook(world: World) -> None:
    """Its error is the device's."""
    world.driver.shutdown_result = -errno.EIO
    assert world.ready().shutdown() == -errno.EIO


# --- drivers that raise, observers -------------------------------------------------------------------------


def test_exception_out_of_a_driver_is_a_driver_fault(world: World) -> None:
    """A Python bug in queuecommand is reported as the driver's, with its place, in one line."""
    device = world.ready()
    world.driver.raises = KeyError("tag\n5")
    with pytest.raises(DriverFault) as fault:
        device.rw_block(True, 0, [(0, PAGE)])
    assert str(fault.value).startswith("fake: KeyError: 'tag\\n5' at fake_hba.py:")
    assert str(fault.value).endswith(" in queuecommand; a driver must not raise while dumping")


def test_observers_see_every_poll(world: World) -> None:
    """A hook tracer on the device records its polls, and the dump works through it."""
    seen: list[str] = []
    device = world.device(observers=[HookTracer(lambda _kind, name, _result: seen.append(name))])
    world.crash()
    assert device.sanity_check() == 0
    assert device.quiesce() == 0
    seen.clear()
    assert device.rw_block(True, 0, [(0, PAGE)]) == 0
    assert seen == ["dump_poll", "dump_poll"]


def test_same_run_same_time() -> None:
    """Two machines doing the same end at the same nanosecond with the same medium."""
    def one() -> tuple[int, bytes]:
        world = build()
        device = world.ready(queue_depth=3)
        world.fill(0, 32 * PAGE)
        world.disk.inject(faults.busy(times=3))
        list(device.stream(True, [(i, [(i * PAGE, PAGE)]) for i in range(32)]))
        device.shutdown()
        return world.machine.clock.now_ns, world.on_disk(0, 4 << 20)

    assert one() == one()


def test_conforms_to_what_the_engine_expects(world: World) -> None:
    """Every member of the engine's DumpDevice protocol is there."""
    from ddsdk.diskdump.device import DumpDevice

    device = world.device()
    members = [name for name in vars(DumpDevice) if not name.startswith("_")]
    assert members
    assert all(hasattr(device, name) for name in members)
    assert isinstance(device, ScsiDumpDevice)
    assert no_code().verify() == []
