"""What a driver's world sees of a PCI function, whoever plays the hardware.

Two backends satisfy these protocols: the Python models (`ddsdk.sim.pci`) and QEMU's adapters
(`ddsdk.qemu`).  Everything above the bus is written against this file alone.

Bus addresses are integers as the device sees them; physical addresses (`paddr`) as the memory
controller does.  Sizes and lengths are bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from attrs import frozen

#: One piece of a scatter list: (address, length in bytes).
Segment = tuple[int, int]
#: No segment is merged over a multiple of what this masks: BLK_SEG_BOUNDARY_MASK, linux/blkdev.h of 2.6.9.
SEG_BOUNDARY_MASK = 0xFFFF_FFFF

# PCI configuration header, PCI Local Bus Specification 3.0, 6.1 (figure 6-1), 6.2.2 and 6.2.4.
PCI_VENDOR_ID = 0x00
PCI_DEVICE_ID = 0x02
PCI_COMMAND = 0x04
PCI_STATUS = 0x06
PCI_REVISION_ID = 0x08
PCI_CLASS_PROG = 0x09
PCI_CACHE_LINE_SIZE = 0x0C
PCI_LATENCY_TIMER = 0x0D
PCI_HEADER_TYPE = 0x0E
PCI_BIST = 0x0F
PCI_BASE_ADDRESS_0 = 0x10
PCI_SUBSYSTEM_VENDOR_ID = 0x2C
PCI_SUBSYSTEM_ID = 0x2E
PCI_CAPABILITY_LIST = 0x34
PCI_INTERRUPT_LINE = 0x3C
PCI_INTERRUPT_PIN = 0x3D

PCI_COMMAND_IO = 0x001
PCI_COMMAND_MEMORY = 0x002
PCI_COMMAND_MASTER = 0x004
PCI_COMMAND_INTX_DISABLE = 0x400
PCI_BIST_CAPABLE = 0x80
PCI_BIST_START = 0x40            # 1 until the test is over
PCI_BIST_CODE = 0x0F             # 0: passed
PCI_STATUS_INTERRUPT = 0x0008
PCI_STATUS_CAP_LIST = 0x0010


@frozen
class Bar:
    """A base address register as programmed: what it decodes, where, how much (bytes)."""

    kind: Literal["mem", "io"]
    bus_addr: int
    size: int
    is_64: bool = False


class Window(Protocol):
    """A BAR as the CPU sees it: little-endian registers at byte offsets from its base."""

    @property
    def size(self) -> int:
        """Bytes the window decodes."""

    def read(self, offset: int, size: int) -> int:
        """The *size* (1, 2, 4, 8) bytes at *offset*; all ones when nothing decodes the address."""

    def write(self, offset: int, size: int, value: int) -> None:
        """Write *size* bytes; lost when nothing decodes the address."""


class StringWindow(Window, Protocol):
    """A window that has a faster way than one access after the other: string I/O on one port (`rep insw`)."""

    def read_string(self, offset: int, size: int, count: int) -> Sequence[int]:
        """*count* reads of the *size* (2, 4) bytes at *offset*."""

    def write_string(self, offset: int, size: int, values: Sequence[int]) -> None:
        """Write *values* one after the other to the *size* bytes at *offset*."""


class IrqLineLike(Protocol):
    """An interrupt line: its level is all the bus says about it."""

    @property
    def level(self) -> bool:
        """True while some device asserts the line."""


class PciFunction(Protocol):
    """One PCI function: configuration space, windows, interrupt line, DMA grants."""

    @property
    def name(self) -> str:
        """Where it sits, as Linux prints it: "0000:00:04.0"."""

    @property
    def irq_line(self) -> IrqLineLike | None:
        """Its INTx line; None when the backend delivers no interrupts."""

    @property
    def bars(self) -> Sequence[Bar | None]:
        """Six entries, None where there is no BAR (or the upper half of a 64-bit one)."""

    def config_read(self, offset: int, size: int) -> int:
        """The *size* (1, 2, 4) bytes of configuration space at *offset*."""

    def config_write(self, offset: int, size: int, value: int) -> None:
        """Write configuration space; read-only bits keep their value."""

    def window(self, bar: int) -> Window:
        """The window behind BAR *bar*; UsageError when there is none."""

    def dma_map(self, segments: Sequence[Segment], to_device: bool) -> list[Segment]:
        """Grant the device [(paddr, length)] in one direction: [(bus_addr, length)], adjacent ones merged."""

    def dma_unmap(self, segments: Sequence[Segment], to_device: bool) -> None:
        """Revoke what `dma_map` returned; a bouncing backend copies device writes back here."""

    def dma_grant(self, paddr: int, size: int) -> int:
        """Coherent memory: both directions until revoked.  Returns its bus address."""

    def dma_revoke(self, paddr: int, size: int) -> None:
        """End a `dma_grant`."""
