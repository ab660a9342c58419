"""Everything around the driver: machine, memory, the adapter on its bus, the disk behind it.

The disk's bytes lie open (`on_disk`, `put_on_disk`), whoever plays the adapter: our model has them in memory, QEMU
in a file that is mapped here.
"""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from types import TracebackType
from typing import Any, Final, Self

from ddsdk.bus import PCI_COMMAND, PCI_COMMAND_INTX_DISABLE, PCI_STATUS, PCI_STATUS_INTERRUPT, PciFunction
from ddsdk.helperlib.kernel import Kernel, PciDev
from ddsdk.hookspecs.profile import ModelFault, Role
from ddsdk.sim.disk import Disk
from ddsdk.sim.dma import BIDIRECTIONAL
from ddsdk.sim.faults import FaultPlan
from ddsdk.sim.machine import CrashRecord, Machine, Trigger
from ddsdk.sim.memory import Extent, PhysicalMemory
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.trace import Trace, TraceField

from .calls import CallLog
from .check import Setup
from .emulated import Emulated
from .plan import Plan

#: Where checks keep their data: a megabyte up, and above 4 GiB.
DATA: Final = 0x10_0000
HIGH: Final = 5 << 30
#: Where 32 bits of address end; `Setup.edge_memory` has a megabyte on either side.
EDGE: Final = 4 << 30
#: Register accesses without a nanosecond between them: an ATA command moves 65536 words at most; more is a loop that
#: never ends, and no check waits for the million that a machine allows.
_STUCK_ACCESSES: Final = 100_000


