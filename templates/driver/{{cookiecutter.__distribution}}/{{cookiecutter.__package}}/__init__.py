"""diskdump port of the {{cookiecutter.name}} {{cookiecutter.__what}} driver, and the hardware model it is tried on.

Importing this module imports neither the driver nor the model: they come when they are asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ddsdk.hookspecs import ConformanceProfile, DriverInfo, HardwareModelInfo, hookimpl

#: Every module whose code runs after a crash: what the code CRC covers.
DRIVER_MODULES: Final = tuple(f"{{cookiecutter.__package}}.{name}" for name in (
    "adapter", "driver", "dump", "frames", "interrupt", "recovery", "regs"))


@hookimpl
def ddsdk_register_drivers() -> Sequence[DriverInfo]:
    """The {{cookiecutter.name}} driver."""
    from .chips import CHIP
    from .driver import {{cookiecutter.name}}_probe
    from .dump import {{cookiecutter.__Name}}DumpHooks

    return (DriverInfo(
        name="{{cookiecutter.name}}",
        bus="{{cookiecutter.bus}}",
        summary="{{cookiecutter.chip}} {{cookiecutter.__what}}",
        chips=(CHIP,),
        probe={{cookiecutter.name}}_probe,
        hooks={{cookiecutter.__Name}}DumpHooks(),
        modules=DRIVER_MODULES,
    ),)


@hookimpl
def ddsdk_register_hardware_models() -> Sequence[HardwareModelInfo]:
    """The model of the {{cookiecutter.chip}}."""
    from .model import hardware_models

    return hardware_models()


@hookimpl
def ddsdk_register_conformance_profiles() -> Sequence[ConformanceProfile]:
    """What the conformance kit has to know of the driver."""
    from .conformance import PROFILE

    return (PROFILE,)
