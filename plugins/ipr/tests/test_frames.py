"""Layouts in host memory against offsets written out as literals (hw-ipr.md sections 3, 4, 7, 9)."""

from __future__ import annotations

import pytest

from ddsdk.abi import WIRE_BE
from ddsdk_ipr import frames, tables
from ddsdk_ipr.ioasc import Ioasc, ioasc_name, sense_key

#: struct -> (size, {member: offset})
LAYOUTS = {
    "Ioarcb": (128, {
        "ioarcb_host_pci_addr": 0, "res_handle": 8, "host_response_handle": 12, "write_data_transfer_length": 28,
        "read_data_transfer_length": 32, "write_ioadl_addr": 36, "write_ioadl_len": 40, "read_ioadl_addr": 44,
        "read_ioadl_len": 48, "ioasa_host_pci_addr": 52, "ioasa_len": 56, "cmd_pkt": 60,
        "cmd_pkt.request_type": 62, "cmd_pkt.luntar_luntrn": 63, "cmd_pkt.flags_hi": 64, "cmd_pkt.flags_lo": 65,
        "cmd_pkt.cdb": 66, "cmd_pkt.timeout": 82, "add_cmd_parms_len": 84, "add_data": 88}),
    "Ioadl": (8, {"flags_and_data_len": 0, "address": 4}),
    "Ioasa": (144, {
        "ioasc": 0, "ret_stat_len": 4, "avail_stat_len": 6, "residual_data_len": 8, "ilid": 12, "fd_ioasc": 16,
        "fd_phys_locator": 20, "fd_res_handle": 24, "ioasc_specific": 28, "u": 32, "auto_sense_len": 44,
        "ioa_data_len": 46, "auto_sense": 48}),
    "IoasaVset": (12, {"failing_lba_hi": 0, "failing_lba_lo": 4}),
    "ResAddr": (4, {"bus": 1, "target": 2, "lun": 3}),
    "StdInqData": (44, {"peri_qual_dev_type": 0, "additional_len": 4, "vendor_id": 8, "product_id": 16,
                        "ros_rsvd_ram_rsvd": 32, "serial_num": 36}),
    "ConfigTableHdr": (4, {"num_entries": 0, "flags": 1}),
    "ConfigTableEntry": (64, {"proto": 0, "array_id": 1, "flags": 2, "rsvd_subtype": 3, "res_addr": 4,
                              "res_handle": 8, "std_inq_data": 20}),
    "SupportedDevice": (44, {"data_length": 0, "num_records": 3, "vendor_id": 4, "product_id": 12}),
    "ModeParmHdr": (4, {"length": 0, "medium_type": 1, "device_spec_parms": 2, "block_desc_len": 3}),
    "ModePage28": (4, {"ps_page_code": 0, "page_length": 1, "num_entries": 2, "entry_length": 3}),
    "DevBusEntry": (16, {"res_addr": 0, "flags": 4, "scsi_id": 5, "bus_width": 6, "extended_reset_delay": 7,
                         "max_xfer_rate": 8, "spinup_delay": 12}),
    "InquiryPage3": (24, {"page_length": 3, "load_id": 8, "major_release": 12, "card_type": 13, "minor_release": 14,
                          "ptf_number": 16, "patch_number": 20}),
    "Hcam": (24, {"op_code": 0, "notify_type": 1, "notifications_lost": 2, "flags": 3, "overlay_id": 4, "ilid": 8,
                  "time_since_last_ioa_reset": 12, "length": 20}),
    "HcamError": (16, {"failing_dev_ioasc": 0, "failing_dev_res_addr": 4, "failing_dev_res_handle": 8, "prc": 12}),
    "SdtHeader": (16, {"state": 0, "num_entries": 4, "num_entries_used": 8, "dump_size": 12}),
    "SdtEntry": (16, {"bar_str_offset": 0, "end_offset": 4, "entry_byte": 8, "flags": 12, "priority": 14}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_layout(name):
    """Size of the structure, offset of each member that counts."""
    size, offsets = LAYOUTS[name]
    layout = getattr(frames, name, None) or getattr(tables, name)
    layout = layout.on(WIRE_BE)
    assert layout.size == size
    assert {member: layout.offsetof(member) for member in offsets} == offsets


def test_sizes_that_go_over_the_wire():
    """What command lengths name: configuration table, IOASA of both generations, queue."""
    assert tables.CONFIG_TABLE_BYTES == 0x3004
    assert (frames.IOASA_BYTES_FIRST, frames.IOASA_BYTES) == (128, 144)
    assert frames.NUM_CMD_BLKS * 4 == 0x1CC
    assert frames.NUM_CMD_BLKS == 100 + 4 + (3 + 1) * 2 + 3


def test_flags_and_opcodes():
    """Numbers of hw-ipr.md sections 3 and 6.2, as the adapter compares them."""
    assert {one.name: int(one) for one in frames.IoaOpcode} == {
        "QUERY_RSRC_STATE": 0xC2, "RESET_DEVICE": 0xC3, "ID_HOST_RR_Q": 0xC4, "QUERY_IOA_CONFIG": 0xC5,
        "CANCEL_ALL_REQUESTS": 0xCE, "HOST_CONTROLLED_ASYNC": 0xCF, "IOA_SHUTDOWN": 0xF7,
        "SET_SUPPORTED_DEVICES": 0xFB}
    assert frames.IoadlFlags.READ | frames.IoadlFlags.LAST == 0x49
    assert frames.IoadlFlags.WRITE | frames.IoadlFlags.LAST == 0x69
    assert [int(flag) for flag in frames.FlagsHi] == [0x80, 0x20, 0x10, 0x08, 0x04]
    assert frames.FlagsLo.ALIGNED_BFR | frames.FlagsLo.DELAY_AFTER_RST | frames.FlagsLo.SIMPLE_TASK == 0x32
    assert [int(kind) for kind in frames.RequestType] == [0, 1, 2, 4]


def test_queueing_model_is_bits_6_to_4():
    """Of the entry's flags; an array member's bit is among them, as in the C header."""
    assert tables.queueing_model(0x00) == tables.QUEUE_FROZEN_MODEL
    assert tables.queueing_model(0x90) == tables.QUEUE_NACA_MODEL
    assert tables.queueing_model(tables.IS_ARRAY_MEMBER) == 2


@pytest.mark.parametrize(("ioasc", "key"), [(0, 0), (0x00808000, 0), (0x00330000, 0), (0x005A0000, 0),
                                             (0x01170000, 1), (0x04448502, 4), (0x10000001, 0x10)])
def test_success_is_sense_key_0(ioasc, key):
    """Whatever stands behind the key."""
    assert sense_key(ioasc) == key


def test_an_ioasc_has_a_name():
    """The status byte is no part of it, unless the driver made the code; an unknown one is shown as it is."""
    assert ioasc_name(0x04448502) == "HW_DEV_BUS_STATUS (04448502)"
    assert ioasc_name(Ioasc.IOA_WAS_RESET) == "IOA_WAS_RESET (10000001)"
    assert ioasc_name(0x0B470000) == "0b470000"
