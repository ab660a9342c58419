"""`ddsdk info`: what a vmcore or a partition holds."""

from __future__ import annotations

import click

from ddsdk.diskdump.partition import DumpState, read_partition
from ddsdk.errors import FormatError
from ddsdk.sizes import show_size
from ddsdk.vmcore.source import PageSource, open_pages, starts_like_a_dump_file

from .arguments import device_argument, json_option, parse_device
from .console import progress_bar, result, result_json


@click.command("info")
@device_argument
@json_option
def command(device: str, as_json: bool) -> None:
    """Describe a dump file, or the dump on a partition (a file, a block device, or a window of one)."""
    target = parse_device(device)
    with target.open() as file:
        is_file = starts_like_a_dump_file(bytes(file.read(0, min(file.size, 16))))
    if is_file and not target.offset_bytes:
        with open_pages(target.path) as source:
            facts = describe_core(source)
    else:
        with progress_bar(f"scan {device}") as update:
            dump = read_partition(target, update)
        if dump.state is DumpState.NONE:
            raise FormatError(f"{device}: neither a dump file nor a dump partition with a dump: {dump.why}")
        facts = {"kind": "dump partition", **dump.describe()}
    if as_json:
        result_json(facts)
        return
    for key, value in facts.items():
        if value not in (None, "", []):
            result(f"{key.replace('_', ' '):<20} {value}")


def describe_core(source: PageSource) -> dict[str, object]:
    """What there is to say of a dump file."""
    page, pages, stored = source.page_size, source.ram.count(), source.stored.count()
    return {"kind": source.kind, "file": source.origin, "abi": source.abi.name, "release": source.release,
            "nodename": source.nodename, "crashtime": source.crashtime, "cpus_with_registers": len(source.cpus),
            "vmcoreinfo": source.vmcoreinfo is not None, "page_bytes": page, "pages": pages,
            "memory": show_size(pages * page), "stored_pages": stored, "stored": show_size(stored * page),
            "dump_level": source.dump_level, "incomplete": source.incomplete, "max_pfn": source.max_pfn,
            "ranges": [f"{run.start_pfn * page:#x}-{(run.start_pfn + run.npages) * page:#x}" for run in source.runs]}
