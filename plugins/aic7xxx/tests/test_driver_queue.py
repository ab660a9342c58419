"""queuecommand and the queues: slot exchange, order, what may be with the chip together, freeze counts."""

from __future__ import annotations

import pytest

from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import (
    DID_BAD_TARGET,
    DID_ERROR,
    DID_NO_CONNECT,
    DID_REQUEUE,
    DMA_FROM_DEVICE,
    SAM_STAT_BUSY,
    SAM_STAT_CHECK_CONDITION,
    SAM_STAT_TASK_SET_FULL,
    SCSI_MLQUEUE_HOST_BUSY,
    host_byte,
    status_byte,
)
from ddsdk.scsi.host import ScsiDevice
from ddsdk.sim import disk_faults
from ddsdk_aic7xxx.frames import HSCB_BYTES, SCB_LUN
from ddsdk_aic7xxx.queue import cut_at_4_gib
from plugins.aic7xxx.tests.driver_rig import DATA, DISK_ID, HIGH, PAGE, Make, Rig

GIB4 = 1 << 32


@pytest.fixture
def rig(make: Make) -> Rig:
    """Ready to dump."""
    return make().probe().take_over()


def other_lun(rig: Rig, *, tagged: bool = True) -> ScsiDevice:
    """Another logical unit of the disk's target; nobody is there."""
    return ScsiDevice(rig.shost, 0, DISK_ID, 1, tagged_supported=tagged)


def test_each_command_takes_the_element_the_chip_knows_of(rig: Rig) -> None:
    """Its own goes into reserve; objects and elements go round, no tag twice among 64 commands."""
    ahc = rig.ahc
    for _ in range(10):
        expected, scb = ahc.reserved.hscb, ahc.free[0]
        scmd = rig.rw(False, 0)
        rig.queue(scmd)
        assert (ahc.scb_of(expected), scb.scmd) == (scb, scmd)
        rig.poll_until_done(scmd)
        assert ahc.scb_of(expected) is None
    assert len({scb.hscb for scb in ahc.scbs}) == len(ahc.scbs)


def test_a_tag_is_used_again_as_late_as_possible(rig: Rig) -> None:
    """Sixty-four commands one after another: all their tags differ."""
    tags = []
    for _ in range(64):
        tags.append(rig.ahc.reserved.hscb)
        rig.run(rig.tur())
    assert len(set(tags)) == 64


def test_sixty_four_commands_are_with_the_chip_and_the_rest_waits(rig: Rig) -> None:
    """More than there are SCBs: the others follow as they come free, all end well, in their places."""
    scmds = []
    for n in range(80):
        rig.fill(DATA + 512 * n, 512, n)
        scmds.append(rig.rw(True, n, [(DATA + 512 * n, 512)]))
    rig.queue(*scmds)
    assert (len(rig.ahc.pending()), len(rig.ahc.device_of(scmds[0]).busyq)) == (64, 16)
    rig.poll_until_done(*scmds)
    assert {scmd.result for scmd in scmds} == {0}
    assert rig.on_disk(0, 80 * 512) == rig.machine.memory.read(DATA, 80 * 512)


def test_untagged_commands_go_one_by_one(rig: Rig) -> None:
    """Of one logical unit and of the whole target; a tagged one of the unit waits, too, and in order."""
    rig.sdev.tagged_supported = False
    first, second = rig.rw(True, 0), rig.rw(False, 0)
    third = rig.tur(other_lun(rig, tagged=False))
    rig.queue(first, second, third)
    assert [scb.scmd for scb in rig.ahc.pending()] == [first]
    rig.poll_until_done(first, second, third)
    assert [scmd for scmd in rig.done if scmd is not third] == [first, second]
    assert rig.ahc.targets[DISK_ID].untagged is None


def test_an_untagged_command_waits_for_tagged_ones(rig: Rig) -> None:
    """And they for it: never together at one logical unit."""
    tagged = [rig.rw(False, n) for n in range(3)]
    rig.queue(*tagged)
    rig.sdev.tagged_supported = False
    alone = rig.rw(False, 64)
    rig.queue(alone)
    rig.sdev.tagged_supported = True
    rig.poll_until_done(*tagged, alone)
    assert rig.done[-1] is alone
    assert {scmd.result for scmd in rig.done} == {0}


def test_our_own_id_is_no_target(rig: Rig) -> None:
    """DID_BAD_TARGET at once."""
    scmd = rig.tur(ScsiDevice(rig.shost, 0, 7, 0))
    assert rig.queue(scmd) == 0
    assert host_byte(scmd.result) == DID_BAD_TARGET


def test_a_dead_adapter_and_one_in_reset(rig: Rig) -> None:
    """DID_NO_CONNECT for good, SCSI_MLQUEUE_HOST_BUSY for now."""
    rig.ahc.active = False
    scmd = rig.tur()
    assert rig.queue(scmd) == SCSI_MLQUEUE_HOST_BUSY
    assert not scmd.done
    rig.ahc.dead = True
    assert rig.queue(scmd) == 0
    assert host_byte(scmd.result) == DID_NO_CONNECT


# -- lists -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("segments", "cut"), [
    ([(0, 512)], [(0, 512)]),
    ([(GIB4 - 512, 512)], [(GIB4 - 512, 512)]),
    ([(GIB4 - 512, 1024)], [(GIB4 - 512, 512), (GIB4, 512)]),
    ([(GIB4, 512), (3 * GIB4 - 1, 3)], [(GIB4, 512), (3 * GIB4 - 1, 1), (3 * GIB4, 2)]),
])
def test_segments_are_cut_at_4_gib(segments: list[tuple[int, int]], cut: list[tuple[int, int]]) -> None:
    """The upper bits of an element's address do not count on."""
    assert cut_at_4_gib(segments) == cut


