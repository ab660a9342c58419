"""`ddsdk check`: does a partition carry its signatures?"""

from __future__ import annotations

import click

from ddsdk.abi import ABIS, abi_named
from ddsdk.diskdump.check import check_device
from ddsdk.errors import VerdictError

from .arguments import block_order_option, device_argument, json_option, parse_device
from .console import progress_bar, result, result_json


@click.command("check")
@device_argument
@click.option("--sample-rate", type=click.IntRange(-1, 31), default=0, show_default=True, metavar="N",
              help="0 reads every block; N one chunk of every 2**N, as a dump would before writing.")
@block_order_option
@click.option("--abi", type=click.Choice([abi.name for abi in ABIS]), default=None,
              help="The machine that formatted it.  [default: recognised]")
@json_option
def command(device: str, sample_rate: int, block_order: int, abi: str | None, as_json: bool) -> int:
    """Say whether a dump can go to DEVICE; reads only.  Exit code 0: yes, 1: no, with the reason.

    --json has the verdict block by block, and the exit code `diskdumpfmt -c` would have given.
    """
    with progress_bar(f"check {device}") as update:
        report = check_device(parse_device(device), sample_rate=sample_rate, block_order=block_order,
                              abi=abi_named(abi) if abi else None, per_block=as_json, progress=update)
    if as_json:
        result_json(report.describe())
    else:
        result(report.why)
    return 0 if report.ready else VerdictError.exit_code
