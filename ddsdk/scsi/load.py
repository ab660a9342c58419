"""I/O load in normal mode, so that a crash finds the adapter in the middle of something.

Each worker is a task that reads, and writes if it may, at places and lengths its own seeded generator
chooses; some now and then run the host reset, so that a crash can fall into that too.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from ddsdk.errors import UsageError

from . import cdb
from .cmnd import DMA_FROM_DEVICE, DMA_TO_DEVICE
from .disposition import Disposition
from .midlayer import ScsiRequest

if TYPE_CHECKING:
    from .host import ScsiDevice


@frozen
class Region:
    """Sectors of the disk (its own size) that the load may touch.  `writable` False: reads only."""

    start: int
    sectors: int
    writable: bool = False


@define
class IoLoad:
    """*workers* tasks on the machine's CPUs in turn, each with one command of up to *max_sectors*
    outstanding.

    `reset_every`: a worker calls the host reset handler after so many commands, 0 never.  The same seed gives
    the same commands.  Buffers come from the machine's reserve: memory that is being dumped does not change.
    UsageError for a region that is not on the disk.
    """

    sdev: ScsiDevice
    region: Region
    seed: int
    workers: int = 4
    max_sectors: int = 64
    reset_every: int = 0
    issued: int = field(init=False, default=0)
    completed: int = field(init=False, default=0)
    failed: int = field(init=False, default=0)
    resets: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        region, last = self.region, self.sdev.nr_sectors
        if region.start < 0 or region.sectors < 1 or region.start + region.sectors > last:
            raise UsageError(f"I/O load on {self.sdev.name}: sectors {region.start}.."
                             f"{region.start + region.sectors - 1} are not on a disk of {last} sectors")
        if self.workers < 1 or self.max_sectors < 1:
            raise UsageError(f"I/O load on {self.sdev.name}: workers={self.workers},"
                             f" max_sectors={self.max_sectors} must be at least 1")

    @property
    def in_flight(self) -> int:
        """Commands that had not ended (at the crash: that never will)."""
        return self.issued - self.completed

    def start(self) -> None:
        """Spawn the workers.  They run until the crash."""
        machine = self.sdev.host.kernel.machine
        for number in range(self.workers):
            worker = _Worker(self, number)
            machine.spawn(number % len(machine.cpus), worker.run, f"load/{number}")


class _Worker:
    """One task's commands."""

    def __init__(self, load: IoLoad, number: int) -> None:
        sdev = load.sdev
        memory = sdev.host.kernel.machine.memory
        self.load = load
        self.random = random.Random(f"{load.seed}/{number}")
        self.request = ScsiRequest(sdev)
        self.sectors = min(load.max_sectors, load.region.sectors)
        nbytes = self.sectors * sdev.sector_size
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
            if load.reset_every and count % load.reset_every == 0:
                self._reset()

    def _one(self) -> None:
        load, region, size = self.load, self.load.region, self.load.sdev.sector_size
        sectors = self.random.randint(1, self.sectors)
        lba = region.start + self.random.randrange(region.sectors - sectors + 1)
        write = region.writable and self.random.random() < 0.5
        wide = load.sdev.use_16_for_rw or lba + sectors > 1 << 32
        load.issued += 1
        outcome = self.request.execute(cdb.read_write(write, lba, sectors, wide),
                                       DMA_TO_DEVICE if write else DMA_FROM_DEVICE,
                                       ((self.write_paddr if write else self.read_paddr, sectors * size),),
                                       sectors * size, sectors * size)
        load.completed += 1
        if outcome.disposition is not Disposition.SUCCESS:
            load.failed += 1

    def _reset(self) -> None:
        handler = self.load.sdev.host.hostt.eh_host_reset_handler
        if handler is not None:
            self.load.resets += 1
            self.request.call_handler(handler)
