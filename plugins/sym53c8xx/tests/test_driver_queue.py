"""queuecommand and completion: blocks, tags, the start queue, several commands in flight, scatter lists."""

from __future__ import annotations

import pytest

from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, SCSI_MLQUEUE_HOST_BUSY
from ddsdk.scsi.host import ScsiDevice
from ddsdk_sym53c8xx.adapter import CAN_QUEUE
from ddsdk_sym53c8xx.frames import SEGMENTS, CommandBlock, TableEntry
from ddsdk_sym53c8xx.model import LSI53C810, LSI53C895A, LSI53C1010, ChipProfile, Timing
from ddsdk_sym53c8xx.program import LAYOUT, offset
from ddsdk_sym53c8xx.scatter import entry
from plugins.sym53c8xx.tests.driver_rig import ALL, BOTH, DATA, HIGH, Make, Rig, pattern


@pytest.fixture
def rig(make: Make) -> Rig:
    """A driver taken over by the dump."""
    return make().probe().take_over()


def block(rig: Rig) -> CommandBlock:
    """The block of the one command that is outstanding."""
    (ccb,) = rig.np.busy.values()
    return LAYOUT.unpack(bytes(rig.np.view[ccb.offset:ccb.offset + LAYOUT.size]))


def test_block_of_a_write(rig: Rig) -> None:
    """Selection entry, messages, CDB, status, segments at the end of the list."""
    rig.queue(rig.rw(True, 0x1234, [(DATA, 0x2000), (DATA + 0x8000, 0x1000)]))
    (ccb,) = rig.np.busy.values()
    filled = block(rig)
    assert filled.select == 0x0300_0000
    assert (filled.msgout, filled.msgout_bytes[:3]) == (
        TableEntry(3, ccb.address + offset("msgout_bytes")), bytes((0xC0, 0x20, ccb.tag)))
    assert (filled.cdb, filled.cdb_bytes[:10]) == (
        TableEntry(10, ccb.address + offset("cdb_bytes")), bytes.fromhex("2a000000123400001800"))
    assert filled.status == TableEntry(1, ccb.address + offset("status_byte"))
    assert filled.segments[-2:] == (TableEntry(0x2000, DATA), TableEntry(0x1000, DATA + 0x8000))
    assert (filled.moved, filled.done, filled.status_byte) == (0, 0, 0xFF)


def test_target_and_lun(rig: Rig) -> None:
    """Id in the selection entry, LUN in IDENTIFY; both are what a reselection has to prove."""
    rig.queue(rig.command(cdb.test_unit_ready(), sdev=ScsiDevice(rig.shost, 0, 5, 3)))
    (ccb,) = rig.np.busy.values()
    filled = block(rig)
    assert (filled.select, filled.msgout.count, filled.msgout_bytes[0]) == (0x0305_0000, 1, 0xC3)
    resume = bytes(rig.np.view[ccb.offset + offset("resume"):][:40])
    assert resume[8:12] == (0x9804_0085).to_bytes(4, "little")    # INT BAD_NEXUS, IF NOT 85 (valid, id 5)
    assert resume[24:28] == (0x9804_4083).to_bytes(4, "little")   # ... IF NOT 83 AND MASK 40


@ALL
def test_full_queue(make: Make, chip: ChipProfile) -> None:
    """32 commands at a time, the next one is refused; each has its own tag and gets its own data."""
    rig = make(chip).probe().take_over()
    rig.image[:CAN_QUEUE * 4096] = pattern(2, CAN_QUEUE * 4096)
    scmds = [rig.rw(False, 8 * n, [(DATA + 4096 * n, 4096)]) for n in range(CAN_QUEUE)]
    assert [rig.queue(scmd) for scmd in scmds] == [0] * CAN_QUEUE
    assert rig.queue(rig.command(cdb.test_unit_ready())) == SCSI_MLQUEUE_HOST_BUSY
    assert len({ccb.tag for ccb in rig.np.busy.values()}) == CAN_QUEUE
    rig.poll_until_done(*scmds)
    assert {scmd.result for scmd in scmds} == {0}
    assert rig.machine.memory.read(DATA, CAN_QUEUE * 4096) == pattern(2, CAN_QUEUE * 4096)
    assert rig.np.busy == {}


