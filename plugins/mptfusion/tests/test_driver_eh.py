"""Error handlers: abort, device reset, bus reset, host reset; by interrupt in normal mode, by polling after a crash."""

from __future__ import annotations

import attrs
import pytest

from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import FAILED, SUCCESS, ScsiCmnd
from ddsdk.scsi.host import ErrorHandler
from ddsdk.sim.disk_faults import hang
from ddsdk_mptfusion.frames import IOCCapabilities, TaskType
from ddsdk_mptfusion.model import SAS1068, ChipProfile
from ddsdk_mptfusion.regs import IocState
from ddsdk_mptfusion.task_mgmt import mptscsih_TMHandler
from plugins.mptfusion.tests.driver_rig import BOTH, DATA, Make, Rig

MODES = pytest.mark.parametrize("crashed", [False, True], ids=["normal mode", "crash mode"])
RESET = 0x080000


def start(make: Make, chip: ChipProfile = SAS1068, crashed: bool = False, trace: bool = False) -> Rig:
    """A driver in business, in either mode."""
    rig = make(chip, trace=trace).probe()
    assert rig.sdev
    return rig.take_over() if crashed else rig


def hung(rig: Rig, count: int = 1) -> list[ScsiCmnd]:
    """Commands that are with the disk, which will never answer them by itself."""
    scmds = []
    for index in range(count):
        rig.disk.faults.inject(hang())
        scmd = rig.rw(True, 8 * index, [(DATA + 0x1000 * index, 4096)])
        assert rig.queue(scmd) == 0
        rig.kernel.udelay(1000)
        scmds.append(scmd)
    return scmds


@BOTH
@MODES
def test_abort_ends_one_command(make: Make, chip: ChipProfile, crashed: bool) -> None:
    """The aborted command ends with DID_RESET; the other one stays with the IOC."""
    rig = start(make, chip, crashed)
    first, second = hung(rig, 2)
    assert rig.handle(rig.shost.hostt.eh_abort_handler, first) == SUCCESS
    assert (first.done, first.result, second.done) == (True, RESET, False)
    assert second in [request.scmd for request in rig.ioc.outstanding.values()]
    assert not rig.kernel.timer_pending(rig.hd.TMtimer)


@MODES
def test_abort_of_an_ended_command_is_success(make: Make, crashed: bool) -> None:
    """What the IOC no longer holds needs no task management."""
    rig = start(make, crashed=crashed, trace=True)
    scmd = rig.command(cdb.test_unit_ready())
    written = rig.machine.trace.count
    assert rig.handle(rig.shost.hostt.eh_abort_handler, scmd) == SUCCESS
    new = list(rig.machine.trace)[written - rig.machine.trace.count:]
    assert not [record for record in new if record.kind == "write"]


@BOTH
@MODES
@pytest.mark.parametrize("which", ["eh_device_reset_handler", "eh_bus_reset_handler"])
def test_reset_ends_every_command(make: Make, chip: ChipProfile, crashed: bool, which: str) -> None:
    """Target and bus reset: everything outstanding ends with DID_RESET, and the disk reports a unit attention."""
    rig = start(make, chip, crashed)
    scmds = hung(rig, 3)
    handler: ErrorHandler = getattr(rig.shost.hostt, which)
    assert rig.handle(handler, scmds[0]) == SUCCESS
    assert [scmd.result for scmd in scmds] == [RESET] * 3
    scmd = rig.command(cdb.test_unit_ready())
    rig.queue(scmd)
    rig.poll_until_done(scmd)
    assert (scmd.result, scmd.sense_buffer[2] & 0xF, scmd.sense_buffer[12]) == (0x02, 0x06, 0x29)


