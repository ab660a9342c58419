"""Error handlers: abort, device reset, bus reset, host reset; by interrupt in normal mode, by polling after a crash."""

from __future__ import annotations

import pytest

from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import FAILED, SUCCESS, ScsiCmnd
from ddsdk.scsi.host import ErrorHandler
from ddsdk.sim.disk_faults import hang
from ddsdk_sym53c8xx.model import LSI53C810, LSI53C895A, ChipProfile
from plugins.sym53c8xx.tests.driver_rig import ALL, BOTH, DATA, Make, Rig

MODES = pytest.mark.parametrize("crashed", [False, True], ids=["normal mode", "crash mode"])
RESET, ABORTED, NO_CONNECT = 0x08_0000, 0x05_0000, 0x01_0000


def start(make: Make, chip: ChipProfile = LSI53C895A, crashed: bool = False, trace: bool = False) -> Rig:
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
    """ABORT TAG: the aborted command ends with DID_ABORT and is the target's no more; the other one stays."""
    rig = start(make, chip, crashed)
    first, second = hung(rig, 2)
    assert rig.handle(rig.shost.hostt.eh_abort_handler, first) == SUCCESS
    assert (first.done, first.result, second.done) == (True, ABORTED, False)
    assert [ccb.scmd for ccb in rig.np.busy.values()] == [second]
    assert len(rig.model.scsi.ports[0].tasks) == 1
    assert len(rig.np.aborted) == 1


@MODES
def test_abort_of_a_command_that_was_not_started(make: Make, crashed: bool) -> None:
    """It leaves the start queue, and no target hears of it; the ones behind it go on."""
    rig = start(make, crashed=crashed)
    rig.model.faults.inject("selection-unanswered")
    blocker, victim, behind = (rig.rw(True, 8 * n, [(DATA, 4096)]) for n in range(3))
    for scmd in (blocker, victim, behind):
        assert rig.queue(scmd) == 0
    rig.kernel.udelay(100)
    assert rig.handle(rig.shost.hostt.eh_abort_handler, victim) == SUCCESS
    rig.poll_until_done(blocker, behind)
    assert behind.result == 0
    assert victim.result in (ABORTED, 0)
    assert len(rig.done) == len(set(map(id, rig.done)))


@MODES
def test_abort_of_an_ended_command_is_success(make: Make, crashed: bool) -> None:
    """What the chip no longer holds needs no message."""
    rig = start(make, crashed=crashed, trace=True)
    scmd = rig.command(cdb.test_unit_ready())
    written = rig.machine.trace.count
    assert rig.handle(rig.shost.hostt.eh_abort_handler, scmd) == SUCCESS
    new = list(rig.machine.trace)[written - rig.machine.trace.count:]
    assert not [record for record in new if record.kind == "write"]


@MODES
def test_abort_refused(make: Make, crashed: bool) -> None:
    """The target answers MESSAGE REJECT: the adapter is reset, which ends the command, too."""
    rig = start(make, crashed=crashed)
    [scmd] = hung(rig)
    rig.model.faults.inject("abort-refused")
    assert rig.handle(rig.shost.hostt.eh_abort_handler, scmd) in (SUCCESS, FAILED)
    if not scmd.done:
        assert rig.host_reset() == SUCCESS
    assert scmd.result in (RESET, ABORTED)


@MODES
def test_abort_while_a_target_holds_the_bus(make: Make, crashed: bool) -> None:
    """SCRIPTS never come to the gate: FAILED within a second or so; the bus reset helps."""
    rig = start(make, crashed=crashed)
    rig.model.faults.inject("target-hangs")
    scmd = rig.rw(False, 0, [(DATA, 4096)])
    rig.queue(scmd)
    rig.kernel.udelay(1000)
    before_ns = rig.machine.clock.now_ns
    assert rig.handle(rig.shost.hostt.eh_abort_handler, scmd) == FAILED
    assert rig.machine.clock.now_ns - before_ns < 2_000_000_000
    assert not scmd.done
    assert rig.handle(rig.shost.hostt.eh_bus_reset_handler, scmd) == SUCCESS
    assert scmd.result == RESET


@BOTH
@MODES
def test_device_reset(make: Make, chip: ChipProfile, crashed: bool) -> None:
    """BUS DEVICE RESET: every command of that target ends with DID_RESET, no other reset happens."""
    rig = start(make, chip, crashed)
    scmds, resets = hung(rig, 3), rig.np.resets
    assert rig.handle(rig.shost.hostt.eh_device_reset_handler, scmds[0]) == SUCCESS
    assert [scmd.result for scmd in scmds] == [RESET] * 3
    assert rig.np.resets == resets
    scmd = rig.command(cdb.test_unit_ready())
    rig.queue(scmd)
    rig.poll_until_done(scmd)
    assert (scmd.result, scmd.sense_buffer[2], scmd.sense_buffer[12]) == (0x0800_0002, 0x06, 0x29)


@MODES
def test_device_reset_of_nobody(make: Make, crashed: bool) -> None:
    """A target that does not answer the selection: FAILED."""
    rig = start(make, crashed=crashed)
    rig.model.faults.inject("selection-unanswered")
    assert rig.handle(rig.shost.hostt.eh_device_reset_handler, rig.command(cdb.test_unit_ready())) == FAILED


