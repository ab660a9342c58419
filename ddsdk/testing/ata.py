"""The rig of an IDE interface driver."""

from __future__ import annotations

import mmap
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

from attrs import define, field

from ddsdk.ata.disposition import ide_decide_disposition
from ddsdk.ata.host import IdeDrive, IdeHwif, ide_started
from ddsdk.ata.ide_dump import AtaDumpDevice
from ddsdk.ata.scan import scan_hwif
from ddsdk.ata.taskfile import TASKFILE_NO_DATA, AtaTaskfile, IdeTask, rw_taskfile
from ddsdk.hookspecs.ata import AtaHookSpecs
from ddsdk.integrity import CodeImage
from ddsdk.sim.disk import Disk
from ddsdk.sim.locks import SpinLock
from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import SimPciFunction

from .rig import DATA, PAGE, C, DriverRig, M

#: (channel, unit)
Place = tuple[int, int]


@define(eq=False)
class AtaDriverRig(DriverRig[M, C]):
    """One interface; `place` is where the drive is that tests talk to, `disks` what is where.

    `done` is what ended, in order.  A subclass says `driver_hooks`, `default_chip`, `plug_disks` and `attach`.
    """

    specs = AtaHookSpecs

    place: Place = field(default=(0, 0), init=False)
    disks: dict[Place, Disk] = field(factory=dict, init=False)
    hwifs: Sequence[IdeHwif] = field(default=(), init=False)
    found: list[IdeDrive] = field(factory=list, init=False)

    @classmethod
    @abstractmethod
    def plug_disks(cls, machine: Machine, disks: Mapping[Place, Disk], chip: Any, **options: Any) -> SimPciFunction:
        """A function with a model of *chip* and *disks* behind it, on the machine's bus."""

    @abstractmethod
    def attach(self) -> Sequence[IdeHwif]:
        """The driver's probe; the channels it made."""

    @classmethod
    def plug(cls, machine: Machine, disk: Disk, chip: Any, **options: Any) -> SimPciFunction:
        """See `DriverRig.plug`."""
        place, others = options.pop("place"), options.pop("others")
        return cls.plug_disks(machine, {place: disk, **others}, chip, **options)

    @classmethod
    def make(cls, chip: C | None = None, places: Sequence[Place] = ((0, 0),), **options: Any) -> Self:
        """See `DriverRig.make`.  *places*: where drives are; tests talk to the first one."""
        first, *rest = places
        others = {place: Disk(memoryview(mmap.mmap(-1, cls.disk_bytes))) for place in rest}
        rig = super().make(chip, place=first, others=others, **options)
        rig.place, rig.disks = first, {first: rig.disk, **others}
        return rig

    def probe(self) -> Self:
        """See `DriverRig.probe`."""
        self.hwifs = self.attach()
        return self

    @property
    def hwif(self) -> IdeHwif:
        """The channel the driver made."""
        return next(hwif for hwif in self.hwifs if hwif.channel == self.place[0])

    @property
    def drive(self) -> IdeDrive:
        """The drive."""
        if not self.found:
            self.found = scan_hwif(self.hwifs[0])
        return next(one for one in self.found if (one.hwif.channel, one.unit) == self.place)

    @property
    def unit(self) -> IdeDrive:
        """See `DriverRig.unit`."""
        return self.drive

    @property
    def lock(self) -> SpinLock:
        """ide_lock."""
        return self.hwif.ide_lock

    # -- commands ------------------------------------------------------------------------------------

    def task(self, tf: AtaTaskfile, data_phase: int = TASKFILE_NO_DATA, sg: Sequence[tuple[int, int]] = ()) -> IdeTask:
        """A command, not sent."""
        task = IdeTask(self.drive)
        task.prepare(tf, data_phase, self.hwif.next_serial())
        task.sg, task.nbytes = tuple(sg), sum(length for _, length in sg)
        return task

    def rw(self, write: bool, sector: int, sg: Sequence[tuple[int, int]] = ((DATA, PAGE),)) -> IdeTask:
        """A read or write of everything in *sg*, the way the drive is set up."""
        sectors = sum(length for _, length in sg) // 512
        return self.task(*rw_taskfile(self.drive, write, sector, sectors), sg)

    def start(self, task: IdeTask) -> int:
        """do_rw_taskfile."""
        return self.locked(self.hwif.port_info.do_rw_taskfile, task, self.ended)

    def ended(self, task: IdeTask) -> None:
        """The completion; AssertionError for a second one."""
        assert not task.done, f"{task} ended twice"
        task.done = True
        self.done.append(task)

    def poll_until_done(self, task: IdeTask) -> int:
        """Poll until it has ended; how many ms it took."""
        return self.poll_until(lambda: bool(task.done))

    def run(self, task: IdeTask) -> IdeTask:
        """Send it, and let it end: by polling after the crash, by interrupt before."""
        assert self.start(task) == ide_started
        self.wait_until(lambda: bool(task.done))
        return task

    def why(self, task: IdeTask) -> str:
        """What the mid-layer makes of it; "" for success."""
        return ide_decide_disposition(task).why

    def reset(self) -> int:
        """do_reset."""
        do_reset = self.hwif.port_info.do_reset
        assert do_reset is not None
        return self.locked(do_reset, self.drive)

    # -- the crash -----------------------------------------------------------------------------------

    def take_over(self) -> Self:
        """Crash, quiesce, reset: ready to dump."""
        self.crash()
        self.poll_while_waiting()
        assert self.hooks.quiesce(self.drive) == 0
        assert self.reset() == 0
        return self

    def dump_device(self, queue_depth: int = 1) -> AtaDumpDevice:
        """See `DriverRig.dump_device`."""
        return AtaDumpDevice(self.drive, self.hooks, 0, self.disk_bytes // 512, PAGE, CodeImage.take([]), queue_depth)
