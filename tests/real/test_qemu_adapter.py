"""QEMU as the hardware: the process, its PCI bus, its DMA, its interrupt, and what happens when it goes."""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ddsdk.bus import PCI_COMMAND
from ddsdk.errors import DeviceError
from ddsdk.qemu.machine import AdapterSpec, DiskImage, EmulatedAdapter
from ddsdk.qemu.ram import SharedRam
from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.memory import Extent, PhysicalMemory
from plugins.mptfusion.tests.exchanges import (
    DATA,
    INT_MASK,
    NO_DATA,
    ONE_IN,
    ONE_OUT,
    RECORDING,
    REPLIES,
    REPLY_FIFO,
    TO_DISK,
    WIDE,
    bring_up,
    hard_reset,
    post,
    reply,
    scsi_io,
    sge,
    unit_attention,
)
from tests.real.golden import Recorder

pytestmark = pytest.mark.real
MIB, GIB = 1 << 20, 1 << 30


@pytest.fixture(autouse=True)
def qemu(tools: Callable[..., None]) -> None:
    """Everything here needs it."""
    tools("qemu-system-x86_64")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An empty disk of 64 MiB, under a name that QEMU would misread without care."""
    path = tmp_path / "nbd:a,b=c.img"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    return path


def numbered(size: int) -> memoryview:
    """Memory whose every page starts with its own number."""
    memory = mmap.mmap(-1, size)
    for at in range(0, size, 4096):
        memory[at:at + 8] = (at // 4096 + 1).to_bytes(8, "little")
    return memoryview(memory)


@contextmanager
def machine_with(*extents: Extent) -> Iterator[tuple[Machine, SharedRam]]:
    """A machine on shared RAM."""
    with SharedRam.build(extents) as ram, Machine(PhysicalMemory(ram.extents)) as machine:
        yield machine, ram


@contextmanager
def adapter(image: Path, *extents: Extent) -> Iterator[tuple[EmulatedAdapter, Machine, Recorder]]:
    """An adapter with decoding and bus mastering on, ready to be talked to."""
    with machine_with(*(extents or [Extent(0, numbered(8 * MIB))])) as (machine, ram), \
            EmulatedAdapter.start(machine, ram, RECORDING.adapter, [DiskImage(str(image))]) as hba:
        hba.function.config_write(PCI_COMMAND, 2, 0x7)
        yield hba, machine, Recorder(hba.function, machine.memory, RECORDING.bar, RECORDING.size)


def write_page(r: Recorder, bus_addr: int, block: int) -> None:
    """One page from *bus_addr* to the disk's 4-KiB block *block*."""
    cdb = b"\x2a\0" + (block * 8).to_bytes(4, "big") + b"\0\0\x08\0"
    post(r, scsi_io(0x61, cdb, 4096, TO_DISK, sge(ONE_OUT | WIDE, 4096, bus_addr)))
    reply(r)
    assert r.steps[-2][2] == "00000061", f"block {block}: {r.steps[-2]}"


def on_disk(image: Path, block: int) -> bytes:
    """The first 9 bytes of a block."""
    with image.open("rb") as file:
        file.seek(block * 4096)
        return file.read(9)


def test_bars_are_assigned_and_decode_when_told(image: Path) -> None:
    """All ones before COMMAND says so; afterwards both windows show the same Doorbell."""
    with machine_with(Extent(0, numbered(MIB))) as (machine, ram), \
            EmulatedAdapter.start(machine, ram, RECORDING.adapter, [DiskImage(str(image))]) as hba:
        function = hba.function
        assert function.name == "0000:00:04.0"
        assert [(b.kind, b.size) if b else None for b in function.bars] == [
            ("io", 0x100), ("mem", 0x4000), ("mem", 0x10000), None, None, None]
        assert function.window(1).read(0, 4) == 0xFFFF_FFFF
        function.config_write(PCI_COMMAND, 2, 0x3)
        assert function.window(1).read(0, 4) == function.window(0).read(0, 4) == 0x1000_0000


