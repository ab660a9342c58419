"""A stretch of a dump: a few commands whose every byte is known, judged as the dump engine would judge them.

What must hold whatever goes wrong meanwhile: a chunk that ended well is on the disk (or in memory) to the last byte,
one that did not has an errno and a reason, and nothing beside the chunks changed.
"""

from __future__ import annotations

import errno
from typing import Final

from attrs import frozen

from ddsdk.block.dump_queue import SCMND_TIMEOUT_NS
from ddsdk.errors import errno_name

from .bench import DATA, NS_PER_MS, NS_PER_S, PAGE, SETTLE_MS, Bench

#: First block, pages: of the chunks of a stretch, in the order they are sent.  With gaps, so that a write that goes
#: one sector or one page too far is seen.
CHUNKS: Final = ((16, 1), (18, 4), (24, 1), (27, 2), (32, 4), (40, 1), (43, 3), (48, 1))
_CHUNK_BYTES: Final = 4 * PAGE


@frozen
class Ending:
    """How a stretch ended: `error` is 0 or -errno, `why` says why it is not 0.  `given_up`: the dump layer would not
    use the device any more.
    """

    error: int = 0
    why: str = ""
    given_up: bool = False

    def __bool__(self) -> bool:
        """Everything ended well."""
        return not self.error

    def __str__(self) -> str:
        return f"{errno_name(self.error)}, {self.why}" if self.error else "well"


def command_limit_ns(bench: Bench, reset_ns: int | None = None) -> int:
    """The longest one command may take, however it ends: 60 s of tries and two resets, each with 5 s behind it.

    *reset_ns*: what a reset takes; None for the longest the profile allows.
    """
    if reset_ns is None:
        reset_ns = bench.plan.profile.reset_limit_s * NS_PER_S
    return SCMND_TIMEOUT_NS + 2 * (reset_ns + SETTLE_MS * NS_PER_MS) + NS_PER_S


def honest(bench: Bench, error: int, why: str, what: str) -> Ending:
    """*error* as an Ending; it must be a real errno, and *why* must say something."""
    if error:
        bench.expect(-error in errno.errorcode, f"{what} ended with {error}, which is no negative errno")
        bench.expect(why.strip(), f"{what} ended with {errno_name(error)} and no word why")
    return Ending(error, why if error else "")


def write_some(bench: Bench, seed: int = 1, count: int = len(CHUNKS)) -> Ending:
    """*count* chunks written, as many in flight as `queue_depth` says, up to the first error."""
    before = bytearray(bench.whole_disk())
    data = {}
    for n, (block, pages) in enumerate(CHUNKS[:count]):
        data[block] = bench.fill(DATA + n * _CHUNK_BYTES, pages * PAGE, seed * 31 + n)
    done, ending = _send(bench, True, count)
    after = bench.whole_disk()
    for block, pages in CHUNKS[:count]:
        at, nbytes = block * PAGE, pages * PAGE
        if block in done:
            bench.expect(after[at:at + nbytes] == data[block], f"the write of {pages} pages at block {block} ended"
                                                               " well, but the disk holds something else")
        before[at:at + nbytes] = after[at:at + nbytes]
    _same(bench, bytes(before), after)
    return ending


def read_some(bench: Bench, seed: int = 2, count: int = len(CHUNKS)) -> Ending:
    """*count* chunks that lie on the disk, read into memory the same way."""
    data = {}
    for n, (block, pages) in enumerate(CHUNKS[:count]):
        data[block] = bench.fill(DATA + n * _CHUNK_BYTES, pages * PAGE, seed * 31 + n)
        bench.put_on_disk(block * PAGE // bench.setup.sector_size, data[block])
        bench.memory.write(DATA + n * _CHUNK_BYTES, bytes(pages * PAGE))
    before = bench.whole_disk()
    done, ending = _send(bench, False, count)
    for n, (block, pages) in enumerate(CHUNKS[:count]):
        if block in done:
            bench.expect(bench.memory.read(DATA + n * _CHUNK_BYTES, pages * PAGE) == data[block],
                         f"the read of {pages} pages at block {block} ended well, but memory holds something else")
    _same(bench, before, bench.whole_disk())
    return ending


def dump_some(bench: Bench, count: int = len(CHUNKS)) -> Ending:
    """Writes, reads, a flush of the cache: up to the first error."""
    return write_some(bench, count=count) and read_some(bench, count=count) and flush(bench)


def flush(bench: Bench) -> Ending:
    """The device's flush."""
    return honest(bench, bench.device.flush(), bench.device.why, "the flush")


def works_or_is_dead(bench: Bench) -> bool:
    """After an error: the next command works, and all that follow, or the device says no at once; true if it works."""
    device = bench.device
    for _ in range(3):
        began_ns = bench.now_ns
        with bench.within(command_limit_ns(bench), "the command after an error"):
            error = device.rw_block(True, 8, [(DATA, PAGE)])
        if not error:
            bench.works()
            return True
        honest(bench, error, device.why, "the command after an error")
    bench.expect(bench.now_ns - began_ns <= NS_PER_S,
                 f"after the error no command works, and each takes {(bench.now_ns - began_ns) / NS_PER_S:.1f} s to say"
                 f" so ({device.why}); a device that is given up must refuse at once")
    return False


def _send(bench: Bench, write: bool, count: int) -> tuple[set[int], Ending]:
    """Blocks of the chunks that ended well, and how the stretch ended."""
    chunks = [(block, [(DATA + n * _CHUNK_BYTES, pages * PAGE)]) for n, (block, pages) in enumerate(CHUNKS[:count])]
    done, what = set[int](), "a write" if write else "a read"
    stream = bench.device.stream(write, chunks)
    for block, _pages, error in stream:
        if error:
            ending = honest(bench, error, bench.device.why, f"{what} at block {block}")
            stream.close()
            return done, ending
        done.add(block)
    bench.expect(len(done) == count, f"{count} commands went out, {len(done)} came back")
    return done, Ending()


def _same(bench: Bench, before: bytes, after: bytes) -> None:
    if before == after:
        return
    size = bench.setup.sector_size
    changed = [at // size for at in range(0, len(after), size) if before[at:at + size] != after[at:at + size]]
    bench.expect(False, f"sectors that no command named changed: {changed[:8]}")
