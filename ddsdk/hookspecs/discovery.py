"""How a plugin says what it brings: entry-point group `ddsdk`, two broadcast hooks, frozen records."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from attrs import Factory, frozen

from .markers import hookspec
from .profile import ConformanceProfile

if TYPE_CHECKING:
    from ddsdk.ata.host import IdeHwif
    from ddsdk.helperlib.kernel import PciDev
    from ddsdk.scsi.host import ScsiHost
    from ddsdk.sim.machine import Machine
    from ddsdk.sim.pci import SimPciFunction

BUSES = ("scsi", "ata")


@frozen
class Chip:
    """One PCI part: `name` is what users type (`chip=NAME`), `vendor` and `device` are its PCI ids."""

    name: str
    vendor: int
    device: int
    title: str

    def __attrs_post_init__(self) -> None:
        for what, value in (("vendor", self.vendor), ("device", self.device)):
            if not 0 <= value <= 0xFFFF:
                raise ValueError(f"chip {self.name!r}: PCI {what} id {value:#x} does not fit 16 bits")


@frozen
class DriverInfo:
    """One driver port.

    `bus`: which hook specs it implements, "scsi" or "ata".  `chips`: what it drives, the default first.
    `probe(pdev, chip)` brings the adapter up in normal mode and returns its host, as the kernel's pci probe
    does: a ScsiHost, or an IdeHwif with its `mate`.  `hooks`: the object whose @hookimpl methods are bound to a
    dump device.  `modules`: dotted names of every module whose code runs after a crash; their CRC is taken at
    registration and checked at the crash.
    """

    name: str
    bus: Literal["scsi", "ata"]
    summary: str
    chips: tuple[Chip, ...]
    probe: Callable[[PciDev, Chip], ScsiHost | IdeHwif]
    hooks: object
    modules: tuple[str, ...]

    def __attrs_post_init__(self) -> None:
        if not self.name or not self.name.replace("_", "").isalnum():
            raise ValueError(f"driver name {self.name!r}: letters, digits and _ only (users type it)")
        if self.bus not in BUSES:
            raise ValueError(f"driver {self.name}: bus {self.bus!r} must be one of {', '.join(BUSES)}")
        names = [chip.name for chip in self.chips]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"driver {self.name}: chips {names} must be one or more, each name once")
        if not self.modules:
            raise ValueError(f"driver {self.name}: `modules` is empty; name the modules the code CRC covers")


@frozen
class QemuAdapter:
    """The same chip as QEMU emulates it: `-device DEVICE,id=hba,OPTIONS`, and how disks attach to it.

    SCSI: a disk with id N is `scsi-id=N` on bus `hba` + `disk_bus_suffix`.  IDE (`disk_device` "ide-hd"): the disk at
    (channel, unit) is `unit=UNIT` on bus `hba.CHANNEL`.  `onboard`: the chip is part of QEMU's `pc` already, and this
    is the name its buses have instead of `hba` ("ide": `ide.0`, `ide.1`); OPTIONS are then `-global DEVICE.KEY=VALUE`.
    """

    device: str
    options: Mapping[str, str] = Factory(dict)
    disk_device: str = "scsi-hd"
    disk_bus_suffix: str = ".0"
    onboard: str = ""


@frozen
class HardwareModelInfo:
    """A register-level model of one chip.

    `driver`: name of the DriverInfo it serves.  `build(machine, targets)` makes the PCI function with its
    disks behind it; *targets* has a `sim.scsi_target.ScsiTarget` for each (bus, id), for a driver of bus "ata" a
    `sim.ata_drive.AtaDrive` for each (channel, unit).  `documents`: data sheets and specs it was written from.
    """

    driver: str
    chip: Chip
    build: Callable[[Machine, Mapping[tuple[int, int], Any]], SimPciFunction]
    documents: tuple[str, ...]
    qemu: QemuAdapter | None = None


class DiscoveryHookSpecs:
    """Implemented as plain functions of a plugin's entry-point module.  Called once, when ddsdk starts."""

    @hookspec
    def ddsdk_register_drivers(self) -> Sequence[DriverInfo]:
        """The drivers this plugin brings.  Touches no hardware, opens no file."""
        raise NotImplementedError

    @hookspec
    def ddsdk_register_hardware_models(self) -> Sequence[HardwareModelInfo]:
        """The hardware models this plugin brings.  Touches no hardware, opens no file."""
        raise NotImplementedError

    @hookspec
    def ddsdk_register_conformance_profiles(self) -> Sequence[ConformanceProfile]:
        """What the conformance kit has to know of this plugin's drivers.  Optional: it finds out what it can."""
        raise NotImplementedError


def signature_of(function: Callable[..., Any]) -> str:
    """`dump_poll(sdev)`: the hook as an implementation must declare it, without annotations."""
    code = function.__code__
    names = [name for name in code.co_varnames[:code.co_argcount] if name != "self"]
    return f"{function.__name__}({', '.join(names)})"
