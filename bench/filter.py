"""Classification of pages against makedumpfile's, on the core of a kernel that really crashed (BENCH_CORE)."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from ddsdk.vmcore.classify import Classifier
from ddsdk.vmcore.source import open_source

from .measure import DDSDK, Pair, compare

_STEP = re.compile(r"STEP \[Excluding unnecessary pages\] : ([0-9.]+) seconds")


def filter_rows(runs: int) -> Iterator[str]:
    """The pass over the struct pages alone, in the process; then the whole command, start-up counted."""
    name = os.environ.get("BENCH_CORE")
    if not name:
        raise SystemExit("bench: filter needs BENCH_CORE=FILE, an ELF core of a real kernel "
                         "(tests/real/guest.py DIR --memory 3G makes DIR/vm.elf)")
    core = Path(name)
    for level in (14, 30):
        yield classification(core, level, runs)
    yield compare(Pair("estimate --dump-level 31 / makedumpfile --dry-run -l -d 31",
                       [*DDSDK, "estimate", "--dump-level", "31", core],
                       ["makedumpfile", "--dry-run", "-l", "-d", "31", core, os.devnull + ".none"], 1.0,
                       core.stat().st_size), runs)


def classification(core: Path, level: int, runs: int) -> str:
    """One row: medians of *runs* alternating pairs of our pass, on a freshly mapped core, and makedumpfile's step."""
    ours, peer = [], []
    for _ in range(runs + 1):
        with open_source(str(core)) as memory:
            classifier = Classifier(memory, level)
            started = time.perf_counter()
            classifier.run()
            ours.append(time.perf_counter() - started)
        said = subprocess.run(["makedumpfile", "--dry-run", "--show-stats", "-l", "-d", str(level), core, "none"],
                              capture_output=True, text=True, check=True)
        peer.append(sum(float(seconds) for seconds in _STEP.findall(said.stdout + said.stderr)))
    own, theirs = statistics.median(ours[1:]), statistics.median(peer[1:])
    return (f"classification alone, level {level} / makedumpfile's step: {own * 1e3:.1f} ms, {theirs * 1e3:.1f} ms, "
            f"{theirs / own:.2f} (aim 1.0)")
