"""The PIIX driver takes QEMU's interface over as somebody else left it: in mid-command, an interrupt pending.

A crashed kernel leaves the bus master's command register at 01 or 09, the drive with a block half moved, the slave
selected, HOB or nIEN set.  The state is made through the ports; then the driver is probed, and has to work.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import define

from ddsdk.ata.ide_dump import AtaDumpDevice
from ddsdk.ata.scan import scan_hwif
from ddsdk.helperlib.kernel import Kernel, PciDev
from ddsdk.hookspecs import AtaHookSpecs, bind
from ddsdk.integrity import CodeImage
from ddsdk.qemu.machine import AdapterSpec, DiskImage, EmulatedAdapter
from ddsdk.qemu.ram import SharedRam
from ddsdk.registry import discover
from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.memory import Extent, PhysicalMemory

pytestmark = pytest.mark.real

MIB = 1 << 20
#: What the former owner used: its table, its memory.
TABLE, MEMORY = 0x10_0000, 0x20_0000
DATA = 0x40_0000


@define
class World:
    """QEMU's interface with a master on each channel, nobody's driver on it."""

    machine: Machine
    adapter: EmulatedAdapter
    images: tuple[Path, Path]
    chip: str

    def out(self, bar: int, offset: int, value: int, size: int = 1) -> None:
        """A port."""
        self.adapter.function.window(bar).write(offset, size, value)

    def in_(self, bar: int, offset: int, size: int = 1) -> int:
        """A port."""
        return self.adapter.function.window(bar).read(offset, size)

    def command(self, code: int, sectors: int, lba: int = 0) -> None:
        """A taskfile of 28 bits."""
        for register, value in ((1, 0), (2, sectors), (3, lba), (4, lba >> 8), (5, lba >> 16), (6, 0xE0), (7, code)):
            self.out(0, register, value & 0xFF)


@pytest.fixture(params=["piix3", "piix4"])
def world(request: pytest.FixtureRequest, tools: Callable[..., None], tmp_path: Path) -> Iterator[World]:
    """Decoding and bus mastering on, as a kernel leaves them."""
    tools("qemu-system-x86_64")
    images = tmp_path / "0.img", tmp_path / "1.img"
    for image in images:
        with image.open("wb") as file:
            file.truncate(64 * MIB)
    model = next(model for model in discover("ide").models_of("ide") if model.chip.name == request.param)
    assert model.qemu is not None
    extents = [Extent(0, memoryview(mmap.mmap(-1, 16 * MIB)))]
    disks = [DiskImage(str(image), channel=channel) for channel, image in enumerate(images)]
    with SharedRam.build(extents) as ram, Machine(PhysicalMemory(ram.extents)) as machine, \
            EmulatedAdapter.start(machine, ram, AdapterSpec.of(model.qemu, model.chip), disks) as adapter:
        adapter.function.config_write(0x04, 2, 0x5)
        yield World(machine, adapter, images, request.param)


def transfer_over(world: World) -> None:
    """DMA done, nobody looked: BMICX 09, BMISX 04, the line up."""
    world.machine.memory.write(TABLE, struct.pack("<IHH", MEMORY, 0, 0x8000))
    world.out(4, 4, TABLE, 4)
    world.out(4, 0, 0x08)
    world.command(0xC8, 128)
    world.out(4, 0, 0x09)
    end = time.monotonic() + 10
    while world.in_(1, 0) & 0x88 and time.monotonic() < end:
        time.sleep(0.001)
    assert (world.in_(4, 0), world.in_(4, 2)) == (0x09, 0x04)


def transfer_begun(world: World) -> None:
    """The same, perhaps not over yet."""
    world.machine.memory.write(TABLE, struct.pack("<IHH", MEMORY, 0, 0x8000))
    world.out(4, 4, TABLE, 4)
    world.out(4, 0, 0x08)
    world.command(0xC8, 128)
    world.out(4, 0, 0x09)


def transfer_never_begun(world: World) -> None:
    """The drive waits for a bus master that nobody starts."""
    world.command(0xCA, 8)


def block_half_read(world: World) -> None:
    """DRQ, 100 words of a block taken."""
    world.command(0x20, 4)
    end = time.monotonic() + 10
    while world.in_(1, 0) & 0x88 != 0x08 and time.monotonic() < end:
        time.sleep(0.001)
    for _ in range(100):
        world.in_(0, 0, 2)


def block_half_written(world: World) -> None:
    """DRQ, the drive wants the rest of a block."""
    world.command(0x30, 4, 100)
    for _ in range(100):
        world.out(0, 0, 0xAAAA, 2)


def slave_selected(world: World) -> None:
    """The absent slave; HOB and nIEN set; registers full of something."""
    for register in range(1, 6):
        world.out(0, register, 0x5A)
    world.out(0, 6, 0xFF)
    world.out(1, 0, 0x82)


def in_reset(world: World) -> None:
    """SRST is set."""
    world.out(1, 0, 0x04)


def other_channel_too(world: World) -> None:
    """A transfer on the secondary channel as well."""
    transfer_begun(world)
    world.machine.memory.write(TABLE + 16, struct.pack("<IHH", MEMORY + 0x10000, 0, 0x8000))
    world.out(4, 12, TABLE + 16, 4)
    world.out(4, 8, 0x08)
    for register, value in ((2, 128), (3, 0), (4, 0), (5, 0), (6, 0xE0), (7, 0xC8)):
        world.out(2, register, value)
    world.out(4, 8, 0x09)


def as_power_on_left_it(world: World) -> None:
    """Nobody has touched it."""


STATES = (as_power_on_left_it, transfer_over, transfer_begun, transfer_never_begun, block_half_read,
          block_half_written, slave_selected, in_reset, other_channel_too)


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("channel", [0, 1])
def test_taken_over(world: World, state: Callable[[World], None], channel: int) -> None:
    """Probe, scan, crash, quiesce, reset, pages out and back on the master of either channel; afterwards nothing of the
    former owner's reaches memory or disk.
    """
    state(world)
    info = discover("ide").drivers["ide"]
    kernel = Kernel(world.machine)
    pdev = PciDev(kernel, world.adapter.function)
    chip = next(chip for chip in info.chips if chip.name == world.chip)
    found = scan_hwif(info.probe(pdev, chip))       # type: ignore[arg-type]
    assert [(drive.hwif.channel, drive.unit, drive.model) for drive in found] == [
        (0, 0, "QEMU HARDDISK"), (1, 0, "QEMU HARDDISK")]
    assert world.in_(4, 0) & 1 == 0
    drive = found[channel]
    device = AtaDumpDevice(drive, bind(info.hooks, AtaHookSpecs), 0, 64 * MIB // 512, 4096, CodeImage.take([]))
    before = world.machine.memory.read(MEMORY, 0x20000)
    world.machine.crash(Trigger.PANIC)
    assert (device.sanity_check(), device.quiesce()) == (0, 0), device.why
    data = bytes(range(256)) * 16 * 64
    world.machine.memory.write(DATA, data)
    assert device.rw_block(True, 300, [(DATA, len(data))]) == 0, device.why
    world.machine.memory.write(DATA, bytes(len(data)))
    assert device.rw_block(False, 300, [(DATA, len(data))]) == 0, device.why
    assert world.machine.memory.read(DATA, len(data)) == data
    assert device.shutdown() == 0
    assert device.warnings == []
    assert world.machine.memory.read(MEMORY, 0x20000) == before
    for number, image in enumerate(world.images):
        content = image.read_bytes()
        written = content[300 * 4096:300 * 4096 + len(data)]
        assert written == (data if number == channel else bytes(len(data)))
        assert not any(content[:300 * 4096]), "what was half written stayed half written"
