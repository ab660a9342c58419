"""From the pages of a partition to the segments of a vmcore."""

from __future__ import annotations

from attrs import evolve

from ddsdk.vmcore.elf import CoreLayout, CoreSegment, layout_core
from ddsdk.vmcore.kernelmap import KernelPiece, kernel_piece

from .partition import DumpState, PageRun, PartitionDump


def core_layout(dump: PartitionDump) -> CoreLayout:
    """The vmcore of *dump*: one PT_LOAD a run of pages.

    The run that is the kernel piece (cut_at_kernel) has its virtual address, the others have none: a wrong one makes
    makedumpfile fail, and the true ones are in the page tables.
    """
    page = dump.dump.abi.page_size
    piece = _piece(dump)
    segments = [CoreSegment(run.pfn * page, run.npages * page,
                            piece.vaddr if piece is not None and run.pfn * page == piece.paddr else 0)
                for run in dump.pages]
    notes = dump.sub.notes(dump.dump.abi) if dump.sub is not None else b""
    return layout_core(dump.dump.abi, segments, notes, incomplete=dump.state is not DumpState.COMPLETE)


def cut_at_kernel(dump: PartitionDump) -> PartitionDump:
    """*dump* with the kernel piece, when one run holds all of it, as a run of its own."""
    piece, page = _piece(dump), dump.dump.abi.page_size
    if piece is None:
        return dump
    edges = (piece.paddr // page, (piece.paddr + piece.size) // page)
    pages: list[PageRun] = []
    for run in dump.pages:
        at, end = run.pfn, run.pfn + run.npages
        for edge in (*(edge for edge in edges if at < edge < end), end):
            pages.append(PageRun(run.block + at - run.pfn, at, edge - at))
            at = edge
    return evolve(dump, pages=tuple(pages))


def _piece(dump: PartitionDump) -> KernelPiece | None:
    piece = kernel_piece(dump.dump.abi, dump.sub.vmcoreinfo if dump.sub is not None else None)
    page = dump.dump.abi.page_size
    if piece is None:
        return None
    first, last = piece.paddr // page, (piece.paddr + piece.size) // page
    whole = any(run.pfn <= first and last <= run.pfn + run.npages for run in dump.pages)
    return piece if whole else None
