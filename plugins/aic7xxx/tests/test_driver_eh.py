"""Error handlers: abort wherever the command is, device reset, bus reset, host reset; before the crash and after it."""

from __future__ import annotations

import pytest

from ddsdk.scsi.cmnd import DID_ABORT, DID_NO_CONNECT, DID_REQUEUE, DID_RESET, FAILED, SUCCESS, ScsiCmnd, host_byte
from ddsdk.scsi.host import ScsiDevice
from ddsdk.sim import disk_faults
from ddsdk_aic7xxx.agreement import ASYNC_NARROW, ULTRA160
from plugins.aic7xxx.tests.driver_rig import DISK_ID, PAGE, Make, Rig

S = 1_000_000_000


@pytest.fixture(params=["before the crash", "after it"])
def rig(make: Make, request: pytest.FixtureRequest) -> Rig:
    """The disk ready, in either mode."""
    rig = make().probe()
    return rig.take_over() if request.param == "after it" else rig.attention()


def abort(rig: Rig, scmd: ScsiCmnd) -> int:
    """The abort handler."""
    return rig.handle(rig.shost.hostt.eh_abort_handler, scmd)


def device_reset(rig: Rig, scmd: ScsiCmnd) -> int:
    """The device reset handler."""
    return rig.handle(rig.shost.hostt.eh_device_reset_handler, scmd)


def bus_reset(rig: Rig) -> int:
    """The bus reset handler."""
    return rig.handle(rig.shost.hostt.eh_bus_reset_handler, rig.tur())


def pass_ms(rig: Rig, ms: int) -> None:
    """Time in which the driver does what it has to."""
    if rig.machine.crashdump_mode:
        rig.poll(10 * ms)
    else:
        rig.machine.run(for_ns=ms * 1_000_000)


def stuck(rig: Rig, write: bool = False) -> ScsiCmnd:
    """A command that the disk never ends; it has it by now."""
    rig.disk.inject(disk_faults.hang(1))
    scmd = rig.rw(write, 0)
    rig.queue(scmd)
    pass_ms(rig, 2)
    assert not scmd.done
    return scmd


def works(rig: Rig) -> None:
    """The disk writes and reads."""
    for _ in range(2):
        rig.run(rig.tur())
    data = rig.fill(0x180000, PAGE, 9)
    assert rig.run(rig.rw(True, 128, [(0x180000, PAGE)])).result == 0
    assert rig.on_disk(128, PAGE) == data
    assert not any(scb.mapped for scb in rig.ahc.scbs)
    assert len(rig.ahc.free) == 64


# -- abort -----------------------------------------------------------------------------------------------------


def test_abort_of_a_command_the_disk_works_on(rig: Rig) -> None:
    """The element is queued once more, the target selected and told; others of it are untouched."""
    scmd, other = stuck(rig), rig.rw(False, 64)
    rig.queue(other)
    assert abort(rig, scmd) == SUCCESS
    assert host_byte(scmd.result) == DID_ABORT
    pass_ms(rig, 2)
    assert other.result == 0
    assert other.done
    works(rig)


def test_abort_of_a_command_on_the_bus(rig: Rig) -> None:
    """Untagged, not allowed to disconnect: ATN makes the target listen."""
    rig.sdev.tagged_supported = False
    rig.ahc.targets[DISK_ID].disconnect = False
    scmd = stuck(rig)
    assert rig.model.bus.conn is not None
    assert abort(rig, scmd) == SUCCESS
    assert host_byte(scmd.result) == DID_ABORT
    works(rig)


def test_abort_of_a_command_that_waits_for_selection(rig: Rig) -> None:
    """An absent target is being selected; its command is taken off the waiting list, one behind it out of the queue."""
    absent = ScsiDevice(rig.shost, 0, 9, 0, tagged_supported=True)
    scmds = [rig.tur(absent), rig.tur(absent), rig.rw(False, 0)]
    rig.queue(*scmds)
    pass_ms(rig, 1)
    for scmd in scmds[:2]:
        assert abort(rig, scmd) == SUCCESS
        assert host_byte(scmd.result) == DID_ABORT
    pass_ms(rig, 5)
    assert (scmds[2].done, scmds[2].result) == (True, 0)
    works(rig)


def test_abort_of_a_command_that_never_left(rig: Rig) -> None:
    """Still in its device's queue."""
    dev = rig.ahc.targets[DISK_ID].devices[0]
    dev.qfrozen = 1
    scmd = rig.tur()
    rig.queue(scmd)
    assert abort(rig, scmd) == SUCCESS
    assert (host_byte(scmd.result), len(dev.busyq)) == (DID_ABORT, 0)
    dev.qfrozen = 0
    works(rig)


@pytest.mark.parametrize("short", [False, True])
def test_abort_of_a_command_whose_completion_got_lost(rig: Rig, short: bool) -> None:
    """Nobody holds it; what the chip uploaded with a residual is not handed back to it."""
    if short:
        rig.disk.inject(disk_faults.wrong_length(1))
    rig.inject("completion-lost")
    scmd = rig.rw(False, 0)
    rig.queue(scmd)
    pass_ms(rig, 20)
    assert not scmd.done
    assert abort(rig, scmd) == SUCCESS
    assert host_byte(scmd.result) == DID_ABORT
    works(rig)


