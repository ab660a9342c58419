"""The dump hooks - sanity check, quiesce, poll, shutdown - and what the poll makes of an adapter that fails."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from ddsdk.bus import PCI_COMMAND
from ddsdk.scsi.cmnd import DID_NO_CONNECT, DID_RESET, SCSI_MLQUEUE_HOST_BUSY, SUCCESS, host_byte
from ddsdk.sim.machine import Trigger
from ddsdk_ipr.model_core import State
from plugins.ipr.tests.driver_rig import ALL, MS, PAGE, SNIPE, ChipProfile, Make, Rig, S

# -- sanity check ----------------------------------------------------------------------------------------------


def nothing(_rig: Rig) -> None:
    """A healthy adapter."""


def no_adapter(rig: Rig) -> None:
    """The host has lost its data."""
    rig.shost.hostdata = None


def dead(rig: Rig) -> None:
    """The reset job gave up."""
    rig.ioa.ioa_is_dead = True


def resetting(rig: Rig) -> None:
    """The reset job is at work."""
    rig.ioa.in_reset_reload = True


def closed(rig: Rig) -> None:
    """Commands are not allowed."""
    rig.ioa.allow_cmds = False


def no_mastering(rig: Rig) -> None:
    """PCI COMMAND bit 2 is 0."""
    rig.function.config_write(PCI_COMMAND, 2, 0x2)


def no_memory(rig: Rig) -> None:
    """PCI COMMAND bit 1 is 0."""
    rig.function.config_write(PCI_COMMAND, 2, 0x4)


def removed(rig: Rig) -> None:
    """Pulled out."""
    rig.function.remove()


def all_ones(rig: Rig) -> None:
    """Registers do not answer."""
    rig.model.faults.inject("all-ones")


def checked(rig: Rig) -> None:
    """The firmware failed: a reset mends that."""
    rig.model.enter_unit_check()


def locked(rig: Rig) -> None:
    """The crash came in the free list."""
    rig.ioa.lock.owner = rig.machine.cpus[0]


@pytest.mark.parametrize(("trouble", "answer"), [
    (nothing, 0), (no_adapter, -errno.ENXIO), (dead, -errno.EIO), (resetting, 1), (closed, 1),
    (no_mastering, -errno.ENXIO), (no_memory, -errno.ENXIO), (removed, -errno.ENODEV), (all_ones, -errno.ENXIO),
    (checked, 0), (locked, 1)], ids=lambda value: getattr(value, "__name__", ""))
def test_sanity_check(make: Make, trouble: Callable[[Rig], None], answer: int) -> None:
    """Asked twice, it says the same, and writes nothing."""
    rig = make(trace=True).probe().crash()
    trouble(rig)
    mark = rig.machine.trace.count
    assert [rig.hooks.dump_sanity_check(rig.sdev) for _ in range(2)] == [answer] * 2
    new = list(rig.machine.trace)[mark - rig.machine.trace.count:] if rig.machine.trace.count > mark else []
    assert {record.kind for record in new} <= {"read"}


# -- quiesce ---------------------------------------------------------------------------------------------------


def test_quiesce_forgets(make: Make) -> None:
    """Commands, timers, the job, the lock; the chip is masked; commands are busy until a reset worked."""
    rig = make().probe()
    scmd = rig.rw(True, 8)
    rig.model.faults.inject("command-hung")
    rig.queue(scmd)
    rig.crash()
    locked(rig)
    assert rig.hooks.quiesce(rig.sdev) == 0
    ioa = rig.ioa
    assert not rig.kernel.spin_is_locked(ioa.lock)
    assert (rig.read("MASK"), [block for block in ioa.blocks if block.pending]) == (0xFFFFFFFF, [])
    assert rig.queue(rig.tur()) == SCSI_MLQUEUE_HOST_BUSY
    assert [block.mapped for block in ioa.blocks if block.mapped] != []     # the adapter may still reach it
    assert rig.host_reset() == SUCCESS
    assert [block.mapped for block in ioa.blocks if block.mapped] == []
    assert not scmd.done


def test_quiesce_without_an_adapter(make: Make) -> None:
    """-ENXIO."""
    rig = make().probe().crash()
    no_adapter(rig)
    assert rig.hooks.quiesce(rig.sdev) == -errno.ENXIO
    rig.hooks.dump_poll(rig.sdev)
    assert rig.hooks.shutdown(rig.sdev) == 0


def test_a_crash_while_the_job_waits_for_the_shutdown_command(make: Make) -> None:
    """The adapter still holds the job's block: the next job takes another."""
    rig = make(ncpus=2).probe()
    assert rig.sdev
    rig.machine.clock.after_ns(5 * MS, lambda: rig.machine.crash(Trigger.PANIC))
    handler = rig.shost.hostt.eh_host_reset_handler
    assert handler is not None

    def call() -> None:
        flags = rig.kernel.spin_lock_irqsave(rig.shost.host_lock)
        handler(rig.tur())
        rig.kernel.spin_unlock_irqrestore(rig.shost.host_lock, flags)
    rig.machine.spawn(1, call, "scsi_eh")
    rig.machine.run(for_ns=S)
    assert rig.hooks.dump_sanity_check(rig.sdev) == 1
    assert rig.hooks.quiesce(rig.sdev) == 0
    assert rig.host_reset() == SUCCESS
    assert rig.ioa.reset_cmd is rig.ioa.blocks[113]
    assert rig.run(rig.tur()).result == 2


