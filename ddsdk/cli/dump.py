"""`ddsdk dump`: a crash, and memory saved through a driver."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any, Final

import click

from ..abi import ABIS, abi_named
from ..diskdump.engine import CODECS, DumpConfig, DumpReport
from ..errors import DeviceError, VerdictError
from ..registry import discover
from ..rig import Rig
from ..sim.machine import Trigger
from ..target import Target
from ..vmcore.source import open_source
from .arguments import block_order_option, dump_level_option, json_option
from .console import PhaseBars, result, result_json, say

BACKEND_WORD: Final = {"model": "simulated", "qemu": "emulated"}


@click.command("dump")
@click.argument("memory")
@click.option("--to", "targets", multiple=True, required=True,
              metavar="DRIVER:PATH[,chip=C][,backend=B][,offset=O][,size=S]",
              help="A dump device; several are tried in order.  backend: model (default) or qemu.")
@click.option("--swap", "swaps", multiple=True, metavar="DRIVER:PATH[,...]",
              help="A swap area to save behind the memory, read through its driver; on --to's disk, or another.")
@block_order_option
@click.option("--sample-rate", type=int, default=8, show_default=True, metavar="N",
              help="Before writing, check one chunk of every 2**N; 0 checks every block, -1 none.")
@click.option("--queue-depth", type=click.IntRange(1, 256), default=1, show_default=True,
              help="Commands in flight, where the driver's can_queue allows it.")
@dump_level_option
@click.option("--compress", type=click.Choice(CODECS), default="none", show_default=True,
              help="Of each page, at the crash.")
@click.option("--trigger", type=click.Choice([t.value for t in Trigger]), default=Trigger.PANIC.value,
              show_default=True, help="How the machine crashes.")
@click.option("--abi", type=click.Choice([abi.name for abi in ABIS]), default=None,
              help="The crashed machine, for a raw RAM image.")
@click.option("--strict", is_flag=True, help="Never use a device whose driver cannot tell whether it is sane.")
@json_option
def command(memory: str, targets: tuple[str, ...], swaps: tuple[str, ...], block_order: int, sample_rate: int,
            queue_depth: int, dump_level: int, compress: str, trigger: str, abi: str | None, strict: bool,
            as_json: bool) -> int:
    """Crash a machine whose memory is MEMORY and save it through a driver's panic-time path.

    MEMORY: an ELF core, a raw RAM image, or synthetic:SIZE.  The first --to device that is sane and carries its
    signatures takes the dump; each one passed over is named with the reason.

    With --dump-level or --compress the device may be smaller than the memory; if what is left does not fit, as much
    as fits is saved (exit code 1).  Memory comes first: what there is no room for of swap areas is left out.
    """
    config = DumpConfig(block_order, sample_rate, not strict, dump_level, compress)
    parsed = [Target.parse(text) for text in targets]
    areas = [Target.parse(text, "--swap") for text in swaps]
    registry = discover()
    for target in (*parsed, *areas):
        target.resolve(registry)
    with ExitStack() as stack:
        source = stack.enter_context(open_source(memory, abi=abi_named(abi) if abi else None))
        bars = stack.enter_context(PhaseBars(""))
        rig = stack.enter_context(Rig.build(source, parsed, registry, config=config, queue_depth=queue_depth,
                                            progress=lambda p: bars.update(p.phase, p.done, p.total, p.device),
                                            swaps=areas))
        record = rig.machine.crash(Trigger(trigger), reason="ddsdk dump")
        report = rig.dump(record, source.crashtime or int(time.time()))
    return show(report, parsed, as_json)


def show(report: DumpReport, targets: list[Target], as_json: bool) -> int:
    """Print the report; the exit code: 0 saved, 1 not all of memory and swap, 5 no device took the dump."""
    if as_json:
        result_json(as_dict(report))
    else:
        for rejection in report.rejections:
            say(f"not used: {rejection}")
        for gap in report.gaps:
            say(f"warning: {gap}")
    if report.device is None:
        if not as_json:
            say(f"error: no dump device took the dump ({len(targets)} tried); memory is not saved")
        return DeviceError.exit_code
    if not as_json:
        backend = next((BACKEND_WORD[t.backend] for t in targets if str(t) == report.device), "simulated")
        kind = f"{report.kind.value} signatures checked" if report.kind else "signatures not checked"
        result(str(report.plan))
        of = "" if report.plan.partial is None else f" of {report.plan.total_pages}"
        result(f"dumped {report.saved_pages}{of} pages to {report.device} ({backend} adapter, {kind})")
        if report.plan.partial is not None:
            result(f"{report.written_blocks} blocks written, {report.plan.total_pages - report.kept_pages} pages left"
                   " out")
    if report.short:
        say(f"error: {report.device} is full: {report.kept_pages - report.saved_pages} of {report.kept_pages} pages did"
            " not fit; the dump is incomplete")
    for area in report.swap:
        if area.whole and not as_json:
            result(f"swap area {area.area.name}: {area.saved} pages saved, {area.zeros} are zeros")
        if not area.whole:
            say(f"error: swap area {area.area.name}: {area.saved} pages saved, {area.missing} are missing:"
                f" {area.why or f'{area.unreadable} could not be read'}")
        elif area.why:
            say(f"warning: swap area {area.area.name}: {area.why}")
    return VerdictError.exit_code if report.short or not report.swap_whole else 0


def as_dict(report: DumpReport) -> dict[str, Any]:
    """The report as JSON has it."""
    return {"device": report.device, "complete": report.complete,
            "signature": report.kind.value if report.kind else None,
            "total_blocks": report.plan.total_blocks, "memory_blocks": report.plan.total_pages,
            "written_blocks": report.written_blocks, "saved_pages": report.saved_pages,
            "kept_pages": report.kept_pages, "short": report.short, "warnings": list(report.gaps),
            "swap": [{"device": s.area.name, "label": s.area.label, "uuid": s.area.uuid_text, "pages": s.area.pages,
                      "state": s.state.words, "saved_pages": s.saved, "zero_pages": s.zeros,
                      "unreadable_pages": s.unreadable, "missing_pages": s.missing, "why": s.why} for s in report.swap],
            "rejections": [{"device": r.device, "stage": r.stage.value, "reason": r.reason}
                           for r in report.rejections]}
