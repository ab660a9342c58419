"""The dump hooks: sanity check, quiesce, poll, shutdown; and the host reset between them, in crash mode."""

from __future__ import annotations

import errno

import pytest

from ddsdk.bus import PCI_COMMAND
from ddsdk.helperlib.kernel import IRQ_NONE
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import FAILED, SUCCESS
from ddsdk.sim.machine import Trigger
from ddsdk_sym53c8xx.interrupt import sym53c8xx_intr
from ddsdk_sym53c8xx.model import LSI53C810, ChipProfile
from plugins.sym53c8xx.tests.driver_rig import ALL, BOTH, DATA, Make, Rig

NO_CONNECT, RESET = 0x01_0000, 0x08_0000


@pytest.fixture
def up(make: Make) -> Rig:
    """A driver in business before the crash."""
    rig = make(trace=True).probe()
    assert rig.sdev
    return rig


def written(rig: Rig, since: int) -> list[tuple[object, ...]]:
    """(register, value) of every write since."""
    return [record.fields[:2] for record in list(rig.machine.trace)[since - rig.machine.trace.count:]
            if record.kind == "write"]


# -- sanity check ------------------------------------------------------------------------------------------------------


@ALL
def test_sane(make: Make, chip: ChipProfile) -> None:
    """An adapter at rest, and one with commands in flight: 0, and nothing was written."""
    rig = make(chip, trace=True).probe()
    rig.queue(rig.rw(False, 0, [(DATA, 4096)]))
    rig.crash()
    since = rig.machine.trace.count
    assert rig.hooks.dump_sanity_check(rig.sdev) == 0
    assert written(rig, since) == []


def test_not_sane(up: Rig) -> None:
    """Gone, not a bus master any more, all ones."""
    up.crash()
    up.function.config_write(PCI_COMMAND, 2, 0x2)
    assert up.hooks.dump_sanity_check(up.sdev) == -errno.ENXIO
    up.function.config_write(PCI_COMMAND, 2, 0x6)
    up.model.faults.inject("all-ones")
    assert up.hooks.dump_sanity_check(up.sdev) == -errno.ENODEV
    up.function.remove()
    assert up.hooks.dump_sanity_check(up.sdev) == -errno.ENODEV


def test_cannot_tell(make: Make) -> None:
    """A lock that a frozen CPU holds, RST held by somebody else: 1; the host reset will show."""
    rig = make(ncpus=2).probe()
    assert rig.sdev

    def hold() -> None:
        rig.kernel.spin_lock(rig.np.lock)
        rig.kernel.udelay(10_000)
    rig.machine.spawn(1, hold, "holder")
    rig.machine.run(for_ns=1_000_000)
    rig.machine.crash(Trigger.NMI_WATCHDOG)
    assert rig.hooks.dump_sanity_check(rig.sdev) == 1
    assert rig.hooks.quiesce(rig.sdev) == 0
    assert rig.host_reset() == SUCCESS
    rig.model.scsi.rst = True
    rig.write("ISTAT0", 0x80)
    rig.write("ISTAT0", 0x00)
    assert rig.hooks.dump_sanity_check(rig.sdev) == 1


# -- quiesce -----------------------------------------------------------------------------------------------------------


@ALL
def test_quiesce_stops_the_chip(make: Make, chip: ChipProfile) -> None:
    """SCRIPTS stand still, the chip is reset, masked, its line low; nothing is queued until the host reset."""
    rig = make(chip).probe()
    for n in range(4):
        rig.queue(rig.rw(False, 8 * n, [(DATA + 4096 * n, 4096)]))
    rig.crash()
    assert rig.hooks.quiesce(rig.sdev) == 0
    assert not rig.model.scripts.running
    assert (rig.read("DSP"), rig.read("DIEN"), rig.read("SIEN0"), rig.read("SIEN1")) == (0, 0, 0, 0)
    assert rig.function.pin is not None
    assert not rig.function.pin.level
    assert rig.np.busy == {}
    assert not rig.np.active


def test_memory_of_old_commands_is_the_chips_until_the_bus_is_reset(up: Rig) -> None:
    """Quiesce leaves the mappings; only the host reset takes the pages away."""
    up.queue(up.rw(False, 0, [(DATA, 4096)]))
    up.crash()
    up.hooks.quiesce(up.sdev)
    assert up.function.dma is not None
    assert len(up.function.dma.grants) == 3
    assert up.host_reset() == SUCCESS
    assert len(up.function.dma.grants) == 2


def test_quiesce_of_a_gone_adapter(up: Rig) -> None:
    """-ENODEV, at once."""
    up.crash()
    up.function.remove()
    assert up.hooks.quiesce(up.sdev) == -errno.ENODEV
    assert up.host_reset() == FAILED


def test_taking_over_twice(up: Rig) -> None:
    """A second quiesce and host reset in the same dump work like the first."""
    up.take_over()
    assert up.hooks.quiesce(up.sdev) == 0
    assert up.host_reset() == SUCCESS
    assert up.run(up.command(cdb.test_unit_ready())).result == 0x0800_0002


# -- the dump ----------------------------------------------------------------------------------------------------------


@ALL
def test_crash_mode_never_unmasks_the_chip(make: Make, chip: ChipProfile) -> None:
    """From quiesce to shutdown no cause is enabled, the line never rises, INTFLY is a NOP."""
    rig = make(chip, trace=True).probe()
    rig.crash()
    rig.hooks.quiesce(rig.sdev)
    since = rig.machine.trace.count
    assert rig.host_reset() == SUCCESS
    rig.run(rig.rw(True, 0, [(DATA, 4096)]))
    rig.model.faults.inject("gross-error")
    rig.run(rig.rw(True, 0, [(DATA, 4096)]))
    rig.run(rig.rw(True, 0, [(DATA, 4096)]))
    rig.hooks.shutdown(rig.sdev)
    enabled = [value for name, value in written(rig, since) if name in ("DIEN", "SIEN0", "SIEN1")]
    assert set(enabled) == {0}
    records = list(rig.machine.trace)[since - rig.machine.trace.count:]
    assert not [record for record in records if record.kind == "irq"]
    assert rig.function.pin is not None
    assert not rig.function.pin.level


