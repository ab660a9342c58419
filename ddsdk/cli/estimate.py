"""`ddsdk estimate`: how large a dump partition must be."""

from __future__ import annotations

import click

from ddsdk.vmcore.dumpheader import bitmap_blocks

from ..abi import ABIS, abi_named
from ..diskdump.header import LEADING_BLOCKS
from ..diskdump.plan import CrashFacts, DumpPlan, blocks_line
from ..sizes import show_size
from ..vmcore.source import open_source
from .arguments import json_option
from .console import result, result_json

#: 64 TiB in 4 KiB pages, the most an x86_64 machine of these ABIs addresses (46 bits).
MAX_PAGES = 1 << 34


@click.command("estimate")
@click.argument("memory")
@click.option("--abi", type=click.Choice([abi.name for abi in ABIS]), default=None,
              help="The crashed machine, where MEMORY does not say (raw images, page counts).")
@json_option
def command(memory: str, abi: str | None, as_json: bool) -> None:
    """Print the blocks a dump of MEMORY takes.

    MEMORY: an ELF core, a raw RAM image, synthetic:SIZE, or pages:N for N contiguous pages.
    """
    machine = abi_named(abi) if abi else None
    if memory.startswith("pages:"):
        pages, page = parse_pages(memory), (machine or abi_named("x86_64")).page_size
        sub, bitmap = 1, bitmap_blocks(pages, page)
    else:
        with open_source(memory, abi=machine) as source:
            plan = DumpPlan.of(source, CrashFacts(0, 0, 0, source.cpus))
        pages, page, sub, bitmap = plan.total_pages, plan.page_size, plan.sub_hdr_blocks, plan.bitmap_blocks
    total = LEADING_BLOCKS + sub + bitmap + pages
    if as_json:
        result_json({"total_blocks": total, "header_blocks": LEADING_BLOCKS + sub, "bitmap_blocks": bitmap,
                     "memory_blocks": pages, "block_bytes": page, "total_bytes": total * page})
        return
    result(blocks_line(sub, bitmap, pages))
    result(f"partition of at least {total * page} bytes ({show_size(total * page)}), blocks of {page}")


def parse_pages(text: str) -> int:
    """`pages:261898` -> 261898."""
    digits = text.removeprefix("pages:")
    pages = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 12 else 0
    if not 0 < pages <= MAX_PAGES:
        raise click.UsageError(f"{text[:80]!r}: it must be pages:N with N a number of page frames, 1 to {MAX_PAGES}")
    return pages
