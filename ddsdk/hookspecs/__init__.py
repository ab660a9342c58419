"""Hook specifications: what a driver port implements, and how it is found.

A spec is an empty function; its docstring is the contract.  README.md quotes every signature.
"""

from __future__ import annotations

from .ata import AtaHookSpecs
from .device import BoundHooks, HookTracer, bind
from .discovery import Chip, DiscoveryHookSpecs, DriverInfo, HardwareModelInfo, QemuAdapter
from .markers import PROJECT, hookimpl, hookspec
from .profile import ConformanceProfile, ModelFault, Role
from .scsi import ScsiHookSpecs

__all__ = [
    "PROJECT",
    "AtaHookSpecs",
    "BoundHooks",
    "Chip",
    "ConformanceProfile",
    "DiscoveryHookSpecs",
    "DriverInfo",
    "HardwareModelInfo",
    "HookTracer",
    "ModelFault",
    "QemuAdapter",
    "Role",
    "ScsiHookSpecs",
    "bind",
    "hookimpl",
    "hookspec",
]
