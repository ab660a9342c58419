"""`ddsdk estimate`: how large a dump is, whole and filtered at each level."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from ..abi import ABIS, Abi, abi_named
from ..diskdump.header import LEADING_BLOCKS
from ..diskdump.plan import CrashFacts, DumpPlan, blocks_line
from ..sizes import show_size
from ..vmcore.dumpheader import bitmap_blocks
from ..vmcore.source import SYNTHETIC, MemorySource, open_source
from .arguments import json_option, parse_device
from .console import progress_bar, result, result_json, say

if TYPE_CHECKING:
    from ..vmcore.pageflags import Gap, Kind
    from ..vmcore.sample import Estimate

#: 64 TiB in 4 KiB pages, the most an x86_64 machine of these ABIs addresses (46 bits).
MAX_PAGES = 1 << 34
#: What people choose: everything; no zero pages; no free ones either; no cache; no user pages; none of them.
USEFUL_LEVELS = (0, 1, 17, 23, 27, 31)


@click.command("estimate")
@click.argument("memory")
@click.option("--abi", type=click.Choice([abi.name for abi in ABIS]), default=None,
              help="The crashed machine, where MEMORY does not say (raw images, page counts).")
@click.option("--dump-level", type=click.IntRange(0, 31), default=None, metavar="N",
              help="Look at one level only: 1 zero, 2 cache, 4 private cache, 8 user, 16 free pages are left out.")
@click.option("--levels/--no-levels", "with_levels", default=None,
              help="Look at the pages, all of them, and say what each level leaves out.  [default: of files]")
@click.option("--rate", type=click.FloatRange(min=0.1), default=100.0, show_default=True, metavar="MB/S",
              help="What the dump device or the disk under the vmcore writes; seconds are counted with it.")
@click.option("--swap", "swaps", multiple=True, metavar="DEVICE[,offset=O][,size=S]",
              help="A swap area that is to be saved, too: the most blocks that it takes.")
@json_option
def command(memory: str, abi: str | None, dump_level: int | None, with_levels: bool | None, rate: float,
            swaps: tuple[str, ...], as_json: bool) -> None:
    """Print the blocks a dump of MEMORY takes, and what each --dump-level and codec would leave of its pages.

    Sizes of compressed pages are those of a sample of each kind of page; seconds are of one processor that compresses,
    and of the device that takes what comes out.

    MEMORY: an ELF core, a raw RAM image, synthetic:SIZE, or pages:N for N contiguous pages.
    """
    machine = abi_named(abi) if abi else None
    if memory.startswith("pages:"):
        if with_levels or dump_level is not None:
            raise click.UsageError(f"{memory[:80]!r} has no pages to look at; levels need a memory")
        machine = machine or abi_named("x86_64")
        pages, page = parse_pages(memory), machine.page_size
        print_whole(page, 1, bitmap_blocks(pages, page), pages, swap_blocks(swaps, machine), {}, as_json)
        return
    with_levels = dump_level is not None or with_levels or (with_levels is None and not memory.startswith(SYNTHETIC))
    with open_source(memory, abi=machine) as source:
        plan = DumpPlan.of(source, CrashFacts(0, 0, 0, source.cpus))
        whole = (plan.page_size, plan.sub_hdr_blocks, plan.bitmap_blocks, plan.total_pages,
                 swap_blocks(swaps, source.abi))
        if not with_levels:
            print_whole(*whole, {}, as_json)
            return
        if not as_json:
            print_whole(*whole, {}, as_json)
        rows, gaps = level_rows(source, memory, dump_level, rate)
    if as_json:
        print_whole(*whole, {"levels": rows, "gaps": [{"what": gap.what, "consequence": gap.consequence}
                                                      for gap in gaps]}, as_json)
        return
    for gap in gaps:
        say(f"note: {memory}: {gap}")
    print_table(rows, dump_level)


def swap_blocks(swaps: Sequence[str], abi: Abi) -> int:
    """The most blocks that the areas on *swaps* take behind the memory of a machine like *abi*."""
    if not swaps:
        return 0
    from ..diskdump.swap_write import area_of
    from ..diskdump.swapheader import read_swap_header
    from ..diskdump.swappart import part_blocks

    areas = []
    for text in swaps:
        with parse_device(text).open() as file:
            areas.append(area_of(text, read_swap_header(file, abi)))
    return part_blocks(areas)


def print_whole(page: int, sub: int, bitmap: int, pages: int, swap: int, more: Mapping[str, object],
                as_json: bool) -> None:
    """The size of a dump of everything."""
    total = LEADING_BLOCKS + sub + bitmap + pages
    if as_json:
        result_json({"total_blocks": total, "header_blocks": LEADING_BLOCKS + sub, "bitmap_blocks": bitmap,
                     "memory_blocks": pages, "swap_blocks": swap, "block_bytes": page,
                     "total_bytes": (total + swap) * page, **more})
        return
    result(blocks_line(sub, bitmap, pages))
    if swap:
        result(f"swap areas: at most {swap} blocks behind them")
        total += swap
    result(f"partition of at least {total * page} bytes ({show_size(total * page)}), blocks of {page}")


def level_rows(source: MemorySource, name: str, level: int | None,
               rate: float) -> tuple[list[dict[str, Any]], tuple[Gap, ...]]:
    """(one row a level, what is not known); *level* None: of all 32."""
    from ..vmcore import sample
    from ..vmcore.classify import classify, classify_every_level
    from ..vmcore.pageflags import ALWAYS

    with progress_bar(f"look at the pages of {name}") as update:
        if level is not None:
            one = classify(source, level, update)
            costs = sample.sample_kept(source, one.kept)
            packed = {codec.value: sample.Estimate(round(one.kept_pages * cost.stored_bytes),
                                                   one.kept_pages * cost.compress_ns / 1e9)
                      for codec, cost in costs.items()}
            return [level_row(source.abi, level, one.counts, one.kept_pages, packed, rate)], one.gaps
        every = classify_every_level(source, update)
    by_kind = sample.sample_kinds(source, every.kinds, every.ram)
    return [level_row(source.abi, number, *every.counts(number),
                      {codec.value: sample.total(by_kind, every.histogram, number | ALWAYS.value, codec)
                       for codec in sample.CODECS}, rate) for number in range(32)], every.gaps


def level_row(abi: Abi, level: int, counts: Mapping[Kind, int], kept_pages: int, packed: Mapping[str, Estimate],
              rate: float) -> dict[str, Any]:
    """What a level leaves, the pages it leaves out by kind, and what codecs make of those that stay."""
    kept_bytes = kept_pages * abi.page_size
    return {"level": level, "kept_pages": kept_pages, "kept_bytes": kept_bytes,
            "left_out": {str(kind.name).lower(): pages for kind, pages in counts.items()},
            "write_seconds": round(kept_bytes / 1e6 / rate, 2),
            "compressed": {name: {"bytes": one.stored_bytes, "compress_seconds": round(one.compress_s, 2),
                                  "write_seconds": round(one.stored_bytes / 1e6 / rate, 2)}
                           for name, one in packed.items()}}


def print_table(rows: Sequence[dict[str, Any]], level: int | None) -> None:
    """The useful levels, or the one that was asked for."""
    result("level        pages           bytes  left out (pages)")
    for row in rows:
        if level is None and row["level"] not in USEFUL_LEVELS:
            continue
        gone = ", ".join(f"{kind.replace('_', ' ')} {pages}" for kind, pages in row["left_out"].items() if pages)
        result(f"{row['level']:>5} {row['kept_pages']:>12} {show_size(row['kept_bytes']):>15}  {gone or 'nothing'}")
    result(f"\nlevel  {'none':>20}" + "".join(f"  {name:>20}" for name in next(iter(rows))["compressed"]))
    for row in rows:
        if level is None and row["level"] not in USEFUL_LEVELS:
            continue
        cells = [cell(row["kept_bytes"], row["write_seconds"])]
        cells += [cell(one["bytes"], max(one["compress_seconds"], one["write_seconds"]))
                  for one in row["compressed"].values()]
        result(f"{row['level']:>5}  " + "  ".join(f"{text:>20}" for text in cells))


def cell(size: int, seconds: float) -> str:
    """A size and the seconds it takes."""
    return f"{show_size(size)} {seconds:.1f} s"


def parse_pages(text: str) -> int:
    """`pages:261898` -> 261898."""
    digits = text.removeprefix("pages:")
    pages = int(digits) if digits.isascii() and digits.isdecimal() and len(digits) <= 12 else 0
    if not 0 < pages <= MAX_PAGES:
        raise click.UsageError(f"{text[:80]!r}: it must be pages:N with N a number of page frames, 1 to {MAX_PAGES}")
    return pages
