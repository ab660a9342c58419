"""The SCSI bus: selection, its timeout, RST, messages, reselection, task management, what the host must get right."""

from __future__ import annotations

from struct import pack

import attrs
import pytest

from ddsdk.errors import DmaFault, HardwareFault
from ddsdk_aic79xx.model import AIC7901, AIC7902, AIC7902A
from ddsdk_aic79xx.model_chips import U2_DISK, U160_DISK
from ddsdk_aic79xx.model_target import ASYNC, Agreement
from ddsdk_aic79xx.regs import CfgRegs, CommonRegs, DffRegs, Mode, ModeRegs, Scratch, ScsiRegs
from plugins.aic79xx.tests import vectors as v
from plugins.aic79xx.tests.chip_host import LISTS, PACKETS, POOL, RESERVED, SHARED, TARGET, ChipHost, Make
from plugins.aic79xx.tests.test_model_queue import queue, scb

PPR = bytes.fromhex("01 06 04 08 00 fe 01 ff")


def say(chip: ChipHost, message: bytes) -> list[int]:
    """The host's side of message-out: one byte a code 07, ATN dropped with the last one; then message-in.

    Returns what the target answered.  The chip is left paused where the message phases end.
    """
    for number, byte in enumerate(message):
        assert chip.seqint() == 0x07
        assert chip.r(Scratch.LASTPHASE) == 0xA0
        chip.mode(Mode.SCSI)
        if number == len(message) - 1:
            chip.w(ScsiRegs.CLRSINT1, 0x40)
        chip.w(Scratch.RETURN_2, byte)
        chip.w(Scratch.RETURN_1, 0x04)
        chip.go(Mode.SCSI)
    answer = []
    while chip.interrupt() & 0x04 and chip.r(Scratch.LASTPHASE) == 0xE0:
        assert chip.seqint() == 0x07
        answer.append(chip.r(ScsiRegs.SCSIBUS))
        chip.w(Scratch.RETURN_1, 0x03)
        chip.go(Mode.SCSI)
    return answer


def leave(chip: ChipHost) -> None:
    """The target went on to another phase: leave the message loop."""
    assert chip.seqint() == 0x07
    chip.w(Scratch.RETURN_1, 0x08)
    chip.go(Mode.SCSI)


def post(chip: ChipHost, control: int = 0x70, **more: int) -> None:
    """TEST UNIT READY with tag 3."""
    chip.queue(scb(3, RESERVED, POOL + 0xC0, control=control, **more), RESERVED)


# -- selection -------------------------------------------------------------------------------------------------


def test_nobody_answers(chip: ChipHost) -> None:
    """SELTO after 256 ms: SCSIINT, SELINGO, the SCB still the first that waits; ENSELO on; it tries again."""
    queue(chip, (3, 9))
    start_ns = chip.machine.clock.now_ns
    assert chip.interrupt() == 0x08
    assert 256_000_000 <= chip.machine.clock.now_ns - start_ns < 260_000_000
    chip.mode(Mode.SCSI)
    assert (chip.r(ScsiRegs.SSTAT1) & 0x80, chip.r(ScsiRegs.SSTAT0) & 0x10) == (0x80, 0x10)
    assert (chip.r(Scratch.WAITING_TID_HEAD), chip.r(ScsiRegs.SELOID)) == (3, 9)
    chip.w(ScsiRegs.SCSISEQ0, 0)
    chip.w(ScsiRegs.CLRSINT1, 0x80)
    chip.w(ScsiRegs.CLRSINT0, 0x10)
    chip.w(CommonRegs.CLRINT, 0x08)
    chip.mode(Mode.CCHAN)
    chip.go()
    assert chip.interrupt() == 0x08


@pytest.mark.parametrize(("rev_a", "ms"), [(False, 128), (True, 256)])
def test_the_selection_timer(make_chip: Make, rev_a: bool, ms: int) -> None:
    """STIMESEL 08 is 128 ms; Rev A's timer runs twice as long."""
    chip = make_chip(attrs.evolve(AIC7901, rev_a=rev_a))
    chip.pause()
    mode = chip.r(CommonRegs.MODE_PTR)
    chip.mode(Mode.SCSI)
    chip.w(ScsiRegs.SXFRCTL1, 0x2F)
    chip.w(CommonRegs.MODE_PTR, mode)
    chip.go()
    start_ns = chip.machine.clock.now_ns
    queue(chip, (3, 9))
    chip.interrupt()
    assert (chip.machine.clock.now_ns - start_ns) // 1_000_000 in range(ms, ms + 3)


