"""A crash campaign: one seed is one machine, one load, one moment, some faults, one dump, one savecore.

Everything a run does is drawn from its seed.  What must hold afterwards, whatever was drawn: nothing beside the
partition changes but what the load wrote; a complete dump equals memory, page by page, anything else is a refusal with
a reason; it ends, without a DriverFault; interrupts stay off, the chip masked, the watchdog fed; and with the faults
gone the adapter works again and nothing leaked.
"""

from __future__ import annotations

import importlib
import random
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from ddsdk.conformance.dump_disk import SECTOR, DumpDisk
from ddsdk.conformance.line_trap import LineTrap
from ddsdk.diskdump.engine import DumpConfig, DumpReport
from ddsdk.diskdump.partition import DumpState
from ddsdk.diskdump.savecore import save
from ddsdk.diskdump.writer import Stage
from ddsdk.errors import DriverFault, FormatError
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
from ddsdk_ipr import DRIVER_MODULES
from ddsdk_ipr.model_faults import FAULTS

S = 1_000_000_000
PAGE = 4096
#: The partition, and what lies on either side of it.
PARTITION_SIZE, MARGIN = 1280 << 10, 512 << 10
#: A dump on a machine where everything that may go wrong twice does.
LIMIT_NS = 2500 * S
#: How often instead of for ever: a slow adapter makes every page slow.
ENOUGH = {"command-slow": 3, "completion-late": 3, "ioasc-sync-required": 50, "ioasc-cancelled": 50}

_DISK_FAULTS = (
    lambda r: disk_faults.medium_error(r.randrange(4096), after=r.randrange(3)),
    lambda r: disk_faults.unit_attention(0x29, 0x00, r.choice((1, 3)), r.randrange(3)),
    lambda r: disk_faults.recovered_error(r.choice((1, None)), r.randrange(20)),
    lambda r: disk_faults.aborted_command(r.choice((1, 3, 10)), r.randrange(20)),
    lambda r: disk_faults.hardware_error(r.choice((1, 5)), r.randrange(3)),
    lambda r: disk_faults.busy(r.choice((1, 20)), r.randrange(3)),
    lambda r: disk_faults.hang(r.choice((1, 2)), r.randrange(20)),
    lambda r: disk_faults.wrong_length(r.choice((1, 7)), r.choice((1, 3)), r.randrange(20)),
    lambda r: disk_faults.slow(r.choice((1, 31)) * S, 1, r.randrange(5)),
)


@frozen
class Injection:
    """One fault at a moment: an id of the model's with after and times, or one of the disk's."""

    moment: str                                     # "load", "crash" or "dump"
    fault: str | DiskFault
    after: int = 0
    times: int = 1

    @classmethod
    def draw(cls, r: random.Random) -> Injection:
        """Any fault at any moment."""
        moment = r.choice(("load", "crash", "dump"))
        if r.random() < 0.3:
            return cls(moment, r.choice(_DISK_FAULTS)(r))
        fault, times = r.choice(sorted(FAULTS)), r.choice((1, 1, 1, 2, 5, 0))
        if fault in ("irq-stuck", "all-ones"):      # before the crash a storm, and a load that fails at once
            moment = "crash"
        return cls(moment, fault, r.choice((0, 0, 1, 3, 10, 40)), times or ENOUGH.get(fault, 0))


@frozen
class Case:
    """What one seed stands for.  `how`: the crash comes at a "time", or at the `at`-th "line" of the driver."""

    seed: int
    chip: str
    cpus: int
    queue_depth: int
    trigger: Trigger
    workers: int
    reset_every: int
    how: str
    at: int
    injections: tuple[Injection, ...]

    @classmethod
    def draw(cls, seed: int) -> Case:
        """The case of *seed*."""
        r = random.Random(f"ipr campaign {seed}")
        how = r.choice(("time", "line"))
        at = r.randrange(1, 3000 if how == "line" else r.choice((200_000, 3_000_000, 3 * S)))
        faults = tuple(Injection.draw(r) for _ in range(r.choice((0, 1, 1, 2))))
        return cls(seed, r.choice(("gemstone", "citrine", "snipe")), r.choice((1, 2)), r.choice((1, 4, 16)),
                   r.choice(tuple(Trigger)), r.choice((1, 3, 6)), r.choice((0, 0, 1, 10)), how, at, faults)


