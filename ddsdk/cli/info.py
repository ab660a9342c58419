"""`ddsdk info`: what a vmcore or a partition holds."""

from __future__ import annotations

import glob
import os
from contextlib import suppress

import click

from ddsdk.diskdump.partition import DumpState, read_partition
from ddsdk.diskdump.target import DumpTarget
from ddsdk.errors import DdsdkError, FormatError
from ddsdk.sizes import show_size
from ddsdk.vmcore.source import PageSource, open_pages, starts_like_a_dump_file

from .arguments import device_argument, json_option, parse_device
from .console import progress_bar, result, result_json


@click.command("info")
@device_argument
@json_option
def command(device: str, as_json: bool) -> None:
    """Describe a dump file, or the dump on a partition (a file, a block device, or a window of one).

    Swap areas that were dumped with the memory are listed; of a vmcore, those that savecore put beside it.
    """
    target = parse_device(device)
    with target.open() as file:
        is_file = starts_like_a_dump_file(bytes(file.read(0, min(file.size, 16))))
    if is_file and not target.offset_bytes:
        with open_pages(target.path) as source:
            facts = describe_core(source)
        if os.path.basename(target.path).startswith("vmcore") and (beside := swap_beside(target.path)):
            facts["swap"] = beside
    else:
        with progress_bar(f"scan {device}") as update:
            dump = read_partition(target, update)
        if dump.state is not DumpState.NONE:
            facts = {"kind": "dump partition", **dump.describe()}
        else:
            facts = describe_swap(target)
        if not facts:
            raise FormatError(f"{device}: neither a dump file nor a dump partition with a dump: {dump.why}")
    if as_json:
        result_json(facts)
        return
    for key, value in facts.items():
        for one in value if key == "swap" and isinstance(value, list) else [value]:
            if one not in (None, "", []):
                result(f"{key.replace('_', ' '):<20} {swap_line(one) if isinstance(one, dict) else one}")


def swap_line(area: dict[str, object]) -> str:
    """A swap area in one line: what there is to say of it, in the order of --json."""
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in area.items() if value not in (None, "", 0))


def describe_swap(target: DumpTarget) -> dict[str, object]:
    """What a file or partition is that is no dump but a swap area, savecore's swap-N.img for one; else nothing."""
    from ddsdk.diskdump.swapheader import any_swap_header

    with target.open() as file:
        header = any_swap_header(file)
    if header is None:
        return {}
    return {"kind": "swap area", "file": str(target), **header.describe()}


def swap_beside(path: str) -> list[dict[str, object]]:
    """The swap areas that savecore put beside the vmcore *path*."""
    found = []
    for name in sorted(glob.glob(os.path.join(glob.escape(os.path.dirname(path) or "."), "swap-*.img"))):
        with suppress(DdsdkError):
            if facts := describe_swap(DumpTarget(name)):
                found.append(facts)
    return found


def describe_core(source: PageSource) -> dict[str, object]:
    """What there is to say of a dump file."""
    page, pages, stored = source.page_size, source.ram.count(), source.stored.count()
    return {"kind": source.kind, "file": source.origin, "abi": source.abi.name, "release": source.release,
            "nodename": source.nodename, "crashtime": source.crashtime, "cpus_with_registers": len(source.cpus),
            "vmcoreinfo": source.vmcoreinfo is not None, "page_bytes": page, "pages": pages,
            "memory": show_size(pages * page), "stored_pages": stored, "stored": show_size(stored * page),
            "dump_level": source.dump_level, "incomplete": source.incomplete, "max_pfn": source.max_pfn,
            "ranges": [f"{run.start_pfn * page:#x}-{(run.start_pfn + run.npages) * page:#x}" for run in source.runs]}
