"""The two register maps against hw-ipr.md section 2, written out as literals."""

from __future__ import annotations

import pytest

from ddsdk.regs import Access
from ddsdk_ipr import regs
from ddsdk_ipr.regs import Interrupt, IprRegsL1, IprRegsL2, Uproc

#: name -> (offset in L1, offset in L2, access)
PLACES = {
    "UPROC": (0x214, 0x290, Access.RO),
    "UPROC_SET": (0x214, 0x290, Access.WO),
    "UPROC_CLR": (0x218, 0x294, Access.WO),
    "INT": (0x224, 0x280, Access.RO),
    "INT_CLR": (0x228, 0x284, Access.WO),
    "MASK": (0x22C, 0x288, Access.RO),
    "MASK_SET": (0x22C, 0x288, Access.WO),
    "MASK_CLR": (0x230, 0x28C, Access.WO),
    "IOARRIN": (0x404, 0x504, Access.WO),
    "MAILBOX": (0x42C, 0x52C, Access.RW),
}

INTERRUPT = {"TO_OPER": 0x80000000, "XFER_FAIL": 0x10000000, "UNIT_CHECK": 0x08000000, "NO_HRRQ": 0x04000000,
             "CRIT_OP": 0x02000000, "DBG_ACK": 0x01000000, "IOARRIN_LOST": 0x10, "MMIO_ERR": 0x08,
             "PROC_ERR": 0x04, "HRRQ_UPD": 0x02, "RST_REQ": 0x01}


@pytest.mark.parametrize(("block", "layout"), [(IprRegsL1, 0), (IprRegsL2, 1)])
def test_registers_lie_where_the_spec_says(block, layout):
    """Name, offset and access of every register in both layouts, all of them 32 bits wide, in 0x1000 bytes."""
    placed = {r.name: (r.offset, r.access) for r in block.registers}
    assert placed == {name: (place[layout], place[2]) for name, place in PLACES.items()}
    assert {r.size for r in block.registers} == {4}
    assert block.size == 0x1000


def test_interrupt_bits():
    """Every bit of INT and MASK, and no other."""
    assert {name: field.mask for name, field in Interrupt.fields.items()} == INTERRUPT


def test_uproc_bits():
    """The two doorbell bits that have a meaning of their own."""
    assert {name: field.mask for name, field in Uproc.fields.items()} == {"RESET_ALERT": 0x01000000,
                                                                          "DBG_ALERT": 0x00400000}


def test_sets_of_bits():
    """What is unmasked before and after TO_OPER was seen, and what starts the adapter."""
    assert regs.ERROR_INTERRUPTS == 0x1C000018
    assert regs.OPER_INTERRUPTS == 0x9C00001A
    assert regs.OPER_INTERRUPTS & ~regs.TO_OPER == 0x1C00001A
    assert regs.START == 0x82800000
    assert regs.START | regs.RUNTIME_RESET == 0xC2800000
    assert regs.RESET_ALERT | regs.DBG_ALERT == 0x01400000


def test_all_ones_has_every_error_bit():
    """What a gone adapter reads as looks like every error at once."""
    assert regs.ALL_ONES & regs.ERROR_INTERRUPTS == regs.ERROR_INTERRUPTS
