"""The vectors: what the driver builds, byte for byte, and what the chip makes of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ddsdk.scsi import cdb
from ddsdk.scsi.cmnd import DMA_FROM_DEVICE
from ddsdk.scsi.host import ScsiDevice
from ddsdk.sim import disk_faults
from ddsdk.sim.trace import Trace
from ddsdk_aic79xx.ahd import Addressing
from ddsdk_aic79xx.message import identify_message, transfer_message
from ddsdk_aic79xx.model_target import ASYNC, Agreement
from ddsdk_aic79xx.negotiate import AhdTarget, TransInfo
from ddsdk_aic79xx.queue import ahd_send, ahd_send_sense
from ddsdk_aic79xx.regs import CommonRegs, DffRegs, Mode, ModeRegs, Scratch
from ddsdk_aic79xx.sequencer import SCB_LIST_NULL_HIGH
from plugins.aic79xx.tests import vectors as v
from plugins.aic79xx.tests.chip_host import (
    LISTS,
    PACKETS,
    POOL,
    RESERVED,
    SEGMENTS,
    SENSE,
    SHARED,
    TARGET,
    ChipHost,
)
from plugins.aic79xx.tests.driver_rig import Make, Rig, place_at

READ = cdb.read_write(False, 0x12345, 32, False)


# -- what the driver builds ------------------------------------------------------------------------------------


@pytest.fixture
def fresh(make: Make, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Rig]:
    """A driver for four commands, its memory where the vectors have it, its chip paused so that nothing is fetched."""
    def start(addressing: Addressing = Addressing.BITS_39) -> Rig:
        rig = make(memory_bytes=36 << 20, target=TARGET, disk_bytes=64 << 20)
        element = 16 if addressing is Addressing.BITS_64 else 8
        place_at(rig, monkeypatch, 4, (POOL, 5 * 64), (LISTS, 5 * 128 * element), (SENSE, 5 * 256), (SHARED, 0x440))
        rig.probe(addressing)
        sdev = rig.known_disk(TARGET)
        assert sdev.id == TARGET
        rig.ahd.targets[TARGET].goal = rig.ahd.targets[TARGET].curr
        rig.ahd.pause()
        return rig
    return start


def memory(rig: Rig, paddr: int, length: int = 64) -> bytes:
    """Host memory."""
    return rig.machine.memory.read(paddr, length)


def read(rig: Rig) -> None:
    """The READ of V1."""
    scmd = rig.command(READ, DMA_FROM_DEVICE, SEGMENTS)
    assert rig.queue(scmd) == 0


def test_v0_v1_the_command_goes_into_the_reserved_element(fresh: Callable[..., Rig]) -> None:
    """Tag 3 in the element at 01200400, its list at 01100C00, its own element reserved next, HNSCB 1 in one write."""
    rig = fresh()
    rig.machine.trace.on = True
    read(rig)
    assert memory(rig, LISTS + 0xC00, len(v.V0)) == v.V0
    assert memory(rig, RESERVED) == v.V1
    assert rig.ahd.reserved.busaddr == POOL + 0xC0
    written = [record.fields for record in rig.machine.trace if record.kind == "write"]
    assert written == [("HNSCB_QOFF", 1)]


def test_v2_the_first_command_after_a_bus_reset_has_a_message(fresh: Callable[..., Rig]) -> None:
    """MK_MESSAGE, nothing else differs."""
    rig = fresh()
    rig.ahd.targets[TARGET].start_over()
    read(rig)
    assert memory(rig, RESERVED) == v.V2


def test_v3_untagged_without_disconnect(fresh: Callable[..., Rig]) -> None:
    """Control 00."""
    rig = fresh()
    scb = rig.ahd.free.popleft()
    scb.target, scb.cdb = TARGET, READ
    ahd_send(rig.ahd, scb, list(SEGMENTS), disconnect=False)
    assert memory(rig, RESERVED) == v.V3


def test_v4_address_bits_38_to_32_are_in_the_length_word(fresh: Callable[..., Rig]) -> None:
    """An element above 4 GiB; the first one is in the SCB, too."""
    rig = fresh()
    scb = rig.ahd.free.popleft()
    scb.target, scb.cdb, scb.tagged = TARGET, READ, True
    ahd_send(rig.ahd, scb, [(0x12_3456_7000, 0x4000)])
    assert memory(rig, LISTS + 0xC00, 8) == v.V4_LIST
    assert memory(rig, RESERVED) == v.V4


def test_v5_64_bit_elements(fresh: Callable[..., Rig]) -> None:
    """16 bytes each; the list of tag 3 is at 01101800, its second element at +10."""
    rig = fresh(Addressing.BITS_64)
    read(rig)
    assert memory(rig, LISTS + 0x1800, len(v.V5)) == v.V5
    assert memory(rig, RESERVED)[0x24:0x28] == bytes.fromhex("12181001")


def test_v9_autosense_takes_the_next_free_element(fresh: Callable[..., Rig]) -> None:
    """Same tag, element 010000C0, what a CDB of six bytes does not cover left as the upload had it."""
    rig = fresh()
    read(rig)
    rig.machine.memory.write(RESERVED, v.V7)
    scb = rig.ahd.pending[3]
    ahd_send_sense(rig.ahd, scb, by_lun=False, renegotiate=False)
    assert memory(rig, POOL + 0xC0, len(v.V9)) == v.V9
    assert rig.ahd.reserved.busaddr == RESERVED
    assert rig.ahd.qinnext == 2


def test_v10_no_data(fresh: Callable[..., Rig]) -> None:
    """SYNCHRONIZE CACHE: LIST_NULL alone."""
    rig = fresh()
    assert rig.queue(rig.command(cdb.synchronize_cache())) == 0
    assert memory(rig, RESERVED, len(v.V10)) == v.V10


def test_v11_the_second_command_goes_into_the_first_ones_element(fresh: Callable[..., Rig]) -> None:
    """Tag 2 at 010000C0; its own element at 01000080 comes next."""
    rig = fresh()
    read(rig)
    read(rig)
    assert memory(rig, POOL + 0xC0, len(v.V11)) == v.V11
    assert (rig.ahd.reserved.busaddr, rig.ahd.qinnext) == (POOL + 0x80, 2)


def test_message_out_for_a_full_goal() -> None:
    """IDENTIFY with disconnect, SIMPLE tag 3, PPR: period 8, offset FE, wide, every option."""
    target = AhdTarget(TARGET)
    target.goal = TransInfo(0x08, 0xFE, 0xFF, 1)
    assert identify_message(0, 0x70, 3) + transfer_message(target)[0] == v.PPR_OUT


def test_output_queue_is_taken_pass_by_pass(fresh: Callable[..., Rig]) -> None:
    """8003, 8002 in the first pass, 0003 in the second; the host clears nothing and expects the other value."""
    rig = fresh()
    read(rig)
    read(rig)
    rig.machine.memory.write(SHARED, v.QOUT)
    rig.hooks.dump_poll(rig.sdev)
    assert [scmd.result for scmd in rig.done] == [0, 0]
    assert memory(rig, SHARED, 6) == v.QOUT
    rig.ahd.qoutnext, rig.ahd.qout_valid = 0, 0
    read(rig)
    [tag] = rig.ahd.pending
    rig.machine.memory.write(SHARED, bytes((tag, 0)))
    rig.hooks.dump_poll(rig.sdev)
    assert len(rig.done) == 3


# -- what the chip makes of it -------------------------------------------------------------------------------------


def post(chip: ChipHost, scb: bytes, at: int = RESERVED, lists: bytes = v.V0) -> None:
    """The list and the SCB."""
    chip.poke(LISTS + 0xC00, lists)
    chip.queue(scb, at)


@pytest.mark.parametrize("agreement", [ASYNC, PACKETS], ids=["non-packetized", "packetized"])
def test_v1_fetched_carried_out_posted(chip: ChipHost, agreement: Agreement) -> None:
    """Slot 3 holds it, the next fetch is at 010000C0; the data arrives in three pieces; entry `03 80`, CMDCMPLT."""
    data = bytes(range(256)) * 64
    chip.target.units[0].disk.writev(0x12345, [memoryview(data)])
    chip.agree(agreement)
    post(chip, v.V1)
    chip.advance(2)
    chip.pause()
    assert chip.r(Scratch.NEXT_QUEUED_SCB_ADDR) == POOL + 0xC0
    assert chip.r(Scratch.CMDS_PENDING) == 1
    mode = chip.r(CommonRegs.MODE_PTR)
    slot = chip.slot(3, 48)
    assert slot[:0x10] + slot[0x12:0x2D] == v.V1[:0x10] + v.V1[0x12:0x2D]
    assert slot[0x10:0x12] == bytes(2)                          # the tag's place counts FIFOs now
    assert slot[0x2D] == slot[0x2F] == SCB_LIST_NULL_HIGH
    chip.go(mode & 7)
    assert chip.interrupt() == 0x02
    assert chip.peek(SHARED, 4) == b"\x03\x80\0\0"
    assert b"".join(chip.peek(*segment) for segment in SEGMENTS) == data


def test_v1_v11_two_entries(chip: ChipHost) -> None:
    """The output queue after both: `03 80 02 80`."""
    chip.agree(PACKETS)
    chip.poke(LISTS + 0x800, v.V0)
    post(chip, v.V1)
    chip.queue(v.V11, POOL + 0xC0)
    assert chip.until(lambda: chip.peek(SHARED, 6) == v.QOUT)


def test_entries_of_the_second_pass_are_not_valid_by_bit_15(chip: ChipHost) -> None:
    """512 commands later the entry of tag 3 is `03 00`."""
    chip.agree(PACKETS)
    chip.pause()
    mode = chip.r(CommonRegs.MODE_PTR)
    chip.mode(Mode.CCHAN)
    chip.w(Scratch.QOUTFIFO_ENTRY_VALID_TAG, 0)
    chip.w(CommonRegs.MODE_PTR, mode)
    chip.go()
    chip.poke(SHARED, b"\xff\xff")
    post(chip, v.V1)
    assert chip.interrupt() == 0x02
    assert chip.peek(SHARED, 2) == v.QOUT_NEXT_PASS


def test_v6_upload_of_a_short_transfer(chip: ChipHost) -> None:
    """2C00h bytes missing: the SCB is written back before its entry is posted, with residual count and pointer."""
    chip.calm()
    chip.target.units[0].disk.inject(disk_faults.wrong_length(22))      # sectors of 512 bytes that do not move
    post(chip, v.V1[:0x12] + b"\x60" + v.V1[0x13:])
    assert chip.interrupt() == 0x02
    assert chip.peek(RESERVED, len(v.V6)) == v.V6
    assert chip.peek(SHARED, 2) == b"\x03\x80"


def test_v7_upload_of_a_check_condition(chip: ChipHost) -> None:
    """No data phase: FULL_RESID and STATUS_VALID; code 1A with the tag in mode 2, nothing in the queue, frozen."""
    chip.target.reset()
    post(chip, v.V1)
    assert chip.seqint() == 0x1A
    assert chip.peek(RESERVED, len(v.V7)) == v.V7
    assert chip.peek(SHARED, 2) == bytes(2)
    assert chip.r(CommonRegs.MODE_PTR) == 0x22
    assert chip.r(ModeRegs.SCBPTR) == 3
    assert (chip.r(Scratch.QFREEZE_COUNT), chip.r(Scratch.SEQ_FLAGS2) & 4) == (1, 4)


def test_v8_status_information_unit(chip: ChipHost) -> None:
    """Code 0F: the host aims the FIFO at its sense buffer; then the upload with status FF and code 1A."""
    chip.agree(PACKETS)
    chip.target.reset()
    post(chip, v.V1)
    assert chip.seqint() == 0x0F
    assert chip.r(CommonRegs.MODE_PTR) in (0x00, 0x11)
    for reg, value in ((DffRegs.HADDR, SENSE + 0x300), (DffRegs.HCNT, 256), (DffRegs.SG_CACHE_PRE, 0x80),
                       (DffRegs.DFCNTRL, 0xA8)):
        chip.w(reg, value)
    chip.go()
    assert chip.seqint() == 0x1A
    assert chip.peek(RESERVED, len(v.V8)) == v.V8
    iu = chip.peek(SENSE + 0x300, 30)
    assert iu[:24] == v.V8_IU[:24]
    assert iu[24:26] == b"\x29\x00"                             # this disk's power-on attention


def test_v9_fetched_after_v7(chip: ChipHost) -> None:
    """REQUEST SENSE from 010000C0 once the freeze is over; the next fetch comes from 01200400 again."""
    chip.target.reset()
    post(chip, v.V1)
    assert chip.seqint() == 0x1A
    chip.w(Scratch.QFREEZE_COUNT, 0)
    chip.w(Scratch.SEQ_FLAGS2, 0)
    chip.poke(LISTS + 0xC00, bytes.fromhex("0003300120000080"))
    chip.queue(v.V9, POOL + 0xC0)
    chip.go()
    chip.interrupt()
    chip.pause()
    assert chip.r(Scratch.NEXT_QUEUED_SCB_ADDR) == RESERVED
    assert chip.peek(SENSE + 0x300, 3) == b"\x70\x00\x06"


def test_the_same_exchange_gives_the_same_trace(make_chip: Callable[..., ChipHost]) -> None:
    """Registers, DMA, interrupts: nothing of the model is left to chance."""
    digests = set()
    for _ in range(2):
        trace = Trace(capacity=20_000)
        chip = make_chip(trace=trace)
        post(chip, v.V1)
        chip.interrupt()
        digests.add(trace.digest())
    assert len(digests) == 1


def test_a_device_is_one_of_the_right_target(fresh: Callable[..., Rig]) -> None:
    """SCSI id in bits 7:4 beside our own, LUN of its own."""
    rig = fresh()
    scmd = rig.command(cdb.test_unit_ready(), sdev=ScsiDevice(rig.shost, 0, 9, 5))
    assert rig.queue(scmd) == 0
    assert memory(rig, RESERVED)[0x13:0x15] == b"\x97\x05"
