"""The hardware models this plugin brings: an AIC-7892 with its one channel, an AIC-7899 with two.

Written from hw-aic7xxx.md; each channel is a PCI function with registers, a sequencer and a SCSI bus of its own, the
SCB RAM is the package's.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from ddsdk.hookspecs import HardwareModelInfo
from ddsdk.sim.machine import Machine
from ddsdk.sim.pci import ConfigRegister, SimPciFunction
from ddsdk.sim.scsi_target import ScsiTarget

from .model_bus import Bus
from .model_chip import AIC7892, AIC7899, BARS, CLASS_CODE, PROFILES, ChipProfile, Port, Timing
from .model_core import ScbRam
from .model_messages import Messages
from .model_nexus import Nexus
from .model_registers import AhcRegisters
from .model_sequencer import Sequencer
from .model_slots import Slots
from .regs import PCIR_DEVCONFIG

__all__ = ["AIC7892", "AIC7899", "AhcFunction", "Aic7xxx", "ChipProfile", "Port", "Timing", "build", "hardware_models",
           "make_function"]

_DEVCONFIG: Final = ConfigRegister(PCIR_DEVCONFIG, 4, writable=0xFFFFFFFF)
_DOCUMENTS: Final = (
    "Linux 2.6.9 (RHEL 4) aic7xxx.reg rev 39, aic7xxx.seq rev 56: registers, what the firmware does",
    "linux-kernel archive, 2001-2006: card states of idle AIC-7892 and AIC-7899 parts",
    "SPI-4 rev 10, SCSI-2 rev 10L: messages, contingent allegiance",
)


class Aic7xxx(AhcRegisters):
    """One channel, with its targets by id."""

    def __init__(self, profile: ChipProfile, number: int, ram: ScbRam, targets: Mapping[int, ScsiTarget],
                 timing: Timing | None = None) -> None:
        self.bus = Bus(self, targets)
        self.seq: Sequencer = Sequencer(self)
        self.messages = Messages(self)
        self.nexus = Nexus(self)
        self.scbs = Slots(self)
        super().__init__(profile, number, ram, timing)


class AhcFunction(SimPciFunction):
    """A channel as a PCI function.  Function 0 brings the package's other function into its slot."""

    model: Aic7xxx
    machine: Machine
    other: AhcFunction | None = None

    def attach(self, name: str, *rest: Any) -> None:
        """See `SimPciFunction.attach`."""
        super().attach(name, *rest)
        if self.other is not None:
            self.machine.pci.plug(self.other, slot=int(name[8:10], 16), func=1)


def make_function(machine: Machine, targets: Mapping[tuple[int, int], ScsiTarget], chip: ChipProfile = AIC7892,
                  timing: Timing | None = None) -> AhcFunction:
    """A package with *targets*, keyed by (channel, id), behind its function 0, ready for `machine.pci.plug()`."""
    ram = ScbRam(chip.functions)
    functions = []
    for number in range(chip.functions):
        mine = {one: target for (channel, one), target in targets.items() if channel == number}
        functions.append(AhcFunction(Aic7xxx(chip, number, ram, mine, timing), vendor=chip.chip.vendor,
                                     device=chip.chip.device, bars=BARS, class_code=CLASS_CODE,
                                     revision=chip.revision, subsystem=chip.subsystem, interrupt_pin=1 + number,
                                     registers=(_DEVCONFIG,)))
    first = functions[0]
    first.machine = machine
    first.other = functions[1] if len(functions) > 1 else None
    return first


def build(machine: Machine, targets: Mapping[tuple[int, int], ScsiTarget], chip: ChipProfile = AIC7892,
          timing: Timing | None = None) -> AhcFunction:
    """The same, plugged into the next free slot."""
    function = make_function(machine, targets, chip, timing)
    machine.pci.plug(function)
    return function


def hardware_models() -> tuple[HardwareModelInfo, ...]:
    """Every chip of this plugin that is modelled, as ddsdk's registry wants it."""
    return tuple(HardwareModelInfo(driver="aic7xxx", chip=profile.chip, build=partial(make_function, chip=profile),
                                   documents=_DOCUMENTS) for profile in PROFILES)
