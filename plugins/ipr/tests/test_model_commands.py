"""Commands to the adapter itself: configuration, pages, cancelling, resetting, shutting down, notifications."""

from __future__ import annotations

import pytest

from ddsdk.abi import WIRE_BE
from ddsdk.sim import disk_faults
from ddsdk_ipr.frames import RequestType
from ddsdk_ipr.model import CITRINE, GEMSTONE, SNIPE, ChipProfile
from ddsdk_ipr.tables import ConfigTableEntry, ConfigTableHdr, HcamCode, NotifyType
from plugins.ipr.tests.conftest import BLOCK, DATA, IOA, READ_LAST, Host, MakeHost, descriptor, request

INVALID = 0x05240000
QUERY = bytes((0xC5, 0, 0, 0, 0, 0, 0, 0x30, 0x04))
CANCEL = bytes((0xCE,))
READ_8 = bytes((0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0))
_ENTRY = ConfigTableEntry.on(WIRE_BE)


@pytest.fixture
def up(host: Host) -> Host:
    """READY; the unit attention is still due."""
    host.bring_up()
    return host


# -- tables ----------------------------------------------------------------------------------------------------


def test_configuration_table(up: Host) -> None:
    """The adapter's own entry, then the disk's, in a table of 192."""
    assert up.ioacmd(QUERY, 0x3004) == 0
    table = up.peek(DATA, 0x3004)
    assert ConfigTableHdr.on(WIRE_BE).unpack(table) == ConfigTableHdr(num_entries=2)
    own, disk = _ENTRY.unpack(table, 4), _ENTRY.unpack(table, 68)
    assert (own.flags, own.res_handle, own.std_inq_data.product_id[:4]) == (0x80, IOA, b"5703")
    assert (disk.flags, disk.rsvd_subtype, disk.res_handle) == (0, 1, 0x42)
    assert (disk.res_addr.bus, disk.res_addr.target, disk.res_addr.lun) == (0, 0, 0)
    assert (disk.std_inq_data.vendor_id, disk.std_inq_data.peri_qual_dev_type) == (b"DDSDK   ", 0)
    assert not any(table[132:])


def test_configuration_table_with_a_volume_set(make_host: MakeHost) -> None:
    """The set on bus FF, its member as an AF disk of type RAID that is in an array."""
    host = make_host(SNIPE, at=(0xFF, 3))
    host.bring_up()
    assert host.ioacmd(QUERY, 0x3004) == 0
    vset, member = (_ENTRY.unpack(host.peek(DATA + 4 + 64 * n, 64)) for n in (1, 2))
    assert (vset.rsvd_subtype, vset.res_addr.bus, vset.res_addr.target) == (2, 0xFF, 3)
    assert (member.rsvd_subtype, member.flags, member.std_inq_data.peri_qual_dev_type) == (0, 0x20, 0x0C)


@pytest.mark.parametrize("cdb", [QUERY[:8] + b"\x05", QUERY[:7] + b"\x10\x00"])
def test_a_table_of_another_size(up: Host, cdb: bytes) -> None:
    """It is asked for whole."""
    assert up.ioacmd(cdb, 0x3004) == INVALID


@pytest.mark.parametrize("chip", [GEMSTONE, CITRINE, SNIPE], ids=lambda profile: profile.chip.name)
def test_inquiry(make_host: MakeHost, chip: ChipProfile) -> None:
    """The card's type begins the product id; page 3 has the firmware's level at 12 to 15; others are refused."""
    host = make_host(chip)
    host.bring_up()
    assert host.scsi(bytes((0x12, 0, 0, 0, 100, 0)), 100, handle=IOA) == 0
    assert host.peek(DATA + 8, 12) == b"IBM     " + chip.card.encode()
    assert host.scsi(bytes((0x12, 1, 3, 0, 24, 0)), 24, handle=IOA) == 0
    assert host.peek(DATA + 12, 4) == bytes.fromhex("02020b44")
    assert host.scsi(bytes((0x12, 1, 0, 0, 24, 0)), 24, handle=IOA) == 0
    assert host.peek(DATA + 3, 3) == bytes((2, 0, 3))
    for page in (bytes((0x12, 1, 0xD0, 0, 24, 0)), bytes((0x12, 0, 3, 0, 24, 0))):
        assert host.scsi(page, 24, handle=IOA) == INVALID


