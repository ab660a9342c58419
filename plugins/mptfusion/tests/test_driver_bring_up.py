"""Probe: the IOC comes to OPERATIONAL from whatever state it is found in, or is refused with a reason."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import attrs
import pytest

from ddsdk.errors import DeviceError
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE, FAILED
from ddsdk_mptfusion.driver import mptscsih_probe
from ddsdk_mptfusion.model import LSI53C1030, SAS1068, ChipProfile
from ddsdk_mptfusion.regs import FaultCode, HostInterruptMask, IocState, WhoInit
from plugins.mptfusion.tests.driver_rig import BOTH, Make, Rig, chip_named, refusal

IOC_INIT = bytes.fromhex("04000002 00000100 02000000 80000000 00000000 00000000")


def settle(rig: Rig) -> None:
    """Long enough for the IOC to take a doorbell write or offer a word."""
    rig.machine.clock.advance(100_000)


def handshake(rig: Rig, request: bytes, dwords_sent: int, words_read: int = 0) -> None:
    """A handshake somebody abandons after so many dwords, and so many words of the reply."""
    rig.write("HOST_INTERRUPT_STATUS", 0)
    rig.write("DOORBELL_WRITE", 0x42000000 | len(request) // 4 << 16)
    settle(rig)
    if dwords_sent:
        rig.write("HOST_INTERRUPT_STATUS", 0)
    for at in range(0, 4 * dwords_sent, 4):
        rig.write("DOORBELL_WRITE", int.from_bytes(request[at:at + 4], "little"))
        settle(rig)
    if words_read:
        rig.advance(30)
    for _ in range(words_read):
        rig.read("DOORBELL")
        rig.write("HOST_INTERRUPT_STATUS", 0)
        settle(rig)


def push_frames(rig: Rig) -> None:
    """A free list filled to the brim by somebody else."""
    for index in range(128):
        rig.write("REPLY_FREE_FIFO", 0x1000 + 128 * index)


def operational(rig: Rig) -> None:
    """As the BIOS leaves it: initialised, frames of its own on the free list."""
    handshake(rig, IOC_INIT, 6, 2 * 5)
    rig.write("HOST_INTERRUPT_STATUS", 0)
    assert rig.read("DOORBELL") >> 28 == IocState.OPERATIONAL
    push_frames(rig)


def arm_stopped(rig: Rig) -> None:
    """A hard reset somebody began: the ARM is stopped, the reset bit not yet written."""
    for key in (0xFF, 0x4, 0xB, 0x2, 0x7, 0xD):
        rig.write("WRITE_SEQUENCE", key)
    rig.write("DIAGNOSTIC", 0x82)


def resetting(rig: Rig) -> None:
    """The reset bit was written a moment ago: nothing answers yet."""
    arm_stopped(rig)
    rig.write("DIAGNOSTIC", 0x86)


STATES: dict[str, Callable[[Rig], None]] = {
    "ready": lambda rig: None,
    "ready, reply frames left on the free list": lambda rig: push_frames(rig),
    "operational": operational,
    "fault": lambda rig: rig.model.enter_fault(FaultCode.REQUEST_MESSAGE_PCI_BUS_FAULT),
    "reset, soon over": lambda rig: rig.write("DOORBELL_WRITE", 0x41000000),
    "hard reset under way": resetting,
    "arm stopped": arm_stopped,
    "handshake announced": lambda rig: handshake(rig, IOC_INIT, 0),
    "handshake, first dword sent": lambda rig: handshake(rig, IOC_INIT, 1),
    "handshake, all dwords but one sent": lambda rig: handshake(rig, IOC_INIT, 5),
    "handshake, reply being made": lambda rig: handshake(rig, IOC_INIT, 6),
    "handshake, one word read": lambda rig: handshake(rig, IOC_INIT, 6, 1),
    "handshake, all words read but one": lambda rig: handshake(rig, IOC_INIT, 6, 9),
    "handshake, all words read": lambda rig: handshake(rig, IOC_INIT, 6, 10),
}


@BOTH
@pytest.mark.parametrize("state", STATES)
def test_comes_up_from(make: Make, chip: ChipProfile, state: str) -> None:
    """From every state the IOC becomes OPERATIONAL under WhoInit 4, reply interrupts on, and its disk answers."""
    rig = make(chip)
    rig.power_up()
    STATES[state](rig)
    rig.probe()
    doorbell = rig.read("DOORBELL")
    assert (doorbell >> 28, doorbell >> 24 & 0xF) == (IocState.OPERATIONAL, WhoInit.HOST_DRIVER)
    assert rig.read("HOST_INTERRUPT_MASK") == HostInterruptMask.DIM.mask
    assert len(rig.model.free) == 128
    assert rig.sdev.nr_sectors == 16384
    assert rig.machine.clock.now_ns < 40_000_000_000


def test_limits_are_what_the_chip_said(make: Make) -> None:
    """Host limits follow IOCFacts and PortFacts: ids, initiator id, commands, segments."""
    spi, sas = make(LSI53C1030).probe().shost, make(SAS1068).probe().shost
    assert (spi.this_id, spi.max_id, spi.max_channel) == (7, 16, 0)
    assert (sas.this_id, sas.max_id, sas.max_channel) == (8, 8, 0)
    assert (spi.can_queue, spi.sg_tablesize, spi.cmd_per_lun, spi.max_sectors) == (64, 256, 7, 8192)


def test_few_credits_make_a_short_queue(make: Make) -> None:
    """Three frames of the credits are the driver's own; the rest are can_queue, and cmd_per_lun is no more."""
    shost = make(attrs.evolve(SAS1068, GlobalCredits=7)).probe().shost
    assert (shost.can_queue, shost.cmd_per_lun) == (4, 4)


