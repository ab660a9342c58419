"""Page tables walked: 4 and 5 levels, large pages, SME, i386 with and without PAE, linear maps, and rubbish."""

from __future__ import annotations

import mmap
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ddsdk.abi import I386, PPC64, X86_64
from ddsdk.errors import FormatError
from ddsdk.vmcore.image import MemoryExtent, MemorySource
from ddsdk.vmcore.pagetable import LONG_MODE, NOWHERE, PageTable, kernel_space, read
from ddsdk.vmcore.vmcoreinfo import build
from tests.vmcore.kernel import DIRECT, LARGE, PHYS_BASE, VMEMMAP, Kernel, P

GIGANTIC = 1 << 30


def translated(kernel: Kernel, *vaddrs: int) -> list[int | None]:
    """Where the kernel's tables lead."""
    found = kernel_space(kernel.source()).translate(np.array(vaddrs, np.uint64)).tolist()
    return [None if paddr == int(NOWHERE) else paddr for paddr in found]


@pytest.mark.parametrize(("levels", "sme"), [(4, 0), (5, 0), (4, 1 << 47), (5, 1 << 51)])
def test_pages_of_every_size(levels: int, sme: int) -> None:
    """4 KiB, 2 MiB and 1 GiB; offsets in them; nothing where nothing is mapped."""
    kernel = Kernel(levels=levels, sme=sme)
    base = 0xFF11_0000_0000_0000 if levels == 5 else 0xFFFF_8900_0000_0000
    kernel.map(base, 0x5000)
    kernel.map(base + LARGE, 3 * LARGE, LARGE)
    kernel.map(base + GIGANTIC, 7 * GIGANTIC, GIGANTIC)
    asked = base + 0x123, base + P, base + LARGE + 0x54321, base + GIGANTIC + 0x1234_5678, base + 2 * GIGANTIC, 0
    assert translated(kernel, *asked) == [0x5123, None, 3 * LARGE + 0x54321, 7 * GIGANTIC + 0x1234_5678, None, None]


def test_pieces_put_neighbours_together() -> None:
    """Pages that lie one after the other are one piece, whatever table they are in; so are holes."""
    kernel = Kernel()
    space = kernel_space(kernel.source())
    kernel.map(VMEMMAP + 510 * GIGANTIC - 2 * P, 0x10000)
    kernel.map(VMEMMAP + 510 * GIGANTIC - P, 0x11000)
    kernel.map(VMEMMAP + 510 * GIGANTIC, 0x12000)
    kernel.map(VMEMMAP + 510 * GIGANTIC + P, 0x20000)
    kernel.map(VMEMMAP + 510 * GIGANTIC + 4 * P, 0)
    at = VMEMMAP + 510 * GIGANTIC - 2 * P
    assert list(space.pieces(at + 8, 7 * P)) == [
        (0x10008, 3 * P - 8), (0x20000, P), (None, 2 * P), (0, P), (None, 8)]
    assert list(space.pieces(at, 3 * P)) == [(0x10000, 3 * P)]
    assert list(space.pieces(at + 100, 20)) == [(0x10000 + 100, 20)]
    assert list(space.pieces(DIRECT + LARGE - 16, 32)) == [(LARGE - 16, 32)]
    assert not list(space.pieces(at, 0))


def test_arrays_and_pieces_agree() -> None:
    """Two ways through the same tables."""
    kernel = Kernel(model="scattered")
    space = kernel_space(kernel.source())
    vaddrs = VMEMMAP + np.arange(0, kernel.frames * 64, 4096, dtype=np.uint64) + np.uint64(24)
    one_by_one = [next(space.pieces(vaddr, 1))[0] for vaddr in vaddrs.tolist()]
    assert space.translate(vaddrs).tolist() == one_by_one


def test_memory_is_read_across_pages_and_not_at_all_when_a_part_is_missing() -> None:
    """No byte is made up."""
    kernel = Kernel()
    kernel.map(VMEMMAP + 510 * GIGANTIC, 0x3000)
    kernel.map(VMEMMAP + 510 * GIGANTIC + P, 0x1000)
    kernel.write(0x3FFC, b"abcd")
    kernel.write(0x1000, b"efgh")
    memory = kernel.source()
    space = kernel_space(memory)
    at = VMEMMAP + 510 * GIGANTIC + P - 4
    assert read(memory, space, at, 8) == b"abcdefgh"
    assert read(memory, space, at, P + 5) is None
    assert read(memory, space, at, 1 << 40) is None
    assert read(memory, space, -5, 8) is None
    assert read(memory, space, (1 << 64) - 4, 8) is None


@pytest.mark.parametrize("bend", [
    {"NUMBER(phys_base)": 0x2000}, {"NUMBER(phys_base)": "x"}, {"SYMBOL(swapper_pg_dir)": "ffffffff80003000"},
    {"SYMBOL(swapper_pg_dir)": "0"}, {"SYMBOL(swapper_pg_dir)": "f" * 30}, {"NUMBER(pgtable_l5_enabled)": 1}])
def test_a_root_that_is_none_is_found_out(bend: dict[str, object]) -> None:
    """The kernel maps its own table where the table is; anything else is no root."""
    kernel = Kernel()
    kernel.info |= bend
    with pytest.raises(FormatError, match="page tables are not where VMCOREINFO says"):
        kernel_space(kernel.source())