def test_without_a_selection_timer_it_takes_for_ever(chip: ChipHost) -> None:
    """ENSTIMER off."""
    chip.pause()
    mode = chip.r(CommonRegs.MODE_PTR)
    chip.mode(Mode.SCSI)
    chip.w(ScsiRegs.SXFRCTL1, 0x23)
    chip.w(CommonRegs.MODE_PTR, mode)
    chip.go()
    queue(chip, (3, 9))
    assert not chip.until(lambda: chip.r(CommonRegs.INTSTAT))


def test_a_selection_that_stops_once(chip: ChipHost) -> None:
    """SIMODE0.60, as the I/O cell's workaround has it: SCSIINT with SELDO, and the command goes on afterwards."""
    chip.pause()
    mode = chip.r(CommonRegs.MODE_PTR)
    chip.mode(Mode.CFG)
    chip.w(CfgRegs.SIMODE0, 0x6C)
    chip.w(CommonRegs.MODE_PTR, mode)
    chip.go()
    queue(chip, (3, 3))
    assert chip.interrupt() == 0x08
    mode = chip.r(CommonRegs.MODE_PTR)
    chip.mode(Mode.SCSI)
    assert chip.r(ScsiRegs.SSTAT0) & 0x40
    chip.mode(Mode.CFG)
    chip.w(CfgRegs.SIMODE0, 0x0C)
    chip.w(CommonRegs.CLRINT, 0x08)
    chip.w(CommonRegs.MODE_PTR, mode)
    chip.go()
    assert chip.interrupt() == 0x02


def test_enselo_off_takes_back_what_has_not_begun(chip: ChipHost) -> None:
    """And not what has: SELINGO."""
    queue(chip, (3, 9))
    chip.advance(1)
    assert chip.until(lambda: chip.chip.bus.selecting)
    chip.chip.scsi.set_seq0(0)
    assert not chip.chip.bus.selecting
    chip.chip.kick()
    chip.advance(100)
    assert chip.chip.scsi.sstat0 & 0x10
    chip.chip.scsi.set_seq0(0)
    assert chip.chip.bus.selecting


def test_our_own_id_has_to_be_in_the_scb(chip: ChipHost) -> None:
    """SCSIID 3:0 is IOWNID."""
    chip.queue(scb(3, RESERVED, POOL)[:0x13] + b"\x36" + bytes(0x2C), RESERVED)
    with pytest.raises(HardwareFault, match="selects as id 6"):
        chip.advance(100)


# -- RST -------------------------------------------------------------------------------------------------------


def test_rst_too_short(chip: ChipHost) -> None:
    """SPI wants 25 us."""
    chip.pause()
    chip.mode(Mode.SCSI)
    chip.w(ScsiRegs.SCSISEQ0, 0x01)
    chip.advance(10)
    with pytest.raises(HardwareFault, match="RST was low for 10000 ns"):
        chip.w(ScsiRegs.SCSISEQ0, 0x00)


def test_rst_drops_everything_but_the_freeze(chip: ChipHost) -> None:
    """SCSIRSTI and SCSIINT; targets forget what was agreed and have a unit attention; QFREEZE_COUNT stays."""
    chip.agree(PACKETS)
    chip.pause()
    chip.w(Scratch.QFREEZE_COUNT, 1)
    chip.mode(Mode.SCSI)
    chip.w(ScsiRegs.SCSISEQ0, 0x01)
    chip.advance(30)
    chip.w(ScsiRegs.SCSISEQ0, 0x00)
    assert chip.r(CommonRegs.INTSTAT) == 0x08
    assert chip.r(ScsiRegs.SSTAT1) & 0x20
    assert chip.chip.bus.targets[TARGET].agreement == ASYNC
    assert chip.target.units[0]._attention
    chip.w(ScsiRegs.CLRSINT1, 0x20)
    assert not chip.r(ScsiRegs.SSTAT1) & 0x20
    assert chip.r(Scratch.QFREEZE_COUNT) == 1


def test_rst_that_somebody_else_holds(chip: ChipHost) -> None:
    """CLRSINT1.20 has no effect while RST is low."""
    chip.chip.faults.inject("rst-stays-low", ns=1_000_000)
    chip.pause()
    chip.mode(Mode.SCSI)
    chip.w(ScsiRegs.SCSISEQ0, 0x01)
    chip.advance(30)
    chip.w(ScsiRegs.SCSISEQ0, 0x00)
    chip.w(ScsiRegs.CLRSINT1, 0x20)
    assert chip.r(ScsiRegs.SSTAT1) & 0x20
    chip.advance(1001)
    chip.w(ScsiRegs.CLRSINT1, 0x20)
    assert not chip.r(ScsiRegs.SSTAT1) & 0x20


