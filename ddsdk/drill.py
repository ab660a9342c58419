"""The whole story once: a crash under I/O load, a dump through a driver, savecore, every page compared.

The dump partition lies in the middle of the disk; the bytes around it are a pattern that is compared afterwards,
because a dump that writes outside its partition is worse than no dump.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from attrs import frozen

from .block.load import Region
from .diskdump.engine import DumpConfig, DumpReport, silent
from .diskdump.format import format_device
from .diskdump.partition import DumpState
from .diskdump.plan import CrashFacts, DumpPlan
from .diskdump.savecore import SaveReport, save
from .diskdump.target import DumpTarget
from .diskdump.writer import Progress
from .errors import DeviceError, UsageError, VerdictError
from .registry import Registry
from .rig import Rig
from .sim.machine import CrashRecord, Trigger
from .target import Target
from .vmcore.source import MemorySource, open_source

#: Disk space before and after the dump partition, where the I/O load plays and nothing else may change.
MARGIN_BYTES = 8 << 20
LOAD_SECTORS = 4096
COMPARE_BYTES = 1 << 20


@frozen
class Drill:
    """What to drill.  `load_us`: microseconds of I/O load before the crash; the same seed, the same crash."""

    driver: str
    memory: str
    chip: str | None = None
    backend: str = "model"
    seed: int = 1
    load_us: int = 20_000
    block_order: int = 2
    queue_depth: int = 1
    trigger: Trigger = Trigger.SYSRQ_C

    def refuse_nonsense(self, registry: Registry) -> None:
        """UsageError for an unknown name or a value out of range, before anything is made."""
        Target(self.driver, "disk.img", self.chip, self.backend).resolve(registry)
        DumpConfig(self.block_order)


@frozen
class DrillReport:
    """How it went.  `differ` counts pages of the vmcore that are not those of the memory, or are missing."""

    crash: CrashRecord
    in_flight: int
    dump: DumpReport
    saved: SaveReport
    pages: int
    differ: int


def run_drill(drill: Drill, registry: Registry, work: Path, *, now: int = 0,
              tell: Callable[[str], None] = lambda text: None,
              progress: Callable[[Progress], None] = silent) -> DrillReport:
    """Carry *drill* out in the empty directory *work*; *now* (seconds since the epoch) dates the crash.

    VerdictError when a step says no, with its reason.
    """
    with open_source(drill.memory) as source:
        plan = DumpPlan.of(source, CrashFacts(0, 0, 0, source.cpus))
        size = plan.total_blocks * plan.page_size
        partition = DumpTarget(str(work / "disk.img"), MARGIN_BYTES, size)
        _make_disk(partition, size)
        tell(str(plan))
        tell(str(format_device(partition, abi=source.abi)))
        target = Target(drill.driver, partition.path, drill.chip, drill.backend, MARGIN_BYTES, size)
        crash, in_flight, report = _crash_and_dump(drill, source, target, registry, now, tell, progress)
        if report.device is None:
            raise VerdictError(f"no dump: {report.rejections[-1] if report.rejections else 'no device registered'}")
        saved = save(partition, str(work / "crash"))
        if saved.state is not DumpState.COMPLETE or saved.path is None:
            raise VerdictError(f"no complete vmcore: {saved.why}")
        tell(f"saved {saved.pages} pages as ELF{saved.elf_class}, {saved.resigned_blocks} blocks signed again")
        differ = compare_with_source(saved.path, source)
    _check_margins(partition, size)
    return DrillReport(crash, in_flight, report, saved, plan.total_pages, differ)


def _make_disk(partition: DumpTarget, size: int) -> None:
    os.mkdir(Path(partition.path).parent / "crash", 0o700)
    with open(partition.path, "wb") as disk:
        for at in (0, MARGIN_BYTES + size):
            disk.seek(at)
            disk.write(_margin(at))


def _margin(at: int) -> bytes:
    return b"".join((at + sector * 512).to_bytes(8, "big") * 64 for sector in range(MARGIN_BYTES // 512))


def _check_margins(partition: DumpTarget, size: int) -> None:
    """The load only reads, so both margins must be as they were made."""
    with open(partition.path, "rb") as disk:
        for at in (0, MARGIN_BYTES + size):
            disk.seek(at)
            if disk.read(MARGIN_BYTES) != _margin(at):
                raise VerdictError(f"bytes outside the dump partition changed ({MARGIN_BYTES} bytes at {at})")


def _crash_and_dump(drill: Drill, source: MemorySource, target: Target, registry: Registry, now: int,
                    tell: Callable[[str], None],
                    progress: Callable[[Progress], None]) -> tuple[CrashRecord, int, DumpReport]:
    config = DumpConfig(drill.block_order)
    with Rig.build(source, [target], registry, config=config, queue_depth=drill.queue_depth, ncpus=2,
                   progress=progress) as rig:
        if rig.refused:
            raise DeviceError(str(rig.refused[0]))
        load = rig.adapters[0].load(Region(0, LOAD_SECTORS), drill.seed)
        load.start()
        rig.machine.run(for_ns=drill.load_us * 1000)
        crash = rig.machine.crash(drill.trigger, reason="ddsdk drill")
        tell(f"crashed by {crash.trigger.value} on CPU {crash.cpu_id} after {load.completed} I/Os, {load.in_flight} in"
             f" flight, {len(crash.locks)} locks held")
        return crash, load.in_flight, rig.dump(crash, now)


def compare_with_source(vmcore: str, source: MemorySource) -> int:
    """How many pages of *source* the ELF core *vmcore* has not, or has differently."""
    with open_source(vmcore) as saved:
        return sum(_differing(saved, paddr, view, source.page_size) for paddr, view in _pieces(source))


def _pieces(source: MemorySource) -> Iterator[tuple[int, memoryview]]:
    for extent in source.extents:
        for at in range(0, extent.size, COMPARE_BYTES):
            view = extent.view[at:at + COMPARE_BYTES]
            yield extent.paddr + at, view
            source.release_range(extent.paddr + at, len(view))


def _differing(saved: MemorySource, paddr: int, want: memoryview, page: int) -> int:
    """Pages of *want* that *saved* has not at *paddr*, or has differently."""
    try:
        have = b"".join(saved.views(paddr, len(want)))
    except UsageError:                  # some of it is not there
        return 1 if len(want) <= page else sum(_differing(saved, paddr + at, want[at:at + page], page)
                                               for at in range(0, len(want), page))
    data = bytes(want)                  # comparing bytes with a view goes one by one
    if have == data:
        return 0
    return sum(have[at:at + page] != data[at:at + page] for at in range(0, len(data), page))
