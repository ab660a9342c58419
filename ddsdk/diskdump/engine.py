"""The dump service of one machine: which devices, in what order, and why each was passed over.

Source: RHEL 4 `drivers/block/diskdump.c` (2.6.9-89.29.1.EL) by formats.md 1.8 and 1.10.  Deliberate differences:
pages go out as scatter lists instead of through a bounce buffer; a partition that is too small for a plain dump is
refused before anything on it changes; notes travel in the sub header; swap areas may follow the memory (swappart.py).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from ..errors import DeviceError, DriverFault, UsageError
from ..integrity import CodeImage
from .device import DumpDevice, DumpMemory, Scratch, SwapDevice
from .notes import PartialNote
from .plan import CrashFacts, DumpPlan
from .signature import SignatureKind
from .writer import Attempt, AttemptFailed, Progress, Stage, because

if TYPE_CHECKING:
    from .filter import DumpFilter
    from .swap_write import SwapSaved, SwapSaver
    from .swapheader import SwapHeader

BLOCK_ORDER_MAX = 8
SAMPLE_RATE_MAX = 31
DUMP_LEVEL_MAX = 31
CODECS = ("none", "zlib", "lzo", "snappy", "zstd")


@frozen
class Rejection:
    """Why one device was passed over.  `fault`: what was raised, where that is what ended it."""

    device: str
    stage: Stage
    reason: str
    fault: BaseException | None = field(default=None, eq=False, repr=False)

    def __str__(self) -> str:
        return f"{self.device}: {self.stage.value}: {self.reason}"


@frozen
class DumpConfig:
    """Module parameters of diskdump (white paper 5.4; formats.md 1.11).

    `block_order`: an I/O carries 2**block_order pages, 0..8.  `sample_rate`: 2**block_order blocks of every
    2**(block_order + sample_rate) are checked before writing; 0 checks all, negative none.  `dump_level`: pages left
    out, makedumpfile's bits, 0..31.  `codec`: how pages are compressed, none, zlib, lzo, snappy or zstd.
    """

    block_order: int = 2
    sample_rate: int = 8
    allow_risky_dumps: bool = True
    dump_level: int = 0
    codec: str = "none"

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.block_order <= BLOCK_ORDER_MAX:
            raise UsageError(f"block order {self.block_order}: it must be 0..{BLOCK_ORDER_MAX}"
                             " (an I/O carries 2**order pages)")
        if self.sample_rate > SAMPLE_RATE_MAX:
            raise UsageError(f"sample rate {self.sample_rate}: it must be at most {SAMPLE_RATE_MAX};"
                             " 0 checks every block, a negative one none")
        if not 0 <= self.dump_level <= DUMP_LEVEL_MAX:
            raise UsageError(f"dump level {self.dump_level}: it must be 0..{DUMP_LEVEL_MAX}, a sum of 1 (zero),"
                             " 2 (cache), 4 (private cache), 8 (user) and 16 (free pages)")
        if self.codec not in CODECS:
            raise UsageError(f"compression {self.codec!r}: it must be one of {', '.join(CODECS)}")

    @property
    def partial(self) -> PartialNote | None:
        """What the dump says of itself when it is partial or compressed."""
        return PartialNote(self.dump_level, self.codec) if self.dump_level or self.codec != "none" else None


@frozen
class DumpReport:
    """What happened.  `device` is None when no device took the dump; then `rejections` says why, one a device.

    `saved_pages` of `kept_pages`, those that the filter kept, are on the device; all of them unless it was `short`.
    `gaps`: what the filter could not tell, and what was kept for it.  `swap`: what became of each area, in order.
    """

    device: str | None
    kind: SignatureKind | None
    plan: DumpPlan
    written_blocks: int
    rejections: tuple[Rejection, ...]
    saved_pages: int = 0
    kept_pages: int = 0
    short: bool = False
    gaps: tuple[str, ...] = ()
    swap: tuple[SwapSaved, ...] = ()

    @property
    def complete(self) -> bool:
        """The header on the device says so, and every page of memory that was to be saved is behind it."""
        return self.device is not None and not self.short

    @property
    def swap_whole(self) -> bool:
        """So is every page of the swap areas."""
        return all(area.whole for area in self.swap)


def silent(_progress: Progress) -> None:
    """Report nothing."""


@define
class DiskDump:
    """Devices are registered while the machine is healthy; `dump()` runs once, after the crash.

    *core* is the code of the pipeline itself, taken at registration: damage found at the crash ends the dump
    before any device is touched (white paper 2.1).
    """

    memory: DumpMemory
    scratch: Scratch
    core: CodeImage
    config: DumpConfig = field(factory=DumpConfig)
    progress: Callable[[Progress], None] = silent
    devices: list[DumpDevice] = field(init=False, factory=list)
    _entered: bool = field(init=False, default=False)
    _filter: DumpFilter | None = field(init=False, default=None)
    _swap: SwapSaver | None = field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        if self.config.partial is not None:
            from .filter import DumpFilter  # a plain dump does without numpy's half of the package

            self._filter = DumpFilter(self.memory, self.config.dump_level, self.config.codec)

    def register(self, device: DumpDevice) -> None:
        """Append *device* to the list tried at the crash, in order of registration."""
        self.devices.append(device)

    def register_swap(self, device: SwapDevice, header: SwapHeader) -> None:
        """A swap area to save behind the memory, in order of registration.  UsageError: it does not fit *device*."""
        from .swap_write import SwapSaver, SwapSource  # a dump without swap does without
        from .swappart import MAX_AREAS

        page = self.memory.abi.page_size
        if header.page_size != page or header.pages > device.blocks:
            raise UsageError(f"{device.name}: {header.pages} pages of {header.page_size} bytes on a device of"
                             f" {device.blocks} pages of {page}; a swap area lies on its device, in pages of the"
                             " machine's size")
        if self._swap is None:
            self._swap = SwapSaver(header.page_size, self.config.codec)
        if len(self._swap.sources) == MAX_AREAS:
            raise UsageError(f"{device.name}: there are {MAX_AREAS} swap areas already, the most that Linux uses")
        self._swap.sources.append(SwapSource(device, header))

    def dump(self, facts: CrashFacts) -> DumpReport:
        """Save memory to the first device that is sane and ours; the report says which, or why none.

        A second call - a panic inside the dump - is refused: the kernel clears its hook before calling it.
        """
        plan = DumpPlan.of(self.memory, facts, self.config.partial, self._swap.areas if self._swap else ())
        if self._entered:
            return self._refused(plan, "a panic inside the dump: diskdump is not entered twice")
        self._entered = True
        damages = self.core.verify()
        if damages:
            return self._refused(plan, f"checksum error, the dump code may be compromised: {damages[0]}")
        if self._filter is not None:
            self._filter.run()
        return self._try_devices(plan)

    @staticmethod
    def _refused(plan: DumpPlan, reason: str) -> DumpReport:
        return DumpReport(None, None, plan, 0, (Rejection("diskdump", Stage.CORE_CHECK, reason),))

    def _try_devices(self, plan: DumpPlan) -> DumpReport:
        """A strict pass; then, if risky dumps are allowed, the devices that could not tell."""
        rejections: list[Rejection] = []
        cannot_tell: list[DumpDevice] = []
        for device in self.devices:
            verdict = self._sanity(device, rejections)
            if verdict is None:
                continue
            if verdict > 0 and self.config.allow_risky_dumps:
                cannot_tell.append(device)
                continue
            if report := self._attempt(device, plan, verdict, rejections):
                return report
        for device in cannot_tell:
            verdict = self._sanity(device, rejections)
            if verdict is not None and (report := self._attempt(device, plan, min(0, verdict), rejections)):
                return report
        return DumpReport(None, None, plan, 0, tuple(rejections))

    @staticmethod
    def _sanity(device: DumpDevice, rejections: list[Rejection]) -> int | None:
        try:
            return device.sanity_check()
        except (DriverFault, DeviceError) as fault:
            rejections.append(Rejection(device.name, Stage.FAULT, f"{type(fault).__name__}: {fault}", fault))
            return None

    def _attempt(self, device: DumpDevice, plan: DumpPlan, verdict: int,
                 rejections: list[Rejection]) -> DumpReport | None:
        try:
            if verdict:
                raise AttemptFailed(Stage.SANITY, because(device, verdict))
            return self._dump_to(device, plan, rejections)
        except AttemptFailed as failure:
            rejections.append(Rejection(device.name, failure.stage, failure.reason))
        except (DriverFault, DeviceError) as fault:     # a real machine might hang; a simulated one can go on
            rejections.append(Rejection(device.name, Stage.FAULT, f"{type(fault).__name__}: {fault}", fault))
        return None

    def _dump_to(self, device: DumpDevice, plan: DumpPlan, rejections: list[Rejection]) -> DumpReport:
        least = plan.total_blocks if plan.partial is None else plan.data_start + 1
        missing = least - device.blocks
        if missing > 0:
            raise AttemptFailed(Stage.SIZE, f"the dump partition has {device.blocks} blocks, {least} are required:"
                                            f" {missing} are missing")
        error = device.quiesce()
        if error:
            raise AttemptFailed(Stage.QUIESCE, because(device, error))
        attempt = Attempt(device, self.memory, plan, self.scratch, self.config.block_order,
                          self.config.sample_rate, self.progress)
        try:
            record = attempt.read_format()
            kind = attempt.check_signatures(record)
            report = evolve(self._write(attempt), kind=kind, rejections=tuple(rejections))
            if self._swap is not None:
                attempt.flush()         # the memory is safe: whatever happens to the swap part
        except AttemptFailed:
            device.shutdown()           # every device used is shut down; this one's answer no longer matters
            raise
        if self._swap is not None and not report.short:
            return self._add_swap(attempt, report, self._swap)
        error = device.shutdown()
        if error:
            raise AttemptFailed(Stage.SHUTDOWN, because(device, error))
        return report if self._swap is None else evolve(report, swap=self._swap.no_room(f"{device.name} is full"))

    def _add_swap(self, attempt: Attempt, report: DumpReport, swap: SwapSaver) -> DumpReport:
        """Save the swap areas, and shut down; neither can spoil the attempt any more."""
        device = attempt.device
        saved = swap.save(attempt, report.written_blocks, self.config.allow_risky_dumps)
        try:
            error = device.shutdown()
            why = because(device, error) if error else ""
        except (DriverFault, DeviceError) as fault:
            why = f"{type(fault).__name__}: {fault}"
        if why:
            why = f"the dump device failed at its shutdown: {why}"
        return evolve(report, swap=tuple(evolve(area, why=area.why or why) for area in saved))

    def _write(self, attempt: Attempt) -> DumpReport:
        plan, name = attempt.plan, attempt.device.name
        if self._filter is None:
            pages = plan.total_pages
            return DumpReport(name, None, plan, attempt.write(), (), pages, pages)
        written = self._filter.write(attempt)
        return DumpReport(name, None, plan, written.blocks, (), written.pages, self._filter.kept.count(), written.short,
                          self._filter.gaps)

