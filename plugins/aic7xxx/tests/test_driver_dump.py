"""The dump hooks: sanity check, quiesce, shutdown, the poll; and the host reset between them, in crash mode."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from ddsdk.bus import PCI_COMMAND
from ddsdk.scsi.cmnd import (
    DID_NO_CONNECT,
    DID_RESET,
    SAM_STAT_CHECK_CONDITION,
    SCSI_MLQUEUE_HOST_BUSY,
    SUCCESS,
    host_byte,
)
from ddsdk.sim import disk_faults
from ddsdk.sim.machine import Trigger
from ddsdk_aic7xxx.agreement import ASYNC_NARROW, ULTRA160
from ddsdk_aic7xxx.model import ChipProfile
from plugins.aic7xxx.tests.driver_rig import BOTH, DATA, DISK_ID, PAGE, Make, Rig


@pytest.fixture
def up(make: Make) -> Rig:
    """A driver brought up, not crashed."""
    return make(trace=True, ncpus=2).probe().attention()


def since(rig: Rig, start: int) -> set[str]:
    """Kinds of what the trace recorded after *start*."""
    count = rig.machine.trace.count - start
    return {record.kind for record in list(rig.machine.trace)[-count:]} if count else set()


# -- sanity check ----------------------------------------------------------------------------------------------


def lock_held(rig: Rig) -> None:
    """Another CPU stops with the driver's lock held."""
    def task() -> None:
        rig.kernel.spin_lock_irqsave(rig.ahc.lock)
        rig.machine.crash(Trigger.OOPS)
    rig.machine.spawn(1, task, "holder")
    rig.machine.run()


def no_adapter(rig: Rig) -> None:
    """A host whose driver never got so far."""
    rig.shost.hostdata = None


def flag(name: str) -> Callable[[Rig], None]:
    """The driver stopped with that set."""
    return lambda rig: setattr(rig.ahc, name, True)


def busy_device(rig: Rig) -> None:
    """The disk said BUSY: its device is frozen, the timer armed."""
    rig.disk.inject(disk_faults.busy(1))
    rig.run(rig.rw(False, 0))
    assert rig.ahc.targets[DISK_ID].devices[0].qfrozen == 1


def stopped(rig: Rig) -> None:
    """The chip raised BRKADRINT; nobody has looked yet."""
    rig.inject("sequencer-parity")
    rig.queue(rig.rw(False, 0))
    rig.machine.clock.advance(10_000)
    assert rig.model.intstat == 0x08


VERDICTS: dict[str, tuple[Callable[[Rig], object], int]] = {
    "healthy": (lambda rig: None, 0),
    "no host data": (no_adapter, -errno.ENXIO),
    "lock held": (lock_held, 1),
    "reset under way": (flag("resetting"), 1),
    "adapter frozen": (flag("qfrozen"), 1),
    "last reset failed": (flag("dead"), 1),
    "device frozen": (busy_device, 0),
    "bus mastering off": (lambda rig: rig.function.config_write(PCI_COMMAND, 2, 0x3), -errno.ENXIO),
    "memory window off": (lambda rig: rig.function.config_write(PCI_COMMAND, 2, 0x5), -errno.ENODEV),
    "removed": (lambda rig: rig.function.remove(), -errno.ENODEV),
    "all ones": (lambda rig: rig.inject("adapter-gone"), -errno.ENODEV),
    "stopped chip": (stopped, 0),
    "commands in flight": (lambda rig: rig.queue(rig.rw(False, 0)), 0),
}


@pytest.mark.parametrize("state", VERDICTS)
def test_sanity_check_looks_and_leaves_no_trace(up: Rig, state: str) -> None:
    """The verdict on each state; twice the same; no register written, no lock taken, no time passed."""
    prepare, verdict = VERDICTS[state]
    prepare(up)
    if not up.machine.crashdump_mode:
        up.machine.crash(Trigger.PANIC)
    start, now_ns = up.machine.trace.count, up.machine.clock.now_ns
    assert [up.hooks.dump_sanity_check(up.sdev) for _ in range(2)] == [verdict] * 2
    assert since(up, start) <= {"read"}
    assert up.machine.clock.now_ns == now_ns


def test_in_the_settling_time_of_the_attach_nobody_can_tell(make: Make) -> None:
    """The timer that ends it never fires after a crash; quiesce ends it."""
    rig = make().probe_only().crash()
    assert rig.hooks.dump_sanity_check(rig.sdev) == 1
    assert rig.hooks.quiesce(rig.sdev) == 0
    assert (rig.ahc.qfrozen, rig.kernel.timer_pending(rig.ahc.settle_timer)) == (0, 0)
    assert rig.host_reset() == SUCCESS
    assert rig.attention().run(rig.rw(True, 0)).result == 0


