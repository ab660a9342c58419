"""diskdump port of the Fusion-MPT SCSI host driver, and the hardware models it is tried on.

Importing this module imports neither the driver nor the models: they come when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ddsdk.hookspecs import ConformanceProfile, DriverInfo, HardwareModelInfo, hookimpl

#: Every module whose code runs after a crash: what the code CRC covers.
DRIVER_MODULES: Final = tuple(f"ddsdk_mptfusion.{name}" for name in (
    "adapter", "driver", "dump", "events", "frames", "handshake", "ioc", "mpi", "mpi_ioc", "recovery", "regs",
    "reply", "sgl", "task_mgmt"))


@hookimpl
def ddsdk_register_drivers() -> Sequence[DriverInfo]:
    """The mptfusion driver."""
    from .chips import CHIPS
    from .driver import mptscsih_probe
    from .dump import MptDumpHooks

    return (DriverInfo(
        name="mptfusion",
        bus="scsi",
        summary="LSI Fusion-MPT SCSI host adapters: 53C1030 (Ultra320) and SAS1068 families",
        chips=CHIPS,
        probe=mptscsih_probe,
        hooks=MptDumpHooks(),
        modules=DRIVER_MODULES,
    ),)


@hookimpl
def ddsdk_register_hardware_models() -> Sequence[HardwareModelInfo]:
    """The models of the two chips that are modelled."""
    from .model import hardware_models

    return hardware_models()


@hookimpl
def ddsdk_register_conformance_profiles() -> Sequence[ConformanceProfile]:
    """What the conformance kit has to know of the driver."""
    from .conformance import PROFILE

    return (PROFILE,)
