"""`ddsdk drill`: the whole story once, verified."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

import click
from click.core import ParameterSource

from ..drill import Drill, DrillReport, run_drill
from ..errors import DeviceError, PluginError, UsageError, VerdictError
from ..registry import Registry, discover
from ..sim.machine import Trigger
from .arguments import block_order_option, json_option
from .console import PhaseBars, result, result_json, say
from .dump import as_dict

#: A minute of I/O load by the machine's clock takes many minutes by ours.
MAX_LOAD_US = 60_000_000
#: Options that mean something with --guest alone, and those that mean nothing with it.
ONLY_GUEST: Final = ("runs", "kernel", "cpus", "onto")
NEVER_GUEST: Final = ("backend", "load_us")
GUEST_BLOCK_ORDER: Final = 8


@click.command("drill")
@click.option("--driver", default=None, help="Driver to dump through.  [default: the first installed]")
@click.option("--chip", default=None, help="Chip of that driver.  [default: its first]")
@click.option("--backend", type=click.Choice(["model", "qemu"]), default="model", show_default=True)
@click.option("--memory", default=None, metavar="MEMORY",
              help="ELF core, raw RAM image or synthetic:SIZE; with --guest the size of its memory.  [default:"
                   " synthetic:64M,cpus=2; 512M]")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the I/O load: the same seed, the same crash.")
@click.option("--load-us", type=click.IntRange(0, MAX_LOAD_US), default=20_000, show_default=True,
              help="Microseconds of I/O load before the crash, by the machine's clock.")
@click.option("--trigger", type=click.Choice([t.value for t in Trigger]), default=Trigger.SYSRQ_C.value,
              show_default=True, help="How the machine crashes.  With --guest by NMI switch, or sysrq-c if asked for.")
@block_order_option
@click.option("--queue-depth", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--guest", is_flag=True,
              help="Boot a real Linux on the driver's chip (QEMU's), crash it, dump it through its own adapter; block"
                   " order 8 unless given.")
@click.option("--runs", type=click.IntRange(1, 10_000), default=1, show_default=True, metavar="N",
              help="With --guest: N crashes, at moments that SEED, SEED + 1, ... choose.")
@click.option("--kernel", default=None, metavar="DIR",
              help="With --guest: an unpacked linux-image package with its vmlinux; cloud or full: Debian's, downloaded"
                   " once.  [default: one that was]")
@click.option("--cpus", type=click.IntRange(1, 16), default=1, show_default=True, help="With --guest: its CPUs.")
@click.option("--onto", type=click.Choice(["same", "second"]), default="same", show_default=True,
              help="With --guest: dump onto the busy disk, behind what its load uses, or onto a second one.")
@json_option
@click.pass_context
def command(ctx: click.Context, driver: str | None, chip: str | None, backend: str, memory: str | None, seed: int,
            load_us: int, trigger: str, block_order: int, queue_depth: int, guest: bool, runs: int, kernel: str | None,
            cpus: int, onto: str, as_json: bool) -> int:
    """Crash a machine under I/O load, dump it through a driver, save the vmcore, compare every page.

    Everything happens in a temporary directory (TMPDIR chooses where) and leaves nothing behind.
    """
    typed = {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}
    wrong = [name for name in (NEVER_GUEST if guest else ONLY_GUEST) if name in typed]
    if wrong:
        option = f"--{wrong[0].replace('_', '-')}"
        raise UsageError(f"{option} is for a drill {'without' if guest else 'with'} --guest; see `ddsdk drill --help`")
    registry = discover()
    if guest:
        from ..guestdrill.run import GuestDrill
        from ..lab.guest import memory_size
        from . import guest as guests

        return guests.command(GuestDrill(
            driver or guests.first_emulated(registry), chip, seed,
            Trigger(trigger) if "trigger" in typed else Trigger.NMI_SWITCH, memory_size(memory or "512M"), cpus,
            onto == "second", block_order if "block_order" in typed else GUEST_BLOCK_ORDER, queue_depth),
            runs, kernel, registry, as_json)
    drill = Drill(driver or first_driver(registry), memory or "synthetic:64M,cpus=2", chip, backend, seed, load_us,
                  block_order, queue_depth, Trigger(trigger))
    drill.refuse_nonsense(registry)
    report = in_temporary_directory(drill, registry)
    if as_json:
        result_json({"driver": drill.driver, "trigger": trigger, "in_flight": report.in_flight,
                     "dump": as_dict(report.dump), "pages": report.pages, "differ": report.differ})
    else:
        result(f"verified {report.pages} pages, {report.differ} differ")
    if report.differ:
        say(f"error: {report.differ} of {report.pages} pages differ from the memory that crashed")
    return VerdictError.exit_code if report.differ else 0


def in_temporary_directory(drill: Drill, registry: Registry) -> DrillReport:
    """Run *drill* with progress.  DeviceError when the temporary directory has no room for disk and vmcore."""
    work = "the temporary directory"
    try:
        with tempfile.TemporaryDirectory(prefix="ddsdk-drill-") as work, PhaseBars("disk.img") as bars:
            return run_drill(drill, registry, Path(work), now=int(time.time()), tell=bars.note,
                             progress=lambda p: bars.update(p.phase, p.done, p.total))
    except OSError as error:
        raise DeviceError(f"{work}: {error.strerror or error}; TMPDIR chooses a directory with room for the disk and"
                          " the vmcore") from None


def first_driver(registry: Registry) -> str:
    """The alphabetically first driver; PluginError when none is installed."""
    if not registry.drivers:
        raise PluginError("no driver is installed: install a plugin with pip, or see `ddsdk drivers`")
    return min(registry.drivers)