def test_rev_a_is_spoilt_by_its_own_rst(make_chip: Make) -> None:
    """It runs no more until a chip reset and a download."""
    chip = make_chip(AIC7902A)
    chip.pause()
    chip.mode(Mode.SCSI)
    chip.w(ScsiRegs.SCSISEQ0, 0x01)
    chip.advance(30)
    chip.w(ScsiRegs.SCSISEQ0, 0x00)
    chip.w(ScsiRegs.CLRSINT1, 0x20)
    chip.w(CommonRegs.CLRINT, 0xFF)
    chip.restart()
    assert chip.interrupt() == 0x80
    chip.bring_up()
    chip.advance(100)
    assert chip.r(CommonRegs.INTSTAT) == 0


# -- messages --------------------------------------------------------------------------------------------------


def test_negotiation_that_brings_packets_ends_bus_free(chip: ChipHost) -> None:
    """PPR is answered by PPR, then the bus goes free with LASTPHASE message-in; the command has to be sent again."""
    post(chip)
    answer = say(chip, b"\xc0\x20\x03" + PPR)
    assert answer == [0x01, 0x06, 0x04, 0x08, 0x00, 0x3F, 0x01, 0xFF]
    assert chip.interrupt() == 0x08
    chip.mode(Mode.SCSI)
    assert (chip.r(ScsiRegs.SSTAT1) & 0x08, chip.r(Scratch.LASTPHASE)) == (0x08, 0xE0)
    assert chip.chip.bus.targets[TARGET].agreement == Agreement(0x08, 0x3F, 1, 0xFF)


def test_negotiation_that_brings_no_packets_goes_on(make_chip: Make) -> None:
    """A U160 disk agrees to less; command phase follows, and the command completes."""
    chip = make_chip(attrs.evolve(AIC7901, disk=U160_DISK))
    post(chip)
    assert say(chip, b"\xc0\x20\x03" + PPR) == [0x01, 0x06, 0x04, 0x09, 0x00, 0x3F, 0x01, 0x02]
    leave(chip)
    assert chip.seqint() == 0x0A                                # MK_MESSAGE is still set
    chip.mode(Mode.SCSI)
    chip.w(Scratch.SCB_CONTROL, chip.r(Scratch.SCB_CONTROL) & ~0x10)
    chip.go(Mode.SCSI)
    assert chip.interrupt() == 0x02


def test_an_old_disk_rejects_ppr(make_chip: Make) -> None:
    """MESSAGE REJECT; WDTR and SDTR it knows."""
    chip = make_chip(attrs.evolve(AIC7901, disk=U2_DISK))
    post(chip)
    assert say(chip, b"\xc0\x20\x03" + PPR) == [0x07]
    target = chip.chip.bus.targets[TARGET]
    assert target.hear(b"\x01\x02\x03\x01", 0, 0).reply == b"\x01\x02\x03\x01"
    assert target.hear(b"\x01\x03\x01\x08\x7f", 0, 0).reply == b"\x01\x03\x01\x0a\x1f"
    assert target.agreement == Agreement(0x0A, 0x1F, 1, 0)


@pytest.mark.parametrize(("answer", "message"), [(0x03, "RETURN_1 is 0x3"), (0x08, "RETURN_1 is 0x8")])
def test_the_host_has_to_answer_by_the_phase(chip: ChipHost, answer: int, message: str) -> None:
    """Message-out wants a byte to send."""
    post(chip)
    assert chip.seqint() == 0x07
    chip.w(Scratch.RETURN_1, answer)
    with pytest.raises(HardwareFault, match="message-out phase"):
        chip.go(Mode.SCSI)


def test_atn_has_to_fall(chip: ChipHost) -> None:
    """A host that never drops ATN talks for ever; 512 bytes are no message."""
    post(chip)
    with pytest.raises(HardwareFault, match="512 bytes"):
        for _ in range(600):
            assert chip.seqint() == 0x07
            chip.w(Scratch.RETURN_2, 0x08)
            chip.w(Scratch.RETURN_1, 0x04)
            chip.go(Mode.SCSI)


def test_abort_messages_free_the_bus(chip: ChipHost) -> None:
    """IDENTIFY, tag, ABORT TASK."""
    post(chip)
    assert say(chip, b"\xc0\x20\x03\x0d") == []
    assert chip.interrupt() == 0x08
    assert chip.r(Scratch.LASTPHASE) == 0xA0


# -- reselection -----------------------------------------------------------------------------------------------


def test_a_disconnected_command_is_marked(chip: ChipHost) -> None:
    """While the target works on it: DISCONNECTED in its slot; untagged ones are in the busy target table."""
    post(chip, control=0x40)
    chip.advance(20)
    assert chip.chip.slot(3)[0x12] == 0x44
    assert chip.chip.slot(0)[0x38 + 6:0x38 + 8] == b"\x03\x00"
    assert chip.interrupt() == 0x02
    assert not chip.chip.slot(3)[0x12] & 0x04
    assert chip.chip.slot(0)[0x38 + 7] == 0xFF


