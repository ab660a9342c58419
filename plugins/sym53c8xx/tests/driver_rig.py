"""The driver on its model, as the driver's tests use it: a machine, one adapter, one disk, the driver probed."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from functools import cache

import pytest
from attrs import define, field

from ddsdk.errors import DeviceError
from ddsdk.helperlib.kernel import Kernel, PciDev
from ddsdk.hookspecs import BoundHooks, Chip, ScsiHookSpecs, bind
from ddsdk.integrity import CodeImage
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, DMA_NONE, DMA_TO_DEVICE, ScsiCmnd
from ddsdk.scsi.host import ErrorHandler, ScsiDevice, ScsiHost
from ddsdk.scsi.scan import scan_host
from ddsdk.scsi.scsi_dump import ScsiDumpDevice
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.memory import Extent, PhysicalMemory
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk.sim.trace import Trace
from ddsdk_sym53c8xx.adapter import Hcb
from ddsdk_sym53c8xx.chips import CHIPS
from ddsdk_sym53c8xx.driver import sym_probe
from ddsdk_sym53c8xx.dump import SymDumpHooks
from ddsdk_sym53c8xx.model import LSI53C810, LSI53C895A, LSI53C1010, ChipProfile, build
from ddsdk_sym53c8xx.model_core import SymChip
from ddsdk_sym53c8xx.regs import Regs1010

DISK_BYTES = 8 << 20
PAGE = 4096
DATA = 0x100000
HIGH = 5 << 30              # memory above 4 GiB
POLL_NS = 100_000
POLLS = 400_000             # 40 s

ALL = pytest.mark.parametrize("chip", [LSI53C895A, LSI53C810, LSI53C1010], ids=lambda profile: profile.chip.name)
#: The two extremes.
BOTH = pytest.mark.parametrize("chip", [LSI53C810, LSI53C1010], ids=lambda profile: profile.chip.name)


def chip_named(name: str) -> Chip:
    """An entry of the driver's table."""
    return next(chip for chip in CHIPS if chip.name == name)


@cache
def pattern(seed: int, length: int) -> bytes:
    """Bytes that differ from seed to seed and from place to place."""
    return bytes((seed * 7 + at * 13 + (at >> 8)) & 0xFF for at in range(length))


