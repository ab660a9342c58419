"""One run of a campaign: load, crash, dump, recovery, power cut, savecore."""

from __future__ import annotations

import random
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from attrs import define, field

from ddsdk.block.dump_device import PolledDumpDevice
from ddsdk.conformance.dump_disk import DumpDisk
from ddsdk.conformance.line_trap import LineTrap, source_files
from ddsdk.diskdump.engine import DumpConfig, DumpReport
from ddsdk.errors import DriverFault
from ddsdk.integrity import CodeImage
from ddsdk.registry import Registry
from ddsdk.rig import Rig
from ddsdk.sim.disk_faults import FaultKind
from ddsdk.sim.trace import Trace
from ddsdk.target import Target
from ddsdk.vmcore.source import open_source

from . import judge
from .case import Case, S, plain
from .profile import CampaignProfile

PAGE = 4096
#: The partition, and what lies on either side of it.
PARTITION_BYTES, MARGIN_BYTES = 1280 << 10, 512 << 10
#: The time of the crash, for the header.
SECONDS = 1_100_000_000
#: Commands that must work when the faults are gone.
COMMANDS = 50


@define
class Outcome:
    """What came of a case.

    `report` of the dump; `wrong`: the invariants that did not hold; `where` the crash was, "function:line" or how;
    `silent`: the disk lied about a write; `recovered`: the adapter worked again; `digest` of the trace.
    """

    case: Case
    report: DumpReport | None = None
    wrong: list[str] = field(factory=list)
    where: str = ""
    dump_ns: int = 0
    digest: str = ""
    silent: bool = False
    misdirected: bool = False
    recovered: bool = False
    struck: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """One word, and for a refusal why."""
        if self.report is None:
            return "nothing"
        if self.report.complete:
            return "complete"
        return "; ".join(f"{r.stage.value}: {r.reason}" for r in self.report.rejections)


@define
class Campaign:
    """Runs of one driver.  *directory* is for the disk's template and each run's image and vmcore."""

    profile: CampaignProfile
    registry: Registry
    directory: Path
    _template: DumpDisk | None = field(init=False, default=None)

    def run_seed(self, seed: int) -> Outcome:
        """The run that *seed* stands for."""
        return self.run(Case.draw(seed, self.profile))

    def plain(self, **changes: Any) -> Case:
        """A case where nothing is wrong but the crash; *changes* are fields of `Case`."""
        return plain(self.profile, **changes)

    @property
    def template(self) -> DumpDisk:
        """The disk every run begins with: noise, and a formatted partition in the middle."""
        if self._template is None:
            self._template = DumpDisk.make(self.directory / "template.img", PARTITION_BYTES, MARGIN_BYTES)
        return self._template

    def run(self, case: Case, *, traced: bool = False) -> Outcome:
        """One run; what must hold is judged all along.  *traced*: `Outcome.digest` is the trace's."""
        with TemporaryDirectory(dir=self.directory) as place:
            return self._run_in(Path(place), case, traced)

    def _run_in(self, place: Path, case: Case, traced: bool) -> Outcome:
        out, trace = Outcome(case), Trace(enabled=traced)
        disk = self.template.copy_to(place / "disk.img")
        variant = self.profile.variant(case.variant)
        target = Target(self.profile.driver, str(disk.image), case.chip, offset_bytes=MARGIN_BYTES,
                        size_bytes=PARTITION_BYTES)
        with open_source(f"synthetic:1M,seed={case.seed % 7 + 1},cpus={case.cpus}") as source:
            with Rig.build(source, [target], variant.models(self.registry), queue_depth=case.queue_depth,
                           config=DumpConfig(block_order=case.block_order), trace=trace,
                           code_check=case.code_check) as rig:
                if not rig.adapters:
                    out.wrong += [str(refused) for refused in rig.refused]
                    return out
                run = _Run(self, case, rig, disk, out)
                variant.prepare(rig.adapters[0])
                run.crash()
                run.dump()
                try:
                    run.recover()
                except DriverFault as fault:
                    out.wrong.append(f"recovery: {type(fault).__name__}: {fault}")
                run.cut_the_power()
            run.look_at_disk(place)                 # the rig holds the file's lock till then
        out.digest = trace.digest() if traced else ""
        return out


