"""The driver's SCRIPTS as they lie in memory: addresses, the start queue's ring, the pieces of each block."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import pytest

from ddsdk_sym53c8xx.frames import BLOCK_BYTES, BLOCKS, INSN_BYTES, SEGMENTS, TAG_STEP, Kind, MemoryInsn
from ddsdk_sym53c8xx.model import LSI53C810
from ddsdk_sym53c8xx.program import SLOTS, Sir, block_codes, common_program, offset
from plugins.sym53c8xx.tests.driver_rig import Make

ORIGIN, BUCKET, POOL = 0x10_0000, 0x20_0000, 0x30_0000
CODE = common_program(ORIGIN, BUCKET)


def instructions(words: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """Cut into instructions: a memory move has three words."""
    at = 0
    while at < len(words):
        size = 3 if words[at] >> 30 == Kind.MEMORY and not MemoryInsn(words[at]).LOAD_STORE else 2
        yield words[at:at + size]
        at += size


def test_only_what_the_53c810_knows() -> None:
    """No LOAD or STORE, no chained move, no DT phase, no comparison with the carry: one program serves all chips."""
    body = CODE.words[:(CODE.labels["msgin"] - ORIGIN) // 4]
    for first, *_ in instructions(body):
        kind = first >> 30
        assert not (kind == Kind.MEMORY and first & 1 << 29)
        if kind == Kind.BLOCK_MOVE:
            assert first & 1 << 27
            assert first >> 24 & 7 not in (4, 5)
        if kind == Kind.TRANSFER_CONTROL:
            assert not first & 1 << 21


def test_it_fits_its_place() -> None:
    """4 KiB, and every label inside."""
    assert CODE.size <= 4096
    assert all(ORIGIN <= at <= ORIGIN + CODE.size for at in CODE.labels.values())


def test_runs() -> None:
    """One table move for each segment, the last for the last."""
    first = (CODE.labels["data_in"] - ORIGIN) // 4
    run = CODE.words[first:first + 2 * SEGMENTS]
    assert run[0::2] == (0x1900_0000,) * SEGMENTS
    assert run[1::2] == tuple(offset("segments") + 8 * n for n in range(SEGMENTS))
    assert CODE.words[(CODE.labels["data_out"] - ORIGIN) // 4] == 0x1800_0000


def test_every_stop_has_its_own_code() -> None:
    """Each INT of the program is one of Sir; STOPPED is poked in by the driver."""
    body = CODE.words[:(CODE.labels["msgin"] - ORIGIN) // 4]
    codes = {words[1] for words in instructions(body) if words[0] & 0xF810_0000 == 0x9800_0000}
    blocks = struct.unpack(f"<{len(block_codes(POOL, CODE.labels)[0]) // 4}I", block_codes(POOL, CODE.labels)[0])
    codes |= {words[1] for words in instructions(blocks) if words[0] & 0xF810_0000 == 0x9800_0000}
    assert codes == set(Sir) - {Sir.STOPPED}


def test_the_ring_is_one_longer_than_the_blocks() -> None:
    """All blocks may wait and one slot is empty, so SCRIPTS always find the end."""
    assert SLOTS == BLOCKS + 1
    at = (CODE.labels["slots"] - ORIGIN) // 4
    assert CODE.words[at:at + 2 * SLOTS] == (0x8008_0000, CODE.labels["idle"]) * SLOTS


@pytest.mark.parametrize("index", [0, 1, 37, BLOCKS - 1])
def test_block_code(index: int) -> None:
    """A block's own pieces: its tag into DSA and TEMP, its slot into the start position, done and moved flags."""
    code = block_codes(POOL, CODE.labels)[index]
    words = struct.unpack(f"<{len(code) // 4}I", code)
    base, at = POOL + index * BLOCK_BYTES, offset("launch")

    def word(member: str, number: int) -> int:
        return words[(offset(member) - at) // 4 + number]
    tag = index * TAG_STEP
    assert word("launch", 0) == 0x7811_0000 | tag << 8            # MOVE tag TO DSA1
    assert word("launch", 2) == 0x781D_0000 | tag << 8            # MOVE tag TO TEMP1
    assert word("launch", 5) == CODE.labels["select"]
    assert [word("advance", n) for n in range(3)] == [
        0xC000_0004, base + offset("next"), CODE.labels["startpos"] + 4]
    assert [word("finish", n) for n in range(3)] == [0xC000_0004, CODE.labels["done_word"], base + offset("done")]
    assert [word("all_moved", n) for n in range(3)] == [
        0xC000_0004, CODE.labels["done_word"], base + offset("moved")]
    assert [word("save_over", n) for n in range(3)] == [
        0xC000_0004, CODE.labels["overrun_word"], base + offset("data") + 4]


def test_start_queue(make: Make) -> None:
    """A slot is filled after the next one was emptied; the ring goes round; what was selected is behind the start."""
    np = make(LSI53C810).probe().np
    np.active = False                                             # by hand from here; SCRIPTS wait to be reselected
    first = np.put
    for round_ in range(3 * SLOTS):
        ccb = np.ccbs[round_ % 5]
        np.put_start_queue(ccb)
        assert np.peek("slots", 2 * (ccb.slot % SLOTS) + 1) == ccb.address + offset("launch")
        assert np.peek("slots", 2 * (np.put % SLOTS) + 1) == np.labels["idle"]
        assert not np.started(ccb)
        np.skip_slot(ccb)
        assert np.started(ccb)
        assert np.start == np.put == first + round_ + 1


def test_rebuilding_the_start_queue(make: Make) -> None:
    """Those that wait keep their order behind the one that goes first."""
    np = make().probe().np
    np.active = False
    a, b, c = np.ccbs[:3]
    for ccb in (a, b):
        np.busy[ccb.tag] = ccb
        np.put_start_queue(ccb)
    assert np.unstarted() == [a, b]
    np.busy[c.tag] = c
    np.rebuild_start_queue([c, *np.unstarted()])
    assert np.unstarted() == [c, a, b]
    assert [np.slot_address(slot) for slot in (c.slot, a.slot, b.slot)] == [
        np.labels["slots"] + (slot % SLOTS) * INSN_BYTES for slot in range(c.slot, c.slot + 3)]
