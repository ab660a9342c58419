"""The register tables against the data sheets' numbers, written out as literals."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.regs import Access
from ddsdk_ide import regs
from ddsdk_ide.chips import CHIPS
from ddsdk_ide.regs import (
    BmCommand,
    BmStatus,
    BusMaster,
    CommandBlock,
    Control,
    ControlBlock,
    IdeTim,
    SlaveTim,
    UdmaCtl,
    UdmaTim,
)

COMMAND_BLOCK = [
    ("DATA", 0, 2, Access.RW), ("ERROR", 1, 1, Access.RO), ("FEATURE", 1, 1, Access.WO), ("NSECTOR", 2, 1, Access.RW),
    ("LBAL", 3, 1, Access.RW), ("LBAM", 4, 1, Access.RW), ("LBAH", 5, 1, Access.RW), ("DEVICE", 6, 1, Access.RW),
    ("STATUS", 7, 1, Access.RO), ("COMMAND", 7, 1, Access.WO),
]
BUS_MASTER = [
    ("COMMAND[0]", 0x0, 1), ("RESERVED1[0]", 0x1, 1), ("STATUS[0]", 0x2, 1), ("RESERVED3[0]", 0x3, 1),
    ("TABLE[0]", 0x4, 4), ("COMMAND[1]", 0x8, 1), ("RESERVED1[1]", 0x9, 1), ("STATUS[1]", 0xA, 1),
    ("RESERVED3[1]", 0xB, 1), ("TABLE[1]", 0xC, 4),
]
FIELDS = [
    (Control, {"HOB": 0x80, "SRST": 0x04, "NIEN": 0x02}),
    (BmCommand, {"RWCON": 0x08, "SSBM": 0x01}),
    (BmStatus, {"DMA1CAP": 0x40, "DMA0CAP": 0x20, "IDEINTS": 0x04, "ERROR": 0x02, "BMIDEA": 0x01}),
    (IdeTim, {"IDE": 0x8000, "SITRE": 0x4000, "ISP": 0x3000, "RTC": 0x0300, "DTE1": 0x80, "PPE1": 0x40, "IE1": 0x20,
              "TIME1": 0x10, "DTE0": 0x08, "PPE0": 0x04, "IE0": 0x02, "TIME0": 0x01}),
    (SlaveTim, {"SISP1": 0xC0, "SRTC1": 0x30, "PISP1": 0x0C, "PRTC1": 0x03}),
    (UdmaCtl, {"SSDE1": 0x08, "SSDE0": 0x04, "PSDE1": 0x02, "PSDE0": 0x01}),
    (UdmaTim, {"SCT1": 0x3000, "SCT0": 0x0300, "PCT1": 0x0030, "PCT0": 0x0003}),
]


def test_the_drive_s_registers() -> None:
    """Name, offset, width and access of command block and control block."""
    assert [(r.name, r.offset, r.size, r.access) for r in CommandBlock.registers] == COMMAND_BLOCK
    assert [(r.name, r.offset, r.size, r.access) for r in ControlBlock.registers] == [
        ("ALTSTATUS", 0, 1, Access.RO), ("CONTROL", 0, 1, Access.WO)]
    assert (CommandBlock.size, ControlBlock.size) == (8, 1)


def test_the_bus_master_s_registers() -> None:
    """Two equal halves of 8 bytes."""
    assert [(r.name, r.offset, r.size) for r in BusMaster.registers] == BUS_MASTER
    assert BusMaster.size == 16


def test_configuration_registers() -> None:
    """Where they lie, and where the channels are in compatibility mode."""
    assert (regs.IDETIM, regs.SIDETIM, regs.UDMACTL, regs.UDMATIM) == ((0x40, 0x42), 0x44, 0x48, 0x4A)
    assert regs.COMPATIBLE_PORTS == ((0x1F0, 0x3F6), (0x170, 0x376))
    assert regs.CLASS_CODE == 0x010180


@pytest.mark.parametrize(("reg", "masks"), FIELDS, ids=lambda v: getattr(v, "__name__", ""))
def test_fields_cover_the_data_sheet_bits(reg: Any, masks: dict[str, int]) -> None:
    """Every field's mask, and no field beyond the table's."""
    assert {name: field.mask for name, field in reg.fields.items()} == masks


def test_events_of_the_bus_master_are_cleared_by_a_1() -> None:
    """Interrupt and error; active cannot be written; the notes about the drives are kept."""
    assert {name: field.access for name, field in BmStatus.fields.items()} == {
        "DMA1CAP": Access.RW, "DMA0CAP": Access.RW, "IDEINTS": Access.W1C, "ERROR": Access.W1C, "BMIDEA": Access.RO}


def test_chips() -> None:
    """PCI ids, the default first."""
    assert [(chip.name, chip.vendor, chip.device) for chip in CHIPS] == [
        ("piix3", 0x8086, 0x7010), ("piix4", 0x8086, 0x7111)]
