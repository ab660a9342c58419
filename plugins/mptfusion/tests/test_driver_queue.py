"""queuecommand and completion: frames, contexts, the free list, and replies that are nobody's."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.helperlib.kernel import PciDev
from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import SCSI_MLQUEUE_HOST_BUSY
from ddsdk.scsi.host import ScsiDevice
from ddsdk.sim.pci import SimPciFunction
from ddsdk_mptfusion.model import LSI53C1030, SAS1068, ChipProfile
from ddsdk_mptfusion.regs import IocState, MptRegs
from ddsdk_mptfusion.reply import MAX_POPS
from plugins.mptfusion.tests.driver_rig import BOTH, DATA, Make, Rig


@pytest.fixture
def rig(make: Make) -> Rig:
    """A driver taken over by the dump."""
    return make(trace=True).probe().take_over()


def posted_frame(rig: Rig) -> bytes:
    """The frame of the one command that is outstanding, its context and sense address cut out to zeros."""
    request = next(iter(rig.ioc.outstanding.values()))
    frame = bytearray(rig.ioc.view[request.frame_offset:request.frame_offset + 56])
    assert int.from_bytes(frame[8:12], "little") == request.context
    assert int.from_bytes(frame[0x2C:0x30], "little") == request.sense_bus_addr
    frame[8:12] = frame[0x2C:0x30] = bytes(4)
    return bytes(frame)


def test_write_frame_is_the_vector(rig: Rig) -> None:
    """WRITE(10) of 32 sectors: vector mpt-write10 but for context, and 96 bytes of sense instead of 32."""
    rig.queue(rig.rw(True, 0x1234, [(0x400000, 0x4000)]))
    assert posted_frame(rig) == bytes.fromhex(
        "00000000 0a600000 00000000 00000000 00000000 00000001 2a000000 12340000"
        "20000000 00000000 00400000 00000000 004000d5 00004000")


def test_command_without_data_has_a_null_element(rig: Rig) -> None:
    """TEST UNIT READY: vector mpt-tur but for context and the null element's address."""
    rig.queue(rig.command(cdb.test_unit_ready()))
    assert posted_frame(rig) == bytes.fromhex(
        "00000000 06600000 00000000 00000000 00000000 00000000 00000000 00000000"
        "00000000 00000000 00000000 00000000 000000d1 00000000")


def test_address_goes_into_the_frame(rig: Rig) -> None:
    """Bus, target and LUN are the device's: bytes 1, 0 and 13."""
    rig.queue(rig.command(cdb.test_unit_ready(), sdev=ScsiDevice(rig.shost, 1, 6, 5)))
    frame = posted_frame(rig)
    assert (frame[1], frame[0], frame[12:20]) == (1, 6, bytes((0, 5, 0, 0, 0, 0, 0, 0)))


@pytest.mark.parametrize(("chip", "tagged", "control"), [
    (LSI53C1030, False, 0x500), (LSI53C1030, True, 0), (SAS1068, False, 0), (SAS1068, True, 0)])
def test_untagged_only_where_it_exists(make: Make, chip: ChipProfile, tagged: bool, control: int) -> None:
    """On SPI a device without tagged queueing is addressed untagged; SAS knows no untagged commands."""
    rig = make(chip).probe().take_over()
    rig.sdev.tagged_supported = tagged
    rig.queue(rig.command(cdb.test_unit_ready()))
    assert int.from_bytes(posted_frame(rig)[20:24], "little") == control


def test_context_keeps_its_reserved_bits_clear(rig: Rig) -> None:
    """Bits 31:29 of a MsgContext stay 0 over any number of uses, and the index survives the wrap."""
    for request in rig.ioc.requests:
        request.context = 0x1FFFF800 | request.context & 0x3FF      # the last use but one of 19 bits
    contexts = []
    for _ in range(3):
        scmd = rig.command(cdb.test_unit_ready())
        rig.queue(scmd)
        contexts += list(rig.ioc.outstanding)
        rig.poll_until_done(scmd)
        assert scmd.result == 0
    index = contexts[0] & 0x3FF
    assert contexts == [0x1FFFFC00 | index, index, 0x400 | index]


def test_every_use_has_its_own_context(rig: Rig) -> None:
    """The same frame used again carries another MsgContext."""
    seen = set()
    for _ in range(20):
        rig.queue(rig.command(cdb.test_unit_ready()))
        seen |= set(rig.ioc.outstanding)
        rig.poll_until_done(*[scmd for scmd in (request.scmd for request in rig.ioc.outstanding.values()) if scmd])
    assert len(seen) == 20


def test_full_queue_is_host_busy(rig: Rig) -> None:
    """can_queue commands are taken, the next is refused untouched, and taken once one has ended."""
    scmds = [rig.rw(False, 8 * n, [(DATA + 0x1000 * n, 4096)]) for n in range(64)]
    assert [rig.queue(scmd) for scmd in scmds] == [0] * 64
    late = rig.command(cdb.test_unit_ready())
    assert rig.queue(late) == SCSI_MLQUEUE_HOST_BUSY
    rig.poll_until_done(*scmds)
    assert {scmd.result for scmd in scmds} == {0}
    assert len(rig.done) == 64
    assert rig.run(late).result == 0