def test_abort_of_a_command_that_is_over(rig: Rig) -> None:
    """Nothing to do; one that completed and was not looked at yet ends as it is."""
    over = rig.run(rig.rw(False, 0))
    assert abort(rig, over) == SUCCESS
    pending = rig.rw(False, 0)
    if not rig.machine.crashdump_mode:
        rig.kernel.disable_irq_nosync(rig.pdev)
    rig.queue(pending)
    rig.machine.clock.advance(5_000_000)
    assert abort(rig, pending) == SUCCESS
    assert (pending.done, pending.result) == (True, 0)
    if not rig.machine.crashdump_mode:
        rig.kernel.enable_irq(rig.pdev)
    works(rig)


def test_abort_of_a_command_the_chip_lost(rig: Rig) -> None:
    """Its slot was freed, its tag never posted: the target is told, which knows nothing of it."""
    rig.inject("completion-lost")
    scmd = rig.rw(False, 0)
    rig.queue(scmd)
    pass_ms(rig, 2)
    assert abort(rig, scmd) == SUCCESS
    assert host_byte(scmd.result) == DID_ABORT
    works(rig)


def test_a_target_that_does_not_listen(rig: Rig) -> None:
    """ABORT TAG has no effect: five seconds, FAILED; the bus reset does it."""
    scmd = stuck(rig)
    rig.inject("abort-ignored")
    began_ns = rig.machine.clock.now_ns
    assert abort(rig, scmd) == FAILED
    assert 5 * S <= rig.machine.clock.now_ns - began_ns < 5 * S + 10_000_000
    assert not scmd.done
    assert bus_reset(rig) == SUCCESS
    assert host_byte(scmd.result) == DID_RESET
    works(rig)


@pytest.mark.parametrize("steps", [1, 5, 63])
def test_the_sequencer_is_stepped_out_of_a_critical_section(rig: Rig, steps: int) -> None:
    """Where a list is half linked nothing is looked at; SIMODE and SEQCTL are as before afterwards."""
    scmd = stuck(rig)
    rig.inject("critical-section", steps=steps)
    assert abort(rig, scmd) == SUCCESS
    assert rig.model.faults.struck["critical-section"] == 1
    assert (rig.value("SIMODE1"), rig.value("SIMODE0"), rig.value("SEQCTL")) == (0xA4, 0x08, 0x10)
    works(rig)


def test_a_critical_section_without_an_end(rig: Rig) -> None:
    """After 64 steps the chip is reset; the command ends with that."""
    scmd = stuck(rig)
    rig.inject("critical-section", steps=1000)
    assert abort(rig, scmd) == FAILED
    pass_ms(rig, 20)
    assert host_byte(scmd.result) == DID_RESET
    assert any("in a critical section after 64 steps" in line for line in rig.kernel.log)
    works(rig)


def test_a_sequencer_that_does_not_pause(rig: Rig) -> None:
    """Bounded; the chip is reset by the work item."""
    scmd = stuck(rig)
    rig.inject("pause-stuck", times=0)
    assert abort(rig, scmd) == FAILED
    assert any("the sequencer does not pause; reset scheduled" in line for line in rig.kernel.log)
    pass_ms(rig, 20)
    rig.model.faults.clear()
    assert host_byte(scmd.result) == DID_RESET
    works(rig)


# -- device reset ----------------------------------------------------------------------------------------------


def test_device_reset(rig: Rig) -> None:
    """BUS DEVICE RESET by an SCB of its own: every command of the target ends, its agreement is void."""
    scmds = [stuck(rig), stuck(rig, write=True)]
    assert rig.ahc.targets[DISK_ID].curr == ULTRA160
    assert device_reset(rig, scmds[0]) == SUCCESS
    assert [host_byte(scmd.result) for scmd in scmds] == [DID_RESET] * 2
    assert rig.ahc.targets[DISK_ID].curr == ASYNC_NARROW
    assert rig.model.bus.ports[DISK_ID].tasks == []
    works(rig)


def test_device_reset_of_a_target_on_the_bus(rig: Rig) -> None:
    """By the command that is there."""
    rig.sdev.tagged_supported = False
    rig.ahc.targets[DISK_ID].disconnect = False
    scmd = stuck(rig)
    assert device_reset(rig, scmd) == SUCCESS
    assert host_byte(scmd.result) == DID_RESET
    works(rig)


def test_device_reset_of_an_absent_target(rig: Rig) -> None:
    """Nobody listens: no command is left there, so that is that."""
    absent = ScsiDevice(rig.shost, 0, 9, 0, tagged_supported=True)
    assert device_reset(rig, rig.tur(absent)) == SUCCESS
    works(rig)


