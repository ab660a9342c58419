"""The driver on its model, as the driver's tests use it: a machine, one adapter, one disk, the driver probed."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence

import pytest
from attrs import define, field

from ddsdk.errors import DeviceError
from ddsdk.helperlib.dma import DmaBuffer
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
from ddsdk_aic79xx.ahd import Addressing, AhdSoftc
from ddsdk_aic79xx.chips import CHIPS
from ddsdk_aic79xx.driver import ahd_linux_probe
from ddsdk_aic79xx.dump import AhdDumpHooks
from ddsdk_aic79xx.model import AIC7901, AIC7902, AIC7902A, AicCore, ChipProfile, make_function

DISK_BYTES = 8 << 20
PAGE = 4096
DATA = 0x100000
HIGH = 5 << 30              # memory above 4 GiB
POLL_US = 100
POLLS = 400_000             # 40 s

EACH = pytest.mark.parametrize("chip", [AIC7901, AIC7902, AIC7902A], ids=lambda profile: profile.chip.name)
#: One that speaks information units, one that does not.
BOTH = pytest.mark.parametrize("chip", [AIC7901, AIC7902], ids=["packetized", "non-packetized"])


def chip_named(name: str) -> Chip:
    """An entry of the driver's table."""
    return next(chip for chip in CHIPS if chip.name == name)


