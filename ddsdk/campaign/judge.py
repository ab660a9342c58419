"""What must hold when a dump is over; each function gives one line for everything that does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ddsdk.conformance.dump_disk import DumpDisk
from ddsdk.diskdump.engine import DumpReport
from ddsdk.diskdump.partition import DumpState
from ddsdk.diskdump.savecore import save
from ddsdk.diskdump.writer import Stage
from ddsdk.errors import FormatError
from ddsdk.sim.disk_faults import FaultKind
from ddsdk.sim.machine import Machine
from ddsdk.vmcore.source import MemorySource, open_source

#: The disk says that all is well and lies: nothing but reading back would tell.
SILENT = frozenset({FaultKind.LOST_WRITE, FaultKind.TORN_WRITE, FaultKind.MISDIRECTED_WRITE})


def report(told: DumpReport, dump_ns: int, limit_s: int) -> Iterator[str]:
    """(ii), (iii): an honest answer, in bounded time, and no DriverFault."""
    if not told.complete and not told.rejections:
        yield "refused without a reason"
    for rejection in told.rejections:
        if rejection.stage in (Stage.FAULT, Stage.REGISTER, Stage.CORE_CHECK) or not rejection.reason.strip():
            yield f"{rejection.stage.value}: {rejection.reason}"
    if dump_ns > limit_s * 1_000_000_000:
        yield f"the dump took {dump_ns / 1e9:.0f} s"


def machine(crashed: Machine) -> Iterator[str]:
    """(iv): interrupts are off, the watchdog is fed, nobody left a lock behind."""
    if crashed.current_cpu.irq_enabled:
        yield "interrupts are on"
    if crashed.clock.now_ns > crashed.watchdog.deadline_ns:
        yield "the watchdog starved"
    before = crashed.record.locks if crashed.record else ()
    if taken := [lock.name for lock in crashed.locks.held() if lock not in before]:
        yield f"locks still held: {taken}"


def saved(disk: DumpDisk, directory: Path, source: MemorySource, *, complete: bool, silent: bool,
          misdirected: bool) -> Iterator[str]:
    """(ii): what savecore makes of the partition equals memory, page by page, of a dump that ended early, too.

    *complete*: the dump said so.  *silent*, *misdirected*: the disk lied about a write, or put one elsewhere.
    """
    try:
        result = save(disk.partition, str(directory))
    except Exception as error:
        # a bitmap or header that is half there, because of the power cut or a lost write, is refused
        if not isinstance(error, FormatError) or (complete and not silent):
            yield f"savecore: {type(error).__name__}: {error}"
        return
    if complete and not silent and result.state is not DumpState.COMPLETE:
        yield f"complete, but savecore says {result.state.value}: {result.why}"
    if not result.pages or misdirected:
        return
    assert result.path is not None
    if result.state is DumpState.COMPLETE and result.pages != source.total_pages:
        yield f"savecore: {result.pages} of {source.total_pages} pages"
    with open_source(result.path) as core:
        for extent in core.extents:
            if bytes(extent.view) != bytes(source.view(extent.paddr, extent.size)):
                yield f"vmcore differs from memory in {extent.paddr:#x}+{extent.size:#x}"
