"""A driver on its model, whatever the bus: machine, adapter, disk, crash."""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, ClassVar, Final, Generic, Self, TypeVar, cast

import numpy as np
from attrs import define, field

from ddsdk.block.dump_device import PolledDumpDevice
from ddsdk.errors import DeviceError
from ddsdk.helperlib.kernel import Kernel, PciDev
from ddsdk.hookspecs import BoundHooks, bind
from ddsdk.regs import RegBlock
from ddsdk.sim.cpu import getcurrent
from ddsdk.sim.disk import Disk
from ddsdk.sim.machine import Machine, Trigger
from ddsdk.sim.memory import Extent, PhysicalMemory
from ddsdk.sim.model import HwModel
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.trace import Trace

PAGE: Final = 4096
#: Where tests keep their data: a megabyte up, and above 4 GiB.
DATA: Final = 0x100000
HIGH: Final = 5 << 30
MEMORY_BYTES: Final = 8 << 20
S: Final = 1_000_000_000
#: Polls as often as the dump loop polls, then less often: 40 s of virtual time, most commands end in the first part.
OFTEN, POLLS = 500, 8500
POLL_US, SELDOM_MS = 100, 5

M = TypeVar("M", bound=HwModel)
C = TypeVar("C")
R = TypeVar("R", bound="DriverRig[Any, Any]")


@lru_cache(maxsize=64)
def pattern(seed: int, length: int) -> bytes:
    """Bytes that differ from seed to seed and from place to place."""
    at = np.arange(length, dtype=np.uint32)
    return (seed * 7 + at * 13 + (at >> 8)).astype(np.uint8).tobytes()