@define(eq=False)
class Rig:
    """One adapter.

    `disk` is what its disk holds, `drive` the disk itself; `done` is what scsi_done was told, in order.
    """

    machine: Machine
    kernel: Kernel
    function: SimPciFunction
    pdev: PciDev
    chip: ChipProfile
    disk: memoryview
    drive: Disk
    host: ScsiHost | None = None
    disk_device: ScsiDevice | None = None
    done: list[ScsiCmnd] = field(factory=list)

    @property
    def model(self) -> SymChip:
        """The hardware."""
        assert isinstance(self.function.model, SymChip)
        return self.function.model

    @property
    def shost(self) -> ScsiHost:
        """The host the driver made."""
        assert self.host is not None
        return self.host

    @property
    def np(self) -> Hcb:
        """The driver's adapter."""
        np = self.shost.hostdata
        assert isinstance(np, Hcb)
        return np

    @property
    def sdev(self) -> ScsiDevice:
        """The disk."""
        if self.disk_device is None:
            self.disk_device = scan_host(self.shost)[0]
        return self.disk_device

    @property
    def hooks(self) -> BoundHooks:
        """The dump hooks, bound."""
        return bind(SymDumpHooks(), ScsiHookSpecs)

    # -- before the driver -------------------------------------------------------------------------

    def power_up(self) -> None:
        """Let the function decode its windows, as firmware does."""
        self.kernel.pci_enable_device(self.pdev)
        self.kernel.pci_set_master(self.pdev)

    def read(self, name: str) -> int:
        """A register, behind the driver's back."""
        placed = getattr(Regs1010, name)
        return self.function.window(1).read(placed.offset, placed.size)

    def write(self, name: str, value: int) -> None:
        """A register, behind the driver's back."""
        placed = getattr(Regs1010, name)
        self.function.window(1).write(placed.offset, placed.size, value)

    def advance(self, ms: int) -> None:
        """Let time pass."""
        self.machine.clock.advance(ms * 1_000_000)

    def probe(self) -> Rig:
        """Bring the driver up."""
        self.host = sym_probe(self.pdev, chip_named(self.chip.chip.name))
        return self

    # -- commands ----------------------------------------------------------------------------------

    def command(self, command: bytes, direction: int = DMA_NONE,
                sg: Sequence[tuple[int, int]] = (), sdev: ScsiDevice | None = None) -> ScsiCmnd:
        """A command, not queued."""
        scmd = ScsiCmnd(sdev or self.sdev)
        scmd.set_cdb(command)
        scmd.sc_data_direction = direction
        scmd.sg = tuple(sg)
        scmd.request_bufflen = sum(length for _, length in sg)
        return scmd

    def rw(self, write: bool, lba: int, sg: Sequence[tuple[int, int]]) -> ScsiCmnd:
        """READ(10) or WRITE(10) of everything in *sg*."""
        sectors = sum(length for _, length in sg) // 512
        return self.command(cdb.read_write(write, lba, sectors, False),
                            DMA_TO_DEVICE if write else DMA_FROM_DEVICE, sg)

    def queue(self, scmd: ScsiCmnd) -> int:
        """queuecommand under the host lock, with interrupts off."""
        kernel, lock = self.kernel, self.shost.host_lock
        scmd.done = False
        flags = kernel.spin_lock_irqsave(lock)
        refused = self.shost.hostt.queuecommand(scmd, self.scsi_done)
        kernel.spin_unlock_irqrestore(lock, flags)
        return refused

    def scsi_done(self, scmd: ScsiCmnd) -> None:
        """The completion."""
        scmd.done = True
        self.done.append(scmd)

    def poll_until_done(self, *scmds: ScsiCmnd) -> int:
        """Poll as the dump loop does; how many polls it took.  Fails after 40 s of virtual time."""
        poll = self.hooks.dump_poll
        for polls in range(POLLS):
            if all(scmd.done for scmd in scmds):
                return polls
            poll(self.sdev)
            self.kernel.diskdump_update()
            self.kernel.udelay(POLL_NS // 1000)
        raise AssertionError(f"{scmds} not done after {POLLS} polls")

    def run(self, scmd: ScsiCmnd) -> ScsiCmnd:
        """Queue and poll for it."""
        assert self.queue(scmd) == 0
        self.poll_until_done(scmd)
        return scmd

    def handle(self, handler: ErrorHandler | None, scmd: ScsiCmnd) -> int:
        """An error handler, called as the mid-layer does."""
        assert handler is not None
        kernel, lock = self.kernel, self.shost.host_lock
        flags = kernel.spin_lock_irqsave(lock)
        result = handler(scmd)
        kernel.spin_unlock_irqrestore(lock, flags)
        return result

    def host_reset(self) -> int:
        """The host reset handler."""
        return self.handle(self.shost.hostt.eh_host_reset_handler, self.command(cdb.test_unit_ready()))

    # -- the crash ---------------------------------------------------------------------------------

    def crash(self) -> Rig:
        """Panic in the boot context, the disk found before."""
        assert self.sdev
        self.machine.crash(Trigger.PANIC)
        return self

    def take_over(self) -> Rig:
        """Crash, quiesce, host reset, and the unit attention used up: ready to dump."""
        self.crash()
        assert self.hooks.quiesce(self.sdev) == 0
        assert self.host_reset() == 0x2002
        self.run(self.command(cdb.test_unit_ready()))
        self.done.clear()
        return self

    def dump_device(self, queue_depth: int = 1) -> ScsiDumpDevice:
        """The whole disk as a dump device; make it before the crash."""
        return ScsiDumpDevice(self.sdev, self.hooks, 0, DISK_BYTES // 512, PAGE, CodeImage.take([]), queue_depth)

    def fill(self, paddr: int, length: int, seed: int = 1) -> bytes:
        """Put a pattern into memory and return it."""
        data = pattern(seed, length)
        self.machine.memory.write(paddr, data)
        return data

    def on_disk(self, lba: int, length: int) -> bytes:
        """What the disk holds."""
        return bytes(self.disk[lba * 512:lba * 512 + length])


Make = Callable[..., Rig]


def rigs() -> Iterator[Make]:
    """The body of a fixture: `make(chip=LSI53C895A, ncpus=1, high=False, trace=False)` gives an unprobed Rig."""
    machines: list[Machine] = []

    def make(chip: ChipProfile = LSI53C895A, ncpus: int = 1, high: bool = False, trace: bool = False) -> Rig:
        memory = PhysicalMemory.anonymous(8 << 20)
        if high:
            memory = PhysicalMemory([*memory.extents, Extent(HIGH, memoryview(mmap.mmap(-1, 8 << 20)))])
        machine = Machine(memory, ncpus=ncpus, trace=Trace(capacity=100_000, enabled=trace))
        machines.append(machine)
        kernel = Kernel(machine)
        disk = memoryview(mmap.mmap(-1, DISK_BYTES))
        drive = Disk(disk)
        function = build(machine, {(0, 0): ScsiTarget(drive)}, chip)
        return Rig(machine, kernel, function, PciDev(kernel, function), chip, disk, drive)

    yield make
    for machine in machines:
        machine.close()


def refusal(rig: Rig) -> str:
    """Why the probe refuses the adapter."""
    with pytest.raises(DeviceError) as raised:
        rig.probe()
    return str(raised.value)