@define(eq=False)
class Rig:
    """One adapter.  `done` is what scsi_done was told, in order."""

    machine: Machine
    kernel: Kernel
    function: SimPciFunction
    pdev: PciDev
    profile: ChipProfile
    disk: memoryview
    drive: Disk
    target: ScsiTarget
    id: int = 0
    host: ScsiHost | None = None
    disk_device: ScsiDevice | None = None
    done: list[ScsiCmnd] = field(factory=list)
    bound: BoundHooks | None = None

    @property
    def model(self) -> AicCore:
        """The hardware."""
        assert isinstance(self.function.model, AicCore)
        return self.function.model

    @property
    def shost(self) -> ScsiHost:
        """The host the driver made."""
        assert self.host is not None
        return self.host

    @property
    def ahd(self) -> AhdSoftc:
        """The driver's side of it."""
        ahd = self.shost.hostdata
        assert isinstance(ahd, AhdSoftc)
        return ahd

    @property
    def sdev(self) -> ScsiDevice:
        """The disk, scanned for when it is first asked for."""
        if self.disk_device is None:
            self.disk_device = scan_host(self.shost)[0]
        return self.disk_device

    @property
    def hooks(self) -> BoundHooks:
        """The dump hooks, bound when they are first asked for."""
        if self.bound is None:
            self.bound = bind(AhdDumpHooks(), ScsiHookSpecs)
        return self.bound

    def log(self) -> str:
        """What the driver has printed."""
        return "\n".join(self.kernel.log)

    def probe(self, addressing: Addressing | None = None) -> Rig:
        """Bring the driver up."""
        self.host = ahd_linux_probe(self.pdev, chip_named(self.profile.chip.name), addressing)
        return self

    # -- commands ----------------------------------------------------------------------------------

    def device(self, target: int, lun: int = 0) -> ScsiDevice:
        """A device that nobody scanned for."""
        return ScsiDevice(self.shost, 0, target, lun)

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

    def tur(self) -> ScsiCmnd:
        """TEST UNIT READY."""
        return self.command(cdb.test_unit_ready())

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

    def turn(self) -> None:
        """One turn of the dump loop."""
        self.hooks.dump_poll(self.sdev)
        self.kernel.diskdump_update()
        self.kernel.udelay(POLL_US)

    def poll_until_done(self, *scmds: ScsiCmnd) -> int:
        """Poll as the dump loop does; how many polls it took.  Fails after 40 s of virtual time."""
        poll = self.hooks.dump_poll
        for polls in range(POLLS):
            if all(scmd.done for scmd in scmds):
                return polls
            poll(self.sdev)
            self.kernel.diskdump_update()
            self.kernel.udelay(POLL_US)
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
        return self.handle(self.shost.hostt.eh_host_reset_handler, self.tur())

    # -- the crash ---------------------------------------------------------------------------------

    def crash(self) -> Rig:
        """Panic in the boot context, the disk found before."""
        assert self.sdev
        self.machine.crash(Trigger.PANIC)
        return self

    def polled(self) -> Rig:
        """Crash, and go on polling with the chip as it is: the unit attention used up, everything agreed."""
        self.known_disk()
        self.crash()
        while self.run(self.tur()).result:
            assert len(self.done) < 5
        self.done.clear()
        return self

    def take_over(self) -> Rig:
        """Crash, quiesce, host reset, and the unit attention used up: ready to dump."""
        self.crash()
        assert self.hooks.quiesce(self.sdev) == 0
        assert self.host_reset() == 0x2002
        self.run(self.tur())
        self.done.clear()
        return self

    def dump_device(self, queue_depth: int = 1) -> ScsiDumpDevice:
        """The whole disk as a dump device; make it before the crash."""
        return ScsiDumpDevice(self.sdev, self.hooks, 0, DISK_BYTES // 512, PAGE, CodeImage.take([]), queue_depth)

    def fill(self, paddr: int, length: int, seed: int = 1) -> bytes:
        """Put a pattern into memory and return it."""
        block = bytes((seed * 7 + at * 13 + (at >> 8)) & 0xFF for at in range(min(length, PAGE)))
        data = (block * (length // len(block) + 1))[:length]
        self.machine.memory.write(paddr, data)
        return data

    def on_disk(self, lba: int, length: int) -> bytes:
        """What the disk holds."""
        return bytes(self.disk[lba * 512:lba * 512 + length])

    def known_disk(self) -> ScsiDevice:
        """The disk as a scan would find it, without the scan."""
        self.disk_device = sdev = self.device(self.id)
        sdev.tagged_supported = True
        return sdev


Make = Callable[..., Rig]


def rigs() -> Iterator[Make]:
    """The body of a fixture: `make(chip=AIC7901, ncpus=1, high=False, trace=False, megabytes=8)`: an unprobed Rig."""
    machines: list[Machine] = []

    def make(chip: ChipProfile = AIC7901, ncpus: int = 1, high: bool = False, trace: bool = False, megabytes: int = 8,
             target: int = 0, disk_bytes: int = DISK_BYTES) -> Rig:
        memory = PhysicalMemory.anonymous(megabytes << 20)
        if high:
            memory = PhysicalMemory([*memory.extents, Extent(HIGH, memoryview(mmap.mmap(-1, 8 << 20)))])
        machine = Machine(memory, ncpus=ncpus, trace=Trace(capacity=100_000, enabled=trace))
        machines.append(machine)
        kernel = Kernel(machine)
        disk = memoryview(mmap.mmap(-1, disk_bytes))
        drive = Disk(disk)
        scsi = ScsiTarget(drive)
        function = machine.pci.plug(make_function(machine, {(0, target): scsi}, chip))
        return Rig(machine, kernel, function, PciDev(kernel, function), chip, disk, drive, scsi, target)

    yield make
    for machine in machines:
        machine.close()


def place_at(rig: Rig, monkeypatch: pytest.MonkeyPatch, count: int, *places: tuple[int, int]) -> None:
    """Memory for *count* commands at *places*: (address, bytes) of elements, lists, sense buffers, shared block."""
    def alloc(ahd: AhdSoftc) -> None:
        buffers = []
        for paddr, size in places:
            rig.function.dma_grant(paddr, size)
            buffers.append(DmaBuffer(paddr, paddr, rig.machine.memory.view(paddr, size)))
        ahd.place(*buffers, count)
    monkeypatch.setattr(AhdSoftc, "alloc_memory", alloc)


def refusal(rig: Rig) -> str:
    """Why the probe refuses the adapter."""
    with pytest.raises(DeviceError) as raised:
        rig.probe()
    return str(raised.value)
