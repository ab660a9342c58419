"""The driver on its model, as the driver's tests use it: a machine, one interface, its drives, the driver probed."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from attrs import define, field

from ddsdk.ata.disposition import ide_decide_disposition
from ddsdk.ata.host import IdeDrive, IdeHwif, ide_started
from ddsdk.ata.ide_dump import AtaDumpDevice
from ddsdk.ata.scan import scan_hwif
from ddsdk.ata.taskfile import TASKFILE_NO_DATA, AtaTaskfile, IdeTask, rw_taskfile
from ddsdk.errors import DeviceError
from ddsdk.helperlib.kernel import Kernel, PciDev
from ddsdk.hookspecs import BoundHooks, Chip, bind
from ddsdk.hookspecs.ata import AtaHookSpecs
from ddsdk.integrity import CodeImage
from ddsdk.sim.ata_drive import AtaDrive, AtaIdentity
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.memory import PhysicalMemory
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.trace import Trace
from ddsdk_ide.adapter import Channel
from ddsdk_ide.chips import PIIX3, PIIX4
from ddsdk_ide.driver import piix_probe
from ddsdk_ide.dump import PiixDumpHooks
from ddsdk_ide.model import PiixIde, build
from ddsdk_ide.model_channel import ChannelModel
from ddsdk_ide.model_personality import QEMU, REAL, Personality

DISK_BYTES = 4 << 20
PAGE = 4096
DATA = 0x100000
POLLS = 400_000             # 40 s

BOTH = pytest.mark.parametrize("chip", [PIIX3, PIIX4], ids=lambda chip: chip.name)
PERSONALITIES = pytest.mark.parametrize("personality", [REAL, QEMU], ids=lambda personality: personality.name)


@define(eq=False)
class Rig:
    """One interface; `place` is the (channel, unit) of the drive that tests talk to, `done` what ide_end_drive_cmd was
    told, in order.
    """

    machine: Machine
    kernel: Kernel
    function: SimPciFunction
    pdev: PciDev
    chip: Chip
    disks: dict[tuple[int, int], Disk]
    place: tuple[int, int]
    hwifs: tuple[IdeHwif, ...] = ()
    found: list[IdeDrive] = field(factory=list)
    done: list[IdeTask] = field(factory=list)
    hooks: BoundHooks = field(factory=lambda: bind(PiixDumpHooks(), AtaHookSpecs))

    @property
    def model(self) -> PiixIde:
        """The hardware."""
        assert isinstance(self.function.model, PiixIde)
        return self.function.model

    @property
    def channel_model(self) -> ChannelModel:
        """Its channel."""
        return self.model.channels[self.place[0]]

    @property
    def hwif(self) -> IdeHwif:
        """The channel the driver made."""
        return next(hwif for hwif in self.hwifs if hwif.channel == self.place[0])

    @property
    def channel(self) -> Channel:
        """The driver's side of it."""
        assert isinstance(self.hwif.hwif_data, Channel)
        return self.hwif.hwif_data

    @property
    def piix_name(self) -> str:
        """How the driver's messages call it."""
        return f"{self.chip.name} {self.pdev.name}"

    @property
    def drive(self) -> IdeDrive:
        """The drive, found by a scan."""
        if not self.found:
            self.found = scan_hwif(self.hwifs[0])
        return next(one for one in self.found if (one.hwif.channel, one.unit) == self.place)

    @property
    def disk(self) -> Disk:
        """What is in it."""
        return self.disks[self.place]


    # -- before the driver ---------------------------------------------------------------------------------------------

    def power_up(self) -> Rig:
        """Let the function decode and master, as firmware does."""
        self.function.config_write(0x04, 2, 0x5)
        self.function.config_write(0x40, 4, 0x8000_8000)
        return self

    def port(self, bar: int, offset: int, value: int | None = None, size: int = 1) -> int:
        """A register, behind the driver's back: written, or read."""
        window = self.function.window(bar)
        if value is None:
            return window.read(offset, size)
        window.write(offset, size, value)
        return value

    def probe(self) -> Rig:
        """Bring the driver up."""
        self.hwifs = piix_probe(self.pdev, self.chip).channels
        return self

    # -- commands ------------------------------------------------------------------------------------------------------

    def task(self, tf: AtaTaskfile, data_phase: int = TASKFILE_NO_DATA, sg: Sequence[tuple[int, int]] = ()) -> IdeTask:
        """A command, not sent."""
        task = IdeTask(self.drive)
        task.prepare(tf, data_phase, self.hwif.next_serial())
        task.sg, task.nbytes = tuple(sg), sum(length for _, length in sg)
        return task

    def rw(self, write: bool, sector: int, sg: Sequence[tuple[int, int]]) -> IdeTask:
        """A read or write of everything in *sg*, the way the drive is set up."""
        sectors = sum(length for _, length in sg) // 512
        return self.task(*rw_taskfile(self.drive, write, sector, sectors), sg)

    def start(self, task: IdeTask) -> int:
        """do_rw_taskfile under ide_lock, with interrupts off."""
        kernel, lock = self.kernel, self.hwif.ide_lock
        flags = kernel.spin_lock_irqsave(lock)
        answer = self.hwif.port_info.do_rw_taskfile(task, self.ended)
        kernel.spin_unlock_irqrestore(lock, flags)
        return answer

    def ended(self, task: IdeTask) -> None:
        """The completion."""
        task.done = True
        self.done.append(task)

    def poll_until_done(self, task: IdeTask) -> int:
        """Poll as the dump loop does; how many polls it took.  Fails after 40 s of virtual time."""
        poll = self.hooks.dump_poll
        for polls in range(POLLS):
            if task.done:
                return polls
            poll(self.drive)
            self.kernel.diskdump_update()
            self.kernel.udelay(100)
        raise AssertionError(f"{task} not done after {POLLS} polls")

    def run(self, task: IdeTask) -> IdeTask:
        """Send and poll for it; before the crash interrupts do it."""
        assert self.start(task) == ide_started
        if self.machine.crashdump_mode:
            self.poll_until_done(task)
        else:
            self.machine.run(until=lambda: task.done, for_ns=10_000_000_000)
            assert task.done
        return task

    def why(self, task: IdeTask) -> str:
        """What the mid-layer makes of it; "" for success."""
        return ide_decide_disposition(task).why

    def reset(self) -> int:
        """do_reset under ide_lock."""
        kernel, lock = self.kernel, self.hwif.ide_lock
        do_reset = self.hwif.port_info.do_reset
        assert do_reset is not None
        flags = kernel.spin_lock_irqsave(lock)
        error = do_reset(self.drive)
        kernel.spin_unlock_irqrestore(lock, flags)
        return error

    # -- the crash -----------------------------------------------------------------------------------------------------

    def crash(self) -> Rig:
        """Panic in the boot context, the drive found before."""
        assert self.drive
        self.machine.crash(Trigger.PANIC)
        return self

    def take_over(self) -> Rig:
        """Crash, quiesce, reset: ready to dump."""
        self.crash()
        assert self.hooks.quiesce(self.drive) == 0
        assert self.reset() == 0
        return self

    def dump_device(self) -> AtaDumpDevice:
        """The whole disk as a dump device; make it before the crash."""
        return AtaDumpDevice(self.drive, self.hooks, 0, DISK_BYTES // 512, PAGE, CodeImage.take([]))

    def fill(self, paddr: int, length: int, seed: int = 1) -> bytes:
        """Put a pattern into memory and return it."""
        data = bytes((seed * 7 + at * 13 + (at >> 8)) & 0xFF for at in range(length))
        self.machine.memory.write(paddr, data)
        return data

    def on_disk(self, sector: int, length: int) -> bytes:
        """What the disk holds."""
        data = bytearray(length)
        self.disk.readv(sector, [memoryview(data)])
        return bytes(data)

    @contextmanager
    def watching(self) -> Iterator[list[tuple[str, str, int]]]:
        """What goes through the ports meanwhile: ("write", "COMMAND", 0x35), reads too."""
        trace, seen = self.machine.trace, list[tuple[str, str, int]]()

        def listen(kind: str, fields: tuple[Any, ...]) -> None:
            if kind in ("read", "write"):
                seen.append((kind, fields[0], fields[1]))

        trace.on, trace.listener = True, listen
        yield seen
        trace.on, trace.listener = False, None


Make = Callable[..., Rig]


def rigs() -> Iterator[Make]:
    """The body of a fixture: `make(chip=PIIX3, places=((0, 0),), personality=REAL, ncpus=1)` gives an unprobed Rig.

    The first of *places* is the drive that tests talk to.
    """
    machines: list[Machine] = []

    def make(chip: Chip = PIIX3, places: tuple[tuple[int, int], ...] = ((0, 0),), personality: Personality = REAL,
             ncpus: int = 1, identity: AtaIdentity | None = None) -> Rig:
        machine = Machine(PhysicalMemory.anonymous(8 << 20), ncpus=ncpus, trace=Trace(enabled=False))
        machines.append(machine)
        kernel = Kernel(machine)
        disks = {place: Disk(memoryview(mmap.mmap(-1, DISK_BYTES))) for place in places}
        drives = {place: AtaDrive(disk, identity or AtaIdentity(power_on_multiple=16))
                  for place, disk in disks.items()}
        function = machine.pci.plug(build(chip, machine, drives, personality))
        return Rig(machine, kernel, function, PciDev(kernel, function), chip, disks, places[0])

    yield make
    for machine in machines:
        machine.close()


def refusal(rig: Rig) -> str:
    """Why the probe refuses the interface."""
    with pytest.raises(DeviceError) as raised:
        rig.probe()
    return str(raised.value)
