"""Runs of pages cut so that the kernel piece stands alone with its address."""

from __future__ import annotations

import struct

from attrs import evolve

from ddsdk.diskdump.notes import build_sub_header, parse_sub_header
from ddsdk.diskdump.partition import PageRun, PartitionDump, read_partition
from ddsdk.diskdump.segments import core_layout, cut_at_kernel
from ddsdk.diskdump.target import DumpTarget
from tests.cli.conftest import Ddsdk, ddsdk, image  # noqa: F401 - fixtures
from tests.vmcore.test_kernelmap import INFO


def with_info(dump: PartitionDump, pages: tuple[PageRun, ...], info: bytes) -> PartitionDump:
    """*dump* with other pages and another VMCOREINFO."""
    abi = dump.dump.abi
    sub = parse_sub_header(abi, build_sub_header(abi, dump.sub.cpus if dump.sub else (), info))
    return evolve(dump, pages=pages, sub=sub)


def test_the_run_around_the_kernel_is_cut_in_three(ddsdk: Ddsdk, image: object) -> None:  # noqa: F811
    """Below, piece, above: same blocks, same pages; only the piece has a p_vaddr."""
    assert ddsdk("format", image).code == 0
    assert ddsdk("dump", "synthetic:1M", "--to", f"mptfusion:{image}").code == 0
    dump = read_partition(DumpTarget(str(image)))
    first, size = 0x1480_0000 >> 12, 0x1A1_1000 >> 12
    cut = cut_at_kernel(with_info(dump, (PageRun(10, 1, 5), PageRun(100, first - 7, size + 20)), INFO))
    assert cut.pages == (PageRun(10, 1, 5), PageRun(100, first - 7, 7), PageRun(107, first, size),
                         PageRun(107 + size, first + size, 13))
    header = core_layout(cut).header
    loads = [struct.unpack_from("<QQ", header, 64 + 56 * number + 16) for number in range(1, 5)]
    assert loads == [(0, 0x1000), (0, (first - 7) << 12), (0xFFFF_FFFF_9C20_0000, first << 12),
                     (0, (first + size) << 12)]


def test_a_kernel_that_is_not_all_there_is_not_cut(ddsdk: Ddsdk, image: object) -> None:  # noqa: F811
    """An incomplete dump that lacks part of the piece claims no address."""
    ddsdk("format", image)
    ddsdk("dump", "synthetic:1M", "--to", f"mptfusion:{image}")
    dump = read_partition(DumpTarget(str(image)))
    pages = (PageRun(10, 0x1480_0000 >> 12, 100),)
    assert cut_at_kernel(with_info(dump, pages, INFO)).pages == pages