def test_crash_mode_uses_no_forbidden_call(up: Rig) -> None:
    """All hooks and handlers run in crash mode: mdelay, sleeping, allocating, enabling interrupts are faults there."""
    up.crash()
    up.hooks.dump_sanity_check(up.sdev)
    up.hooks.quiesce(up.sdev)
    for handler in (up.shost.hostt.eh_host_reset_handler, up.shost.hostt.eh_bus_reset_handler,
                    up.shost.hostt.eh_device_reset_handler, up.shost.hostt.eh_abort_handler):
        assert up.handle(handler, up.command(cdb.test_unit_ready())) == SUCCESS
    assert up.run(up.rw(True, 0, [(DATA, 4096)])).done
    assert up.hooks.shutdown(up.sdev) == 0


def test_long_waits_feed_the_watchdog(make: Make) -> None:
    """Somebody holds RST for 4 s: waited for without the NMI watchdog biting."""
    rig = make().probe().crash()
    rig.model.faults.inject("rst-slow")
    rig.hooks.quiesce(rig.sdev)
    now_ns = rig.machine.clock.now_ns
    assert rig.host_reset() == SUCCESS
    assert rig.machine.clock.now_ns - now_ns > 4_000_000_000


def test_reselections_of_the_old_kernel_find_nobody(up: Rig) -> None:
    """Commands that were disconnected at the crash die with the bus reset: no reselection comes for them."""
    for n in range(4):
        up.queue(up.rw(False, 8 * n, [(DATA + 4096 * n, 4096)]))
    up.machine.clock.advance(60_000)
    assert up.model.scsi.ports[0].tasks
    up.take_over()
    assert up.np.strays == 0
    assert up.model.scsi.ports[0].tasks == {}


# -- poll --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["removed", "all ones"])
def test_adapter_that_vanishes_ends_its_commands(make: Make, how: str) -> None:
    """Surprise removal in the middle of an I/O: DID_NO_CONNECT within a poll, and for everything later."""
    rig = make(trace=True).probe().take_over()
    scmds = [rig.rw(True, 8 * n, [(DATA + 0x1000 * n, 4096)]) for n in range(rig.shost.can_queue)]
    for scmd in scmds:
        assert rig.queue(scmd) == 0
    before = bytes(rig.image)
    if how == "removed":
        rig.function.remove()
    else:
        rig.model.faults.inject("all-ones", times=0)
        rig.hooks.dump_poll(rig.sdev)
    rig.advance(1000)
    assert bytes(rig.image) == before
    rig.hooks.dump_poll(rig.sdev)
    assert [scmd.result for scmd in scmds] == [NO_CONNECT] * len(scmds)
    again = rig.command(cdb.test_unit_ready())
    assert rig.queue(again) == 0
    assert again.result == NO_CONNECT
    assert rig.hooks.shutdown(rig.sdev) == -errno.ENODEV


def test_nothing_touches_the_chip_while_a_reset_is_due(make: Make) -> None:
    """Polls, and interrupts of whoever shares the line, keep off."""
    rig = make(trace=True).probe().crash()
    rig.hooks.quiesce(rig.sdev)
    accesses = rig.machine.trace.count
    rig.hooks.dump_poll(rig.sdev)
    assert sym53c8xx_intr(rig.pdev.irq, rig.np) == IRQ_NONE
    assert rig.machine.trace.count == accesses


def test_somebody_elses_interrupt(up: Rig) -> None:
    """The line is shared: IRQ_NONE when ISTAT says nothing."""
    assert sym53c8xx_intr(up.pdev.irq, up.np) == IRQ_NONE


def test_poll_without_adapter_is_harmless(make: Make) -> None:
    """A host without host data is polled, quiesced and shut down without an exception."""
    rig = make().probe().crash()
    rig.shost.hostdata = None
    rig.hooks.dump_poll(rig.sdev)
    assert rig.hooks.dump_sanity_check(rig.sdev) == -errno.ENXIO
    assert rig.hooks.quiesce(rig.sdev) == -errno.ENXIO
    assert rig.hooks.shutdown(rig.sdev) == 0


# -- shutdown ----------------------------------------------------------------------------------------------------------


@BOTH
def test_shutdown_leaves_nobody_running(make: Make, chip: ChipProfile) -> None:
    """After the dump SCRIPTS stand still, no target has a command, the bus is free, no command's memory is mapped."""
    rig = make(chip).probe().take_over()
    rig.queue(rig.rw(False, 0, [(DATA, 4096)]))
    assert rig.hooks.shutdown(rig.sdev) == 0
    assert not rig.model.scripts.running
    assert rig.model.scsi.ports[0].tasks == {}
    assert (rig.read("SBCL"), rig.read("SSTAT0") & 2, rig.read("SIEN0"), rig.read("DIEN")) == (0, 0, 0, 0)
    assert rig.function.dma is not None
    assert len(rig.function.dma.grants) == 2


def test_shutdown_while_running(make: Make) -> None:
    """Chips that hang when SRST comes while SCRIPTS run are stopped first, here as everywhere."""
    rig = make(LSI53C810).probe().take_over()
    rig.model.faults.inject("reset-while-running", times=0)
    assert rig.hooks.shutdown(rig.sdev) == 0
    assert rig.read("ISTAT0") == 0
