"""An IDE interface and its driver for the mid-layer's tests.

The interface works in virtual time: a command reaches the drive at once, its end is posted when the drive's service
time and the cable's are over, the interrupt line rises.  It can be told to misbehave; the driver does what drivers do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any

from attrs import define, field

from ddsdk.ata.host import IdeDrive, IdeHwif, IdePortInfo, ide_started, ide_stopped
from ddsdk.ata.ide_dump import AtaDumpDevice
from ddsdk.ata.scan import scan_hwif
from ddsdk.ata.taskfile import (
    AC_ERR_ATA_BUS,
    AC_ERR_HOST_BUS,
    AC_ERR_OTHER,
    AtaTaskfile,
    IdeDone,
    IdeTask,
    ide_end_drive_cmd,
)
from ddsdk.helperlib.kernel import Kernel
from ddsdk.hookspecs import AtaHookSpecs, bind, hookimpl
from ddsdk.integrity import CodeImage
from ddsdk.sim.ata_drive import AtaDrive, AtaIdentity, AtaResult, Taskfile
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.memory import Extent, PhysicalMemory

MS = 1_000_000
S = 1_000_000_000


def to_registers(tf: AtaTaskfile) -> Taskfile:
    """What the drive finds in its registers; a driver that writes them once leaves zeros behind."""
    return Taskfile(*tf[:12])


def from_registers(registers: Taskfile, lba48: bool) -> AtaTaskfile:
    """What the driver reads back."""
    return AtaTaskfile(*registers, lba48=lba48)


@define
class Posted:
    """A command that ended, before the driver has heard of it."""

    task: IdeTask
    status: int
    error: int = 0
    tf: AtaTaskfile | None = None
    resid: int = 0
    err_mask: int = 0


@define(eq=False)
class Hardware:
    """The interface itself, with drives by unit.

    `lose`: so many commands from now on never end; `dead`: none does, resets or not.  `busy`: so many calls of the
    driver are refused.  `late_ns`: a lost command's end is posted after all, so much later.  `duplicate`: every end is
    posted twice.  `needs_reset`: nothing ends before a reset.  `no_dma`, `bad_cable`: so many DMA commands end with a
    bus master error, a CRC error.  `override`: the status of so many commands is another one.
    `log`: ("cmd", command code) and ("reset",) in order.
    """

    machine: Machine
    drives: dict[int, AtaDrive]
    lose: int = 0
    dead: bool = False
    busy: int = 0
    late_ns: int = 0
    duplicate: bool = False
    needs_reset: bool = False
    reset_fails: bool = False
    no_dma: int = 0
    bad_cable: int = 0
    override: deque[int] = field(factory=deque)
    posted: deque[Posted] = field(factory=deque)
    log: list[tuple[object, ...]] = field(factory=list)
    generation: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    @property
    def codes(self) -> list[int]:
        """Command codes since the log was cleared."""
        return [int(entry[1]) for entry in self.log if entry[0] == "cmd"]      # type: ignore[call-overload]

    def start(self, task: IdeTask) -> None:
        """A command arrives."""
        self.log.append(("cmd", task.tf.command))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        clock, drive = self.machine.clock, self.drives.get(task.tf.device >> 4 & 1)
        lost = self.dead or self.needs_reset or self.lose > 0
        if self.lose:
            self.lose -= 1
        if lost:
            if self.late_ns:
                clock.after_ns(self.late_ns, self._post, Posted(task, 0x50), None)
            return
        if drive is None:
            clock.after_ns(5000, self._post, Posted(task, 0x00), self.generation)
            return
        command = drive.begin(to_registers(task.tf))
        if command.result is not None and command.result.hang:
            return
        took = command.service_ns + drive.timing.data_ns(command.nbytes)
        clock.after_ns(took, self._finish, task, command, self.generation)

    def _finish(self, task: IdeTask, command: Any, generation: int) -> None:
        if generation != self.generation:
            return
        if task.dma and self._strikes("no_dma"):
            self._post(Posted(task, 0x58, err_mask=AC_ERR_HOST_BUS), generation)     # the drive still waits for data
            return
        if task.dma and self._strikes("bad_cable"):
            self._post(Posted(task, 0x51, 0x84, err_mask=AC_ERR_ATA_BUS), generation)
            return
        views = [self.machine.memory.view(paddr, length) for paddr, length in task.pieces(0, command.nbytes)]
        result: AtaResult | None = command.move(views)
        assert result is not None, "the driver gave less memory than the command moves"
        tf = from_registers(result.taskfile, task.tf.lba48)
        self._post(Posted(task, result.status, result.error, tf, task.nbytes - result.transferred), generation)

    def _strikes(self, what: str) -> bool:
        left = getattr(self, what)
        if left:
            setattr(self, what, left - 1)
        return bool(left)

    def _post(self, posted: Posted, generation: int | None) -> None:
        if generation is not None and generation != self.generation:
            return
        self.in_flight -= 1
        if self.override:
            posted.status = self.override.popleft()
        for _ in range(2 if self.duplicate else 1):
            self.posted.append(posted)
        self.machine.irqs.line(14).raise_()

    def reset(self) -> bool:
        """SRST: both drives."""
        self.log.append(("reset",))
        self.generation += 1
        self.in_flight = 0
        self.posted.clear()
        self.machine.irqs.line(14).lower()
        if self.reset_fails:
            return False
        self.needs_reset = False
        for drive in self.drives.values():
            drive.reset()
        return True


class Driver:
    """The driver: one command at a time, interrupt handler, reset handler, hooks."""

    def __init__(self, kernel: Kernel, hardware: Hardware, *, flush_on_reset: bool = True, reset: bool = True,
                 ultra_mask: int = 0x1F, **info: Any) -> None:
        self.hardware = hardware
        self.flush_on_reset = flush_on_reset
        self.outstanding: IdeTask | None = None
        self.calls: list[str] = []
        self.locked: list[bool] = []
        self.speeds: list[int] = []
        self.speed_result = 0
        self.sane: object = 0
        self.quiesce_result: object = 0
        self.shutdown_result: object = None
        self.raises: Exception | None = None
        self.before_reset: Callable[[], None] = lambda: None
        self.hwif = IdeHwif(IdePortInfo(
            name="fake", proc_name="fake", do_rw_taskfile=self.do_rw_taskfile,
            do_reset=self.do_reset if reset else None, speedproc=self.speedproc, ultra_mask=ultra_mask,
            **{"sg_tablesize": 8, **info}), kernel)
        hardware.machine.irqs.line(14).add_handler(self.interrupt)

    def do_rw_taskfile(self, task: IdeTask, done: IdeDone) -> int:
        """Refuse while told to, else start it."""
        self.locked.append(self.hwif.ide_lock.owner is not None)
        if self.raises is not None:
            raise self.raises
        if self.hardware.busy:
            self.hardware.busy -= 1
            return ide_stopped
        assert self.outstanding is None or self.outstanding.done, "one command at a time"
        task.complete = done
        self.outstanding = task
        self.hardware.start(task)
        return ide_started

    def interrupt(self) -> bool:
        """Complete whatever was posted."""
        posted = self.hardware.posted
        while posted:
            end = posted.popleft()
            if end.task is self.outstanding:
                self.outstanding = None
            ide_end_drive_cmd(end.task, end.status, end.error, end.tf, end.resid, end.err_mask)
        self.hardware.machine.irqs.line(14).lower()
        return True

    def do_reset(self, _drive: IdeDrive) -> int:
        """Soft reset; what was outstanding ends with AC_ERR_OTHER, if the driver remembers it."""
        self.calls.append("reset")
        self.locked.append(self.hwif.ide_lock.owner is not None)
        self.before_reset()
        if not self.hardware.reset():
            return -5
        task, self.outstanding = self.outstanding, None
        if task is not None and self.flush_on_reset:
            ide_end_drive_cmd(task, 0x50, err_mask=AC_ERR_OTHER)
        return 0

    def speedproc(self, _drive: IdeDrive, speed: int) -> int:
        """Note the mode asked for."""
        self.speeds.append(speed)
        return self.speed_result

    @hookimpl
    def dump_sanity_check(self, drive: IdeDrive) -> object:
        """Whatever the test says."""
        self.calls.append("sanity")
        return self.sane

    @hookimpl
    def quiesce(self, drive: IdeDrive) -> object:
        """Whatever the test says."""
        self.calls.append("quiesce")
        return self.quiesce_result

    @hookimpl
    def dump_poll(self, drive: IdeDrive) -> None:
        """The interrupt handler by hand."""
        if self.hardware.posted:
            self.interrupt()

    @hookimpl
    def shutdown(self, drive: IdeDrive) -> object:
        """Whatever the test says."""
        self.calls.append("shutdown")
        return self.shutdown_result


def no_code() -> CodeImage:
    """An image of a module without code."""
    return CodeImage.take([ModuleType("empty")])


@define(eq=False)
class World:
    """Machine, interface, driver, one disk as slave and its device."""

    machine: Machine
    kernel: Kernel
    hardware: Hardware
    driver: Driver
    disk: Disk
    ata: AtaDrive
    drive: IdeDrive

    def device(self, **options: Any) -> AtaDumpDevice:
        """A dump device on sectors 64.. of the disk."""
        arguments: dict[str, Any] = {"start_sector": 64, "nr_sectors": 2048, "page_size": 4096, "image": no_code()}
        arguments.update(options)
        observers = arguments.pop("observers", ())
        hooks = bind(self.driver, AtaHookSpecs, observers, plugin="fake")
        return AtaDumpDevice(self.drive, hooks, **arguments)

    def crash(self) -> None:
        """Panic in the boot context."""
        self.machine.crash(Trigger.PANIC, reason="test")

    def ready(self, **options: Any) -> AtaDumpDevice:
        """A device of a crashed machine, quiesced."""
        device = self.device(**options)
        self.crash()
        assert device.sanity_check() == 0, device.why
        assert device.quiesce() == 0, device.why
        self.hardware.log.clear()
        self.driver.calls.clear()
        return device

    def fill(self, paddr: int, nbytes: int, seed: int = 1) -> bytes:
        """Recognisable bytes in memory; returned too."""
        data = bytes((seed * 31 + i * 7 + (i >> 8)) & 0xFF for i in range(nbytes))
        self.machine.memory.write(paddr, data)
        return data

    def on_disk(self, sector: int, nbytes: int) -> bytes:
        """Bytes of the disk."""
        buffer = bytearray(nbytes)
        self.disk.readv(sector, [memoryview(buffer)])
        return bytes(buffer)


def build(*, sector_size: int = 512, disk_bytes: int = 4 << 20, identity: dict[str, Any] | None = None,
          ncpus: int = 1, scan: bool = True, units: tuple[int, ...] = (1,), high: int = 0, **driver: Any) -> World:
    """A World in normal mode with 1 MiB of RAM, and as much again at *high*; scanned, unless the test does that."""
    memory = PhysicalMemory.anonymous(1 << 20)
    if high:
        memory = PhysicalMemory([*memory.extents, Extent(high, memoryview(bytearray(1 << 20)))])
    machine = Machine(memory, ncpus=ncpus)
    kernel = Kernel(machine)
    drives = {unit: AtaDrive(Disk(bytearray(disk_bytes), sector_size=sector_size), AtaIdentity(**(identity or {})))
              for unit in units}
    hardware = Hardware(machine, drives)
    fake = Driver(kernel, hardware, **driver)
    unit = units[-1] if units else 1
    if scan:
        assert fake.hwif.drives[unit] in scan_hwif(fake.hwif)
        hardware.log.clear()
        fake.locked.clear()
    ata = drives[unit]
    return World(machine, kernel, hardware, fake, ata.disk, ata, fake.hwif.drives[unit])
