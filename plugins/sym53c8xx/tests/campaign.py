"""A crash campaign: one seed is one machine, one load, one moment, some faults, one dump, one savecore.

What must hold, whatever was drawn: (i) nothing beside the partition changes but what the load wrote; (ii) a complete
dump equals memory, page by page, anything else is a refusal with a reason; (iii) it ends, and no DriverFault; (iv)
interrupts stay off, the chip masked, no lock left; (v) the same seed gives the same trace; (vi) with the faults gone
the adapter works, and nothing leaked.
"""

from __future__ import annotations

import importlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import define, field

from ddsdk.conformance.dump_disk import SECTOR, DumpDisk
from ddsdk.conformance.line_trap import LineTrap
from ddsdk.diskdump.engine import DumpReport
from ddsdk.diskdump.partition import DumpState
from ddsdk.diskdump.savecore import save
from ddsdk.diskdump.writer import Stage
from ddsdk.drill import compare_with_source
from ddsdk.errors import DriverFault, FormatError
from ddsdk.integrity import CodeImage
from ddsdk.registry import Registry
from ddsdk.rig import Rig
from ddsdk.scsi.load import IoLoad
from ddsdk.scsi.scsi_dump import ScsiDumpDevice
from ddsdk.sim.disk_faults import FaultKind
from ddsdk.sim.trace import Trace
from ddsdk.target import Target
from ddsdk.vmcore.source import MemorySource, open_source
from ddsdk_sym53c8xx import DRIVER_MODULES
from plugins.sym53c8xx.tests.campaign_cases import Case, S

PAGE = 4096
#: The partition, and what lies on either side of it.
PARTITION_BYTES, MARGIN_BYTES = 1280 << 10, 512 << 10
#: A dump on a machine where everything that may go wrong twice does.
LIMIT_NS = 900 * S
RECOVERY_MODULES = tuple(f"ddsdk_sym53c8xx.{name}" for name in ("abort", "chip", "recovery", "sir"))
#: The disk says GOOD and lies: nothing but reading back would tell.
SILENT = (FaultKind.LOST_WRITE, FaultKind.TORN_WRITE, FaultKind.MISDIRECTED_WRITE)


@define
class Outcome:
    """What came of a case: the report, what was wrong, where the crash was."""

    case: Case
    report: DumpReport | None = None
    wrong: list[str] = field(factory=list)
    where: str = ""
    digest: str = ""
    silent: bool = False

    @property
    def verdict(self) -> str:
        """One word, and for a refusal why."""
        if self.report is None:
            return "nothing"
        if self.report.complete:
            return "complete"
        return "; ".join(f"{r.stage.value}: {r.reason}" for r in self.report.rejections)


def source_files(modules: tuple[str, ...]) -> set[str]:
    """Where the code of *modules* says that it is from."""
    return {str(importlib.import_module(name).__file__) for name in modules}


