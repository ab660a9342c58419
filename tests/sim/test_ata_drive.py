"""An ATA drive, command by command: what moves, which status, which registers."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from ddsdk.errors import UsageError
from ddsdk.sim import ata_taskfile as ata
from ddsdk.sim import disk_faults as faults
from ddsdk.sim.ata_drive import AtaDrive, AtaIdentity, AtaResult, AtaTiming, Taskfile
from ddsdk.sim.ata_taskfile import SIGNATURE, Protocol
from ddsdk.sim.disk import Disk
from ddsdk.sim.disk_faults import Access, DiskFault, FaultKind

#: 5 MiB: IDENTIFY's capacity needs two bytes.
SECTORS = 10240
GOOD, ERROR, FAULT = 0x50, 0x51, 0x70


class Memory:
    """Host memory of one command, in two pieces."""

    def __init__(self, data: bytes = b"", length: int = 0) -> None:
        self.data = bytearray(data or bytes(length))
        self.length = len(self.data)

    def gather(self, n: int) -> list[memoryview]:
        view = memoryview(self.data)[:n]
        return [view[:n // 3], view[n // 3:]]

    scatter = gather


def make(sectors: int = SECTORS, sector_size: int = 512, *, timing: AtaTiming | None = None,
         **identity: Any) -> AtaDrive:
    """A drive with a blank disk."""
    disk = Disk(bytearray(sectors * sector_size), sector_size=sector_size, volatile_cache=True)
    return AtaDrive(disk, AtaIdentity(**identity), timing)


def rw(command: int, sector: int, sectors: int, **registers: int) -> Taskfile:
    """A command that names sectors; `ext` by its code."""
    ext = command in (0x24, 0x25, 0x29, 0x34, 0x35, 0x39, 0x42)
    return Taskfile(command=command, device=0xE0).at(sector, sectors, ext)._replace(**registers)


def run(drive: AtaDrive, taskfile: Taskfile, memory: Memory | None = None) -> AtaResult:
    """One command, whole."""
    return drive.execute(taskfile, memory or Memory())


def control(command: int, feature: int = 0, nsector: int = 0) -> Taskfile:
    """A command without an address."""
    return Taskfile(command=command, feature=feature, nsector=nsector, device=0xA0)


def write(drive: AtaDrive, sector: int, data: bytes, command: int = ata.WRITE_DMA_EXT) -> AtaResult:
    """Data in 512-byte sectors."""
    return run(drive, rw(command, sector, len(data) // 512), Memory(data))


def words(drive: AtaDrive) -> tuple[int, ...]:
    """IDENTIFY DEVICE."""
    memory = Memory(length=512)
    result = run(drive, control(ata.IDENTIFY_DEVICE), memory)
    assert (result.status, result.error, result.transferred) == (GOOD, 0, 512)
    assert sum(memory.data) % 256 == 0
    assert memory.data[510] == 0xA5
    return struct.unpack("<256H", memory.data)


def text(drive: AtaDrive, first: int, last: int) -> bytes:
    """Words *first*..*last* as text."""
    return struct.pack(f">{last - first + 1}H", *words(drive)[first:last + 1])


def medium(drive: AtaDrive) -> bytes:
    """The whole disk."""
    return bytes(drive.disk._memory)


# --- IDENTIFY DEVICE ---------------------------------------------------------------------------------------


def test_who_it_is() -> None:
    """Serial, firmware and model: ASCII, the first character of a pair in the high byte, padded with blanks."""
    drive = make(model="A disk", serial="S1", firmware="1.0")
    assert text(drive, 10, 19) == b"S1".ljust(20)
    assert text(drive, 23, 26) == b"1.0".ljust(8)
    assert text(drive, 27, 46) == b"A disk".ljust(40)


@pytest.mark.parametrize(("word", "value"), [
    (0, 0x0040), (47, 0x8010), (49, 0x0B00), (50, 0x4000), (53, 0x0006), (59, 0), (60, 0x2800), (61, 0),
    (63, 0x0007), (64, 0x0003), (65, 120), (68, 120), (80, 0x0070), (82, 0x0028), (83, 0x7400), (84, 0x4000),
    (85, 0x0008), (86, 0x3400), (87, 0x4000), (88, 0x203F), (93, 0x6001), (100, 0x2800), (101, 0), (103, 0),
    (106, 0x4000), (117, 0), (118, 0)])
def test_what_it_can(word: int, value: int) -> None:
    """Every word that a host reads, of a drive as it wakes up; 47, 49, 63, 83, 86, 88, 93 are as of QEMU's drive."""
    assert words(make())[word] == value


