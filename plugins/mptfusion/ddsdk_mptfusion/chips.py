"""The chips this driver drives: the SPI and SAS members of the family.  FC ones find targets differently."""

from __future__ import annotations

from typing import Final

from ddsdk.hookspecs import Chip

from .regs import PCI_VENDOR_ID_LSI_LOGIC, PciDeviceId

_SPI: Final = "LSI %s Ultra320 SCSI (Fusion-MPT SPI)"
_SAS: Final = "LSI %s SAS (Fusion-MPT SAS)"


def _chip(name: str, device: PciDeviceId, title: str) -> Chip:
    return Chip(name, PCI_VENDOR_ID_LSI_LOGIC, device, title % name.upper())


#: The default first.
CHIPS: Final = (
    _chip("53c1030", PciDeviceId.LSI_53C1030, _SPI),
    _chip("53c1030zc", PciDeviceId.LSI_53C1030ZC, _SPI),
    _chip("53c1035", PciDeviceId.LSI_53C1035, _SPI),
    _chip("53c1035zc", PciDeviceId.LSI_53C1035ZC, _SPI),
    _chip("sas1064", PciDeviceId.LSI_SAS1064, _SAS),
    _chip("sas1064a", PciDeviceId.LSI_SAS1064A, _SAS),
    _chip("sas1064e", PciDeviceId.LSI_SAS1064E, _SAS),
    _chip("sas1066", PciDeviceId.LSI_SAS1066, _SAS),
    _chip("sas1066e", PciDeviceId.LSI_SAS1066E, _SAS),
    _chip("sas1068", PciDeviceId.LSI_SAS1068, _SAS),
    _chip("sas1068e", PciDeviceId.LSI_SAS1068E, _SAS),
    _chip("sas1078", PciDeviceId.LSI_SAS1078, _SAS),
)
