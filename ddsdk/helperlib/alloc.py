"""kmalloc and kfree, and the memory budget a driver declares for crash mode.

C: include/linux/slab.h.  A dump path that allocates may find no memory at all: white paper 2.2 calls drivers
whose queuecommand() needs kmalloc() unfinished.  Here what is taken after the crash was declared before it.
"""

from __future__ import annotations

from ddsdk.errors import AllocationFault

from .guard import Guard

#: C: __GFP_HIGH; may not sleep.
GFP_ATOMIC = 0x20
#: C: __GFP_WAIT | __GFP_IO | __GFP_FS; may sleep.
GFP_KERNEL = 0xD0
_GFP_WAIT = 0x10


class Kmem(bytearray):
    """What kmalloc() returned: bytes of kernel memory, zeroed, freed with kfree()."""

    __slots__ = ()


class Allocator:
    """Kernel memory.  In crash mode every byte comes out of `budget_bytes`, and freeing gives it back."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._live: dict[int, Kmem] = {}
        self._charged: dict[int, int] = {}       # what was allocated since the crash, by object id
        self.budget_bytes = 0
        self.in_use_bytes = 0
        self.peak_bytes = 0

    def declare_crash_budget(self, nbytes: int) -> None:
        """Allow *nbytes* more to be allocated in crash mode.  Call it at probe; then, AllocationFault."""
        if self._guard.machine.crashdump_mode:
            raise AllocationFault(f"declare_crash_budget: {nbytes} bytes asked for in crashdump_mode;"
                                  " declare what the dump path needs at probe")
        self.budget_bytes += nbytes

    def kmalloc(self, size: int, gfp: int) -> Kmem:
        """void *kmalloc(size_t, gfp_t): *size* zeroed bytes.

        Normal mode: GFP_KERNEL may sleep, SleepFault in atomic context.  Crash mode: GFP_ATOMIC within the
        declared budget, else AllocationFault.
        """
        if gfp & _GFP_WAIT:
            self.forbid_sleeping("kmalloc", "GFP_KERNEL")
            self._guard.may_sleep("kmalloc(GFP_KERNEL)")
        self.check("kmalloc", size)
        memory = Kmem(size)
        self.charge(id(memory), size)
        self._live[id(memory)] = memory
        return memory

    def kfree(self, memory: Kmem | None) -> None:
        """void kfree(const void *): give it back; None is ignored, a second time is an AllocationFault."""
        if memory is None:
            return
        if self._live.pop(id(memory), None) is None:
            raise AllocationFault(f"kfree: {len(memory)} bytes, not kmalloc()'s or freed before; free once")
        self.uncharge(id(memory))

    def forbid_sleeping(self, call: str, flag: str) -> None:
        """Raise AllocationFault in crash mode: nobody is left to free memory."""
        if self._guard.machine.crashdump_mode:
            raise AllocationFault(f"{call}: {flag} in crashdump_mode sleeps for memory nobody will free;"
                                  " allocate at probe, or GFP_ATOMIC within declare_crash_budget()")

    @property
    def pieces(self) -> int:
        """How many kmalloc() gave and nobody has freed, in either mode."""
        return len(self._live)

    def check(self, call: str, size: int) -> None:
        """AllocationFault when the machine has crashed and *size* bytes more go over the declared budget."""
        if self._guard.machine.crashdump_mode and self.in_use_bytes + size > self.budget_bytes:
            raise AllocationFault(
                f"{call}: {size} bytes in crashdump_mode, {self.in_use_bytes} of {self.budget_bytes} declared"
                " are in use; allocate at probe, or declare_crash_budget() there")

    def charge(self, key: int, size: int) -> None:
        """Book *size* bytes under *key* if the machine has crashed."""
        if self._guard.machine.crashdump_mode:
            self.in_use_bytes += size
            self.peak_bytes = max(self.peak_bytes, self.in_use_bytes)
            self._charged[key] = size

    def uncharge(self, key: int) -> None:
        """Give back what was booked under *key*; memory from before the crash never counted."""
        self.in_use_bytes -= self._charged.pop(key, 0)
