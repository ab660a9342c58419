"""`ddsdk convert`: one dump file into another."""

from __future__ import annotations

import os
import sys

import click

from ..abi import ABIS, READ_ONLY_ABIS, abi_named
from ..errors import FormatError, UsageError, VerdictError
from ..sizes import show_size
from ..vmcore.codecs import Codec
from ..vmcore.convert import Conversion, ConversionReport, Format, convert, convert_split, packing
from ..vmcore.output import FileOutput, FlattenedOutput
from ..vmcore.source import SPLIT, open_pages
from .arguments import json_option, parse_device
from .console import PhaseBars, result, result_json, say

STDOUT = "-"
MAX_JOBS = 256
MAX_FILES = 64


@click.command("convert")
@click.argument("sources", metavar="SRC...", nargs=-1)
@click.argument("target", metavar="DST", required=False)
@click.option("--to", "kind", type=click.Choice([kind.value for kind in Format]), default=Format.KDUMP.value,
              show_default=True, help="Format of DST.")
@click.option("--dump-level", type=click.IntRange(0, 31), default=0, show_default=True, metavar="N",
              help="Leave pages out: the sum of 1 (zero), 2 (cache), 4 (private cache), 8 (user), 16 (free).")
@click.option("--compress", type=click.Choice([codec.value for codec in Codec]), default=None,
              help="Of each page; zlib unless the format has none.")
@click.option("-j", "--jobs", type=click.IntRange(0, MAX_JOBS), default=1, show_default=True, metavar="N",
              help="Processes that compress; 0: one a CPU.  DST is the same byte for byte.")
@click.option("--split", "files", type=click.IntRange(2, MAX_FILES), default=None, metavar="N",
              help="N files, DST.1 to DST.N, of a kdump set.")
@click.option("--flatten", is_flag=True, help="makedumpfile's flattened format, as on a pipe (DST -).")
@click.option("--skip-damaged", is_flag=True, help="Of a compressed dump file that is cut short take what is there.")
@click.option("--force", is_flag=True, help="Replace DST.")
@click.option("--swap-to", metavar="DIR",
              help="Instead of DST: the swap areas of the dump partition SRC, as DIR/swap-1.img, ...")
@click.option("--abi", type=click.Choice([abi.name for abi in (*ABIS, *READ_ONLY_ABIS)]), default=None,
              help="The machine of a raw RAM image.")
@json_option
def command(sources: tuple[str, ...], target: str | None, kind: str, dump_level: int, compress: str | None, jobs: int,
            files: int | None, flatten: bool, skip_damaged: bool, force: bool, swap_to: str | None, abi: str | None,
            as_json: bool) -> int:
    """Write the memory in SRC as another dump file DST.

    SRC: an ELF core, a compressed or LKCD dump file, each flattened or not; a raw RAM image with --abi; - for standard
    input; several files of a split dump.  DST - is standard output, flattened.  DST appears when it is whole.
    """
    if swap_to is not None:
        if sources or target is None:
            raise UsageError("--swap-to takes one dump partition and no DST")
        return save_swap(target, swap_to, as_json)
    if not sources or target is None:
        raise click.UsageError("Missing argument 'SRC...' or 'DST'.")
    spec = sources[0] if len(sources) == 1 else SPLIT + ",".join(sources)
    to_stdout = target == STDOUT
    if to_stdout and (as_json or files):
        raise UsageError("DST -: standard output has the dump; --json and --split need a file")
    count = jobs or len(os.sched_getaffinity(0))
    # workers open SRC again, as it is
    conversion = Conversion.of(Format(kind), Codec(compress) if compress else None, dump_level,
                               1 if spec == STDOUT or skip_damaged else count, spec)
    machine = abi_named(abi) if abi else None
    with open_pages(spec, abi=machine, rescue=skip_damaged) as source, packing(source, conversion) as packer:
        with PhaseBars(target) as bars:
            if files:
                paths = [f"{target}.{number}" for number in range(1, files + 1)]
                reports = convert_split(source, paths, conversion, packer, force=force, report=bars.update)
            elif to_stdout:
                with FlattenedOutput(sys.stdout.fileno()) as stream:
                    reports = [convert(source, stream, conversion, packer, bars.update)]
            else:
                with FileOutput(target, force) as file:
                    if flatten:
                        with FlattenedOutput(file.fd, target) as stream:
                            reports = [convert(source, stream, conversion, packer, bars.update)]
                    else:
                        reports = [convert(source, file, conversion, packer, bars.update)]
        incomplete = source.incomplete
    for gap in reports[0].gaps:
        say(f"warning: {gap}")
    names = [f"{target}.{number}" for number in range(1, files + 1)] if files else [target]
    if as_json:
        result_json({"files": [_facts(name, report) for name, report in zip(names, reports, strict=True)],
                     "format": kind, "compress": conversion.codec.value, "dump_level": dump_level,
                     "incomplete": incomplete})
    elif not to_stdout:
        for name, report in zip(names, reports, strict=True):
            result(f"{name}: {report.pages} of {report.total_pages} pages, {show_size(report.file_bytes)}")
    if incomplete:
        say(f"warning: {spec} is not whole, and neither is {target}")
    return VerdictError.exit_code if incomplete else 0


def save_swap(device: str, directory: str, as_json: bool) -> int:
    """The swap areas of the dump on the partition *device* into *directory*; the exit code."""
    from ..diskdump.crashdir import CrashDirectory
    from ..diskdump.partition import read_open_partition
    from ..diskdump.swap_save import save_areas

    with PhaseBars(device) as bars, parse_device(device).open() as file:
        dump = read_open_partition(file, lambda done, total: bars.update("scan", done, total))
        if dump.swap is None:
            raise FormatError(f"{device}: no swap area was dumped with the memory" if dump.facts else dump.why)
        if dump.swap.damage:
            raise FormatError(dump.swap.damage)
        with CrashDirectory.open(directory) as parent:
            areas = save_areas(parent.itself(), file, dump, bars.update)
    if as_json:
        result_json({"swap": [area.describe() for area in areas]})
    else:
        for area in areas:
            result(str(area))
    return VerdictError.exit_code if any(area.missing_pages for area in areas) else 0


def _facts(name: str, report: ConversionReport) -> dict[str, object]:
    return {"file": name, "pages": report.pages, "total_pages": report.total_pages, "file_bytes": report.file_bytes}
