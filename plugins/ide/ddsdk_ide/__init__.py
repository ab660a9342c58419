"""diskdump port of the PIIX IDE driver, and the hardware model it is tried on.

Importing this module imports neither the driver nor the model: they come when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ddsdk.hookspecs import ConformanceProfile, DriverInfo, HardwareModelInfo, hookimpl

#: Every module whose code runs after a crash: what the code CRC covers.
DRIVER_MODULES: Final = tuple(f"ddsdk_ide.{name}" for name in (
    "adapter", "commands", "dma", "driver", "dump", "ending", "frames", "interrupt", "pio", "recovery", "regs",
    "timing"))


@hookimpl
def ddsdk_register_drivers() -> Sequence[DriverInfo]:
    """The PIIX driver."""
    from .chips import CHIPS
    from .driver import piix_probe
    from .dump import PiixDumpHooks

    return (DriverInfo(
        name="ide",
        bus="ata",
        summary="Intel PIIX IDE interfaces: PIIX3, PIIX4",
        chips=CHIPS,
        probe=piix_probe,
        hooks=PiixDumpHooks(),
        modules=DRIVER_MODULES,
    ),)


@hookimpl
def ddsdk_register_hardware_models() -> Sequence[HardwareModelInfo]:
    """The models of both chips."""
    from .model import hardware_models

    return hardware_models()


@hookimpl
def ddsdk_register_conformance_profiles() -> Sequence[ConformanceProfile]:
    """What the conformance kit has to know of the driver."""
    from .conformance import PROFILE

    return (PROFILE,)
