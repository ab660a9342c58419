"""The hardware models this plugin brings: one chip each, ready for a PCI slot."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final

from ddsdk.hookspecs.discovery import HardwareModelInfo
from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget

from .model_chips import CHIPS, CITRINE, GEMSTONE, SNIPE, ChipProfile, Timing
from .model_ioa import IprIoa, IprIoaL1, IprIoaL2
from .regs import PCI_CAP_ID_PCIX, PCI_VENDOR_ID_IBM, IprRegsL1

__all__ = ["CITRINE", "GEMSTONE", "SNIPE", "ChipProfile", "IprIoa", "Timing", "build",
           "hardware_models", "make_function"]

_DOCUMENTS: Final = (
    "RHEL 4 drivers/scsi/ipr.h and ipr.c (5.0.3.EL and 89.29.1.EL: driver 2.0.11 and 2.0.11.6): registers,"
    " structures, codes, timers",
    "PCI Local Bus Specification 3.0, 6.2.4 (BIST)",
)
#: Id, next (none), command word, status dword; of the command word bits 6:0 can be written (PCI-X addendum, 7.2).
_PCIX: Final = bytes((PCI_CAP_ID_PCIX, 0, 0, 0, 0, 0, 3, 0))
_PCIX_BITS: Final = bytes((0, 0, 0x7F, 0, 0, 0, 0, 0))


def make_function(_machine: Machine, targets: Mapping[tuple[int, int], ScsiTarget], chip: ChipProfile = GEMSTONE,
                  timing: Timing | None = None) -> SimPciFunction:
    """One adapter with *targets* behind it, keyed by (bus, id), volume sets by (FF, id)."""
    kind = IprIoaL1 if chip.regs is IprRegsL1 else IprIoaL2
    ioa = kind(chip, targets, timing)
    ioa.pci = SimPciFunction(
        ioa, vendor=chip.chip.vendor, device=chip.chip.device, bars={0: chip.bar}, class_code=chip.class_code,
        revision=chip.revision, subsystem=(PCI_VENDOR_ID_IBM, chip.subsystem_id), capabilities=_PCIX,
        capability_bits=_PCIX_BITS, bist=True)
    return ioa.pci


def build(machine: Machine, targets: Mapping[tuple[int, int], ScsiTarget], chip: ChipProfile = GEMSTONE,
          timing: Timing | None = None) -> SimPciFunction:
    """The same, plugged into the next free slot."""
    function = make_function(machine, targets, chip, timing)
    machine.pci.plug(function)
    return function


def hardware_models() -> tuple[HardwareModelInfo, ...]:
    """Every chip of this plugin as ddsdk's registry wants it."""
    return tuple(
        HardwareModelInfo(driver="ipr", chip=profile.chip, build=partial(make_function, chip=profile),
                          documents=_DOCUMENTS)
        for profile in CHIPS)
