"""The register table against the data sheet's numbers, written out as literals."""

from __future__ import annotations

import pytest

from ddsdk.regs import Access, Reg8
from {{cookiecutter.__package}}.regs import GONE, BmCommand, BmStatus, Control, Regs

PLACES = [
    ("DATA", 0x0, Access.RW),
    ("ERROR", 0x1, Access.RO),
    ("FEATURE", 0x1, Access.WO),
    ("NSECTOR", 0x2, Access.RW),
    ("LBAL", 0x3, Access.RW),
    ("LBAM", 0x4, Access.RW),
    ("LBAH", 0x5, Access.RW),
    ("DEVICE", 0x6, Access.RW),
    ("STATUS", 0x7, Access.RO),
    ("COMMAND", 0x7, Access.WO),
    ("ALTSTATUS", 0x8, Access.RO),
    ("CONTROL", 0x8, Access.WO),
    ("BM_COMMAND", 0x9, Access.RW),
    ("BM_STATUS", 0xA, Access.RW),
    ("PRD_TABLE", 0xC, Access.RW),
]

FIELDS = [
    (Control, {"HOB": 0x80, "SRST": 0x04, "NIEN": 0x02}),
    (BmCommand, {"READ": 0x08, "START": 0x01}),
    (BmStatus, {"INTR": 0x04, "ERROR": 0x02, "ACTIVE": 0x01}),
]


def test_registers_lie_where_the_data_sheet_says() -> None:
    """Name, offset and access of every register; DATA is a word, PRD_TABLE a double word."""
    assert [(r.name, r.offset, r.access) for r in Regs.registers] == PLACES
    assert {r.name: r.size for r in Regs.registers if r.size != 1} == {"DATA": 2, "PRD_TABLE": 4}
    assert Regs.size == 0x10


@pytest.mark.parametrize(("register", "masks"), FIELDS, ids=lambda param: getattr(param, "__name__", ""))
def test_fields_have_the_data_sheet_s_bits(register: type[Reg8], masks: dict[str, int]) -> None:
    """Mask of every field."""
    assert {name: field.mask for name, field in register.fields.items()} == masks


def test_values() -> None:
    """Nobody's BM_STATUS, and the pulse of a reset."""
    assert int(BmStatus(GONE)) == 0xFF
    assert int(Control.of(SRST=1, NIEN=1)) == 0x06
    assert int(BmCommand.of(START=1, READ=1)) == 0x09