def test_present_settings_show() -> None:
    """Word 59 the multiple count, 63 and 88 the DMA mode selected, 85 the write cache."""
    drive = make()
    run(drive, control(ata.SET_MULTIPLE_MODE, nsector=8))
    run(drive, control(ata.SET_FEATURES, ata.ENABLE_WRITE_CACHE))
    run(drive, control(ata.SET_FEATURES, ata.SET_TRANSFER_MODE, 0x22))
    found = words(drive)
    assert [found[n] for n in (59, 63, 85, 88)] == [0x0108, 0x0407, 0x0028, 0x003F]


def test_an_old_drive() -> None:
    """Without LBA48, FLUSH CACHE, write cache and DMA the words say so."""
    drive = make(lba48=False, flush=False, write_cache=False, ultra_mask=0, mwdma_mask=0, power_on_mode=0,
                 max_multiple=0)
    found = words(drive)
    assert [found[n] for n in (47, 49, 63, 82, 83, 85, 86, 88, 100)] == [
        0x8000, 0x0A00, 0, 0x0008, 0x4000, 0x0008, 0, 0, 0]


def test_capacity_beyond_28_bits() -> None:
    """Words 60-61 stop at 0FFFFFFF, words 100-103 have all 48 bits."""
    drive = make()
    drive.disk.sectors = 0x1_2345_6789_AB
    found = words(drive)
    assert found[60:62] == (0xFFFF, 0x0FFF)
    assert found[100:104] == (0x89AB, 0x4567, 0x0123, 0x0000)


def test_long_sectors() -> None:
    """4096 bytes: word 106 bit 12, words 117-118 in 16-bit words; the capacity counts those sectors."""
    found = words(make(1280, 4096))
    assert found[106] == 0x5000
    assert found[117:119] == (2048, 0)
    assert found[60] == 1280


def test_identities_that_cannot_be() -> None:
    """A multiple count that is no power of two, a mode the drive does not have."""
    for wrong in ({"max_multiple": 3}, {"power_on_multiple": 5}, {"power_on_mode": 0x46}, {"power_on_mode": 0x30}):
        with pytest.raises(UsageError):
            AtaIdentity(**wrong)


# --- moving data -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("out", "back"), [
    (ata.WRITE_DMA, ata.READ_DMA), (ata.WRITE_DMA_EXT, ata.READ_DMA_EXT), (ata.WRITE_SECTORS, ata.READ_SECTORS),
    (ata.WRITE_SECTORS_EXT, ata.READ_SECTORS_EXT), (ata.WRITE_MULTIPLE, ata.READ_MULTIPLE),
    (ata.WRITE_MULTIPLE_EXT, ata.READ_MULTIPLE_EXT)])
def test_write_then_read(out: int, back: int) -> None:
    """Each pair moves whole sectors; afterwards the registers point one past the end and the count is 0."""
    drive = make(power_on_multiple=2)
    data = bytes(range(256)) * 6
    result = write(drive, 0x1234, data, out)
    assert (result.status, result.error, result.transferred, result.hang) == (GOOD, 0, 1536, False)
    tf = result.taskfile
    assert (tf.nsector, tf.lbal, tf.lbam, tf.lbah) == (0, 0x37, 0x12, 0x00)
    memory = Memory(length=1536)
    assert run(drive, rw(back, 0x1234, 3), memory).transferred == 1536
    assert memory.data == data
    assert medium(drive)[0x1234 * 512:0x1237 * 512] == data


@pytest.mark.parametrize("sector_size", [512, 4096])
def test_long_sectors_move_whole(sector_size: int) -> None:
    """A count of 1 is one of the drive's own sectors."""
    drive = make(64, sector_size)
    assert run(drive, rw(ata.WRITE_DMA, 3, 1), Memory(b"x" * sector_size)).transferred == sector_size
    assert medium(drive)[3 * sector_size:4 * sector_size] == b"x" * sector_size


