#!/usr/bin/env python3
"""Record register-level exchanges with QEMU's mptsas1068: `record_golden.py [DIRECTORY]`.

Each exchange becomes one JSON file of steps with the values QEMU gave (plugins/mptfusion/golden/).  The
plugin's `tests/test_golden.py` replays them against its own model.  Frames and addresses are this file's;
what comes back is QEMU's.  Steps:

    ["out", register, value]            write a register (offset in the register file)
    ["in", register, value]             read a register
    ["poll", register, mask, value]     read until (register & mask) == value
    ["put", address, bytes]             the host stores bytes in memory
    ["fill", address, length, seed]     the host stores a pattern: byte i is (i * 31 + i // 256 + seed) % 256
    ["get", address, bytes]             the host reads memory
    ["sum", address, length, crc]       the same by zlib.crc32
"""

from __future__ import annotations

import json
import mmap
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ddsdk.bus import Window
from ddsdk.qemu.machine import AdapterSpec, DiskImage, EmulatedAdapter
from ddsdk.qemu.process import PROGRAM
from ddsdk.qemu.ram import SharedRam
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import Extent, PhysicalMemory

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:           # run as a script: the repository is not on the path yet
    sys.path.insert(0, str(ROOT))

from tests.real.exchanges import EXCHANGES, Step  # noqa: E402 - needs the path above

GOLDEN = ROOT / "plugins/mptfusion/golden"
SPEC = AdapterSpec("mptsas1068", 0x1000, 0x0054)
RAM_BYTES = 16 << 20
DISK_BYTES = 1 << 30
COMMAND_ON = 0x0007
POLL_LIMIT_S = 10.0

def pattern(length: int, seed: int) -> bytes:
    """The bytes of a "fill" step."""
    return bytes((i * 31 + i // 256 + seed) % 256 for i in range(length))


class Recorder:
    """Carries out steps on the emulated adapter and writes down what it answered."""

    def __init__(self, window: Window, memory: PhysicalMemory) -> None:
        self._window = window
        self._memory = memory
        self.steps: list[Step] = []

    def write(self, register: int, value: int) -> None:
        """An "out" step."""
        self._window.write(register, 4, value)
        self.steps.append(["out", f"{register:02x}", f"{value:08x}"])

    def read(self, register: int, label: str = "") -> int:
        """An "in" step; *label* names it where a model is known to differ."""
        value = self._window.read(register, 4)
        self._note(["in", f"{register:02x}", f"{value:08x}"], label)
        return value

    def poll(self, register: int, mask: int, wanted: int) -> None:
        """A "poll" step; SystemExit when QEMU never gives the value."""
        end = time.monotonic() + POLL_LIMIT_S
        while (value := self._window.read(register, 4)) & mask != wanted:
            if time.monotonic() > end:
                sys.exit(f"register {register:#x} stayed {value:#x}; mask {mask:#x} never gave {wanted:#x}")
        self.steps.append(["poll", f"{register:02x}", f"{mask:08x}", f"{wanted:08x}"])

    def put(self, address: int, data: bytes) -> None:
        """A "put" step."""
        self._memory.write(address, data)
        self.steps.append(["put", f"{address:08x}", data.hex()])

    def fill(self, address: int, length: int, seed: int) -> None:
        """A "fill" step."""
        self._memory.write(address, pattern(length, seed))
        self.steps.append(["fill", f"{address:08x}", length, seed])

    def get(self, address: int, length: int, label: str = "") -> None:
        """A "get" step."""
        self._note(["get", f"{address:08x}", self._memory.read(address, length).hex()], label)

    def sum(self, address: int, length: int, label: str = "") -> None:
        """A "sum" step."""
        crc = zlib.crc32(self._memory.read(address, length))
        self._note(["sum", f"{address:08x}", length, f"{crc:08x}"], label)

    def _note(self, step: Step, label: str) -> None:
        self.steps.append([*step, label] if label else step)


@contextmanager
def adapter(scratch: Path) -> Iterator[Recorder]:
    """A fresh QEMU with an empty disk at target 0."""
    image = scratch / "disk.img"
    with image.open("wb") as disk:
        disk.truncate(DISK_BYTES)
    ram = SharedRam.build([Extent(0, memoryview(mmap.mmap(-1, RAM_BYTES)))])
    machine = Machine(PhysicalMemory(ram.extents))
    with ram, machine, EmulatedAdapter.start(machine, ram, SPEC, [DiskImage(str(image))]) as hba:
        hba.function.config_write(4, 2, COMMAND_ON)
        number = next(n for n, bar in enumerate(hba.function.bars) if bar is not None and bar.kind == "mem")
        yield Recorder(hba.function.window(number), machine.memory)


def record(name: str) -> list[Step]:
    """The steps of exchange *name*, after what must come first."""
    first, exchange = EXCHANGES[name]
    with tempfile.TemporaryDirectory() as scratch, adapter(Path(scratch)) as recorder:
        for earlier in first:
            EXCHANGES[earlier][1](recorder)
        recorder.steps.clear()
        exchange(recorder)
        return recorder.steps


def main() -> None:
    """Record every exchange into the directory given, or into the plugin."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN
    target.mkdir(parents=True, exist_ok=True)
    said = subprocess.run([PROGRAM, "--version"], check=True, capture_output=True, text=True).stdout
    version = said.split("version ")[1].split()[0]
    for name, (first, exchange) in EXCHANGES.items():
        about = {"about": exchange.__doc__, "recorded": f"QEMU {version} mptsas1068", "after": list(first),
                 "disk_bytes": DISK_BYTES}
        head = json.dumps(about, indent=1)[:-2]
        steps = ",\n".join(f"  {json.dumps(step)}" for step in record(name))
        (target / f"{name}.json").write_text(f'{head},\n "steps": [\n{steps}\n ]\n}}\n')
        print(f"{name}: {exchange.__doc__}")


if __name__ == "__main__":
    main()