# -- the poll --------------------------------------------------------------------------------------------------


@ALL
def test_a_dump_by_polling_alone(make: Make, chip: ChipProfile) -> None:
    """The line never rises."""
    rig = make(chip).probe()
    device = rig.dump_device(4)
    rig.crash()
    assert device.sanity_check() == 0
    assert device.quiesce() == 0
    line = rig.function.irq_line
    assert line is not None
    for block in range(8):
        data = rig.fill(0x100000, PAGE, block)
        assert device.rw_block(True, block, [(0x100000, PAGE)]) == 0
        assert rig.on_disk(8 * block, PAGE) == data
        assert not line.level
    assert device.shutdown() == 0
    assert rig.model.state is State.RESET


def test_a_dump_onto_a_volume_set(make: Make) -> None:
    """It is a disk like any other."""
    rig = make(SNIPE, at=(0xFF, 0)).probe()
    device = rig.dump_device()
    rig.crash()
    assert device.quiesce() == 0, device.why
    data = rig.fill(0x100000, PAGE)
    assert device.rw_block(True, 3, [(0x100000, PAGE)]) == 0
    assert rig.on_disk(24, PAGE) == data


@pytest.mark.parametrize("fault", ["unit-check", "xfer-fail", "no-hrrq", "ioarrin-lost", "mmio-err",
                                   "bus-master-cleared"])
def test_an_error_in_INT_is_seen_by_the_poll(make: Make, fault: str) -> None:
    """Within a millisecond, not after 30 s; a work item sees the reset through, and commands end with DID_RESET."""
    rig = make(trace=True).probe().take_over()
    rig.model.faults.inject(fault)
    scmd = rig.rw(True, 8)
    before = rig.machine.clock.now_ns
    rig.queue(scmd)
    while not rig.ioa.in_reset_reload:
        rig.poll()
        assert rig.machine.clock.now_ns - before < 2_600 * MS
        if rig.ioa.resets > 2:
            break
    rig.poll_until_done(scmd)
    assert (host_byte(scmd.result), scmd.resid) == (DID_RESET, PAGE)
    assert rig.machine.clock.now_ns - before < 2_600 * MS
    assert rig.ioa.allow_cmds
    assert rig.log("permanent adapter failure, INT")
    assert not rig.log("PRC")                       # in crash mode nobody reads the buffer
    assert rig.run(rig.tur()).result == 2
    assert rig.run(rig.tur()).result == 0


def test_the_poll_itself_does_not_wait(make: Make) -> None:
    """It begins the reset and returns; time passes in diskdump_update()."""
    rig = make().probe().take_over()
    rig.model.faults.inject("unit-check")
    rig.queue(rig.rw(True, 8))
    rig.kernel.udelay(1000)
    before = rig.machine.clock.now_ns
    for _ in range(8):
        rig.hooks.dump_poll(rig.sdev)
    assert (rig.machine.clock.now_ns, rig.ioa.in_reset_reload) == (before, True)
    rig.kernel.diskdump_update()
    assert (rig.ioa.in_reset_reload, rig.ioa.allow_cmds) == (False, True)