def test_counts_of_zero() -> None:
    """0 is 256 in 28 bits, 65536 in 48."""
    drive = make()
    assert drive.begin(Taskfile(ata.READ_DMA, device=0xE0)).nbytes == 256 * 512
    drive.disk.sectors = 1 << 20
    assert drive.begin(Taskfile(ata.READ_DMA_EXT, device=0xE0)).nbytes == 65536 * 512


def test_addresses() -> None:
    """28 bits end in the device register; 48 bits are the low bytes, then the previous ones (hw-ide.md V1)."""
    assert Taskfile(device=0xE1, lbal=0x45, lbam=0x23, lbah=0x01).sector(False) == 0x1012345
    v1 = Taskfile(0x35, 0, 0x20, 0x89, 0x67, 0x45, 0xE0, 0, 0, 0x23, 0x01, 0x00)
    assert (v1.sector(True), v1.sectors(True)) == (0x123456789, 32)
    assert Taskfile(0x35, device=0xE0).at(0x123456789, 32, True) == v1


def test_the_28_bit_end() -> None:
    """A 28-bit command reaches sector 0FFFFFFE of a larger disk, not the one behind it."""
    drive = make()
    drive.disk.sectors = 1 << 30
    assert drive.begin(rw(ata.READ_DMA, 0xFFFFFFE, 1)).result is None
    result = drive.begin(rw(ata.READ_DMA, 0xFFFFFFE, 2)).result
    assert result is not None
    assert (result.status, result.error) == (ERROR, ata.IDNF)


def test_past_the_end() -> None:
    """IDNF with the first sector that does not exist; nothing moves."""
    drive = make(64)
    result = write(drive, 62, b"x" * 2048)
    assert (result.status, result.error, result.transferred) == (ERROR, ata.IDNF, 0)
    assert (result.taskfile.lbal, result.taskfile.nsector) == (64, 4)
    assert not any(medium(drive))


def test_a_host_that_offers_less() -> None:
    """The drive moves whole sectors of it and still wants more: DRQ, and no end."""
    result = run(make(), rw(ata.READ_DMA, 0, 4), Memory(length=1300))
    assert (result.status, result.transferred, result.hang) == (0x58, 1024, True)


# --- blocks ------------------------------------------------------------------------------------------------


def test_pio_moves_a_block_at_a_time() -> None:
    """READ MULTIPLE of 5 sectors, 2 a block: 2, 2, 1; the result comes with the last."""
    drive = make(power_on_multiple=2)
    write(drive, 0, bytes(range(5)) * 512)
    command = drive.begin(rw(ata.READ_MULTIPLE, 0, 5))
    assert (command.protocol, command.nbytes, command.block_bytes) == (Protocol.PIO_IN, 2560, 1024)
    assert command.result is None
    assert command.move([memoryview(bytearray(1024))]) is None
    assert command.move([memoryview(bytearray(1024))]) is None
    result = command.move([memoryview(bytearray(512))])
    assert result is not None
    assert (result.status, result.transferred) == (GOOD, 2560)
    assert command.move([memoryview(bytearray(512))]) is result


def test_what_was_written_before_the_crash_is_written() -> None:
    """Blocks reach the disk as they come, not when the command ends."""
    drive = make()
    command = drive.begin(rw(ata.WRITE_SECTORS, 10, 2))
    assert command.move([memoryview(b"a" * 512)]) is None
    assert medium(drive)[10 * 512:12 * 512] == b"a" * 512 + bytes(512)


def test_a_bad_sector_in_the_last_block_of_a_write() -> None:
    """The error shows only after the last block was sent: DF at that sector, the blocks before it are written."""
    drive = make()
    drive.disk.inject(faults.medium_error(12))
    command = drive.begin(rw(ata.WRITE_SECTORS_EXT, 10, 3))
    assert command.move([memoryview(b"a" * 512)]) is None
    assert command.move([memoryview(b"b" * 512)]) is None
    result = command.move([memoryview(b"c" * 512)])
    assert result is not None
    assert (result.status, result.error, result.transferred) == (FAULT, 0, 1024)
    assert (result.taskfile.lbal, result.taskfile.nsector) == (12, 1)
    assert medium(drive)[10 * 512:13 * 512] == b"a" * 512 + b"b" * 512 + bytes(512)


