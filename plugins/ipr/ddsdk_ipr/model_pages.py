"""Data the adapter answers with: INQUIRY, mode page 28, configuration table.

Layouts: RHEL 4 drivers/scsi/ipr.h (2.0.11.6); hw-ipr.md sections 6.2 and 7.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ddsdk.abi import WIRE_BE

from .tables import (
    CONFIG_ENTRY_BYTES,
    IS_IOA_RESOURCE,
    MAX_PHYSICAL_DEVS,
    MODE_PAGE_28,
    MODE_PAGE_PS,
    ConfigTableEntry,
    ConfigTableHdr,
    DevBusEntry,
    InquiryPage3,
    ModePage28,
    ModeParmHdr,
    ResAddr,
    StdInqData,
    Subtype,
)

if TYPE_CHECKING:
    from .model_chips import ChipProfile
    from .model_scsi import Unit

_TYPE_RAID = 0x0C
_HDR = ModeParmHdr.on(WIRE_BE)
_PAGE28 = ModePage28.on(WIRE_BE)
_BUS = DevBusEntry.on(WIRE_BE)
_INQ = StdInqData.on(WIRE_BE)
_ENTRY = ConfigTableEntry.on(WIRE_BE)
_SCSI_ID = 7
_BUS_WIDTH = 16
#: 320 MB/s on a bus of 16 bits, in 100 kHz.
_U320 = 1600
_SERIAL = b"00000001"


def _identity(chip: ChipProfile) -> StdInqData:
    return StdInqData(
        peri_qual_dev_type=0x1F, version=3, aen_naca_fmt=2, additional_len=_INQ.size - 5, vendor_id=b"IBM     ",
        product_id=f"{chip.card}001SISIOA".encode("ascii").ljust(16), ros_rsvd_ram_rsvd=bytes(4), serial_num=_SERIAL)


def inquiry(chip: ChipProfile, page: int | None) -> bytes | None:
    """Standard data (*page* None), or vital product data; None: there is no such page."""
    if page is None:
        return _INQ.pack(_identity(chip)).ljust(100, b" ")
    if page == 0x00:
        return bytes((0x1F, 0x00, 0, 2, 0x00, 0x03)).ljust(24, b"\0")
    if page == 0x03:
        major, card, minor = chip.firmware
        return InquiryPage3.on(WIRE_BE).pack(InquiryPage3(
            peri_qual_dev_type=0x1F, page_code=3, page_length=20, ascii_len=0, load_id=b"0001", major_release=major,
            card_type=card, minor_release=minor.to_bytes(2), ptf_number=bytes(4), patch_number=bytes(4)))
    return None


def mode_page28(chip: ChipProfile) -> bytes:
    """MODE SENSE(6) data: header, page 28 with an entry for each SCSI bus."""
    entries = b"".join(_BUS.pack(DevBusEntry(res_addr=ResAddr(bus=bus), scsi_id=_SCSI_ID, bus_width=_BUS_WIDTH,
                                             max_xfer_rate=_U320)) for bus in range(chip.buses))
    page = _PAGE28.pack(ModePage28(ps_page_code=MODE_PAGE_PS | MODE_PAGE_28, page_length=2 + len(entries),
                                   num_entries=chip.buses, entry_length=_BUS.size)) + entries
    return _HDR.pack(ModeParmHdr(length=_HDR.size - 1 + len(page))) + page


def takes_mode_select(chip: ChipProfile, data: bytes) -> bool:
    """Whether MODE SELECT data are what MODE SENSE gave, bus attributes apart; the PS bit is reserved there."""
    wanted = mode_page28(chip)
    if len(data) != len(wanted) or any(data[:_HDR.size]):
        return False
    header, page = _PAGE28.unpack(wanted, _HDR.size), _PAGE28.unpack(data, _HDR.size)
    if (page.ps_page_code, page.page_length, page.num_entries, page.entry_length) != (
            MODE_PAGE_28, header.page_length, header.num_entries, header.entry_length):
        return False
    at = _HDR.size + _PAGE28.size
    return all(_BUS.unpack(data, at + bus * _BUS.size).res_addr.bus == bus for bus in range(chip.buses))


# -- configuration -------------------------------------------------------------------------------------------


def config_entry(unit: Unit) -> bytes:
    """One resource: 64 bytes."""
    identity = unit.target.identity
    inq = StdInqData(
        peri_qual_dev_type=_TYPE_RAID if unit.subtype is Subtype.AF_DASD else 0, version=identity.version,
        aen_naca_fmt=2, additional_len=_INQ.size - 5, sync_cmdq_flags=0x02,
        vendor_id=_text(identity.vendor, 8), product_id=_text(identity.product, 16),
        ros_rsvd_ram_rsvd=_text(identity.revision, 4), serial_num=_text(identity.serial, 8))
    return _ENTRY.pack(ConfigTableEntry(
        array_id=0, flags=unit.flags, rsvd_subtype=unit.subtype, res_handle=unit.handle,
        res_addr=ResAddr(bus=unit.bus, target=unit.id, lun=unit.lun), std_inq_data=inq))


def config_table(chip: ChipProfile, units: Sequence[Unit]) -> bytes:
    """The adapter itself and every resource, with room for 192."""
    own = _ENTRY.pack(ConfigTableEntry(flags=IS_IOA_RESOURCE, res_addr=ResAddr(bus=0xFF, target=0xFF, lun=0xFF),
                                       res_handle=0xFFFFFFFF, std_inq_data=_identity(chip)))
    entries = own + b"".join(config_entry(unit) for unit in units)
    header = ConfigTableHdr.on(WIRE_BE).pack(ConfigTableHdr(num_entries=len(units) + 1))
    return header + entries.ljust(MAX_PHYSICAL_DEVS * CONFIG_ENTRY_BYTES, b"\0")


def _text(text: str, width: int) -> bytes:
    return text.encode("ascii").ljust(width)[:width]
