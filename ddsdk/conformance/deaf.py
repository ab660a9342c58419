"""PCI functions that do not answer, around one that would: what probe() meets on a bad board.  Any backend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ddsdk.bus import PCI_COMMAND, PCI_COMMAND_IO, PCI_COMMAND_MEMORY, Bar, IrqLineLike, PciFunction, Segment, Window

_DECODING: Final = PCI_COMMAND_IO | PCI_COMMAND_MEMORY


class NotDecoding:
    """A function whose COMMAND register keeps I/O and memory decoding off, whatever is written."""

    def __init__(self, inner: PciFunction) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        """See `bus.PciFunction.name`."""
        return self._inner.name

    @property
    def irq_line(self) -> IrqLineLike | None:
        """See `bus.PciFunction.irq_line`."""
        return self._inner.irq_line

    @property
    def bars(self) -> Sequence[Bar | None]:
        """See `bus.PciFunction.bars`."""
        return self._inner.bars

    def config_read(self, offset: int, size: int) -> int:
        """See `bus.PciFunction.config_read`."""
        return self._inner.config_read(offset, size)

    def config_write(self, offset: int, size: int, value: int) -> None:
        """See `bus.PciFunction.config_write`; the bits that decode stay 0."""
        if offset == PCI_COMMAND:
            value &= ~_DECODING
        self._inner.config_write(offset, size, value)

    def window(self, bar: int) -> Window:
        """See `bus.PciFunction.window`: reads give all ones, writes are lost."""
        return self._inner.window(bar)

    def dma_map(self, segments: Sequence[Segment], to_device: bool) -> list[Segment]:
        """See `bus.PciFunction.dma_map`."""
        return self._inner.dma_map(segments, to_device)

    def dma_unmap(self, segments: Sequence[Segment], to_device: bool) -> None:
        """See `bus.PciFunction.dma_unmap`."""
        self._inner.dma_unmap(segments, to_device)

    def dma_grant(self, paddr: int, size: int) -> int:
        """See `bus.PciFunction.dma_grant`."""
        return self._inner.dma_grant(paddr, size)

    def dma_revoke(self, paddr: int, size: int) -> None:
        """See `bus.PciFunction.dma_revoke`."""
        self._inner.dma_revoke(paddr, size)


class Removed(NotDecoding):
    """A function that was pulled out after the kernel found it: configuration space reads all ones as well."""

    def config_read(self, offset: int, size: int) -> int:
        """See `bus.PciFunction.config_read`: nobody answers."""
        return (1 << 8 * size) - 1

    def config_write(self, offset: int, size: int, value: int) -> None:
        """See `bus.PciFunction.config_write`: lost."""
