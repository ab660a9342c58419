"""A whole story on a machine of its own: load, crash, dump, savecore, and every page compared.

    with Story(bench) as story:
        story.load()
        story.crash_after(1_500_000)
        story.dump()
        story.must_be_complete()

What must hold after any crash: the dump is complete and every page right, or the device was refused before anything on
it changed, for a reason.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from ddsdk.block.load import BlockLoad
from ddsdk.diskdump.engine import DumpConfig, DumpReport
from ddsdk.diskdump.partition import DumpState
from ddsdk.diskdump.plan import CrashFacts, DumpPlan
from ddsdk.diskdump.savecore import save
from ddsdk.diskdump.writer import Stage
from ddsdk.drill import compare_with_source
from ddsdk.errors import DdsdkError, PluginError
from ddsdk.rig import Rig
from ddsdk.sim.machine import CrashRecord, Machine, Trigger
from ddsdk.sim.trace import Trace
from ddsdk.vmcore.source import open_source

from .bench import NS_PER_S, Bench
from .dump_disk import DumpDisk

#: Disk before and behind the partition.
_MARGIN_BYTES: Final = 512 << 10
#: A dump of a megabyte through an adapter that works, whatever it was doing at the crash: a day of the machine's time
#: is not enough to tell a wait without a bound, an hour is.
_LIMIT_NS: Final = 3600 * NS_PER_S
_EPOCH_S: Final = 1_100_000_000


class Story:
    """One machine with *disks* dump devices of the bench's driver, all but the last not formatted.

    *memory_mib* of synthetic memory, other for each *seed*; *block_order* and *queue_depth* of the dump.  `report` is
    there after `dump()`.  *code_check* costs as much as all the rest.  Use as a context manager.
    """

    def __init__(self, bench: Bench, *, seed: int = 1, memory_mib: int = 1, block_order: int = 2, queue_depth: int = 1,
                 disks: int = 1, code_check: bool = False, trace: Trace | None = None) -> None:
        self.bench = bench
        self.loads: list[BlockLoad[Any]] = []
        self._seed = seed
        self._stack = ExitStack()
        self._report: DumpReport | None = None
        plan = bench.plan
        directory = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="ddsdk-conformance-"))
        self._directory = Path(directory)
        try:
            self.source = self._stack.enter_context(open_source(f"synthetic:{memory_mib}M,seed={seed},cpus=2"))
            blocks = DumpPlan.of(self.source, CrashFacts(0, 0, 0, self.source.cpus)).total_blocks
            size = blocks * self.source.page_size
            self.disks = [DumpDisk.make(self._directory / f"disk{n}.img", size, _MARGIN_BYTES, abi=self.source.abi,
                                        formatted=n == disks - 1) for n in range(disks)]
            targets = [plan.target(str(disk.image), _MARGIN_BYTES, size) for disk in self.disks]
            self.rig = self._stack.enter_context(Rig.build(
                self.source, targets, plan.registry, config=DumpConfig(block_order), queue_depth=queue_depth, ncpus=2,
                trace=bench.machine.trace if trace is None else trace, code_check=code_check))
            for refused in self.rig.refused:
                if isinstance(refused.fault, PluginError):
                    raise refused.fault
                bench.expect(False, f"the dump device cannot be registered: {self._said(refused)}")
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None,
                 _trace: TracebackType | None) -> None:
        self._stack.close()

    # -- until the crash -------------------------------------------------------------------------------

    @property
    def machine(self) -> Machine:
        """The machine of the story; the bench's own is another one."""
        return self.rig.machine

    def load(self, workers: int = 2, reset_every: int = 0) -> None:
        """Start I/O on either side of every partition: *workers* commands outstanding on each."""
        for adapter, disk in zip(self.rig.adapters, self.disks, strict=True):
            for n, region in enumerate(disk.load_regions):
                load = adapter.load(region, self._seed * 2 + n, workers=workers, reset_every=0 if n else reset_every)
                load.start()
                self.loads.append(load)

    def crash_after(self, ns: int, trigger: Trigger = Trigger.PANIC, cpu: int | None = None) -> CrashRecord:
        """Let the machine run for *ns* and crash it then, on *cpu* or on the one that runs."""
        machine = self.machine
        machine.clock.after_ns(ns, lambda: machine.crash(trigger, cpu, reason="conformance"))
        machine.run(for_ns=ns + 1)
        return self.crash(trigger)

    def crash(self, trigger: Trigger = Trigger.PANIC) -> CrashRecord:
        """The crash, if it has not been."""
        return self.machine.record or self.machine.crash(trigger, reason="conformance")

    # -- the dump --------------------------------------------------------------------------------------

    def dump(self) -> DumpReport:
        """Save memory.  What the driver raised meanwhile is raised again, as its own."""
        record = self.machine.record
        assert record is not None

        def ring() -> None:
            self.bench.expect(False, f"the dump is not over after {_LIMIT_NS // NS_PER_S} s; every wait needs a bound")

        self.machine.clock.after_ns(_LIMIT_NS, ring)
        self._report = report = self.rig.dump(record, _EPOCH_S)
        for rejection in report.rejections:
            if rejection.fault is not None:
                raise rejection.fault
        return report

    @property
    def report(self) -> DumpReport:
        """What became of it."""
        assert self._report is not None
        return self._report

    # -- afterwards ------------------------------------------------------------------------------------

    def power_off(self) -> None:
        """The power goes: what a disk had not synchronised is lost."""
        self.machine.power_off()

    def must_be_complete(self) -> None:
        """The dump is complete, savecore makes a vmcore of it that equals memory, and nothing beside it changed."""
        self.bench.expect(self.report.complete, f"no dump: {self._reasons()}")
        self._leave()
        disk, bench = self.disks[-1], self.bench
        crash = self._directory / "crash"
        crash.mkdir(mode=0o700)
        try:
            saved = save(disk.partition, str(crash))
        except DdsdkError as error:
            bench.expect(False, f"the dump was reported complete, and savecore cannot read it: {self._said(error)}")
            raise AssertionError from error
        bench.expect(saved.state is DumpState.COMPLETE and saved.path is not None,
                     f"the dump was reported complete, and savecore finds it {saved.state.value}:"
                     f" {self._said(saved.why)}")
        bench.expect(saved.pages == self.source.total_pages,
                     f"savecore found {saved.pages} of {self.source.total_pages} pages")
        differ = compare_with_source(str(saved.path), self.source)
        bench.expect(not differ, f"{differ} of {saved.pages} pages of the vmcore are not what memory held at the crash")
        self._nothing_beside(partition=False)

    def must_be_complete_unless_locked(self) -> None:
        """Complete; or refused, because of a lock that somebody held at the crash."""
        assert self.machine.record is not None
        if self.machine.record.locks:
            self.complete_or_refused()
        else:
            self.must_be_complete()

    def complete_or_refused(self) -> bool:
        """Complete with every page right, or refused with a reason and without a trace; true when complete."""
        if self.report.complete:
            self.must_be_complete()
            return True
        last = self.rig.adapters[-1].device.name
        refusals = [r for r in self.report.rejections if r.device == last]
        late = [self._said(r) for r in refusals if r.stage is not Stage.SANITY]
        self.bench.expect(not late, f"the adapter passed its sanity check, and yet there is no dump: {'; '.join(late)}")
        self.bench.expect(refusals and all(r.reason.strip() for r in refusals), "there was no dump, and no word why")
        self._leave()
        self._nothing_beside(partition=True)
        return False

    def _reasons(self) -> str:
        return "; ".join(map(self._said, self.report.rejections)) or "no reason given"

    def _said(self, what: object) -> str:
        """*what* as text, without the directory, which has another name each time."""
        return str(what).replace(f"{self._directory}/", "")

    def _leave(self) -> None:
        """End the machine: the disks are files again.  The source stays."""
        self.rig.__exit__(None, None, None)

    def _nothing_beside(self, *, partition: bool) -> None:
        """Of every disk; *partition*: of the last one's partition, too."""
        for number, disk in enumerate(self.disks):
            mine = self.loads[2 * number:2 * number + 2]
            changed = disk.changed([one for load in mine for one in load.written],
                                   partition=partition or number < len(self.disks) - 1)
            what = "of a device that was refused" if partition else "that belong to nobody's write"
            self.bench.expect(not changed, f"{len(changed)} sectors {what} changed: {changed[:8]}")

