"""Dump targets and swap areas as typed: `--to DRIVER:PATH[,chip=C][,backend=B][,offset=O][,size=S]`."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable, Sequence

from attrs import frozen

from .block.dump_device import PARTITION_SECTOR, Unit
from .errors import DeviceError, UsageError
from .hookspecs.discovery import DriverInfo, HardwareModelInfo
from .registry import Registry
from .sizes import parse_size

BACKENDS = ("model", "qemu")


@frozen
class Target:
    """One `--to` or `--swap DRIVER:PATH[,chip=C][,backend=B][,offset=O][,size=S]`.  Offset and size in bytes.

    `nth`: which of the disks behind the adapter, in the order they are found, from 0.
    """

    driver: str
    path: str
    chip: str | None = None
    backend: str = "model"
    offset_bytes: int = 0
    size_bytes: int | None = None
    nth: int = 0

    def __str__(self) -> str:
        offset = f",offset={self.offset_bytes}" if self.offset_bytes else ""
        size = "" if self.size_bytes is None else f",size={self.size_bytes}"
        return f"{self.driver}:{self.path}{offset}{size}"

    @classmethod
    def parse(cls, text: str, option: str = "--to") -> Target:
        """The Target that *text*, of *option*, spells; UsageError says which part is wrong and what may stand there."""
        driver, colon, rest = text.partition(":")
        path, *options = rest.split(",")
        if not (driver and colon and path) or "/" in driver:
            why = "" if colon and "/" not in driver else "; after a crash nothing but a driver reaches a disk"
            raise UsageError(f"{option} {text!r}: it must be DRIVER:PATH[,chip=C][,backend=B][,offset=O][,size=S]{why}")
        values: dict[str, str] = {}
        for part in options:
            key, equals, value = part.partition("=")
            if key not in ("chip", "backend", "offset", "size") or not (equals and value):
                raise UsageError(f"{option} {text!r}: option {part!r} is none of chip=, backend=, offset=, size=")
            if key in values:
                raise UsageError(f"{option} {text!r}: {key}= is given twice")
            values[key] = value
        backend = values.get("backend", "model")
        if backend not in BACKENDS:
            raise UsageError(f"{option} {text!r}: unknown backend {backend!r}: there are {', '.join(BACKENDS)}")
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

    def shares_disk(self, other: Target) -> bool:
        """Whether *other* is on the same disk, and behind what may be the same adapter."""
        try:
            disks = [identity(os.stat(target.path)) for target in (self, other)]
        except OSError:
            return False
        return (disks[0] == disks[1] and self.chip in (None, other.chip)
                and (self.driver, self.backend, self.nth) == (other.driver, other.backend, other.nth))

    def require_disk(self) -> None:
        """DeviceError unless the path is a block device, or a file of a sector at least: not every backend asks."""
        try:
            status = os.stat(self.path)
        except OSError as error:
            raise DeviceError(f"{self.path}: {os.strerror(error.errno or 0)}; create it first (truncate -s SIZE"
                              f" {self.path}; ddsdk format {self.path})") from None
        if stat.S_ISBLK(status.st_mode):
            return
        if not stat.S_ISREG(status.st_mode):
            raise DeviceError(f"{self.path}: neither a file nor a block device; a disk is one of them")
        if status.st_size < PARTITION_SECTOR:
            raise DeviceError(f"{self.path}: a file of {status.st_size} bytes is no disk; make it as large as `ddsdk"
                              " estimate` says")

    def sectors(self, unit: Unit) -> tuple[int, int]:
        """(first, number) of the partition's 512-byte sectors on *unit*; DeviceError when it does not fit."""
        for what, value in (("offset", self.offset_bytes), ("size", self.size_bytes or 0)):
            if value % PARTITION_SECTOR:
                raise UsageError(f"{self}: {what} {value} must be a multiple of {PARTITION_SECTOR}")
        disk_bytes = unit.nr_sectors * unit.sector_size
        size = disk_bytes - self.offset_bytes if self.size_bytes is None else self.size_bytes
        if size <= 0 or self.offset_bytes + size > disk_bytes:
            raise DeviceError(f"the partition starts at byte {self.offset_bytes} and ends at"
                              f" {self.offset_bytes + max(size, 0)}; the disk has {disk_bytes} bytes: a partition lies"
                              " inside its disk and is not empty")
        return self.offset_bytes // PARTITION_SECTOR, size // PARTITION_SECTOR


def refuse_conflicts(targets: Sequence[Target], memory_fds: Iterable[int] = (), swaps: Sequence[Target] = ()) -> None:
    """UsageError when two *targets* share bytes, or one is the file that the memory itself (*memory_fds*) is in.

    A swap area of *swaps* may not lie where a dump goes either, nor be given twice.
    """
    memory = {identity(os.fstat(fd)) for fd in memory_fds}
    taken: list[tuple[tuple[int, ...], float, float, Target]] = []
    for target in (*targets, *swaps):
        try:
            disk = identity(os.stat(target.path))
        except OSError:
            continue                    # registration says what is wrong with it
        if disk in memory:
            raise UsageError(f"{target}: the memory to be saved is in this file; a dump would overwrite it")
        start = target.offset_bytes
        end = math.inf if target.size_bytes is None else start + target.size_bytes
        for other, low, high, who in taken:
            if other == disk and start < high and low < end and target in swaps:
                raise UsageError(f"{target} and {who} are the same bytes of one disk; a swap area is saved once, and"
                                 " not from where the dump goes")
            if other == disk and start < high and low < end:
                raise UsageError(f"{target} and {who} are the same bytes of one disk; a second dump device is there"
                                 " for when the first fails")
        taken.append((disk, start, end, target))


def identity(status: os.stat_result) -> tuple[int, ...]:
    """The same for every name of one file or block device."""
    return (status.st_rdev,) if stat.S_ISBLK(status.st_mode) else (status.st_dev, status.st_ino)
