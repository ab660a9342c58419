"""A host adapter and its driver for the mid-layer's tests.

The adapter works in virtual time: a command reaches the target at once, its completion is posted when the
target's service time is over, the interrupt line rises.  It can be told to misbehave; the driver does what
drivers do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from types import ModuleType
from typing import Any

from attrs import define, field

from ddsdk.helperlib.kernel import Kernel
from ddsdk.hookspecs import ScsiHookSpecs, bind, hookimpl
from ddsdk.integrity import CodeImage
from ddsdk.scsi.cmnd import (
    DID_NO_CONNECT,
    DID_RESET,
    DMA_NONE,
    DMA_TO_DEVICE,
    FAILED,
    SCSI_MLQUEUE_HOST_BUSY,
    SUCCESS,
    ScsiCmnd,
)
from ddsdk.scsi.host import ScsiDevice, ScsiDone, ScsiHost, ScsiHostTemplate
from ddsdk.scsi.scsi_dump import ScsiDumpDevice
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.memory import Extent, PhysicalMemory
from ddsdk.sim.scsi_target import ScsiTarget

MS = 1_000_000
S = 1_000_000_000


class Phase:
    """The data phase of one command, straight over physical memory."""

    def __init__(self, memory: PhysicalMemory, scmd: ScsiCmnd) -> None:
        self._memory = memory
        self._sg = scmd.sg
        self.length = scmd.request_bufflen
        direction = scmd.sc_data_direction
        self.to_device = None if direction == DMA_NONE else direction == DMA_TO_DEVICE

    def gather(self, n: int) -> list[memoryview]:
        """The first *n* bytes."""
        views = []
        for paddr, length in self._sg:
            take = min(n, length)
            if take:
                views.append(self._memory.view(paddr, take))
            n -= take
        return views

    scatter = gather

    def put(self, data: bytes) -> int:
        """Store what fits."""
        data = data[:self.length]
        at = 0
        for view in self.gather(len(data)):
            view[:] = data[at:at + len(view)]
            at += len(view)
        return at


@define(eq=False)
class Hardware:
    """The adapter itself.  `lose`: so many commands from now on never end; `dead`: none does, resets or not.

    `busy`: so many queuecommand calls are refused.  `late_ns`: a lost command's completion is posted after
    all, so much later.  `duplicate`: every completion is posted twice.  `needs_reset`: nothing ends before a
    reset. `log`: ("cmnd", opcode) and ("reset",) in order.
    """

    machine: Machine
    targets: dict[int, ScsiTarget]
    lose: int = 0
    dead: bool = False
    busy: int = 0
    late_ns: int = 0
    duplicate: bool = False
    needs_reset: bool = False
    reset_fails: bool = False
    drop_autosense: bool = False
    posted: deque[tuple[ScsiCmnd, int, bytes, int]] = field(factory=deque)
    log: list[tuple[object, ...]] = field(factory=list)
    generation: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    def start(self, scmd: ScsiCmnd) -> None:
        """A command arrives."""
        self.log.append(("cmnd", scmd.cmnd[0]))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        lost = self.dead or self.needs_reset or self.lose > 0
        if self.lose:
            self.lose -= 1
        if lost:
            if self.late_ns:
                self.machine.clock.after_ns(self.late_ns, self._post, scmd, 0, b"", 0, None)
            return
        target = self.targets.get(scmd.device.id)
        if target is None:
            self.machine.clock.after_ns(5000, self._post, scmd, DID_NO_CONNECT << 16, b"", 0, self.generation)
            return
        cdb = bytes(scmd.cmnd[:scmd.cmd_len])
        took = target.service_ns(cdb, scmd.request_bufflen)
        result = target.execute(scmd.device.lun, cdb, Phase(self.machine.memory, scmd))
        if not result.hang:
            self.machine.clock.after_ns(took, self._post, scmd, result.status, result.sense,
                                        scmd.request_bufflen - result.transferred, self.generation)

    def _post(self, scmd: ScsiCmnd, status: int, sense: bytes, resid: int, generation: int | None) -> None:
        if generation is not None and generation != self.generation:
            return
        self.in_flight -= 1
        for _ in range(2 if self.duplicate else 1):
            self.posted.append((scmd, status, b"" if self.drop_autosense else sense, resid))
        self.machine.irqs.line(11).raise_()

    def reset(self) -> bool:
        """Forget everything; the bus is reset too."""
        self.log.append(("reset",))
        self.generation += 1
        self.in_flight = 0
        self.posted.clear()
        self.machine.irqs.line(11).lower()
        if self.reset_fails:
            return False
        self.needs_reset = False
        for target in self.targets.values():
            target.reset("bus")
        return True


class Driver:
    """The driver: queue, interrupt handler, reset handler, hooks."""

    def __init__(self, kernel: Kernel, hardware: Hardware, *, flush_on_reset: bool = True,
                 host_reset: bool = True, can_queue: int = 4, sg_tablesize: int = 8,
                 max_sectors: int = 256) -> None:
        self.hardware = hardware
        self.flush_on_reset = flush_on_reset
        self.outstanding: list[ScsiCmnd] = []
        self.calls: list[str] = []
        self.locked: list[bool] = []
        self.sane: object = 0
        self.quiesce_result: object = 0
        self.shutdown_result: object = None
        self.raises: Exception | None = None
        self.before_reset: Callable[[], None] = lambda: None
        handler = self.eh_host_reset_handler
        self.host = ScsiHost(ScsiHostTemplate(
            name="fake", proc_name="fake", queuecommand=self.queuecommand, can_queue=can_queue,
            sg_tablesize=sg_tablesize, max_sectors=max_sectors,
            eh_host_reset_handler=handler if host_reset else None,
            eh_bus_reset_handler=None if host_reset else handler), kernel)
        self.host.max_id = 3
        self.host.max_lun = 2
        hardware.machine.irqs.line(11).add_handler(self.interrupt)

    def queuecommand(self, scmd: ScsiCmnd, done: ScsiDone) -> int:
        """Refuse while told to, else start it."""
        self.locked.append(self.host.host_lock.owner is not None)
        if self.raises is not None:
            raise self.raises
        if self.hardware.busy:
            self.hardware.busy -= 1
            return SCSI_MLQUEUE_HOST_BUSY
        scmd.scsi_done = done
        self.outstanding.append(scmd)
        self.hardware.start(scmd)
        return 0

    def interrupt(self) -> bool:
        """Complete whatever was posted."""
        posted = self.hardware.posted
        while posted:
            scmd, result, sense, resid = posted.popleft()
            scmd.result, scmd.resid = result, resid
            scmd.sense_buffer[:len(sense)] = sense
            if scmd in self.outstanding:
                self.outstanding.remove(scmd)
            scmd.scsi_done(scmd)
        self.hardware.machine.irqs.line(11).lower()
        return True

    def eh_host_reset_handler(self, _scmd: ScsiCmnd) -> int:
        """Reset the adapter; what was outstanding ends with DID_RESET, if the driver remembers it."""
        self.calls.append("reset")
        self.locked.append(self.host.host_lock.owner is not None)
        self.before_reset()
        if not self.hardware.reset():
            return FAILED
        outstanding, self.outstanding = self.outstanding, []
        if self.flush_on_reset:
            for scmd in outstanding:
                scmd.result = DID_RESET << 16
                scmd.scsi_done(scmd)
        return SUCCESS

    @hookimpl
    def dump_sanity_check(self, sdev: ScsiDevice) -> object:
        """Whatever the test says."""
        self.calls.append("sanity")
        return self.sane

    @hookimpl
    def quiesce(self, sdev: ScsiDevice) -> object:
        """Whatever the test says."""
        self.calls.append("quiesce")
        return self.quiesce_result

    @hookimpl
    def dump_poll(self, sdev: ScsiDevice) -> None:
        """The interrupt handler by hand."""
        if self.hardware.posted:
            self.interrupt()

    @hookimpl
    def shutdown(self, sdev: ScsiDevice) -> object:
        """Whatever the test says."""
        self.calls.append("shutdown")
        return self.shutdown_result


def no_code() -> CodeImage:
    """An image of a module without code."""
    return CodeImage.take([ModuleType("empty")])


@define(eq=False)
class World:
    """Machine, adapter, driver, one disk at id 1 and its device."""

    machine: Machine
    kernel: Kernel
    hardware: Hardware
    driver: Driver
    disk: Disk
    target: ScsiTarget
    sdev: ScsiDevice

    def device(self, **options: Any) -> ScsiDumpDevice:
        """A dump device on sectors 64.. of the disk."""
        arguments: dict[str, Any] = {"start_sector": 64, "nr_sectors": 2048, "page_size": 4096,
                                        "image": no_code()}
        arguments.update(options)
        observers = arguments.pop("observers", ())
        hooks = bind(self.driver, ScsiHookSpecs, observers, plugin="fake")
        return ScsiDumpDevice(self.sdev, hooks, **arguments)

    def crash(self) -> None:
        """Panic in the boot context."""
        self.machine.crash(Trigger.PANIC, reason="test")

    def ready(self, **options: Any) -> ScsiDumpDevice:
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


def build(*, sector_size: int = 512, disk_bytes: int = 4 << 20, target: dict[str, Any] | None = None,
          ncpus: int = 1, high: int = 0, **driver: Any) -> World:
    """A World in normal mode, with 1 MiB of RAM, and as much again at *high*."""
    memory = PhysicalMemory.anonymous(1 << 20)
    if high:
        memory = PhysicalMemory([*memory.extents, Extent(high, memoryview(bytearray(1 << 20)))])
    machine = Machine(memory, ncpus=ncpus)
    kernel = Kernel(machine)
    disk = Disk(bytearray(disk_bytes), sector_size=sector_size)
    scsi_target = ScsiTarget(disk, **(target or {}))
    hardware = Hardware(machine, {1: scsi_target})
    fake = Driver(kernel, hardware, **driver)
    sdev = ScsiDevice(fake.host, 0, 1, 0, sector_size=sector_size, nr_sectors=disk.sectors, scsi_level=6)
    return World(machine, kernel, hardware, fake, disk, scsi_target, sdev)
