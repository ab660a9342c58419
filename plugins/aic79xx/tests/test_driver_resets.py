"""Bus reset and host reset, before the crash and after it."""

from __future__ import annotations

import pytest

from ddsdk.scsi.cmnd import DID_NO_CONNECT, DID_REQUEUE, DID_RESET, FAILED, SUCCESS, host_byte
from ddsdk_aic79xx import recovery
from ddsdk_aic79xx.model import AIC7901, AIC7902A, ChipProfile
from ddsdk_aic79xx.negotiate import ASYNC
from ddsdk_aic79xx.regs import Scratch
from plugins.aic79xx.tests.driver_rig import DATA, EACH, Make, Rig
from plugins.aic79xx.tests.eh_rig import (
    AFTER,
    PAGE,
    S,
    bus_reset,
    read,
    start,
    stuck,
    to_nobody,
    works,
)


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
