"""Data there and back: scatter lists laid out on purpose, bytes that tell every place from every other."""

from __future__ import annotations

from collections.abc import Sequence

from ddsdk.bus import Segment

from .bench import DATA, PAGE, Bench
from .world import World


def put(bench: World, sg: Sequence[Segment], data: bytes) -> None:
    """Store *data* in the memory of *sg*."""
    at = 0
    for paddr, length in sg:
        bench.memory.write(paddr, data[at:at + length])
        at += length


def get(bench: World, sg: Sequence[Segment]) -> bytes:
    """What the memory of *sg* holds."""
    return b"".join(bench.memory.read(paddr, length) for paddr, length in sg)


def scattered(bench: Bench, count: int, nbytes: int = PAGE, start: int = DATA) -> list[Segment]:
    """*count* segments of *nbytes* from *start* on, no two adjacent, in no order."""
    segments = [(start + 2 * nbytes * n, nbytes) for n in range(count)]
    bench.plan.random("scattered", count, nbytes).shuffle(segments)
    return segments


def cut(bench: Bench, nbytes: int, unit: int, start: int, gap: int) -> list[Segment]:
    """*nbytes* from *start* on in pieces of one to seven *unit*, *gap* bytes apart, and no more than there may be."""
    generator = bench.plan.random("cut", nbytes, unit)
    pieces: list[Segment] = []
    left, at = nbytes, start
    while left:
        take = min(left, unit * generator.choice((1, 2, 3, 5, 7)))
        if len(pieces) == bench.max_segments - 1:
            take = left
        pieces.append((at, take))
        left -= take
        at += take + gap
    return pieces


def differs(have: bytes, want: bytes) -> str:
    """Where *have* is not *want*, in a few words."""
    if have == want:
        return "nothing differs"
    wrong = [n for n in range(min(len(have), len(want))) if have[n] != want[n]]
    if not wrong:
        return f"{len(have)} bytes instead of {len(want)}"
    first = wrong[0]
    return (f"{len(wrong)} of {len(want)} bytes are wrong, the first at {first}: {have[first]:#04x}, not"
            f" {want[first]:#04x}")


def there_and_back(bench: Bench, sector: int, out: Sequence[Segment], into: Sequence[Segment] = ()) -> None:
    """One write of the memory of *out* from *sector* on puts exactly that there, one read brings it into *into*."""
    into = into or out
    nbytes = sum(length for _, length in out)
    what = f"{nbytes} bytes in {len(out)} segments at sector {sector}"
    data = bench.plan.random("data", sector, nbytes, len(out)).randbytes(nbytes)
    put(bench, out, data)
    error = bench.finish(bench.command(True, sector, out))
    bench.expect(not error, f"the write of {what} failed: {error}")
    have = bench.on_disk(sector, nbytes)
    bench.expect(have == data, f"the write of {what} ended well, and on the disk {differs(have, data)}")
    put(bench, into, bytes(nbytes))
    error = bench.finish(bench.command(False, sector, into))
    bench.expect(not error, f"the read of {what} failed: {error}")
    have = get(bench, into)
    bench.expect(have == data, f"the read of {what} ended well, and in memory {differs(have, data)}")


def through_the_dump_layer(bench: Bench, block: int, sg: Sequence[Segment]) -> None:
    """The same by the dump layer, which splits what one command cannot carry."""
    nbytes = sum(length for _, length in sg)
    sector, what = block * PAGE // bench.setup.sector_size, f"{nbytes} bytes in {len(sg)} segments at block {block}"
    data = bench.plan.random("data", block, nbytes, len(sg)).randbytes(nbytes)
    put(bench, sg, data)
    error = bench.device.rw_block(True, block, sg)
    bench.expect(not error, f"the write of {what} failed: {bench.device.why}")
    have = bench.on_disk(sector, nbytes)
    bench.expect(have == data, f"the write of {what} ended well, and on the disk {differs(have, data)}")
    put(bench, sg, bytes(nbytes))
    error = bench.device.rw_block(False, block, sg)
    bench.expect(not error, f"the read of {what} failed: {bench.device.why}")
    have = get(bench, sg)
    bench.expect(have == data, f"the read of {what} ended well, and in memory {differs(have, data)}")
