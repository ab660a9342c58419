"""The chips this driver drives, and what is wrong with which revision of them.

Sources: aic79xx_pci.c, aic79xx.h (Linux 2.6.9, RHEL 4): ids, "ahd_bug", "ahd_feature".
"""

from __future__ import annotations

from enum import IntFlag
from typing import Final

from ddsdk.hookspecs import Chip

PCI_VENDOR_ID_ADAPTEC2: Final = 0x9005
#: Strap of HostRAID boards; masked out before ids are compared.
PCI_DEVICE_HOSTRAID: Final = 0x0080
#: PCI revisions: below the first refused, from the second on "Rev B".
REVISION_MIN: Final = 0x03
REVISION_B: Final = 0x10

CHIPS: Final = (
    Chip("aic7901", PCI_VENDOR_ID_ADAPTEC2, 0x8000, "Adaptec AIC-7901 Ultra320 SCSI (29320A)"),
    Chip("aic7902", PCI_VENDOR_ID_ADAPTEC2, 0x801D, "Adaptec AIC-7902 Rev B Ultra320 SCSI, two functions"),
    Chip("aic7902a", PCI_VENDOR_ID_ADAPTEC2, 0x801F, "Adaptec AIC-7902 Rev A Ultra320 SCSI, two functions"),
    Chip("aic7901a", PCI_VENDOR_ID_ADAPTEC2, 0x801E, "Adaptec AIC-7901A Ultra320 SCSI"),
    Chip("29320alp", PCI_VENDOR_ID_ADAPTEC2, 0x8017, "Adaptec 29320ALP, 29320LPE Ultra320 SCSI (7901)"),
    Chip("29320lp", PCI_VENDOR_ID_ADAPTEC2, 0x8014, "Adaptec 29320LP Ultra320 SCSI (7901A)"),
    Chip("29320", PCI_VENDOR_ID_ADAPTEC2, 0x8012, "Adaptec 29320 Ultra320 SCSI (7902)"),
    Chip("29320b", PCI_VENDOR_ID_ADAPTEC2, 0x8013, "Adaptec 29320B Ultra320 SCSI (7902)"),
    Chip("39320", PCI_VENDOR_ID_ADAPTEC2, 0x8010, "Adaptec 39320 Ultra320 SCSI (7902)"),
    Chip("39320b", PCI_VENDOR_ID_ADAPTEC2, 0x8015, "Adaptec 39320 Rev B Ultra320 SCSI (7902)"),
    Chip("39320a", PCI_VENDOR_ID_ADAPTEC2, 0x8016, "Adaptec 39320A Ultra320 SCSI (7902)"),
    Chip("39320d", PCI_VENDOR_ID_ADAPTEC2, 0x8011, "Adaptec 39320D Ultra320 SCSI (7902)"),
    Chip("39320db", PCI_VENDOR_ID_ADAPTEC2, 0x801C, "Adaptec 39320D Rev B Ultra320 SCSI (7902)"),
)


class Bug(IntFlag):
    """What a revision needs a way around for, as far as the host sees it."""

    SENT_RST = 0x0001               # driving RST spoils the chip: chip reset and download after each
    LONG_SETIMO = 0x0002            # the selection timer runs twice as long
    PKT_BITBUCKET = 0x0004          # packetized overruns go to a buffer in host memory
    PKT_LUN = 0x0008                # the packet's LUN has to lie in the SCB whole
    BUSFREEREV = 0x0010             # OPTIONMODE without BUSFREEREV; ENBUSFREE is switched off by the host
    PCIX_CHIPRST = 0x0020           # chip reset in PCI-X: PERR and SERR off meanwhile
    PCIX_MMIO = 0x0040              # registers in memory do not work in PCI-X
    NEGO_SETTLE = 0x0080            # the negotiation table takes time
    LQO_OVERRUN = 0x0100            # LQOSCSCTL
    INTCOLLISION = 0x0200           # a SEQINT that comes with a CMDCMPLT is lost from INTSTAT


class Feature(IntFlag):
    """What a revision can do."""

    RTI = 0x01                      # retain training information
    NEW_IOCELL = 0x02               # the first selection after a change of transceivers stops once
    NEW_DFCNTRL = 0x04              # SCSIENWRDIS


_BUGS_A: Final = (Bug.SENT_RST | Bug.LONG_SETIMO | Bug.PKT_BITBUCKET | Bug.PKT_LUN | Bug.BUSFREEREV
                  | Bug.PCIX_CHIPRST | Bug.PCIX_MMIO | Bug.NEGO_SETTLE)
_BUGS_B: Final = Bug.LQO_OVERRUN
_FEATURES_B: Final = Feature.RTI | Feature.NEW_IOCELL | Feature.NEW_DFCNTRL


def is_7902(device: int) -> bool:
    """Whether a device id is one of the 7902's: 801x, but for the 7901A (801E, and 8014, 8017 by their boards)."""
    device &= ~PCI_DEVICE_HOSTRAID
    return device & 0xFFF0 == 0x8010 and device not in (0x8014, 0x8017, 0x801E)


def bugs_of(device: int, revision: int) -> Bug:
    """The bugs of a part by its PCI device and revision id."""
    if revision < REVISION_B:
        return _BUGS_A
    return _BUGS_B | (Bug.INTCOLLISION if is_7902(device) else Bug(0))


def features_of(revision: int) -> Feature:
    """What a part can do by its PCI revision id."""
    return _FEATURES_B if revision >= REVISION_B else Feature(0)