def test_a_new_command_or_a_reset_ends_the_old_one() -> None:
    """A model that goes on with it is wrong, and is told."""
    drive = make()
    command = drive.begin(rw(ata.READ_SECTORS, 0, 2))
    drive.reset()
    with pytest.raises(UsageError) as error:
        command.move([memoryview(bytearray(512))])
    assert str(error.value) == "ATA command 0x20 was ended by a reset; forget it there"


# --- strictness --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("taskfile", "why"), [
    (Taskfile(0xFE, device=0xE0), "no such command"),
    (control(0xB0, 0xD8), "SMART is not supported"),
    (rw(ata.READ_DMA, 0, 1, device=0xA0), "an address by cylinder"),
    (rw(ata.READ_DMA_EXT, 0, 1, device=0xE1), "bits 3-0 are reserved with 48 bits"),
    (rw(ata.READ_DMA_EXT, 0, 1, feature=1), "Features is reserved with 48 bits"),
    (rw(ata.WRITE_MULTIPLE_EXT, 0, 1, hob_feature=1), "and so is its previous content"),
    (rw(ata.READ_MULTIPLE, 0, 1), "multiple mode is off"),
    (rw(ata.WRITE_MULTIPLE_EXT, 0, 1), "multiple mode is off"),
    (control(ata.SET_MULTIPLE_MODE, nsector=3), "no power of two"),
    (control(ata.SET_MULTIPLE_MODE, nsector=200), "nor is that"),
    (control(ata.SET_MULTIPLE_MODE, nsector=32), "more than word 47 says"),
    (control(ata.SET_FEATURES, 0x05), "no such feature"),
    (control(ata.SET_FEATURES, ata.SET_TRANSFER_MODE, 0x46), "a mode the drive has not"),
    (control(ata.SET_FEATURES, ata.SET_TRANSFER_MODE, 0x0D), "PIO 5"),
    (control(ata.SET_FEATURES, ata.SET_TRANSFER_MODE, 0x10), "single word DMA"),
])
def test_aborted(taskfile: Taskfile, why: str) -> None:
    """51/04, at once, with the registers as they were written."""
    assert run(make(), taskfile, Memory(length=512)) == (ERROR, ata.ABRT, taskfile, 0, False), why


@pytest.mark.parametrize(("identity", "taskfile"), [
    ({"lba48": False}, rw(ata.READ_DMA_EXT, 0, 1)), ({"lba48": False}, control(ata.FLUSH_CACHE_EXT)),
    ({"flush": False}, control(ata.FLUSH_CACHE)), ({"power_on_mode": 0}, rw(ata.READ_DMA, 0, 1)),
    ({"write_cache": False}, control(ata.SET_FEATURES, ata.ENABLE_WRITE_CACHE)),
    ({"max_multiple": 0}, control(ata.SET_MULTIPLE_MODE, nsector=2))])
def test_what_this_drive_cannot(identity: dict[str, Any], taskfile: Taskfile) -> None:
    """A command of a feature set that IDENTIFY does not announce, DMA without a mode."""
    assert run(make(**identity), taskfile, Memory(length=512))[:2] == (ERROR, ata.ABRT)


def test_a_refused_multiple_mode_is_off() -> None:
    """READ MULTIPLE worked before, and does not any more."""
    drive = make(power_on_multiple=16)
    run(drive, control(ata.SET_MULTIPLE_MODE, nsector=3))
    assert run(drive, rw(ata.READ_MULTIPLE, 0, 1), Memory(length=512))[:2] == (ERROR, ata.ABRT)


# --- settings, power, resets -------------------------------------------------------------------------------


def test_multiple_mode_is_switched() -> None:
    """Powers of two up to word 47; 0 switches it off."""
    drive = make()
    for count in (1, 2, 16, 0):
        assert run(drive, control(ata.SET_MULTIPLE_MODE, nsector=count)).status == GOOD
        assert drive.multiple == count


def test_the_write_cache() -> None:
    """On: writes are lost with the power; off: flushed first, then written through; FLUSH CACHE keeps them."""
    drive = make()
    assert run(drive, control(ata.SET_FEATURES, ata.ENABLE_WRITE_CACHE)).status == GOOD
    write(drive, 0, b"a" * 512)
    assert drive.disk.unsynced == 1
    assert run(drive, control(ata.FLUSH_CACHE)).status == GOOD
    write(drive, 1, b"b" * 512)
    assert run(drive, control(ata.SET_FEATURES, ata.DISABLE_WRITE_CACHE)).status == GOOD
    assert (drive.disk.unsynced, drive.disk.write_cache) == (0, False)
    run(drive, control(ata.SET_FEATURES, ata.ENABLE_WRITE_CACHE))
    write(drive, 2, b"c" * 512)
    drive.reset("power")
    assert medium(drive)[:1536] == b"a" * 512 + b"b" * 512 + bytes(512)


