"""A SCSI disk, command by command: what moves, which status, which sense data."""

from __future__ import annotations

from typing import Any

import pytest

from ddsdk.errors import UsageError
from ddsdk.sim import disk_faults as faults
from ddsdk.sim.disk import Disk
from ddsdk.sim.disk_faults import Access, DiskFault, FaultKind
from ddsdk.sim.scsi_target import (
    BUSY,
    CHECK_CONDITION,
    GOOD,
    RESERVATION_CONFLICT,
    TASK_SET_FULL,
    Identity,
    ResetKind,
    ScsiResult,
    ScsiTarget,
    Timing,
    transfer_of,
)

TUR = bytes(6)
INQUIRY = bytes((0x12, 0, 0, 0, 36, 0))
REQUEST_SENSE = bytes((0x03, 0, 0, 0, 18, 0))
MODE_SENSE = bytes((0x1A, 0, 0x08, 0, 255, 0))
SYNC = bytes((0x35, *bytes(9)))


class Phase:
    """Host memory of one command."""

    def __init__(self, data: bytes = b"", length: int = 0, to_device: bool | None = None) -> None:
        self.memory = bytearray(data or bytes(length))
        self.length = len(self.memory)
        self.to_device = to_device

    def gather(self, n: int) -> list[memoryview]:
        """In two pieces."""
        view = memoryview(self.memory)[:n]
        return [view[:n // 2], view[n // 2:]]

    scatter = gather

    def put(self, data: bytes) -> int:
        """What fits."""
        n = min(len(data), self.length)
        self.memory[:n] = data[:n]
        return n


def make(sectors: int = 64, sector_size: int = 512, **options: Any) -> ScsiTarget:
    """A target past its power-on attention."""
    disk = Disk(bytearray(sectors * sector_size), sector_size=sector_size)
    target = ScsiTarget(disk, **options)
    run(target, TUR)
    return target


def run(target: ScsiTarget, cdb: bytes, phase: Phase | None = None, lun: int = 0) -> ScsiResult:
    """One command."""
    return target.execute(lun, cdb, phase or Phase())


def rw10(write: bool, lba: int, sectors: int, flags: int = 0) -> bytes:
    """READ(10) or WRITE(10)."""
    return bytes((0x2A if write else 0x28, flags)) + lba.to_bytes(4) + b"\0" + sectors.to_bytes(2) + b"\0"


def rw16(write: bool, lba: int, sectors: int) -> bytes:
    """READ(16) or WRITE(16)."""
    return bytes((0x8A if write else 0x88, 0)) + lba.to_bytes(8) + sectors.to_bytes(4) + b"\0\0"


def asked(target: ScsiTarget, cdb: bytes, length: int = 256) -> bytes:
    """The data a command answers with."""
    phase = Phase(length=length)
    result = run(target, cdb, phase)
    assert result.status == GOOD
    return bytes(phase.memory[:result.transferred])


def code(result: ScsiResult) -> str:
    """`03/11/00` of a CHECK CONDITION."""
    assert result.status == CHECK_CONDITION
    assert len(result.sense) == 18
    return f"{result.sense[2]:02x}/{result.sense[12]:02x}/{result.sense[13]:02x}"


def write(target: ScsiTarget, lba: int, data: bytes, cdb: bytes | None = None) -> ScsiResult:
    """WRITE(10) of *data*, 512-byte sectors."""
    return run(target, cdb or rw10(True, lba, len(data) // 512), Phase(data, to_device=True))


# --- attention ---------------------------------------------------------------------------------------------


def test_power_on_attention_once() -> None:
    """The first command after power on gets 06/29/00 in exactly QEMU's bytes, the second is served."""
    target = ScsiTarget(Disk(bytearray(4096)))
    result = run(target, TUR)
    assert result.sense.hex(" ") == "70 00 06 00 00 00 00 0a 00 00 00 00 29 00 00 00 00 00"
    assert run(target, TUR) == (GOOD, b"", 0, False)


@pytest.mark.parametrize("kind", ["power", "bus", "target", "lun"])
def test_every_reset_leaves_an_attention(kind: ResetKind) -> None:
    """06/29/00 once after each kind of reset; INQUIRY goes through and leaves it standing."""
    target = make()
    target.reset(kind)
    assert asked(target, INQUIRY)[0] == 0
    assert code(run(target, rw10(False, 0, 1), Phase(length=512))) == "06/29/00"
    assert run(target, TUR).status == GOOD


def test_request_sense_reports_and_clears_the_attention() -> None:
    """REQUEST SENSE tells of the reset with GOOD status; afterwards there is nothing to tell."""
    target = make()
    target.reset()
    sense = asked(target, REQUEST_SENSE)
    assert (sense[0], sense[2], sense[12]) == (0x70, 0x06, 0x29)
    sense = asked(target, REQUEST_SENSE)
    assert (sense[2], sense[12], sense[13]) == (0, 0, 0)
    assert run(target, TUR).status == GOOD


def test_without_autosense_the_sense_waits_for_request_sense() -> None:
    """A target behind an adapter without autosense keeps the sense data until REQUEST SENSE or the next
    command.
    """
    target = make(autosense=False)
    result = run(target, rw10(False, 64, 1), Phase(length=512))
    assert (result.status, result.sense) == (CHECK_CONDITION, b"")
    assert asked(target, REQUEST_SENSE)[12] == 0x21
    run(target, rw10(False, 64, 1), Phase(length=512))
    run(target, TUR)
    assert asked(target, REQUEST_SENSE)[12] == 0x00


# --- information -------------------------------------------------------------------------------------------


def test_inquiry() -> None:
    """Standard data: 36 bytes, a disk, version and names where SPC-3 puts them; short allocations are
    honoured.
    """
    target = make(identity=Identity("ACME", "ROCKET", "2.1", "S1", 3))
    assert asked(target, INQUIRY) == bytes((0, 0, 3, 2, 31, 0, 0, 2)) + b"ACME    ROCKET          2.1 "
    assert len(asked(target, bytes((0x12, 0, 0, 0, 5, 0)))) == 5


def test_vital_product_data() -> None:
    """Pages 00, 80, 83; any other is an invalid field."""
    target = make(identity=Identity("ACME", "ROCKET", "2.1", "S1"))
    assert asked(target, bytes((0x12, 1, 0x00, 0, 64, 0))) == bytes((0, 0, 0, 3, 0, 0x80, 0x83))
    assert asked(target, bytes((0x12, 1, 0x80, 0, 64, 0))) == bytes((0, 0x80, 0, 2)) + b"S1"
    page = asked(target, bytes((0x12, 1, 0x83, 0, 64, 0)))
    assert page[:8] == bytes((0, 0x83, 0, 30, 2, 1, 0, 26))
    assert page[8:] == b"ACME    ROCKET          S1"
    assert code(run(target, bytes((0x12, 1, 0xB0, 0, 64, 0)), Phase(length=64))) == "05/24/00"


def test_read_capacity() -> None:
    """READ CAPACITY 10 and 16 give the last sector and the sector size."""
    target = make(sectors=100, sector_size=4096)
    assert asked(target, bytes((0x25, *bytes(9)))) == (99).to_bytes(4) + (4096).to_bytes(4)
    reply = asked(target, bytes((0x9E, 0x10, *bytes(11), 32, 0, 0)))
    assert reply == (99).to_bytes(8) + (4096).to_bytes(4) + bytes(20)


def test_read_capacity_10_of_a_huge_disk() -> None:
    """Beyond 2**32 sectors READ CAPACITY(10) says all ones, READ CAPACITY(16) the truth."""
    target = make()
    target.units[0].disk.sectors = (1 << 32) + 5
    assert asked(target, bytes((0x25, *bytes(9))))[:4] == b"\xff\xff\xff\xff"
    assert asked(target, bytes((0x9E, 0x10, *bytes(11), 32, 0, 0)))[:8] == ((1 << 32) + 4).to_bytes(8)


def test_luns() -> None:
    """REPORT LUNS lists what there is; a LUN that is not there answers INQUIRY with 7F and the rest with
    05/25/00.
    """
    target = ScsiTarget({0: Disk(bytearray(4096)), 3: Disk(bytearray(8192))})
    assert asked(target, bytes((0xA0, *bytes(5), 0, 0, 0, 64, 0, 0))).hex() == (
        "0000001000000000" "0000000000000000" "0003000000000000")
    phase = Phase(length=36)
    assert run(target, INQUIRY, phase, lun=1).transferred == 36
    assert phase.memory[0] == 0x7F
    assert code(run(target, TUR, lun=1)) == "05/25/00"


@pytest.mark.parametrize("opcode", [0x01, 0x2E, 0xC0, 0xFF])
def test_unknown_command(opcode: int) -> None:
    """05/20/00."""
    assert code(run(make(), bytes((opcode, *bytes(9))))) == "05/20/00"


@pytest.mark.parametrize(("opcode", "length"), [(0x28, 9), (0x8A, 12), (0xA0, 10)])
def test_a_cdb_cut_off(opcode: int, length: int) -> None:
    """05/24/00 when it is shorter than its opcode's group demands; nobody asks what it wants to move."""
    cdb = bytes((opcode,)).ljust(length, b"\0")
    assert code(run(make(), cdb, Phase(length=512))) == "05/24/00"
    assert transfer_of(cdb, 512) == (0, None)


# --- moving data -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [10, 16])
def test_write_then_read(form: int) -> None:
    """Both forms move whole sectors to and from the addressed place."""
    cdb = rw10 if form == 10 else rw16
    target = make()
    data = bytes(range(256)) * 6
    assert run(target, cdb(True, 5, 3), Phase(data, to_device=True)) == (GOOD, b"", 1536, False)
    back = Phase(length=1536, to_device=False)
    assert run(target, cdb(False, 5, 3), back).transferred == 1536
    assert back.memory == data


def test_six_byte_form() -> None:
    """READ(6): 21 bits of LBA, 0 sectors means 256."""
    target = make(sectors=600)
    write(target, 300, b"z" * 512)
    phase = Phase(length=512)
    run(target, bytes((0x08, 0, 300 >> 8, 300 & 0xFF, 1, 0)), phase)
    assert phase.memory == b"z" * 512
    assert run(target, bytes((0x08, 0, 0, 0, 0, 0)), Phase(length=256 * 512)).transferred == 256 * 512


def test_past_the_end() -> None:
    """A transfer that ends past the last sector is refused whole, 05/21/00."""
    target = make(sectors=64)
    assert code(write(target, 63, bytes(1024))) == "05/21/00"
    assert code(run(target, rw10(False, 0xFFFFFFF0, 32), Phase(length=16384))) == "05/21/00"
    assert write(target, 63, bytes(512)).status == GOOD


def test_host_offers_less_than_the_command_moves() -> None:
    """Only the whole sectors that fit are moved."""
    result = run(make(), rw10(False, 0, 4), Phase(length=1300))
    assert (result.status, result.transferred) == (GOOD, 1024)


def test_wrong_direction() -> None:
    """A WRITE with a data-in phase is a data phase error, and nothing is written."""
    target = make()
    assert code(run(target, rw10(True, 0, 1), Phase(b"x" * 512, to_device=False))) == "0b/4b/00"
    assert bytes(target.units[0].disk._memory[:512]) == bytes(512)


def test_no_sectors() -> None:
    """Zero sectors is no error and moves nothing."""
    assert run(make(), rw10(False, 0, 0)) == (GOOD, b"", 0, False)


def test_force_unit_access_bypasses_the_cache() -> None:
    """A write with FUA survives power off, one without does not."""
    disk = Disk(bytearray(8192), volatile_cache=True)
    disk.write_cache = True
    target = ScsiTarget(disk)
    run(target, TUR)
    write(target, 0, b"a" * 512)
    write(target, 1, b"b" * 512, rw10(True, 1, 1, flags=0x08))
    target.reset("power")
    assert bytes(disk._memory[:1024]) == bytes(512) + b"b" * 512


def test_verify() -> None:
    """VERIFY(10) reads back; BYTCHK is not supported."""
    target = make()
    assert run(target, bytes((0x2F, 0, 0, 0, 0, 0, 0, 0, 64, 0))).status == GOOD
    assert code(run(target, bytes((0x2F, 2, 0, 0, 0, 0, 0, 0, 1, 0)))) == "05/24/00"
    target.units[0].disk.inject(faults.medium_error(10))
    assert code(run(target, bytes((0x2F, 0, 0, 0, 0, 0, 0, 0, 64, 0)))) == "03/11/00"


def test_start_stop() -> None:
    """Stopped, the medium is 02/04/02; started, it is there again."""
    target = make()
    assert run(target, bytes((0x1B, 0, 0, 0, 0, 0))).status == GOOD
    assert code(run(target, TUR)) == "02/04/02"
    assert code(run(target, rw10(False, 0, 1), Phase(length=512))) == "02/04/02"
    assert run(target, bytes((0x1B, 0, 0, 0, 1, 0))).status == GOOD
    assert run(target, TUR).status == GOOD


# --- mode pages --------------------------------------------------------------------------------------------


def select(target: ScsiTarget, data: bytes, flags: int = 0x10) -> ScsiResult:
    """MODE SELECT(6)."""
    return run(target, bytes((0x15, flags, 0, 0, len(data), 0)), Phase(data, to_device=True))


def test_mode_sense_layout() -> None:
    """A 4-byte header, an 8-byte descriptor, then the caching page: WCE is bit 2 of byte 14."""
    data = asked(make(sectors=64), MODE_SENSE)
    assert len(data) == 32
    assert data[:12] == bytes((31, 0, 0x10, 8)) + (64).to_bytes(4) + (512).to_bytes(4)
    assert data[12:15] == bytes((0x88, 18, 0))
    assert asked(make(), bytes((0x1A, 0x08, 0x08, 0, 255, 0)))[:5] == bytes((23, 0, 0x10, 0, 0x88))
    assert asked(make(), bytes((0x1A, 0, 0x48, 0, 255, 0)))[14] == 0x04     # changeable: WCE only
    assert len(asked(make(), bytes((0x5A, 0, 0x3F, 0, 0, 0, 0, 0, 255, 0)))) == 36


def test_mode_select_switches_the_cache() -> None:
    """Setting WCE makes writes volatile, clearing it writes the cache out."""
    disk = Disk(bytearray(8192), volatile_cache=True)
    target = ScsiTarget(disk)
    run(target, TUR)
    data = bytearray(asked(target, MODE_SENSE))
    data[0:3] = bytes(3)
    data[12] &= 0x7F
    data[14] |= 0x04
    assert select(target, bytes(data)) == (GOOD, b"", 32, False)
    assert disk.write_cache
    assert asked(target, MODE_SENSE)[14] == 0x04
    write(target, 0, b"x" * 512)
    assert disk.unsynced == 1
    data[14] = 0
    assert select(target, bytes(data)).status == GOOD
    assert (disk.write_cache, disk.unsynced) == (False, 0)


def test_a_reset_forgets_what_was_not_saved() -> None:
    """WCE set without SP is off again after a reset, with SP it stays."""
    target = make()
    data = bytes(4) + bytes((0x08, 18, 0x04)) + bytes(17)
    select(target, data)
    target.reset()
    assert not target.units[0].disk.write_cache
    run(target, TUR)
    select(target, data, flags=0x11)
    target.reset()
    assert target.units[0].disk.write_cache


@pytest.mark.parametrize(("data", "why"), [
    (bytes((31, 0, 0, 0)) + bytes((0x08, 18, 4)) + bytes(17), "mode data length is reserved"),
    (bytes(4) + bytes((0x88, 18, 4)) + bytes(17), "PS is reserved"),
    (bytes(4) + bytes((0x08, 18, 5)) + bytes(17), "RCD is not changeable"),
    (bytes(4) + bytes((0x0A, 10)) + bytes(10), "another page"),
    (bytes(4) + bytes((0x08, 18, 4)), "a page cut short"),
    (bytes(3), "a header cut short"),
])
def test_mode_select_is_strict(data: bytes, why: str) -> None:
    """What SPC-3 reserves or the disk cannot change is 05/26/00."""
    assert code(select(make(), data)) == "05/26/00", why


def test_mode_select_needs_page_format_and_its_data() -> None:
    """PF clear is an invalid field; fewer bytes than announced a length error."""
    data = bytes(4) + bytes((0x08, 18, 4)) + bytes(17)
    assert code(select(make(), data, flags=0)) == "05/24/00"
    short = Phase(data[:10], to_device=True)
    assert code(run(make(), bytes((0x15, 0x10, 0, 0, 24, 0)), short)) == "05/1a/00"


def test_target_without_the_caching_page() -> None:
    """MODE SENSE of page 8 is an invalid field there."""
    assert code(run(make(has_caching_page=False), MODE_SENSE, Phase(length=255))) == "05/24/00"


def test_read_only_disk() -> None:
    """Write protected: 07/27/00 on WRITE, bit 7 in the mode header."""
    target = ScsiTarget(Disk(bytearray(4096), read_only=True))
    run(target, TUR)
    assert code(write(target, 0, bytes(512))) == "07/27/00"
    assert asked(target, MODE_SENSE)[2] == 0x90


# --- faults ------------------------------------------------------------------------------------------------


def test_medium_error_moves_what_lies_before_it() -> None:
    """03/11/00 with the bad sector in the information field; the sectors before it have moved."""
    target = make()
    target.units[0].disk.inject(faults.medium_error(12))
    result = run(target, rw10(False, 10, 8), Phase(length=4096))
    assert code(result) == "03/11/00"
    assert result.transferred == 1024
    assert result.sense[0] == 0xF0
    assert result.sense[3:7] == (12).to_bytes(4)
    assert code(write(target, 12, bytes(512))) == "03/0c/00"
    assert run(target, rw10(False, 13, 8), Phase(length=4096)).status == GOOD


@pytest.mark.parametrize(("fault", "status"), [
    (faults.busy(), BUSY), (faults.queue_full(), TASK_SET_FULL),
    (faults.reservation_conflict(times=1), RESERVATION_CONFLICT)])
def test_status_faults(fault: DiskFault, status: int) -> None:
    """The status once, then normal service."""
    target = make()
    target.units[0].disk.inject(fault)
    assert run(target, TUR) == (status, b"", 0, False)
    assert run(target, TUR).status == GOOD


@pytest.mark.parametrize(("fault", "expected"), [
    (faults.becoming_ready(), "02/04/01"), (faults.not_started(times=1), "02/04/02"),
    (faults.unit_attention(), "06/29/00"), (faults.unit_attention(0x28), "06/28/00"),
    (faults.aborted_command(), "0b/47/00"), (faults.hardware_error(), "04/44/00"),
    (faults.write_protected(times=1), "07/27/00"), (faults.check_condition(0x3, 0x31), "03/31/00")])
def test_check_conditions(fault: DiskFault, expected: str) -> None:
    """Each kind of CHECK CONDITION, once, with nothing written; then the write works."""
    target = make()
    target.units[0].disk.inject(fault)
    assert code(write(target, 0, b"x" * 512)) == expected
    assert bytes(target.units[0].disk._memory[:512]) == bytes(512)
    assert write(target, 0, b"x" * 512).status == GOOD


def test_recovered_error_has_moved_everything() -> None:
    """01/17/01, and the data is there."""
    target = make()
    target.units[0].disk.inject(faults.recovered_error())
    result = write(target, 0, b"x" * 1024)
    assert (code(result), result.transferred) == ("01/17/01", 1024)
    assert bytes(target.units[0].disk._memory[:1024]) == b"x" * 1024


def test_hang() -> None:
    """A hung command has no status; the next one does."""
    target = make()
    target.units[0].disk.inject(faults.hang())
    assert write(target, 0, bytes(512)).hang
    assert not write(target, 0, bytes(512)).hang


def test_wrong_length() -> None:
    """GOOD, but a sector short."""
    target = make()
    target.units[0].disk.inject(faults.wrong_length())
    assert run(target, rw10(False, 0, 4), Phase(length=2048)) == (GOOD, b"", 1536, False)


def test_silent_faults() -> None:
    """Lost, torn and misdirected writes all claim success; only the medium tells."""
    target = make()
    disk = target.units[0].disk
    for fault in (faults.lost_write(), faults.torn_write(1), faults.misdirected_write(2)):
        disk.inject(fault)
    for lba, letter in ((0, b"a"), (4, b"b"), (8, b"c")):
        assert write(target, lba, letter * 1024) == (GOOD, b"", 1024, False)
    medium = bytes(disk._memory)
    assert medium[:2048] == bytes(2048)
    assert medium[4 * 512:6 * 512] == b"b" * 512 + bytes(512)
    assert medium[8 * 512:12 * 512] == bytes(1024) + b"c" * 1024


def test_sync_failure_keeps_the_cache() -> None:
    """SYNCHRONIZE CACHE answers 04/44/00 and nothing is synced; the next one works."""
    disk = Disk(bytearray(8192), volatile_cache=True)
    disk.write_cache = True
    target = ScsiTarget(disk)
    run(target, TUR)
    write(target, 0, b"x" * 512)
    disk.inject(faults.sync_fails(times=1))
    assert code(run(target, SYNC)) == "04/44/00"
    assert disk.unsynced == 1
    assert run(target, SYNC).status == GOOD
    assert disk.unsynced == 0


def test_after_and_times() -> None:
    """A fault spares `after` commands, strikes `times`, and only those of its kind and place."""
    target = make()
    disk = target.units[0].disk
    disk.inject(DiskFault(FaultKind.BUSY, Access.READ, first=10, last=19, after=1, times=2))
    statuses = [run(target, rw10(False, lba, 2), Phase(length=1024)).status
                for lba in (0, 9, 18, 19, 30, 12, 12)]
    assert statuses == [GOOD, GOOD, BUSY, BUSY, GOOD, GOOD, GOOD]
    assert len(disk.faults.struck) == 2


def test_request_sense_fails_only_when_asked() -> None:
    """ANY does not include REQUEST SENSE; SENSE is it alone."""
    target = make()
    target.units[0].disk.inject(faults.hardware_error(times=None))
    assert asked(target, REQUEST_SENSE)[0] == 0x70
    target.units[0].disk.faults.clear()
    target.units[0].disk.inject(faults.check_condition(0x4, 0x44, on=Access.SENSE))
    assert code(run(target, REQUEST_SENSE, Phase(length=18))) == "04/44/00"


def test_impossible_faults() -> None:
    """Faults that can never strike are refused where they are written."""
    with pytest.raises(UsageError):
        faults.busy(times=0)
    with pytest.raises(UsageError):
        faults.medium_error(10, 5)


# --- time --------------------------------------------------------------------------------------------------


def test_service_time() -> None:
    """Command overhead, bytes at the disk's rate, extra for a flush and for whatever a fault adds."""
    target = make(timing=Timing(1000, 1_000_000_000, 5000, 70_000))
    assert target.service_ns(TUR, 0) == 1000
    assert target.service_ns(rw10(True, 0, 4), 2048) == 3048
    assert target.service_ns(SYNC, 0) == 6000
    assert target.service_ns(bytes((0x1B, 0, 0, 0, 1, 0)), 0) == 71_000
    target.units[0].disk.inject(faults.slow(500, on=Access.READ))
    assert target.service_ns(rw10(True, 0, 4), 2048) == 3048
    assert target.service_ns(rw10(False, 0, 4), 2048) == 3548
    assert target.service_ns(rw10(False, 0, 4), 2048) == 3048


def test_transfer_of() -> None:
    """What a command will want to move, by its CDB alone."""
    assert transfer_of(rw10(True, 0, 4), 512) == (2048, True)
    assert transfer_of(rw16(False, 0, 3), 4096) == (12288, False)
    assert transfer_of(bytes((0x08, 0, 0, 0, 0, 0)), 512) == (131072, False)
    assert transfer_of(INQUIRY, 512) == (36, False)
    assert transfer_of(bytes((0x15, 0x10, 0, 0, 24, 0)), 512) == (24, True)
    assert transfer_of(TUR, 512) == (0, None)
