"""`ddsdk log`: the kernel's own log out of a vmcore."""

from __future__ import annotations

import click

from ..abi import ABIS, abi_named
from ..errors import FormatError, UsageError
from ..vmcore.klog import kernel_log, log_lines
from ..vmcore.source import open_pages
from .arguments import json_option
from .console import result, result_json, say


@click.command("log")
@click.argument("vmcore")
@click.option("--levels", is_flag=True, help="Show each record's level, <0> (emergency) to <7> (debug).")
@click.option("--callers", is_flag=True, help="Show the thread (T) or CPU (C) that wrote each record.")
@click.option("--abi", type=click.Choice([abi.name for abi in ABIS]), default=None,
              help="The crashed machine, where VMCORE does not say.")
@json_option
def command(vmcore: str, levels: bool, callers: bool, abi: str | None, as_json: bool) -> None:
    """Print the log of the kernel whose memory is in VMCORE; no debug information is needed."""
    with open_pages(vmcore, abi=abi_named(abi) if abi else None) as source:
        try:
            log = kernel_log(source)
        except (FormatError, UsageError) as error:      # UsageError: a page of it was left out of the dump
            raise FormatError(f"{vmcore}: {error}") from None
    if not log.records and log.warnings:
        raise FormatError(f"{vmcore}: {log.warnings[0]}")
    for warning in log.warnings:
        say(f"warning: {vmcore}: {warning}")
    if log.skipped:
        say(f"warning: {vmcore}: {log.skipped} records were being written or are damaged, and are left out")
    if as_json:
        result_json({"generation": log.generation, "skipped": log.skipped, "warnings": list(log.warnings),
                     "records": [{"seconds": None if record.ts_nsec is None else record.ts_nsec / 1e9,
                                  "level": record.level, "caller": record.caller_id,
                                  "text": record.text.decode("utf-8", "backslashreplace")} for record in log.records]})
        return
    result("\n".join(log_lines(log, levels=levels, callers=callers)))
