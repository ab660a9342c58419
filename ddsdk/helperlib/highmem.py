"""Memory that a driver itself reads and writes, by physical address: programmed I/O copies it word by word.

C: include/linux/highmem.h (2.6.9).  A scatter list names pages the kernel may have no address for; kmap_atomic() gives
one, for as long as the caller does not sleep.
"""

from __future__ import annotations

from ddsdk.errors import HardwareFault, UsageError

from .guard import Guard


class Highmem:
    """kmap_atomic and its end.  What is mapped keeps the CPU from sleeping, as in the kernel."""

    def __init__(self, guard: Guard) -> None:
        self._machine = guard.machine
        self._memory = guard.machine.memory
        self._mapped: dict[int, memoryview] = {}

    def kmap_atomic(self, paddr: int, length: int) -> memoryview:
        """void *kmap_atomic(struct page *, enum km_type): *length* bytes at *paddr*, inside one page.

        UsageError: across a page boundary, or no memory there.
        """
        page = self._memory.page_size
        if length < 1 or paddr // page != (paddr + length - 1) // page:
            raise UsageError(f"kmap_atomic: {length} bytes at {paddr:#x} are not inside one page of {page} bytes; map"
                             " page by page")
        try:
            view = self._memory.view(paddr, length)
        except HardwareFault as fault:
            raise UsageError(f"kmap_atomic: {fault}") from None
        self._mapped[id(view)] = view
        self._machine.current_cpu.preempt_count += 1
        return view

    def kunmap_atomic(self, view: memoryview) -> None:
        """void kunmap_atomic(void *, enum km_type): the bytes cannot be reached through *view* any more.

        UsageError for what is not mapped.
        """
        if self._mapped.pop(id(view), None) is None:
            raise UsageError("kunmap_atomic: not what kmap_atomic() returned, or unmapped before; unmap once")
        view.release()
        self._machine.current_cpu.preempt_count -= 1
