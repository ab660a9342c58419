"""`ddsdk savecore`: from the partition to a vmcore."""

from __future__ import annotations

import os

import click

from ddsdk.diskdump.partition import DumpState
from ddsdk.diskdump.savecore import SaveOptions, SaveReport, save
from ddsdk.errors import VerdictError

from .arguments import device_argument, dump_level_option, json_option, parse_device
from .console import PhaseBars, result, result_json, say

DIRECTORY = "/var/crash"


@click.command("savecore")
@device_argument
@click.argument("directory", metavar="[DIR]", default=DIRECTORY)
@click.option("--keep", is_flag=True, help="Leave the dump on the device: no signatures are rewritten.")
@click.option("--format", "kind", type=click.Choice(["elf", "kdump", "lkcd"]), default="elf", show_default=True,
              help="Format of the vmcore.")
@dump_level_option
@click.option("--compress", type=click.Choice(["none", "zlib", "lzo", "snappy", "zstd"]), default=None,
              help="Of each page; zlib unless the format has none.")
@click.option("-j", "--jobs", type=click.IntRange(0, 256), default=1, show_default=True, metavar="N",
              help="Processes that compress; 0: one a CPU.  The vmcore is the same byte for byte.")
@json_option
def command(device: str, directory: str, keep: bool, kind: str, dump_level: int, compress: str | None, jobs: int,
            as_json: bool) -> int:
    """Save the dump on DEVICE as DIR/127.0.0.1-DATE/vmcore (DIR: /var/crash), then give DEVICE its signatures back.

    DATE is the time of the crash, UTC.  A dump that did not finish becomes vmcore-incomplete with the pages that are
    there (exit code 1).  The kernel's log is written first, as vmcore-dmesg.txt; last come swap areas that were dumped
    with the memory, as swap-1.img, swap-2.img, ...  When DIR has not enough room, DIR/scripts/diskdump-nospace may make
    some.
    """
    options = SaveOptions(kind, dump_level, compress, jobs or len(os.sched_getaffinity(0)))
    with PhaseBars(device) as bars:
        report = save(parse_device(device), directory, options, keep=keep, progress=bars.update)
    for warning in report.warnings:
        say(f"warning: {warning}")
    if as_json:
        result_json(report.describe())
    else:
        for line in describe(report, keep):
            result(line)
    if report.problem:
        say(f"error: {report.problem}")
    return 0 if report.whole else VerdictError.exit_code


def describe(report: SaveReport, keep: bool) -> list[str]:
    """The report in sentences."""
    if report.path is None:
        return [report.why]
    shape = f"ELF{report.elf_class}, {report.segments} segments" if report.format == "elf" else report.format
    lines = [f"{report.path}: {report.pages} of {report.total_pages} pages, {shape}, {report.file_bytes} bytes"]
    if report.state is not DumpState.COMPLETE:
        lines.append(report.why)
        if report.uncertain_pages:
            lines.append(f"up to {report.uncertain_pages} more pages may be on the device; its sparse format cannot"
                         " tell")
    lines += [str(area) for area in report.swap]
    if report.resigned_blocks is not None:
        lines.append(f"{report.resigned_blocks} blocks signed again; the device is ready for the next dump")
    elif keep:
        lines.append("the dump stays on the device; it takes no other until it is formatted")
    return lines
