"""A dump device on one partition of a disk: sanity check, quiesce, polled I/O, shutdown.

Source: RHEL 4 `drivers/scsi/scsi_dump.c` (2.6.9-89.29.1.EL) by formats.md 1.15.  Deliberate differences: scatter lists
go to the driver untouched; a queue depth above 1; dump_queue.py has those of timeouts and retries.
"""

from __future__ import annotations

import errno
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Protocol

from attrs import frozen

from ddsdk.errors import UsageError, errno_name
from ddsdk.helperlib.delay import PollBoth
from ddsdk.hookspecs.device import BoundHooks

from .bounce import Bounce
from .dump_io import FINISHED, IDLE
from .dump_queue import Io, PolledQueue, QueueStats
from .pieces import ScatterList, split

if TYPE_CHECKING:
    from ddsdk.helperlib.kernel import Kernel
    from ddsdk.integrity import CodeImage
    from ddsdk.sim.locks import SpinLock

PARTITION_SECTOR: Final = 512       # partitions are counted in these, whatever the disk's own sectors are
#: Command objects in rotation: a duplicate completion finds its command still over for so many commands.
_RING: Final = 64

Chunk = tuple[int, ScatterList]


class Unit(Protocol):
    """A disk as its mid-layer found it: `sector_size` bytes, `nr_sectors` of them.  `online`: it can be used."""

    sector_size: int
    nr_sectors: int

    @property
    def name(self) -> str:
        """How messages call it."""

    @property
    def online(self) -> bool:
        """Ready, as far as the mid-layer knows."""


@frozen
class Limits:
    """What one command may carry: 512-byte units by the driver, sectors by the command, segments by the adapter.

    `dma_mask`: the highest address the adapter reaches; memory beyond is copied.
    """

    proc_name: str
    max_sectors: int
    command_sectors: int
    sg_tablesize: int
    queue_depth: int = 1
    dma_mask: int = (1 << 64) - 1