def test_memory_is_not_touched_by_starting_qemu(image: Path) -> None:
    """Firmware tables, option ROMs: nothing of that may land in a crashed machine's memory."""
    with adapter(image) as (_, machine, _):
        for at in range(0, 8 * MIB, 4096):
            assert machine.memory.read(at, 4096) == (at // 4096 + 1).to_bytes(8, "little") + bytes(4088)


def test_every_kind_of_memory_reaches_the_disk(image: Path) -> None:
    """Below 1 MiB, the legacy hole, the last page below 3 GiB, the PCI hole, above 4 GiB, and the reserve."""
    starts = (0, 3 * GIB - 4 * MIB, 0xE120_0000, 4 * GIB - 16 * MIB, 5 * GIB)
    pages = [0x2000, 0xA1000, 0xFF000, 0x50_1000, 3 * GIB - 4096, 3 * GIB, 0xE123_4000,
             4 * GIB - 8 * MIB - 4096, 5 * GIB, 5 * GIB + 8 * MIB - 4096]
    with adapter(image, *(Extent(start, numbered(8 * MIB)) for start in starts)) as (hba, machine, r):
        for page in pages:
            machine.memory.write(page, b"at %06x" % (page >> 12))
        bring_up(r)
        unit_attention(r)
        reserve = machine.memory.reserve.alloc(4096, 4096)
        machine.memory.write(reserve, b"reserve!")
        for block, page in enumerate([*pages, reserve]):
            mapped = hba.function.dma_map([(page, 4096)], True)
            write_page(r, mapped[0][0], block)
            hba.function.dma_unmap(mapped, True)
    assert [on_disk(image, block) for block in range(len(pages))] == [
        b"at %06x" % (page >> 12) for page in pages]
    assert on_disk(image, len(pages)) == b"reserve!\0"


def test_the_interrupt_pin_drives_a_line_in_normal_mode_only(image: Path) -> None:
    """A reply raises it and runs the handler; taking the reply lowers it; after a crash nobody listens."""
    with adapter(image) as (hba, machine, r):
        bring_up(r)
        r.write(INT_MASK, 0x1)          # reply interrupt unmasked
        taken: list[int] = []

        def handler() -> bool:
            while (value := hba.function.window(1).read(REPLY_FIFO, 4)) != 0xFFFF_FFFF:
                taken.append(value)
            return True

        line = hba.function.irq_line
        assert line is not None
        line.add_handler(handler)
        tur = scsi_io(0x10, bytes(6), 0, NO_DATA, sge(ONE_IN, 0, DATA))
        post(r, tur)
        machine.run(until=lambda: bool(taken), for_ns=5_000_000_000)
        assert taken == [0x8000_0000 | REPLIES >> 1]
        assert not line.level
        machine.crash(Trigger.PANIC)
        post(r, tur)
        machine.pass_time(100_000_000)
        assert taken == [0x8000_0000 | REPLIES >> 1], "a handler ran in crashdump_mode"


def test_a_qemu_that_is_killed_is_named_at_the_next_access(image: Path) -> None:
    """One line, with the signal; no hang."""
    with adapter(image) as (hba, _, r):
        os.kill(hba.pid, signal.SIGKILL)
        started = time.monotonic()
        with pytest.raises(DeviceError, match=r"QEMU is gone at 'readl 0xf0000000': killed by signal 9"):
            r.read(0)
        assert time.monotonic() - started < 5


def test_two_adapters_share_one_memory(image: Path, tmp_path: Path) -> None:
    """Each in its own QEMU, both read the same pages."""
    second = tmp_path / "second.img"
    with second.open("wb") as file:
        file.truncate(MIB)
    with machine_with(Extent(0, numbered(8 * MIB))) as (machine, ram), \
            EmulatedAdapter.start(machine, ram, RECORDING.adapter, [DiskImage(str(image))]) as one, \
            EmulatedAdapter.start(machine, ram, RECORDING.adapter, [DiskImage(str(second))], slot=5) as two:
        assert (one.function.name, two.function.name) == ("0000:00:04.0", "0000:00:05.0")
        for hba in (one, two):
            hba.function.config_write(PCI_COMMAND, 2, 0x7)
            r = Recorder(hba.function, machine.memory, RECORDING.bar, RECORDING.size)
            hard_reset(r)
            bring_up(r)
            unit_attention(r)
            write_page(r, 0x9000, 3)
    assert on_disk(image, 3) == on_disk(second, 3) == (10).to_bytes(9, "little")


def test_an_image_in_use_is_refused_in_qemus_words(image: Path) -> None:
    """QEMU locks its images; the second one says so in one line."""
    with adapter(image), pytest.raises(DeviceError, match=r"last words: .*(lock|another process)"), \
            adapter(image):
        pass


def test_what_qemu_cannot_emulate_is_one_line(image: Path) -> None:
    """An unknown device in QEMU's words; a chip that is another one with what there is instead."""
    with machine_with(Extent(0, numbered(MIB))) as (machine, ram):
        with pytest.raises(DeviceError, match=r"'no-such-hba' is not a valid device model name$"):
            EmulatedAdapter.start(machine, ram, AdapterSpec("no-such-hba", 0x1000, 0x54), [])
        with pytest.raises(DeviceError, match=r"no PCI function 1000:0030 on QEMU's bus 0, .* 1000:0054"):
            EmulatedAdapter.start(machine, ram, AdapterSpec("mptsas1068", 0x1000, 0x30), [])
        with pytest.raises(DeviceError, match=r"gone.img: no such image or device; create it first"):
            EmulatedAdapter.start(machine, ram, RECORDING.adapter, [DiskImage(str(image.parent / "gone.img"))])


def test_a_reset_adapter_is_as_new_in_another_machine(image: Path) -> None:
    """With a write in flight: decoding off, READY, memory zeroes; it is brought up again and writes.

    QEMU's mptsas1068 keeps WhoInit (doorbell bits 26 to 24), which tells who initialised it last.
    """
    with SharedRam.build([Extent(0, numbered(8 * MIB))]) as ram, Machine(PhysicalMemory(ram.extents)) as first, \
            EmulatedAdapter.start(first, ram, RECORDING.adapter, [DiskImage(str(image))]) as hba:
        for turn, doorbell in enumerate((0x1000_0000, 0x1400_0000, 0x1400_0000)):
            with Machine(PhysicalMemory(ram.extents)) as machine:
                if turn:
                    hba.replug(machine)
                    assert machine.memory.read(DATA, 4096) == bytes(4096)
                function = hba.function
                assert function.config_read(PCI_COMMAND, 2) & 0x7 == 0
                function.config_write(PCI_COMMAND, 2, 0x7)
                assert function.window(1).read(0, 4) == doorbell
                machine.memory.write(DATA, b"turn %d  " % turn)
                r = Recorder(function, machine.memory, RECORDING.bar, RECORDING.size)
                bring_up(r)
                unit_attention(r)
                write_page(r, DATA, 3)
                post(r, scsi_io(0x62, b"\x2a\0\0\0\0\x40\0\0\x08\0", 4096, TO_DISK, sge(ONE_OUT | WIDE, 4096, DATA)))
                hba.reset()
                ram.clear()
            assert on_disk(image, 3) == b"turn %d  " % turn + b"\0"