def test_mode_page_28(up: Host) -> None:
    """An entry for each bus; MODE SELECT takes the same, with the header zero and PS clear; saved or not at all."""
    assert up.scsi(bytes((0x1A, 0, 0x28, 0, 255, 0)), 255, handle=IOA) == 0x00330000
    nbytes = up.peek(DATA, 1)[0] + 1
    assert (nbytes, up.residual()) == (4 + 4 + 2 * 16, 255 - 40)
    page = bytearray(up.peek(DATA, nbytes))
    assert page[:8] == bytes.fromhex("27000000 a8220210")
    select = bytes((0x15, 0x11, 0, 0, nbytes, 0))
    up.poke(DATA, page)
    assert up.scsi(select, nbytes, True, handle=IOA) == INVALID
    page[0], page[4] = 0, 0x28
    up.poke(DATA, page)
    assert up.scsi(select, nbytes, True, handle=IOA) == 0
    assert up.scsi(bytes((0x15, 0x10, 0, 0, nbytes, 0)), nbytes, True, handle=IOA) == INVALID
    up.poke(DATA + 8 + 17, b"\x07")                     # another bus than the entry's
    assert up.scsi(select, nbytes, True, handle=IOA) == INVALID
    assert up.scsi(bytes((0x1A, 0, 0x24, 0, 255, 0)), 255, handle=IOA) == INVALID


def test_set_supported_devices(up: Host) -> None:
    """44 bytes, one record."""
    cdb = bytes((0xFB, 0, 0, 0, 0, 0, 0, 0, 44))
    up.poke(DATA, bytes((0, 44, 0, 1)) + b"DDSDK   DISK            " + bytes(16))
    assert up.ioacmd(cdb, 44, True) == 0
    up.poke(DATA, bytes((0, 44, 0, 2)))
    assert up.ioacmd(cdb, 44, True) == INVALID
    assert up.ioacmd(cdb, 40, True) == INVALID


@pytest.mark.parametrize("cdb", [bytes((0xC7,)), bytes((0x28,))])
def test_what_is_no_command_of_the_adapter(up: Host, cdb: bytes) -> None:
    """05240000; as a SCSI command to it, too; the request type counts."""
    assert up.ioacmd(cdb) == INVALID
    assert up.scsi(bytes((0x28,)), handle=IOA) == INVALID
    assert up.ioacmd(bytes((0xC2,)), handle=0x42) == 0
    assert up.ioacmd(bytes((0xC2,))) == 0x05250000
    assert up.ioacmd(QUERY, 0x3004, handle=0x42) == 0x05250000
    assert up.scsi(bytes(6), handle=0x42, kind=RequestType.ATA_PASSTHRU) == INVALID


# -- cancelling and resetting ----------------------------------------------------------------------------------


def hanging(host: Host, count: int = 2) -> list[int]:
    """*count* reads that the disk never answers, at block addresses that are returned."""
    host.target.units[0].disk.faults.inject(disk_faults.hang(count))
    places = [BLOCK + 0x1000 * (n + 1) for n in range(count)]
    for number, at in enumerate(places):
        host.submit(request(READ_8, at=at, index=30 + number, nbytes=4096), at, descriptor(READ_LAST, 4096))
    host.advance(1_000_000)
    return places


def collect(host: Host, count: int) -> list[int]:
    """Indexes of the next *count* responses."""
    found: list[int] = []
    while len(found) < count:
        more = host.wait()
        assert more, f"only {found}"
        found += more
    return found


def test_cancel_all_requests(ready: Host) -> None:
    """Each ends with 0B5A0000, then the command itself; the queue is not frozen."""
    places = hanging(ready)
    ready.submit(request(CANCEL, kind=RequestType.IOACMD))
    assert collect(ready, 3) == [30, 31, 5]
    assert [ready.ioasc(at) for at in (*places, BLOCK)] == [0x0B5A0000, 0x0B5A0000, 0]
    assert ready.residual(places[0]) == 4096
    assert ready.scsi(bytes(6)) == 0


