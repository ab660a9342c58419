"""The sequencer's program: fetching, waiting lists, freeze, completion lists, the output queue."""

from __future__ import annotations

from struct import pack

import pytest

from ddsdk.errors import DmaFault, HardwareFault
from ddsdk_aic79xx.model import AicCore
from ddsdk_aic79xx.regs import CchanRegs, CommonRegs, Mode, ModeRegs, Scratch, ScsiRegs
from plugins.aic79xx.tests.chip_host import PACKETS, POOL, RESERVED, SHARED, TARGET, ChipHost

TUR = bytes(6)


def scb(tag: int, element: int, following: int, target: int = TARGET, cdb: bytes = TUR, control: int = 0x60,
        tmf: int = 0) -> bytes:
    """A command without data."""
    return (cdb.ljust(12, b"\0") + pack("<IHBBBBBBQIII", 0, tag, control, target << 4 | 7, 0, 0, len(cdb), tmf, 0, 0, 1,
                                        element) + pack("<I", following)).ljust(64, b"\0")


def queue(chip: ChipHost, *scbs: tuple[int, int]) -> None:
    """Commands (tag, target), each in the element after the one before; HNSCB_QOFF moves once, at the end."""
    for number, (tag, target) in enumerate(scbs, chip.hnscb):
        at, following = place(number), place(number + 1)
        chip.poke(at, scb(tag, at, following, target))
    chip.hnscb += len(scbs)
    chip.window.write(CommonRegs.HNSCB_QOFF.offset, 2, chip.hnscb)


def place(number: int) -> int:
    """The element of the *number*th command."""
    return RESERVED if number == 0 else POOL + 64 * (number % 60)


def waiting(core: AicCore) -> list[list[int]]:
    """Tags of the waiting lists, walked as the chip would."""
    lists, head = [], core.get(Scratch.WAITING_TID_HEAD)
    while head >> 8 != 0xFF:
        tags, tag = [], head
        while tag >> 8 != 0xFF:
            tags.append(tag)
            tag = int.from_bytes(core.slot(tag)[0x2C:0x2E], "little")
        lists.append(tags)
        head = int.from_bytes(core.slot(head)[0x2E:0x30], "little")
    return lists


def stop_selecting(chip: ChipHost) -> None:
    """RST is held low by somebody: SCBs are fetched, nobody is selected."""
    chip.chip.bus.rst_low = True


# -- fetching --------------------------------------------------------------------------------------------------


def test_the_chain_of_elements_is_followed(chip: ChipHost) -> None:
    """Each SCB says where the next one is; the slot is the tag's."""
    stop_selecting(chip)
    queue(chip, (9, 3), (200, 3), (511, 3))
    chip.advance(20)
    assert (chip.chip.snscb, chip.chip.get(Scratch.CMDS_PENDING)) == (3, 3)
    assert chip.chip.get(Scratch.NEXT_QUEUED_SCB_ADDR) == place(3)
    assert waiting(chip.chip) == [[9, 200, 511]]


def test_lists_are_by_target(chip: ChipHost) -> None:
    """First come, first in turn; SCBs of one target behind each other; tails follow."""
    stop_selecting(chip)
    queue(chip, (1, 3), (2, 5), (3, 3), (4, 0))
    chip.advance(20)
    assert waiting(chip.chip) == [[1, 3], [2], [4]]
    assert chip.chip.get(Scratch.WAITING_SCB_TAILS[3]) == 3
    assert chip.chip.get(Scratch.WAITING_TID_TAIL) == 4


def test_nothing_is_fetched_while_frozen(chip: ChipHost) -> None:
    """A forgotten thaw: HNSCB_QOFF is ahead for ever."""
    chip.pause()
    chip.w(Scratch.SEQ_FLAGS2, 0x04)
    chip.go()
    queue(chip, (1, 3))
    chip.advance(100_000)
    assert (chip.chip.snscb, chip.chip.hnscb) == (0, 1)
    chip.pause()
    chip.w(Scratch.SEQ_FLAGS2, 0)
    chip.go()
    assert chip.interrupt() == 0x02


