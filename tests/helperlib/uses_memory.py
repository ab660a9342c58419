"""DMA memory and kmalloc.  Scenarios for `test_readme.py`."""

from __future__ import annotations

import pytest

from ddsdk.errors import AllocationFault, DmaFault, SleepFault, UsageError
from ddsdk.helperlib.kernel import (
    DMA_BIDIRECTIONAL,
    DMA_FROM_DEVICE,
    DMA_TO_DEVICE,
    GFP_ATOMIC,
    GFP_KERNEL,
)
from tests.helperlib.board import World
from tests.helperlib.scenarios import CRASH, NORMAL, faults, works


@works("dma_alloc_coherent", "dma_free_coherent", modes=(NORMAL,))
def coherent_memory(w: World) -> None:
    """Zeroed, aligned, the device's until freed."""
    buffer = w.kernel.dma_alloc_coherent(w.pdev, 100, 64)
    assert buffer.paddr % 64 == 0
    assert bytes(buffer.view) == bytes(100)
    assert w.board.dma.read(buffer.bus_addr, 100) == bytes(100)
    w.kernel.dma_free_coherent(w.pdev, buffer)
    assert w.board.dma.grants == []


@works("dma_alloc_coherent", "dma_free_coherent", modes=(CRASH,))
def coherent_memory_within_budget(w: World) -> None:
    """The budget is 256 bytes: twice 200 only with a free in between."""
    first = w.kernel.dma_alloc_coherent(w.pdev, 200)
    w.kernel.dma_free_coherent(w.pdev, first)
    w.kernel.dma_alloc_coherent(w.pdev, 200)


@faults("dma_alloc_coherent", AllocationFault, (CRASH,))
def coherent_memory_over_budget(w: World) -> None:
    """The budget is 256 bytes."""
    w.kernel.dma_alloc_coherent(w.pdev, 257)


@works("dma_map_single", "dma_unmap_single", "dma_map_sg", "dma_unmap_sg")
def mappings(w: World) -> None:
    """Granted in one direction, revoked again; neighbours merge."""
    k, pdev = w.kernel, w.pdev
    bus_addr = k.dma_map_single(pdev, 0x1000, 512, DMA_FROM_DEVICE)
    w.board.dma.write(bus_addr, b"x" * 512)
    k.dma_unmap_single(pdev, bus_addr, 512, DMA_FROM_DEVICE)
    assert w.machine.memory.read(0x1000, 512) == b"x" * 512
    mapped = k.dma_map_sg(pdev, [(0x1000, 256), (0x1100, 256), (0x3000, 16)], DMA_TO_DEVICE)
    assert mapped == [(0x1000, 512), (0x3000, 16)]
    assert w.board.dma.read(0x1000, 512) == b"x" * 512
    k.dma_unmap_sg(pdev, mapped, DMA_TO_DEVICE)
    assert w.board.dma.grants == []


@faults("dma_map_single", DmaFault)
def mapping_both_ways(w: World) -> None:
    """That is coherent memory's business."""
    w.kernel.dma_map_single(w.pdev, 0x1000, 16, DMA_BIDIRECTIONAL)


@faults("dma_map_sg", DmaFault)
def mapping_beyond_mask(w: World) -> None:
    """The device would write somewhere else."""
    w.kernel.dma_set_mask(w.pdev, 0xFFFFFF)
    w.kernel.dma_map_sg(w.pdev, [(0x1000, 16), (0x100_0000 - 8, 16)], DMA_TO_DEVICE)


@works("dma_set_mask")
def dma_mask(w: World) -> None:
    """32 bits until told; a mask with holes is refused."""
    assert w.pdev.dma_mask == 2**32 - 1
    assert w.kernel.dma_set_mask(w.pdev, 2**64 - 1) == 0
    assert w.kernel.dma_set_mask(w.pdev, 0xFFFF_0000) == -5
    assert w.pdev.dma_mask == 2**64 - 1


@works("kmap_atomic", "kunmap_atomic")
def mapped_page(w: World) -> None:
    """The bytes themselves; afterwards the view is dead, and sleeping is allowed again."""
    k = w.kernel
    view = k.kmap_atomic(0x1FF0, 16)
    view[:4] = b"here"
    assert w.machine.memory.read(0x1FF0, 4) == b"here"
    assert not w.machine.current_cpu.may_sleep
    k.kunmap_atomic(view)
    with pytest.raises(ValueError):
        bytes(view)
    k.msleep(1)


@faults("kmap_atomic", UsageError)
def map_across_pages(w: World) -> None:
    """Two pages need two mappings."""
    w.kernel.kmap_atomic(0x1FF0, 17)


@faults("kmap_atomic", UsageError)
def map_nothing(w: World) -> None:
    """No memory at that address."""
    w.kernel.kmap_atomic(0x4000_0000, 16)


@faults("kunmap_atomic", UsageError)
def unmap_twice(w: World) -> None:
    """The second time it may be somebody else's."""
    view = w.kernel.kmap_atomic(0x1000, 16)
    w.kernel.kunmap_atomic(view)
    w.kernel.kunmap_atomic(view)


@works("kmalloc", "kfree", modes=(NORMAL,))
def kernel_memory(w: World) -> None:
    """Zeroed; either flag in a task."""
    for gfp in (GFP_KERNEL, GFP_ATOMIC):
        memory = w.kernel.kmalloc(1 << 16, gfp)
        assert bytes(memory) == bytes(1 << 16)
        w.kernel.kfree(memory)
    w.kernel.kfree(None)


@works("kmalloc", "kfree", modes=(CRASH,))
def kernel_memory_within_budget(w: World) -> None:
    """The budget is 256 bytes: twice 200 only with a free in between."""
    memory = w.kernel.kmalloc(200, GFP_ATOMIC)
    w.kernel.kfree(memory)
    w.kernel.kmalloc(200, GFP_ATOMIC)


@faults("kmalloc", SleepFault, (NORMAL,))
def kmalloc_sleeping_in_irq(w: World) -> None:
    """GFP_KERNEL may sleep."""
    w.in_irq(lambda: w.kernel.kmalloc(8, GFP_KERNEL))


@faults("kmalloc", AllocationFault, (CRASH,))
def kmalloc_sleeping(w: World) -> None:
    """Nobody is left to free memory, whatever the budget."""
    w.kernel.kmalloc(8, GFP_KERNEL)


@faults("kmalloc", AllocationFault, (CRASH,))
def kmalloc_over_budget(w: World) -> None:
    """The budget is 256 bytes, all allocations together."""
    w.kernel.kmalloc(250, GFP_ATOMIC)
    w.kernel.kmalloc(7, GFP_ATOMIC)


@faults("kfree", AllocationFault)
def kfree_twice(w: World) -> None:
    """The second time it may be somebody else's."""
    memory = w.kernel.kmalloc(8, GFP_ATOMIC)
    w.kernel.kfree(memory)
    w.kernel.kfree(memory)


@works("declare_crash_budget", modes=(NORMAL,))
def declares_budget(w: World) -> None:
    """It adds up."""
    w.kernel.declare_crash_budget(100)
    w.kernel.declare_crash_budget(28)
    w.crash()
    w.kernel.kmalloc(256 + 128, GFP_ATOMIC)


@faults("declare_crash_budget", AllocationFault, (CRASH,))
def declares_budget_too_late(w: World) -> None:
    """That is what probe is for."""
    w.kernel.declare_crash_budget(100)
