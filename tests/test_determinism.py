"""The same seed gives the same machine, whatever Python's hash seed is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
from pathlib import Path
from ddsdk.diskdump.format import format_device
from ddsdk.diskdump.target import DumpTarget
from ddsdk.registry import discover
from ddsdk.rig import Rig
from ddsdk.scsi.load import IoLoad, Region
from ddsdk.sim.machine import Trigger
from ddsdk.sim.trace import Trace
from ddsdk.target import Target
from ddsdk.vmcore.source import open_source

image = sys.argv[1]
Path(image).write_bytes(bytes(8 << 20))
format_device(DumpTarget(image, 4 << 20))
trace = Trace(enabled=True)
with open_source("synthetic:1M,cpus=2") as source:
    target = Target("mptfusion", image, offset_bytes=4 << 20)
    with Rig.build(source, [target], discover("mptfusion"), queue_depth=4, trace=trace) as rig:
        IoLoad(rig.adapters[0].sdev, Region(0, 8192), seed=int(sys.argv[2])).start()
        rig.machine.run(for_ns=3_000_000)
        assert rig.dump(rig.machine.crash(Trigger.PANIC)).complete
        print(trace.digest())
"""


def digest(tmp_path: Path, hash_seed: str, seed: int) -> str:
    """The trace digest of a dump under load, in a process of its own."""
    environment = os.environ | {"PYTHONHASHSEED": hash_seed}
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "d.img"), str(seed)], env=environment,
                          capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_hash_seed_does_not_matter(tmp_path: Path) -> None:
    """A crash under load and a dump with four commands in flight: every register access, DMA, interrupt and lock."""
    first = digest(tmp_path, "1", seed=5)
    assert len(first) == 64
    assert digest(tmp_path, "2", seed=5) == first


def test_the_seed_does(tmp_path: Path) -> None:
    """Another load, another trace: the digest sees the world."""
    assert digest(tmp_path, "1", seed=5) != digest(tmp_path, "1", seed=6)