def test_transfer_modes() -> None:
    """A DMA mode replaces the other kind's; a PIO mode leaves it."""
    drive = make(power_on_mode=0)
    for mode, after in ((0x42, 0x42), (0x0C, 0x42), (0x00, 0x42), (0x21, 0x21)):
        assert run(drive, control(ata.SET_FEATURES, ata.SET_TRANSFER_MODE, mode)).status == GOOD
        assert drive.dma_mode == after
    assert run(drive, rw(ata.READ_DMA, 0, 1), Memory(length=512)).status == GOOD


def test_power_modes() -> None:
    """CHECK POWER MODE says FF, 80 or 00 and wakes nobody; a read does, and takes the time it takes."""
    drive = make(timing=AtaTiming(1000, 1_000_000_000, 5000, 70_000))

    def checked() -> int:
        return run(drive, control(ata.CHECK_POWER_MODE)).taskfile.nsector

    assert checked() == 0xFF
    run(drive, control(ata.IDLE_IMMEDIATE))
    assert checked() == 0x80
    run(drive, control(ata.STANDBY_IMMEDIATE))
    assert checked() == 0x00
    assert drive.begin(rw(ata.READ_DMA, 0, 1)).service_ns == 71_000
    assert checked() == 0xFF


def test_standby_writes_the_cache_out() -> None:
    """Before the heads are parked."""
    drive = make()
    drive.disk.write_cache = True
    write(drive, 0, b"a" * 512)
    assert run(drive, control(ata.STANDBY)).status == GOOD
    assert drive.disk.unsynced == 0


def test_only_a_reset_wakes_a_sleeper() -> None:
    """Nothing is answered, IDENTIFY included."""
    drive = make()
    run(drive, control(ata.SLEEP))
    assert run(drive, control(ata.IDENTIFY_DEVICE), Memory(length=512)).hang
    drive.reset()
    assert words(drive)


@pytest.mark.parametrize("kind", ["srst", "power"])
def test_signature(kind: Any) -> None:
    """Error 01, count 01, LBA 01/00/00: a disk (hw-ide.md V3); EXECUTE DEVICE DIAGNOSTIC leaves the same."""
    drive = make()
    signed = AtaResult(GOOD, 0x01, SIGNATURE)
    assert drive.reset(kind) == signed
    assert (SIGNATURE.nsector, SIGNATURE.lbal, SIGNATURE.lbam, SIGNATURE.lbah, SIGNATURE.device) == (1, 1, 0, 0, 0)
    assert run(drive, control(ata.EXECUTE_DEVICE_DIAGNOSTIC)) == signed


@pytest.mark.parametrize("reverting", [True, False])
def test_a_soft_reset_forgets_settings(reverting: bool) -> None:
    """Multiple mode, transfer mode and write cache revert, unless SET FEATURES 66 said no; data is not lost."""
    drive = make()
    if not reverting:
        assert run(drive, control(ata.SET_FEATURES, ata.DISABLE_REVERTING)).status == GOOD
    run(drive, control(ata.SET_MULTIPLE_MODE, nsector=8))
    run(drive, control(ata.SET_FEATURES, ata.SET_TRANSFER_MODE, 0x22))
    run(drive, control(ata.SET_FEATURES, ata.ENABLE_WRITE_CACHE))
    write(drive, 0, b"a" * 512)
    drive.reset()
    kept = (drive.multiple, drive.dma_mode, drive.disk.write_cache, drive.disk.unsynced)
    assert kept == ((0, 0x45, False, 1) if reverting else (8, 0x22, True, 1))
    drive.reset("power")
    assert (drive.multiple, drive.dma_mode, drive.disk.write_cache) == (0, 0x45, False)


# --- faults ------------------------------------------------------------------------------------------------


