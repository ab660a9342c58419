"""The dump hooks: sanity check, quiesce, shutdown, the poll; and the host reset between them, in crash mode."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from ddsdk.bus import PCI_COMMAND
from ddsdk.scsi.cmnd import DID_NO_CONNECT, SCSI_MLQUEUE_HOST_BUSY, SUCCESS, host_byte
from ddsdk.sim import disk_faults
from ddsdk.sim.machine import Trigger
from ddsdk_aic79xx.frames import QOUT_VALID
from ddsdk_aic79xx.model import AIC7901, AIC7902, ChipProfile
from ddsdk_aic79xx.negotiate import ASYNC
from ddsdk_aic79xx.regs import CommonRegs, Scratch
from plugins.aic79xx.tests.driver_rig import BOTH, DATA, EACH, PAGE, Make, Rig

ENTRY = 2


@pytest.fixture
def up(make: Make) -> Rig:
    """A driver brought up, its disk known, not crashed."""
    rig = make(trace=True, ncpus=2).probe()
    rig.known_disk()
    while rig.run(rig.tur()).result:
        assert len(rig.done) < 5
    return rig


def since(rig: Rig, start: int) -> set[str]:
    """Kinds of what the trace recorded after *start*."""
    count = rig.machine.trace.count - start
    return {record.kind for record in list(rig.machine.trace)[-count:]} if count else set()


def hcntrl(rig: Rig) -> int:
    """HCNTRL, as the host reads it."""
    return rig.function.window(1).read(CommonRegs.HCNTRL.offset, 1)


def read(rig: Rig, number: int = 0) -> object:
    """Queue a READ of a page."""
    scmd = rig.rw(False, 8 * number, [(DATA + PAGE * number, PAGE)])
    assert rig.queue(scmd) == 0
    return scmd


# -- sanity check ----------------------------------------------------------------------------------------------


def lock_held(rig: Rig) -> None:
    """Another CPU stops with the driver's lock held."""
    def task() -> None:
        rig.kernel.spin_lock_irqsave(rig.ahd.lock)
        rig.machine.crash(Trigger.OOPS)
    rig.machine.spawn(1, task, "holder")
    rig.machine.run()


def flag(name: str) -> Callable[[Rig], None]:
    """The driver stopped with that set."""
    return lambda rig: setattr(rig.ahd, name, True)


def stopped(rig: Rig) -> None:
    """The chip raised HWERRINT; nobody has looked yet."""
    rig.kernel.disable_irq_nosync(rig.pdev)
    rig.model.faults.inject("sequencer-parity")
    read(rig)
    rig.machine.clock.advance(10_000)
    assert rig.model.intstat == 0x80


def firmware_frozen(rig: Rig) -> None:
    """A bad status is about to be reported."""
    rig.kernel.disable_irq_nosync(rig.pdev)
    rig.queue(rig.rw(False, 0xFFFFFF00, [(DATA, PAGE)]))
    rig.machine.clock.advance(5_000_000)
    assert rig.model.get(Scratch.QFREEZE_COUNT) == 1


