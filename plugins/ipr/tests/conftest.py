"""A host that drives the adapter register by register, with request blocks written out by hand."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import define

from ddsdk.abi import WIRE_BE
from ddsdk.bus import PCI_COMMAND
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.pci import PciWindow, SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk.sim.trace import Trace
from ddsdk.testing import rigs
from ddsdk_ipr.frames import CmdPkt, Ioadl, Ioarcb, RequestType
from ddsdk_ipr.model import GEMSTONE, ChipProfile, IprIoa, build
from ddsdk_ipr.regs import IprRegsL1, IprRegsL2
from plugins.ipr.tests.driver_rig import Make, Rig

MS = 1_000_000
BLOCK = 0x01000000
QUEUE = 0x01100000
DATA = 0x02000000
IOA = 0xFFFFFFFF
ENTRIES = 115
DISK_BYTES = 64 << 20
READ, READ_LAST, WRITE, WRITE_LAST = 0x48, 0x49, 0x68, 0x69

_IOARCB, _IOADL = Ioarcb.on(WIRE_BE), Ioadl.on(WIRE_BE)


def request(cdb: bytes, *, at: int = BLOCK, index: int = 5, handle: int = 0x42, kind: int = RequestType.SCSICDB,
            nbytes: int = 0, write: bool = False, hi: int = 0, lo: int = 0, ioasa: int = 144,
            add_data: bytes = b"", list_bytes: int | None = None, **members: Any) -> bytes:
    """A request block at *at*, its status area behind it, its descriptors at *at* + 0x110."""
    length = 8 if nbytes else 0
    length = length if list_bytes is None else list_bytes
    fields: dict[str, Any] = {
        "ioarcb_host_pci_addr": at, "res_handle": handle, "host_response_handle": index << 2,
        "write_data_transfer_length": nbytes if write else 0, "read_data_transfer_length": 0 if write else nbytes,
        "write_ioadl_addr": at + 0x110, "write_ioadl_len": length if write else 0,
        "read_ioadl_addr": at + 0x110, "read_ioadl_len": 0 if write else length,
        "ioasa_host_pci_addr": at + 0x80, "ioasa_len": ioasa, "add_data": add_data.ljust(40, b"\0")}
    fields |= members
    pkt = CmdPkt(request_type=kind, flags_hi=hi | (0x80 if write else 0), flags_lo=lo, cdb=cdb.ljust(16, b"\0"))
    return _IOARCB.pack(Ioarcb(cmd_pkt=pkt, **fields))


def descriptor(flags: int, nbytes: int, address: int = DATA) -> bytes:
    """A data descriptor."""
    return _IOADL.pack(Ioadl(flags_and_data_len=flags << 24 | nbytes, address=address))


@define
class Host:
    """CPU and memory on one side of the bus, the adapter on the other."""

    machine: Machine
    function: SimPciFunction
    ioa: IprIoa
    target: ScsiTarget
    window: PciWindow
    layout: Any
    position: int = 0
    toggle: int = 1

    # -- registers ---------------------------------------------------------------------------------

    def read(self, name: str) -> int:
        """A register by its name."""
        return self.window.read(getattr(self.layout, name).offset, 4)

    def write(self, name: str, value: int) -> None:
        """A register by its name."""
        self.window.write(getattr(self.layout, name).offset, 4, value)

    def poke(self, paddr: int, data: bytes) -> None:
        """Host memory."""
        self.machine.memory.write(paddr, data)

    def peek(self, paddr: int, length: int) -> bytes:
        """Host memory."""
        return self.machine.memory.read(paddr, length)

    def advance(self, ns: int) -> None:
        """Let time pass."""
        self.machine.clock.advance(ns)

    # -- lives -------------------------------------------------------------------------------------

    def start(self) -> None:
        """From RESET to OPER."""
        self.write("UPROC_SET", 0x82800000)
        self.advance(self.ioa.timing.start_ns)

    def bring_up(self) -> None:
        """From RESET to READY."""
        self.start()
        self.write("INT_CLR", 0x80000000)
        assert self.identify() == 0

    def identify(self) -> int | None:
        """ID HOST RR Q, by the block with index 114; its IOASC."""
        self.poke(QUEUE, bytes(4 * ENTRIES))
        self.position, self.toggle = 0, 1
        cdb = bytes((0xC4, 0)) + QUEUE.to_bytes(4) + bytes((0, 0x01, 0xCC))
        return self.run(request(cdb, index=114, handle=IOA, kind=RequestType.IOACMD), index=114)

    def bist(self) -> None:
        """The adapter's reset; configuration space is put back afterwards."""
        place = self.function.config_read(0x10, 4)
        self.function.config_write(0x0F, 1, 0x40)
        self.advance(self.ioa.timing.bist_ns)
        self.function.config_write(0x10, 4, place)
        self.function.config_write(PCI_COMMAND, 2, 0x6)

    # -- requests ----------------------------------------------------------------------------------

    def submit(self, block: bytes, at: int = BLOCK, descriptors: bytes = b"") -> None:
        """Write a block and its descriptors to memory, and its address to IOARRIN."""
        self.poke(at, block)
        self.poke(at + 0x80, b"\xEE" * 144)
        if descriptors:
            self.poke(at + 0x110, descriptors)
        self.write("IOARRIN", at)

    def responses(self) -> list[int]:
        """Indexes of the new entries of the queue."""
        found = []
        while True:
            word = int.from_bytes(self.peek(QUEUE + 4 * self.position, 4))
            if word & 1 != self.toggle:
                return found
            found.append(word >> 2)
            self.position += 1
            if self.position == ENTRIES:
                self.position, self.toggle = 0, self.toggle ^ 1

    def wait(self, ns: int = 1_000_000_000) -> list[int]:
        """Let time pass until something is in the queue, *ns* at most."""
        step, waited = 10_000, 0
        while waited < ns:
            self.advance(step)
            waited += step
            found = self.responses()
            if found:
                return found
            step = min(2 * step, 5_000_000)
        return []

    def ioasc(self, at: int = BLOCK) -> int:
        """What the status area of a block says."""
        return int.from_bytes(self.peek(at + 0x80, 4))

    def residual(self, at: int = BLOCK) -> int:
        """The same, bytes not used."""
        return int.from_bytes(self.peek(at + 0x88, 4))

    def run(self, block: bytes, at: int = BLOCK, descriptors: bytes = b"", index: int = 5) -> int | None:
        """Submit and wait for the response, which must be that of *index*; its IOASC, None when none comes."""
        self.submit(block, at, descriptors)
        found = self.wait()
        assert found in ([], [index])
        return self.ioasc(at) if found else None

    def scsi(self, cdb: bytes, nbytes: int = 0, write: bool = False, **members: Any) -> int | None:
        """A SCSI command to the first disk, its data at DATA."""
        flags = WRITE_LAST if write else READ_LAST
        members.setdefault("handle", self.ioa.scsi.units[0].handle)
        return self.run(request(cdb, nbytes=nbytes, write=write, **members),
                        descriptors=descriptor(flags, nbytes) if nbytes else b"")

    def ioacmd(self, cdb: bytes, nbytes: int = 0, write: bool = False, handle: int = IOA, **members: Any) -> int | None:
        """A command to the adapter."""
        return self.scsi(cdb, nbytes, write, handle=handle, kind=RequestType.IOACMD, **members)

    def clear_attention(self) -> None:
        """Use up the unit attention every reset leaves, and thaw the queue."""
        self.scsi(bytes(6))
        self.scsi(bytes((0x03, 0, 0, 0, 18, 0)), 18, hi=0x30)
        assert self.scsi(bytes(6), hi=0x08) == 0