def test_a_bad_sector_cannot_be_read() -> None:
    """UNC, its LBA in the registers, what is before it delivered; sectors behind it can be read."""
    drive = make()
    drive.disk.inject(faults.medium_error(0x123456 % SECTORS))
    bad = 0x123456 % SECTORS
    result = run(drive, rw(ata.READ_DMA_EXT, bad - 2, 8), Memory(length=4096))
    assert (result.status, result.error, result.transferred) == (ERROR, ata.UNC, 1024)
    assert (result.taskfile.sector(True), result.taskfile.sectors(True)) == (bad, 6)
    assert run(drive, rw(ata.READ_DMA_EXT, bad + 1, 8), Memory(length=4096)).status == GOOD
    result = run(drive, rw(ata.READ_VERIFY_SECTORS, bad - 2, 8))
    assert (result.status, result.error, result.taskfile.sector(False)) == (ERROR, ata.UNC, bad)


def test_a_bad_sector_cannot_be_written() -> None:
    """No spare is left for it: device fault, at its LBA, what is before it written."""
    drive = make()
    drive.disk.inject(faults.medium_error(12))
    result = write(drive, 10, b"a" * 2048)
    assert (result.status, result.error, result.transferred, result.taskfile.lbal) == (FAULT, 0, 1024, 12)
    assert medium(drive)[10 * 512:14 * 512] == b"a" * 1024 + bytes(1024)


@pytest.mark.parametrize(("fault", "status", "error"), [
    (faults.hardware_error(), FAULT, 0), (faults.check_condition(0x5, 0x21), ERROR, ata.IDNF),
    (faults.check_condition(0x5, 0x24), ERROR, ata.ABRT), (faults.aborted_command(), ERROR, ata.ICRC | ata.ABRT),
    (faults.check_condition(0xB, 0x4B), ERROR, ata.ABRT), (faults.unit_attention(0x28), ERROR, ata.MC | ata.ABRT),
    (faults.unit_attention(), ERROR, ata.ABRT), (faults.write_protected(times=1), ERROR, ata.ABRT),
    (faults.not_started(times=1), ERROR, ata.ABRT), (faults.reservation_conflict(times=1), ERROR, ata.ABRT),
    (DiskFault(FaultKind.CHECK), ERROR, ata.ABRT), (faults.check_condition(0x3, 0x31), FAULT, 0)])
def test_refusals(fault: DiskFault, status: int, error: int) -> None:
    """Sense keys become DF, IDNF, ICRC, MC or ABRT; once, with nothing written; then the write works."""
    drive = make()
    drive.disk.inject(fault)
    assert write(drive, 0, b"x" * 512)[:2] == (status, error)
    assert not any(medium(drive)[:512])
    assert write(drive, 0, b"x" * 512).status == GOOD


@pytest.mark.parametrize("fault", [faults.busy(), faults.queue_full(), faults.becoming_ready()])
def test_a_busy_disk_stays_busy_longer(fault: DiskFault) -> None:
    """An ATA drive has no way to refuse for a while: BSY is up a second more, then the command is done."""
    drive = make()
    usual = drive.begin(rw(ata.WRITE_DMA, 0, 1)).service_ns
    drive.disk.inject(fault)
    command = drive.begin(rw(ata.WRITE_DMA, 0, 1))
    assert command.service_ns == usual + 1_000_000_000
    result = command.move([memoryview(b"x" * 512)])
    assert result is not None
    assert result.status == GOOD
    drive.disk.inject(DiskFault(FaultKind.BUSY, amount=5))
    assert drive.begin(rw(ata.WRITE_DMA, 0, 1)).service_ns == usual + 5


def test_recovered_error() -> None:
    """CORR is set, ERR is not, and the data is there."""
    drive = make()
    drive.disk.inject(faults.recovered_error())
    result = write(drive, 0, b"x" * 1024)
    assert (result.status, result.error, result.transferred) == (0x54, 0, 1024)
    assert medium(drive)[:1024] == b"x" * 1024


def test_hang() -> None:
    """BSY for ever: no status, until a reset; the next command is served."""
    drive = make()
    drive.disk.inject(faults.hang())
    command = drive.begin(rw(ata.WRITE_DMA, 0, 1))
    assert command.result is not None
    assert command.result.hang
    drive.reset()
    assert write(drive, 0, bytes(512)).status == GOOD