def test_a_slot_that_was_overwritten_is_no_match(chip: ChipHost) -> None:
    """Code 04 with SELID; the host has to assert ATN and say what it wants."""
    post(chip, control=0x60)
    chip.advance(20)
    chip.chip.slot(3)[0x12] = 0x60
    assert chip.seqint() == 0x04
    assert chip.r(ScsiRegs.SELID) == 0x30
    with pytest.raises(HardwareFault, match="did not assert ATN"):
        chip.go(Mode.SCSI)


def test_a_tag_in_use_ends_both(chip: ChipHost) -> None:
    """Overlapped commands: CHECK CONDITION 0B/4E, the first one is never heard of again."""
    queue(chip, (3, 3), (3, 3))
    assert chip.seqint() == 0x1A
    assert chip.chip.bus.targets[TARGET]._sense[0][12] == 0x4E
    assert not chip.chip.bus.targets[TARGET].tasks


# -- packets -----------------------------------------------------------------------------------------------------


def test_data_goes_by_the_table(chip: ChipHost) -> None:
    """A negotiation table that says something else than what was agreed garbles data."""
    chip.chip.bus.targets[TARGET].agreement = Agreement(0x08, 0x3F, 1, 0x02)
    chip.poke(LISTS + 0xC00, v.V0)
    chip.queue(v.V1, RESERVED)
    with pytest.raises(HardwareFault, match="data for target 3 with period 0x0"):
        chip.until(lambda: False)


def test_a_packet_for_a_target_that_expects_identify(chip: ChipHost) -> None:
    """The table says packets, the target has forgotten: a command phase in the middle, code 0D."""
    chip.agree(PACKETS)
    chip.chip.bus.targets[TARGET].agreement = ASYNC
    post(chip, control=0x60)
    assert chip.seqint() == 0x0D
    chip.mode(Mode.SCSI)
    assert chip.r(ScsiRegs.SCSISIGI) & 0xE0 == 0x80


@pytest.mark.parametrize(("flags", "code"), [(0x01, 0x13), (0x08, 0x13)])
def test_task_management_is_answered_by_code_13(chip: ChipHost, flags: int, code: int) -> None:
    """ABORT TASK, LUN RESET: SCBPTR of mode 3 names the SCB that carried it."""
    chip.agree(PACKETS)
    post(chip, control=0x60, tmf=flags)
    assert chip.seqint() == code
    assert chip.r(ModeRegs.SCBPTR) == 3
    assert bool(chip.target.units[0]._attention) == (flags == 0x08)


def test_a_scatter_list_without_an_end(chip: ChipHost) -> None:
    """The prefetcher runs off the list into memory that was not granted."""
    chip.agree(PACKETS)
    chip.poke(LISTS, bytes.fromhex("000e000200020000") * 0x400)
    chip.queue(v.V1, RESERVED)
    with pytest.raises((DmaFault, HardwareFault)):
        chip.until(lambda: False)


@pytest.mark.parametrize("break_it", ["DFCNTRL", "SG_CACHE_PRE", "HADDR"])
def test_a_status_iu_wants_a_fifo_that_is_aimed(chip: ChipHost, break_it: str) -> None:
    """Direction, last segment, granted memory: code 0F is not to be answered half."""
    chip.agree(PACKETS)
    chip.target.reset()
    post(chip, control=0x60)
    assert chip.seqint() == 0x0F
    values = {"HADDR": 0x01300300, "HCNT": 256, "SG_CACHE_PRE": 0x80, "DFCNTRL": 0xA8}
    values[break_it] = 0x00400000 if break_it == "HADDR" else 0
    for name, value in values.items():
        chip.w(getattr(DffRegs, name), value)
    with pytest.raises((HardwareFault, DmaFault)):
        chip.go()


def test_a_sequencer_interrupt_that_collides(make_chip: Make) -> None:
    """7902 Rev B: with CMDCMPLT up SEQINT does not show; paused with a code; let go, it says NO_SEQINT."""
    chip = make_chip(AIC7902)
    queue(chip, (1, 3))
    assert chip.interrupt() == 0x02
    chip.target.reset()
    queue(chip, (2, 3))
    assert chip.until(lambda: chip.r(CommonRegs.HCNTRL) & 0x04)
    assert (chip.r(CommonRegs.INTSTAT), chip.r(CommonRegs.SEQINTCODE)) == (0x02, 0x1A)
    chip.w(CommonRegs.CLRINT, 0x06)
    chip.go(Mode.CCHAN)
    assert chip.r(CommonRegs.SEQINTCODE) == 0x00
    assert chip.r(CommonRegs.INTSTAT) == 0x04
    assert chip.peek(SHARED, 2) == pack("<H", 0x8001)