@pytest.mark.parametrize(("depth", "segments"), [(0, 6), (1, 16), (4, 46), (25, 256), (255, 256)])
def test_sg_tablesize_follows_chain_depth(make: Make, depth: int, segments: int) -> None:
    """An IOC that follows few chains gets short scatter lists: 6 segments, and 10 more for each chain."""
    assert make(attrs.evolve(SAS1068, MaxChainDepth=depth)).probe().shost.sg_tablesize == segments


@pytest.mark.parametrize(("chip", "reason"), [
    (attrs.evolve(SAS1068, GlobalCredits=3), "3 request credits; this driver needs more than 3"),
    (attrs.evolve(SAS1068, RequestFrameSize=16), "request frames of 64 bytes; this driver needs 128"),
], ids=["credits", "frames"])
def test_refuses_an_ioc_that_is_too_small(make: Make, chip: ChipProfile, reason: str) -> None:
    """What the driver cannot work with is named with its value and its field."""
    assert reason in refusal(make(chip))


@pytest.mark.parametrize(("fault", "reason"), [
    ("facts-zero", "IOCFacts says 0 credits, 0 reply frames, request frames of 0 dwords; none may be 0"),
    ("facts-firmware-missing", "the IOC has no firmware and wants it from the host"),
    ("port-inactive", "no SCSI initiator there"),
    ("pci-peer-owner", "owned by a PCI peer (WhoInit 3); it must not be reset from here"),
    ("all-ones", "every register reads 0xffffffff"),
    ("diag-locked", "Diagnostic writes stay disabled after 20 key sequences"),
    ("hard-reset-hangs", "not READY 60 s after the hard reset"),
    ("handshake-garbled", "the reply claims"),
    ("handshake-status", "function 0x03 failed with IOCStatus 0x0004"),
])
def test_refuses_for_good_reason(make: Make, fault: str, reason: str) -> None:
    """An adapter that stays broken through both attempts is refused with what was wrong last."""
    rig = make()
    rig.power_up()
    rig.model.faults.inject(fault, times=0)
    if fault.startswith(("diag", "hard")):
        rig.model.enter_fault(FaultCode.INVALID_STATE)
    assert reason in refusal(rig)


def test_a_reply_to_another_message_is_not_believed(make: Make) -> None:
    """A handshake reply whose Function is not the request's: refused by that, whatever else it says."""
    rig = make()
    rig.power_up()
    rig.model.faults.inject("handshake-garbled", times=0, xor=0x0200)     # of word 1 that is Function 03 -> 01
    assert "handshake of function 0x03: the reply is of function 0x01" in refusal(rig)


@BOTH
def test_reply_frames_lie_as_far_apart_as_iocinit_says(make: Make, chip: ChipProfile) -> None:
    """64 bytes each, 128 of them: an IOC that was told more would write a long reply over the next frame."""
    rig = make(chip).probe()
    free = sorted(rig.model.free)
    assert rig.model.messages.init.ReplyFrameSize == 64
    assert {after - before for before, after in pairwise(free)} == {64}
    assert len(free) == 128


