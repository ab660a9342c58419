"""The register table against the data sheet's numbers, written out as literals."""

from __future__ import annotations

import pytest

from ddsdk.regs import Access
from ddsdk_mptfusion import regs
from ddsdk_mptfusion.regs import (
    Diagnostic,
    Doorbell,
    DoorbellFunction,
    DoorbellWrite,
    HostInterruptMask,
    HostInterruptStatus,
    IocState,
    MptRegs,
    WhoInit,
    WriteSequence,
)

PLACES = [
    ("DOORBELL", 0x00, Access.RO),
    ("DOORBELL_WRITE", 0x00, Access.WO),
    ("WRITE_SEQUENCE", 0x04, Access.WO),
    ("DIAGNOSTIC", 0x08, Access.RW),
    ("TEST_BASE_ADDRESS", 0x0C, Access.RW),
    ("DIAG_RW_DATA", 0x10, Access.RW),
    ("DIAG_RW_ADDRESS", 0x14, Access.RW),
    ("HOST_INTERRUPT_STATUS", 0x30, Access.RW),
    ("HOST_INTERRUPT_MASK", 0x34, Access.RW),
    ("REQUEST_FIFO", 0x40, Access.WO),
    ("REPLY_FIFO", 0x44, Access.RO),
    ("REPLY_FREE_FIFO", 0x44, Access.WO),
    ("HI_PRI_REQUEST_FIFO", 0x48, Access.WO),
]

FIELDS = [
    (Doorbell, {"STATE": 0xF0000000, "USED": 0x08000000, "WHO_INIT": 0x07000000, "DATA": 0x0000FFFF}),
    (DoorbellWrite, {"FUNCTION": 0xFF000000, "ADD_DWORDS": 0x00FF0000, "SPECIFIC": 0x0000FFFF}),
    (WriteSequence, {"KEY": 0x0000000F}),
    (Diagnostic, {"CLEAR_FLASH_BAD_SIG": 0x400, "PREVENT_IOC_BOOT": 0x200, "DRWE": 0x80,
                  "FLASH_BAD_SIG": 0x40, "RESET_HISTORY": 0x20, "RW_ENABLE": 0x10, "RESET_ADAPTER": 0x04,
                  "DISABLE_ARM": 0x02, "MEM_ENABLE": 0x01}),
    (HostInterruptStatus, {"IOP_DOORBELL_STATUS": 0x80000000, "REPLY_MESSAGE": 0x08, "DOORBELL": 0x01}),
    (HostInterruptMask, {"RIM": 0x08, "DIM": 0x01}),
]


def test_registers_lie_where_the_data_sheet_says():
    """Name, offset and access of every register, all of them 32 bits wide."""
    assert [(r.name, r.offset, r.access) for r in MptRegs.registers] == PLACES
    assert {r.size for r in MptRegs.registers} == {4}
    assert MptRegs.size == 0x80


@pytest.mark.parametrize(("reg", "masks"), FIELDS, ids=lambda v: getattr(v, "__name__", ""))
def test_fields_cover_the_data_sheet_bits(reg, masks):
    """Every field's mask, and no field beyond the table's."""
    assert {name: field.mask for name, field in reg.fields.items()} == masks


def test_doorbell_decodes_a_fault():
    """0x44008118: FAULT, brought up by the host driver, fault code 0x8118."""
    value = Doorbell(0x44008118)
    assert value.STATE is IocState.FAULT
    assert value.WHO_INIT is WhoInit.HOST_DRIVER
    assert not value.USED
    assert value.DATA == regs.FaultCode.DATA_RECEIVE_PCI_BUS_FAULT


def test_doorbell_of_a_missing_chip_is_no_state():
    """All ones decode to 15, which no IocState has."""
    assert Doorbell(0xFFFFFFFF).STATE == 15
    assert 15 not in set(IocState)


def test_doorbell_functions_build_the_documented_words():
    """Message unit reset, IO unit reset, and the handshake starts of the test vectors."""
    assert DoorbellWrite.of(FUNCTION=DoorbellFunction.IOC_MESSAGE_UNIT_RESET) == 0x40000000
    assert DoorbellWrite.of(FUNCTION=DoorbellFunction.IO_UNIT_RESET) == 0x41000000
    assert DoorbellWrite.of(FUNCTION=DoorbellFunction.HANDSHAKE, ADD_DWORDS=3) == 0x42030000
    assert DoorbellWrite.of(FUNCTION=DoorbellFunction.HANDSHAKE, ADD_DWORDS=6) == 0x42060000


def test_unlock_sequence_is_resync_plus_five_keys():
    """FF 4 B 2 7 D, of which the matcher compares bits 3:0 of the last five."""
    assert regs.WRITE_SEQUENCE_KEYS == (0xFF, 0x04, 0x0B, 0x02, 0x07, 0x0D)
    assert regs.UNLOCK_KEYS == (0x4, 0xB, 0x2, 0x7, 0xD)


def test_pci_ids():
    """Vendor and the two chips this plugin drives."""
    assert regs.PCI_VENDOR_ID_LSI_LOGIC == 0x1000
    assert regs.PciDeviceId.LSI_53C1030 == 0x0030
    assert regs.PciDeviceId.LSI_SAS1068 == 0x0054