def test_short() -> None:
    """Good status, a sector too few: the count register still has it."""
    drive = make()
    drive.disk.inject(faults.wrong_length())
    command = drive.begin(rw(ata.READ_DMA, 0, 4))
    assert command.nbytes == 1536
    result = command.move([memoryview(bytearray(1536))])
    assert result is not None
    assert (result.status, result.transferred, result.taskfile.nsector) == (GOOD, 1536, 1)
    drive.multiple = 4
    drive.disk.inject(faults.wrong_length())
    command = drive.begin(rw(ata.WRITE_MULTIPLE, 0, 9))
    assert (command.nbytes, command.block_bytes) == (8 * 512, 2048)     # DRQ blocks are never cut
    drive.disk.inject(faults.wrong_length(9))
    command = drive.begin(rw(ata.READ_SECTORS, 0, 4))
    assert (command.protocol, command.nbytes) == (Protocol.NON_DATA, 0)
    result = command.move()
    assert result is not None
    assert (result.status, result.taskfile.nsector) == (GOOD, 4)


def test_silent_faults() -> None:
    """Lost, torn and misdirected writes all claim success, by DMA and block by block."""
    for out in (ata.WRITE_DMA, ata.WRITE_SECTORS):
        drive = make(64)
        for fault in (faults.lost_write(), faults.torn_write(1), faults.misdirected_write(2)):
            drive.disk.inject(fault)
        for sector, letter in ((0, b"a"), (4, b"b"), (8, b"c")):
            command = drive.begin(rw(out, sector, 2))
            pieces = [letter * 1024] if out == ata.WRITE_DMA else [letter * 512, letter * 512]
            results = [command.move([memoryview(piece)]) for piece in pieces]
            assert results[-1] is not None
            assert (results[-1].status, results[-1].transferred) == (GOOD, 1024)
        disk = medium(drive)
        assert disk[:2048] == bytes(2048)
        assert disk[4 * 512:6 * 512] == b"b" * 512 + bytes(512)
        assert disk[8 * 512:12 * 512] == bytes(1024) + b"c" * 1024


def test_a_failing_flush_keeps_the_cache() -> None:
    """DF, and nothing is synchronised; the next one works.  A medium error says the same."""
    drive = make()
    drive.disk.write_cache = True
    write(drive, 0, b"x" * 512)
    for fault in (faults.sync_fails(times=1), faults.medium_error(0, on=Access.FLUSH, times=1)):
        drive.disk.inject(fault)
        assert run(drive, control(ata.FLUSH_CACHE_EXT))[:2] == (FAULT, 0)
        assert drive.disk.unsynced == 1
    assert run(drive, control(ata.FLUSH_CACHE)).status == GOOD
    assert drive.disk.unsynced == 0


def test_a_disk_that_cannot_be_written() -> None:
    """Read-only backing: 51/04, as a drive with a write-protect jumper."""
    drive = AtaDrive(Disk(bytearray(4096), read_only=True))
    assert write(drive, 0, bytes(512))[:2] == (ERROR, ata.ABRT)


def test_identify_never_fails() -> None:
    """No disk fault strikes it: the data comes out of the drive's own memory."""
    drive = make()
    drive.disk.inject(DiskFault(FaultKind.HANG, times=None))
    assert words(drive)[0] == 0x0040
    assert run(drive, control(ata.CHECK_POWER_MODE)).hang


# --- time --------------------------------------------------------------------------------------------------


def test_service_time() -> None:
    """BSY before the data: overhead, a flush, what a fault adds.  Data is the cable's business."""
    drive = make(timing=AtaTiming(1000, 1_000_000_000, 5000))
    assert drive.begin(rw(ata.WRITE_DMA, 0, 4)).service_ns == 1000
    assert drive.timing.data_ns(2048) == 2048
    assert drive.begin(control(ata.FLUSH_CACHE)).service_ns == 6000
    assert drive.begin(control(ata.IDENTIFY_DEVICE)).service_ns == 1000
    assert drive.begin(control(0xFE)).service_ns == 1000
    drive.disk.inject(faults.slow(500, on=Access.READ))
    assert drive.begin(rw(ata.WRITE_DMA, 0, 4)).service_ns == 1000
    assert drive.begin(rw(ata.READ_DMA, 0, 4)).service_ns == 1500
    assert drive.begin(rw(ata.READ_DMA, 0, 4)).service_ns == 1000
