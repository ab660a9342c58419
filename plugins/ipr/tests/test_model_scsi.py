"""The SCSI side of the adapter: queues that freeze, sense data, kinds of resources, resets."""

from __future__ import annotations

import pytest

from ddsdk.sim import disk_faults
from ddsdk_ipr.model import CITRINE, GEMSTONE
from plugins.ipr.tests.conftest import BLOCK, DATA, READ_LAST, Host, MakeHost, descriptor, request

TUR = bytes(6)
SENSE = bytes((0x03, 0, 0, 0, 18, 0))
INQUIRY = bytes((0x12, 0, 0, 0, 96, 0))
READ_8 = bytes((0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0))
CHECK, SYNC_REQUIRED = 0x04448502, 0x023F0000
OVERRIDE, COMPLETE, NO_ULEN = 0x10, 0x08, 0x20
OTHER = BLOCK + 0x1000


def test_power_on_is_a_unit_attention(host: Host) -> None:
    """The first command ends with CHECK CONDITION in the IOASC's low byte; the whole IOASA is written."""
    host.bring_up()
    assert host.scsi(TUR) == CHECK
    status = host.peek(BLOCK + 0x80, 144)
    assert status[:12] == bytes.fromhex("04448502 0090 0090 00000000")
    assert status[16:20] == bytes.fromhex("04448502")
    assert status[24:28] == bytes.fromhex("00000042")
    assert status[28:] == bytes(116)


def test_the_short_status_area(host: Host) -> None:
    """A driver of the first port gives 128 bytes, and no more are written."""
    host.bring_up()
    assert host.scsi(TUR, ioasa=128) == CHECK
    assert host.peek(BLOCK + 0x80, 144)[126:] == b"\0\0" + b"\xEE" * 16


def test_an_error_freezes_the_queue(host: Host) -> None:
    """Until a command says sync complete; one that overrides gets through and leaves it frozen."""
    host.bring_up()
    assert host.scsi(TUR) == CHECK
    assert host.scsi(TUR) == SYNC_REQUIRED
    assert host.scsi(SENSE, 18, hi=OVERRIDE | NO_ULEN) == 0
    assert host.peek(DATA, 18)[2::10] == bytes((0x06, 0x29))
    assert host.scsi(TUR) == SYNC_REQUIRED
    assert host.scsi(TUR, hi=COMPLETE) == 0
    assert host.scsi(TUR) == 0


def test_sync_complete_is_about_errors_before_it(ready: Host) -> None:
    """A command that was on its way when the queue froze does not thaw it, whatever its flags say."""
    ready.target.units[0].disk.faults.inject(disk_faults.hardware_error())
    ready.submit(request(TUR))
    ready.submit(request(TUR, at=OTHER, index=6, hi=COMPLETE), OTHER)
    found: list[int] = []
    while len(found) < 2:
        found += ready.wait()
    assert (ready.ioasc(), ready.ioasc(OTHER)) == (CHECK, SYNC_REQUIRED)


@pytest.mark.parametrize("autosense", [True, False], ids=["target sends it", "target keeps it"])
def test_sense_data_is_kept_for_request_sense(make_host: MakeHost, autosense: bool) -> None:
    """Firmware without autosense: the host asks, whoever kept it; asked twice, there is none any more."""
    host = make_host(GEMSTONE, autosense=autosense)
    host.bring_up()
    host.clear_attention()
    host.target.units[0].disk.faults.inject(disk_faults.check_condition(0x4, 0x44))
    assert host.scsi(READ_8, 4096) == CHECK
    assert host.residual() == 4096
    assert host.scsi(SENSE, 18, hi=OVERRIDE | NO_ULEN) == 0
    assert host.peek(DATA, 14)[2::10] == bytes((0x04, 0x44))
    assert host.scsi(SENSE, 18, hi=OVERRIDE | NO_ULEN) == 0
    assert host.peek(DATA, 14)[2::10] == bytes((0x00, 0x00))