# -- quiesce and host reset ------------------------------------------------------------------------------------


def test_quiesce_releases_the_drivers_lock_and_no_other(up: Rig) -> None:
    """What a frozen CPU held is free; host_lock is the mid-layer's."""
    lock_held(up)
    up.kernel.spin_lock(up.shost.host_lock)
    assert up.hooks.quiesce(up.sdev) == 0
    assert not up.kernel.spin_is_locked(up.ahc.lock)
    assert up.kernel.spin_is_locked(up.shost.host_lock)
    up.kernel.spin_unlock(up.shost.host_lock)
    assert up.host_reset() == SUCCESS


@pytest.mark.parametrize("times", [1, 2, 3])
def test_quiesce_may_be_repeated(up: Rig, times: int) -> None:
    """Paused, masked, everything forgotten; the command from before the crash never ends, its memory comes back."""
    old, waits = up.rw(False, 0), up.rw(False, 8)
    up.queue(old)
    up.ahc.targets[DISK_ID].devices[0].qfrozen = 2
    up.queue(waits)
    up.crash()
    for _ in range(times):
        assert up.hooks.quiesce(up.sdev) == 0
    ahc = up.ahc
    assert (ahc.active, ahc.pending(), list(ahc.runq), ahc.completeq) == (False, [], [], [])
    assert ahc.targets[DISK_ID].devices[0].qfrozen == 0
    assert up.read("HCNTRL") == 0x04
    assert up.queue(up.tur()) == SCSI_MLQUEUE_HOST_BUSY
    up.poll(50)
    assert sum(bool(scb.mapped) for scb in ahc.scbs) == 1
    assert up.host_reset() == SUCCESS
    assert not any(scb.mapped for scb in ahc.scbs)
    up.attention()
    assert not old.done
    assert not waits.done


def test_quiesce_takes_timers_back(up: Rig) -> None:
    """A device that was busy at the crash is served after the reset: its timer would never have fired."""
    busy_device(up)
    up.crash()
    assert up.hooks.quiesce(up.sdev) == 0
    assert up.kernel.timer_pending(up.ahc.thaw_timer) == 0
    assert up.host_reset() == SUCCESS
    assert up.attention().run(up.rw(True, 0)).result == 0


@BOTH
def test_the_first_command_after_the_reset_negotiates(make: Make, chip: ChipProfile) -> None:
    """It stops in the host message loop; polls say and hear the messages; a unit attention is due."""
    rig = make(chip).probe().attention()
    rig.crash()
    rig.hooks.quiesce(rig.sdev)
    assert rig.host_reset() == SUCCESS
    assert rig.ahc.targets[DISK_ID].curr == ASYNC_NARROW
    scmd = rig.run(rig.tur())
    assert scmd.result == 0x08000000 | SAM_STAT_CHECK_CONDITION
    assert scmd.sense_buffer[12] == 0x29
    assert rig.ahc.targets[DISK_ID].curr == ULTRA160


def test_nothing_is_unmasked_after_the_crash(make: Make) -> None:
    """HCNTRL.INTEN stays clear through reset, commands and errors; before the crash it is set."""
    rig = make().probe()
    assert rig.model.hcntrl & 0x02
    rig.take_over()
    rig.inject("target-busy")
    for _ in range(3):
        rig.run(rig.rw(True, 0))
    assert not rig.model.hcntrl & 0x02


def test_a_whole_dump_device(make: Make) -> None:
    """Blocks out and back through the dump layer, several in flight, flush and shutdown; the chip is reset then."""
    rig = make().probe().scan()
    device = rig.dump_device(queue_depth=4)
    rig.crash()
    assert device.sanity_check() == 0
    assert device.quiesce() == 0
    data = rig.fill(DATA, 16 * PAGE)
    assert [error for *_, error in device.stream(True, [(n, [(DATA + n * PAGE, PAGE)]) for n in range(16)])] == [0] * 16
    assert rig.on_disk(0, 16 * PAGE) == data
    assert (device.flush(), device.shutdown()) == (0, 0)
    assert (rig.read("HCNTRL"), rig.value("SIMODE1")) == (0x04, 0)
    assert not any(scb.mapped for scb in rig.ahc.scbs)