def test_a_segment_above_4_gib(make: Make) -> None:
    """There and back, at bus address 5 GiB."""
    rig = make(high=True).probe().take_over()
    data = rig.fill(HIGH, PAGE)
    assert rig.run(rig.rw(True, 8, [(HIGH, PAGE)])).result == 0
    assert rig.on_disk(8, PAGE) == data
    rig.machine.memory.write(HIGH, bytes(PAGE))
    assert rig.run(rig.rw(False, 8, [(HIGH, PAGE)])).result == 0
    assert rig.machine.memory.read(HIGH, PAGE) == data


def test_more_segments_than_a_list_has_room_for(rig: Rig) -> None:
    """DID_ERROR, told by the next poll; the SCB and the memory are free again."""
    scmd = rig.rw(True, 0, [(DATA + 1024 * n, 512) for n in range(129)])
    free = len(rig.ahc.free)
    assert rig.queue(scmd) == 0
    assert not scmd.done
    rig.poll()
    assert (host_byte(scmd.result), scmd.resid) == (DID_ERROR, 129 * 512)
    assert len(rig.ahc.free) == free
    assert not any(scb.mapped for scb in rig.ahc.scbs)


def test_an_odd_length_is_marked(rig: Rig) -> None:
    """LUN byte, bit 7."""
    scmd = rig.command(cdb.inquiry(), DMA_FROM_DEVICE, [(DATA, 35)])
    rig.queue(scmd)
    scb = rig.ahc.pending()[0]
    assert rig.ahc.hscb_view[scb.hscb * HSCB_BYTES + SCB_LUN] == 0x80
    rig.poll_until_done(scmd)
    assert scmd.result == 0


# -- freezing --------------------------------------------------------------------------------------------------


def test_an_error_holds_its_device_until_it_is_delivered(rig: Rig) -> None:
    """Commands not with a target yet go back to the device's queue and come after it, in order."""
    rig.disk.inject(disk_faults.hardware_error(1))
    scmds = [rig.rw(False, 8 * n) for n in range(40)]
    rig.queue(*scmds)
    dev = rig.ahc.device_of(scmds[0])
    rig.poll_until_done(scmds[0])
    assert status_byte(scmds[0].result) == SAM_STAT_CHECK_CONDITION
    rig.poll_until_done(*scmds)
    assert dev.qfrozen == 0
    assert [scmd.result for scmd in scmds[1:]] == [0] * 39
    assert len(rig.done) == 40


def test_a_busy_device_is_left_alone_for_half_a_second(rig: Rig) -> None:
    """By a timer, which the dump loop's updates run; what comes meanwhile waits in its queue."""
    rig.disk.inject(disk_faults.busy(1))
    first = rig.run(rig.rw(False, 0))
    assert status_byte(first.result) == SAM_STAT_BUSY
    dev = rig.ahc.device_of(first)
    assert dev.qfrozen == 1
    second = rig.rw(False, 0)
    assert rig.queue(second) == 0
    assert (dev.qfrozen, dev.active) == (1, 0)
    assert 490 <= rig.poll_until_done(second) < 511
    assert (second.result, dev.qfrozen) == (0, 0)


def test_a_full_device_gets_less_at_a_time(rig: Rig) -> None:
    """QUEUE FULL among others of ours: to be queued again, and one slot fewer; after many good ones one more again."""
    rig.disk.inject(disk_faults.queue_full(1, 3))
    scmds = [rig.rw(False, 8 * n) for n in range(8)]
    rig.queue(*scmds)
    rig.poll_until_done(*scmds)
    bad = [scmd for scmd in scmds if scmd.result]
    assert [host_byte(scmd.result) for scmd in bad] == [DID_REQUEUE]
    dev = rig.ahc.device_of(scmds[0])
    full = dev.openings
    assert 0 < full < 8
    for _ in range(60):
        rig.run(rig.rw(False, 0))
    assert dev.openings == full + 1


def test_a_full_device_with_nothing_of_ours_is_busy(rig: Rig) -> None:
    """Somebody else fills it: half a second."""
    rig.disk.inject(disk_faults.queue_full(1))
    scmd = rig.run(rig.rw(False, 0))
    assert (host_byte(scmd.result), status_byte(scmd.result)) == (0, SAM_STAT_TASK_SET_FULL)
    assert rig.ahc.device_of(scmd).qfrozen == 1


def test_two_devices_are_thawed_each_in_its_time(rig: Rig) -> None:
    """One timer for all of them."""
    ahc, kernel = rig.ahc, rig.kernel
    first, second = ahc.targets[3].devices[0], ahc.targets[4].devices[0]
    for dev, ms in ((first, 100), (second, 300)):
        dev.thaw_at = kernel.jiffies + kernel.msecs_to_jiffies(ms)
        ahc.freeze(dev)
    kernel.mod_timer(ahc.thaw_timer, first.thaw_at or 0)
    rig.poll(1_500)
    assert (first.qfrozen, second.qfrozen) == (0, 1)
    rig.poll(2_000)
    assert (first.qfrozen, second.qfrozen) == (0, 0)


def test_an_absent_target_freezes_nobody_else(rig: Rig) -> None:
    """DID_NO_CONNECT after 256 ms; the disk's commands wait that long for the bus and end well."""
    absent = rig.tur(ScsiDevice(rig.shost, 0, 9, 0, tagged_supported=True))
    rig.queue(absent)
    rig.poll(2)
    scmd = rig.rw(False, 0)
    rig.queue(scmd)
    assert 250 <= rig.poll_until_done(absent, scmd) < 280
    assert (host_byte(absent.result), scmd.result) == (DID_NO_CONNECT, 0)
