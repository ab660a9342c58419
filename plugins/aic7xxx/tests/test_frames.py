"""Element, S/G element and shared memory against hw-aic7xxx.md 5, the offsets as literals; messages and rates."""

from __future__ import annotations

import pytest

from ddsdk.abi import WIRE_LE
from ddsdk_aic7xxx import agreement, frames, seqprog
from ddsdk_aic7xxx.agreement import ASYNC_NARROW, ULTRA160, TransInfo, agreed, rate_code, request, without
from ddsdk_aic7xxx.frames import Ext, HardwareScb, Msg, ScbStatus, SgElement

OFFSETS = {
    HardwareScb: {"CDB": 0x00, "DATAPTR": 0x0C, "DATACNT": 0x10, "SGPTR": 0x14, "CONTROL": 0x18, "SCSIID": 0x19,
                  "LUN": 0x1A, "TAG": 0x1B, "CDB_LEN": 0x1C, "SCSIRATE": 0x1D, "SCSIOFFSET": 0x1E, "NEXT": 0x1F,
                  "CDB32": 0x20},
    ScbStatus: {"RESIDUAL_DATACNT": 0x00, "RESIDUAL_SGPTR": 0x04, "SCSI_STATUS": 0x08, "rest": 0x09},
    SgElement: {"ADDRESS": 0x00, "LENGTH": 0x04},
}
SIZES = {HardwareScb: 64, ScbStatus: 12, SgElement: 8}


@pytest.mark.parametrize("struct", OFFSETS, ids=lambda struct: struct.__name__)
def test_members_lie_where_the_chip_looks_for_them(struct: type[HardwareScb]) -> None:
    """Offsets and size of each structure."""
    layout = struct.on(WIRE_LE)
    assert {field.name: field.offset for field in layout.fields} == OFFSETS[struct]
    assert layout.size == SIZES[struct]


def test_the_numbers_of_the_document() -> None:
    """Queues of 256 entries, given back in fours; flags of control byte, S/G pointer and element."""
    assert (frames.QOUT_OFFSET, frames.QIN_OFFSET, frames.SHARED_BYTES, frames.QOUT_GROUP, frames.QUEUE_MAX) == (
        0, 256, 512, 4, 253)
    assert (frames.STATUS_RCVD, frames.DISCENB, frames.TAG_ENB, frames.MK_MESSAGE, frames.DISCONNECTED) == (
        0x80, 0x40, 0x20, 0x10, 0x04)
    assert (frames.SG_LIST_NULL, frames.SG_FULL_RESID, frames.SG_RESID_VALID) == (1, 2, 4)
    assert (frames.SG_LAST, frames.SG_HIGH_MASK, frames.SG_LEN_MASK) == (0x80000000, 0x7F000000, 0x00FFFFFF)
    assert {name: int(message) for name, message in Msg.__members__.items()} == {
        "COMMAND_COMPLETE": 0x00, "EXTENDED": 0x01, "SAVE_POINTERS": 0x02, "RESTORE_POINTERS": 0x03,
        "DISCONNECT": 0x04, "INITIATOR_DET_ERR": 0x05, "ABORT": 0x06, "MESSAGE_REJECT": 0x07, "NOOP": 0x08,
        "PARITY_ERROR": 0x09, "BUS_DEVICE_RESET": 0x0C, "ABORT_TAG": 0x0D, "SIMPLE_TAG": 0x20,
        "IGNORE_WIDE_RESIDUE": 0x23, "IDENTIFY": 0x80}


