"""What differs from chip to chip: PCI face, register layout, card, firmware, timing.

Ids and subsystem ids: hw-ipr.md section 1.  Hardware differences between Gemstone and Citrine, and between Snipe
and either beyond the offsets, are not confirmed by any source; what sets the profiles apart here is a choice that
lets each of a driver's ways be gone.  Times are orders of magnitude of cards of 2004, not measurements.
"""

from __future__ import annotations

from attrs import Factory, field, frozen
from attrs.validators import gt

from ddsdk.hookspecs.discovery import Chip
from ddsdk.sim.pci import BarSpec

from .regs import (
    PCI_VENDOR_ID_IBM,
    PCI_VENDOR_ID_MYLEX,
    IprRegs,
    IprRegsL1,
    IprRegsL2,
    PciDeviceId,
)

US = 1_000
MS = 1_000_000
S = 1_000_000_000


def _positive(default: int) -> int:
    return field(default=default, validator=gt(0))


@frozen
class Timing:
    """How long the adapter takes, in virtual nanoseconds."""

    fetch_ns: int = _positive(US)                 # from the IOARRIN write to the block's fetch
    command_ns: int = 10 * US                     # the firmware's share of a SCSI command
    ioa_command_ns: int = _positive(200 * US)     # a command to the adapter itself
    config_ns: int = 5 * MS                       # the configuration table
    shutdown_ns: int = 300 * MS
    abbrev_shutdown_ns: int = 20 * MS
    cancel_ns: int = 2 * MS
    device_reset_ns: int = 10 * MS
    bus_reset_ns: int = 250 * MS
    selection_ns: int = 250 * MS                  # until "did not answer selection" is known
    refused_ns: int = 50 * US                     # a request that is refused
    bist_ns: int = 1 * S                          # PCI 3.0 allows 2 s
    start_ns: int = 50 * MS
    debug_ack_ns: int = 5 * US
    budget_ns: int = 2 * S                        # how long a reset is held back for CRIT_OP


@frozen
class ChipProfile:
    """One chip on one card.

    `autosense`: the firmware fetches sense data for the host where the IOASA has room for it.  `buses`: SCSI buses,
    numbered from 0.
    """

    chip: Chip
    regs: IprRegs
    subsystem_id: int
    card: str                                     # four hex digits, the beginning of the product id
    revision: int
    autosense: bool
    buses: int
    timing: Timing = Timing()
    class_code: int = 0x010400
    bar: BarSpec = Factory(lambda: BarSpec("mem", 0x1000))
    firmware: tuple[int, int, int] = (0x02, 0x02, 0x0B44)     # major, card, minor


GEMSTONE = ChipProfile(
    chip=Chip("gemstone", PCI_VENDOR_ID_MYLEX, PciDeviceId.GEMSTONE,
              "IBM 5703 PCI-X Dual Channel Ultra320 SCSI RAID (Gemstone)"),
    regs=IprRegsL1,
    subsystem_id=0x0278,
    card="5703",
    revision=0x04,
    autosense=False,
    buses=2,
)

CITRINE = ChipProfile(
    chip=Chip("citrine", PCI_VENDOR_ID_IBM, PciDeviceId.CITRINE,
              "IBM 571B PCI-X Dual Channel Ultra320 SCSI RAID (Citrine)"),
    regs=IprRegsL1,
    subsystem_id=0x02BE,
    card="571B",
    revision=0x01,
    autosense=True,
    buses=2,
)

SNIPE = ChipProfile(
    chip=Chip("snipe", PCI_VENDOR_ID_IBM, PciDeviceId.SNIPE,
              "IBM 2780 PCI-X Quad Channel Ultra320 SCSI RAID (Snipe)"),
    regs=IprRegsL2,
    subsystem_id=0x0264,
    card="2780",
    revision=0x02,
    autosense=True,
    buses=4,
)

CHIPS = (GEMSTONE, CITRINE, SNIPE)
