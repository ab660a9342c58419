"""A crash campaign: one seed is one machine, one load, one moment, some faults, one dump, one savecore.

What must hold, whatever was drawn: (i) nothing beside the partition changes but what the load wrote; (ii) a complete
dump equals memory, page by page, anything else is a refusal with a reason; (iii) it ends, and no DriverFault; (iv)
interrupts stay off, the chip masked, no lock left; (v) the same seed gives the same trace; (vi) with the faults gone
the adapter works, and nothing leaked.
"""

from __future__ import annotations

import importlib
import random
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from ddsdk.conformance.dump_disk import SECTOR, DumpDisk
from ddsdk.conformance.line_trap import LineTrap
from ddsdk.diskdump.engine import DumpConfig, DumpReport
from ddsdk.diskdump.partition import DumpState
from ddsdk.diskdump.savecore import save
from ddsdk.diskdump.writer import Stage
from ddsdk.drill import compare_with_source
from ddsdk.errors import DriverFault
from ddsdk.integrity import CodeImage
from ddsdk.registry import Registry
from ddsdk.rig import Rig
from ddsdk.scsi.load import IoLoad
from ddsdk.scsi.scsi_dump import ScsiDumpDevice
from ddsdk.sim import disk_faults
from ddsdk.sim.disk_faults import DiskFault
from ddsdk.sim.machine import Trigger
from ddsdk.sim.trace import Trace
from ddsdk.target import Target
from ddsdk.vmcore.source import open_source
from ddsdk_aic79xx import DRIVER_MODULES
from ddsdk_aic79xx.ahd import AHD_SCBS
from ddsdk_aic79xx.model_control import RunState
from ddsdk_aic79xx.model_faults import FAULTS
from ddsdk_aic79xx.regs import Scratch

S = 1_000_000_000
CHIPS = ("aic7901", "aic7902", "aic7902a")
PAGE = 4096
#: The partition, and what lies on either side of it.
PARTITION_BYTES, MARGIN_BYTES = 1280 << 10, 512 << 10
LIMIT_NS = 600 * S
RECOVERY_MODULES = tuple(f"ddsdk_aic79xx.{name}" for name in (
    "busfree", "flush", "init", "lists", "lost", "message", "recovery", "reset", "scsiint"))
#: What makes commands of the load hang, so that the error handlers are at work at the crash.
STUCK = ("command-hung", "completion-lost", "sequencer-parity", "sequencer-hung")
#: Once is enough: for ever they cost 30 s a command.
ONCE = {"command-hung", "completion-lost", "command-slow", "completion-late", "sequencer-hung", "status-busy",
        "status-queue-full", "tmf-ignored"}
_DISK_FAULTS = (
    disk_faults.medium_error(64, times=1), disk_faults.becoming_ready(3), disk_faults.unit_attention(after=2),
    disk_faults.recovered_error(2), disk_faults.aborted_command(2), disk_faults.busy(2), disk_faults.queue_full(2, 1),
    disk_faults.wrong_length(1, 1, 3), disk_faults.hardware_error(1, 2), disk_faults.hang(1, 4),
)


@frozen
class Case:
    """What one seed stands for.  `how`: the crash comes at a "time", or at the `at`-th line of the driver ("line") or
    of its "recovery" code, with the load stuck.
    """

    seed: int
    chip: str
    cpus: int
    queue_depth: int
    workers: int
    reset_every: int
    trigger: Trigger
    how: str
    at: int
    #: (moment, fault, after, times): moment is "load", "crash" or "dump".
    injections: tuple[tuple[str, str | DiskFault, int, int], ...]

    @classmethod
    def draw(cls, seed: int) -> Case:
        """The case of *seed*."""
        r = random.Random(f"aic79xx campaign {seed}")
        how = r.choice(("time", "line", "recovery"))
        longest = {"line": 3000, "recovery": 2000}.get(how, 3_000_000)
        faults: list[tuple[str, str | DiskFault, int, int]] = []
        for _ in range(r.choice((0, 1, 1, 2))):
            fault: str | DiskFault = r.choice((*sorted(FAULTS), *_DISK_FAULTS))
            faults.append((r.choice(("load", "crash", "dump")), fault, r.choice((0, 1, 3, 10)),
                           1 if fault in ONCE else r.choice((1, 1, 2))))
        if how == "recovery":
            faults.insert(0, ("load", r.choice(STUCK), r.randrange(4), 0))
        return cls(seed, r.choice(CHIPS), r.choice((1, 2)), r.choice((1, 4, 16)), r.choice((1, 3, 6)), r.choice((0, 3)),
                   r.choice(tuple(Trigger)), how, r.randrange(1, longest), tuple(faults))


