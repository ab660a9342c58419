"""A Linux that crashed under QEMU, as its hardware stands: its RAM is the memory, its own adapter the dump device.

    with CrashedGuest.attach(qtest, ram_file, (paddr, size), cpus, vmcoreinfo) as guest:
        machine = Machine(PhysicalMemory(...guest.source and guest.ram...))
        function = guest.function(machine, VENDOR, DEVICE)

The virtual machine is paused, its CPUs take no interrupt and run no code; its devices answer qtest as they would
answer a CPU.  PCI is found as the crashed kernel left it: addresses, bus mastering, a command half done.  Of the
guest's memory nothing can be written but the reserve, a region its kernel was told (memmap=) to leave alone: all else
is mapped for reading, and the adapter is given no address outside the reserve to write to.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Self

from attrs import frozen

from ddsdk.abi import X86_64
from ddsdk.errors import UsageError
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import Extent
from ddsdk.vmcore.image import FileMapping, MemorySource
from ddsdk.vmcore.notes import CpuNote
from ddsdk.vmcore.raw import pc_layout

from .function import QemuPciFunction
from .pci import ConfigSpace
from .qtest import QTest
from .ram import Layout, SharedRam

#: Memory below 1 MiB that no device reaches goes through here; it is all that ever does.
BOUNCE_BYTES = 1 << 20


@frozen(eq=False)
class CrashedGuest:
    """A crashed machine taken over.  Close it (or use `with`) before its QEMU ends.

    `source` is the memory to be dumped, the reserve left out: to the guest's kernel it was none.  `ram` is where
    devices find it; its extents are the reserve alone.
    """

    qtest: QTest
    source: MemorySource
    ram: SharedRam

    @classmethod
    def attach(cls, qtest: QTest, file: IO[bytes], reserved: tuple[int, int], cpus: Sequence[CpuNote],
               vmcoreinfo: bytes | None) -> Self:
        """Take over the guest whose memory is *file*.

        *reserved* is (paddr, bytes) of what its kernel left alone, below 4 GiB; *cpus* and *vmcoreinfo* are what is
        known of it from outside.
        """
        mapping = FileMapping.open(f"/proc/self/fd/{file.fileno()}")
        try:
            paddr, size = reserved
            _, start, length = pc_layout(mapping.size)[1]           # all of it below 4 GiB, but for the first 640 KiB
            if not start <= paddr < paddr + size <= start + length or (paddr | size) % mmap.ALLOCATIONGRANULARITY:
                raise UsageError(f"reserve of {size} bytes at {paddr:#x}: it must be whole pages of the guest's memory"
                                 f" between {start:#x} and {start + length:#x}")
            layout = Layout.of_guest(mapping.size, paddr, size)
            extents = [mapping.extent(start, offset, end - start) for start, end, offset in
                       ram_without(mapping.size, reserved)]
            source = MemorySource(X86_64, tuple(extents), tuple(cpus), vmcoreinfo, "the guest's memory",
                                  closers=(mapping.close,))
            reserve = mmap.mmap(file.fileno(), size, offset=paddr)
        except BaseException:
            mapping.close()
            raise
        ram = SharedRam(layout, file, reserve, (Extent(paddr, memoryview(reserve), "reserve"),), read_only=True)
        return cls(qtest, source, ram)

    def function(self, machine: Machine, vendor: int, device: int) -> QemuPciFunction:
        """The first function with these ids, as the crashed kernel left it, on the bus of *machine*."""
        slot, func = ConfigSpace(self.qtest).find(vendor, device)
        return QemuPciFunction.found(machine, self.ram, self.qtest, slot, func, BOUNCE_BYTES)

    def close(self) -> None:
        """Let go of the memory.  Views of the reserve that are still held keep it mapped."""
        self.source.close()
        self.ram.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _value: BaseException | None,
                 _trace: TracebackType | None) -> None:
        self.close()


def ram_without(size_bytes: int, reserved: tuple[int, int]) -> list[tuple[int, int, int]]:
    """(paddr, end, file offset) of a guest's memory, less (paddr, bytes) of it."""
    low, high = reserved[0], sum(reserved)
    pieces = []
    for paddr, offset, length in pc_layout(size_bytes):
        for start, end in ((paddr, min(paddr + length, low)), (max(paddr, high), paddr + length)):
            if start < end:
                pieces.append((start, end, offset + start - paddr))
    return pieces
