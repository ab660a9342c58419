"""The hardware models this plugin brings: one chip each, ready for a PCI slot."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from ddsdk.hookspecs.discovery import HardwareModelInfo, QemuAdapter
from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget

from .model_chips import LSI53C810, LSI53C895A, LSI53C1010, ChipProfile, Timing
from .model_handlers import SymRegisters
from .regs import Istat1, Regs810, Regs895a, Regs1010

__all__ = ["LSI53C810", "LSI53C895A", "LSI53C1010", "ChipProfile", "Sym810", "Sym895a", "Sym1010", "Timing", "build",
           "hardware_models", "make_function"]

_DOCUMENTS: Final = (
    "LSI53C895A Technical Manual v2.2: registers, SCRIPTS, interrupts, FIFOs",
    "SYM53C810A Data Manual; LSI53C1010 and LSI53C1000 User Manuals: what differs",
    "SCSI-2, X3.131-1994: phases, messages",
    "QEMU 7.2 lsi53c895a over qtest: reset values, test vectors",
)


class Sym810(SymRegisters):
    """53C810."""

    regs = Regs810


class Sym895a(SymRegisters):
    """53C895A."""

    regs = Regs895a

    def r_ISTAT1(self) -> int:
        """SRUN."""
        return self.values["ISTAT1"] & Istat1.SIRQD.mask | (Istat1.SRUN.mask if self.scripts.running else 0)


class Sym1010(Sym895a):
    """53C1010."""

    regs = Regs1010


_MODELS: Final[Mapping[str, tuple[type[SymRegisters], ChipProfile, QemuAdapter | None]]] = {
    LSI53C895A.chip.name: (Sym895a, LSI53C895A, QemuAdapter("lsi53c895a")),
    LSI53C810.chip.name: (Sym810, LSI53C810, QemuAdapter("lsi53c810")),
    LSI53C1010.chip.name: (Sym1010, LSI53C1010, None),
}


def make_function(_machine: Machine, targets: Mapping[tuple[int, int], ScsiTarget],
                  profile: ChipProfile = LSI53C895A, timing: Timing | None = None) -> SimPciFunction:
    """One adapter with *targets*, keyed by (bus, id), ready for `machine.pci.plug()`."""
    model_class, _, _ = _MODELS[profile.chip.name]
    model: Any = model_class(targets, profile, timing)
    ids = profile.chip
    function = SimPciFunction(model, vendor=ids.vendor, device=ids.device, bars=profile.bars)
    model.function = function
    return function


def build(machine: Machine, targets: Mapping[tuple[int, int], ScsiTarget], profile: ChipProfile = LSI53C895A,
          timing: Timing | None = None) -> SimPciFunction:
    """The same, plugged into the next free slot."""
    return machine.pci.plug(make_function(machine, targets, profile, timing))


def hardware_models() -> tuple[HardwareModelInfo, ...]:
    """Every chip of this plugin as ddsdk's registry wants it."""
    return tuple(
        HardwareModelInfo(driver="sym53c8xx", chip=profile.chip, build=partial(make_function, profile=profile),
                          documents=_DOCUMENTS, qemu=qemu)
        for _, profile, qemu in _MODELS.values())