@pytest.mark.parametrize("autosense", [True, False], ids=["target sends it", "target keeps it"])
def test_autosense(make_host: MakeHost, autosense: bool) -> None:
    """Firmware with it fetches the sense data, marks it valid and gives its length; not into 128 bytes."""
    host = make_host(CITRINE, autosense=autosense)
    host.bring_up()
    assert host.scsi(TUR) == CHECK
    status = host.peek(BLOCK + 0x80, 144)
    assert status[28:32] == bytes.fromhex("40000000")
    assert status[44:46] == bytes.fromhex("0012")
    assert status[48:62] == bytes.fromhex("70000600 0000000a 00000000 2900")
    assert host.scsi(TUR, ioasa=128, hi=COMPLETE) == 0
    host.target.reset("bus")
    assert host.scsi(TUR, ioasa=128) == CHECK
    assert host.peek(BLOCK + 0x80 + 28, 4) == bytes(4)


def test_other_statuses_freeze_too(ready: Host) -> None:
    """BUSY comes as it is."""
    ready.target.units[0].disk.faults.inject(disk_faults.busy())
    assert ready.scsi(READ_8, 4096) == 0x04448508
    assert ready.scsi(READ_8, 4096) == SYNC_REQUIRED


@pytest.mark.parametrize(("flags", "ioasc"), [(NO_ULEN, 0x00330000), (0, 0x04330000)])
def test_less_than_was_asked_for(ready: Host, flags: int, ioasc: int) -> None:
    """INQUIRY into 96 bytes gives 36: the rest is residual; whether that is fine the flag says."""
    assert ready.scsi(INQUIRY, 96, hi=flags) == ioasc
    assert ready.residual() == 60
    assert ready.scsi(TUR) == 0


def test_one_slow_command_does_not_hold_up_the_next(ready: Host) -> None:
    """The device queues: what takes 8 s ends after what takes microseconds."""
    ready.target.units[0].disk.faults.inject(disk_faults.slow(8_000_000_000))
    ready.submit(request(READ_8, nbytes=4096), descriptors=descriptor(READ_LAST, 4096))
    ready.submit(request(TUR, at=OTHER, index=6), OTHER)
    assert ready.wait() == [6]
    assert ready.wait(10_000_000_000) == [5]


def test_a_target_that_is_gone(ready: Host) -> None:
    """Selection times out after 250 ms: 04050000."""
    ready.target.present = False
    before = ready.machine.clock.now_ns
    assert ready.scsi(TUR) == 0x04050000
    assert 250_000_000 <= ready.machine.clock.now_ns - before < 300_000_000


def test_a_handle_nobody_has(ready: Host) -> None:
    """05250000; the invalid handle 0 too."""
    assert ready.scsi(TUR, handle=0x4711) == 0x05250000
    assert ready.scsi(TUR, handle=0) == 0x05250000


def test_a_command_that_never_ends(ready: Host) -> None:
    """The disk does not answer: no response."""
    ready.target.units[0].disk.faults.inject(disk_faults.hang())
    assert ready.scsi(READ_8, 4096) is None


# -- volume sets -----------------------------------------------------------------------------------------------


@pytest.fixture
def vset(make_host: MakeHost) -> Host:
    """A volume set, its unit attention used up."""
    host = make_host(at=(0xFF, 3))
    host.bring_up()
    assert host.scsi(TUR) == 0x06290000
    return host


def test_a_volume_set_speaks_in_status_codes(vset: Host) -> None:
    """Sense key, code and qualifier are in the IOASC; the queue does not freeze."""
    vset.target.units[0].disk.faults.inject(disk_faults.check_condition(0x4, 0x44, 0x01))
    assert vset.scsi(READ_8, 4096) == 0x04440100
    assert vset.scsi(READ_8, 4096) == 0


def test_its_other_statuses(vset: Host) -> None:
    """What carries no sense data comes as a SCSI status."""
    vset.target.units[0].disk.faults.inject(disk_faults.busy())
    assert vset.scsi(READ_8, 4096) == 0x04448508


def test_its_member_disk_takes_no_commands(vset: Host) -> None:
    """An AF disk is in the table, and not to be talked to."""
    member = vset.ioa.scsi.units[1]
    assert (member.bus, member.id, member.subtype) == (1, 3, 0)
    assert vset.scsi(TUR, handle=member.handle) == 0x05240000
