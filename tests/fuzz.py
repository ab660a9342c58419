"""Coverage-guided fuzzing of what reads somebody's bytes: dump files of every kind, and dump partitions.

`make fuzz` (RUNS=20000 inputs) starts from the good files of the tests; libFuzzer bends them so that more lines of the
readers are reached.  Allowed are success and FormatError of one line.  An input that does anything else, takes 20 s or
1 GiB is kept in tests/fuzz-finds/ and belongs into a commit with its repair: tests/test_found.py reads all of them.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import atheris

with atheris.instrument_imports(include=["ddsdk.vmcore", "ddsdk.layout", "ddsdk.diskdump"]):
    from ddsdk.vmcore.source import open_source
    from tests.diskdump.fake_device import FakeDevice
    from tests.diskdump.images import formatted, write_dump
    from tests.diskdump.partials import RUNS, MixedMemory, dump
    from tests.found import FOUND, judge
    from tests.vmcore import test_vectors as vectors
    from tests.vmcore.hostile import samples

#: As small as they can be: short inputs are tried more often.
_MEMORY: Final = "synthetic:32K"
_PARTITION_BLOCKS: Final = 16


def seeds(directory: Path) -> None:
    """A good input of each kind, a file each."""
    good = {**samples(_MEMORY), **{name: file for name, (file, *_) in vectors.LKCD_FILES.items()}}
    good |= {f"kdump-{version}-{machine}": vectors.kdump(version, machine)
             for version in range(7) for machine in vectors.KDUMP_MACHINES}
    image = formatted(directory / "image", _PARTITION_BLOCKS)
    with open_source(_MEMORY) as source:
        write_dump(image, source)
    good["partition"] = Path(image.path).read_bytes()
    for codec in ("none", "zlib", "zstd"):
        memory = MixedMemory(RUNS)
        device = FakeDevice(memory, 40)
        dump(memory, device, 1, codec)
        good[f"partial-{codec}"] = bytes(device.medium)
    for number, data in enumerate(good.values()):
        (directory / f"{number:03}").write_bytes(data)


def main(runs: str) -> None:
    """Fuzz until *runs* inputs are read, and end the process: 0 when all of them were."""
    with tempfile.TemporaryDirectory(prefix="ddsdk-fuzz-") as work:
        good, grown, path = Path(work, "good"), Path(work, "grown"), Path(work, "input")
        good.mkdir()
        grown.mkdir()
        seeds(good)
        FOUND.mkdir(exist_ok=True)
        one: Callable[[bytes], None] = lambda data: judge(path, data)       # noqa: E731
        atheris.Setup([sys.argv[0], f"-runs={runs}", "-seed=1", "-timeout=20", "-rss_limit_mb=1024", "-max_len=524288",
                       "-print_final_stats=1", f"-artifact_prefix={FOUND}/", str(grown), str(good)], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1])
