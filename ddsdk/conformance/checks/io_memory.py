"""IO, second part: memory of every kind - above 4 GiB, around it, in small pieces - and what the adapter may touch."""

from __future__ import annotations

from typing import Final

from ddsdk.errors import DmaFault

from .. import routes
from ..bench import DATA, HIGH, PAGE, Bench
from ..check import Level, Need, Setup, check
from ..transfers import cut, differs, get, put, scattered, there_and_back
from ..world import EDGE

_HIGH: Final = Setup(high_memory=True)
#: How many fit a request, with addresses as wide as they can be, is for REG-5 to say.
_SEGMENTS_MAX: Final = 8


@check("IO-5", hook="queuecommand", source="field.md 2, row 16: very large machines, 64-bit PFN everywhere",
       needs=(Need.HIGH_MEMORY,), setup=_HIGH, cases=lambda plan: ("one", "many", "mixed"), fix="""
       Above 4 GiB the element's high half counts:

           sge->address_low = addr & 0xFFFFFFFF;
           sge->address_high = addr >> 32;

       A chip that has none of it must not call pci_set_dma_mask(pdev, DMA_64BIT_MASK).
       """)
def pages_above_4_gib(bench: Bench, case: str) -> None:
    """A driver that sets a DMA mask above 32 bits moves pages above 4 GiB, alone and in a list with pages below."""
    bench.take_over()
    pages = min(bench.max_segments, bench.max_bytes // PAGE, _SEGMENTS_MAX)
    if case == "one":
        there_and_back(bench, 8, [(HIGH, PAGE)])
    elif case == "many":
        there_and_back(bench, 8, scattered(bench, pages, start=HIGH))
    else:
        low = scattered(bench, (pages + 1) // 2)
        high = [(paddr - DATA + HIGH, length) for paddr, length in low]
        mixed = [one for pair in zip(low, high, strict=True) for one in pair][:pages]
        there_and_back(bench, 8, mixed, list(reversed(mixed)))


@check("IO-6", hook="queuecommand", source="2.6.9 ll_rw_blk.c: a queue's dma_alignment is 511 by default: segments"
       " are whole 512-byte sectors, and need not be pages", needs=(Need.SCATTER,), fix="""
       A segment need not be a page: take sg_dma_len() of each, and round nothing.
       """)
def segments_that_are_no_pages(bench: Bench) -> None:
    """Segments of one to seven sectors, not adjacent and not at page boundaries, are moved bit for bit."""
    bench.take_over()
    unit = max(512, bench.setup.sector_size)
    nbytes = min(64 * unit, bench.max_bytes)
    out = cut(bench, nbytes, unit, DATA + unit, 3 * unit)
    there_and_back(bench, 8, out, cut(bench, nbytes, unit, DATA + (2 << 20), unit))
    there_and_back(bench, 8, [(DATA + 3 * unit, unit), (DATA + 7 * unit, 2 * unit)])


@check("IO-10", hook="queuecommand", source="field.md 4.3, invariant (vi): vmcore equals memory at freeze, page by"
       " page", setup=_HIGH, fix="""
       Map what is written with DMA_TO_DEVICE and copy nothing back when it ends: the page being saved is not yours.
       """)
def a_write_does_not_change_what_it_saves(bench: Bench) -> None:
    """Writing memory to the disk changes none of it: neither the pages written nor any other."""
    bench.take_over()
    regions = [(0, bench.setup.ram_bytes)]
    if not bench.lacks(Need.HIGH_MEMORY):
        regions.append((HIGH, bench.setup.ram_bytes))
    before = bench.plan.random("IO-10").randbytes(sum(length for _, length in regions))
    put(bench, regions, before)
    count = min(bench.max_segments, bench.max_bytes // PAGE, _SEGMENTS_MAX)
    for n, sg in enumerate(([(DATA, PAGE)], [(DATA, min(64 * PAGE, bench.max_bytes))], scattered(bench, count),
                            *([scattered(bench, count, start=HIGH)] if len(regions) > 1 else []))):
        error = bench.finish(bench.command(True, 64 * n, sg))
        bench.expect(not error, f"a write of {len(sg)} segments failed: {error}")
        after = get(bench, regions)
        bench.expect(after == before, f"a write of {len(sg)} segments changed memory: {differs(after, before)}")


@check("IO-12", hook="all", source="field.md 4.4: 0 stray writes; include/linux/dma-mapping.h: the device reaches"
       " what is mapped, in that direction", setup=routes.TRAVELLER, faults=(DmaFault,), cases=routes.every_route,
       fix="""
       pci_map_sg() before the adapter sees an address, with the command's own direction; pci_unmap_sg() with what it
       returned, once, after the adapter is done - or after a reset made sure that it is.
       """)
def the_adapter_touches_only_what_is_mapped(bench: Bench, route: str) -> None:
    """The adapter reaches only memory that was mapped for it, in the right direction, and each map has one unmap."""
    routes.travel(bench, route)


@check("IO-17", hook="queuecommand", source="field.md 2, row 16: very large machines; 2.6.9 scsi_host.h: dma_boundary,"
       " no segment crosses 4 GiB", needs=(Need.MODEL, Need.HIGH_MEMORY), setup=Setup(edge_memory=True), fix="""
       A segment that ends at 4 GiB is a 32-bit one: compare its last byte, addr + len - 1, with 0xFFFFFFFF.
       """)
def segments_at_4_gib(bench: Bench) -> None:
    """A segment that ends exactly at 4 GiB and one that begins there are moved bit for bit, alone and in one list."""
    bench.take_over()
    below, above = (EDGE - PAGE, PAGE), (EDGE, PAGE)
    there_and_back(bench, 8, [below])
    there_and_back(bench, 16, [above])
    there_and_back(bench, 24, [(EDGE - 16 * PAGE, min(16 * PAGE, bench.max_bytes))])
    if bench.max_segments > 1:
        there_and_back(bench, 32, [above, below])


@check("IO-18", hook="queuecommand", level=Level.IF_OFFERED, source="2.6.9 blkdev.h: blk_queue_dma_alignment() in"
       " slave_configure()", needs=(Need.ODD_SEGMENTS, Need.SCATTER), fix="""
       Offer no more than the chip does: dma_alignment=3 when its elements take dwords only, 511 (or nothing) when it
       wants whole sectors.
       """)
def odd_segments_where_offered(bench: Bench) -> None:
    """A driver whose dma_alignment allows it moves segments of odd lengths at odd addresses, bit for bit."""
    bench.take_over()
    unit = int(bench.template.dma_alignment) + 1
    nbytes = min(8 * bench.setup.sector_size, bench.max_bytes)
    out = cut(bench, nbytes, 37 * unit, DATA + unit, unit)
    there_and_back(bench, 8, out, cut(bench, nbytes, 53 * unit, DATA + (1 << 20) + unit, 3 * unit))
