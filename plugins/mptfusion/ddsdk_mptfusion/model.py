"""The hardware models this plugin brings: one chip each, ready for a PCI slot."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from ddsdk.hookspecs.discovery import HardwareModelInfo, QemuAdapter
from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget

from .model_chips import CHIPS, LSI53C1030, SAS1068, ChipProfile, Timing
from .model_ioc import MptIoc

__all__ = ["LSI53C1030", "SAS1068", "ChipProfile", "MptIoc", "Timing", "build", "hardware_models",
           "make_function"]

_DOCUMENTS = (
    "LSI Logic MPI 1.x: mpi.h 01.05.13, mpi_ioc.h, mpi_init.h, mpi_cnfg.h (FreeBSD sys/dev/mpt/mpilib)",
    "Linux 2.6.9 drivers/message/fusion/mptbase.c and mptscsih.c: order of accesses, waits",
    "QEMU 7.2 mptsas1068 over qtest: values, statuses, test vectors",
)
_QEMU: Final = {SAS1068.chip.name: QemuAdapter("mptsas1068", disk_device="scsi-hd")}


class _FirstFunction(SimPciFunction):
    """Function 0 of a chip: wherever it is plugged in, the chip's other functions follow into its slot."""

    others: tuple[SimPciFunction, ...] = ()
    machine: Machine

    def attach(self, name: str, *rest: Any) -> None:
        """See `SimPciFunction.attach`."""
        super().attach(name, *rest)
        for number, function in enumerate(self.others, 1):
            self.machine.pci.plug(function, slot=int(name[8:10], 16), func=number)


def make_function(machine: Machine, targets: Mapping[tuple[int, int], ScsiTarget],
                  chip: ChipProfile = SAS1068, timing: Timing | None = None) -> SimPciFunction:
    """One adapter with *targets*, keyed by (bus, id), behind its function 0, ready for `machine.pci.plug()`.

    A chip with two functions brings both; the second has an empty bus and shares the reset.
    """
    iocs = [MptIoc(chip, {} if number else targets, timing, number) for number in range(chip.functions)]
    ids, bars, class_code = chip.chip, chip.bars, chip.class_code
    first = _FirstFunction(iocs[0], vendor=ids.vendor, device=ids.device, bars=bars, class_code=class_code)
    first.machine = machine
    first.others = tuple(
        SimPciFunction(ioc, vendor=ids.vendor, device=ids.device, bars=bars, class_code=class_code)
        for ioc in iocs[1:])
    for ioc in iocs:
        ioc.resets.siblings = tuple(other for other in iocs if other is not ioc)
    return first


def build(machine: Machine, targets: Mapping[tuple[int, int], ScsiTarget], chip: ChipProfile = SAS1068,
          timing: Timing | None = None) -> SimPciFunction:
    """The same, plugged into the next free slot."""
    return machine.pci.plug(make_function(machine, targets, chip, timing))


def hardware_models() -> tuple[HardwareModelInfo, ...]:
    """Every chip of this plugin as ddsdk's registry wants it."""
    return tuple(
        HardwareModelInfo(driver="mptfusion", chip=profile.chip, build=partial(make_function, chip=profile),
                          documents=_DOCUMENTS, qemu=_QEMU.get(profile.chip.name))
        for profile in CHIPS)
