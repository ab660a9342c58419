"""One attempt on one device: check its signatures, write the dump, through the driver only.

Order of writes and meaning of `status` and `written_blocks`: formats.md 1.5 and 1.8 (RHEL 4
`drivers/block/diskdump.c`, 2.6.9-89.29.1.EL).  Deliberate difference: the cache is flushed before the final header as
well as after it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

from attrs import define, field, frozen

from ddsdk.vmcore.dumpheader import SIGNATURE

from ..abi import ABIS
from ..errors import errno_name
from .device import DumpDevice, DumpMemory, Scratch, SwapDevice
from .header import HEADER_BLOCK, LEADING_BLOCKS, Status
from .notes import with_record
from .plan import DumpPlan
from .record import FormatRecord
from .signature import USER_BLOCK, SignatureKind, kind_of_block, sampling, verify_blocks

#: Pages are handed back to the page cache in steps of this many bytes.
RELEASE_BYTES = 16 << 20


class Stage(Enum):
    """Where an attempt on one device ended."""

    REGISTER = "registration"
    CORE_CHECK = "code check"
    SANITY = "sanity check"
    SIZE = "size"
    QUIESCE = "quiesce"
    SIGNATURES = "signature check"
    HEADER = "header write"
    BITMAP = "bitmap write"
    MEMORY = "memory write"
    SWAP = "swap"
    SHUTDOWN = "shutdown"
    FAULT = "driver fault"


@frozen
class Progress:
    """`done` of `total` blocks; `phase` is "check", "dump" or "swap"."""

    phase: str
    device: str
    done: int
    total: int


class AttemptFailed(Exception):
    """This attempt is over; the next device gets its chance."""

    def __init__(self, stage: Stage, reason: str) -> None:
        super().__init__(reason)
        self.stage = stage
        self.reason = reason


def because(device: DumpDevice | SwapDevice, error: int) -> str:
    """The device's own sentence, else the error's name."""
    return device.why.removeprefix(f"{device.name}: ") or f"error {errno_name(error)}"


@define
class Attempt:
    """The plan carried out on one device, which has passed its sanity check and been quiesced."""

    device: DumpDevice
    memory: DumpMemory
    plan: DumpPlan
    scratch: Scratch
    block_order: int
    sample_rate: int
    progress: Callable[[Progress], None]
    _record: FormatRecord | None = field(init=False, default=None)
    _sub_header: bytes = field(init=False)
    _page: int = field(init=False)
    _scratch_blocks: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._page = self.plan.page_size
        self._sub_header = self.plan.sub_header
        blocks = len(self.scratch.view) // self._page
        if self.plan.records:               # the other half is the stream's
            blocks //= 2
        self._scratch_blocks = max(1, min(blocks, self.device.max_blocks))

    # --- reading -----------------------------------------------------------------------------------------

    def read_format(self) -> FormatRecord | None:
        """What the formatter left in the user parameter block; None on a device the original tools formatted.

        The sub header, which overwrites that block, carries it on.
        """
        self._read(USER_BLOCK, 1)
        block = self.scratch.view[:self._page]
        record = FormatRecord.parse(block)
        self._sub_header = with_record(self.plan.sub_header, self.plan.abi, block)
        if record is not None and record.device_blocks != self.device.blocks:
            raise AttemptFailed(Stage.SIGNATURES, f"formatted as a partition of {record.device_blocks} blocks, it has"
                                                  f" {self.device.blocks}: another device's signatures")
        return record

    def check_signatures(self, record: FormatRecord | None) -> SignatureKind | None:
        """Read sampled blocks back through the driver: each carries its own signature, all of one kind.

        *record* says which blocks a sparse format signed.  None when `sample_rate` is negative: no check.
        AttemptFailed names the first bad block.
        """
        self._record = record
        found: SignatureKind | None = None
        total = self.plan.reach_blocks(self.device.blocks)
        stride = record.stride if record else 1
        for start, length in sampling(total, self.block_order, self.sample_rate, stride):
            for first in range(start, start + length, self._scratch_blocks):
                count = min(self._scratch_blocks, start + length - first)
                found = self._check_run(first, count, found)
                self.progress(Progress("check", self.device.name, first + count, total))
        return found

    def _check_run(self, first: int, count: int, found: SignatureKind | None) -> SignatureKind | None:
        self._read(first, count)
        kind, bad = verify_blocks(self.scratch.view[:count * self._page], first, self.plan.abi, self._record)
        if bad is not None:
            at = (bad - first) * self._page
            raise AttemptFailed(Stage.SIGNATURES, self._bad_signature(bad, self.scratch.view[at:at + self._page]))
        if kind is not None and found is not None and kind is not found:
            raise AttemptFailed(Stage.SIGNATURES, f"block {first} has {kind.value} signatures, the blocks before it"
                                                  f" {found.value}: a device carries one kind")
        return kind or found

    def _bad_signature(self, number: int, block: memoryview) -> str:
        """What block *number* is if not a signature of ours, and what to do about it."""
        if number == HEADER_BLOCK and block[:len(SIGNATURE)] == SIGNATURE:
            return "it holds a dump that has not been saved; run `ddsdk savecore` first"
        mine = self.plan.abi
        others = [abi.name for abi in ABIS if number == 0 and abi.page_size <= len(block)
                  and kind_of_block(block[:abi.page_size], 0, abi)]
        if others:
            return (f"bad signature in block 0: formatted for {' or '.join(others)}, the memory is {mine.name}'s;"
                    f" `ddsdk format --abi {mine.name}` makes it fit")
        return (f"bad signature in block {number}: this is not (any more) a formatted dump partition;"
                f" `ddsdk check --abi {mine.name}` tells more")

    def _read(self, block: int, count: int) -> None:
        error = self.device.rw_block(False, block, ((self.scratch.paddr, count * self._page),))
        if error:
            raise AttemptFailed(Stage.SIGNATURES, f"read error {errno_name(error)} on block {block}:"
                                                  f" {because(self.device, error)}")

    # --- writing -----------------------------------------------------------------------------------------

    def write(self) -> int:
        """Header (incomplete), sub header, bitmap, header, memory, header (complete); returns written_blocks."""
        self.head()
        self._memory()
        self.flush()                        # the header may not say "complete" before the pages are on the medium
        self.header(Status.COMPLETED, self.plan.total_blocks)
        return self.plan.total_blocks

    def head(self) -> None:
        """Everything before the memory; the second bitmap, where there is one, is zeros."""
        plan = self.plan
        self.header(Status.INCOMPLETED, LEADING_BLOCKS)
        self.write_bytes(LEADING_BLOCKS, self._sub_header, Stage.HEADER)
        block = LEADING_BLOCKS + plan.sub_hdr_blocks
        for piece in plan.bitmap_pieces(self._scratch_blocks):
            self.write_bytes(block, piece, Stage.BITMAP)
            block += len(piece) // self._page
        for first in range(block, plan.data_start, self._scratch_blocks):
            count = min(self._scratch_blocks, plan.data_start - first)
            self.write_bytes(first, bytes(count * self._page), Stage.BITMAP)
        if plan.partial is not None:
            self.flush()                    # from here on the header is believed at any instant
        self.header(Status.INCOMPLETED, plan.data_start)

    def flush(self) -> None:
        """What was written survives a power cut when this returns."""
        error = self.device.flush()
        if error:
            raise AttemptFailed(Stage.MEMORY, because(self.device, error))

    def header(self, status: Status, written_blocks: int) -> None:
        """Block 1 as it is now."""
        block = self.plan.header_block(status, written_blocks, self.device.blocks)
        self.write_bytes(HEADER_BLOCK, block, Stage.HEADER)

    def write_bytes(self, block: int, data: bytes, stage: Stage) -> None:
        """*data*, whole blocks, through the scratch area."""
        step = self._scratch_blocks * self._page
        for at in range(0, len(data), step):
            piece = data[at:at + step]
            self.scratch.view[:len(piece)] = piece
            target = block + at // self._page
            error = self.device.rw_block(True, target, ((self.scratch.paddr, len(piece)),))
            if error:
                raise AttemptFailed(stage, f"write error {errno_name(error)} on block {target}:"
                                           f" {because(self.device, error)}")

    def _memory(self) -> None:
        """Every page, as scatter lists straight from memory."""
        plan, name = self.plan, self.device.name
        chunk_blocks = max(1, min(1 << self.block_order, self.device.max_blocks))
        total, done = plan.total_pages, 0
        step = max(chunk_blocks, min(total // 200, RELEASE_BYTES // 4 // self._page))
        report_at, released = step, Release(self.memory, plan)
        for block, blocks, error in self.device.stream(True, plan.chunks(chunk_blocks)):
            if error:
                raise AttemptFailed(Stage.MEMORY, f"I/O error {errno_name(error)} on block {block}:"
                                                  f" {because(self.device, error)}")
            done += blocks
            if done >= report_at:
                report_at = done + step
                released.upto(done)
                self.progress(Progress("dump", name, done, total))
        self.progress(Progress("dump", name, done, total))
        if done != total:
            raise AttemptFailed(Stage.MEMORY, f"{done} pages acknowledged of {total}: the device lost completions")


@define
class Release:
    """Hands saved pages back, so that a dump of any size takes the same room."""

    memory: DumpMemory
    plan: DumpPlan
    _run: int = 0
    _pages_before: int = 0
    _released: int = 0

    def upto(self, done_pages: int) -> None:
        """The first *done_pages* RAM pages are on the device (an estimate is good enough: it is advice)."""
        page = self.plan.page_size
        if (done_pages - self._released) * page < RELEASE_BYTES:
            return
        while self._run < len(self.plan.runs):
            run = self.plan.runs[self._run]
            first = max(0, self._released - self._pages_before)
            last = min(run.npages, done_pages - self._pages_before)
            if last > first:
                self.memory.release_range((run.start_pfn + first) * page, (last - first) * page)
            if done_pages - self._pages_before < run.npages:
                break
            self._pages_before += run.npages
            self._run += 1
            self._released = self._pages_before
        self._released = done_pages
