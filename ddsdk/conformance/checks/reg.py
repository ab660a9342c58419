"""REG: the plugin is found, its driver comes up, and says so honestly when it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import attrs

from ddsdk.bus import PciFunction
from ddsdk.errors import DdsdkError, PluginError
from ddsdk.hookspecs.device import bind, implementations, spec_signatures
from ddsdk.hookspecs.discovery import Chip
from ddsdk.sim import disk_faults
from ddsdk.sim.disk_faults import Access

from ..bench import DATA, NS_PER_MS, NS_PER_S, PAGE, Bench
from ..check import CheckFailed, Level, Need, Setup, check, not_applicable
from ..deaf import NotDecoding, Removed
from ..plan import Plan

_UNPROBED: Final = Setup(probe=False)
#: How long a read of the kernel before takes: probe() has reset the adapter by then.
_SLOW_NS: Final = 5 * NS_PER_S
#: An emulated adapter takes real time for the same, and must be through before memory is somebody else's.
_EMULATED_NS: Final = 50 * NS_PER_MS


def _limit_ns(bench: Bench) -> int:
    """What bringing an adapter up may take: no longer than the profile allows a reset."""
    return bench.plan.profile.reset_limit_s * NS_PER_S


@check("REG-1", hook="probe", source="white paper 4.3 (2): the host adapter driver registers with the mid-layer",
       setup=_UNPROBED, fix="""
       def my_probe(pdev, chip):
           kernel = pdev.kernel
           kernel.pci_enable_device(pdev)
           kernel.pci_set_master(pdev)
           ...
           return shost
       """)
def probe_brings_the_adapter_up(bench: Bench) -> None:
    """The driver's probe() brings an adapter up that has just been powered on, in bounded time, and returns its host.

    Afterwards it holds no lock and the CPU takes interrupts.
    """
    with bench.within(_limit_ns(bench), "probe"):
        bench.probe()
    held = bench.held_locks
    bench.expect(not held, f"probe returned with {', '.join(held)}; release every lock it takes")
    bench.expect(bench.machine.current_cpu.irq_enabled,
                 "probe returned with interrupts off on its CPU; each irqsave needs its irqrestore, with those flags")


@check("REG-2", hook="queuecommand", source="white paper 2.2: I/O is executed by calling queuecommand()",
       setup=Setup(whole_scan=True), fix="""
       Before the crash commands end by interrupt: request_irq() in probe(), a handler that calls scmd.scsi_done().
       """)
def the_disk_is_found_by_interrupts(bench: Bench) -> None:
    """In normal mode INQUIRY, TEST UNIT READY and READ CAPACITY end by interrupt, and the disk has its true size."""
    bench.expect(bench.device.blocks == bench.setup.disk_bytes // PAGE,
                 f"the disk has {bench.setup.disk_bytes} bytes, by the driver's answers {bench.device.blocks} blocks of"
                 f" {PAGE}")


@check("REG-3", hook="hooks", faults=(PluginError,), setup=_UNPROBED,
       source="white paper 4.3 (2): .dump_sanity_check and .dump_poll in the template; 4.4: their arguments", fix="""
       class MyDumpHooks:
           @hookimpl
           def dump_poll(self, sdev):        # the spec's name, the spec's argument
               my_interrupt(sdev.host.hostdata)
       """)
def the_dump_hooks_bind(bench: Bench) -> None:
    """Every dump hook has a name and arguments that its spec knows, is marked @hookimpl, and dump_poll is there."""
    driver = bench.plan.driver
    spec = bench.plan.specs
    hooks = bind(driver.hooks, spec, plugin=driver.name)
    known = spec_signatures(spec)
    unmarked = [name for name in known
                if name not in hooks.implemented and callable(getattr(driver.hooks, name, None))]
    bench.expect(not unmarked, f"{', '.join(unmarked)} of {type(driver.hooks).__name__} is there but not marked, so"
                               " nobody will call it; decorate it with @hookimpl (from ddsdk.hookspecs)")
    around = [name for name, impl in implementations(driver.hooks) if impl.wrapper or impl.hookwrapper]
    bench.expect(not around, f"{', '.join(around)} is a wrapper, which has no driver to be wrapped around; mark it with"
                             " plain @hookimpl and return the answer")


@check("REG-10", hook="probe", setup=_UNPROBED, fix="""
       CHIPS = (Chip("mychip", vendor=0x1000, device=0x0030, title="..."),)    # the ids of the data sheet, each once
       if (pdev.vendor, pdev.device) != (chip.vendor, chip.device):
           raise DeviceError(f"{pdev.name}: is no {chip.name}")
       """, source="DESIGN.md 4: the chips a driver names are what it drives; 9: no traceback for bad input")
def the_chip_is_named_by_its_ids(bench: Bench) -> None:
    """The adapter has the PCI ids that the chip declares, no other chip of the driver has them, and a probe that is
    told other ids ends in a host or in an honest DdsdkError, never in a Python exception.
    """
    driver, chip, pdev = bench.plan.driver, bench.plan.model.chip, bench.pdev
    bench.expect((pdev.vendor, pdev.device) == (chip.vendor, chip.device),
                 f"the adapter on the bus is {pdev.vendor:04x}:{pdev.device:04x}, the chip {chip.name} declares"
                 f" {chip.vendor:04x}:{chip.device:04x}; Chip and model must give the ids of the data sheet")
    ids = [(one.vendor, one.device) for one in driver.chips]
    twice = sorted({f"{vendor:04x}:{device:04x}" for vendor, device in ids if ids.count((vendor, device)) > 1})
    bench.expect(not twice, f"several chips of the driver have PCI id {', '.join(twice)}; an adapter is one of them")
    bench.expect((chip.name, chip.vendor, chip.device) in [(one.name, one.vendor, one.device) for one in driver.chips],
                 f"the model is a {chip.name} ({chip.vendor:04x}:{chip.device:04x}), none of the driver's chips; name"
                 " it in DriverInfo.chips")
    other = attrs.evolve(chip, device=next(n for n in range(0xFFFF, 0, -1) if (chip.vendor, n) not in ids))
    _probe(bench, other, f"probe of a chip {other.vendor:04x}:{other.device:04x} that is not there")


@check("REG-11", hook="probe", level=Level.ADVISORY, cases=lambda plan: ("idle", "busy", "in-flight"), fix="""
       Reset the chip in probe() before anything else, mask its interrupt first, and request_irq() only when nothing of
       its former life can be pending.
       """, source="hookspecs, shutdown: a warm reboot follows; field.md 2, row 2: as a dead kernel left it")
def probe_takes_over_a_running_adapter(bench: Bench, case: str) -> None:
    """A second kernel's probe() brings up the adapter that another one left running, and its disk works.

    What the first one had asked for touches no memory any more.
    """
    count = min(4, bench.depth)
    if case == "in-flight":
        if bench.disk is None:
            not_applicable("needs a disk that takes its time")
        bench.disk.inject(disk_faults.slow(_SLOW_NS, count, 0, Access.READ))
    if case != "idle":
        bench.start_all([bench.command(False, 8 * n, [(DATA + n * PAGE, PAGE)]) for n in range(count)])
        bench.kernel.disable_irq_nosync(bench.pdev)
        bench.machine.run(for_ns=NS_PER_MS if bench.disk is not None else _EMULATED_NS)
        bench.kernel.enable_irq(bench.pdev)
    bench.another_kernel()
    memory = bench.fill(DATA, count * PAGE, 7)
    with bench.within(_limit_ns(bench), "probe and scan"):
        bench.bring_up()
    bench.machine.run(for_ns=count * _SLOW_NS if case == "in-flight" else NS_PER_MS)
    bench.expect(bench.memory.read(DATA, count * PAGE) == memory,
                 "a read that the kernel before had asked for went on under the next one, and wrote over memory that is"
                 " somebody else's by then; reset the adapter in probe(), before anything else")
    bench.goes_on("after a second kernel took the adapter over")


#: Case -> the function on the bus.
_DEAF: Final[Mapping[str, Callable[[PciFunction], PciFunction]]] = MappingProxyType({
    "not-decoding": NotDecoding,
    "removed": Removed,
})


def _deaf(_plan: Plan) -> Sequence[str]:
    return tuple(_DEAF)


@check("REG-13", hook="probe", setup=_UNPROBED, cases=_deaf, needs=(Need.MODEL,), fix="""
       if kernel.pci_enable_device(pdev):
           raise DeviceError(f"{pdev.name}: does not answer configuration cycles")
       for _ in range(500):                      # every wait has a bound
           if kernel.readl(regs, STATUS).READY:
               break
           kernel.msleep(10)
       else:
           raise DeviceError(f"{pdev.name}: not ready after 5 s")
       """, source="field.md 4.3, row HBA: register reads 0xFFFFFFFF; DESIGN.md 9: no traceback, no wait unbounded")
def a_deaf_adapter_is_refused(bench: Bench, case: str) -> None:
    """Probing an adapter that answers with all ones ends in a DdsdkError of one line, in bounded time."""
    bench.pdev.function = _DEAF[case](bench.function)
    what = f"probe of an adapter that does not answer ({case})"
    bench.expect(not _probe(bench, bench.plan.model.chip, what),
                 f"{what} returned a host; it must raise a DeviceError that says so")


def _probe(bench: Bench, chip: Chip, what: str) -> bool:
    """Whether probe() returns a host; else it must give up honestly.  A rule of others that it breaks goes through."""
    try:
        with bench.within(_limit_ns(bench), what):
            bench.plan.driver.probe(bench.pdev, chip)
    except (CheckFailed, PluginError, NotImplementedError):
        raise
    except DdsdkError as error:
        text = str(error)
        bench.expect(text.strip() and "\n" not in text,
                     f"{what} gave up with {type(error).__name__}({text!r}); say in one line what is wrong with which"
                     " adapter")
        return False
    except Exception as error:
        raise CheckFailed(f"{what} ended in {type(error).__name__}: {' '.join(str(error).split()) or 'no text'}; it"
                          " must raise a DeviceError that says what is wrong, in one line"
                          ).with_traceback(error.__traceback__) from error
    return True
