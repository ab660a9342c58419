"""Error handlers: abort wherever the command is, device reset, bus reset, host reset; before the crash and after it."""

from __future__ import annotations

import pytest

from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DID_ABORT, DID_NO_CONNECT, DID_REQUEUE, DID_RESET, FAILED, SUCCESS, ScsiCmnd, host_byte
from ddsdk.sim import disk_faults
from ddsdk_aic79xx import recovery
from ddsdk_aic79xx.ahd import AHD_SCBS
from ddsdk_aic79xx.busfree import device_was_reset
from ddsdk_aic79xx.model import AIC7901, AIC7902, AIC7902A, ChipProfile
from ddsdk_aic79xx.negotiate import ASYNC
from ddsdk_aic79xx.regs import CfgRegs, Mode, Scratch
from plugins.aic79xx.tests.driver_rig import DATA, EACH, Make, Rig

S = 1_000_000_000
PAGE = 4096
ABSENT = 9


def ready(rig: Rig) -> Rig:
    """The unit attention used up, everything agreed."""
    rig.known_disk()
    while rig.run(rig.tur()).result:
        assert len(rig.done) < 50
    return rig


BEFORE, AFTER = "before the crash", "after it"


@pytest.fixture(params=[BEFORE, AFTER])
def mode(request: pytest.FixtureRequest) -> str:
    """In which of the two modes."""
    return str(request.param)


def start(make: Make, chip: ChipProfile, mode: str) -> Rig:
    """The disk ready, in *mode*."""
    rig = make(chip).probe()
    if mode == AFTER:
        rig.known_disk()
        rig.take_over()
    return ready(rig)


@pytest.fixture(params=[(AIC7901, BEFORE), (AIC7901, AFTER), (AIC7902, AFTER)],
                ids=["packetized, before", "packetized, after", "non-packetized, after"])
def rig(make: Make, request: pytest.FixtureRequest) -> Rig:
    """The disk ready, with information units and without, in either mode."""
    return start(make, *request.param)


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
        for _ in range(10 * ms):
            rig.poll()
    else:
        rig.kernel.msleep(ms)


def read(rig: Rig, number: int = 0) -> ScsiCmnd:
    """A page."""
    return rig.rw(False, 8 * number, [(DATA + PAGE * number, PAGE)])


def to_nobody(rig: Rig) -> ScsiCmnd:
    """A command for an id that nobody has: its selection takes 256 ms to fail."""
    sdev = rig.device(ABSENT)
    sdev.tagged_supported = True
    return rig.command(cdb.test_unit_ready(), sdev=sdev)


def stuck(rig: Rig) -> ScsiCmnd:
    """A command that the disk never ends; it has it by now."""
    rig.disk.inject(disk_faults.hang(1))
    scmd = read(rig)
    assert rig.queue(scmd) == 0
    pass_ms(rig, 2)
    assert not scmd.done
    return scmd


def works(rig: Rig) -> None:
    """The disk writes, nothing is frozen, nothing has leaked."""
    ready(rig)
    data = rig.fill(0x180000, PAGE, 9)
    assert rig.run(rig.rw(True, 128, [(0x180000, PAGE)])).result == 0
    assert rig.on_disk(128, PAGE) == data
    ahd = rig.ahd
    assert not any(scb.mapped for scb in ahd.scbs)
    assert (len(ahd.free), len(ahd.pending), len(ahd.busyq), ahd.qfrozen) == (AHD_SCBS, 0, 0, 0)
    assert (rig.model.get(Scratch.QFREEZE_COUNT), rig.model.get(Scratch.SEQ_FLAGS2)) == (0, 0)
    assert all(not target.tasks for target in rig.model.bus.targets.values())


# -- abort -----------------------------------------------------------------------------------------------------


def test_abort_of_a_command_the_disk_works_on(rig: Rig) -> None:
    """ABORT TASK, by task management or message; another command of the disk is untouched."""
    scmd, other = stuck(rig), read(rig, 1)
    rig.queue(other)
    assert abort(rig, scmd) == SUCCESS
    assert (scmd.done, host_byte(scmd.result)) == (True, DID_ABORT)
    pass_ms(rig, 2)
    assert (other.done, other.result) == (True, 0)
    works(rig)


def test_abort_of_an_untagged_command(rig: Rig) -> None:
    """ABORT TASK SET where there is no tag to name."""
    rig.sdev.tagged_supported = False
    scmd = stuck(rig)
    assert abort(rig, scmd) == SUCCESS
    assert host_byte(scmd.result) == DID_ABORT
    works(rig)