def test_kaslr_is_in_the_symbols_already() -> None:
    """KERNELOFFSET is for those who start from an unrelocated vmlinux; init_top_pgt goes before swapper_pg_dir."""
    kernel = Kernel()
    kernel.info |= {"KERNELOFFSET": "d200000", "SYMBOL(init_top_pgt)": kernel.info["SYMBOL(swapper_pg_dir)"],
                    "SYMBOL(swapper_pg_dir)": "ffffffff80003000"}
    assert translated(kernel, DIRECT + 5) == [5]


def test_kernels_until_4_9_export_the_address_of_phys_base() -> None:
    """It is found by trying, and believed when the table maps itself and the variable says the same."""
    kernel = Kernel()
    variable = kernel.take(8)
    kernel.word(variable, PHYS_BASE)
    del kernel.info["NUMBER(phys_base)"]
    kernel.info["SYMBOL(phys_base)"] = f"{kernel.image(variable):x}"
    assert translated(kernel, DIRECT + 5) == [5]
    kernel.word(variable, PHYS_BASE + 4096)
    with pytest.raises(FormatError, match="page tables are not where"):
        kernel_space(kernel.source())


def test_a_table_that_points_to_itself_ends() -> None:
    """Every level leads to the same table: after four steps there is a page, or nothing."""
    kernel = Kernel()
    memory = kernel.source()
    for entry in range(512):
        kernel.word(0x4000 + entry * 8, 0x4000 | 0x63)
    table = PageTable(memory, LONG_MODE, 0x4000)
    assert table.translate(np.array([0x1234_5678_9ABC], np.uint64)).tolist() == [0x4ABC]
    assert sum(size for _, size in table.pieces(0, 4 * LARGE)) == 4 * LARGE


@given(entries=st.lists(st.integers(0, (1 << 64) - 1), min_size=1, max_size=30), vaddr=st.integers(0, (1 << 64) - 1),
       length=st.integers(0, 1 << 22))
def test_rubbish_tables_give_nothing_or_something_and_end(entries: list[int], vaddr: int, length: int) -> None:
    """Whatever the entries are: no exception, the whole range is accounted for."""
    page = struct.pack(f"<{len(entries)}Q", *entries) * (512 // len(entries) + 1)
    memory = MemorySource(X86_64,
                          (MemoryExtent(0, 16 * P, memoryview((page[:4096] * 16)[:16 * P])),), (), None, "rubbish")
    table = PageTable(memory, LONG_MODE, 0)
    assert sum(size for _, size in table.pieces(vaddr, length)) == length
    assert len(table.translate(np.array([vaddr, vaddr ^ 0xFFF000], np.uint64))) == 2


def i386(pae: bool, split: int) -> MemorySource:
    """An i386 kernel's tables at 0x1000, the first 8 MiB mapped at *split*, 0xfff00000 by a small page."""
    ram = mmap.mmap(-1, 16 << 20)

    def put(at: int, value: int, size: int = 8 if pae else 4) -> None:
        ram[at:at + size] = value.to_bytes(size, "little")

    if pae:
        put(0x1000 + 8 * (split >> 30), 0x2001)
        for number in range(4):
            put(0x2000 + 8 * ((split >> 21 & 511) + number), number * LARGE | 0x83)
        put(0x1000 + 8 * 3, 0x2001 if split >> 30 == 3 else 0x3001)
        put((0x2000 if split >> 30 == 3 else 0x3000) + 8 * 511, 0x4003)
        put(0x4000 + 8 * 256, 0x70003)
    else:
        for number in range(2):
            put(0x1000 + 4 * ((split >> 22) + number), number << 22 | 0x83)
        put(0x1000 + 4 * 1023, 0x4003)
        put(0x4000 + 4 * 768, 0x70003)
    info = {"SYMBOL(swapper_pg_dir)": f"{split + 0x1000:x}"} | ({"CONFIG_X86_PAE": "y"} if pae else {})
    return MemorySource(I386, (MemoryExtent(0, 16 << 20, memoryview(ram).toreadonly()),), (), build(info), "i386")


@pytest.mark.parametrize("split", [0xC000_0000, 0x8000_0000])
@pytest.mark.parametrize("pae", [True, False])
def test_i386_shows_its_split_in_its_tables(pae: bool, split: int) -> None:
    """Two or three levels, large and small pages."""
    space = kernel_space(i386(pae, split))
    at = 0xFFF0_0000
    assert space.translate(np.array([split + 0x12345, at + 5, split + (64 << 20)], np.uint64)).tolist() == [
        0x12345, 0x70005, int(NOWHERE)]


def test_a_linear_map_is_where_the_architecture_puts_it() -> None:
    """ppc64: 0xc000000000000000; what lies elsewhere cannot be told."""
    memory = MemorySource(PPC64, (MemoryExtent(0, 4 * P, memoryview(bytes(4 * P))),), (), b"OSRELEASE=2.6.9\n", "ppc64")
    space = kernel_space(memory)
    asked = np.array([0xC000_0000_0000_1234, 0xC000_0000_0000_4000, 0xF000_0000_0000_0000, 5], np.uint64)
    assert space.translate(asked).tolist() == [0x1234] + [int(NOWHERE)] * 3
    assert list(space.pieces(0xC000_0000_0000_3FF0, 16)) == [(0x3FF0, 16)]
    assert list(space.pieces(0xC000_0000_0000_3FF0, 17)) == [(None, 17)]


def test_without_vmcoreinfo_there_is_no_way() -> None:
    """One line."""
    kernel = Kernel()
    memory = kernel.source()
    memory.vmcoreinfo = None
    with pytest.raises(FormatError, match="there is no VMCOREINFO"):
        kernel_space(memory)
