"""Error handlers: abort wherever the command is, device reset; before the crash and after it."""

from __future__ import annotations

import pytest

from ddsdk.scsi.cmnd import DID_ABORT, DID_NO_CONNECT, DID_RESET, FAILED, SUCCESS, host_byte
from ddsdk.sim import disk_faults
from ddsdk_aic79xx.busfree import device_was_reset
from ddsdk_aic79xx.model import AIC7901
from ddsdk_aic79xx.negotiate import ASYNC
from ddsdk_aic79xx.regs import CfgRegs, Mode
from plugins.aic79xx.tests.driver_rig import Make, Rig
from plugins.aic79xx.tests.eh_rig import (
    AFTER,
    BEFORE,
    S,
    abort,
    bus_reset,
    device_reset,
    pass_ms,
    read,
    start,
    stuck,
    to_nobody,
    works,
)

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
