"""`ddsdk format`: write signatures over a dump partition."""

from __future__ import annotations

import click

from ..abi import ABIS, abi_named
from ..diskdump.format import format_device
from ..diskdump.signature import SignatureKind
from .arguments import device_argument, json_option, parse_device, signature_option
from .console import progress_bar, result, result_json, say


@click.command("format")
@device_argument
@click.option("--stride", type=int, default=1, show_default=True, metavar="N",
              help="Sign every Nth block only: faster, and the end of an interrupted dump is found less exactly.")
@click.option("--force", is_flag=True, help="Overwrite what the device holds.")
@signature_option
@click.option("--abi", type=click.Choice([abi.name for abi in ABIS]), default="x86_64", show_default=True,
              help="The machine that will dump: its page size and byte order.")
@json_option
def command(device: str, stride: int, force: bool, signature: str, abi: str, as_json: bool) -> None:
    """Write signatures over the dump partition DEVICE.

    Refuses a device that is mounted or in use, and one that holds a file system, swap, LVM, LUKS, RAID, a partition
    table or an unsaved dump unless --force is given.
    """
    with progress_bar(f"format {device}") as update:
        report = format_device(parse_device(device), abi=abi_named(abi), kind=SignatureKind(signature), stride=stride,
                               force=force, progress=update)
    for what in report.overridden:
        say(f"{device}: overwritten by --force: {what}")
    if as_json:
        result_json({"device": str(report.target), "signature": report.kind.value, "abi": report.abi.name,
                     "blocks": report.blocks, "block_bytes": report.abi.page_size,
                     "signed_blocks": report.signed_blocks, "stride": report.stride,
                     "overridden": list(report.overridden)})
        return
    result(str(report))