class _Run:
    """One run under way."""

    def __init__(self, campaign: Campaign, case: Case, rig: Rig, disk: DumpDisk, out: Outcome) -> None:
        self.profile, self.case, self.rig, self.dump_disk, self.out = campaign.profile, case, rig, disk, out
        self.modules = campaign.registry.driver(self.profile.driver).modules
        self.adapter = adapter = rig.adapters[0]
        assert adapter.disk is not None             # a campaign runs on models
        self.disk = adapter.disk
        self.disk.volatile_cache = case.volatile
        function: Any = adapter.pdev.function
        self.model = function.model
        self.recovery: PolledDumpDevice[Any] = adapter.midlayer.dump_device(
            adapter.unit, adapter.device.hooks, 0, len(disk.made) // 512, PAGE, CodeImage.take([]), case.queue_depth,
            "recovery")
        self.written: list[tuple[int, int]] = []
        self.grants = len(self.model.dma.grants)

    def inject(self, when: str) -> None:
        """Arm what strikes from now on."""
        for one in self.case.injections:
            if one.when != when:
                continue
            if isinstance(one.fault, str):
                self.model.faults.inject(one.fault, one.after, one.times)
            else:
                self.disk.inject(one.fault)

    def crash(self) -> None:
        """Load until the moment comes; the boot context panics when it never does."""
        case, machine, profile = self.case, self.rig.machine, self.profile
        load = self.adapter.load(self.dump_disk.load_regions[0], case.seed, workers=case.workers,
                                 max_sectors=profile.variant(case.variant).max_sectors, reset_every=case.reset_every)
        self.written = load.written
        self.out.where = case.how
        with ExitStack() as stack:
            if case.how in ("line", "recovery"):
                modules = self.modules if case.how == "line" else profile.recovery_modules
                trap = LineTrap(machine, source_files(modules), case.at, lambda: machine.crash(case.trigger))
                stack.callback(lambda: setattr(self.out, "where", trap.where or f"no line {case.at}"))
                stack.enter_context(trap.set())
            load.start()
            self.inject("load")
            if case.how == "event":
                machine.clock.after_ns(case.at, lambda: machine.crash(case.trigger))
            machine.run(for_ns={"time": case.at, "event": case.at + 1, "line": S // 20,
                                "recovery": profile.recovery_s * S}[case.how])
        if not machine.crashdump_mode:
            machine.crash(case.trigger)


    def dump(self) -> None:
        """Save memory; then every invariant of the machine."""
        machine, out = self.rig.machine, self.out
        assert machine.record is not None
        if self.case.how == "recovery" and self.case.heals:
            self.model.faults.clear()
        self.inject("crash")
        at_crash_ns = machine.clock.now_ns
        self._follow_quiesce()
        out.report = report = self.rig.dump(machine.record, SECONDS)
        out.dump_ns = machine.clock.now_ns - at_crash_ns
        kinds = {fault.kind for fault in self.disk.faults.struck}
        out.silent, out.misdirected = bool(kinds & judge.SILENT), FaultKind.MISDIRECTED_WRITE in kinds
        out.struck = (*sorted(self.model.faults.struck), *sorted(kind.name for kind in kinds))
        out.wrong += judge.report(report, out.dump_ns, self.profile.limit_s)
        out.wrong += judge.machine(machine)

    def _follow_quiesce(self) -> None:
        """Behind quiesce(): is the chip masked?  Then arm what strikes in the middle of the dump."""
        quiesce = self.adapter.device.quiesce

        def followed() -> int:
            error = quiesce()
            self._judge_mask()
            self.inject("dump")
            return error
        self.adapter.device.quiesce = followed  # type: ignore[method-assign]

    def _judge_mask(self) -> None:
        """(iv): nothing of the chip reaches the line."""
        if (unmasked := self.profile.masked(self.model)) is not None:
            self.out.wrong.append(f"not masked: {unmasked}")

    def recover(self) -> None:
        """(vi): with the faults gone the adapter comes back, and fifty commands leave nothing behind."""
        model, out, recovery = self.model, self.out, self.recovery
        model.faults.clear()
        self.disk.faults.clear()
        unit: Any = self.adapter.unit
        if self.rig.kernel.spin_is_locked(self.adapter.device.lock) or unit.changed or recovery.sanity_check() < 0:
            return      # a lock that nobody releases, another medium, or an adapter that is gone or half taken apart
        error = recovery.quiesce()
        self._judge_mask()
        for fault, times in self.profile.exercised.items():
            model.faults.inject(fault, times=times)
        paddr = self.rig.machine.memory.reserve.alloc(16 * PAGE, PAGE)
        chunks = [(block % 250, [(paddr + block % 16 * PAGE, PAGE)]) for block in range(COMMANDS)]
        error = error or next((error for *_, error in recovery.stream(False, chunks) if error), 0)
        if error:
            out.wrong.append(f"recovery: {error} {recovery.why}")
            return
        out.recovered = True
        state = dict(self.profile.leaks(self.adapter.host, model))
        # a mapping that a CPU had made at the crash and not noted yet is nobody's any more
        state["grants"] = (max(0, len(model.dma.grants) - self.grants - self.case.cpus), 0)
        out.wrong += [f"leak: {name} {now}, not {due}" for name, (now, due) in state.items() if now != due]

    def cut_the_power(self) -> None:
        """After a complete dump nothing may be lost; of another, any part of what the cache held gets through."""
        if not self.case.volatile:
            return
        r, pending = random.Random(self.case.seed), range(self.disk.unsynced)
        self.disk.power_off({n: r.choice((1, 7, 8, 9, 1 << 20)) for n in pending if r.random() < 0.5})
        self.rig.machine.power_off()
        if self.out.report is not None and self.out.report.complete and pending and not self.out.recovered:
            self.out.wrong.append(f"{len(pending)} writes were not on the medium after shutdown()")

    def look_at_disk(self, directory: Path) -> None:
        """(i) and (ii): what the partition holds is memory, and nothing around it moved."""
        out = self.out
        assert out.report is not None
        changed = self.dump_disk.changed(self.written, partition=False)
        if changed and not out.misdirected:
            out.wrong.append(f"sectors outside the partition changed: {changed[:8]}")
        out.wrong += judge.saved(self.dump_disk, directory, self.rig.source, complete=out.report.complete,
                                 silent=out.silent, misdirected=out.misdirected)