def test_an_ordinary_command_costs_four_register_accesses(rig: Rig) -> None:
    """One write to queue it; to complete it IntStatus, the reply, and the read that finds the FIFO empty."""
    scmd = rig.rw(True, 0, [(DATA, 4096)])
    start = rig.machine.trace.count
    rig.queue(scmd)
    rig.advance(50)
    rig.hooks.dump_poll(rig.sdev)
    assert scmd.done
    new = list(rig.machine.trace)[start - rig.machine.trace.count:]
    assert [(r.kind, r.fields[0]) for r in new if r.kind in ("read", "write")] == [
        ("write", "REQUEST_FIFO"), ("read", "HOST_INTERRUPT_STATUS"), ("read", "REPLY_FIFO"), ("read", "REPLY_FIFO")]


def test_idle_poll_reads_one_register(rig: Rig) -> None:
    """With nothing outstanding a poll looks at IntStatus and goes."""
    start = rig.machine.trace.count
    for _ in range(20):
        rig.hooks.dump_poll(rig.sdev)
    new = list(rig.machine.trace)[start - rig.machine.trace.count:]
    assert [(r.kind, r.fields[0]) for r in new] == [("read", "HOST_INTERRUPT_STATUS")] * 20


@BOTH
@pytest.mark.parametrize("fault", ["reply-stale", "reply-duplicate", "reply-bad-address", "his-lingers",
                                   "reply-by-address", "reply-log-info"])
def test_odd_replies_do_no_harm(make: Make, chip: ChipProfile, fault: str) -> None:
    """Stale, double, foreign and roundabout replies: each command is completed once, and no reply frame is lost."""
    rig = make(chip).probe().take_over()
    rig.model.faults.inject(fault, times=5)
    scmds = [rig.run(rig.rw(False, 8 * n, [(DATA, 4096)])) for n in range(8)]
    assert [scmd.result for scmd in scmds] == [0] * 8
    assert rig.done == scmds
    assert rig.model.faults.struck[fault] == 5
    rig.hooks.dump_poll(rig.sdev)
    assert len(rig.model.free) == 128
    assert len(rig.ioc.FreeQ) == 64


def test_reply_frame_goes_back_whatever_it_says(rig: Rig) -> None:
    """A frame with a context nobody has is given back; one at an address nobody gave is neither read nor given back."""
    ioc, model = rig.ioc, rig.model
    address = model.free.popleft()
    at = ioc.reply_offset + address - ioc.reply_bus_addr
    ioc.view[at:at + 64] = bytes.fromhex("ffffffff" * 16)
    model.append_reply(0x80000000 | address >> 1)
    for foreign in (ioc.reply_bus_addr - 64, ioc.reply_bus_addr + 32, ioc.reply_bus_addr + 128 * 64, 0x1000):
        model.append_reply(0x80000000 | foreign >> 1)
    rig.hooks.dump_poll(rig.sdev)
    assert sorted(model.free) == [ioc.reply_bus_addr + 64 * n for n in range(128)]
    assert ioc.stale_replies == 5
    assert rig.read("DOORBELL") >> 28 == IocState.OPERATIONAL       # one frame too many would have been a FAULT
    assert not rig.done


class Endless:
    """The function, with a register window whose ReplyFifo can be made to give the same reply for ever."""

    def __init__(self, function: SimPciFunction) -> None:
        self.function = function
        self.descriptor: int | None = None
        self.pops = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)

    def window(self, bar: int) -> Endless:
        self.size = self.function.window(bar).size
        return self

    def read(self, offset: int, size: int) -> int:
        value = self.function.window(1).read(offset, size)
        if self.descriptor is None:
            return value
        if offset == MptRegs.REPLY_FIFO.offset:
            self.pops += 1
            return self.descriptor
        return value | 8 if offset == MptRegs.HOST_INTERRUPT_STATUS.offset else value

    def write(self, offset: int, size: int, value: int) -> None:
        self.function.window(1).write(offset, size, value)


@pytest.mark.parametrize("descriptor", [0x7, 0x80001000, 0xFFFFFFFE, 0])
def test_endless_reply_fifo_is_bounded(make: Make, descriptor: int) -> None:
    """After more replies than there can be the poll gives up, ends what waited with DID_RESET, and resets the IOC."""
    rig = make()
    endless = Endless(rig.function)
    rig.pdev = PciDev(rig.kernel, endless)
    rig.probe().take_over()
    scmd = rig.rw(False, 0, [(DATA, 4096)])
    rig.queue(scmd)
    endless.descriptor = descriptor
    rig.hooks.dump_poll(rig.sdev)
    assert (endless.pops, scmd.result) == (MAX_POPS + 1, 0x080000)
    endless.descriptor = None
    rig.kernel.diskdump_update()
    assert rig.run(rig.command(cdb.test_unit_ready())).result == 0x02      # the unit attention of the reset
    assert rig.run(scmd).result == 0


def test_endless_reply_fifo_by_interrupt_is_masked(make: Make) -> None:
    """In normal mode the interrupt handler masks the chip, or the line would call it for ever."""
    rig = make()
    endless = Endless(rig.function)
    rig.pdev = PciDev(rig.kernel, endless)
    rig.probe()
    scmd = rig.rw(False, 0, [(DATA, 4096)])
    endless.descriptor = 0x7
    rig.queue(scmd)
    rig.kernel.udelay(500)
    assert (scmd.result, rig.read("HOST_INTERRUPT_MASK"), endless.pops) == (0x080000, 0x9, MAX_POPS + 1)
