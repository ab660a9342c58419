"""Dump targets as typed: `--to DRIVER:PATH[,chip=C][,backend=B][,offset=O][,size=S]`."""

from __future__ import annotations

from attrs import frozen

from .errors import DeviceError, UsageError
from .hookspecs.discovery import DriverInfo, HardwareModelInfo
from .registry import Registry
from .scsi.host import ScsiDevice
from .scsi.scsi_dump import PARTITION_SECTOR
from .sizes import parse_size

BACKENDS = ("model", "qemu")


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

    def resolve(self, registry: Registry) -> tuple[DriverInfo, HardwareModelInfo]:
        """Driver and adapter this target names; UsageError lists what there is."""
        driver = registry.driver(self.driver)
        models = {model.chip.name: model for model in registry.models_of(driver.name)}
        able = [chip.name for chip in driver.chips
                if chip.name in models and (self.backend == "model" or models[chip.name].qemu)]
        if not models:
            raise UsageError(f"{self}: driver {driver.name} comes without a hardware model to run on")
        if self.chip is not None and self.chip not in models:
            raise UsageError(f"{self}: unknown chip {self.chip!r}: {driver.name} has {', '.join(sorted(models))}")
        if not able or (self.chip is not None and self.chip not in able):
            choice = f"use chip={' or chip='.join(able)}" if able else f"{driver.name} has only models"
            raise UsageError(f"{self}: chip {self.chip or 'any'} has no backend {self.backend}: {choice}")
        return driver, models[self.chip or able[0]]

    def sectors(self, sdev: ScsiDevice) -> tuple[int, int]:
        """(first, number) of the partition's 512-byte sectors on *sdev*; DeviceError when it does not fit."""
        for what, value in (("offset", self.offset_bytes), ("size", self.size_bytes or 0)):
            if value % PARTITION_SECTOR:
                raise UsageError(f"{self}: {what} {value} must be a multiple of {PARTITION_SECTOR}")
        disk_bytes = sdev.nr_sectors * sdev.sector_size
        size = disk_bytes - self.offset_bytes if self.size_bytes is None else self.size_bytes
        if size <= 0 or self.offset_bytes + size > disk_bytes:
            raise DeviceError(f"the partition of {size} bytes at {self.offset_bytes} does not lie on the disk of"
                              f" {disk_bytes} bytes")
        return self.offset_bytes // PARTITION_SECTOR, size // PARTITION_SECTOR
