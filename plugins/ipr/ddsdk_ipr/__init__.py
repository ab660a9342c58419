"""diskdump port of the IBM Power Linux RAID adapter driver, and the hardware models it is tried on.

Importing this module imports neither the driver nor the models: they come when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ddsdk.hookspecs import ConformanceProfile, DriverInfo, HardwareModelInfo, hookimpl

#: Every module whose code runs after a crash: what the code CRC covers.
DRIVER_MODULES: Final = tuple(f"ddsdk_ipr.{name}" for name in (
    "adapter", "bringup", "command", "driver", "dump", "eh", "frames", "hcam", "interrupt", "ioasc", "job", "mailbox",
    "regs", "reset", "resources", "result", "sense", "tables"))


@hookimpl
def ddsdk_register_drivers() -> Sequence[DriverInfo]:
    """The ipr driver."""
    from .chips import CHIPS
    from .driver import ipr_probe
    from .dump import IprDumpHooks

    return (DriverInfo(
        name="ipr",
        bus="scsi",
        summary="IBM Power Linux RAID adapters: 5702/5703 (Gemstone), Citrine and Snipe families",
        chips=CHIPS,
        probe=ipr_probe,
        hooks=IprDumpHooks(),
        modules=DRIVER_MODULES,
    ),)


@hookimpl
def ddsdk_register_hardware_models() -> Sequence[HardwareModelInfo]:
    """The models of the chips that are modelled."""
    from .model import hardware_models

    return hardware_models()


@hookimpl
def ddsdk_register_conformance_profiles() -> Sequence[ConformanceProfile]:
    """What the conformance kit has to know of the driver."""
    from .conformance import PROFILE

    return (PROFILE,)
