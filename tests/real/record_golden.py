#!/usr/bin/env python3
"""Record register-level exchanges with QEMU's adapters: `record_golden.py [PLUGIN ...]`.

Each exchange of plugins/PLUGIN/tests/exchanges.py becomes one JSON file of steps with the values QEMU gave, in
plugins/PLUGIN/golden/; without arguments those of every plugin that has some.  golden.py says what the steps mean.
"""

from __future__ import annotations

import importlib
import json
import mmap
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ddsdk.qemu.machine import DiskImage, EmulatedAdapter
from ddsdk.qemu.process import PROGRAM
from ddsdk.qemu.ram import SharedRam
from ddsdk.sim.machine import Machine
from ddsdk.sim.memory import Extent, PhysicalMemory

ROOT = Path(__file__).resolve().parents[2]
if str(ROOT) not in sys.path:           # run as a script: the repository is not on the path yet
    sys.path.insert(0, str(ROOT))

from tests.real.golden import Recorder, Recording, Step  # noqa: E402 - needs the path above

PLUGINS = tuple(sorted(path.parent.parent.name for path in ROOT.glob("plugins/*/tests/exchanges.py")))


def golden(plugin: str) -> Path:
    """Where its exchanges are."""
    return ROOT / "plugins" / plugin / "golden"


def recording_of(plugin: str) -> Recording:
    """What its tests/exchanges.py says."""
    recording: Recording = importlib.import_module(f"plugins.{plugin}.tests.exchanges").RECORDING
    return recording


@contextmanager
def adapter(what: Recording, scratch: Path) -> Iterator[Recorder]:
    """A fresh QEMU with an empty disk."""
    image = scratch / "disk.img"
    with image.open("wb") as disk:
        disk.truncate(what.disk_bytes)
    ram = SharedRam.build([Extent(0, memoryview(mmap.mmap(-1, what.ram_bytes)))])
    machine = Machine(PhysicalMemory(ram.extents))
    with ram, machine, EmulatedAdapter.start(machine, ram, what.adapter, [DiskImage(str(image))]) as hba:
        hba.function.config_write(4, 2, what.command)
        yield Recorder(hba.function, machine.memory, what.bar, what.size)


def record(what: Recording, name: str) -> list[Step]:
    """The steps of exchange *name*, after what must come first."""
    first, exchange = what.exchanges[name]
    with tempfile.TemporaryDirectory() as scratch, adapter(what, Path(scratch)) as recorder:
        for earlier in first:
            what.exchanges[earlier][1](recorder)
        recorder.steps.clear()
        exchange(recorder)
        return recorder.steps


def main() -> None:
    """Record every exchange of the plugins named, or of all."""
    said = subprocess.run([PROGRAM, "--version"], check=True, capture_output=True, text=True).stdout
    version = said.split("version ")[1].split()[0]
    for plugin in sys.argv[1:] or PLUGINS:
        what = recording_of(plugin)
        golden(plugin).mkdir(parents=True, exist_ok=True)
        for name, (first, exchange) in what.exchanges.items():
            about = {"about": exchange.__doc__, "recorded": f"QEMU {version} {what.adapter.device}",
                     "after": list(first), "disk_bytes": what.disk_bytes}
            head = json.dumps(about, indent=1)[:-2]
            steps = ",\n".join(f"  {json.dumps(step)}" for step in record(what, name))
            (golden(plugin) / f"{name}.json").write_text(f'{head},\n "steps": [\n{steps}\n ]\n}}\n')
            print(f"{plugin}, {name}: {exchange.__doc__}")


if __name__ == "__main__":
    main()
