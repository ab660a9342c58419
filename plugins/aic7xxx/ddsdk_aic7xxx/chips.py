"""The chips this driver drives: the Ultra160 members of the family.  hw-aic7xxx.md 2; names: pci.ids."""

from __future__ import annotations

from typing import Final

from ddsdk.hookspecs import Chip

from .regs import PCI_VENDOR_ID_ADAPTEC2

_ONE: Final = "Adaptec AIC-7892%s Ultra160 SCSI, one channel"
_TWO: Final = "Adaptec AIC-7899%s Ultra160 SCSI, two channels, a PCI function each"


def _chip(name: str, device: int, title: str) -> Chip:
    return Chip(name, PCI_VENDOR_ID_ADAPTEC2, device, title)


#: The default first.  29160, 19160B, ARO, motherboard; 3960D, -, ARO, motherboard.
CHIPS: Final = (
    _chip("aic7892", 0x0080, _ONE % "A"),
    _chip("aic7892b", 0x0081, _ONE % "B"),
    _chip("aic7892d", 0x0083, _ONE % "D"),
    _chip("aic7892p", 0x008F, _ONE % "P"),
    _chip("aic7899", 0x00C0, _TWO % "A"),
    _chip("aic7899b", 0x00C1, _TWO % "B"),
    _chip("aic7899d", 0x00C3, _TWO % "D"),
    _chip("aic7899p", 0x00CF, _TWO % "P"),
)