class PolledDumpDevice(ABC, Generic[Io]):
    """One partition of one disk, as the dump engine sees it.

    Blocks are pages, counted from the partition's start.  *start_sector*, *nr_sectors*: the partition in 512-byte
    sectors.  *image*: the driver's code as it was when the device was registered.  Made while the machine is healthy:
    its memory is taken here, nothing is allocated later.  `why` is one sentence about the last refusal (without the
    device's name, which its reader knows); `warnings` is what went wrong without consequence.  UsageError: a partition
    that is not on the disk, or sizes that do not fit together.
    """

    #: The mid-layer's lock and the driver's reset, as messages call them.
    LOCK: ClassVar[str]
    RESET: ClassVar[str]

    def __init__(self, unit: Unit, kernel: Kernel, hooks: BoundHooks, start_sector: int, nr_sectors: int,
                 page_size: int, image: CodeImage, queue_depth: int, name: str) -> None:
        self.hooks = hooks
        self.name = name or unit.name
        self.why = ""
        self.warnings: list[str] = []
        self._unit = unit
        self._page = page_size
        self._image: CodeImage | None = image
        self._damage = ""
        self._quiesced = False
        self._kernel = kernel
        limits = self._limits()
        self._geometry(limits, start_sector, nr_sectors)
        self._bounce = Bounce.needed(kernel.machine.memory, limits.dma_mask, page_size, self.max_blocks)
        self.queue_depth = max(1, min(queue_depth, limits.queue_depth))
        paddr = kernel.machine.memory.reserve.alloc(4096, 4096)
        self._scratch_paddr, self._scratch = paddr, kernel.machine.memory.view(paddr, 4096)
        self._queue = self._make_queue()
        self._control = self._new_io()
        self._ring_size = max(_RING, 4 * self.queue_depth)
        self._ring = [self._new_io() for _ in range(self._ring_size)]
        self._turn = 0
        self._bound_poll = partial(hooks.dump_poll, unit)
        self._beside: Callable[[], object] | None = None

    def _geometry(self, limits: Limits, start_sector: int, nr_sectors: int) -> None:
        page, size = self._page, self._unit.sector_size
        if page % size or start_sector * PARTITION_SECTOR % size:
            raise UsageError(f"{self.name}: a page of {page} bytes and a partition at byte"
                             f" {start_sector * PARTITION_SECTOR} must be whole sectors of {size} bytes")
        first = start_sector * PARTITION_SECTOR // size
        end = first + nr_sectors * PARTITION_SECTOR // size
        if start_sector < 0 or nr_sectors < 0 or end > self._unit.nr_sectors:
            raise UsageError(f"{self.name}: the partition ends at sector {end}, the disk has"
                             f" {self._unit.nr_sectors} of {size} bytes; check its start and size")
        self.blocks = nr_sectors * PARTITION_SECTOR // page
        self._first_sector, self._end_sector, self._sectors_per_block = first, end, page // size
        self.max_blocks = min(limits.max_sectors * PARTITION_SECTOR, limits.command_sectors * size) // page
        if not self.max_blocks:
            raise UsageError(f"{self.name}: max_sectors {limits.max_sectors} of {limits.proc_name} is less"
                             f" than a page of {page} bytes")
        self._sg_tablesize = limits.sg_tablesize

    # --- what a mid-layer says -----------------------------------------------------------------------------

    @abstractmethod
    def _limits(self) -> Limits:
        """What one command may carry."""

    @abstractmethod
    def _make_queue(self) -> PolledQueue[Io]:
        """The queue; the scratch memory is there."""

    @abstractmethod
    def _new_io(self) -> Io:
        """An object for one command."""

    @abstractmethod
    def _fill(self, io: Io, write: bool, sector: int, sectors: int, nbytes: int, sg: ScatterList) -> None:
        """Make *io* a read or write of the disk's *sectors* from *sector* on."""

    @property
    @abstractmethod
    def lock(self) -> SpinLock:
        """The lock that is held around the driver."""

    @abstractmethod
    def _unusable(self) -> str:
        """Why the disk cannot be used, by what the mid-layer knows of it; empty when it can."""

    @abstractmethod
    def _take_over(self) -> int:
        """After the reset and its settling: prove that commands work, switch the write cache on.  0 or -errno."""

    @abstractmethod
    def flush(self) -> int:
        """What was written survives a power cut when this returns 0."""

    # --- before the dump -----------------------------------------------------------------------------------

    @property
    def stats(self) -> QueueStats:
        """Retries, timeouts, resets, ignored completions so far."""
        return self._queue.stats

    def _refuse(self, error: int, why: str) -> int:
        self.why = why
        return -error

    def sanity_check(self) -> int:
        """0 sane, < 0 never use, > 0 cannot tell.

        In this order: code CRC, what the mid-layer knows of the disk, the driver's dump_sanity_check, the lock.
        """
        self.why = ""
        if self._image is not None:             # once: a second pass trusts the first
            damages, self._image = self._image.verify(), None
            self._damage = str(damages[0]) if damages else ""
        if self._damage:
            return self._refuse(errno.EINVAL, "checksum error, the driver's code may be compromised:"
                                              f" {self._damage}")
        unusable = self._unusable()
        if unusable:
            return self._refuse(errno.EIO, unusable)
        verdict = self._ask(self.hooks.dump_sanity_check, "dump_sanity_check")
        if verdict < 0:
            return verdict
        lock = self.lock
        if self._kernel.spin_is_locked(lock):
            holder = lock.taken_in or "unknown"
            return self._refuse(errno.EIO, f"{self.LOCK} is held, taken at {holder}; nobody will release it")
        return verdict

    def _ask(self, hook: Callable[[Any], int | None], what: str) -> int:
        """Call an int hook; None counts as 0.  `why` says so when it is not 0."""
        answer = self._queue.call_driver(hook, self._unit)
        if answer is None or answer == 0:
            return 0
        if not isinstance(answer, int):
            return self._refuse(errno.EINVAL, f"{what} of {self.hooks.plugin} returned {answer!r}, not 0 or"
                                              " -errno")
        says = "cannot tell" if answer > 0 else f"refuses: {errno_name(answer)}"
        self.why = f"{what} of {self.hooks.plugin} {says}"
        return answer

    def quiesce(self) -> int:
        """Driver's quiesce, reset, 5 s of settling, a first command, write cache on.  0 or -errno."""
        self.why = ""
        self._kernel.poll = self._bound_poll
        error = self._quiesce()
        if error:
            self._kernel.poll = None
        self._quiesced = not error
        return error

    def take_up(self, beside: object, risky: bool = True) -> int:
        """Make ready to be read while *beside*, a dump device that was quiesced, is at work.  0 or -errno.

        Sanity check (*risky*: one that cannot tell will do) and quiesce, and from then on both drivers are polled.
        Where *beside* is on the same disk, there is nothing to be done.
        """
        if isinstance(beside, PolledDumpDevice) and beside._unit is self._unit:
            self.why = ""
            return 0
        verdict = self.sanity_check()
        if verdict < 0 or (verdict and not risky):
            return -abs(verdict)
        self._beside = self._kernel.poll
        self._kernel.poll = self._bound_poll if self._beside is None else PollBoth(self._beside, self._bound_poll)
        try:
            error = self._quiesce()
            self._quiesced = not error
        finally:
            if not self._quiesced:              # a fault of the driver's comes this way, too
                self._kernel.poll = self._beside
        return error

    def let_go(self) -> int:
        """The end of what `take_up` began: the driver's shutdown, and only the other one is polled.  0 or -errno."""
        if not self._quiesced:
            return 0
        self._quiesced = False
        try:
            answer = self._ask(self.hooks.shutdown, "shutdown")
        finally:
            self._kernel.poll, self._beside = self._beside, None
        return -abs(answer)

    def _quiesce(self) -> int:
        answer = self._ask(self.hooks.quiesce, "quiesce")
        if answer:
            return -abs(answer)
        log = self._kernel.log
        before = len(log)
        if not self._queue.reset():
            said = f"; the driver's last word: {log[-1]}" if len(log) > before else ""
            return self._refuse(errno.EIO, f"the {self.RESET} handler failed{said}")
        self._queue.settle()
        error = self._take_over()
        if not error:
            self.why = ""
        return error

    # --- the dump ------------------------------------------------------------------------------------------

    def rw_block(self, write: bool, block: int, sg: ScatterList) -> int:
        """Move the pages of *sg* to or from *block* on; returns when they are there.  0 or -errno.

        -EFBIG beyond the partition, -EINVAL for a scatter list that is not whole pages.  What one command
        cannot carry goes in several.
        """
        return self._rw(write, block, sum([length for _, length in sg]), sg)

    def _rw(self, write: bool, block: int, nbytes: int, sg: ScatterList) -> int:
        nblocks = nbytes // self._page
        if not self._fits(block, nblocks, nbytes, sg):
            return self._rw_split(write, block, nbytes, sg)
        io = self._prepare(write, block, nblocks, nbytes, sg)
        error = self._queue.run(io)
        if error:
            self.why = io.why
        return error

    def _fits(self, block: int, nblocks: int, nbytes: int, sg: ScatterList) -> bool:
        """Whole pages inside the partition, of memory the adapter reaches, that one command can carry."""
        if self._bounce is not None and self._bounce.unreachable(sg):
            return False
        return (nblocks <= self.max_blocks and len(sg) <= self._sg_tablesize
                and nblocks * self._page == nbytes and block >= 0 and block + nblocks <= self.blocks)

    def _rw_split(self, write: bool, block: int, nbytes: int, sg: ScatterList) -> int:
        """Several commands, or a refusal before the first."""
        nblocks = nbytes // self._page
        if nbytes % self._page:
            return self._refuse(errno.EINVAL, f"{nbytes} bytes at block {block} are not whole pages of"
                                              f" {self._page}")
        if block < 0 or block + nblocks > self.blocks:
            return self._refuse(errno.EFBIG, f"blocks {block}..{block + nblocks - 1} are outside the"
                                             f" partition of {self.blocks} blocks")
        if self._bounce is not None and self._bounce.unreachable(sg):
            return self._bounce.carry(write, block, sg, self.rw_block)
        for count, piece in split(sg, self._page, self.max_blocks, self._sg_tablesize):
            if not piece:
                return self._refuse(errno.EINVAL, f"a page in more than {self._sg_tablesize} pieces of"
                                                  " memory, which is all the adapter takes in a command")
            error = self.rw_block(write, block, piece)
            if error:
                return error
            block += count
        return 0

    def _prepare(self, write: bool, block: int, nblocks: int, nbytes: int, sg: ScatterList) -> Io:
        """A read or write in the next object of the ring that is not in flight; there are more than can be."""
        while True:
            io = self._ring[self._turn]
            self._turn = (self._turn + 1) % self._ring_size
            if io.state in (IDLE, FINISHED):
                break
        per_block = self._sectors_per_block
        self._fill(io, write, self._first_sector + block * per_block, nblocks * per_block, nbytes, sg)
        io.block = block
        io.nblocks = nblocks
        return io

    def stream(self, write: bool, chunks: Iterable[Chunk]) -> Generator[tuple[int, int, int], None, None]:
        """Move many chunks, up to `queue_depth` commands in flight.

        Yields (block, blocks, 0 or -errno) as each chunk ends.  Closing the iterator early waits for what is
        in flight: its memory is the adapter's until then.
        """
        if self.queue_depth == 1:
            for block, sg in chunks:
                nbytes = sum([length for _, length in sg])
                yield block, nbytes // self._page, self._rw(write, block, nbytes, sg)
            return
        try:
            yield from self._stream_deep(write, chunks)
        except GeneratorExit:
            while self._queue.flying:
                self._queue.drive()
            raise

    def _stream_deep(self, write: bool, chunks: Iterable[Chunk]) -> Iterator[tuple[int, int, int]]:
        for block, sg in chunks:
            nbytes = sum([length for _, length in sg])
            nblocks = nbytes // self._page
            if self._fits(block, nblocks, nbytes, sg):
                self._queue.launch(self._prepare(write, block, nblocks, nbytes, sg))
            else:
                yield block, nblocks, self.rw_block(write, block, sg)
            while len(self._queue.flying) >= self.queue_depth:
                yield from self._ended()
        while self._queue.flying:
            yield from self._ended()

    def _ended(self) -> Iterator[tuple[int, int, int]]:
        for io in self._queue.drive():
            if io.error:
                self.why = io.why
            yield io.block, io.nblocks, io.error

    # --- after the dump ------------------------------------------------------------------------------------

    def shutdown(self) -> int:
        """Flush, then the driver's shutdown.  -errno: data may be lost.

        A device that was not quiesced, or was shut down already, answers 0.
        """
        if not self._quiesced:
            return 0
        self._quiesced = False
        dead = self._queue.dead
        error = self._refuse(errno.EIO, f"given up: {dead}") if dead else self.flush()
        answer = self._ask(self.hooks.shutdown, "shutdown")
        self._kernel.poll = None
        return error or -abs(answer)