@define(eq=False)
class DriverRig(ABC, Generic[M, C]):
    """One adapter of model type M, chip type C, not probed yet; a subclass says how that is done.

    `disk`: the disk; `image`: its bytes, without its cache; `done`: the commands that were completed, in order.
    """

    #: The class of the driver's hooks; the mid-layer's hook specs; what `make()` builds when not told otherwise.
    driver_hooks: ClassVar[type[object]]
    specs: ClassVar[type]
    default_chip: ClassVar[Any]
    #: Registers that `read()` and `write()` know by name, and the BAR they are behind.
    registers: ClassVar[type[RegBlock]]
    bar: ClassVar[int] = 0
    disk_bytes: ClassVar[int] = 8 << 20

    machine: Machine
    kernel: Kernel
    function: SimPciFunction
    pdev: PciDev
    chip: C
    disk: Disk
    image: memoryview
    done: list[Any] = field(factory=list, init=False)
    hooks: BoundHooks = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.hooks = bind(self.driver_hooks(), self.specs)

    # -- how it is made ------------------------------------------------------------------------------

    @classmethod
    @abstractmethod
    def plug(cls, machine: Machine, disk: Disk, chip: Any, **options: Any) -> SimPciFunction:
        """A function with a model of *chip* and *disk* behind it, on the machine's bus; *options* are `make()`'s."""

    @abstractmethod
    def probe(self) -> Self:
        """Bring the driver up."""

    @classmethod
    def make(cls, chip: C | None = None, *, ncpus: int = 1, high: bool = False, trace: bool = False,
             memory_bytes: int = MEMORY_BYTES, disk_bytes: int | None = None, **options: Any) -> Self:
        """A rig around *chip*.  *high*: there is memory above 4 GiB, too.  *trace*: the machine keeps one."""
        memory = PhysicalMemory.anonymous(memory_bytes)
        if high:
            memory = PhysicalMemory([*memory.extents, Extent(HIGH, memoryview(mmap.mmap(-1, MEMORY_BYTES)))])
        machine = Machine(memory, ncpus=ncpus, trace=Trace(capacity=100_000, enabled=trace))
        image = memoryview(mmap.mmap(-1, disk_bytes or cls.disk_bytes))
        disk, kernel = Disk(image), Kernel(machine)
        chosen = cls.default_chip if chip is None else chip
        function = cls.plug(machine, disk, chosen, **options)
        return cls(machine, kernel, function, PciDev(kernel, function), chosen, disk, image)

    @property
    def model(self) -> M:
        """The hardware."""
        return cast("M", self.function.model)

    # -- behind the driver's back --------------------------------------------------------------------

    def power_up(self) -> Self:
        """Let the function decode its windows and master the bus, as firmware does."""
        self.kernel.pci_enable_device(self.pdev)
        self.kernel.pci_set_master(self.pdev)
        return self

    def read(self, name: str) -> int:
        """A register."""
        placed = getattr(self.registers, name)
        return self.function.window(self.bar).read(placed.offset, placed.size)

    def write(self, name: str, value: int) -> None:
        """A register."""
        placed = getattr(self.registers, name)
        self.function.window(self.bar).write(placed.offset, placed.size, value)

    def inject(self, fault: str, after: int = 0, times: int = 1, **params: Any) -> None:
        """Arm a fault of the model's."""
        self.model.faults.inject(fault, after, times, **params)

    def advance(self, ms: int) -> None:
        """Let time pass."""
        self.machine.clock.advance(ms * 1_000_000)

    @contextmanager
    def watching(self) -> Iterator[list[tuple[str, str, int]]]:
        """The register accesses meanwhile: ("write", "COMMAND", 0x35), reads too."""
        trace, seen = self.machine.trace, list[tuple[str, str, int]]()

        def listen(kind: str, fields: tuple[Any, ...]) -> None:
            if kind in ("read", "write"):
                seen.append((kind, fields[0], fields[1]))

        trace.on, trace.listener = True, listen
        try:
            yield seen
        finally:
            trace.on, trace.listener = False, None

    # -- the driver ----------------------------------------------------------------------------------

    @property
    @abstractmethod
    def unit(self) -> Any:
        """The disk as the mid-layer knows it, found by a scan."""

    @property
    @abstractmethod
    def lock(self) -> Any:
        """What the mid-layer holds around its calls."""

    @abstractmethod
    def dump_device(self, queue_depth: int = 1) -> PolledDumpDevice[Any]:
        """The whole disk as a dump device; make it before the crash."""

    def locked(self, call: Callable[..., int | None], *arguments: Any) -> int:
        """Call the driver as the mid-layer does: under its lock, with interrupts off."""
        flags = self.kernel.spin_lock_irqsave(self.lock)
        result = call(*arguments)
        self.kernel.spin_unlock_irqrestore(self.lock, flags)
        return result or 0

    def handled(self, handler: Callable[..., int | None], *arguments: Any) -> int:
        """An error handler: called by a task, this one or its own; from the boot context after the crash."""
        if self.machine.crashdump_mode or getcurrent() is not self.machine.scheduler.home:
            return self.locked(handler, *arguments)
        task = self.machine.spawn(0, lambda: self.locked(handler, *arguments), "error handler")
        self.machine.run(until=task, for_ns=3600 * S)
        assert isinstance(task.result, int), f"{handler} has not returned"
        return task.result

    def poll(self, count: int = 1) -> None:
        """Turns of the dump loop."""
        poll = self.hooks.dump_poll
        for _ in range(count):
            poll(self.unit)
            self.kernel.diskdump_update()
            self.kernel.udelay(POLL_US)

    def poll_until(self, ended: Callable[[], bool]) -> int:
        """Poll as the dump loop does, after a while less often; how many ms it took.  Fails after 40 s or so."""
        poll, update, kernel, unit = self.hooks.dump_poll, self.kernel.diskdump_update, self.kernel, self.unit
        began_ns = self.machine.clock.now_ns
        for polls in range(POLLS):
            if ended():
                return (self.machine.clock.now_ns - began_ns) // 1_000_000
            poll(unit)
            update()
            if polls < OFTEN:
                kernel.udelay(POLL_US)
            else:
                kernel.diskdump_mdelay(SELDOM_MS)
        raise AssertionError(f"not done after {POLLS} polls")

    def wait_until(self, ended: Callable[[], bool]) -> None:
        """By polls after the crash, by interrupts before."""
        if self.machine.crashdump_mode:
            self.poll_until(ended)
            return
        self.machine.run(until=ended, for_ns=60 * S)
        assert ended(), "not done after a minute"

    # -- the crash -----------------------------------------------------------------------------------

    def crash(self) -> Self:
        """Panic in the boot context, the disk found before."""
        assert self.unit
        self.machine.crash(Trigger.PANIC)
        return self

    def poll_while_waiting(self) -> None:
        """Waits of the driver poll it, as while a dump device is in use."""
        self.kernel.poll = partial(self.hooks.dump_poll, self.unit)

    # -- data ----------------------------------------------------------------------------------------

    def fill(self, paddr: int, length: int, seed: int = 1) -> bytes:
        """Put a pattern into memory and return it."""
        data = pattern(seed, length)
        self.machine.memory.write(paddr, data)
        return data

    def on_disk(self, sector: int, length: int) -> bytes:
        """What the disk holds."""
        return bytes(self.image[sector * 512:sector * 512 + length])


def rigs(rig: type[R]) -> Iterator[Callable[..., R]]:
    """The body of a fixture: yields `rig.make`, and closes the machines it made."""
    made: list[R] = []

    def make(*arguments: Any, **options: Any) -> R:
        made.append(rig.make(*arguments, **options))
        return made[-1]

    yield make
    for one in made:
        one.machine.close()


def refusal(rig: DriverRig[Any, Any]) -> str:
    """Why the probe refuses the adapter."""
    try:
        rig.probe()
    except DeviceError as error:
        return str(error)
    raise AssertionError(f"{rig.pdev.name}: probed without a DeviceError")