def test_fault_after_the_hard_reset_is_not_waited_out(make: Make) -> None:
    """An IOC that comes out of its reset in FAULT never becomes READY: both attempts give up at once, not in 60 s."""
    rig = make().probe().crash()
    assert rig.hooks.quiesce(rig.sdev) == 0
    rig.model.faults.inject("hard-reset-faults", times=0)
    before_ns = rig.machine.clock.now_ns
    assert rig.host_reset() == FAILED
    assert rig.machine.clock.now_ns - before_ns < 5_000_000_000


def test_peers_ioc_is_left_alone(make: Make) -> None:
    """An IOC that a PCI peer owns is neither reset nor spoken to."""
    rig = make(trace=True)
    rig.power_up()
    rig.model.faults.inject("pci-peer-owner", times=0)
    refusal(rig)
    written = {record.fields[0] for record in rig.machine.trace if record.kind == "write"}
    assert written == {"HOST_INTERRUPT_MASK"}


@pytest.mark.parametrize("fault", ["handshake-silent", "handshake-short", "handshake-garbled", "handshake-status",
                                   "doorbell-interrupt-lost", "doorbell-never-taken", "doorbell-slow",
                                   "facts-zero", "init-ignored", "hard-reset-faults", "hard-reset-ignored",
                                   "hard-reset-slow", "hard-reset-flash-bad", "message-reset-ignored",
                                   "message-reset-slow", "message-reset-faults", "diag-locked"])
def test_one_mishap_does_not_end_a_bring_up(make: Make, fault: str) -> None:
    """What goes wrong once is tried again, with a hard reset where a retry alone is not enough."""
    rig = make()
    rig.power_up()
    if fault.startswith("message"):
        operational(rig)
    elif fault.startswith(("hard", "diag")):
        rig.model.enter_fault(FaultCode.INVALID_STATE)
    rig.model.faults.inject(fault)
    rig.probe()
    assert rig.model.faults.struck[fault] == 1
    assert rig.sdev.nr_sectors == 16384


def test_wrong_chip_is_named(make: Make) -> None:
    """Probing for another chip than the one in the slot fails with both pairs of PCI ids."""
    rig = make(SAS1068)
    with pytest.raises(DeviceError, match=r"1000:0054 are not those of 53c1030 \(1000:0030\)"):
        mptscsih_probe(rig.pdev, chip_named("53c1030"))


def test_absent_function_is_refused(make: Make) -> None:
    """A function that answers no configuration cycle is refused before anything is mapped."""
    rig = make()
    rig.function.remove()
    assert "does not answer configuration cycles" in refusal(rig)


def test_commands_complete_by_interrupt(make: Make) -> None:
    """In normal mode queuecommand and the interrupt line are enough; nobody polls."""
    rig = make().probe()
    paddr = rig.machine.memory.reserve.alloc(64, 64)
    scmd = rig.command(cdb.inquiry(36), DMA_FROM_DEVICE, [(paddr, 36)])
    assert rig.queue(scmd) == 0
    rig.kernel.mdelay(5)
    assert (scmd.done, scmd.result, scmd.resid) == (True, 0, 0)
    assert bytes(rig.machine.memory.view(paddr + 8, 5)) == b"DDSDK"


def test_events_are_on_and_acknowledged(make: Make) -> None:
    """An event that wants an acknowledgement gets one, is noted in the log, and disturbs no command."""
    rig = make(trace=True).probe()
    assert rig.sdev
    rig.model.faults.inject("event-unsolicited", times=3)
    for _ in range(3):
        scmd = rig.command(cdb.test_unit_ready())
        assert rig.queue(scmd) == 0
        rig.kernel.mdelay(5)
        assert scmd.done
    assert sum("event LOG_DATA" in line for line in rig.kernel.log) == 3
    assert list(rig.ioc.outstanding.values()) == [rig.ioc.event_request]
    assert len(rig.model.free) == 128


def test_events_in_a_burst_are_acknowledged_one_by_one(make: Make) -> None:
    """There is one frame for acknowledgements: the next event waits until the last one's is answered; none is lost."""
    rig = make(trace=True).probe()
    rig.kernel.mdelay(1)
    ack = rig.ioc.ack_request.bus_addr
    for event in range(1, 6):
        rig.model.messages.send_event(event, ack=True)
    assert len(rig.model.messages._unacknowledged) == 5
    rig.kernel.mdelay(5)
    assert rig.model.messages._unacknowledged == set()
    posts = [r for r in rig.machine.trace if r.kind == "write" and r.fields == ("REQUEST_FIFO", ack)]
    assert len(posts) == 5
    assert len({r.now_ns for r in posts}) == 5
    assert list(rig.ioc.outstanding.values()) == [rig.ioc.event_request]
