"""A host that drives the chip register by register, with SCRIPTS of its own."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import define

from ddsdk.bus import PCI_COMMAND, Window
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk.sim.trace import Trace
from ddsdk.testing import rigs
from ddsdk_sym53c8xx.model import LSI53C895A, ChipProfile, build
from ddsdk_sym53c8xx.model_core import SymChip
from ddsdk_sym53c8xx.regs import Regs1010
from plugins.sym53c8xx.tests.driver_rig import Make, Rig

PROGRAM, IDENTIFY, CDB, STATUS, MESSAGE, DATA, TABLE = (
    0x20_0000, 0x21_0000, 0x21_0010, 0x21_0020, 0x21_0030, 0x40_0000, 0x22_0000)
DISK_BYTES = 160 << 20
INT = 0x9808_0000
#: SCNTL2 = SCNTL2 AND 7F: a disconnect is expected.
NO_SDU = (0x7C02_7F00, 0)
CLEAR_ACK, WAIT_DISCONNECT = (0x6000_0040, 0), (0x4800_0000, 0)
CMP, RSL, MA, UDC, RST, PAR, SGE = 0x40, 0x10, 0x80, 0x04, 0x02, 0x01, 0x08


def words(*pairs: tuple[int, ...]) -> bytes:
    """Instructions, or table entries."""
    flat = [word for pair in pairs for word in pair]
    return struct.pack(f"<{len(flat)}I", *flat)


@define
class Host:
    """CPU and memory on one side of the bus, the chip on the other."""

    machine: Machine
    function: SimPciFunction
    chip: SymChip
    target: ScsiTarget
    window: Window
    disk: memoryview
    limit_ns: int = 20_000_000_000

    def read(self, name: str) -> int:
        """A register by its name; a microsecond passes, more than status registers have to be apart."""
        self.advance(1_000)
        placed = getattr(Regs1010, name)
        if placed.size == 3:
            return self.window.read(placed.offset, 4) & 0xFF_FFFF
        return self.window.read(placed.offset, placed.size)

    def write(self, name: str, value: int) -> None:
        """A register by its name."""
        placed = getattr(Regs1010, name)
        self.window.write(placed.offset, placed.size, value)

    def poke(self, paddr: int, data: bytes) -> None:
        """Host memory."""
        self.machine.memory.write(paddr, data)

    def peek(self, paddr: int, length: int) -> bytes:
        """Host memory."""
        return self.machine.memory.read(paddr, length)

    def advance(self, ns: int) -> None:
        """Let time pass."""
        self.machine.clock.advance(ns)

    def until(self, condition: Callable[[], bool], step_ns: int = 1_000) -> bool:
        """Poll until it holds; False after `limit_ns`."""
        waited = 0
        while not condition():
            if waited >= self.limit_ns:
                return False
            self.advance(step_ns)
            waited += step_ns
            step_ns = min(step_ns * 2, 10_000_000)
        return True

    @property
    def level(self) -> bool:
        """The interrupt pin."""
        assert self.function.pin is not None
        return self.function.pin.level

    def set_up(self) -> None:
        """Chip reset, and the values an initiator works with."""
        self.write("ISTAT0", 0x40)
        self.write("ISTAT0", 0x00)
        for name, value in (("SCNTL0", 0xCA), ("SCNTL3", 0x03), ("SCID", 0x47), ("RESPID0", 0x80), ("DCNTL", 0x01),
                            ("STIME0", 0x0C), ("CTEST4", 0x08)):
            self.write(name, value)

    def load(self, *program: tuple[int, ...], at: int = PROGRAM) -> None:
        """SCRIPTS into memory."""
        self.poke(at, words(*program))

    def start(self, address: int = PROGRAM) -> None:
        """Start SCRIPTS."""
        self.write("DSP", address)

    def stopped(self) -> tuple[int, int, int]:
        """Wait for SIP or DIP: (SIST0, SIST1, DSTAT)."""
        assert self.until(lambda: bool(self.read("ISTAT0") & 0x03)), "SCRIPTS go on"
        return self.read("SIST0"), self.read("SIST1"), self.read("DSTAT")

    def run(self, *program: tuple[int, ...], at: int = PROGRAM) -> tuple[int, int, int]:
        """Load, start, wait."""
        self.load(*program, at=at)
        self.start(at)
        return self.stopped()

    def command(self, cdb: str, *program: tuple[int, ...], identify: int = 0xC0) -> tuple[int, int, int]:
        """Select 0, identify, CDB, then *program* at PROGRAM + 18; a reselection instead stops with INT BAD1."""
        cdb_bytes = bytes.fromhex(cdb)
        self.poke(IDENTIFY, bytes((identify,)))
        self.poke(CDB, cdb_bytes)
        self.load((INT, 0xBAD1), at=PROGRAM + 0x8000)
        return self.run((0x4100_0000, PROGRAM + 0x8000), (0x0E00_0001, IDENTIFY),
                        (0x0A00_0000 | len(cdb_bytes), CDB), *program)

    def clear_attention(self) -> None:
        """Use up the unit attention every reset leaves: TEST UNIT READY, then REQUEST SENSE."""
        status_and_message = ((0x0B00_0001, STATUS), (0x0F00_0001, MESSAGE), NO_SDU, CLEAR_ACK, WAIT_DISCONNECT,
                              (INT, 0x600D))
        assert self.command("000000000000", *status_and_message) == (CMP, 0, 0x84)
        assert self.command("030000001200", (0x0900_0012, DATA), *status_and_message) == (CMP, 0, 0x84)


MakeHost = Callable[..., Host]


@pytest.fixture
def make_host() -> Iterator[MakeHost]:
    """Builds a Host around a chip: `make_host(profile=LSI53C895A, trace=None, timing=None)`, set up."""
    machines: list[Machine] = []

    def make(profile: ChipProfile = LSI53C895A, trace: Trace | None = None, **options: Any) -> Host:
        machine = Machine(PhysicalMemory.anonymous(8 << 20), trace=trace)
        machines.append(machine)
        disk = memoryview(mmap.mmap(-1, DISK_BYTES))
        target = ScsiTarget(Disk(disk))
        function = build(machine, {(0, 0): target}, profile, **options)
        function.config_write(PCI_COMMAND, 2, 0x7)
        function.dma_grant(PROGRAM, 0x21_0000)
        assert isinstance(function.model, SymChip)
        host = Host(machine, function, function.model, target, function.window(1), disk)
        host.set_up()
        return host

    yield make
    for machine in machines:
        machine.close()


@pytest.fixture
def host(make_host: MakeHost) -> Host:
    """A 53C895A, reset and set up; its disk has its power-on unit attention."""
    return make_host()


@pytest.fixture
def ready(host: Host) -> Host:
    """The same, unit attention used up."""
    host.clear_attention()
    return host


@pytest.fixture
def make() -> Iterator[Make]:
    """Driver rigs around a chip."""
    yield from rigs(Rig)
