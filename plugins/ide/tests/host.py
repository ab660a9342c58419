"""A host that drives the interface port by port, as QEMU was driven when the vectors were taken."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from attrs import define

from ddsdk.sim.ata_drive import AtaDrive, AtaIdentity
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.pci import SimPciFunction
from ddsdk_ide.chips import PIIX3
from ddsdk_ide.model import PiixIde, build
from ddsdk_ide.model_personality import REAL, Personality

DATA, ERROR, NSECTOR, LBAL, LBAM, LBAH, DEVICE, STATUS = range(8)
FEATURE, COMMAND = ERROR, STATUS
NIEN, SRST, HOB = 0x02, 0x04, 0x80
TABLE, BUFFER = 0x10_0000, 0x20_0000
DISK_BYTES = 1 << 20
MS = 1_000_000


@define(eq=False)
class Host:
    """CPU and memory on one side of the bus, PIIX with its drives on the other; `channel` is the one it talks to."""

    machine: Machine
    function: SimPciFunction
    drives: Mapping[tuple[int, int], AtaDrive]
    channel: int = 0

    @property
    def model(self) -> PiixIde:
        """The hardware."""
        assert isinstance(self.function.model, PiixIde)
        return self.function.model

    def inb(self, register: int) -> int:
        """A register of the command block."""
        return self.function.window(2 * self.channel).read(register, 1)

    def outb(self, register: int, value: int) -> None:
        """A register of the command block."""
        self.function.window(2 * self.channel).write(register, 1, value)

    def alt(self) -> int:
        """Alternate status."""
        return self.function.window(2 * self.channel + 1).read(0, 1)

    def control(self, value: int) -> None:
        """Device control."""
        self.function.window(2 * self.channel + 1).write(0, 1, value)

    def bm(self, offset: int, value: int | None = None, size: int = 1) -> int:
        """A register of the bus master: written, or read."""
        window, at = self.function.window(4), 8 * self.channel + offset
        if value is None:
            return window.read(at, size)
        window.write(at, size, value)
        return value

    def data(self, words: int) -> bytes:
        """So much of a block, 16 bits at a time."""
        window = self.function.window(2 * self.channel)
        return b"".join(window.read(DATA, 2).to_bytes(2, "little") for _ in range(words))

    def put_data(self, data: bytes) -> None:
        """The same the other way, 32 bits at a time."""
        window = self.function.window(2 * self.channel)
        for (value,) in struct.iter_unpack("<I", data):
            window.write(DATA, 4, value)

    def advance(self, ns: int) -> None:
        """Let time pass."""
        self.machine.clock.advance(ns)

    def rest(self, limit_ms: int = 1000) -> int:
        """Wait until the selected drive is at rest; its alternate status."""
        self.advance(1000)
        for _ in range(100 * limit_ms):
            if not self.alt() & 0x88:
                break
            self.advance(10_000)
        return self.alt()

    def drq(self) -> None:
        """Wait for a block."""
        self.advance(1000)
        for _ in range(100_000):
            if self.alt() & 0x88 == 0x08:
                return
            self.advance(10_000)
        raise AssertionError(f"no DRQ, status {self.alt():#x}")

    def command(self, code: int, lba: int = 0, sectors: int = 0, feature: int = 0, *, ext: bool = False,
                unit: int = 0) -> None:
        """Write a taskfile."""
        device = 0xE0 | unit << 4
        if ext:
            for register, value in ((FEATURE, 0), (NSECTOR, sectors >> 8), (LBAL, lba >> 24), (LBAM, lba >> 32),
                                    (LBAH, lba >> 40)):
                self.outb(register, value & 0xFF)
        else:
            device |= lba >> 24 & 0xF
        for register, value in ((FEATURE, feature), (NSECTOR, sectors), (LBAL, lba), (LBAM, lba >> 8),
                                (LBAH, lba >> 16), (DEVICE, device), (COMMAND, code)):
            self.outb(register, value & 0xFF)
        self.advance(1000)

    def run(self, code: int, *arguments: int, **options: Any) -> int:
        """A command without data: its status."""
        self.command(code, *arguments, **options)
        self.rest()
        return self.inb(STATUS)

    def table(self, *regions: tuple[int, int], at: int = TABLE) -> None:
        """A PRD table, and the bus master pointed to it."""
        self.machine.memory.write(at, b"".join(
            struct.pack("<IHH", address, nbytes & 0xFFFF, 0x8000 if n == len(regions) - 1 else 0)
            for n, (address, nbytes) in enumerate(regions)))
        self.bm(4, at, 4)

    def dma(self, code: int, lba: int, sectors: int, *regions: tuple[int, int], write: bool = False,
            ext: bool = False, unit: int = 0) -> None:
        """Start a command by DMA: hw-ide.md 6, steps 1 to 3."""
        direction = 0 if write else 8
        self.table(*regions)
        self.bm(2, 0x06)
        self.bm(0, direction)
        self.command(code, lba, sectors, ext=ext, unit=unit)
        self.bm(0, direction | 1)

    def finish(self) -> tuple[int, int]:
        """Steps 4 to 7: (bus master status, drive status)."""
        self.rest()
        status = self.bm(2)
        self.bm(0, 0)
        found = status, self.inb(STATUS)
        self.bm(2, 0x06)
        return found

    def fill(self, paddr: int, length: int, seed: int = 1) -> bytes:
        """A pattern in memory."""
        data = bytes((seed * 7 + at * 13 + (at >> 8)) & 0xFF for at in range(length))
        self.machine.memory.write(paddr, data)
        return data

    def peek(self, paddr: int, length: int) -> bytes:
        """Host memory."""
        return self.machine.memory.read(paddr, length)

    def reset(self) -> int:
        """SRST, and wait."""
        self.control(SRST | NIEN)
        self.advance(10_000)
        self.control(NIEN)
        self.advance(2 * MS)
        return self.rest()


Make = Callable[..., Host]


def hosts() -> Iterator[Make]:
    """The body of a fixture: `make(chip=PIIX3, places=((0, 0),), personality=REAL)` gives a Host after firmware ran."""
    machines: list[Machine] = []

    def make(chip: Any = PIIX3, places: tuple[tuple[int, int], ...] = ((0, 0),), personality: Personality = REAL,
             identity: AtaIdentity | None = None, disk: Disk | None = None) -> Host:
        machine = Machine(PhysicalMemory.anonymous(8 << 20))
        machines.append(machine)
        drives = {place: AtaDrive(disk or Disk(memoryview(mmap.mmap(-1, DISK_BYTES))),
                                  identity or AtaIdentity(power_on_multiple=16)) for place in places}
        function = machine.pci.plug(build(chip, machine, drives, personality))
        function.config_write(0x04, 2, 0x5)
        function.config_write(0x40, 4, 0x8000_8000)
        function.dma_grant(TABLE, 0x50_0000)
        return Host(machine, function, drives)

    yield make
    for machine in machines:
        machine.close()