@define
class Outcome:
    """What came of a case."""

    case: Case
    report: DumpReport | None = None
    wrong: list[str] = field(factory=list)
    where: str = ""
    digest: str = ""

    @property
    def verdict(self) -> str:
        """One word, and for a refusal why."""
        if self.report is None:
            return "nothing"
        if self.report.complete:
            return "complete"
        return "; ".join(f"{r.stage.value}: {r.reason}" for r in self.report.rejections)


@define
class _Campaigner:
    case: Case
    rig: Rig
    disk: DumpDisk
    out: Outcome
    recovery: ScsiDumpDevice
    written: list[tuple[int, int]] = field(factory=list)

    @property
    def model(self) -> Any:
        """The adapter's model."""
        return self.rig.adapters[0].pdev.function.model  # type: ignore[attr-defined]

    def inject(self, moment: str) -> None:
        """Arm what strikes from now on."""
        drive = self.rig.adapters[0].disk
        assert drive is not None
        for one in self.case.injections:
            if one.moment == moment and isinstance(one.fault, str):
                self.model.faults.inject(one.fault, one.after, one.times)
            elif one.moment == moment:
                drive.inject(one.fault)  # type: ignore[arg-type]

    def crash(self) -> None:
        """Load until the moment comes; the boot context panics when it never does."""
        case, machine = self.case, self.rig.machine
        load = IoLoad(self.rig.adapters[0].sdev, self.disk.load_regions[0], case.seed, case.workers,
                      reset_every=case.reset_every)
        self.written = load.written
        if case.how == "line":
            files = {str(importlib.import_module(name).__file__) for name in DRIVER_MODULES}
            trap = LineTrap(machine, files, case.at, lambda: machine.crash(case.trigger))
            with trap.set():
                load.start()
                self.inject("load")
                machine.run(for_ns=S // 20)
            self.out.where = trap.where
        else:
            load.start()
            self.inject("load")
            machine.run(for_ns=case.at)
        if not machine.crashdump_mode:
            machine.crash(case.trigger)

    def dump(self) -> None:
        """Save memory; then every invariant of the machine."""
        machine, out, device = self.rig.machine, self.out, self.rig.adapters[0].device
        quiesce, began = device.quiesce, machine.clock.now_ns

        def followed() -> int:
            error = quiesce()
            self._judge_mask()
            self.inject("dump")
            return error
        device.quiesce = followed  # type: ignore[method-assign]
        assert machine.record is not None
        self.inject("crash")
        out.report = report = self.rig.dump(machine.record, 1_100_000_000)
        if not report.complete and not report.rejections:
            out.wrong.append("refused without a reason")
        out.wrong += [f"{r.stage.value}: {r.reason}" for r in report.rejections
                      if r.stage in (Stage.FAULT, Stage.REGISTER, Stage.CORE_CHECK) or not r.reason.strip()]
        if machine.clock.now_ns - began > LIMIT_NS:
            out.wrong.append(f"the dump took {(machine.clock.now_ns - began) / S:.0f} s")
        if machine.current_cpu.irq_enabled:
            out.wrong.append("interrupts are on")
        if machine.clock.now_ns > machine.watchdog.deadline_ns:
            out.wrong.append("the watchdog starved")
        taken = [lock.name for lock in machine.locks.held() if lock not in machine.record.locks]
        if taken:
            out.wrong.append(f"locks still held: {taken}")

    def _judge_mask(self) -> None:
        """Nothing of the chip reaches the line."""
        if not self.model.silent and self.model.mask != 0xFFFFFFFF:
            self.out.wrong.append(f"MASK is {self.model.mask:#x}")

    def recover(self) -> None:
        """With the faults gone the adapter comes back, and fifty commands leave nothing behind."""
        adapter, model, wrong = self.rig.adapters[0], self.model, self.out.wrong
        ioa = adapter.host.hostdata
        model.faults.clear()
        assert adapter.disk is not None
        adapter.disk.faults.clear()
        if self.rig.kernel.spin_is_locked(adapter.host.host_lock) or self.recovery.sanity_check() < 0:
            return                                  # a lock that nobody releases, or an adapter that was given up
        error = self.recovery.quiesce()
        self._judge_mask()
        paddr = self.rig.machine.memory.reserve.alloc(16 * PAGE, PAGE)
        chunks = [(block % 250, [(paddr + block % 16 * PAGE, PAGE)]) for block in range(50)]
        error = error or next((e for *_, e in self.recovery.stream(False, chunks) if e), 0)
        if error:
            wrong.append(f"recovery: {error} {self.recovery.why}")
            return
        state = {"free blocks": (len(set(ioa.free_q)), 100), "pending": (sum(b.pending for b in ioa.blocks), 4),
                 "held": (sum(b.held for b in ioa.blocks), 4), "mapped": (sum(bool(b.mapped) for b in ioa.blocks), 0),
                 "requests": (len(model.requests.held), 4)}
        # a mapping that a CPU had made at the crash and not noted yet is nobody's any more
        state["grants"] = (max(0, len(model.dma.grants) - 1 - self.case.cpus), 0)
        wrong += [f"leak: {name} {now}, not {due}" for name, (now, due) in state.items() if now != due]

    def look_at_disk(self, directory: Path) -> None:
        """What the partition holds is memory, and nothing around it moved."""
        out, report, source = self.out, self.out.report, self.rig.source
        assert report is not None
        changed = self.disk.changed(self.written, partition=False)
        if changed:
            out.wrong.append(f"sectors outside the partition changed: {changed[:8]}")
        if not report.complete:
            return
        try:
            saved = save(self.disk.partition, str(directory))
        except FormatError as error:
            out.wrong.append(f"savecore: {error}")
            return
        if saved.state is not DumpState.COMPLETE or saved.pages != source.total_pages or saved.path is None:
            out.wrong.append(f"savecore: {saved.state.value}, {saved.pages} of {source.total_pages} pages: {saved.why}")
            return
        with open_source(saved.path) as core:
            out.wrong += [f"vmcore differs from memory in {extent.paddr:#x}+{extent.size:#x}" for extent in core.extents
                          if bytes(extent.view) != bytes(source.view(extent.paddr, extent.size))]


def formatted_disk(directory: Path) -> DumpDisk:
    """The disk every run begins with: noise, and a formatted partition in the middle."""
    return DumpDisk.make(directory / "template.img", PARTITION_SIZE, MARGIN)


def run_case(case: Case, registry: Registry, template: DumpDisk, directory: Path, *, traced: bool = False) -> Outcome:
    """One run.  *template* is the disk, *directory* an empty place for image and vmcore."""
    out, trace = Outcome(case), Trace(enabled=traced)
    disk = template.copy_to(directory / "d.img")
    target = Target("ipr", str(disk.image), case.chip, offset_bytes=MARGIN, size_bytes=PARTITION_SIZE)
    config = DumpConfig(block_order=case.seed % 9)
    with open_source(f"synthetic:1M,seed={case.seed % 7 + 1},cpus={case.cpus}") as source:
        with Rig.build(source, [target], registry, config=config, queue_depth=case.queue_depth, trace=trace) as rig:
            adapter = rig.adapters[0]
            recovery = ScsiDumpDevice(adapter.sdev, adapter.device.hooks, 0, len(disk.made) // SECTOR, PAGE,
                                      CodeImage.take([]), case.queue_depth, name="recovery")
            run = _Campaigner(case, rig, disk, out, recovery)
            run.crash()
            run.dump()
            try:
                run.recover()
            except DriverFault as fault:
                out.wrong.append(f"recovery: {type(fault).__name__}: {fault}")
        run.look_at_disk(directory)                 # the rig holds the file's lock till then
    out.digest = trace.digest() if traced else ""
    return out
