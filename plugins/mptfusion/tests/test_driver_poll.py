"""dump_poll when something is wrong: FAULT in the middle of an I/O, an adapter that vanishes, no adapter at all."""

from __future__ import annotations

import errno

import pytest

from ddsdk.helperlib.kernel import IRQ_NONE
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import FAILED, SUCCESS
from ddsdk_mptfusion.model import ChipProfile
from ddsdk_mptfusion.regs import FaultCode
from ddsdk_mptfusion.reply import mpt_interrupt
from plugins.mptfusion.tests.driver_rig import BOTH, DATA, Make


@BOTH
@pytest.mark.parametrize("fault", ["spontaneous-fault", "fault-request-bus", "fault-send-parity", "peer-reset"])
def test_fault_in_the_middle_of_an_io_is_survived(make: Make, chip: ChipProfile, fault: str) -> None:
    """The poll notices within 1 ms and ends the commands with DID_RESET; the scheduled hard reset revives the IOC."""
    rig = make(chip).probe().take_over()
    rig.model.faults.inject(fault)
    scmds = [rig.rw(True, 8 * n, [(DATA + 0x1000 * n, 4096)]) for n in range(4)]
    for scmd in scmds:
        rig.queue(scmd)
    issued_ns = rig.machine.clock.now_ns
    rig.poll_until_done(scmds[-1])
    assert rig.machine.clock.now_ns - issued_ns < 6_000_000_000
    assert {scmd.result for scmd in scmds} <= {0, 0x080000}
    assert scmds[-1].result == 0x080000
    data = rig.fill(DATA, 4096)
    rig.kernel.diskdump_update()
    rig.run(rig.command(cdb.test_unit_ready()))
    assert rig.run(scmds[0]).result == 0
    assert rig.on_disk(0, 4096) == data


def test_host_reset_makes_the_scheduled_one_needless(make: Make) -> None:
    """The mid-layer may reset before the work item runs: then that finds nothing to do."""
    rig = make().probe().take_over()
    rig.model.faults.inject("spontaneous-fault")
    scmd = rig.rw(True, 0, [(DATA, 4096)])
    rig.queue(scmd)
    rig.advance(1)
    while not scmd.done:
        rig.hooks.dump_poll(rig.sdev)
    resets = rig.ioc.reset_count
    assert rig.host_reset() == SUCCESS
    rig.kernel.diskdump_update()
    assert rig.ioc.reset_count == resets + 1


def test_fault_with_nothing_outstanding_does_not_concern_the_poll(make: Make) -> None:
    """An idle poll does not look at the doorbell; the next command finds the FAULT."""
    rig = make().probe().take_over()
    rig.model.enter_fault(FaultCode.INVALID_STATE)
    for _ in range(100):
        rig.hooks.dump_poll(rig.sdev)
    assert rig.ioc.active
    assert rig.run(rig.command(cdb.test_unit_ready())).result == 0x080000


@pytest.mark.parametrize("how", ["removed", "all ones"])
def test_adapter_that_vanishes_ends_its_commands(make: Make, how: str) -> None:
    """Surprise removal in the middle of an I/O: DID_NO_CONNECT or, where PCI still answers, a reset that fails."""
    rig = make(trace=True).probe().take_over()
    scmd = rig.rw(False, 0, [(DATA, 4096)])
    rig.queue(scmd)
    if how == "removed":
        rig.function.remove()
    else:
        rig.model.faults.inject("all-ones", times=0)
    start = rig.machine.trace.count
    rig.hooks.dump_poll(rig.sdev)
    assert scmd.result == (0x010000 if how == "removed" else 0x080000)
    assert rig.machine.trace.count - start < 10
    rig.kernel.diskdump_update()
    again = rig.command(cdb.test_unit_ready())
    assert rig.queue(again) == 0
    assert again.result == 0x010000
    rig.hooks.dump_poll(rig.sdev)
    assert rig.hooks.shutdown(rig.sdev) == -errno.ENODEV


@BOTH
def test_adapter_pulled_out_with_its_queue_full_moves_nothing_any_more(make: Make, chip: ChipProfile) -> None:
    """What was under way reaches neither memory nor disk; the poll ends every command once, with DID_NO_CONNECT."""
    rig = make(chip).probe().take_over()
    scmds = [rig.rw(True, 8 * n, [(DATA + 0x1000 * n, 4096)]) for n in range(rig.shost.can_queue)]
    before = bytes(rig.image)
    told = len(rig.done)
    for scmd in scmds:
        assert rig.queue(scmd) == 0
    rig.function.remove()
    rig.advance(1000)
    assert bytes(rig.image) == before
    rig.hooks.dump_poll(rig.sdev)
    assert [scmd.result for scmd in scmds] == [0x010000] * len(scmds)
    assert rig.done[told:] == scmds
    rig.advance(1000)
    assert bytes(rig.image) == before


def test_nothing_touches_the_chip_while_a_reset_is_due(make: Make) -> None:
    """Polls, and interrupts of whoever shares the line, keep off an IOC that is being reset."""
    rig = make(trace=True).probe().crash()
    rig.hooks.quiesce(rig.sdev)
    accesses = rig.machine.trace.count
    rig.hooks.dump_poll(rig.sdev)
    assert mpt_interrupt(rig.pdev.irq, rig.ioc) == IRQ_NONE
    assert rig.machine.trace.count == accesses


def test_poll_without_adapter_is_harmless(make: Make) -> None:
    """A host without host data is polled, quiesced and shut down without an exception."""
    rig = make().probe().crash()
    rig.shost.hostdata = None
    rig.hooks.dump_poll(rig.sdev)
    assert rig.hooks.quiesce(rig.sdev) == -errno.ENXIO
    assert rig.hooks.shutdown(rig.sdev) == 0
    assert rig.host_reset() == FAILED
