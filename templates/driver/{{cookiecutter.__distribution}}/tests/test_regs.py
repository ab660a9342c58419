"""The register table against the data sheet's numbers, written out as literals."""

from __future__ import annotations

import pytest

from ddsdk.regs import Access, Reg32
from {{cookiecutter.__package}}.regs import (
    ALL_ONES,
    MASK_ALL,
    Caps,
    Control,
    FaultCode,
    Id,
    Interrupt,
    Regs,
    State,
    Status,
)

PLACES = [
    ("ID", 0x00, Access.RO),
    ("CAPS", 0x04, Access.RO),
    ("CONTROL", 0x08, Access.RW),
    ("STATUS", 0x0C, Access.RO),
    ("INTERRUPT_STATUS", 0x10, Access.RO),
    ("INTERRUPT_MASK", 0x14, Access.RW),
    ("SUBMIT_LOW", 0x18, Access.WO),
    ("SUBMIT_HIGH", 0x1C, Access.WO),
    ("DONE", 0x20, Access.RO),
    ("ABORT", 0x24, Access.WO),
    ("RESET_TARGET", 0x28, Access.WO),
]

FIELDS = [
    (Id, {"SIGNATURE": 0xFFFF0000, "REVISION": 0x000000FF}),
    (Caps, {"OWN_ID": 0x00F00000, "TARGETS": 0x000F0000, "SEGMENTS": 0x0000FF00, "QUEUE": 0x000000FF}),
    (Control, {"INTERRUPT": 0x4, "RUN": 0x2, "RESET": 0x1}),
    (Status, {"CODE": 0xFF00, "STATE": 0x000F}),
    (Interrupt, {"FAULT": 0x2, "DONE": 0x1}),
]


def test_registers_lie_where_the_data_sheet_says() -> None:
    """Name, offset and access of every register, all of them 32 bits wide."""
    assert [(r.name, r.offset, r.access) for r in Regs.registers] == PLACES
    assert {r.size for r in Regs.registers} == {4}
    assert Regs.size == 0x100


@pytest.mark.parametrize(("reg", "masks"), FIELDS, ids=lambda value: getattr(value, "__name__", ""))
def test_fields_cover_the_data_sheet_bits(reg: type[Reg32], masks: dict[str, int]) -> None:
    """Every field's mask, and no field beyond the table's."""
    assert {name: field.mask for name, field in reg.fields.items()} == masks


def test_status_decodes_a_fault() -> None:
    """0x0303: FAULT, the self test after a reset failed."""
    assert Status(0x0303).STATE is State.FAULT
    assert Status(0x0303).CODE == FaultCode.SELF_TEST


def test_all_ones_is_no_state() -> None:
    """What nobody answers decodes to GONE, and to no signature."""
    assert Status(ALL_ONES).STATE is State.GONE
    assert Id(ALL_ONES).SIGNATURE == 0xFFFF


def test_what_the_driver_writes() -> None:
    """CONTROL and INTERRUPT_MASK as numbers."""
    assert Control.of(RESET=1) == 0x1
    assert Control.of(RUN=1, INTERRUPT=1) == 0x6
    assert Regs.INTERRUPT_MASK.reset == MASK_ALL == Interrupt.of(DONE=1, FAULT=1)