def test_abort_of_a_command_that_was_not_sent(rig: Rig) -> None:
    """One that waits behind a selection which nobody answers, and one that is not fetched yet: taken back."""
    first, second, third = to_nobody(rig), to_nobody(rig), read(rig)
    for scmd in (first, second, third):
        assert rig.queue(scmd) == 0
    assert abort(rig, second) == SUCCESS
    assert second.done
    rig.poll_until_done(first, third)
    assert (host_byte(first.result), third.result) == (DID_NO_CONNECT, 0)
    works(rig)


def test_abort_of_a_command_that_waits_to_be_sent_again(rig: Rig) -> None:
    """Still with the driver."""
    scmd = stuck(rig)
    [scb] = rig.ahd.pending.values()
    assert abort(rig, scmd) == SUCCESS
    again = read(rig)
    rig.ahd.qfrozen = 1
    scb.scmd, scb.scmd = again, again
    rig.ahd.free.remove(scb)
    again.scsi_done, again.done = rig.scsi_done, False
    rig.ahd.busyq.append(scb)
    assert abort(rig, again) == SUCCESS
    assert (again.done, host_byte(again.result), len(rig.ahd.busyq)) == (True, DID_ABORT, 0)
    rig.ahd.qfrozen = 0
    works(rig)


@pytest.mark.parametrize("short", [False, True])
def test_abort_of_a_command_whose_completion_got_lost(rig: Rig, short: bool) -> None:
    """Nobody holds it any more; whatever the target makes of that, the command ends."""
    if short:
        rig.disk.inject(disk_faults.wrong_length(1))
    rig.model.faults.inject("completion-lost")
    scmd = read(rig)
    rig.queue(scmd)
    pass_ms(rig, 20)
    assert not scmd.done
    assert abort(rig, scmd) == SUCCESS
    assert scmd.done
    works(rig)


def test_abort_of_a_command_that_is_over(rig: Rig) -> None:
    """Nothing to do; one that completed and was not looked at yet ends as it is."""
    over = rig.run(read(rig))
    assert abort(rig, over) == SUCCESS
    pending = read(rig, 1)
    if not rig.machine.crashdump_mode:
        rig.kernel.disable_irq_nosync(rig.pdev)
    rig.queue(pending)
    rig.machine.clock.advance(5_000_000)
    assert abort(rig, pending) == SUCCESS
    assert (pending.done, pending.result) == (True, 0)
    if not rig.machine.crashdump_mode:
        rig.kernel.enable_irq(rig.pdev)
    works(rig)


def test_a_command_that_beats_its_abort(make: Make) -> None:
    """Code 14: it goes on; the abort is due for another try."""
    rig = start(make, AIC7901, BEFORE)
    scmd = stuck(rig)
    rig.model.faults.inject("tmf-beaten")
    assert abort(rig, scmd) == FAILED
    assert not scmd.done
    assert abort(rig, scmd) == SUCCESS
    assert host_byte(scmd.result) == DID_ABORT
    works(rig)


def test_a_target_that_does_not_answer(make: Make) -> None:
    """A function that is never carried out: five seconds, FAILED; the bus reset does it."""
    rig = start(make, AIC7901, AFTER)
    scmd = stuck(rig)
    rig.model.faults.inject("tmf-ignored")
    began_ns = rig.machine.clock.now_ns
    assert abort(rig, scmd) == FAILED
    assert 5 * S <= rig.machine.clock.now_ns - began_ns < 5 * S + 20_000_000
    assert not scmd.done
    assert bus_reset(rig) == SUCCESS
    assert host_byte(scmd.result) == DID_RESET
    works(rig)


@pytest.mark.parametrize("address", [16, 17])
def test_the_sequencer_is_stepped_out_of_a_critical_section(make: Make, mode: str, address: int) -> None:
    """Where a list is half linked nothing is looked at; masks and SEQCTL0 are as before afterwards."""
    rig = start(make, AIC7901, mode)
    scmd = stuck(rig)
    masks = [CfgRegs.SIMODE0, CfgRegs.SIMODE3, CfgRegs.LQIMODE1, CfgRegs.LQOMODE0]
    before = [rig.model.banks[4].values[register.name] for register in masks]
    rig.model.curaddr = address
    assert abort(rig, scmd) == SUCCESS
    assert [rig.model.banks[4].values[register.name] for register in masks] == before
    assert rig.model.values["SEQCTL0"] == 0x10
    assert rig.model.scsi.simode1 & 0xA4 == 0xA4
    works(rig)


