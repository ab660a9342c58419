"""A host that drives the IOC register by register, as QEMU was driven when the vectors were taken."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import define, field

from ddsdk.bus import PCI_COMMAND, Window
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk.sim.trace import Trace
from ddsdk.testing import rigs
from ddsdk_mptfusion.model import SAS1068, ChipProfile, MptIoc, build
from ddsdk_mptfusion.regs import WRITE_SEQUENCE_KEYS, MptRegs
from plugins.mptfusion.tests.driver_rig import Make, Rig

REQUEST = 0x00200000
CHAIN = 0x00210000
REPLY = 0x00300000
SENSE = 0x00380000
DATA = 0x00400000
DISK_BYTES = 48 << 20

IOC_FACTS = bytes.fromhex("00000003 00000000 44332211")
PORT_FACTS = bytes.fromhex("00000005 00000000 01000000")
IOC_INIT = bytes.fromhex("04000002 00000100 02000000 80000000 00000000 00000000")
PORT_ENABLE = bytes.fromhex("00000006 00000000 03000000")
TUR = bytes.fromhex("00000000 06200000 10000000") + bytes(32) + bytes.fromhex("00003800 000000d1 00004000")


@define
class Host:
    """CPU and memory on one side of the bus, the IOC on the other."""

    machine: Machine
    function: SimPciFunction
    ioc: MptIoc
    target: ScsiTarget
    window: Window
    frames_pushed: int = 0
    tur: bytes = TUR
    limit_ns: int = field(default=20_000_000_000)

    def read(self, name: str) -> int:
        """A register by its name."""
        return self.window.read(getattr(MptRegs, name).offset, 4)

    def write(self, name: str, value: int) -> None:
        """A register by its name."""
        self.window.write(getattr(MptRegs, name).offset, 4, value)

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

    def taken(self) -> bool:
        """Wait for IntStatus bit 31 = 0."""
        return self.until(lambda: not self.read("HOST_INTERRUPT_STATUS") & 0x80000000)

    def doorbell_interrupt(self) -> bool:
        """Wait for IntStatus bit 0 = 1."""
        return self.until(lambda: bool(self.read("HOST_INTERRUPT_STATUS") & 1))

    def state(self) -> int:
        """Doorbell 31:28."""
        return self.read("DOORBELL") >> 28

    def begin_handshake(self, dwords: int) -> None:
        """Steps 1 and 2: announce a request, see the doorbell in use."""
        self.write("HOST_INTERRUPT_STATUS", 0)
        self.write("DOORBELL_WRITE", 0x42000000 | dwords << 16)
        assert self.doorbell_interrupt()
        assert self.read("DOORBELL") & 0x08000000
        self.write("HOST_INTERRUPT_STATUS", 0)
        assert self.taken()

    def send_dwords(self, request: bytes) -> None:
        """Step 3."""
        for at in range(0, len(request), 4):
            self.write("DOORBELL_WRITE", int.from_bytes(request[at:at + 4], "little"))
            assert self.taken()

    def read_word(self) -> int:
        """One round of step 4."""
        assert self.doorbell_interrupt()
        word = self.read("DOORBELL") & 0xFFFF
        self.write("HOST_INTERRUPT_STATUS", 0)
        return word

    def handshake(self, request: bytes) -> bytes:
        """All five steps; the reply as long as its MsgLength says."""
        self.begin_handshake(len(request) // 4)
        self.send_dwords(request)
        words = [self.read_word(), self.read_word()]
        words += [self.read_word() for _ in range(2 * (words[1] & 0xFF) - 2)]
        assert self.doorbell_interrupt()
        self.write("HOST_INTERRUPT_STATUS", 0)
        assert not self.read("DOORBELL") & 0x08000000
        return b"".join(word.to_bytes(2, "little") for word in words)

    def unlock(self) -> None:
        """Enable Diagnostic writes."""
        for key in WRITE_SEQUENCE_KEYS:
            self.write("WRITE_SEQUENCE", key)

    def hard_reset(self) -> bool:
        """The vectors' hard reset; True when the IOC is READY again."""
        self.unlock()
        assert self.read("DIAGNOSTIC") & 0x80
        self.write("DIAGNOSTIC", 0x84)
        self.advance(1_000_000)
        return self.until(lambda: self.state() == 1)

    def push(self, count: int = 8) -> None:
        """Reply frames, 0x80 bytes apart, onto the free list."""
        for _ in range(count):
            self.write("REPLY_FREE_FIFO", REPLY + 0x80 * (self.frames_pushed % 128))
            self.frames_pushed += 1

    def bring_up(self, init: bytes = IOC_INIT) -> None:
        """From READY to OPERATIONAL with port 0 enabled."""
        self.push()
        assert self.handshake(init)[0x0E:0x10] == b"\0\0"
        assert self.handshake(PORT_ENABLE)[0x0E:0x10] == b"\0\0"

    def post(self, frame: bytes, at: int = REQUEST) -> None:
        """Write a frame to memory and its address to RequestFifo."""
        self.poke(at, frame)
        self.write("REQUEST_FIFO", at)

    def reply(self) -> int | None:
        """The next reply descriptor, None when none came in `limit_ns`."""
        if not self.until(lambda: bool(self.read("HOST_INTERRUPT_STATUS") & 8), 5_000):
            return None
        return self.read("REPLY_FIFO")

    def run(self, frame: bytes, at: int = REQUEST) -> int | None:
        """Post a frame, return its reply descriptor."""
        self.post(frame, at)
        return self.reply()

    def frame_of(self, descriptor: int | None, length: int = 0x24) -> bytes:
        """The reply frame an address reply points to; its address goes back on the free list."""
        assert descriptor is not None
        assert descriptor & 0x80000000, f"{descriptor:#x} is a context reply"
        address = descriptor << 1 & 0xFFFFFFFF
        data = self.peek(address, length)
        self.write("REPLY_FREE_FIFO", address)
        return data

    def clear_attention(self) -> None:
        """Use up the unit attention every reset leaves."""
        self.frame_of(self.run(TUR))


@pytest.fixture
def make_host() -> Iterator[Callable[..., Host]]:
    """Builds a Host around a chip: `make_host(chip=SAS1068, trace=None, timing=None)`."""
    machines: list[Machine] = []

    def make(chip: ChipProfile = SAS1068, trace: Trace | None = None, **options: Any) -> Host:
        machine = Machine(PhysicalMemory.anonymous(8 << 20), trace=trace)
        machines.append(machine)
        target = ScsiTarget(Disk(memoryview(mmap.mmap(-1, DISK_BYTES))))
        function = build(machine, {(0, 0): target}, chip, **options)
        function.config_write(PCI_COMMAND, 2, 0x7)
        function.dma_grant(REQUEST, 0x300000)
        assert isinstance(function.model, MptIoc)
        return Host(machine, function, function.model, target, function.window(1))

    yield make
    for machine in machines:
        machine.close()


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    """A SAS1068 as it comes up: READY, nobody has initialised it."""
    return make_host()


@pytest.fixture
def ready(host: Host) -> Host:
    """A SAS1068 brought up, its disk's unit attention used up."""
    host.bring_up()
    host.clear_attention()
    return host


@pytest.fixture
def make() -> Iterator[Make]:
    """Driver rigs around a chip."""
    yield from rigs(Rig)
