"""An adapter emulated by QEMU, plugged into a `sim.Machine`: the same driver objects run on it.

    with SharedRam.build(extents) as ram:
        machine = Machine(PhysicalMemory(ram.extents))
        with EmulatedAdapter.start(machine, ram, AdapterSpec(DEVICE, VENDOR, DEVICE_ID),
                                   [DiskImage("d.img")]) as adapter:
            driver.probe(PciDev(kernel, adapter.function), chip)

CPUs, locks, clock, trace and watchdog are the machine's; only the PCI function and the memory are foreign.
The disk image is read and written by QEMU's process alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from attrs import Factory, frozen

from ddsdk.bus import PCI_CACHE_LINE_SIZE
from ddsdk.errors import DeviceError, UsageError
from ddsdk.sim.machine import Machine

from .function import QemuPciFunction
from .pci import ConfigSpace
from .process import QemuProcess, option_value
from .ram import SharedRam

if TYPE_CHECKING:
    from ddsdk.hookspecs.discovery import Chip, QemuAdapter

#: The adapter's slot and line; every adapter is alone in its QEMU.
ADAPTER_SLOT = 4
ADAPTER_IRQ = 11
#: What a register holds that a reset clears, and how often one looks whether it has.
_MARK, _LOOK_S = 0x10, 0.0005


@frozen
class AdapterSpec:
    """What to ask QEMU for: `-device DEVICE,OPTIONS` or what is on board, its PCI ids, and how disks attach to it.

    The names come from a plugin; `hookspecs.discovery.QemuAdapter` says what each means.
    """

    device: str
    vendor: int
    device_id: int
    options: Mapping[str, str] = Factory(dict)
    disk_device: str = "scsi-hd"
    disk_bus_suffix: str = ".0"
    onboard: str = ""

    @classmethod
    def of(cls, adapter: QemuAdapter, chip: Chip) -> AdapterSpec:
        """What a plugin registered for *chip*."""
        return cls(adapter.device, chip.vendor, chip.device, adapter.options, adapter.disk_device,
                   adapter.disk_bus_suffix, adapter.onboard)

    @property
    def ide(self) -> bool:
        """Disks are drives at (channel, unit)."""
        return self.disk_device.startswith("ide-")

    def place_of(self, disk: DiskImage) -> str:
        """The properties of a disk's device that say where it is."""
        bus = self.onboard or "hba"
        if self.ide:
            return f"bus={bus}.{disk.channel},unit={disk.target}"
        return f"bus={bus}{self.disk_bus_suffix},scsi-id={disk.target}"


@frozen
class DiskImage:
    """A raw image file or block device as the disk with SCSI id `target`; IDE: unit `target` of `channel`.

    `throwaway`: what QEMU writes need not survive the host's own crash; nothing waits for the host's disk.
    """

    path: str
    target: int = 0
    read_only: bool = False
    channel: int = 0
    throwaway: bool = False


class EmulatedAdapter:
    """One adapter with its disks in one QEMU process.  Use as a context manager, or call `close()`."""

    __slots__ = ("_irq", "_qemu", "_ram", "function")

    def __init__(self, qemu: QemuProcess, function: QemuPciFunction, ram: SharedRam, irq: int) -> None:
        self._qemu = qemu
        self._ram = ram
        self._irq = irq
        self.function = function

    @classmethod
    def start(cls, machine: Machine, ram: SharedRam, spec: AdapterSpec, disks: Sequence[DiskImage], *,
              slot: int = ADAPTER_SLOT, irq: int = ADAPTER_IRQ, timeout_s: float = 20.0) -> Self:
        """Start QEMU with *spec* and *disks*, find the function, assign its BARs.

        *slot* names the function (0000:00:SS.0) and must differ between adapters of one machine, each of
        which has its own QEMU on the same RAM.  DeviceError in one line when it cannot be done.
        """
        qemu = QemuProcess.start(ram, device_arguments(spec, disks, slot), timeout_s=timeout_s)
        try:
            at, func = ConfigSpace(qemu.qtest).find(spec.vendor, spec.device_id)
            function = QemuPciFunction.placed(machine, ram, qemu.qtest, at, irq, func)
        except BaseException:
            qemu.close()
            raise
        return cls(qemu, function, ram, irq)

    def reset(self, limit_s: float = 5.0) -> None:
        """Unplug the function and reset QEMU's machine; DeviceError when it has not happened after *limit_s*.

        Memory and disk stay as they are.  `replug()` brings the function into another machine.
        """
        self.function.detach()
        config, (slot, func) = ConfigSpace(self._qemu.qtest), self.function.place
        config.write(slot, PCI_CACHE_LINE_SIZE, 1, _MARK, func)
        self._qemu.reset()
        deadline = time.monotonic() + limit_s
        while config.read(slot, PCI_CACHE_LINE_SIZE, 1, func) == _MARK:
            if time.monotonic() > deadline:
                raise DeviceError(f"{self.function.name}: QEMU did not reset its machine within {limit_s:g} s")
            time.sleep(_LOOK_S)
        self._qemu.qtest.irq_lines.clear()

    def replug(self, machine: Machine) -> None:
        """After a reset: the function on the bus of *machine*, which has the same RAM."""
        slot, func = self.function.place
        self.function = QemuPciFunction.placed(machine, self._ram, self._qemu.qtest, slot, self._irq, func)

    @property
    def pid(self) -> int:
        """Process id of the QEMU that plays the adapter."""
        return self._qemu.pid

    def close(self) -> None:
        """Unplug the function, end QEMU, close the disk images."""
        self.function.detach()
        self._qemu.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _type: type[BaseException] | None, _value: BaseException | None,
                 _trace: TracebackType | None) -> None:
        self.close()


def device_arguments(spec: AdapterSpec, disks: Sequence[DiskImage], slot: int = ADAPTER_SLOT) -> list[str]:
    """QEMU arguments for *spec* with *disks*.  UsageError: two at one place; DeviceError: one without file."""
    places = [spec.place_of(disk) for disk in disks]
    if len(set(places)) != len(places):
        raise UsageError(f"disks of {spec.device}: each needs a place of its own, not {'; '.join(places)}")
    arguments = []
    if spec.onboard:
        for key, value in spec.options.items():
            arguments += ["-global", f"{spec.device}.{key}={value}"]
    else:
        options = "".join(f",{key}={option_value(value)}" for key, value in spec.options.items())
        arguments = ["-device", f"{spec.device},id=hba,addr={slot:#x}{options}"]
    for number, (disk, place) in enumerate(zip(disks, places, strict=True)):
        # absolute: a relative path with a colon in it would be a protocol to QEMU
        path = os.path.abspath(disk.path)
        if not os.path.exists(path):
            raise DeviceError(f"{disk.path}: no such image or device; create it first "
                              f"(truncate -s SIZE {disk.path})")
        mode, cache = "on" if disk.read_only else "off", "unsafe" if disk.throwaway else "writeback"
        # report: a host I/O error becomes a failed command instead of a stopped machine
        arguments += [
            "-drive", f"file={option_value(path)},format=raw,if=none,id=disk{number},readonly={mode},"
                      f"cache={cache},werror=report,rerror=report",
            "-device", f"{spec.disk_device},drive=disk{number},{place}",
        ]
    return arguments
