"""Whole processes, alternated A B A B, by the operating system's own accounting."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from attrs import frozen

DDSDK = (sys.executable, "-m", "ddsdk")


@frozen
class Run:
    """One finished process: wall and CPU seconds, peak resident set in MiB."""

    wall: float
    cpu: float
    rss_mib: float


def run(argv: Sequence[str | Path]) -> Run:
    """Run *argv* to its end; SystemExit with its own words when it fails."""
    # an installed ddsdk starts from compiled modules; a shell that forbids Python to keep them must not count
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    process = subprocess.Popen([str(a) for a in argv], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env=environment)
    assert process.stderr is not None
    talk = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode:
        raise SystemExit(f"bench: {' '.join(map(str, argv))} ended with {process.returncode}: {talk.decode()[-400:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


@frozen
class Pair:
    """One comparison: ours and a peer doing the same work.  `aim` is peer time / our time, higher is better."""

    name: str
    ours: Sequence[str | Path]
    peer: Sequence[str | Path]
    aim: float
    moved_bytes: int
    before_ours: Callable[[], None] = lambda: None
    before_peer: Callable[[], None] = lambda: None


def compare(pair: Pair, runs: int) -> str:
    """One row of the table: medians of *runs* alternating pairs after one warm-up."""
    ours: list[Run] = []
    peer: list[Run] = []
    for _ in range(runs + 1):
        pair.before_peer()
        peer.append(run(pair.peer))
        pair.before_ours()
        ours.append(run(pair.ours))
    ours, peer = ours[1:], peer[1:]
    ratio = statistics.median(p.wall / o.wall for o, p in zip(ours, peer, strict=True))
    mine, theirs = (statistics.median(r.wall for r in runs) for runs in (ours, peer))
    my_cpu, their_cpu = (statistics.median(r.cpu for r in runs) for runs in (ours, peer))
    rate = pair.moved_bytes / 1e6
    return (f"{pair.name:<44} {mine:8.2f} s {rate / mine:7.0f} MB/s   {theirs:8.2f} s {rate / theirs:7.0f} MB/s"
            f"   {ratio:5.2f}  (aim {pair.aim})   cpu {my_cpu:.2f} / {their_cpu:.2f} s"
            f"   rss {max(r.rss_mib for r in ours):.0f} MiB")
