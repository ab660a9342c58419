"""The chips this driver drives, the default first."""

from __future__ import annotations

from typing import Final

from ddsdk.hookspecs import Chip

from .regs import PCI_VENDOR_ID_INTEL, PIIX3_IDE, PIIX4_IDE

PIIX3: Final = Chip("piix3", PCI_VENDOR_ID_INTEL, PIIX3_IDE, "Intel 82371SB (PIIX3) IDE, multiword DMA")
PIIX4: Final = Chip("piix4", PCI_VENDOR_ID_INTEL, PIIX4_IDE, "Intel 82371AB (PIIX4) IDE, Ultra DMA/33")
CHIPS: Final = (PIIX3, PIIX4)
