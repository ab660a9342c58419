"""The chips this driver drives, and where their registers are (hw-ipr.md section 1)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ddsdk.hookspecs import Chip

from .regs import (
    PCI_VENDOR_ID_ADAPTEC2,
    PCI_VENDOR_ID_IBM,
    PCI_VENDOR_ID_MYLEX,
    IprRegs,
    IprRegsL1,
    IprRegsL2,
    PciDeviceId,
)

_TABLE: Final = (
    ("gemstone", PCI_VENDOR_ID_MYLEX, PciDeviceId.GEMSTONE, IprRegsL1, "5702, 5703, 573D, 573E"),
    ("citrine", PCI_VENDOR_ID_IBM, PciDeviceId.CITRINE, IprRegsL1, "572E, 571A, 571B, 575B"),
    ("snipe", PCI_VENDOR_ID_IBM, PciDeviceId.SNIPE, IprRegsL2, "2780"),
    ("scamp", PCI_VENDOR_ID_ADAPTEC2, PciDeviceId.SCAMP, IprRegsL2, "571E, 571F, 572F"),
    ("obsidian", PCI_VENDOR_ID_IBM, PciDeviceId.OBSIDIAN, IprRegsL1, "572A, 572B, 575C"),
    ("obsidian-adaptec", PCI_VENDOR_ID_ADAPTEC2, PciDeviceId.OBSIDIAN_ADAPTEC, IprRegsL1, "572A, 572B, 575C"),
    ("obsidian-e", PCI_VENDOR_ID_IBM, PciDeviceId.OBSIDIAN_E, IprRegsL1, "574E, 575D, 57B3, 57B7"),
    ("scamp-e", PCI_VENDOR_ID_IBM, PciDeviceId.SCAMP_E, IprRegsL2, "574D"),
)

#: The default first.
CHIPS: Final = tuple(Chip(name, vendor, device, f"IBM {name.title()} RAID adapter ({cards})")
                     for name, vendor, device, _, cards in _TABLE)
REGISTERS: Final[Mapping[str, IprRegs]] = MappingProxyType({name: regs for name, _, _, regs, _ in _TABLE})