@BOTH
@MODES
def test_host_reset_ends_every_command_and_frees_their_memory(make: Make, chip: ChipProfile, crashed: bool) -> None:
    """DID_RESET for all, no mapping left, all frames free, the IOC OPERATIONAL, interrupts as the mode wants them."""
    rig = start(make, chip, crashed)
    scmds = hung(rig, 5)
    assert rig.host_reset() == SUCCESS
    assert [scmd.result for scmd in scmds] == [RESET] * 5
    assert rig.function.dma is not None
    assert len(rig.function.dma.grants) == 1
    assert len(rig.ioc.FreeQ) == 64
    assert rig.read("DOORBELL") >> 28 == IocState.OPERATIONAL
    assert rig.read("HOST_INTERRUPT_MASK") == (0x9 if crashed else 0x1)


@MODES
def test_abort_of_a_command_the_ioc_lost_is_failed(make: Make, crashed: bool) -> None:
    """Task management succeeds, the command still does not end: only something stronger will do."""
    rig = start(make, crashed=crashed)
    rig.model.faults.inject("reply-lost")
    scmd = rig.rw(True, 0, [(DATA, 4096)])
    rig.queue(scmd)
    rig.kernel.udelay(1000)
    assert rig.handle(rig.shost.hostt.eh_abort_handler, scmd) == FAILED
    assert not scmd.done
    assert rig.host_reset() == SUCCESS
    assert scmd.result == RESET


@MODES
def test_host_reset_that_fails_ends_commands_too(make: Make, crashed: bool) -> None:
    """Nobody will answer them any more: DID_NO_CONNECT, and their memory stays the dead chip's."""
    rig = start(make, crashed=crashed)
    scmds = hung(rig, 2)
    rig.model.faults.inject("hard-reset-hangs", times=0)
    assert rig.host_reset() == FAILED
    assert [scmd.result for scmd in scmds] == [0x010000] * 2
    assert rig.function.dma is not None
    assert len(rig.function.dma.grants) == 3
    rig.model.faults.clear()
    rig.model.resets.go_down()              # somebody cycles its power
    assert rig.host_reset() == SUCCESS
    assert len(rig.function.dma.grants) == 1


@MODES
def test_unanswered_task_management_costs_a_hard_reset(make: Make, crashed: bool) -> None:
    """The timer ends the wait after 2 s; only a hard reset lets the IOC take another request; the command is gone."""
    rig = start(make, crashed=crashed)
    [scmd] = hung(rig)
    rig.model.faults.inject("task-mgmt-hung")
    begun_ns, resets = rig.machine.clock.now_ns, rig.ioc.reset_count
    assert rig.handle(rig.shost.hostt.eh_abort_handler, scmd) == SUCCESS
    assert rig.machine.clock.now_ns - begun_ns > 2_000_000_000
    assert (rig.ioc.reset_count, scmd.result) == (resets + 1, RESET)
    assert "ABORT_TASK: no answer within 2000 ms; hard reset" in "".join(rig.kernel.log)
    [scmd] = hung(rig)
    assert rig.handle(rig.shost.hostt.eh_abort_handler, scmd) == SUCCESS


@MODES
def test_refused_task_management_is_failed(make: Make, crashed: bool) -> None:
    """A ResponseCode other than complete is passed on, so that the mid-layer tries something stronger."""
    rig = start(make, crashed=crashed)
    [scmd] = hung(rig)
    rig.model.faults.inject("task-mgmt-failed")
    assert rig.handle(rig.shost.hostt.eh_abort_handler, scmd) == FAILED
    assert not scmd.done
    assert "ABORT_TASK failed: ResponseCode 0x5, IOCStatus 0x004a" in "".join(rig.kernel.log)
    assert not rig.hd.tmPending


def test_one_task_management_request_at_a_time(make: Make) -> None:
    """While one is under way another fails at once; nothing is posted for it."""
    rig = start(make)
    [scmd] = hung(rig)
    results: list[int] = []
    handler = rig.shost.hostt.eh_abort_handler
    rig.machine.spawn(0, lambda: results.append(rig.handle(handler, scmd)), "first")
    rig.machine.spawn(0, lambda: results.append(mptscsih_TMHandler(rig.hd, TaskType.TARGET_RESET, rig.sdev)), "second")
    rig.machine.run()
    assert results == [FAILED, SUCCESS]