def test_a_sequencer_that_does_not_pause(make: Make, mode: str) -> None:
    """Bounded: FAILED at once; the host reset needs no pause."""
    rig = start(make, AIC7901, mode)
    scmd = stuck(rig)
    rig.model.faults.inject("pause-stuck", times=0)
    began_ns = rig.machine.clock.now_ns
    assert abort(rig, scmd) == FAILED
    assert rig.machine.clock.now_ns - began_ns < 1_000_000
    rig.model.faults.clear()
    assert rig.host_reset() == SUCCESS
    assert host_byte(scmd.result) == DID_RESET
    works(rig)


# -- device reset ----------------------------------------------------------------------------------------------


def test_device_reset(rig: Rig) -> None:
    """Every command of the device ends with DID_RESET; a whole target that was reset has forgotten what was agreed."""
    packets = rig.ahd.targets[0].curr.packetized
    scmds = [stuck(rig), stuck(rig)]
    assert device_reset(rig, scmds[0]) == SUCCESS
    assert [host_byte(scmd.result) for scmd in scmds] == [DID_RESET] * 2
    assert (rig.ahd.targets[0].curr == ASYNC) is not packets
    assert rig.model.bus.targets[0].tasks == []
    works(rig)


def test_device_reset_takes_back_what_was_not_sent(rig: Rig) -> None:
    """Those of the device; those of another one stay."""
    first, held, waits = to_nobody(rig), stuck(rig), read(rig, 1)
    rig.queue(first)
    rig.queue(waits)
    assert device_reset(rig, held) == SUCCESS
    rig.poll_until_done(first, waits)
    assert host_byte(held.result) == DID_RESET
    assert host_byte(first.result) == DID_NO_CONNECT
    works(rig)


def test_device_reset_of_nobody(rig: Rig) -> None:
    """Nobody listens: no command is left there, so that is that."""
    assert device_reset(rig, to_nobody(rig)) == SUCCESS
    pass_ms(rig, 300)
    works(rig)


def test_a_target_that_was_reset_gets_what_it_has_not_been_sent(rig: Rig) -> None:
    """BUS DEVICE RESET in between, as after a reselection that nobody knows: unsent commands are no victims of it."""
    held = stuck(rig)
    unsent = [read(rig, n) for n in range(1, 9)]
    for scmd in unsent:
        assert rig.queue(scmd) == 0
    assert rig.ahd.pause()
    rig.ahd.set_modes(Mode.SCSI)
    device_was_reset(rig.ahd, 0, None)
    rig.ahd.unpause()
    rig.model.bus.targets[0].target_reset()
    rig.poll_until_done(held, *unsent)
    assert host_byte(held.result) == DID_RESET
    assert sorted({scmd.result for scmd in unsent}) in ([0], [0, 2])
    works(rig)


def test_device_reset_that_is_ignored(make: Make) -> None:
    """FAILED after five seconds, and so is another one meanwhile; the host reset ends it all."""
    rig = start(make, AIC7901, BEFORE)
    scmd = stuck(rig)
    rig.model.faults.inject("tmf-ignored")
    assert device_reset(rig, scmd) == FAILED
    assert device_reset(rig, scmd) == FAILED
    assert rig.host_reset() == SUCCESS
    assert host_byte(scmd.result) == DID_RESET
    works(rig)


# -- bus reset, host reset -------------------------------------------------------------------------------------


@EACH
def test_bus_reset(make: Make, mode: str, chip: ChipProfile) -> None:
    """Those at a target end with DID_RESET, those no target has seen with DID_REQUEUE; nothing is agreed any more.

    (Rev A is spoilt by its own RST and reset as a whole: DID_RESET for all.)
    """
    rig = start(make, chip, mode)
    held, selecting = stuck(rig), to_nobody(rig)
    rig.queue(selecting)
    rig.machine.clock.advance(1_000_000)
    queued = [read(rig, n) for n in range(1, 4)]
    for scmd in queued:
        rig.queue(scmd)
    resets = rig.ahd.reset_count
    assert bus_reset(rig) == SUCCESS
    spared = DID_RESET if chip is AIC7902A else DID_REQUEUE
    assert host_byte(held.result) == DID_RESET
    assert {host_byte(scmd.result) for scmd in (selecting, *queued)} == {spared}
    assert rig.ahd.reset_count - resets == (chip is AIC7902A)
    assert all(target.curr == ASYNC for target in rig.ahd.targets)
    assert rig.model.get(Scratch.WAITING_TID_HEAD) >> 8 == 0xFF
    works(rig)


def test_what_was_over_before_the_bus_reset_ended_well(rig: Rig) -> None:
    """The chip's lists are drained first."""
    if not rig.machine.crashdump_mode:
        rig.kernel.disable_irq_nosync(rig.pdev)
    scmds = [read(rig, n) for n in range(4)]
    for scmd in scmds:
        rig.queue(scmd)
    rig.machine.clock.advance(5_000_000)
    assert bus_reset(rig) == SUCCESS
    assert {scmd.result for scmd in scmds} == {0}
    if not rig.machine.crashdump_mode:
        rig.kernel.enable_irq(rig.pdev)
    works(rig)