def test_tags_end_at_511(chip: ChipHost) -> None:
    """There are 512 slots."""
    chip.poke(RESERVED, scb(512, RESERVED, POOL))
    with pytest.raises(HardwareFault, match="tag 0x200"):
        queue_raw(chip)


def queue_raw(chip: ChipHost) -> None:
    """Move HNSCB_QOFF on."""
    chip.hnscb += 1
    chip.window.write(CommonRegs.HNSCB_QOFF.offset, 2, chip.hnscb)
    chip.advance(100)


def test_an_element_that_was_not_granted_is_not_fetched(chip: ChipHost) -> None:
    """NEXT_QUEUED_SCB_ADDR points anywhere: DMA reaches granted memory alone."""
    chip.pause()
    chip.w(Scratch.NEXT_QUEUED_SCB_ADDR, 0x00800000)
    chip.go()
    with pytest.raises(DmaFault):
        queue_raw(chip)


def test_the_queue_offset_is_16_bits(chip: ChipHost) -> None:
    """It runs freely and wraps at 65536."""
    chip.pause()
    chip.mode(Mode.CCHAN)
    chip.w(CchanRegs.SNSCB_QOFF, 0xFFFF)
    chip.window.write(CommonRegs.HNSCB_QOFF.offset, 2, 0xFFFF)
    chip.go()
    chip.poke(RESERVED, scb(1, RESERVED, POOL))
    chip.window.write(CommonRegs.HNSCB_QOFF.offset, 2, 0)
    assert chip.interrupt() == 0x02
    assert chip.chip.snscb == 0


def test_an_scb_with_a_message_waits_by_itself(chip: ChipHost) -> None:
    """MK_MESSAGE: not behind others of its target, which go on being linked without it."""
    stop_selecting(chip)
    chip.poke(place(0), scb(1, place(0), place(1)))
    chip.poke(place(1), scb(2, place(1), place(2), control=0x70))
    chip.poke(place(2), scb(3, place(2), place(3)))
    chip.hnscb = 3
    chip.window.write(CommonRegs.HNSCB_QOFF.offset, 2, 3)
    chip.advance(20)
    assert waiting(chip.chip) == [[1, 3], [2]]


# -- the output queue ----------------------------------------------------------------------------------------------


def test_completions_are_posted_in_order(chip: ChipHost) -> None:
    """Of one target, packetized: as they ended."""
    chip.agree(PACKETS)
    queue(chip, *[(tag, TARGET) for tag in range(1, 9)])
    assert chip.until(lambda: chip.chip.sdscb == 8)
    assert chip.peek(SHARED, 16) == b"".join(pack("<H", 0x8000 | tag) for tag in range(1, 9))


@pytest.mark.parametrize("coalesce", [False, True])
def test_the_valid_tag_toggles_at_512(chip: ChipHost, coalesce: bool) -> None:
    """The entry behind the last one is the first again, with the other bit 15; a burst does not cross the end."""
    chip.agree(PACKETS)
    chip.pause()
    mode = chip.r(CommonRegs.MODE_PTR)
    chip.mode(Mode.CCHAN)
    chip.w(CchanRegs.SDSCB_QOFF, 510)
    chip.w(Scratch.QOUTFIFO_NEXT_ADDR, SHARED + 2 * 510)
    if coalesce:
        chip.w(CommonRegs.HS_MAILBOX, 0x40)
        chip.w(Scratch.INT_COALESCING_TIMER, 10)
        chip.w(Scratch.INT_COALESCING_MAXCMDS, 0xFC)
        chip.w(Scratch.INT_COALESCING_MINCMDS, 0x00)
    chip.w(CommonRegs.MODE_PTR, mode)
    chip.go()
    queue(chip, (1, 3), (2, 3), (3, 3), (4, 3))
    assert chip.until(lambda: chip.chip.sdscb == 514)
    assert chip.peek(SHARED + 1020, 4) + chip.peek(SHARED, 4) == pack("<4H", 0x8001, 0x8002, 3, 4)
    assert chip.chip.get(Scratch.QOUTFIFO_ENTRY_VALID_TAG) == 0x00
    assert chip.chip.get(Scratch.QOUTFIFO_NEXT_ADDR) == SHARED + 4


