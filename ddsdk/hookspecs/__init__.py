"""Hook specifications: what a driver port implements, and how it is found.

A spec is an empty function; its docstring is the contract.  README.md quotes every signature.
"""

from __future__ import annotations

from .ata import AtaHookSpecs
from .device import BoundHooks, HookTracer, bind
from .discovery import Chip, DiscoveryHookSpecs, DriverInfo, HardwareModelInfo, QemuAdapter
from .markers import PROJECT, hookimpl, hookspec
from .scsi import ScsiHookSpecs

__all__ = [
    "PROJECT",
    "AtaHookSpecs",
    "BoundHooks",
    "Chip",
    "DiscoveryHookSpecs",
    "DriverInfo",
    "HardwareModelInfo",
    "HookTracer",
    "QemuAdapter",
    "ScsiHookSpecs",
    "bind",
    "hookimpl",
    "hookspec",
]