def test_several_are_in_flight(rig: Rig) -> None:
    """The target holds more than one command at a time, all of them tagged."""
    most, scmds = 0, [rig.rw(False, 8 * n, [(DATA + 4096 * n, 4096)]) for n in range(8)]
    for scmd in scmds:
        rig.queue(scmd)
    while not all(scmd.done for scmd in scmds):
        rig.machine.clock.advance(5_000)
        tasks = rig.model.scsi.ports[0].tasks
        most = max(most, len(tasks))
        assert all(tag is not None for _, tag in tasks)
        rig.hooks.dump_poll(rig.sdev)
    assert most >= 4


def test_tags_go_round(rig: Rig) -> None:
    """A tag that was used lately rests: 63 commands, one after the other, use 63 tags."""
    tags = []
    for n in range(70):
        scmd = rig.rw(False, n, [(DATA, 512)])
        rig.queue(scmd)
        tags += list(rig.np.busy)
        rig.poll_until_done(scmd)
    assert len(set(tags[:63])) == 63
    assert tags[63:] == tags[:7]


def test_one_untagged_command_at_a_time(rig: Rig) -> None:
    """A device that takes no tags: the second command waits in the mid-layer; another device is not concerned."""
    rig.sdev.tagged_supported = False
    first, second = (rig.rw(False, 8 * n, [(DATA, 4096)]) for n in range(2))
    other = rig.command(cdb.test_unit_ready(), sdev=ScsiDevice(rig.shost, 0, 1, 0))
    assert (rig.queue(first), rig.queue(second), rig.queue(other)) == (0, SCSI_MLQUEUE_HOST_BUSY, 0)
    rig.poll_until_done(first, other)
    assert (first.result, other.result) == (0, 0x01_0000)
    assert rig.run(second).result == 0


def test_busy_while_a_reset_is_due(make: Make) -> None:
    """Between quiesce and host reset, and during one, nothing is queued."""
    rig = make().probe().crash()
    rig.hooks.quiesce(rig.sdev)
    assert rig.queue(rig.command(cdb.test_unit_ready())) == SCSI_MLQUEUE_HOST_BUSY


def test_completion_is_told_without_a_lock(make: Make) -> None:
    """scsi_done may queue the next command at once, from the handler."""
    rig = make().probe()
    assert rig.sdev
    rest = [rig.rw(False, 8 * n, [(DATA + 4096 * n, 4096)]) for n in range(5)]
    ended = []

    def chain(scmd: object) -> None:
        ended.append(scmd)
        assert not rig.kernel.spin_is_locked(rig.np.lock)
        if rest:
            assert rig.shost.hostt.queuecommand(rest.pop(), chain) == 0
    flags = rig.kernel.spin_lock_irqsave(rig.shost.host_lock)
    rig.shost.hostt.queuecommand(rest.pop(), chain)
    rig.kernel.spin_unlock_irqrestore(rig.shost.host_lock, flags)
    rig.kernel.mdelay(20)
    assert len(ended) == 5


def test_intfly_lost_is_found_by_the_next_poll(make: Make) -> None:
    """The done mark in memory counts, whatever ISTAT says."""
    rig = make().probe().take_over()
    rig.model.faults.inject("intfly-lost", times=0)
    assert rig.run(rig.rw(False, 0, [(DATA, 4096)])).result == 0


def test_polls_that_find_nothing_read_one_register(make: Make) -> None:
    """ISTAT, while nothing is done; that is what a dump does most of the time."""
    rig = make(trace=True).probe().take_over()
    rig.queue(rig.rw(False, 0, [(DATA, 4096)]))
    before = rig.machine.trace.count
    rig.hooks.dump_poll(rig.sdev)
    new = list(rig.machine.trace)[before - rig.machine.trace.count:]
    assert [(r.kind, r.fields[0]) for r in new if r.kind in ("read", "write")] == [("read", "ISTAT0")]


# -- scatter lists -----------------------------------------------------------------------------------------------------


def test_entries() -> None:
    """40 bits of address: bits 39..32 above the count."""
    assert entry(0x12_3456_7890, 0x1000) == (0x1200_1000, 0x3456_7890)
    assert entry(0xFFFF_F000, 0xFF_FFFF) == (0x00FF_FFFF, 0xFFFF_F000)


