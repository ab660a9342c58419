"""The whole story on a Linux that really crashed: its own adapter, as the kernel left it, is the dump device.

A kernel boots under QEMU with its disk on the adapter, works the disk, and panics at a moment that a seed chose.  The
paused machine is taken over through its hardware alone; the driver meets an adapter in the middle of somebody else's
commands.  Four questions are asked afterwards, of witnesses that took no part: is every page of the vmcore the
memory's; did the memory stay as it was; did every byte of the disks outside the dump partition; does crash say of the
vmcore what it says of a reference core that was written before anything was touched.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from random import Random

from attrs import field, frozen

from ..abi import X86_64
from ..diskdump.engine import DumpConfig, DumpReport, silent
from ..diskdump.format import format_device
from ..diskdump.header import LEADING_BLOCKS, bitmap_blocks
from ..diskdump.partition import DumpState
from ..diskdump.savecore import save
from ..diskdump.target import DumpTarget
from ..diskdump.writer import Progress
from ..drill import compare_with_source
from ..errors import UsageError, VerdictError
from ..hookspecs.discovery import HardwareModelInfo
from ..lab import initramfs
from ..lab.crash import COMMANDS, NOT_LOOKING, CrashSaid, CrashSession
from ..lab.guest import GuestSpec, RunningGuest, booted
from ..lab.kernels import KernelTree, pci_alias
from ..lab.reference import write_reference_elf
from ..lab.tools import LabError
from ..qemu.guest import CrashedGuest, ram_without
from ..qemu.machine import AdapterSpec, DiskImage, device_arguments
from ..qemu.process import PROGRAM
from ..qemu.ram import memory_directory
from ..registry import Registry
from ..rig import Rig
from ..sim.machine import Trigger
from ..target import Target
from ..vmcore.elfread import open_elf
from ..vmcore.source import open_source
from .disks import Disks
from .report import GuestReport

#: How a guest can be made to crash: its own sysrq-c, or an NMI that hits it wherever it is.
TRIGGERS = (Trigger.SYSRQ_C, Trigger.NMI_SWITCH)
CRASH_WITHIN_US = 2_000_000
#: Requests a second that the busy disk takes: as many as come, or like a disk that turns, with a queue before it.
PACES = (0, 400, 2000)
#: Of the guest's memory, for the driver's structures and the dump's own; its kernel leaves it alone.
RESERVED_BYTES = 8 << 20
#: Blocks of a partition beyond header, bitmap and memory: notes of many CPUs, and room.
SPARE_BLOCKS = 256
DUMP_DRIVE = "disk0"


@frozen
class GuestDrill:
    """What to drill.  `seed` chooses the moment of the crash and the disk's pace; the same seed, the same choice.

    `second`: dump onto a disk of its own beside the busy one; else onto the busy disk, behind what the load uses.
    """

    driver: str
    chip: str | None = None
    seed: int = 1
    trigger: Trigger = Trigger.NMI_SWITCH
    memory_bytes: int = 512 << 20
    cpus: int = 1
    second: bool = False
    block_order: int = 8
    queue_depth: int = 1

    def model(self, registry: Registry) -> HardwareModelInfo:
        """The adapter as QEMU has it.  UsageError: nobody emulates that one, or a value is out of range."""
        if self.trigger not in TRIGGERS:
            raise UsageError(f"a guest crashes by {' or '.join(repr(t.value) for t in TRIGGERS)}, not by"
                             f" {self.trigger.value!r}")
        DumpConfig(self.block_order)
        return Target(self.driver, "disk.img", self.chip, "qemu").resolve(registry)[1]

    def moment(self) -> tuple[int, int]:
        """(microseconds of load before the crash, requests a second or 0) by the seed."""
        rng = Random(self.seed)
        return rng.randrange(CRASH_WITHIN_US), rng.choice(PACES)


@frozen
class _Told:
    """Who is told what."""

    say: Callable[[str], None]
    progress: Callable[[Progress], None]
    seconds: dict[str, float] = field(factory=dict)

    def step(self, name: str, started: float) -> float:
        """*name* took from *started* until now."""
        now = time.monotonic()
        self.seconds[name] = round(now - started, 2)
        return now


def run_guest_drill(drill: GuestDrill, kernel: KernelTree, registry: Registry, work: Path, *, now: int = 0,
                    tell: Callable[[str], None] = lambda text: None,
                    progress: Callable[[Progress], None] = silent, program: str = PROGRAM) -> GuestReport:
    """Carry *drill* out on *kernel* in the empty directory *work*; *now* (seconds since the epoch) dates the crash.

    VerdictError when a step of the dump says no, with its reason; LabError when the guest does not do its part.
    """
    model = drill.model(registry)
    told = _Told(tell, progress)
    disks = _make_disks(drill, work)
    with ExitStack() as stack:
        ram = stack.enter_context(tempfile.TemporaryFile(dir=memory_directory(drill.memory_bytes)))
        ram.truncate(drill.memory_bytes)
        guest = stack.enter_context(booted(_spec(drill, kernel, model, disks), work, ram, program=program))
        load_us = _crash(drill, guest, told)
        started = time.monotonic()
        reference = work / "reference.elf"
        notes = guest.notes(work)
        write_reference_elf(reference, Path(f"/proc/self/fd/{ram.fileno()}"), notes,
                            (guest.spec.reserved_paddr, guest.spec.reserved_bytes))
        picture = disks.picture()
        theirs = stack.enter_context(_crash_session(kernel, reference, work / "crash-reference"))
        started = told.step("picture", started)
        with open_elf(str(reference)) as core:
            cpus, vmcoreinfo = core.cpus, core.vmcoreinfo
        reserved = guest.spec.reserved_paddr, guest.spec.reserved_bytes
        with CrashedGuest.attach(guest.qemu.qtest, ram, reserved, cpus, vmcoreinfo) as crashed:
            dump = _dump(drill, crashed, disks.dump, registry, now, told)
            started = told.step("dump", started)
            changed = compare_with_source(str(reference), crashed.source)
        guest.qemu.close()                              # the "reboot": the disks are plain files again
        outside = disks.changed_since(picture)
        started = told.step("look", started)
        vmcore = _savecore(disks.dump, work, told)
        started = told.step("savecore", started)
        ours = stack.enter_context(_crash_session(kernel, vmcore, work / "crash-vmcore"))
        with open_source(str(reference)) as memory, open_source(str(vmcore)) as saved:
            pages = memory.total_pages
            differ = compare_with_source(str(vmcore), memory) + max(0, saved.total_pages - pages)
        they_say, we_say = theirs.said(), ours.said()
        if not they_say.panic:
            they_say, we_say = (_crash_not_looking(kernel, core, work) for core in (reference, vmcore))
        told.step("judge", started)
    if not they_say.panic:
        raise LabError(f"crash finds no panic in the reference core ({they_say.failure or 'it says nothing of one'}):"
                       " the comparison would prove nothing")
    return GuestReport(drill.seed, drill.trigger, load_us, they_say, dump, pages, differ, changed, outside,
                       they_say.differing(we_say), told.seconds)


def _make_disks(drill: GuestDrill, work: Path) -> Disks:
    pages = sum(end - start for start, end, _ in ram_without(drill.memory_bytes, (0, 0))) // X86_64.page_size
    top = max(end for _, end, _ in ram_without(drill.memory_bytes, (0, 0))) // X86_64.page_size
    blocks = LEADING_BLOCKS + bitmap_blocks(top, X86_64.page_size) + pages + SPARE_BLOCKS
    disks = Disks.make(work, initramfs.LOAD_BYTES, blocks * X86_64.page_size, drill.second)
    format_device(disks.dump, abi=X86_64)
    (work / "vmcore").mkdir(mode=0o700)
    return disks


def _spec(drill: GuestDrill, kernel: KernelTree, model: HardwareModelInfo, disks: Disks) -> GuestSpec:
    assert model.qemu is not None
    adapter = AdapterSpec.of(model.qemu, model.chip)
    images = [DiskImage(str(path), number, throwaway=True) for number, path in enumerate(disks.paths)]
    crash_us = drill.moment()[0] if drill.trigger is Trigger.SYSRQ_C else None
    return GuestSpec(kernel, drill.memory_bytes, drill.cpus, tuple(device_arguments(adapter, images)),
                     (pci_alias(model.chip.vendor, model.chip.device),), "sda", crash_us, RESERVED_BYTES)


def _crash(drill: GuestDrill, guest: RunningGuest, told: _Told) -> int:
    """Wait for the load, make the machine crash under it; microseconds of load before."""
    load_us, pace = drill.moment()
    started = time.monotonic()
    guest.wait_for_load()
    guest.slow_down(DUMP_DRIVE, pace)
    told.step("boot", started)
    if drill.trigger is Trigger.NMI_SWITCH:
        time.sleep(load_us / 1e6)
        guest.inject_nmi()
    guest.wait_for_panic()
    guest.slow_down(DUMP_DRIVE, 0)
    told.say(f"Linux {guest.spec.tree.version} crashed by {drill.trigger.value} after {load_us / 1e6:.3f} s of load"
             + (f" at {pace} requests a second" if pace else ""))
    return load_us


def _crash_session(kernel: KernelTree, core: Path, directory: Path) -> CrashSession:
    directory.mkdir()
    return CrashSession(kernel.vmlinux, core, COMMANDS, directory)


def _crash_not_looking(kernel: KernelTree, core: Path, work: Path) -> CrashSaid:
    """The same, once more, at an instant at which crash cannot find the task that panicked."""
    with CrashSession(kernel.vmlinux, core, COMMANDS, work, NOT_LOOKING) as session:
        return session.said()


def _dump(drill: GuestDrill, crashed: CrashedGuest, partition: DumpTarget, registry: Registry, now: int,
          told: _Told) -> DumpReport:
    target = Target(drill.driver, partition.path, drill.chip, "qemu", partition.offset_bytes, partition.size_bytes,
                    nth=int(drill.second))
    with Rig.build(crashed.source, [target], registry, config=DumpConfig(drill.block_order),
                   queue_depth=drill.queue_depth, progress=told.progress, guest=crashed) as rig:
        if rig.refused:
            raise VerdictError(f"the crashed machine's adapter was not brought up: {rig.refused[0].reason}")
        report = rig.dump(rig.machine.crash(drill.trigger, reason="ddsdk drill --guest"), now)
    if report.device is None:
        raise VerdictError(f"no dump: {report.rejections[-1]}")
    told.say(f"dumped {report.plan.total_pages} pages through the crashed machine's own adapter")
    return report


def _savecore(partition: DumpTarget, work: Path, told: _Told) -> Path:
    saved = save(partition, str(work / "vmcore"))
    if saved.state is not DumpState.COMPLETE or saved.path is None:
        raise VerdictError(f"no complete vmcore: {saved.why}")
    told.say(f"saved {saved.pages} pages as ELF{saved.elf_class}, {saved.resigned_blocks} blocks signed again")
    return Path(saved.path)
