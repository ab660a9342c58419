"""Partition images made without the dump engine: formatted files, and dumps written into them by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ddsdk.abi import X86_64, Abi
from ddsdk.diskdump.format import format_device
from ddsdk.diskdump.header import Status
from ddsdk.diskdump.notes import with_record
from ddsdk.diskdump.plan import CrashFacts, DumpPlan
from ddsdk.diskdump.signature import SignatureKind
from ddsdk.diskdump.target import DumpTarget
from ddsdk.vmcore.source import MemorySource

#: 2004-11-09 11:33:20 UTC
CRASH_SECONDS = 1_100_000_000
DIRECTORY_NAME = "127.0.0.1-2004-11-09-11:33:20"


def formatted(path: Path, blocks: int, *, abi: Abi = X86_64, kind: SignatureKind = SignatureKind.DESIGN,
              stride: int = 1) -> DumpTarget:
    """A new file of *blocks* blocks, formatted."""
    path.write_bytes(b"")
    with path.open("r+b") as file:
        file.truncate(blocks * abi.page_size)
    target = DumpTarget(str(path))
    format_device(target, abi=abi, kind=kind, stride=stride)
    return target


def write_dump(target: DumpTarget, source: MemorySource, *, status: Status = Status.COMPLETED,
               chunk_blocks: int = 16, wanted: Callable[[int], bool] = lambda chunk: True,
               header_only: bool = False) -> DumpPlan:
    """What the engine writes: header, sub header, bitmap, the chunks whose number is *wanted*, the final header."""
    plan = DumpPlan.of(source, CrashFacts(CRASH_SECONDS, 5, source.cpus[0].cpu if source.cpus else 0, source.cpus,
                                          (0x100, 0x200)))
    page = plan.page_size
    with target.open(write=True) as file:
        blocks = file.blocks(page)
        if header_only:
            file.write(page, plan.header_block(Status.INCOMPLETED, 2, blocks))
            return plan
        sub = with_record(plan.sub_header, plan.abi, file.read(2 * page, page))
        file.write(page, plan.header_block(Status.INCOMPLETED, plan.data_start, blocks))
        file.write(2 * page, sub)
        at = 2 + plan.sub_hdr_blocks
        for piece in plan.bitmap_pieces(4):
            file.write(at * page, piece)
            at += len(piece) // page
        for number, (block, segments) in enumerate(plan.chunks(chunk_blocks)):
            if wanted(number):
                file.write(block * page, b"".join(bytes(view) for paddr, size in segments
                                                  for view in source.views(paddr, size)))
        if status is Status.COMPLETED:
            file.write(page, plan.header_block(status, plan.total_blocks, blocks))
    return plan


def pages_of(source: MemorySource) -> dict[int, bytes]:
    """pfn -> page."""
    page = source.page_size
    return {pfn: bytes(source.view(pfn * page, page))
            for run in source.runs for pfn in range(run.start_pfn, run.start_pfn + run.npages)}
