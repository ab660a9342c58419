"""The piece of the kernel image that carries a virtual address."""

from __future__ import annotations

import pytest

from ddsdk.abi import I386, X86_64
from ddsdk.vmcore.kernelmap import KernelPiece, kernel_piece

#: A 6.1 kernel with KASLR, as a guest of the real tier had it.
INFO = b"SYMBOL(swapper_pg_dir)=ffffffff9dc10000\nSYMBOL(_stext)=ffffffff9c200000\nNUMBER(phys_base)=-127926272\n"


def test_from_text_to_the_end_of_the_page_table() -> None:
    """paddr = vaddr - __START_KERNEL_map + phys_base; the page table's page is the last one."""
    assert kernel_piece(X86_64, INFO) == KernelPiece(0x1480_0000, 0xFFFF_FFFF_9C20_0000, 0x1A1_1000)


@pytest.mark.parametrize("info", [
    None, b"", INFO.replace(b"_stext", b"_etext"), INFO.replace(b"phys_base", b"pb"),
    INFO.replace(b"9dc10000", b"xyz"), INFO.replace(b"ffffffff9dc10000", b"ffffffff90000000"),
    INFO.replace(b"-127926272", b"-9999999999"), INFO.replace(b"-127926272", b"-127926273"),
    INFO.replace(b"ffffffff9c200000", b"ffff888000000000"),
])
def test_nothing_where_vmcoreinfo_does_not_tell(info: bytes | None) -> None:
    """Absent, unreadable, out of order, below zero, not a page, not in the kernel map: no virtual address."""
    assert kernel_piece(X86_64, info) is None


def test_only_on_x86_64() -> None:
    """The constants are that machine's."""
    assert kernel_piece(I386, INFO) is None