class World(ABC):
    """A machine with one adapter that nobody drives yet.  Use as a context manager.

    `disk` is the drive behind the model, None where QEMU has it.  Sectors are `setup.sector_size` bytes.
    """

    def __init__(self, plan: Plan, setup: Setup, *, trace: bool = False) -> None:
        self.plan = plan
        self.setup = setup
        self.calls = CallLog(plan)
        self.disk: Disk | None = None
        self._stack = ExitStack()
        self._emulated: Emulated | None = None
        extents = [Extent(0, memoryview(mmap.mmap(-1, setup.ram_bytes)))]
        if setup.high_memory:
            extents.append(Extent(HIGH, memoryview(mmap.mmap(-1, setup.ram_bytes))))
        if setup.edge_memory:
            extents.append(Extent(EDGE - (1 << 20), memoryview(mmap.mmap(-1, 2 << 20))))
        if plan.backend == "qemu":
            self._emulated = emulated = plan.emulators.take(extents, setup.disk_bytes)
            self._stack.callback(plan.emulators.give_back, emulated)
            extents = list(emulated.ram.extents)
        memory = PhysicalMemory(extents)
        self.machine = self._stack.enter_context(Machine(memory, ncpus=setup.ncpus, trace=Trace(enabled=trace)))
        self.machine.stall.limit = _STUCK_ACCESSES
        self.memory = memory
        self.kernel = Kernel(self.machine)
        if setup.record:
            self.calls.attach(self.kernel)
        self._image = memoryview(b"")
        self.image_path = ""
        try:
            self.function: PciFunction = self._plug()
        except BaseException:
            self.close()
            raise
        self.pdev = PciDev(self.kernel, self.function)

    def _plug(self) -> PciFunction:
        if self._emulated is not None:
            self.image_path, self._image = self._emulated.path, self._emulated.image
            function: PciFunction = self._emulated.plug(self.machine, self.plan.model, self.plan.profile)
            return function
        image = memoryview(mmap.mmap(-1, self.setup.disk_bytes))
        self._image = image
        self.disk = Disk(image, sector_size=self.setup.sector_size, volatile_cache=self.setup.volatile_cache)
        self.machine.on_power_off.append(self.disk.power_off)
        targets: Any = {self.plan.profile.disk_at: self._target(self.disk)}
        return self.machine.pci.plug(self.plan.model.build(self.machine, targets))

    def close(self) -> None:
        """Let go of the machine; frozen tasks are unwound here."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None,
                 _trace: TracebackType | None) -> None:
        self.close()

    @abstractmethod
    def _target(self, disk: Disk) -> Any:
        """*disk* as the model wants it."""

    # -- the machine -----------------------------------------------------------------------------------

    @property
    def now_ns(self) -> int:
        """The machine's clock."""
        return self.machine.clock.now_ns

    @property
    def crashed(self) -> bool:
        """In crashdump_mode."""
        return self.machine.crashdump_mode

    def crash(self, trigger: Trigger = Trigger.PANIC) -> CrashRecord:
        """Stop the world, from the boot context."""
        return self.machine.crash(trigger, reason="conformance")

    def another_kernel(self) -> None:
        """Another kernel boots - kexec, or a warm reboot that resets no bus - and finds the adapter as it was left."""
        self.kernel.halt()
        self.kernel = Kernel(self.machine)
        if self.setup.record:
            self.calls.attach(self.kernel)
        self.pdev = PciDev(self.kernel, self.function)

    # -- memory and disk -------------------------------------------------------------------------------

    def fill(self, paddr: int, nbytes: int, seed: int = 1) -> bytes:
        """Put a pattern into memory and return it."""
        data = pattern(nbytes, seed)
        self.memory.write(paddr, data)
        return data

    def on_disk(self, sector: int, nbytes: int) -> bytes:
        """What the disk holds."""
        at = sector * self.setup.sector_size
        return bytes(self._image[at:at + nbytes])

    def put_on_disk(self, sector: int, data: bytes) -> None:
        """Write behind everybody's back."""
        at = sector * self.setup.sector_size
        self._image[at:at + len(data)] = data

    def whole_disk(self) -> bytes:
        """Every byte of it."""
        return bytes(self._image)

    @property
    def sectors(self) -> int:
        """How many the disk has."""
        return self.setup.disk_bytes // self.setup.sector_size

    # -- the adapter -----------------------------------------------------------------------------------

    @property
    def faults(self) -> FaultPlan:
        """Of the plugin's model."""
        assert isinstance(self.function, SimPciFunction), "only a model has faults to inject"
        return self.function.model.faults

    def inject(self, what: Role | ModelFault | str, after: int = 0, times: int = 1) -> str:
        """Arm a fault of the model, by role or by id; returns its id."""
        if isinstance(what, Role):
            found = self.plan.role(what)
            assert found is not None, f"check does not say that it needs {what}"
            what = found
        fault = ModelFault(what) if isinstance(what, str) else what
        self.faults.inject(fault.fault, after, times, **fault.params)
        return fault.fault

    @property
    def lent(self) -> list[str]:
        """Memory mapped for the adapter in one direction and not taken back yet; of our models only."""
        dma = self.function.dma if isinstance(self.function, SimPciFunction) else None
        return [] if dma is None else [f"{end - start} bytes at {start:#x}" for start, end, direction in dma.grants
                                       if direction != BIDIRECTIONAL]

    def pin_is_up(self) -> bool:
        """The adapter pulls its interrupt line now, whoever listens: STATUS bit 3, not held back by COMMAND bit 10."""
        status = self.function.config_read(PCI_STATUS, 2)
        held_back = self.function.config_read(PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE
        return status != 0xFFFF and bool(status & PCI_STATUS_INTERRUPT) and not held_back

    def unplug(self) -> None:
        """Surprise removal of the model: every read gives all ones from now on, configuration space included."""
        assert isinstance(self.function, SimPciFunction), "only a model can be pulled out"
        self.function.remove()

    def pci_command(self, clear: int) -> None:
        """Switch bits of the PCI command register off: decoding, bus mastering."""
        self.function.config_write(PCI_COMMAND, 2, self.function.config_read(PCI_COMMAND, 2) & ~clear)

    @contextmanager
    def tracing(self) -> Iterator[list[str]]:
        """What is traced meanwhile, register reads left out, as "write REQUEST_FIFO"; filled when the block ends."""
        trace, seen = self.machine.trace, list[str]()
        was_on, before = trace.on, trace.count
        trace.on = True
        try:
            yield seen
        finally:
            trace.on = was_on
            new = trace.count - before
            seen += [" ".join((record.kind, *map(str, record.fields[:1])))
                     for record in (list(trace)[-new:] if new else ()) if record.kind != "read"]

    @contextmanager
    def listening(self, listener: Callable[[str, tuple[TraceField, ...]], object]) -> Iterator[None]:
        """Tell *listener* of every trace record meanwhile, as it is made: kind, fields."""
        trace = self.machine.trace
        was_on = trace.on
        trace.on, trace.listener = True, listener
        try:
            yield
        finally:
            trace.on, trace.listener = was_on, None

    @property
    def held_locks(self) -> list[str]:
        """Locks held now that were not at the crash, with where they were taken."""
        before = self.machine.record.locks if self.machine.record else ()
        return [str(lock) for lock in self.machine.locks.held() if lock not in before]


@lru_cache(maxsize=256)
def pattern(nbytes: int, seed: int) -> bytes:
    """*nbytes* that differ from sector to sector and from seed to seed."""
    block = _block(seed & 0xFF)
    out = bytearray(block * (nbytes // 512 + 1))
    for sector in range(nbytes // 512 + 1):
        out[sector * 512:sector * 512 + 4] = (seed << 24 ^ sector * 0x01000193 & 0xFFFFFF).to_bytes(8, "little")[:4]
    return bytes(out[:nbytes])


@lru_cache(maxsize=256)
def _block(seed: int) -> bytes:
    return bytes((seed * 7 + at * 13 + (at >> 8)) & 0xFF for at in range(512))