@ALL
@MODES
@pytest.mark.parametrize("which", ["eh_bus_reset_handler", "eh_host_reset_handler"])
def test_reset_ends_every_command_and_frees_their_memory(make: Make, chip: ChipProfile, crashed: bool,
                                                         which: str) -> None:
    """DID_RESET for all, no mapping left, all blocks free, SCRIPTS run, causes enabled as the mode wants them."""
    rig = start(make, chip, crashed)
    scmds = hung(rig, 5)
    handler: ErrorHandler = getattr(rig.shost.hostt, which)
    assert rig.handle(handler, scmds[0]) == SUCCESS
    assert [scmd.result for scmd in scmds] == [RESET] * 5
    assert rig.function.dma is not None
    assert len(rig.function.dma.grants) == 2                      # blocks, program
    assert len(rig.np.free) == 63
    rig.write("ISTAT0", 0x80)
    rig.write("ISTAT0", 0x00)
    assert (rig.read("SIEN0"), rig.read("DIEN")) == ((0, 0) if crashed else (0x8F, 0x7D))


@MODES
def test_host_reset_that_fails_ends_commands_too(make: Make, crashed: bool) -> None:
    """Nobody will answer them any more: DID_NO_CONNECT, and their memory stays the dead bus's; a later reset helps."""
    rig = start(make, crashed=crashed)
    scmds = hung(rig, 2)
    rig.model.faults.inject("rst-stuck", times=0)
    before_ns = rig.machine.clock.now_ns
    assert rig.host_reset() == FAILED
    assert rig.machine.clock.now_ns - before_ns < 30_000_000_000
    assert [scmd.result for scmd in scmds] == [NO_CONNECT] * 2
    assert rig.function.dma is not None
    assert len(rig.function.dma.grants) == 4
    lost = rig.command(cdb.test_unit_ready())
    assert (rig.queue(lost), lost.done, lost.result) == (0, True, NO_CONNECT)
    rig.model.faults.clear()
    assert rig.host_reset() == SUCCESS
    assert len(rig.function.dma.grants) == 2


def test_two_host_resets_at_once_are_one(make: Make) -> None:
    """The second caller waits for the first one's outcome instead of resetting again."""
    rig = start(make)
    results: list[int] = []
    resets = rig.np.resets
    for name in ("first", "second"):
        rig.machine.spawn(0, lambda: results.append(rig.host_reset()), name)
    rig.machine.run()
    assert results == [SUCCESS, SUCCESS]
    assert rig.np.resets == resets + 1


def test_reset_that_an_interrupt_asked_for(make: Make) -> None:
    """Tasklet and timer do it, nobody waits; commands end with DID_RESET, later ones work."""
    rig = start(make)
    rig.model.faults.inject("gross-error")
    scmd = rig.rw(False, 0, [(DATA, 4096)])
    rig.queue(scmd)
    rig.kernel.msleep(400)
    assert (scmd.done, scmd.result) == (True, RESET)
    rig.queue(again := rig.command(cdb.test_unit_ready()))
    rig.kernel.msleep(10)
    assert (again.done, again.result) == (True, 0x0800_0002)


def test_abort_between_quiesce_and_host_reset(make: Make) -> None:
    """There is nobody to send a message; and after quiesce nothing is held."""
    rig = start(make).crash()
    rig.hooks.quiesce(rig.sdev)
    assert rig.handle(rig.shost.hostt.eh_device_reset_handler, rig.command(cdb.test_unit_ready())) == FAILED
    assert rig.handle(rig.shost.hostt.eh_abort_handler, rig.command(cdb.test_unit_ready())) == SUCCESS


def test_timer_set_before_the_crash_never_fires(make: Make) -> None:
    """Crash in the middle of a reset: its timer is set aside, and the dump takes the adapter over."""
    rig = start(make, LSI53C810)
    rig.machine.spawn(0, rig.host_reset, "scsi_eh")
    rig.machine.run(for_ns=100_000_000)
    assert rig.np.resetting
    rig.crash()
    assert rig.hooks.dump_sanity_check(rig.sdev) == 1
    rig.hooks.quiesce(rig.sdev)
    assert not rig.np.resetting
    assert not rig.kernel.timer_pending(rig.np.reset_timer)
    assert rig.host_reset() == SUCCESS
    resets = rig.np.resets
    for _ in range(20_000):
        rig.kernel.udelay(100)
        rig.kernel.diskdump_update()
    assert rig.np.resets == resets


def test_abort_twice_uses_the_gate_again(make: Make) -> None:
    """Several aborts one after the other; then commands go through as before."""
    rig = start(make)
    for scmd in hung(rig, 3):
        assert rig.handle(rig.shost.hostt.eh_abort_handler, scmd) == SUCCESS
        assert scmd.result == ABORTED
    scmd = rig.rw(True, 0, [(DATA, 4096)])
    rig.queue(scmd)
    rig.kernel.mdelay(5)
    assert scmd.result == 0
