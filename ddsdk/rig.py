"""A machine put together: memory, adapters with their disks, drivers probed, dump devices registered.

The command line, the conformance kit and the campaigns all start here; this is the one place that knows the
simulator, the QEMU backend, the SCSI layer and the dump engine at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Self

import attrs
from attrs import define, field, frozen

from .diskdump import core_modules
from .diskdump.device import Scratch
from .diskdump.engine import DiskDump, DumpConfig, DumpReport, Rejection, silent
from .diskdump.plan import CrashFacts
from .diskdump.writer import Progress, Stage
from .errors import DdsdkError, DeviceError, UsageError
from .helperlib.kernel import Kernel
from .helperlib.pci import PciDev
from .hookspecs.device import BoundHooks, bind
from .hookspecs.discovery import Chip, DriverInfo, HardwareModelInfo
from .integrity import CodeImage
from .registry import Registry
from .scsi.host import ScsiDevice, ScsiHost
from .scsi.scan import scan_host
from .scsi.scsi_dump import ScsiDumpDevice
from .sim.disk import Disk
from .sim.machine import CrashRecord, Machine, Trigger
from .sim.memory import Extent, PhysicalMemory
from .sim.scsi_target import ScsiTarget
from .sim.trace import Trace
from .sizes import parse_size
from .vmcore.source import MemorySource

BACKENDS = ("model", "qemu")
#: The engine's own memory: one signature chunk of the largest block order.
SCRATCH_BYTES = 1 << 20


@frozen
class Target:
    """One `--to DRIVER:PATH[,chip=C][,backend=B][,offset=O][,size=S]`.  Offset and size in bytes."""

    driver: str
    path: str
    chip: str | None = None
    backend: str = "model"
    offset_bytes: int = 0
    size_bytes: int | None = None

    def __str__(self) -> str:
        return f"{self.driver}:{self.path}"

    @classmethod
    def parse(cls, text: str) -> Target:
        """The Target that *text* spells; UsageError says which part is wrong and lists what may stand there."""
        driver, colon, rest = text.partition(":")
        path, *options = rest.split(",")
        if not (driver and colon and path):
            raise UsageError(f"--to {text!r}: it must be DRIVER:PATH[,chip=C][,backend=B][,offset=O][,size=S]")
        values: dict[str, str] = {}
        for option in options:
            key, equals, value = option.partition("=")
            if key not in ("chip", "backend", "offset", "size") or not (equals and value):
                raise UsageError(f"--to {text!r}: option {option!r} is none of chip=, backend=, offset=, size=")
            values[key] = value
        backend = values.get("backend", "model")
        if backend not in BACKENDS:
            raise UsageError(f"--to {text!r}: unknown backend {backend!r}: there are {', '.join(BACKENDS)}")
        size = parse_size(values["size"], "size=") if "size" in values else None
        return cls(driver, path, values.get("chip"), backend,
                   parse_size(values.get("offset", "0"), "offset="), size)
