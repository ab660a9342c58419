"""The `--guest` half of `ddsdk drill`: so many crashes of a real Linux, a verdict each."""

from __future__ import annotations

import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from attrs import evolve

from ..errors import DeviceError, PluginError, VerdictError
from ..guestdrill.report import GuestReport, as_dict
from ..guestdrill.run import GuestDrill, run_guest_drill
from ..hookspecs.discovery import HardwareModelInfo
from ..lab import crash, debian, guest
from ..lab.kernels import KernelTree, pci_alias
from ..lab.tools import need_tools
from ..registry import Registry
from .console import PhaseBars, note, result, result_json, say


def command(drill: GuestDrill, runs: int, kernel_name: str | None, registry: Registry, as_json: bool) -> int:
    """Carry *drill* out *runs* times, with its seed and those that follow; 0 when every run was verified."""
    model = drill.model(registry)
    need_tools((*guest.TOOLS, crash.PROGRAM))
    kernel = kernel_for(model, kernel_name)
    told, verified = [], 0
    for number in range(runs):
        this = evolve(drill, seed=drill.seed + number)
        row = one_run(this, kernel, registry, f"run {number + 1}/{runs} seed {this.seed}", as_json)
        verified += bool(row["verified"])
        told.append(row)
    if as_json:
        result_json({"driver": drill.driver, "chip": model.chip.name, "kernel": kernel.version,
                     "memory_bytes": drill.memory_bytes, "verified": verified, "of": runs, "runs": told})
    else:
        result(f"verified {verified} of {runs} crashes of Linux {kernel.version} through {drill.driver} on its"
               f" own {model.chip.name} (emulated)")
    return 0 if verified == runs else VerdictError.exit_code


def kernel_for(model: HardwareModelInfo, name: str | None) -> KernelTree:
    """A kernel that drives *model*'s chip; see `lab.debian.kernel_named`."""
    chip = model.chip
    return debian.kernel_named(name, pci_alias(chip.vendor, chip.device),
                               f"{chip.title} (PCI {chip.vendor:04x}:{chip.device:04x})")


def first_emulated(registry: Registry) -> str:
    """The alphabetically first driver with a chip that QEMU has; PluginError when there is none."""
    able = [name for name in registry.drivers if any(model.qemu for model in registry.models_of(name))]
    if not able:
        raise PluginError("no driver is installed whose adapter QEMU has: install a plugin with pip, or see `ddsdk"
                          " drivers`")
    return min(able)


def one_run(drill: GuestDrill, kernel: KernelTree, registry: Registry, title: str, quiet: bool) -> dict[str, Any]:
    """One crash and its verdict, said on stdout unless *quiet*; the row for --json."""
    note(title)
    try:
        report = in_temporary_directory(drill, kernel, registry)
    except VerdictError as no:
        say(f"{title}: not verified: {no}")
        if not quiet:
            result(f"{title}: not verified")
        return {"seed": drill.seed, "verified": False, "why": str(no), "trigger": drill.trigger.value}
    if report.why_not:
        say(f"{title}: not verified: {report.why_not}")
    if not quiet:
        result(f"{title}: {verdict_line(report)}")
    return as_dict(report)


def verdict_line(report: GuestReport) -> str:
    """What one run found, for people."""
    said = report.said
    how = f"{report.trigger.value} after {report.load_us / 1e6:.3f} s of load"
    how += f" in {said.where}" if said.where else ""
    how += "" if said.in_flight is None else f", requests in flight: {said.in_flight}"
    if report.why_not:
        return f"not verified ({how})"
    return (f"verified {report.pages} pages, 0 differ; crash agrees on {len(said.lines)} lines ({how};"
            f" {report.seconds_after_boot:.1f} s after boot)")


def in_temporary_directory(drill: GuestDrill, kernel: KernelTree, registry: Registry) -> GuestReport:
    """Run *drill* with progress; nothing stays behind, not even after SIGTERM."""
    work = "the temporary directory"
    try:
        with sigterm_interrupts(), tempfile.TemporaryDirectory(prefix="ddsdk-guest-") as work, \
                PhaseBars("the guest") as bars:
            return run_guest_drill(drill, kernel, registry, Path(work), now=int(time.time()), tell=bars.note,
                                   progress=lambda p: bars.update(p.phase, p.done, p.total))
    except OSError as error:
        raise DeviceError(f"{error.filename or work}: {error.strerror or error}; TMPDIR chooses a directory with room"
                          " for the guest's disks, its memory twice and the vmcore") from None


@contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """SIGTERM ends what is inside as Ctrl-C does: files and processes are cleared away."""
    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
