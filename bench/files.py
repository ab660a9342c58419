"""Dump files against makedumpfile and cp, on a Linux that really crashed.

BENCH_CORE names its ELF core (tests/real/guest.py makes one: `--memory 3584M --fill 2300`).  Both sides write the same
page sets; levels are makedumpfile's, one process each unless the row says -j.
"""

from __future__ import annotations

import os
from pathlib import Path

from .measure import DDSDK, Pair, run

#: (makedumpfile's options, ours, the most that ours may take of makedumpfile's time).
AGAINST_MAKEDUMPFILE = (
    (("-c", "-d", "31"), ("--dump-level", "31", "--compress", "zlib"), 0.6),
    (("-c", "-d", "1"), ("--dump-level", "1", "--compress", "zlib"), 0.35),
    (("-c", "-d", "0"), ("--compress", "zlib"), 0.35),
    (("-l", "-d", "31"), ("--dump-level", "31", "--compress", "lzo"), 1.5),
    (("-E", "-d", "31"), ("--to", "elf", "--dump-level", "31"), 1.0),
)


def core() -> Path | None:
    """The ELF core to work on."""
    named = os.environ.get("BENCH_CORE")
    return Path(named) if named else None


def files(work: Path) -> list[Pair]:
    """Every row; `aim` is makedumpfile's time / our time, the reciprocal of the issue's numbers."""
    source = core()
    if source is None or not source.exists():
        raise SystemExit("bench: files: BENCH_CORE must name an ELF core of a crashed Linux; see bench/files.py")
    size, ours, theirs = source.stat().st_size, work / "ours", work / "theirs"
    pairs = [_pair(f"{' '.join(peer)}", mine, peer, most, source, ours, theirs, size)
             for peer, mine, most in AGAINST_MAKEDUMPFILE]
    pairs.append(Pair("classification alone / makedumpfile --dry-run -d 31",
                      [*DDSDK, "estimate", "--dump-level", "31", source],
                      ["makedumpfile", "--dry-run", "-f", "-d", "31", source, theirs], 1.0, size))
    pairs.append(Pair("plain ELF / cp && sync", [*DDSDK, "convert", source, ours, "--to", "elf", "--force"],
                      ["sh", "-c", f"cp {source} {theirs} && sync {theirs}"], 1.0, size,
                      before_ours=lambda: ours.unlink(missing_ok=True),
                      before_peer=lambda: theirs.unlink(missing_ok=True)))
    two = [*DDSDK, "convert", source, ours, "--compress", "zlib", "--force"]
    pairs.append(Pair("-d 0 -c: -j 2 / -j 1", [*two, "-j", "2"], two, 1.5, size))
    return pairs


def _pair(name: str, mine: tuple[str, ...], peer: tuple[str, ...], most: float, source: Path, ours: Path, theirs: Path,
          size: int) -> Pair:
    return Pair(f"convert / makedumpfile {name}", [*DDSDK, "convert", source, ours, "--force", *mine],
                ["makedumpfile", "-f", *peer, source, theirs], round(1 / most, 2), size,
                before_ours=lambda: ours.unlink(missing_ok=True), before_peer=lambda: theirs.unlink(missing_ok=True))


def peak_memory(work: Path) -> list[str]:
    """Peak resident set of a conversion of 1 and 64 GiB: flat."""
    rows = []
    for gib in (1, 64):
        image = work / f"ram{gib}.img"
        with image.open("wb") as file:
            file.truncate(gib << 30)
        done = run([*DDSDK, "convert", "--abi", "x86_64", image, work / "rss", "--force"])
        rows.append(f"peak RSS, convert of {gib:>2} GiB (sparse): {done.rss_mib:.0f} MiB in {done.wall:.1f} s")
        image.unlink()
    return rows
