"""A dump device on a SCSI disk: sanity check, quiesce, polled I/O to one partition, shutdown.

Source: RHEL 4 `drivers/scsi/scsi_dump.c` (2.6.9-89.29.1.EL) by formats.md 1.15.
Deliberate differences: scatter lists go to the driver untouched; READ(16)/WRITE(16) where 32 bits of LBA do
not reach; a queue depth above 1; a target without the caching page is used as it is; dump_queue.py has those
of timeouts and retries.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final

from ddsdk.errors import UsageError, errno_name
from ddsdk.hookspecs.device import BoundHooks

from . import cdb
from .cmnd import DMA_FROM_DEVICE, DMA_NONE, DMA_TO_DEVICE, ScatterList
from .dump_io import FINISHED, IDLE, DumpIo
from .dump_queue import NS_PER_S, RETRIES_ALLOWED, SCMND_TIMEOUT_NS, PolledQueue, QueueStats
from .host import SCSI_2
from .pieces import split
from .sense import ILLEGAL_REQUEST, SenseData

if TYPE_CHECKING:
    from ddsdk.integrity import CodeImage

    from .host import ScsiDevice

PARTITION_SECTOR: Final = 512       # partitions are counted in these, whatever the disk's own sectors are
SECTORS_MAX: Final = 0xFFFF         # of one command
_WCE: Final = 0x04
_PS: Final = 0x80
#: ScsiCmnd objects in rotation: a duplicate completion finds its command still over for so many commands.
_RING: Final = 64

Chunk = tuple[int, ScatterList]


class ScsiDumpDevice:
    """One partition of one disk, as the dump engine sees it.

    Blocks are pages, counted from the partition's start.  *start_sector*, *nr_sectors*: the partition in
    512-byte sectors.  *image*: the driver's code as it was when the device was registered.  Made while the
    machine is healthy: its memory is taken here, nothing is allocated later.  `why` is one sentence about the
    last refusal (without the device's name, which its reader knows); `warnings` is what went wrong without
    consequence.  UsageError: a partition that is not on the disk, or sizes that do not fit together.
    """

    def __init__(self, sdev: ScsiDevice, hooks: BoundHooks, start_sector: int, nr_sectors: int,
                 page_size: int, image: CodeImage, queue_depth: int = 1, *, name: str = "",
                 set_wce: bool = True) -> None:
        host, kernel = sdev.host, sdev.host.kernel
        self.sdev = sdev
        self.hooks = hooks
        self.name = name or sdev.name
        self.why = ""
        self.warnings: list[str] = []
        self.set_wce = set_wce
        self._page = page_size
        self._image: CodeImage | None = image
        self._damage = ""
        self._quiesced = False
        self._kernel = kernel
        self._geometry(start_sector, nr_sectors)
        self.queue_depth = max(1, min(queue_depth, host.can_queue))
        paddr = kernel.machine.memory.reserve.alloc(4096, 4096)
        self._scratch_paddr, self._scratch = paddr, kernel.machine.memory.view(paddr, 4096)
        self._queue = PolledQueue(sdev, hooks.plugin, (paddr, self._scratch))
        self._control = self._new_io()
        self._ring_size = max(_RING, 4 * self.queue_depth)
        self._ring = [self._new_io() for _ in range(self._ring_size)]
        self._turn = 0
        self._bound_poll = partial(hooks.dump_poll, sdev)

    def _geometry(self, start_sector: int, nr_sectors: int) -> None:
        sdev, host, page = self.sdev, self.sdev.host, self._page
        size = sdev.sector_size
        if page % size or start_sector * PARTITION_SECTOR % size:
            raise UsageError(f"{self.name}: a page of {page} bytes and a partition at byte"
                             f" {start_sector * PARTITION_SECTOR} must be whole sectors of {size} bytes")
        first = start_sector * PARTITION_SECTOR // size
        end = first + nr_sectors * PARTITION_SECTOR // size
        if start_sector < 0 or nr_sectors < 0 or end > sdev.nr_sectors:
            raise UsageError(f"{self.name}: the partition ends at sector {end}, the disk has"
                             f" {sdev.nr_sectors} of {size} bytes; check its start and size")
        self.blocks = nr_sectors * PARTITION_SECTOR // page
        self._first_sector, self._sectors_per_block = first, page // size
        self.max_blocks = min(host.max_sectors * PARTITION_SECTOR, SECTORS_MAX * size) // page
        if not self.max_blocks:
            raise UsageError(f"{self.name}: max_sectors {host.max_sectors} of {host.hostt.proc_name} is less"
                             f" than a page of {page} bytes")
        self._sg_tablesize = host.sg_tablesize
        self._wide = sdev.use_16_for_rw or end > 1 << 32
        if self._wide and host.max_cmd_len < 16:
            raise UsageError(f"{self.name}: sectors up to {end} need 16-byte commands,"
                             f" {host.hostt.proc_name} sends at most {host.max_cmd_len}; use one below 2 TiB")

    def _new_io(self) -> DumpIo:
        io = DumpIo.on(self.sdev, RETRIES_ALLOWED)
        io.scmd.timeout_per_command = SCMND_TIMEOUT_NS // NS_PER_S * self._kernel.HZ
        return io

    @property
    def stats(self) -> QueueStats:
        """Retries, timeouts, resets, ignored completions so far."""
        return self._queue.stats

    def _refuse(self, error: int, why: str) -> int:
        self.why = why
        return -error

    # --- before the dump -----------------------------------------------------------------------------------

    def sanity_check(self) -> int:
        """0 sane, < 0 never use, > 0 cannot tell.

        In this order: code CRC, online, not changed, the driver's dump_sanity_check, host lock.
        """
        self.why = ""
        if self._image is not None:             # once: a second pass trusts the first
            damages, self._image = self._image.verify(), None
            self._damage = str(damages[0]) if damages else ""
        if self._damage:
            return self._refuse(errno.EINVAL, "checksum error, the driver's code may be compromised:"
                                              f" {self._damage}")
        if not self.sdev.online:
            return self._refuse(errno.EIO, "the device is offline")
        if self.sdev.changed:
            return self._refuse(errno.EIO, "the medium was changed since the device was registered")
        verdict = self._ask(self.hooks.dump_sanity_check, "dump_sanity_check")
        if verdict < 0:
            return verdict
        if self._kernel.spin_is_locked(self.sdev.host.host_lock):
            holder = self.sdev.host.host_lock.taken_in or "unknown"
            return self._refuse(errno.EIO, f"host_lock is held, taken at {holder}; nobody will release it")
        return verdict

    def _ask(self, hook: Callable[[ScsiDevice], int | None], what: str) -> int:
        """Call an int hook; None counts as 0.  `why` says so when it is not 0."""
        answer = self._queue.call_driver(hook, self.sdev)
        if answer is None or answer == 0:
            return 0
        if not isinstance(answer, int):
            return self._refuse(errno.EINVAL, f"{what} of {self.hooks.plugin} returned {answer!r}, not 0 or"
                                              " -errno")
        says = "cannot tell" if answer > 0 else f"refuses: {errno_name(answer)}"
        self.why = f"{what} of {self.hooks.plugin} {says}"
        return answer

    def quiesce(self) -> int:
        """Driver's quiesce, host reset, 5 s of settling, REQUEST SENSE, write cache on.  0 or -errno."""
        self.why = ""
        self._kernel.poll = self._bound_poll
        error = self._quiesce()
        if error:
            self._kernel.poll = None
        self._quiesced = not error
        return error

    def _quiesce(self) -> int:
        answer = self._ask(self.hooks.quiesce, "quiesce")
        if answer:
            return -abs(answer)
        log = self._kernel.log
        before = len(log)
        if not self._queue.reset():
            said = f"; the driver's last word: {log[-1]}" if len(log) > before else ""
            return self._refuse(errno.EIO, f"the host reset handler failed{said}")
        self._queue.settle()
        error = self._request_sense()
        if error:
            return error
        if self.set_wce and self.sdev.scsi_level >= SCSI_2:
            self._enable_write_cache()
        self.why = ""
        return 0

    def _send(self, command: bytes, direction: int = DMA_NONE, nbytes: int = 0) -> int:
        sg = ((self._scratch_paddr, nbytes),) if nbytes else ()
        error = self._queue.run(self._control.control(command, direction, sg, nbytes))
        if error:
            self.why = self._control.why
        return error

    def _request_sense(self) -> int:
        return self._send(cdb.request_sense(), DMA_FROM_DEVICE, cdb.SENSE_BYTES)

    def _enable_write_cache(self) -> None:
        """MODE SENSE and MODE SELECT of the caching page.  Failures are warnings: it works without a
        cache.
        """
        self._scratch[:cdb.MODE_ALLOCATION] = bytes(cdb.MODE_ALLOCATION)
        if self._send(cdb.mode_sense_6(), DMA_FROM_DEVICE, cdb.MODE_ALLOCATION):
            self._warn("the write cache stays as it is")
            return
        data = bytearray(self._scratch[:cdb.MODE_ALLOCATION])
        try:
            page = cdb.caching_page_at(data)
        except cdb.NoCachingPage as error:
            self.warnings.append(f"the write cache stays as it is: {error}")
            return
        if data[page + 2] & _WCE:
            return
        length = min(data[0] + 1, cdb.MODE_ALLOCATION)
        data[0:3] = bytes(3)
        data[page] &= ~_PS & 0xFF
        data[page + 2] |= _WCE
        self._scratch[:length] = data[:length]
        if self._send(cdb.mode_select_6(length), DMA_TO_DEVICE, length):
            self._warn("the write cache stays off")

    def _warn(self, consequence: str) -> None:
        """Note why the last command failed, and clear the target's sense data."""
        self.warnings.append(f"{self.why}; {consequence}")
        self._request_sense()

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
        """Whole pages inside the partition that one command can carry."""
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
        for count, piece in split(sg, self._page, self.max_blocks, self._sg_tablesize):
            if not piece:
                return self._refuse(errno.EINVAL, f"a page in more than {self._sg_tablesize} pieces of"
                                                  " memory, which is all the adapter takes in a command")
            error = self.rw_block(write, block, piece)
            if error:
                return error
            block += count
        return 0

    def _prepare(self, write: bool, block: int, nblocks: int, nbytes: int, sg: ScatterList) -> DumpIo:
        """A READ or WRITE in the next object of the ring that is not in flight; there are more than can
        be.
        """
        while True:
            io = self._ring[self._turn]
            self._turn = (self._turn + 1) % self._ring_size
            if io.state in (IDLE, FINISHED):
                break
        scmd = io.scmd
        sector = self._first_sector + block * self._sectors_per_block
        sectors = nblocks * self._sectors_per_block
        if self._wide:
            opcode = cdb.WRITE_16 if write else cdb.READ_16
            cdb.RW_16.pack_into(scmd.cmnd, 0, opcode, 0, sector, sectors, 0, 0)
            scmd.cmd_len = 16
        else:
            opcode = cdb.WRITE_10 if write else cdb.READ_10
            cdb.RW_10.pack_into(scmd.cmnd, 0, opcode, 0, sector, 0, sectors, 0)
            scmd.cmd_len = 10
        scmd.sc_data_direction = DMA_TO_DEVICE if write else DMA_FROM_DEVICE
        scmd.request_bufflen = scmd.underflow = nbytes
        scmd.sg = sg
        scmd.retries = 0
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
        """SYNCHRONIZE CACHE (SCSI-2 and later), then the driver's shutdown.  -errno: data may be lost.

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

    def flush(self) -> int:
        """SYNCHRONIZE CACHE (SCSI-2 and later): what was written survives a power cut when this returns 0."""
        return self._synchronize() if self.sdev.scsi_level >= SCSI_2 else 0

    def _synchronize(self) -> int:
        """A target without SYNCHRONIZE CACHE (05/20/00) has no cache to lose."""
        error = self._send(cdb.synchronize_cache())
        sense = SenseData.parse(self._control.scmd.sense_buffer) if error else None
        if sense is not None and (sense.key, sense.asc) == (ILLEGAL_REQUEST, 0x20):
            self.why = ""
            return 0
        return error