@pytest.mark.parametrize(("how", "ioasc"), [(0x00, 0x0B5A0000), (0xC0, 0x0B5A0000), (0xA0, 0x0B5A0000),
                                            (0x90, 0x06290000)], ids=["device", "lun", "target", "bus"])
def test_reset_device(ready: Host, how: int, ioasc: int) -> None:
    """Its commands end, and the next one meets a unit attention."""
    places = hanging(ready)
    ready.submit(request(bytes((0xC3, 0, how)), kind=RequestType.IOACMD))
    assert collect(ready, 3) == [30, 31, 5]
    assert [ready.ioasc(at) for at in (*places, BLOCK)] == [ioasc, ioasc, 0]
    assert ready.scsi(bytes(6)) == 0x04448502


def test_reset_device_in_a_way_there_is_not(ready: Host) -> None:
    """05240000, and nothing happens."""
    assert ready.ioacmd(bytes((0xC3, 0, 0x10)), handle=0x42) == INVALID
    assert ready.scsi(bytes(6)) == 0


@pytest.mark.parametrize(("how", "after"), [(0x00, 0x025A0000), (0x80, 0x025A0000), (0x40, 0)])
def test_shutdown(ready: Host, how: int, after: int) -> None:
    """Nothing is taken afterwards, but after "prepare"; BIST ends it."""
    inquiry = bytes((0x12, 0, 0, 0, 36, 0))
    assert ready.ioacmd(bytes((0xF7, how))) == 0
    assert ready.scsi(inquiry, 36, handle=IOA) == after
    ready.bist()
    ready.bring_up()
    assert ready.scsi(inquiry, 36, handle=IOA) == 0
    assert ready.ioacmd(bytes((0xF7, 0x01))) == INVALID


# -- notifications ---------------------------------------------------------------------------------------------


def ask(host: Host, kind: HcamCode, index: int = 100) -> int:
    """HOST CONTROLLED ASYNC, at a block address that is returned."""
    at = BLOCK + 0x2000 * index
    cdb = bytes((0xCF, kind, 0, 0, 0, 0, 0, 0x08, 0x00))
    host.submit(request(cdb, at=at, index=index, handle=IOA, kind=RequestType.HCAM, nbytes=2048), at,
                descriptor(READ_LAST, 2048))
    return at


def test_a_log_entry(ready: Host) -> None:
    """Pending until there is something to say; header and body in the buffer, residual what is left of it."""
    at = ask(ready, HcamCode.LOG_DATA)
    assert ready.wait(100_000_000) == []
    ready.ioa.commands.log(0x04448200)
    assert ready.wait() == [100]
    assert ready.ioasc(at) == 0
    assert ready.peek(DATA, 6) == bytes.fromhex("e21000 00ff00")
    assert ready.peek(DATA + 20, 8) == bytes.fromhex("00000010 04448200")


def test_a_configuration_change(ready: Host) -> None:
    """The body is the entry of the table."""
    ask(ready, HcamCode.CONFIG_CHANGE)
    ready.advance(1_000_000)
    assert ready.ioa.commands.waiting(HcamCode.CONFIG_CHANGE)
    ready.ioa.commands.config_changed(ready.ioa.scsi.units[0], NotifyType.NEW_ENTRY)
    assert ready.wait() == [100]
    assert ready.peek(DATA, 2) == bytes.fromhex("e101")
    assert _ENTRY.unpack(ready.peek(DATA + 24, 64)).res_handle == 0x42
    assert not ready.ioa.commands.waiting(HcamCode.CONFIG_CHANGE)


def test_a_notification_nobody_can_give(ready: Host) -> None:
    """An unknown kind, a length that is not the buffer's."""
    for cdb in (bytes((0xCF, 3, 0, 0, 0, 0, 0, 8, 0)), bytes((0xCF, 1, 0, 0, 0, 0, 0, 4, 0))):
        assert ready.scsi(cdb, 2048, handle=IOA, kind=RequestType.HCAM) == INVALID
