"""The driver on its model, as the driver's tests use it: a machine, one adapter, one disk, the driver probed."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

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
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget
from ddsdk.sim.trace import Trace
from ddsdk_ipr.adapter import LATER, BlockLayout, IprCmnd, IprIoaCfg
from ddsdk_ipr.chips import CHIPS
from ddsdk_ipr.driver import ipr_probe
from ddsdk_ipr.dump import IprDumpHooks
from ddsdk_ipr.model import CITRINE, GEMSTONE, SNIPE, ChipProfile, IprIoa, build
from ddsdk_ipr.regs import IprRegsL1, IprRegsL2

DISK_BYTES = 8 << 20
PAGE = 4096
DATA = 0x100000
S, MS = 1_000_000_000, 1_000_000
OFTEN, POLLS = 500, 8500

ALL = pytest.mark.parametrize("chip", [GEMSTONE, CITRINE, SNIPE], ids=lambda profile: profile.chip.name)
__all__ = ["ALL", "CITRINE", "DATA", "DISK_BYTES", "GEMSTONE", "MS", "PAGE", "SNIPE", "ChipProfile", "Make", "Rig", "S",
           "chip_named", "refusal", "rigs"]


def chip_named(name: str) -> Chip:
    """An entry of the driver's table."""
    return next(chip for chip in CHIPS if chip.name == name)


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
    def model(self) -> IprIoa:
        """The hardware."""
        assert isinstance(self.function.model, IprIoa)
        return self.function.model

    @property
    def shost(self) -> ScsiHost:
        """The host the driver made."""
        assert self.host is not None
        return self.host

    @property
    def ioa(self) -> IprIoaCfg:
        """The driver's adapter."""
        ioa = self.shost.hostdata
        assert isinstance(ioa, IprIoaCfg)
        return ioa

    @property
    def sdev(self) -> ScsiDevice:
        """The disk."""
        if self.disk_device is None:
            self.disk_device = scan_host(self.shost)[0]
        return self.disk_device

    @property
    def hooks(self) -> BoundHooks:
        """The dump hooks, bound."""
        return bind(IprDumpHooks(), ScsiHookSpecs)

    @property
    def layout(self) -> Any:
        """Where its registers are."""
        return IprRegsL1 if self.chip.regs is IprRegsL1 else IprRegsL2

    def read(self, name: str) -> int:
        """A register, behind the driver's back."""
        return self.function.window(0).read(getattr(self.layout, name).offset, 4)

    def write(self, name: str, value: int) -> None:
        """A register, behind the driver's back."""
        self.function.window(0).write(getattr(self.layout, name).offset, 4, value)

    def probe(self, layout: BlockLayout = LATER) -> Rig:
        """Bring the driver up."""
        self.host = ipr_probe(self.pdev, chip_named(self.chip.chip.name), layout)
        return self

    def log(self, part: str) -> bool:
        """Whether the kernel's log has a line with *part* in it."""
        return any(part in line for line in self.kernel.log)

    # -- commands ----------------------------------------------------------------------------------

    def command(self, command: bytes, direction: int = DMA_NONE, sg: Sequence[tuple[int, int]] = (),
                sdev: ScsiDevice | None = None, underflow: int = 0) -> ScsiCmnd:
        """A command, not queued."""
        scmd = ScsiCmnd(sdev or self.sdev)
        scmd.set_cdb(command)
        scmd.sc_data_direction = direction
        scmd.sg = tuple(sg)
        scmd.request_bufflen = sum(length for _, length in sg)
        scmd.underflow = underflow
        return scmd

    def tur(self) -> ScsiCmnd:
        """TEST UNIT READY."""
        return self.command(cdb.test_unit_ready())

    def rw(self, write: bool, lba: int, sg: Sequence[tuple[int, int]] = ((DATA, PAGE),)) -> ScsiCmnd:
        """READ(10) or WRITE(10) of everything in *sg*."""
        nbytes = sum(length for _, length in sg)
        return self.command(cdb.read_write(write, lba, nbytes // 512, False),
                            DMA_TO_DEVICE if write else DMA_FROM_DEVICE, sg, underflow=nbytes)

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
        self.kernel.udelay(100)

    def poll_until_done(self, *scmds: ScsiCmnd) -> int:
        """Poll as the dump loop does, after a while less often; how many polls it took.  Fails after 40 s or so."""
        poll, update, kernel = self.hooks.dump_poll, self.kernel.diskdump_update, self.kernel
        for polls in range(POLLS):
            if all(scmd.done for scmd in scmds):
                return polls
            poll(self.sdev)
            update()
            if polls < OFTEN:
                kernel.udelay(100)
            else:
                kernel.diskdump_mdelay(5)
        raise AssertionError(f"{scmds} not done after {POLLS} polls")

    def run(self, scmd: ScsiCmnd) -> ScsiCmnd:
        """Queue it, and let it end: by polling after the crash, by interrupt before."""
        assert self.queue(scmd) == 0
        if self.machine.crashdump_mode:
            self.poll_until_done(scmd)
        else:
            self.machine.run(until=lambda: scmd.done, for_ns=60 * S)
        return scmd

    def handle(self, handler: ErrorHandler | None, scmd: ScsiCmnd | None = None) -> int:
        """An error handler, called as the mid-layer does: by a task, before the crash."""
        assert handler is not None
        kernel, lock = self.kernel, self.shost.host_lock
        scmd = scmd or self.tur()

        def call() -> int:
            flags = kernel.spin_lock_irqsave(lock)
            result = handler(scmd)
            kernel.spin_unlock_irqrestore(lock, flags)
            return result
        if self.machine.crashdump_mode:
            return call()
        task = self.machine.spawn(0, call, "scsi_eh")
        self.machine.run(until=task, for_ns=3600 * S)
        assert task.done
        result = task.result
        assert isinstance(result, int)
        return result

    def host_reset(self) -> int:
        """The host reset handler."""
        return self.handle(self.shost.hostt.eh_host_reset_handler)

    def block_of(self, scmd: ScsiCmnd) -> IprCmnd:
        """The block that carries a command."""
        return next(block for block in self.ioa.blocks if block.scmd is scmd)

    def ioarcb(self, block: IprCmnd) -> bytes:
        """Its request block."""
        return bytes(self.ioa.view[block.ioarcb_offset:block.ioarcb_offset + 128])

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
        self.run(self.tur())
        self.run(self.tur())
        self.done.clear()
        return self

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
    """The body of a fixture: `make(chip=GEMSTONE, ncpus=1, at=(0, 0), trace=False)` gives an unprobed Rig."""
    machines: list[Machine] = []

    def make(chip: ChipProfile = GEMSTONE, ncpus: int = 1, at: tuple[int, int] = (0, 0), trace: bool = False,
             autosense: bool = True, **options: Any) -> Rig:
        machine = Machine(PhysicalMemory.anonymous(8 << 20), ncpus=ncpus, trace=Trace(capacity=100_000, enabled=trace))
        machines.append(machine)
        kernel = Kernel(machine)
        disk = memoryview(mmap.mmap(-1, DISK_BYTES))
        drive = Disk(disk)
        function = build(machine, {at: ScsiTarget(drive, autosense=autosense)}, chip, **options)
        return Rig(machine, kernel, function, PciDev(kernel, function), chip, disk, drive)

    yield make
    for machine in machines:
        machine.close()


def refusal(rig: Rig) -> str:
    """Why the probe refuses the adapter."""
    with pytest.raises(DeviceError) as raised:
        rig.probe()
    return str(raised.value)
