"""I/O load in normal mode, so that a crash finds the adapter in the middle of something.

Each worker is a task that reads, and writes if it may, at places and lengths its own seeded generator
chooses; some now and then reset the adapter, so that a crash can fall into that too.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from attrs import define, field, frozen

from ddsdk.errors import UsageError

from .dump_device import Unit
from .pieces import ScatterList

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Kernel

U = TypeVar("U", bound=Unit)


@frozen
class Region:
    """Sectors of the disk (its own size) that the load may touch.  `writable` False: reads only."""

    start: int
    sectors: int
    writable: bool = False


class Request(Protocol):
    """One command after the other, as a mid-layer carries them out.  The calls sleep."""

    def rw(self, write: bool, sector: int, sectors: int, sg: ScatterList) -> bool:
        """Read or write; whether everything moved."""

    @property
    def can_reset(self) -> bool:
        """Whether its driver has a reset."""

    def reset(self) -> object:
        """Reset the adapter."""


@define
class BlockLoad(ABC, Generic[U]):
    """*workers* tasks on the machine's CPUs in turn, each with one command of up to *max_sectors*
    outstanding.

    `reset_every`: a worker resets the adapter after so many commands, 0 never.  The same seed gives the same
    commands.  Buffers come from the machine's reserve: memory that is being dumped does not change.
    `written`: (first sector, sectors) of every write asked for, whatever became of it.
    UsageError for a region that is not on the disk.
    """

    unit: U
    region: Region
    seed: int
    workers: int = 4
    max_sectors: int = 64
    reset_every: int = 0
    issued: int = field(init=False, default=0)
    completed: int = field(init=False, default=0)
    failed: int = field(init=False, default=0)
    resets: int = field(init=False, default=0)
    written: list[tuple[int, int]] = field(init=False, factory=list, repr=False)

    def __attrs_post_init__(self) -> None:
        region, name, last = self.region, self.unit.name, self.unit.nr_sectors
        if region.start < 0 or region.sectors < 1 or region.start + region.sectors > last:
            raise UsageError(f"I/O load on {name}: sectors {region.start}.."
                             f"{region.start + region.sectors - 1} are not on a disk of {last} sectors")
        if self.workers < 1 or self.max_sectors < 1:
            raise UsageError(f"I/O load on {name}: workers={self.workers},"
                             f" max_sectors={self.max_sectors} must be at least 1")

    @property
    @abstractmethod
    def kernel(self) -> Kernel:
        """The kernel its driver runs in."""

    @abstractmethod
    def request(self) -> Request:
        """A worker's own request."""

    @property
    def in_flight(self) -> int:
        """Commands that had not ended (at the crash: that never will)."""
        return self.issued - self.completed

    def start(self) -> None:
        """Spawn the workers.  They run until the crash."""
        machine = self.kernel.machine
        for number in range(self.workers):
            worker = _Worker(self, number)
            machine.spawn(number % len(machine.cpus), worker.run, f"load/{number}")


class _Worker:
    """One task's commands."""

    def __init__(self, load: BlockLoad[Any], number: int) -> None:
        memory = load.kernel.machine.memory
        self.load = load
        self.random = random.Random(f"{load.seed}/{number}")
        self.request = load.request()
        self.sectors = min(load.max_sectors, load.region.sectors)
        self.sector_size = load.unit.sector_size
        nbytes = self.sectors * self.sector_size
        self.read_paddr = memory.reserve.alloc(nbytes, 4096)
        self.write_paddr = memory.reserve.alloc(nbytes, 4096)
        memory.write(self.write_paddr, self.random.randbytes(nbytes))

    def run(self) -> None:
        """Until the crash."""
        load = self.load
        count = 0
        while True:
            self._one()
            count += 1
            if load.reset_every and count % load.reset_every == 0 and self.request.can_reset:
                load.resets += 1
                self.request.reset()

    def _one(self) -> None:
        load, region = self.load, self.load.region
        sectors = self.random.randint(1, self.sectors)
        sector = region.start + self.random.randrange(region.sectors - sectors + 1)
        write = region.writable and self.random.random() < 0.5
        sg = ((self.write_paddr if write else self.read_paddr, sectors * self.sector_size),)
        load.issued += 1
        if write:
            load.written.append((sector, sectors))
        moved = self.request.rw(write, sector, sectors, sg)
        load.completed += 1
        if not moved:
            load.failed += 1
            load.kernel.schedule_timeout(1)     # a device that is gone fails at once, and its user looks again later