@define
class Outcome:
    """What came of a case: the report, what was wrong."""

    case: Case
    report: DumpReport | None = None
    wrong: list[str] = field(factory=list)
    where: str = ""
    digest: str = ""

    @property
    def verdict(self) -> str:
        """One word, and for a refusal why."""
        assert self.report is not None
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
        self.recovery = ScsiDumpDevice(self.adapter.sdev, self.adapter.device.hooks, 0, len(disk.made) // SECTOR, PAGE,
                                       CodeImage.take([]), case.queue_depth, name="recovery")
        self.written: list[tuple[int, int]] = []

    def inject(self, moment: str) -> None:
        """Arm what strikes from now on."""
        for when, fault, after, times in self.case.injections:
            if when != moment:
                continue
            if isinstance(fault, str):
                self.model.faults.inject(fault, after, times)
            else:
                assert self.adapter.disk is not None
                self.adapter.disk.inject(fault)

    def crash(self) -> None:
        """Load until the moment comes; the boot context panics when it never does."""
        case, machine = self.case, self.rig.machine
        load = IoLoad(self.adapter.sdev, self.dump_disk.load_regions[0], case.seed, case.workers,
                      reset_every=case.reset_every)
        self.written = load.written
        with ExitStack() as stack:
            if case.how != "time":
                files = source_files(DRIVER_MODULES if case.how == "line" else RECOVERY_MODULES)
                trap = LineTrap(machine, files, case.at, lambda: machine.crash(case.trigger))
                stack.callback(lambda: setattr(self.out, "where", trap.where))
                stack.enter_context(trap.set())
            load.start()
            self.inject("load")
            machine.run(for_ns={"time": case.at, "line": S // 50, "recovery": 32 * S}[case.how])
        if not machine.crashdump_mode:
            machine.crash(case.trigger)

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
            self._masked()
            self.inject("dump")
            return error

        device.quiesce = followed  # type: ignore[method-assign]
        self.out.report = report = self.rig.dump(machine.record, 1_100_000_000)
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

    def _masked(self) -> None:
        if self.model.state is not RunState.GONE and self.model.inten:
            self.out.wrong.append("INTEN is set")

    def recover(self) -> None:
        """(vi): with the faults gone the adapter comes back, and fifty commands leave nothing behind."""
        host, model, wrong = self.adapter.host, self.model, self.out.wrong
        model.faults.clear()
        assert self.adapter.disk is not None
        self.adapter.disk.faults.clear()
        locked = self.rig.kernel.spin_is_locked(host.host_lock)
        if model.state is RunState.GONE or locked or self.recovery.sanity_check() < 0:
            return
        error = self.recovery.quiesce()
        self._masked()
        if error:
            wrong.append(f"recovery: {error} {self.recovery.why}")
            return
        paddr = self.rig.machine.memory.reserve.alloc(16 * PAGE, PAGE)
        chunks = [(n, [(paddr + n % 16 * PAGE, PAGE)]) for n in range(50)]
        error = next((error for *_, error in self.recovery.stream(False, chunks) if error), 0)
        if error:
            wrong.append(f"recovery: {error} {self.recovery.why}")
            return
        ahd = host.hostdata
        state = {"free": (len(ahd.free), AHD_SCBS), "tags": (len({scb.tag for scb in ahd.free}), AHD_SCBS),
                 "elements": (len({scb.element.busaddr for scb in (*ahd.scbs, ahd.tmf_scb)} | {ahd.reserved.busaddr}),
                              AHD_SCBS + 2),
                 "pending": (len(ahd.pending), 0), "to be sent again": (len(ahd.busyq), 0),
                 "mapped": (sum(bool(scb.mapped) for scb in ahd.scbs), 0),
                 "frozen": (ahd.qfrozen + model.get(Scratch.QFREEZE_COUNT), 0),
                 "tasks": (sum(len(target.tasks) for target in model.bus.targets.values()), 0)}
        # a mapping that a CPU had made at the crash and not noted yet is nobody's any more
        state["grants"] = (max(0, len(model.dma.grants) - 4 - self.case.cpus), 0)
        wrong += [f"leak: {name} {now}, not {due}" for name, (now, due) in state.items() if now != due]


def run_case(case: Case, registry: Registry, template: DumpDisk, directory: Path, *, traced: bool = False) -> Outcome:
    """One run.  *template* is the disk, *directory* an empty place for image and vmcore."""
    out = Outcome(case)
    disk = template.copy_to(directory / "d.img")
    trace = Trace(enabled=traced)
    target = Target("aic79xx", str(disk.image), case.chip, offset_bytes=MARGIN_BYTES, size_bytes=PARTITION_BYTES)
    with open_source(f"synthetic:1M,seed={case.seed % 7 + 1},cpus={case.cpus}") as source:
        with Rig.build(source, [target], registry, config=DumpConfig(), queue_depth=case.queue_depth, ncpus=case.cpus,
                       trace=trace, code_check=False) as rig:
            if not rig.adapters:
                out.wrong += [str(refused) for refused in rig.refused]
                return out
            run = _Run(case, rig, disk, out)
            run.crash()
            run.dump()
            written = run.written
            changed = disk.changed(written, partition=False)
            try:
                run.recover()
            except DriverFault as fault:
                out.wrong.append(f"recovery: {type(fault).__name__}: {fault}")
        if changed:
            out.wrong.append(f"sectors outside the partition changed: {changed[:8]}")
        if out.report is not None and out.report.complete:
            saved = save(disk.partition, str(directory))
            if saved.state is not DumpState.COMPLETE or compare_with_source(str(saved.path), source):
                out.wrong.append(f"complete, and savecore says {saved.state.value}, or pages differ")
        out.digest = trace.digest() if traced else ""
    return out


def formatted_disk(directory: Path) -> DumpDisk:
    """The disk every run begins with: noise, and a formatted partition in the middle."""
    return DumpDisk.make(directory / "template.img", PARTITION_BYTES, MARGIN_BYTES)
