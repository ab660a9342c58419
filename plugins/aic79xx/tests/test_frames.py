"""Layouts against offsets written out as literals, and the values of the bytes that go with them."""

from __future__ import annotations

import pytest

from ddsdk.abi import WIRE_BE, WIRE_LE
from ddsdk_aic79xx import frames, sequencer
from ddsdk_aic79xx.frames import busy_slot

#: structure -> (size, {member: offset})
LAYOUTS = {
    "HardwareScb": (64, {
        "cdb": 0x00, "sense_busaddr": 0x0C, "tag": 0x10, "control": 0x12, "scsiid": 0x13, "lun": 0x14,
        "task_attribute": 0x15, "cdb_len": 0x16, "task_management": 0x17, "dataptr": 0x18, "datacnt": 0x20,
        "sgptr": 0x24, "hscb_busaddr": 0x28, "next_hscb_busaddr": 0x2C, "pkt_long_lun": 0x30, "spare": 0x38}),
    "Upload": (16, {
        "residual_datacnt": 0x00, "residual_sgptr": 0x04, "scsi_status": 0x08, "left_over": 0x09,
        "next_complete": 0x0C, "sense_busaddr_high": 0x0E}),
    "SgElement": (8, {"addr": 0x00, "len": 0x04}),
    "SgElement64": (16, {"addr": 0x00, "len": 0x08, "pad": 0x0C}),
    "StatusIu": (12, {"reserved": 0, "flags": 2, "status": 3, "sense_length": 4, "pkt_failures_length": 8}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout(name: str) -> None:
    """Sizes and offsets are those of the notes; no member is forgotten."""
    layout = getattr(frames, name).on(WIRE_BE if name == "StatusIu" else WIRE_LE)
    size, offsets = LAYOUTS[name]
    assert layout.size == size
    assert {field.name: field.offset for field in layout.fields} == offsets


@pytest.mark.parametrize(("target", "lun", "slot", "index"), [
    (0, 0, 0x00, 0), (3, 0, 0x00, 3), (4, 0, 0x40, 0), (6, 5, 0x45, 2), (15, 7, 0xC7, 3)])
def test_busy_target_table(target: int, lun: int, slot: int, index: int) -> None:
    """Four targets share a slot's last eight bytes; the slot's number is lun | (target & 0C) << 4."""
    assert busy_slot(target, lun) == (slot, index)


def test_null_is_a_high_byte() -> None:
    """FF in the high byte is no SCB, whatever the low byte is."""
    assert sequencer.is_null(0xFF00)
    assert sequencer.is_null(0xFFC0)
    assert not sequencer.is_null(0x01FF)


def test_instructions_have_odd_parity() -> None:
    """Bit 31 makes the ones of a word odd in number."""
    assert sequencer.odd_parity(0x00000000) == 0x80000000
    assert sequencer.odd_parity(0x00000001) == 0x00000001
    assert sequencer.odd_parity(0x7FFFFFFF) == 0x7FFFFFFF
    assert sequencer.odd_parity(0x00000003) == 0x80000003
