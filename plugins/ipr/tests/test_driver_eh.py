"""Abort, device reset, bus reset: what they say is true, in both modes, whatever the adapter answers."""

from __future__ import annotations

import pytest

from ddsdk.scsi.cmnd import DID_ERROR, DID_IMM_RETRY, DID_RESET, FAILED, SUCCESS, ScsiCmnd, host_byte
from ddsdk.sim import disk_faults
from plugins.ipr.tests.driver_rig import MS, PAGE, Make, Rig, S

BOTH = pytest.mark.parametrize("crashed", [False, True], ids=["normal mode", "crash mode"])


def stuck(make: Make, crashed: bool, how: str = "disk", count: int = 1) -> tuple[Rig, list[ScsiCmnd]]:
    """A driver with *count* reads that do not end: the "disk" never answers, or the "adapter" forgot them."""
    rig = make(trace=True).probe()
    if crashed:
        rig.take_over()
    else:
        assert rig.sdev
        rig.done.clear()
    if how == "disk":
        rig.disk.faults.inject(disk_faults.hang(count))
    else:
        rig.model.faults.inject("command-hung", times=count)
    commands = [rig.rw(False, 8 * n) for n in range(count)]
    for scmd in commands:
        rig.queue(scmd)
    for _ in range(10):
        if crashed:
            rig.poll()
        else:
            rig.machine.run(for_ns=MS)
    assert rig.done == []
    return rig, commands


@BOTH
def test_abort(make: Make, crashed: bool) -> None:
    """CANCEL ALL brings it back, to be tried again; the device owes a sync complete."""
    rig, (scmd,) = stuck(make, crashed)
    assert rig.handle(rig.shost.hostt.eh_abort_handler, scmd) == SUCCESS
    assert [host_byte(one.result) for one in rig.done] == [DID_IMM_RETRY]
    assert not scmd.device.host.hostdata.free_q[-1].mapped
    assert rig.ioa.resources[0, 0, 0].needs_sync_complete
    assert rig.run(rig.rw(True, 8)).result == 0


@BOTH
@pytest.mark.parametrize(("handler", "host"), [("eh_device_reset_handler", DID_IMM_RETRY),
                                               ("eh_bus_reset_handler", DID_ERROR)])
def test_device_and_bus_reset(make: Make, crashed: bool, handler: str, host: int) -> None:
    """Every command of the device ends; the unit attention is due."""
    rig, commands = stuck(make, crashed, count=3)
    assert rig.handle(getattr(rig.shost.hostt, handler), commands[0]) == SUCCESS
    assert [host_byte(one.result) for one in rig.done] == [host] * 3
    assert rig.run(rig.rw(True, 8)).result == 2
    assert rig.run(rig.rw(True, 8)).result == 0


@BOTH
@pytest.mark.parametrize("handler", ["eh_abort_handler", "eh_device_reset_handler", "eh_bus_reset_handler"])
def test_a_command_the_adapter_forgot(make: Make, crashed: bool, handler: str) -> None:
    """It is still the adapter's, as far as anybody knows: FAILED.  The host reset brings it back."""
    rig, (scmd,) = stuck(make, crashed, "adapter")
    assert rig.handle(getattr(rig.shost.hostt, handler), scmd) == FAILED
    assert (rig.done, scmd.done) == ([], False)
    assert rig.host_reset() == SUCCESS
    assert [host_byte(one.result) for one in rig.done] == [DID_RESET]


def test_abort_of_a_command_that_ended(make: Make) -> None:
    """Nothing to abort: SUCCESS, and nothing is sent."""
    rig = make().probe()
    assert rig.sdev
    scmd = rig.run(rig.rw(True, 8))
    rig.done.clear()
    rig.model.faults.inject("cancel-hung")
    assert rig.handle(rig.shost.hostt.eh_abort_handler, scmd) == SUCCESS
    assert (rig.done, rig.model.faults.struck) == ([], {})


def test_cancel_all_is_not_answered(make: Make) -> None:
    """After 30 s the bus is reset instead, which ends it."""
    rig, (scmd,) = stuck(make, crashed=False)
    rig.model.faults.inject("cancel-hung")
    before = rig.machine.clock.now_ns
    assert rig.handle(rig.shost.hostt.eh_abort_handler, scmd) == SUCCESS
    assert 30 <= (rig.machine.clock.now_ns - before) / S < 31
    assert [host_byte(one.result) for one in rig.done] == [DID_ERROR]
    assert rig.log("CANCEL_ALL_REQUESTS to 0:0:0 got no answer; resetting its bus")
    assert rig.run(rig.rw(True, 8)).result == 2


def test_neither_is_answered(make: Make) -> None:
    """Another 30 s, then the adapter is reset; the handler says FAILED, the command has ended."""
    rig, (scmd,) = stuck(make, crashed=False)
    rig.model.faults.inject("cancel-hung")
    rig.model.faults.inject("device-reset-hung")
    before = rig.machine.clock.now_ns
    assert rig.handle(rig.shost.hostt.eh_abort_handler, scmd) == FAILED
    assert 60 <= (rig.machine.clock.now_ns - before) / S < 64
    rig.machine.run(until=lambda: rig.ioa.allow_cmds, for_ns=10 * S)
    assert [host_byte(one.result) for one in rig.done] == [DID_RESET]
    assert rig.run(rig.rw(True, 8)).result == 2


@pytest.mark.parametrize(("fault", "handler"), [("cancel-fails", "eh_abort_handler"),
                                                ("device-reset-fails", "eh_device_reset_handler"),
                                                ("device-reset-fails", "eh_bus_reset_handler")])
def test_it_is_refused(make: Make, fault: str, handler: str) -> None:
    """FAILED, with the reason in the log; the command is still under way."""
    rig, (scmd,) = stuck(make, crashed=False)
    rig.model.faults.inject(fault)
    assert rig.handle(getattr(rig.shost.hostt, handler), scmd) == FAILED
    assert rig.log("failed: HW_RESET_NEEDED (04448600)")
    assert rig.done == []


def test_nobody_there(make: Make) -> None:
    """A device that the adapter does not know cannot be reset, nor an adapter that is being reset."""
    rig = make().probe().take_over()
    scmd = rig.tur()
    rig.ioa.resources.clear()
    for handler in ("eh_device_reset_handler", "eh_bus_reset_handler"):
        assert rig.handle(getattr(rig.shost.hostt, handler), scmd) == FAILED
    rig.shost.hostdata = None
    for handler in ("eh_abort_handler", "eh_device_reset_handler", "eh_host_reset_handler"):
        assert rig.handle(getattr(rig.shost.hostt, handler), scmd) == FAILED


def test_only_its_own_device_is_reset(make: Make) -> None:
    """A command beside that ends well is not touched."""
    rig, (scmd,) = stuck(make, crashed=False)
    healthy = rig.run(rig.rw(True, 64, [(0x200000, PAGE)]))
    assert rig.handle(rig.shost.hostt.eh_device_reset_handler, scmd) == SUCCESS
    assert healthy.result == 0
    assert len(rig.done) == 2
