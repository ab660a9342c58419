"""The hardware models this plugin brings: one chip each, ready for a PCI slot."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ddsdk.hookspecs.discovery import HardwareModelInfo, QemuAdapter
from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget

from .model_chips import CHIPS, LSI53C1030, SAS1068, ChipProfile, Timing
from .model_ioc import MptIoc

__all__ = ["LSI53C1030", "SAS1068", "ChipProfile", "MptIoc", "Timing", "build", "hardware_models"]

_DOCUMENTS = (
    "LSI Logic MPI 1.x headers mpi.h 01.05.13, mpi_ioc.h, mpi_init.h, mpi_cnfg.h (FreeBSD sys/dev/mpt/mpilib)",
    "Linux 2.6.9 drivers/message/fusion/mptbase.c and mptscsih.c: order of accesses, waits",
    "QEMU 7.2 mptsas1068 over qtest: values, statuses, test vectors",
)
_QEMU = {SAS1068.chip.name: QemuAdapter("mptsas1068", disk_device="scsi-hd")}


def build(machine: Machine, targets: Mapping[tuple[int, int], ScsiTarget], chip: ChipProfile = SAS1068,
          timing: Timing | None = None) -> SimPciFunction:
    """Plug one adapter into *machine* and return its function 0, which has the *targets*, keyed by (bus, id).

    A chip with two functions gets both, in one slot; the second has an empty bus and shares the reset.
    """
    iocs = [MptIoc(chip, {} if number else targets, timing, number) for number in range(chip.functions)]
    functions = [SimPciFunction(ioc, vendor=chip.chip.vendor, device=chip.chip.device, bars=chip.bars,
                                class_code=chip.class_code) for ioc in iocs]
    for ioc in iocs:
        ioc.resets.siblings = tuple(other for other in iocs if other is not ioc)
    first = machine.pci.plug(functions[0])
    for number, function in enumerate(functions[1:], 1):
        machine.pci.plug(function, slot=int(first.name[8:10], 16), func=number)
    return first


def hardware_models() -> tuple[HardwareModelInfo, ...]:
    """Every chip of this plugin as ddsdk's registry wants it."""
    return tuple(
        HardwareModelInfo(driver="mptfusion", chip=profile.chip, build=partial(build, chip=profile),
                          documents=_DOCUMENTS, qemu=_QEMU.get(profile.chip.name))
        for profile in CHIPS)
