"""The dump hooks: sanity check, quiesce, poll, shutdown; and the host reset between them, in crash mode."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from ddsdk.bus import PCI_COMMAND
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import FAILED, SCSI_MLQUEUE_HOST_BUSY, SUCCESS
from ddsdk.sim.machine import Trigger
from ddsdk_mptfusion.model import LSI53C1030, ChipProfile
from ddsdk_mptfusion.model_handshake import Phase
from ddsdk_mptfusion.regs import FaultCode, IocState, MptRegs
from plugins.mptfusion.tests.driver_rig import BOTH, DATA, Make, Rig


@pytest.fixture
def up(make: Make) -> Rig:
    """A driver brought up, its disk known, not crashed."""
    rig = make(trace=True, ncpus=2).probe()
    assert rig.sdev
    return rig


def since(rig: Rig, start: int) -> list[tuple[str, object]]:
    """(kind, first field) of what the trace recorded after *start*."""
    records = list(rig.machine.trace)[start - rig.machine.trace.count:]
    return [(record.kind, record.fields[0] if record.fields else None) for record in records]


# -- sanity check ----------------------------------------------------------------------------------------------


def peer(rig: Rig) -> None:
    """Another PCI device owns the IOC."""
    rig.model.faults.inject("pci-peer-owner", times=0)


def lock(name: str) -> Callable[[Rig], None]:
    """Another CPU stops with that lock held."""
    def take(rig: Rig) -> None:
        def task() -> None:
            holder = rig.hd if name == "tmLock" else rig.ioc
            rig.kernel.spin_lock_irqsave(getattr(holder, name))
            rig.machine.crash(Trigger.OOPS)
        rig.machine.spawn(1, task, "holder")
        rig.machine.run()
    return take


def no_adapter(rig: Rig) -> None:
    """A host whose driver never got so far."""
    rig.shost.hostdata = None


def set_on(attribute: str) -> Callable[[Rig], None]:
    """The driver stopped with that flag set."""
    def put(rig: Rig) -> None:
        setattr(rig.hd if attribute == "tmPending" else rig.ioc, attribute, True)
    return put


def word_waits(rig: Rig) -> None:
    """A handshake was announced; its first doorbell interrupt is up."""
    rig.write("DOORBELL_WRITE", 0x42030000)
    rig.machine.clock.advance(100_000)


def mid_request(rig: Rig) -> None:
    """A handshake was announced and acknowledged; dwords are due."""
    word_waits(rig)
    rig.write("HOST_INTERRUPT_STATUS", 0)
    rig.machine.clock.advance(100_000)


def in_reset(rig: Rig) -> None:
    """Somebody wrote a message unit reset."""
    rig.write("DOORBELL_WRITE", 0x40000000)
    rig.advance(1)


VERDICTS: dict[str, tuple[Callable[[Rig], object], int]] = {
    "healthy": (lambda rig: None, 0),
    "no host data": (no_adapter, -errno.ENXIO),
    "FreeQlock held": (lock("FreeQlock"), -errno.EBUSY),
    "diagLock held": (lock("diagLock"), 1),
    "tmLock held": (lock("tmLock"), 1),
    "reset in progress": (set_on("diagPending"), 1),
    "task management pending": (set_on("tmPending"), 1),
    "last recovery failed": (set_on("dead"), 1),
    "bus mastering off": (lambda rig: rig.function.config_write(PCI_COMMAND, 2, 0x3), -errno.ENXIO),
    "memory window off": (lambda rig: rig.function.config_write(PCI_COMMAND, 2, 0x4), -errno.ENXIO),
    "removed": (lambda rig: rig.function.remove(), -errno.ENODEV),
    "all ones": (lambda rig: rig.model.faults.inject("all-ones", times=0), -errno.ENXIO),
    "owned by a PCI peer": (peer, -errno.EBUSY),
    "fault": (lambda rig: rig.model.enter_fault(FaultCode.DATA_SEND_PCI_BUS_FAULT), 0),
    "handshake word waiting": (word_waits, 0),
    "handshake request half sent": (mid_request, 0),
    "in reset": (in_reset, 1),
    "requests in flight": (lambda rig: rig.queue(rig.rw(False, 0, [(DATA, 4096)])), 0),
}


@pytest.mark.parametrize("state", VERDICTS)
def test_sanity_check_looks_and_leaves_no_trace(up: Rig, state: str) -> None:
    """The verdict on each state; twice the same; no register written, no lock taken, no time passed, no word taken."""
    prepare, verdict = VERDICTS[state]
    prepare(up)
    if not up.machine.crashdump_mode:
        up.machine.crash(Trigger.PANIC)
    start, now_ns = up.machine.trace.count, up.machine.clock.now_ns
    assert [up.hooks.dump_sanity_check(up.sdev) for _ in range(2)] == [verdict] * 2
    kinds = {kind for kind, _ in since(up, start)} if up.machine.trace.count > start else set()
    assert kinds <= {"read", "fault"}
    assert up.machine.clock.now_ns == now_ns
    if state == "handshake word waiting":
        assert ("read", "DOORBELL") not in since(up, start)


# -- quiesce and host reset ------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", ["FreeQlock", "diagLock", "tmLock"])
def test_quiesce_releases_the_drivers_locks(up: Rig, held: str) -> None:
    """A lock a frozen CPU holds is free after quiesce, and the dump goes on."""
    lock(held)(up)
    assert up.hooks.quiesce(up.sdev) == 0
    assert not any(up.kernel.spin_is_locked(each) for each in (up.ioc.FreeQlock, up.ioc.diagLock, up.hd.tmLock))
    assert up.host_reset() == SUCCESS
    assert up.run(up.command(cdb.test_unit_ready())).result == 0x02


def test_quiesce_leaves_host_lock_alone(up: Rig) -> None:
    """The mid-layer's lock is not the driver's to release."""
    up.crash()
    up.kernel.spin_lock(up.shost.host_lock)
    assert up.hooks.quiesce(up.sdev) == 0
    assert up.kernel.spin_is_locked(up.shost.host_lock)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_quiesce_may_be_repeated(up: Rig, times: int) -> None:
    """Called again it does the same; the command from before the crash is forgotten and never completed."""
    old = up.rw(False, 0, [(DATA, 4096)])
    up.queue(old)
    up.crash()
    for _ in range(times):
        assert up.hooks.quiesce(up.sdev) == 0
    assert (up.ioc.outstanding, up.ioc.FreeQ, up.ioc.active) == ({}, [], False)
    assert up.read("HOST_INTERRUPT_MASK") == 0x9
    assert up.queue(up.command(cdb.test_unit_ready())) == SCSI_MLQUEUE_HOST_BUSY
    up.advance(100)
    for _ in range(50):
        up.hooks.dump_poll(up.sdev)
    assert up.host_reset() == SUCCESS
    assert not old.done
    assert up.function.dma is not None
    assert len(up.function.dma.grants) == 1
    assert len(up.ioc.FreeQ) == 64


def test_memory_of_old_commands_is_the_chips_until_it_is_reset(up: Rig) -> None:
    """A read in flight at the crash may still land in its page; only the host reset takes the page away."""
    up.fill(DATA, 4096)
    up.queue(up.rw(False, 0, [(DATA, 4096)]))
    up.crash()
    up.hooks.quiesce(up.sdev)
    assert up.function.dma is not None
    assert len(up.function.dma.grants) == 2
    up.advance(100)
    assert up.machine.memory.read(DATA, 4096) == bytes(4096)
    up.host_reset()
    assert len(up.function.dma.grants) == 1


@BOTH
def test_completion_from_before_the_reset_is_ignored(make: Make, chip: ChipProfile) -> None:
    """The MsgContext of a command given up belongs to nobody afterwards, though its frame is used again."""
    rig = make(chip).probe()
    assert rig.sdev
    rig.queue(rig.rw(False, 0, [(DATA, 4096)]))
    stale = next(context for context, request in rig.ioc.outstanding.items() if request.scmd)
    frame = rig.ioc.outstanding[stale].frame_offset
    rig.take_over()
    scmd = rig.rw(False, 8, [(DATA, 4096)])
    rig.queue(scmd)
    assert [request.frame_offset for request in rig.ioc.outstanding.values()] == [frame]
    rig.model.append_reply(stale)
    rig.hooks.dump_poll(rig.sdev)
    assert (scmd.done, rig.ioc.stale_replies) == (False, 1)
    rig.poll_until_done(scmd)
    assert rig.done == [scmd]


def test_crash_mode_never_unmasks_the_chip(make: Make) -> None:
    """From the crash to shutdown IntMask is written with both bits set only, and the line never rises again."""
    rig = make(trace=True).probe()
    assert rig.sdev
    rig.crash()
    start = rig.machine.trace.count
    rig.hooks.quiesce(rig.sdev)
    rig.host_reset()
    rig.run(rig.rw(True, 0, [(DATA, 4096)]))
    rig.model.enter_fault(FaultCode.INVALID_STATE)
    rig.run(rig.rw(True, 0, [(DATA, 4096)]))
    rig.kernel.diskdump_update()
    rig.run(rig.rw(True, 0, [(DATA, 4096)]))
    rig.hooks.shutdown(rig.sdev)
    masks = [record.fields[1] for record in list(rig.machine.trace)[start - rig.machine.trace.count:]
             if record.kind == "write" and record.fields[0] == "HOST_INTERRUPT_MASK"]
    assert set(masks) == {0x9}
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
    """A reset that takes 30 s is waited for without the NMI watchdog biting, and without moving jiffies."""
    rig = make().probe().crash()
    rig.model.faults.inject("hard-reset-slow")
    rig.hooks.quiesce(rig.sdev)
    jiffies, now_ns = rig.kernel.jiffies, rig.machine.clock.now_ns
    assert rig.host_reset() == SUCCESS
    assert rig.machine.clock.now_ns - now_ns > 30_000_000_000
    assert rig.kernel.jiffies == jiffies


def test_host_reset_that_cannot_work_says_so(make: Make) -> None:
    """A dead IOC: FAILED within bounds, and commands end with DID_NO_CONNECT instead of waiting for their time-out."""
    rig = make().probe().crash()
    rig.hooks.quiesce(rig.sdev)
    rig.model.faults.inject("hard-reset-hangs", times=0)
    assert rig.host_reset() == FAILED
    assert rig.machine.clock.now_ns < 200_000_000_000
    scmd = rig.command(cdb.test_unit_ready())
    assert rig.queue(scmd) == 0
    assert (scmd.done, scmd.result) == (True, 0x010000)


def test_hard_reset_as_the_chip_wants_it(up: Rig) -> None:
    """Nothing touches the chip in the millisecond after the reset bit; afterwards history is 0, writes are off."""
    up.crash()
    up.hooks.quiesce(up.sdev)
    start = up.machine.trace.count
    assert up.host_reset() == SUCCESS
    accesses = [record for record in list(up.machine.trace)[start - up.machine.trace.count:]
                if record.kind in ("read", "write")]
    reset = next(n for n, record in enumerate(accesses)
                 if record.kind == "write" and record.fields[0] == "DIAGNOSTIC" and int(record.fields[1] or 0) & 4)
    stop = accesses[reset - 1]          # the ARM is stopped first, 1 ms before (erratum, 2.6.9 mptbase.c)
    assert (stop.kind, stop.fields[0], int(stop.fields[1] or 0) & 6) == ("write", "DIAGNOSTIC", 2)
    assert accesses[reset].now_ns - stop.now_ns >= 1_000_000
    assert accesses[reset + 1].now_ns - accesses[reset].now_ns >= 1_000_000
    assert up.read("DIAGNOSTIC") == 0


def test_crash_between_reply_frames_and_ioc_init(up: Rig) -> None:
    """READY with the free list full, as an interrupted bring-up leaves it: one attempt, frames counted anew."""
    up.crash()
    up.hooks.quiesce(up.sdev)
    up.write("DOORBELL_WRITE", 0x40000000)
    up.advance(100)
    for index in range(128):
        up.write("REPLY_FREE_FIFO", up.ioc.reply_bus_addr + 64 * index)
    lines = len(up.kernel.log)
    assert up.host_reset() == SUCCESS
    assert up.kernel.log[lines:] == []
    assert len(up.model.free) == 128


def test_crash_while_port_enable_runs(make: Make) -> None:
    """Our own handshake, all sent: its reply is waited for and read, no filler is written into the doorbell."""
    rig = make(LSI53C1030, trace=True, timing=LSI53C1030.timing).probe()
    assert rig.sdev
    rig.machine.spawn(0, rig.host_reset, "scsi_eh")
    rig.machine.run(for_ns=3_000_000_000)
    assert (rig.ioc.handshake_left, rig.model.handshake.phase) == (0, Phase.WORKING)
    rig.crash()
    assert rig.hooks.dump_sanity_check(rig.sdev) == 1
    rig.hooks.quiesce(rig.sdev)
    start = rig.machine.trace.count
    assert rig.host_reset() == SUCCESS
    # the one there is begins the IOCFacts of the new bring-up, which looks like a filler
    assert [record.fields for record in list(rig.machine.trace)[start - rig.machine.trace.count:]
            if record.kind == "write"].count(("DOORBELL_WRITE", 0x03000000)) == 1
    assert rig.run(rig.command(cdb.test_unit_ready())).result == 0x02


# -- shutdown --------------------------------------------------------------------------------------------------


def test_shutdown_leaves_the_ioc_ready(up: Rig) -> None:
    """After the dump the message queues are empty, interrupts masked, and no command's memory is the chip's."""
    up.take_over()
    up.queue(up.rw(False, 0, [(DATA, 4096)]))
    assert up.hooks.shutdown(up.sdev) == 0
    assert up.read("DOORBELL") >> 28 == IocState.READY
    assert up.read("HOST_INTERRUPT_MASK") == 0x9
    assert up.function.dma is not None
    assert len(up.function.dma.grants) == 1


@pytest.mark.parametrize(("state", "answer"), [("fault", 0), ("removed", -errno.ENODEV), ("deaf", -errno.EIO)])
def test_shutdown_of_a_broken_ioc_ends(up: Rig, state: str, answer: int) -> None:
    """In FAULT nothing is left to do; a doorbell nobody takes costs seconds and is reported."""
    up.take_over()
    if state == "fault":
        up.model.enter_fault(FaultCode.INVALID_STATE)
    elif state == "removed":
        up.function.remove()
    else:
        up.model.faults.inject("doorbell-never-taken", times=0)
    now_ns = up.machine.clock.now_ns
    assert up.hooks.shutdown(up.sdev) == answer
    assert up.machine.clock.now_ns - now_ns < 10_000_000_000


def test_registers_of_the_poll_are_the_tables(make: Make) -> None:
    """The offsets the hot path keeps as numbers are those of the register table."""
    from ddsdk_mptfusion import driver, reply
    assert (reply._INT_STATUS, reply._REPLY_FIFO, reply._REPLY_FREE_FIFO, reply._DOORBELL, driver._REQUEST_FIFO) == (
        0x30, 0x44, 0x44, 0x00, 0x40)
    assert MptRegs.REQUEST_FIFO.offset == 0x40
