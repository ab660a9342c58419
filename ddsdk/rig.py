"""A machine put together: memory, adapters with their disks, drivers probed, dump devices registered.

The command line, the conformance kit and the campaigns all start here; this is the one place that knows the
simulator, the QEMU backend, the mid-layers and the dump engine at the same time.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import attrs
from attrs import define, field, frozen

from .block.dump_device import PolledDumpDevice, Unit
from .block.midlayer import MidLayer
from .bus import PciFunction
from .diskdump.device import Scratch
from .diskdump.engine import DiskDump, DumpConfig, DumpReport, Rejection, silent
from .diskdump.plan import CrashFacts
from .diskdump.probe import Host
from .diskdump.target import DumpTarget, lock_fd
from .diskdump.writer import Progress, Stage
from .errors import DdsdkError, DeviceError, UsageError
from .helperlib.kernel import Kernel, PciDev
from .hookspecs.device import BoundHooks, bind
from .hookspecs.discovery import DriverInfo, HardwareModelInfo
from .integrity import CodeImage, Region
from .registry import Registry
from .sim.disk import Disk
from .sim.machine import CrashRecord, Machine, Trigger
from .sim.memory import Extent, PhysicalMemory
from .sim.trace import Trace
from .target import Target, identity, refuse_conflicts
from .vmcore.notes import CpuNote
from .vmcore.source import MemorySource

if TYPE_CHECKING:       # a dump onto a model needs no QEMU, one through SCSI no IDE
    from .ata.host import IdeDrive
    from .block.load import BlockLoad
    from .block.load import Region as LoadRegion
    from .diskdump.swap_write import SwapSaved
    from .diskdump.swapheader import SwapHeader
    from .qemu.guest import CrashedGuest
    from .qemu.ram import SharedRam
    from .scsi.host import ScsiDevice

#: The engine's own memory: one I/O of the largest block order with 4 KiB pages.
SCRATCH_BYTES = 1 << 20
#: Emulated adapters are named from this PCI slot up; each is alone in its QEMU.
EMULATED_SLOT = 4
#: The packages that a dump runs through, besides its driver's.
CORE_PACKAGES = ("ata", "block", "diskdump", "helperlib", "scsi")
#: ... and a partial one, besides: what filters and compresses.
PARTIAL_PACKAGES = ("vmcore",)


@frozen(eq=False)
class Adapter:
    """One target brought up: its function on the bus, the disk, the dump device.

    `host` is what the driver's probe made of it, a ScsiHost or an IdeHwif; `device.lock` is held around its driver.
    """

    target: Target
    pdev: PciDev
    host: Any
    unit: Unit
    device: PolledDumpDevice[Any]
    disk: Disk | None
    midlayer: MidLayer

    @property
    def sdev(self) -> ScsiDevice:
        """The disk of a SCSI adapter."""
        sdev: ScsiDevice = self._unit_of("scsi")
        return sdev

    @property
    def drive(self) -> IdeDrive:
        """The disk of an IDE interface."""
        drive: IdeDrive = self._unit_of("ata")
        return drive

    def _unit_of(self, bus: str) -> Any:
        if self.midlayer.name != bus:
            raise UsageError(f"{self.target}: the disk is on bus {self.midlayer.name}, not {bus}")
        return self.unit

    def load(self, region: LoadRegion, seed: int, **options: int) -> BlockLoad[Any]:
        """I/O load on the disk, not started; *options*: workers, max_sectors, reset_every."""
        return self.midlayer.load(self.unit, region, seed, **options)


@define(eq=False)
class Rig:
    """A running machine with its dump devices registered, ready to crash; on a *guest*, one that has crashed already.

    Use as a context manager: leaving it closes disks and ends QEMU processes.  `refused` names the targets that
    could not be registered, with the reason.
    """

    machine: Machine
    kernel: Kernel
    source: MemorySource
    disk_dump: DiskDump
    ram: SharedRam | None
    observers: tuple[object, ...]
    midlayers: dict[str, MidLayer]
    code_check: bool = True
    guest: CrashedGuest | None = None
    adapters: list[Adapter] = field(factory=list)
    refused: list[Rejection] = field(factory=list)
    swap_refused: list[SwapSaved] = field(factory=list)
    _stack: ExitStack = field(factory=ExitStack)
    _locked: set[tuple[int, ...]] = field(factory=set)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None,
                 _trace: TracebackType | None) -> None:
        self._stack.close()

    @classmethod
    def build(cls, source: MemorySource, targets: Sequence[Target], registry: Registry, *,
              config: DumpConfig | None = None, queue_depth: int = 1, ncpus: int | None = None,
              progress: Callable[[Progress], None] = silent, trace: Trace | None = None,
              observers: Sequence[object] = (), regions: Sequence[Region] = (), code_check: bool = True,
              guest: CrashedGuest | None = None, swaps: Sequence[Target] = ()) -> Rig:
        """Assemble the machine, probe each target's driver, scan its bus, register its partition.

        A target whose adapter cannot be brought up is remembered in `refused`; the others go on.  *regions* are
        checked at the crash together with the dump code: parts of memory, or `elf_module_regions("driver.ko")`.
        *code_check* False: no code is; that is half of the time a small dump takes.  *guest*: *source* is its memory,
        the targets are disks behind its own adapter.  *swaps*: swap areas to save behind the memory; FormatError for
        one that has no header that Linux would take, `swap_refused` has those whose adapter cannot be brought up.
        """
        refuse_conflicts(targets, {extent.fd for extent in source.extents if extent.fd is not None}, swaps)
        headers = swap_headers(swaps, source)
        everyone = (*targets, *swaps)
        midlayers = {bus: midlayer(bus) for bus in sorted({str(t.resolve(registry)[0].bus) for t in everyone})}
        with ExitStack() as stack:
            extents = [Extent(e.paddr, e.view, "ram", e.drop) for e in source.extents]
            ram = None
            if guest is not None:
                ram = guest.ram
                extents += ram.extents
            elif any(target.backend == "qemu" for target in everyone):
                from .qemu.ram import SharedRam

                ram = stack.enter_context(SharedRam.build(extents))
                extents = list(ram.extents)
            memory = PhysicalMemory(extents, source.page_size)
            machine = stack.enter_context(Machine(memory, source.abi, ncpus or max(1, len(source.cpus)), trace=trace))
            scratch = memory.reserve.alloc(SCRATCH_BYTES, source.page_size)
            config = config or DumpConfig()
            if config.partial is not None:
                importlib.import_module(f"{__package__}.diskdump.filter")       # before its code is fingerprinted
            if swaps:
                importlib.import_module(f"{__package__}.diskdump.swap_write")
            filtered = config.partial is not None or bool(swaps)
            core = core_image(regions, filtered) if code_check else CodeImage.take([], regions)
            service = DiskDump(source, Scratch(scratch, memory.view(scratch, SCRATCH_BYTES)), core, config, progress)
            rig = cls(machine, Kernel(machine), source, service, ram, tuple(observers), midlayers, code_check,
                      guest)
            rig._stack.push(stack.pop_all())
        try:
            for target in targets:
                rig._add(target, registry, queue_depth)
            for target, header in zip(swaps, headers, strict=True):
                rig._add_swap(target, header, registry)
        except BaseException:
            rig._stack.close()
            raise
        return rig

    def _add(self, target: Target, registry: Registry, queue_depth: int) -> None:
        adapter = self._adapter(target, registry, queue_depth)
        if isinstance(adapter, Rejection):
            self.refused.append(adapter)
        else:
            self.adapters.append(adapter)
            self.disk_dump.register(adapter.device)

    def _add_swap(self, target: Target, header: SwapHeader, registry: Registry) -> None:
        """A swap area behind an adapter of its own, or behind that of a target on the same disk."""
        shared = next((adapter for adapter in self.adapters if target.shares_disk(adapter.target)), None)
        if shared is not None:
            driver = target.resolve(registry)[0]
            self.disk_dump.register_swap(self._partition(target, driver, shared.midlayer, shared.unit,
                                                         shared.device.hooks, 1), header)
            return
        adapter = self._adapter(target, registry, 1)
        if isinstance(adapter, Rejection):
            from .diskdump.swap_write import SwapSaved, area_of
            from .diskdump.swappart import AreaState

            self.swap_refused.append(SwapSaved(area_of(str(target), header), AreaState.NOT_READ, why=adapter.reason))
            return
        self.adapters.append(adapter)
        self.disk_dump.register_swap(adapter.device, header)

    def _adapter(self, target: Target, registry: Registry, queue_depth: int) -> Adapter | Rejection:
        """*target* brought up, or why it cannot be."""
        driver, model = target.resolve(registry)
        try:
            return self._bring_up(target, driver, model, queue_depth)
        except UsageError:
            raise
        except (DdsdkError, OSError) as error:
            return Rejection(str(target), Stage.REGISTER, str(error), error)
        except Exception as error:      # a driver's or a model's own mistake; the others can still be used
            if os.environ.get("DDSDK_DEBUG"):
                raise
            return Rejection(str(target), Stage.REGISTER, mistake(error), error)

    def _bring_up(self, target: Target, driver: DriverInfo, model: HardwareModelInfo, queue_depth: int) -> Adapter:
        layer = self.midlayers[driver.bus]
        function, disk = self._plug(target, model, layer)
        pdev = PciDev(self.kernel, function)
        host = layer.probed(driver.name, driver.probe(pdev, model.chip))
        layer.number(host, len(self.adapters) + len(self.refused))
        found = [unit for unit in layer.scan(host) if unit.online]
        if len(found) <= target.nth:
            how_many = f"only {len(found)}" if found else "no"
            raise DeviceError(f"{driver.name} found {how_many} disk that is ready behind the {model.chip.name}")
        unit = found[target.nth]
        hooks = bind(driver.hooks, layer.specs, self.observers, plugin=driver.name)
        device = self._partition(target, driver, layer, unit, hooks, queue_depth)
        return Adapter(target, pdev, host, unit, device, disk, layer)

    def _partition(self, target: Target, driver: DriverInfo, layer: MidLayer, unit: Unit, hooks: BoundHooks,
                   queue_depth: int) -> PolledDumpDevice[Any]:
        start, sectors = target.sectors(unit)
        modules = driver.modules if self.code_check else ()
        image = CodeImage.take([importlib.import_module(name) for name in modules])
        return layer.dump_device(unit, hooks, start, sectors, self.source.page_size, image, queue_depth, str(target))

    def _plug(self, target: Target, model: HardwareModelInfo, layer: MidLayer) -> tuple[PciFunction, Disk | None]:
        """The adapter on the bus, the target's disk at bus 0, id 0 (IDE: channel 0, unit 0); a guest's as it is."""
        target.require_disk()
        self._claim_disk(target.path)
        if self.guest is not None:
            found = self.guest.function(self.machine, model.chip.vendor, model.chip.device)
            self._stack.callback(found.detach)
            return found, None
        qemu = model.qemu
        if target.backend == "qemu" and qemu is not None and self.ram is not None:
            from .qemu.machine import AdapterSpec, DiskImage, EmulatedAdapter

            spec = AdapterSpec.of(qemu, model.chip)
            slot = EMULATED_SLOT + len(self.adapters) + len(self.refused)
            adapter = EmulatedAdapter.start(self.machine, self.ram, spec, [DiskImage(target.path)], slot=slot)
            return self._stack.enter_context(adapter).function, None
        disk = self._stack.enter_context(Disk(target.path))
        self.machine.on_power_off.append(disk.power_off)
        function = model.build(self.machine, {(0, 0): layer.target(disk)})
        return self.machine.pci.plug(function), disk

    def _claim_disk(self, path: str) -> None:
        """Refuse a disk that this host uses; keep savecore, format and other dumps off it while the machine lives."""
        use = Host().use_of(DumpTarget(path))
        if use:
            raise DeviceError(f"{path}: {use}; release it first")
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._stack.callback(os.close, fd)
        if (disk := identity(os.fstat(fd))) not in self._locked:
            lock_fd(fd, path)
            self._locked.add(disk)

    def dump(self, record: CrashRecord, seconds: int = 0, nanoseconds: int = 0) -> DumpReport:
        """Save memory after *record*; the time (since the epoch) goes into the header."""
        report = self.disk_dump.dump(crash_facts(self.source, record, seconds, nanoseconds))
        return attrs.evolve(report, rejections=(*self.refused, *report.rejections),
                            swap=(*self.swap_refused, *report.swap))

    def crash_and_dump(self, trigger: Trigger = Trigger.PANIC, seconds: int = 0) -> DumpReport:
        """Crash from the boot context and save memory."""
        return self.dump(self.machine.crash(trigger), seconds)


def swap_headers(swaps: Sequence[Target], source: MemorySource) -> list[SwapHeader]:
    """The header of each of *swaps*, read as the host reads: this machine still runs."""
    if not swaps:
        return []
    from .diskdump.swapheader import read_swap_header  # for who saves swap areas

    headers = []
    for swap in swaps:
        with DumpTarget(swap.path, swap.offset_bytes, swap.size_bytes).open() as file:
            headers.append(read_swap_header(file, source.abi))
    return headers


def midlayer(bus: str) -> MidLayer:
    """The mid-layer of *bus*.  Called before the core's code is fingerprinted: it has to be loaded by then."""
    if bus == "ata":
        from .ata.bus import AtaBus

        return AtaBus()
    from .scsi.bus import ScsiBus

    return ScsiBus()


