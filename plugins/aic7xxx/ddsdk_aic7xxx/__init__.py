"""diskdump port of the Adaptec AIC-7xxx SCSI host driver, and the hardware models it is tried on.

Importing this module imports neither the driver nor the models: they come when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ddsdk.hookspecs import ConformanceProfile, DriverInfo, HardwareModelInfo, hookimpl

#: Every module whose code runs after a crash: what the code CRC covers.
DRIVER_MODULES: Final = tuple(f"ddsdk_aic7xxx.{name}" for name in (
    "abort", "adapter", "agreement", "codes", "done", "driver", "dump", "frames", "hw", "isr", "msgloop", "queue",
    "recovery", "regs", "scsiint", "sense", "seqint", "seqprog", "spi"))


@hookimpl
def ddsdk_register_drivers() -> Sequence[DriverInfo]:
    """The aic7xxx driver."""
    from .chips import CHIPS
    from .driver import ahc_linux_pci_dev_probe
    from .dump import AhcDumpHooks

    return (DriverInfo(
        name="aic7xxx",
        bus="scsi",
        summary="Adaptec AIC-7892 and AIC-7899 Ultra160 SCSI host adapters",
        chips=CHIPS,
        probe=ahc_linux_pci_dev_probe,
        hooks=AhcDumpHooks(),
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