@pytest.mark.parametrize(("info", "rate"), [
    (ASYNC_NARROW, 0x00), (TransInfo(wide=True), 0x80), (ULTRA160, 0xC2), (TransInfo(9, 127, False, True), 0x42),
    (TransInfo(10, 31, True), 0x93), (TransInfo(12, 15, False), 0x15), (TransInfo(25, 8, False), 0x18),
    (TransInfo(24, 8, False), 0x18), (TransInfo(50, 8, True), 0x9C), (TransInfo(60, 8, False), 0x1C),
    (TransInfo(10, 62, True, True), 0xC3),
])
def test_an_agreement_as_a_register_value(info: TransInfo, rate: int) -> None:
    """SCSIRATE: the code of the fastest rate that is not faster, DT or single edge, wide."""
    assert info.scsirate == rate
    assert rate_code(info.period, info.offset, info.wide, info.dt) == rate


@pytest.mark.parametrize(("curr", "goal", "message"), [
    (ASYNC_NARROW, ULTRA160, "01 06 04 09 00 7f 01 02"),
    (ASYNC_NARROW, TransInfo(10, 127, True), "01 02 03 01"),
    (TransInfo(wide=True), TransInfo(10, 127, True), "01 03 01 0a 7f"),
    (ULTRA160, ASYNC_NARROW, "01 02 03 00"),
    (TransInfo(10, 8), ASYNC_NARROW, "01 03 01 45 00"),
])
def test_what_is_asked_for(curr: TransInfo, goal: TransInfo, message: str) -> None:
    """PPR when only that will do, else the width first, then the speed; offset 0 goes with period 45."""
    assert request(curr, goal).hex(" ") == message


def test_less_is_asked_for_step_by_step() -> None:
    """Without PPR single edge, without WDTR narrow, without SDTR asynchronous."""
    goal = without(ULTRA160, Ext.PPR)
    assert goal == TransInfo(10, 127, True, False)
    assert without(goal, Ext.WDTR) == TransInfo(10, 127, False, False)
    assert without(without(goal, Ext.WDTR), Ext.SDTR) == ASYNC_NARROW
    assert without(ASYNC_NARROW, Ext.PPR) == ASYNC_NARROW


@pytest.mark.parametrize(("reply", "info"), [
    ("01 06 04 09 00 7f 01 02", ULTRA160),
    ("01 06 04 0a 00 1f 01 00", TransInfo(10, 31, True)),
    ("01 06 04 0a 00 00 01 00", TransInfo(wide=True)),
    ("01 06 04 09 00 ff 01 02", None),
    ("01 06 04 08 00 7f 01 02", None),
    ("01 06 04 09 00 7f 02 02", None),
    ("01 02 03 01", TransInfo(wide=True)),
    ("01 02 03 02", None),
    ("01 03 01 0c 0f", TransInfo(12, 15)),
    ("01 03 01 0c 80", None),
])
def test_what_an_answer_is_worth(reply: str, info: TransInfo | None) -> None:
    """It makes an agreement, unless it asks for more than we did."""
    assert agreed(ULTRA160, ASYNC_NARROW, bytes.fromhex(reply)) == info


def test_wide_is_not_granted_to_a_narrow_goal() -> None:
    """Nor DT to one without."""
    narrow = TransInfo(10, 8)
    assert agreed(narrow, ASYNC_NARROW, bytes.fromhex("01 02 03 01")) is None
    assert agreed(narrow, ASYNC_NARROW, bytes.fromhex("01 06 04 0a 00 08 00 02")) is None
    assert agreement.ppr(ULTRA160).hex(" ") == "01 06 04 09 00 7f 01 02"


def test_the_program_has_odd_parity_and_its_constants() -> None:
    """Every word has an odd number of ones; the seven bytes are those of the cache line."""
    for line in (0, 16, 32, 64, 128):
        words = seqprog.program(line)
        assert all(word.bit_count() & 1 for word in words)
        assert tuple(word & 0xFF for word in words[:7]) == seqprog.constants(line)
        assert len(seqprog.image(line)) == 4 * len(words)
    assert seqprog.constants(64) == (0, 1, 63, 192, 64, 192, 63)
    assert seqprog.constants(0) == (0, 1, 0, 255, 16, 240, 15)