@BOTH
@pytest.mark.parametrize("segments", [1, 2, SEGMENTS])
def test_any_number_of_segments(make: Make, chip: ChipProfile, segments: int) -> None:
    """Each of them lands where it belongs, with odd lengths and addresses, too."""
    rig = make(chip).probe().take_over()
    length = segments * 512
    pieces, at, left = [], DATA + 3, length
    for n in range(segments):
        size = left if n == segments - 1 else (511 if n % 2 else 513)
        pieces.append((at, size))
        at, left = at + size + 5, left - size
    data = b"".join(rig.fill(address, size, n) for n, (address, size) in enumerate(pieces))
    assert rig.run(rig.rw(True, 0, pieces)).result == 0
    assert rig.on_disk(0, length) == data
    back = [(address + 0x4_0000, size) for address, size in pieces]
    assert rig.run(rig.rw(False, 0, back)).result == 0
    assert b"".join(rig.machine.memory.read(address, size) for address, size in back) == data


def test_one_segment_too_many(rig: Rig) -> None:
    """sg_tablesize is what fits: one more ends with DID_ERROR, and its block is free again."""
    scmd = rig.command(cdb.read_write(False, 0, 93, False), DMA_FROM_DEVICE,
                       [(DATA + 1024 * n, 512) for n in range(SEGMENTS + 1)])
    assert rig.queue(scmd) == 0
    assert (scmd.done, scmd.result) == (True, 0x07_0000)
    assert "93 segments do not fit" in rig.kernel.log[-1]
    assert len(rig.np.free) + len(rig.np.aborted) == 63


@pytest.mark.parametrize("chip", [LSI53C895A, LSI53C1010], ids=lambda profile: profile.chip.name)
def test_memory_above_4_gib(make: Make, chip: ChipProfile) -> None:
    """Table moves with 40 bits of address, in both directions, cut in two as well."""
    rig = make(chip, high=True).probe().take_over()
    data = rig.fill(HIGH, 8192)
    assert rig.run(rig.rw(True, 0, [(HIGH, 8192)])).result == 0
    assert rig.on_disk(0, 8192) == data
    rig.model.faults.inject("early-disconnect")
    assert rig.run(rig.rw(False, 0, [(HIGH + 0x10000, 8192)])).result == 0
    assert rig.machine.memory.read(HIGH + 0x10000, 8192) == data


@ALL
@pytest.mark.parametrize("write", [False, True], ids=["read", "write"])
@pytest.mark.parametrize("burst", [1000, 777, 4096, 8192])
def test_disconnects_in_mid_data(make: Make, chip: ChipProfile, write: bool, burst: int) -> None:
    """A target that leaves every so many bytes: moves are cut anywhere, at segment borders, several times each."""
    rig = rewired(make, chip, Timing(burst_bytes=burst))
    pieces = [(DATA, 2048), (DATA + 0x3000, 6144), (DATA + 0x8000, 512), (DATA + 0x9001, 7680)]
    length = sum(size for _, size in pieces)
    data = pattern(4, length)
    if write:
        at = 0
        for address, size in pieces:
            rig.machine.memory.write(address, data[at:at + size])
            at += size
        assert rig.run(rig.rw(True, 16, pieces)).result == 0
        assert rig.on_disk(16, length) == data
    else:
        rig.image[16 * 512:16 * 512 + length] = data
        scmd = rig.run(rig.rw(False, 16, pieces))
        assert (scmd.result, scmd.resid) == (0, 0)
        assert b"".join(rig.machine.memory.read(address, size) for address, size in pieces) == data
    assert rig.np.resets == 2


def rewired(make: Make, chip: ChipProfile, timing: Timing) -> Rig:
    """A rig whose chip has other timings."""
    rig = make(chip)
    rig.model.timing = timing
    return rig.probe().take_over()


def test_cut_twice_with_the_pointer_saved_in_between(make: Make) -> None:
    """SAVE DATA POINTER keeps one remainder while the next cut makes another; without it the transfer begins there."""
    for faults in (("early-disconnect", "no-save-pointers"), ("no-save-pointers", "early-disconnect"),
                   ("early-disconnect", "early-disconnect"), ("early-disconnect", "restore-pointers")):
        rig = make(LSI53C810).probe().take_over()
        data = rig.fill(DATA, 16384, 8)
        for n, fault in enumerate(faults):
            rig.model.faults.inject(fault, after=n if faults[0] == faults[1] else 0)
        assert rig.run(rig.rw(True, 0, [(DATA, 4096), (DATA + 4096, 12288)])).result == 0
        assert rig.on_disk(0, 16384) == data