MakeHost = Callable[..., Host]


@pytest.fixture
def make_host() -> Iterator[MakeHost]:
    """`make_host(chip=GEMSTONE, at=(0, 0), trace=None, autosense=True)`: an adapter as it comes out of power on."""
    machines: list[Machine] = []

    def make(chip: ChipProfile = GEMSTONE, at: tuple[int, int] = (0, 0), trace: Trace | None = None,
             autosense: bool = True, **options: Any) -> Host:
        machine = Machine(PhysicalMemory.anonymous(64 << 20), trace=trace)
        machines.append(machine)
        target = ScsiTarget(Disk(memoryview(mmap.mmap(-1, DISK_BYTES))), autosense=autosense)
        function = build(machine, {at: target}, chip, **options)
        function.config_write(PCI_COMMAND, 2, 0x6)
        function.dma_grant(BLOCK, 0x2000000)
        ioa = function.model
        assert isinstance(ioa, IprIoa)
        layout = IprRegsL1 if chip.regs is IprRegsL1 else IprRegsL2
        return Host(machine, function, ioa, target, function.window(0), layout)

    yield make
    for machine in machines:
        machine.close()


@pytest.fixture
def host(make_host: MakeHost) -> Host:
    """A Gemstone that nobody started."""
    return make_host()


@pytest.fixture
def ready(host: Host) -> Host:
    """A Gemstone that takes requests, its disk's unit attention used up."""
    host.bring_up()
    host.clear_attention()
    return host


@pytest.fixture
def make() -> Iterator[Make]:
    """Driver rigs around a chip."""
    yield from rigs(Rig)