def test_a_bad_status_that_nobody_has_looked_at(rig: Rig) -> None:
    """Its report is pending when the bus is reset: QFREEZE_COUNT does not leak, the command ends."""
    if not rig.machine.crashdump_mode:
        rig.kernel.disable_irq_nosync(rig.pdev)
    scmd = rig.rw(False, 0xFFFFFF00, [(DATA, PAGE)])
    rig.queue(scmd)
    rig.machine.clock.advance(5_000_000)
    assert rig.model.get(Scratch.QFREEZE_COUNT) == 1
    assert bus_reset(rig) == SUCCESS
    assert scmd.done
    if not rig.machine.crashdump_mode:
        rig.kernel.enable_irq(rig.pdev)
    works(rig)


def test_rst_that_stays_low(rig: Rig) -> None:
    """Nothing is sent until it rises; that is waited for, half a minute at most."""
    rig.model.faults.inject("rst-stays-low", ns=S)
    began_ns = rig.machine.clock.now_ns
    assert bus_reset(rig) == SUCCESS
    assert S <= rig.machine.clock.now_ns - began_ns < S + 100_000_000
    works(rig)


def test_rst_that_never_rises(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given up; DID_NO_CONNECT from then on, until a host reset finds it high."""
    assert recovery._THAW_MS == 30_000
    monkeypatch.setattr(recovery, "_THAW_MS", 3_000)
    rig = start(make, AIC7901, AFTER)
    scmd = stuck(rig)
    rig.model.faults.inject("rst-stays-low", ns=4 * S)
    assert bus_reset(rig) == FAILED
    assert scmd.done
    assert "RST is still low after 3 s" in rig.log()
    later = rig.tur()
    assert rig.queue(later) == 0
    assert host_byte(later.result) == DID_NO_CONNECT
    rig.kernel.diskdump_mdelay(1_000)
    assert rig.host_reset() == SUCCESS
    works(rig)


@pytest.mark.parametrize("fault", ["sequencer-parity", "sequencer-hung", "command-hung", ""])
def test_host_reset(rig: Rig, fault: str) -> None:
    """From any state: chip and bus, all commands with DID_RESET, nothing mapped."""
    if fault:
        rig.model.faults.inject(fault)
    scmds = [scmd for scmd in (read(rig, n) for n in range(4)) if rig.queue(scmd) == 0]
    rig.machine.clock.advance(1_000)
    assert rig.host_reset() == SUCCESS
    assert {host_byte(scmd.result) for scmd in scmds} == {DID_RESET}
    works(rig)


def test_a_host_reset_that_fails(make: Make) -> None:
    """DID_NO_CONNECT for what there was and for what comes; the next one may work."""
    rig = start(make, AIC7901, AFTER)
    scmd = stuck(rig)
    rig.model.faults.inject("reset-hangs", times=2)
    assert rig.host_reset() == FAILED
    assert host_byte(scmd.result) == DID_NO_CONNECT
    later = rig.tur()
    assert rig.queue(later) == 0
    assert host_byte(later.result) == DID_NO_CONNECT
    assert rig.host_reset() == SUCCESS
    works(rig)


def test_two_resets_at_a_time_are_one(make: Make) -> None:
    """The second caller waits for the first; after a crash nobody can."""
    rig = make(ncpus=2).probe()
    rig.known_disk()
    handler = rig.shost.hostt.eh_host_reset_handler
    assert handler is not None
    results: list[int] = []

    def call() -> None:
        flags = rig.kernel.spin_lock_irqsave(rig.shost.host_lock)
        results.append(handler(rig.tur()))
        rig.kernel.spin_unlock_irqrestore(rig.shost.host_lock, flags)

    count = rig.ahd.reset_count
    for cpu in range(2):
        rig.machine.spawn(cpu, call, "error handler")
    rig.machine.run()
    assert (results, rig.ahd.reset_count) == ([SUCCESS, SUCCESS], count + 1)
    rig.crash()
    rig.ahd.resetting = True
    assert rig.host_reset() == FAILED


def test_handlers_without_an_adapter(make: Make) -> None:
    """FAILED."""
    rig = make().probe()
    rig.known_disk()
    scmd = rig.tur()
    rig.shost.hostdata = None
    hostt = rig.shost.hostt
    assert {rig.handle(handler, scmd) for handler in (
        hostt.eh_abort_handler, hostt.eh_device_reset_handler, hostt.eh_bus_reset_handler,
        hostt.eh_host_reset_handler)} == {FAILED}
