"""diskdump port of the AIC-79xx SCSI host driver, and the hardware models it is tried on.

Importing this module imports neither the driver nor the models: they come when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ddsdk.hookspecs import ConformanceProfile, DriverInfo, HardwareModelInfo, hookimpl

#: Every module whose code runs after a crash: what the code CRC covers.
DRIVER_MODULES: Final = tuple(f"ddsdk_aic79xx.{name}" for name in (
    "access", "ahd", "busfree", "chips", "driver", "dump", "firmware", "flush", "frames", "init", "interrupt", "lists",
    "lost", "message", "negotiate", "queue", "recovery", "regs", "regs_banks", "regs_scratch", "reset", "scb",
    "scsiint", "seqint", "sequencer", "status"))


@hookimpl
def ddsdk_register_drivers() -> Sequence[DriverInfo]:
    """The aic79xx driver."""
    from .chips import CHIPS
    from .driver import ahd_linux_probe
    from .dump import AhdDumpHooks

    return (DriverInfo(
        name="aic79xx",
        bus="scsi",
        summary="Adaptec AIC-79xx (Ultra320) SCSI host adapters: AIC-7901, 7901A, 7902",
        chips=CHIPS,
        probe=ahd_linux_probe,
        hooks=AhdDumpHooks(),
        modules=DRIVER_MODULES,
    ),)


@hookimpl
def ddsdk_register_hardware_models() -> Sequence[HardwareModelInfo]:
    """The models of the parts that are modelled."""
    from .model import hardware_models

    return hardware_models()


@hookimpl
def ddsdk_register_conformance_profiles() -> Sequence[ConformanceProfile]:
    """What the conformance kit has to know of the driver."""
    from .conformance import PROFILE

    return (PROFILE,)