def test_device_reset_that_is_ignored(rig: Rig) -> None:
    """FAILED after five seconds."""
    scmd = stuck(rig)
    rig.inject("abort-ignored")
    assert device_reset(rig, scmd) == FAILED
    assert rig.host_reset() == SUCCESS
    assert host_byte(scmd.result) == DID_RESET
    works(rig)


# -- bus reset, host reset -------------------------------------------------------------------------------------


def test_bus_reset(rig: Rig) -> None:
    """Those at a target end with DID_RESET, those no target has seen with DID_REQUEUE, those that were over well."""
    absent = ScsiDevice(rig.shost, 0, 9, 0, tagged_supported=True)
    held, waits, queued, never = stuck(rig), rig.tur(absent), rig.rw(False, 0), rig.rw(False, 0)
    rig.queue(waits)
    rig.machine.clock.advance(1_000_000)
    rig.queue(queued)
    rig.ahc.targets[DISK_ID].devices[0].qfrozen = 1
    rig.queue(never)
    assert bus_reset(rig) == SUCCESS
    assert host_byte(held.result) == DID_RESET
    assert [host_byte(scmd.result) for scmd in (waits, queued, never)] == [DID_REQUEUE] * 3
    rig.ahc.targets[DISK_ID].devices[0].qfrozen = 0
    assert all(target.negotiate for target in rig.ahc.targets)
    assert rig.value("DISCONNECTED_SCBH") == rig.value("WAITING_SCBH") == 0xFF
    works(rig)


def test_what_was_over_before_the_bus_reset_ended_well(rig: Rig) -> None:
    """The output queue is drained first."""
    if not rig.machine.crashdump_mode:
        rig.kernel.disable_irq_nosync(rig.pdev)
    scmd = rig.rw(False, 0)
    rig.queue(scmd)
    rig.machine.clock.advance(5_000_000)
    assert bus_reset(rig) == SUCCESS
    assert scmd.result == 0
    if not rig.machine.crashdump_mode:
        rig.kernel.enable_irq(rig.pdev)
    works(rig)


def test_no_slot_is_lost_by_resets(rig: Rig) -> None:
    """Every slot of the chip is on its free list afterwards, whatever it held."""
    for _ in range(3):
        scmds = [rig.rw(False, 8 * n) for n in range(50)]
        rig.disk.inject(disk_faults.hang(1))
        rig.queue(*scmds)
        rig.machine.clock.advance(300_000)
        assert bus_reset(rig) == SUCCESS
    slots, slot = [], rig.value("FREE_SCBH")
    while slot != 0xFF:
        slots.append(slot)
        slot = rig.model.slots[slot][0x1F]
    assert sorted(slots) == list(range(32))
    rig.disk.faults.clear()
    works(rig)


@pytest.mark.parametrize("fault", ["sequencer-parity", "command-hung", ""])
def test_host_reset(rig: Rig, fault: str) -> None:
    """From any state: chip and bus, all commands with DID_RESET, nothing mapped."""
    if fault:
        rig.inject(fault)
    scmds = [rig.rw(False, 8 * n) for n in range(4)]
    rig.queue(*scmds)
    rig.machine.clock.advance(1_000)
    assert rig.host_reset() == SUCCESS
    assert {host_byte(scmd.result) for scmd in scmds} == {DID_RESET}
    works(rig)


def test_a_host_reset_that_fails(rig: Rig) -> None:
    """DID_NO_CONNECT for what there was and for what comes; the next one may work."""
    scmd = stuck(rig)
    rig.inject("reset-hangs", times=3)
    assert rig.host_reset() == FAILED
    assert host_byte(scmd.result) == DID_NO_CONNECT
    later = rig.tur()
    assert rig.queue(later) == 0
    assert host_byte(later.result) == DID_NO_CONNECT
    assert bus_reset(rig) == FAILED
    assert rig.host_reset() == SUCCESS
    works(rig)


def test_two_resets_at_a_time_are_one(make: Make) -> None:
    """The second caller waits for the first; after a crash nobody can."""
    rig = make(ncpus=2).probe()
    handler = rig.shost.hostt.eh_host_reset_handler
    assert handler is not None
    results: list[int] = []

    def call() -> None:
        flags = rig.kernel.spin_lock_irqsave(rig.shost.host_lock)
        results.append(handler(rig.tur()))
        rig.kernel.spin_unlock_irqrestore(rig.shost.host_lock, flags)

    count = rig.ahc.reset_count
    for cpu in range(2):
        rig.machine.spawn(cpu, call, "error handler")
    rig.machine.run()
    assert (results, rig.ahc.reset_count) == ([SUCCESS, SUCCESS], count + 1)
    rig.crash()
    rig.ahc.resetting = True
    assert rig.host_reset() == FAILED


def test_handlers_without_an_adapter(make: Make) -> None:
    """FAILED."""
    rig = make().probe()
    rig.attention()
    scmd = rig.tur()
    rig.shost.hostdata = None
    hostt = rig.shost.hostt
    assert {rig.handle(handler, scmd) for handler in (
        hostt.eh_abort_handler, hostt.eh_device_reset_handler, hostt.eh_bus_reset_handler,
        hostt.eh_host_reset_handler)} == {FAILED}
