"""`ddsdk info`: what a vmcore or a partition holds."""

from __future__ import annotations

import click

from ddsdk.diskdump.partition import DumpState, read_partition
from ddsdk.errors import FormatError
from ddsdk.sizes import show_size
from ddsdk.vmcore.source import MemorySource, open_source

from .arguments import device_argument, json_option, parse_device
from .console import progress_bar, result, result_json


@click.command("info")
@device_argument
@json_option
def command(device: str, as_json: bool) -> None:
    """Describe an ELF vmcore, or the dump on a partition (a file, a block device, or a window of one)."""
    target = parse_device(device)
    with target.open() as file:
        is_elf = file.size >= 4 and file.read(0, 4) == b"\x7fELF"
    if is_elf and not target.offset_bytes:
        with open_source(target.path) as source:
            facts = describe_core(source)
    else:
        with progress_bar(f"scan {device}") as update:
            dump = read_partition(target, update)
        if dump.state is DumpState.NONE:
            raise FormatError(f"{device}: neither an ELF core nor a dump partition with a dump: {dump.why}")
        facts = {"kind": "dump partition", **dump.describe()}
    if as_json:
        result_json(facts)
        return
    for key, value in facts.items():
        if value not in (None, "", []):
            result(f"{key.replace('_', ' '):<20} {value}")


def describe_core(source: MemorySource) -> dict[str, object]:
    """What there is to say of a memory source."""
    size = source.total_pages * source.page_size
    return {"kind": "ELF core", "file": source.origin, "abi": source.abi.name, "release": source.release,
            "crashtime": source.crashtime, "cpus_with_registers": len(source.cpus),
            "vmcoreinfo": source.vmcoreinfo is not None, "page_bytes": source.page_size, "pages": source.total_pages,
            "memory": show_size(size), "max_pfn": source.max_pfn,
            "ranges": [f"{run.start_pfn * source.page_size:#x}-{(run.start_pfn + run.npages) * source.page_size:#x}"
                       for run in source.runs]}