def mistake(error: Exception) -> str:
    """An exception that a plugin should not have let out, in one line: what, and where it came from."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    where = f"{os.path.basename(frame.f_code.co_filename)}:{line} in {frame.f_code.co_name}"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text} at {where}; a driver must not raise while it is set up"


def core_image(regions: Sequence[Region] = (), partial: bool = False) -> CodeImage:
    """What a dump relies on besides the driver, as it is now: engine, mid-layer, helper library, *regions*.

    *partial*: filter and codecs, too.

    Every module of theirs that is loaded; nothing on the way of a dump loads another one (a test sees to it).
    """
    packages = CORE_PACKAGES + PARTIAL_PACKAGES if partial else CORE_PACKAGES
    prefixes = tuple(f"{__package__}.{name}." for name in packages)
    return CodeImage.take([sys.modules[name] for name in sorted(sys.modules) if name.startswith(prefixes)], regions)


def crash_facts(source: MemorySource, record: CrashRecord, seconds: int, nanoseconds: int = 0) -> CrashFacts:
    """What the header says: the source's own registers where it has them, else those of the machine's CPUs."""
    cpus = source.cpus or tuple(CpuNote(cpu, regs) for cpu, regs in enumerate(record.regs))
    current = record.cpu_id if record.cpu_id < len(cpus) else 0
    return CrashFacts(seconds, nanoseconds, current, tuple(cpus))
