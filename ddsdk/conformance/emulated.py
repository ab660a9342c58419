"""QEMU's adapters for the bench: started once, reset for each machine that comes after.

A QEMU takes 50 ms of processor time to start and a reset one: hard reset, memory and disk all zeroes, BARs placed
anew.  What a reset does not undo (one of them remembers who initialised it last) is what a warm reboot leaves to a
driver too; all the same an item that fails on an adapter that was used before is judged again on a new one.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import define, field

from ddsdk.errors import DeviceError
from ddsdk.hookspecs.discovery import HardwareModelInfo
from ddsdk.hookspecs.profile import ConformanceProfile
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import Extent

#: What has to be the same for an adapter to be used again: sizes of the extents of memory and of the disk.
Shape = tuple[tuple[tuple[int, int], ...], int]


@define(eq=False)
class Emulated:
    """A QEMU with one adapter, its memory and its disk."""

    shape: Shape
    ram: Any
    image: memoryview
    path: str
    adapter: Any = None
    _stack: ExitStack = field(factory=ExitStack)

    @classmethod
    def start(cls, extents: list[Extent], disk_bytes: int) -> Emulated:
        """Memory of *extents* and a disk of zeroes; QEMU is started when it is plugged in."""
        from ddsdk.qemu.ram import SharedRam

        with ExitStack() as stack:
            ram = stack.enter_context(SharedRam.build(extents))
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="ddsdk-conformance-"))
            path = Path(directory) / "disk.img"
            with path.open("w+b") as file:
                file.truncate(disk_bytes)
                image = memoryview(mmap.mmap(file.fileno(), disk_bytes))        # shared: QEMU's writes show
            return cls(_shape(extents, disk_bytes), ram, image, str(path), stack=stack.pop_all())

    def plug(self, machine: Machine, model: HardwareModelInfo, profile: ConformanceProfile) -> Any:
        """The adapter's function, on the bus of *machine*."""
        from ddsdk.qemu.machine import AdapterSpec, DiskImage, EmulatedAdapter

        if self.adapter is not None:
            self.adapter.replug(machine)
            return self.adapter.function
        assert model.qemu is not None
        channel, target = profile.disk_at
        disk = DiskImage(self.path, target, channel=channel, throwaway=True)
        self.adapter = self._stack.enter_context(
            EmulatedAdapter.start(machine, self.ram, AdapterSpec.of(model.qemu, model.chip), [disk]))
        return self.adapter.function

    def reset(self) -> None:
        """As new.  DeviceError when it is not to be had."""
        self.adapter.reset()
        self.ram.clear()
        size = len(self.image)
        os.truncate(self.path, 0)
        os.truncate(self.path, size)

    def close(self) -> None:
        """End it."""
        self._stack.close()


@define
class Emulators:
    """Those that nobody uses now; none is kept unless `keep` says so."""

    keep: bool = False
    _idle: list[Emulated] = field(factory=list)

    def take(self, extents: list[Extent], disk_bytes: int) -> Emulated:
        """One of that shape."""
        shape = _shape(extents, disk_bytes)
        for one in self._idle:
            if one.shape == shape:
                self._idle.remove(one)
                return one
        return Emulated.start(extents, disk_bytes)

    def give_back(self, one: Emulated) -> None:
        """Its machine is gone."""
        if self.keep and one.adapter is not None:
            try:
                one.reset()
            except DeviceError:
                pass
            else:
                self._idle.append(one)
                return
        one.close()

    def close(self) -> bool:
        """End those that are left; whether there were any."""
        any_left = bool(self._idle)
        while self._idle:
            self._idle.pop().close()
        return any_left


def _shape(extents: list[Extent], disk_bytes: int) -> Shape:
    return tuple((extent.paddr, extent.size) for extent in extents), disk_bytes