def test_task_management_needs_an_active_ioc(make: Make) -> None:
    """Between quiesce and host reset there is nobody to send it to."""
    rig = start(make).crash()
    rig.hooks.quiesce(rig.sdev)
    assert rig.handle(rig.shost.hostt.eh_bus_reset_handler, rig.command(cdb.test_unit_ready())) == FAILED


def test_high_priority_queue_is_used_where_there_is_one(make: Make) -> None:
    """IOCCapabilities bit 0: task management overtakes what waits in the request FIFO."""
    chip = attrs.evolve(SAS1068, IOCCapabilities=int(IOCCapabilities.HIGH_PRI_Q), HighPriorityQueueDepth=4)
    rig = start(make, chip, trace=True)
    [scmd] = hung(rig)
    rig.handle(rig.shost.hostt.eh_abort_handler, scmd)
    writes = [record.fields[0] for record in rig.machine.trace if record.kind == "write"]
    assert writes.count("HI_PRI_REQUEST_FIFO") == 1


def test_two_host_resets_at_once_are_one(make: Make) -> None:
    """The second caller waits for the first one's outcome instead of resetting again."""
    rig = start(make)
    results: list[int] = []
    resets = rig.ioc.reset_count
    for name in ("first", "second"):
        rig.machine.spawn(0, lambda: results.append(rig.host_reset()), name)
    rig.machine.run()
    assert results == [SUCCESS, SUCCESS]
    assert rig.ioc.reset_count == resets + 1


def test_host_reset_while_task_management_waits(make: Make) -> None:
    """The request went down with the IOC; when its timer runs out after 5 s, nothing needs to be reset again."""
    rig = start(make)
    [scmd] = hung(rig)
    rig.model.faults.inject("task-mgmt-hung")
    results: list[int] = []
    resets = rig.ioc.reset_count
    rig.machine.spawn(0, lambda: results.append(rig.handle(rig.shost.hostt.eh_bus_reset_handler, scmd)), "bus reset")
    rig.machine.run(for_ns=500_000_000)
    rig.machine.spawn(0, rig.host_reset, "host reset")
    rig.machine.run()
    assert (results, scmd.result) == ([SUCCESS], RESET)
    assert rig.ioc.reset_count == resets + 1


def test_timer_set_before_the_crash_never_fires(make: Make) -> None:
    """Crash while task management waits: its timer is set aside, and the dump takes the adapter over."""
    rig = start(make)
    [scmd] = hung(rig)
    rig.model.faults.inject("task-mgmt-hung")
    rig.machine.spawn(0, lambda: rig.handle(rig.shost.hostt.eh_abort_handler, scmd), "aborter")
    rig.machine.run(for_ns=500_000_000)
    assert rig.hd.tmPending
    rig.crash()
    assert rig.hooks.dump_sanity_check(rig.sdev) == 1
    rig.hooks.quiesce(rig.sdev)
    assert not rig.hd.tmPending
    assert not rig.kernel.timer_pending(rig.hd.TMtimer)
    rig.host_reset()
    resets = rig.ioc.reset_count
    for _ in range(60_000):
        rig.kernel.udelay(100)
        rig.kernel.diskdump_update()
    assert rig.ioc.reset_count == resets


def test_fault_in_normal_mode_is_left_to_the_error_handler(make: Make) -> None:
    """Nobody polls: the command times out in the mid-layer, whose host reset brings everything back."""
    rig = start(make)
    rig.model.faults.inject("spontaneous-fault")
    scmd = rig.rw(True, 0, [(DATA, 4096)])
    rig.queue(scmd)
    rig.kernel.msleep(1000)
    assert not scmd.done
    assert rig.handle(rig.shost.hostt.eh_abort_handler, scmd) == SUCCESS      # times out, hard reset
    assert scmd.result == RESET
    rig.queue(scmd)
    rig.kernel.msleep(100)
    assert scmd.done