VERDICTS: dict[str, tuple[Callable[[Rig], object], int]] = {
    "healthy": (lambda rig: None, 0),
    "no host data": (lambda rig: setattr(rig.shost, "hostdata", None), -errno.ENXIO),
    "lock held": (lock_held, 1),
    "reset under way": (flag("resetting"), 1),
    "adapter frozen": (flag("qfrozen"), 1),
    "last reset failed": (flag("dead"), 1),
    "bus mastering off": (lambda rig: rig.function.config_write(PCI_COMMAND, 2, 0x3), -errno.ENXIO),
    "windows off": (lambda rig: rig.function.config_write(PCI_COMMAND, 2, 0x4), -errno.ENXIO),
    "removed": (lambda rig: rig.function.remove(), -errno.ENODEV),
    "all ones": (lambda rig: rig.model.faults.inject("adapter-gone"), -errno.ENXIO),
    "stopped chip": (stopped, 0),
    "firmware frozen": (firmware_frozen, 0),
    "commands in flight": (read, 0),
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


@pytest.mark.parametrize("state", [name for name, (_, verdict) in VERDICTS.items() if verdict >= 0])
def test_whatever_is_not_refused_can_be_dumped_through(up: Rig, state: str) -> None:
    """Quiesce, host reset, a page out: right, and nothing is left frozen."""
    VERDICTS[state][0](up)
    if not up.machine.crashdump_mode:
        up.machine.crash(Trigger.PANIC)
    assert up.hooks.quiesce(up.sdev) == 0
    assert up.host_reset() == SUCCESS
    for _ in range(2):
        up.run(up.tur())
    data = up.fill(DATA, PAGE)
    assert up.run(up.rw(True, 0, [(DATA, PAGE)])).result == 0
    assert up.on_disk(0, PAGE) == data
    assert (up.model.get(Scratch.QFREEZE_COUNT), up.ahd.qfrozen) == (0, 0)


# -- quiesce and host reset ------------------------------------------------------------------------------------


def test_quiesce_releases_the_drivers_lock_and_no_other(up: Rig) -> None:
    """What a frozen CPU held is free; host_lock is the mid-layer's."""
    up.kernel.spin_lock(up.shost.host_lock)
    lock_held(up)
    assert up.hooks.quiesce(up.sdev) == 0
    assert not up.kernel.spin_is_locked(up.ahd.lock)
    assert up.kernel.spin_is_locked(up.shost.host_lock)
    up.kernel.spin_unlock(up.shost.host_lock)
    assert up.host_reset() == SUCCESS


@pytest.mark.parametrize("times", [1, 3])
def test_quiesce_may_be_repeated(up: Rig, times: int) -> None:
    """Paused, masked, everything forgotten; the command from before the crash never ends, its memory comes back."""
    old = read(up)
    up.ahd.qfrozen = 2
    up.crash()
    for _ in range(times):
        assert up.hooks.quiesce(up.sdev) == 0
    ahd = up.ahd
    assert (ahd.active, ahd.pending, list(ahd.busyq), list(ahd.completeq), ahd.qfrozen) == (False, {}, [], [], 0)
    assert up.queue(up.tur()) == SCSI_MLQUEUE_HOST_BUSY
    for _ in range(50):
        up.poll()
    assert hcntrl(up) == 0x04
    assert sum(bool(scb.mapped) for scb in ahd.scbs) == 1
    assert up.host_reset() == SUCCESS
    assert not any(scb.mapped for scb in ahd.scbs)
    up.run(up.tur())
    assert old not in up.done


def test_quiesce_takes_the_reset_timer_back(make: Make) -> None:
    """A crash in the middle of a bus reset: the timer that would thaw the queue never fires; a new one does."""
    rig = make(ncpus=2).probe()
    rig.known_disk()
    rig.model.faults.inject("rst-stays-low", ns=50_000_000)
    handler = rig.shost.hostt.eh_bus_reset_handler
    rig.machine.spawn(1, lambda: rig.handle(handler, rig.tur()), "scsi_eh")
    rig.machine.run(for_ns=20_000_000)
    assert (rig.ahd.qfrozen, rig.kernel.timer_pending(rig.ahd.reset_timer)) == (1, 1)
    rig.machine.crash(Trigger.PANIC)
    assert rig.hooks.dump_sanity_check(rig.sdev) == 1
    assert rig.hooks.quiesce(rig.sdev) == 0
    assert (rig.ahd.qfrozen, rig.kernel.timer_pending(rig.ahd.reset_timer)) == (0, 0)
    assert rig.host_reset() == SUCCESS
    assert rig.ahd.qfrozen == 0
    rig.run(rig.tur())
    assert rig.run(rig.tur()).result == 0


@EACH
def test_the_first_command_after_the_reset_negotiates(make: Make, chip: ChipProfile) -> None:
    """It stops in the host message loop; polls say and hear the messages; a unit attention is due."""
    rig = make(chip).probe()
    rig.known_disk()
    rig.crash()
    rig.hooks.quiesce(rig.sdev)
    assert rig.host_reset() == SUCCESS
    assert rig.ahd.targets[0].curr == ASYNC
    scmd = rig.run(rig.tur())
    assert (scmd.result, scmd.sense_buffer[12]) == (0x02, 0x29)
    assert rig.ahd.targets[0].curr.packetized is (chip is not AIC7902)
    assert rig.ahd.targets[0].curr.offset == 0x3F


def test_nothing_is_unmasked_after_the_crash(make: Make) -> None:
    """HCNTRL.INTEN stays clear through reset, commands and errors; before the crash it is set."""
    rig = make().probe()
    rig.known_disk()
    assert hcntrl(rig) & 0x02
    rig.take_over()
    rig.model.faults.inject("status-busy")
    for _ in range(3):
        rig.run(rig.rw(True, 0, [(DATA, PAGE)]))
    assert not hcntrl(rig) & 0x02
    assert not rig.model.inten


@BOTH
def test_a_whole_dump_device(make: Make, chip: ChipProfile) -> None:
    """Blocks out and back through the dump layer, several in flight, flush and shutdown; the chip is reset then."""
    rig = make(chip).probe()
    device = rig.dump_device(queue_depth=4)
    rig.crash()
    assert device.sanity_check() == 0
    assert device.quiesce() == 0
    data = rig.fill(DATA, 16 * PAGE)
    assert [error for *_, error in device.stream(True, [(n, [(DATA + n * PAGE, PAGE)]) for n in range(16)])] == [0] * 16
    assert rig.on_disk(0, 16 * PAGE) == data
    assert (device.flush(), device.shutdown()) == (0, 0)
    assert hcntrl(rig) == 0x04
    assert rig.model.program == b""
    assert not any(scb.mapped for scb in rig.ahd.scbs)


@pytest.mark.parametrize(("fault", "answer"), [("", 0), ("adapter-gone", -errno.EIO), ("reset-hangs", -errno.EIO)])
def test_shutdown_leaves_the_chip_reset(make: Make, fault: str, answer: int) -> None:
    """With a command under way, which never ends; honest when it does not work, and then nothing is unmapped."""
    rig = make().probe()
    rig.known_disk()
    rig.take_over()
    read(rig)
    if fault:
        rig.model.faults.inject(fault, times=0)
    assert rig.hooks.shutdown(rig.sdev) == answer
    assert any(scb.mapped for scb in rig.ahd.scbs) is bool(answer)
    for _ in range(20):
        rig.poll()
    assert not rig.done


def test_a_reset_that_was_scheduled_does_not_bring_it_up_again(make: Make) -> None:
    """The chip is lost, shutdown comes before the work item: it stays in reset, and so it does after quiesce."""
    rig = make().probe()
    rig.known_disk()
    rig.take_over()
    for leave in (rig.hooks.shutdown, rig.hooks.quiesce):
        rig.model.faults.inject("sequencer-parity")
        read(rig)
        rig.kernel.udelay(100)
        rig.hooks.dump_poll(rig.sdev)
        assert rig.ahd.lost
        resets = rig.ahd.reset_count
        assert leave(rig.sdev) == 0
        for _ in range(20):
            rig.poll()
        assert (rig.ahd.reset_count, hcntrl(rig) & 0x04) == (resets, 0x04)
        assert rig.host_reset() == SUCCESS


def test_hooks_of_a_host_without_an_adapter(up: Rig) -> None:
    """-ENXIO, or nothing to do."""
    up.crash()
    up.shost.hostdata = None
    assert up.hooks.quiesce(up.sdev) == -errno.ENXIO
    assert up.hooks.shutdown(up.sdev) == 0
    up.hooks.dump_poll(up.sdev)


# -- poll ------------------------------------------------------------------------------------------------------


def dumping(make: Make, chip: ChipProfile = AIC7901) -> Rig:
    """Crashed, agreed with the disk."""
    return make(chip).probe().polled()


def test_a_completion_hides_what_else_there_is_until_the_next_poll(make: Make) -> None:
    """An entry in the queue, and the sequencer stopped with code 0F: first the one, then the other."""
    rig = dumping(make)
    good, bad = rig.rw(False, 0, [(DATA, PAGE)]), rig.rw(False, 8, [(DATA + PAGE, PAGE)])
    rig.disk.inject(disk_faults.hardware_error(1, 1))
    rig.queue(good)
    rig.queue(bad)
    rig.machine.clock.advance(5_000_000)
    assert rig.model.intstat == 0x06
    rig.hooks.dump_poll(rig.sdev)
    assert (good.done, bad.done, rig.model.intstat) == (True, False, 0x04)
    rig.poll_until_done(bad)
    assert bad.sense_buffer[2] & 0xF == 4


def test_a_collision_is_no_loss(make: Make) -> None:
    """The 7902 Rev B loses SEQINT when CMDCMPLT comes with it: PAUSE and SEQINTCODE show that it is there."""
    rig = dumping(make, AIC7902)
    good, bad = rig.rw(False, 0, [(DATA, PAGE)]), rig.rw(False, 8, [(DATA + PAGE, PAGE)])
    rig.disk.inject(disk_faults.hardware_error(1, 1))
    rig.queue(good)
    rig.queue(bad)
    rig.machine.clock.advance(5_000_000)
    assert (rig.model.intstat, rig.model.seqintcode) == (0x02, 0x1A)
    rig.poll_until_done(good, bad)
    assert (good.result, bad.sense_buffer[2] & 0xF) == (0, 4)


def test_a_collision_without_an_entry_is_found_by_quiet_polls(make: Make) -> None:
    """CMDCMPLT was served before the sequencer stopped, and its SEQINT got lost all the same."""
    rig = dumping(make, AIC7902)
    rig.queue(bad := rig.rw(False, 0xFFFFFF00, [(DATA, PAGE)]))
    rig.machine.clock.advance(5_000_000)
    assert rig.model.seqintcode == 0x1A
    rig.model.intstat = 0
    assert 0 < rig.poll_until_done(bad) < 100
    assert bad.sense_buffer[12] == 0x21


def test_a_lost_interrupt_of_a_completion_costs_nothing(make: Make) -> None:
    """The output queue is looked at first."""
    rig = dumping(make)
    rig.model.faults.inject("cmdcmplt-lost")
    scmd = rig.rw(False, 0, [(DATA, PAGE)])
    rig.queue(scmd)
    assert rig.poll_until_done(scmd) < 20
    assert (scmd.result, rig.model.faults.struck) == (0, {"cmdcmplt-lost": 1})


def test_polls_send_again_without_any_update(make: Make) -> None:
    """The run-queue tasklet is not needed: eighty commands by polls alone, one of them ending badly."""
    rig = dumping(make)
    rig.disk.inject(disk_faults.hardware_error(1, 20))
    scmds = [rig.rw(True, 8 * n, [(DATA + PAGE * (n % 16), PAGE)]) for n in range(60)]
    assert {rig.queue(scmd) for scmd in scmds} == {0}
    for _ in range(3_000):
        rig.hooks.dump_poll(rig.sdev)
        rig.kernel.udelay(100)
        if all(scmd.done for scmd in scmds):
            break
    assert sorted(scmd.result for scmd in scmds) == [0] * 59 + [2]


def test_coalescing_that_was_left_on(make: Make) -> None:
    """Completions come up to 250 us late: it keeps polling."""
    rig = dumping(make)
    rig.model.faults.inject("coalescing-left-on")
    scmd = rig.rw(False, 0, [(DATA, PAGE)])
    rig.queue(scmd)
    rig.poll()
    assert not scmd.done
    rig.poll(20)
    assert (scmd.done, scmd.result) == (True, 0)


@pytest.mark.parametrize("entries", [0x1FF, 0x81, 0xFF])
def test_entries_of_nobody(make: Make, entries: int) -> None:
    """A whole queue of them is bounded; the next reset begins anew."""
    rig = dumping(make)
    valid = rig.ahd.qout_valid
    for n in range(512):
        rig.ahd.shared_view[ENTRY * n:ENTRY * n + ENTRY] = (entries | valid).to_bytes(2, "little")
    for _ in range(3):
        rig.hooks.dump_poll(rig.sdev)
    assert rig.ahd.stale >= 512 - 8
    assert valid in (0, QOUT_VALID)
    assert rig.host_reset() == SUCCESS
    rig.run(rig.tur())
    assert rig.run(rig.tur()).result == 0


def test_an_adapter_that_goes_away_is_given_up(make: Make) -> None:
    """Every command ends with DID_NO_CONNECT at the first look, later ones at once; the host reset fails soon."""
    rig = dumping(make)
    scmds = [rig.rw(True, 8 * n, [(DATA + PAGE * n, PAGE)]) for n in range(16)]
    for scmd in scmds:
        rig.queue(scmd)
    rig.model.faults.inject("adapter-gone")
    rig.poll()
    assert {host_byte(scmd.result) for scmd in scmds} == {DID_NO_CONNECT}
    began_ns = rig.machine.clock.now_ns
    assert rig.host_reset() != SUCCESS
    assert rig.machine.clock.now_ns - began_ns < 1_000_000
