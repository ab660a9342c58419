"""The driver on its model, as the driver's tests use it: a machine, one package, a disk, the driver probed."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pytest
from attrs import define, field

from ddsdk.errors import DeviceError
from ddsdk.helperlib.kernel import Kernel, PciDev
from ddsdk.hookspecs import BoundHooks, ScsiHookSpecs, bind
from ddsdk.integrity import CodeImage
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, DMA_NONE, DMA_TO_DEVICE, SUCCESS, ScsiCmnd
from ddsdk.scsi.host import ErrorHandler, ScsiDevice, ScsiHost
from ddsdk.scsi.scan import scan_host
from ddsdk.scsi.scsi_dump import ScsiDumpDevice
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.memory import Extent, PhysicalMemory
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk.sim.trace import Trace
from ddsdk_aic7xxx.adapter import Ahc
from ddsdk_aic7xxx.driver import ahc_linux_pci_dev_probe
from ddsdk_aic7xxx.dump import AhcDumpHooks
from ddsdk_aic7xxx.model import AIC7892, AIC7899, Aic7xxx, ChipProfile, build
from ddsdk_aic7xxx.regs import AhcRegs

DISK_BYTES = 8 << 20
PAGE = 4096
DATA = 0x100000
HIGH = 5 << 30              # memory above 4 GiB
POLL_US = 100
POLLS = 400_000             # 40 s
#: Where the disk is: no id that comes first.
DISK_ID = 3

BOTH = pytest.mark.parametrize("chip", [AIC7892, AIC7899], ids=lambda profile: profile.chip.name)


@define(eq=False)
class Rig:
    """One channel.

    `disk` is what its disk holds, `drive` the disk itself; `done` is what scsi_done was told, in order.
    """

    machine: Machine
    kernel: Kernel
    function: SimPciFunction
    pdev: PciDev
    chip: ChipProfile
    drive: Disk
    disk: memoryview
    host: ScsiHost | None = None
    disk_device: ScsiDevice | None = None
    done: list[ScsiCmnd] = field(factory=list)
    hooks: BoundHooks = field(factory=lambda: bind(AhcDumpHooks(), ScsiHookSpecs))

    @property
    def model(self) -> Aic7xxx:
        """The hardware."""
        assert isinstance(self.function.model, Aic7xxx)
        return self.function.model

    @property
    def shost(self) -> ScsiHost:
        """The host the driver made."""
        assert self.host is not None
        return self.host

    @property
    def ahc(self) -> Ahc:
        """The driver's side of it."""
        ahc = self.shost.hostdata
        assert isinstance(ahc, Ahc)
        return ahc

    @property
    def sdev(self) -> ScsiDevice:
        """The disk, as if it had been scanned."""
        if self.disk_device is None:
            self.disk_device = ScsiDevice(self.shost, 0, DISK_ID, 0, nr_sectors=DISK_BYTES // 512, scsi_level=6,
                                          tagged_supported=True)
        return self.disk_device

    # -- behind the driver's back --------------------------------------------------------------------

    def value(self, name: str) -> int:
        """A register's or scratch byte's value, without an access."""
        return self.model.values[name]

    def read(self, name: str) -> int:
        """A register, by an access of ours."""
        return self.function.window(1).read(getattr(AhcRegs, name).offset, 1)

    def inject(self, fault: str, after: int = 0, times: int = 1, **params: int) -> None:
        """Arm a fault of the model's."""
        self.model.faults.inject(fault, after, times, **params)

    # -- bringing it up ------------------------------------------------------------------------------

    def probe(self) -> Rig:
        """Bring the driver up, and let the attach's settling time pass."""
        self.probe_only()
        self.machine.run(for_ns=5_100_000_000)
        return self

    def probe_only(self) -> Rig:
        """Bring the driver up."""
        self.host = ahc_linux_pci_dev_probe(self.pdev, self.chip.chip)
        return self

    def scan(self) -> Rig:
        """Find the disk as the mid-layer does."""
        self.disk_device = scan_host(self.shost)[0]
        return self

    # -- commands ----------------------------------------------------------------------------------

    def command(self, command: bytes, direction: int = DMA_NONE, sg: Sequence[tuple[int, int]] = (),
                sdev: ScsiDevice | None = None) -> ScsiCmnd:
        """A command, not queued."""
        scmd = ScsiCmnd(sdev or self.sdev)
        scmd.set_cdb(command)
        scmd.sc_data_direction = direction
        scmd.sg = tuple(sg)
        scmd.request_bufflen = sum(length for _, length in sg)
        return scmd

    def tur(self, sdev: ScsiDevice | None = None) -> ScsiCmnd:
        """TEST UNIT READY."""
        return self.command(cdb.test_unit_ready(), sdev=sdev)

    def rw(self, write: bool, lba: int, sg: Sequence[tuple[int, int]] = ((DATA, PAGE),)) -> ScsiCmnd:
        """READ(10) or WRITE(10) of everything in *sg*."""
        sectors = sum(length for _, length in sg) // 512
        return self.command(cdb.read_write(write, lba, sectors, False),
                            DMA_TO_DEVICE if write else DMA_FROM_DEVICE, sg)

    def queue(self, *scmds: ScsiCmnd) -> int:
        """queuecommand under the host lock, with interrupts off; what it returned for the last one."""
        kernel, lock, refused = self.kernel, self.shost.host_lock, 0
        for scmd in scmds:
            scmd.done = False
            flags = kernel.spin_lock_irqsave(lock)
            refused = self.shost.hostt.queuecommand(scmd, self.scsi_done)
            kernel.spin_unlock_irqrestore(lock, flags)
        return refused

    def scsi_done(self, scmd: ScsiCmnd) -> None:
        """The completion."""
        assert not scmd.done, f"{scmd} ended twice"
        scmd.done = True
        self.done.append(scmd)

    def poll(self, count: int = 1) -> None:
        """Turns of the dump loop."""
        poll = self.hooks.dump_poll
        for _ in range(count):
            poll(self.sdev)
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
        """Queue and wait for it: by polls after the crash, by interrupts before."""
        assert self.queue(scmd) == 0
        if self.machine.crashdump_mode:
            self.poll_until_done(scmd)
        else:
            self.machine.run(until=lambda: scmd.done, for_ns=40_000_000_000)
            assert scmd.done
        return scmd

    def handle(self, handler: ErrorHandler | None, scmd: ScsiCmnd) -> int:
        """An error handler, called as the mid-layer does, in a task before the crash."""
        assert handler is not None

        def call() -> int:
            kernel, lock = self.kernel, self.shost.host_lock
            flags = kernel.spin_lock_irqsave(lock)
            result = handler(scmd)
            kernel.spin_unlock_irqrestore(lock, flags)
            return result

        if self.machine.crashdump_mode:
            return call()
        task = self.machine.spawn(0, call, "error handler")
        self.machine.run(until=task, for_ns=100_000_000_000)
        assert isinstance(task.result, int)
        return task.result

    def host_reset(self) -> int:
        """The host reset handler."""
        return self.handle(self.shost.hostt.eh_host_reset_handler, self.tur())

    def attention(self) -> Rig:
        """Use up the unit attention of the last reset, and agree on a transfer speed."""
        for _ in range(2):
            self.run(self.tur())
        self.done.clear()
        return self

    # -- the crash ---------------------------------------------------------------------------------

    def crash(self) -> Rig:
        """Panic in the boot context."""
        assert self.sdev
        self.machine.crash(Trigger.PANIC)
        return self

    def take_over(self) -> Rig:
        """Crash, quiesce, host reset, and the unit attention used up: ready to dump."""
        self.crash()
        self.kernel.poll = partial(self.hooks.dump_poll, self.sdev)
        assert self.hooks.quiesce(self.sdev) == 0
        assert self.host_reset() == SUCCESS
        return self.attention()

    def dump_device(self, queue_depth: int = 1) -> ScsiDumpDevice:
        """The whole disk as a dump device; make it before the crash."""
        return ScsiDumpDevice(self.sdev, self.hooks, 0, DISK_BYTES // 512, PAGE, CodeImage.take([]), queue_depth)

    def fill(self, paddr: int, length: int, seed: int = 1) -> bytes:
        """Put a pattern into memory and return it."""
        data = bytes((seed * 7 + at * 13 + (at >> 8)) & 0xFF for at in range(length))
        self.machine.memory.write(paddr, data)
        return data

    def on_disk(self, lba: int, length: int) -> bytes:
        """What the disk holds."""
        return bytes(self.disk[lba * 512:lba * 512 + length])


Make = Callable[..., Rig]


def rigs() -> Iterator[Make]:
    """The body of a fixture: `make(chip=AIC7892, ncpus=1, high=False, trace=False)` gives an unprobed Rig."""
    machines: list[Machine] = []

    def make(chip: ChipProfile = AIC7892, ncpus: int = 1, high: bool = False, trace: bool = False,
             channel: int = 0) -> Rig:
        memory = PhysicalMemory.anonymous(8 << 20)
        if high:
            memory = PhysicalMemory([*memory.extents, Extent(HIGH, memoryview(mmap.mmap(-1, 8 << 20)))])
        machine = Machine(memory, ncpus=ncpus, trace=Trace(capacity=100_000, enabled=trace))
        machines.append(machine)
        kernel = Kernel(machine)
        image = memoryview(mmap.mmap(-1, DISK_BYTES))
        drive = Disk(image)
        function: SimPciFunction = build(machine, {(channel, DISK_ID): ScsiTarget(drive)}, chip)
        if channel:
            function = machine.pci.functions[channel]
        return Rig(machine, kernel, function, PciDev(kernel, function), chip, drive, image)

    yield make
    for machine in machines:
        machine.close()


def refusal(rig: Rig) -> str:
    """Why the probe refuses the adapter."""
    with pytest.raises(DeviceError) as raised:
        rig.probe_only()
    return str(raised.value)
