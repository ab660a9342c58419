"""A host that drives the chip register by register, without the driver: what the model's own tests use."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import define, field

from ddsdk.abi import WIRE_LE
from ddsdk.bus import PCI_COMMAND, Window
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk.sim.trace import Trace
from ddsdk_aic7xxx.frames import HardwareScb
from ddsdk_aic7xxx.model import AIC7892, Aic7xxx, ChipProfile, build
from ddsdk_aic7xxx.regs import AhcRegs

HSCBS, LISTS, SHARED, DATA = 0x100000, 0x110000, 0x120000, 0x200000
TARGET = 3
DISK_BYTES = 8 << 20
PROGRAM = (0x80000000).to_bytes(4, "little") * 8
_HSCB = HardwareScb.on(WIRE_LE)
READ_8 = bytes.fromhex("28 00 00 00 00 08 00 00 08 00")
WRITE_8 = bytes.fromhex("2a 00 00 00 00 08 00 00 08 00")
TUR = bytes(6)


@define(eq=False)
class Host:
    """CPU and memory on one side of the bus, a channel on the other."""

    machine: Machine
    function: SimPciFunction
    chip: Aic7xxx
    target: ScsiTarget
    drive: Disk
    disk: memoryview
    window: Window
    position: int = 0
    reserved: int = 0
    taken: int = field(default=0)

    def read(self, name: str, index: int | None = None) -> int:
        """A register by its name."""
        placed = getattr(AhcRegs, name)
        return self.window.read((placed if index is None else placed[index]).offset, 1)

    def write(self, name: str, value: int, index: int | None = None) -> None:
        """A register by its name."""
        placed = getattr(AhcRegs, name)
        self.window.write((placed if index is None else placed[index]).offset, 1, value)

    def advance(self, us: int) -> None:
        """Let time pass."""
        self.machine.clock.advance(us * 1000)

    def until(self, condition: Callable[[], bool], limit_us: int = 1_000_000) -> bool:
        """Whether it comes to hold within *limit_us*."""
        for _ in range(limit_us // 10):
            if condition():
                return True
            self.advance(10)
        return condition()

    def intstat(self, wanted: int, limit_us: int = 1_000_000) -> None:
        """Wait for INTSTAT to be *wanted*."""
        self.until(lambda: self.chip.intstat == wanted, limit_us)
        assert self.chip.intstat == wanted

    def pause(self) -> None:
        """Stop the sequencer."""
        self.write("HCNTRL", 0x04)
        assert self.read("HCNTRL") & 0x04
        self.read("CCSCBCTL")

    def unpause(self) -> None:
        """Let it go on."""
        self.write("HCNTRL", 0)

    # -- bring-up ----------------------------------------------------------------------------------

    def reset(self) -> None:
        """Reset the chip; paused afterwards."""
        self.write("HCNTRL", 0x05)
        self.advance(1000)
        assert self.read("HCNTRL") & 0x01
        self.write("HCNTRL", 0x04)
        self.read("CCSCBCTL")

    def init(self, *, dac: bool = True, template: int = 0x5A) -> None:
        """Queues, scratch RAM, slots, program; still paused."""
        self.function.config_write(0x40, 4, 0x4 if dac else 0)
        for name, value in (("SEQ_FLAGS", 0), ("SEQ_FLAGS2", 0), ("SCSIID_ULTRA2", 7), ("SXFRCTL1", 0x27),
                            ("SIMODE0", 0x08), ("SIMODE1", 0xA4), ("SXFRCTL0", 0x88), ("QOFF_CTLSTA", 6),
                            ("HNSCB_QOFF", 0), ("SNSCB_QOFF", 0), ("SDSCB_QOFF", 0), ("WAITING_SCBH", 0xFF),
                            ("DISCONNECTED_SCBH", 0xFF), ("MSG_OUT", 0x08), ("SCSISEQ_TEMPLATE", template),
                            ("NEXT_QUEUED_SCB", 0), ("SCSISEQ", template & 0x32)):
            self.write(name, value)
        for n in range(16):
            self.write("BUSY_TARGETS", 0xFF, n)
        for n in range(4):
            self.write("HSCB_ADDR", HSCBS >> 8 * n & 0xFF, n)
            self.write("SHARED_DATA_ADDR", SHARED >> 8 * n & 0xFF, n)
        for slot in range(32):
            self.write("SCBPTR", slot)
            for at, value in ((0x18, 0), (0x19, 0xFF), (0x1A, 0xFF), (0x1B, 0xFF),
                              (0x1F, slot + 1 if slot < 31 else 0xFF)):
                self.write("SCB", value, at)
        self.write("FREE_SCBH", 0)
        self.machine.memory.write(SHARED, b"\xff" * 512)
        self.load()
        self.position = self.reserved = self.taken = 0

    def load(self, program: bytes = PROGRAM) -> None:
        """A program, and start it from its beginning when unpaused."""
        self.write("SEQCTL", 0xB1)
        self.write("SEQADDR0", 0)
        self.write("SEQADDR1", 0)
        for byte in program:
            self.write("SEQRAM", byte)
        self.write("SEQCTL", 0x10)
        self.write("SEQADDR0", 0)
        self.write("SEQADDR1", 0)

    def start(self, **options: Any) -> Host:
        """Reset, initialised, running; the unit attention of power on used up."""
        self.reset()
        self.init(**options)
        self.unpause()
        self.advance(10)
        for unit in self.target.units.values():
            unit._attention.clear()
        return self

    # -- commands ----------------------------------------------------------------------------------

    def queue(self, cdb: bytes = READ_8, segments: tuple[tuple[int, int], ...] = ((DATA, 4096),), *,
              control: int = 0x60, target: int = TARGET, lun: int = 0, rate: int = 0, offset: int = 0,
              **fields: int) -> int:
        """Put a command into the element the chip fetches next; its tag."""
        tag, following = self.reserved, (self.reserved + 1) % 200
        at = LISTS + 1024 * tag
        words = b""
        for n, (address, length) in enumerate(segments):
            half = length | address >> 32 << 24 | (0x80000000 if n == len(segments) - 1 else 0)
            words += (address & 0xFFFFFFFF).to_bytes(4, "little") + half.to_bytes(4, "little")
        self.machine.memory.write(at, words)
        values: dict[str, Any] = {
            "CDB": cdb.ljust(12, b"\0"), "DATAPTR": int.from_bytes(words[:4], "little"),
            "DATACNT": int.from_bytes(words[4:8], "little"), "SGPTR": at + 8 | 2 if segments else 1,
            "CONTROL": control, "SCSIID": target << 4 | 7, "LUN": lun, "TAG": tag, "CDB_LEN": len(cdb),
            "SCSIRATE": rate, "SCSIOFFSET": offset, "NEXT": following, **fields}
        self.machine.memory.write(HSCBS + 64 * tag, _HSCB.pack(HardwareScb(**values)))
        self.reserved = following
        self.position = (self.position + 1) & 0xFF
        self.write("HNSCB_QOFF", self.position)
        return tag

    def element(self, tag: int) -> bytes:
        """What an element of the array holds."""
        return self.machine.memory.read(HSCBS + 64 * tag, 64)

    def tags(self, count: int = 1) -> list[int]:
        """The next *count* tags of the output queue, its entries given back four at a time."""
        out = []
        for _ in range(count):
            assert self.until(lambda: self.machine.memory.read(SHARED + self.taken, 1) != b"\xff"), out
            out += self.machine.memory.read(SHARED + self.taken, 1)
            if self.taken & 3 == 3:
                self.machine.memory.write(SHARED + (self.taken & ~3), b"\xff" * 4)
            self.taken = (self.taken + 1) & 0xFF
        self.write("CLRINT", 0x02)
        return out

    def run(self, *args: Any, **options: Any) -> int:
        """Queue a command and wait for its tag."""
        tag = self.queue(*args, **options)
        assert self.tags() == [tag]
        return tag

    def slot(self, number: int) -> bytes:
        """What a slot holds, without an access."""
        return bytes(self.chip.slots[number])


Make = Callable[..., Host]


@pytest.fixture
def make_host() -> Iterator[Make]:
    """Builds a Host around a chip: `make_host(chip=AIC7892, number=0, trace=False, timing=None)`."""
    machines: list[Machine] = []

    def make(chip: ChipProfile = AIC7892, number: int = 0, trace: bool = False, **options: Any) -> Host:
        machine = Machine(PhysicalMemory.anonymous(8 << 20), trace=Trace(capacity=10_000, enabled=trace))
        machines.append(machine)
        image = memoryview(mmap.mmap(-1, DISK_BYTES))
        drive = Disk(image)
        target = ScsiTarget(drive)
        function: SimPciFunction = build(machine, {(number, TARGET): target}, chip, **options)
        function = machine.pci.functions[number] if number else function
        function.config_write(PCI_COMMAND, 2, 0x7)
        function.dma_grant(HSCBS, 0x200000)
        assert isinstance(function.model, Aic7xxx)
        return Host(machine, function, function.model, target, drive, image, function.window(1))

    yield make
    for machine in machines:
        machine.close()


@pytest.fixture
def cold(make_host: Make) -> Host:
    """An AIC-7892 as it comes up."""
    return make_host()


@pytest.fixture
def host(cold: Host) -> Host:
    """An AIC-7892 with its program running, nothing queued."""
    return cold.start()
