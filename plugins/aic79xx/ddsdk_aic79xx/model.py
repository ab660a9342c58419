"""The hardware models this plugin brings: one part each, ready for a PCI slot."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from ddsdk.hookspecs.discovery import HardwareModelInfo
from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget

from .model_chips import AIC7901, AIC7902, AIC7902A, BARS, PROFILES, ChipProfile, SpiDisk, Timing
from .model_core import AicCore

__all__ = ["AIC7901", "AIC7902", "AIC7902A", "PROFILES", "AicCore", "ChipProfile", "SpiDisk", "Timing", "build",
           "hardware_models", "make_function"]

_DOCUMENTS: Final = (
    "aic79xx.reg rev 70, aic79xx.seq rev 99 (Linux 2.6.9, RHEL 4): registers, effects of the sequencer's program",
    "aic79xx_core.c, aic79xx_pci.c, aic79xx.h (Linux 2.6.9, RHEL 4): order of accesses, SCB, bugs by revision",
    "linux-kernel archive: card-state printouts of idle AIC-7901 parts (12 Dec 2006)",
    "SPI-4 rev 10: messages, information units, bus phases",
)
#: Configuration space: DEVCONFIG, DEVCONFIG1 (40, 44): plain PCI, dual address cycles allowed.
_DEVCONFIG: Final = 0x0000E004.to_bytes(4, "little") + bytes(4)


class _FirstFunction(SimPciFunction):
    """Function 0 of a part: wherever it is plugged in, the other channel follows into its slot."""

    others: tuple[SimPciFunction, ...] = ()
    machine: Machine

    def attach(self, name: str, *rest: Any) -> None:
        """See `SimPciFunction.attach`."""
        super().attach(name, *rest)
        for number, function in enumerate(self.others, 1):
            self.machine.pci.plug(function, slot=int(name[8:10], 16), func=number)


def make_function(machine: Machine, targets: Mapping[tuple[int, int], ScsiTarget],
                  profile: ChipProfile = AIC7901) -> SimPciFunction:
    """One part with *targets*, keyed by (channel, id), ready for `machine.pci.plug()`.

    A part with two channels has two functions, which share nothing but the slot.
    """
    functions = []
    for channel in range(profile.functions):
        core = AicCore(profile, {number: one for (bus, number), one in targets.items() if bus == channel})
        kind = SimPciFunction if channel else _FirstFunction
        function = kind(core, vendor=profile.chip.vendor, device=profile.chip.device, bars=BARS,
                        revision=profile.revision, subsystem=profile.subsystem, capabilities=_DEVCONFIG)
        core.function = function
        functions.append(function)
    first = functions[0]
    assert isinstance(first, _FirstFunction)
    first.machine, first.others = machine, tuple(functions[1:])
    return first


def build(machine: Machine, targets: Mapping[tuple[int, int], ScsiTarget],
          profile: ChipProfile = AIC7901) -> SimPciFunction:
    """The same, plugged into the next free slot."""
    return machine.pci.plug(make_function(machine, targets, profile))


def hardware_models() -> tuple[HardwareModelInfo, ...]:
    """Every part of this plugin as ddsdk's registry wants it."""
    return tuple(HardwareModelInfo(driver="aic79xx", chip=profile.chip, build=partial(make_function, profile=profile),
                                   documents=_DOCUMENTS) for profile in PROFILES)
