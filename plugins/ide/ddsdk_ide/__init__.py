"""diskdump port of the PIIX IDE driver, and the hardware model it is tried on.

Importing this module imports neither the driver nor the model: they come when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ddsdk.hookspecs import DriverInfo, hookimpl

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

