"""diskdump port of the SYM53C8XX SCSI host driver, and the hardware models it is tried on.

Importing this module imports neither the driver nor the models: they come when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ddsdk.hookspecs import ConformanceProfile, DriverInfo, HardwareModelInfo, hookimpl

#: Every module whose code runs after a crash: what the code CRC covers.
DRIVER_MODULES: Final = tuple(f"ddsdk_sym53c8xx.{name}" for name in (
    "abort", "adapter", "assembler", "block", "chip", "chips", "complete", "driver", "dump", "frames", "insn",
    "interrupt", "program", "recovery", "reg_fields", "regs", "scatter", "sir"))


@hookimpl
def ddsdk_register_drivers() -> Sequence[DriverInfo]:
    """The sym53c8xx driver."""
    from .chips import CHIPS
    from .driver import sym_probe
    from .dump import SymDumpHooks

    return (DriverInfo(
        name="sym53c8xx",
        bus="scsi",
        summary="SYM53C8XX SCSI host adapters: 53C810, 53C895A, 53C1010",
        chips=CHIPS,
        probe=sym_probe,
        hooks=SymDumpHooks(),
        modules=DRIVER_MODULES,
    ),)


@hookimpl
def ddsdk_register_hardware_models() -> Sequence[HardwareModelInfo]:
    """The models of the three chips."""
    from .model import hardware_models

    return hardware_models()


@hookimpl
def ddsdk_register_conformance_profiles() -> Sequence[ConformanceProfile]:
    """What the conformance kit has to know of the driver."""
    from .conformance import PROFILE

    return (PROFILE,)
