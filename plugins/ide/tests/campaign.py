"""A crash campaign: one seed is one machine, one load, one moment, some faults, one dump, one savecore.

Everything a run does is drawn from its seed, so that a seed reproduces it.  What must hold afterwards, whatever was
drawn: (i) nothing beside the partition changes but what the load wrote; (ii) a complete dump equals memory, page by
page, anything else is a refusal with a reason; (iii) it ends, and no DriverFault; (iv) interrupts stay off, drives
masked, watchdog fed; (v) the same seed gives the same trace; (vi) afterwards the channel works and nothing leaked.
"""

from __future__ import annotations

import importlib
import random
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from attrs import define, field

from ddsdk.ata.ide_dump import AtaDumpDevice
from ddsdk.ata.load import IoLoad
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
from ddsdk.sim.disk_faults import FaultKind
from ddsdk.sim.trace import Trace
from ddsdk.target import Target
from ddsdk.vmcore.source import open_source
from ddsdk_ide import DRIVER_MODULES
from ddsdk_ide.model import build
from ddsdk_ide.model_personality import QEMU
from plugins.ide.tests.campaign_cases import Case, S

KIB = 1 << 10
PAGE = 4096
#: The partition, and what lies on either side of it.
PARTITION_SIZE, MARGIN = 1280 * KIB, 512 * KIB
MEMORY = "synthetic:1M,seed={seed},cpus={cpus}"
#: A dump on a machine where everything that may go wrong twice does.
LIMIT_NS = 1200 * S
RECOVERY_MODULES = ("ddsdk_ide.recovery",)
#: The disk says that all is well and lies: nothing but reading back would tell.
SILENT = (FaultKind.LOST_WRITE, FaultKind.TORN_WRITE, FaultKind.MISDIRECTED_WRITE)


@define
class Outcome:
    """What came of a case: the report, what was wrong, and how the run went."""

    case: Case
    report: DumpReport | None = None
    wrong: list[str] = field(factory=list)
    where: str = ""
    dump_ns: int = 0
    digest: str = ""
    silent: bool = False
    recovered: bool = False

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