@pytest.mark.parametrize(("fault", "answer"), [("", 0), ("adapter-gone", -errno.ENODEV), ("reset-hangs", -errno.EIO)])
def test_shutdown_leaves_the_chip_reset(make: Make, fault: str, answer: int) -> None:
    """With a command under way; honest when it does not work."""
    rig = make().probe().take_over()
    rig.queue(rig.rw(False, 0))
    if fault:
        rig.inject(fault, times=0)
    assert rig.hooks.shutdown(rig.sdev) == answer
    assert any(scb.mapped for scb in rig.ahc.scbs) is bool(answer)
    rig.poll(20)
    assert not rig.done


def test_hooks_of_a_host_without_an_adapter(up: Rig) -> None:
    """-ENXIO, or nothing to do."""
    up.crash()
    up.shost.hostdata = None
    assert up.hooks.quiesce(up.sdev) == -errno.ENXIO
    assert up.hooks.shutdown(up.sdev) == 0
    up.hooks.dump_poll(up.sdev)


# -- poll ------------------------------------------------------------------------------------------------------


def test_a_completion_hides_what_else_there_is_until_the_next_poll(make: Make) -> None:
    """A tag in the queue, and the sequencer stopped with BAD_STATUS: first the one, then the other."""
    rig = make().probe().take_over()
    good, bad = rig.rw(False, 0), rig.rw(False, 8)
    rig.disk.inject(disk_faults.hardware_error(1, 1))
    rig.queue(good, bad)
    rig.machine.clock.advance(5_000_000)
    assert rig.model.intstat == 0x73
    rig.hooks.dump_poll(rig.sdev)
    assert (good.done, rig.model.intstat) == (True, 0x71)
    rig.hooks.dump_poll(rig.sdev)
    assert (bad.done, rig.model.intstat) == (False, 0)
    rig.poll_until_done(bad)
    assert bad.sense_buffer[2] == 4


def test_polls_run_queues_and_deliver_without_any_update(make: Make) -> None:
    """Tasklets are not needed: eighty commands by polls alone."""
    rig = make().probe().take_over()
    scmds = [rig.rw(True, 8 * n) for n in range(80)]
    rig.queue(*scmds)
    for _ in range(3_000):
        rig.hooks.dump_poll(rig.sdev)
        rig.kernel.udelay(100)
        if all(scmd.done for scmd in scmds):
            break
    assert {scmd.result for scmd in scmds} == {0}


def test_a_pci_error_is_found_after_five_hundred_polls(make: Make) -> None:
    """It raises no interrupt; STATUS is cleared, the sequencer goes on.  After ten of ours it no longer stops."""
    rig = make().probe().take_over()
    for n in range(11):
        rig.inject("pci-error")
        scmd = rig.rw(False, 0)
        rig.queue(scmd)
        polls = 0
        while not scmd.done:
            rig.poll()
            polls += 1
        assert (scmd.result, 490 <= polls <= 520) == (0, True)
        assert rig.function.config_read(0x06, 2) & 0xF900 == 0
        assert rig.value("SEQCTL") == (0x30 if n == 10 else 0x10)


def test_an_output_queue_that_never_runs_empty(make: Make) -> None:
    """More tags than there are entries: the chip is not believed any more."""
    rig = make().probe().take_over()
    rig.ahc.memory.shared.view[:256] = b"\xfc" * 256
    scmd = rig.rw(False, 0)
    rig.queue(scmd)
    rig.ahc.qout = _Endless()  # type: ignore[assignment]
    rig.hooks.dump_poll(rig.sdev)
    assert host_byte(scmd.result) == DID_RESET
    assert any("the output queue is not empty after 257 completions" in line for line in rig.kernel.log)


class _Endless:
    """A queue that always has something."""

    def __getitem__(self, _at: object) -> int:
        return 0xFC

    def __setitem__(self, _at: object, _value: object) -> None:
        pass

    def __len__(self) -> int:
        return 256


def test_an_adapter_that_goes_away_is_given_up(make: Make) -> None:
    """Every command ends with DID_NO_CONNECT at the first look, later ones at once; the host reset fails soon."""
    rig = make().probe().take_over()
    scmds = [rig.rw(True, 8 * n) for n in range(70)]
    rig.queue(*scmds)
    rig.inject("adapter-gone")
    rig.poll(2)
    assert {host_byte(scmd.result) for scmd in scmds} == {DID_NO_CONNECT}
    began_ns = rig.machine.clock.now_ns
    assert rig.host_reset() != SUCCESS
    assert rig.machine.clock.now_ns - began_ns < 1_000_000
