"""The figures of the README: `make bench`.  BENCH_MIB (4096) is the size of the files, BENCH_RUNS (3) counts the pairs.

`python -m bench format dump savecore adapters rss` chooses among the families.  BENCH_DIR is where the files go: four
times BENCH_MIB of room, 33 GiB for rss.  Start-up counts: it is a third of a second, so files much smaller than a real
dump partition measure Python's imports.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from .adapters import adapters
from .measure import DDSDK, Pair, compare, run

MIB = 1 << 20


def format_and_check(work: Path, mib: int) -> list[Pair]:
    """Signatures written and verified, against dd on the same file."""
    image, size = work / "format.img", mib * MIB
    image.touch()
    os.truncate(image, size)
    return [
        Pair("format / dd bs=1M conv=fsync", [*DDSDK, "format", "--force", image],
             ["dd", "if=/dev/zero", f"of={image}", "bs=1M", f"count={mib}", "conv=notrunc,fsync"], 0.8, size),
        Pair("check, every block / dd bs=1M", [*DDSDK, "check", "--sample-rate", "0", image],
             ["dd", f"if={image}", "of=/dev/null", "bs=1M"], 0.8, size,
             before_ours=lambda: _format(image)),
    ]


def _format(image: Path) -> None:
    run([*DDSDK, "format", "--force", image])


def prepare(work: Path, mib: int) -> None:
    """A memory that does not compress, and a partition for it, both on the medium: writing them is not what counts."""
    with (work / "memory.raw").open("wb") as file:
        for _ in range(mib):
            file.write(os.urandom(MIB))
        os.fsync(file.fileno())
    image = work / "dump.img"
    image.touch()
    os.truncate(image, (mib + 64) * MIB)


def dumps(work: Path, mib: int) -> list[Pair]:
    """A whole dump through mptfusion's model against dd with the same block size, start-up counted."""
    memory, image, size = work / "memory.raw", work / "dump.img", mib * MIB
    pairs = []
    for order, aim in ((2, 0.15), (8, 0.5)):
        block = 4096 << order
        pairs.append(Pair(
            f"dump, block order {order} / dd bs={block >> 10}K",
            [*DDSDK, "dump", memory, "--abi", "x86_64", "--to", f"mptfusion:{image}", "--block-order", str(order)],
            ["dd", f"if={memory}", f"of={image}", f"bs={block}", "conv=notrunc,fdatasync"], aim, size,
            # the same device in the same state: formatting takes it out of the page cache
            before_ours=lambda: _format(image), before_peer=lambda: _format(image)))
    return pairs


def savecores(work: Path, mib: int) -> list[Pair]:
    """The vmcore written from a partition, against cp of a file of that size."""
    image, out = work / "dump.img", work / "crash"
    size = mib * MIB

    def fresh() -> None:
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(mode=0o700)

    def dumped() -> None:
        fresh()
        _format(image)
        run([*DDSDK, "dump", work / "memory.raw", "--abi", "x86_64", "--to", f"mptfusion:{image}",
             "--block-order", "8"])

    def no_copy() -> None:
        (work / "cp.out").unlink(missing_ok=True)       # ours makes a new file too; taking away the old is not the work

    copy = ["sh", "-c", f"cp {work / 'memory.raw'} {work / 'cp.out'} && sync {work / 'cp.out'}"]
    return [
        Pair("savecore, dump kept / cp && sync", [*DDSDK, "savecore", "--keep", image, out], copy, 0.9, size,
             before_ours=dumped, before_peer=no_copy),
        Pair("savecore, signatures rewritten / cp && sync", [*DDSDK, "savecore", image, out], copy, 0.5, size,
             before_ours=dumped, before_peer=no_copy),
    ]


def peak_memory(work: Path) -> None:
    """Peak resident set of a dump and of savecore at 1 and 16 GiB of memory: flat."""
    for gib in (1, 16):
        image, out = work / f"rss{gib}.img", work / f"rss{gib}"
        image.touch()
        os.truncate(image, (gib << 30) + 64 * MIB)
        out.mkdir(mode=0o700)
        _format(image)
        dump = run([*DDSDK, "dump", f"synthetic:{gib}G", "--to", f"mptfusion:{image}", "--block-order", "8"])
        save = run([*DDSDK, "savecore", image, out])
        print(f"peak RSS at {gib:>2} GiB: dump {dump.rss_mib:.0f} MiB, savecore {save.rss_mib:.0f} MiB", flush=True)
        shutil.rmtree(out)
        image.unlink()


FAMILIES = {"format": format_and_check, "dump": dumps, "savecore": savecores}


def main() -> None:
    """Print one row a comparison."""
    every = [*FAMILIES, "adapters", "rss"]
    chosen = sys.argv[1:] or every
    unknown = set(chosen) - set(every)
    if unknown:
        raise SystemExit(f"bench: no family {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    mib, runs = int(os.environ.get("BENCH_MIB", "4096")), int(os.environ.get("BENCH_RUNS", "3"))
    print(f"files of {mib} MiB, medians of {runs} alternating pairs; columns: ours, peer, peer time / our time,"
          " processor seconds of both; other load on the machine counts against whoever computes more")
    with tempfile.TemporaryDirectory(prefix="ddsdk-bench-", dir=os.environ.get("BENCH_DIR", ".")) as directory:
        work = Path(directory)
        if {"dump", "savecore"} & {*chosen}:
            prepare(work, mib)
        for name, family in FAMILIES.items():
            if name in chosen:
                for pair in family(work, mib):
                    print(compare(pair, runs), flush=True)
        if "adapters" in chosen:
            for row in adapters(work, runs):
                print(row, flush=True)
        if "rss" in chosen:
            peak_memory(work)


if __name__ == "__main__":
    main()
