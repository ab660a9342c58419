"""PCI for drivers: struct pci_dev, configuration space, enabling, BARs.

C: include/linux/pci.h.  Works alike in both modes.  PCI Local Bus Specification 3.0, chapter 6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ddsdk.bus import (
    PCI_COMMAND,
    PCI_COMMAND_IO,
    PCI_COMMAND_MASTER,
    PCI_COMMAND_MEMORY,
    PCI_DEVICE_ID,
    PCI_INTERRUPT_LINE,
    PCI_VENDOR_ID,
    Bar,
)
from ddsdk.errors import UsageError

from .io import Iomem

if TYPE_CHECKING:
    from ddsdk.bus import PciFunction

    from .kernel import Kernel

#: C: DMA_32BIT_MASK, DMA_64BIT_MASK.
DMA_32BIT_MASK = (1 << 32) - 1
DMA_64BIT_MASK = (1 << 64) - 1


class PciDev:
    """struct pci_dev: one PCI function as its driver holds it.

    `kernel` is everything a driver may call; `drvdata` belongs to the driver; `dma_mask` is the highest bus
    address the device can reach.
    """

    __slots__ = ("device", "dma_mask", "drvdata", "function", "irq", "kernel", "name", "vendor")

    def __init__(self, kernel: Kernel, function: PciFunction) -> None:
        self.kernel = kernel
        self.function = function
        self.name = function.name
        self.vendor = function.config_read(PCI_VENDOR_ID, 2)
        self.device = function.config_read(PCI_DEVICE_ID, 2)
        self.irq = function.config_read(PCI_INTERRUPT_LINE, 1)
        self.dma_mask = DMA_32BIT_MASK
        self.drvdata: Any = None

    def __repr__(self) -> str:
        return f"<pci {self.name} {self.vendor:04x}:{self.device:04x}>"


class PciCalls:
    """pci_*: *pdev* first, as in C; a read returns the value instead of filling a pointer."""

    __slots__ = ()

    @staticmethod
    def pci_enable_device(pdev: PciDev) -> int:
        """int pci_enable_device(struct pci_dev *): decode its BARs; 0, or -EIO (-5) when it is gone."""
        function = pdev.function
        command = function.config_read(PCI_COMMAND, 2)
        if command == 0xFFFF:
            return -5
        for bar in function.bars:
            if bar is not None:
                command |= PCI_COMMAND_IO if bar.kind == "io" else PCI_COMMAND_MEMORY
        function.config_write(PCI_COMMAND, 2, command)
        return 0

    @staticmethod
    def pci_disable_device(pdev: PciDev) -> None:
        """void pci_disable_device(struct pci_dev *): no more bus mastering."""
        command = pdev.function.config_read(PCI_COMMAND, 2)
        pdev.function.config_write(PCI_COMMAND, 2, command & ~PCI_COMMAND_MASTER)

    @staticmethod
    def pci_set_master(pdev: PciDev) -> None:
        """void pci_set_master(struct pci_dev *): let the device do DMA."""
        command = pdev.function.config_read(PCI_COMMAND, 2)
        pdev.function.config_write(PCI_COMMAND, 2, command | PCI_COMMAND_MASTER)

    @staticmethod
    def pci_read_config_byte(pdev: PciDev, offset: int) -> int:
        """int pci_read_config_byte(struct pci_dev *, int where, u8 *)."""
        return pdev.function.config_read(offset, 1)

    @staticmethod
    def pci_read_config_word(pdev: PciDev, offset: int) -> int:
        """int pci_read_config_word(struct pci_dev *, int where, u16 *)."""
        return pdev.function.config_read(offset, 2)

    @staticmethod
    def pci_read_config_dword(pdev: PciDev, offset: int) -> int:
        """int pci_read_config_dword(struct pci_dev *, int where, u32 *)."""
        return pdev.function.config_read(offset, 4)

    @staticmethod
    def pci_write_config_byte(pdev: PciDev, offset: int, value: int) -> None:
        """int pci_write_config_byte(struct pci_dev *, int where, u8)."""
        pdev.function.config_write(offset, 1, value)

    @staticmethod
    def pci_write_config_word(pdev: PciDev, offset: int, value: int) -> None:
        """int pci_write_config_word(struct pci_dev *, int where, u16)."""
        pdev.function.config_write(offset, 2, value)

    @staticmethod
    def pci_write_config_dword(pdev: PciDev, offset: int, value: int) -> None:
        """int pci_write_config_dword(struct pci_dev *, int where, u32)."""
        pdev.function.config_write(offset, 4, value)

    @staticmethod
    def pci_resource_start(pdev: PciDev, bar: int) -> int:
        """unsigned long pci_resource_start(pdev, bar): bus address of the BAR, 0 when there is none."""
        found = pdev.function.bars[bar]
        return found.bus_addr if found is not None else 0

    @staticmethod
    def pci_resource_len(pdev: PciDev, bar: int) -> int:
        """unsigned long pci_resource_len(pdev, bar): bytes it decodes, 0 when there is none."""
        found = pdev.function.bars[bar]
        return found.size if found is not None else 0

    @staticmethod
    def pci_iomap(pdev: PciDev, bar: int) -> Iomem:
        """void __iomem *pci_iomap(struct pci_dev *, int bar, unsigned long max): the whole BAR.

        UsageError lists the BARs there are.
        """
        bars = pdev.function.bars
        found: Bar | None = bars[bar] if 0 <= bar < len(bars) else None
        if found is None:
            there = ", ".join(f"{n} ({b.kind} {b.size:#x})" for n, b in enumerate(bars) if b is not None)
            raise UsageError(f"pci_iomap: {pdev.name} has no BAR {bar}; it has {there or 'none at all'}")
        return Iomem(pdev.function.window(bar), found.kind, f"{pdev.name} BAR {bar}")

    @staticmethod
    def pci_set_drvdata(pdev: PciDev, data: Any) -> None:
        """void pci_set_drvdata(struct pci_dev *, void *)."""
        pdev.drvdata = data

    @staticmethod
    def pci_get_drvdata(pdev: PciDev) -> Any:
        """void *pci_get_drvdata(struct pci_dev *)."""
        return pdev.drvdata