def test_an_adapter_that_is_gone(make: Make) -> None:
    """All ones, and configuration says that it decodes: dead at once, DID_NO_CONNECT."""
    rig = make().probe().take_over()
    scmd = rig.rw(True, 8)
    rig.model.faults.inject("command-hung")
    rig.queue(scmd)
    rig.kernel.udelay(100)
    all_ones(rig)
    rig.poll_until_done(scmd)
    assert host_byte(scmd.result) == DID_NO_CONNECT
    assert (rig.ioa.ioa_is_dead, rig.hooks.dump_sanity_check(rig.sdev)) == (True, -errno.EIO)
    assert not any(block.mapped for block in rig.ioa.blocks)
    for _ in range(20):
        rig.poll()


def test_decoding_switched_off(make: Make) -> None:
    """All ones because nobody decodes: a reset switches it on again."""
    rig = make().probe().take_over()
    scmd = rig.rw(True, 8)
    rig.model.faults.inject("command-hung")
    rig.queue(scmd)
    rig.kernel.udelay(100)
    no_memory(rig)
    rig.poll_until_done(scmd)
    assert host_byte(scmd.result) == DID_RESET
    assert rig.run(rig.tur()).result == 2


def test_a_lost_command_keeps_its_block(make: Make) -> None:
    """After a time-out nobody uses the block again before the adapter was reset; the model would object."""
    rig = make().probe()
    device = rig.dump_device()
    rig.crash()
    assert device.quiesce() == 0
    rig.model.faults.inject("command-hung", after=1)
    for block in range(4):
        data = rig.fill(0x100000, PAGE, block)
        assert device.rw_block(True, block, [(0x100000, PAGE)]) == 0
        assert rig.on_disk(8 * block, PAGE) == data
    assert (device.stats.timeouts, device.stats.resets) == (1, 2)


# -- notifications ---------------------------------------------------------------------------------------------


def test_a_log_entry_in_the_dump(make: Make) -> None:
    """It is taken, logged and asked for again, while commands go on."""
    rig = make().probe().take_over()
    for number in range(5):
        rig.model.faults.inject("hcam-error-log")
        assert rig.run(rig.rw(True, 8)).result == 0
        assert rig.ioa.errors_logged == number + 1
    assert rig.log("error log: HW_DEV_PERMANENT (04448200)")
    assert all(block.pending for block in rig.ioa.hcam_blocks)


def test_a_device_that_changed(make: Make) -> None:
    """Nothing becomes of it."""
    rig = make().probe().take_over()
    rig.model.faults.inject("hcam-config-changed")
    assert rig.run(rig.rw(True, 8)).result == 0
    assert rig.run(rig.rw(True, 8)).result == 0
    assert list(rig.ioa.resources) == [(0, 0, 0)]


def test_a_device_that_goes_and_comes_back(make: Make) -> None:
    """The command that carried the old handle ends with DID_NO_CONNECT; the next carries the new one."""
    rig = make().probe().take_over()
    rig.model.faults.inject("stale-handle")
    assert host_byte(rig.run(rig.rw(True, 8)).result) == DID_NO_CONNECT
    assert rig.log("device 0:0:0 was removed")
    assert rig.log("device 0:0:0 was added")
    assert rig.run(rig.rw(True, 8)).result == 0


def test_no_more_notifications(make: Make) -> None:
    """An adapter that refuses them is not asked for ever."""
    rig = make().probe().take_over()
    rig.model.commands._down = True
    rig.model.commands.log(0)
    for _ in range(20):
        rig.poll()
    assert rig.log("no more notifications: NR_SHUT_DOWN (025a0000)") or rig.log("no more notifications: IR_INVALID_REQ")
    assert rig.run(rig.rw(True, 8)).result == 0


# -- shutdown --------------------------------------------------------------------------------------------------


def test_shutdown_leaves_a_chip_that_nobody_started(make: Make) -> None:
    """The firmware is told, as before a reboot, then BIST; nothing pends, everything is masked."""
    rig = make().probe().take_over()
    rig.queue(rig.rw(False, 8))
    assert rig.hooks.shutdown(rig.sdev) == 0
    assert (rig.model.state, rig.read("MASK"), rig.read("INT")) == (State.RESET, 0xFFFFFFFF, 0)
    assert not any(block.pending or block.mapped for block in rig.ioa.blocks)
    assert rig.queue(rig.tur()) == SCSI_MLQUEUE_HOST_BUSY


def test_shutdown_of_an_adapter_that_fails(make: Make) -> None:
    """-EIO; of a dead one nothing is asked."""
    rig = make().probe().take_over()
    rig.model.faults.inject("bist-fails", times=0)
    assert rig.hooks.shutdown(rig.sdev) == -errno.EIO
    assert rig.hooks.shutdown(rig.sdev) == 0