@define
class _Campaigner:
    """One run under way."""

    case: Case
    rig: Rig
    dump_disk: DumpDisk
    out: Outcome
    recovery: AtaDumpDevice
    written: list[tuple[int, int]] = field(factory=list)

    # -- until the crash -----------------------------------------------------------------------------------------------

    @property
    def adapter(self) -> Any:
        """The interface."""
        return self.rig.adapters[0]

    @property
    def model(self) -> Any:
        """Its model."""
        return self.adapter.pdev.function.model

    @property
    def disk(self) -> Any:
        """The disk."""
        return self.adapter.disk

    def inject(self, moment: str) -> None:
        """Arm what strikes from now on."""
        for one in self.case.injections:
            if one.moment != moment:
                continue
            if isinstance(one.fault, str):
                self.model.faults.inject(one.fault, one.after, one.times)
            else:
                self.disk.inject(one.fault)

    def crash(self) -> None:
        """Load until the moment comes; the boot context panics when it never does."""
        case, machine = self.case, self.rig.machine
        if case.pio:
            self.adapter.drive.using_dma = False
        load = IoLoad(self.adapter.drive, self.dump_disk.load_regions[0], case.seed, case.workers,
                      max_sectors=8 if case.pio else 64, reset_every=case.reset_every)
        self.written = load.written
        with ExitStack() as stack:
            if case.how in ("line", "recovery"):
                files = source_files(DRIVER_MODULES if case.how == "line" else RECOVERY_MODULES)
                trap = LineTrap(machine, files, case.at, lambda: machine.crash(case.trigger))
                stack.callback(lambda: setattr(self.out, "where", trap.where))
                stack.enter_context(trap.set())
            load.start()
            self.inject("load")
            if case.how == "event":
                machine.clock.after_ns(case.at, lambda: machine.crash(case.trigger))
                self.out.where = "clock event"
            machine.run(for_ns={"time": case.at, "event": case.at + 1, "line": S // 20, "recovery": 80 * S}[case.how])
        if not machine.crashdump_mode:
            machine.crash(case.trigger)

    # -- the dump, and what must hold ----------------------------------------------------------------------------------

    def dump(self) -> None:
        """Save memory; then every invariant."""
        machine, out = self.rig.machine, self.out
        assert machine.record is not None
        self.inject("crash")
        at_crash = machine.clock.now_ns
        self._follow_quiesce()
        out.report = report = self.rig.dump(machine.record, 1_100_000_000)
        out.dump_ns = machine.clock.now_ns - at_crash
        out.silent = any(fault.kind in SILENT for fault in self.disk.faults.struck)
        self._judge_report(report)
        self._judge_machine()

    def _follow_quiesce(self) -> None:
        """Behind quiesce(): are the drives masked?  Then arm what strikes in the middle of the dump."""
        device = self.adapter.device
        quiesce = device.quiesce

        def followed() -> int:
            error = int(quiesce())
            self._judge_mask()
            self.inject("dump")
            return error
        device.quiesce = followed

    def _judge_report(self, report: DumpReport) -> None:
        """(ii), (iii): an honest answer, in bounded time, and no DriverFault."""
        wrong = self.out.wrong
        if not report.complete and not report.rejections:
            wrong.append("refused without a reason")
        wrong += [f"{r.stage.value}: {r.reason}" for r in report.rejections
                  if r.stage in (Stage.FAULT, Stage.REGISTER, Stage.CORE_CHECK) or not r.reason.strip()]
        if self.out.dump_ns > LIMIT_NS:
            wrong.append(f"the dump took {self.out.dump_ns / S:.0f} s")

    def _judge_machine(self) -> None:
        """(iv): interrupts are off, the watchdog is fed, nobody left a lock behind."""
        machine, wrong = self.rig.machine, self.out.wrong
        if machine.current_cpu.irq_enabled:
            wrong.append("interrupts are on")
        if machine.clock.now_ns > machine.watchdog.deadline_ns:
            wrong.append("the watchdog starved")
        before = machine.record.locks if machine.record else ()
        taken = [lock.name for lock in machine.locks.held() if lock not in before]
        if taken:
            wrong.append(f"locks still held: {taken}")

    def _judge_mask(self) -> None:
        """(iv): no drive reaches the line; after a surprise removal nobody can tell."""
        for channel in self.model.channels:
            if not (self.model.gone or channel.gone or channel.control.NIEN):
                self.out.wrong.append(f"channel {channel.number} is not masked")

    def recover(self) -> None:
        """(vi): with the faults gone the channel comes back, and fifty commands leave nothing behind."""
        model, wrong = self.model, self.out.wrong
        model.faults.clear()
        self.disk.faults.clear()
        hwif = self.adapter.host
        if model.gone or model.channels[0].gone or self.rig.kernel.spin_is_locked(hwif.ide_lock):
            return
        if self.recovery.drive.changed or self.recovery.sanity_check() < 0:
            return
        error = self.recovery.quiesce()
        self._judge_mask()
        paddr = self.rig.machine.memory.reserve.alloc(16 * PAGE, PAGE)
        chunks = [(block % 250, [(paddr + block % 16 * PAGE, PAGE)]) for block in range(50)]
        error = error or next((e for *_, e in self.recovery.stream(False, chunks) if e), 0)
        if error:
            wrong.append(f"recovery: {error} {self.recovery.why}")
            return
        self.out.recovered = True
        channel = hwif.hwif_data
        # a mapping that a CPU had made at the crash and not noted yet is nobody's any more; 2 are the tables
        leaks = {"task": channel.task is not None, "mapped": bool(channel.mapped),
                 "grants": len(model.dma.grants) > 2 + self.case.cpus}
        wrong += [f"leak: {name}" for name, leaked in leaks.items() if leaked]

    def cut_the_power(self) -> None:
        """After a complete dump nothing may be lost; of another, any part of what the cache held gets through."""
        r, pending = random.Random(self.case.seed), range(self.disk.unsynced)
        self.disk.power_off({n: r.choice((1, 7, 8, 9, 1 << 20)) for n in pending if r.random() < 0.5})
        self.rig.machine.power_off()
        if self.out.report is not None and self.out.report.complete and pending and not self.out.recovered:
            self.out.wrong.append(f"{len(pending)} writes were not on the medium after shutdown()")

    def look_at_disk(self, directory: Path) -> None:
        """(i) and (ii): what the partition holds is memory, and nothing around it moved."""
        out, report = self.out, self.out.report
        assert report is not None
        misdirected = any(fault.kind is FaultKind.MISDIRECTED_WRITE for fault in self.disk.faults.struck)
        changed = self.dump_disk.changed(self.written, partition=False)
        if changed and not misdirected:
            out.wrong.append(f"sectors outside the partition changed: {changed[:8]}")
        self._savecore(report, directory)

    def _savecore(self, report: DumpReport, directory: Path) -> None:
        """What savecore makes of it equals memory, page by page."""
        out, source = self.out, self.rig.source
        try:
            saved = save(self.dump_disk.partition, str(directory))
        except Exception as error:
            # a bitmap or header that is half there, because of the power cut or a lost write, is refused
            if not isinstance(error, FormatError) or (report.complete and not out.silent):
                out.wrong.append(f"savecore: {type(error).__name__}: {error}")
            return
        if report.complete and not out.silent and saved.state is not DumpState.COMPLETE:
            out.wrong.append(f"complete, but savecore says {saved.state.value}: {saved.why}")
        if not saved.pages or any(fault.kind is FaultKind.MISDIRECTED_WRITE for fault in self.disk.faults.struck):
            return
        assert saved.path is not None
        if saved.state is DumpState.COMPLETE and saved.pages != source.total_pages:
            out.wrong.append(f"savecore: {saved.pages} of {source.total_pages} pages")
        with open_source(saved.path) as core:
            for extent in core.extents:
                if bytes(extent.view) != bytes(source.view(extent.paddr, extent.size)):
                    out.wrong.append(f"vmcore differs from memory in {extent.paddr:#x}+{extent.size:#x}")


def formatted_disk(directory: Path) -> DumpDisk:
    """The disk every run begins with: noise, and a formatted partition in the middle."""
    return DumpDisk.make(directory / "template.img", PARTITION_SIZE, MARGIN)


def with_personality(registry: Registry, personality: str) -> Registry:
    """The same drivers; models of that personality."""
    if personality != QEMU.name:
        return registry
    return attrs.evolve(registry, models=tuple(
        attrs.evolve(model, build=partial(build, model.chip, personality=QEMU)) if model.driver == "ide" else model
        for model in registry.models))


def run_case(case: Case, registry: Registry, template: DumpDisk, directory: Path, *, traced: bool = False) -> Outcome:
    """One run.  *template* is the disk, *directory* an empty place for image and vmcore."""
    out = Outcome(case)
    disk = template.copy_to(directory / "d.img")
    trace = Trace(enabled=traced)
    target = Target("ide", str(disk.image), case.chip, offset_bytes=MARGIN, size_bytes=PARTITION_SIZE)
    config = DumpConfig(block_order=case.block_order)
    with open_source(MEMORY.format(seed=case.seed % 7 + 1, cpus=case.cpus)) as source:
        registry = with_personality(registry, case.personality)
        with Rig.build(source, [target], registry, config=config, trace=trace, code_check=False) as rig:
            adapter = rig.adapters[0]
            assert adapter.disk is not None
            recovery = AtaDumpDevice(adapter.drive, adapter.device.hooks, 0, len(disk.made) // SECTOR, PAGE,
                                     CodeImage.take([]), name="recovery")
            adapter.disk.volatile_cache = case.volatile
            run = _Campaigner(case, rig, disk, out, recovery)
            run.crash()
            run.dump()
            try:
                run.recover()
            except DriverFault as fault:
                out.wrong.append(f"recovery: {type(fault).__name__}: {fault}")
            if case.volatile:
                run.cut_the_power()
        run.look_at_disk(directory)                 # the rig holds the file's lock till then
        out.digest = trace.digest() if traced else ""
    return out
