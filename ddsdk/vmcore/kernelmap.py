"""Where the kernel's own page table lies, so that a vmcore can say it: the start of every walk.

A core whose program headers carry no virtual address is enough for crash and makedumpfile.  drgn and gdb start from
the kernel image: drgn reads swapper_pg_dir there and walks the page tables from it for everything else.  VMCOREINFO
tells both ends of a piece of that image, [_stext, swapper_pg_dir], and where it lies (phys_base); nothing is guessed.
"""

from __future__ import annotations

from attrs import frozen

from ddsdk.abi import X86_64, Abi

from . import vmcoreinfo as vmci

#: x86_64 `__START_KERNEL_map` (Linux arch/x86/include/asm/page_64_types.h).
START_KERNEL_MAP = 0xFFFF_FFFF_8000_0000
#: `KERNEL_IMAGE_SIZE` with KASLR: nothing of the kernel image lies further up.
KERNEL_IMAGE_BYTES = 1 << 30


@frozen
class KernelPiece:
    """`size` bytes of the kernel image at physical *paddr*, which the kernel sees at *vaddr*."""

    paddr: int
    vaddr: int
    size: int


def kernel_piece(abi: Abi, vmcoreinfo: bytes | None) -> KernelPiece | None:
    """From _stext to the end of swapper_pg_dir; None when VMCOREINFO does not tell, or tells nonsense."""
    if abi.name != X86_64.name:
        return None
    values = vmci.parse(vmcoreinfo)
    text, table = (_hex(values.get(f"SYMBOL({name})")) for name in ("_stext", "swapper_pg_dir"))
    base = _signed(values.get("NUMBER(phys_base)"))
    if text is None or table is None or base is None:
        return None
    text -= text % abi.page_size
    end = table - table % abi.page_size + abi.page_size
    paddr = text - START_KERNEL_MAP + base
    inside = START_KERNEL_MAP <= text < end <= START_KERNEL_MAP + KERNEL_IMAGE_BYTES
    if not inside or paddr < 0 or paddr % abi.page_size:
        return None
    return KernelPiece(paddr, text, end - text)


def _hex(text: str | None) -> int | None:
    try:
        return int(text or "", 16)
    except ValueError:
        return None


def _signed(text: str | None) -> int | None:
    try:
        return int(text or "")
    except ValueError:
        return None
