"""The chips this driver drives, and what one has more than another."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from attrs import frozen

from ddsdk.hookspecs import Chip

from .regs import PCI_VENDOR_ID_LSI_LOGIC, PciDeviceId


@frozen
class Features:
    """What the driver has to know of a chip (Linux 2.6.9 sym_defs.h, FE_*).

    `srun`: ISTAT1 says whether SCRIPTS run.  `wide_addresses`: table moves take 40 bits of address.  `dfbc`: a register
    counts what is left in the DMA FIFO.  `mode_changes`: the bus may go from LVD to single-ended.
    """

    srun: bool = True
    wide_addresses: bool = True
    dfbc: bool = False
    mode_changes: bool = True


def _chip(name: str, device: int, title: str) -> Chip:
    return Chip(name, PCI_VENDOR_ID_LSI_LOGIC, device, title)


C810: Final = _chip("53c810", PciDeviceId.LSI_53C810, "LSI 53C810 Fast SCSI-2, 8 bits wide")
C895A: Final = _chip("53c895a", PciDeviceId.LSI_53C895A, "LSI 53C895A Ultra2 SCSI, LVD")
C1010: Final = _chip("53c1010", PciDeviceId.LSI_53C1010_33, "LSI 53C1010-33 Ultra160 SCSI, one of its two channels")

#: The default first.
CHIPS: Final = (C895A, C810, C1010)

FEATURES: Final[Mapping[str, Features]] = MappingProxyType({
    C810.name: Features(srun=False, wide_addresses=False, mode_changes=False),
    C895A.name: Features(),
    C1010.name: Features(dfbc=True),
})