def test_coalescing_holds_back_for_250_us(chip: ChipHost) -> None:
    """HS_MAILBOX.40: one completion of a few waits for the timer (10 ticks of 25 us)."""
    chip.agree(PACKETS)
    chip.w(CommonRegs.HS_MAILBOX, 0x40)
    chip.pause()
    chip.w(Scratch.INT_COALESCING_TIMER, 10)
    chip.w(Scratch.INT_COALESCING_MAXCMDS, 0xF6)
    chip.w(Scratch.INT_COALESCING_MINCMDS, 0)
    chip.go()
    queue(chip, (1, 3))
    chip.advance(150)
    assert chip.chip.get(Scratch.COMPLETE_SCB_HEAD) == 1
    assert chip.peek(SHARED, 2) == bytes(2)
    chip.advance(250)
    assert chip.peek(SHARED, 2) == b"\x01\x80"


def test_completions_wait_on_lists_while_paused(chip: ChipHost) -> None:
    """What ended is on COMPLETE_SCB, newest first, linked by 0C of the slot."""
    chip.agree(PACKETS)
    chip.w(CommonRegs.HS_MAILBOX, 0x40)
    chip.pause()
    chip.w(Scratch.INT_COALESCING_TIMER, 1000)
    chip.w(Scratch.INT_COALESCING_MAXCMDS, 0xF6)
    chip.w(Scratch.INT_COALESCING_MINCMDS, 0)
    chip.go()
    queue(chip, (1, 3), (2, 3))
    chip.advance(200)
    chip.pause()
    assert chip.r(Scratch.COMPLETE_SCB_HEAD) == 2
    assert chip.slot(2)[0x0C:0x0E] == b"\x01\x00"
    assert chip.slot(1)[0x0D] == 0xFF


def test_a_restart_forgets_neither_scratch_nor_slots(chip: ChipHost) -> None:
    """SEQRESET: lists and SCBs are there as before; the bus is let go."""
    stop_selecting(chip)
    queue(chip, (1, 3))
    chip.advance(10)
    chip.pause()
    chip.restart()
    chip.chip.bus.rst_rises()
    assert chip.interrupt() == 0x02
    assert chip.peek(SHARED, 2) == b"\x01\x80"


# -- freeze ----------------------------------------------------------------------------------------------------


def test_a_bad_status_freezes_once_a_command(chip: ChipHost) -> None:
    """Two bad ones: QFREEZE_COUNT 2; the freeze ends when the host has taken both away."""
    chip.chip.bus.targets[TARGET].scsi.reset()
    queue(chip, (1, 3))
    assert chip.seqint() == 0x1A
    chip.mode(Mode.CCHAN)
    assert chip.r(ModeRegs.SCBPTR) == 1
    assert (chip.r(Scratch.QFREEZE_COUNT), chip.r(Scratch.SEQ_FLAGS2)) == (1, 4)
    chip.go()
    queue(chip, (2, 3))
    chip.advance(1000)
    assert chip.chip.snscb == 1
    chip.pause()
    chip.w(Scratch.QFREEZE_COUNT, 0)
    chip.w(Scratch.SEQ_FLAGS2, 0)
    chip.go()
    assert chip.interrupt() == 0x02


def test_gsfifo_is_read_when_there_is_something_in_it(chip: ChipHost) -> None:
    """LQISTAT2.LQIGSAVAIL first; an empty FIFO has no tag to give."""
    chip.pause()
    chip.mode(Mode.SCSI)
    with pytest.raises(HardwareFault, match="GSFIFO"):
        chip.r(ScsiRegs.GSFIFO)
    chip.chip.scsi.gsfifo.extend((5, 6))
    assert chip.r(ScsiRegs.LQISTAT2) & 0x01
    # the high byte first does not pop
    assert chip.window.read(ScsiRegs.GSFIFO.offset + 1, 1) == 0
    assert [chip.window.read(ScsiRegs.GSFIFO.offset, 1) for _ in range(2)] == [5, 6]
    assert not chip.r(ScsiRegs.LQISTAT2) & 0x01