class _Run:
    """One run under way."""

    def __init__(self, case: Case, rig: Rig, disk: DumpDisk, out: Outcome) -> None:
        self.case, self.rig, self.dump_disk, self.out = case, rig, disk, out
        self.adapter = rig.adapters[0]
        self.model: Any = self.adapter.pdev.function.model      # type: ignore[attr-defined]
        assert self.adapter.disk is not None
        self.disk = self.adapter.disk
        self.recovery = ScsiDumpDevice(self.adapter.sdev, self.adapter.device.hooks, 0, len(disk.made) // SECTOR, PAGE,
                                       CodeImage.take([]), case.queue_depth, name="recovery")
        self.written: list[tuple[int, int]] = []

    def inject(self, moment: str) -> None:
        """Arm what strikes from now on."""
        for one in self.case.injections:
            if one.moment != moment:
                continue
            if isinstance(one.fault, str):
                self.model.faults.inject(one.fault, one.after, one.times)
            else:
                self.disk.inject(one.fault)

    # -- until the crash ---------------------------------------------------------------------------

    def crash(self) -> None:
        """Load until the moment comes; the boot context panics when it never does."""
        case, machine = self.case, self.rig.machine
        load = IoLoad(self.adapter.sdev, self.dump_disk.load_regions[0], case.seed, case.workers,
                      reset_every=case.reset_every)
        self.written = load.written
        with ExitStack() as stack:
            if case.how in ("line", "recovery"):
                files = source_files(DRIVER_MODULES if case.how == "line" else RECOVERY_MODULES)
                trap = LineTrap(machine, files, case.at, lambda: machine.crash(case.trigger))
                stack.callback(lambda: setattr(self.out, "where", trap.where))
                stack.enter_context(trap.set())
            load.start()
            self.inject("load")
            machine.run(for_ns={"time": case.at, "line": S // 50, "recovery": 35 * S}[case.how])
        if not machine.crashdump_mode:
            machine.crash(case.trigger)

    # -- the dump, and what must hold --------------------------------------------------------------

    def dump(self) -> None:
        """Save memory, then (ii), (iii), (iv)."""
        machine, wrong, device = self.rig.machine, self.out.wrong, self.adapter.device
        assert machine.record is not None
        if self.case.how == "recovery":
            self.model.faults.clear()           # what made the load stuck
        self.inject("crash")
        quiesce, began_ns = device.quiesce, machine.clock.now_ns

        def followed() -> int:
            error = quiesce()
            self.judge_mask()
            self.inject("dump")
            return error
        device.quiesce = followed  # type: ignore[method-assign]
        self.out.report = report = self.rig.dump(machine.record, 1_100_000_000)
        self.out.silent = any(fault.kind in SILENT for fault in self.disk.faults.struck)
        if not report.complete and not report.rejections:
            wrong.append("refused without a reason")
        wrong += [f"{r.stage.value}: {r.reason}" for r in report.rejections
                  if r.stage in (Stage.FAULT, Stage.REGISTER, Stage.CORE_CHECK) or not r.reason.strip()]
        if machine.clock.now_ns - began_ns > LIMIT_NS:
            wrong.append(f"the dump took {(machine.clock.now_ns - began_ns) // S} s")
        if machine.current_cpu.irq_enabled:
            wrong.append("interrupts are on")
        taken = [lock.name for lock in machine.locks.held() if lock not in machine.record.locks]
        if taken:
            wrong.append(f"locks still held: {taken}")

    def judge_mask(self) -> None:
        """(iv): nothing of the chip reaches the line; of one that is gone nobody can tell."""
        values = self.model.values
        if not self.model.gone and (values["DIEN"] or values["SIEN0"] or values["SIEN1"]):
            self.out.wrong.append("causes are enabled")

    def recover(self) -> None:
        """(vi): with the faults gone the adapter comes back, and fifty commands leave nothing behind."""
        host, model, wrong = self.adapter.host, self.model, self.out.wrong
        model.faults.clear()
        self.disk.faults.clear()
        if model.gone or self.rig.kernel.spin_is_locked(host.host_lock) or self.recovery.sanity_check() < 0:
            return
        error = self.recovery.quiesce()
        self.judge_mask()
        paddr = self.rig.machine.memory.reserve.alloc(16 * PAGE, PAGE)
        chunks = [(n, [(paddr + n % 16 * PAGE, PAGE)]) for n in range(50)]
        error = error or next((error for *_, error in self.recovery.stream(False, chunks) if error), 0)
        if error:
            wrong.append(f"recovery: {error} {self.recovery.why}")
            return
        np = host.hostdata
        blocks = (*np.free, *np.aborted)
        state = {"free": (len(blocks), 63), "distinct": (len({ccb.tag for ccb in blocks}), 63),
                 "busy": (len(np.busy), 0), "untagged": (np.without_tag, 0),
                 "mapped": (sum(bool(ccb.mapped) for ccb in np.ccbs), 0),
                 "queue": (np.put - np.start, 0),
                 "tasks": (sum(len(port.tasks) for port in model.scsi.ports.values()), 0)}
        # a mapping that a CPU had made at the crash and not noted yet is nobody's any more
        state["grants"] = (max(0, len(model.dma.grants) - 2 - self.case.cpus), 0)
        wrong += [f"leak: {name} {now}, not {due}" for name, (now, due) in state.items() if now != due]


def saved_wrong(disk: DumpDisk, directory: Path, source: MemorySource) -> list[str]:
    """What is wrong with what savecore makes of a complete dump."""
    try:
        saved = save(disk.partition, str(directory))
    except FormatError as error:
        return [f"complete, and savecore says {error}"]
    if saved.state is not DumpState.COMPLETE or compare_with_source(str(saved.path), source):
        return [f"complete, and savecore says {saved.state.value}, or pages differ"]
    return []


def run_case(case: Case, registry: Registry, template: DumpDisk, directory: Path, *, traced: bool = False) -> Outcome:
    """One run.  *template* is the disk, *directory* an empty place for image and vmcore."""
    out = Outcome(case)
    disk = template.copy_to(directory / "d.img")
    trace = Trace(enabled=traced)
    target = Target("sym53c8xx", str(disk.image), case.chip, offset_bytes=MARGIN_BYTES, size_bytes=PARTITION_BYTES)
    with open_source(f"synthetic:1M,seed={case.seed % 7 + 1},cpus={case.cpus}") as source:
        with Rig.build(source, [target], registry, queue_depth=case.queue_depth, trace=trace) as rig:
            run = _Run(case, rig, disk, out)
            run.crash()
            run.dump()
            misdirected = any(fault.kind is FaultKind.MISDIRECTED_WRITE for fault in run.disk.faults.struck)
            try:
                run.recover()
            except DriverFault as fault:
                out.wrong.append(f"recovery: {type(fault).__name__}: {fault}")
        changed = disk.changed(run.written, partition=False)
        if changed and not misdirected:
            out.wrong.append(f"sectors outside the partition changed: {changed[:8]}")
        if out.report is not None and out.report.complete and not out.silent:
            out.wrong += saved_wrong(disk, directory, source)
        out.digest = trace.digest() if traced else ""
    return out


def formatted_disk(directory: Path) -> DumpDisk:
    """The disk every run begins with: noise, and a formatted partition in the middle."""
    return DumpDisk.make(directory / "template.img", PARTITION_BYTES, MARGIN_BYTES)
